//! What becomes of the sources.

mod first_match;
mod ranger;
mod trino;
mod unity;

use std::fmt::Write as _;

use super::*;

/// The document without its head, and the notes.
fn shown(imported: &Result<Imported, ImportError>) -> String {
    let imported = match imported {
        Ok(imported) => imported,
        Err(error) => return format!("ERROR {error}\n"),
    };
    let policies = imported.document.split_once("version: 1\n").map_or("", |(_, rest)| rest);
    let mut text = policies.trim_start().to_owned();
    for note in &imported.notes {
        let _ = writeln!(text, "NOTE {note}");
    }
    text
}
