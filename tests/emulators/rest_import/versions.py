"""How servers of different versions behave, as data.

`BASE` is Milvus 2.5.27, and `CHANGES` are what later versions do otherwise. Both are what real
servers of 2.5.27 and 2.6.20 answered (``tests/fixtures/rest_import``, replayed by
``tests/emulators/test_recorded_imports.py``). Of the versions between and after them nothing was
recorded, but for these: a change that was only seen in 2.6.20 counts from 2.6.0 on, unless it would
make the emulator take what an older 2.6 may refuse; then it counts from 2.6.20 on. Numbers from
elsewhere: nullable vectors from 2.6.18 and code 2101 from 2.6.19 (observed), ``Idempotency-Key``
from 2.6.24 and 3.0.2 (milvus-docs ``idempotent-import.md``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .contract import ImportFailed, RestError

_IMPORT = ": importing data failed"
_PARAMETER = ": invalid parameter"

# What a job fails with, by what is wrong. `{}` are filled in; a parser's own wording is `{parser}`.
_TEXTS: dict[str, str] = {
    "auto_id": f"the primary key '{{field}}' is auto-generated, no need to provide{_IMPORT}",
    "function_output": f"the field '{{field}}' is output by function, no need to provide{_IMPORT}",
    "too_long": "value length({found}) for field {field} exceeds max_length({limit})",
    "too_many": "array capacity({found}) for field {field} exceeds max_capacity({limit})",
    "not_finite": "value '{value}' is not a number or infinity",
    "null": "not nullable, but has null value: invalid parameter",
    "null_vector": (
        f"length of vector is not aligned: expected {{dim}} but got 0, data type: {{type}}{_IMPORT}"
    ),
    "null_item": f"array element is not allowed to be null value for field '{{field}}'{_IMPORT}",
    "json": '"Syntax error {parser}"',
    "json_empty": (
        '"Syntax error no sources available, the input json is empty: '
        'errors.SyntaxError{{Pos:0, Src:\\"\\", Code:0x1, Msg:\\"\\"}}"'
    ),
    "meta": 'Mismatch type map[string]interface {{}} with value {kind} "{parser}"',
    "sparse": f"Invalid JSON string for SparseFloatVector: '{{text}}', err = {{error}}{_IMPORT}",
    "sparse_negative": "negative value in sparse float vector",
    "sparse_index": "invalid index in sparse float vector: must be less than 2^32-1",
    # .parquet
    "parquet": f"new parquet reader failed, err=parquet: {{parser}}{_IMPORT}",
    "parquet_folder": (
        "new parquet reader failed, err=parquet: could not read footer: read {key}: "
        f"is a directory{_IMPORT}"
    ),
    "parquet_missing": f"schema not equal, err=field '{{field}}' not in arrow schema{_IMPORT * 2}",
    "parquet_type": (
        "schema not equal, err=field '{field}' type mis-match, milvus data type '{type}', "
        f"arrow data type get '{{arrow}}'{_IMPORT * 2}"
    ),
    "parquet_extra": (
        "the field: {field} is not in schema, if it's a dynamic field, "
        f"please reformat data by bulk_writer{_IMPORT}"
    ),
    "parquet_dim": (
        f"length of vector is not aligned: expected {{dim}} but got {{found}}, "
        f"data type: {{type}}{_IMPORT}"
    ),
    # .npy
    "npy": "npy: not a valid NumPy file format",
    "npy_empty": "EOF",
    "npy_dtype": f"the numpy file dtype '{{dtype}}' is not supported{_IMPORT}",
    "npy_type": (
        f"expected element type '{{type}}' for field '{{field}}', "
        f"got type 'schemapb.DataType'{_IMPORT}"
    ),
    "npy_unsupported_Array": f"unsupported data type: Array{_IMPORT}",
    "npy_unsupported_SparseFloatVector": (
        "expected element type 'SparseFloatVector' for field '{field}', "
        f"got type 'schemapb.DataType'{_IMPORT}"
    ),
    "npy_dim": (
        f"expected dim '{{dim}}' for {{type}} field '{{field}}', got dim '{{found}}'{_IMPORT}"
    ),
    "npy_rows": (
        "imported rows are not aligned, field '{first}' with '{rows}' rows, "
        f"field '{{field}}' with '{{found}}' rows{_IMPORT}"
    ),
    "npy_missing": f"no file for field: {{field}}, files: {{files}}{_IMPORT}",
    "npy_nullable": (
        "not support bulk insert numpy files in field({field}) which set nullable == true: "
        "invalid parameter"
    ),
    # .json
    "json_file": f"init failed, failed to decode JSON, error: {{parser}}{_IMPORT}",
    "json_root": (
        f"invalid JSON format, the root key should be 'rows', but get '{{found}}'{_IMPORT}"
    ),
    "row": "failed to parse row, error: {error}",
    "row_extra": f"the field '{{field}}' is not defined in schema{_IMPORT}",
    "row_missing": f"value of field '{{field}}' is missed{_IMPORT}",
    "row_type": (
        f"expected type '{{type}}' for field '{{field}}', got type '{{found}}' "
        f"with value '{{value}}'{_IMPORT}"
    ),
    "row_dim": (
        f"expected dim '{{dim}}' for field '{{field}}' with type '{{type}}', "
        f"got dim '{{found}}'{_IMPORT}"
    ),
    # a file that is not there, in a bucket and on a local disk
    "missing_s3_parquet": (
        "new parquet reader failed, err=parquet: could not retrieve footer offset: "
        f"The specified key does not exist.{_IMPORT}"
    ),
    "missing_s3_json": (
        "init failed, failed to decode JSON, error: The specified key does not exist.: "
        f"key not found[key={{key}}]{_IMPORT}"
    ),
    "missing_s3_npy": "The specified key does not exist.: key not found[key={key}]",
    "missing_s3_csv": "The specified key does not exist.: key not found[key={key}]",
    "missing_local_parquet": "key not found[key={key}]",
    "missing_local_json": (
        f"read json file failed, path={{key}}, err=key not found[key={{key}}]{_IMPORT}"
    ),
    "missing_local_npy": (
        f"failed to read the file '{{key}}', error: key not found[key={{key}}]{_IMPORT}"
    ),
    "missing_local_csv": "key not found[key={key}]",
}

_TEXTS_26: dict[str, str] = {
    **{name: _TEXTS[name] + _PARAMETER for name in ("too_long", "too_many", "not_finite")},
    **{name: _TEXTS[name] + _PARAMETER for name in ("sparse_negative", "sparse_index")},
    **dict.fromkeys(
        ("null", "null_vector"),
        f"the field '{{field}}' is not nullable but the file contains null value{_IMPORT}",
    ),
    "parquet_type": (
        "schema not equal, err=field '{field}' type mis-match, expect arrow type '{expected}', "
        f"get arrow data type '{{arrow}}'{_IMPORT * 2}"
    ),
    "parquet_dim": (
        "length of vector is not aligned: expected {dim} but got {found}: invalid parameter, "
        f"data type: {{type}}{_IMPORT}"
    ),
    "npy_dtype": (
        "unexpected numpy header for field '{field}': 'the numpy file dtype '{dtype}' is not "
        f"supported: invalid parameter'{_IMPORT}"
    ),
    "npy_type": (
        f"expected element type '{{type}}' for field '{{field}}', got type '{{found}}'{_IMPORT}"
    ),
    **{
        f"npy_unsupported_{kind}": (
            f"unsupported importing numpy files for collection with data type: {kind}{_IMPORT}"
        )
        for kind in ("Array", "SparseFloatVector")
    },
    "missing_s3_json": (
        "init failed, failed to decode JSON: The specified key does not exist.: "
        "key not found[key={key}]"
    ),
}

# Refusals of a request: code and message.
_REFUSALS: dict[str, tuple[int, str]] = {
    "unknown_job": (2100, f"import job does not exist, jobID={{job}}{_IMPORT}"),
    "job_id": (
        2100,
        f'parse job id failed, err=%wstrconv.ParseInt: parsing "{{job}}": invalid syntax{_IMPORT}',
    ),
    "too_many_jobs": (
        2100,
        "The number of jobs has reached the limit, please try again later. If your request is set "
        "to only import a single file, please consider importing multiple files in one request for "
        f"better efficiency.{_IMPORT}",
    ),
    "timeout": (2100, f'parse timeout failed, err=time: invalid duration "{{text}}"{_IMPORT}'),
    "data_type": (1100, "invalid parameter, data type {type} is invalid(case sensitive)."),
    "nullable_vector": (
        1100,
        "vector type not support null, type:{type}, name:{field}: invalid parameter",
    ),
}
_REFUSALS_26: dict[str, tuple[int, str]] = {
    "job_id": (
        1100,
        'parse job id failed: strconv.ParseInt: parsing "{job}": invalid syntax: invalid parameter',
    ),
    "timeout": (2100, f'parse timeout failed: time: invalid duration "{{text}}"{_IMPORT}'),
}
_REFUSALS_2619: dict[str, tuple[int, str]] = {
    "unknown_job": (2101, f"import job does not exist, jobID={{job}}{_IMPORT} on server side"),
    "too_many_jobs": (
        2101,
        "failed to broadcast import: failed to validate import request: "
        f"{_REFUSALS['too_many_jobs'][1]} on server side",
    ),
}

# Seconds after the request at which a small job reaches a stage, each the median of what was seen:
# asked every 0.4 s, so that a stage may have been reached that much earlier. See `pace.STAGES`.
_SECONDS = {
    "importing": 1.7,
    "read": 4.2,
    "told": 5.9,
    "running": 7.5,
    "loaded": 9.2,
    "stored": 9.4,
    "sorted": 13.2,
    "indexed": 14.2,
    "completed": 16.1,
}
_SECONDS_26 = {
    "importing": 1.6,
    "read": 4.9,
    "told": 5.7,
    "running": 7.8,
    "loaded": 8.7,
    "stored": 9.0,
    "sorted": 12.6,
    "indexed": 13.8,
    "completed": 15.8,
}


@dataclass(frozen=True)
class Behaviour:
    """What differs by version.

    Attributes:
        texts: what a job fails with.
        refusals: code and message of refused requests.
        reason: how a job's ``reason`` is put together.
        nested: whether a refused row's text ends in as many ": importing data failed" as there are
            layers, or in one.
        seconds: when a job reaches a stage.
        extra_columns: whether Parquet columns and JSON keys that are no fields are ignored.
        null_meta: whether null is taken for a row's ``$meta``.
        nullable_numpy: whether numpy files are taken by a collection with a nullable field.
        fixed_size_lists: whether Parquet vectors may be fixed-size lists.
        null_items: whether null is taken inside of an array; it becomes another value.
        nullable_vectors: whether a vector field may be nullable.
        int8_vectors: whether there are fields of type Int8Vector.
        not_finite_npy: whether NaN and Inf in a vector of a .npy file fail the job, or end the
            reading of it with no row at all.
        empty_npy: whether the type of a .npy without rows is checked.
        dropped: whether a job fails when its collection is dropped, or completes.
        create_time: whether a job tells its ``createTime``.
        properties: what a collection tells as its properties.
        idempotency: whether ``Idempotency-Key`` counts.
    """

    texts: Mapping[str, str]
    refusals: Mapping[str, tuple[int, str]]
    seconds: Mapping[str, float]
    reason: str = "error: {text}, file: id:{id}  {paths}"
    paths: str = "  "
    nested: bool = False
    extra_columns: bool = False
    null_meta: bool = False
    nullable_numpy: bool = False
    fixed_size_lists: bool = False
    null_items: bool = True
    nullable_vectors: bool = False
    int8_vectors: bool = False
    not_finite_npy: bool = False
    empty_npy: bool = False
    dropped: bool = True
    create_time: bool = False
    properties: Mapping[str, str] = field(default_factory=dict)
    idempotency: bool = False

    def fail(self, what: str, **values: Any) -> ImportFailed:
        """What ends a job, in this version's words."""
        return ImportFailed(self.texts[what].format(**values), exact=True)

    def fail_row(self, error: ImportFailed) -> ImportFailed:
        """The same for a row of a JSON or CSV file."""
        text = str(error)
        if not self.nested:
            text = text.removesuffix(_IMPORT)
        return ImportFailed(self.texts["row"].format(error=text) + _IMPORT, exact=True)

    def refuse(self, what: str, **values: Any) -> RestError:
        """What a request is refused with."""
        code, message = self.refusals[what]
        return RestError(code, message.format(**values))

    def reason_of(self, error: ImportFailed, number: int, paths: list[str]) -> str:
        """A job's ``reason``, when it fails while reading a group of files."""
        names = self.paths.join(f'paths:"{path}"' for path in paths)
        return self.reason.format(text=error, id=number, paths=names)


