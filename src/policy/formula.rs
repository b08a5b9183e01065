//! The SQL expressions of documents: checked when a set is loaded, bound to a table when it is read.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use super::permit::Scoped;
use super::subquery;
use crate::catalog::{Column, Described, TableName, Type};
use crate::identity::Principal;
use crate::sql::{
    Call, Edits, Expression, Limits, Repeat, Special, SpecialKind, push_identifier, quote_identifier,
    quote_string,
};

/// Policy expressions are small; these limits are generous.
const LIMITS: Limits = Limits { bytes: 65_536, tokens: 20_000, depth: 100 };

/// Stands for the inner alias in a bound expression until it is rendered. Neither the text of a policy nor a name
/// of a column or of the principal may hold it, nor the others; see [`is_plain`].
const ALIAS: char = '\u{1}';
/// The table of a sub-query and its alias: its number, and [`END`].
const READ: char = '\u{2}';
const READ_ALIAS: char = '\u{3}';
const END: char = '\u{4}';

/// Written as functions, but part of the language: they cannot be qualified, and nothing of the user's can
/// stand in their place.
const SYNTAX: [&str; 5] = ["coalesce", "format", "if", "nullif", "try"];

/// Functions that read the clock or the session's time zone.
const CLOCK: [&str; 14] = [
    "current_timezone",
    "date",
    "date_parse",
    "from_iso8601_timestamp",
    "from_iso8601_timestamp_nanos",
    "from_unixtime",
    "from_unixtime_nanos",
    "localtime",
    "localtimestamp",
    "now",
    "parse_datetime",
    "to_iso8601",
    "to_unixtime",
    "with_timezone",
];

/// Aggregate functions, and those that need a window: they would make one row of many.
const AGGREGATES: [&str; 71] = [
    "any_value",
    "approx_distinct",
    "approx_most_frequent",
    "approx_percentile",
    "approx_set",
    "arbitrary",
    "array_agg",
    "avg",
    "bitwise_and_agg",
    "bitwise_or_agg",
    "bitwise_xor_agg",
    "bool_and",
    "bool_or",
    "checksum",
    "classification_miss_rate",
    "convex_hull_agg",
    "corr",
    "count",
    "count_if",
    "covar_pop",
    "covar_samp",
    "cume_dist",
    "dense_rank",
    "entropy",
    "every",
    "first_value",
    "geometric_mean",
    "geometry_union_agg",
    "grouping",
    "histogram",
    "kurtosis",
    "lag",
    "last_value",
    "lead",
    "listagg",
    "make_set_digest",
    "map_agg",
    "map_union",
    "max",
    "max_by",
    "merge",
    "merge_set_digest",
    "min",
    "min_by",
    "multimap_agg",
    "nth_value",
    "ntile",
    "numeric_histogram",
    "percent_rank",
    "qdigest_agg",
    "rank",
    "reduce_agg",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "row_number",
    "skewness",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "sum",
    "tdigest_agg",
    "var_pop",
    "var_samp",
    "variance",
];

/// An expression of a document, checked as far as it can be without the table.
#[derive(Debug)]
pub(super) struct Formula {
    text: String,
    expression: Expression,
    /// The function calls that are not what they seem: their tokens and what they become.
    functions: Vec<Function>,
    /// The tables that its sub-queries read.
    sources: Vec<subquery::Source>,
    reads_clock: bool,
    /// What its value depends on besides columns.
    repeat: Repeat,
}

#[derive(Debug)]
struct Function {
    tokens: Range<u32>,
    becomes: Becomes,
}

#[derive(Debug)]
enum Becomes {
    Text(String),
    User,
    Groups,
    Attribute(String),
}

