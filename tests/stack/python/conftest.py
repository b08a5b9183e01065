"""Where the server is: GATEWAY_URL, GATEWAY_USER, GATEWAY_PASSWORD (may be empty) and GATEWAY_CA (may be empty)."""

import os
from urllib.parse import urlsplit

import pytest
import trino
from sqlalchemy import create_engine


class Server:
    """One server and the user that signs in to it."""

    def __init__(self):
        where = urlsplit(os.environ["GATEWAY_URL"])
        self.host, self.port, self.scheme = where.hostname, where.port, where.scheme
        self.user = os.environ["GATEWAY_USER"]
        self.password = os.environ.get("GATEWAY_PASSWORD", "")
        self.verify = os.environ.get("GATEWAY_CA") or True

    def options(self, **more):
        auth = trino.auth.BasicAuthentication(self.user, self.password) if self.password else None
        return {"http_scheme": self.scheme, "auth": auth, "verify": self.verify, **more}

    def connect(self, **more):
        return trino.dbapi.connect(host=self.host, port=self.port, user=self.user, **self.options(**more))

    def engine(self, path="lake/silver", **more):
        return create_engine(
            f"trino://{self.user}@{self.host}:{self.port}/{path}", connect_args=self.options(**more)
        )


@pytest.fixture(scope="session")
def server():
    return Server()
