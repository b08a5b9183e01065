//! Patterns of names: `lake.*.customers`, with `*` for any characters within one part.

use crate::catalog::TableName;
use crate::sql::{fold_column, fold_name};

/// The longest pattern, in characters, and the most `*` in one: matching stays cheap whatever is written.
const MAX_LENGTH: usize = 256;
const MAX_STARS: usize = 8;

/// A pattern of one part of a name. `*` stands for any characters, none included; nothing else is special.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    /// What stands between the stars; one piece means no star.
    pieces: Vec<String>,
}

impl Glob {
    fn read(text: &str, literal: bool, fold: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a part of the pattern is empty".to_owned());
        }
        if text.chars().count() > MAX_LENGTH {
            return Err(format!("a part of the pattern is longer than {MAX_LENGTH} characters"));
        }
        if text.contains('$') {
            return Err("names with '$' are never accessible, so that no pattern can name them".to_owned());
        }
        if text.chars().any(char::is_control) {
            return Err("a part of the pattern has a control character".to_owned());
        }
        let folded =
            fold(text).ok_or_else(|| format!("'{text}' has a character that cannot be folded surely"))?;
        let pieces: Vec<String> =
            if literal { vec![folded] } else { folded.split('*').map(str::to_owned).collect() };
        if pieces.len() > MAX_STARS + 1 {
            return Err(format!("a part of the pattern has more than {MAX_STARS} stars"));
        }
        Ok(Self { pieces })
    }

    /// Stands for one name, which is folded.
    pub(super) fn exactly(name: &str) -> Self {
        Self { pieces: vec![fold_column(name).into_owned()] }
    }

    /// Stands for every name.
    pub(super) fn any() -> Self {
        Self { pieces: vec![String::new(), String::new()] }
    }

    /// Stands for what is below a namespace, as Trino names nested ones.
    pub(super) fn below(namespace: &str) -> Self {
        Self { pieces: vec![format!("{}.", fold_column(namespace)), String::new()] }
    }

    /// A pattern of tags.
    pub(super) fn tag(text: &str) -> Result<Self, String> {
        Self::read(text, false, |text| Some(text.to_lowercase()))
    }

    /// A pattern of a column's name.
    pub(super) fn column(text: &str) -> Result<Self, String> {
        Self::read(text, false, |text| Some(fold_column(text).into_owned()))
    }

    /// A pattern of a column, or the path to a field of one: `profile.address.street`, `phones.element.number`. A part that
    /// holds a dot of its own stands in double quotes.
    pub(super) fn path(text: &str) -> Result<Vec<Self>, String> {
        if text.contains(['.', '"']) {
            parts(text)?.iter().map(Part::column).collect()
        } else {
            Ok(vec![Self::column(text)?])
        }
    }

    /// A pattern of a user's name: case matters.
    pub(super) fn user(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.chars().count() > MAX_LENGTH || text.chars().any(char::is_control) {
            return Err(format!("'{text}' is no user's name"));
        }
        let pieces: Vec<String> = text.split('*').map(str::to_owned).collect();
        if pieces.len() > MAX_STARS + 1 {
            return Err(format!("a pattern of users has more than {MAX_STARS} stars"));
        }
        Ok(Self { pieces })
    }

    /// The pattern as it is written.
    pub(super) fn text(&self) -> String {
        self.pieces.join("*")
    }

    /// The name, if the pattern stands for just one.
    pub(super) fn literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Whether every name matches.
    pub(super) fn is_any(&self) -> bool {
        self.pieces.len() > 1 && self.pieces.iter().all(String::is_empty)
    }

    /// Whether the (folded) name matches.
    pub(super) fn matches(&self, name: &str) -> bool {
        let [first, middle @ .., last] = self.pieces.as_slice() else {
            return self.pieces.first().is_some_and(|only| only == name);
        };
        // An empty piece is not compared: its address is that of no memory, which takes some processors long to find out.
        if !first.is_empty() && !name.starts_with(first.as_str()) {
            return false;
        }
        let rest = &name[first.len()..];
        if !last.is_empty() && !rest.ends_with(last.as_str()) {
            return false;
        }
        let mut rest = &rest[..rest.len() - last.len()];
        for piece in middle {
            match rest.find(piece.as_str()) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        true
    }

    /// Whether some name matches both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        if let Some(name) = self.literal() {
            return other.matches(name);
        }
        if let Some(name) = other.literal() {
            return self.matches(name);
        }
        let (a, b) = (self.symbols(), other.symbols());
        // reach[j]: the first i symbols of a and the first j of b have a word in common.
        let mut reach = vec![false; b.len() + 1];
        reach[0] = true;
        for j in 1..=b.len() {
            reach[j] = reach[j - 1] && b[j - 1].is_none();
        }
        for x in &a {
            let mut next = vec![false; b.len() + 1];
            next[0] = reach[0] && x.is_none();
            for (j, y) in b.iter().enumerate() {
                next[j + 1] = match (x, y) {
                    // A star takes one more letter of the other side, or none.
                    (None, _) | (_, None) => next[j] || reach[j + 1],
                    (Some(x), Some(y)) => x == y && reach[j],
                };
            }
            reach = next;
        }
        reach[b.len()]
    }

    fn symbols(&self) -> Vec<Option<char>> {
        let mut symbols = Vec::new();
        for (i, piece) in self.pieces.iter().enumerate() {
            if i > 0 {
                symbols.push(None);
            }
            symbols.extend(piece.chars().map(Some));
        }
        symbols
    }

    /// SQL that is true where the text of `operand` matches; `None` where every text does.
    pub(super) fn predicate(&self, operand: &str) -> Option<String> {
        if self.is_any() {
            return None;
        }
        if let Some(name) = self.literal() {
            return Some(format!("{operand} = {}", crate::sql::quote_string(name)));
        }
        let mut like = String::new();
        for (i, piece) in self.pieces.iter().enumerate() {
            if i > 0 {
                like.push('%');
            }
            for c in piece.chars() {
                if matches!(c, '%' | '_' | '\\') {
                    like.push('\\');
                }
                like.push(c);
            }
        }
        Some(format!("{operand} LIKE {} ESCAPE '\\'", crate::sql::quote_string(&like)))
    }
}

