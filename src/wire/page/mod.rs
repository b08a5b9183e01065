//! Rebuilds a page of Trino while it streams.
//!
//! The rows are passed on as the very bytes that came; all else of the page is read in full, which is little, and
//! written anew: ids and links are ours, statistics, warnings and errors are what the client may know. Nothing is
//! taken for granted of the order of fields, and of Trino's word only what has the form that it should have.

mod copy;
mod field;
mod redact;
mod scan;

use std::sync::Arc;

use bytes::Bytes;

use self::copy::Copying;
pub use self::copy::PageCopy;
use self::field::{Field, Fields};
use self::scan::{ScanError, Scanner};
use super::seal::{Sealer, SealerError};
use crate::error::{ErrorCode, Failure, Location};

/// What a page may have besides rows, in bytes: columns, links, statistics, errors.
pub const DEFAULT_LIMIT: usize = 8 << 20;
/// Pieces of rows shorter than this, in bytes, are copied to what is written next to them.
const SMALL: usize = 2 * 1024;

/// Tells where in the client's text a place of the text that Trino got was. `None` if Northgate wrote that place:
/// then nothing of it is told.
pub type Positions = dyn Fn(Location) -> Option<Location> + Send + Sync;

/// For whom a page is rebuilt, and how.
#[derive(Clone)]
pub struct PageContext {
    /// What links are built on, from [`super::Call::base`].
    pub base: String,
    /// Seals the links.
    pub sealer: Arc<Sealer>,
    /// The owner of the links.
    pub principal: String,
    /// Northgate's id of the query, which the client sees for Trino's.
    pub query: String,
    /// The gateway that took the query.
    pub origin: u64,
    /// The cluster that the links lead to.
    pub cluster: String,
    /// Whether the query reads restricted data: statistics, warnings, run-time errors and fields that are not known
    /// are then withheld.
    pub restricted: bool,
    /// Whether the answer is collected, to be given again.
    pub collected: bool,
    /// Maps the places of errors; `None` if the texts are the same.
    pub positions: Option<Arc<Positions>>,
    /// What the page may have besides rows, in bytes.
    pub limit: usize,
}

/// An answer of Trino that is no page. The client must not get the rest of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Not a JSON object.
    #[error("Trino's answer is not a page")]
    Garbage,
    /// It ended in the middle.
    #[error("Trino's answer ended in the middle of a page")]
    Truncated,
    /// Nested more than 1,000 deep.
    #[error("Trino's page is nested too deeply")]
    TooDeep,
    /// More besides rows than the limit.
    #[error("Trino's page has more than {0} bytes besides its rows")]
    TooLarge(usize),
    /// A field twice: readers would not agree which one counts.
    #[error("Trino's page has the field {0} twice")]
    Duplicate(&'static str),
    /// A field that is not there, or not as it should be.
    #[error("Trino's page has no good field {0}")]
    Field(&'static str),
    /// The rows are not in the page; this was not asked for.
    #[error("Trino's page has its rows elsewhere")]
    Spooled,
    /// A link that leads elsewhere than to a statement.
    #[error("Trino's page has a link that is not one of a statement")]
    Link,
    /// A link could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealerError),
}

impl Failure for PageError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Garbage => "page_garbage",
            Self::Truncated => "page_truncated",
            Self::TooDeep => "page_too_deep",
            Self::TooLarge(_) => "page_too_large",
            Self::Duplicate(_) => "page_duplicate",
            Self::Field(_) => "page_field",
            Self::Spooled => "page_spooled",
            Self::Link => "page_link",
            Self::Seal(_) => "page_seal",
        }
    }

    fn code(&self) -> ErrorCode {
        ErrorCode::GENERIC_INTERNAL_ERROR
    }

    fn client_message(&self) -> String {
        match self {
            Self::Seal(_) => "Northgate could not write a page of the result".to_owned(),
            _ => "Trino's answer could not be read".to_owned(),
        }
    }
}

/// What a page said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageSummary {
    /// Trino's id of the query.
    pub id: String,
    /// The state, such as `RUNNING`.
    pub state: String,
    /// Trino's path of the next page; `None` on the last.
    pub next: Option<String>,
    /// Rows of this page.
    pub rows: u64,
    /// Bytes of the rows of this page, as JSON.
    pub data_bytes: u64,
    /// Why the query failed, as Trino said it: not for clients.
    pub error: Option<PagedError>,
    /// What the query has used so far.
    pub processed: Processed,
    /// The kind of a statement that is no query.
    pub update_type: Option<String>,
    /// The rows that such a statement changed.
    pub update_count: Option<u64>,
    /// The columns and rows as they came, if a copy was asked for and is not too large.
    pub copy: Option<PageCopy>,
}

