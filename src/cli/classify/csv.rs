//! CSV (RFC 4180), and findings in it.

use std::collections::BTreeSet;

use super::column::Column;
use super::findings::{Findings, Place, address};

/// The most cells of a line.
const MOST_CELLS: usize = 1_000;
/// The longest tag, in bytes.
const LONGEST_TAG: usize = 200;

/// The lines below a header, each with the cells that were wanted.
#[derive(Debug)]
pub(super) struct Rows {
    /// Which of the names each column that was wanted has.
    pub(super) names: Vec<String>,
    pub(super) below: Vec<Row>,
    /// Lines with too few cells.
    pub(super) short: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Row {
    /// Where it begins, from 1.
    pub(super) line: usize,
    pub(super) cells: Vec<String>,
}

impl Rows {
    /// Reads a file with a header. For each column that is wanted the names it may have.
    ///
    /// # Errors
    /// A column is not there, or the file is not CSV.
    pub(super) fn read(text: &str, wanted: &[&[&str]]) -> Result<Self, String> {
        let mut lines = Lines { rest: text.trim_start_matches('\u{feff}'), line: 1 };
        let header = lines.next_row()?.ok_or("the file is empty")?;
        let (mut names, mut places) = (Vec::new(), Vec::new());
        for known in wanted {
            let is_known = |cell: &str| known.iter().any(|name| name.eq_ignore_ascii_case(cell.trim()));
            let mut at = (0..header.cells.len()).filter(|at| is_known(&header.cells[*at]));
            match (at.next(), at.next()) {
                (Some(at), None) => {
                    names.push(header.cells[at].trim().to_ascii_lowercase());
                    places.push(at);
                }
                (None, _) => {
                    let known = known.join("' or '");
                    return Err(format!("the first line names no column '{known}'"));
                }
                (Some(_), Some(_)) => {
                    return Err(format!("the first line names more than one of: {}", known.join(", ")));
                }
            }
        }
        let (mut rows, mut short) = (Vec::new(), Vec::new());
        while let Some(Row { line, mut cells }) = lines.next_row()? {
            if cells.iter().all(|cell| cell.trim().is_empty()) {
                continue;
            }
            if places.iter().any(|at| *at >= cells.len()) {
                short.push(line);
                continue;
            }
            let cells = places.iter().map(|at| std::mem::take(&mut cells[*at])).collect();
            rows.push(Row { line, cells });
        }
        Ok(Self { names, below: rows, short })
    }
}

struct Lines<'a> {
    rest: &'a str,
    line: usize,
}

impl Lines<'_> {
    fn next_row(&mut self) -> Result<Option<Row>, String> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let line = self.line;
        let mut cells = Vec::new();
        loop {
            let (cell, more) = self.cell(line)?;
            cells.push(cell);
            if cells.len() > MOST_CELLS {
                return Err(format!("line {line}: more than {MOST_CELLS} columns"));
            }
            if !more {
                return Ok(Some(Row { line, cells }));
            }
        }
    }

    /// The next cell, and whether another of the same row follows.
    fn cell(&mut self, row: usize) -> Result<(String, bool), String> {
        let mut cell = String::new();
        if let Some(mut rest) = self.rest.strip_prefix('"') {
            loop {
                let end =
                    rest.find('"').ok_or_else(|| format!("line {row}: a quotation mark is not closed"))?;
                cell.push_str(&rest[..end]);
                rest = &rest[end + 1..];
                match rest.strip_prefix('"') {
                    Some(behind) => {
                        cell.push('"');
                        rest = behind;
                    }
                    None => break,
                }
            }
            self.line += cell.matches('\n').count();
            self.rest = rest;
            if !rest.is_empty() && !rest.starts_with([',', '\n', '\r']) {
                return Err(format!("line {row}: text behind a closing quotation mark"));
            }
        } else {
            let end = self.rest.find([',', '\n']).unwrap_or(self.rest.len());
            self.rest[..end].trim_end_matches('\r').clone_into(&mut cell);
            self.rest = &self.rest[end..];
        }
        self.rest = self.rest.trim_start_matches('\r');
        if let Some(behind) = self.rest.strip_prefix(',') {
            self.rest = behind;
            return Ok((cell, true));
        }
        self.rest = self.rest.strip_prefix('\n').unwrap_or(self.rest);
        self.line += 1;
        Ok((cell, false))
    }
}

/// Tags with blanks, `;` or commas between them.
pub(super) fn tags(text: &str) -> Result<BTreeSet<String>, String> {
    let words = text.split(|c: char| c.is_whitespace() || c == ';' || c == ',');
    let tags: BTreeSet<String> = words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
    let bad =
        |tag: &&String| tag.len() > LONGEST_TAG || tag.contains(|c: char| c.is_control() || "*$".contains(c));
    if let Some(tag) = tags.iter().find(bad) {
        let start: String = tag.chars().take(50).collect();
        return Err(format!("'{start}' is no tag: it is too long, or has one of * $ in it"));
    }
    if tags.is_empty() { Err("it names no tags".to_owned()) } else { Ok(tags) }
}

/// Reads findings: `table,column,tags` or `object,column,tags`.
///
/// # Errors
/// It is not CSV, or has another header.
pub(super) fn findings(text: &str) -> Result<Findings, String> {
    let rows = Rows::read(text, &[&["table", "object"], &["column"], &["tags"]])?;
    let is_object = rows.names.first().is_some_and(|name| name == "object");
    let mut findings = Findings::default();
    for line in rows.short {
        findings.lose(None, &format!("line {line}"), "it has too few columns");
    }
    for Row { line, cells } in rows.below {
        let [place, column, words] = cells.as_slice() else { continue };
        let place = place.trim();
        let read = if place.is_empty() {
            Err(format!("it names no {}", rows.names[0]))
        } else if is_object && !place.contains("://") {
            Err(format!("{place} is no address such as s3://bucket/key"))
        } else {
            Column::named(column.trim()).and_then(|column| Ok((column, tags(words)?)))
        };
        let place = if is_object { Place::Object(address(place)) } else { Place::Table(place.to_owned()) };
        match read {
            Ok((column, tags)) => findings.add(place, column, tags, &format!("line {line}")),
            Err(why) => findings.lose(Some(&place), &format!("line {line}"), &why),
        }
    }
    Ok(findings)
}
