//! The server's certificate, and those that clients may show: read from files, read again when they change, or made for development.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use tokio::sync::watch;

use super::config::Config;
use super::error::ServerError;
use super::trust::{Clients, Trust};

/// How often the files are looked at for a change.
const WATCH: Duration = Duration::from_secs(5);
/// When certificates for development are made anew; they are good for ten days more.
const DEVELOPMENT_AGE: Duration = Duration::from_hours(24 * 720);

/// The certificate in force. Connections that are open keep the one that they began with.
#[derive(Debug)]
pub struct Certificates {
    chain: PathBuf,
    key: PathBuf,
    current: Arc<Current>,
    clients: Option<Arc<Clients>>,
    settings: ArcSwap<Settings>,
    reread: watch::Sender<Option<String>>,
}

/// The certificate for the next handshake.
#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

/// The settings of the next handshake. A session is resumed without a look at the client's certificate, so that
/// sessions end with the settings that they began under.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) tls: Arc<rustls::ServerConfig>,
    pub(super) trust: Option<Arc<Trust>>,
}

impl Certificates {
    /// Reads the certificate, or makes one for development where none is configured.
    pub(super) fn load(config: &Config) -> Result<Self, ServerError> {
        let (chain, key) = match (&config.certificate, &config.key) {
            (Some(chain), Some(key)) => (chain.clone(), key.clone()),
            _ => development(&config.development_certificates)?,
        };
        let current = Arc::new(Current(ArcSwap::from_pointee(read(&chain, &key)?)));
        let clients = Clients::of(config)?.map(Arc::new);
        let trust = clients.as_ref().map(|clients| clients.current.load_full());
        let settings = ArcSwap::from_pointee(settings(&current, trust)?);
        Ok(Self { chain, key, current, clients, settings, reread: watch::Sender::new(None) })
    }

    /// Reads the files again. If they cannot be used, the certificates before stay in force, all of them.
    pub fn reload(&self) -> Result<(), ServerError> {
        let new = read(&self.chain, &self.key)?;
        if let Some(clients) = &self.clients {
            let trust = clients.reread()?;
            if !trust.is_same(&clients.current.load()) {
                let trust = Arc::new(trust);
                self.settings.store(Arc::new(settings(&self.current, Some(Arc::clone(&trust)))?));
                clients.current.store(trust);
                tracing::info!(file = %clients.ca_file.display(), "took new authorities of clients' certificates");
            }
        }
        if new.cert != self.current.0.load().cert {
            self.current.0.store(Arc::new(new));
            tracing::info!(file = %self.chain.display(), "took a new certificate");
        }
        Ok(())
    }

    /// Whose certificates clients may show; `None` if they are not asked for any.
    pub(super) fn clients(&self) -> Option<&Arc<Clients>> {
        self.clients.as_ref()
    }

    /// The settings for the next handshake.
    pub(super) fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Told each time that the files have changed and were read: what is wrong with them, if anything is.
    pub fn rereads(&self) -> watch::Receiver<Option<String>> {
        self.reread.subscribe()
    }

    /// Reads the files again whenever they change. Files are often swapped one after the other: a pair that
    /// does not fit is an error in the log, and is looked at again.
    pub(super) async fn watch(self: Arc<Self>) {
        let mut files = vec![self.chain.as_path(), self.key.as_path()];
        if let Some(clients) = &self.clients {
            files.push(&clients.ca_file);
            files.extend(clients.crl_file.as_deref());
        }
        let stamp = async || {
            let mut all = Vec::with_capacity(files.len());
            for path in &files {
                all.push(tokio::fs::metadata(path).await.and_then(|it| it.modified()).ok());
            }
            all
        };
        let mut last = stamp().await;
        loop {
            tokio::time::sleep(WATCH).await;
            let now = stamp().await;
            if now == last {
                continue;
            }
            match self.reload() {
                Ok(()) => {
                    last = now;
                    drop(self.reread.send_replace(None));
                }
                Err(error) => {
                    drop(self.reread.send_replace(Some(error.to_string())));
                    tracing::error!(%error, "the new certificate cannot be used; the last one stays");
                }
            }
        }
    }
}

/// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
fn settings(current: &Arc<Current>, trust: Option<Arc<Trust>>) -> Result<Settings, ServerError> {
    let verifier =
        trust.as_ref().map_or_else(WebPkiClientVerifier::no_client_auth, |trust| Arc::clone(&trust.verifier));
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::clone(current) as Arc<dyn ResolvesServerCert>);
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Settings { tls: Arc::new(tls), trust })
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Reads a chain and its key, and checks that they belong together.
fn read(chain: &Path, key: &Path) -> Result<CertifiedKey, ServerError> {
    let file = |path: &Path, error: rustls::pki_types::pem::Error| match error {
        rustls::pki_types::pem::Error::Io(source) => ServerError::File { path: path.to_owned(), source },
        other => ServerError::Certificate { path: path.to_owned(), message: other.to_string() },
    };
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| file(chain, error))?;
    if certificates.is_empty() {
        let message = "holds no certificate".to_owned();
        return Err(ServerError::Certificate { path: chain.to_owned(), message });
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| file(key, error))?;
    CertifiedKey::from_der(certificates, private, &default_provider()).map_err(|error| {
        let message = match error {
            rustls::Error::InconsistentKeys(_) => {
                format!("does not belong to the certificate {}", chain.display())
            }
            other => other.to_string(),
        };
        ServerError::Certificate { path: key.to_owned(), message }
    })
}

