"""One index file: its vectors in blocks, with the numbers and ids of its rows."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from airlift.errors import AirliftError
from airlift.reading_ahead import read_ahead
from airlift.sources.faiss.cursor import Cursor
from airlift.sources.faiss.decoder import Decoder
from airlift.sources.faiss.layout import Layout
from airlift.sources.faiss.parser import parse
from airlift.sources.faiss.places import FileRef
from airlift.sources.faiss.vectors import Block, Ids, VectorFile
from airlift.storage import Storage
from airlift.temporary_folder import TemporaryFolder

IDS_BLOCK = 1 << 18
_COPY_BYTES = 8 << 20


class Rows(NamedTuple):
    """Rows of a file.

    Attributes:
        numbers: in which order they were added, as far as the index knows.
        ids: the index's own ids (the numbers, where it has none).
        vectors: as they are stored, or as Faiss decoded them.
    """

    numbers: Ids
    ids: Ids
    vectors: NDArray[Any]


class IndexFile:
    """An index file.

    Args:
        folder: the disk or bucket that it is read from.
        ref: the file in it.
        find_lists: finds the file of its inverted lists by the base name, where `ref` lacks it.

    Attributes:
        ref: the file, with that of its inverted lists, if they lie in one.

    Raises:
        AirliftError: it is damaged, or can't be moved.
    """

    def __init__(
        self, folder: Storage, ref: FileRef, find_lists: Callable[[FileRef, str], FileRef]
    ) -> None:
        self._folder = folder
        self.address = folder.address(ref.path)
        with Cursor(folder, ref.path, ref.size) as cursor:
            self.layout: Layout = parse(cursor)
        if (name := self.layout.lists_file) and not ref.lists:
            ref = ref.model_copy(update={"lists": find_lists(ref, name)})
        self.ref = ref
        self._check_lists()
        self._scratch: TemporaryFolder | None = None
        self._local = ""
        self._id_map: Ids | None = None

    def _check_lists(self) -> None:
        """Refuses a file of lists with another length than the index says.

        It has exactly that length when Faiss writes the index.

        Raises:
            AirliftError: the lengths differ.
        """
        lists, expected = self.ref.lists, self.layout.lists_bytes
        if lists and lists.size != expected:
            raise AirliftError(
                f"{self._folder.address(lists.path)} has {lists.size:,} bytes; {self.address}, "
                f"whose inverted lists it holds, expects {expected:,}: it is truncated, of another "
                "index, or the index was not written again after rows were added; copy both again, "
                "or write the index with faiss.write_index once its lists are complete"
            )

    @property
    def has_ids(self) -> bool:
        """Whether it has ids of its own, and not just positions."""
        return self.layout.lists or self.layout.id_map_at is not None

    def close(self) -> None:
        """Removes the copy that Faiss read from."""
        if self._scratch is not None:
            self._scratch.close()

    def error(self) -> dict[str, Any]:
        """What can be said of the error of its codes; see `child`."""
        return self._decoder().error()

    def rows(self, start: int, stop: int, base: int, block: int) -> Iterator[Rows]:
        """Yields the rows [start, stop).

        Args:
            base: the number of the file's first row.
            block: rows to yield at once.
        """
        with self._vector_file() as file:
            for found in self._blocks(file, start, stop, block):
                count = len(found.vectors)
                numbers = found.ids
                if numbers is None:
                    numbers = np.arange(base + found.start, base + found.start + count)
                yield Rows(
                    numbers, self._mapped(file, found.start, found.ids, numbers), found.vectors
                )

    def ids(self, base: int) -> Iterator[tuple[Ids, Ids]]:
        """Yields the numbers and the ids of all rows; vectors are not read."""
        total = self.layout.rows
        with self._vector_file() as file:
            decoded = None
            if self.layout.lists and self.layout.codec is None:
                decoded = self._decoder().ids(0, total, IDS_BLOCK)
            for start in range(0, total, IDS_BLOCK):
                stop = min(start + IDS_BLOCK, total)
                own = None
                if self.layout.lists:
                    own = file.list_ids(start, stop) if decoded is None else next(decoded)
                numbers = np.arange(base + start, base + stop) if own is None else own
                yield numbers, self._mapped(file, start, own, numbers)

    def _vector_file(self) -> VectorFile:
        return VectorFile(self._folder, (self.ref.lists or self.ref).path, self.layout)

    def _blocks(self, file: VectorFile, start: int, stop: int, block: int) -> Iterator[Block]:
        if self.layout.codec is None:
            yield from self._decoder().blocks(start, stop, block)
            return
        ranges = [(at, min(at + block, stop)) for at in range(start, stop, block)]
        ahead = self._folder.ranges_ahead
        for _, found in read_ahead(file.block, ranges, ahead):
            yield found

    def _mapped(self, file: VectorFile, start: int, own: Ids | None, numbers: Ids) -> Ids:
        """The ids that an IDMap gives, or the index itself."""
        if self.layout.id_map_at is None:
            return numbers
        if own is None:
            return file.mapped_ids(start, start + len(numbers))
        if self._id_map is None:
            with VectorFile(self._folder, self.ref.path, self.layout) as index:
                self._id_map = index.mapped_ids(0, self.layout.rows)
        if len(own) and not 0 <= own.min() <= own.max() < len(self._id_map):
            raise AirliftError(
                f"{self.address}: its lists name rows that its IDMap does not have, such as "
                f"{own.max()}; it is damaged; write it again with faiss.write_index"
            )
        return self._id_map[own]

    def _decoder(self) -> Decoder:
        if not self._local:
            self._local = self._on_disk()
        return Decoder(self._local, self.address, self.layout)

    def _on_disk(self) -> str:
        """The file on this machine's disk; Faiss reads nothing else.

        It stands in a folder of its own, with that of its lists and no other: Faiss opens whatever
        file an index names.
        """
        self._scratch = TemporaryFolder("faiss")
        folder = self._scratch.path / "faiss"
        folder.mkdir()
        lists, name = self.ref.lists, self.layout.lists_file
        # The name of the lists' file comes from the index, and may be any.
        target = folder / ("index" if name != "index" else "the index")
        places = {self.ref.path: target}
        if lists:
            places[lists.path] = folder / name
        if self._folder.is_local:
            for path, place in places.items():
                place.symlink_to(self._folder.path(path))
            return str(target)
        size = sum(ref.size for ref in self.ref.with_lists)
        free = shutil.disk_usage(self._scratch.path).free
        if free < size:
            raise AirliftError(
                f"{self.address} has {size:,} bytes{' with its lists' if lists else ''} and must "
                f"be copied to this worker's disk for Faiss to read it; {self._scratch.path} has "
                f"{free:,} bytes left; set TMPDIR to a larger disk"
            )
        for path, place in places.items():
            self._download(path, place)
        return str(target)

    def _download(self, path: str, target: Path) -> None:
        with (
            self._folder.open_input(path) as stream,
            target.open("wb") as file,
            self._folder.explained("read", path),
        ):
            while data := stream.read(_COPY_BYTES):
                file.write(data)
