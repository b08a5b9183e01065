# What gives notebooks of a JupyterHub the variable `northgate`: SQLAlchemy's engine for the gateway, signed in as the hub's
# user. `northgate deploy jupyter-kernel > ~/.ipython/profile_default/startup/northgate.py`, or for all users of a machine a
# file that `c.InteractiveShellApp.exec_files` in /etc/ipython/ipython_config.py names. In a notebook:
#
#   %load_ext sql
#   %sql northgate
#   %sql SELECT region, count(*) FROM lake.gold.customers GROUP BY 1
#
# and for pandas `pandas.read_sql("SELECT ...", northgate)`. The hub of `northgate deploy jupyterhub` gives the token.
import os


def _northgate():
    import threading
    import time

    import requests
    import sqlalchemy
    import trino

    class HubToken(requests.auth.AuthBase):
        """Puts the hub's token on each request, and asks for the next before one ends: queries may take longer than that."""

        def __init__(self):
            self._lock, self._token, self._until = threading.Lock(), None, 0.0

        def __call__(self, request):
            with self._lock:
                if time.monotonic() >= self._until:
                    self._ask()
                request.headers["Authorization"] = "Bearer " + self._token
            return request

        def _ask(self):
            answer = requests.get(
                os.environ["JUPYTERHUB_API_URL"] + "/northgate/token",
                headers={"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"]},
                timeout=30,
            )
            if answer.status_code in (401, 403):
                raise PermissionError("your sign-in at the hub has ended: sign in there again, then run this once more")
            answer.raise_for_status()
            given = answer.json()
            self._token, self._until = given["access_token"], time.monotonic() + given["expires_in"] - 15

    class HubAuthentication(trino.auth.Authentication):
        """The user of the hub."""

        def __init__(self):
            self._token = HubToken()

        def set_http_session(self, http_session):
            http_session.auth = self._token
            return http_session

        def get_exceptions(self):
            return ()

    return sqlalchemy.create_engine(
        f"trino://{os.environ['NORTHGATE']}/",
        connect_args={
            "http_scheme": "https",
            "auth": HubAuthentication(),
            "verify": os.environ.get("NORTHGATE_CA", True),
            "source": "jupyterhub",
        },
    )


# Kernels that no hub has started go without.
if "NORTHGATE" in os.environ and "JUPYTERHUB_API_TOKEN" in os.environ:
    northgate = _northgate()
