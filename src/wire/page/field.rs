//! The fields of a page besides its rows: what each becomes.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::redact::{self, TrinoError};
use super::{PageContext, PageError, PageSummary, PagedError, Processed};
use crate::wire::json::{self, Progress};
use crate::wire::own;
use crate::wire::seal::{Link, Target};

/// The longest id or state of Trino, in bytes.
const LONGEST_WORD: usize = 64;
/// The longest path of a link, in bytes. Trino's have some 110.
const LONGEST_PATH: usize = 2_000;

/// A field of a page, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Field {
    Id,
    InfoUri,
    PartialCancelUri,
    NextUri,
    Columns,
    Data,
    Error,
    Stats,
    Warnings,
    UpdateType,
    UpdateCount,
    Unknown,
}

impl Field {
    fn of(name: &str) -> Self {
        match name {
            "id" => Self::Id,
            "infoUri" => Self::InfoUri,
            "partialCancelUri" => Self::PartialCancelUri,
            "nextUri" => Self::NextUri,
            "columns" => Self::Columns,
            "data" => Self::Data,
            "error" => Self::Error,
            "stats" => Self::Stats,
            "warnings" => Self::Warnings,
            "updateType" => Self::UpdateType,
            "updateCount" => Self::UpdateCount,
            _ => Self::Unknown,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::InfoUri => "infoUri",
            Self::PartialCancelUri => "partialCancelUri",
            Self::NextUri => "nextUri",
            Self::Columns => "columns",
            Self::Data => "data",
            Self::Error => "error",
            Self::Stats => "stats",
            Self::Warnings => "warnings",
            Self::UpdateType => "updateType",
            Self::UpdateCount => "updateCount",
            Self::Unknown => "(unknown)",
        }
    }
}

/// `StatementStats`, as far as we read it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats<'a> {
    #[serde(borrow)]
    state: Cow<'a, str>,
    #[serde(default)]
    queued: bool,
    #[serde(default)]
    scheduled: bool,
    #[serde(default)]
    processed_rows: u64,
    #[serde(default)]
    processed_bytes: u64,
    #[serde(default)]
    physical_input_bytes: u64,
    #[serde(default)]
    cpu_time_millis: u64,
    #[serde(default)]
    queued_time_millis: u64,
    #[serde(default)]
    elapsed_time_millis: u64,
    #[serde(default)]
    peak_memory_bytes: u64,
}

/// What was read, and what was written, of the fields so far.
#[derive(Default)]
pub(super) struct Fields {
    /// A bit to each known field.
    seen: u16,
    written: bool,
    /// The name of a field that is not known, as it was written.
    unknown: Vec<u8>,
    summary: PageSummary,
}

impl Fields {
    /// Takes a name, with its quotes.
    pub(super) fn name(&mut self, raw: &[u8]) -> Result<Field, PageError> {
        let name: Cow<'_, str> = read(raw).ok_or(PageError::Garbage)?;
        let field = Field::of(&name);
        if field == Field::Unknown {
            self.unknown.clear();
            self.unknown.extend_from_slice(raw);
            return Ok(field);
        }
        let bit = 1 << field as u8;
        if self.seen & bit != 0 {
            return Err(PageError::Duplicate(field.name()));
        }
        self.seen |= bit;
        Ok(field)
    }

