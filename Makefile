# Commands of this checkout. `make` alone lists them; `make -C <folder> <target>` works from anywhere.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made-from-lock
# Another interpreter: make env PYTHON=/opt/python3.13/bin/python3
PYTHON ?=
PYTEST_ARGS ?=
CHAOS_MINUTES ?= 60
CHAOS_ARGS ?=
# Another path: make demo PATH_TO_SHOW=faiss_to_milvus
PATH_TO_SHOW ?=
PASSWORDS := API_SECRET_KEY JWT_SECRET POSTGRES_PASSWORD REDIS_PASSWORD MILVUS_ROOT_PASSWORD MILVUS_BUCKET_PASSWORD STAGING_PASSWORD \
	MINIO_PASSWORD ELASTIC_PASSWORD MARIADB_PASSWORD
# make convert-config FILE=/etc/migration.yaml OUT=-    (without OUT: a file in include/migrations)
FILE ?=
OUT ?=

.DEFAULT_GOAL := help
.PHONY: help env demo test chaos convert-config bench lint format lock servers clean
.DELETE_ON_ERROR:

help: ## list the commands
	@sed -n 's/^\([.a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | awk -F'|' '{printf "%-20s %s\n", $$1, $$2}'

env: $(STAMP) ## make .venv with everything in requirements.lock, and this project in it

demo: env ## Airflow, a real Milvus and a sample migration on this machine; PATH_TO_SHOW=faiss_to_milvus
	@$(BIN)/python -m demo $(PATH_TO_SHOW)

test: env servers ## every test, in parts side by side; PYTEST_ARGS="-k name" chooses some
	AIRFLOW_HOME="$(CURDIR)/.airflow/tests" $(BIN)/python -m tests.parts $(PYTEST_ARGS)

convert-config: env ## a migration.yaml of milvus-migration becomes ours: FILE=… OUT=…
	@test -n "$(FILE)" || { echo 'say which: make convert-config FILE=migration.yaml' >&2; exit 2; }
	@$(BIN)/python -m airlift.old_config "$(FILE)" $(OUT)

chaos: env ## kill migrations at random for an hour; CHAOS_MINUTES=10, CHAOS_ARGS="--seed 7"
	PYTHONPATH="$(CURDIR):$(CURDIR)/include" $(BIN)/python -m tests.faults --minutes $(CHAOS_MINUTES) $(CHAOS_ARGS)

bench: env ## benchmarks; they print ratios
	$(BIN)/python -m bench

lint: env ## ruff (rules and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: env ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: env ## make requirements.lock anew, with the newest versions that fit
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
		--output-file requirements.lock requirements-dev.txt
	@if grep -nE 'https?://|--(index|extra-index|find-links)' requirements.lock; then \
		echo 'requirements.lock must name no registry: see the lines above' >&2; exit 1; fi

.env: ## random passwords for docker-compose.yaml; a file that is there stays
	@umask 077 && python3 -c 'import base64, secrets; \
		print("FERNET_KEY=" + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()); \
		[print(f"{name}={secrets.token_urlsafe(24)}") for name in "$(PASSWORDS)".split()]' > .env
	@echo '.env has new random passwords; git ignores it'

clean: ## remove .venv, caches, and Airflow's own folder of this checkout
	rm -rf $(VENV) .airflow .mypy_cache .ruff_cache .pytest_cache .hypothesis build
	rm -rf include/*.egg-info plugins/*.egg-info *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What tests find on the machine itself. A test whose server is missing fails; to skip those instead:
# make test PYTEST_ARGS=--skip-missing-servers
servers:
	@command -v mariadbd >/dev/null || test -x /usr/sbin/mariadbd || \
		echo 'note: no mariadbd here, so tests on MySQL metadata will fail (apt-get install mariadb-server)'
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 && command -v redis-server >/dev/null && \
		PATH="$$PATH:/usr/sbin:/sbin" command -v ip >/dev/null || \
		echo 'note: no PostgreSQL, Redis or iproute2 here, so tests on several machines will fail (apt-get install postgresql redis-server iproute2)'
	@command -v go >/dev/null || test -x /usr/local/go/bin/go || \
		test -x "$${XDG_CACHE_HOME:-$$HOME/.cache}/milvus-airlift/bin/versitygw" || \
		echo 'note: no Go here to build versitygw and fake-gcs-server with, so tests on S3 and Google Cloud Storage will fail (https://go.dev/dl)'
	@command -v node >/dev/null && command -v npm >/dev/null || \
		echo 'note: no Node.js or no npm here for Azurite, so tests on Azure will fail (apt-get install nodejs npm)'
	@command -v mvn >/dev/null && command -v javac >/dev/null || \
		echo 'note: no Maven or no JDK here, so tests on Elasticsearch and OpenSearch will fail (apt-get install maven default-jdk-headless)'
	@command -v chromium >/dev/null || \
		echo 'note: no chromium here, so tests on the migration page will fail (apt-get install chromium)'
	@test "$$(uname -sm)" = 'Linux x86_64' || \
		echo 'note: the embedded Milvus 2.3.5 exists for x86-64 Linux only, so tests on it will fail'

# pip comes with Python and installs uv, by the hash in the lock; uv then makes the environment be
# exactly the lock. Run again, it costs a second; nothing is done while lock and pyproject stand.
$(STAMP): requirements.lock requirements.txt pyproject.toml
	@set -eu; \
	python='$(PYTHON)'; \
	if [ -z "$$python" ]; then \
		for name in python3.13 python3.12 python3.11 python3.14 python3 python; do \
			if "$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; then \
				python=$$name; break; \
			fi; \
		done; \
	fi; \
	if [ -z "$$python" ]; then \
		echo 'Python 3.11 to 3.14 is needed and none was found on the PATH.' >&2; \
		echo 'Install one (Debian 12: apt-get install python3 python3-venv), or say where it is: make env PYTHON=/path/to/python3' >&2; \
		exit 1; \
	fi; \
	if ! $(BIN)/python -c '' 2>/dev/null || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		if ! "$$python" -c 'import venv, ensurepip' 2>/dev/null; then \
			version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
			echo "Python $$version is here, but its venv module is not. Debian and Ubuntu: apt-get install python$$version-venv" >&2; \
			exit 1; \
		fi; \
		echo "making $(VENV) with $$("$$python" --version)"; \
		"$$python" -m venv --clear $(VENV); \
	fi; \
	awk '/^uv==/ { found = 1 } found { print } found && !/\\$$/ { exit }' requirements.lock > $(VENV)/uv.txt; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(VENV)/uv.txt; \
	export VIRTUAL_ENV="$$PWD/$(VENV)"; \
	$(BIN)/uv pip sync --require-hashes requirements.lock; \
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .; \
	touch $(STAMP)
