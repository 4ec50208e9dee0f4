"""The step `copy_source`: copies the source's files into staging.

From a bucket to a bucket with the same credentials the store copies by itself; else the bytes go
through this process. A file that is there in full length is not copied again.
"""

from __future__ import annotations

from typing import Any

from airlift.copying import copy_file
from airlift.errors import AirliftError
from airlift.file_identity import FileIdentity
from airlift.migration import Migration
from airlift.schema import SourceCollection
from airlift.sources.base import SourceFile
from airlift.sources.unchanged import DescribedFile, FileChanged, ensure_unchanged
from airlift.staging import Meta
from airlift.storage import Storage

COPIED = "copied.json"
"""Is there when all files are copied: the source reads the copies from then on."""


def files_to_copy(migration: Migration, workers_share_disk: bool) -> list[SourceFile]:
    """The files that must be copied before the workers can read them; often none.

    Args:
        workers_share_disk: whether every worker sees this machine's disk.
    """
    files = migration.source.files(list(migration.staging.meta().collections))
    folder = migration.source.folder()
    wanted = migration.params.copy_source
    needed = bool(folder and folder.is_local and not workers_share_disk)
    if not files or wanted == "never" or (wanted == "auto" and not needed):
        return []
    if migration.staging.folder.is_local and wanted == "auto":
        raise AirliftError(
            f"the source lies on a disk ({folder.url if folder else ''}) that other workers may "
            "not see, and so does staging; stage in a bucket, or set copy_source to never when all "
            "workers share the disk"
        )
    odd = [file.path for file in files if "//" in f"/{file.path}"]
    if odd:
        raise AirliftError(
            f"{odd[0]!r} has an empty part (//), and copies can't have such names; set copy_source "
            "to never, or copy the files to a prefix without one"
        )
    return files


def group_files(files: list[SourceFile], groups: int) -> list[list[SourceFile]]:
    """Divides files into at most `groups` groups of about equal bytes."""
    made: list[list[SourceFile]] = [[] for _ in range(min(groups, len(files)))]
    sizes = [0] * len(made)
    for file in sorted(files, key=lambda file: -file.size):
        smallest = sizes.index(min(sizes))
        made[smallest].append(file)
        sizes[smallest] += file.size
    return made


def copy_files(migration: Migration, files: list[SourceFile]) -> dict[str, Any]:
    """Copies files of the source into staging.

    Each must be what was described, before it is copied and after. A copy that an earlier attempt
    has left counts as well as one that is made now: see `discard_outdated_copies`.

    Returns:
        Files and bytes copied, and how many were there before.

    Raises:
        FileChanged: a file is not as it was described.
        AirliftError: a file can't be read or written.
    """
    source: Storage | None = migration.source.folder()
    if source is None:
        raise AirliftError("the source has no files to copy")
    target = migration.staging.copied_source
    if source.url != target.url:  # else the copies are complete, and what the source reads
        ensure_unchanged(DescribedFile(source, file.path, file.identity) for file in files)
    held = target.sizes(file.path for file in files)
    missing = [file for file, size in zip(files, held, strict=True) if size != file.size]
    for file in missing:
        _copy(source, target, file)
    return {
        "files": len(missing),
        "bytes": sum(file.size for file in missing),
        "there_before": len(files) - len(missing),
    }


def _copy(source: Storage, target: Storage, file: SourceFile) -> None:
    before: FileIdentity | None = file.identity
    if before == FileIdentity(file.size):  # of a source that does not ask for more
        [before] = source.identities([file.path])
    copy_file(source, target, file.path, file.size)
    try:
        ensure_unchanged([DescribedFile(source, file.path, before)])
    except FileChanged:
        target.delete_file(file.path)
        raise


def discard_outdated_copies(
    migration: Migration, earlier: Meta | None, collections: tuple[SourceCollection, ...]
) -> None:
    """Removes copies of files that have changed since an earlier attempt described them.

    Called before the new description is written down: so a copy in staging is always one of the
    file that `meta.json` describes.

    Args:
        earlier: the description that the copies in staging were made by; None for none.
        collections: as they are described now.
    """
    target = migration.staging.copied_source
    copies = [path for path, size in target.list(recursive=True).items() if size is not None]
    if not copies:
        return
    source = migration.source
    described = earlier.collections if earlier else ()
    before = {file.path: file for file in source.files(list(described))}
    now = {file.path: file for file in source.files(list(collections))}
    if now == before:
        return
    migration.staging.folder.delete_file(COPIED)
    target.delete_files(
        path for path in copies if path not in before or now.get(path) != before[path]
    )
    migration.reopen_source()  # it reads the originals again until all is copied


def finish_copy(migration: Migration, files: list[SourceFile]) -> None:
    """Checks that all files are there, and has the source read the copies from now on.

    What a process that was killed while it copied has left half-written is removed.
    """
    target = migration.staging.copied_source
    held = target.sizes(file.path for file in files)
    wrong = [file.path for file, size in zip(files, held, strict=True) if size != file.size]
    if wrong:
        raise AirliftError(
            f"{len(wrong)} source files are not in {target.url} in full length, such as "
            f"{wrong[0]!r}; clear the task copy_source"
        )
    # A target that imports the copies by itself takes whatever is in a folder of theirs.
    target.delete_files(target.half_written())
    migration.staging.folder.write_json(COPIED, {"files": len(files)})