impl PageSummary {
    /// Whether this is the last page.
    pub fn done(&self) -> bool {
        self.next.is_none()
    }
}

/// An error that Trino reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PagedError {
    /// `errorName`.
    pub name: String,
    /// `errorCode`.
    pub code: i64,
    /// The message, which may have values of hidden rows in it: for the audit, not for the client.
    pub message: String,
}

/// What a query has used, from the statistics of its pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Processed {
    /// Rows read.
    pub rows: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Bytes read from storage.
    pub physical_input_bytes: u64,
    /// CPU time, in milliseconds.
    pub cpu_time_millis: u64,
    /// Time in the queue, in milliseconds.
    pub queued_time_millis: u64,
    /// Time since Trino took the query, in milliseconds.
    pub elapsed_time_millis: u64,
    /// The most memory at a time, in bytes.
    pub peak_memory_bytes: u64,
}

/// Where in the page the next byte is.
#[derive(Clone, Copy, Debug)]
enum At {
    /// Before the opening brace.
    Start,
    /// Before a name, or the closing brace of an object without fields.
    FirstName,
    /// Before a name.
    Name,
    /// In a name.
    InName { escaped: bool },
    /// Before the colon.
    Colon,
    /// Before a value.
    Value,
    /// In a string that is a value.
    InString { escaped: bool },
    /// In a number, `true`, `false` or `null`.
    InWord,
    /// In an array or an object that is kept.
    InKept(Scanner),
    /// In the rows.
    InRows(Scanner),
    /// Behind a value.
    Behind,
    /// Behind the closing brace.
    End,
}

/// Rebuilds one page from its chunks. Push them all, then finish.
pub struct PageRebuilder {
    context: PageContext,
    at: At,
    /// The name or the value that is being read.
    kept: Vec<u8>,
    /// Bytes besides rows so far.
    size: usize,
    field: Field,
    fields: Fields,
    /// What was written and is not handed out yet.
    text: Vec<u8>,
    copying: Copying,
}

impl PageRebuilder {
    /// The rows and their bytes that have passed so far.
    pub fn passed(&self) -> (u64, u64) {
        self.fields.passed()
    }

    /// Begins a page.
    pub fn new(context: PageContext) -> Self {
        Self {
            context,
            at: At::Start,
            kept: Vec::with_capacity(256),
            size: 0,
            field: Field::Unknown,
            fields: Fields::default(),
            text: Vec::with_capacity(1024),
            copying: Copying::default(),
        }
    }

    /// Keeps a copy of the columns and the rows, as they come, for the summary; none if they have more bytes than `most`.
    pub fn copying(mut self, most: usize) -> Self {
        self.copying = Copying::up_to(most);
        self
    }

    /// Takes a chunk and adds what can be sent on to `out`.
    ///
    /// # Errors
    ///
    /// [`PageError`]; the page is then lost, and what was sent of it must not be completed.
    pub fn push(&mut self, chunk: &Bytes, out: &mut Vec<Bytes>) -> Result<(), PageError> {
        let mut from = 0;
        while from < chunk.len() {
            from = self.step(chunk, from, out)?;
        }
        // Rows that come in drips must not pile up.
        if self.text.len() >= 4 * SMALL {
            self.flush(out);
        }
        Ok(())
    }

    /// Ends the page: adds the rest to `out` and tells what the page said.
    ///
    /// # Errors
    ///
    /// [`PageError::Truncated`] if the page is not whole, [`PageError::Field`] if it has not what all pages have.
    pub fn finish(mut self, out: &mut Vec<Bytes>) -> Result<PageSummary, PageError> {
        if !matches!(self.at, At::End) {
            return Err(PageError::Truncated);
        }
        self.flush(out);
        let mut summary = self.fields.finish()?;
        summary.copy = self.copying.finish();
        Ok(summary)
    }

