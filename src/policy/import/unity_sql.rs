//! Functions of Databricks as expressions of documents: the few that both mean alike, all else is refused.

use std::collections::BTreeMap;

use crate::sql::{quote_identifier, quote_string};

/// The longest function that is looked at, in bytes.
const LONGEST: usize = 20_000;

/// What stands in the place of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    Column(String),
    /// A constant, as it is written.
    Constant(String),
}

/// Words of the language that both read alike.
const WORDS: [&str; 17] = [
    "and", "between", "case", "else", "end", "false", "if", "in", "is", "like", "not", "null", "or", "then",
    "true", "when", "distinct",
];
/// Functions that give the same for the same texts.
const SAME: [&str; 6] = ["coalesce", "concat", "length", "lower", "nullif", "upper"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    Quoted(String),
    Text(String),
    Number(String),
    Symbol(&'static str),
}

/// Reads a text of Databricks. What the two languages could read in another way is an error.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    const SYMBOLS: [&str; 13] = ["<>", "!=", "<=", ">=", "=", "<", ">", "(", ")", ",", "+", "-", "*"];
    if text.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    let mut tokens: Vec<Token> = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let take = |keep: fn(char) -> bool| rest.find(|c| !keep(c)).unwrap_or(rest.len());
        let (token, length) = match first {
            '\'' | '`' => {
                let end = rest[1..].find(first).ok_or("a quote is not closed")?;
                let inner = &rest[1..=end];
                if inner.contains('\\') || inner.chars().any(char::is_control) {
                    return Err(
                        "a backslash or a control character is read in another way by Trino".to_owned()
                    );
                }
                let text = inner.to_owned();
                (if first == '`' { Token::Quoted(text) } else { Token::Text(text) }, end + 2)
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let end = take(|c| c.is_ascii_alphanumeric() || c == '_');
                (Token::Word(rest[..end].to_owned()), end)
            }
            c if c.is_ascii_digit() => {
                let end = take(|c| c.is_ascii_digit() || c == '.');
                if rest[end..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
                    || rest[..end].matches('.').count() > 1
                {
                    return Err("a number is written in a way of Databricks'".to_owned());
                }
                (Token::Number(rest[..end].to_owned()), end)
            }
            _ => {
                if rest.starts_with("--") || rest.starts_with("<=>") || rest.starts_with("==") {
                    return Err(format!("'{}' is not known", &rest[..2]));
                }
                let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol));
                let symbol = symbol
                    .ok_or_else(|| format!("'{first}' is not known, or read in another way by Trino"))?;
                (Token::Symbol(symbol), symbol.len())
            }
        };
        if matches!((tokens.last(), &token), (Some(Token::Text(_)), Token::Text(_))) {
            return Err("two texts behind each other are read in another way by Trino".to_owned());
        }
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

