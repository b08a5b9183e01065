//! `northgate policy`: policies of other systems brought in, tried and compared; no server is needed for any of it. And
//! `northgate classify`, in a module of its own.

mod audit;
mod cache;
mod classify;
mod clusters;
mod compliance;
mod deploy;
mod doctor;
mod operator;
mod queries;
mod sign_in;
mod status;
mod support;
#[cfg(test)]
mod tests;
mod token;
mod trial;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};

use crate::policy::import::{self, MAX_SOURCE, Options};
use crate::policy::{Set, Surroundings};

pub use audit::{Audit, audit};
pub use cache::{CacheCommand, cache};
pub use classify::{Classify, classify};
pub use clusters::{ClusterCommand, clusters};
pub use compliance::{ComplianceReport, compliance_report};
pub use deploy::{Place, deploy};
pub use doctor::doctor;
pub use queries::{QueryCommand, queries};
pub use sign_in::{SignIn, sign_in};
pub use status::status;
pub use support::{SupportBundle, support_bundle};
pub use token::{TokenCommand, token};
pub use trial::{Trial, TrialError};

/// The largest file of cases, in bytes.
const MAX_TRIAL: u64 = 16 << 20;

/// What `northgate policy` does.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Makes a document of the policies of another system. What cannot be carried over makes it stricter, never weaker,
    /// and is said on standard error.
    Import {
        /// Whose policies they are.
        from: From,
        /// The file: rules.json of Trino, an export of Ranger, or JSON of Unity Catalog.
        file: PathBuf,
        /// The catalog of Trino that the policies are about, where they name none, or are about one of another name.
        #[arg(long)]
        catalog: Option<String>,
        /// Roles of the source are groups of the same name.
        #[arg(long)]
        roles_as_groups: bool,
        /// Which columns have which tags: what Ranger's tag store gives.
        #[arg(long)]
        tags: Option<PathBuf>,
        /// Where to write the document; without it to standard output.
        #[arg(long)]
        output: Option<PathBuf>,
        /// Fail, and write nothing, where something could not be carried over as it is.
        #[arg(long)]
        strict: bool,
    },
    /// Runs a file of cases: this principal, this query, expect. Exits with 1 where one is not as expected.
    Test {
        /// The file of cases.
        file: PathBuf,
        /// The folder of policies.
        #[arg(long, default_value = "policies")]
        policies: PathBuf,
        /// The environment that the policies hold in, where they name some.
        #[arg(long)]
        environment: Option<String>,
    },
    /// Says whose view of which tables changes from one folder of policies to another. Exits with 1 where one does.
    Diff {
        /// The folder as it is.
        old: PathBuf,
        /// The folder as it would be.
        new: PathBuf,
        /// A file of cases, whose tables are compared in place of the patterns of the policies.
        #[arg(long)]
        tables: Option<PathBuf>,
        /// The environment that the policies hold in, where they name some.
        #[arg(long)]
        environment: Option<String>,
    },
}

/// A system whose policies can be brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum From {
    /// Trino's file-based access control.
    Trino,
    /// Apache Ranger.
    Ranger,
    /// Databricks Unity Catalog.
    Unity,
}

/// What a command says, and whether it went well.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// For standard output.
    pub out: String,
    /// For standard error.
    pub err: String,
    /// For the exit code: whether something is not as it was wanted.
    pub failed: bool,
}

/// Does it.
///
/// # Errors
/// What cannot be read or written, in words.
pub fn policy(command: &Policy) -> Result<Said, String> {
    match command {
        Policy::Import { from, file, catalog, roles_as_groups, tags, output, strict } => {
            let tags = tags.as_deref().map(|path| read(path, MAX_SOURCE as u64)).transpose()?;
            let options = Options { catalog: catalog.clone(), roles_are_groups: *roles_as_groups, tags };
            bring(*from, file, &options, output.as_deref(), *strict)
        }
        Policy::Test { file, policies, environment } => test(file, policies, environment.as_ref()),
        Policy::Diff { old, new, tables, environment } => {
            diff(old, new, tables.as_deref(), environment.as_ref())
        }
    }
}

fn read(path: &Path, most: u64) -> Result<String, String> {
    let named = |error: std::io::Error| format!("{}: {error}", path.display());
    if std::fs::metadata(path).map_err(named)?.len() > most {
        return Err(format!("{}: the file has more than {most} bytes", path.display()));
    }
    std::fs::read_to_string(path).map_err(named)
}

fn bring(
    from: From,
    file: &Path,
    options: &Options,
    output: Option<&Path>,
    strict: bool,
) -> Result<Said, String> {
    let source = read(file, MAX_SOURCE as u64)?;
    let imported = match from {
        From::Trino => import::trino(&source, options),
        From::Ranger => import::ranger(&source, options),
        From::Unity => import::unity(&source, options),
    };
    let imported = imported.map_err(|error| format!("{}: {error}", file.display()))?;
    let mut said = Said { failed: strict && !imported.notes.is_empty(), ..Said::default() };
    for note in &imported.notes {
        let _ = writeln!(said.err, "{}: {note}", file.display());
    }
    if said.failed {
        let _ = writeln!(
            said.err,
            "nothing is written: not all could be carried over as it is, and --strict is given"
        );
        return Ok(said);
    }
    match output {
        Some(path) => {
            let wrong = |error: std::io::Error| format!("{}: {error}", path.display());
            // Policies that are there already are not lost.
            let mut file =
                std::fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(wrong)?;
            std::io::Write::write_all(&mut file, imported.document.as_bytes()).map_err(wrong)?;
        }
        None => said.out = imported.document,
    }
    Ok(said)
}

fn load(folder: &Path, environment: Option<&String>) -> Result<Set, String> {
    // Catalogs that decide are not asked; here none does.
    let surroundings = Surroundings { environment: environment.cloned(), ..Surroundings::default() };
    Set::load(folder, &surroundings).map_err(|errors| errors.to_string())
}

fn test(file: &Path, policies: &Path, environment: Option<&String>) -> Result<Said, String> {
    let trial =
        Trial::read(&read(file, MAX_TRIAL)?).map_err(|error| format!("{}:{error}", file.display()))?;
    let failures = trial.run(&load(policies, environment)?)?;
    let mut said = Said { failed: !failures.is_empty(), ..Said::default() };
    for failure in &failures {
        let _ = writeln!(said.out, "{}:{failure}", file.display());
    }
    let count = trial.len();
    let _ = writeln!(said.out, "{} of {count} cases as expected", count - failures.len());
    Ok(said)
}

fn diff(old: &Path, new: &Path, tables: Option<&Path>, environment: Option<&String>) -> Result<Said, String> {
    let tables = match tables {
        Some(path) => {
            let trial = Trial::read(&read(path, MAX_TRIAL)?)
                .map_err(|error| format!("{}:{error}", path.display()))?;
            trial.tables()
        }
        None => Vec::new(),
    };
    let changes = load(old, environment)?
        .changes(&load(new, environment)?, &tables)
        .map_err(|error| error.to_string())?;
    let mut said = Said { failed: !changes.is_empty(), ..Said::default() };
    for change in &changes {
        let _ = writeln!(said.out, "{change}");
    }
    Ok(said)
}
