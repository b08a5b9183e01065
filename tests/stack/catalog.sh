# shellcheck shell=bash disable=SC2154 # lib.sh sets the folders
# An Iceberg REST catalog that sends read restrictions (rustberg), the S3 behind it (versitygw), and the identity provider
# of its users (Keycloak). Sourced after lib.sh and fetch.sh.

rustberg_version=0.3.0
versitygw_version=v1.7.0
keycloak_version=26.4.0

# The warehouse's S3 credentials, and the catalog's key for whoever administers it.
s3_key=development
s3_secret=development-only
catalog_admin_key=rb_developmentonlydevelopmentonlydevelopmentonlyxx

# rustberg: its program. A debug build takes half the time to make, and the tests need no speed of it.
rustberg() {
    with_lock rustberg install_rustberg && printf '%s\n' "$cache_dir/tools/bin/rustberg-$rustberg_version"
}

# As published, 0.3.0 cannot check a token: no cryptography is chosen for its jsonwebtoken, which panics, and algorithms of
# several families are allowed, which it refuses. So the crate is built with that choice made in its manifest, and with
# the one algorithm that Keycloak signs with.
install_rustberg() {
    local root=$cache_dir/tools build=$cache_dir/build/rustberg found
    [ ! -x "$root/bin/rustberg-$rustberg_version" ] || return 0
    say "building rustberg $rustberg_version: an Iceberg REST catalog with read restrictions (ten minutes or so, once)"
    rm -rf "$build/crate" "$build/fetch" && mkdir -p "$build/fetch/src" "$root/bin" || die "cannot write to $build"
    printf '[package]\nname = "fetch"\nversion = "0.0.0"\n[dependencies]\nrustberg = { version = "=%s", default-features = false }\n[workspace]\n' \
        "$rustberg_version" >"$build/fetch/Cargo.toml"
    : >"$build/fetch/src/lib.rs"
    found=$(cargo metadata --format-version 1 --manifest-path "$build/fetch/Cargo.toml" |
        python3 -c 'import json, sys; print(next(p["manifest_path"] for p in json.load(sys.stdin)["packages"] if p["name"] == "rustberg"))') ||
        die "cargo could not fetch rustberg"
    cp -r "$(dirname "$found")" "$build/crate" && chmod -R u+w "$build/crate" &&
        sed -i '/^\[dependencies.jsonwebtoken\]$/,/^version/s/^version.*/&\nfeatures = ["aws_lc_rs"]/' "$build/crate/Cargo.toml" &&
        sed -i 's/Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA/Algorithm::RS256/' "$build/crate/src/auth/jwt_authn.rs" &&
        printf '\n[workspace]\n' >>"$build/crate/Cargo.toml" || die "cannot write to $build"
    CARGO_TARGET_DIR=$build/target CARGO_PROFILE_DEV_DEBUG=0 cargo build --manifest-path "$build/crate/Cargo.toml" --bin rustberg \
        --no-default-features --features cli,storage-s3 >&2 || die "cargo could not build rustberg"
    mv "$build/target/debug/rustberg" "$root/bin/rustberg-$rustberg_version" && rm -rf "$build"
}

# versitygw: its program.
versitygw() {
    with_lock versitygw install_versitygw && printf '%s\n' "$cache_dir/tools/bin/versitygw"
}

install_versitygw() {
    local program=$cache_dir/tools/bin/versitygw
    if [ -x "$program" ] && go version -m "$program" 2>/dev/null | grep -q "$versitygw_version"; then return 0; fi
    need_command go golang-go "builds versitygw"
    say "building versitygw $versitygw_version: an S3 server (three minutes or so, once)"
    GOBIN=$cache_dir/tools/bin go install "github.com/versity/versitygw/cmd/versitygw@$versitygw_version" >&2 ||
        die "go could not install versitygw"
}

# keycloak_home: Keycloak unpacked.
keycloak_home() {
    with_lock keycloak unpack_keycloak && printf '%s\n' "$cache_dir/keycloak-$keycloak_version"
}

