//! What a decision gives: the only value that lets a statement be rewritten.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::error::{Denial, Source};
use super::formula::Bound;
use super::tagged::Tagged;
use super::visibility::Visibility;
use super::{Isolation, Lists};
use crate::catalog::{Column, Described, TableName};
use crate::sql::{Repeat, Statement};
use crate::units::hex;

/// Which set of documents decided: the first half of the SHA-256 of all of them, in hex.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub(super) String);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The salt of one query's salted hashes.
#[derive(Clone, Default)]
pub struct Salt(OnceLock<String>);

impl Salt {
    /// Sixteen random bytes, drawn when they are needed.
    pub fn random() -> Self {
        Self::default()
    }

    /// A salt that is known, for tests and explanations.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(OnceLock::from(hex(&bytes)))
    }

    /// Whether it has been needed.
    pub(super) fn is_drawn(&self) -> bool {
        self.0.get().is_some()
    }

    /// In hex.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub(super) fn hex(&self) -> Result<&str, Denial> {
        if self.0.get().is_none() {
            let mut bytes = [0_u8; 16];
            aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Denial::NoRandom)?;
            return Ok(self.0.get_or_init(|| hex(&bytes)));
        }
        self.0.get().map(String::as_str).ok_or(Denial::NoRandom)
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(..)")
    }
}

/// What the principal may see of the relations of one statement. Only [`super::Set::decide`] makes it.
#[derive(Clone, Debug)]
pub struct Permit {
    pub(super) revision: Revision,
    pub(super) tables: BTreeMap<TableName, Scoped>,
    pub(super) sources: BTreeSet<Source>,
    /// What the sub-queries of policies read.
    pub(super) read_by_policies: BTreeSet<TableName>,
    pub(super) visibility: Visibility,
    pub(super) sensitive: bool,
    pub(super) salted: bool,
    pub(super) writable: BTreeSet<TableName>,
    /// Catalogs and schemas.
    pub(super) writable_schemas: BTreeSet<(String, String)>,
}

impl Permit {
    /// The set of documents that decided.
    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// What may be seen of a relation; none if the decision was not about it.
    pub fn scoped(&self, name: &TableName) -> Option<&Scoped> {
        self.tables.get(name)
    }

    /// The relations that the decision is about, by name.
    pub fn tables(&self) -> impl Iterator<Item = &Scoped> {
        self.tables.values()
    }

    /// The tables that the sub-queries of policies read.
    pub fn read_by_policies(&self) -> &BTreeSet<TableName> {
        &self.read_by_policies
    }

    /// Whether an expression of a policy depends on the clock or on the session's time zone, or a trusted view may, so that
    /// the query must run in UTC whatever zone the user asks for.
    pub fn pins_time_zone(&self) -> bool {
        self.tables.values().any(Scoped::is_temporal)
    }

    /// The policies that had a say, for the audit.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter()
    }

    /// Whether a statement may write to the table; only what [`super::Set::permit_write`] was asked about.
    pub fn may_write(&self, name: &TableName) -> bool {
        self.writable.contains(name)
    }

    /// Whether a statement may make or drop the schema; only what [`super::Set::permit_schema`] was asked about.
    pub fn may_write_schema(&self, catalog: &str, schema: &str) -> bool {
        self.writable_schemas.contains(&(catalog.to_owned(), schema.to_owned()))
    }

    /// Whether the statement changes a table, a view or a schema.
    pub fn writes(&self) -> bool {
        !self.writable.is_empty() || !self.writable_schemas.is_empty()
    }

    /// Whether a policy says that what is read is sensitive.
    pub fn is_sensitive(&self) -> bool {
        self.sensitive
    }

    /// Whether a mask hashes with a salt that is this query's own.
    pub fn is_salted(&self) -> bool {
        self.salted
    }

    /// What the principal may see of listings.
    pub fn visibility(&self) -> &Visibility {
        &self.visibility
    }
}

/// A view that is read as the query that it is made of.
#[derive(Clone, Debug)]
pub struct View {
    /// The query.
    pub statement: Statement,
    /// The relations that it names, listings left out.
    pub reads: Vec<TableName>,
    /// What listings it names, of which everybody sees other rows.
    pub lists: Lists,
}

