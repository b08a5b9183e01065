//! `northgate classify`: what scanners found is written to the catalog's tables as their tags.

mod column;
mod csv;
mod findings;
mod macie;
mod plan;
#[cfg(test)]
mod tests;
mod types;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use self::findings::{Findings, Place, address};
use self::plan::{Plan, Tables, names, plan};
use self::types::Types;
use super::{Said, read};
use crate::catalog::rest::{self, Classification, Classified, Identifier, RestError};
use crate::config::Config;

/// The largest file of findings, and of types, in bytes.
const MAX_FINDINGS: u64 = 128 << 20;
const MAX_TYPES: u64 = 1 << 20;
/// How many tables that cannot be read are named.
const NAMED: usize = 10;

/// What `northgate classify` does.
#[derive(Debug, Subcommand)]
pub enum Classify {
    /// Tags columns with what was found in them, as table properties in their catalog: `classification.<field-id>`. Says
    /// what would be changed; with --write it is.
    ///
    /// The file is JSON of Amazon Macie (findings as `aws macie2 get-findings` gives them, an EventBridge event, or one
    /// finding or detailed result to a line), whose objects are found in the tables by their locations; or CSV with the
    /// columns `table` (schema.table) or `object` (s3://bucket/key), `column`, and `tags`.
    ///
    /// Exits with 0 where nothing is to be done, or all is written; with 1 where something would be changed, could not be
    /// written, or was found in a column of the catalog that could not be told; with 2 where that is not known, as a file or
    /// the catalog could not be read.
    Import {
        /// The file of findings.
        file: PathBuf,
        /// The configuration file.
        #[arg(long, default_value = "northgate.toml")]
        config: PathBuf,
        /// The catalog, by the NAME of its `[catalog.rest.NAME]`; may be left out where there is one only. It is asked with
        /// the gateway's own credentials there, which may be given for this command alone in the environment:
        /// NORTHGATE__CATALOG__REST__NAME__CLIENT_ID and so on. To write, Polaris asks for TABLE_WRITE_PROPERTIES.
        #[arg(long)]
        catalog: Option<String>,
        /// CSV with the columns `type` and `tags`: which tags stand for a type of Macie's, or for a custom identifier.
        #[arg(long)]
        types: Option<PathBuf>,
        /// Write the tags to the catalog.
        #[arg(long)]
        write: bool,
        /// Remove tags that the file does not say of columns in tables that it is about: after findings of Macie only tags
        /// of the kinds that it gives, and none where it may not have said all. CSV is taken to say all of a table.
        #[arg(long)]
        remove: bool,
    },
}

/// Does it.
///
/// # Errors
/// What cannot be read, in words.
pub fn classify(command: &Classify) -> Result<Said, String> {
    let Classify::Import { file, config, catalog, types, write, remove } = command;
    let named = |path: &Path, why: String| format!("{}: {why}", path.display());
    let types = match types {
        Some(path) => Types::read(&read(path, MAX_TYPES)?).map_err(|why| named(path, why))?,
        None => Types::default(),
    };
    let findings = Findings::read(&read(file, MAX_FINDINGS)?, &types).map_err(|why| named(file, why))?;
    let config = Config::load(config).map_err(|error| error.to_string())?;
    let (name, rest) = chosen(&config, catalog.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("threads: {error}"))?;
    runtime.block_on(import(&findings, name, rest, Wish { write: *write, remove: *remove }))
}

/// What is asked for.
#[derive(Clone, Copy)]
struct Wish {
    write: bool,
    remove: bool,
}

fn chosen<'a>(config: &'a Config, name: Option<&'a str>) -> Result<(&'a str, &'a rest::Config), String> {
    let all = &config.catalog.rest;
    let known = || all.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    match (name, all.len()) {
        (_, 0) => Err("the configuration has no [catalog.rest.NAME] to write to".to_owned()),
        (None, 1) => all.iter().next().map(|(name, rest)| (name.as_str(), rest)).ok_or_else(known),
        (None, _) => Err(format!("which catalog is meant? Say --catalog; there are {}", known())),
        (Some(name), _) => match all.get(name) {
            Some(rest) => Ok((name, rest)),
            None => Err(format!("there is no [catalog.rest.{name}]; there are {}", known())),
        },
    }
}

