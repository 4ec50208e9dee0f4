# The Airflow image with this project in it, for docker-compose.yaml and for Kubernetes.
FROM apache/airflow:3.3.2-python3.12

USER root
COPY pyproject.toml requirements.txt requirements.lock README.md LICENSE /opt/airlift/
COPY include /opt/airlift/include
COPY plugins /opt/airlift/plugins
COPY dags /opt/airflow/dags
# For the build only: what is installed below is a copy.
RUN chown -R airflow:0 /opt/airlift
USER airflow

# The lock has hashes, and what tests need besides: as constraints, it only says which versions.
RUN uv pip install --no-cache --constraint /opt/airlift/requirements.lock /opt/airlift

# Tasks run as `airflow`: they may not change what others run later. Its group is root's.
USER root
RUN installed="$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
    && rm -rf /opt/airlift \
    && chown root:0 "$installed" \
    && chown -R root:0 "$installed"/airlift* "$installed"/milvus_airlift* \
    && chmod -R go-w "$installed"/airlift* "$installed"/milvus_airlift* /opt/airflow/dags \
    && chmod go-w "$installed"
USER airflow
