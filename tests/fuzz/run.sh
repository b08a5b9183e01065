#!/usr/bin/env bash
# Runs the fuzz targets, FUZZ_SECONDS each (60 by default), from the statements of the attacker's suite and of Trino's own
# tests. What they find on the way is kept in the cache, and a failing input is printed. One argument: the only target.
# shellcheck disable=SC1091,SC2154 # lib.sh sets the folders
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../stack/lib.sh
. "$here/../stack/lib.sh"
# shellcheck source=../stack/fetch.sh
. "$stack_dir/fetch.sh"

seconds=${FUZZ_SECONDS:-60}
targets=(statement rewrite policy)
[ $# -eq 0 ] || targets=("$1")
program=$(cargo_fuzz)
corpus=$("$stack_dir/stack" corpus)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$here/../../target}/fuzz
for target in "${targets[@]}"; do
    seeds=$cache_dir/fuzz/$target
    mkdir -p "$seeds"
    python3 "$here/seeds.py" "$target" "$corpus" "$here/../golden/attacks" "$seeds"
    say "fuzzing $target for $seconds s, from $(find "$seeds" -type f | wc -l) inputs"
    # There is no unsafe code that a sanitizer would look at, and without one the stable compiler will do.
    "$program" run --fuzz-dir "$here" --sanitizer none --codegen-units 16 "$target" "$seeds" -- -max_total_time="$seconds" -timeout=10 \
        -rss_limit_mb=2048 -max_len=4096 -print_final_stats=1 -verbosity=0
done
