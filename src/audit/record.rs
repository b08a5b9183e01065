//! What the journal says: one JSON object a line, and what each member means.
//!
//! Every line begins with the same members: `v` (the version of this schema), `run` (16 random bytes in
//! hex, new at each start of the process), `seq` (the order of the records of one run, from 1, without
//! gaps), `time` (RFC 3339, UTC, microseconds), `tick_us` (microseconds since the run began, by a clock
//! that never goes back) and `type`. What follows depends on the type, and members that do not apply are
//! left out. `received_us` of an intent, `admitted_us`, `submitted_us` and `first_row_us` of an outcome are moments of the
//! clock of `tick_us`, so that a query's life is told by one clock.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::AuditError;
use crate::identity::Token;

/// The version of the schema (`v`). It rises when a member changes its meaning, not when one is added.
pub const SCHEMA_VERSION: u32 = 1;

/// Who asks, and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Asker {
    /// The principal that the query runs as.
    #[schemars(extend("x-ocsf" = "actor.user.name"))]
    pub principal: String,
    /// What the identity provider calls the one who signed in, if a rule has made another name of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-ocsf" = "actor.user.uid_alt"))]
    pub identity: Option<String>,
    /// Who signed in, if they run it as somebody else; `northgate:warming` and the name of one of `cache.warming`, if the gateway asks
    /// it in the principal's place, who knows nothing of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-ocsf" = "actor.session.issuer_user"))]
    pub impersonator: Option<String>,
    /// How they signed in: `password`, `jwt`, `token`, `certificate`, `alb`, `oidc`, `saml`; `warming` if nobody did.
    #[schemars(extend("x-ocsf" = "auth_protocol"))]
    pub auth_method: String,
    /// The id of the personal access token, if that is how.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-ocsf" = "actor.user.credential_uid"))]
    pub token: Option<String>,
    /// What its owner calls that token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_name: Option<String>,
    /// The identity provider that vouched for them, if one did: the `iss` of a token, or the name of a provider in the
    /// configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-ocsf" = "actor.session.issuer"))]
    pub issuer: Option<String>,
    /// The principal's groups at this moment.
    #[schemars(extend("x-ocsf" = "actor.user.groups[].name"))]
    pub groups: Vec<String>,
    /// The address of the client, and its port if that is known: the connection's, or what a trusted proxy says. Empty where the
    /// gateway itself asks.
    #[schemars(extend("x-ocsf" = "src_endpoint"))]
    pub peer: String,
    /// The address and port of the trusted proxy that the connection is from, if it is from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-ocsf" = "proxy_endpoint"))]
    pub proxy: Option<String>,
    /// The addresses that it was passed on from, as that proxy has them (`X-Forwarded-For`), at most the last 1,000 bytes. Only those
    /// up to `peer`, from the right, are vouched for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-ocsf" = "http_request.x_forwarded_for"))]
    pub forwarded: Option<String>,
    /// The TLS version, if the connection had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-ocsf" = "tls.version"))]
    pub tls: Option<String>,
    /// `X-Trino-Source`, as the client claims it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-ocsf" = "actor.app_name"))]
    pub source: Option<String>,
    /// `X-Trino-Client-Tags`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub client_tags: Vec<String>,
    /// `X-Trino-Client-Info`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_info: Option<String>,
    /// `X-Trino-Trace-Token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-ocsf" = "metadata.correlation_uid"))]
    pub trace_token: Option<String>,
}

/// What is asked, in the client's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Asked {
    /// When the request was here: microseconds since the run began, by the clock of `tick_us`.
    pub received_us: u64,
    /// The statement as the client sent it. What is not UTF-8 has replacement characters in it, and `?` is in the place of
    /// parameters that are sensitive.
    #[schemars(extend("x-ocsf" = "query_info.query_string", "x-openlineage" = "job.facets.sql.query"))]
    pub text: String,
    /// The text that was prepared, of an EXECUTE, as the client holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prepared: Option<String>,
    /// The kind of statement, where it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-ocsf" = "activity_name", "x-openlineage" = "job.facets.jobType.jobType"))]
    pub kind: Option<String>,
    /// The session's catalog.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-ocsf" = "database.name"))]
    pub catalog: Option<String>,
    /// The session's schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The session properties that came with it; those that are called a secret are hashed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// The values given to an EXECUTE, as they were written. Hashed (`hmac-sha256:`, with a key that nobody has, so that
    /// the same value of one run is the same) where what is read is sensitive or masked, or is not known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<String>,
    /// The tables and views it reads, as `catalog.schema.table`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-ocsf" = "resources[].name", "x-openlineage" = "inputs[].name"))]
    pub relations: Vec<String>,
    /// What of them it can read. Not there where it was denied before that was known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<Read>,
}