BASE = Behaviour(texts=_TEXTS, refusals=_REFUSALS, seconds=_SECONDS)

CHANGES: tuple[tuple[tuple[int, int, int], dict[str, Any]], ...] = (
    (
        (2, 6, 0),
        {
            "texts": _TEXTS | _TEXTS_26,
            "refusals": _REFUSALS | _REFUSALS_26,
            "seconds": _SECONDS_26,
            "reason": "error: {text}, file: id:{id} {paths}",
            "paths": " ",
            "nested": True,
            "extra_columns": True,
            "null_meta": True,
            "nullable_numpy": True,
            "null_items": False,
            "int8_vectors": True,
            "not_finite_npy": True,
            "empty_npy": True,
            "dropped": False,
            "create_time": True,
            "properties": {"timezone": "UTC"},
        },
    ),
    ((2, 6, 18), {"nullable_vectors": True}),
    ((2, 6, 19), {"refusals": _REFUSALS | _REFUSALS_26 | _REFUSALS_2619}),
    ((2, 6, 20), {"fixed_size_lists": True}),
    ((2, 6, 24), {"idempotency": True}),
    ((3, 0, 0), {"idempotency": False}),
    ((3, 0, 2), {"idempotency": True}),
)


def numbers(version: str) -> tuple[int, int, int]:
    """The first version number in a text, such as ``v2.6.20-dev``; (2, 6, 0) without one."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    if not found:
        return 2, 6, 0
    return int(found[1]), int(found[2]), int(found[3] or 0)


def behaviour_of(version: str) -> Behaviour:
    """How a server of that version behaves."""
    behaviour = BASE
    for since, changes in CHANGES:
        if since <= numbers(version):
            behaviour = replace(behaviour, **changes)
    return behaviour
