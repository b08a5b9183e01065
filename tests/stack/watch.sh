# shellcheck shell=bash disable=SC2154 # lib.sh sets the folders
# What watches gateways: Prometheus, as Debian has it. Sourced after lib.sh.

# prometheus_program: the server; promtool comes with it.
prometheus_program() {
    need_command prometheus prometheus "scrapes the gateway's metrics, and checks dashboards and alerts"
    command -v prometheus
}

# run_prometheus DIR PORT RULES TARGET...: Prometheus in the foreground, which scrapes these each second.
run_prometheus() {
    local dir=$1 port=$2 rules=$3 program targets
    shift 3
    program=$(prometheus_program) || exit 1
    targets=$(printf '"%s",' "$@")
    mkdir -p "$dir/data"
    cat >"$dir/prometheus.yml" <<EOF
global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: ["$rules"]
scrape_configs:
  - job_name: northgate
    static_configs: [{ targets: [${targets%,}] }]
EOF
    exec "$program" --config.file "$dir/prometheus.yml" --storage.tsdb.path "$dir/data" --web.listen-address "127.0.0.1:$port"
}
