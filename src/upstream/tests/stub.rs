//! A server that answers what it is told to, as raw bytes, and keeps what it was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

/// What is done with one request.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Answers these bytes and keeps the connection.
    Say(String),
    /// Answers these bytes and closes it.
    SayAndClose(String),
    /// Closes the connection without a word.
    Close,
    /// Says nothing for ever.
    Hang,
    /// Says these bytes, and nothing more for ever.
    SayAndHang(String),
}

pub(super) struct Stub {
    pub(super) url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

/// A page with a status.
pub(super) fn page(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

impl Stub {
    /// Does these acts, one a request, and then the last one again and again.
    pub(super) async fn start(acts: Vec<Act>) -> Self {
        Self::listen(acts, None).await
    }

    /// The same over TLS, as `localhost`.
    pub(super) async fn start_tls(acts: Vec<Act>, key: &rcgen::CertifiedKey<rcgen::KeyPair>) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let private = rustls::pki_types::PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![key.cert.der().clone()], private.into())
            .expect("a certificate");
        Self::listen(acts, Some(tokio_rustls::TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn listen(acts: Vec<Act>, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let url = match &tls {
            None => format!("http://{address}"),
            Some(_) => format!("https://localhost:{}", address.port()),
        };
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, acts, tls) = (Arc::clone(&log), acts.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &acts, &log).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &acts, &log).await;
                            }
                        }
                    }
                });
            }
        });
        Self { url, asked }
    }

    /// All requests so far, heads and bodies.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("not poisoned").clone()
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, acts: &[Act], log: &Mutex<Vec<String>>) {
    let mut seen = Vec::new();
    while let Some(request) = request(&mut stream, &mut seen).await {
        let at = {
            let mut log = log.lock().expect("not poisoned");
            log.push(request);
            (log.len() - 1).min(acts.len() - 1)
        };
        let (Act::Say(text) | Act::SayAndClose(text) | Act::SayAndHang(text)) = &acts[at] else {
            match acts[at] {
                Act::Hang => std::future::pending().await,
                _ => return,
            }
        };
        stream.write_all(text.as_bytes()).await.expect("said");
        stream.flush().await.expect("said");
        match acts[at] {
            Act::Say(_) => {}
            Act::SayAndHang(_) => std::future::pending().await,
            _ => return,
        }
    }
}

async fn request(stream: &mut (impl AsyncRead + Unpin), seen: &mut Vec<u8>) -> Option<String> {
    loop {
        let text = String::from_utf8_lossy(seen).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length: usize = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
                .unwrap_or(0);
            if body.len() >= length {
                seen.drain(..head.len() + 4 + length);
                return Some(format!("{head}\r\n\r\n{}", &body[..length]));
            }
        }
        let mut more = [0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(30), stream.read(&mut more)).await;
        match read {
            Ok(Ok(read)) if read > 0 => seen.extend_from_slice(&more[..read]),
            _ => return None,
        }
    }
}
