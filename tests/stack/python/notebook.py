"""Runs a notebook with nobody at it: jupysql over SQLAlchemy, signed in with a token of the identity provider, as in a hub.

usage: notebook.py HOST:PORT STATEMENT, with TOKEN and AUTHORITY (a PEM file) in the environment. Prints the rows as JSON.
"""

import json
import os
import sys

import nbformat
from nbclient import NotebookClient

CONNECT = """
import json, os
from sqlalchemy import create_engine
from trino.auth import JWTAuthentication
engine = create_engine(
    f"trino://{os.environ['GATEWAY']}/",
    connect_args={"http_scheme": "https", "auth": JWTAuthentication(os.environ["TOKEN"]), "verify": os.environ["AUTHORITY"]},
)
"""
ASK = """
result = %sql {{statement}}
print(json.dumps([list(row) for row in result]))
"""

os.environ["GATEWAY"] = sys.argv[1]
# The variable counts for more than what a connection is told.
os.environ["REQUESTS_CA_BUNDLE"] = os.environ["AUTHORITY"]
# It tells its makers of its use, if nobody says otherwise.
os.environ["PLOOMBER_STATS_ENABLED"] = "false"
cells = [CONNECT, "%load_ext sql", "%config SqlMagic.feedback = 0", "%sql engine", f"statement = {sys.argv[2]!r}", ASK]
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in cells])
NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
said = [output.text for output in notebook.cells[-1].outputs if output.output_type == "stream" and output.name == "stdout"]
rows = "".join(said).strip().splitlines()[-1]
json.loads(rows)
print(rows)
