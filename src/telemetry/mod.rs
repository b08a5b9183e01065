//! What operators see: metrics and logs. Users, SQL and anything secret are in neither; they belong in the audit.

mod labels;
mod logs;
mod metrics;

pub use labels::{
    AuthMethod, AuthOutcome, Cached, Ending, Kept, QueryEnd, Reload, RequestRoute, Stage, StatementKind,
    StatusClass, Tls, UpstreamOperation, UpstreamOutcome, Verdict,
};
pub use logs::{Config, Format, InitError, init};
pub use metrics::{GaugeGuard, Metrics, StageTimer};
