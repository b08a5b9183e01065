//! A provider that does as it is told, for the faults that a real one does not show.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use serde_json::{Value, json};

use crate::identity::oidc::id_token::since_epoch;
use crate::identity::oidc::{Attempt, Begun, Config, Provider, Signed};
use crate::identity::{Refused, SetupError};

/// What we are called there, and our secret.
pub(super) const CLIENT: &str = "gate";
pub(super) const SECRET: &str = "a-secret-of-more-than-32-bytes-by-far";

/// A signing key with its id.
pub(super) struct Key {
    pub(super) id: String,
    pub(super) pair: KeyPair,
}

impl Key {
    pub(super) fn new(id: &str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        Self { id: id.to_owned(), pair }
    }

    pub(super) fn public(&self) -> Value {
        // An uncompressed point: 0x04, then both coordinates.
        let point = self.pair.der_bytes();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..65]));
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id, "x": x, "y": y})
    }

    pub(super) fn header(&self) -> Header {
        Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::ES256) }
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        self.sign_as(&self.header(), claims)
    }

    pub(super) fn sign_as(&self, header: &Header, claims: &Value) -> String {
        let key = EncodingKey::from_ec_pem(self.pair.serialize_pem().as_bytes()).expect("a key");
        jsonwebtoken::encode(header, claims, &key).expect("a token")
    }
}

/// A token whose parts are these, with a signature of nobody.
pub(super) fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", part(header), part(claims))
}

/// What it answers, by path; and what it was asked, heads and bodies.
#[derive(Default)]
pub(super) struct Script {
    pub(super) answers: BTreeMap<String, (u16, String)>,
    pub(super) requests: Vec<String>,
    /// How long it thinks.
    pub(super) delay: Duration,
}

/// The provider, and ourselves as its client.
pub(super) struct Site {
    pub(super) key: Key,
    pub(super) provider: Provider,
    pub(super) double: Double,
    _folder: tempfile::TempDir,
}

/// The provider by itself.
pub(super) struct Double {
    pub(super) issuer: String,
    script: Arc<Mutex<Script>>,
}

impl Double {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let issuer = format!("http://{}", listener.local_addr().expect("bound"));
        let script = Arc::new(Mutex::new(Script::default()));
        let double = Self { issuer, script: Arc::clone(&script) };
        double.answer("/.well-known/openid-configuration", 200, &double.metadata());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let script = Arc::clone(&script);
                thread::spawn(move || serve(stream, &script));
            }
        });
        double
    }

    /// Metadata without a fault.
    pub(super) fn metadata(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer);
        json!({
            "issuer": self.issuer, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
            "jwks_uri": at("/keys"), "userinfo_endpoint": at("/userinfo"), "end_session_endpoint": at("/logout"),
            "device_authorization_endpoint": at("/device"), "response_types_supported": ["code", "id_token"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256", "HS256", "RS256"],
            "code_challenge_methods_supported": ["plain", "S256"],
        })
    }

    pub(super) fn answer(&self, path: &str, status: u16, body: &Value) {
        self.answer_text(path, status, &body.to_string());
    }

    pub(super) fn answer_text(&self, path: &str, status: u16, body: &str) {
        self.script().answers.insert(path.to_owned(), (status, body.to_owned()));
    }

    pub(super) fn answer_keys(&self, keys: &[&Key]) {
        let keys: Vec<_> = keys.iter().map(|key| key.public()).collect();
        self.answer("/keys", 200, &json!({ "keys": keys }));
    }

    pub(super) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("no panic in a lock")
    }

    /// The requests for a path.
    pub(super) fn asked(&self, path: &str) -> Vec<String> {
        let is_for = |request: &&String| request.split(' ').nth(1) == Some(path);
        self.script().requests.iter().filter(is_for).cloned().collect()
    }
}

