//! Conditions of the user's that may be copied into the derived table of a listing.
//!
//! Nothing of the user's is evaluated behind the barrier of a listing, so that Trino would ask each connector for
//! all of its tables and columns to answer for one of them. What a condition needs to be copied: it compares a
//! name in the listing with strings, which cannot fail on any row; it is one of the conditions that WHERE joins
//! with AND; and the listing is all that its FROM has. It stays where it was, too.

use std::ops::Range;

use crate::sql::{Edits, Keyword, Relation, Statement, Symbol, TokenKind, fold_column, quote_identifier};

/// The most conditions that are copied.
const MOST: usize = 16;

/// The conditions of the query specification in whose FROM a listing stands, as SQL over the listing's columns:
/// each begins with ` AND `. `columns` are the names, in lower case, that conditions may be about.
pub(super) fn conditions(statement: &Statement, relation: &Relation, columns: &[&str]) -> String {
    let reader = Reader { statement, at: relation.tokens.end };
    reader.conditions(relation, columns).unwrap_or_default()
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

    fn name(&self) -> Option<String> {
        let text = self.statement.slice(self.at..self.at + 1);
        match self.kind()? {
            TokenKind::Word => Some(text.to_owned()),
            TokenKind::Quoted => Some(text[1..text.len() - 1].replace("\"\"", "\"")),
            _ => None,
        }
    }

    fn conditions(mut self, relation: &Relation, columns: &[&str]) -> Option<String> {
        // The listing is alone: WHERE follows its alias.
        let before = self.statement.tokens().get(relation.tokens.start.checked_sub(1)? as usize)?;
        if before.kind != TokenKind::Keyword(Keyword::From) || relation.version.is_some() {
            return None;
        }
        if let Some(alias) = &relation.alias {
            self.word(Keyword::As);
            if self.name()? != alias.value {
                return None;
            }
            self.at += 1;
        }
        if !self.word(Keyword::Where) {
            return None;
        }
        let mut copied = String::new();
        for range in self.conjuncts()?.into_iter().take(MOST) {
            let mut inner = Reader { statement: self.statement, at: range.start };
            if let Some(text) = inner.condition(range.end, relation, columns) {
                copied.push_str(" AND ");
                copied.push_str(&text);
            }
        }
        Some(copied)
    }

    /// The conditions that AND joins, up to the end of WHERE. None where there is an OR among them, or something
    /// that AND may be part of.
    fn conjuncts(&mut self) -> Option<Vec<Range<u32>>> {
        let mut found = Vec::new();
        let (mut start, mut depth) = (self.at, 0_u32);
        loop {
            match self.kind() {
                Some(TokenKind::Symbol(Symbol::Open | Symbol::BracketOpen)) => depth += 1,
                Some(TokenKind::Symbol(Symbol::Close | Symbol::BracketClose)) if depth > 0 => depth -= 1,
                Some(TokenKind::Keyword(Keyword::Or | Keyword::Case | Keyword::Between)) if depth == 0 => {
                    return None;
                }
                Some(TokenKind::Symbol(Symbol::Arrow)) if depth == 0 => return None,
                Some(TokenKind::Keyword(Keyword::And)) if depth == 0 => {
                    found.push(start..self.at);
                    start = self.at + 1;
                }
                kind if depth == 0 && self.ends(kind) => {
                    found.push(start..self.at);
                    return Some(found);
                }
                None => return None,
                Some(_) => {}
            }
            self.at += 1;
        }
    }

    /// Whether WHERE ends here. Words that are also names count only with what must follow them.
    fn ends(&self, kind: Option<TokenKind>) -> bool {
        let Some(kind) = kind else { return true };
        let next = self.statement.tokens().get(self.at as usize + 1).map(|token| token.kind);
        match kind {
            TokenKind::Symbol(Symbol::Close)
            | TokenKind::Keyword(
                Keyword::Group
                | Keyword::Having
                | Keyword::Order
                | Keyword::Union
                | Keyword::Except
                | Keyword::Intersect,
            ) => true,
            TokenKind::Keyword(Keyword::Limit | Keyword::Offset) => matches!(
                next,
                Some(
                    TokenKind::Integer
                        | TokenKind::Symbol(Symbol::Question)
                        | TokenKind::Keyword(Keyword::All)
                )
            ),
            _ => false,
        }
    }

    /// `name = 'a'`, `name LIKE 'a' [ESCAPE '\']` or `name IN ('a', 'b')`, and nothing behind it.
    fn condition(&mut self, end: u32, relation: &Relation, columns: &[&str]) -> Option<String> {
        let mut name = self.name()?;
        self.at += 1;
        if self.symbol(Symbol::Dot) {
            let known = relation.alias.as_ref().or(relation.name.last())?;
            if fold_column(&name) != fold_column(&known.value) {
                return None;
            }
            name = self.name()?;
            self.at += 1;
        }
        let folded = fold_column(&name);
        if !columns.contains(&folded.as_str()) {
            return None;
        }
        let operator = self.at;
        if self.symbol(Symbol::Equal) {
            self.string()?;
        } else if self.word(Keyword::Like) {
            let pattern = self.string()?;
            if self.word(Keyword::Escape) && (self.string()? != "'\\'" || !is_escaped(pattern)) {
                return None;
            }
        } else if self.word(Keyword::In) {
            if !self.symbol(Symbol::Open) {
                return None;
            }
            self.string()?;
            while self.symbol(Symbol::Comma) {
                self.string()?;
            }
            if !self.symbol(Symbol::Close) {
                return None;
            }
        } else {
            return None;
        }
        let rest = self.statement.print_range(operator..end, &Edits::default()).text;
        (self.at == end).then(|| format!("{} {rest}", quote_identifier(&folded)))
    }

    /// A string literal, quotes included.
    fn string(&mut self) -> Option<&'a str> {
        let at = self.at;
        self.take(TokenKind::String).then(|| self.statement.slice(at..at + 1))
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
