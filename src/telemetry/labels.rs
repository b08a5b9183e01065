//! The values that labels may have. They are enums, so that their number is known when this is compiled; and names of
//! clusters, which are those of the configuration.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

macro_rules! values {
    ($($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $inner:literal])* $variant:ident = $text:literal,)* })*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
            pub enum $name {
                $($(#[doc = $inner])* $variant,)*
            }

            impl $name {
                /// All of them.
                pub const ALL: &[Self] = &[$(Self::$variant),*];

                /// The value of the label.
                pub const fn as_str(self) -> &'static str {
                    match self {
                        $(Self::$variant => $text,)*
                    }
                }
            }

            impl EncodeLabelValue for $name {
                fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), fmt::Error> {
                    EncodeLabelValue::encode(&self.as_str(), encoder)
                }
            }
        )*
    };
}

values! {
    /// Where a request went.
    RequestRoute {
        /// A statement.
        Submit = "submit",
        /// A page was asked for.
        Poll = "poll",
        /// A heartbeat.
        Heartbeat = "heartbeat",
        /// A query or a stage was cancelled.
        Cancel = "cancel",
        /// Credentials were tried.
        Probe = "probe",
        /// The audit was read by an auditor's program.
        Audit = "audit",
        /// The version was asked for.
        Info = "info",
        /// A page for a browser, or a driver's sign-in with one.
        Web = "web",
        /// Nowhere: the request could not be read.
        Unknown = "unknown",
    }

    /// The hundreds of an HTTP status.
    StatusClass {
        /// 1xx and 2xx.
        Success = "2xx",
        /// 3xx.
        Redirect = "3xx",
        /// 4xx.
        ClientError = "4xx",
        /// 5xx.
        ServerError = "5xx",
    }

    /// How a caller said who it is.
    AuthMethod {
        /// Not at all.
        None = "none",
        /// A name and a password.
        Password = "password",
        /// A signed token of an issuer.
        Jwt = "jwt",
        /// A personal access token.
        Token = "token",
        /// A client certificate.
        Certificate = "certificate",
        /// The word of a load balancer.
        Alb = "alb",
        /// A token that a driver was given after a sign-in with a browser.
        Driver = "driver",
    }

    /// What became of it.
    AuthOutcome {
        /// It is who it says.
        Accepted = "accepted",
        /// It is not, or nobody.
        Rejected = "rejected",
        /// It may not be the user that it asked to be.
        Impersonation = "impersonation_denied",
        /// It failed too often.
        Limited = "rate_limited",
        /// It was that of a driver and has ended, and another is ready.
        Renewed = "renewed",
        /// It could not be checked, for the keys of the issuer were not to be had.
        Unavailable = "unavailable",
    }

    /// The kind of a statement.
    StatementKind {
        /// SELECT, VALUES, TABLE, WITH.
        Query = "query",
        /// SHOW and DESCRIBE of things.
        Show = "show",
        /// USE, SET and RESET.
        Session = "session",
        /// PREPARE, DEALLOCATE, DESCRIBE INPUT and OUTPUT.
        Prepare = "prepare",
        /// EXECUTE of something prepared, or at once.
        Execute = "execute",
        /// EXPLAIN.
        Explain = "explain",
        /// START TRANSACTION, COMMIT, ROLLBACK.
        Transaction = "transaction",
        /// A statement that changes data or definitions.
        Write = "write",
        /// Any other that is known.
        Other = "other",
        /// A text that is no statement.
        Unreadable = "unreadable",
    }

    /// What became of a statement.
    Verdict {
        /// Filters or masks were applied.
        Rewritten = "rewritten",
        /// Nothing restricted in it.
        Passed = "passed",
        /// Answered here, without Trino.
        Answered = "answered",
        /// The principal may not.
        Denied = "denied",
        /// Nobody may, or it was not understood.
        Refused = "refused",
    }

    /// How a query ended that was sent to Trino.
    QueryEnd {
        /// With all its rows.
        Finished = "finished",
        /// The statement was at fault.
        UserError = "user_error",
        /// The cluster or the gateway was.
        Failed = "failed",
        /// Its user cancelled it.
        Canceled = "canceled",
        /// Its client went away.
        Abandoned = "abandoned",
    }

    /// A step of a query on its way through.
    Stage {
        /// Who is it?
        Authenticate = "authenticate",
        /// The columns of the tables.
        Describe = "describe",
        /// Parsing, decision and rewriting.
        Rewrite = "rewrite",
        /// The record of the intent, until it is durable.
        Audit = "audit",
        /// Waiting for a slot.
        Queue = "queue",
        /// Trino, to the first byte of its answer.
        Upstream = "upstream",
    }

    /// What was asked of a cluster.
    UpstreamOperation {
        /// A statement of a client.
        Submit = "submit",
        /// A page.
        Poll = "poll",
        /// A cancel.
        Cancel = "cancel",
        /// A statement of our own, for columns and types.
        Metadata = "metadata",
    }

    /// What a cluster answered.
    UpstreamOutcome {
        /// An answer that could be used.
        Ok = "ok",
        /// Status 404 or 410: the query is gone.
        Gone = "gone",
        /// Another status that is not a success.
        Status = "status",
        /// No connection.
        Connect = "connect",
        /// Too slow.
        Timeout = "timeout",
        /// The connection broke.
        Broken = "broken",
        /// Not a page.
        Garbage = "garbage",
    }

    /// What it is that has an end.
    Ending {
        /// The gateway's certificate.
        Server = "server",
        /// The authorities of clients' certificates.
        ClientAuthority = "client_authority",
        /// The list of withdrawn client certificates.
        RevocationList = "revocation_list",
        /// The certificate that Trino is shown.
        ToTrino = "to_trino",
        /// The authorities of another server's certificate.
        Authority = "authority",
        /// The certificate that SAML identity providers know the gateway by.
        SamlOwn = "saml_own",
        /// The certificates of a SAML identity provider.
        SamlProvider = "saml_provider",
        /// The certificate of another server.
        Remote = "remote",
    }

    /// Whether an answer was given again.
    Cached {
        /// It was.
        Hit = "hit",
        /// Trino is asked, and the answer may be kept.
        Miss = "miss",
        /// After all that a miss got the answer to the same question, which was under way.
        Shared = "shared",
        /// Trino is asked, and the answer is not kept.
        Bypass = "bypass",
    }

    /// What became of an answer that might have been kept.
    Kept {
        /// It is kept.
        Kept = "kept",
        /// Trino was fast enough without.
        Cheap = "cheap",
        /// It failed, was not fetched to its end, or had a warning.
        Failed = "failed",
        /// It is too large.
        TooLarge = "too_large",
        /// What it depends on changed meanwhile, or could not be asked for again.
        Changed = "changed",
        /// It could not be unpacked, and was dropped.
        Corrupt = "corrupt",
    }

    /// What became of a question that is to be asked before anybody does.
    Warmed {
        /// Its answer was there.
        Fresh = "fresh",
        /// Trino was asked.
        Asked = "asked",
        /// Another gateway asks.
        Elsewhere = "elsewhere",
        /// Its answer is not one that may be given again, or something that says so did not answer.
        Bypass = "bypass",
        /// It was refused: to that user, or there is no such user.
        Refused = "refused",
        /// It failed, or took too long.
        Failed = "failed",
    }

    /// What became of a reload.
    Reload {
        /// The new set is in force.
        Applied = "applied",
        /// Nothing had changed.
        Unchanged = "unchanged",
        /// The new set is broken, the old one stays.
        Rejected = "rejected",
    }

    /// The TLS of a connection.
    Tls {
        /// TLS 1.2.
        V1_2 = "1.2",
        /// TLS 1.3.
        V1_3 = "1.3",
        /// Plain text.
        None = "none",
    }
}

impl StatusClass {
    /// The class of a status.
    pub const fn of(status: u16) -> Self {
        match status {
            0..=299 => Self::Success,
            300..=399 => Self::Redirect,
            400..=499 => Self::ClientError,
            _ => Self::ServerError,
        }
    }
}

macro_rules! sets {
    ($($name:ident { $($field:ident: $ty:ty),* })*) => {
        $(
            #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
            pub(super) struct $name {
                $(pub(super) $field: $ty),*
            }
        )*
    };
}

sets! {
    OfRequest { route: RequestRoute, status: StatusClass }
    OfAuthentication { method: AuthMethod, outcome: AuthOutcome }
    OfStatement { kind: StatementKind, verdict: Verdict }
    OfQuery { end: QueryEnd }
    OfStage { stage: Stage }
    OfUpstream { operation: UpstreamOperation, outcome: UpstreamOutcome }
    OfReload { outcome: Reload }
    OfCached { outcome: Cached }
    OfKept { outcome: Kept }
    OfWarmed { outcome: Warmed }
    OfConnection { tls: Tls }
    OfCluster { cluster: String }
    OfClass { class: String }
    OfEnding { ending: Ending }
    OfTrace { trace_id: String }
}
