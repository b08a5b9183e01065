//! What documents say, read and checked: rules that can be asked.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::document::Isolation;
use super::error::Source;
use super::formula::Formula;
use super::nested::Fields;
use super::pattern::{ColumnPattern, Glob, TablePattern};
use super::tagged::Tags;
use super::who::Who;
use crate::catalog::{Action, TableName};
use crate::identity::Principal;

/// A policy, read and checked.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the documents")]
pub(super) struct Rule {
    pub(super) source: Source,
    pub(super) who: Who,
    pub(super) tables: Vec<TablePattern>,
    pub(super) allow: bool,
    pub(super) trusted_view: bool,
    pub(super) write: bool,
    pub(super) deny: bool,
    pub(super) filter: Option<Arc<Formula>>,
    pub(super) isolation: Isolation,
    /// Who reads what the sub-queries of its expressions read, if not the reader.
    pub(super) run_as: Option<Principal>,
    pub(super) masks: Vec<MaskRule>,
    pub(super) hidden: Vec<Columns>,
    /// The tags of columns that do not exist, as catalogs give them.
    pub(super) hidden_tags: Vec<Glob>,
    /// Whether it is on record that something was read to which the rule applies.
    pub(super) sensitive: bool,
    /// How long answers about the tables may be given again though their catalog does not tell when they change.
    pub(super) cached_for: Option<Duration>,
}

impl Rule {
    /// A rule about one table for everybody, that says nothing.
    pub(super) fn of(table: &TableName, source: Source) -> Self {
        let part = Glob::exactly;
        Self {
            source,
            who: Who::everybody(),
            tables: vec![TablePattern {
                catalog: part(&table.catalog),
                schema: part(&table.schema),
                table: part(&table.table),
            }],
            allow: false,
            trusted_view: false,
            write: false,
            deny: false,
            filter: None,
            isolation: Isolation::default(),
            run_as: None,
            masks: Vec::new(),
            hidden: Vec::new(),
            hidden_tags: Vec::new(),
            sensitive: false,
            cached_for: None,
        }
    }

    pub(super) fn covers(&self, table: &TableName) -> bool {
        self.tables.iter().any(|pattern| pattern.matches(table))
    }

    /// Whether it is on record that something was read to which it applies. One that names tags applies where these are.
    pub(super) fn is_sensitive(&self) -> bool {
        let by_tag = self.names_tags();
        let found = !self.hidden.is_empty()
            || self.masks.iter().any(|mask| !mask.columns.is_empty() || !mask.fields.is_empty());
        self.sensitive && (!by_tag || found)
    }

    /// Whether it takes anything away.
    fn restricts(&self) -> bool {
        let hides = !self.hidden.is_empty() || !self.hidden_tags.is_empty();
        self.deny || self.filter.is_some() || !self.masks.is_empty() || hides
    }

    /// Whether it is about some columns, if there are such.
    pub(super) fn is_by_column(&self) -> bool {
        !self.hidden.is_empty() || !self.masks.is_empty() || self.names_tags()
    }

    /// Whether it names tags that catalogs may give.
    pub(super) fn names_tags(&self) -> bool {
        !self.hidden_tags.is_empty() || self.masks.iter().any(|mask| !mask.tags.is_empty())
    }

    /// The tables that the sub-queries of its expressions read.
    pub(super) fn reads(&self) -> impl Iterator<Item = &TableName> {
        let masks = self.masks.iter().filter_map(|mask| match &mask.with {
            MaskWith::Formula(formula) => Some(&**formula),
            MaskWith::Action(_) => None,
        });
        self.filter.as_deref().into_iter().chain(masks).flat_map(Formula::reads)
    }
}

/// A mask, read and checked.
#[derive(Clone, Debug)]
pub(super) struct MaskRule {
    pub(super) columns: Vec<Columns>,
    /// Fields within columns.
    pub(super) fields: Vec<Fields>,
    /// Tags, as catalogs give them.
    pub(super) tags: Vec<Glob>,
    pub(super) with: MaskWith,
    pub(super) strength: i32,
}

impl MaskRule {
    /// Whether it cannot hold for the whole of something of which the other masks a part: an expression may show the part.
    pub(super) fn yields_to(&self, below: &Self) -> bool {
        let shows = matches!(self.with, MaskWith::Formula(_));
        below.strength > self.strength || shows && below.strength == self.strength
    }
}

/// What a mask shows.
#[derive(Debug, Clone)]
pub(super) enum MaskWith {
    Action(Action),
    Formula(Arc<Formula>),
}

