//! What it costs to check a personal access token, among many.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use northgate::identity::{Config, Identity, Scope, TokensConfig};
use northgate::secret::Secret;
use northgate::state::Store;
use northgate::telemetry::Metrics;
use northgate::wire::{Credentials, Peer};

use crate::fault::{Result, Trying as _, unusable};
use crate::report::Figure;

/// Tokens, and how many one owner has.
const TOKENS: usize = 100_000;
const EACH: usize = 1_000;
/// How many of them are used: another each time, so that none is found because it was used just before.
const USED: usize = 5_000;

/// `pat_check_p50`.
pub(crate) fn check() -> Result<Figure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.trying(|| "start threads".to_owned())?.block_on(measure())
}

async fn measure() -> Result<Figure> {
    // To make each token durable is not what is measured.
    let memory = PathBuf::from("/dev/shm");
    let base = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let folder = tempfile::tempdir_in(base).trying(|| "make a folder".to_owned())?;
    let owners: Vec<String> = (0..TOKENS / EACH).map(|number| format!("owner{number}")).collect();
    let mut users = String::new();
    for owner in &owners {
        let _ = write!(users, "[[user]]\nname = \"{owner}\"\ngroups = [\"analysts\", \"eu\", \"all\"]\n\n");
    }
    let users_file = folder.path().join("users.toml");
    std::fs::write(&users_file, users).trying(|| "write the users".to_owned())?;
    let file = folder.path().join("tokens.jsonl");
    let config = || Config {
        users_file: users_file.clone(),
        tokens: Some(TokensConfig { file: file.clone(), per_user: EACH, ..TokensConfig::default() }),
        ..Config::default()
    };
    let open = || {
        Identity::new(
            config(),
            &Arc::new(Store::in_memory()),
            northgate::wire::Sealer::generate().map(Arc::new).expect("a sealer"),
            Arc::new(Metrics::new()),
        )
        .map_err(|error| unusable(error.to_string()))
    };
    let mut secrets = Vec::with_capacity(TOKENS);
    let identity = open()?;
    let expires = Timestamp::now() + Duration::from_hours(24);
    for number in 0..TOKENS {
        let made =
            identity.create_token(&owners[number % owners.len()], "bench", expires, Scope::default()).await;
        secrets.push(made.map_err(|error| unusable(error.to_string()))?.0);
    }
    drop(identity);
    let before = Instant::now();
    let identity = open()?;
    let start = before.elapsed();
    let peer = Peer::new((IpAddr::V4(Ipv4Addr::LOCALHOST), 1).into(), None);
    let mut rounds = Vec::new();
    for _ in 0..2 {
        let mut micros = Vec::with_capacity(USED);
        for number in 0..USED {
            let secret = &secrets[number * (TOKENS / USED)];
            let credentials = Credentials::Bearer(Secret::new(secret.expose().clone()));
            let before = Instant::now();
            let checked = identity.screen(&credentials, None, &peer).await;
            micros.push(before.elapsed().as_secs_f64() * 1e6);
            checked.map_err(|refused| unusable(format!("a token was refused: {refused}")))?;
        }
        micros.sort_by(f64::total_cmp);
        rounds.push((micros[USED / 2], micros[USED * 99 / 100]));
    }
    let [(first, _), (again, p99)] = rounds[..] else { return Err(unusable("no rounds")) };
    let note = format!(
        "p99 {p99:.1} us; the first use {first:.1} us; {TOKENS} tokens are read at start in {} ms",
        start.as_millis()
    );
    Ok(Figure::alone("pat_check_p50", again, "us", "<= 100").note(note))
}
