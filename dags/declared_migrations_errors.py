"""Shows what is wrong with files of `include/migrations` as the import error of this DAG file.

It makes no DAG: Airflow withdraws those of a file that has an import error.
"""

from airlift_airflow.declared_dags import broken_declarations

broken = broken_declarations(__file__)
