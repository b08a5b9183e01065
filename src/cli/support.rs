//! `northgate support-bundle`: what somebody who helps needs to know, without secrets and without people.
//!
//! Lists of what may be in it: settings whose values name people are left out of the configuration, policies are there by name
//! and size alone, of the environment only which of our variables are set, and nothing of logs and the audit.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Method;

use super::{Said, doctor, operator};
use crate::config::Config;

/// What stands in place of what names people, or might be secret.
const LEFT_OUT: &str = "(left out)";
/// Settings, whatever section they are in, whose values name people, or what only they should have.
const OF_PEOPLE: [&str; 16] = [
    "access_key_id",
    "addresses",
    "attributes",
    "audiences",
    "authorize_params",
    "client",
    "client_id",
    "input",
    "match",
    "principals",
    "require",
    "sources",
    "tags",
    "tests",
    "user",
    "users",
];
/// What is told of the machine.
const OF_MACHINE: [&str; 5] =
    ["/proc/version", "/proc/meminfo", "/proc/loadavg", "/proc/uptime", "/etc/os-release"];
const ABOUT: &str = "\
For whoever helps with this gateway. There are no secrets and no people in it: settings that name people are left out of
config.toml, of policies there are names and sizes alone, of the environment the names of variables, and nothing is from
logs, queries or the audit. Look through it before you give it away: names of servers, groups, tables and files are in it.
";

/// What `northgate support-bundle` is told.
#[derive(Args, Clone, Debug)]
pub struct SupportBundle {
    /// The configuration file.
    #[arg(long, default_value = "northgate.toml")]
    config: PathBuf,
    /// Where to write it.
    #[arg(long, short, default_value = "northgate-support.tar.gz")]
    output: PathBuf,
}

/// Gathers it.
///
/// # Errors
/// The file is there already, or cannot be written.
pub fn support_bundle(command: &SupportBundle) -> Result<Said, String> {
    let files = gathered(&command.config);
    let wrong = |error: std::io::Error| format!("{}: {error}", command.output.display());
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&command.output).map_err(wrong)?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    for (name, text) in &files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        let path = format!("northgate-support/{name}");
        archive.append_data(&mut header, path, text.as_bytes()).map_err(wrong)?;
    }
    archive.into_inner().and_then(GzEncoder::finish).and_then(|file| file.sync_all()).map_err(wrong)?;
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    let out = format!("{}: {}\n", command.output.display(), names.join(", "));
    Ok(Said { out, ..Said::default() })
}

/// The files by name.
fn gathered(path: &Path) -> Vec<(&'static str, String)> {
    let version = format!("northgate {}\n", env!("CARGO_PKG_VERSION"));
    let mut files = vec![("README.txt", ABOUT.to_owned()), ("version.txt", version)];
    // What is found where the configuration cannot be read says where and why, which may quote it.
    match Config::load(path) {
        Err(_) => files.push(("config.toml", "# it cannot be read; `northgate check` says why\n".to_owned())),
        Ok(config) => {
            files.push(("config.toml", without_people(&config)));
            files.push(("policies.txt", policies(&config)));
            let found = doctor::doctor(path, None, true).map_or_else(|why| why, |said| said.out);
            files.push(("doctor.json", found));
            let told =
                |path: &str| operator::ask(&config.admin, Method::GET, path).unwrap_or_else(|why| why + "\n");
            files.push(("status.json", told("/status")));
            files.push(("metrics.txt", told("/metrics")));
        }
    }
    files.push(("environment.txt", environment()));
    let mut machine = String::new();
    for path in OF_MACHINE {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| error.to_string());
        let _ = writeln!(machine, "== {path}\n{}", text.trim_end());
    }
    files.push(("machine.txt", machine));
    files
}

fn environment() -> String {
    let mut names: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("NORTHGATE__"))
        .collect();
    names.sort();
    names.into_iter().fold(String::new(), |text, name| text + &name + " is set\n")
}

fn policies(config: &Config) -> String {
    let mut lines: Vec<String> = std::fs::read_dir(&config.policies.folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| {
            let size = entry.metadata().map_or(0, |metadata| metadata.len());
            format!("{}: {size} bytes\n", entry.file_name().to_string_lossy())
        })
        .collect();
    lines.sort();
    lines.concat()
}

/// The configuration in force.
fn without_people(config: &Config) -> String {
    let Ok(mut value) = toml::Value::try_from(config) else { return String::new() };
    leave_out(&mut value);
    toml::to_string(&value).unwrap_or_default()
}

fn leave_out(value: &mut toml::Value) {
    match value {
        toml::Value::Table(table) => {
            for (key, inner) in table.iter_mut() {
                if OF_PEOPLE.contains(&key.as_str()) {
                    *inner = toml::Value::String(LEFT_OUT.to_owned());
                } else {
                    leave_out(inner);
                }
            }
        }
        toml::Value::Array(array) => array.iter_mut().for_each(leave_out),
        // A name and password in an address.
        toml::Value::String(text) if text.contains('@') => LEFT_OUT.clone_into(text),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_secrets_are_left_out_of_the_configuration() {
        let text = "
            [trino]
            url = 'http://127.0.0.1:8080'
            user = 'PLANTED-1'
            [links]
            key_file = 'links.key'
            [[identity.impersonation]]
            principals = ['PLANTED-2']
            users = ['PLANTED-3']
            groups = ['analysts']
            [[identity.mapping]]
            from = 'certificate'
            match = 'PLANTED-4'
            user = 'PLANTED-5'
            tests = [{ input = 'PLANTED-6', user = 'PLANTED-7' }]
            [audit]
            origin = 'PLANTED-8@bank'
            [audit.s3]
            bucket = 'bank-audit'
            access_key_id = 'PLANTED-9'
            secret_access_key_file = 's3.key'
            [[admission.rule]]
            class = 'batch'
            users = ['PLANTED-10']
        ";
        let variables = [("NORTHGATE__LINKS__KEY".to_owned(), "PLANTED-11".to_owned())];
        let text = text.replace("key_file = 'links.key'", "");
        let config = Config::read("northgate.toml", &text, variables, Path::new("/etc/northgate"));
        let shown = without_people(&config.expect("it can be read"));
        assert!(!shown.contains("PLANTED"), "{shown}");
        for there in ["bank-audit", "analysts", "batch", "http://127.0.0.1:8080", "/etc/northgate/s3.key"] {
            assert!(shown.contains(there), "{there}: {shown}");
        }
    }
}
