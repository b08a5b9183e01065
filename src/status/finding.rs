//! What was looked at, and how it is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It is in order.
    Good,
    /// It works, and should not stay so.
    Warning,
    /// Something does not work, or soon will not, or others can get past the gateway.
    Problem,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// The file, policies and users.
    Configuration,
    /// What ends.
    Certificates,
    /// Files that others must not read.
    Secrets,
    /// Where the audit is.
    Disk,
    /// Ours, beside those of others.
    Clock,
    /// The clusters.
    Trino,
    /// Iceberg REST catalogs.
    Catalog,
    /// Identity providers.
    Identity,
    /// Redis or PostgreSQL.
    State,
    /// The bucket that the audit is copied to, and its witnesses.
    Audit,
    /// What Grafana and Prometheus are given.
    Dashboards,
}

impl Area {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Certificates => "certificates",
            Self::Secrets => "secrets",
            Self::Disk => "disk",
            Self::Clock => "clock",
            Self::Trino => "trino",
            Self::Catalog => "catalog",
            Self::Identity => "identity",
            Self::State => "state",
            Self::Audit => "audit",
            Self::Dashboards => "dashboards",
        }
    }
}

/// Something that was looked at. It has no secret in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about.
    pub area: Area,
    /// What was found.
    pub says: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// Something that is in order.
    pub fn good(area: Area, says: impl Into<String>) -> Self {
        Self { level: Level::Good, area, says: says.into(), remedy: None }
    }

    /// Something that should not stay so.
    pub fn warning(area: Area, says: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warning, area, says: says.into(), remedy: Some(remedy.into()) }
    }

    /// Something that is wrong.
    pub fn problem(area: Area, says: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Problem, area, says: says.into(), remedy: Some(remedy.into()) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Good => "ok",
            Level::Warning => "warning",
            Level::Problem => "PROBLEM",
        };
        write!(f, "{level:<8} {:<14} {}", self.area.as_str(), self.says)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n{:>23} -> {remedy}", ""),
            None => Ok(()),
        }
    }
}