impl Formula {
    /// Reads and checks an expression. The error says what is wrong, for the author.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            return Err("the expression has a control character".to_owned());
        }
        let expression = Expression::parse(text, &LIMITS).map_err(|error| error.to_string())?;
        check_words(&expression)?;
        let sources = subquery::sources(&expression)?;
        let queries = subquery::extents(&expression);
        let mut reads_clock = false;
        let mut functions = Vec::new();
        for call in expression.calls() {
            let [name] = call.name.as_slice() else {
                return Err("functions are named by one part: they are always Trino's own".to_owned());
            };
            let folded = name.folded().unwrap_or_default();
            let in_query = queries.iter().any(|query| query.contains(&call.tokens.start));
            if AGGREGATES.contains(&folded.as_str()) && !in_query {
                return Err(format!("{folded} looks at many rows; a policy sees one"));
            }
            if call.table {
                return Err(format!("{folded} is a table function"));
            }
            reads_clock |= CLOCK.contains(&folded.as_str());
            if !SYNTAX.contains(&folded.as_str()) {
                functions.push(function(&expression, &folded, call)?);
            }
        }
        for special in expression.specials() {
            reads_clock |= special_reads_clock(&expression, special)?;
            if special.kind == SpecialKind::CurrentUser {
                functions.push(Function { tokens: special.tokens.clone(), becomes: Becomes::User });
            }
        }
        // Who asks is in the text that is sent.
        let repeat = Repeat { user: false, ..expression.repeat(&["current_groups", "attribute"]) };
        Ok(Self { text: text.to_owned(), expression, functions, sources, reads_clock, repeat })
    }

    /// The text as it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The tables that its sub-queries read.
    pub(super) fn reads(&self) -> impl Iterator<Item = &TableName> {
        self.sources.iter().map(|source| &source.name)
    }

    /// Whether two expressions are printed alike.
    pub(super) fn same(&self, other: &Self) -> bool {
        let print = |formula: &Self| {
            let mut edits = Edits::default();
            for reference in formula.expression.columns() {
                if let Some((ident, token)) = reference.parts.first() {
                    edits.replace(*token..*token + 1, ident.value.to_lowercase());
                }
            }
            formula.print(edits, &|function| format!("{function:?}"))
        };
        self.text == other.text || print(self) == print(other)
    }

    fn print(&self, mut edits: Edits, literal: &dyn Fn(&Becomes) -> String) -> String {
        for function in &self.functions {
            let text = match &function.becomes {
                Becomes::Text(text) => text.clone(),
                other => literal(other),
            };
            edits.replace(function.tokens.clone(), text);
        }
        self.expression.print(&edits).text
    }

    /// Binds the expression to the columns of a table as it is now, and to a principal. `read` says what may be seen of
    /// a table that a sub-query reads.
    pub(super) fn bind(
        &self,
        table: &Described,
        principal: &Principal,
        read: impl Fn(&TableName) -> Result<Arc<Scoped>, String>,
    ) -> Result<Bound, String> {
        let reads = self.reads().map(read).collect::<Result<Vec<_>, _>>()?;
        let mut edits = Edits::default();
        for (number, source) in self.sources.iter().enumerate() {
            edits.replace(
                source.tokens.clone(),
                format!("({READ}{number}{END}) AS {READ_ALIAS}{number}{END}"),
            );
        }
        let mut columns = BTreeSet::new();
        // A star is no reference to a column, and stands for all.
        let zoned = |scoped: &Arc<Scoped>| {
            scoped.is_temporal() || scoped.columns().any(|column| reads_zone(&column.ty))
        };
        let mut temporal = self.reads_clock || reads.iter().any(zoned);
        for reference in self.expression.columns() {
            let found = subquery::resolve(&self.expression, reference, table, &self.sources, &reads)?;
            temporal |= reads_zone(found.ty);
            let text = if let Some(number) = found.source {
                format!("{READ_ALIAS}{number}{END}.{}", quote_identifier(found.column))
            } else {
                columns.insert(found.column.to_owned());
                operand(found.column)
            };
            edits.replace(found.tokens, text);
        }
        let text = self.print(edits, &|function| match function {
            Becomes::Text(text) => text.clone(),
            Becomes::User => quote_string(principal.name()),
            Becomes::Groups => groups(principal),
            Becomes::Attribute(name) => principal
                .attributes()
                .get(name)
                .map_or_else(|| "CAST(NULL AS varchar)".to_owned(), |value| quote_string(value)),
        });
        Ok(Bound { reads, repeat: self.repeat.clone(), ..Bound::new(&text, columns, temporal) })
    }
}