impl Site {
    /// One whose metadata was read. `more` is more configuration.
    pub(super) async fn new(more: &str) -> Self {
        let site = Self::unread(more, &|_| {}, Duration::from_mins(1)).expect("a configuration");
        site.provider.ready().await.expect("the metadata can be read");
        site
    }

    /// One whose metadata may be anything, and which is read once in `pause` at most.
    pub(super) fn unread(more: &str, prepare: &dyn Fn(&Double), pause: Duration) -> Result<Self, SetupError> {
        let (double, key) = (Double::start(), Key::new("one"));
        double.answer_keys(&[&key]);
        prepare(&double);
        let folder = tempfile::tempdir().expect("a folder");
        let secret = folder.path().join("secret");
        std::fs::write(&secret, format!("{SECRET}\n")).expect("written");
        let mut text = format!("name = \"idp\"\nissuer = '{}'\nclient_id = \"{CLIENT}\"\n", double.issuer);
        if !more.contains("# public") {
            text.push_str(&format!("client_secret_file = '{}'\n", secret.display()));
        }
        if !more.contains("user_claim") {
            text.push_str("user_claim = \"preferred_username\"\n");
        }
        let config: Config = toml::from_str(&(text + more)).expect("a configuration");
        let provider = Provider::pausing(config, "https://gate.example/", pause)?;
        Ok(Self { key, provider, double, _folder: folder })
    }

    /// Claims without a fault.
    pub(super) fn claims(&self, nonce: &str) -> Value {
        let now = since_epoch(SystemTime::now());
        json!({
            "iss": self.double.issuer, "sub": "248289761001", "aud": CLIENT, "exp": now + 3600, "iat": now,
            "auth_time": now, "nonce": nonce, "sid": "s-1", "preferred_username": "eva",
            "groups": ["staff", "analysts"], "email": "eva@bank.example",
        })
    }

    /// Has the token endpoint answer with this ID token.
    pub(super) fn grant(&self, id_token: &str) {
        let answer = json!({
            "access_token": "access", "token_type": "Bearer", "expires_in": 60, "refresh_token": "refresh",
            "id_token": id_token,
        });
        self.double.answer("/token", 200, &answer);
    }

    pub(super) fn begin(&self) -> Begun {
        self.provider.begin(SystemTime::now()).expect("begun")
    }

    /// Signs in, with an ID token made of the nonce.
    pub(super) async fn sign_in(&self, token: impl FnOnce(&str) -> String) -> Result<Signed, Refused> {
        let attempt = self.begin().attempt;
        self.grant(&token(&attempt.nonce));
        let query = format!("state={}&code=c", attempt.state);
        finish(&self.provider, attempt, &query, SystemTime::now()).await
    }
}

fn serve(mut stream: TcpStream, script: &Mutex<Script>) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
    let Some(request) = read(&mut stream) else { return };
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let ((status, body), delay) = {
        let mut script = script.lock().expect("no panic in a lock");
        script.requests.push(request);
        (script.answers.get(&path).cloned().unwrap_or((404, "{}".to_owned())), script.delay)
    };
    thread::sleep(delay);
    let more = if status == 302 { "Location: /elsewhere\r\n" } else { "" };
    let kind = if body.starts_with('<') { "text/html" } else { "application/json" };
    let head = format!(
        "HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n{more}\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
}

fn read(stream: &mut TcpStream) -> Option<String> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.split("content-length:").nth(1);
            let length = length.and_then(|rest| rest.lines().next()?.trim().parse().ok());
            if bytes.len() >= end + 4 + length.unwrap_or(0) {
                return Some(String::from_utf8_lossy(&bytes).into_owned());
            }
        }
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
    }
}

/// Ends a sign-in with what the browser brings.
pub(super) async fn finish(
    provider: &Provider,
    attempt: Attempt,
    query: &str,
    now: SystemTime,
) -> Result<Signed, Refused> {
    let code = provider.judge(&attempt, query, now)?;
    provider.finish(attempt, code, now).await
}
