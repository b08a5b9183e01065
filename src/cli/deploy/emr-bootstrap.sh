#!/usr/bin/env bash
# A bootstrap action of EMR: installs Northgate on the primary node, before its Trino. `northgate deploy emr > emr-bootstrap.sh`
#
#   aws emr create-cluster ... --bootstrap-actions Path=s3://BUCKET/emr-bootstrap.sh,Args=[s3://BUCKET/northgate]
#     --configurations file://trino.json
#
# s3://BUCKET/northgate has the program (`northgate`), its SHA-256 (`northgate.sha256`), the unit of `northgate deploy systemd`
# (`northgate.service`), and `etc/` with northgate.toml and policies. Secrets are not there: `etc/secrets` names, one to a line,
# a file and the secret of AWS Secrets Manager that it holds, such as `state.key northgate/state-key`.
#
# trino.json lets Trino believe the gateway, and nobody else. The gateway makes its key when it starts, which is before
# Trino does; Trino reads the public half from its admin listener:
#
#   [{"Classification": "trino-config", "Properties": {
#       "http-server.process-forwarded": "true",
#       "http-server.authentication.type": "JWT",
#       "http-server.authentication.allow-insecure-over-http": "false",
#       "http-server.authentication.jwt.key-file": "http://127.0.0.1:9443/jwks"}}]
#
# The security group of the primary node has Trino's port open to nobody; the gateway's port is open to the load balancer.
set -euo pipefail

[ $# = 1 ] || { echo "usage: emr-bootstrap.sh s3://BUCKET/PREFIX" >&2; exit 2; }
from=${1%/}

# Only the primary node has a gateway.
if ! grep -q '"isMaster": *true' /mnt/var/lib/info/instance.json; then
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
aws s3 cp --only-show-errors "$from/northgate" "$work/northgate"
aws s3 cp --only-show-errors "$from/northgate.sha256" "$work/northgate.sha256"
aws s3 cp --only-show-errors "$from/northgate.service" "$work/northgate.service"
aws s3 cp --only-show-errors --recursive "$from/etc/" "$work/etc/"
(cd "$work" && sha256sum --check --status northgate.sha256) || { echo "northgate is not the program that was published" >&2; exit 1; }

id northgate >/dev/null 2>&1 || sudo useradd --system --home-dir /var/lib/northgate --shell /usr/sbin/nologin northgate
sudo install -m 0755 "$work/northgate" /usr/local/bin/northgate
sudo install -d -m 0750 -o root -g northgate /etc/northgate
sudo cp -R "$work/etc/." /etc/northgate/

if [ -f "$work/etc/secrets" ]; then
    while read -r file secret; do
        [ -n "$file" ] || continue
        case $file in */* | .*) echo "not the name of a file: $file" >&2; exit 1 ;; esac
        aws secretsmanager get-secret-value --secret-id "$secret" --query SecretString --output text >"$work/secret"
        sudo install -m 0640 -o root -g northgate "$work/secret" "/etc/northgate/$file"
    done <"$work/etc/secrets"
fi
sudo chown -R root:northgate /etc/northgate
sudo chmod -R u=rwX,g=rX,o= /etc/northgate

sudo install -m 0644 "$work/northgate.service" /etc/systemd/system/northgate.service
sudo systemctl daemon-reload
sudo systemctl enable --now northgate
for _ in $(seq 60); do
    curl -sf http://127.0.0.1:9443/health >/dev/null && exit 0
    sleep 1
done
sudo journalctl -u northgate -n 50 --no-pager >&2
echo "Northgate does not start" >&2
exit 1
