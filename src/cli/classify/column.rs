//! How findings name a column, and which field of a table that is.

use std::collections::BTreeSet;

use crate::catalog::Schema;
use crate::catalog::rest::Classified;
use crate::sql::fold_column;

/// The longest name of a column that is looked for, in bytes, and how deep it may lie.
const LONGEST: usize = 4_000;
const DEEPEST: usize = 200;
const NONE: &str = "it has no such column";
/// What Parquet files have between a list or a map and what is in it, by who wrote them (LogicalTypes of Parquet, "Nested
/// types" and its rules for backward compatibility), and what the things in it are called.
const WRAPPERS: [&str; 5] = ["list", "bag", "array", "key_value", "map"];
const INSIDE: [(&str, &str); 6] = [
    ("element", "element"),
    ("array_element", "element"),
    ("array", "element"),
    ("item", "element"),
    ("key", "key"),
    ("value", "value"),
];

/// A column as a finding names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Column {
    /// As it was written.
    pub(super) text: String,
    path: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Name(String),
    /// One of a list, or all.
    Item,
}

impl Column {
    /// A column by its name, or by the names of fields with dots between them.
    pub(super) fn named(text: &str) -> Result<Self, String> {
        let path: Vec<Step> = text.split('.').map(|part| Step::Name(part.to_owned())).collect();
        Self::bounded(text, path)
    }

    /// A JSON path (RFC 9535): `$.address.city`, `$['e.mail']`, `$.phones[0].number`.
    pub(super) fn json_path(text: &str) -> Result<Self, String> {
        let Some(mut rest) = text.strip_prefix('$') else {
            return Err("the path does not begin with $: it was cut off".to_owned());
        };
        let wrong = || "the path is not understood".to_owned();
        let mut path = Vec::new();
        while !rest.is_empty() && path.len() <= DEEPEST {
            if let Some(inner) = rest.strip_prefix('[') {
                let quote = inner.chars().next().filter(|c| matches!(c, '\'' | '"'));
                if let Some(quote) = quote {
                    let (name, behind) = quoted(&inner[1..], quote).ok_or_else(wrong)?;
                    path.push(Step::Name(name));
                    rest = behind.strip_prefix(']').ok_or_else(wrong)?;
                } else {
                    let (index, behind) = inner.split_once(']').ok_or_else(wrong)?;
                    let good = index == "*" || index.bytes().all(|byte| byte.is_ascii_digit());
                    if !good || index.is_empty() {
                        return Err(wrong());
                    }
                    path.push(Step::Item);
                    rest = behind;
                }
            } else if let Some(inner) = rest.strip_prefix('.') {
                let end = inner.find(['.', '[']).unwrap_or(inner.len());
                path.push(match &inner[..end] {
                    "" => return Err(wrong()),
                    "*" => Step::Item,
                    name => Step::Name(name.to_owned()),
                });
                rest = &inner[end..];
            } else {
                return Err(wrong());
            }
        }
        Self::bounded(text, path)
    }

    fn bounded(text: &str, path: Vec<Step>) -> Result<Self, String> {
        if text.len() > LONGEST || path.len() > DEEPEST {
            return Err("the name of the column is too long".to_owned());
        }
        if text.is_empty() || path.is_empty() {
            return Err("it names no column".to_owned());
        }
        Ok(Self { text: text.to_owned(), path })
    }

    /// The fields that are meant, by their identifiers. A file may have been written when columns had other names than now,
    /// so that one which had the name before is meant as well; a table that is named is meant as it is.
    ///
    /// # Errors
    /// There is none, or it may be several.
    pub(super) fn fields(&self, table: &Classified, in_file: bool) -> Result<BTreeSet<i32>, String> {
        let now = self.field(&table.schema);
        if !in_file || matches!(&now, Err(why) if why != NONE) {
            return now.map(|id| BTreeSet::from([id]));
        }
        let before = table.former.iter().filter_map(|schema| self.field(schema).ok());
        let before = before.filter(|id| table.schema.field(*id).is_some());
        let all: BTreeSet<i32> = now.into_iter().chain(before).collect();
        if all.is_empty() { Err(NONE.to_owned()) } else { Ok(all) }
    }

    /// Whether a field has this name now.
    pub(super) fn is_now(&self, table: &Classified, id: i32) -> bool {
        self.field(&table.schema) == Ok(id)
    }

    fn field(&self, schema: &Schema) -> Result<i32, String> {
        let candidates = [self.plain(), self.unwrapped(), self.names()];
        let folded = |name: &str| fold_column(name).into_owned();
        for fold in [str::to_owned as fn(&str) -> String, folded] {
            for wanted in &candidates {
                let wanted = fold(wanted);
                let mut same = schema.iter().filter(|(_, field)| fold(&field.path.join(".")) == wanted);
                match (same.next(), same.next()) {
                    (Some((id, _)), None) => return Ok(id),
                    (None, _) => {}
                    (Some(_), Some(_)) => return Err("several columns may be meant".to_owned()),
                }
            }
        }
        Err(NONE.to_owned())
    }

    /// What is in a list is its `element`, as Iceberg has it.
    fn plain(&self) -> String {
        let steps = self.path.iter().map(|step| match step {
            Step::Name(name) => name.as_str(),
            Step::Item => "element",
        });
        steps.collect::<Vec<_>>().join(".")
    }

    /// The same without what only Parquet has.
    fn unwrapped(&self) -> String {
        let mut steps: Vec<&str> = Vec::new();
        let mut rest = self.path.as_slice();
        while let Some((step, behind)) = rest.split_first() {
            let Step::Name(name) = step else {
                steps.push("element");
                rest = behind;
                continue;
            };
            let items = behind.iter().take_while(|step| **step == Step::Item).count();
            let inner = match behind.get(items) {
                Some(Step::Name(inner)) => INSIDE.iter().find(|(known, _)| known == inner),
                _ => None,
            };
            // A column may be called so itself.
            let inner = inner.filter(|_| WRAPPERS.contains(&name.as_str()) && !steps.is_empty());
            if let Some((_, inner)) = inner {
                steps.push(inner);
                rest = &behind[items + 1..];
            } else {
                steps.push(name);
                rest = behind;
            }
        }
        steps.join(".")
    }

    /// The names alone: an item of a list stands for the list.
    fn names(&self) -> String {
        let names = self.path.iter().filter_map(|step| match step {
            Step::Name(name) => Some(name.as_str()),
            Step::Item => None,
        });
        names.collect::<Vec<_>>().join(".")
    }
}

/// What stands before a closing quotation mark, and what behind it.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.push(chars.next()?.1),
            c if c == quote => return Some((name, &text[at + c.len_utf8()..])),
            c => name.push(c),
        }
    }
    None
}
