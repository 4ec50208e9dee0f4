"""Ways to log in to Google Cloud Storage and to Azure, other than a key for everything."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pyarrow.fs as pafs
import pytest
from pydantic import SecretStr

from airlift.connections import AzureConnection, GoogleConnection
from airlift.copying import copy_file
from airlift.errors import AirliftError
from airlift.storage import Storage, open_storage
from localservers import Azurite, GoogleStorage
from tests.servers.bucket_services import azure_connection, google_connection

SECONDS = 3


@pytest.fixture
def short_lived(tmp_path: Path) -> Iterator[GoogleStorage]:
    with GoogleStorage(tmp_path / "google", token_seconds=SECONDS) as server:
        server.make_bucket("bkt")
        yield server


def test_tokens_that_end_are_renewed(short_lived):
    folder = open_storage("gs://bkt/x", google_connection(short_lived))
    written = 0
    # Each is used for a sixth of its life: the first ones have ended before the last is given.
    while short_lived.tokens_given < 9:
        folder.write_bytes(str(written), b"x")
        assert folder.read_bytes(str(written)) == b"x"
        written += 1
    assert set(folder.list()) == {str(number) for number in range(written)}


def test_a_file_with_the_key(short_lived, tmp_path):
    key = tmp_path / "key.json"
    key.write_bytes(orjson.dumps(short_lived.key))
    by_file = GoogleConnection(key_file=str(key), endpoint_url=short_lived.endpoint_url)
    folder = open_storage("gs://bkt/x", by_file)
    folder.write_bytes("a", b"x")
    assert folder.read_bytes("a") == b"x"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"key_file": "/no/such/key.json"}, "File /no/such/key.json was not found"),
        ({"key_json": SecretStr("{hush")}, "the key was expected to be a JSON object"),
        ({"key_json": SecretStr('{"type": "hush"}')}, "cannot log in to Google Cloud"),
    ],
)
def test_a_key_that_is_none_is_told(given, said):
    folder = open_storage("gs://bkt/x", GoogleConnection(**given))
    with pytest.raises(AirliftError) as error:
        folder.list()
    assert said in str(error.value)
    assert "cannot log in to Google Cloud: " in str(error.value)


def test_who_imports_for_us_gets_a_token_that_only_reads(google_storage):
    google_storage.make_bucket("imported")
    folder = open_storage("gs://imported/x", google_connection(google_storage))
    folder.write_bytes("a", b"x")
    keys = folder.store.import_keys()
    assert set(keys) == {"token"}
    reader = pafs.GcsFileSystem(
        access_token=keys["token"],
        credential_token_expiration=_in_an_hour(),
        scheme="http",
        endpoint_override=google_storage.endpoint_url.removeprefix("http://"),
    )
    assert reader.open_input_file("imported/x/a").read() == b"x"
    with pytest.raises(OSError, match="PERMISSION_DENIED"):
        reader.delete_file("imported/x/a")
    assert folder.read_bytes("a") == b"x"


def _in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


def by_signature(server: Azurite, permission: str) -> AzureConnection:
    token = SecretStr(server.sas_token(permission))
    return azure_connection(server).model_copy(
        update={"account_key": SecretStr(""), "sas_token": token}
    )


def test_a_shared_access_signature_is_enough(azurite):
    azurite.make_bucket("signed")
    folder = open_storage("az://signed/x", by_signature(azurite, "rwdlc"))
    assert folder.check(write=True) is None
    folder.write_bytes("a/b", b"12345")
    target = folder.folder("copied")
    copy_file(folder, target, "a/b", 5)
    assert target.read_bytes("a/b") == b"12345"
    assert folder.list("copied") == {"copied/a": None}
    # Not a folder: Azurite takes no batch of deletions by a signature.
    folder.delete_file("a/b")
    folder.delete_file("copied/a/b")
    assert not [path for path, size in folder.list(recursive=True).items() if size]


def test_a_signature_that_may_only_read_can_t_write(azurite):
    azurite.make_bucket("readable")
    connection = by_signature(azurite, "rl")
    folder = open_storage("az://readable/x", connection)
    assert folder.check(write=False) is None
    assert folder.check(write=True) is not None
    assert "access is denied; the key needs list, read and" in str(folder.check(write=True))


def test_no_message_has_the_signature(azurite):
    connection = by_signature(azurite, "rwdlc")
    folder = open_storage(f"az://{'no.such,container' * 8}/x", connection)
    signature = connection.sas_token.get_secret_value().split("sig=")[1].split("&")[0]
    with pytest.raises(AirliftError) as error:
        folder.list()
    assert "sig=…" in str(error.value)
    assert signature not in f"{error.value} {error.value.__cause__!r}"


def test_an_address_with_the_account_in_it(azurite):
    azurite.make_bucket("addressed")
    connection = azure_connection(azurite)
    folder = open_storage(f"abfss://addressed@{azurite.account}.dfs.core.windows.net/x", connection)
    folder.write_bytes("a", b"x")
    assert open_storage("wasbs://addressed/x", connection).read_bytes("a") == b"x"


def contents(folder: Storage) -> dict[str, bytes]:
    return {path: folder.read_bytes(path) for path, size in folder.list().items() if size}


def test_the_last_of_two_writers_of_a_blob_wins_whole(azurite):
    azurite.make_bucket("raced")
    folder = open_storage("az://raced/x", azure_connection(azurite))
    one, other = folder.open_output("a"), folder.open_output("a")
    one.write(b"1" * (9 << 20))
    other.write(b"2" * (9 << 20))
    one.commit()
    assert contents(folder) == {"a": b"1" * (9 << 20)}
    with pytest.raises(AirliftError, match="another upload of the same file was faster"):
        other.commit()
    assert contents(folder) == {"a": b"1" * (9 << 20)}
