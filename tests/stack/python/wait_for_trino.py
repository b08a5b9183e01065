"""Waits until a Trino answers a query: wait_for_trino.py URL SECONDS. Uses the standard library alone."""

import json
import sys
import time
import urllib.error
import urllib.request

url, seconds = sys.argv[1], float(sys.argv[2])
deadline = time.monotonic() + seconds
headers = {"X-Trino-User": "admin"}


def page(request):
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)


def answers():
    # A Trino that says it has started may still have no worker to run a query on.
    statement = urllib.request.Request(f"{url}/v1/statement", b"SELECT count(*) FROM tpch.tiny.nation", headers)
    current = page(statement)
    while "nextUri" in current:
        current = page(urllib.request.Request(current["nextUri"], headers=headers))
    return "error" not in current


while time.monotonic() < deadline:
    try:
        if answers():
            sys.exit(0)
    except (urllib.error.URLError, ConnectionError, TimeoutError, json.JSONDecodeError):
        pass
    time.sleep(0.25)
sys.exit(1)
