//! What a file of findings says, whatever its format.

use std::collections::{BTreeMap, BTreeSet};

use super::column::Column;
use super::types::Types;
use super::{csv, macie};

/// Where something was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// In an object, by its address: `s3://bucket/key`.
    Object(String),
    /// In a table, by name: `schema.table`.
    Table(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Object(text) | Self::Table(text)) = self;
        f.write_str(text)
    }
}

/// What could not be used: it protects nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    /// Where it was found, if that is known.
    pub(super) place: Option<Place>,
    /// Who says so: `finding 4f1c`, `line 3`.
    pub(super) source: String,
    pub(super) why: String,
}

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// The tags of each column of each place, each with who says so first.
    pub(super) found: BTreeMap<(Place, Column), BTreeMap<String, String>>,
    pub(super) lost: Vec<Lost>,
    /// What is to be known beside it.
    pub(super) notes: Vec<String>,
    /// Where more may be than the file says, so that from its silence nothing follows.
    pub(super) incomplete: BTreeSet<Place>,
    /// The first words of the tags that such a file can give; none where it can give any.
    pub(super) families: Option<BTreeSet<String>>,
}

impl Findings {
    /// Reads a file: JSON of Macie, or CSV.
    ///
    /// # Errors
    /// It is neither.
    pub(super) fn read(text: &str, types: &Types) -> Result<Self, String> {
        let text = text.trim_start_matches('\u{feff}');
        match text.trim_start().chars().next() {
            None => Err("the file is empty".to_owned()),
            Some('{' | '[') => macie::read(text, types),
            Some(_) => csv::findings(text),
        }
    }

    pub(super) fn add(&mut self, place: Place, column: Column, tags: BTreeSet<String>, source: &str) {
        let known = self.found.entry((place, column)).or_default();
        for tag in tags {
            known.entry(tag).or_insert_with(|| source.to_owned());
        }
    }

    pub(super) fn lose(&mut self, place: Option<&Place>, source: &str, why: &str) {
        self.lost.push(Lost { place: place.cloned(), source: source.to_owned(), why: why.to_owned() });
    }

    /// The places that the file is about.
    pub(super) fn places(&self) -> BTreeSet<&Place> {
        let lost = self.lost.iter().filter_map(|lost| lost.place.as_ref());
        self.found.keys().map(|(place, _)| place).chain(lost).chain(&self.incomplete).collect()
    }
}

/// An address as all are compared: the names that Hadoop has for S3 are one, and there is no slash at the end.
pub(super) fn address(text: &str) -> String {
    let text = text.trim_end_matches('/');
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let scheme = scheme.to_ascii_lowercase();
    let scheme = if scheme == "s3a" || scheme == "s3n" { "s3" } else { &scheme };
    format!("{scheme}://{rest}")
}