async fn import(findings: &Findings, name: &str, rest: &rest::Config, wish: Wish) -> Result<Said, String> {
    let problem = |why: String| format!("catalog {name}: {why}");
    let catalog = Classification::new(rest).map_err(problem)?;
    let (tables, unread) =
        look(findings, name, &catalog).await.map_err(|error| problem(error.to_string()))?;
    let plan = plan(findings, &Tables::new(name, &tables), wish.remove);
    // Where all objects have a table, those that cannot be read have none of them.
    let unread: Vec<_> = unread
        .into_iter()
        .filter(|(table, _)| plan.outside || is_named(&wanted(findings), name, table))
        .collect();
    let mut said = Said { failed: !plan.problems.is_empty() || !unread.is_empty(), ..Said::default() };
    for line in plan.notes.iter().chain(&plan.problems) {
        let _ = writeln!(said.err, "{line}");
    }
    for (table, error) in unread.iter().take(NAMED) {
        let _ = writeln!(said.err, "{table}: what was found in it, if anything, is left out: {error}");
    }
    if unread.len() > NAMED {
        let _ = writeln!(said.err, "and {} more tables that cannot be read", unread.len() - NAMED);
    }
    for change in &plan.tables {
        let _ = writeln!(said.out, "{}", change.table);
        for line in &change.lines {
            let _ = writeln!(said.out, "  {line}");
        }
    }
    if plan.left > 0 {
        let _ =
            writeln!(said.err, "tags that the file does not say, and --remove would remove: {}", plan.left);
    }
    if plan.tables.is_empty() {
        let _ = writeln!(said.out, "nothing to change");
    } else if wish.write {
        write(&plan, &catalog, &mut said).await;
    } else {
        said.failed = true;
        let _ = writeln!(said.out, "{}; nothing is written without --write", summary(&plan));
    }
    Ok(said)
}

/// Loads the tables that findings are about. With them those that may be, and cannot be read.
async fn look(
    findings: &Findings,
    name: &str,
    catalog: &Classification,
) -> Result<(Vec<Classified>, Vec<(Identifier, RestError)>), RestError> {
    let places = findings.places();
    let objects: BTreeSet<&str> = places.iter().filter_map(|place| object(place)).collect();
    let wanted = wanted(findings);
    // An object may be any table's.
    let any = !objects.is_empty();
    let in_namespace = |levels: &[String]| {
        let inside = Identifier { namespace: levels.to_vec(), name: String::new() };
        names(name, &inside).iter().any(|start| wanted.iter().any(|name| name.starts_with(start)))
    };
    let is_named = |table: &Identifier| is_named(&wanted, name, table);
    let mut tables = catalog.tables(|levels| any || in_namespace(levels)).await?;
    tables.retain(|table| any || is_named(table));
    let holds = |place: &String| {
        let folder = format!("{}/", address(place));
        objects.range(folder.as_str()..).next().is_some_and(|object| object.starts_with(&folder))
    };
    Ok(catalog.load(tables, |table, places| is_named(table) || places.iter().any(holds)).await)
}

fn object(place: &Place) -> Option<&str> {
    match place {
        Place::Object(object) => Some(object),
        Place::Table(_) => None,
    }
}

/// The tables that findings name, in lower case.
fn wanted(findings: &Findings) -> BTreeSet<String> {
    let places = findings.places().into_iter();
    let named = places.filter_map(|place| match place {
        Place::Table(name) => Some(name.to_lowercase()),
        Place::Object(_) => None,
    });
    named.collect()
}

fn is_named(wanted: &BTreeSet<String>, catalog: &str, table: &Identifier) -> bool {
    names(catalog, table).iter().any(|name| wanted.contains(name))
}

fn summary(plan: &Plan) -> String {
    let tables = plan.tables.len();
    let (added, removed) = plan.counts();
    let removed = if removed == 0 { String::new() } else { format!(", {removed} to remove") };
    format!("tags of {tables} table{}: {added} to add{removed}", if tables == 1 { "" } else { "s" })
}

async fn write(plan: &Plan, catalog: &Classification, said: &mut Said) {
    let mut written = 0;
    for change in &plan.tables {
        match catalog.write(&change.table, &change.uuid, &change.fields).await {
            Ok(()) => written += 1,
            Err(error) => {
                said.failed = true;
                let hint = match error {
                    RestError::Forbidden(_) => "; in Polaris this takes TABLE_WRITE_PROPERTIES on the table",
                    RestError::Unavailable(_) => "; it may be written all the same: import again to see",
                    _ => "",
                };
                let _ = writeln!(said.err, "{}: not written: {error}{hint}", change.table);
            }
        }
    }
    let _ = writeln!(said.out, "{}; written: {written} of {}", summary(plan), plan.tables.len());
}
