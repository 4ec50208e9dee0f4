"""The steps `publish` and `clean_staging`."""

from __future__ import annotations

import re
from typing import Any

from airlift.errors import AirliftError
from airlift.high_water import HighWaterMark, write_marks
from airlift.migration import Migration, log
from airlift.plan import CollectionPlan
from airlift.report.rendering import render
from airlift.report.report import build_report
from airlift.steps.access import restore_access
from airlift.steps.still_verified import ensure_still_verified
from airlift.target_changes import Published, PublishedAlias


def publish(migration: Migration) -> dict[str, Any]:
    """Switches the aliases, restores users and roles where asked to, and writes the report.

    Returns:
        Rows per collection, and where the report is.

    Raises:
        AirliftError: the collections are not verified.
        Mismatch: what staging holds of them has changed since, or import jobs have come in that
            this migration has not recorded.
    """
    staging = migration.staging
    verified = ensure_still_verified(migration)
    _record_collections(migration)
    aliases = {}
    for collection in staging.plan().collections:
        for one in _record_aliases(migration, collection):
            _point(migration, one)
            aliases[one.alias] = collection.name
            log.info("the alias %s points to %s", one.alias, collection.name)
    restore_access(migration)
    _keep_marks(migration)
    address = write_report(migration, "done")
    return {
        "collections": {one.collection: one.counted for one in verified.collections},
        "aliases": aliases,
        "report": address,
    }


def _point(migration: Migration, alias: PublishedAlias) -> None:
    """Lets an alias point to its collection. Raises AirliftError where it does not, afterwards."""
    target = migration.target(alias)
    target.point_alias(alias.alias, alias.collection)
    if (found := target.found_by(alias.alias)) != alias.collection:
        raise AirliftError(
            f"the alias {alias.alias!r} points to {found!r} on the target, expected "
            f"{alias.collection!r}: somebody has moved it meanwhile; clear the task publish"
        )


def _record_aliases(migration: Migration, collection: CollectionPlan) -> list[PublishedAlias]:
    """Writes down where a collection's aliases point to now, for a rollback; returns them all."""
    staging, mapped = migration.staging, collection.mapped
    published = staging.read("published.json", Published) or Published()
    known = {(one.database, one.alias, one.collection): one for one in published.aliases}
    own = []
    for alias in (*([mapped.alias] if mapped.alias else []), *mapped.target.aliases):
        place = (mapped.database, alias, collection.target_name)
        # What an earlier attempt has moved already says nothing of what was there before.
        one = known.get(place) or PublishedAlias(
            alias=alias,
            database=mapped.database,
            collection=collection.target_name,
            before=migration.target(mapped).alias_target(alias) or "",
        )
        own.append(known.setdefault(place, one))
    aliases = tuple(known.values())
    staging.write("published.json", published.model_copy(update={"aliases": aliases}))
    return own


def _record_collections(migration: Migration) -> None:
    """Writes down which collections are given to their users: from now on nothing drops them."""
    staging = migration.staging
    published = staging.read("published.json", Published) or Published()
    ids = {one.name: one.collection_id for one in staging.created().collections}
    staging.write("published.json", published.model_copy(update={"collections": ids}))


def _keep_marks(migration: Migration) -> None:
    """Remembers how far an incremental run came, now that all is verified."""
    marks = {}
    for collection in migration.staging.plan().collections:
        manifests = migration.staging.manifests(collection.chunk_refs)
        moved = [one.high_water for one in manifests if one and one.high_water is not None]
        if not collection.since_field or not moved:
            continue
        target = migration.target(collection.mapped)
        marks[collection.mapped.source] = HighWaterMark(
            field=collection.since_field,
            value=max(moved),
            target=collection.name,
            database=collection.mapped.database,
            collection_id=target.collection_id(collection.target_name),
            migration_id=migration.id,
        )
    if marks:
        write_marks(migration, marks)


def write_report(migration: Migration, state: str) -> str:
    """Writes `report.json` and `report.html`; returns the address of the latter.

    Args:
        state: as of `airlift.report.report.Report`.
    """
    if state == "done":
        migration.staging.folder.delete_folder("failures")  # what failed has succeeded since
    elif _report_state(migration) == "done":
        _keep_earlier(migration)
    report = build_report(migration, state)
    migration.staging.write("report.json", report)
    migration.staging.folder.write_bytes("report.html", render(report).encode())
    return migration.staging.folder.address("report.html")


def _keep_earlier(migration: Migration) -> None:
    """Keeps the report of what was done before another takes its place."""
    folder = migration.staging.folder
    report: Any = folder.read_json("report.json")
    when = re.sub(r"\D", "", report["written"])[:14]
    for name in ("report.json", "report.html"):
        folder.write_bytes(f"earlier/{when}-{name}", folder.read_bytes(name))


def remove_failed_report(migration: Migration) -> bool:
    """Removes the report of a failure that is none any more; returns whether there was one."""
    folder = migration.staging.folder
    if _report_state(migration) != "failed":
        return False
    folder.delete_file("report.json")
    folder.delete_file("report.html")
    return True


def _report_state(migration: Migration) -> str:
    """The state of the report; "" when there is none."""
    folder = migration.staging.folder
    if not folder.exists("report.json"):
        return ""
    report: Any = folder.read_json("report.json")
    return str(report["state"])


def _finish_source(migration: Migration) -> None:
    """Gives back what the source's server holds; one that is gone does not stop the cleaning."""
    try:
        migration.source.finish()
    except AirliftError as error:
        log.warning(
            "the source's server holds on to what it was asked to keep for the migration (a point "
            "in time ends by itself, a collection that was loaded stays loaded): %s",
            error,
        )


def clean_staging(migration: Migration) -> dict[str, Any]:
    """Removes data files of a migration that is done; manifests and the report stay.

    After a failure everything stays, so that the migration can go on; only what the source's server
    holds for it is given back.

    Returns:
        How many files were removed, or why none was.
    """
    folder = migration.staging.folder
    if folder.list("scratch"):
        _finish_source(migration)
    if not _report_state(migration):  # stopped from outside: no task could tell
        write_report(migration, "failed")
    if _report_state(migration) != "done":
        return {"removed": 0, "kept_because": "the migration is not done and may be resumed"}
    if migration.params.keep_staging:
        return {"removed": 0, "kept_because": "keep_staging is set"}
    removed = folder.delete_files(
        f"{collection.name}/{manifest.chunk}/{file.name}"
        for collection in migration.staging.plan().collections
        for manifest in migration.staging.manifests(collection.chunk_refs)
        if manifest
        for file in manifest.files
    )
    folder.delete_files(folder.half_written())
    folder.delete_file("copied.json")
    folder.delete_folder("source")
    return {"removed": removed}
