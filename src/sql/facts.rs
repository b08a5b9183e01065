//! What a text mentions: relations, columns, functions.

use std::ops::Range;

use super::Ident;

/// A query specification, in which names of columns are looked up; then in its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The scope around it that it can see.
    pub parent: Option<ScopeId>,
    /// The token FROM.
    pub from: Option<u32>,
    /// The tokens of the condition behind WHERE.
    pub condition: Option<Range<u32>>,
}

/// The index of a [`Scope`] of the same statement.
pub type ScopeId = u32;

/// Where the name of a relation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// In FROM or a join.
    From,
    /// `TABLE t` as a query.
    TableBody,
    /// `TABLE(t)` as the argument of a table function.
    TableArgument,
    /// The object of a SHOW or DESCRIBE statement.
    ShowTarget,
    /// What a statement writes to: of CREATE TABLE AS, it may not be there yet.
    Target,
}

/// A reference to a table or view by name that is not the name of a CTE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// The name as written: 1 to 3 parts.
    pub name: Vec<Ident>,
    /// The tokens of the name.
    pub tokens: Range<u32>,
    /// The tokens of `FOR VERSION AS OF e` or `FOR TIMESTAMP AS OF e`.
    pub version: Option<Range<u32>>,
    /// Whether `e` is a literal, maybe with a type in front.
    pub version_is_literal: bool,
    /// Where the name stands.
    pub position: Position,
    /// The alias.
    pub alias: Option<Ident>,
    /// Whether TABLESAMPLE applies to it.
    pub sampled: bool,
    /// The query specification in whose FROM it stands.
    pub scope: Option<ScopeId>,
}

impl Relation {
    /// The token behind its name and version: where an alias stands.
    pub fn end(&self) -> u32 {
        self.version.as_ref().map_or(self.tokens.end, |version| version.end)
    }
}

/// A dotted name in an expression, `a.b.c`, or a qualified star, `a.b.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The parts and the token of each; without the star.
    pub parts: Vec<(Ident, u32)>,
    /// Whether `.*` follows.
    pub star: bool,
    /// The query specification that it stands in. An expression on its own has scope 0.
    pub scope: ScopeId,
}

/// A call of a function by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The name as written.
    pub name: Vec<Ident>,
    /// The tokens of the name.
    pub tokens: Range<u32>,
    /// The tokens of the whole call: name, arguments, FILTER and OVER.
    pub extent: Range<u32>,
    /// Whether it has an OVER clause.
    pub window: bool,
    /// Whether it is a table function.
    pub table: bool,
}

/// Something that is computed without being written as a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialKind {
    /// `current_user`
    CurrentUser,
    /// `current_catalog`
    CurrentCatalog,
    /// `current_schema`
    CurrentSchema,
    /// `current_path`
    CurrentPath,
    /// `current_date`
    CurrentDate,
    /// `current_time`
    CurrentTime,
    /// `current_timestamp`
    CurrentTimestamp,
    /// `localtime`
    LocalTime,
    /// `localtimestamp`
    LocalTimestamp,
    /// The operator `||`, which Trino resolves as the function `concat`.
    Concat,
    /// `AT TIME ZONE`, which Trino resolves as the function `at_timezone`.
    AtTimeZone,
    /// A parameter, `?`.
    Parameter,
    /// A query within the expression.
    Subquery,
    /// A type that has to do with time: in a cast or in front of a literal.
    TimeType,
}

/// A [`SpecialKind`] and its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Special {
    /// What it is.
    pub kind: SpecialKind,
    /// Its tokens.
    pub tokens: Range<u32>,
}

/// Everything that a text mentions, in the order of the text.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) relations: Vec<Relation>,
    pub(super) scopes: Vec<Scope>,
    pub(super) references: Vec<Reference>,
    pub(super) calls: Vec<Call>,
    pub(super) specials: Vec<Special>,
    pub(super) inline_functions: bool,
    pub(super) session_properties: Vec<Vec<Ident>>,
}