/// What may be seen of one relation.
#[derive(Clone, Debug)]
pub struct Scoped {
    pub(super) view: Option<Arc<View>>,
    /// A view that is read as it is, by somebody who does not see everything: how the rows that it leaves out are kept from
    /// what the user's query evaluates.
    pub(super) opaque: Option<Isolation>,
    /// A view that reads restricted relations.
    pub(super) below: bool,
    pub(super) described: Arc<Described>,
    pub(super) visible: Vec<bool>,
    /// Some rule about it is about some columns, if there are such.
    pub(super) by_column: bool,
    pub(super) filters: Vec<Bound>,
    pub(super) isolation: Isolation,
    pub(super) masks: BTreeMap<String, Bound>,
    pub(super) tags: Tagged,
    pub(super) cached_for: Option<Duration>,
}

impl Scoped {
    /// The relation.
    pub fn described(&self) -> &Described {
        &self.described
    }

    /// The columns that exist for the principal, in table order.
    pub fn columns(&self) -> impl Iterator<Item = &Column> {
        self.described
            .columns
            .iter()
            .zip(&self.visible)
            .filter(|(_, visible)| **visible)
            .map(|(column, _)| column)
    }

    /// The conditions that a row must meet, all of them, before it is seen.
    pub fn filters(&self) -> &[Bound] {
        &self.filters
    }

    /// How the rows that the filters hide are kept from the rest of the query.
    pub fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// The tags of a column, its table's among them: those of documents, and those that a catalog gives. For the audit.
    pub fn tags(&self, column: &str) -> impl Iterator<Item = &str> {
        let of = |name: &str| self.tags.get(name).into_iter().flatten().map(String::as_str);
        of(column).chain(of("*"))
    }

    /// What is shown in place of a column; none where its value is. The name is the table's own.
    pub fn mask(&self, column: &str) -> Option<&Bound> {
        self.masks.get(column)
    }

    /// The query that stands in the view's place, if it is a view that is not trusted.
    pub fn view(&self) -> Option<&Arc<View>> {
        self.view.as_ref()
    }

    /// The expressions that make of it what is seen.
    fn expressions(&self) -> impl Iterator<Item = &Bound> {
        self.filters.iter().chain(self.masks.values())
    }

    pub(super) fn is_temporal(&self) -> bool {
        self.is_opaque() || self.expressions().any(Bound::is_temporal)
    }

    /// How long an answer about it may be given again though it is not known to hold still; none where no policy says so.
    pub fn cached_for(&self) -> Option<Duration> {
        self.cached_for
    }

    /// What the expressions of its policies depend on besides columns. What their sub-queries read has some of its own:
    /// see [`Self::each_read`].
    pub fn repeat(&self) -> Repeat {
        self.expressions().fold(Repeat::default(), |mut all, one| {
            all.and(one.repeat());
            all
        })
    }

    /// Shows each table that the sub-queries of its policies read, and what the policies of those read.
    pub fn each_read<'s>(&'s self, visit: &mut dyn FnMut(&'s Scoped)) {
        for read in self.expressions().flat_map(Bound::reads) {
            visit(read);
            read.each_read(visit);
        }
    }

    /// Adds what the sub-queries of its policies read, and of the policies of those tables.
    pub(super) fn collect_reads(&self, into: &mut BTreeSet<TableName>) {
        for read in self.expressions().flat_map(Bound::reads) {
            into.insert(read.described.name.clone());
            read.collect_reads(into);
        }
    }

    /// Whether it is a view that a policy trusts: what it reads, and leaves out, is not for its reader to know.
    pub fn is_opaque(&self) -> bool {
        self.opaque.is_some()
    }

    /// Whether what a user writes is kept from the rows that it leaves out, though no filter is about it: a view that a policy
    /// trusts in strict isolation.
    pub fn is_guarded(&self) -> bool {
        self.opaque == Some(Isolation::Strict)
    }

    /// Whether other columns than those that it was described with might be hidden or masked: then it is read with these alone.
    pub fn is_by_column(&self) -> bool {
        self.by_column
    }

    /// Whether the relation is seen other than it is: rows, values or columns are missing, of itself or of what it reads.
    pub fn is_restricted(&self) -> bool {
        self.below || !self.filters.is_empty() || !self.masks.is_empty() || self.visible.contains(&false)
    }
}