    /// Begins to write a field.
    pub(super) fn open(&mut self, text: &mut Vec<u8>, name: &str) {
        self.comma(text);
        text.push(b'"');
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b"\":");
    }

    /// Ends the object.
    pub(super) fn close(&mut self, text: &mut Vec<u8>) {
        text.extend_from_slice(if self.written { b"}" } else { b"{}" });
    }

    /// The rows so far.
    pub(super) fn rows(&mut self, rows: u64) {
        self.summary.rows = rows;
    }

    /// The rows and their bytes so far.
    pub(super) fn passed(&self) -> (u64, u64) {
        (self.summary.rows, self.summary.data_bytes)
    }

    /// Counts bytes of rows.
    pub(super) fn data_bytes(&mut self, bytes: usize) {
        self.summary.data_bytes += bytes as u64;
    }

    /// What all pages have is there.
    pub(super) fn finish(self) -> Result<PageSummary, PageError> {
        for field in [Field::Id, Field::Stats] {
            if self.seen & (1 << field as u8) == 0 {
                return Err(PageError::Field(field.name()));
            }
        }
        Ok(self.summary)
    }

    /// Takes a value that is not rows, and writes what the client gets of it.
    pub(super) fn value(
        &mut self,
        field: Field,
        raw: &[u8],
        context: &PageContext,
        text: &mut Vec<u8>,
    ) -> Result<(), PageError> {
        let fault = PageError::Field(field.name());
        if raw == b"null" && !matches!(field, Field::Id | Field::Stats | Field::Unknown) {
            return Ok(());
        }
        match field {
            Field::Id => {
                word(raw).ok_or(fault)?.clone_into(&mut self.summary.id);
                self.open(text, "id");
                json::string(text, &context.query);
            }
            Field::InfoUri => {
                read::<Cow<'_, str>>(raw).ok_or(fault)?;
                self.open(text, "infoUri");
                json::string(text, &own::info(&context.base, &context.query));
            }
            // It would end one stage of the plan, and the query goes on as if that had given all its rows: those of a table that
            // a policy reads, too.
            Field::PartialCancelUri => {}
            Field::NextUri => {
                let uri: Cow<'_, str> = read(raw).ok_or(fault)?;
                let path = path(&uri).ok_or(PageError::Link)?;
                self.summary.next = Some(path.to_owned());
                let link = Link {
                    query: context.query.clone(),
                    origin: context.origin,
                    cluster: context.cluster.clone(),
                    target: Target::Upstream { path: path.to_owned() },
                    restricted: context.restricted,
                    collected: context.collected,
                };
                let sealed = context.sealer.seal_link(&link, &context.principal)?;
                self.open(text, field.name());
                json::string(text, &own::link(&context.base, &sealed));
            }
            Field::Columns | Field::Warnings => {
                if !raw.starts_with(b"[") || read::<IgnoredAny>(raw).is_none() {
                    return Err(fault);
                }
                self.open(text, field.name());
                let withheld = field == Field::Warnings && context.restricted;
                text.extend_from_slice(if withheld { b"[]" } else { raw });
            }
            // Rows do not come here, only a word in their place.
            Field::Data => return Err(fault),
            Field::Error => {
                let error: TrinoError<'_> = read(raw).filter(TrinoError::is_sound).ok_or(fault)?;
                self.open(text, "error");
                let (message, location) = redact::told(&error, context);
                let code = (error.error_code, &*error.error_name, &*error.error_type);
                json::error(text, &message, code, location);
                self.summary.error = Some(PagedError {
                    name: error.error_name.into_owned(),
                    code: error.error_code,
                    message: error.message.unwrap_or_default().into_owned(),
                });
            }
            Field::Stats => self.stats(raw, context, text)?,
            Field::UpdateType => {
                let update_type: Cow<'_, str> = read(raw).ok_or(fault)?;
                self.open(text, "updateType");
                text.extend_from_slice(raw);
                self.summary.update_type = Some(update_type.into_owned());
            }
            Field::UpdateCount => {
                let count: u64 = read(raw).ok_or(fault)?;
                self.open(text, "updateCount");
                json::number(text, count);
                self.summary.update_count = Some(count);
            }
            Field::Unknown => self.unknown(raw, context, text)?,
        }
        Ok(())
    }

    fn stats(&mut self, raw: &[u8], context: &PageContext, text: &mut Vec<u8>) -> Result<(), PageError> {
        let stats: Stats<'_> = read(raw).ok_or(PageError::Field("stats"))?;
        if !is_word(&stats.state) {
            return Err(PageError::Field("stats"));
        }
        self.open(text, "stats");
        if context.restricted {
            let progress = Progress {
                state: &stats.state,
                queued: stats.queued,
                scheduled: stats.scheduled,
                queued_ms: stats.queued_time_millis,
                elapsed_ms: stats.elapsed_time_millis,
            };
            json::stats(text, &progress);
        } else {
            text.extend_from_slice(raw);
        }
        self.summary.processed = Processed {
            rows: stats.processed_rows,
            bytes: stats.processed_bytes,
            physical_input_bytes: stats.physical_input_bytes,
            cpu_time_millis: stats.cpu_time_millis,
            queued_time_millis: stats.queued_time_millis,
            elapsed_time_millis: stats.elapsed_time_millis,
            peak_memory_bytes: stats.peak_memory_bytes,
        };
        self.summary.state = stats.state.into_owned();
        Ok(())
    }

    /// Newer servers add fields. They pass, unless the query reads restricted data: nobody knows what they tell.
    fn unknown(&mut self, raw: &[u8], context: &PageContext, text: &mut Vec<u8>) -> Result<(), PageError> {
        read::<IgnoredAny>(raw).ok_or(PageError::Garbage)?;
        if !context.restricted {
            self.comma(text);
            text.extend_from_slice(&self.unknown);
            text.push(b':');
            text.extend_from_slice(raw);
        }
        Ok(())
    }

    fn comma(&mut self, text: &mut Vec<u8>) {
        text.push(if self.written { b',' } else { b'{' });
        self.written = true;
    }
}

fn read<'a, T: Deserialize<'a>>(raw: &'a [u8]) -> Option<T> {
    serde_json::from_slice(raw).ok()
}

/// An id: letters, digits and underlines.
fn word(raw: &[u8]) -> Option<&str> {
    read::<&str>(raw).filter(|text| is_word(text))
}

pub(super) fn is_word(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !text.is_empty() && text.len() <= LONGEST_WORD && text.bytes().all(known)
}

/// The path (and query) of a link, if it is one of a statement. The host is of no interest: the link's cluster has one.
fn path(uri: &str) -> Option<&str> {
    let path = match uri.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/')?..],
        None => uri,
    };
    let rest = path.strip_prefix("/v1/statement/").filter(|_| path.len() <= LONGEST_PATH)?;
    let (steps, query) = rest.split_once('?').unwrap_or((rest, ""));
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let step = |step: &str| !step.is_empty() && step != "." && step != ".." && step.bytes().all(known);
    let place = steps.starts_with("queued/")
        || steps.starts_with("executing/") && !steps.starts_with("executing/partialCancel/");
    let good =
        place && steps.split('/').all(step) && query.bytes().all(|byte| known(byte) || b"=&".contains(&byte));
    good.then_some(path)
}
