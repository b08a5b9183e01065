"""Prints rules of Trino's file-based access control that give a user the filters and masks of tpc.json: one rule to a line,
each with a comma behind it. native_rules.py TPC.JSON USER"""

import json
import sys

path, user = sys.argv[1:]
with open(path, encoding="utf-8") as file:
    catalogs = json.load(file)
for catalog, tables in catalogs.items():
    for table, rule in tables.items():
        masks = [{"name": name, "mask": mask} for name, mask in rule["masks"].items()]
        rule = {"user": user, "catalog": catalog, "table": table, "privileges": ["SELECT"], "filter": rule["filter"], "columns": masks}
        print(json.dumps(rule) + ",")
