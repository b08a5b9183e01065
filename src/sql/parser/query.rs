//! Queries: WITH, set operations, query specifications.

use super::{Parsed, Parser};
use crate::sql::facts::{Position, Relation, Scope, ScopeId};
use crate::sql::lexer::{Symbol, TokenKind};
use crate::sql::{Ident, Keyword};

/// What stands in parentheses where both a query and something else may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inner {
    /// A query; the parentheses make it a subquery.
    Query,
    /// Something else, in parentheses.
    Other,
}

impl Parser<'_> {
    /// A query that is a statement: it may begin with functions and session properties of its own.
    pub(in crate::sql) fn root_query(&mut self) -> Parsed {
        loop {
            // A CTE may be named "function" or "session", too.
            let named = self.is_symbol_at(2, Symbol::Open) || self.is_at(2, Keyword::As);
            if named || !self.is(Keyword::With) {
                return self.query();
            }
            if self.is_at(1, Keyword::Function) && !self.facts.inline_functions {
                self.at += 1;
                self.facts.inline_functions = true;
                self.list(Self::function)?;
            } else if self.is_at(1, Keyword::Session) && !self.facts.inline_functions {
                self.at += 2;
                self.list(Self::session_property)?;
            } else {
                return self.query();
            }
        }
    }

    fn session_property(&mut self) -> Parsed {
        let (name, _) = self.qualified_name()?;
        self.expect_symbol(Symbol::Equal, "'='")?;
        let before = self.facts.relations.len();
        self.expression()?;
        if self.facts.relations.len() > before {
            return self.unsupported("queries in session properties are");
        }
        self.facts.session_properties.push(name);
        Ok(())
    }

    pub(super) fn query(&mut self) -> Parsed {
        self.nested(|parser| {
            let visible = parser.ctes.len();
            if parser.take(Keyword::With) {
                let recursive = parser.take(Keyword::Recursive);
                parser.list(|parser| parser.named_query(recursive))?;
            }
            parser.query_no_with()?;
            parser.ctes.truncate(visible);
            Ok(())
        })
    }

    fn named_query(&mut self, recursive: bool) -> Parsed {
        let name = self.cte_name()?;
        // Trino does not look for references to a recursive query behind another one of its name: what stands
        // there reads the table of that name, and would be taken for the query here.
        if self.recursive.contains(&name) {
            return self.unsupported("a WITH query of the same name inside a recursive one is");
        }
        if self.is_symbol(Symbol::Open) {
            self.column_aliases()?;
        }
        self.expect(Keyword::As)?;
        if recursive {
            self.ctes.push(name.clone());
            self.recursive.push(name);
            self.parenthesized_query()?;
            self.recursive.pop();
        } else {
            self.parenthesized_query()?;
            self.ctes.push(name);
        }
        Ok(())
    }

    fn parenthesized_query(&mut self) -> Parsed {
        self.open()?;
        self.query()?;
        self.close()
    }

    /// The name of a CTE, folded. One that is not sure to be folded as Trino folds it is refused: a name
    /// that we take for a CTE and Trino for a table would not be rewritten.
    fn cte_name(&mut self) -> Parsed<String> {
        let name = self.identifier()?;
        match name.folded() {
            Some(folded) => Ok(folded),
            None => Err(self.error("this name is not supported for a WITH query")),
        }
    }

    fn is_cte(&self, name: &Ident) -> bool {
        name.folded().is_some_and(|folded| self.ctes.contains(&folded))
    }

    pub(super) fn column_aliases(&mut self) -> Parsed {
        self.open()?;
        self.list(Self::skip_identifier)?;
        self.close()
    }

    fn query_no_with(&mut self) -> Parsed {
        let specification = self.query_term()?;
        self.query_tail(specification)
    }

    /// ORDER BY, OFFSET, LIMIT, FETCH. The first looks names up in the query specification that it orders.
    pub(super) fn query_tail(&mut self, specification: Option<ScopeId>) -> Parsed {
        if self.is(Keyword::Order) {
            let outer = self.scope;
            self.scope = match specification {
                Some(scope) => Some(scope),
                None => Some(self.new_scope(outer)),
            };
            self.order_by()?;
            self.scope = outer;
        }
        if self.take(Keyword::Offset) {
            self.row_count()?;
            self.take_any(&[Keyword::Row, Keyword::Rows]);
        }
        if self.take(Keyword::Limit) {
            if !self.take(Keyword::All) {
                self.row_count()?;
            }
        } else if self.take(Keyword::Fetch) {
            self.expect_any(&[Keyword::First, Keyword::Next])?;
            if !self.is_any(&[Keyword::Row, Keyword::Rows]) {
                self.row_count()?;
            }
            self.expect_any(&[Keyword::Row, Keyword::Rows])?;
            if !self.take(Keyword::Only) {
                self.expect_all(&[Keyword::With, Keyword::Ties])?;
            }
        }
        Ok(())
    }

    /// Whether a clause or a set operation follows that can only continue a query. LIMIT, OFFSET and FETCH
    /// are also names, so what comes behind them counts.
    pub(super) fn query_goes_on(&self) -> bool {
        let count = |parser: &Self| {
            matches!(parser.kind(1), Some(TokenKind::Integer | TokenKind::Symbol(Symbol::Question)))
        };
        match self.kind(0) {
            Some(TokenKind::Keyword(
                Keyword::Union | Keyword::Except | Keyword::Intersect | Keyword::Order,
            )) => true,
            Some(TokenKind::Keyword(Keyword::Offset)) => count(self),
            Some(TokenKind::Keyword(Keyword::Limit)) => count(self) || self.is_at(1, Keyword::All),
            Some(TokenKind::Keyword(Keyword::Fetch)) => {
                self.is_at(1, Keyword::First) || self.is_at(1, Keyword::Next)
            }
            _ => false,
        }
    }

    fn row_count(&mut self) -> Parsed {
        if self.take_symbol(Symbol::Question) {
            return Ok(());
        }
        self.integer()
    }

    pub(super) fn order_by(&mut self) -> Parsed {
        self.expect_all(&[Keyword::Order, Keyword::By])?;
        self.list(Self::sort_item)
    }

    pub(super) fn sort_item(&mut self) -> Parsed {
        self.expression()?;
        self.take_any(&[Keyword::Asc, Keyword::Desc]);
        if self.take(Keyword::Nulls) {
            self.expect_any(&[Keyword::First, Keyword::Last])?;
        }
        Ok(())
    }

    /// Queries with set operations between them. Which binds tighter does not matter here.
    fn query_term(&mut self) -> Parsed<Option<ScopeId>> {
        let first = self.query_primary()?;
        self.set_operations(first)
    }

    pub(super) fn set_operations(&mut self, first: Option<ScopeId>) -> Parsed<Option<ScopeId>> {
        let mut specification = first;
        while self.take_any(&[Keyword::Union, Keyword::Except, Keyword::Intersect]) {
            self.take_any(&[Keyword::Distinct, Keyword::All]);
            if self.take(Keyword::Corresponding) && self.take(Keyword::By) {
                self.column_aliases()?;
            }
            self.query_primary()?;
            specification = None;
        }
        Ok(specification)
    }

    fn query_primary(&mut self) -> Parsed<Option<ScopeId>> {
        if self.is(Keyword::Select) {
            return self.query_specification().map(Some);
        }
        if self.take(Keyword::Table) {
            let relation = self.table_name(Position::TableBody)?;
            if let Some(relation) = relation {
                self.facts.relations.push(relation);
            }
            return Ok(None);
        }
        if self.take(Keyword::Values) {
            self.list(Self::expression)?;
            return Ok(None);
        }
        if self.take_symbol(Symbol::Open) {
            return self.nested(|parser| {
                parser.query_no_with()?;
                parser.close()?;
                Ok(None)
            });
        }
        Err(self.expected("a query"))
    }

    /// The name of a relation; `None` where it is the name of a CTE.
    pub(super) fn table_name(&mut self, position: Position) -> Parsed<Option<Relation>> {
        let at = self.at;
        let (name, tokens) = self.qualified_name()?;
        if name.len() == 1 && self.is_cte(&name[0]) {
            return Ok(None);
        }
        if name.len() > 3 {
            self.at = at;
            return Err(self.error("a table's name has at most three parts"));
        }
        Ok(Some(Relation {
            name,
            tokens,
            version: None,
            version_is_literal: false,
            position,
            alias: None,
            sampled: false,
            scope: self.scope,
        }))
    }

    pub(super) fn new_scope(&mut self, parent: Option<ScopeId>) -> ScopeId {
        self.facts.scopes.push(Scope { parent, from: None, condition: None });
        super::index(self.facts.scopes.len() - 1)
    }

    fn query_specification(&mut self) -> Parsed<ScopeId> {
        self.expect(Keyword::Select)?;
        let outer = self.scope;
        let scope = self.new_scope(outer);
        self.scope = Some(scope);
        // ALL is also a name.
        let name = matches!(
            self.kind(1),
            None | Some(
                TokenKind::Symbol(Symbol::Comma | Symbol::Close | Symbol::Dot)
                    | TokenKind::Keyword(Keyword::From)
            )
        );
        if !self.take(Keyword::Distinct) && !name {
            self.take(Keyword::All);
        }
        self.list(Self::select_item)?;
        if self.take(Keyword::From) {
            self.facts.scopes[scope as usize].from = Some(super::index(self.at - 1));
            self.list(Self::relation)?;
        }
        if self.take(Keyword::Where) {
            let start = self.at;
            self.expression()?;
            self.facts.scopes[scope as usize].condition = Some(self.range(start));
        }
        if self.take(Keyword::Group) {
            self.expect(Keyword::By)?;
            self.group_by()?;
        }
        if self.take(Keyword::Having) {
            self.expression()?;
        }
        if self.is(Keyword::Window) {
            self.at += 1;
            self.list(|parser| {
                parser.skip_identifier()?;
                parser.expect(Keyword::As)?;
                parser.open()?;
                parser.window_specification()?;
                parser.close()
            })?;
        }
        self.scope = outer;
        Ok(scope)
    }

    fn select_item(&mut self) -> Parsed {
        if self.take_symbol(Symbol::Asterisk) {
            return Ok(());
        }
        if self.qualified_star()? {
            return Ok(());
        }
        self.expression()?;
        // `expression.*` of a row; the expression itself ended in front of the dot.
        if self.is_symbol(Symbol::Dot) && self.is_symbol_at(1, Symbol::Asterisk) {
            self.at += 2;
            return self.star_aliases();
        }
        if self.take(Keyword::As) || (self.is_identifier() && !self.continues_relation()) {
            self.skip_identifier()?;
        }
        Ok(())
    }

    fn star_aliases(&mut self) -> Parsed {
        if self.take(Keyword::As) { self.column_aliases() } else { Ok(()) }
    }

    /// `a.b.*`, if that is what stands here.
    fn qualified_star(&mut self) -> Parsed<bool> {
        let mut parts = 0;
        while self.is_identifier_at(2 * parts) && self.is_symbol_at(2 * parts + 1, Symbol::Dot) {
            parts += 1;
        }
        if parts == 0 || !self.is_symbol_at(2 * parts, Symbol::Asterisk) {
            return Ok(false);
        }
        self.note_reference(self.at, parts, true);
        self.at += 2 * parts + 1;
        self.star_aliases()?;
        Ok(true)
    }

    fn group_by(&mut self) -> Parsed {
        // ALL and DISTINCT are also names.
        self.take_any(&[Keyword::Distinct, Keyword::All]);
        self.list(|parser| {
            // AUTO groups by what the select list says.
            if parser.take(Keyword::Auto) {
                return Ok(());
            }
            if parser.is_any(&[Keyword::Rollup, Keyword::Cube]) && parser.is_symbol_at(1, Symbol::Open) {
                parser.at += 2;
                if !parser.is_symbol(Symbol::Close) {
                    parser.list(Self::grouping_set)?;
                }
                return parser.close();
            }
            if parser.is(Keyword::Grouping) && parser.is_at(1, Keyword::Sets) {
                parser.at += 2;
                parser.open()?;
                parser.list(Self::grouping_set)?;
                return parser.close();
            }
            parser.grouping_set()
        })
    }

    fn grouping_set(&mut self) -> Parsed {
        if self.is_symbol(Symbol::Open) && self.is_symbol_at(1, Symbol::Close) {
            self.at += 2;
            return Ok(());
        }
        // `(a, b)` reads as a row, which has the same tokens.
        self.expression()
    }

    pub(super) fn window_specification(&mut self) -> Parsed {
        let clause = self.is_any(&[
            Keyword::Partition,
            Keyword::Order,
            Keyword::Measures,
            Keyword::Range,
            Keyword::Rows,
            Keyword::Groups,
        ]);
        if self.is_identifier() && !(clause && !self.is_symbol_at(1, Symbol::Close)) {
            self.at += 1;
        }
        if self.take(Keyword::Partition) {
            self.expect(Keyword::By)?;
            self.list(Self::expression)?;
        }
        if self.is(Keyword::Order) {
            self.order_by()?;
        }
        self.window_frame()
    }

    /// A query in parentheses whose first has been taken, in an expression. It sees the scope around it.
    pub(super) fn subquery(&mut self) -> Parsed {
        let outer = self.scope;
        let lambdas = std::mem::take(&mut self.lambdas);
        self.query()?;
        self.lambdas = lambdas;
        self.scope = outer;
        self.close()
    }

    /// Whether a query begins here; `TABLE (` begins a table function.
    pub(super) fn query_begins(&self) -> bool {
        self.is_any(&[Keyword::Select, Keyword::With, Keyword::Values])
            || (self.is(Keyword::Table) && !self.is_symbol_at(1, Symbol::Open))
    }
}
