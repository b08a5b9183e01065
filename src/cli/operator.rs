//! Asks the gateway that runs on this machine, with the key that it shows to who may read its files.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};

use crate::admin;
use crate::https::{Bounds, Client};
use crate::secret::Secret;

/// What one request may take. A list of all tokens is long.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(30), body: 256 << 20 };

/// The body of a good answer.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn ask(config: &admin::Config, method: Method, path_and_query: &str) -> Result<String, String> {
    let key = Secret::from_file(&config.key_file)
        .map_err(|error| format!("{}: {error}; the gateway must run", config.key_file.display()))?;
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{}{path_and_query}", config.listen))
        .header(http::header::AUTHORIZATION, format!("Bearer {}", key.expose().trim()))
        .body(Bytes::new())
        .map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let answer = runtime
        .block_on(async {
            Client::new(None, false)?.send(request, BOUNDS).await.map_err(|error| error.to_string())
        })
        .map_err(|why| format!("the gateway at {} does not answer: {why}", config.listen))?;
    let body = String::from_utf8_lossy(answer.body()).into_owned();
    if answer.status().is_success() { Ok(body) } else { Err(body.trim().to_owned()) }
}
