# shellcheck shell=bash disable=SC2154 # lib.sh sets the folders
# The stores that gateways share: Redis and PostgreSQL, as Debian has them. Sourced after lib.sh.

# nginx_program: a balancer before several gateways. Debian has it in a folder of its own.
nginx_program() {
    [ -x /usr/sbin/nginx ] || PATH=$PATH:/usr/sbin need_command nginx nginx-light "a load balancer"
    printf '%s\n' /usr/sbin/nginx
}

# redis_program: the server.
redis_program() {
    need_command redis-server redis-server "a store of sign-ins that gateways share"
    command -v redis-server
}

# run_redis DIR PORT [CERTS]: Redis in the foreground; in TLS alone where there is a folder of certificates.
run_redis() {
    local program listen=(--port "$2")
    [ -z "${3:-}" ] || listen=(--port 0 --tls-port "$2" --tls-cert-file "$3/server.pem" --tls-key-file "$3/server-key.pem"
        --tls-ca-cert-file "$3/ca.pem" --tls-auth-clients no)
    program=$(redis_program) || exit 1
    mkdir -p "$1/data"
    exec "$program" --bind 127.0.0.1 "${listen[@]}" --dir "$1/data" --save '' --appendonly yes --maxmemory-policy noeviction
}

# postgres_programs: the folder with the server and initdb.
postgres_programs() {
    local found
    found=$(newest_postgres) || {
        say "installing the Debian package 'postgresql': a store of sign-ins that gateways share"
        local as_root=()
        [ "$(id -u)" = 0 ] || as_root=(sudo)
        with_lock apt debian_install postgresql "${as_root[@]}"
        found=$(newest_postgres) || die "there is no PostgreSQL in /usr/lib/postgresql"
    }
    printf '%s\n' "$found"
}

newest_postgres() {
    local found
    found=$(find /usr/lib/postgresql -mindepth 3 -maxdepth 3 -name initdb 2>/dev/null | sort -V | tail -n 1)
    [ -n "$found" ] && dirname "$found"
}

# run_postgres DIR PORT [CERTS]: PostgreSQL in the foreground; anybody on this machine is its user `postgres`. In TLS alone
# where there is a folder of certificates.
run_postgres() {
    local programs as=() tls=()
    programs=$(postgres_programs) || exit 1
    # It refuses to run as root. In a user namespace root is somebody else, who owns the same files.
    [ "$(id -u)" != 0 ] || as=(unshare --user "--map-user=$(id -u nobody)" "--map-group=$(id -g nobody)" --)
    if [ ! -e "$1/data/PG_VERSION" ]; then
        mkdir -p "$1/data"
        "${as[@]}" "$programs/initdb" --pgdata "$1/data" --username postgres --auth trust --no-sync --encoding UTF8 >&2
    fi
    if [ -n "${3:-}" ]; then
        cp "$3/server.pem" "$3/server-key.pem" "$1/data/" && chmod 600 "$1/data/server-key.pem"
        tls=(-c ssl=on -c ssl_cert_file=server.pem -c ssl_key_file=server-key.pem)
        echo 'hostssl all all 127.0.0.1/32 trust' >"$1/data/pg_hba.conf"
    fi
    "${as[@]}" "$programs/postgres" "${tls[@]}" -D "$1/data" -c listen_addresses=127.0.0.1 -p "$2" -c unix_socket_directories= \
        -c fsync=off &
    # Asked to end it waits for its clients; interrupted it does not.
    server=$!
    trap 'kill -INT "$server"' TERM INT
    wait "$server" || wait "$server" || true
}
