# shellcheck shell=bash disable=SC2154 # lib.sh sets the folders
# trino-gateway, which the bench measures Northgate beside. Sourced after lib.sh and fetch.sh.

# run_trino_gateway DIR PORT UPSTREAM: it in the foreground, before one Trino, without TLS and without a login.
run_trino_gateway() {
    local dir=$1 port=$2 upstream=$3 java gateway database
    java=$(java25_home) && gateway=$(artefact io.trino.gateway:gateway-ha:20:jar:jar-with-dependencies) &&
        database=$(artefact com.h2database:h2:2.3.232:jar) || exit 1
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    cat >"$dir/schema.sql" <<EOF
CREATE TABLE IF NOT EXISTS gateway_backend (name VARCHAR(256) PRIMARY KEY, routing_group VARCHAR(256), backend_url VARCHAR(256), external_url VARCHAR(256), active BOOLEAN);
CREATE TABLE IF NOT EXISTS query_history (query_id VARCHAR(256) PRIMARY KEY, query_text VARCHAR, created BIGINT, backend_url VARCHAR(256), user_name VARCHAR(256), source VARCHAR(256), routing_group VARCHAR(256), external_url VARCHAR(256));
MERGE INTO gateway_backend KEY (name) VALUES ('trino', 'adhoc', '$upstream', '$upstream', TRUE);
EOF
    cat >"$dir/gateway.yaml" <<EOF
serverConfig:
  node.environment: bench
  http-server.http.port: $port
dataStore:
  jdbcUrl: "jdbc:h2:$dir/db;DB_CLOSE_DELAY=-1;NON_KEYWORDS=NAME,VALUE;INIT=RUNSCRIPT FROM '$dir/schema.sql'"
  user: sa
  password: sa
  driver: org.h2.Driver
  queryHistoryHoursRetention: 24
  runMigrationsEnabled: false
clusterStatsConfiguration:
  monitorType: INFO_API
monitor:
  taskDelay: 1s
EOF
    # It writes a log of requests into the folder that it is started in.
    cd "$dir" || exit 1
    exec "$java/bin/java" -Xmx1g --enable-native-access=ALL-UNNAMED -cp "$database:$gateway" \
        io.trino.gateway.ha.HaGatewayLauncher "$dir/gateway.yaml"
}
