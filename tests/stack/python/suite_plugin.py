"""Lets the Python client's own integration tests run on a server that is there already, with or without a login.

A pytest plugin (`-p suite_plugin`). The server is SUITE_URL; SUITE_USER and SUITE_PASSWORD sign in, where
there is a password, and SUITE_CA is the authority to trust. The tests name their own users; through a
gateway the user is whoever signed in, so a test's user is kept only where it is SUITE_USER already.
"""

import os
import sys
import types
from urllib.parse import urlsplit

import trino.auth
import trino.dbapi

where = urlsplit(os.environ["SUITE_URL"])
user, password = os.environ.get("SUITE_USER", "test"), os.environ.get("SUITE_PASSWORD")

# What the suite would start in containers.
server = types.ModuleType("tests.development_server")
server.TRINO_HOST = where.hostname
server.TRINO_VERSION = "476"
server.start_development_server = server.get_trino_container = lambda *_: None
sys.modules["tests.development_server"] = server
os.environ["TRINO_RUNNING_HOST"] = where.hostname
os.environ["TRINO_RUNNING_PORT"] = str(where.port)

if password:
    original = trino.dbapi.Connection.__init__

    def signed_in(self, host, port=where.port, *arguments, **named):
        named.update(http_scheme="https", verify=os.environ["SUITE_CA"])
        if not named.get("auth"):
            named["auth"] = trino.auth.BasicAuthentication(user, password)
        original(self, host, port, *arguments, **named)

    trino.dbapi.Connection.__init__ = signed_in
