"""Writes the seeds of a fuzz target: one file to a statement, named by its digest."""

import hashlib
import json
import pathlib
import sys

target, corpus, attacks, out = sys.argv[1:]
texts = []
for path in sorted(pathlib.Path(attacks).glob("*.txt")):
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", ">", "  ->")):
            texts.append(line)
if target == "rewrite":
    names = {"lake.silver.customers": "customers", "card_payments": "orders"}
    for old, new in names.items():
        texts = [text.replace(old, new) for text in texts]
elif target == "policy":
    texts = [
        "a = 'x' OR b IN (1, 2)",
        "EXISTS (SELECT 1 FROM c.s.m x WHERE x.a = t.a AND x.b > length(t.a))",
        "contains(current_groups(), a) AND r.y = 1 AND NOT coalesce(a, '') LIKE 'x%' ESCAPE '\\'",
        "CASE WHEN at > TIMESTAMP '2020-01-01 00:00:00' THEN b BETWEEN 1 AND 2 ELSE try(cast(a AS bigint)) = 1 END",
        "any_match(array[a], e -> e = attribute('region'))",
        "b = (SELECT max(m.b) FROM c.s.m JOIN c.s.m AS n ON m.a = n.a WHERE m.r.x = current_user GROUP BY m.a)",
    ]
if target != "policy":
    for number, line in enumerate(open(corpus, encoding="utf-8")):
        statement = json.loads(line)["sql"]
        if number % 7 == 0 and len(statement) < 1500:
            texts.append(statement)
for text in texts:
    data = text.encode()
    path = pathlib.Path(out, hashlib.sha1(data).hexdigest())
    if not path.exists():
        path.write_bytes(data)
