//! `northgate sign-in`: a token for a terminal, from the company's sign-in with a browser elsewhere.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::Request;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::Said;
use crate::https::{Bounds, Client};

/// What one request may take.
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(30), body: 1 << 20 };
/// The longest time that a user is waited for.
const PATIENCE: Duration = Duration::from_mins(30);

/// What `northgate sign-in` is told.
#[derive(Args, Clone, Debug)]
pub struct SignIn {
    /// The gateway, such as https://sql.bank.example.
    #[arg(long)]
    server: String,
    /// The identity provider, by its name there; may be left out where there is one only.
    #[arg(long)]
    provider: Option<String>,
    /// The only certificate authorities that the gateway may be signed by (PEM). Default: the system's.
    #[arg(long)]
    ca_file: Option<PathBuf>,
}

/// Signs in. Where to go is printed on standard error, the token on standard output.
///
/// # Errors
/// What is wrong, in words.
pub fn sign_in(command: &SignIn) -> Result<Said, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(signed_in(command))
}

async fn signed_in(command: &SignIn) -> Result<Said, String> {
    let server = command.server.trim_end_matches('/');
    let client = Client::new(command.ca_file.as_deref(), false)?;
    let provider = command.provider.as_deref().unwrap_or_default();
    let begun = ask(&client, &format!("{server}/oauth2/device"), &[("provider", provider)]).await?;
    let text = |answer: &Value, name: &str| {
        let text = answer[name].as_str().map(str::to_owned);
        text.ok_or_else(|| format!("{server} did not say the {name}"))
    };
    let (code, address) = (text(&begun, "user_code")?, text(&begun, "verification_uri")?);
    aside(&format!("Go to {address} with a browser, and enter the code {code}"));
    if let Some(link) = begun["verification_uri_complete"].as_str() {
        aside(&format!("or open {link}"));
    }
    let ends = tokio::time::Instant::now() + PATIENCE;
    let mut answer = begun;
    while tokio::time::Instant::now() < ends {
        let pause = answer["ask_in"].as_u64().unwrap_or(5).clamp(1, 60);
        tokio::time::sleep(Duration::from_secs(pause)).await;
        let ticket = text(&answer, "ticket")?;
        answer = ask(&client, &format!("{server}/oauth2/device/token"), &[("ticket", &ticket)]).await?;
        if let Some(token) = answer["token"].as_str() {
            return Ok(Said { out: format!("{token}\n"), err: String::new(), failed: false });
        }
    }
    Err("it has taken too long; begin again".to_owned())
}

/// What the user needs to know meanwhile: not on standard output, which has the token alone.
fn aside(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

async fn ask(client: &Client, address: &str, fields: &[(&str, &str)]) -> Result<Value, String> {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let body: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    let request = Request::post(address)
        .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Bytes::from(body.join("&")))
        .map_err(|error| format!("{address}: {error}"))?;
    let answer = client.send(request, BOUNDS).await.map_err(|error| format!("{address}: {error}"))?;
    if !answer.status().is_success() {
        return Err(format!("{address} answers {}", answer.status()));
    }
    let answer: Value = serde_json::from_slice(answer.body())
        .map_err(|_| format!("{address} does not answer as Northgate does"))?;
    match answer["error"].as_str() {
        Some(error) => Err(error.to_owned()),
        None => Ok(answer),
    }
}
