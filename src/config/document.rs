//! A TOML document that knows where each value came from: a place in the file, or a variable.
//!
//! The parser keeps the range of bytes of each value, and errors name such ranges. Values from the environment
//! get ranges behind the end of the file, one for each variable, so that errors about them can be told apart.

use std::borrow::Cow;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::error::ConfigError;
use super::suggest;

/// What names of variables begin with.
pub(super) const PREFIX: &str = "NORTHGATE__";

/// A variable of the environment that sets a key.
#[derive(Clone, Debug)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
    /// The key that it sets: `server.listen` as two parts.
    pub(super) path: Vec<String>,
}

impl Variable {
    /// Reads the name: `NORTHGATE__SERVER__MAX_STATEMENT` is `server.max_statement`. `None`: it is not for us.
    pub(super) fn read(name: &str, value: &str) -> Option<Result<Self, ConfigError>> {
        let path: Vec<String> = name.strip_prefix(PREFIX)?.split("__").map(str::to_lowercase).collect();
        if path.len() < 2 || path.iter().any(String::is_empty) {
            let message = format!("is not of the form {PREFIX}SECTION__KEY");
            return Some(Err(ConfigError::Variable { name: name.to_owned(), message }));
        }
        Some(Ok(Self { name: name.to_owned(), value: value.to_owned(), path }))
    }
}

/// Reads a configuration from a file's text and variables that come on top of it. `secrets` are keys that
/// must not be in the file, so that an error can say what to do instead.
pub(super) fn read<T: DeserializeOwned>(
    file: &str,
    text: &str,
    variables: &[Variable],
    secrets: &[&str],
) -> Result<T, ConfigError> {
    let source = Source { file, text, variables, secrets };
    // Whether a variable is a number or a text that looks like one depends on the key: where it does not fit as
    // what it looks like, it is taken as text. Each round settles one variable.
    let mut as_text = vec![false; variables.len()];
    loop {
        let mut table = DeTable::parse(text).map_err(|error| source.error(&error, &DeTable::new()))?;
        for (index, variable) in variables.iter().enumerate() {
            source.set(table.get_mut(), index, variable, as_text[index])?;
        }
        match T::deserialize(Deserializer::from(table)) {
            Ok(value) => return Ok(value),
            Err(error) => {
                let index = source.variable(&error).filter(|index| !as_text[*index]);
                if let Some(index) = index.filter(|index| !is_text(&variables[*index].value)) {
                    as_text[index] = true;
                    continue;
                }
                // The table is gone into the reading; another of the same shape shows where its keys were.
                let mut table =
                    DeTable::parse(text).map_err(|error| source.error(&error, &DeTable::new()))?;
                for (index, variable) in variables.iter().enumerate() {
                    source.set(table.get_mut(), index, variable, as_text[index])?;
                }
                return Err(source.error(&error, table.get_ref()));
            }
        }
    }
}

/// Where values come from.
struct Source<'a> {
    file: &'a str,
    text: &'a str,
    variables: &'a [Variable],
    secrets: &'a [&'a str],
}

impl<'a> Source<'a> {
    /// The range that stands for a variable.
    fn range(&self, index: usize) -> Range<usize> {
        let at = self.text.len() + 1 + index;
        at..at + 1
    }

    /// The variable that an error is about.
    fn variable(&self, error: &toml::de::Error) -> Option<usize> {
        let start = error.span()?.start;
        let index = start.checked_sub(self.text.len() + 1)?;
        (index < self.variables.len()).then_some(index)
    }

