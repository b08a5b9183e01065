//! `northgate token`: personal access tokens, made, listed and revoked by the gateway that runs on this machine.

use std::fmt::Write as _;

use clap::Subcommand;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Said, operator};
use crate::admin;
use crate::identity::Token;
use crate::units::Span;

/// What `northgate token` does.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Makes a token for a user, and prints it. It is shown this once.
    Create {
        /// Whose it is: a user of the users file, or somebody who has signed in before.
        #[arg(long)]
        user: String,
        /// What it is called in lists.
        #[arg(long)]
        name: String,
        /// How long it lives, such as 30d.
        #[arg(long, default_value = "30d")]
        life: Span,
        /// Statements that change anything are refused.
        #[arg(long)]
        read_only: bool,
        /// A catalog that it is for; may be given several times. Without any it is for all.
        #[arg(long = "catalog")]
        catalogs: Vec<String>,
        /// A network that it may be used from, such as 10.1.0.0/16; may be given several times. Without any: from anywhere.
        #[arg(long = "address")]
        addresses: Vec<String>,
        /// It may run queries as those users whom its owner may be.
        #[arg(long)]
        impersonate: bool,
        /// It may read the audit over HTTP, if its owner may.
        #[arg(long)]
        audit: bool,
    },
    /// Lists tokens.
    List {
        /// Of this user alone.
        #[arg(long)]
        user: Option<String>,
    },
    /// Revokes a token, or all of somebody who has left, and ends their sessions.
    Revoke {
        /// Its id, as the list has it.
        #[arg(required_unless_present = "user")]
        id: Option<String>,
        /// All tokens of this user; what they are signed in with ends, too.
        #[arg(long, conflicts_with = "id")]
        user: Option<String>,
    },
}

/// Asks the gateway that runs with this configuration.
///
/// # Errors
/// What is wrong, in words.
pub fn token(command: &TokenCommand, config: &admin::Config) -> Result<Said, String> {
    let (method, query) = request(command);
    said(command, &operator::ask(config, method, &format!("/tokens?{query}"))?)
}

fn request(command: &TokenCommand) -> (Method, String) {
    let mut query = String::new();
    let mut add = |name: &str, value: &str| {
        let _ = write!(query, "{name}={}&", utf8_percent_encode(value, NON_ALPHANUMERIC));
    };
    let method = match command {
        TokenCommand::Create { user, name, life, read_only, catalogs, addresses, impersonate, audit } => {
            add("user", user);
            add("name", name);
            add("life", &life.to_string());
            add("read_only", &read_only.to_string());
            add("impersonate", &impersonate.to_string());
            add("audit", &audit.to_string());
            catalogs.iter().for_each(|catalog| add("catalog", catalog));
            addresses.iter().for_each(|address| add("address", address));
            Method::POST
        }
        TokenCommand::List { user } => {
            if let Some(user) = user {
                add("user", user);
            }
            Method::GET
        }
        TokenCommand::Revoke { id, user } => {
            id.iter().for_each(|id| add("id", id));
            user.iter().for_each(|user| add("user", user));
            Method::DELETE
        }
    };
    (method, query)
}

#[derive(serde::Deserialize)]
struct Answered {
    #[serde(default)]
    secret: Option<String>,
    #[serde(default)]
    token: Option<Token>,
    #[serde(default)]
    tokens: Vec<Token>,
}

fn said(command: &TokenCommand, body: &str) -> Result<Said, String> {
    let answered: Answered = serde_json::from_str(body)
        .map_err(|error| format!("the gateway's answer cannot be read: {error}"))?;
    let mut said = Said::default();
    match (command, answered.secret, answered.token) {
        (TokenCommand::Create { .. }, Some(secret), Some(token)) => {
            let Token { id, owner, expires, .. } = token;
            let _ = writeln!(said.err, "token {id} of {owner}, until {expires}; it is not shown again:");
            let _ = writeln!(said.out, "{secret}");
        }
        (TokenCommand::Revoke { .. }, _, one) => {
            for token in one.into_iter().chain(answered.tokens) {
                let _ = writeln!(said.out, "revoked {} ({}) of {}", token.id, token.name, token.owner);
            }
            if let TokenCommand::Revoke { user: Some(user), .. } = command {
                let _ = writeln!(said.err, "{user} is signed in no longer");
            }
        }
        (TokenCommand::List { .. }, ..) => {
            let _ = writeln!(said.out, "id\towner\tname\texpires\tlast used\tscope");
            for token in answered.tokens {
                let used = token.last_used.map_or_else(|| "never".to_owned(), |at| at.to_string());
                let scope = serde_json::to_string(&token.scope).unwrap_or_default();
                let Token { id, owner, name, expires, .. } = token;
                let _ = writeln!(said.out, "{id}\t{owner}\t{name}\t{expires}\t{used}\t{scope}");
            }
        }
        _ => return Err("the gateway's answer cannot be read".to_owned()),
    }
    Ok(said)
}
