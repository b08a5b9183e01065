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
    #[serde(default)]
    budgets: Vec<Spent>,
}

/// What is used today of a budget.
#[derive(Deserialize)]
struct Spent {
    of: String,
    name: String,
    used: Figures<u64>,
    budget: Figures<Option<u64>>,
}

#[derive(Deserialize)]
struct Figures<T: Default> {
    #[serde(default)]
    scanned: T,
    #[serde(default)]
    rows: T,
    #[serde(default)]
    cpu_ms: T,
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
            said.out = table(&listed.queries) + &budgets(&listed.budgets);
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

fn budgets(budgets: &[Spent]) -> String {
    if budgets.is_empty() {
        return String::new();
    }
    let mut text = "\nused today by\tbytes read\trows read\tCPU (s)\n".to_owned();
    for Spent { of, name, used, budget } in budgets {
        let figure = |used: u64, budget: Option<u64>, unit: u64| match budget {
            Some(budget) => format!("{} of {}", used / unit, budget / unit),
            None => (used / unit).to_string(),
        };
        let whose = if name.is_empty() { of.clone() } else { format!("{of} {name}") };
        let _ = writeln!(
            text,
            "{whose}\t{}\t{}\t{}",
            figure(used.scanned, budget.scanned, 1),
            figure(used.rows, budget.rows, 1),
            figure(used.cpu_ms, budget.cpu_ms, 1_000)
        );
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
        assert_eq!(budgets(&listed.budgets), "");
    }

    #[test]
    fn what_is_used() {
        let listed: Listed = serde_json::from_str(
            r#"{"queries": [], "budgets": [
                {"of": "all", "name": "", "used": {"scanned": 5, "rows": 6, "cpu_ms": 7900}, "budget": {"cpu_ms": 60000}},
                {"of": "principal", "name": "ann", "used": {"scanned": 0, "rows": 9, "cpu_ms": 1}, "budget": {"rows": 9}}
            ]}"#,
        )
        .expect("an answer");
        assert_eq!(
            budgets(&listed.budgets),
            "\nused today by\tbytes read\trows read\tCPU (s)\nall\t5\t6\t7 of 60\nprincipal ann\t0\t9 of 9\t0\n"
        );
    }
}
