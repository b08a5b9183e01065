//! The headers that go to Trino, and those that come back to the client.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::session::{Session, ZSTD, url_encode};
use crate::error::{ErrorCode, Failure};

const USER: HeaderName = HeaderName::from_static("x-trino-user");
const STARTED_TRANSACTION: HeaderName = HeaderName::from_static("x-trino-started-transaction-id");

/// What of Trino's answer a client gets. Not here: `Set-Path`, `Set-Role`, `Set-Authorization-User`,
/// `Set-Original-Roles` and `Query-Data-Encoding`, which are for statements that are not allowed; `Added-Prepare`,
/// which would carry our rewritten text; `Started-Transaction-Id`, which is sealed first.
const PASSED: [HeaderName; 6] = [
    HeaderName::from_static("x-trino-set-catalog"),
    HeaderName::from_static("x-trino-set-schema"),
    HeaderName::from_static("x-trino-set-session"),
    HeaderName::from_static("x-trino-clear-session"),
    HeaderName::from_static("x-trino-deallocated-prepare"),
    HeaderName::from_static("x-trino-clear-transaction-id"),
];

/// Prepared statements from this length are compressed, as Trino's are (`protocol.v1.prepared-statement-compression`).
const COMPRESS_FROM: usize = 2 * 1024;
/// The bytes that compression must save.
const COMPRESS_GAIN: usize = 512;
const COMPRESS_LEVEL: i32 = 3;

/// A value that no header can carry: it has a control character, or one beyond Latin-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value of {0} does not fit in a header")]
pub struct NotAHeader(pub &'static str);

impl Failure for NotAHeader {
    fn kind(&self) -> &'static str {
        "not_a_header"
    }

    fn code(&self) -> ErrorCode {
        ErrorCode::GENERIC_USER_ERROR
    }

    fn client_message(&self) -> String {
        format!("The value of {} has a character that Trino's protocol has no room for", self.0)
    }
}

/// Header bytes are Latin-1 for Trino; what does not fit must not become something else on the way.
fn value(name: &'static str, text: &str) -> Result<HeaderValue, NotAHeader> {
    let bytes: Vec<u8> =
        text.chars().map(u8::try_from).collect::<Result<_, _>>().map_err(|_| NotAHeader(name))?;
    HeaderValue::from_bytes(&bytes).map_err(|_| NotAHeader(name))
}

