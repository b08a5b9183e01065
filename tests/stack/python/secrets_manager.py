"""Runs moto's Secrets Manager with one secret, and says in a file which it is and with which key it may be read.

    secrets_manager.py FOLDER PORT
"""

import json
import os
import sys
import threading
from pathlib import Path

# What comes after these requests must be signed, by somebody who may.
SET_UP = 4
os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = str(SET_UP)

import boto3  # noqa: E402 - the variable is read at the import
from moto.server import ThreadedMotoServer  # noqa: E402

folder, port = Path(sys.argv[1]), int(sys.argv[2])
server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
server.start()


def client(service: str):
    return boto3.client(
        service,
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="eu-central-1",
        aws_access_key_id="none",
        aws_secret_access_key="none",
    )


iam = client("iam")
iam.create_user(UserName="gateway")
key = iam.create_access_key(UserName="gateway")["AccessKey"]
secret = client("secretsmanager").create_secret(
    Name="bank/northgate", SecretString=json.dumps({"links": os.environ["LINKS_KEY"], "number": 7})
)
may = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}
iam.put_user_policy(
    UserName="gateway", PolicyName="read", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [may]})
)

told = folder / "told.new"
told.write_text(json.dumps({"arn": secret["ARN"], "id": key["AccessKeyId"], "key": key["SecretAccessKey"]}))
told.rename(folder / "told.json")
threading.Event().wait()
