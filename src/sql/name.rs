//! Identifiers: how they are written and when two are the same.

/// An identifier as it stands in a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ident {
    /// The name without quotes, its case kept.
    pub value: String,
    /// Whether it was written in quotes.
    pub quoted: bool,
}

impl Ident {
    /// The name as Trino folds the names of catalogs, schemas, tables and CTEs.
    pub fn folded(&self) -> String {
        fold(&self.value)
    }
}

/// Folds a name as Java's `toLowerCase(Locale.ENGLISH)` does, which Trino applies to the names of catalogs,
/// schemas, tables and CTEs, quoted or not.
pub fn fold(name: &str) -> String {
    if name.is_ascii() { name.to_ascii_lowercase() } else { name.to_lowercase() }
}

/// Whether two names of columns are the same, as Java's `equalsIgnoreCase` says: character by character,
/// equal after upper-casing or after lower-casing that.
pub fn same_column(one: &str, other: &str) -> bool {
    if one.is_ascii() && other.is_ascii() {
        return one.eq_ignore_ascii_case(other);
    }
    let simple = |c: char| {
        let mut upper = c.to_uppercase();
        let first = upper.next().unwrap_or(c);
        // Java compares single characters: one that upper-cases to several stays as it is.
        let upper = if upper.next().is_none() { first } else { c };
        let mut lower = upper.to_lowercase();
        let first = lower.next().unwrap_or(upper);
        if lower.next().is_none() { first } else { upper }
    };
    one.chars().map(simple).eq(other.chars().map(simple))
}

/// An identifier in quotes.
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string literal.
pub fn quote_string(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_is_javas() {
        let check = |name: &str, expect: &str| assert_eq!(fold(name), expect, "{name}");
        check("Customers", "customers");
        check("la\u{212A}e", "lake");
        check("\u{17F}sn", "\u{17F}sn");
    }

    #[test]
    fn columns_are_compared_as_java_does() {
        let check =
            |one: &str, other: &str, expect| assert_eq!(same_column(one, other), expect, "{one} {other}");
        check("SSN", "ssn", true);
        check("\u{17F}sn", "ssn", true);
        check("\u{212A}ey", "key", true);
        check("ssn", "ssm", false);
        check("stra\u{DF}e", "strasse", false);
    }

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(quote_identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(quote_string("it's"), "'it''s'");
    }
}
