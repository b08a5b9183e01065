# shellcheck shell=bash disable=SC2154 # lib.sh sets the folders
# Tools of others that speak to the gateway, as their users run them. Sourced after lib.sh and fetch.sh.

hub_proxy_version=5.3.0

# jupyterhub_env: the Python with JupyterHub.
jupyterhub_env() { environment jupyterhub requirements-jupyterhub.txt; }

# hub_proxy: JupyterHub's proxy.
hub_proxy() {
    with_lock hub-proxy install_hub_proxy && printf '%s\n' "$cache_dir/hub-proxy-$hub_proxy_version/node_modules/.bin/configurable-http-proxy"
}

install_hub_proxy() {
    local dir=$cache_dir/hub-proxy-$hub_proxy_version
    [ ! -e "$dir" ] || return 0
    need_command npm npm "fetches JupyterHub's proxy"
    rm -rf "$dir.making" && mkdir -p "$dir.making" &&
        npm install --silent --no-audit --no-fund --prefix "$dir.making" "configurable-http-proxy@$hub_proxy_version" >&2 &&
        mv "$dir.making" "$dir" || die "npm could not install configurable-http-proxy"
}

# run_jupyterhub DIR PORT CONFIG KERNEL: a hub in the foreground with this configuration, whose users' kernels start with the
# file KERNEL. What is of this machine alone is put behind the configuration.
run_jupyterhub() {
    local dir=$1 port=$2 config=$3 kernel=$4 python proxy ports
    python=$(jupyterhub_env) && proxy=$(hub_proxy) || exit 1
    need_command node nodejs "runs JupyterHub's proxy"
    mapfile -t ports < <(free_ports 2)
    mkdir -p "$dir/ipython/profile_default/startup"
    cp "$kernel" "$dir/ipython/profile_default/startup/northgate.py"
    cp "$config" "$dir/jupyterhub_config.py"
    cat >>"$dir/jupyterhub_config.py" <<EOF2

c.JupyterHub.bind_url = "http://127.0.0.1:$port"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:${ports[0]}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:${ports[1]}"
c.ConfigurableHTTPProxy.command = ["node", "$proxy"]
c.JupyterHub.db_url = "sqlite:///$dir/hub.sqlite"
c.JupyterHub.cookie_secret_file = "$dir/cookie_secret"
c.JupyterHub.spawner_class = "jupyterhub.spawner.SimpleLocalProcessSpawner"
c.SimpleLocalProcessSpawner.home_dir_template = "$dir/home/{username}"
c.Spawner.cmd = ["$python", "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root"]
c.Spawner.environment.update({
    "JUPYTERHUB_SINGLEUSER_APP": "jupyter_server.serverapp.ServerApp", "IPYTHONDIR": "$dir/ipython", "PLOOMBER_STATS_ENABLED": "false",
})
EOF2
    cd "$dir" || exit 1
    HUB=http://127.0.0.1:$port JUPYTERHUB_CRYPT_KEY=$(openssl rand -hex 32) OIDC_CLIENT_SECRET=jupyterhub-secret \
        exec "$python" -m jupyterhub -f "$dir/jupyterhub_config.py"
}

# airflow_env: the Python with Airflow.
airflow_env() { environment airflow requirements-airflow.txt; }

# spark_env: the Python with Spark.
spark_env() { environment spark requirements-spark.txt; }

# lineage_env: the Python with the classes of OpenLineage.
lineage_env() { environment lineage requirements-lineage.txt; }

# secrets_env: the Python with moto's AWS Secrets Manager.
secrets_env() { environment secrets requirements-secrets.txt; }

# run_dag DIR NAME: runs a DAG of tests/stack/airflow once, by an Airflow that keeps its files under DIR.
run_dag() {
    local dir=$1 name=$2 python
    python=$(airflow_env) || exit 1
    export AIRFLOW_HOME=$dir/airflow AIRFLOW__CORE__DAGS_FOLDER=$stack_dir/airflow AIRFLOW__CORE__LOAD_EXAMPLES=False
    export PYTHONDONTWRITEBYTECODE=1
    cd "$dir" || exit 1
    "$python" -m airflow db migrate >"$dir/migrate.log" 2>&1 || { tail -n 20 "$dir/migrate.log" >&2; die "Airflow could not make its database"; }
    exec "$python" -m airflow dags test "$name"
}

# run_spark URL USER AUTHORITY: Spark with the real JDBC driver; PASSWORD is in the environment.
run_spark() {
    local python driver
    python=$(spark_env) && driver=$(artefact "io.trino:trino-jdbc:$trino_jdbc_version:jar") || exit 1
    need_command java default-jre-headless "runs Spark"
    exec "$python" "$stack_dir/python/spark.py" "$driver" "$@"
}

# The last version of the client for Go that is published with tests that a server can be named to.
trino_go_version=v0.333.0

# go_suite: the tests of Trino's client for Go, compiled.
go_suite() {
    local program=$cache_dir/tools/bin/trino-go-suite-$trino_go_version
    [ -x "$program" ] || with_lock go-suite build_go_suite "$program"
    printf '%s\n' "$program"
}

build_go_suite() {
    [ ! -x "$1" ] || return 0
    need_command go golang-go "builds the tests of Trino's client for Go"
    say "building the tests of Trino's client for Go $trino_go_version (a minute or two, once)"
    local found build=$cache_dir/build/trino-go
    found=$(go mod download -json "github.com/trinodb/trino-go-client@$trino_go_version" | python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"])') ||
        die "go could not fetch the client"
    mkdir -p "$cache_dir/tools/bin" && rm -rf "$build" && mkdir -p "$build" && cp -r "$found/." "$build" && chmod -R u+w "$build" || die "cannot write to $build"
    (cd "$build" && go test -c -o "$1.new" ./trino) >&2 || die "go could not build the client's tests"
    mv "$1.new" "$1" && rm -rf "$build"
}

# run_go_suite DSN AUTHORITY: runs them at the server, and prints what go says of each. It fails where one of them does. One is left
# out that sorts five million rows and waits.
run_go_suite() {
    local program
    program=$(go_suite) || exit 1
    TRINO_IMAGE_TAG=$trino_version SSL_CERT_FILE=$2 exec "$program" -test.v -test.skip TestSpoolingIntegrationOrderedResults -test.timeout 10m -trino_query_timeout 20s -trino_server_dsn="$1"
}

# js_env [--include=dev]: the folder with the published client for JavaScript, and with what runs its repository's tests.
js_env() {
    local with=${1:---omit=dev} key dir
    key=$(sha256sum <"$stack_dir/js/package.json" | cut -c 1-12)
    dir=$cache_dir/js-$key${1:+-suite}
    [ -e "$dir" ] || with_lock js make_js_env "$dir" "$with"
    printf '%s\n' "$dir"
}

make_js_env() {
    local dir=$1 with=$2
    [ ! -e "$dir" ] || return 0
    need_command node nodejs "runs Trino's client for JavaScript"
    need_command npm npm "fetches Trino's client for JavaScript"
    rm -rf "$dir.making" && mkdir -p "$dir.making" && cp "$stack_dir/js/package.json" "$dir.making/" &&
        npm install --silent --no-audit --no-fund "$with" --prefix "$dir.making" >&2 && mv "$dir.making" "$dir" ||
        die "npm could not install Trino's client for JavaScript"
}
