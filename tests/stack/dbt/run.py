"""Runs dbt's commands one after another, and says of each whether it went well: FOLDER is where its own files go."""

import os
import pathlib
import sys

FOLDER = sys.argv[1]
PROJECT = pathlib.Path(__file__).parent
os.environ.update(DBT_TARGET_PATH=f"{FOLDER}/target", DBT_LOG_PATH=f"{FOLDER}/logs", DBT_SEND_ANONYMOUS_USAGE_STATS="false")
os.environ.update(DBT_PROFILES_DIR=str(PROJECT), DBT_PROJECT_DIR=str(PROJECT), DO_NOT_TRACK="1")

from dbt.cli.main import dbtRunner  # noqa: E402  (it reads the environment)

NOT_DENIED = ["--exclude", "tag:denied"]
COMMANDS = [
    ["debug"],
    ["seed"],
    ["run", *NOT_DENIED],
    ["run", *NOT_DENIED, "--vars", "{wide: true}"],
    ["run", "--select", "inc_append", "inc_merge", "stored", "--full-refresh"],
    ["snapshot"],
    ["snapshot"],
    ["test", *NOT_DENIED],
    ["seed", "--full-refresh"],
    ["source", "freshness"],
    ["docs", "generate"],
    ["show", "--select", "seen", "--limit", "3"],
    ["show", "--inline", "select count(*) as n from {{ ref('people') }}"],
    ["run-operation", "look"],
    ["run-operation", "change"],
    ["seed", "--target", "unprepared"],
]
# What Northgate denies by name.
DENIED = [
    ["run", "--select", "granted"],
    ["build", "--select", "twice"],
    ["run-operation", "privileges"],
    ["run-operation", "tidy_up", "--args", "{schema: dbt}"],
]

for command in COMMANDS + DENIED:
    result = dbtRunner().invoke(["--quiet", "--no-version-check", *command])
    print("ok" if result.success else "failed", " ".join(command), flush=True)
