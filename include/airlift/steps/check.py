"""The step `check`: connects to both ends and refuses what can't work, with every reason."""

from __future__ import annotations

from typing import Any

from airlift.errors import AirliftError, Refused
from airlift.migration import Migration
from airlift.params import WriteMode
from airlift.steps.choose_way import choose_way
from airlift.versions import Versions, installed_software


def check(migration: Migration) -> dict[str, Any]:
    """Connects to both ends.

    Returns:
        The migration's id, and where source and target are.

    Raises:
        Refused: with every reason why the migration can't work.
    """
    reasons = _unfit_params(migration)
    found: dict[str, Any] = {"migration_id": migration.id}
    staging_reason = migration.staging_root.check(write=True)
    if staging_reason:
        is_bare = not migration.params.staging_conn_id and not migration.staging_root.is_local
        hint = (
            ". staging_conn_id names no connection, so this machine's own role was tried: give the "
            "connection to the bucket"
        )
        reasons.append(f"staging: {staging_reason}{hint if is_bare else ''}")
    source = migration.original_source() if staging_reason else migration.source
    reasons += source.check()
    try:
        found["target"] = migration.target_address()
        choose_way(migration)
        migration.database_exists(migration.params.target_database)
    except AirliftError as error:
        reasons.append(f"target: {error}")
    if not staging_reason:
        versions = Versions(
            source="" if reasons else source.version(),
            target=migration.server.version().name if "target" in found else "",
            software=installed_software(),
        )
        migration.staging.write("versions.json", versions)
    if reasons:
        raise Refused(reasons)
    found["source"] = source.address()
    return found


def _unfit_params(migration: Migration) -> list[str]:
    """Params that contradict each other."""
    params = migration.params
    reasons = []
    with_auto_id = [name for name, mapping in params.mapping.items() if mapping.auto_id]
    if params.write_mode is WriteMode.UPSERT and with_auto_id:
        reasons.append(f"write_mode upsert needs primary keys, but {with_auto_id} have auto_id")
    if params.file_format.value == "numpy" and params.sets_rows_aside:
        reasons.append(
            "file_format numpy needs the number of rows beforehand, so rows can't be set aside; "
            "use file_format auto"
        )
    return reasons
