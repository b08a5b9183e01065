//! `northgate queries`: the queries that wait and run at the gateway on this machine, and a cancel.

use std::fmt::Write as _;

use clap::Subcommand;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::{Said, operator};
use crate::admin;

/// What `northgate queries` does.
#[derive(Clone, Debug, Subcommand)]
pub enum QueryCommand {
    /// Cancels a query. Its user reads the reason.
    Cancel {
        /// The query's id, as it is listed.
        id: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
}

#[derive(Deserialize)]
struct Listed {
    queries: Vec<Query>,
}

#[derive(Deserialize)]
struct Query {
    id: String,
    principal: String,
    kind: String,
    class: String,
    position: Option<usize>,
    age: u64,
}

#[derive(Deserialize)]
struct Canceled {
    canceled: String,
    user: String,
}

/// Asks the gateway that runs with this configuration.
///
/// # Errors
/// What is wrong, in words.
pub fn queries(
    command: Option<&QueryCommand>,
    user: Option<&str>,
    config: &admin::Config,
) -> Result<Said, String> {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let unreadable = |error: serde_json::Error| format!("the gateway's answer cannot be read: {error}");
    let mut said = Said::default();
    match command {
        None => {
            let path =
                user.map_or_else(|| "/queries".to_owned(), |user| format!("/queries?user={}", encoded(user)));
            let listed: Listed =
                serde_json::from_str(&operator::ask(config, Method::GET, &path)?).map_err(unreadable)?;
            said.out = table(&listed.queries);
        }
        Some(QueryCommand::Cancel { id, reason }) => {
            let path = format!("/queries?id={}&reason={}", encoded(id), encoded(reason));
            let Canceled { canceled, user } =
                serde_json::from_str(&operator::ask(config, Method::DELETE, &path)?).map_err(unreadable)?;
            let _ = writeln!(said.out, "canceled {canceled} of {user}");
        }
    }
    Ok(said)
}

fn table(queries: &[Query]) -> String {
    let mut text = "id\tuser\tkind\tclass\tstate\tage (s)\n".to_owned();
    for Query { id, principal, kind, class, position, age } in queries {
        let state =
            position.map_or_else(|| "runs".to_owned(), |position| format!("waits, number {position}"));
        let _ = writeln!(text, "{id}\t{principal}\t{kind}\t{class}\t{state}\t{age}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list() {
        let listed: Listed = serde_json::from_str(
            r#"{"queries": [
                {"id": "q1", "principal": "ann", "kind": "query", "class": "batch", "rule": "x", "position": 3, "age": 7},
                {"id": "q2", "principal": "bob", "kind": "query", "class": "interactive", "rule": "x", "position": null, "age": 0}
            ]}"#,
        )
        .expect("an answer");
        assert_eq!(
            table(&listed.queries),
            "id\tuser\tkind\tclass\tstate\tage (s)\nq1\tann\tquery\tbatch\twaits, number 3\t7\n\
             q2\tbob\tquery\tinteractive\truns\t0\n"
        );
    }
}
