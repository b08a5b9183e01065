//! Which columns a statement can name: a derived table has no others, so that wide tables do not make long statements.

use std::collections::BTreeSet;

use crate::catalog::Column;
use crate::policy::Scoped;
use crate::sql::{Keyword, Position, Relation, Statement, Symbol, Token, TokenKind, fold_column};

/// The words of a statement that can be names of columns; none where all columns are meant.
pub(super) struct Mentioned(Option<BTreeSet<String>>);

impl Mentioned {
    /// Every column.
    pub(super) fn all() -> Self {
        Self(None)
    }

    /// Those that a statement names, if it has neither a star nor anything else that stands for all columns.
    pub(super) fn by(statement: &Statement) -> Self {
        let tokens = statement.tokens();
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
        let word = |(at, token): (u32, &Token)| {
            let text = statement.slice(at..at + 1);
            match token.kind {
                TokenKind::Word | TokenKind::Keyword(_) => Some(text.to_ascii_lowercase()),
                TokenKind::Quoted => {
                    Some(fold_column(&text[1..text.len() - 1].replace("\"\"", "\"")).into_owned())
                }
                _ => None,
            }
        };
        Self(Some((0_u32..).zip(tokens).filter_map(word).collect()))
    }

    /// For one relation: all its columns where the statement gives them other names, or shows the relation itself.
    pub(super) fn fits(statement: &Statement, relation: &Relation) -> bool {
        let behind = relation.version.as_ref().map_or(relation.tokens.end, |version| version.end);
        let kind = |at: u32| statement.tokens().get(at as usize).map(|token| token.kind);
        let list = relation.alias.as_ref().is_some_and(|_| {
            let named = behind + u32::from(kind(behind) == Some(TokenKind::Keyword(Keyword::As)));
            kind(named + 1) == Some(TokenKind::Symbol(Symbol::Open))
        });
        relation.position == Position::From && !list
    }

    /// The columns of a relation that are shown and can be named; the first where there is none.
    pub(super) fn of<'a>(&'a self, scoped: &'a Scoped) -> impl Iterator<Item = &'a Column> {
        let named =
            |column: &Column| self.0.as_ref().is_none_or(|words| words.contains(&*fold_column(&column.name)));
        let any = scoped.columns().any(named);
        scoped
            .columns()
            .enumerate()
            .filter(move |(at, column)| if any { named(column) } else { *at == 0 })
            .map(|(_, column)| column)
    }
}
