//! What a client certificate says of its owner (RFC 5280).

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The names in a certificate that the TLS handshake has verified, and its end. Which of them names the user is for
/// the configuration to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    emails: Vec<String>,
    dns_names: Vec<String>,
    uris: Vec<String>,
    common_names: Vec<String>,
    subject: String,
    expires: i64,
}

/// A certificate whose names cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate's names cannot be read")]
pub struct UnreadableCertificate;

impl ClientCertificate {
    /// Reads a certificate (DER). Whether it is to be believed is not looked at here.
    ///
    /// # Errors
    ///
    /// [`UnreadableCertificate`] if a name in it is no text, or something follows it.
    pub fn read(der: &[u8]) -> Result<Self, UnreadableCertificate> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| UnreadableCertificate)?;
        let alternative = certificate.subject_alternative_name().map_err(|_| UnreadableCertificate)?;
        if !rest.is_empty() {
            return Err(UnreadableCertificate);
        }
        let mut read = Self {
            subject: certificate.subject().to_string(),
            expires: certificate.validity().not_after.timestamp(),
            ..Self::default()
        };
        for name in alternative.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::RFC822Name(email) => read.emails.push((*email).to_owned()),
                GeneralName::DNSName(name) => read.dns_names.push((*name).to_owned()),
                GeneralName::URI(uri) => read.uris.push((*uri).to_owned()),
                GeneralName::Invalid(..) => return Err(UnreadableCertificate),
                _ => {}
            }
        }
        for name in certificate.subject().iter_common_name() {
            read.common_names.push(name.as_str().map_err(|_| UnreadableCertificate)?.to_owned());
        }
        Ok(read)
    }

    /// One that was never in a handshake, for tests.
    #[cfg(test)]
    pub(crate) fn of(email: &str, common_names: &[&str], expires: i64) -> Self {
        Self {
            emails: vec![email.to_owned()],
            common_names: common_names.iter().map(ToString::to_string).collect(),
            subject: format!("CN={}", common_names.join(" + CN=")),
            expires,
            ..Self::default()
        }
    }

    /// The e-mail addresses (`rfc822Name`) among the subject's alternative names.
    pub fn emails(&self) -> &[String] {
        &self.emails
    }

    /// The DNS names among the subject's alternative names.
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// The URIs among the subject's alternative names; of a SPIFFE identity there is one.
    pub fn uris(&self) -> &[String] {
        &self.uris
    }

    /// The common names of the subject.
    pub fn common_names(&self) -> &[String] {
        &self.common_names
    }

    /// The subject, for logs and the audit.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The last second in which it is good, since 1970. A connection may outlive it.
    pub fn expires(&self) -> i64 {
        self.expires
    }
}

#[cfg(test)]
mod tests {
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn names_are_read_by_their_kind() {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["ann.example".to_owned()]).expect("a name");
        let text = |text: &str| Ia5String::try_from(text).expect("ASCII");
        params.subject_alt_names.push(SanType::Rfc822Name(text("ann@example.com")));
        params.subject_alt_names.push(SanType::URI(text("spiffe://bank/ann")));
        params.subject_alt_names.push(SanType::IpAddress([10, 0, 0, 1].into()));
        params.distinguished_name.push(DnType::CommonName, "Ann");
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let der = params.self_signed(&key).expect("a certificate").der().to_vec();
        let read = ClientCertificate::read(&der).expect("readable");
        assert_eq!(read.emails(), ["ann@example.com"]);
        assert_eq!(read.dns_names(), ["ann.example"]);
        assert_eq!(read.uris(), ["spiffe://bank/ann"]);
        assert_eq!(read.common_names(), ["Ann"]);
        assert_eq!(read.subject(), "CN=Ann");
        assert_eq!(read.expires(), 1_893_456_000);
        let more = [der.as_slice(), b"x"].concat();
        assert_eq!(ClientCertificate::read(&more), Err(UnreadableCertificate));
        assert_eq!(ClientCertificate::read(&der[..40]), Err(UnreadableCertificate));
    }
}