/// A pattern of tables: `catalog.schema.table`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TablePattern {
    pub(super) catalog: Glob,
    pub(super) schema: Glob,
    pub(super) table: Glob,
}

impl TablePattern {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let parts = parts(text)?;
        let [catalog, schema, table] = parts.as_slice() else {
            return Err(format!("'{text}' is not of the form catalog.schema.table"));
        };
        Self::of(catalog, schema, table)
    }

    fn of(catalog: &Part, schema: &Part, table: &Part) -> Result<Self, String> {
        Ok(Self { catalog: catalog.name()?, schema: schema.name()?, table: table.name()? })
    }

    /// Whether the table matches. A pattern stands neither for the catalog `system` nor for the schema `system`
    /// that some connectors have (`iceberg_tables` lists all tables) unless it names it.
    pub(super) fn matches(&self, name: &TableName) -> bool {
        self.schema_matches(&name.catalog, &name.schema) && self.table.matches(&name.table)
    }

    /// Whether the schema matches, with the exceptions for `system`.
    pub(super) fn schema_matches(&self, catalog: &str, schema: &str) -> bool {
        self.catalog_matches(catalog)
            && self.schema.matches(schema)
            && (schema != SYSTEM || self.schema.literal().is_some())
    }

    /// Whether the catalog matches, with the exception for `system`.
    pub(super) fn catalog_matches(&self, catalog: &str) -> bool {
        self.catalog.matches(catalog) && (catalog != SYSTEM || self.catalog.literal().is_some())
    }

    /// Whether some table matches both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.catalog.overlaps(&other.catalog)
            && self.schema.overlaps(&other.schema)
            && self.table.overlaps(&other.table)
    }

    /// The one table that it stands for, if it is just one.
    pub(super) fn literal(&self) -> Option<TableName> {
        let part = |glob: &Glob| glob.literal().map(str::to_owned);
        Some(TableName {
            catalog: part(&self.catalog)?,
            schema: part(&self.schema)?,
            table: part(&self.table)?,
        })
    }

    /// Whether it stands for just one table.
    pub(super) fn is_literal(&self) -> bool {
        self.catalog.literal().is_some() && self.schema.literal().is_some() && self.table.literal().is_some()
    }

    /// SQL that is true for the catalogs that the pattern can stand for; `None` for all.
    pub(super) fn catalog_predicate(&self, catalog: &str) -> Option<String> {
        named(&self.catalog, catalog)
    }

    /// The same for its schemas.
    pub(super) fn schema_predicate(&self, schema: &str) -> Option<String> {
        named(&self.schema, schema)
    }
}

/// SQL for a pattern that does not stand for `system` unless it names it.
fn named(glob: &Glob, operand: &str) -> Option<String> {
    let own = glob.predicate(operand);
    if glob.literal().is_none() && glob.matches(SYSTEM) {
        let not_system = format!("{operand} <> '{SYSTEM}'");
        return Some(own.map_or(not_system.clone(), |own| format!("{own} AND {not_system}")));
    }
    own
}

/// Trino's own catalog, and the schema in which connectors show things of their own.
pub(super) const SYSTEM: &str = "system";

/// A pattern of columns: `catalog.schema.table.column`, or of fields within them, with their path behind that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ColumnPattern {
    pub(super) table: TablePattern,
    pub(super) column: Glob,
    pub(super) path: Vec<Glob>,
}

impl ColumnPattern {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let parts = parts(text)?;
        let [catalog, schema, table, column, path @ ..] = parts.as_slice() else {
            return Err(format!("'{text}' is not of the form catalog.schema.table.column"));
        };
        Ok(Self {
            table: TablePattern::of(catalog, schema, table)?,
            column: column.column()?,
            path: path.iter().map(Part::column).collect::<Result<_, _>>()?,
        })
    }
}

/// A part of a dotted pattern; in double quotes nothing is special, `""` apart.
struct Part {
    text: String,
    quoted: bool,
}

impl Part {
    fn name(&self) -> Result<Glob, String> {
        Glob::read(&self.text, self.quoted, fold_name)
    }

