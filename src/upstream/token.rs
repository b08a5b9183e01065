//! The gateway's own tokens for Trino: ES256, each good for a minute, with a public key set.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderValue;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use zeroize::Zeroizing;

use super::UpstreamError;

/// How long a token is good for, in seconds.
const LIFETIME: u64 = 60;
/// A token is not used when less than this is left, in seconds.
const SPARE: u64 = 30;
/// A token is good from this long ago, in seconds: Trino's clock may be behind.
const LEEWAY: u64 = 10;

/// Signs tokens, and hands the same one out while it is fresh.
pub(super) struct Signer {
    key: EcdsaKeyPair,
    kid: String,
    user: String,
    audience: Option<String>,
    last: Mutex<Option<(u64, HeaderValue)>>,
}

impl Signer {
    /// Reads the key, or makes one (0600) where there is no file.
    pub(super) fn open(path: &Path, user: &str, audience: Option<&str>) -> Result<Self, UpstreamError> {
        let wrong = |why: String| UpstreamError::Config(format!("key_file {}: {why}", path.display()));
        if !path.try_exists().map_err(|error| wrong(error.to_string()))? {
            make(path).map_err(|error| wrong(error.to_string()))?;
        }
        let der = PrivatePkcs8KeyDer::from_pem_file(path).map_err(|error| wrong(error.to_string()))?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der())
            .map_err(|error| wrong(format!("not a P-256 key: {error}")))?;
        let mut new = Self {
            key,
            kid: String::new(),
            user: user.to_owned(),
            audience: audience.map(str::to_owned),
            last: Mutex::new(None),
        };
        let (x, y) = new.point();
        // RFC 7638: the thumbprint is of these members, in this order, without white space.
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        new.kid = URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()));
        Ok(new)
    }

    /// The coordinates of the public key, in base64url.
    fn point(&self) -> (String, String) {
        // SEC 1, uncompressed: 0x04, x, y of 32 bytes each.
        let bytes = self.key.public_key().as_ref();
        let part = |range| URL_SAFE_NO_PAD.encode(bytes.get(range).unwrap_or_default());
        (part(1..33), part(33..65))
    }

    /// The public key set (RFC 7517).
    pub(super) fn jwks(&self) -> String {
        let (x, y) = self.point();
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid, "x": x, "y": y,
        }]})
        .to_string()
    }

    /// `Bearer` and a token that is good for at least half a minute.
    pub(super) fn header(&self) -> Result<HeaderValue, UpstreamError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.header_at(now)
    }

    fn header_at(&self, now: u64) -> Result<HeaderValue, UpstreamError> {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((made, header)) = &*last
            // A clock that was put back makes a new one, too.
            && (*made..=*made + LIFETIME - SPARE).contains(&now)
        {
            return Ok(header.clone());
        }
        let token = self.sign(now)?;
        let mut header = HeaderValue::from_str(&format!("Bearer {}", token.as_str()))
            .map_err(|error| UpstreamError::Config(format!("token: {error}")))?;
        header.set_sensitive(true);
        *last = Some((now, header.clone()));
        Ok(header)
    }

    fn sign(&self, now: u64) -> Result<Zeroizing<String>, UpstreamError> {
        let head = json!({"alg": "ES256", "typ": "JWT", "kid": self.kid});
        let mut claims = json!({
            "iss": "northgate", "sub": self.user, "iat": now, "nbf": now.saturating_sub(LEEWAY), "exp": now + LIFETIME,
        });
        if let Some(audience) = &self.audience {
            claims["aud"] = json!(audience);
        }
        let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let mut token = Zeroizing::new(format!("{}.{}", encode(&head), encode(&claims)));
        let signature = self
            .key
            .sign(&SystemRandom::new(), token.as_bytes())
            .map_err(|_| UpstreamError::Config("key_file: the key does not sign".to_owned()))?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Ok(token)
    }
}

fn make(path: &Path) -> io::Result<()> {
    let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
        .map_err(|_| io::Error::other("no key could be made"))?;
    let body = Zeroizing::new(STANDARD.encode(der.as_ref()));
    let mut pem = Zeroizing::new(String::from("-----BEGIN PRIVATE KEY-----\n"));
    for line in body.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(pem.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};

    use super::*;

    fn signer(folder: &Path) -> Signer {
        Signer::open(&folder.join("keys/trino.pem"), "northgate", Some("trino")).expect("a key")
    }

    fn read(signer: &Signer, header: &HeaderValue) -> serde_json::Value {
        let set: jsonwebtoken::jwk::JwkSet = serde_json::from_str(&signer.jwks()).expect("a key set");
        let token = header.to_str().expect("ASCII").strip_prefix("Bearer ").expect("bearer");
        let kid = jsonwebtoken::decode_header(token).expect("a head").kid.expect("a kid");
        let key = DecodingKey::from_jwk(set.find(&kid).expect("the key is in the set")).expect("a key");
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&["trino"]);
        validation.validate_exp = false;
        decode(token, &key, &validation).expect("a good signature").claims
    }

    #[test]
    fn tokens_verify_with_the_key_set_and_are_used_again_while_fresh() {
        let temp = tempfile::tempdir().expect("a folder");
        let signer = signer(temp.path());
        let first = signer.header_at(1000).expect("a token");
        assert!(first.is_sensitive());
        let claims = read(&signer, &first);
        assert_eq!((&claims["sub"], &claims["exp"]), (&"northgate".into(), &1060.into()));
        let check = |now, same: bool| {
            assert_eq!(signer.header_at(now).expect("a token") == first, same, "{now}");
        };
        check(1030, true);
        check(1031, false);
        check(900, false);
    }

    #[test]
    fn the_key_is_kept() {
        let temp = tempfile::tempdir().expect("a folder");
        let first = signer(temp.path());
        let again = signer(temp.path());
        assert_eq!(first.jwks(), again.jwks());
        read(&first, &again.header().expect("a token"));
        let path = temp.path().join("keys/trino.pem");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "nonsense").expect("written");
        let error = Signer::open(&path, "u", None).err().expect("no key").to_string();
        assert!(error.contains("trino.pem") && !error.contains("nonsense"), "{error}");
    }
}
