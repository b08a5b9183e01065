//! What the servers need: a folder, certificates, tokens, and nginx and the stub themselves.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls::ClientConfig;
use serde_json::json;

use crate::fault::{Fault, Result, Trying, unusable};
use crate::load::{self, Target};
use crate::processes::{Running, free_address};

/// How many principals there are; each connection is another's.
const PRINCIPALS: usize = 32;
/// The issuer of the tokens.
pub(crate) const ISSUER: &str = "https://issuer.bench.test";
/// The groups of every principal.
pub(crate) const GROUPS: [&str; 3] = ["analysts", "eu", "everybody"];
/// Whom the tokens are for.
pub(crate) const AUDIENCE: &str = "northgate-bench";

/// A fresh folder with certificates, a key set, and tokens signed by it.
pub(crate) struct Ground {
    /// The folder, under `target/`: on a real disk, where the audit's fsync costs what it costs.
    pub(crate) folder: PathBuf,
    /// Bearer tokens of as many principals.
    pub(crate) tokens: Vec<String>,
    /// The load tool's TLS settings.
    pub(crate) tls: Arc<ClientConfig>,
}

impl Ground {
    /// Prepares `folder`, which is emptied first.
    pub(crate) fn prepare(folder: &Path) -> Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(folder).trying(|| format!("empty {}", folder.display()))?;
        }
        fs::create_dir_all(folder).trying(|| format!("make {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        let write =
            |name: &str, text: &str| fs::write(folder.join(name), text).trying(|| format!("write {name}"));
        let certificate = certificate().map_err(|error| unusable(format!("certificates: {error}")))?;
        write("server.pem", &certificate.chain)?;
        write("server.key", &certificate.key)?;
        write("authority.pem", &certificate.authority)?;
        let issuer = Issuer::new()?;
        write("jwks.json", &issuer.key_set())?;
        let tokens = (0..PRINCIPALS).map(|number| issuer.token(&principal(number))).collect::<Result<_>>()?;
        Ok(Self { tls: load::tls(certificate.authority.as_bytes())?, folder, tokens })
    }

    /// A TLS server as a target.
    pub(crate) fn target(&self, address: SocketAddr) -> Target {
        Target { address, tls: Some(Arc::clone(&self.tls)), tokens: self.tokens.clone() }
    }
}

/// The name of a principal of the bench.
pub(crate) fn principal(number: usize) -> String {
    format!("analyst{number:02}")
}

struct Certificate {
    authority: String,
    chain: String,
    key: String,
}

/// An authority, and a certificate of its own for the loopback address.
fn certificate() -> std::result::Result<Certificate, rcgen::Error> {
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "Northgate bench");
    let authority_key = rcgen::KeyPair::generate()?;
    let authority_certificate = authority.self_signed(&authority_key)?;
    let key = rcgen::KeyPair::generate()?;
    let server = rcgen::CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])?
        .signed_by(&key, &rcgen::Issuer::new(authority, authority_key))?;
    Ok(Certificate { authority: authority_certificate.pem(), chain: server.pem(), key: key.serialize_pem() })
}

/// An issuer of tokens, as an identity provider would be.
struct Issuer {
    key: rcgen::KeyPair,
}

impl Issuer {
    const KEY_ID: &str = "bench";

    fn new() -> Result<Self> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256);
        key.map(|key| Self { key }).map_err(|error| unusable(format!("the issuer's key: {error}")))
    }

    fn key_set(&self) -> String {
        // An uncompressed point: 4, then x and y of 32 bytes each.
        let point = self.key.public_key_raw();
        let (x, y) = point[1..].split_at(32);
        let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": Self::KEY_ID, "x": text(x), "y": text(y),
        }]})
        .to_string()
    }

    fn token(&self, user: &str) -> Result<String> {
        let fault = |error: jsonwebtoken::errors::Error| unusable(format!("sign a token: {error}"));
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_err(|error| unusable(error.to_string()))?
            .as_secs();
        let header = jsonwebtoken::Header {
            kid: Some(Self::KEY_ID.to_owned()),
            ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256)
        };
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": user, "iat": now, "nbf": now, "exp": now + 3600,
            "preferred_username": user, "email": format!("{user}@bench.test"), "groups": GROUPS,
            "region": "eu-west",
        });
        let key =
            jsonwebtoken::EncodingKey::from_ec_pem(self.key.serialize_pem().as_bytes()).map_err(fault)?;
        jsonwebtoken::encode(&header, &claims, &key).map_err(fault)
    }
}

/// Starts the stub in a process of its own.
pub(crate) fn start_stub() -> Result<(Running, SocketAddr)> {
    let program = std::env::current_exe().trying(|| "find this program".into())?;
    let mut command = Command::new(program);
    // The stub ends when its input closes: with this process, however that ends.
    command.args(["stub", "--until-input-closes"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut stub = Running::start("the stub", &mut command)?;
    let mut line = String::new();
    BufReader::new(stub.output()?).read_line(&mut line)?;
    let port = line.trim().strip_prefix("listening ").and_then(|port| port.parse::<u16>().ok());
    let port = port.ok_or_else(|| unusable("the stub does not say where it listens"))?;
    Ok((stub, SocketAddr::from(([127, 0, 0, 1], port))))
}

/// Starts nginx as a TLS proxy in front of `upstream`.
pub(crate) fn start_nginx(
    ground: &Ground,
    name: &str,
    upstream: SocketAddr,
) -> Result<(Running, SocketAddr)> {
    nginx(ground, name, upstream, None)
}

/// An nginx that serves one page from memory, as `/kept`; and the bytes of the page.
pub(crate) fn start_kept(ground: &Ground, page: &str) -> Result<(Running, SocketAddr, usize)> {
    if page.contains(['\'', '$', '\\']) {
        return Err(unusable("a page that does not fit in nginx's configuration"));
    }
    let (process, address) = nginx(ground, "kept", free_address()?, Some(page))?;
    Ok((process, address, page.len()))
}

fn nginx(
    ground: &Ground,
    name: &str,
    upstream: SocketAddr,
    kept: Option<&str>,
) -> Result<(Running, SocketAddr)> {
    let folder = ground.folder.join(name);
    fs::create_dir_all(&folder)?;
    let address = free_address()?;
    let configuration = include_str!("nginx.conf")
        .replace("@FOLDER@", &folder.display().to_string())
        .replace("@CERTIFICATES@", &ground.folder.display().to_string())
        .replace("@ADDRESS@", &address.to_string())
        .replace("@UPSTREAM@", &upstream.to_string())
        .replace("@KEPT@", kept.unwrap_or_default());
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration)?;
    let program = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .ok_or_else(|| unusable("nginx is not installed: apt-get install nginx-light"))?;
    let log = fs::File::create(folder.join("output.log"))?;
    let mut command = Command::new(program);
    command.arg("-c").arg(&file).arg("-p").arg(&folder).arg("-e").arg(folder.join("error.log"));
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut nginx = Running::start("nginx", &mut command)?;
    match nginx.wait_for(address) {
        Ok(()) => Ok((nginx, address)),
        Err(fault) => Err(Fault::Unusable(format!("{fault}; see {}", folder.display()))),
    }
}
