//! What operators see: metrics, logs and traces. Users, SQL and anything secret are in neither; they belong in the audit.

mod about;
mod emf;
mod labels;
mod logs;
mod metrics;
mod traces;

pub use about::About;
pub use emf::{EmfConfig, send as send_emf};
pub use labels::{
    AuthMethod, AuthOutcome, Cached, Ending, Kept, QueryEnd, Reload, RequestRoute, Stage, StatementKind,
    StatusClass, Tls, UpstreamOperation, UpstreamOutcome, Verdict, Warmed,
};
pub use logs::{Config, Format, InitError, init};
pub use metrics::{GaugeGuard, Metrics, StageTimer};
pub use traces::{Parent, TRACE_PARENT, Trace, Traces, TracesConfig};
