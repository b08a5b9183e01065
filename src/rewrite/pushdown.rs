//! Conditions of the user's that may be copied into the derived table of a relation.
//!
//! Nothing of the user's is evaluated behind the barrier of a derived table, so that Trino would read all files of a
//! table to answer for one partition of it, or ask each connector for all of its tables to list one. What a condition
//! needs to be copied: it compares a column that is shown as it is with literals, which cannot fail on any row and is
//! not true where the column is NULL; it is one of the conditions that WHERE joins with AND; and the column is surely
//! the relation's. It stays where it was, too, so that it is right to copy it below any kind of join.

use std::borrow::Cow;
use std::ops::Range;

use crate::catalog::Type;
use crate::sql::{Edits, Keyword, Relation, Statement, Symbol, TokenKind, fold_column};

/// The most conditions that are copied.
const MOST: usize = 16;
/// The most relations of a statement whose conditions are looked at, the most tokens between FROM and a relation, and
/// the most tokens of a condition: the look is linear in each for every relation.
const MOST_RELATIONS: usize = 100;
const MOST_TOKENS: u32 = 5_000;

/// The most digits of a literal that an exact number is compared with, before the point and behind it.
const LITERAL_WHOLE: u32 = 19;
const LITERAL_SCALE: u32 = 9;

/// What a column can be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparable {
    /// Strings.
    Text,
    /// Exact numbers with so many digits before the point and behind it.
    Exact {
        /// Before the point.
        whole: u32,
        /// Behind it.
        scale: u32,
    },
    /// Floating point numbers.
    Floating,
    /// `DATE '...'`
    Date,
    /// `TIMESTAMP '...'` and `DATE '...'`
    Timestamp,
}

impl Comparable {
    /// What values of the type can be compared with, so that the comparison cannot fail on any of them.
    pub(super) fn of(ty: &Type) -> Option<Self> {
        match ty {
            Type::Varchar(_) | Type::Char(_) => Some(Self::Text),
            Type::Tinyint | Type::Smallint | Type::Integer | Type::Bigint => {
                Some(Self::Exact { whole: 19, scale: 0 })
            }
            Type::Decimal { precision, scale } => {
                let whole = u32::from(precision.saturating_sub(*scale));
                Some(Self::Exact { whole, scale: u32::from(*scale) })
            }
            Type::Real | Type::Double => Some(Self::Floating),
            Type::Date => Some(Self::Date),
            Type::Timestamp { zoned: false, .. } => Some(Self::Timestamp),
            _ => None,
        }
    }
}

/// A column, by its name in lower case: how it is written in the derived table, and what it can be compared with.
pub(super) type Column<'a> = &'a dyn Fn(&str) -> Option<(String, Comparable)>;

/// The conditions of the query specification in whose FROM a relation stands, as SQL over the relation's columns: each
/// begins with ` AND `.
pub(super) fn conditions(statement: &Statement, relation: &Relation, column: Column<'_>) -> String {
    conditions_of(statement, relation, column).unwrap_or_default()
}

