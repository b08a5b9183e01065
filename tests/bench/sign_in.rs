//! What it costs to check a token of an identity provider, and to sign in with a browser.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use northgate::identity::{Config, Identity, Then, hash_password};
use northgate::secret::Secret;
use northgate::state::Store;
use northgate::telemetry::Metrics;
use northgate::wire::{Credentials, Peer, Sealer};

use crate::fault::{Result, Trying as _, unusable};
use crate::report::Figure;

/// Tokens that are checked: each is another, so that none is found because it was checked before.
const TOKENS: usize = 2_000;
/// Sign-ins.
const LOGINS: usize = 60;

fn alone<T>(measured: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.trying(|| "start threads".to_owned())?.block_on(measured)
}

fn identity(config: Config) -> Result<Identity> {
    let sealer = Sealer::generate().map_err(|error| unusable(error.to_string()))?;
    let store = Arc::new(Store::in_memory());
    let identity = Identity::new(config, &store, Arc::new(sealer), Arc::new(Metrics::new()));
    identity.map_err(|error| unusable(error.to_string()))
}

/// `bearer_check_p50`.
pub(crate) fn bearer() -> Result<Figure> {
    alone(async {
        let folder = tempfile::tempdir().trying(|| "make a folder".to_owned())?;
        let wrong = |error: jsonwebtoken::errors::Error| unusable(error.to_string());
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256);
        let pair = pair.map_err(|error| unusable(error.to_string()))?;
        let key = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).map_err(wrong)?;
        let mut public = Jwk::from_encoding_key(&key, Algorithm::RS256).map_err(wrong)?;
        public.common.key_id = Some("one".to_owned());
        let keys = folder.path().join("keys.json");
        let set = serde_json::to_string(&JwkSet { keys: vec![public] });
        std::fs::write(&keys, set.map_err(|error| unusable(error.to_string()))?)
            .trying(|| "write the keys".to_owned())?;
        let config: Config = toml::from_str(&format!(
            "users_file = '{}'\n[[jwt]]\nissuer = 'https://idp.example'\naudiences = ['northgate']\n\
             jwks_file = '{}'\ngroups_claim = 'groups'\n",
            folder.path().join("users.toml").display(),
            keys.display()
        ))
        .map_err(|error| unusable(error.to_string()))?;
        let identity = identity(config)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let header = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::RS256) };
        let mut tokens = Vec::with_capacity(TOKENS);
        for number in 0..TOKENS {
            let claims = serde_json::json!({
                "iss": "https://idp.example", "aud": "northgate", "sub": format!("user{number}"),
                "iat": now, "exp": now + 600, "groups": ["analysts", "eu", "all"],
            });
            tokens.push(jsonwebtoken::encode(&header, &claims, &key).map_err(wrong)?);
        }
        let peer = Peer::new((IpAddr::V4(Ipv4Addr::LOCALHOST), 1).into(), None);
        let mut rounds = Vec::new();
        for _ in 0..2 {
            let mut micros = Vec::with_capacity(TOKENS);
            for token in &tokens {
                let credentials = Credentials::Bearer(Secret::new(token.clone()));
                let before = Instant::now();
                let checked = identity.screen(&credentials, None, &peer).await;
                micros.push(before.elapsed().as_secs_f64() * 1e6);
                checked.map_err(|refused| unusable(format!("a token was refused: {refused}")))?;
            }
            micros.sort_by(f64::total_cmp);
            rounds.push((micros[TOKENS / 2], micros[TOKENS * 99 / 100]));
        }
        let [(first, p99), (again, _)] = rounds[..] else { return Err(unusable("no rounds")) };
        let note =
            format!("RS256, 2048 bits, each token for the first time; p99 {p99:.1} us; again {again:.1} us");
        Ok(Figure::alone("bearer_check_p50", first, "us", "<= 60").note(note))
    })
}

/// `logins_per_minute`.
pub(crate) fn logins() -> Result<Figure> {
    alone(async {
        let folder = tempfile::tempdir().trying(|| "make a folder".to_owned())?;
        let users_file = folder.path().join("users.toml");
        let names: BTreeSet<String> = (0..LOGINS).map(|number| format!("user{number}")).collect();
        let password = Secret::new("a long password".to_owned());
        let hash = hash_password(&password).map_err(|error| unusable(error.to_string()))?;
        let mut users = String::new();
        for name in &names {
            let _ = write!(users, "[[user]]\nname = '{name}'\npassword_hash = '{hash}'\n");
        }
        std::fs::write(&users_file, users).trying(|| "write the users".to_owned())?;
        let config: Config = toml::from_str(&format!(
            "users_file = '{}'\n[login]\nexternal_url = 'https://gw.example'\npasswords = true\n",
            users_file.display()
        ))
        .map_err(|error| unusable(error.to_string()))?;
        let identity = identity(config)?;
        let login = identity.login().ok_or_else(|| unusable("no sign-in with a browser"))?;
        let refused = |refused: northgate::identity::Refused| unusable(refused.to_string());
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let before = Instant::now();
        for name in &names {
            let (id, carried) = login.begin_password(Then::Home).map_err(refused)?;
            let carried = carried.value.expose().as_str();
            let then = login.password_attempt(id.expose(), Some(carried)).map_err(refused)?;
            let proved = identity.password_proves(name, &password, address, (id.expose(), then)).await;
            let proved = proved.map_err(refused)?;
            identity.sign_in(proved, None).await.map_err(refused)?;
        }
        let minute = LOGINS as f64 * 60.0 / before.elapsed().as_secs_f64();
        let note =
            "one after another, by password (argon2id, 19 MiB): what an identity provider takes is its own";
        Ok(Figure::alone("logins_per_minute", minute, "1/min", ">= 200").note(note.to_owned()))
    })
}
