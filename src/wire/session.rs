//! The `X-Trino-*` headers of a request: the ones that are known, decoded as Trino 476 decodes them.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;

use super::malformed::{HeaderFault, Malformed};

/// The longest value of a header that is no list, in bytes.
const LONGEST: usize = 16 * 1024;
/// No statement begins so; Trino marks a compressed one with it.
pub(super) const ZSTD: &str = "$zstd:";
/// The largest window of a compressed statement that we make room for: 2^23 bytes, what the format asks all to have.
const WINDOW_LOG: u32 = 23;
/// Base64 for URLs, as Trino decodes it: the padding may be left out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The session property by which a client says what it wishes of the cache.
pub const CACHE_PROPERTY: &str = "northgate.cache";

/// What a client says of its session. All of it is a claim: whether `user` may be, and which properties may be
/// set, is for others to decide.
///
/// What is not here never goes further: roles, credentials, path, the original user, encodings of data,
/// forwarded headers and every name that is not known.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// Whom the query is to run as.
    pub user: Option<String>,
    /// The program.
    pub source: Option<String>,
    /// The catalog of one- and two-part names; always there if `schema` is.
    pub catalog: Option<String>,
    /// The schema of one-part names.
    pub schema: Option<String>,
    /// A time zone's name or offset, of the characters that these have.
    pub time_zone: Option<String>,
    /// A language tag, of the characters that these have.
    pub language: Option<String>,
    /// A mark of the client's own.
    pub trace_token: Option<String>,
    /// Free text of the client.
    pub client_info: Option<String>,
    /// Tags, in the order given.
    pub client_tags: Vec<String>,
    /// What the client understands, in the order given.
    pub client_capabilities: Vec<String>,
    /// Session properties, `name` or `catalog.name`, in the order given, repeats kept. Trino takes the last.
    pub properties: Vec<(String, String)>,
    /// What the client wishes of the cache, by the property `northgate.cache`. It is not told to Trino.
    pub cache: Option<String>,
    /// Prepared statements by name, as they came: [`Session::prepared`] unpacks one. The last of one name is kept.
    pub(super) prepared: Vec<(String, String)>,
    /// The sealed transaction; `None` where there is none.
    pub transaction: Option<String>,
    /// Whether the client keeps track of transactions: it sent the header, if only to say that there is none.
    pub transaction_aware: bool,
    /// The group of clusters that the client would like. It is not told to Trino.
    pub routing_group: Option<String>,
    /// What the client thinks that its query needs.
    pub resource_estimates: Vec<(String, String)>,
}

impl fmt::Debug for Session {
    /// No SQL and no values of properties: this may get into logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("user", &self.user)
            .field("source", &self.source)
            .field("catalog", &self.catalog)
            .field("schema", &self.schema)
            .field("time_zone", &self.time_zone)
            .field("properties", &self.properties.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("prepared", &self.prepared.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Reads the headers. Bounds on their number and size were checked before.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Malformed> {
        if headers.keys().any(|name| name.as_str().starts_with("x-presto-")) {
            return Err(fault("x-presto-*", HeaderFault::Presto));
        }
        no_role(headers)?;
        let transaction = single(headers, "x-trino-transaction-id")?;
        let (own, properties): (Vec<_>, Vec<_>) =
            properties(headers)?.into_iter().partition(|(name, _)| name.eq_ignore_ascii_case(CACHE_PROPERTY));
        let session = Self {
            user: filled(headers, "x-trino-user")?,
            source: single(headers, "x-trino-source")?,
            catalog: filled(headers, "x-trino-catalog")?,
            schema: filled(headers, "x-trino-schema")?,
            time_zone: of_characters(headers, "x-trino-time-zone", b"_/+:-")?,
            language: of_characters(headers, "x-trino-language", b"_-")?,
            trace_token: filled(headers, "x-trino-trace-token")?,
            client_info: single(headers, "x-trino-client-info")?,
            client_tags: list(headers, "x-trino-client-tags")?,
            client_capabilities: list(headers, "x-trino-client-capabilities")?,
            properties,
            cache: own.into_iter().next_back().map(|(_, value)| value),
            prepared: prepared(headers)?,
            transaction_aware: transaction.is_some(),
            transaction: transaction
                .map(|id| id.trim().to_owned())
                .filter(|id| !id.is_empty() && !id.eq_ignore_ascii_case("none")),
            routing_group: filled(headers, "x-trino-routing-group")?,
            resource_estimates: pairs(headers, "x-trino-resource-estimate")?,
        };
        if session.schema.is_some() && session.catalog.is_none() {
            return Err(fault("x-trino-schema", HeaderFault::Form));
        }
        Ok(session)
    }

    /// The SQL of a prepared statement, if there is one of that name, of at most `limit` bytes. It is unpacked now: what nobody executes costs
    /// nothing, and nobody has anything unpacked before they are known.
    ///
    /// # Errors
    /// What came is not a packed text, or is longer than allowed.
    pub fn prepared(&self, name: &str, limit: usize) -> Result<Option<String>, Malformed> {
        const NAME: &str = "x-trino-prepared-statement";
        let Some((_, value)) = self.prepared.iter().find(|(known, _)| known == name) else { return Ok(None) };
        match value.strip_prefix(ZSTD) {
            Some(packed) => unpack(packed, limit).map(Some),
            None if value.len() > limit => Err(fault(NAME, HeaderFault::TooLong)),
            None => Ok(Some(value.clone())),
        }
    }

    /// Whether there is a prepared statement of that name.
    pub fn has_prepared(&self, name: &str) -> bool {
        self.prepared.iter().any(|(known, _)| known == name)
    }
}

const fn fault(name: &'static str, why: HeaderFault) -> Malformed {
    Malformed::Header { name, why }
}

/// Header bytes are Latin-1, as Trino's server has it (tried with 476).
fn latin1(value: &[u8]) -> String {
    value.iter().map(|byte| char::from(*byte)).collect()
}

/// A header that may be there once.
fn single(headers: &HeaderMap, name: &'static str) -> Result<Option<String>, Malformed> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(fault(name, HeaderFault::Repeated));
    }
    if value.len() > LONGEST {
        return Err(fault(name, HeaderFault::TooLong));
    }
    Ok(Some(latin1(value.as_bytes())))
}

/// A header that may be there once, trimmed; an empty one is none.
fn filled(headers: &HeaderMap, name: &'static str) -> Result<Option<String>, Malformed> {
    let value = single(headers, name)?;
    Ok(value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()))
}

