//! The `[identity.tokens]` section.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::Span;

/// `[identity.tokens]`: personal access tokens. There are none without the section.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where they are kept, unless they are in the store that gateways share (`[state]`).
    pub file: PathBuf,
    /// The longest life of a token.
    pub max_life: Span,
    /// Most tokens of one owner.
    pub per_user: usize,
    /// How long the groups that the owner's last sign-in brought are believed.
    pub groups_life: Span,
    /// How long what was found is believed: so long a token that another gateway revoked may still work here.
    pub cache: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            file: PathBuf::from("tokens.jsonl"),
            max_life: Span(Duration::from_hours(90 * 24)),
            per_user: 20,
            groups_life: Span(Duration::from_hours(30 * 24)),
            cache: Span(Duration::from_secs(5)),
        }
    }
}

impl Config {
    /// What is wrong with it that its types do not show.
    pub(super) fn check(&self) -> Result<(), String> {
        const DAY: Duration = Duration::from_hours(24);
        let within = |name: &str, span: Span, least: Duration, most: Duration| {
            if (least..=most).contains(&span.0) {
                return Ok(());
            }
            Err(format!("tokens.{name}: from {} to {}", Span(least), Span(most)))
        };
        within("max_life", self.max_life, Duration::from_mins(1), DAY * 3660)?;
        within("groups_life", self.groups_life, Duration::from_mins(1), DAY * 3660)?;
        within("cache", self.cache, Duration::ZERO, Duration::from_mins(1))?;
        if self.per_user == 0 || self.per_user > 1000 {
            return Err("tokens.per_user: from 1 to 1000".to_owned());
        }
        Ok(())
    }
}
