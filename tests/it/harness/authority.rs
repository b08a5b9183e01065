//! An authority of client certificates.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};

/// Signs certificates, and keeps them in a folder.
pub(crate) struct Authority {
    pub(crate) folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A fresh one, whose own certificate is `ca.pem` in its folder.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("northgate-clients-").tempdir().expect("a folder");
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, "Clients of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
        let authority = Self { folder, issuer: issuer.expect("an authority") };
        std::fs::write(authority.ca(), authority.issuer.pem()).expect("the folder is ours");
        authority
    }

    /// Its own certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The list of what it has withdrawn, by serial number.
    pub(crate) fn withdraw(&self, serials: &[u64]) -> PathBuf {
        let at = rcgen::date_time_ymd(2020, 1, 1);
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: at,
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: at,
            next_update: rcgen::date_time_ymd(4000, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let path = self.folder.path().join("withdrawn.pem");
        let list = params.signed_by(&self.issuer).expect("a list").pem().expect("PEM");
        std::fs::write(&path, list).expect("the folder is ours");
        path
    }

    /// A file with a key and the certificate for it (PEM). `change` makes another of the good one.
    pub(crate) fn issue(
        &self,
        name: &str,
        serial: u64,
        change: impl FnOnce(&mut CertificateParams),
    ) -> PathBuf {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let path = self.folder.path().join(format!("{name}-{serial}.pem"));
        let text = format!("{}{}", key.serialize_pem(), certificate.pem());
        std::fs::write(&path, text).expect("the folder is ours");
        path
    }
}

/// A path as text.
pub(crate) fn text(path: &Path) -> String {
    path.to_str().expect("a plain path").to_owned()
}