    /// Sets the key of a variable.
    fn set(
        &self,
        table: &mut DeTable<'a>,
        index: usize,
        variable: &'a Variable,
        as_text: bool,
    ) -> Result<(), ConfigError> {
        let range = self.range(index);
        let Some((last, sections)) = variable.path.split_last() else { return Ok(()) };
        let mut table = table;
        for section in sections {
            let key = Spanned::new(range.clone(), Cow::Borrowed(section.as_str()));
            let value = table
                .entry(key)
                .or_insert_with(|| Spanned::new(range.clone(), DeValue::Table(DeTable::new())));
            let DeValue::Table(inner) = value.get_mut() else {
                let message = format!("'{section}' is a value in {}, not a section", self.file);
                return Err(ConfigError::Variable { name: variable.name.clone(), message });
            };
            table = inner;
        }
        let parsed = if as_text { None } else { DeValue::parse(&variable.value).ok() };
        let mut value =
            parsed.unwrap_or_else(|| Spanned::new(0..0, DeValue::String(Cow::Borrowed(&variable.value))));
        place(&mut value, &range);
        let key = Spanned::new(range, Cow::Borrowed(last.as_str()));
        table.remove(&key);
        table.insert(key, value);
        Ok(())
    }

    fn error(&self, error: &toml::de::Error, table: &DeTable<'_>) -> ConfigError {
        let span = error.span();
        if let Some(variable) = self.variable(error).map(|index| &self.variables[index]) {
            // All parts of its key have the same range: an unknown one is told by its name.
            let unknown =
                variable.path.iter().position(|part| suggest::unknown(error.message()) == Some(part));
            let path = variable.path[..unknown.map_or(variable.path.len(), |at| at + 1)].join(".");
            let message = suggest::message(error.message(), &path, self.secrets);
            return ConfigError::Variable { name: variable.name.clone(), message };
        }
        let path = span.as_ref().and_then(|span| find(table, span.start)).unwrap_or_default();
        let message = suggest::message(error.message(), &path, self.secrets);
        let file = self.file.to_owned();
        match span {
            // What is missing from the file as a whole is nowhere in it.
            Some(span) if !(path.is_empty() && error.message().starts_with("missing field")) => {
                let start = self.text.floor_char_boundary(span.start);
                let before = &self.text[..start];
                let line = before.matches('\n').count() + 1;
                let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
                ConfigError::Place { file, line, column, message }
            }
            _ => ConfigError::Whole { file, message },
        }
    }
}

/// Whether a value would be read as text anyway.
fn is_text(value: &str) -> bool {
    DeValue::parse(value).is_err()
}

/// Gives a value, and all in it, a range.
fn place(value: &mut Spanned<DeValue<'_>>, range: &Range<usize>) {
    let inner = std::mem::replace(value, Spanned::new(range.clone(), DeValue::Boolean(false))).into_inner();
    let placed = match inner {
        DeValue::Table(table) => DeValue::Table(
            table
                .into_iter()
                .map(|(key, mut value)| {
                    place(&mut value, range);
                    (Spanned::new(range.clone(), key.into_inner()), value)
                })
                .collect(),
        ),
        DeValue::Array(mut array) => {
            for value in array.iter_mut() {
                place(value, range);
            }
            DeValue::Array(array)
        }
        other => other,
    };
    *value = Spanned::new(range.clone(), placed);
}

/// The key at a place in the document, such as `identity.jwt[0].issuer`: the innermost whose name or value is
/// there. A section's own range is its heading.
fn find(table: &DeTable<'_>, at: usize) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let name = key.get_ref();
        let inner = match value.get_ref() {
            DeValue::Table(inner) => find(inner, at).map(|rest| format!("{name}.{rest}")),
            DeValue::Array(array) => array.iter().enumerate().find_map(|(index, item)| {
                let own = || item.span().contains(&at).then(|| format!("{name}[{index}]"));
                match item.get_ref() {
                    DeValue::Table(inner) => {
                        find(inner, at).map(|rest| format!("{name}[{index}].{rest}")).or_else(own)
                    }
                    _ => own(),
                }
            }),
            _ => None,
        };
        inner.or_else(|| (key.span().contains(&at) || value.span().contains(&at)).then(|| name.to_string()))
    })
}
