//! Conditions of the user's that may be copied into the derived table of a relation.
//!
//! Nothing of the user's is evaluated behind the barrier of a derived table, so that Trino would read all files of a
//! table to answer for one partition of it, or ask each connector for all of its tables to list one. What a condition
//! needs to be copied: it compares a column that is shown as it is with literals, which cannot fail on any row and is
//! not true where the column is NULL; it is one of the conditions that WHERE joins with AND; and the column is surely
//! the relation's; or OR joins several of such. It stays where it was, too, so that it is right to copy it below any kind of join.

use std::borrow::Cow;
use std::ops::Range;

use crate::catalog::Type;
use crate::sql::{Edits, Keyword, Relation, Statement, Symbol, TokenKind, fold_column};

/// The most conditions that are copied.
const MOST: usize = 16;
/// The most relations of a statement whose conditions are looked at, the most tokens between FROM and a relation, and
/// the most tokens of a condition: the look is linear in each for every relation.
const MOST_RELATIONS: usize = 100;
/// The most parentheses around a condition that are looked through.
const MOST_PARENTHESES: usize = 4;
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
    let reader = Reader { statement, at: condition.start };
    for range in reader.parts(condition, Keyword::And)?.into_iter().take(MOST) {
        if let Some(text) = reader.either(range, relation, alone, column) {
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

    /// The conditions that AND, or OR, joins. AND binds closer: where there is an OR, AND joins one condition. None where
    /// there is something that AND may be part of.
    fn parts(&self, range: Range<u32>, joined_by: Keyword) -> Option<Vec<Range<u32>>> {
        let mut found = Vec::new();
        let (mut start, mut depth, mut between) = (range.start, 0_u32, false);
        for at in range.clone() {
            match self.statement.tokens().get(at as usize)?.kind {
                TokenKind::Symbol(Symbol::Open | Symbol::BracketOpen) | TokenKind::Keyword(Keyword::Case) => {
                    depth += 1;
                }
                TokenKind::Symbol(Symbol::Close | Symbol::BracketClose)
                | TokenKind::Keyword(Keyword::End) => depth = depth.checked_sub(1)?,
                TokenKind::Symbol(Symbol::Arrow) if depth == 0 => return None,
                TokenKind::Keyword(Keyword::Or) if depth == 0 && joined_by == Keyword::And => {
                    return Some(vec![range]);
                }
                TokenKind::Keyword(Keyword::Between) if depth == 0 => between = true,
                TokenKind::Keyword(Keyword::And) if depth == 0 && between => between = false,
                TokenKind::Keyword(keyword) if depth == 0 && keyword == joined_by => {
                    found.push(start..at);
                    start = at + 1;
                }
                _ => {}
            }
        }
        found.push(start..range.end);
        (depth == 0).then_some(found)
    }

    /// What stands in parentheses that are around all of it.
    fn within(&self, mut range: Range<u32>) -> Range<u32> {
        let kind = |at: u32| self.statement.tokens().get(at as usize).map(|token| token.kind);
        for _ in 0..MOST_PARENTHESES {
            let open = kind(range.start) == Some(TokenKind::Symbol(Symbol::Open));
            let inner = range.start + 1..range.end.saturating_sub(1);
            let close = kind(inner.end) == Some(TokenKind::Symbol(Symbol::Close));
            // These two belong together if what is between them is whole.
            if !open || !close || inner.is_empty() || self.parts(inner.clone(), Keyword::Or).is_none() {
                break;
            }
            range = inner;
        }
        range
    }

    /// One condition, or several that OR joins, all of which can be copied.
    fn either(
        &self,
        range: Range<u32>,
        relation: &Relation,
        alone: bool,
        column: Column<'_>,
    ) -> Option<String> {
        let parts = self.parts(self.within(range), Keyword::Or)?;
        if parts.len() > MOST {
            return None;
        }
        let one = |part: Range<u32>| {
            let part = self.within(part);
            let mut reader = Reader { statement: self.statement, at: part.start };
            let condition = reader.condition(part.end, relation, alone, column);
            condition.or_else(|| self.mirrored(part, relation, alone, column))
        };
        let texts = parts.into_iter().map(one).collect::<Option<Vec<_>>>()?;
        match &texts[..] {
            [text] => Some(text.clone()),
            texts => Some(format!("({})", texts.join(" OR "))),
        }
    }

    /// `1 = name`, and nothing behind it.
    fn mirrored(
        &self,
        range: Range<u32>,
        relation: &Relation,
        alone: bool,
        column: Column<'_>,
    ) -> Option<String> {
        let is_operator = |at: &u32| {
            let token = self.statement.tokens().get(*at as usize);
            token.is_some_and(|token| {
                Symbol::COMPARISONS.into_iter().any(|symbol| token.kind == TokenKind::Symbol(symbol))
            })
        };
        let operator = range.clone().find(is_operator)?;
        let mut behind = Reader { statement: self.statement, at: operator + 1 };
        let (operand, comparable) = behind.column(relation, alone, column)?;
        let mut before = Reader { statement: self.statement, at: range.start };
        before.literal(comparable)?;
        let text = self.statement.print_range(range.start..operator + 1, &Edits::default()).text;
        (before.at == operator && behind.at == range.end).then(|| format!("{text} {operand}"))
    }

    /// A column of the relation. Where the relation is not alone in its FROM, the name has the relation's in front.
    fn column(
        &mut self,
        relation: &Relation,
        alone: bool,
        column: Column<'_>,
    ) -> Option<(String, Comparable)> {
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
        column(&fold_column(&name))
    }

    /// `name = 1`, `name BETWEEN 1 AND 2`, `name IN ('a', 'b')`, `name LIKE 'a' [ESCAPE '\']`, and nothing behind it.
    fn condition(
        &mut self,
        end: u32,
        relation: &Relation,
        alone: bool,
        column: Column<'_>,
    ) -> Option<String> {
        let (operand, comparable) = self.column(relation, alone, column)?;
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
            Comparable::Date => self.word(Keyword::Date) && self.date(),
            Comparable::Timestamp => {
                let text = self.statement.slice(self.at + 1..self.at + 2);
                // With a zone in it the column would be converted, by the session's zone.
                let plain =
                    text.chars().all(|c| c.is_ascii_digit() || matches!(c, '\'' | '-' | ':' | '.' | ' '));
                plain
                    && (self.word(Keyword::Timestamp) && self.take(TokenKind::String)
                        || self.word(Keyword::Date) && self.date())
            }
        };
        taken.then_some(())
    }
}

impl Reader<'_> {
    /// The text of a date, and perhaps `+ INTERVAL '1' MONTH` behind it.
    fn date(&mut self) -> bool {
        let text = self.statement.slice(self.at..self.at + 1);
        if !self.take(TokenKind::String) {
            return false;
        }
        if !self.symbol(Symbol::Plus) && !self.symbol(Symbol::Minus) {
            return true;
        }
        // So near that the sum is a date, too.
        let near = text.len() == 12 && text.starts_with(['\'']) && matches!(text.as_bytes()[1], b'1' | b'2');
        let interval = self.word(Keyword::Interval);
        let number = self.statement.slice(self.at..self.at + 1).trim_matches('\'');
        let few = (1..=4).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
        near && interval
            && few
            && self.take(TokenKind::String)
            && [Keyword::Day, Keyword::Month, Keyword::Year].into_iter().any(|unit| self.word(unit))
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
