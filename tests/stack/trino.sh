# shellcheck shell=bash disable=SC2154 # lib.sh sets the folders
# Writes the settings of a Trino and runs it. Sourced after lib.sh and fetch.sh.

# Whom the gateway is to this Trino when it signs in with a password.
gateway_user=northgate
gateway_password=development-only

# write_trino_settings DIR HTTP-PORT HTTPS-PORT [KEYS [CLIENT-CA]]: plain HTTP takes any user name and no password,
# for tests that go to Trino directly; HTTPS wants the gateway's password, or its token when there are
# KEYS to check it with (the URL of a key set, or a file with a public key). Only the gateway may impersonate others.
# With a CLIENT-CA it also takes certificates, and is closed as the manual says: plain HTTP wants a login as well, of
# whoever says that it came by HTTPS.
write_trino_settings() {
    local dir=$1 http_port=$2 https_port=$3 keys=${4:-} client_ca=${5:-}
    mkdir -p "$dir/etc/catalog" "$dir/data/lake"
    make_certificates "$dir/certs"
    cat "$dir/certs/server-key.pem" "$dir/certs/server.pem" >"$dir/etc/server-key-and-certificate.pem"
    chmod 600 "$dir/etc/server-key-and-certificate.pem"

    cat >"$dir/etc/config.properties" <<EOF
coordinator=true
node-scheduler.include-coordinator=true
http-server.http.port=$http_port
http-server.https.enabled=true
http-server.https.port=$https_port
http-server.https.keystore.path=$dir/etc/server-key-and-certificate.pem
http-server.authentication.type=PASSWORD${keys:+,JWT}
http-server.process-forwarded=true
internal-communication.shared-secret=$(openssl rand -hex 32)
discovery.uri=http://127.0.0.1:$http_port
query.max-memory=500MB
query.min-expire-age=30s
hide-inaccessible-columns=true
catalog.management=dynamic
EOF
    if [ -n "$client_ca" ]; then
        sed -i 's/^http-server.authentication.type=.*/&,CERTIFICATE/' "$dir/etc/config.properties"
        printf '%s\n' "http-server.https.truststore.path=$client_ca" \
            'http-server.authentication.certificate.user-mapping.pattern=CN=([^,]+)(?:,.*)?' >>"$dir/etc/config.properties"
    else
        echo http-server.authentication.allow-insecure-over-http=true >>"$dir/etc/config.properties"
    fi
    if [ -n "$keys" ]; then
        echo "http-server.authentication.jwt.key-file=$keys" >>"$dir/etc/config.properties"
    fi

    cat >"$dir/etc/node.properties" <<EOF
node.environment=northgate
node.id=test
node.data-dir=$dir/data
node.internal-address=127.0.0.1
EOF
    cat >"$dir/etc/jvm.config" <<EOF
-server
-Xmx1500M
-XX:+UseG1GC
-XX:+ExitOnOutOfMemoryError
-XX:ReservedCodeCacheSize=256M
-Dfile.encoding=UTF-8
EOF
    printf '%s\n' password-authenticator.name=file "file.password-file=$dir/etc/password.db" >"$dir/etc/password-authenticator.properties"
    hash_for_trino "$gateway_user" "$gateway_password" >"$dir/etc/password.db"
    printf '%s\n' access-control.name=file "security.config-file=$dir/etc/rules.json" security.refresh-period=1s \
        >"$dir/etc/access-control.properties"
    # The groups that the users of the tests have at the gateway.
    printf '%s\n' group-provider.name=file "file.group-file=$dir/etc/groups.txt" >"$dir/etc/group-provider.properties"
    printf '%s\n' eu-analysts:eva compliance:otto admins:admin,test >"$dir/etc/groups.txt"
    # The user 'native' gets from Trino itself what the policies of the tests give an EU analyst.
    cat >"$dir/etc/rules.json" <<EOF
{
  "catalogs": [{"catalog": "house|barn", "allow": "owner"}, {"allow": "all"}],
  "impersonation": [{"original_user": "$gateway_user", "new_user": ".*"}],
  "tables": [
    {"user": "native", "catalog": "lake", "schema": "silver", "table": "customers", "privileges": ["SELECT"],
     "filter": "region = 'EU'",
     "columns": [
       {"name": "ssn", "mask": "'nnn-nn-' || substr(ssn, 8)"},
       {"name": "email", "mask": "lower(to_hex(sha256(to_utf8(email))))"},
       {"name": "balance", "mask": "CAST(round(balance, -3) AS decimal(12, 2))"},
       {"name": "date_of_birth", "mask": "CAST(date_trunc('year', date_of_birth) AS date)"}]},
    {"user": "native", "catalog": "lake", "schema": "silver", "table": "card_payments", "privileges": ["SELECT"],
     "filter": "region = 'EU'", "columns": [{"name": "card_number", "allow": false}]},
    {"user": "native", "catalog": "lake", "schema": "silver", "privileges": ["SELECT"], "filter": "region = 'EU'"},
    {"user": "native", "catalog": "lake", "schema": "regional", "table": "branches", "privileges": ["SELECT"],
     "filter": "region IN (SELECT r.region FROM lake.regional.readers r WHERE r.name = 'eva')",
     "columns": [
       {"name": "contact", "mask": "IF(contact IS NOT NULL, CAST(ROW(contact.name, NULL, ROW(contact.address.city, substr(contact.address.zip, 1, 2))) AS row(name varchar, phone varchar, address row(city varchar, zip varchar))))"},
       {"name": "phones", "mask": "transform(phones, p -> CAST(ROW(p.kind, lower(to_hex(sha256(to_utf8(p.number))))) AS row(kind varchar, number varchar)))"}]},
$(python3 "$stack_dir/python/tpc_rules.py" "$stack_dir/tpc.json" rules native_tpc)
    {"privileges": ["SELECT", "INSERT", "UPDATE", "DELETE", "OWNERSHIP", "GRANT_SELECT"]}
  ]
}
EOF

    echo connector.name=tpch >"$dir/etc/catalog/tpch.properties"
    # Sums of decimals do not depend on the order in which they are added.
    printf '%s\n' connector.name=tpch tpch.double-type-mapping=DECIMAL >"$dir/etc/catalog/tpch_decimal.properties"
    echo connector.name=tpcds >"$dir/etc/catalog/tpcds.properties"
    echo connector.name=memory >"$dir/etc/catalog/memory.properties"
    cat >"$dir/etc/catalog/lake.properties" <<EOF
connector.name=iceberg
iceberg.catalog.type=TESTING_FILE_METASTORE
hive.metastore.catalog.dir=local:///warehouse
iceberg.unique-table-location=true
fs.native-local.enabled=true
local.location=$dir/data/lake
EOF
}

