"""The Airflow connections that take the place of the credentials in the old configuration."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from airlift.errors import Refused
from airlift.old_config.asking import OldConfig


@dataclass(frozen=True)
class NewConnection:
    """A connection to be added by hand, as its secrets are not repeated.

    Attributes:
        secrets: option of `airflow connections add` -> where in the old file its value stands.
        extra: keys of the connection's extra; a value `<…>` is to be filled in.
    """

    conn_id: str
    conn_type: str
    host: str = ""
    port: int = 0
    login: str = ""
    schema: str = ""
    secrets: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """The command that adds it, with `<…>` where a secret is to be filled in."""
        words = ["airflow", "connections", "add", self.conn_id, "--conn-type", self.conn_type]
        options = {
            "--conn-host": self.host,
            "--conn-port": str(self.port or ""),
            "--conn-login": self.login,
            "--conn-schema": self.schema,
            **{option: f"<{place}>" for option, place in self.secrets.items()},
            "--conn-extra": json.dumps(self.extra) if self.extra else "",
        }
        for option, value in options.items():
            words += [option, value] if value else []
        return shlex.join(words)


def milvus(config: OldConfig, side: str, conn_id: str) -> NewConnection:
    """The Milvus of `source` or `target`."""
    key = f"{side}.milvus2x"
    endpoint = config.text(f"{key}.endpoint", needed=True)
    host, port = _host_and_port(endpoint, 19530)
    secure = {"secure": True} if endpoint.startswith("https://") else {}
    login, secrets = _login(config, key)
    return NewConnection(conn_id, "milvus", host, port, login, secrets=secrets, extra=secure)


def bucket(config: OldConfig, side: str, conn_id: str) -> NewConnection:
    """The bucket of `source.remote` or `target.remote`."""
    key = f"{side}.remote"
    region = config.text(f"{key}.region")
    endpoint = _endpoint(config, key, region)
    secrets = {}
    keys = config.text(f"{key}.ak"), config.text(f"{key}.sk")
    if all(keys) and not config.flag(f"{key}.useIAM"):
        secrets = {"--conn-login": f"ak of {key}", "--conn-password": f"sk of {key}"}
    else:
        config.note(f"{conn_id} has no keys: the workers' own role must be allowed to use it")
    extra = {"region_name": region, "endpoint_url": endpoint}
    given = {name: value for name, value in extra.items() if value}
    return NewConnection(conn_id, "aws", secrets=secrets, extra=given)


def _endpoint(config: OldConfig, key: str, region: str) -> str:
    cloud, endpoint = config.text(f"{key}.cloud").lower(), config.text(f"{key}.endpoint")
    secure = config.flag(f"{key}.useSSL")
    if cloud in ("azure", "az"):
        raise Refused([f"{config.name}: {key}.cloud is {cloud}; buckets must speak S3 here"])
    if endpoint:
        return endpoint if "://" in endpoint else f"http{'s' * secure}://{endpoint}"
    known = {
        "ali": f"https://oss-{region.removeprefix('oss-')}.aliyuncs.com",
        "gcp": "https://storage.googleapis.com",
        "tencent": f"https://cos.{region}.myqcloud.com",
    }
    aliases = {"aliyun": "ali", "alibaba": "ali", "oss": "ali", "gcs": "gcp", "tc": "tencent"}
    return known.get(aliases.get(cloud, cloud), "")


def mysql(config: OldConfig, url: str, conn_id: str) -> NewConnection:
    """The database of a Go address: `user:password@tcp(host:port)/database?options`."""
    match = re.fullmatch(
        r"(?:(?P<user>[^:@]*)(?::(?P<password>.*))?@)?"
        r"(?:tcp)?\(?(?P<place>[^()/]*)\)?/(?P<database>[^?]+)(?:\?.*)?",
        url,
    )
    if not match:
        raise Refused(
            [f"{config.name}: the address of MySQL was expected as user:…@tcp(host:port)/database"]
        )
    host, port = _host_and_port(match["place"], 3306)
    secrets = {"--conn-password": "password of mysqlUrl"} if match["password"] else {}
    return NewConnection(
        conn_id, "generic", host, port, match["user"] or "", match["database"], secrets=secrets
    )


def elasticsearch(config: OldConfig, conn_id: str) -> NewConnection:
    """The Elasticsearch of `source.es`."""
    key = "source.es"
    hosts = ",".join(str(one) for one in config.items(f"{key}.urls"))
    if "@" in hosts:
        raise Refused([f"{config.name}: {key}.urls: put login and password out of the address"])
    login, secrets = _login(config, key)
    extra = {
        "cloud_id": config.text(f"{key}.cloudId"),
        "ca_file": config.text(f"{key}.cert"),
        "fingerprint": config.text(f"{key}.fingerprint"),
        "api_key": config.text(f"{key}.apiKey") and f"<apiKey of {key}>",
        "service_token": config.text(f"{key}.serviceToken") and f"<serviceToken of {key}>",
    }
    if not hosts and not extra["cloud_id"]:
        raise Refused([f"{config.name}: {key}.urls is needed, and missing"])
    if extra["cloud_id"]:
        hosts = ""
    given = {name: value for name, value in extra.items() if value}
    return NewConnection(conn_id, "elasticsearch", hosts, login=login, secrets=secrets, extra=given)


def _login(config: OldConfig, key: str) -> tuple[str, dict[str, str]]:
    password = {"--conn-password": f"password of {key}"}
    return config.text(f"{key}.username"), password if config.text(f"{key}.password") else {}


def _host_and_port(place: str, default: int) -> tuple[str, int]:
    parts = urlsplit(place if "://" in place else f"//{place}")
    try:
        return parts.hostname or place, parts.port or default
    except ValueError:
        raise Refused([f"the address {place} was expected as host:port"]) from None
