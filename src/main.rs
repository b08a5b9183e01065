//! The `northgate` program: arguments, then [`northgate::app`].

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use northgate::cli;
use northgate::config::Config;
use northgate::identity;
use northgate::secret::Secret;

/// Where the token of somebody whose statement is explained may be.
const USER_TOKEN: &str = "NORTHGATE_USER_TOKEN";

/// A SQL gateway for Trino: row filters, column masks, audit.
#[derive(Parser)]
#[command(name = "northgate", disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the gateway until it is told to stop.
    Serve {
        /// The configuration file.
        #[arg(long, default_value = "northgate.toml")]
        config: PathBuf,
    },
    /// Reads the configuration, the policies and the users file, and says what is in force or wrong.
    Check {
        /// The configuration file.
        #[arg(long, default_value = "northgate.toml")]
        config: PathBuf,
    },
    /// Looks at the configuration, certificates, disk and clock, and at the servers that the gateway depends on, and says what
    /// is wrong and what to do. Exits with 1 where something is.
    Doctor {
        /// The configuration file.
        #[arg(long, default_value = "northgate.toml")]
        config: PathBuf,
        /// A folder with dashboards of Grafana and rules of Prometheus: whether the metrics that they name are there.
        #[arg(long)]
        dashboards: Option<PathBuf>,
        /// Say it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Says how the gateway on this machine does: clusters, gateways, queues, revisions, audit, and what ends soon. Exits with
    /// 1 where it is not ready, or something is wrong.
    Status {
        /// The configuration file.
        #[arg(long, default_value = "northgate.toml")]
        config: PathBuf,
        /// Say it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Gathers what somebody who helps needs to know, without secrets and without people.
    SupportBundle(cli::SupportBundle),
    /// Says what would be done with a statement, by which policies, and what Trino would be sent. Nothing is run,
    /// but Trino is asked for the columns of the tables.
    Explain {
        /// The configuration file.
        #[arg(long, default_value = "northgate.toml")]
        config: PathBuf,
        /// Who would ask.
        #[arg(long)]
        user: String,
        /// A group of theirs; may be given several times. Without any, those of the users file.
        #[arg(long = "group")]
        groups: Vec<String>,
        /// A file with a token of theirs, for catalogs that are asked in their name. Without it the token is taken from
        /// the environment, NORTHGATE_USER_TOKEN, if it is there.
        #[arg(long)]
        token_file: Option<PathBuf>,
        /// The catalog of the session.
        #[arg(long)]
        catalog: Option<String>,
        /// The schema of the session.
        #[arg(long)]
        schema: Option<String>,
        /// What their client would say that it is, such as airflow: rules of classes look at it.
        #[arg(long)]
        source: Option<String>,
        /// A client tag; may be given several times.
        #[arg(long = "tag")]
        tags: Vec<String>,
        /// The statement.
        sql: String,
    },
    /// Changes the users file.
    User {
        #[command(subcommand)]
        command: UserCommand,
    },
    /// Brings policies from elsewhere, tries them and compares them.
    Policy {
        #[command(subcommand)]
        command: cli::Policy,
    },
    /// Signs in at a terminal, with a browser elsewhere, and prints a token for programs that take one.
    SignIn(cli::SignIn),
    /// Removes answers that are kept by the gateway that runs on this machine.
    Cache {
        /// The configuration file.
        #[arg(long, default_value = "northgate.toml", global = true)]
        config: PathBuf,
        #[command(subcommand)]
        command: cli::CacheCommand,
    },
    /// Makes, lists and revokes personal access tokens at the gateway that runs on this machine.
    Token {
        /// The configuration file.
        #[arg(long, default_value = "northgate.toml", global = true)]
        config: PathBuf,
        #[command(subcommand)]
        command: cli::TokenCommand,
    },
    /// Shows the queries that wait and run at the gateway on this machine, or cancels one.
    Queries {
        /// The configuration file.
        #[arg(long, default_value = "northgate.toml", global = true)]
        config: PathBuf,
        /// Of this user alone.
        #[arg(long)]
        user: Option<String>,
        #[command(subcommand)]
        command: Option<cli::QueryCommand>,
    },
    /// Shows the clusters of the gateway that runs on this machine, and says whether one takes queries.
    Clusters {
        /// The configuration file.
        #[arg(long, default_value = "northgate.toml", global = true)]
        config: PathBuf,
        #[command(subcommand)]
        command: Option<cli::ClusterCommand>,
    },
    /// Brings what scanners found in tables' columns into their catalog, as the tags that policies go by.
    Classify {
        #[command(subcommand)]
        command: cli::Classify,
    },
    /// Writes a month of the audit as one page, to be read, printed and signed. Exits with 1 where the log does not verify.
    ComplianceReport(cli::ComplianceReport),
    /// Prints what it takes to run the gateway in a place, as a file to begin with.
    Deploy {
        /// Which.
        place: cli::Place,
    },
    /// Verifies the audit, and gives its key.
    Audit {
        #[command(subcommand)]
        command: cli::Audit,
    },
    /// Says which version this is.
    Version,
}

#[derive(Subcommand)]
enum UserCommand {
    /// Adds a user, whose password is read from standard input.
    Add {
        /// The name to sign in with.
        name: String,
        /// A group of the user; may be given several times.
        #[arg(long = "group")]
        groups: Vec<String>,
        /// An attribute of the user, as NAME=VALUE; may be given several times.
        #[arg(long = "attribute", value_parser = attribute)]
        attributes: Vec<(String, String)>,
        /// The users file.
        #[arg(long, default_value = "users.toml")]
        users_file: PathBuf,
    },
}

fn attribute(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "write it as NAME=VALUE".to_owned())
}