fn groups(principal: &Principal) -> String {
    let mut text = "CAST(ARRAY[".to_owned();
    for (i, group) in principal.groups().iter().enumerate() {
        let _ = write!(text, "{}{}", if i > 0 { ", " } else { "" }, quote_string(group));
    }
    text.push_str("] AS array(varchar))");
    text
}

/// Only times and timestamps: a date by itself has no zone, and meets one only together with one of them.
fn reads_zone(ty: &Type) -> bool {
    *ty != Type::Date && ty.is_temporal()
}

/// Words that go with aggregate and window functions only. A column of such a name is written in quotes.
const WINDOWS: [&str; 6] = ["over", "filter", "within", "listagg", "grouping", "match_recognize"];

fn check_words(expression: &Expression) -> Result<(), String> {
    for token in 0..expression.token_count() {
        let word = expression.slice(token..token + 1);
        if WINDOWS.iter().any(|window| word.eq_ignore_ascii_case(window)) {
            return Err(format!("{word} goes with many rows; a policy sees one"));
        }
    }
    Ok(())
}

fn special_reads_clock(expression: &Expression, special: &Special) -> Result<bool, String> {
    match special.kind {
        SpecialKind::CurrentUser | SpecialKind::Subquery => Ok(false),
        SpecialKind::CurrentDate
        | SpecialKind::CurrentTime
        | SpecialKind::CurrentTimestamp
        | SpecialKind::LocalTime
        | SpecialKind::LocalTimestamp => Ok(true),
        // A date by itself has no zone, and an interval has none.
        SpecialKind::TimeType => {
            Ok(expression.slice(special.tokens.clone()).to_ascii_lowercase().contains("time"))
        }
        SpecialKind::CurrentCatalog | SpecialKind::CurrentSchema | SpecialKind::CurrentPath => {
            Err("current_catalog, current_schema and current_path are in the user's hands".to_owned())
        }
        SpecialKind::Concat => {
            Err("the operator || is looked up as a function; write concat(a, b)".to_owned())
        }
        SpecialKind::AtTimeZone => Err("write at_timezone(x, zone) in place of AT TIME ZONE".to_owned()),
        SpecialKind::Parameter => Err("a policy has no parameters".to_owned()),
    }
}

fn function(expression: &Expression, folded: &str, call: &Call) -> Result<Function, String> {
    let end = call.tokens.end;
    let token = |n: u32| {
        if end + n < expression.token_count() { expression.slice(end + n..end + n + 1) } else { "" }
    };
    Ok(match folded {
        "current_groups" => {
            if (token(0), token(1)) != ("(", ")") {
                return Err("current_groups() has no arguments".to_owned());
            }
            Function { tokens: call.tokens.start..end + 2, becomes: Becomes::Groups }
        }
        "attribute" => {
            let name = token(1).strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
            let (Some(name), "(", ")") = (name, token(0), token(2)) else {
                return Err("attribute('name') has one argument, a string".to_owned());
            };
            let becomes = Becomes::Attribute(name.replace("''", "'"));
            Function { tokens: call.tokens.start..end + 3, becomes }
        }
        _ => {
            let quoted = call.name.first().is_some_and(|name| name.quoted);
            let name = if quoted { quote_identifier(folded) } else { folded.to_owned() };
            let becomes = Becomes::Text(format!("system.builtin.{name}"));
            Function { tokens: call.tokens.clone(), becomes }
        }
    })
}

/// Whether a text from outside can go into an expression.
pub(super) fn is_plain(text: &str) -> bool {
    !text.contains([ALIAS, READ, READ_ALIAS, END])
}

/// A column under the inner alias.
pub(super) fn operand(column: &str) -> String {
    format!("{ALIAS}.{}", quote_identifier(column))
}

