"""The filters and masks of tpc.json, as rules of Trino's file-based access control or as a document of policies.

tpc_rules.py TPC.JSON rules USER: one rule to a line, each with a comma behind it
tpc_rules.py TPC.JSON policies ISOLATION: for the group eu-analysts, in JSON, which is YAML
"""

import json
import sys

path, what, argument = sys.argv[1:]
with open(path, encoding="utf-8") as file:
    catalogs = json.load(file)
policies = []
for catalog, tables in catalogs.items():
    for table, rule in tables.items():
        # The bench keeps its tables of TPC-H there.
        places = [(catalog, "*")] + ([("lake", "tpch")] if catalog == "tpch_decimal" else [])
        for place, schema in places:
            if what == "rules":
                masks = [{"name": name, "mask": mask} for name, mask in rule["masks"].items()]
                native = {"user": argument, "catalog": place, "schema": schema.replace("*", ".*"), "table": table}
                print(json.dumps(native | {"privileges": ["SELECT"], "filter": rule["filter"], "columns": masks}) + ",")
        policies.append({
            "name": f"{catalog}-{table}",
            "who": {"groups": ["eu-analysts"]},
            "tables": [f"{place}.{schema}.{table}" for place, schema in places],
            "allow": True,
            "row_filter": rule["filter"],
            "isolation": argument,
            "column_masks": [{"columns": [name], "sql": mask} for name, mask in rule["masks"].items()],
        })
if what == "policies":
    print(json.dumps({"version": 1, "policies": policies}, indent=1))
