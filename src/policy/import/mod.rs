//! Policies of other systems as documents of Northgate's.
//!
//! What is not understood in full makes the document stricter, never weaker, and a [`Note`] says so. Pure: text in,
//! text out.

mod crossed;
mod draft;
mod first;
mod names;
mod people;
mod ranger;
mod ranger_access;
mod ranger_file;
mod ranger_masks;
mod ranger_tags;
mod settle;
#[cfg(test)]
mod tests;
mod trino;
mod trino_file;
mod unity;
mod unity_file;
mod unity_policy;
mod unity_sql;

use std::fmt;

use super::Set;
use super::formula::Formula;
use draft::{Drafts, one_line};
use first::Tables;
use names::Pattern;

/// The largest source, in bytes.
pub const MAX_SOURCE: usize = 32 << 20;

/// Something of the source that was not carried over as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// The rule of the source: where it is, and what it is called.
    pub rule: String,
    /// What could not be carried over.
    pub what: String,
    /// What holds instead.
    pub effect: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", one_line(&self.rule), one_line(&self.what), one_line(&self.effect))
    }
}

/// A document, and what it does not say that the source did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// YAML that [`Set::parse`] takes.
    pub document: String,
    /// In the order of the source.
    pub notes: Vec<Note>,
}

/// Why there is no document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The source is not JSON of the expected shape, or has keys that are not known.
    #[error("the source cannot be read: {0}")]
    Unreadable(String),
    /// The source is larger, or makes more of it, than is looked at.
    #[error("the source is too large: {0}")]
    TooLarge(String),
    /// Something else is needed to understand it.
    #[error("{0}")]
    Missing(String),
    /// The document would not be accepted.
    #[error("the document that would come of it is not accepted, please tell us: {0}")]
    Refused(String),
}

/// What the importer is told besides the source.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The catalog that the source is about, where it names none.
    pub catalog: Option<String>,
    /// Whether roles of the source are groups of the same name in Northgate.
    pub roles_are_groups: bool,
    /// Which columns and tables have which tags, where the source does not say it: JSON.
    pub tags: Option<String>,
}

/// From Trino's file-based access control: `rules.json` of the cluster, or of one catalog, which is named then.
pub fn trino(source: &str, options: &Options) -> Result<Imported, ImportError> {
    bounded(source)?;
    let mut notes = Vec::new();
    let drafts = trino::import(source, options, &mut notes)?;
    finish(&drafts, notes)
}

/// From Apache Ranger's policies of a service of Trino's, or of Hive's, whose catalog is named then.
pub fn ranger(source: &str, options: &Options) -> Result<Imported, ImportError> {
    bounded(source)?;
    let mut notes = Vec::new();
    let drafts = ranger::import(source, options, &mut notes)?;
    finish(&drafts, notes)
}

/// From the row filters, column masks and ABAC policies of Databricks Unity Catalog. They restrict what others allow: who
/// may read a table at all is for other documents to say.
pub fn unity(source: &str, options: &Options) -> Result<Imported, ImportError> {
    bounded(source)?;
    let mut notes = Vec::new();
    let drafts = unity::import(source, options, &mut notes)?;
    finish(&drafts, notes)
}

fn bounded(source: &str) -> Result<(), ImportError> {
    if source.len() > MAX_SOURCE {
        return Err(ImportError::TooLarge(format!("more than {MAX_SOURCE} bytes")));
    }
    Ok(())
}

fn finish(drafts: &Drafts, mut notes: Vec<Note>) -> Result<Imported, ImportError> {
    let document = drafts.write();
    Set::parse(&[("imported.yaml", &document)]).map_err(|errors| ImportError::Refused(errors.to_string()))?;
    let mut seen = std::collections::BTreeSet::new();
    notes.retain(|note| seen.insert(note.clone()));
    Ok(Imported { document, notes })
}

/// Checks that an expression can stand in a document for tables; says whether it reads others.
fn expression(text: &str, tables: &[Tables]) -> Result<bool, String> {
    let formula = Formula::parse(text)?;
    let mut reads = false;
    for name in formula.reads() {
        reads = true;
        let parts = [&name.catalog, &name.schema, &name.table].map(|part| Pattern::read(part));
        let own = match parts {
            [Some(catalog), Some(schema), Some(table)] => {
                let name = Tables([catalog, schema, table]);
                tables.iter().any(|tables| tables.overlaps(&name))
            }
            _ => true,
        };
        if own {
            return Err(format!("it reads {name}, which it is itself about"));
        }
    }
    Ok(reads)
}