/// What a query can read of one table or view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Read {
    /// `catalog.schema.table`
    #[schemars(extend("x-ocsf" = "resources[].name", "x-openlineage" = "inputs[].name"))]
    pub name: String,
    /// The columns that the statement names, or the views that it reads through; all that the principal may see where it
    /// has a star.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-openlineage" = "inputs[].facets.schema.fields[].name"))]
    pub columns: Vec<String>,
    /// Those of the columns that are masked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub masked: Vec<String>,
    /// The tags of the columns.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("x-ocsf" = "resources[].labels", "x-openlineage" = "inputs[].facets.tags.tags[].key"))]
    pub tags: BTreeMap<String, Vec<String>>,
    /// Its Iceberg snapshot when it was decided, as the REST catalog told it, if one does: what is read where the statement names
    /// no other. Trino may see a commit of the moments between, and none that the catalog was not yet asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-openlineage" = "inputs[].facets.version.datasetVersion"))]
    pub snapshot: Option<i64>,
    /// The number of row filters; their text is in `rewritten`.
    #[serde(skip_serializing_if = "is_zero")]
    pub filters: usize,
    /// The views that it is read through, those that no policy trusts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub through: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls it with")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Which policies decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Basis {
    /// The revision of the policy set.
    #[schemars(extend("x-ocsf" = "policy.version"))]
    pub policy_revision: String,
    /// The documents that took part, in order, and the catalogs.
    #[schemars(extend("x-ocsf" = "policy.name"))]
    pub documents: Vec<String>,
    /// Whether a policy says that what is read is sensitive.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sensitive: bool,
}

/// A query that is allowed, written before Trino sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Intent {
    /// The gateway's id of the query, which links the intent to its outcome.
    #[schemars(extend("x-ocsf" = "query_info.uid", "x-openlineage" = "run.runId"))]
    pub query: String,
    /// Who asks.
    #[serde(flatten)]
    pub asker: Asker,
    /// What they ask.
    #[serde(flatten)]
    pub asked: Asked,
    /// What Trino will be sent.
    pub rewritten: String,
    /// Why it is allowed.
    #[serde(flatten)]
    pub basis: Basis,
    /// The decision: `allowed`, or `restricted` where a filter or a mask applies.
    #[schemars(extend("x-ocsf" = "action"))]
    pub decision: String,
    /// Whether the answer is one that was given before.
    #[serde(flatten)]
    pub cached: Cached,
}

/// Whether the answer to a query is one that was given before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Cached {
    /// `hit`: it is. `miss` and `bypass`: Trino is asked, unless the outcome has a `cache_origin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<String>,
    /// The gateway's id of the query whose answer it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_origin: Option<String>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_reason: Option<String>,
}

/// How a query ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The client has all its rows.
    Finished,
    /// Trino, or the gateway in its stead, reported an error.
    Failed,
    /// The user cancelled it.
    Canceled,
    /// The client went away, or the gateway stopped, before the end.
    Abandoned,
    /// The process was killed while it ran. The next start says so, with what Trino still knew of it.
    Unknown,
}

/// How a query ended, and why if it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How.
    pub state: State,
    /// The name of the error (`errorName`), at most 100 characters of it.
    pub error: Option<String>,
    /// Its message. Only a SHA-256 of it is written, since it may hold values of rows.
    pub message: Option<String>,
    /// Whether the statement itself was at fault (`USER_ERROR`), and not the cluster or the gateway. Not written: the
    /// error's name says it.
    pub users_fault: bool,
}

impl Event {
    /// What an operator does at the admin listener, where nobody signs in: who has its key does it.
    pub fn by_operator(action: &str, detail: String) -> Self {
        let by = "operator, by the key of the admin listener".to_owned();
        Self::Administration { action: action.to_owned(), by, peer: None, detail }
    }
}

impl Outcome {
    /// An end without an error.
    pub fn of(state: State) -> Self {
        Self { state, error: None, message: None, users_fault: false }
    }

    /// An end with an error.
    pub fn failed(error: impl Into<String>, message: impl Into<String>) -> Self {
        Self { error: Some(error.into()), message: Some(message.into()), ..Self::of(State::Failed) }
    }

    /// The same end, of a statement that was at fault itself, or was not.
    pub fn with_users_fault(self, users_fault: bool) -> Self {
        Self { users_fault, ..self }
    }
}

