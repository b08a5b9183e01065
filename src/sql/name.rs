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
    name.chars().map(|c| simple_lower(simple_upper(c))).collect()
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
    quoted(name, '"')
}

fn quoted(text: &str, mark: char) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(mark);
    let mut rest = text;
    while let Some(at) = rest.find(mark) {
        out.push_str(&rest[..=at]);
        out.push(mark);
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push(mark);
    out
}

/// A string literal.
pub fn quote_string(text: &str) -> String {
    quoted(text, '\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(quote_identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(quote_string("it's"), "'it''s'");
    }
}
