"""Writes `milvus.yaml` for the Milvus server of the PyPI wheel, from the wheel's own template."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .errors import LocalServerError
from .milvus_wheels import milvus_wheel_data

PROXY_PORT = 19530
METRICS_PORT = 9091
S3_PORT_INSIDE = 9000

# 2.2's template leaves these open; they are Milvus' own defaults, in a network of its own.
_PORTS_2_2 = {
    "root_coord_port": 53100,
    "query_coord_port": 19531,
    "query_node_port": 21123,
    "index_coord_port": 31000,
    "index_node_port": 21121,
    "data_coord_port": 13333,
    "data_node_port": 21124,
}

_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*(?:\(\w+\))?\s*(?::\s*(.*?))?\s*\}\}")
_KEY_LINE = re.compile(r"^( *)([A-Za-z0-9_]+):([^#]*)(#.*)?$")


@dataclass(frozen=True)
class S3Settings:
    """An S3 server and the place in it where a Milvus keeps its data."""

    endpoint_url: str
    access_key: str
    secret_key: str
    bucket: str = "milvus"
    root_path: str = "files"

    def host_and_port(self) -> tuple[str, int]:
        """Where the server is, for a plain TCP connection."""
        url = urlsplit(self.endpoint_url)
        if url.scheme != "http" or not url.hostname:
            raise LocalServerError(
                f"The S3 endpoint of a local Milvus must be http://host:port, not "
                f"{self.endpoint_url!r} (https is not supported here)."
            )
        return url.hostname, url.port or 80


def write_config(
    version: str,
    base_dir: Path,
    s3: S3Settings | None,
    auth: bool,
    overrides: Mapping[str, object],
) -> None:
    """Write `configs/` below `base_dir`; `overrides` maps dotted keys of milvus.yaml to values.

    A key that the template doesn't have is an error: Milvus itself would ignore it silently.
    """
    wheel = milvus_wheel_data(version)
    values: dict[str, object] = {
        "etcd_log_path": base_dir / "logs" / "etcd.log",
        "etcd_data_dir": base_dir / "data" / "etcd.data",
        "local_storage_dir": base_dir / "data",
        "rocksmq_data_dir": base_dir / "data" / "rocksmq",
        "rocketmq_data_dir": base_dir / "data" / "rocksmq",  # how 2.2's template calls it
        "system_log_path": base_dir / "logs",
        **_PORTS_2_2,
    }
    text = (wheel / "config.yaml.template").read_text(encoding="utf-8")
    text = _PLACEHOLDER.sub(lambda match: str(values.get(match[1], match[2])), text)
    settings: dict[str, object] = {
        "common.security.authorizationEnabled": auth,
        "common.gracefulStopTimeout": 3,
        # A part that doesn't find another one asks again; not doubling the pauses up to 10 s
        # makes a restart on old data some seconds faster.
        "grpc.client.maxBackoff": 0.5,
        "grpc.client.maxMaxAttempts": 60,
        "log.stdout": False,
    }
    if s3 is not None:
        settings |= {
            "common.storageType": "minio",
            "minio.address": "127.0.0.1",
            "minio.port": S3_PORT_INSIDE,
            "minio.accessKeyID": s3.access_key,
            "minio.secretAccessKey": s3.secret_key,
            "minio.bucketName": s3.bucket,
            "minio.rootPath": s3.root_path,
        }
    text, unknown = _set_keys(text, {**settings, **overrides})
    if unknown:
        raise LocalServerError(
            f"milvus.yaml of Milvus {version} has no key {', '.join(unknown)}; see "
            f"{wheel / 'config.yaml.template'} for those it has."
        )
    for folder in ("configs", "logs", "data"):
        (base_dir / folder).mkdir(parents=True, exist_ok=True)
    (base_dir / "configs" / "milvus.yaml").write_text(text, encoding="utf-8")
    if (wheel / "glog.conf").exists():  # since 2.3
        shutil.copy(wheel / "glog.conf", base_dir / "configs" / "glog.conf")


def _set_keys(text: str, settings: Mapping[str, object]) -> tuple[str, list[str]]:
    """Replace the values of dotted keys in the (two blanks a level) YAML text.

    :return: the text, and the keys that it doesn't have.
    """
    missing = dict(settings)
    path: list[str] = []
    lines = []
    for line in text.splitlines():
        match = _KEY_LINE.match(line)
        if match:
            path = [*path[: len(match[1]) // 2], match[2]]
            key = ".".join(path)
            if key in missing:
                value = missing.pop(key)
                shown = str(value).lower() if isinstance(value, bool) else str(value)
                line = f"{match[1]}{match[2]}: {shown}"
        lines.append(line)
    return "\n".join(lines) + "\n", sorted(missing)
