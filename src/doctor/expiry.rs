//! Certificates, and what else has an end, in the files that the configuration names.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::FromDer as _;
use x509_parser::prelude::X509Certificate;
use x509_parser::revocation_list::CertificateRevocationList;

use super::{Area, Finding};
use crate::config::Config;
use crate::telemetry::Ending;

/// Less than this is a warning, and less than that a problem.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);
const VERY_SOON: SignedDuration = SignedDuration::from_hours(2 * 24);
/// Lists of withdrawn certificates live for days at most.
const LIST_SOON: SignedDuration = SignedDuration::from_hours(2);
/// The largest file that is read.
const LARGEST: u64 = 16 << 20;

/// When something ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// What it is for.
    pub of: Ending,
    /// The key of the configuration, and the file.
    pub what: String,
    /// When; or why that cannot be told.
    pub at: Result<Timestamp, String>,
}

/// The ends of all that has one, in the order of the configuration. Of a file with several the first one to end counts, for
/// authorities the last: others of a bundle may be old ones that nobody needs.
pub fn ends(config: &Config) -> Vec<End> {
    let mut all = Vec::new();
    let mut add = |of, key: &str, path: &Path, read: fn(&Path) -> Result<Timestamp, String>| {
        let what = format!("{key} ({})", path.display());
        all.push(End { of, what, at: read(path) });
    };
    let server = &config.server;
    if let Some(path) = &server.certificate {
        add(Ending::Server, "server.certificate", path, first_of);
    } else if !server.plain_http {
        let path = server.development_certificates.join("northgate.pem");
        if path.exists() {
            add(Ending::Server, "server.development_certificates", &path, first_of);
        }
    }
    if let Some(path) = &server.client_ca_file {
        add(Ending::ClientAuthority, "server.client_ca_file", path, last_of);
    }
    if let Some(path) = &server.client_crl_file {
        add(Ending::RevocationList, "server.client_crl_file", path, list);
    }
    let trino = &config.trino;
    let own = trino.clusters.iter().map(|cluster| (&cluster.cert_file, &cluster.ca_file));
    for (certificate, authority) in [(&trino.cert_file, &trino.ca_file)].into_iter().chain(own) {
        if let Some(path) = certificate {
            add(Ending::ToTrino, "trino.cert_file", path, first_of);
        }
        if let Some(path) = authority {
            add(Ending::Authority, "trino.ca_file", path, last_of);
        }
    }
    for saml in &config.identity.saml {
        let key = |name: &str| format!("identity.saml.{}.{name}", saml.name);
        add(Ending::SamlOwn, &key("certificate_file"), &saml.certificate_file, first_of);
        for path in &saml.pinned_certificates {
            add(Ending::SamlProvider, &key("pinned_certificates"), path, last_of);
        }
        if let Some(path) = &saml.metadata_file {
            add(Ending::SamlProvider, &key("metadata_file"), path, metadata);
        }
    }
    for (key, path) in authorities(config) {
        add(Ending::Authority, key, path, last_of);
    }
    all
}

/// The authorities of other servers.
fn authorities(config: &Config) -> Vec<(&'static str, &Path)> {
    let identity = &config.identity;
    let all = identity.jwt.iter().map(|one| ("identity.jwt.ca_file", &one.ca_file));
    let all = all.chain(identity.oidc.iter().map(|one| ("identity.oidc.ca_file", &one.ca_file)));
    let all = all.chain(identity.saml.iter().map(|one| ("identity.saml.ca_file", &one.ca_file)));
    let all = all.chain(identity.alb.iter().map(|one| ("identity.alb.ca_file", &one.ca_file)));
    let all = all.chain(config.catalog.rest.values().map(|one| ("catalog.rest.ca_file", &one.ca_file)));
    let all =
        all.chain([("state.ca_file", &config.state.ca_file), ("lineage.ca_file", &config.lineage.ca_file)]);
    let all = all.chain(config.telemetry.traces.iter().map(|one| ("telemetry.traces.ca_file", &one.ca_file)));
    let all = all.chain(config.audit.s3.iter().map(|one| ("audit.s3.ca_file", &one.ca_file)));
    let all = all.chain(config.audit.witness.iter().map(|one| ("audit.witness.ca_file", &one.ca_file)));
    all.filter_map(|(key, path)| Some((key, path.as_deref()?))).collect()
}

/// What there is to say of them.
pub fn findings(ends: &[End], now: Timestamp) -> Vec<Finding> {
    ends.iter().map(|end| finding(end, now)).collect()
}

