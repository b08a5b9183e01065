//! An issuer of tokens: keys made in the test, their public halves in a JWKS file.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use serde_json::{Value, json};

/// A signing key with its id.
pub(crate) struct Key {
    id: &'static str,
    pair: KeyPair,
}

impl Key {
    /// A fresh one.
    pub(crate) fn new(id: &'static str) -> Self {
        Self { id, pair: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key") }
    }

    /// Its public half.
    fn public(&self) -> Value {
        // An uncompressed point: 0x04, then both coordinates.
        let point = self.pair.der_bytes();
        let (x, y) = (BASE64URL.encode(&point[1..33]), BASE64URL.encode(&point[33..65]));
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id, "x": x, "y": y })
    }

    /// A token with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.id.to_owned());
        let key = EncodingKey::from_ec_pem(self.pair.serialize_pem().as_bytes()).expect("a key");
        jsonwebtoken::encode(&header, claims, &key).expect("a token")
    }
}

/// Writes the public halves as a JWKS.
pub(crate) fn write_jwks(file: &Path, keys: &[&Key]) {
    let keys: Vec<_> = keys.iter().map(|key| key.public()).collect();
    std::fs::write(file, json!({ "keys": keys }).to_string()).expect("the folder is ours");
}

/// Claims of a good token for `user`, who is a member of `groups`.
pub(crate) fn claims(user: &str, groups: &[&str]) -> Value {
    let now = now();
    json!({
        "iss": "https://issuer.example", "aud": "northgate", "sub": user, "groups": groups,
        "iat": now, "nbf": now, "exp": now + 600,
    })
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}