fn conditions_of(statement: &Statement, relation: &Relation, column: Column<'_>) -> Option<String> {
    let scope = statement.scopes().get(relation.scope? as usize)?;
    let (from, condition) = (scope.from?, scope.condition.clone()?);
    let far =
        relation.tokens.start.checked_sub(from)? > MOST_TOKENS || condition.len() > MOST_TOKENS as usize;
    if far || statement.relations().len() > MOST_RELATIONS || relation.sampled {
        return None;
    }
    // In parentheses another name may be given to it, and what WHERE sees is no longer the relation's alone.
    let mut depth = 0_u32;
    for at in from..relation.tokens.start {
        match statement.tokens()[at as usize].kind {
            TokenKind::Symbol(Symbol::Open) => depth += 1,
            TokenKind::Symbol(Symbol::Close) => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    if depth > 0 {
        return None;
    }
    let mut reader = Reader { statement, at: relation.end() };
    if let Some(alias) = &relation.alias {
        reader.word(Keyword::As);
        if reader.name()? != alias.value {
            return None;
        }
        reader.at += 1;
    }
    // Other names for the columns, or rows that are matched.
    let renamed = matches!(
        reader.kind(),
        Some(TokenKind::Symbol(Symbol::Open) | TokenKind::Keyword(Keyword::MatchRecognize))
    );
    if renamed {
        return None;
    }
    let alone = from + 1 == relation.tokens.start && reader.at + 1 == condition.start;
    let mut copied = String::new();
    let mut reader = Reader { statement, at: condition.start };
    for range in reader.conjuncts(condition.end)?.into_iter().take(MOST) {
        let mut inner = Reader { statement, at: range.start };
        if let Some(text) = inner.condition(range.end, relation, alone, column) {
            copied.push_str(" AND ");
            copied.push_str(&text);
        }
    }
    Some(copied)
}

struct Reader<'a> {
    statement: &'a Statement,
    at: u32,
}

impl<'a> Reader<'a> {
    fn kind(&self) -> Option<TokenKind> {
        self.statement.tokens().get(self.at as usize).map(|token| token.kind)
    }

    fn take(&mut self, kind: TokenKind) -> bool {
        let found = self.kind() == Some(kind);
        self.at += u32::from(found);
        found
    }

    fn word(&mut self, keyword: Keyword) -> bool {
        self.take(TokenKind::Keyword(keyword))
    }

    fn symbol(&mut self, symbol: Symbol) -> bool {
        self.take(TokenKind::Symbol(symbol))
    }

    fn name(&self) -> Option<Cow<'a, str>> {
        self.statement.identifier(self.at)
    }

    /// The conditions that AND joins. None where there is an OR among them, or something that AND may be part of.
    fn conjuncts(&mut self, end: u32) -> Option<Vec<Range<u32>>> {
        let mut found = Vec::new();
        let (mut start, mut depth, mut between) = (self.at, 0_u32, false);
        while self.at < end {
            match self.kind()? {
                TokenKind::Symbol(Symbol::Open | Symbol::BracketOpen) | TokenKind::Keyword(Keyword::Case) => {
                    depth += 1;
                }
                TokenKind::Symbol(Symbol::Close | Symbol::BracketClose)
                | TokenKind::Keyword(Keyword::End) => depth = depth.checked_sub(1)?,
                TokenKind::Keyword(Keyword::Or) | TokenKind::Symbol(Symbol::Arrow) if depth == 0 => {
                    return None;
                }
                TokenKind::Keyword(Keyword::Between) if depth == 0 => between = true,
                TokenKind::Keyword(Keyword::And) if depth == 0 && between => between = false,
                TokenKind::Keyword(Keyword::And) if depth == 0 => {
                    found.push(start..self.at);
                    start = self.at + 1;
                }
                _ => {}
            }
            self.at += 1;
        }
        found.push(start..end);
        (depth == 0).then_some(found)
    }

    /// `name = 1`, `name BETWEEN 1 AND 2`, `name IN ('a', 'b')`, `name LIKE 'a' [ESCAPE '\']`, and nothing behind it.
    /// Where the relation is not alone in its FROM, the name has the relation's in front.
    fn condition(
        &mut self,
        end: u32,
        relation: &Relation,
        alone: bool,
        column: Column<'_>,
    ) -> Option<String> {
        let mut name = self.name()?;
        self.at += 1;
        if self.symbol(Symbol::Dot) {
            let known = relation.alias.as_ref().or(relation.name.last())?;
            if fold_column(&name) != fold_column(&known.value) {
                return None;
            }
            name = self.name()?;
            self.at += 1;
        } else if !alone {
            return None;
        }
        let (operand, comparable) = column(&fold_column(&name))?;
        let operator = self.at;
        let comparison = Symbol::COMPARISONS.into_iter().any(|symbol| self.symbol(symbol));
        if comparison {
            self.literal(comparable)?;
        } else if self.word(Keyword::Between) {
            self.literal(comparable)?;
            self.word(Keyword::And).then_some(())?;
            self.literal(comparable)?;
        } else if self.word(Keyword::In) {
            self.symbol(Symbol::Open).then_some(())?;
            self.literal(comparable)?;
            while self.symbol(Symbol::Comma) {
                self.literal(comparable)?;
            }
            self.symbol(Symbol::Close).then_some(())?;
        } else if comparable == Comparable::Text && self.word(Keyword::Like) {
            let pattern = self.at;
            self.literal(comparable)?;
            let pattern = self.statement.slice(pattern..pattern + 1);
            if self.word(Keyword::Escape) {
                let escape = self.at;
                self.literal(comparable)?;
                if self.statement.slice(escape..escape + 1) != "'\\'" || !is_escaped(pattern) {
                    return None;
                }
            }
        } else {
            return None;
        }
        let rest = self.statement.print_range(operator..end, &Edits::default()).text;
        (self.at == end).then(|| format!("{operand} {rest}"))
    }

    /// A literal that the column can be compared with.
    fn literal(&mut self, comparable: Comparable) -> Option<()> {
        let taken = match comparable {
            Comparable::Text => self.take(TokenKind::String),
            Comparable::Exact { whole, scale } => {
                self.symbol(Symbol::Minus);
                let text = self.statement.slice(self.at..self.at + 1);
                let (before, behind) = text.split_once('.').unwrap_or((text, ""));
                // Both sides become decimals of one type: it must hold the values of the column and all literals.
                let fits = before.len() <= LITERAL_WHOLE as usize
                    && behind.len() <= LITERAL_SCALE as usize
                    && whole.max(LITERAL_WHOLE) + scale.max(LITERAL_SCALE) <= 38;
                self.take(TokenKind::Double)
                    || fits && (self.take(TokenKind::Integer) || self.take(TokenKind::Decimal))
            }
            Comparable::Floating => {
                self.symbol(Symbol::Minus);
                [TokenKind::Integer, TokenKind::Decimal, TokenKind::Double]
                    .into_iter()
                    .any(|kind| self.take(kind))
            }
            Comparable::Date => self.word(Keyword::Date) && self.take(TokenKind::String),
            Comparable::Timestamp => {
                let text = self.statement.slice(self.at + 1..self.at + 2);
                // With a zone in it the column would be converted, by the session's zone.
                let plain =
                    text.chars().all(|c| c.is_ascii_digit() || matches!(c, '\'' | '-' | ':' | '.' | ' '));
                plain
                    && (self.word(Keyword::Timestamp) || self.word(Keyword::Date))
                    && self.take(TokenKind::String)
            }
        };
        taken.then_some(())
    }
}

/// Whether each backslash of a pattern escapes something, so that LIKE cannot fail.
fn is_escaped(pattern: &str) -> bool {
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c == '\\' && !chars.next().is_some_and(|next| matches!(next, '\\' | '%' | '_')) {
            return false;
        }
    }
    true
}
