"""Reads and writes through the JDBC driver as Spark does: in partitions, with conditions pushed down, and what it thinks up to
learn what columns there are. Prints what it has read, as JSON.

usage: spark.py DRIVER URL USER AUTHORITY, with PASSWORD in the environment
"""

import json
import os
import sys

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

DRIVER, URL, USER, AUTHORITY = sys.argv[1:]
OPTIONS = {
    "url": URL, "driver": "io.trino.jdbc.TrinoDriver", "user": USER, "password": os.environ["PASSWORD"], "SSL": "true",
    "SSLTrustStorePath": AUTHORITY, "source": "spark",
}
settings = {"spark.jars": DRIVER, "spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.driver.memory": "512m",
            "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1", "spark.sql.shuffle.partitions": "2"}
builder = SparkSession.builder.master("local[2]")
for name, value in settings.items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()


def read(**more):
    return spark.read.format("jdbc").options(**OPTIONS, **more).load()


def rows(frame):
    return [[str(value) for value in row] for row in frame.collect()]


customers = read(
    dbtable="lake.silver.customers", partitionColumn="id", lowerBound="1", upperBound="240", numPartitions="4", fetchsize="20"
)
joined = read(query="SELECT c.id, o.amount FROM lake.silver.customers c JOIN lake.silver.orders o ON o.customer_id = c.id")
said = {
    "partitions": customers.rdd.getNumPartitions(),
    "columns": customers.columns,
    "count": customers.count(),
    "masked": rows(customers.selectExpr("region", "substr(ssn, 1, 3)").distinct()),
    "pushed": rows(customers.where("id < 50 AND region IN ('EU', 'US') AND name LIKE 'A%'").groupBy("region").count()),
    "joined": rows(joined.selectExpr("count(*)", "sum(amount)")),
}
try:
    read(dbtable="lake.bronze.customers").count()
except PySparkException as error:
    said["refused"] = str(error)
except Exception as error:  # noqa: BLE001  (py4j's own, of the driver's)
    said["refused"] = str(error)
table = {"dbtable": "memory.scratch.eva_spark"}
customers.select("id", "region").where("id <= 30").write.format("jdbc").options(**OPTIONS, **table, isolationLevel="NONE").mode("append").save()
said["written"] = rows(read(**table).groupBy("region").count())
print(json.dumps(said))