/// The body of a function as an expression over columns, in place of its parameters (lower case).
pub(super) fn translate(body: &str, parameters: &BTreeMap<String, Argument>) -> Result<String, String> {
    let tokens = tokens(body)?;
    let tokens = match tokens.split_first() {
        Some((Token::Word(word), rest)) if word.eq_ignore_ascii_case("return") => rest,
        _ => &tokens[..],
    };
    let symbol =
        |at: usize, symbol: &str| matches!(tokens.get(at), Some(Token::Symbol(found)) if *found == symbol);
    let mut sql: Vec<String> = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        let word = match token {
            Token::Symbol(symbol) => {
                sql.push((*symbol).to_owned());
                continue;
            }
            Token::Text(text) => {
                sql.push(quote_string(text));
                continue;
            }
            Token::Number(number) => {
                sql.push(number.clone());
                continue;
            }
            Token::Quoted(name) => {
                sql.push(parameter(name, parameters).ok_or_else(|| format!("`{name}` is no parameter"))?);
                continue;
            }
            Token::Word(word) => word,
        };
        let lower = word.to_lowercase();
        let call = symbol(at, "(");
        if !call && let Some(found) = parameter(word, parameters) {
            if WORDS.contains(&lower.as_str()) {
                return Err(format!("the parameter {word} has the name of something else"));
            }
            sql.push(found);
            continue;
        }
        match lower.as_str() {
            "is_account_group_member" | "is_member" => {
                let (true, Some(Token::Text(group)), true) = (call, tokens.get(at + 1), symbol(at + 2, ")"))
                else {
                    return Err(format!("{lower} of something else than a text"));
                };
                sql.push(format!("contains(current_groups(), {})", quote_string(group)));
                at += 3;
            }
            "current_user" | "session_user" | "user" => {
                if call && !symbol(at + 1, ")") {
                    return Err(format!("{lower} has no arguments"));
                }
                at += if call { 2 } else { 0 };
                sql.push("current_user".to_owned());
            }
            "sha2" => {
                let (true, Some(inner), true, Some(Token::Number(bits)), true) =
                    (call, tokens.get(at + 1), symbol(at + 2, ","), tokens.get(at + 3), symbol(at + 4, ")"))
                else {
                    return Err("sha2 of something else than a parameter".to_owned());
                };
                let (Token::Word(name) | Token::Quoted(name), "256") = (inner, bits.as_str()) else {
                    return Err("sha2 of something else than a parameter and 256".to_owned());
                };
                let column = parameter(name, parameters).ok_or_else(|| format!("{name} is no parameter"))?;
                sql.push(format!("lower(to_hex(sha256(to_utf8({column}))))"));
                at += 5;
            }
            "substr" | "substring" => {
                let inner = tokens.get(at + 1);
                let start = match tokens.get(at + 3) {
                    Some(Token::Number(start)) if start.parse::<u32>().is_ok_and(|start| start > 0) => start,
                    _ => return Err(format!("{lower} that does not begin at a number from 1 on")),
                };
                let (true, Some(Token::Word(name) | Token::Quoted(name)), true) =
                    (call, inner, symbol(at + 2, ","))
                else {
                    return Err(format!("{lower} of something else than a parameter"));
                };
                let column = parameter(name, parameters).ok_or_else(|| format!("{name} is no parameter"))?;
                sql.push(format!("substr({column}, {start}"));
                at += 4;
            }
            "if" if !call => return Err("IF without a condition".to_owned()),
            known if SAME.contains(&known) && call => sql.push(known.to_owned()),
            known if WORDS.contains(&known) => sql.push(known.to_uppercase()),
            _ => return Err(format!("'{word}' is not known to mean the same in Trino")),
        }
    }
    let mut text = String::new();
    for piece in &sql {
        let close = text.is_empty() || text.ends_with('(') || [")", ","].contains(&piece.as_str());
        if !close {
            text.push(' ');
        }
        text.push_str(piece);
    }
    Ok(text)
}

fn parameter(name: &str, parameters: &BTreeMap<String, Argument>) -> Option<String> {
    parameters.get(&name.to_lowercase()).map(|argument| match argument {
        Argument::Column(column) => quote_identifier(column),
        Argument::Constant(text) => text.clone(),
    })
}

/// A condition on tags: all or one of some.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TagCondition {
    all: bool,
    /// Each a tag, and its value where that counts.
    tags: Vec<(String, Option<String>)>,
}

impl TagCondition {
    /// Reads one; none where it is another kind of condition.
    pub(super) fn read(text: &str) -> Option<Self> {
        let tokens = tokens(text).ok()?;
        if let [Token::Word(word)] = &tokens[..]
            && word.eq_ignore_ascii_case("true")
        {
            return Some(Self { all: true, tags: Vec::new() });
        }
        let mut tags = Vec::new();
        let mut joined: Option<String> = None;
        let mut rest = &tokens[..];
        loop {
            let (found, behind) = match rest {
                [Token::Word(word), Token::Symbol("("), Token::Text(tag), Token::Symbol(")"), rest @ ..]
                    if ["hastag", "has_tag"].contains(&word.to_lowercase().as_str()) =>
                {
                    ((tag.clone(), None), rest)
                }
                [
                    Token::Word(word),
                    Token::Symbol("("),
                    Token::Text(tag),
                    Token::Symbol(","),
                    Token::Text(value),
                    Token::Symbol(")"),
                    rest @ ..,
                ] if ["hastagvalue", "has_tag_value"].contains(&word.to_lowercase().as_str()) => {
                    ((tag.clone(), Some(value.clone())), rest)
                }
                _ => return None,
            };
            tags.push(found);
            match behind {
                [] => break,
                [Token::Word(word), more @ ..] => {
                    let word = word.to_lowercase();
                    if !["and", "or"].contains(&word.as_str())
                        || joined.as_ref().is_some_and(|before| *before != word)
                    {
                        return None;
                    }
                    joined = Some(word);
                    rest = more;
                }
                _ => return None,
            }
        }
        Some(Self { all: joined.as_deref() != Some("or"), tags })
    }

