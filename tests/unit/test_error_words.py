"""Names that users give never decide what a server's message is taken for."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pytest
from pymilvus.exceptions import MilvusException

from airlift.errors import AirliftError
from airlift.milvus.errors import RateLimited, TooLarge, Unavailable, explained
from airlift.steps.choose_way import did_not_find_file
from airlift.storage import open_storage
from airlift.storage_errors import explained as explained_storage
from airlift.stores.base import Store

NAMES = (
    "ssl",
    "ssl_certs",
    "rate_limit",
    "rate_limits",
    "quota_exceeded",
    "not_found",
    "timeout",
    "timeout_1",
    "connection_refused",
    "out_of_memory",
    "permission_denied",
    "oom",
)
# As Milvus 2.2 to 2.6 write names.
TEXTS = (
    "schema mismatch of field '{}'",
    "illegal field[field={}]",
    'index on "{}" is not valid',
    "invalid parameter[expected=a name][actual={}]",
    "collection `{}` has no vector field",
    "cannot parse the schema of {}",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("code", [1, 5, 1100, 65535])
def test_a_name_is_no_meaning_of_a_milvus_error(name: str, text: str, code: int) -> None:
    said = text.format(name)
    found = explained(MilvusException(code, said), f"create the collection {name!r}")
    assert str(found) == f"cannot create the collection {name!r}: {said}"
    assert not isinstance(found, Unavailable | TooLarge)


@pytest.mark.parametrize("name", NAMES)
def test_a_code_wins_over_words(name: str) -> None:
    found = explained(MilvusException(100, f"can't find collection {name} rate limit"), "load it")
    assert "there is no such collection" in str(found)
    assert not isinstance(found, Unavailable)


@pytest.mark.parametrize(
    ("code", "text", "kind", "advice"),
    [
        (8, "too much of rate_limits", RateLimited, "rate limit was hit"),
        (1, "rate limit exceeded[rate=3]", RateLimited, "rate limit was hit"),
        (9, "quota exceeded[reason=memory_x]", AirliftError, "quota of the server"),
        (9, "memory quota exceeded, 'ssl'", AirliftError, "memory is used up"),
        (9, "disk quota exceeded", AirliftError, "disk quota is used up"),
        (1, "collection 'ssl' does not exist", AirliftError, "no such collection"),
        (1, "partition not found: timeout", AirliftError, "no such partition"),
    ],
)
def test_own_words_still_count(code: int, text: str, kind: type[AirliftError], advice: str) -> None:
    found = explained(MilvusException(code, text), "write")
    assert type(found) is kind
    assert advice in str(found)


BUCKET_NAMES = (
    "AccessDenied",
    "SlowDown",
    "curlCode",
    "NoSuchBucket",
    "ExpiredToken",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
)


@pytest.mark.parametrize("name", BUCKET_NAMES)
@pytest.mark.parametrize(
    "text",
    [
        "When reading key 'a/{}/b' in bucket '{}': AWS Error UNKNOWN during GetObject",
        "Cannot open gs://{}/a/{}: it broke",
        "broken file s3://bucket/{}/{}",
        "could not list {}/a/{} of it",
    ],
)
def test_a_path_is_no_meaning_of_a_bucket_error(name: str, text: str) -> None:
    said = text.format(name, name)
    with pytest.raises(AirliftError) as raised, explained_storage("read", f"s3://{name}/a/{name}"):
        raise OSError(said)
    assert str(raised.value) == f"cannot read s3://{name}/a/{name}: {said}"


@pytest.mark.parametrize("name", BUCKET_NAMES)
def test_a_bucket_s_own_word_counts_beside_a_name(name: str) -> None:
    said = f"When reading key '{name}/x' in bucket 'b': AWS Error ACCESS_DENIED during GetObject"
    with pytest.raises(AirliftError, match="access is denied"), explained_storage("read", "s3://b"):
        raise pa.ArrowIOError(said)


@pytest.mark.parametrize(
    "folder", ["not found", "does not exist", "access denied", "no such file", "file size of"]
)
@pytest.mark.parametrize(
    ("reason", "unseen"),
    [
        ("failed to get file size of '{0}/id.npy', error:The specified key does not exist.", True),
        ("open {0}/id.npy: no such file or directory", True),
        ('error: NoSuchKey(key={0}/id.npy), file: id:1  paths:"{0}/id.npy" ', True),
        ("failed to read the file '{0}/id.npy', error: Access Denied.", True),
        ("failed to read the header of {0}/id.npy: not a valid NumPy file format", False),
        ('error: bad magic, file: id:1 paths:"{0}/id.npy" paths:"{0}/vector.npy" ', False),
    ],
)
def test_a_folder_is_no_sign_of_a_lost_file(
    tmp_path: Path, folder: str, reason: str, unseen: bool
) -> None:
    storage = open_storage(str(tmp_path / folder))
    assert did_not_find_file(reason.format(storage.key()), storage) is unseen


@pytest.mark.parametrize("status", ["AccessDenied", "ACCESS_DENIED", "PERMISSION_DENIED"])
def test_a_bucket_is_no_refusal(status: str) -> None:
    class Bucket(Store):
        @property
        def filesystem(self) -> pafs.FileSystem:
            raise OSError(f"When getting information for bucket '{status}': no route")

    with pytest.raises(OSError, match="no route"):
        Bucket().lacks(status)
