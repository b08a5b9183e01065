"""Says how many data files of Iceberg Trino reads for pairs of queries, as a user whom Trino restricts and as one whom it does
not: files.py PORT PAIRS.JSON"""

import json
import re
import sys

import trino

FILES = re.compile(r"'dataFiles' = LongCount\{total=(\d+)\}")


def files(connection, sql):
    cursor = connection.cursor()
    cursor.execute("EXPLAIN ANALYZE VERBOSE " + sql)
    counts = FILES.findall(cursor.fetchall()[0][0])
    if not counts:
        sys.exit(f"the plan does not say how many files were read: {sql}")
    return sum(map(int, counts))


port, path = sys.argv[1:]
with open(path, encoding="utf-8") as file:
    pairs = json.load(file)
native, admin = (trino.dbapi.connect(host="127.0.0.1", port=int(port), user=user) for user in ("native_tpc", "admin"))
counts = [(files(native, pair["native"]), files(admin, pair["rewritten"])) for pair in pairs]
print(json.dumps({
    "worst": max(ours / max(theirs, 1) for theirs, ours in counts),
    "native": sum(theirs for theirs, _ in counts),
    "rewritten": sum(ours for _, ours in counts),
    "queries": len(counts),
}))