    fn column(&self) -> Result<Glob, String> {
        Glob::read(&self.text, self.quoted, |text| Some(fold_column(text).into_owned()))
    }
}

fn parts(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = vec![Part { text: String::new(), quoted: false }];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let count = parts.len();
        let part = &mut parts[count - 1];
        match c {
            '"' if part.text.is_empty() && !part.quoted => {
                part.quoted = true;
                loop {
                    match chars.next() {
                        Some('"') if chars.next_if_eq(&'"').is_some() => part.text.push('"'),
                        Some('"') => break,
                        Some(c) => part.text.push(c),
                        None => return Err(format!("'{text}' has a quote that is not closed")),
                    }
                }
            }
            '.' => parts.push(Part { text: String::new(), quoted: false }),
            _ if part.quoted || c == '"' || c.is_whitespace() => {
                return Err(format!("'{text}' is not a pattern: put double quotes round a whole part"));
            }
            _ => part.text.push(c),
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(text: &str) -> Glob {
        Glob::column(text).expect("a pattern")
    }

    #[test]
    fn globs_match() {
        let check = |pattern: &str, name: &str, expect: bool| {
            assert_eq!(glob(pattern).matches(name), expect, "{pattern} {name}");
        };
        check("ssn", "ssn", true);
        check("SSN", "ssn", true);
        check("ssn", "ssn2", false);
        check("*", "", true);
        check("*", "x", true);
        check("a*", "abc", true);
        check("a*", "ba", false);
        check("*a", "ba", true);
        check("a*a", "a", false);
        check("a*a", "aa", true);
        check("a*b*c", "axxbyyc", true);
        check("a*b*c", "acb", false);
        check("a_c", "abc", false);
        check("a**b", "ab", true);
    }

    #[test]
    fn globs_overlap() {
        let check = |a: &str, b: &str, expect: bool| {
            assert_eq!(glob(a).overlaps(&glob(b)), expect, "{a} {b}");
            assert_eq!(glob(b).overlaps(&glob(a)), expect, "{b} {a}");
        };
        check("a", "a", true);
        check("a", "b", false);
        check("a*", "*b", true);
        check("a*", "b*", false);
        check("*a", "*b", false);
        check("*x*", "a*b", true);
        check("a*b", "a*c", false);
        check("ab*", "a*b", true);
        check("*", "*", true);
        check("a*c", "ab*", true);
        check("aa*", "*a", true);
        check("x*y*z", "xz*", true);
        check("x*y*z", "xz", false);
    }

    #[test]
    fn overlap_agrees_with_a_search() {
        let names: Vec<String> = (0..=4)
            .flat_map(|n| {
                (0..2_u32.pow(n))
                    .map(move |bits| (0..n).map(|i| if bits >> i & 1 == 1 { 'a' } else { 'b' }).collect())
            })
            .collect();
        let patterns = ["a*", "*a", "*b*", "a*b", "b*a", "*", "ab*", "*ab", "a*a", "ba*b"];
        for a in patterns {
            for b in patterns {
                let found = names.iter().any(|name| glob(a).matches(name) && glob(b).matches(name));
                assert_eq!(glob(a).overlaps(&glob(b)), found, "{a} {b}");
            }
        }
    }

    #[test]
    fn tables_match() {
        let check = |pattern: &str, name: [&str; 3], expect: bool| {
            let name = TableName::new(name[0], name[1], name[2]).expect("a name");
            assert_eq!(
                TablePattern::read(pattern).expect("a pattern").matches(&name),
                expect,
                "{pattern} {name}"
            );
        };
        check("lake.gold.customers", ["LAKE", "gold", "Customers"], true);
        check("la\u{212a}e.gold.customers", ["lake", "gold", "customers"], true);
        check("lake.*.customers", ["lake", "silver", "customers"], true);
        check("*.*.*", ["lake", "silver", "customers"], true);
        check("*.*.*", ["system", "runtime", "queries"], false);
        check("s*.*.*", ["system", "runtime", "queries"], false);
        check("system.*.*", ["system", "runtime", "queries"], true);
        check("lake.*.*", ["lake", "system", "iceberg_tables"], false);
        check("lake.system.*", ["lake", "system", "iceberg_tables"], true);
        check("lake.\"my.schema\".t", ["lake", "my.schema", "t"], true);
        check("lake.\"*\".t", ["lake", "x", "t"], false);
    }

    #[test]
    fn bad_patterns_are_refused() {
        for text in [
            "",
            "a.b",
            "a.b.c.d",
            "a..c",
            "a.b.\"c",
            "a.b.c d",
            "a.b.c$files",
            "a.b\"c\".d",
            "a.b.*a*a*a*a*a*a*a*a*",
        ] {
            assert!(TablePattern::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn patterns_become_sql() {
        let check = |pattern: &str, expect: Option<&str>| {
            assert_eq!(glob(pattern).predicate("c").as_deref(), expect, "{pattern}");
        };
        check("*", None);
        check("o'x", Some("c = 'o''x'"));
        check("a_b*", Some("c LIKE 'a\\_b%' ESCAPE '\\'"));
    }
}
