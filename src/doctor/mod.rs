//! `northgate doctor`: what is wrong, or soon will be, with a gateway and what it depends on, and what to do about it.
//!
//! It asks the servers that the configuration names, and changes nothing there: Trino runs statements that read nothing.
//! What ends soon, and the disk, the running gateway looks at by the same functions, for its metrics and its status.

pub mod dashboards;
pub mod expiry;
pub mod host;
mod secrets;
mod servers;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use crate::config::Config;
use crate::upstream::TESTED_VERSION;

pub use crate::status::{Area, Finding, Level};

/// A clock that is off by so many seconds is a warning, and by so many a problem: tokens are good for a minute, and sign-ins
/// bear as much.
const CLOCK_WARNING: f64 = 5.0;
const CLOCK_PROBLEM: f64 = 30.0;

/// Looks at all that the configuration names. The configuration itself has been read.
pub async fn examine(config: &Config) -> Vec<Finding> {
    let now = Timestamp::now();
    let mut found = expiry::findings(&expiry::ends(config), now);
    found.extend(secrets::findings(config));
    found.extend(host::findings(&config.audit));
    // Servers that do not answer take their time: all are waited for at once.
    let (trino, catalogs, identity, state, audit) = tokio::join!(
        servers::trino(config),
        servers::catalogs(config),
        servers::identity(config),
        servers::state(config),
        servers::audit(config),
    );
    for of_servers in [trino, catalogs, identity, state, audit] {
        found.extend(of_servers);
    }
    found
}

/// What another server's clock says of ours.
fn clock(server: &str, date: Option<&str>, now: Timestamp) -> Option<Finding> {
    Some(offset(server, ahead(date?, now)?))
}

/// What there is to say of a clock that is ahead of ours by so many seconds.
pub fn offset(server: &str, ahead: f64) -> Finding {
    let off = ahead.abs();
    if off < CLOCK_WARNING {
        return Finding::good(Area::Clock, format!("{server} and this machine agree on the time"));
    }
    let way = if ahead > 0.0 { "behind" } else { "ahead of" };
    let says = format!("the clock of this machine is {off:.0} s {way} that of {server}");
    let remedy = "let chrony or systemd-timesyncd set both clocks (on AWS from 169.254.169.123): tokens of and for the \
                  gateway count as not yet valid or as ended";
    if off < CLOCK_PROBLEM {
        Finding::warning(Area::Clock, says, remedy)
    } else {
        Finding::problem(Area::Clock, says, remedy)
    }
}

/// What there is to say of a cluster's version.
pub fn version(cluster: &str, version: &str) -> Finding {
    if version == TESTED_VERSION {
        return Finding::good(Area::Trino, format!("{cluster} answers, version {version}"));
    }
    Finding::warning(
        Area::Trino,
        format!("{cluster} is of version {version}; Northgate was tested with {TESTED_VERSION}"),
        "that filtered rows stay hidden rests on how Trino plans: before people use it, set trino_version in \
         tests/stack/fetch.sh and run the barrier tests, `cargo test --test it -- leaks:: twins:: native:: attacks::`",
    )
}

/// By how many seconds a server's clock is ahead of ours, by the `Date` of an answer that came `now`.
pub fn ahead(date: &str, now: Timestamp) -> Option<f64> {
    let theirs = DateTimeParser::new().parse_timestamp(date).ok()?;
    // What has no fractions is taken for the middle of its second.
    Some(theirs.duration_since(now).as_secs_f64() + 0.5)
}
