# JupyterHub before Northgate: people sign in at the company's identity provider, and what their notebooks ask is asked in their
# names, without a password. `northgate deploy jupyterhub > jupyterhub_config.py`
#
#   pip install jupyterhub oauthenticator jupyterlab jupysql "trino[sqlalchemy]"
#
# 1. A client of the identity provider for the hub: authorization code with PKCE, redirect URI
#    https://hub.bank.example/hub/oauth_callback, refresh tokens; its access tokens are JWTs with the audience `northgate`
#    (in Keycloak: a mapper of the type "Audience").
# 2. In northgate.toml `[[identity.jwt]]` with that `issuer`, `audiences = ["northgate"]`, `jwks_url`, and as the
#    `user_claim` what is `username_claim` below.
# 3. The values below; OIDC_CLIENT_SECRET and JUPYTERHUB_CRYPT_KEY (`openssl rand -hex 32`) in the hub's environment.
# 4. `northgate deploy jupyter-kernel` where the notebooks run.
import base64
import json
import os
import time

from jupyterhub.apihandlers.base import APIHandler
from oauthenticator.generic import GenericOAuthenticator
from tornado import web

ISSUER = os.environ.get("OIDC_ISSUER", "https://idp.bank.example/realms/bank")
CLIENT_ID = os.environ.get("OIDC_CLIENT_ID", "jupyterhub")
# Other providers have other paths: see `ISSUER/.well-known/openid-configuration`.
ENDPOINTS = ISSUER + "/protocol/openid-connect"
# Where notebooks find the gateway.
NORTHGATE = os.environ.get("NORTHGATE", "sql.bank.example:443")
# What ends sooner, in seconds, is refreshed before it is given to a notebook.
MARGIN = 30
# What the notebooks' servers may do, and no other program to which the hub's users sign in.
SCOPE = "custom:northgate:token"

c = get_config()  # noqa: F821


def left(token):
    """How many seconds an access token is good for. Whether it is true is the gateway's business."""
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims["exp"] - time.time()


async def refresh(authenticator, user, auth_state):
    """Refreshes what is about to end; the hub itself would wait until the provider refuses it."""
    if not auth_state or not auth_state.get("refresh_token"):
        return False
    if left(auth_state["access_token"]) > MARGIN:
        return True
    parameters = authenticator.build_refresh_token_request_params(auth_state["refresh_token"])
    try:
        token = await authenticator.get_token_info(None, parameters)
    except Exception as error:  # it refuses, or cannot be reached: then nobody is signed in there
        authenticator.log.warning("the sign-in of %s has ended at the provider: %s", user.name, error)
        return False
    token.setdefault("refresh_token", auth_state["refresh_token"])
    about = await authenticator.token_to_user(token)
    if authenticator.normalize_username(authenticator.user_info_to_username(about)) != user.name:
        return False
    return {"name": user.name, "auth_state": authenticator.build_auth_state_dict(token, about)}


class GatewayToken(APIHandler):
    """Gives a notebook's server its user's access token. The refresh token stays in the hub."""

    # A page that another user has made cannot ask with this user's cookies.
    _accept_cookie_auth = False

    async def get(self):
        user = self.current_user
        if not user or not self.has_scope(f"{SCOPE}!user={user.name}"):
            raise web.HTTPError(403)
        state = await user.get_auth_state()
        if state and left(state["access_token"]) <= MARGIN:
            await self.refresh_auth(user, force=True)
            state = await user.get_auth_state()
        if not state or left(state["access_token"]) <= 0:
            raise web.HTTPError(401, "the sign-in at the hub has ended: sign in there again")
        token = state["access_token"]
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps({"access_token": token, "expires_in": int(left(token))}))


c.JupyterHub.authenticator_class = GenericOAuthenticator
c.GenericOAuthenticator.client_id = CLIENT_ID
c.GenericOAuthenticator.client_secret = os.environ["OIDC_CLIENT_SECRET"]
c.GenericOAuthenticator.oauth_callback_url = os.environ.get("HUB", "https://hub.bank.example") + "/hub/oauth_callback"
c.GenericOAuthenticator.authorize_url = ENDPOINTS + "/auth"
c.GenericOAuthenticator.token_url = ENDPOINTS + "/token"
c.GenericOAuthenticator.userdata_url = ENDPOINTS + "/userinfo"
c.GenericOAuthenticator.scope = ["openid"]
c.GenericOAuthenticator.username_claim = "preferred_username"
c.GenericOAuthenticator.login_service = "the bank's sign-in"
# Who may use the hub: everybody whom the provider lets in. What they may see is the gateway's business.
c.GenericOAuthenticator.allow_all = True
c.GenericOAuthenticator.enable_auth_state = True
c.GenericOAuthenticator.refresh_user_hook = refresh
# A server is not started for one whose sign-in has ended.
c.GenericOAuthenticator.refresh_pre_spawn = True

c.JupyterHub.custom_scopes = {SCOPE: {"description": "Query by SQL in your name"}}
c.JupyterHub.load_roles = [
    {"name": "user", "scopes": ["self", SCOPE + "!user"]},
    {"name": "server", "scopes": ["users:activity!user", "access:servers!server", SCOPE + "!user"]},
]
c.JupyterHub.extra_handlers = [(r"/api/northgate/token", GatewayToken)]
c.Spawner.environment = {"NORTHGATE": NORTHGATE}
# Where the authority of the gateway's certificate is none that the notebooks' system knows.
if "NORTHGATE_CA" in os.environ:
    c.Spawner.environment["NORTHGATE_CA"] = os.environ["NORTHGATE_CA"]
