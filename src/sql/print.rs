//! Printing: token by token, comments dropped, with some tokens replaced.

use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

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

/// From places in a printed text to places in the text that was read: of each token where it was printed and where it was read.
/// Many queries may wait, each with its map, so that only steps from one token to the next are kept, in about three bytes.
#[derive(Clone, Debug, Default)]
pub struct SourceMap(Box<[u8]>);

/// Where a token was printed, and where it was read; `None` for what was put in place of tokens.
type Place = (Location, Option<Location>);

/// Says of a step that it is to a place that was not read.
const OURS: u32 = 1;
/// Says of a step that it is to another line of the text that was read.
const LINE: u32 = 2;
/// From here on a step says how many lines further it was printed.
const PRINTED_LINE: u32 = 2;

const START: Location = Location { line: 1, column: 1 };

/// Writes a map, place by place.
struct Places {
    steps: Vec<u8>,
    printed: Location,
    read: Location,
}

impl Places {
    fn new(tokens: usize) -> Self {
        Self { steps: Vec::with_capacity(3 * tokens), printed: START, read: START }
    }

    /// Adds a place that is not before the one before.
    fn add(&mut self, (printed, read): Place) {
        let mut what = (printed.line - self.printed.line) << PRINTED_LINE;
        let column = |from: Location, to: Location| {
            if from.line == to.line { to.column - from.column } else { to.column }
        };
        match read {
            None => what |= OURS,
            Some(read) if read.line != self.read.line => what |= LINE,
            Some(_) => {}
        }
        self.number(what);
        self.number(column(self.printed, printed));
        self.printed = printed;
        if let Some(read) = read {
            if read.line != self.read.line {
                self.number(read.line - self.read.line);
            }
            self.number(column(self.read, read));
            self.read = read;
        }
    }

    /// Seven bits to a byte, the least first.
    fn number(&mut self, mut number: u32) {
        let low = |number: u32| number.to_le_bytes()[0];
        while number >= 0x80 {
            self.steps.push(0x80 | low(number));
            number >>= 7;
        }
        self.steps.push(low(number));
    }

    fn map(self) -> SourceMap {
        SourceMap(self.steps.into())
    }
}

/// For other gateways, which seal it.
impl Serialize for SourceMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pair = |at: Location| (at.line, at.column);
        serializer.collect_seq(self.places().map(|(printed, read)| (pair(printed), read.map(pair))))
    }
}

impl<'de> Deserialize<'de> for SourceMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Pair = (u32, u32);
        let pairs = Vec::<(Pair, Option<Pair>)>::deserialize(deserializer)?;
        let location = |(line, column): Pair| Location { line, column };
        let mut places = Places::new(pairs.len());
        for (printed, read) in pairs {
            let (printed, read) = (location(printed), read.map(location));
            if printed < places.printed || read.is_some_and(|read| read < places.read) {
                return Err(serde::de::Error::custom("places that are not in order"));
            }
            places.add((printed, read));
        }
        Ok(places.map())
    }
}

impl SourceMap {
    /// What it takes in memory, in bytes.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// How it is kept.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The map that was kept so.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// Where the token that was printed at or before `at` was read; `None` for what was put in its place.
    pub fn original(&self, at: Location) -> Option<Location> {
        self.places().take_while(|(printed, _)| *printed <= at).last()?.1
    }

    /// The same map, for a text that has `prefix` in front of the printed one.
    pub fn behind(&self, prefix: &str) -> Self {
        let before = behind(START, prefix);
        let mut places = Places::new(self.0.len() / 3);
        for (printed, read) in self.places() {
            let column = if printed.line == 1 { before.column - 1 + printed.column } else { printed.column };
            places.add((Location { line: before.line - 1 + printed.line, column }, read));
        }
        places.map()
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        let (mut steps, mut printed, mut read) = (self.0.iter(), START, START);
        let step = |from: &mut Location, lines: u32, column: u32| {
            let before = if lines == 0 { from.column } else { 0 };
            *from = Location { line: from.line + lines, column: before + column };
            *from
        };
        std::iter::from_fn(move || {
            let mut number = || {
                let (mut number, mut bits) = (0, 0);
                loop {
                    let byte = u32::from(*steps.next()?);
                    number |= (byte & 0x7f) << bits;
                    if byte < 0x80 {
                        return Some(number);
                    }
                    bits += 7;
                }
            };
            let what = number()?;
            let printed = step(&mut printed, what >> PRINTED_LINE, number()?);
            if what & OURS != 0 {
                return Some((printed, None));
            }
            let lines = if what & LINE == 0 { 0 } else { number()? };
            Some((printed, Some(step(&mut read, lines, number()?))))
        })
    }
}

/// The place behind a text that begins at a place.
fn behind(at: Location, text: &str) -> Location {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    match memchr::memrchr(b'\n', text.as_bytes()) {
        None => Location { line: at.line, column: at.column + count(text.chars().count()) },
        Some(last) => Location {
            line: at.line + count(memchr::memchr_iter(b'\n', text.as_bytes()).count()),
            column: 1 + count(text[last + 1..].chars().count()),
        },
    }
}

/// Prints the tokens from `from` on, up to `to`.
pub(super) fn print(text: &str, tokens: &[Token], range: Range<u32>, edits: &Edits) -> Printed {
    let replacements: usize = edits.0.iter().map(|(_, replacement)| replacement.len() + 1).sum();
    let mut edits: Vec<&(Range<u32>, String)> = edits.0.iter().collect();
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    let mut edits = edits.into_iter().peekable();
    let mut out = String::with_capacity(text.len() + replacements);
    let mut places = Places::new(tokens.len());
    // How far the places of both texts are known.
    let (mut printed, mut printed_to) = (START, 0);
    let (mut read, mut read_to) = (START, 0);
    let mut place = |out: &str, token: Option<&Token>| {
        printed = behind(printed, &out[printed_to..]);
        printed_to = out.len();
        if let Some(token) = token {
            read = behind(read, &text[read_to..token.start as usize]);
            read_to = token.start as usize;
        }
        places.add((printed, token.map(|_| read)));
    };
    let mut at = range.start;
    // The byte behind the last token that was printed, unless a replacement was.
    let mut before: Option<u32> = None;
    while at < range.end || edits.peek().is_some_and(|(edit, _)| edit.start == at && edit.is_empty()) {
        if let Some((edit, replacement)) = edits.next_if(|(edit, _)| edit.start == at) {
            if !out.is_empty() && !out.ends_with([' ', '\n']) {
                out.push(' ');
            }
            place(&out, None);
            out.push_str(replacement);
            at = at.max(edit.end);
            before = None;
            continue;
        }
        let token = tokens[at as usize];
        match before {
            Some(before) if before == token.start => {}
            Some(before) => {
                let gap = &text[before as usize..token.start as usize];
                out.push(if gap.contains(['\n', '\r']) { '\n' } else { ' ' });
            }
            None if out.is_empty() => {}
            None => out.push(' '),
        }
        place(&out, Some(&token));
        out.push_str(&text[token.start as usize..token.end as usize]);
        before = Some(token.end);
        at += 1;
    }
    Printed { text: out, map: places.map() }
}
