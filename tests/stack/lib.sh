# shellcheck shell=bash
# What every script of the test stack needs: messages, the cache, packages, ports and processes.
# Sourced, never run. Each script that sources it has `set -euo pipefail` above.

stack_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo_dir=$(cd "$stack_dir/../.." && pwd)
# Downloads and what is unpacked from them live outside the repository, once for every checkout.
cache_dir=${NORTHGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/northgate}
export stack_dir repo_dir cache_dir

# Messages go to standard error: standard output is for results.
say() { printf '%s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# need_command COMMAND DEBIAN-PACKAGE WHY: installs a missing command from Debian's packages.
need_command() {
    have "$1" && return 0
    have apt-get || die "'$1' is missing ($3), and there is no apt-get here to install the package '$2' with"
    local as_root=()
    if [ "$(id -u)" != 0 ]; then
        have sudo || die "'$1' is missing ($3): install the Debian package '$2' as root, then run this again"
        as_root=(sudo)
    fi
    say "installing the Debian package '$2', for '$1': $3"
    with_lock apt debian_install "$2" "${as_root[@]}"
    have "$1" || die "'$1' is still missing after installing '$2'"
}

# debian_install PACKAGE [sudo]
debian_install() {
    local package=$1
    shift
    local log=$cache_dir/apt.log
    "$@" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package" >"$log" 2>&1 && return 0
    # A machine that has never listed its packages, or did so long ago, has to do that first.
    { "$@" apt-get update && "$@" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package"; } \
        >"$log" 2>&1 || { tail -n 20 "$log" >&2; die "apt-get could not install '$package'"; }
}

# with_lock NAME COMMAND...: runs it while no other script holds NAME, so that two test runs on one
# machine fetch a thing once.
with_lock() {
    local name=$1 status=0
    shift
    mkdir -p "$cache_dir/locks"
    local handle
    exec {handle}>"$cache_dir/locks/$name"
    flock "$handle"
    "$@" || status=$?
    exec {handle}>&-
    return "$status"
}

# free_ports N: N different TCP ports that nothing listens on at the moment, one a line.
free_ports() {
    python3 - "$1" <<'PY'
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in sockets:
    s.bind(("127.0.0.1", 0))
for s in sockets:
    print(s.getsockname()[1])
PY
}

# Groups of processes that this script started, and only those, are ended by stop_groups.
started_groups=()

# start_group LOG COMMAND...: runs it in the background in a process group of its own; its id is $started_group.
start_group() {
    local log=$1
    shift
    setsid "$@" </dev/null >"$log" 2>&1 &
    started_group=$!
    started_groups+=("$started_group")
}

group_alive() { kill -0 -- "-$1" 2>/dev/null; }

# stop_groups: asks each group to end, the last started first, and insists after ten seconds.
stop_groups() {
    local i group waited
    for ((i = ${#started_groups[@]} - 1; i >= 0; i--)); do
        group=${started_groups[i]}
        group_alive "$group" || continue
        kill -TERM -- "-$group" 2>/dev/null || true
        for ((waited = 0; waited < 100; waited++)); do
            group_alive "$group" || break
            sleep 0.1
        done
        kill -KILL -- "-$group" 2>/dev/null || true
        wait "$group" 2>/dev/null || true
    done
    started_groups=()
}
