//! Primary expressions: literals, names, calls, parentheses.

use super::query::Inner;
use super::{Parsed, Parser};
use crate::sql::facts::SpecialKind;
use crate::sql::lexer::{Symbol, TokenKind};
use crate::sql::{Keyword, fold_column};

impl Parser<'_> {
    pub(super) fn primary(&mut self) -> Parsed {
        if self.pending {
            self.pending = false;
        } else {
            self.simple_primary()?;
        }
        loop {
            if self.take_symbol(Symbol::BracketOpen) {
                self.nested(Self::value_expression)?;
                self.expect_symbol(Symbol::BracketClose, "']'")?;
            } else if self.is_symbol(Symbol::Dot) && !self.is_symbol_at(1, Symbol::Asterisk) {
                self.at += 1;
                self.skip_identifier()?;
            } else {
                return Ok(());
            }
        }
    }

    fn simple_primary(&mut self) -> Parsed {
        match self.kind(0) {
            Some(TokenKind::Integer | TokenKind::Decimal | TokenKind::Double | TokenKind::Binary) => {
                self.at += 1;
                Ok(())
            }
            Some(TokenKind::String | TokenKind::UnicodeString) => self.string(),
            Some(TokenKind::Symbol(Symbol::Question)) => {
                self.at += 1;
                self.note(SpecialKind::Parameter, self.at - 1);
                Ok(())
            }
            Some(TokenKind::Symbol(Symbol::Open)) => self.parenthesis(),
            Some(TokenKind::Symbol(Symbol::BracketOpen)) => {
                self.at += 1;
                if !self.is_symbol(Symbol::BracketClose) {
                    self.list(Self::expression)?;
                }
                self.expect_symbol(Symbol::BracketClose, "']'")
            }
            Some(TokenKind::Keyword(keyword)) if keyword.is_reserved() => self.reserved(keyword),
            Some(TokenKind::Keyword(keyword)) => {
                if self.free(keyword)? {
                    return Ok(());
                }
                self.name_or_call()
            }
            Some(TokenKind::Word | TokenKind::Quoted) => self.name_or_call(),
            Some(TokenKind::Symbol(_)) | None => Err(self.expected("an expression")),
        }
    }

    // Parentheses.

    fn parenthesis(&mut self) -> Parsed {
        if let Some(parameters) = self.lambda_parameters() {
            return self.lambda(parameters);
        }
        if self.leads_to_query(0) {
            return self.query_or_expression().map(drop);
        }
        self.at += 1;
        self.list(Self::expression)?;
        self.close()
    }

    /// At a parenthesis that a query stands behind: a subquery, or an expression that begins with one.
    pub(super) fn query_or_expression(&mut self) -> Parsed<Inner> {
        self.nested(|parser| {
            let start = parser.at;
            parser.open()?;
            if !parser.is_symbol(Symbol::Open) {
                parser.note(SpecialKind::Subquery, start);
                parser.subquery()?;
                return Ok(Inner::Query);
            }
            let inner = parser.query_or_expression()?;
            if inner == Inner::Query && parser.query_goes_on() {
                let outer = parser.scope;
                parser.set_operations(None)?;
                parser.query_tail(None)?;
                parser.scope = outer;
                parser.close()?;
                return Ok(Inner::Query);
            }
            if inner == Inner::Query && parser.take_symbol(Symbol::Close) {
                return Ok(Inner::Query);
            }
            parser.behind_primary()?;
            parser.close()?;
            Ok(Inner::Other)
        })
    }

    /// The rest of a list of expressions whose first begins with a primary that has been read.
    pub(super) fn behind_primary(&mut self) -> Parsed {
        self.pending = true;
        self.list(Self::expression)
    }

    /// How many parameters `(a, b) ->` has, if that is what stands here.
    fn lambda_parameters(&self) -> Option<usize> {
        if self.is_symbol_at(1, Symbol::Close) {
            return self.is_symbol_at(2, Symbol::Arrow).then_some(0);
        }
        let mut count = 0;
        loop {
            if !self.is_identifier_at(1 + 2 * count) {
                return None;
            }
            count += 1;
            match self.kind(2 * count) {
                Some(TokenKind::Symbol(Symbol::Comma)) => {}
                Some(TokenKind::Symbol(Symbol::Close)) => {
                    return self.is_symbol_at(2 * count + 1, Symbol::Arrow).then_some(count);
                }
                _ => return None,
            }
        }
    }

    fn lambda(&mut self, parameters: usize) -> Parsed {
        self.at += 1;
        let names = (0..parameters)
            .map(|n| fold_column(&self.ident_of(self.at + 2 * n).value).into_owned())
            .collect();
        self.at += if parameters == 0 { 2 } else { 2 * parameters + 1 };
        self.lambda_body(names)
    }

    fn lambda_body(&mut self, names: Vec<String>) -> Parsed {
        let visible = self.lambdas.len();
        names.into_iter().for_each(|name| self.lambdas.push(name));
        self.expression()?;
        self.lambdas.truncate(visible);
        Ok(())
    }

    // Words.

    fn reserved(&mut self, keyword: Keyword) -> Parsed {
        let start = self.at;
        self.at += 1;
        match keyword {
            Keyword::Null | Keyword::True | Keyword::False => Ok(()),
            Keyword::Case => self.case(),
            Keyword::Cast => self.cast(),
            Keyword::Exists => {
                self.open()?;
                self.note(SpecialKind::Subquery, start);
                self.subquery()
            }
            Keyword::Extract => {
                self.open()?;
                self.skip_identifier()?;
                self.expect(Keyword::From)?;
                self.nested(Self::value_expression)?;
                self.close()
            }
            Keyword::Trim => self.trim(),
            Keyword::Normalize => {
                self.open()?;
                self.nested(Self::value_expression)?;
                if self.take_symbol(Symbol::Comma) {
                    self.expect_any(&[Keyword::Nfd, Keyword::Nfc, Keyword::Nfkd, Keyword::Nfkc])?;
                }
                self.close()
            }
            Keyword::Grouping => {
                self.open()?;
                if !self.is_symbol(Symbol::Close) {
                    self.list(|parser| {
                        let start = parser.at;
                        let (parts, _) = parser.qualified_name()?;
                        parser.note_reference(start, parts.len(), false);
                        Ok(())
                    })?;
                }
                self.close()
            }
            Keyword::Listagg => self.listagg(),
            Keyword::JsonExists => self.json_exists(),
            Keyword::JsonValue => self.json_value(),
            Keyword::JsonQuery => self.json_query(),
            Keyword::JsonObject => self.json_object(),
            Keyword::JsonArray => self.json_array(),
            Keyword::CurrentUser => self.special(SpecialKind::CurrentUser, false),
            Keyword::CurrentCatalog => self.special(SpecialKind::CurrentCatalog, false),
            Keyword::CurrentSchema => self.special(SpecialKind::CurrentSchema, false),
            Keyword::CurrentPath => self.special(SpecialKind::CurrentPath, false),
            Keyword::CurrentDate => self.special(SpecialKind::CurrentDate, false),
            Keyword::CurrentTime => self.special(SpecialKind::CurrentTime, true),
            Keyword::CurrentTimestamp => self.special(SpecialKind::CurrentTimestamp, true),
            Keyword::Localtime => self.special(SpecialKind::LocalTime, true),
            Keyword::Localtimestamp => self.special(SpecialKind::LocalTimestamp, true),
            _ => {
                self.at = start;
                Err(self.expected("an expression"))
            }
        }
    }

    /// A value that is written as a word; the word has been taken.
    fn special(&mut self, kind: SpecialKind, precision: bool) -> Parsed {
        let start = self.at - 1;
        if precision && self.take_symbol(Symbol::Open) {
            self.integer()?;
            self.close()?;
        }
        self.note(kind, start);
        Ok(())
    }

    /// Forms of words that are not reserved. `false` where the word is a name here.
    fn free(&mut self, keyword: Keyword) -> Parsed<bool> {
        let call = self.is_symbol_at(1, Symbol::Open);
        match keyword {
            Keyword::Interval
                if (self.is_string_at(1) && self.is_interval_field(2))
                    || ((self.is_symbol_at(1, Symbol::Plus) || self.is_symbol_at(1, Symbol::Minus))
                        && self.is_string_at(2)) =>
            {
                self.at += 1;
                self.note(SpecialKind::TimeType, self.at - 1);
                self.interval()?;
            }
            Keyword::Double if self.is_at(1, Keyword::Precision) && self.is_string_at(2) => {
                self.at += 2;
                self.string()?;
            }
            Keyword::Array if self.is_symbol_at(1, Symbol::BracketOpen) => {
                self.at += 2;
                if !self.is_symbol(Symbol::BracketClose) {
                    self.list(Self::expression)?;
                }
                self.expect_symbol(Symbol::BracketClose, "']'")?;
            }
            Keyword::Row if call => {
                self.at += 2;
                self.list(Self::expression)?;
                self.close()?;
            }
            Keyword::TryCast if call => {
                self.at += 1;
                self.cast()?;
            }
            Keyword::Position if call => self.position()?,
            Keyword::Substring if call => self.substring()?,
            Keyword::Running | Keyword::Final if self.is_identifier_at(1) && self.is_call_at(1) => {
                self.at += 1;
                self.name_or_call()?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether a dotted name and an opening parenthesis stand `ahead` from here.
    fn is_call_at(&self, ahead: usize) -> bool {
        let mut at = ahead;
        while self.is_identifier_at(at) {
            if self.is_symbol_at(at + 1, Symbol::Open) {
                return true;
            }
            if !self.is_symbol_at(at + 1, Symbol::Dot) {
                return false;
            }
            at += 2;
        }
        false
    }

    fn case(&mut self) -> Parsed {
        if !self.is(Keyword::When) {
            self.expression()?;
        }
        loop {
            self.expect(Keyword::When)?;
            self.expression()?;
            self.expect(Keyword::Then)?;
            self.expression()?;
            if !self.is(Keyword::When) {
                break;
            }
        }
        if self.take(Keyword::Else) {
            self.expression()?;
        }
        self.expect(Keyword::End)
    }

    fn cast(&mut self) -> Parsed {
        self.open()?;
        self.expression()?;
        self.expect(Keyword::As)?;
        self.data_type()?;
        self.close()
    }

    fn trim(&mut self) -> Parsed {
        self.open()?;
        let side = self.is_any(&[Keyword::Leading, Keyword::Trailing, Keyword::Both])
            && !self.is_symbol_at(1, Symbol::Close)
            && !self.is_symbol_at(1, Symbol::Comma);
        if side {
            self.at += 1;
        }
        if !self.take(Keyword::From) {
            self.nested(Self::value_expression)?;
            if self.take_symbol(Symbol::Comma) {
                self.nested(Self::value_expression)?;
                return self.close();
            }
            if !self.take(Keyword::From) {
                return self.close();
            }
        }
        self.nested(Self::value_expression)?;
        self.close()
    }

    fn position(&mut self) -> Parsed {
        let start = self.at;
        self.at += 2;
        if self.is_symbol(Symbol::Close) {
            self.at = start;
            return self.name_or_call();
        }
        self.nested(|parser| {
            parser.value_expression()?;
            if parser.take(Keyword::In) {
                parser.value_expression()?;
                return parser.close();
            }
            let call = parser.note_function(start);
            parser.expression_behind_value()?;
            parser.arguments_behind_first(call)
        })
    }

    fn substring(&mut self) -> Parsed {
        let start = self.at;
        self.at += 2;
        if self.is_symbol(Symbol::Close) {
            self.at = start;
            return self.name_or_call();
        }
        self.nested(|parser| {
            parser.value_expression()?;
            if parser.take(Keyword::From) {
                parser.value_expression()?;
                if parser.take(Keyword::For) {
                    parser.value_expression()?;
                }
                return parser.close();
            }
            let call = parser.note_function(start);
            parser.expression_behind_value()?;
            parser.arguments_behind_first(call)
        })
    }

    /// Notes a function whose name is the one token at `start`.
    fn note_function(&mut self, start: usize) -> usize {
        let name = vec![self.ident_of(start)];
        self.note_call(name, super::index(start)..super::index(start + 1), false)
    }

    fn arguments_behind_first(&mut self, call: usize) -> Parsed {
        if self.take_symbol(Symbol::Comma) {
            self.list(Self::expression)?;
        }
        self.close()?;
        self.behind_call(call)
    }

    fn listagg(&mut self) -> Parsed {
        self.open()?;
        self.take_any(&[Keyword::Distinct, Keyword::All]);
        self.expression()?;
        if self.take_symbol(Symbol::Comma) {
            self.string()?;
        }
        if self.take(Keyword::On) {
            self.expect(Keyword::Overflow)?;
            if !self.take(Keyword::Error) {
                self.expect(Keyword::Truncate)?;
                if self.is_string_at(0) {
                    self.string()?;
                }
                self.expect_any(&[Keyword::With, Keyword::Without])?;
                self.expect(Keyword::Count)?;
            }
        }
        self.close()?;
        self.expect_all(&[Keyword::Within, Keyword::Group])?;
        self.open()?;
        self.order_by()?;
        self.close()?;
        self.filter()?;
        if self.is(Keyword::Over) && (self.is_symbol_at(1, Symbol::Open) || self.is_identifier_at(1)) {
            return self.over();
        }
        Ok(())
    }

    // Names and calls.

    fn name_or_call(&mut self) -> Parsed {
        let start = self.at;
        if self.is_symbol_at(1, Symbol::Arrow) {
            let name = fold_column(&self.identifier()?.value).into_owned();
            self.at += 1;
            return self.lambda_body(vec![name]);
        }
        if self.is_string_at(1) {
            // A type in front of a literal: `DATE '2020-01-01'`.
            if is_time(&fold_column(&self.ident_of(start).value)) {
                self.at += 1;
                self.note(SpecialKind::TimeType, start);
                self.at = start;
            }
            self.at += 1;
            return self.string();
        }
        let mut parts = 1;
        self.at += 1;
        while self.is_symbol(Symbol::Dot) && self.is_identifier_at(1) {
            self.at += 2;
            parts += 1;
        }
        if self.is_symbol(Symbol::Open) {
            let name = (0..parts).map(|n| self.ident_of(start + 2 * n)).collect();
            let tokens = self.range(start);
            let call = self.note_call(name, tokens, false);
            return self.arguments(call);
        }
        self.note_reference(start, parts, false);
        if parts == 1
            && self.is(Keyword::Over)
            && (self.is_symbol_at(1, Symbol::Open) || self.is_identifier_at(1))
        {
            return self.over();
        }
        Ok(())
    }

    fn arguments(&mut self, call: usize) -> Parsed {
        self.open()?;
        let labelled = self.is_identifier()
            && self.is_symbol_at(1, Symbol::Dot)
            && self.is_symbol_at(2, Symbol::Asterisk);
        if labelled {
            self.at += 2;
        }
        if self.take_symbol(Symbol::Asterisk) {
            self.close()?;
            return self.behind_call(call);
        }
        if !self.is_symbol(Symbol::Close) && !self.is(Keyword::Order) {
            let quantifier = self.is(Keyword::Distinct) || (self.is(Keyword::All) && !self.ends_argument(1));
            if quantifier {
                self.at += 1;
            }
            self.list(Self::expression)?;
        }
        if self.is(Keyword::Order) {
            self.order_by()?;
        }
        self.close()?;
        self.behind_call(call)
    }

    /// Whether the token `ahead` cannot begin an expression, so that the word before it is one.
    fn ends_argument(&self, ahead: usize) -> bool {
        match self.kind(ahead) {
            Some(TokenKind::Symbol(symbol)) => {
                !matches!(symbol, Symbol::Open | Symbol::Question | Symbol::Minus | Symbol::Plus)
            }
            _ => false,
        }
    }

    fn behind_call(&mut self, call: usize) -> Parsed {
        self.filter()?;
        let treatment = self.is_any(&[Keyword::Ignore, Keyword::Respect]) && self.is_at(1, Keyword::Nulls);
        self.at += if treatment { 2 } else { 0 };
        let window = treatment
            || (self.is(Keyword::Over) && (self.is_symbol_at(1, Symbol::Open) || self.is_identifier_at(1)));
        if window {
            self.over()?;
        }
        self.end_call(call, window);
        Ok(())
    }

    fn filter(&mut self) -> Parsed {
        if self.is(Keyword::Filter) && self.is_symbol_at(1, Symbol::Open) {
            self.at += 2;
            self.expect(Keyword::Where)?;
            self.expression()?;
            self.close()?;
        }
        Ok(())
    }

    fn over(&mut self) -> Parsed {
        self.expect(Keyword::Over)?;
        if self.take_symbol(Symbol::Open) {
            self.nested(Self::window_specification)?;
            return self.close();
        }
        self.skip_identifier()
    }
}

/// Whether a type has to do with time, so that the session's time zone can matter.
pub(super) fn is_time(folded: &str) -> bool {
    matches!(folded, "date" | "time" | "timestamp")
}
