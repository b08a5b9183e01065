//! Northgate, a SQL gateway for Trino and Apache Polaris.

pub mod error;
pub mod identity;
pub mod secret;
pub mod units;
