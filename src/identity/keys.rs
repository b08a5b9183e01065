//! A set of public keys (JWK Set, RFC 7517), reduced to those that can verify a signature.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

/// Most keys of a set that are looked at.
const MAX_KEYS: usize = 100;
/// The shortest RSA modulus accepted, in bytes (2048 bits).
const MIN_MODULUS: usize = 256;

/// A set of keys.
#[derive(Clone, Default)]
pub(super) struct KeySet {
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: Option<String>,
    /// The only algorithm it is for, if the set says so.
    algorithm: Option<Algorithm>,
    shape: Shape,
    decoding: DecodingKey,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Shape {
    fn suits(self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512 => self == Self::Rsa,
            Algorithm::ES256 => self == Self::P256,
            Algorithm::ES384 => self == Self::P384,
            Algorithm::EdDSA => self == Self::Ed25519,
            _ => false,
        }
    }
}

impl KeySet {
    /// Reads a JWK Set. Keys for encryption, of unknown kinds, symmetric or too short are left out, as
    /// issuers publish such beside the others; a set without one usable key is an error.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_slice(text).map_err(|error| format!("not a JWK Set: {error}"))?;
        let keys: Vec<Key> = set.keys.into_iter().take(MAX_KEYS).filter_map(Key::read).collect();
        if keys.is_empty() {
            return Err("no key in the set can verify signatures".to_owned());
        }
        Ok(Self { keys })
    }

    /// The key with which a token of this header must verify.
    ///
    /// A token without `kid` is only looked at when a single key suits it: keys are not tried in turn.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let mut suitable = self.keys.iter().filter(|key| {
            key.shape.suits(algorithm)
                && key.algorithm.is_none_or(|only| only == algorithm)
                && id.is_none_or(|id| key.id.as_deref() == Some(id))
        });
        let key = suitable.next()?;
        suitable.next().is_none().then_some(&key.decoding)
    }

    /// The number of keys.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

impl Key {
    fn read(value: serde_json::Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let common = &jwk.common;
        if common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
            return None;
        }
        if common.key_operations.as_ref().is_some_and(|all| !all.contains(&KeyOperations::Verify)) {
            return None;
        }
        let shape = match &jwk.algorithm {
            AlgorithmParameters::RSA(key) => {
                (decoded_length(&key.n)? >= MIN_MODULUS).then_some(Shape::Rsa)?
            }
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Shape::P256,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => Shape::P384,
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Shape::Ed25519,
            _ => return None,
        };
        let algorithm = match common.key_algorithm {
            Some(named) => Some(named.to_string().parse::<Algorithm>().ok()?),
            None => None,
        };
        let decoding = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { id: common.key_id.clone(), algorithm, shape, decoding })
    }
}

/// The number of bytes behind unpadded base64url.
fn decoded_length(text: &str) -> Option<usize> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok().map(|bytes| bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ec(id: Option<&str>) -> serde_json::Value {
        let x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
        let y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
        let mut key = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y});
        if let Some(id) = id {
            key["kid"] = id.into();
        }
        key
    }

    fn with(mut key: serde_json::Value, name: &str, value: &str) -> serde_json::Value {
        key[name] = value.into();
        key
    }

    #[test]
    fn what_is_left_of_a_set() {
        let check = |keys: serde_json::Value, expect: usize| {
            let text = json!({ "keys": keys }).to_string();
            let found = KeySet::parse(text.as_bytes()).map_or(0, |set| set.len());
            assert_eq!(found, expect, "{text}");
        };
        check(json!([ec(Some("a")), ec(Some("b"))]), 2);
        check(json!([with(ec(None), "use", "enc")]), 0);
        check(json!([with(ec(None), "use", "sig")]), 1);
        check(json!([with(ec(None), "alg", "HS256"), ec(None)]), 2);
        check(json!([with(ec(None), "alg", "RSA-OAEP")]), 0);
        check(json!([{"kty": "oct", "k": "c2VjcmV0"}, {"kty": "new"}, 7, ec(None)]), 1);
        check(json!([{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]), 0);
        assert!(KeySet::parse(b"<html>").is_err());
        assert!(KeySet::parse(b"{}").is_err());
    }

    #[test]
    fn which_key_is_for_a_token() {
        let set = |keys: serde_json::Value| {
            KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).expect("a set")
        };
        let check = |set: &KeySet, id: Option<&str>, algorithm: Algorithm, expect: bool| {
            assert_eq!(set.find(id, algorithm).is_some(), expect, "{id:?} {algorithm:?}");
        };
        let two = set(json!([ec(Some("a")), ec(Some("b"))]));
        check(&two, Some("a"), Algorithm::ES256, true);
        check(&two, Some("c"), Algorithm::ES256, false);
        check(&two, Some("a"), Algorithm::ES384, false);
        check(&two, Some("a"), Algorithm::HS256, false);
        check(&two, Some("a"), Algorithm::RS256, false);
        check(&two, None, Algorithm::ES256, false);
        check(&set(json!([ec(Some("a"))])), None, Algorithm::ES256, true);
        check(&set(json!([ec(None)])), Some("a"), Algorithm::ES256, false);
        let other = set(json!([with(ec(Some("a")), "alg", "ES384")]));
        check(&other, Some("a"), Algorithm::ES256, false);
        let twins = set(json!([ec(Some("a")), ec(Some("a"))]));
        check(&twins, Some("a"), Algorithm::ES256, false);
    }
}
