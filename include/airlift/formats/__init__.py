"""The chunk file formats, by the name that the param `file_format` gives them."""

from airlift.formats.base import ChunkFormat
from airlift.formats.numpy_files import NumpyFormat
from airlift.formats.parquet_file import ParquetFormat

FORMATS: dict[str, type[ChunkFormat]] = {
    chunk_format.name: chunk_format for chunk_format in (NumpyFormat, ParquetFormat)
}
"""In the order of preference: the first that fits the rows is the `auto` one."""
