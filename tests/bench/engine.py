"""Runs pairs of queries in turn, as a user whom Trino restricts and as one whom it does not, and compares the run times that
Trino reports: engine.py PORT PAIRS.JSON"""

import json
import statistics
import sys

import trino

ROUNDS = 5


def run(connection, sql):
    cursor = connection.cursor()
    cursor.execute(sql)
    rows = cursor.fetchall()
    stats = cursor.stats
    return stats["elapsedTimeMillis"] - stats["queuedTimeMillis"], stats["cpuTimeMillis"], len(rows)


port, path = sys.argv[1:]
with open(path, encoding="utf-8") as file:
    pairs = json.load(file)
connections = [trino.dbapi.connect(host="127.0.0.1", port=int(port), user=user) for user in ("native_tpc", "admin")]
ratios, cpus, totals = [], [], [0, 0]
for pair in pairs:
    times = [[], []]
    cpu = [[], []]
    for number in range(ROUNDS + 1):
        counts = []
        for side in (0, 1) if number % 2 else (1, 0):
            elapsed, used, count = run(connections[side], pair["rewritten" if side else "native"])
            counts.append(count)
            # The first round is for the compilers.
            if number:
                times[side].append(elapsed)
                cpu[side].append(used)
        if counts[0] != counts[1]:
            sys.exit(f"{counts[0]} rows and {counts[1]}: {pair['native']}")
    medians = [statistics.median(side) for side in times]
    ratios.append(medians[1] / max(medians[0], 1))
    cpus.append(statistics.median(cpu[1]) / max(statistics.median(cpu[0]), 1))
    totals = [total + median for total, median in zip(totals, medians)]
print(json.dumps({
    "median": statistics.median(ratios),
    "least": round(min(ratios), 2),
    "most": round(max(ratios), 2),
    "total": round(totals[1] / totals[0], 3),
    "cpu": round(statistics.median(cpus), 3),
    "queries": len(ratios),
    "rounds": ROUNDS,
}))
