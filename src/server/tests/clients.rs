//! Clients that show certificates.

use ::http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::*;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, "authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

/// A certificate for `name`, and its key.
fn issue(by: &Authority, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(7_u64));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, by).expect("a certificate").der().clone();
    (certificate, PrivateKeyDer::try_from(key.serialize_der()).expect("a key"))
}

type Identity = (CertificateDer<'static>, PrivateKeyDer<'static>);

/// A list of withdrawn certificates with these serial numbers.
fn list(by: &Authority, withdrawn: &[u64], ends: (i32, u8, u8)) -> String {
    let at = rcgen::date_time_ymd(2020, 1, 1);
    let revoked = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: at,
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: at,
        next_update: rcgen::date_time_ymd(ends.0, ends.1, ends.2),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: withdrawn.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(by).expect("a list").pem().expect("PEM")
}

const LATE: (i32, u8, u8) = (4000, 1, 1);

/// A server that takes certificates of an authority.
struct Asking {
    folder: tempfile::TempDir,
    address: SocketAddr,
    certificates: Arc<Certificates>,
    _task: AbortOnDropHandle<()>,
}

impl Asking {
    async fn start(authority: &Authority, list: Option<String>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("clients.pem"), authority.pem()).expect("written");
        let crl_file = list.map(|list| {
            std::fs::write(path("withdrawn.pem"), list).expect("written");
            path("withdrawn.pem")
        });
        let config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            development_certificates: path("certs"),
            client_ca_file: Some(path("clients.pem")),
            client_crl_file: crl_file,
            ..Config::default()
        };
        let server = Server::bind(config).await.expect("bound");
        let (address, certificates) = (server.address(), server.certificates().expect("TLS"));
        let serve = server.serve(Arc::new(Echo::default()), Arc::new(Metrics::new()), std::future::pending());
        Self { folder, address, certificates, _task: AbortOnDropHandle::new(tokio::spawn(serve)) }
    }

    fn config(&self, identity: Option<&Identity>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let authority = self.folder.path().join("certs/ca.pem");
        roots.add(CertificateDer::from_pem_file(authority).expect("read")).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        Arc::new(match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(vec![certificate.clone()], key.clone_key())
                .expect("a certificate and its key"),
        })
    }

    async fn open(&self, config: &Arc<ClientConfig>) -> Option<SendRequest<Empty<Bytes>>> {
        let stream = TcpStream::connect(self.address).await.expect("connected");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await.ok()?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        Some(sender)
    }

    /// Who the handler sees on a connection of its own; `None` if there is no connection.
    async fn ask(&self, identity: Option<&Identity>) -> Option<String> {
        who(&mut self.open(&self.config(identity)).await?).await
    }

    fn rewrite(&self, file: &str, text: &str) -> Result<(), ServerError> {
        std::fs::write(self.folder.path().join(file), text).expect("written");
        self.certificates.reload()
    }
}

async fn who(sender: &mut SendRequest<Empty<Bytes>>) -> Option<String> {
    let request = Request::get("/who").header("host", "x").body(Empty::new()).expect("a request");
    let body = sender.send_request(request).await.ok()?.into_body().collect().await.ok()?;
    Some(String::from_utf8(body.to_bytes().trim_ascii().to_vec()).expect("text"))
}

#[tokio::test]
async fn whose_certificate_is_believed() {
    let (ours, other) = (authority(), authority());
    let asking = Asking::start(&ours, Some(list(&ours, &[13], LATE))).await;
    let check = async |identity: Option<&Identity>, expect: Option<&str>, what: &str| {
        assert_eq!(asking.ask(identity).await.as_deref(), expect, "{what}");
    };
    check(None, Some("nobody"), "none is no reason to be refused").await;
    check(Some(&issue(&ours, "ann", |_| {})), Some("ann"), "a good one").await;
    check(Some(&issue(&other, "ann", |_| {})), None, "another authority's").await;
    let withdrawn = |params: &mut CertificateParams| params.serial_number = Some(SerialNumber::from(13_u64));
    check(Some(&issue(&ours, "ann", withdrawn)), None, "one that was withdrawn").await;
    let old = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    check(Some(&issue(&ours, "ann", old)), None, "one that has expired").await;
    let early = |params: &mut CertificateParams| params.not_before = rcgen::date_time_ymd(3999, 1, 1);
    check(Some(&issue(&ours, "ann", early)), None, "one that is not good yet").await;
    let server = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    check(Some(&issue(&ours, "ann", server)), None, "a server's").await;
}

#[tokio::test]
async fn what_is_withdrawn_ends_on_open_connections() {
    let ours = authority();
    let asking = Asking::start(&ours, Some(list(&ours, &[], LATE))).await;
    let config = asking.config(Some(&issue(&ours, "ann", |_| {})));
    let mut open = asking.open(&config).await.expect("a connection");
    assert_eq!(who(&mut open).await.as_deref(), Some("ann"));
    asking.rewrite("withdrawn.pem", &list(&ours, &[8], LATE)).expect("taken");
    assert_eq!(who(&mut open).await.as_deref(), Some("ann"), "it is another that was withdrawn");
    assert!(asking.rewrite("withdrawn.pem", "nothing").is_err(), "no list is no new list");
    assert_eq!(who(&mut open).await.as_deref(), Some("ann"));
    asking.rewrite("withdrawn.pem", &list(&ours, &[7], LATE)).expect("taken");
    assert_eq!(who(&mut open).await.as_deref(), Some("nobody"));
    assert_eq!(who(&mut open).await, None, "and it is closed");
    // Nor is the session of before resumed: the client has a ticket of it.
    let resumed = match asking.open(&config).await {
        Some(mut sender) => who(&mut sender).await,
        None => None,
    };
    assert_eq!(resumed, None);
}

#[tokio::test]
async fn a_list_that_is_past_its_time_lets_nobody_in() {
    let ours = authority();
    let asking = Asking::start(&ours, Some(list(&ours, &[], (2021, 1, 1)))).await;
    let ann = issue(&ours, "ann", |_| {});
    assert_eq!(asking.ask(Some(&ann)).await, None);
    assert_eq!(asking.ask(None).await.as_deref(), Some("nobody"));
}

#[tokio::test]
async fn authorities_are_read_again() {
    let (ours, other) = (authority(), authority());
    let asking = Asking::start(&ours, None).await;
    let (ann, bob) = (issue(&ours, "ann", |_| {}), issue(&other, "bob", |_| {}));
    assert_eq!(asking.ask(Some(&ann)).await.as_deref(), Some("ann"));
    let mut open = asking.open(&asking.config(Some(&ann))).await.expect("a connection");
    asking.rewrite("clients.pem", &other.pem()).expect("taken");
    assert_eq!(asking.ask(Some(&bob)).await.as_deref(), Some("bob"));
    assert_eq!(asking.ask(Some(&ann)).await, None);
    assert_eq!(who(&mut open).await.as_deref(), Some("nobody"));
}