    /// Reads on from `chunk[from]`; gives where it stopped, which is further on.
    fn step(&mut self, chunk: &Bytes, from: usize, out: &mut Vec<Bytes>) -> Result<usize, PageError> {
        let byte = chunk[from];
        match self.at {
            At::InName { escaped } => {
                let (end, escaped) = string_end(&chunk[from..], escaped);
                self.keep(&chunk[from..from + end.unwrap_or(chunk.len() - from)])?;
                self.at = if end.is_some() { self.name()? } else { At::InName { escaped } };
                return Ok(end.map_or(chunk.len(), |end| from + end));
            }
            At::InString { escaped } => {
                let (end, escaped) = string_end(&chunk[from..], escaped);
                self.keep(&chunk[from..from + end.unwrap_or(chunk.len() - from)])?;
                self.at = if end.is_some() { self.value()? } else { At::InString { escaped } };
                return Ok(end.map_or(chunk.len(), |end| from + end));
            }
            At::InWord => {
                let known = |b: &u8| b.is_ascii_alphanumeric() || b"+-.".contains(b);
                let end = chunk[from..].iter().position(|b| !known(b));
                self.keep(&chunk[from..from + end.unwrap_or(chunk.len() - from)])?;
                if end.is_some() {
                    self.at = self.value()?;
                }
                return Ok(end.map_or(chunk.len(), |end| from + end));
            }
            At::InKept(mut scanner) => {
                let end = scanner.scan(&chunk[from..])?;
                self.keep(&chunk[from..from + end.unwrap_or(chunk.len() - from)])?;
                self.at = if end.is_some() { self.value()? } else { At::InKept(scanner) };
                return Ok(end.map_or(chunk.len(), |end| from + end));
            }
            At::InRows(mut scanner) => {
                let end = scanner.scan(&chunk[from..])?;
                let to = end.map_or(chunk.len(), |end| from + end);
                self.rows(chunk, from, to, out);
                self.fields.rows(scanner.inner());
                self.at = if end.is_some() { At::Behind } else { At::InRows(scanner) };
                return Ok(to);
            }
            _ if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => return Ok(from + 1),
            _ => {}
        }
        self.at = match (self.at, byte) {
            (At::Start, b'{') => At::FirstName,
            (At::FirstName | At::Name, b'"') => {
                self.keep(b"\"")?;
                At::InName { escaped: false }
            }
            (At::Colon, b':') => At::Value,
            (At::Value, _) => return self.begin(byte, from),
            (At::Behind, b',') => At::Name,
            (At::FirstName | At::Behind, b'}') => {
                self.fields.close(&mut self.text);
                At::End
            }
            _ => return Err(PageError::Garbage),
        };
        Ok(from + 1)
    }

    /// Begins a value. The brackets are read again by the scanner.
    fn begin(&mut self, byte: u8, from: usize) -> Result<usize, PageError> {
        if self.field == Field::Data {
            match byte {
                b'[' => {
                    self.fields.open(&mut self.text, "data");
                    self.at = At::InRows(Scanner::default());
                    return Ok(from);
                }
                b'{' => return Err(PageError::Spooled),
                b'n' => {}
                _ => return Err(PageError::Field("data")),
            }
        }
        match byte {
            b'"' => {
                self.keep(b"\"")?;
                self.at = At::InString { escaped: false };
                Ok(from + 1)
            }
            b'[' | b'{' => {
                self.at = At::InKept(Scanner::default());
                Ok(from)
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                self.at = At::InWord;
                Ok(from)
            }
            _ => Err(PageError::Garbage),
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), PageError> {
        self.size += bytes.len();
        if self.size > self.context.limit {
            return Err(PageError::TooLarge(self.context.limit));
        }
        self.kept.extend_from_slice(bytes);
        Ok(())
    }

    fn name(&mut self) -> Result<At, PageError> {
        self.field = self.fields.name(&self.kept)?;
        self.kept.clear();
        Ok(At::Colon)
    }

    fn value(&mut self) -> Result<At, PageError> {
        self.fields.value(self.field, &self.kept, &self.context, &mut self.text)?;
        match self.field {
            Field::Columns => self.copying.columns(&self.kept),
            Field::Warnings => self.copying.warnings(&self.kept),
            _ => {}
        }
        self.kept.clear();
        Ok(At::Behind)
    }

    fn rows(&mut self, chunk: &Bytes, from: usize, to: usize, out: &mut Vec<Bytes>) {
        self.fields.data_bytes(to - from);
        self.copying.rows(&chunk[from..to]);
        if to - from < SMALL {
            self.text.extend_from_slice(&chunk[from..to]);
        } else {
            self.flush(out);
            out.push(chunk.slice(from..to));
        }
    }

    fn flush(&mut self, out: &mut Vec<Bytes>) {
        if !self.text.is_empty() {
            out.push(Bytes::from(std::mem::take(&mut self.text)));
        }
    }
}

/// Where the string ends that these bytes go on with (behind its quote), and whether the byte after them is escaped.
fn string_end(bytes: &[u8], mut escaped: bool) -> (Option<usize>, bool) {
    let mut at = 0;
    while at < bytes.len() {
        if escaped {
            escaped = false;
            at += 1;
            continue;
        }
        match memchr::memchr2(b'"', b'\\', &bytes[at..]) {
            Some(found) if bytes[at + found] == b'"' => return (Some(at + found + 1), false),
            Some(found) => {
                escaped = true;
                at += found + 1;
            }
            None => break,
        }
    }
    (None, escaped)
}

impl From<ScanError> for PageError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Garbage => Self::Garbage,
            ScanError::TooDeep => Self::TooDeep,
        }
    }
}

#[cfg(test)]
mod tests;
