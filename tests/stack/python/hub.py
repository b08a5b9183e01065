"""Signs in at a JupyterHub as a browser does, and runs cells in the user's own notebook server.

usage: hub.py HUB USER, where HUB is its address. Reads the cells, a string of JSON to a line, and prints a line for each: what it
wrote, or its error.
"""

import asyncio
import html
import json
import re
import sys
import time
import uuid

import requests
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

HUB, USER = sys.argv[1:]
LONGEST = 120
browser = requests.Session()
browser.trust_env = False


def sign_in():
    page = browser.get(f"{HUB}/hub/oauth_login", params={"next": "/hub/home"}, timeout=LONGEST)
    form = re.search(r'<form[^>]*id="kc-form-login"[^>]*action="([^"]*)"', page.text)
    assert form, page.text[:2000]
    # Browsers send such cookies to their own machine, without TLS, too.
    for cookie in browser.cookies:
        cookie.secure = False
    fields = {"username": USER, "password": f"{USER}-secret", "credentialId": ""}
    page = browser.post(html.unescape(form[1]), data=fields, timeout=LONGEST)
    assert page.ok and page.url.startswith(f"{HUB}/hub/home"), f"{page.status_code} {page.url} {page.text[:2000]}"


def ask(method, path, **more):
    """Asks the hub as its own pages do."""
    headers = {"X-XSRFToken": browser.cookies.get("_xsrf", path="/hub/"), "Accept": "application/json"}
    answer = browser.request(method, f"{HUB}/hub/api{path}", headers=headers, timeout=LONGEST, **more)
    assert answer.ok, f"{path}: {answer.status_code} {answer.text}"
    return answer.json() if answer.content else None


def start_server():
    if "" not in ask("GET", f"/users/{USER}")["servers"]:
        ask("POST", f"/users/{USER}/server")
    deadline = time.monotonic() + LONGEST
    while not ask("GET", f"/users/{USER}")["servers"].get("", {}).get("ready"):
        assert time.monotonic() < deadline, "the user's server does not start"
        time.sleep(0.3)


async def run(headers):
    answer = requests.post(f"{HUB}/user/{USER}/api/kernels", headers=headers, json={"name": "python3"}, timeout=LONGEST)
    assert answer.ok, f"{answer.status_code} {answer.text}"
    url = f"{HUB}/user/{USER}/api/kernels/{answer.json()['id']}/channels".replace("http", "ws", 1)
    channels = await websocket_connect(HTTPRequest(url, headers=headers), max_message_size=1 << 26)
    for line in sys.stdin:
        header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "username": USER, "session": "1", "version": "5.3"}
        content = {"code": json.loads(line), "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        await channels.write_message(json.dumps(message))
        said, error = "", None
        while True:
            message = json.loads(await asyncio.wait_for(channels.read_message(), LONGEST))
            if message["parent_header"].get("msg_id") != header["msg_id"]:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream" and content["name"] == "stdout":
                said += content["text"]
            elif kind == "error":
                error = f"{content['ename']}: {content['evalue']}"
            elif kind == "status" and content["execution_state"] == "idle":
                break
        print(json.dumps({"said": said.strip(), "error": error}), flush=True)


sign_in()
start_server()
token = ask("POST", f"/users/{USER}/tokens", json={"note": "test", "expires_in": 600})["token"]
asyncio.run(run({"Authorization": f"token {token}"}))
