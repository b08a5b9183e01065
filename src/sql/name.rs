//! Identifiers: how they are written and when two are the same.

use std::borrow::Cow;

/// An identifier as it stands in a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ident {
    /// The name without quotes, its case kept.
    pub value: String,
    /// Whether it was written in quotes.
    pub quoted: bool,
}

impl Ident {
    /// The name folded as that of a catalog, schema, table or CTE; see [`fold_name`].
    pub fn folded(&self) -> Option<String> {
        fold_name(&self.value)
    }
}

/// Folds a catalog, schema or table name as Trino does: `toLowerCase(Locale.ENGLISH)` of Java, so that
/// U+212A (the Kelvin sign) becomes `k`.
///
/// `None` for the few characters whose lower case depends on what stands around them (a capital sigma) or is
/// more than one character (a dotted capital I): Northgate would have to follow Java to the letter there,
/// and refuses.
pub fn fold_name(name: &str) -> Option<String> {
    if name.is_ascii() {
        return Some(name.to_ascii_lowercase());
    }
    name.chars()
        .map(|c| {
            let mut lower = c.to_lowercase();
            match (lower.next(), lower.next()) {
                (Some(folded), None) if c != '\u{3a3}' => Some(folded),
                _ => None,
            }
        })
        .collect()
}

/// Folds a column name so that two names are equal when Java's `equalsIgnoreCase` calls them so: each
/// character's upper case, then its lower case, so that U+017F is `s` and U+212A is `k`.
pub fn fold_column(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return Cow::Borrowed(name);
    }
    if name.is_ascii() {
        return Cow::Owned(name.to_ascii_lowercase());
    }
    name.chars().map(|c| simple_lower(simple_upper(c))).collect()
}

/// Whether two names of columns are the same, see [`fold_column`].
pub fn is_same_column(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
        || !(one.is_ascii() && other.is_ascii()) && fold_column(one) == fold_column(other)
}

fn simple_upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

fn simple_lower(c: char) -> char {
    // Java's simple mapping of the dotted capital I is a plain i; Rust knows the full mapping only.
    if c == '\u{130}' {
        return 'i';
    }
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// An identifier in quotes.
pub fn quote_identifier(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 2);
    push_identifier(&mut out, name);
    out
}

/// Writes an identifier in quotes behind a text.
pub fn push_identifier(out: &mut String, name: &str) {
    push_quoted(out, name, '"');
}

/// The name that an identifier in quotes stands for.
pub(super) fn unquoted(identifier: &str) -> Cow<'_, str> {
    let name = &identifier[1..identifier.len() - 1];
    if name.contains('"') { Cow::Owned(name.replace("\"\"", "\"")) } else { Cow::Borrowed(name) }
}

fn push_quoted(out: &mut String, text: &str, mark: char) {
    out.push(mark);
    let mut rest = text;
    while let Some(at) = rest.find(mark) {
        out.push_str(&rest[..=at]);
        out.push(mark);
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push(mark);
}

/// A string literal.
pub fn quote_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_quoted(&mut out, text, '\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_compared_as_they_are_folded() {
        let check = |one: &str, other: &str, expect: bool| {
            assert_eq!(is_same_column(one, other), expect, "{one} {other}");
            assert_eq!(fold_column(one) == fold_column(other), expect, "{one} {other} folded");
        };
        check("a", "A", true);
        check("a", "b", false);
        check("a", "ab", false);
        check("\u{17f}sn", "SSN", true);
        check("\u{212a}ey", "key", true);
        check("\u{130}d", "\u{131}D", true);
        check("\u{e9}t\u{e9}", "\u{c9}T\u{c9}", true);
        check("\u{df}", "ss", false);
    }

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(quote_identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(unquoted("\"a\"\"b\""), "a\"b");
        assert_eq!(quote_string("it's"), "'it''s'");
    }
}
