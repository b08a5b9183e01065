//! What an Iceberg REST catalog, such as Apache Polaris, says of tables: what they are, what is secret in them, and who may
//! read them.

mod attached;
mod breaker;
mod classification;
mod client;
mod config;
mod error;
mod facts;
mod fresh;
mod grants;
mod ruling;
#[cfg(test)]
pub(crate) mod tests;
mod token;
mod transport;

pub use attached::Attached;
pub use classification::{Classification, Classified, Identifier, Retagged};
pub use config::{Access, Config, PrincipalRoles, UserToken};
pub use error::RestError;
pub use facts::{Facts, Tags};
pub use grants::{Extent, Grants, Object, Right};
pub use ruling::{Granted, Outline, RestCatalog, Ruling, Subject};

use crate::secret::Secret;

/// What stands for a token where the token itself need not be kept: its SHA-256.
type Fingerprint = [u8; 32];

/// In whose name the catalog is asked.
#[derive(Clone, Debug)]
enum Caller {
    /// The gateway's own.
    Gateway,
    /// A user's.
    User {
        /// What they signed in with.
        token: Secret<String>,
        fingerprint: Fingerprint,
    },
}
