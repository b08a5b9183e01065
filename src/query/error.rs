//! Why a request was not served, of whichever stage.

use http::StatusCode;

use crate::admission::AdmissionError;
use crate::audit::AuditError;
use crate::catalog::rest::RestError;
use crate::catalog::{CatalogError, EngineError, TableName};
use crate::error::{ErrorCode, Failure, Location};
use crate::identity::Refused;
use crate::policy::Denial;
use crate::rewrite::RewriteError;
use crate::sql::SqlError;
use crate::upstream::UpstreamError;
use crate::wire::{Malformed, NotAHeader, SealerError};

/// A failure of a statement: the driver gets it as a page with an `error` object, under status 200.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// The text cannot be read.
    #[error(transparent)]
    Unreadable(#[from] SqlError),
    /// The policy says no.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// The statement cannot be rewritten, or is of a kind that is not allowed.
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
    /// A relation cannot be described.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The audit cannot be written.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// Clusters of one group do not say the same of a relation.
    #[error("the clusters do not agree on what {0} is")]
    Disagree(TableName),
    /// Trino cannot be used.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// A transaction of somebody else, or none.
    #[error("the transaction id was not issued to this login")]
    Transaction,
    /// A prepared statement that the client does not have.
    #[error("prepared statement '{0}' is not in the request")]
    NotPrepared(String),
    /// A prepared statement that cannot be unpacked.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Too many queries or requests.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// A value that does not fit in a header, here or at Trino.
    #[error(transparent)]
    Header(#[from] NotAHeader),
    /// A link could not be sealed.
    #[error(transparent)]
    Sealer(#[from] SealerError),
    /// A statement that changes something, by a token that may only read.
    #[error("{0}: the token may only read")]
    ReadOnly(&'static str),
    /// Nobody has asked for the query for too long, or it was cancelled while it waited.
    #[error("the query was canceled while it waited")]
    Canceled,
    /// Somebody else has cancelled it.
    #[error("canceled by {by}: {reason}")]
    CanceledBy {
        /// Who.
        by: String,
        /// Why, in their words.
        reason: String,
    },
    /// The gateway where the query waited is gone.
    #[error("the gateway where the query waited is gone; sent to Trino: {sent}")]
    Orphaned {
        /// Whether it was sent to Trino, or may have been.
        sent: bool,
    },
    /// An answer that was kept cannot be given again.
    #[error(transparent)]
    Cache(#[from] crate::cache::Corrupt),
    /// An answer that was being given again is no longer there, nor the gateway that gave it.
    #[error("the answer that was being given again is gone with its gateway")]
    NotKept,
    /// A fault of the gateway's own.
    #[error("a fault of the gateway: see its log for the panic")]
    Fault,
    /// What Trino sent is not a page.
    #[error(transparent)]
    Relay(#[from] super::RelayError),
}

impl StatementError {
    /// Whether it is a decision of policy, and not a mistake or a fault.
    pub fn is_denial(&self) -> bool {
        match self {
            Self::Denied(_) | Self::ReadOnly(_) => true,
            Self::Rewrite(error) => {
                matches!(error.code(), ErrorCode::PERMISSION_DENIED | ErrorCode::TABLE_NOT_FOUND)
            }
            Self::Unreadable(_)
            | Self::Catalog(_)
            | Self::Header(_)
            | Self::Sealer(_)
            | Self::Audit(_)
            | Self::Upstream(_)
            | Self::Disagree(_)
            | Self::Transaction
            | Self::NotPrepared(_)
            | Self::Malformed(_)
            | Self::Admission(_)
            | Self::Canceled
            | Self::CanceledBy { .. }
            | Self::Orphaned { .. }
            | Self::Cache(_)
            | Self::NotKept
            | Self::Fault
            | Self::Relay(_) => false,
        }
    }

    /// Whether it is that a cluster has no answer, so that another may be asked.
    pub(super) fn is_of_cluster(&self) -> bool {
        matches!(self, Self::Catalog(CatalogError::Engine(EngineError::Unavailable(_))))
    }

    /// The catalog that is to be asked in the user's own name, if that could not be done as there is no token of theirs.
    pub(super) fn lacks_token_for(&self) -> Option<&str> {
        match self {
            Self::Catalog(CatalogError::Rest { catalog, error: RestError::NoUserToken(_) }) => Some(catalog),
            _ => None,
        }
    }

    fn inner(&self) -> Option<&dyn Failure> {
        Some(match self {
            Self::Unreadable(error) => error,
            Self::Denied(error) => error,
            Self::Rewrite(error) => error,
            Self::Catalog(error) => error,
            Self::Header(error) => error,
            Self::Sealer(error) => error,
            Self::Audit(error) => error,
            Self::Upstream(error) => error,
            Self::Admission(error) => error,
            Self::Malformed(error) => error,
            Self::Disagree(_)
            | Self::Transaction
            | Self::NotPrepared(_)
            | Self::ReadOnly(_)
            | Self::Canceled
            | Self::CanceledBy { .. }
            | Self::Orphaned { .. }
            | Self::Cache(_)
            | Self::NotKept
            | Self::Fault
            | Self::Relay(_) => return None,
        })
    }
}

impl Failure for StatementError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Disagree(_) => "clusters_disagree",
            Self::Transaction => "transaction",
            Self::NotPrepared(_) => "not_prepared",
            Self::ReadOnly(_) => "read_only",
            Self::Canceled => "canceled",
            Self::CanceledBy { .. } => "canceled_by",
            Self::Relay(_) => "relay",
            Self::Orphaned { .. } => "orphaned",
            Self::Cache(_) => "cache_corrupt",
            Self::NotKept => "cache_gone",
            Self::Fault => "fault",
            _ => self.inner().map_or("statement", Failure::kind),
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Transaction => ErrorCode::UNKNOWN_TRANSACTION,
            Self::NotPrepared(_) => ErrorCode::NOT_FOUND,
            Self::ReadOnly(_) => ErrorCode::PERMISSION_DENIED,
            Self::Canceled | Self::CanceledBy { .. } => ErrorCode::USER_CANCELED,
            Self::Orphaned { .. } | Self::NotKept => ErrorCode::SERVER_SHUTTING_DOWN,
            Self::Disagree(_) | Self::Relay(_) => ErrorCode::REMOTE_HOST_GONE,
            _ => self.inner().map_or(ErrorCode::GENERIC_INTERNAL_ERROR, Failure::code),
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Disagree(_) => "The cluster that was to run the query does not take queries any more, and no other has the \
                                  same tables. It was not run; try again."
                .to_owned(),
            Self::Transaction => "This transaction does not exist any more. Begin a new one.".to_owned(),
            Self::NotPrepared(name) => format!("Prepared statement not found: {name}"),
            Self::ReadOnly(kind) => format!(
                "Access Denied: {kind} is not allowed, since the token that you signed in with may only read. Sign in with \
                 another, or yourself."
            ),
            Self::Canceled => "The query was canceled.".to_owned(),
            Self::CanceledBy { by, reason } => format!("The query was canceled by {by}: {reason}"),
            Self::Orphaned { sent: false } => {
                "The gateway where the query waited has stopped. It was not run: run it again.".to_owned()
            }
            Self::Orphaned { sent: true } => "The gateway that had the query has stopped. It is not known whether it ran: if \
                                              it changes data, look before you run it again."
                .to_owned(),
            Self::NotKept => "The gateway that gave the answer has stopped. Run the query again.".to_owned(),
            Self::Relay(_) => {
                "The cluster's answer could not be read. The query may have run; look before you run it again."
                    .to_owned()
            }
            _ => self.inner().map_or_else(|| "The statement failed.".to_owned(), Failure::client_message),
        }
    }

    fn location(&self) -> Option<Location> {
        self.inner().and_then(Failure::location)
    }
}

/// A request that gets an HTTP status instead of a page.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The request is malformed, or of no known route.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The caller could not be authenticated, or may not be who it claims to be.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The link is not one of ours, or not the caller's.
    #[error("no such query")]
    NoSuchQuery,
    /// The audit is for auditors.
    #[error("not an auditor")]
    NotAuditor,
    /// What is asked of the audit makes no sense.
    #[error("{0}")]
    Asked(String),
    /// Too much of the audit is read at this moment.
    #[error("too many searches of the audit")]
    Busy,
    /// The audit cannot be read; the log says why.
    #[error("the audit cannot be read")]
    Unreadable,
    /// What cannot be recorded is not done.
    #[error(transparent)]
    Audit(AuditError),
    /// The query of another gateway runs at a cluster that is not known here.
    #[error("the cluster of another gateway's query is not known here")]
    UnknownCluster,
    /// The answer that another gateway gives again cannot be had here.
    #[error("an answer of another gateway cannot be had here")]
    Elsewhere,
    /// The other gateways cannot be asked to cancel a query.
    #[error("other gateways cannot be asked")]
    Unasked,
    /// Northgate is stopping and takes no new queries.
    #[error("shutting down")]
    ShuttingDown,
}

impl QueryError {
    /// The status that the client gets. 503 is only ever given where Trino has not been sent anything, or
    /// where asking again is harmless: drivers repeat the request.
    pub fn http_status(&self) -> StatusCode {
        match self {
            Self::Malformed(error) => error.http_status(),
            Self::Refused(error) => error.http_status(),
            Self::NoSuchQuery => StatusCode::NOT_FOUND,
            Self::NotAuditor => StatusCode::FORBIDDEN,
            Self::Asked(_) => StatusCode::BAD_REQUEST,
            Self::Unreadable => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Busy
            | Self::Audit(_)
            | Self::UnknownCluster
            | Self::Elsewhere
            | Self::Unasked
            | Self::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl Failure for QueryError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Malformed(error) => error.kind(),
            Self::Refused(error) => error.kind(),
            Self::NoSuchQuery => "no_such_query",
            Self::NotAuditor => "not_auditor",
            Self::Asked(_) => "audit_asked",
            Self::Busy => "audit_busy",
            Self::Unreadable => "audit_unreadable",
            Self::Audit(error) => error.kind(),
            Self::UnknownCluster => "unknown_cluster",
            Self::Elsewhere => "cache_elsewhere",
            Self::Unasked => "others_unasked",
            Self::ShuttingDown => "shutting_down",
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed(error) => error.code(),
            Self::Refused(error) => error.code(),
            Self::NoSuchQuery => ErrorCode::NOT_FOUND,
            Self::NotAuditor => ErrorCode::PERMISSION_DENIED,
            Self::Asked(_) => ErrorCode::GENERIC_USER_ERROR,
            Self::Busy | Self::Unreadable => ErrorCode::GENERIC_INTERNAL_ERROR,
            Self::Audit(error) => error.code(),
            Self::UnknownCluster | Self::Elsewhere | Self::Unasked => ErrorCode::REMOTE_HOST_GONE,
            Self::ShuttingDown => ErrorCode::SERVER_SHUTTING_DOWN,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Malformed(error) => error.client_message(),
            Self::Refused(error) => error.client_message(),
            Self::NoSuchQuery => "Not found".to_owned(),
            Self::NotAuditor => {
                "The audit is for auditors. Ask Northgate's operators to let you read it.".to_owned()
            }
            Self::Asked(why) => why.clone(),
            Self::Busy => "Too many searches of the audit at this moment. Try again shortly.".to_owned(),
            Self::Unreadable => "The audit cannot be read. Tell Northgate's operators.".to_owned(),
            Self::Audit(_) => "This could not be recorded, and was not done. Try again later.".to_owned(),
            Self::UnknownCluster => {
                "The query's cluster is not known to this gateway at this moment. Ask again.".to_owned()
            }
            Self::Elsewhere => "This gateway cannot reach the answer at this moment. Ask again.".to_owned(),
            Self::Unasked => "The other gateways cannot be asked at this moment. Try again.".to_owned(),
            Self::ShuttingDown => "The gateway is stopping. Send the query again.".to_owned(),
        }
    }
}
