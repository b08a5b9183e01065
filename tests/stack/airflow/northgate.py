"""A DAG that writes and reads through the gateway, with Airflow's operator for SQL and with TrinoHook. What it has read is written
to the file RESULT, as JSON."""

import datetime
import json
import os

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.providers.trino.hooks.trino import TrinoHook
from airflow.sdk import dag, task

TABLE = "memory.scratch.eva_airflow"


@dag(schedule=None, start_date=datetime.datetime(2026, 1, 1), catchup=False)
def northgate():
    write = SQLExecuteQueryOperator(
        task_id="write",
        conn_id="northgate",
        sql=[
            f"DROP TABLE IF EXISTS {TABLE}",
            f"CREATE TABLE {TABLE} AS SELECT region, count(*) AS customers FROM lake.silver.customers GROUP BY region",
        ],
    )

    @task
    def read():
        hook = TrinoHook(trino_conn_id="northgate")
        who = hook.get_first("SELECT current_user")
        made = hook.get_records(f"SELECT * FROM {TABLE}")
        masked = hook.get_first(
            "SELECT count(*), count(DISTINCT substr(ssn, 1, 3)) FROM lake.silver.customers WHERE region <> ?", parameters=["US"]
        )
        hook.insert_rows(TABLE, [("XX", 1), ("O'Brien", 2)], ["region", "customers"])
        added = hook.get_first(f"SELECT count(*), sum(customers) FROM {TABLE}")
        with open(os.environ["RESULT"], "w") as file:
            json.dump({"who": who, "made": made, "masked": masked, "added": added}, file)

    write >> read()


northgate()