    /// Whether something with these tags is meant.
    pub(super) fn holds(&self, has: &[(String, String)]) -> bool {
        let meant = |(tag, value): &(String, Option<String>)| {
            has.iter().any(|(name, of)| name == tag && value.as_ref().is_none_or(|value| value == of))
        };
        if self.all { self.tags.iter().all(meant) } else { self.tags.iter().any(meant) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions() {
        let check = |body: &str, expect: &str| {
            let parameters = BTreeMap::from([
                ("ssn".to_owned(), Argument::Column("tax_id".to_owned())),
                ("n".to_owned(), Argument::Constant("3".to_owned())),
            ]);
            let got = translate(body, &parameters).unwrap_or_else(|why| format!("ERROR {why}"));
            assert_eq!(got, expect, "{body}");
            if !got.starts_with("ERROR") {
                assert!(super::super::Formula::parse(&got).is_ok(), "{got}");
            }
        };
        check(
            "IF(is_account_group_member('hr'), ssn, '***')",
            "IF (contains(current_groups(), 'hr'), \"tax_id\", '***')",
        );
        check(
            "RETURN CASE WHEN current_user() = 'x' THEN SSN ELSE concat('**', substring(ssn, 6, 4)) END",
            "CASE WHEN current_user = 'x' THEN \"tax_id\" ELSE concat ('**', substr(\"tax_id\", 6, 4)) END",
        );
        check("ssn = '( x ) , y ('", "\"tax_id\" = '( x ) , y ('");
        check("sha2(ssn, 256)", "lower(to_hex(sha256(to_utf8(\"tax_id\"))))");
        check("`ssn` IN ('a', 'b') AND n > -1.5", "\"tax_id\" IN ('a', 'b') AND 3 > - 1.5");
        check("session_user() IS NOT NULL", "current_user IS NOT NULL");
        for refused in [
            "'it''s'",
            "'a' 'b'",
            "'a\\'b'",
            "\"a\" = ssn",
            "ssn == 'a'",
            "ssn <=> 'a'",
            "ssn || 'a'",
            "1 / 2",
            "1L",
            "1e3",
            "other = 1",
            "ssn.a",
            "regexp_replace(ssn, 'a', 'b')",
            "substr(ssn, -4)",
            "substr(ssn, 0)",
            "sha2(ssn, 512)",
            "is_member(ssn)",
            "EXISTS (SELECT 1 FROM t)",
            "current_date()",
            "ssn -- x",
            "/* x */ ssn",
            "ssn RLIKE 'a'",
            "'a",
            "DATE '2020-01-01'",
        ] {
            let parameters = BTreeMap::from([("ssn".to_owned(), Argument::Column("ssn".to_owned()))]);
            assert!(translate(refused, &parameters).is_err(), "{refused}");
        }
    }

    #[test]
    fn conditions() {
        let tags = [("pii".to_owned(), "ssn".to_owned()), ("level".to_owned(), "2".to_owned())];
        let check = |text: &str, expect: Option<bool>| {
            assert_eq!(TagCondition::read(text).map(|condition| condition.holds(&tags)), expect, "{text}");
        };
        check("has_tag('pii')", Some(true));
        check("hasTagValue('pii', 'ssn')", Some(true));
        check("has_tag_value('pii', 'name')", Some(false));
        check("has_tag('pii') AND has_tag('level')", Some(true));
        check("has_tag('x') OR has_tag('level')", Some(true));
        check("has_tag('x') AND has_tag('level')", Some(false));
        check("TRUE", Some(true));
        check("has_tag('x') OR has_tag('pii') AND has_tag('y')", None);
        check("NOT has_tag('x')", None);
        check("", None);
        check("has_column_name('x')", None);
    }
}