pub(super) fn finding(end: &End, now: Timestamp) -> Finding {
    let End { of, what, at } = end;
    let at = match at {
        Ok(at) => *at,
        Err(why) => {
            let remedy = "give it a file in PEM that the gateway's user may read";
            return Finding::problem(Area::Certificates, format!("{what} cannot be read: {why}"), remedy);
        }
    };
    let left = at.duration_since(now);
    let day = at.strftime("%Y-%m-%d %H:%M UTC");
    let remedy = match of {
        Ending::RevocationList => {
            "fetch the authority's newest list: without it client certificates are refused. It is read again when the \
             file changes"
        }
        Ending::Server => "renew it, certificate and key; both are read again when the files change",
        Ending::ClientAuthority | Ending::Authority => {
            "put the authority's next certificate into the file, beside this one while both are in use"
        }
        Ending::ToTrino => "renew it, and restart the gateway",
        Ending::SamlOwn => {
            "make another key and certificate, restart, and give the identity provider the new metadata"
        }
        Ending::SamlProvider => {
            "ask the identity provider for its next certificate: nobody signs in by it afterwards"
        }
        Ending::Remote => "tell those who run that server",
    };
    let (soon, very_soon) = match of {
        Ending::RevocationList => (LIST_SOON, SignedDuration::ZERO),
        _ => (SOON, VERY_SOON),
    };
    if left <= SignedDuration::ZERO {
        Finding::problem(Area::Certificates, format!("{what} has ended, on {day}"), remedy)
    } else if left < very_soon {
        Finding::problem(
            Area::Certificates,
            format!("{what} ends in {} h, on {day}", left.as_hours()),
            remedy,
        )
    } else if left < soon {
        let left = left.as_hours();
        let says = if left < 48 { format!("{left} h") } else { format!("{} days", left / 24) };
        Finding::warning(Area::Certificates, format!("{what} ends in {says}, on {day}"), remedy)
    } else {
        Finding::good(Area::Certificates, format!("{what} ends on {day}"))
    }
}

/// When a certificate ends (DER).
pub(super) fn end_of(der: &[u8]) -> Result<Timestamp, String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| "not a certificate".to_owned())?;
    timestamp(certificate.validity().not_after.timestamp())
}

fn timestamp(seconds: i64) -> Result<Timestamp, String> {
    Timestamp::from_second(seconds).map_err(|error| error.to_string())
}

fn text(path: &Path) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > LARGEST {
        return Err(format!("it has more than {LARGEST} bytes"));
    }
    std::fs::read(path).map_err(|error| error.to_string())
}

fn certificates(path: &Path) -> Result<Vec<Timestamp>, String> {
    let text = text(path)?;
    let mut all = Vec::new();
    for der in CertificateDer::pem_slice_iter(&text) {
        all.push(end_of(&der.map_err(|error| error.to_string())?)?);
    }
    Ok(all)
}

fn first_of(path: &Path) -> Result<Timestamp, String> {
    certificates(path)?.into_iter().min().ok_or_else(|| "it holds no certificate".to_owned())
}

fn last_of(path: &Path) -> Result<Timestamp, String> {
    certificates(path)?.into_iter().max().ok_or_else(|| "it holds no certificate".to_owned())
}

fn list(path: &Path) -> Result<Timestamp, String> {
    let text = text(path)?;
    let mut first: Option<Timestamp> = None;
    for der in CertificateRevocationListDer::pem_slice_iter(&text) {
        let der = der.map_err(|error| error.to_string())?;
        let (_, list) = CertificateRevocationList::from_der(&der).map_err(|_| "not a list".to_owned())?;
        if let Some(next) = list.next_update() {
            let next = timestamp(next.timestamp())?;
            first = Some(first.map_or(next, |first| first.min(next)));
        }
    }
    first.ok_or_else(|| "it holds no list that says when the next one comes".to_owned())
}

fn metadata(path: &Path) -> Result<Timestamp, String> {
    end_of_metadata(&String::from_utf8_lossy(&text(path)?))
}

/// When the last certificate of an identity provider's metadata ends. What is signed is looked at elsewhere: here it is only
/// whether somebody should be told.
pub(super) fn end_of_metadata(text: &str) -> Result<Timestamp, String> {
    let mut last = None;
    for piece in text.split("X509Certificate>").skip(1).step_by(2) {
        let base64: String =
            piece.split('<').next().unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect();
        let der = STANDARD.decode(base64).map_err(|error| error.to_string())?;
        last = last.max(Some(end_of(&der)?));
    }
    last.ok_or_else(|| "it has no certificate".to_owned())
}
