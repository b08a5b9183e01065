# shellcheck shell=bash disable=SC2154 # lib.sh sets the folders
# Certificates for development: a small authority and a server certificate for this machine's own names.
# Sourced after lib.sh.

# make_certificates DIR: ca.pem, server.pem (with the authority appended) and server-key.pem, unless they
# are there and good for another week.
make_certificates() {
    local dir=$1 work
    need_command openssl openssl "makes development certificates"
    [ -e "$dir/server.pem" ] && openssl x509 -in "$dir/server.pem" -checkend 604800 >/dev/null 2>&1 && return 0
    mkdir -p "$dir"
    work=$(mktemp -d "$dir/making.XXXXXX")
    (
        umask 077
        cd "$work" || exit 1
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -keyout ca-key.pem -out ca.pem \
            -subj "/O=Northgate development/CN=Northgate development CA" \
            -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign 2>openssl.log &&
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server-key.pem -out server.csr \
                -subj "/O=Northgate development/CN=localhost" 2>>openssl.log &&
            printf '%s\n' subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1 basicConstraints=critical,CA:FALSE \
                keyUsage=critical,digitalSignature extendedKeyUsage=serverAuth >extensions &&
            openssl x509 -req -in server.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 90 -extfile extensions \
                -out server.pem 2>>openssl.log || { cat openssl.log >&2; exit 1; }
        cat ca.pem >>server.pem
    ) || die "openssl could not make the certificates"
    # The authority's key is forgotten: nobody can make another certificate that its users trust.
    mv "$work/ca.pem" "$work/server-key.pem" "$work/server.pem" "$dir/" && rm -rf "$work"
    chmod 644 "$dir/ca.pem" "$dir/server.pem"
}
