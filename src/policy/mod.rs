//! Stage 6: what a principal may see of which relations.
//!
//! Administrators write YAML documents (`policies/*.yaml`, with a JSON schema). A [`Set`] is all documents of a
//! folder, read, checked and compiled together; a folder with a mistake gives no set at all, so that a good one is
//! never replaced by a bad one. [`Set::decide`] takes a principal and relations as Trino describes them now, and
//! gives a [`Permit`] or a [`Denial`]. It is pure: no IO, no clock; the one random number, a salt, can be given.
//!
//! # What the documents mean
//!
//! All policies that name the principal and the table apply together. One `deny` wins. A table needs one `allow`,
//! or a catalog whose default is `allow`, or one that decides itself and lets the principal read it ([`Rulings`]); what
//! such a catalog restricts is restricted beside what the documents do. Filters are joined with AND and see raw rows. Of several masks on a column
//! the strongest holds; two different ones of the same strength are a mistake, found when the set is loaded where
//! that is possible, and in any case when the column is read. Masks see raw values, also of columns that are hidden
//! or masked. A view that no policy trusts is read as the query that it is made of, under
//! the reader's policies, whatever rights its owner has.
//!
//! Tables, views and schemas are changed where a policy says `write`, a table by those who see all of it as it is
//! ([`Set::permit_write`]). Nothing gets a new name under which a restriction of anybody's would not hold.
//!
//! What cannot be applied fails the query: a column that is gone, an action that does not fit the type.
//!
//! The sub-queries of expressions read under the reader's own policies, or under those of whom the document names
//! (`run_as`). Policies that would have to be applied within themselves are refused.
//!
//! Expressions are bound, not pasted: columns get the alias of the inner table, functions their full name, so that
//! nothing of the user's statement can stand in their place.

mod action;
mod compile;
mod concealed;
mod decide;
mod diff;
mod document;
mod error;
mod formula;
pub mod import;
mod literal;
mod nested;
mod pattern;
mod permit;
mod predicate;
mod restriction;
mod rule;
mod ruling;
mod subquery;
mod tagged;
#[cfg(test)]
mod tests;
mod visibility;
mod who;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

pub use crate::catalog::Action;
pub use diff::{Change, TooMany};
pub use document::{Isolation, schema};
pub use error::{Denial, LoadError, LoadErrors, Source};
pub use formula::Bound;
pub use permit::{Permit, Revision, Salt, Scoped, View};
pub use ruling::Rulings;
pub use visibility::Visibility;

use crate::catalog::rest::{Extent, Outline, Ruling};
use crate::catalog::{Described, RelationKind, TableName};
use crate::identity::Principal;

/// The largest file of policies, in bytes, and the most files of a folder.
const MAX_FILE: u64 = 4 << 20;
const MAX_FILES: usize = 1_000;

/// What stands behind the relations of a statement.
#[derive(Debug, Default)]
pub struct Behind {
    /// The views that are read through: as the queries that they are made of, in which the principal's policies hold.
    pub views: BTreeMap<TableName, Arc<View>>,
    /// These views, and what each reads.
    pub below: Vec<(TableName, Vec<Arc<Described>>)>,
    /// What the sub-queries of policies read, as far as it is there; see [`Set::read_by_policies`].
    pub read_by_policies: BTreeMap<TableName, Arc<Described>>,
    /// What catalogs say of all these relations.
    pub rulings: Rulings,
    /// What catalogs that decide let the principal read, by catalog: nothing else of them is listed.
    pub readable: BTreeMap<String, Vec<Extent>>,
    /// What catalogs say of the columns of their relations; none of one that has no answer, of which no columns are
    /// listed then. Needed of catalogs whose tags hide columns from the principal, where columns are listed.
    pub outlines: BTreeMap<String, Option<Vec<Outline>>>,
    /// Whether the statement lists nothing, so that it need not be found out what may be listed.
    pub lists_nothing: bool,
}

/// What a statement may list of what there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lists {
    /// Nothing.
    #[default]
    Nothing,
    /// Catalogs, schemas and tables.
    Names,
    /// Also their columns.
    Columns,
}

/// What the documents do not say of the place that they hold in.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The environment, such as `production`.
    pub environment: Option<String>,
    /// Whether no catalog gives tags, so that one without columns of its own would protect nothing.
    pub without_tags: bool,
    /// The catalogs that decide themselves who may read their tables. Nothing of them is read without their word; what
    /// they let somebody read needs no policy that allows it, unless the default of the catalog is `deny`.
    pub deciding: BTreeSet<String>,
}

