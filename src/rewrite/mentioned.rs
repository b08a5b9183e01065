//! Which columns a statement can name: a derived table has no others, so that wide tables do not make long statements.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::catalog::{Column, TableName};
use crate::policy::{Permit, Scoped};
use crate::sql::{Keyword, Position, Relation, Statement, Symbol, Token, TokenKind, fold_column};

/// The words of a statement that can be names of columns; none where all columns are meant.
pub(super) struct Mentioned<'a>(Option<HashSet<Cow<'a, str>>>);

impl<'a> Mentioned<'a> {
    /// Every column.
    pub(super) fn all() -> Self {
        Self(None)
    }

    /// Those that a statement names, if it has neither a star nor anything else that stands for all columns.
    pub(super) fn by(statement: &'a Statement) -> Self {
        let tokens = statement.tokens();
        if renames_parentheses(tokens) {
            return Self::all();
        }
        let mut before = None;
        for token in tokens {
            let star = token.kind == TokenKind::Symbol(Symbol::Asterisk)
                && matches!(
                    before,
                    Some(
                        TokenKind::Keyword(Keyword::Select | Keyword::Distinct | Keyword::All)
                            | TokenKind::Symbol(Symbol::Comma | Symbol::Dot)
                    )
                );
            let all = matches!(
                token.kind,
                TokenKind::Keyword(
                    Keyword::Natural | Keyword::MatchRecognize | Keyword::Table | Keyword::Descriptor
                )
            );
            if star || all {
                return Self::all();
            }
            before = Some(token.kind);
        }
        Self(Some(words(statement)))
    }

    /// The same for all relations that it reads: where it gives the columns of one other names, all are meant.
    fn by_all(statement: &'a Statement) -> Self {
        let mut read = statement.relations().iter().filter(|relation| relation.position != Position::Target);
        if read.all(|relation| Self::fits(statement, relation)) { Self::by(statement) } else { Self::all() }
    }

    /// For one relation: all its columns where the statement gives them other names, or shows the relation itself.
    pub(super) fn fits(statement: &Statement, relation: &Relation) -> bool {
        relation.position == Position::From && !renames_columns(statement, relation)
    }

    /// The columns of a relation that are shown and can be named.
    pub(super) fn named<'s>(&self, scoped: &'s Scoped) -> Vec<&'s str> {
        let named =
            |column: &Column| self.0.as_ref().is_none_or(|words| words.contains(&*fold_column(&column.name)));
        scoped.columns().filter(|column| named(column)).map(|column| column.name.as_str()).collect()
    }

    /// Those of these names that are named; none where there is a star.
    pub(super) fn among<'n>(&self, names: &[&'n str]) -> Vec<&'n str> {
        let named = |name: &&&'n str| self.0.as_ref().is_some_and(|words| words.contains(**name));
        names.iter().filter(named).copied().collect()
    }

    /// The columns of a relation that are shown and can be named; the first where there is none.
    pub(super) fn of<'s>(&self, scoped: &'s Scoped) -> Vec<&'s Column> {
        let Some(words) = &self.0 else { return scoped.columns().collect() };
        let named: Vec<&'s Column> =
            scoped.columns().filter(|column| words.contains(&*fold_column(&column.name))).collect();
        if named.is_empty() { scoped.columns().take(1).collect() } else { named }
    }
}

/// The columns that a statement can read of the relations of a permit, itself and through views: those whose names are in
/// its text, or all where it has a star. `direct` are the relations that the statement names.
pub fn read_columns<'p>(
    statement: &Statement,
    direct: &[TableName],
    permit: &'p Permit,
) -> BTreeMap<&'p TableName, BTreeSet<&'p str>> {
    let mut read: BTreeMap<&TableName, BTreeSet<&str>> = BTreeMap::new();
    let mentioned = Mentioned::by_all(statement);
    for scoped in direct.iter().filter_map(|name| permit.scoped(name)) {
        read.entry(&scoped.described().name).or_default().extend(mentioned.named(scoped));
    }
    for view in permit.tables().filter_map(Scoped::view) {
        let mentioned = Mentioned::by_all(&view.statement);
        for scoped in view.reads.iter().filter_map(|name| permit.scoped(name)) {
            read.entry(&scoped.described().name).or_default().extend(mentioned.named(scoped));
        }
    }
    read
}

/// The words of a statement that can be names of columns, folded.
pub(super) fn words(statement: &Statement) -> HashSet<Cow<'_, str>> {
    let folded = |name| match name {
        Cow::Borrowed(name) => fold_column(name),
        Cow::Owned(name) => Cow::Owned(fold_column(&name).into_owned()),
    };
    statement.whole().filter_map(|token| statement.identifier(token)).map(folded).collect()
}

/// Whether names are given to the columns of what stands in parentheses: `(a JOIN b ON ...) AS x (c, d)`.
fn renames_parentheses(tokens: &[Token]) -> bool {
    let kind = |at: usize| tokens.get(at).map(|token| token.kind);
    let open = Some(TokenKind::Symbol(Symbol::Open));
    let named =
        |at: usize| matches!(kind(at), Some(TokenKind::Word | TokenKind::Quoted)) && kind(at + 1) == open;
    let after = |at: usize| match kind(at) {
        // Any word is a name behind AS.
        Some(TokenKind::Keyword(Keyword::As)) => {
            named(at + 1) || matches!(kind(at + 1), Some(TokenKind::Keyword(_))) && kind(at + 2) == open
        }
        Some(TokenKind::Keyword(keyword)) => {
            let is_name = !keyword.is_reserved() && !matches!(keyword, Keyword::Over | Keyword::Filter);
            is_name && kind(at + 1) == open
        }
        _ => named(at),
    };
    let closed = |token: &Token| token.kind == TokenKind::Symbol(Symbol::Close);
    tokens.iter().enumerate().any(|(at, token)| closed(token) && after(at + 1))
}

/// Whether a list of names for its columns stands behind the alias of a relation.
pub(super) fn renames_columns(statement: &Statement, relation: &Relation) -> bool {
    let kind = |at: u32| statement.tokens().get(at as usize).map(|token| token.kind);
    relation.alias.as_ref().is_some_and(|_| {
        let alias = relation.end() + u32::from(kind(relation.end()) == Some(TokenKind::Keyword(Keyword::As)));
        kind(alias + 1) == Some(TokenKind::Symbol(Symbol::Open))
    })
}
