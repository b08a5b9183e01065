//! Logs, to standard error.

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use super::about::{Fields, Objects};
use super::emf::EmfConfig;
use super::traces::TracesConfig;
use crate::error::{ErrorCode, Failure};

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// For people, a line each.
    #[default]
    Text,
    /// For machines, a JSON object in a line each.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `text` or `json`.
    pub format: Format,
    /// Levels by module: `info`, or `info,hyper=debug`.
    pub filter: String,
    /// Where traces of queries are sent; without it there are none.
    pub traces: Option<TracesConfig>,
    /// Metrics in CloudWatch's format; without it there are none.
    pub emf: Option<EmfConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self { format: Format::Text, filter: "info".to_owned(), traces: None, emf: None }
    }
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter cannot be read.
    #[error("the log filter '{filter}' cannot be read")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Logs were set up before.
    #[error("logs were set up before")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

impl Failure for InitError {
    fn kind(&self) -> &'static str {
        "telemetry"
    }

    fn code(&self) -> ErrorCode {
        ErrorCode::GENERIC_INTERNAL_ERROR
    }

    fn client_message(&self) -> String {
        "Northgate could not start".to_owned()
    }
}

/// Sets up logs for the process. Once.
///
/// # Errors
///
/// [`InitError`] if the filter cannot be read, or if logs were set up before.
pub fn init(config: &Config) -> Result<(), InitError> {
    use tracing_subscriber::util::SubscriberInitExt;

    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    subscriber(config.format, filter(config)?, colours, std::io::stderr).try_init().map_err(InitError::Twice)
}

/// What takes the lines, and writes them.
pub(super) fn subscriber<W>(
    format: Format,
    filter: EnvFilter,
    colours: bool,
    writer: W,
) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'w> tracing_subscriber::fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(colours);
    match format {
        Format::Text => Box::new(builder.fmt_fields(Fields::default()).finish()),
        Format::Json => Box::new(builder.json().flatten_event(true).map_event_format(Objects).finish()),
    }
}

fn filter(config: &Config) -> Result<EnvFilter, InitError> {
    EnvFilter::builder()
        .parse(&config.filter)
        .map_err(|source| InitError::Filter { filter: config.filter.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_is_read() {
        let check = |text: &str, expect: Option<Config>| {
            assert_eq!(toml::from_str::<Config>(text).ok(), expect, "{text}");
        };
        let debug = Config { format: Format::Json, filter: "debug".to_owned(), traces: None, emf: None };
        check("", Some(Config::default()));
        check("format = 'json'\nfilter = 'debug'", Some(debug));
        check("format = 'xml'", None);
        check("level = 'info'", None);
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_an_error() {
        let check = |text: &str, good: bool| {
            let config = Config { filter: text.to_owned(), ..Config::default() };
            assert_eq!(filter(&config).is_ok(), good, "{text}");
        };
        check("info", true);
        check("info,hyper=debug", true);
        check("northgate=loud", false);
        check("=", false);
    }
}