/// The certificate and key for development, made in the folder if they aren't there or are old.
///
/// A small authority signs the certificate, so that a client can be told to trust `ca.pem` and check host
/// names as it should; the authority's key is thrown away at once and can sign nothing else.
fn development(folder: &Path) -> Result<(PathBuf, PathBuf), ServerError> {
    let (authority, chain, key) =
        (folder.join("ca.pem"), folder.join("northgate.pem"), folder.join("northgate-key.pem"));
    let fresh = |path: &Path| {
        let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified());
        modified.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age < DEVELOPMENT_AGE))
    };
    if !(fresh(&chain) && key.exists()) {
        let made = make().map_err(|error| ServerError::Certificate {
            path: chain.clone(),
            message: format!("cannot make a certificate for development: {error}"),
        })?;
        let write = |path: &Path, text: &str, mode: u32| {
            place(path, text, mode).map_err(|source| ServerError::File { path: path.to_owned(), source })
        };
        std::fs::create_dir_all(folder)
            .map_err(|source| ServerError::File { path: folder.to_owned(), source })?;
        write(&authority, &made.authority, 0o644)?;
        write(&key, &made.key, 0o600)?;
        write(&chain, &made.chain, 0o644)?;
    }
    tracing::warn!(
        certificate = %chain.display(),
        "no certificate configured: using a self-signed one, made for development. Clients must trust {}; \
         set server.certificate and server.key for anything else",
        authority.display()
    );
    Ok((chain, key))
}

struct Made {
    authority: String,
    chain: String,
    key: String,
}

fn make() -> Result<Made, rcgen::Error> {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let day = |date: jiff::civil::Date| {
        let [month, day] = [date.month(), date.day()].map(i8::unsigned_abs);
        rcgen::date_time_ymd(i32::from(date.year()), month, day)
    };
    let last = today.saturating_add(jiff::Span::new().days(730));
    let dated = |mut params: CertificateParams, name: &str| {
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = day(today.saturating_sub(jiff::Span::new().days(1)));
        params.not_after = day(last);
        params
    };
    let mut params = dated(CertificateParams::new(Vec::<String>::new())?, "Northgate development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    if let Ok(host) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
        let host = host.trim();
        if !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        {
            names.push(host.to_owned());
        }
    }
    let mut params = dated(CertificateParams::new(names)?, "Northgate development");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &authority)?;
    Ok(Made { authority: authority.pem(), chain: certificate.pem(), key: key.serialize_pem() })
}

/// Writes a file of this mode in one step.
fn place(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let _ = std::fs::remove_file(&temporary);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    std::io::Write::write_all(&mut options.open(&temporary)?, text.as_bytes())?;
    std::fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &Path) -> Config {
        Config { development_certificates: folder.join("certs"), ..Config::default() }
    }

    #[test]
    fn a_development_certificate_is_made_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = Certificates::load(&config(folder.path())).expect("made");
        let again = Certificates::load(&config(folder.path())).expect("read");
        assert_eq!(first.current.0.load().cert, again.current.0.load().cert);
        let key = std::fs::metadata(folder.path().join("certs/northgate-key.pem")).expect("a key");
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
        assert!(folder.path().join("certs/ca.pem").exists());
    }

    #[test]
    fn a_bad_pair_does_not_replace_a_good_one() {
        let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let certificates = Certificates::load(&config(one.path())).expect("made");
        Certificates::load(&config(two.path())).expect("made");
        let before = certificates.current.0.load_full();
        let copy = |name: &str| {
            let name = Path::new("certs").join(name);
            std::fs::copy(two.path().join(&name), one.path().join(&name)).expect("copied");
        };
        copy("northgate.pem");
        let error = certificates.reload().expect_err("the key is another's").to_string();
        assert!(error.contains("does not belong"), "{error}");
        assert!(Arc::ptr_eq(&before, &certificates.current.0.load_full()));
        copy("northgate-key.pem");
        certificates.reload().expect("a pair again");
        assert_ne!(before.cert, certificates.current.0.load().cert);
        std::fs::write(one.path().join("certs/northgate.pem"), "").expect("written");
        assert!(certificates.reload().is_err());
        std::fs::remove_file(one.path().join("certs/northgate.pem")).expect("removed");
        assert!(certificates.reload().is_err());
    }

    #[test]
    fn files_that_cannot_be_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        Certificates::load(&config(folder.path())).expect("made");
        std::fs::write(path("text"), "hello").expect("written");
        let check = |chain: &str, key: &str, expect: &str| {
            let error = read(&path(chain), &path(key)).expect_err(expect).to_string();
            assert!(error.contains(expect), "{chain} {key}: {error}");
        };
        check("certs/northgate.pem", "none", "none: No such file");
        check("none", "certs/northgate-key.pem", "none: No such file");
        check("text", "certs/northgate-key.pem", "holds no certificate");
        check("certs/northgate.pem", "text", "text: ");
        check("certs/northgate.pem", "certs/northgate.pem", "northgate.pem: ");
    }
}
