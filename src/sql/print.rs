//! Printing: token by token, comments dropped, with some tokens replaced.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::locate;
use super::lexer::Token;
use crate::error::Location;

/// What is to be printed in place of tokens.
#[derive(Clone, Debug, Default)]
pub struct Edits(Vec<(Range<u32>, String)>);

impl Edits {
    /// Prints `text` in place of the tokens. Ranges must not overlap; an empty range inserts in front of
    /// its start.
    pub fn replace(&mut self, tokens: Range<u32>, text: impl Into<String>) {
        self.0.push((tokens, text.into()));
    }

    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A printed statement.
#[derive(Clone, Debug)]
pub struct Printed {
    /// The text.
    pub text: String,
    /// The way back to the text that was read.
    pub map: SourceMap,
}

/// From places in a printed text to places in the text that was read.
#[derive(Clone, Debug)]
pub struct SourceMap {
    printed: Arc<str>,
    original: Arc<str>,
    /// Where a token was printed, and where it was read; bytes, ascending. [`OURS`] for what was not read.
    places: Vec<(u32, u32)>,
}

/// Stands for a place in a text that was put in place of tokens.
const OURS: u32 = u32::MAX;

/// For other gateways, which seal it.
impl Serialize for SourceMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&*self.printed, &*self.original, &self.places).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SourceMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (printed, original, places) = <(String, String, Vec<(u32, u32)>)>::deserialize(deserializer)?;
        let is_place = |at: u32| at == OURS || original.is_char_boundary(at as usize);
        if !places.is_sorted() || !places.iter().all(|(_, read)| is_place(*read)) {
            return Err(serde::de::Error::custom("places that are not in the texts"));
        }
        Ok(Self { printed: printed.into(), original: original.into(), places })
    }
}

impl SourceMap {
    /// What it takes in memory, in bytes; about.
    pub fn size(&self) -> usize {
        self.printed.len() + self.original.len() + 8 * self.places.len()
    }

    /// The printed text.
    pub fn printed(&self) -> &Arc<str> {
        &self.printed
    }

    /// Where the token that was printed at or before `at` was read; `None` for what was put in its place.
    pub fn original(&self, at: Location) -> Option<Location> {
        let offset = offset_of(&self.printed, at);
        let index = self.places.partition_point(|(printed, _)| *printed as usize <= offset);
        let read = self.places.get(index.checked_sub(1)?)?.1;
        (read != OURS).then(|| locate(&self.original, read as usize))
    }

    /// The same map, for a text that has `prefix` in front of the printed one.
    pub fn behind(self, prefix: &str) -> Self {
        let by = u32::try_from(prefix.len()).unwrap_or(u32::MAX);
        Self {
            printed: format!("{prefix}{}", self.printed).into(),
            original: self.original,
            places: self
                .places
                .into_iter()
                .map(|(printed, read)| (printed.saturating_add(by), read))
                .collect(),
        }
    }
}

fn offset_of(text: &str, at: Location) -> usize {
    let mut start = 0;
    for _ in 1..at.line {
        match text[start..].find('\n') {
            Some(length) => start += length + 1,
            None => return text.len(),
        }
    }
    let column = at.column.saturating_sub(1) as usize;
    text[start..].char_indices().nth(column).map_or(text.len(), |(offset, _)| start + offset)
}

/// Prints the tokens from `from` on, up to `to`.
pub(super) fn print(text: &Arc<str>, tokens: &[Token], range: Range<u32>, edits: &Edits) -> Printed {
    let replacements: usize = edits.0.iter().map(|(_, replacement)| replacement.len() + 1).sum();
    let mut edits: Vec<&(Range<u32>, String)> = edits.0.iter().collect();
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    let mut edits = edits.into_iter().peekable();
    let mut out = String::with_capacity(text.len() + replacements);
    let mut places = Vec::with_capacity(tokens.len());
    let mut at = range.start;
    // The byte behind the last token that was printed, unless a replacement was.
    let mut behind: Option<u32> = None;
    while at < range.end || edits.peek().is_some_and(|(edit, _)| edit.start == at && edit.is_empty()) {
        if let Some((edit, replacement)) = edits.next_if(|(edit, _)| edit.start == at) {
            if !out.is_empty() && !out.ends_with([' ', '\n']) {
                out.push(' ');
            }
            places.push((length(out.len()), OURS));
            out.push_str(replacement);
            at = at.max(edit.end);
            behind = None;
            continue;
        }
        let token = tokens[at as usize];
        match behind {
            Some(behind) if behind == token.start => {}
            Some(behind) => {
                let gap = &text[behind as usize..token.start as usize];
                out.push(if gap.contains(['\n', '\r']) { '\n' } else { ' ' });
            }
            None if out.is_empty() => {}
            None => out.push(' '),
        }
        places.push((length(out.len()), token.start));
        out.push_str(&text[token.start as usize..token.end as usize]);
        behind = Some(token.end);
        at += 1;
    }
    let map = SourceMap { printed: out.as_str().into(), original: Arc::clone(text), places };
    Printed { text: out, map }
}

fn length(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
