//! `northgate cache`: kept answers, removed at the gateway that runs on this machine.

use clap::{Args, Subcommand};
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Said, operator};
use crate::admin;

/// What `northgate cache` does.
#[derive(Clone, Debug, Subcommand)]
pub enum CacheCommand {
    /// Removes kept answers. What is under way is not kept either.
    Purge(Purge),
}

/// Which answers.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct Purge {
    /// Those that read this table, as catalog.schema.table.
    #[arg(long)]
    table: Option<String>,
    /// Those that read a column with this tag.
    #[arg(long)]
    tag: Option<String>,
    /// Those of this user's queries.
    #[arg(long)]
    principal: Option<String>,
    /// All.
    #[arg(long)]
    all: bool,
}

/// Asks the gateway that runs with this configuration.
///
/// # Errors
/// What is wrong, in words.
pub fn cache(command: &CacheCommand, config: &admin::Config) -> Result<Said, String> {
    let CacheCommand::Purge(purge) = command;
    let named = [("table", &purge.table), ("tag", &purge.tag), ("principal", &purge.principal)];
    let given = named.into_iter().find_map(|(name, value)| Some((name, value.as_deref()?)));
    let (name, value) = given.unwrap_or(("all", "true"));
    let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
    let out = operator::ask(config, Method::POST, &format!("/cache/purge?{name}={value}"))?;
    Ok(Said { out, ..Said::default() })
}
