//! Keys: those that the identity provider signs with, and our own.

use std::collections::BTreeSet;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rsa::PublicEncryptingKey;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bergshamra::crypto::sign::{from_uri, key_algorithm_matches_signature_uri};
use bergshamra::keys::loader::{load_pem_auto, load_x509_cert_der};
use bergshamra::{Key, KeysManager};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::signature::accepted;
use super::xml::Unfit;
use crate::identity::error::SetupError;
use crate::secret::Source;

/// Most keys of an identity provider that are tried.
const MAX_KEYS: usize = 16;
/// The shortest RSA key that counts.
const MIN_RSA_BITS: usize = 2048;

/// The keys that may have signed.
///
/// The dates of their certificates do not count, nor who issued those: the metadata, or the configuration, vouches for
/// the key alone (SAML metadata interoperability profile, 2.6).
#[derive(Clone)]
pub(super) struct TrustedKeys(Vec<Key>);

impl TrustedKeys {
    /// The keys of these certificates (DER). Those of kinds that are not accepted are left out.
    pub(super) fn new<'c>(certificates: impl IntoIterator<Item = &'c [u8]>) -> Self {
        let keys = certificates.into_iter().filter_map(|der| load_x509_cert_der(der).ok());
        let keys = keys.map(|mut key| {
            // Without its certificate a key is nothing but a key: no name to be found by, no chain to be checked.
            key.name = None;
            key.x509_chain.clear();
            key
        });
        Self(keys.filter(is_public_key).take(MAX_KEYS).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What the signature library takes.
    pub(super) fn manager(&self) -> KeysManager {
        let mut manager = KeysManager::new();
        manager.add_keys(self.0.iter().cloned());
        manager
    }

    /// Checks a signature that stands beside what it signs (SAML bindings, 3.4.4.1).
    pub(super) fn verify(&self, algorithm: &str, data: &[u8], signature: &[u8]) -> Result<(), Unfit> {
        accepted(algorithm)?;
        let method = from_uri(algorithm).map_err(|_| Unfit::from("an unknown signature algorithm"))?;
        let suits = |key: &&Key| key_algorithm_matches_signature_uri(algorithm, key.data.algorithm());
        for key in self.0.iter().filter(suits) {
            let Ok(Some(key)) = key.to_signing_key() else { continue };
            if method.verify(&key, data, signature).is_ok_and(|holds| holds) {
                return Ok(());
            }
        }
        Err("the signature is of none of the identity provider's keys".into())
    }
}

/// Whether it is a public key for signatures: RSA of 2048 bits and more, or of an elliptic curve. (Shared secrets cannot
/// come from a certificate; that is said here once more.)
fn is_public_key(key: &Key) -> bool {
    let Some(spki) = key.to_spki_der() else { return false };
    match key.algorithm_name() {
        "RSA" => PublicEncryptingKey::from_der(&spki).is_ok_and(|key| key.key_size_bits() >= MIN_RSA_BITS),
        name => name.starts_with("EC"),
    }
}

/// Our own key and its certificate.
pub(super) struct OwnKey {
    key: Key,
    certificate: String,
}

impl OwnKey {
    /// Reads an RSA key and its certificate, both PEM.
    pub(super) fn read(key: &Source, certificate_file: &Path) -> Result<Self, SetupError> {
        let failed = |source| SetupError::File { path: key.to_string().into(), source };
        let invalid = |why: &str| failed(std::io::Error::other(why.to_owned()));
        let pem = key.read().map_err(failed)?;
        let key = load_pem_auto(pem.expose().trim().as_bytes(), None)
            .map_err(|_| invalid("not a private key in PEM form"))?;
        if key.algorithm_name() != "RSA" || !key.has_private_key() || !is_public_key(&key) {
            return Err(invalid(
                "must be an RSA private key of at least 2048 bits; identity providers encrypt for no other kind",
            ));
        }
        let certificates = read_certificates(certificate_file)?;
        let [certificate] = &certificates[..] else {
            return Err(SetupError::File {
                path: certificate_file.to_owned(),
                source: std::io::Error::other("must hold one certificate"),
            });
        };
        let of_certificate = load_x509_cert_der(certificate).ok().and_then(|key| key.to_spki_der());
        if of_certificate.is_none() || of_certificate != key.to_spki_der() {
            return Err(invalid("is not the key of the certificate"));
        }
        Ok(Self { key, certificate: STANDARD.encode(certificate) })
    }

    /// The certificate in base64, as XML has it.
    pub(super) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// What the signature and the encryption library take.
    pub(super) fn manager(&self) -> KeysManager {
        let mut manager = KeysManager::new();
        manager.add_key(self.key.clone());
        manager
    }

    /// A signature to stand beside what it signs.
    pub(super) fn sign(&self, algorithm: &str, data: &[u8]) -> Result<Vec<u8>, String> {
        let key = self.key.to_signing_key().map_err(|error| error.to_string())?.ok_or("no private key")?;
        let method = from_uri(algorithm).map_err(|error| error.to_string())?;
        method.sign(&key, data).map_err(|error| error.to_string())
    }
}

/// The certificates of a PEM file (DER).
pub(super) fn read_certificates(path: &Path) -> Result<Vec<Vec<u8>>, SetupError> {
    let failed = |why: String| SetupError::File { path: path.to_owned(), source: std::io::Error::other(why) };
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))? {
        certificates.push(certificate.map_err(|error| failed(error.to_string()))?.to_vec());
    }
    if certificates.is_empty() {
        return Err(failed("holds no certificate".to_owned()));
    }
    Ok(certificates)
}

/// Which of the identity provider's certificates count.
pub(super) enum Pins {
    /// All that its metadata names.
    None,
    /// These alone, whatever its metadata names.
    Certificates(Vec<Vec<u8>>),
    /// Those of its metadata that have one of these SHA-256 fingerprints.
    Fingerprints(BTreeSet<[u8; 32]>),
}

impl Pins {
    /// The keys to believe, out of the certificates that the metadata names.
    pub(super) fn keys(&self, named: &[Vec<u8>]) -> TrustedKeys {
        match self {
            Self::None => TrustedKeys::new(named.iter().map(Vec::as_slice)),
            Self::Certificates(pinned) => TrustedKeys::new(pinned.iter().map(Vec::as_slice)),
            Self::Fingerprints(pinned) => {
                let is_pinned = |der: &&[u8]| pinned.contains(digest(&SHA256, der).as_ref());
                TrustedKeys::new(named.iter().map(Vec::as_slice).filter(is_pinned))
            }
        }
    }
}

/// Reads a SHA-256 fingerprint: 64 hexadecimal digits, with or without colons.
pub(super) fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |of: u8| char::from(of).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}
