# The Airflow image with this project in it, for docker-compose.yaml and for Kubernetes.
FROM apache/airflow:3.3.2-python3.12

USER root
COPY --chown=airflow:0 pyproject.toml requirements.txt requirements.lock README.md LICENSE /opt/airlift/
COPY --chown=airflow:0 include /opt/airlift/include
COPY --chown=airflow:0 plugins /opt/airlift/plugins
COPY --chown=airflow:0 dags /opt/airflow/dags
USER airflow

# The lock has hashes, and what tests need besides: as constraints, it only says which versions.
RUN uv pip install --no-cache --constraint /opt/airlift/requirements.lock /opt/airlift