/// An expression in which all is settled but the alias of the table.
#[derive(Clone, Debug)]
pub struct Bound {
    pieces: Vec<Piece>,
    /// The tables that its sub-queries read.
    reads: Vec<Arc<Scoped>>,
    columns: BTreeSet<String>,
    temporal: bool,
    repeat: Repeat,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The alias of the table.
    Alias,
    /// The query that stands for a table of a sub-query.
    Read(usize),
    /// The alias of such a table.
    ReadAlias(usize),
}

impl Bound {
    /// From text in which [`ALIAS`] stands for the alias, and for nothing else.
    pub(super) fn new(text: &str, columns: BTreeSet<String>, temporal: bool) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find([ALIAS, READ, READ_ALIAS]) {
            pieces.push(Piece::Text(rest[..at].to_owned()));
            let mark = rest[at..].chars().next();
            rest = &rest[at + 1..];
            if mark == Some(ALIAS) {
                pieces.push(Piece::Alias);
                continue;
            }
            let (number, behind) = rest.split_once(END).unwrap_or_default();
            // What is not there cannot be rendered: see `render`.
            let number = number.parse().unwrap_or(usize::MAX);
            pieces.push(if mark == Some(READ) { Piece::Read(number) } else { Piece::ReadAlias(number) });
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Self { pieces, reads: Vec::new(), columns, temporal, repeat: Repeat::default() }
    }

    /// The same as a value of a column's type.
    pub(super) fn cast(mut self, ty: &Type) -> Self {
        self.pieces.insert(0, Piece::Text("CAST(".to_owned()));
        self.pieces.push(Piece::Text(format!(" AS {ty})")));
        self
    }

    /// The text of another expression as part of this one, which reads what that reads from now on.
    pub(super) fn within(&mut self, other: Self) -> Result<String, String> {
        if !other.reads.is_empty() {
            return Err("the mask of a field has no sub-queries".to_owned());
        }
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            _ => ALIAS.to_string(),
        };
        let whole = other.pieces.iter().map(text).collect();
        self.columns.extend(other.columns);
        self.temporal |= other.temporal;
        self.repeat.and(&other.repeat);
        Ok(whole)
    }

    /// The same columns with another text.
    pub(super) fn with_text(self, text: &str) -> Self {
        Self { repeat: self.repeat, ..Self::new(text, self.columns, self.temporal) }
    }

    /// The SQL, each column qualified with the alias. The alias is quoted here. A table that a sub-query reads is called
    /// the alias and a number; `read` makes a query of it, in which it has that name.
    pub fn render(&self, alias: &str, read: impl Fn(&Scoped, &str) -> String) -> String {
        let mut text = String::new();
        self.push(&mut text, alias, read);
        text
    }

    /// The same, written behind a text.
    pub fn push(&self, text: &mut String, alias: &str, read: impl Fn(&Scoped, &str) -> String) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Alias => push_identifier(text, alias),
                Piece::ReadAlias(number) => push_identifier(text, &format!("{alias}_{number}")),
                Piece::Read(number) => match self.reads.get(*number) {
                    Some(scoped) => text.push_str(&read(scoped, &format!("{alias}_{number}"))),
                    None => text.push_str("unknown"),
                },
            }
        }
    }

    /// The tables that its sub-queries read.
    pub fn reads(&self) -> &[Arc<Scoped>] {
        &self.reads
    }

    /// Whether two expressions are surely the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.reads.is_empty() && other.reads.is_empty() && self.pieces == other.pieces
    }

    /// The columns that it reads, unmasked, by their names in the table.
    pub fn columns(&self) -> &BTreeSet<String> {
        &self.columns
    }

    /// What its value depends on besides columns.
    pub(super) fn repeat(&self) -> &Repeat {
        &self.repeat
    }

    /// Whether the clock or the session's time zone may have a say in its value.
    pub(super) fn is_temporal(&self) -> bool {
        self.temporal
    }
}

/// What an action makes of a column. A constant reads nothing.
pub(super) fn bound_column(column: &Column, text: &str) -> Bound {
    let columns = text.contains(ALIAS).then(|| column.name.clone());
    Bound::new(text, columns.into_iter().collect(), false)
}