/// Why a request got nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Reason {
    /// The failure's short word, such as `policy_denied`.
    #[schemars(extend("x-ocsf" = "status_code"))]
    pub reason: String,
    /// What the log knows of it, which may be more than the client was told.
    #[schemars(extend("x-ocsf" = "status_detail"))]
    pub detail: String,
}

/// Anything but the life of an allowed query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// Policy says no.
    Denied {
        /// The gateway's id of the query.
        query: String,
        /// Who asked.
        #[serde(flatten)]
        asker: Asker,
        /// What they asked.
        #[serde(flatten)]
        asked: Asked,
        /// The revision of the policies that were in force when it was written; the documents are in the reason.
        #[serde(flatten)]
        basis: Basis,
        /// Why.
        #[serde(flatten)]
        reason: Reason,
    },
    /// It was not run for a cause that is not policy: unreadable, over a limit, no audit, no cluster.
    Refused {
        /// The gateway's id of the query.
        query: String,
        /// Who asked.
        #[serde(flatten)]
        asker: Asker,
        /// What they asked.
        #[serde(flatten)]
        asked: Asked,
        /// Why.
        #[serde(flatten)]
        reason: Reason,
    },
    /// Somebody could not prove who they are.
    LoginFailed {
        /// The name that was claimed, at most 256 characters of it; never a password or a token.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "short")]
        #[schemars(with = "Option<String>")]
        claimed: Option<String>,
        /// How they tried.
        auth_method: String,
        /// From where.
        peer: String,
        /// By which trusted proxy, if by one.
        #[serde(skip_serializing_if = "Option::is_none")]
        proxy: Option<String>,
        /// Why it failed.
        #[serde(flatten)]
        reason: Reason,
    },
    /// A personal access token was made.
    TokenCreated {
        /// The principal who did it; none: an administrator of the gateway.
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        /// The token; its secret is not known here.
        #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
        token: Token,
    },
    /// A personal access token was revoked.
    TokenRevoked {
        /// The principal who did it; none: an administrator of the gateway.
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        /// The token.
        #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
        token: Token,
    },
    /// Somebody signed in, or out, by a way that makes a session: a browser, an identity provider. Passwords and tokens
    /// that come with a query are in its intent.
    SignIn {
        /// How: `oidc`, `saml`, `password`, `token`, `driver`.
        auth_method: String,
        /// What came of it: `accepted`, `refused`, `signed_out`, `ended_by_provider`; of a driver: `driver_accepted`,
        /// `driver_refused`, `driver_renewed`.
        outcome: String,
        /// Who, where that is known.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "short")]
        #[schemars(with = "Option<String>")]
        principal: Option<String>,
        /// From where; empty, if it is the gateway's own finding.
        peer: String,
        /// Why not; or which identity provider says so, and what it calls the user.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// An operator or auditor did something that others should know of: a change of the configuration, an export or a
    /// search of the audit, a query cancelled for somebody else.
    Administration {
        /// What: `configuration`, `audit_export`, `audit_search`, `cancel`, ...
        action: String,
        /// Who, as far as it is known: on the operator's listener nobody signs in.
        by: String,
        /// From where.
        #[serde(skip_serializing_if = "Option::is_none")]
        peer: Option<String>,
        /// With what.
        detail: String,
    },
    /// The outcome of a query of an earlier run, which ended while it ran. It stands for the outcome that is missing.
    #[serde(rename = "outcome")]
    Unknown {
        /// The gateway's id of the query.
        query: String,
        /// Always [`State::Unknown`].
        state: State,
        /// The run that its intent is of.
        of_run: String,
        /// Trino's id of it, if Trino still knew it.
        #[serde(skip_serializing_if = "Option::is_none")]
        trino_query: Option<String>,
        /// What Trino says of it: its state, such as `FINISHED` or `FAILED`.
        #[serde(skip_serializing_if = "Option::is_none")]
        trino_state: Option<String>,
        /// Trino's error.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// The gateway began.
    Start {
        /// Its version.
        version: String,
        /// The policies in force.
        policy_revision: String,
        /// The SHA-256 of the configuration in force, secrets left out: of two starts that differ in it, somebody has changed it.
        configuration: String,
    },
    /// The gateway ends in order.
    Stop {},
    /// Policies, users, certificates or the configuration were read again.
    Reload {
        /// What was read.
        what: String,
        /// Whether the new one is in force.
        accepted: bool,
        /// The revision in force now.
        #[serde(skip_serializing_if = "Option::is_none")]
        policy_revision: Option<String>,
        /// The SHA-256 of the configuration as it was read, as that of a start.
        #[serde(skip_serializing_if = "Option::is_none")]
        configuration: Option<String>,
        /// What was wrong with a new one that is not.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
}

/// What is written when the journal could not be, or records were left out: all others on either side are complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Gap {
    /// How long nothing could be written, in milliseconds.
    pub(super) blind_ms: u64,
    /// Attempts that failed in this time.
    pub(super) attempts: u64,
    /// Records that were kept in memory, and follow.
    pub(super) held: u64,
    /// Records that the memory for them did not hold, or that were too many: refused requests and failed sign-ins only.
    pub(super) lost: u64,
}

/// An outcome as it is written.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Ended<'a> {
    /// The gateway's id of the query.
    #[schemars(extend("x-ocsf" = "query_info.uid", "x-openlineage" = "run.runId"))]
    pub(super) query: &'a str,
    /// How it ended.
    #[schemars(extend("x-ocsf" = "status", "x-openlineage" = "eventType"))]
    pub(super) state: State,
    /// Trino's id of it, where Trino has seen it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-ocsf" = "query_info.external_uid", "x-openlineage" = "run.facets.externalQuery.externalQueryId"))]
    pub(super) trino_query: Option<&'a str>,
    /// The cluster that ran it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cluster: Option<&'a str>,
    /// The gateway's id of the query whose answer it got, of one that waited while that ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cache_origin: Option<&'a str>,
    /// Rows that went to the client.
    #[schemars(extend("x-ocsf" = "query_result.count", "x-openlineage" = "outputs[].outputFacets.outputStatistics.rowCount"))]
    pub(super) rows: u64,
    /// Bytes of row data that went to the client.
    #[schemars(extend("x-ocsf" = "query_info.bytes", "x-openlineage" = "outputs[].outputFacets.outputStatistics.size"))]
    pub(super) bytes: u64,
    /// Whether more may have gone to the client than was counted: pages that other gateways sent were not told of in the end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) rows_uncertain: bool,
    /// Milliseconds from the intent to the end.
    #[schemars(extend("x-ocsf" = "duration"))]
    pub(super) elapsed_ms: u64,
    /// When it got its slot, if it came to that: microseconds since the run began, by the clock of `tick_us`, which is its
    /// end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) admitted_us: Option<u64>,
    /// When it was sent to Trino, by the same clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) submitted_us: Option<u64>,
    /// When the first row went to the client, by the same clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_row_us: Option<u64>,
    /// The name of the error (`errorName`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-ocsf" = "status_code", "x-openlineage" = "run.facets.errorMessage.message"))]
    pub(super) error: Option<&'a str>,
    /// SHA-256 of the error's message, which may hold values of rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message_sha256: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Line<'a> {
    /// A query that is allowed, written before Trino sees it.
    Intent(&'a Intent),
    /// How a query ended.
    Outcome(Ended<'a>),
    /// The journal could not be written, or records were left out.
    Gap(Gap),
}

/// A record without the members that the writer adds (`v`, `run`, `seq`): `"time":...}`.
pub(super) struct Body(pub(super) Vec<u8>);

impl Body {
    fn of(tick_us: u64, line: &impl Serialize) -> Result<Self, AuditError> {
        let time = super::clock::text(jiff::Timestamp::now());
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(format!("\"time\":\"{time}\",\"tick_us\":{tick_us},").as_bytes());
        let json = serde_json::to_vec(line).map_err(AuditError::Unwritable)?;
        out.extend_from_slice(json.get(1..).unwrap_or_default());
        out.push(b'\n');
        Ok(Self(out))
    }

    pub(super) fn intent(tick_us: u64, intent: &Intent) -> Result<Self, AuditError> {
        Self::of(tick_us, &Line::Intent(intent))
    }

    pub(super) fn outcome(tick_us: u64, ended: Ended<'_>) -> Result<Self, AuditError> {
        Self::of(tick_us, &Line::Outcome(ended))
    }

    pub(super) fn gap(tick_us: u64, gap: Gap) -> Result<Self, AuditError> {
        Self::of(tick_us, &Line::Gap(gap))
    }

    pub(super) fn event(tick_us: u64, event: &Event) -> Result<Self, AuditError> {
        Self::of(tick_us, event)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Appends the whole line.
    pub(super) fn write(&self, run: &str, seq: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(
            format!("{{\"v\":{SCHEMA_VERSION},\"run\":\"{run}\",\"seq\":{seq},").as_bytes(),
        );
        out.extend_from_slice(&self.0);
    }
}

/// A name that anybody may claim without signing in.
#[expect(clippy::ref_option, reason = "what serde calls it with")]
fn short<S: serde::Serializer>(text: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    text.as_deref().map(|text| crate::units::cut(text, 256)).serialize(serializer)
}