/// The same, of letters, digits and some more characters only.
fn of_characters(headers: &HeaderMap, name: &'static str, more: &[u8]) -> Result<Option<String>, Malformed> {
    let value = filled(headers, name)?;
    match &value {
        Some(text) if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte)) => {
            Err(fault(name, HeaderFault::Form))
        }
        _ => Ok(value),
    }
}

/// A list with commas in one header line. Trino reads the first line only; a second is an error here.
fn list(headers: &HeaderMap, name: &'static str) -> Result<Vec<String>, Malformed> {
    let value = single(headers, name)?.unwrap_or_default();
    Ok(value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
}

/// `name=value` pairs with commas, over all header lines, in order; values are URL-decoded, names are not.
fn pairs(headers: &HeaderMap, name: &'static str) -> Result<Vec<(String, String)>, Malformed> {
    let mut found = Vec::new();
    for line in headers.get_all(name) {
        let line = latin1(line.as_bytes());
        for item in line.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let pair = item.split_once('=').filter(|(_, value)| !value.contains('='));
            let (key, value) = pair.ok_or(fault(name, HeaderFault::Form))?;
            let value = url_decode(value.trim()).ok_or(fault(name, HeaderFault::Form))?;
            found.push((key.trim().to_owned(), value));
        }
    }
    Ok(found)
}

fn properties(headers: &HeaderMap) -> Result<Vec<(String, String)>, Malformed> {
    const NAME: &str = "x-trino-session";
    let found = pairs(headers, NAME)?;
    let part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic());
    let known = |name: &str| name.split('.').count() <= 2 && name.split('.').all(part);
    if found.iter().all(|(name, _)| known(name)) { Ok(found) } else { Err(fault(NAME, HeaderFault::Form)) }
}

fn prepared(headers: &HeaderMap) -> Result<Vec<(String, String)>, Malformed> {
    const NAME: &str = "x-trino-prepared-statement";
    let mut places = BTreeMap::new();
    let mut found: Vec<(String, String)> = Vec::new();
    for (name, sql) in pairs(headers, NAME)? {
        let name = url_decode(&name).filter(|name| !name.is_empty()).ok_or(fault(NAME, HeaderFault::Form))?;
        let place = *places.entry(name.clone()).or_insert(found.len());
        if place == found.len() {
            found.push((name, sql));
        } else {
            found[place] = (name, sql);
        }
    }
    Ok(found)
}

/// Undoes base64 and zstd. Never makes more than `limit` bytes, whatever the frame says of its size.
fn unpack(packed: &str, limit: usize) -> Result<String, Malformed> {
    const NAME: &str = "x-trino-prepared-statement";
    let form = fault(NAME, HeaderFault::Form);
    let bytes = BASE64.decode(packed).map_err(|_| form.clone())?;
    let mut decoder = zstd::stream::read::Decoder::with_buffer(&bytes[..]).map_err(|_| form.clone())?;
    decoder.window_log_max(WINDOW_LOG).map_err(|_| form.clone())?;
    let mut text = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(most).read_to_end(&mut text).map_err(|_| form.clone())?;
    if text.len() > limit {
        return Err(fault(NAME, HeaderFault::TooLong));
    }
    String::from_utf8(text).map_err(|_| form)
}

/// Roles stay behind: a client may only say that it has all or none, which is then dropped.
fn no_role(headers: &HeaderMap) -> Result<(), Malformed> {
    const NAME: &str = "x-trino-role";
    if pairs(headers, NAME)?.iter().all(|(_, role)| role == "ALL" || role == "NONE") {
        Ok(())
    } else {
        Err(fault(NAME, HeaderFault::Unsupported))
    }
}

/// Undoes Java's `URLEncoder`: `+` is a space, `%xx` a byte, all of it UTF-8. `None` where that fails; Java
/// would put a replacement character for what is not UTF-8, and so make another text than was sent.
fn url_decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digit = |byte: Option<&u8>| byte.and_then(|b| char::from(*b).to_digit(16));
                let value = digit(bytes.get(at + 1))? * 16 + digit(bytes.get(at + 2))?;
                out.push(u8::try_from(value).ok()?);
                at += 2;
            }
            other => out.push(*other),
        }
        at += 1;
    }
    String::from_utf8(out).ok()
}

/// What Java's `URLEncoder` makes of a text.
pub(super) fn url_encode(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            byte if byte.is_ascii_alphanumeric() || b".-*_".contains(&byte) => out.push(char::from(byte)),
            byte => {
                out.push('%');
                out.push(char::from(DIGITS[usize::from(byte >> 4)]));
                out.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;