impl MaskWith {
    pub(super) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Action(a), Self::Action(b)) => a == b,
            (Self::Formula(a), Self::Formula(b)) => a.same(b),
            (Self::Action(_), Self::Formula(_)) | (Self::Formula(_), Self::Action(_)) => false,
        }
    }

    /// Whether it reads other tables.
    pub(super) fn reads(&self) -> bool {
        matches!(self, Self::Formula(formula) if formula.reads().next().is_some())
    }

    pub(super) fn describe(&self) -> &str {
        match self {
            Self::Action(action) => action.as_str(),
            Self::Formula(formula) => formula.text(),
        }
    }
}

/// Columns that a rule is about.
#[derive(Debug, Clone)]
pub(super) enum Columns {
    /// By name, in each table of the policy.
    Named(Glob),
    /// By a tag: one of its patterns.
    Tagged(ColumnPattern),
}

impl Columns {
    /// Whether the column (folded) of a table of the policy is meant.
    pub(super) fn matches(&self, table: &TableName, column: &str) -> bool {
        match self {
            Self::Named(glob) => glob.matches(column),
            Self::Tagged(pattern) => pattern.table.matches(table) && pattern.column.matches(column),
        }
    }

    /// The column that must be there, if the rule names one in this very table.
    pub(super) fn required<'a>(&'a self, rule: &Rule, table: &TableName) -> Option<&'a str> {
        match self {
            Self::Named(glob) => {
                let by_name =
                    rule.tables.iter().any(|pattern| pattern.is_literal() && pattern.matches(table));
                glob.literal().filter(|_| by_name)
            }
            Self::Tagged(pattern) => {
                let by_name = pattern.table.is_literal() && pattern.table.matches(table);
                pattern.column.literal().filter(|_| by_name)
            }
        }
    }

    pub(super) fn glob(&self) -> &Glob {
        match self {
            Self::Named(glob) => glob,
            Self::Tagged(pattern) => &pattern.column,
        }
    }

    pub(super) fn tag_table(&self) -> Option<&TablePattern> {
        match self {
            Self::Named(_) => None,
            Self::Tagged(pattern) => Some(&pattern.table),
        }
    }
}

/// All that documents say, read and checked.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) rules: Vec<Rule>,
    /// Catalogs whose tables may be read where no policy says anything.
    pub(super) open: BTreeSet<String>,
    /// Catalogs about which a document says that what no policy allows is denied.
    pub(super) shut: BTreeSet<String>,
    /// Catalogs that decide themselves who may read.
    pub(super) deciding: BTreeSet<String>,
    pub(super) index: Index,
    pub(super) tags: Tags,
}

/// Which rules may be about a table, so that one among ten thousand is not looked for in all documents.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The rules that name it, by number.
    named: HashMap<TableName, Vec<usize>>,
    /// The rules with a pattern that may stand for any.
    others: Vec<usize>,
}

impl Index {
    pub(super) fn of(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        for (number, rule) in rules.iter().enumerate() {
            for pattern in &rule.tables {
                match pattern.literal() {
                    Some(name) => index.named.entry(name).or_default().push(number),
                    None => index.others.push(number),
                }
            }
        }
        index.others.dedup();
        index
    }
}

impl Compiled {
    /// Whether a principal sees everything as it is.
    pub(super) fn shows_all(&self, principal: &Principal) -> bool {
        let all =
            |table: &TablePattern| table.catalog.is_any() && table.schema.is_any() && table.table.is_any();
        let mut rules = self.rules.iter().filter(|rule| rule.who.includes(principal));
        let mut any = false;
        self.deciding.is_empty()
            && rules.all(|rule| {
                any |= rule.allow && rule.tables.iter().any(all);
                !rule.restricts()
            })
            && any
    }

    /// The rules about a relation, in their order.
    fn covering<'a>(&'a self, name: &'a TableName) -> impl Iterator<Item = &'a Rule> {
        let named = self.index.named.get(name).into_iter().flatten();
        let others = self.index.others.iter().filter(|number| self.rules[**number].covers(name));
        let mut numbers: Vec<usize> = named.chain(others).copied().collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter().map(|number| &self.rules[number])
    }

    /// The rules about a relation that are for a principal.
    pub(super) fn rules_for<'a>(
        &'a self,
        principal: &'a Principal,
        name: &'a TableName,
    ) -> impl Iterator<Item = &'a Rule> {
        self.covering(name).filter(move |rule| rule.who.includes(principal))
    }
}
