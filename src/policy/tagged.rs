//! Which tags the columns of a table have: those of documents, and those that a catalog gives.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::pattern::ColumnPattern;
use crate::catalog::rest::Ruling;
use crate::catalog::{Described, TableName};
use crate::sql::fold_column;

/// The tags of columns, by the columns' names; those of a table as a whole by `*`.
pub(super) type Tagged = BTreeMap<String, BTreeSet<String>>;

/// The tags of documents, found by the tables that they are about.
#[derive(Debug, Default)]
pub(super) struct Tags {
    all: Vec<(String, ColumnPattern)>,
    named: HashMap<TableName, Vec<usize>>,
    /// Those with a pattern that may stand for any table.
    others: Vec<usize>,
}

impl Tags {
    pub(super) fn new(tags: BTreeMap<String, Vec<ColumnPattern>>) -> Self {
        let mut new = Self::default();
        for (tag, pattern) in
            tags.into_iter().flat_map(|(tag, all)| all.into_iter().map(move |one| (tag.clone(), one)))
        {
            match pattern.table.literal() {
                Some(name) => new.named.entry(name).or_default().push(new.all.len()),
                None => new.others.push(new.all.len()),
            }
            new.all.push((tag, pattern));
        }
        new
    }

    /// The tags of a relation. A field's tag is its column's, too: who reads the column may read the field.
    pub(super) fn of(&self, described: &Described, ruling: Option<&Ruling>) -> Tagged {
        let mut tagged = Tagged::new();
        let named = self.named.get(&described.name).into_iter().flatten();
        for (tag, pattern) in named.chain(&self.others).filter_map(|&at| self.all.get(at)) {
            if !pattern.table.matches(&described.name) {
                continue;
            }
            let columns = described.columns.iter();
            for column in columns.filter(|column| pattern.column.matches(&fold_column(&column.name))) {
                tagged.entry(column.name.clone()).or_default().insert(tag.to_lowercase());
            }
        }
        let Some(given) = ruling.map(Ruling::tags) else { return tagged };
        if !given.whole.is_empty() {
            tagged.entry("*".to_owned()).or_default().extend(given.whole);
        }
        for (path, words) in given.fields {
            if let Some(column) = path.into_iter().next() {
                tagged.entry(column).or_default().extend(words);
            }
        }
        tagged
    }
}
