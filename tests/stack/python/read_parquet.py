"""Reads an export of the audit with pyarrow and prints what the test compares, as JSON."""

import json
import sys

import pyarrow.compute as pc
import pyarrow.parquet as pq

table = pq.read_table(sys.argv[1])
records = [json.loads(record) for record in table["record"].to_pylist()]
names = table.column_names
same = all(
    row["principal"] == record.get("principal")
    and row["type"] == record["type"]
    and row["rows"] == record.get("rows")
    and row["text"] == (record.get("text") or None)
    and row["time"].isoformat(timespec="microseconds").replace("+00:00", "Z") == record["time"]
    for row, record in zip(table.to_pylist(), records)
)
print(
    json.dumps(
        {
            "rows": table.num_rows,
            "numbers": table["n"].to_pylist() == list(range(table.num_rows)),
            "types": {name: str(table.schema.field(name).type) for name in ("n", "time", "rows", "record")},
            "same": same,
            "denied": pc.sum(pc.equal(table["type"], "denied")).as_py() or 0,
            "names": names,
        }
    )
)