# hash_for_trino USER PASSWORD: a line of Trino's password file (PBKDF2, as its password-file authenticator reads it).
hash_for_trino() {
    python3 - "$1" "$2" <<'PY'
import hashlib, os, sys
user, password = sys.argv[1:]
salt = os.urandom(16)
digest = hashlib.pbkdf2_hmac("sha1", password.encode(), salt, 10_000, 32)
print(f"{user}:10000:{salt.hex()}:{digest.hex()}")
PY
}

# run_trino DIR: Trino in the foreground; ends with this process.
run_trino() {
    local home java
    java=$(java25_home) && home=$(trino_home) || exit 1
    JAVA_HOME=$java PATH=$java/bin:$PATH exec "$home/bin/launcher" --etc-dir "$1/etc" run
}

# wait_for_trino HTTP-PORT SECONDS: until it answers a query that reads a table.
wait_for_trino() {
    python3 "$stack_dir/python/wait_for_trino.py" "http://127.0.0.1:$1" "$2" ||
        die "Trino did not answer on port $1 within $2 seconds"
}

# trino_cli ARGUMENTS...: the real command line client.
trino_cli() {
    local jar java
    jar=$(artefact "io.trino:trino-cli:$trino_version:jar:executable") && java=$(java25_home) || return 1
    # It tells at each start that there is no terminal, which is so.
    "$java/bin/java" -XX:TieredStopAtLevel=1 -XX:+UseSerialGC --enable-native-access=ALL-UNNAMED -jar "$jar" "$@" 2> >(grep -v -e 'org.jline' -e 'Unable to create a system terminal' >&2)
}

# load_bank HTTP-PORT: the tables of the bank, as user admin.
load_bank() {
    trino_cli --server "http://127.0.0.1:$1" --user admin --file "$stack_dir/bank.sql" >"$cache_dir/bank.log" 2>&1 ||
        { cat "$cache_dir/bank.log" >&2; die "the bank could not be loaded"; }
}
