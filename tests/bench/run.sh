#!/bin/sh
# Builds the program and the bench, and measures. One argument: the name of the only figure to measure.
set -eu
cd "$(dirname "$0")/../.."
if ! [ -x /usr/sbin/nginx ] && ! command -v nginx >/dev/null 2>&1; then
    echo "bench: nginx is what Northgate is measured against; installing Debian's nginx-light" >&2
    if [ "$(id -u)" = 0 ]; then
        apt-get install -y --no-install-recommends nginx-light >&2
    else
        sudo apt-get install -y --no-install-recommends nginx-light >&2
    fi
fi
cargo build --release --bin northgate --example bench
if [ -n "${1:-}" ]; then
    exec target/release/examples/bench all --only "$1"
fi
exec target/release/examples/bench all
