//! What can go wrong between the gateway and Trino.

use std::time::Duration;

use http::StatusCode;

use crate::error::{ErrorCode, Failure};

/// Why Trino gave no answer that can be used.
///
/// For a submit, [`UpstreamError::may_have_run`] says whether Trino may have taken the query.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The `[trino]` section can't be used.
    #[error("[trino] {0}")]
    Config(String),
    /// No cluster that is well takes queries. Nothing was sent.
    #[error("no cluster of the group {group} can take queries")]
    NoCluster {
        /// The group that was asked for.
        group: String,
    },
    /// No connection could be made. Nothing was sent.
    #[error("cluster {cluster}: no connection: {detail}")]
    Unreachable {
        /// Which cluster.
        cluster: String,
        /// Why.
        detail: String,
    },
    /// The connection broke after a submit was sent and before its answer: Trino may have the query.
    #[error("cluster {cluster}: the connection broke after a statement was sent: {detail}")]
    Lost {
        /// Which cluster.
        cluster: String,
        /// How.
        detail: String,
    },
    /// The answer did not begin, or go on, in time.
    #[error("cluster {cluster}: no answer within {waited:?}")]
    Slow {
        /// Which cluster.
        cluster: String,
        /// How long was waited.
        waited: Duration,
        /// Whether a statement was sent.
        submitted: bool,
    },
    /// Trino does not take the gateway's own sign-in, or does not let it act for others.
    #[error("cluster {cluster}: the gateway is refused with {status}: {detail}")]
    SignIn {
        /// Which cluster.
        cluster: String,
        /// 401 or 403.
        status: StatusCode,
        /// The beginning of what it said.
        detail: String,
    },
    /// Trino no longer knows the query.
    #[error("cluster {cluster}: the query is gone ({status})")]
    Gone {
        /// Which cluster.
        cluster: String,
        /// 404 or 410.
        status: StatusCode,
    },
    /// Another status than was to be expected.
    #[error("cluster {cluster}: answered {status}: {detail}")]
    Status {
        /// Which cluster.
        cluster: String,
        /// The status.
        status: StatusCode,
        /// The beginning of what it said.
        detail: String,
        /// Whether a statement was sent.
        submitted: bool,
    },
    /// Something answered, and it was not a page of Trino's protocol.
    #[error("cluster {cluster}: the answer is not a page of Trino: {detail}")]
    Garbage {
        /// Which cluster.
        cluster: String,
        /// What is wrong with it.
        detail: String,
        /// Whether a statement was sent.
        submitted: bool,
    },
    /// An answer broke off.
    #[error("cluster {cluster}: an answer broke off: {detail}")]
    Broken {
        /// Which cluster.
        cluster: String,
        /// How.
        detail: String,
    },
    /// A path that is none of Trino's links. It was not requested.
    #[error("not a link of Trino's protocol")]
    Path,
}

impl UpstreamError {
    /// Whether Trino may have taken the query that was being submitted, so that it must not be sent again.
    pub fn may_have_run(&self) -> bool {
        match self {
            Self::Lost { .. } => true,
            Self::Slow { submitted, .. }
            | Self::Status { submitted, .. }
            | Self::Garbage { submitted, .. } => *submitted,
            Self::Config(_)
            | Self::NoCluster { .. }
            | Self::Unreachable { .. }
            | Self::SignIn { .. }
            | Self::Gone { .. }
            | Self::Broken { .. }
            | Self::Path => false,
        }
    }
}

impl UpstreamError {
    /// Whether another cluster may be asked in the place of this one: it has not taken the query, and that is not the
    /// query's fault.
    pub fn may_move(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::SignIn { .. }) && !self.may_have_run()
    }
}

impl Failure for UpstreamError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Config(_) => "upstream_config",
            Self::NoCluster { .. } => "upstream_no_cluster",
            Self::Unreachable { .. } => "upstream_unreachable",
            Self::Lost { .. } => "upstream_lost",
            Self::Slow { .. } => "upstream_slow",
            Self::SignIn { .. } => "upstream_sign_in",
            Self::Gone { .. } => "upstream_gone",
            Self::Status { .. } => "upstream_status",
            Self::Garbage { .. } => "upstream_garbage",
            Self::Broken { .. } => "upstream_broken",
            Self::Path => "upstream_path",
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Gone { .. } | Self::Path => ErrorCode::NOT_FOUND,
            Self::Config(_) | Self::SignIn { .. } => ErrorCode::GENERIC_INTERNAL_ERROR,
            _ => ErrorCode::REMOTE_HOST_GONE,
        }
    }

    fn client_message(&self) -> String {
        if self.may_have_run() {
            return "Trino took the query, or may have, and gave no usable answer. It is not known whether it \
                    ran: if it changes data, look before you run it again."
                .to_owned();
        }
        match self {
            Self::Unreachable { .. } => "Trino can't be reached. The query was not run; try again later.",
            Self::NoCluster { .. } => {
                "No Trino cluster can take the query at the moment. It was not run; try again later."
            }
            Self::Config(_) | Self::SignIn { .. } => {
                "Trino does not accept the gateway, so the query was not run. Tell the operators of the gateway."
            }
            Self::Gone { .. } | Self::Path => "There is no such query, or no longer.",
            Self::Slow { .. } => "Trino did not answer in time.",
            Self::Lost { .. } | Self::Status { .. } | Self::Garbage { .. } | Self::Broken { .. } => {
                "Trino's answer could not be used. Run the query again; tell the operators of the gateway if it \
                 stays so."
            }
        }
        .to_owned()
    }
}
