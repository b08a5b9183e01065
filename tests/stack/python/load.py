"""Runs queries until its input ends, on threads; prints how many. Fails if one of them does. A source may be named."""

import os
import sys
import threading

import trino

port, user, password, ca, *source = sys.argv[1:]
# The environment's own authorities would come before those of a session.
os.environ["REQUESTS_CA_BUNDLE"] = ca
stop = threading.Event()
counts = []
failures = []


def work():
    count = 0
    while not stop.is_set() and not failures:
        try:
            connection = trino.dbapi.connect(
                host="localhost",
                port=int(port),
                http_scheme="https",
                auth=trino.auth.BasicAuthentication(user, password),
                verify=ca,
                **({"source": source[0]} if source else {}),
            )
            cursor = connection.cursor()
            cursor.execute("SELECT * FROM tpch.tiny.orders")
            rows = len(cursor.fetchall())
            if rows != 15_000:
                raise AssertionError(f"{rows} rows")
            count += 1
        except Exception as error:
            failures.append(error)
    counts.append(count)


threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
sys.stdin.read()
stop.set()
for thread in threads:
    thread.join()
print("queries", sum(counts))
for failure in failures:
    print(f"{type(failure).__name__}: {failure}")
sys.exit(1 if failures else 0)
