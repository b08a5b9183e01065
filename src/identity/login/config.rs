//! The `[identity.login]` section.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::Span;

/// `[identity.login]`: sign-in with a browser, for people and for drivers that open one.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Our address as browsers and identity providers see it, such as `https://sql.bank.example`. No path.
    pub external_url: String,
    /// How long a sign-in lasts, if the identity provider does not end it before. 5m to 7d.
    #[serde(default = "Config::default_session_life")]
    pub session_life: Span,
    /// How long a driver's token lasts before the driver fetches another, which takes no user while the sign-in lasts.
    /// 10s to 24h.
    #[serde(default = "Config::default_token_life")]
    pub token_life: Span,
    /// How much time a user has to sign in. 1m to 1h.
    #[serde(default = "Config::default_attempt_life")]
    pub attempt_life: Span,
    /// Let users of the users file sign in with their password in a browser, too.
    #[serde(default)]
    pub passwords: bool,
    /// Let users sign in at a terminal with a code that they enter at an OpenID provider (RFC 8628, `northgate sign-in`). Who
    /// enters a code that somebody else has sent them signs that one in.
    #[serde(default)]
    pub device_flow: bool,
}

impl Config {
    fn default_session_life() -> Span {
        Span(Duration::from_hours(12))
    }

    fn default_token_life() -> Span {
        Span(Duration::from_mins(15))
    }

    fn default_attempt_life() -> Span {
        Span(Duration::from_mins(10))
    }

    /// What is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        let authority = self.external_url.strip_prefix("https://").map(|rest| rest.trim_end_matches('/'));
        let parsed = authority.and_then(|authority| authority.parse::<http::uri::Authority>().ok());
        if !parsed.is_some_and(|authority| !authority.as_str().contains('@')) {
            return Err("external_url: must be https://HOST or https://HOST:PORT, without a path".to_owned());
        }
        let bounds = [
            ("session_life", &self.session_life, Duration::from_mins(5), Duration::from_hours(7 * 24)),
            ("token_life", &self.token_life, Duration::from_secs(10), Duration::from_hours(24)),
            ("attempt_life", &self.attempt_life, Duration::from_mins(1), Duration::from_hours(1)),
        ];
        for (name, span, least, most) in bounds {
            if span.0 < least || span.0 > most {
                return Err(format!("{name}: must be between {} and {}", Span(least), Span(most)));
            }
        }
        Ok(())
    }

    /// Our address, without a slash at its end.
    pub(super) fn origin(&self) -> String {
        self.external_url.trim_end_matches('/').to_ascii_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_settings_hold() {
        let check = |text: &str, expect: &str| {
            let config: Config = toml::from_str(text).expect("a section");
            let got = config.check().err().unwrap_or_default();
            assert!(got.starts_with(expect) && got.is_empty() == expect.is_empty(), "{text}: {got}");
        };
        check("external_url = 'https://sql.bank.example'", "");
        check("external_url = 'https://sql.bank.example:8443/'", "");
        check("external_url = 'https://[::1]:8443'", "");
        for wrong in ["http://a", "a", "https://", "https://a/b", "https://a?b", "https://u@a", "https://a b"]
        {
            check(&format!("external_url = '{wrong}'"), "external_url");
        }
        check("external_url = 'https://a'\nsession_life = '1m'", "session_life");
        check("external_url = 'https://a'\ntoken_life = '25h'", "token_life");
        check("external_url = 'https://a'\nattempt_life = '10s'", "attempt_life");
    }
}