/// What a statement would write to.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The relation.
    pub name: &'a TableName,
    /// What it is to be.
    pub expected: RelationKind,
    /// What it is now; none where the statement would make it, or drops what is not there.
    pub existing: Option<&'a Arc<Described>>,
    /// What its catalog says of it.
    pub ruling: Option<&'a Ruling>,
    /// Whether the catalog's grants let the principal do it; none where they don't decide.
    pub granted: Option<bool>,
}

/// All documents of a folder, checked. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Set {
    revision: Revision,
    compiled: Arc<rule::Compiled>,
}

impl Set {
    /// Reads `*.yaml` and `*.yml` of a folder, in the order of their names, not those that begin with a dot.
    /// A folder without documents is a set that allows nothing.
    ///
    /// # Errors
    /// All that is wrong with any of them, each with file, line and key.
    pub fn load(folder: &Path, surroundings: &Surroundings) -> Result<Self, LoadErrors> {
        let fail = |path: &Path, message: String| {
            LoadErrors(vec![LoadError {
                file: path.display().to_string(),
                line: None,
                key: String::new(),
                message,
            }])
        };
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|error| fail(folder, error.to_string()))? {
            let path = entry.map_err(|error| fail(folder, error.to_string()))?.path();
            let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
            let yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
            if yaml && !hidden {
                paths.push(path);
            }
        }
        if paths.len() > MAX_FILES {
            return Err(fail(folder, format!("more than {MAX_FILES} files")));
        }
        paths.sort();
        let mut files = Vec::new();
        for path in paths {
            let size = std::fs::metadata(&path).map_err(|error| fail(&path, error.to_string()))?.len();
            if size > MAX_FILE {
                return Err(fail(&path, format!("the file has more than {MAX_FILE} bytes")));
            }
            let text = std::fs::read_to_string(&path).map_err(|error| fail(&path, error.to_string()))?;
            files.push((path.display().to_string(), text));
        }
        Self::parse_in(&files, surroundings)
    }

    /// Reads documents that are in memory: pairs of a name, for messages, and a text. No catalog decides.
    pub fn parse<N: AsRef<str>, T: AsRef<str>>(files: &[(N, T)]) -> Result<Self, LoadErrors> {
        Self::parse_in(files, &Surroundings::default())
    }

    /// The same in given surroundings.
    pub fn parse_in<N: AsRef<str>, T: AsRef<str>>(
        files: &[(N, T)],
        surroundings: &Surroundings,
    ) -> Result<Self, LoadErrors> {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        let (mut documents, mut errors) = (Vec::new(), Vec::new());
        for (name, text) in files {
            let (name, text) = (name.as_ref(), text.as_ref());
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
            match serde_saphyr::from_str::<document::Document>(text) {
                Ok(document) => documents.push((name.to_owned(), document)),
                Err(error) => errors.push(unreadable(name, &error)),
            }
        }
        let compiled = match compile::compile(&documents, surroundings) {
            Ok(compiled) if errors.is_empty() => compiled,
            Ok(_) => return Err(LoadErrors(errors)),
            // What the unreadable files would have said is missing, so that only their own errors are sure.
            Err(_) if !errors.is_empty() => return Err(LoadErrors(errors)),
            Err(found) => return Err(LoadErrors(found)),
        };
        let digest = context.finish();
        let revision = crate::units::hex(&digest.as_ref()[..16]);
        Ok(Self { revision: Revision(revision), compiled: Arc::new(compiled) })
    }

    /// Which set this is. Equal texts have equal revisions.
    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// How many policies there are.
    pub fn len(&self) -> usize {
        self.compiled.rules.len()
    }

    /// Whether they allow nothing to anybody.
    pub fn is_empty(&self) -> bool {
        self.compiled.rules.is_empty() && self.compiled.open.is_empty()
    }

    /// Whether the principal may know of a relation of this name, before anybody is asked what it is.
    ///
    /// # Errors
    /// A document denies it, or none allows it.
    pub fn check_name(&self, principal: &Principal, name: &TableName) -> Result<(), Denial> {
        decide::check_name(&self.compiled, principal, name)
    }

    /// What of the relations the principal may see.
    ///
    /// # Errors
    /// The first relation that may not be seen, or whose policies cannot be applied.
    pub fn decide(&self, principal: &Principal, relations: &[Arc<Described>]) -> Result<Permit, Denial> {
        self.decide_with(principal, relations, &Salt::random())
    }

    /// The same with a given salt, so that it always gives the same.
    pub fn decide_with(
        &self,
        principal: &Principal,
        relations: &[Arc<Described>],
        salt: &Salt,
    ) -> Result<Permit, Denial> {
        self.decide_through(principal, relations, &Behind::default(), salt)
    }

    /// The same where more than the relations themselves is read.
    pub fn decide_through(
        &self,
        principal: &Principal,
        relations: &[Arc<Described>],
        behind: &Behind,
        salt: &Salt,
    ) -> Result<Permit, Denial> {
        let deciding = decide::Deciding { set: &self.compiled, principal, behind, salt };
        deciding.decide(&self.revision, relations)
    }

    /// What the sub-queries of the policies read which apply when the principal reads relations, and as whom if not as the
    /// principal.
    pub fn read_by_policies<'a>(
        &'a self,
        principal: &'a Principal,
        names: impl Iterator<Item = &'a TableName>,
    ) -> Vec<(&'a TableName, Option<&'a Principal>)> {
        decide::read_by_policies(&self.compiled, principal, names)
    }

    /// Whether a policy lets the principal read a view as what it is.
    pub fn trusts(&self, principal: &Principal, view: &TableName) -> bool {
        self.compiled.rules_for(principal, view).any(|rule| rule.allow && rule.trusted_view)
    }

    /// Adds to a permit that the principal may write to a relation.
    ///
    /// # Errors
    /// No policy lets the principal write to it, it is not of the kind `expected`, or it is a table that they do not
    /// see as it is.
    pub fn permit_write(
        &self,
        permit: &mut Permit,
        principal: &Principal,
        target: &Target<'_>,
    ) -> Result<(), Denial> {
        let salt = Salt::random();
        let writer = write::Writer { set: &self.compiled, principal, salt: &salt };
        writer.permit(permit, target)
    }

    /// Adds to a permit that the principal may make and drop a schema: one all of whose tables they may write to, or which
    /// the catalog's grants let them, where these decide (`granted`).
    ///
    /// # Errors
    /// No policy lets them.
    pub fn permit_schema(
        &self,
        permit: &mut Permit,
        principal: &Principal,
        catalog: &str,
        schema: &str,
        granted: Option<bool>,
    ) -> Result<(), Denial> {
        write::permit_schema(&self.compiled, permit, principal, (catalog, schema), granted)
    }

    /// Whether a relation may get a new name: not where a restriction would hold for one of the two alone.
    ///
    /// # Errors
    /// It may not.
    pub fn check_rename(&self, from: &TableName, to: &TableName) -> Result<(), Denial> {
        write::check_rename(&self.compiled, from, to)
    }

    /// The same for a column of a table, or for a field: `from` is its path.
    ///
    /// # Errors
    /// It may not.
    pub fn check_rename_column(&self, table: &TableName, from: &[&str], to: &str) -> Result<(), Denial> {
        write::check_rename_column(&self.compiled, table, from, to)
    }

    /// Whose view of which tables another set would change, as far as the documents say it. `tables` and their columns
    /// are compared where they are given; else one for each pattern of the documents.
    ///
    /// # Errors
    /// The documents name too many people and tables to compare all with all.
    pub fn changes(&self, new: &Self, tables: &[(TableName, Vec<String>)]) -> Result<Vec<Change>, TooMany> {
        diff::changes(&self.compiled, &new.compiled, tables)
    }

    /// Whether policies hide columns of a catalog from the principal by tags that the catalog may give.
    pub fn hides_by_tag(&self, principal: &Principal, catalog: &str) -> bool {
        let mut rules = self.compiled.rules.iter().filter(|rule| !rule.hidden_tags.is_empty());
        rules.any(|rule| {
            rule.who.includes(principal) && rule.tables.iter().any(|table| table.catalog_matches(catalog))
        })
    }

    /// What the principal may see of listings, where no catalog decides.
    pub fn visibility(&self, principal: &Principal) -> Visibility {
        Visibility::new(&self.compiled, principal, &Behind::default())
    }
}

fn unreadable(file: &str, error: &serde_saphyr::Error) -> LoadError {
    let line = error.location().and_then(|location| u32::try_from(location.line()).ok());
    let text = error.without_snippet().to_string();
    LoadError { file: file.to_owned(), line, key: String::new(), message: text }
}
