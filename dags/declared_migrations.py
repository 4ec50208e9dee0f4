"""A DAG `migration__<name>` for each file of `include/migrations`; see docs/declared_migrations.md.

Airflow looks here because this names a DAG. What is wrong with a file is the import error of
declared_migrations_errors.py, so that it hurts none of these.
"""

from airlift_airflow.declared_dags import declared_dags

globals().update(declared_dags(__file__))
