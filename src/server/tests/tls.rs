use ::http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

/// A server on a port of its own, with a certificate for development.
struct Running {
    folder: tempfile::TempDir,
    address: SocketAddr,
    certificates: Arc<Certificates>,
    metrics: Arc<Metrics>,
    _task: AbortOnDropHandle<()>,
}

impl Running {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            development_certificates: folder.path().join("certs"),
            ..Config::default()
        };
        let server = Server::bind(config).await.expect("bound");
        let (address, certificates) = (server.address(), server.certificates().expect("TLS"));
        let (handler, metrics) = (Arc::new(Echo::default()), Arc::new(Metrics::new()));
        let task = tokio::spawn(server.serve(handler, Arc::clone(&metrics), std::future::pending()));
        Self { folder, address, certificates, metrics, _task: AbortOnDropHandle::new(task) }
    }

    async fn connect(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocol: &[u8],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let authority = self.folder.path().join("certs/ca.pem");
        roots.add(CertificateDer::from_pem_file(authority).expect("read")).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from("localhost").expect("a name"), stream)
            .await
    }
}

async fn text(response: Response<hyper::body::Incoming>) -> String {
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8(body.to_vec()).expect("text")
}

#[tokio::test]
async fn versions_of_tls_and_http() {
    let running = Running::start().await;
    for (version, name) in [(&TLS12, "TLSv1.2"), (&TLS13, "TLSv1.3")] {
        let stream = running.connect(&[version], b"http/1.1").await.expect("a handshake");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        let request = Request::get("/").header("host", "x").body(Empty::<Bytes>::new()).expect("a request");
        let answer = text(sender.send_request(request).await.expect("an answer")).await;
        assert_eq!(answer, format!("http 1 tls {name} lines 1 body 0\n"));
        let stream = running.connect(&[version], b"h2").await.expect("a handshake");
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
        tokio::spawn(connection);
        let request = Request::get("https://x/").body(Empty::<Bytes>::new()).expect("a request");
        let answer = text(sender.send_request(request).await.expect("an answer")).await;
        assert_eq!(answer, format!("http 2 tls {name} lines 0 body 0\n"));
    }
    assert!(running.metrics.render().contains("northgate_connections_accepted_total{tls=\"1.3\"} 2"));
}

/// A ClientHello of this version (RFC 4346, 7.4.1.2) with a cipher suite that TLS 1.2 has too, and the
/// extensions that a server of today asks for, so that nothing but the version can be refused.
fn client_hello(minor: u8) -> Vec<u8> {
    let mut hello = vec![3, minor];
    hello.extend_from_slice(&[7; 32]);
    hello.extend_from_slice(&[0, 0, 2, 0xc0, 0x2b, 1, 0]);
    let extensions = [
        &[0, 10, 0, 4, 0, 2, 0, 23][..], // supported_groups: P-256
        &[0, 11, 0, 2, 1, 0][..],        // ec_point_formats: uncompressed
        &[0, 13, 0, 4, 0, 2, 4, 3][..],  // signature_algorithms: ECDSA with SHA-256
    ]
    .concat();
    hello.extend_from_slice(&[0, u8::try_from(extensions.len()).expect("short")]);
    hello.extend_from_slice(&extensions);
    let length = u8::try_from(hello.len()).expect("short");
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.append(&mut hello);
    record
}

#[tokio::test]
async fn old_versions_of_tls_and_plain_text_are_refused() {
    let running = Running::start().await;
    let refused = async |bytes: &[u8]| {
        let mut stream = TcpStream::connect(running.address).await.expect("connected");
        stream.write_all(bytes).await.expect("sent");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    };
    for minor in [0, 1, 2] {
        let answer = refused(&client_hello(minor)).await;
        assert_eq!((answer.first(), answer.last()), (Some(&21), Some(&70)), "1.{minor}: protocol_version");
    }
    let answer = refused(b"GET /v1/info HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    // The client knows of it before it is counted.
    let counted = async {
        while !running.metrics.render().contains("northgate_connections_failed_total 4") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), counted).await.is_ok(), "4 are counted");
    let mut stream = TcpStream::connect(running.address).await.expect("connected");
    stream.write_all(&client_hello(3)).await.expect("sent");
    assert_eq!(stream.read_u8().await.expect("an answer"), 22, "1.2: a handshake");
}

#[tokio::test]
async fn another_protocol_is_refused() {
    let running = Running::start().await;
    assert!(running.connect(&[&TLS13], b"http/0.9").await.is_err());
}

#[tokio::test]
async fn a_new_certificate_does_not_drop_connections() {
    let running = Running::start().await;
    let certificate = |stream: &TlsStream<TcpStream>| {
        stream.get_ref().1.peer_certificates().expect("a certificate")[0].clone().into_owned()
    };
    let stream = running.connect(&[&TLS13], b"http/1.1").await.expect("a handshake");
    let before = certificate(&stream);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    for file in ["ca.pem", "northgate.pem", "northgate-key.pem"] {
        std::fs::remove_file(running.folder.path().join("certs").join(file)).expect("removed");
    }
    assert!(running.certificates.reload().is_err(), "the files are gone");
    let config =
        Config { development_certificates: running.folder.path().join("certs"), ..Config::default() };
    Certificates::load(&config).expect("made anew");
    running.certificates.reload().expect("taken");
    let request = Request::get("/").header("host", "x").body(Empty::<Bytes>::new()).expect("a request");
    assert!(sender.send_request(request).await.is_ok(), "the old connection goes on");
    let stream = running.connect(&[&TLS13], b"http/1.1").await.expect("a handshake");
    assert_ne!(before, certificate(&stream));
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error() {
    let running = Running::start().await;
    let config = Config { listen: running.address, plain_http: true, ..Config::default() };
    let error = Server::bind(config).await.err().expect("taken").to_string();
    assert!(error.starts_with(&format!("cannot listen on {}", running.address)), "{error}");
}