unpack_keycloak() {
    local home=$cache_dir/keycloak-$keycloak_version archive
    [ ! -e "$home" ] || return 0
    archive=$(artefact "org.keycloak:keycloak-quarkus-dist:$keycloak_version:tar.gz") || return 1
    rm -rf "$home.making" && mkdir -p "$home.making" && tar -xzf "$archive" -C "$home.making" --strip-components 1 &&
        mv "$home.making" "$home" && rm -f "$archive" || die "cannot unpack $archive"
}

# run_s3 DIR PORT: S3 in the foreground, with a bucket `lake`.
run_s3() {
    local program
    program=$(versitygw) || exit 1
    mkdir -p "$1/root/lake" "$1/versions" "$1/sidecar"
    ROOT_ACCESS_KEY=$s3_key ROOT_SECRET_KEY=$s3_secret exec "$program" --port "127.0.0.1:$2" --region us-east-1 \
        posix --sidecar "$1/sidecar" --versioning-dir "$1/versions" "$1/root"
}

# run_rustberg DIR PORT S3-PORT ISSUER: the catalog in the foreground. DIR/policy.cedar is its policy; it takes the
# tokens of the issuer whose audience is `catalog`.
run_rustberg() {
    local dir=$1 program
    program=$(rustberg) || exit 1
    mkdir -p "$dir/data"
    cat >"$dir/rustberg.toml" <<EOF2
[server]
host = "127.0.0.1"
port = $2
[server.auth]
api_key_enabled = true
jwt_enabled = true
policy_file = "$dir/policy.cedar"
[[server.auth.api_keys]]
name = "admin"
tenant = "acme"
roles = ["admin"]
key_env = "CATALOG_ADMIN_KEY"
[server.auth.jwt]
issuer = "$4"
audiences = ["catalog"]
tenant_claim = "tenant"
roles_claim = "realm_access.roles"
[tls]
enabled = false
insecure_http = true
[storage]
catalog_url = "file://$dir/data"
warehouse_location = "s3://lake/wh"
[storage.properties]
"s3.endpoint" = "http://127.0.0.1:$3"
"s3.path-style-access" = "true"
"s3.region" = "us-east-1"
"s3.access-key-id" = "$s3_key"
"s3.secret-access-key" = "$s3_secret"
[rate_limit]
enabled = false
EOF2
    CATALOG_ADMIN_KEY=$catalog_admin_key exec "$program" -c "$dir/rustberg.toml" --insecure-http
}

# run_keycloak DIR PORT: Keycloak in the foreground, with the realm `bank` of keycloak.json.
run_keycloak() {
    local dir=$1 home java
    home=$(keycloak_home) && java=$(java25_home) || exit 1
    # It writes to its own folder.
    [ -e "$dir/keycloak" ] || cp -a "$home" "$dir/keycloak"
    mkdir -p "$dir/keycloak/data/import"
    cp "$stack_dir/keycloak.json" "$dir/keycloak/data/import/"
    export JAVA_HOME=$java KC_BOOTSTRAP_ADMIN_USERNAME=admin KC_BOOTSTRAP_ADMIN_PASSWORD=admin
    export JAVA_OPTS_KC_HEAP="-Xms128m -Xmx512m"
    exec "$dir/keycloak/bin/kc.sh" start-dev --import-realm \
        --http-host 127.0.0.1 --http-port "$2" --hostname "http://127.0.0.1:$2"
}

# catalog_of_trino PORT S3-PORT [NAME]: the statement that gives a Trino the catalog of the rustberg on this port, as
# `house` if no name is given.
catalog_of_trino() {
    cat <<EOF2
CREATE CATALOG ${3:-house} USING iceberg WITH (
  "iceberg.catalog.type" = 'rest',
  "iceberg.rest-catalog.uri" = 'http://127.0.0.1:$1',
  "iceberg.rest-catalog.prefix" = 'acme',
  "iceberg.rest-catalog.security" = 'OAUTH2',
  "iceberg.rest-catalog.oauth2.token" = '$catalog_admin_key',
  "iceberg.unique-table-location" = 'true',
  "fs.native-s3.enabled" = 'true',
  "s3.endpoint" = 'http://127.0.0.1:$2',
  "s3.region" = 'us-east-1',
  "s3.path-style-access" = 'true',
  "s3.aws-access-key" = '$s3_key',
  "s3.aws-secret-key" = '$s3_secret')
EOF2
}