/// The headers of a statement for Trino, all of them. `user` is the principal that was authenticated;
/// `transaction` is Trino's own id, opened from the client's sealed one.
///
/// # Errors
///
/// [`NotAHeader`] if a value does not fit in a header: nothing may be left out or changed silently.
pub fn upstream_headers(
    session: &Session,
    user: &str,
    transaction: Option<&str>,
) -> Result<HeaderMap, NotAHeader> {
    let mut headers = upstream_poll_headers(user)?;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    let singles: [(&'static str, &Option<String>); 7] = [
        ("x-trino-source", &session.source),
        ("x-trino-catalog", &session.catalog),
        ("x-trino-schema", &session.schema),
        ("x-trino-time-zone", &session.time_zone),
        ("x-trino-language", &session.language),
        ("x-trino-trace-token", &session.trace_token),
        ("x-trino-client-info", &session.client_info),
    ];
    for (name, text) in singles {
        if let Some(text) = text {
            headers.insert(HeaderName::from_static(name), value(name, text)?);
        }
    }
    let lists: [(&'static str, &Vec<String>); 2] = [
        ("x-trino-client-tags", &session.client_tags),
        ("x-trino-client-capabilities", &session.client_capabilities),
    ];
    for (name, items) in lists {
        if !items.is_empty() {
            headers.insert(HeaderName::from_static(name), value(name, &items.join(","))?);
        }
    }
    for (name, text) in &session.properties {
        let line = value("x-trino-session", &format!("{name}={}", url_encode(text)))?;
        headers.append(HeaderName::from_static("x-trino-session"), line);
    }
    if let Some(id) = transaction {
        headers
            .insert(HeaderName::from_static("x-trino-transaction-id"), value("x-trino-transaction-id", id)?);
    } else if session.transaction_aware {
        headers.insert(HeaderName::from_static("x-trino-transaction-id"), HeaderValue::from_static("NONE"));
    }
    Ok(headers)
}

/// Adds what Trino is told of a query's class to the headers of its submission: session properties, which come behind the
/// client's, so that they count, and a client tag. Tags of the client that `is_tag` of a class are left out.
///
/// # Errors
/// [`NotAHeader`] if a value does not fit in a header.
pub fn tell_class(
    headers: &mut HeaderMap,
    properties: &[(String, String)],
    tag: Option<&str>,
    is_tag: impl Fn(&str) -> bool,
) -> Result<(), NotAHeader> {
    const TAGS: &str = "x-trino-client-tags";
    for (name, text) in properties {
        let line = value("x-trino-session", &format!("{name}={}", url_encode(text)))?;
        headers.append(HeaderName::from_static("x-trino-session"), line);
    }
    let claimed = headers.remove(TAGS);
    let claimed = claimed.as_ref().and_then(|tags| tags.to_str().ok()).unwrap_or_default();
    let claimed = claimed.split(',').filter(|tag| !tag.is_empty() && !is_tag(tag));
    let tags: Vec<&str> = claimed.chain(tag).collect();
    if !tags.is_empty() {
        headers.insert(HeaderName::from_static(TAGS), value(TAGS, &tags.join(","))?);
    }
    Ok(())
}

/// The headers of a poll or a cancel for Trino.
///
/// # Errors
///
/// [`NotAHeader`] if the user's name does not fit in a header.
pub fn upstream_poll_headers(user: &str) -> Result<HeaderMap, NotAHeader> {
    let mut headers = HeaderMap::new();
    headers.insert(USER, value("x-trino-user", user)?);
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Ok(headers)
}

/// What of the headers of Trino's answer goes to the client: a list of names, repeats and their order kept.
/// A transaction that was started is not in it: see [`started_transaction`].
pub fn response_headers(upstream: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in &PASSED {
        for value in upstream.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    headers
}

/// Trino's id of the transaction that its answer says was started, to be sealed for the client.
pub fn started_transaction(upstream: &HeaderMap) -> Option<&str> {
    upstream.get(STARTED_TRANSACTION)?.to_str().ok()
}

/// A change of the client's session, told in a header of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionChange<'a> {
    /// `USE catalog.schema`, the first half.
    Catalog(&'a str),
    /// `USE schema`.
    Schema(&'a str),
    /// `SET SESSION name = value`.
    SetProperty {
        /// `name` or `catalog.name`.
        name: &'a str,
        /// The value.
        value: &'a str,
    },
    /// `RESET SESSION name`.
    ClearProperty(&'a str),
    /// `PREPARE name FROM sql`; the text is the user's own.
    AddedPrepare {
        /// Its name.
        name: &'a str,
        /// Its text.
        sql: &'a str,
    },
    /// `DEALLOCATE PREPARE name`.
    DeallocatedPrepare(&'a str),
    /// `START TRANSACTION`: the sealed id.
    StartedTransaction(&'a str),
    /// `COMMIT`, `ROLLBACK`.
    ClearTransaction,
}

impl SessionChange<'_> {
    /// Adds the header.
    ///
    /// # Errors
    ///
    /// [`NotAHeader`] if a name does not fit in a header.
    pub fn write(&self, headers: &mut HeaderMap) -> Result<(), NotAHeader> {
        let (name, text) = match self {
            Self::Catalog(name) => ("x-trino-set-catalog", (*name).to_owned()),
            Self::Schema(name) => ("x-trino-set-schema", (*name).to_owned()),
            Self::SetProperty { name, value } => {
                ("x-trino-set-session", format!("{name}={}", url_encode(value)))
            }
            Self::ClearProperty(name) => ("x-trino-clear-session", (*name).to_owned()),
            Self::AddedPrepare { name, sql } => {
                ("x-trino-added-prepare", format!("{}={}", url_encode(name), url_encode(&packed(sql))))
            }
            Self::DeallocatedPrepare(name) => ("x-trino-deallocated-prepare", url_encode(name)),
            Self::StartedTransaction(sealed) => ("x-trino-started-transaction-id", (*sealed).to_owned()),
            Self::ClearTransaction => ("x-trino-clear-transaction-id", "true".to_owned()),
        };
        headers.append(HeaderName::from_static(name), value(name, &text)?);
        Ok(())
    }
}

/// A long statement compressed, where that saves enough. Clients send back what they got.
fn packed(sql: &str) -> String {
    if sql.len() < COMPRESS_FROM {
        return sql.to_owned();
    }
    let Ok(bytes) = zstd::bulk::compress(sql.as_bytes(), COMPRESS_LEVEL) else { return sql.to_owned() };
    let text = format!("{ZSTD}{}", URL_SAFE.encode(bytes));
    if text.len() + COMPRESS_GAIN > sql.len() { sql.to_owned() } else { text }
}

#[cfg(test)]
mod tests;