#[allow(clippy::print_stdout, clippy::print_stderr)] // this is the one place that talks to the terminal
fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve { config } => serve(&config),
        Command::Check { config } => check(&config),
        Command::Doctor { config, dashboards, json } => {
            return said(cli::doctor(&config, dashboards.as_deref(), json));
        }
        Command::Status { config, json } => {
            let config = Config::load(&config).map_err(|error| error.to_string());
            return said(config.and_then(|config| cli::status(&config.admin, json)));
        }
        Command::SupportBundle(command) => return said(cli::support_bundle(&command)),
        Command::Explain { config, user, groups, token_file, catalog, schema, source, tags, sql } => {
            user_token(token_file.as_deref()).and_then(|token| {
                let asked = northgate::app::Asked { user, groups, token, catalog, schema, source, tags, sql };
                explain(&config, &asked)
            })
        }
        Command::User { command: UserCommand::Add { name, groups, attributes, users_file } } => {
            add_user(&users_file, &name, &groups, &attributes)
        }
        Command::Policy { command } => return said(cli::policy(&command)),
        Command::SignIn(command) => return said(cli::sign_in(&command)),
        Command::Classify { command } => return said(cli::classify(&command)),
        Command::Cache { config, command } => asked(&config, |admin| cli::cache(&command, admin)),
        Command::Token { config, command } => asked(&config, |admin| cli::token(&command, admin)),
        Command::Queries { config, user, command } => {
            asked(&config, |admin| cli::queries(command.as_ref(), user.as_deref(), admin))
        }
        Command::Clusters { config, command } => {
            asked(&config, |admin| cli::clusters(command.as_ref(), admin))
        }
        Command::Audit { command } => return said(cli::audit(&command)),
        Command::ComplianceReport(command) => return said(cli::compliance_report(&command)),
        Command::Deploy { place } => return said(cli::deploy(place)),
        Command::Version => {
            println!("northgate {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("northgate: {message}");
            ExitCode::FAILURE
        }
    }
}

/// As diff has it: 0 where all is well, 1 where something is not as it was wanted, 2 where that is not known.
#[allow(clippy::print_stdout, clippy::print_stderr)]
fn said(outcome: Result<cli::Said, String>) -> ExitCode {
    match outcome {
        Ok(said) => {
            eprint!("{}", said.err);
            print!("{}", said.out);
            ExitCode::from(u8::from(said.failed))
        }
        Err(message) => {
            eprintln!("northgate: {message}");
            ExitCode::from(2)
        }
    }
}

fn serve(path: &Path) -> Result<(), String> {
    let config = Config::load(path).map_err(|error| error.to_string())?;
    northgate::app::run(config, path).map_err(|error| error.to_string())
}

/// Asks the gateway that runs on this machine.
#[allow(clippy::print_stdout, clippy::print_stderr)]
fn asked(
    path: &Path,
    ask: impl FnOnce(&northgate::admin::Config) -> Result<cli::Said, String>,
) -> Result<(), String> {
    let config = Config::load(path).map_err(|error| error.to_string())?;
    let said = ask(&config.admin)?;
    eprint!("{}", said.err);
    print!("{}", said.out);
    Ok(())
}

#[allow(clippy::print_stdout)]
fn check(path: &Path) -> Result<(), String> {
    let config = Config::load(path).map_err(|error| error.to_string())?;
    let report = northgate::app::check(&config).map_err(|error| error.to_string())?;
    println!("{report}");
    Ok(())
}

/// A token of somebody else's. What stands on a command line everybody on the machine can read.
fn user_token(file: Option<&Path>) -> Result<Option<Secret<String>>, String> {
    match file {
        Some(path) => {
            let token = Secret::from_file(path).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok(Some(token))
        }
        None => Ok(std::env::var(USER_TOKEN).ok().filter(|token| !token.is_empty()).map(Secret::new)),
    }
}

#[allow(clippy::print_stdout)]
fn explain(path: &Path, asked: &northgate::app::Asked) -> Result<(), String> {
    let config = Config::load(path).map_err(|error| error.to_string())?;
    let explanation = northgate::app::explain(&config, asked).map_err(|error| error.to_string())?;
    print!("{explanation}");
    Ok(())
}

#[allow(clippy::print_stdout, clippy::print_stderr)]
fn add_user(
    users_file: &Path,
    name: &str,
    groups: &[String],
    attributes: &[(String, String)],
) -> Result<(), String> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        eprint!("Password for {name} (it will be shown as you type; pipe it in to avoid that): ");
        std::io::stderr().flush().map_err(|error| error.to_string())?;
    }
    let mut line = String::new();
    stdin.lock().read_line(&mut line).map_err(|error| error.to_string())?;
    let password = Secret::new(line.trim_end_matches(['\r', '\n']).to_owned());
    drop(line);
    let user = identity::NewUser {
        name: name.to_owned(),
        password_hash: identity::hash_password(&password).map_err(|error| error.to_string())?,
        groups: groups.iter().cloned().collect(),
        attributes: attributes.iter().cloned().collect(),
    };
    identity::add_user(users_file, user).map_err(|error| error.to_string())?;
    println!("{name} is in {}", users_file.display());
    Ok(())
}
