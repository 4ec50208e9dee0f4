"""The chunk file formats, by the name that the param `file_format` gives them."""

from airlift.formats.base import ChunkFormat
from airlift.formats.json_file import JsonFormat
from airlift.formats.numpy_files import NumpyFormat
from airlift.formats.own_files import OwnFilesFormat
from airlift.formats.parquet_file import ParquetFormat

OWN_FILES: type[ChunkFormat] = OwnFilesFormat

CHOICES: tuple[type[ChunkFormat], ...] = (NumpyFormat, ParquetFormat, JsonFormat)
"""In the order of preference: the first that fits the rows is the `auto` one."""

FORMATS: dict[str, type[ChunkFormat]] = {one.name: one for one in (*CHOICES, OWN_FILES)}
