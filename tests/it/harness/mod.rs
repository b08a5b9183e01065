//! The real Trino, the real gateway, and what speaks to them. Tests share one Trino and one gateway in a
//! process; each starts only when a test first asks for it.

pub(crate) mod authority;
pub(crate) mod balancer;
pub(crate) mod barn;
pub(crate) mod bucket;
pub(crate) mod chromium;
pub(crate) mod double;
pub(crate) mod gateway;
pub(crate) mod house;
pub(crate) mod http;
pub(crate) mod issuer;
pub(crate) mod keycloak;
pub(crate) mod process;
pub(crate) mod sign_in;
pub(crate) mod trino;

use std::path::PathBuf;

pub(crate) use gateway::{Gateway, Settings, gateway};
pub(crate) use http::{Answer, Client, Response};
pub(crate) use trino::trino;

/// The folder of the repository.
pub(crate) fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The script of the test stack.
pub(crate) fn stack() -> PathBuf {
    repository().join("tests/stack/stack")
}
