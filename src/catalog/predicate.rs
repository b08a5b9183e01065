//! Iceberg's predicates, read from JSON: which rows are meant.
//!
//! They are two-valued: a test of a null is true or false, and what is negated is the opposite. So `not` is gone after
//! reading: it goes down to the tests. Both ways of writing operands are read, that of the Iceberg expressions
//! specification and the older one with terms.

use serde_json::{Map, Value};

use super::FieldType;

/// The most tests in a predicate, and values in all of them.
const MAX_TESTS: usize = 2_000;
const MAX_VALUES: usize = 10_000;

/// Which rows are meant.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    /// All of them, or none.
    Constant(bool),
    /// Those that all of several mean; never fewer than two.
    All(Vec<Predicate>),
    /// Those that one of several means; never fewer than two.
    Any(Vec<Predicate>),
    /// Those of which something holds, or does not.
    Test {
        /// What is looked at.
        term: Term,
        /// What holds.
        test: Test,
        /// Those are meant for which it does not hold, nulls among them where it does not hold for nulls.
        negated: bool,
    },
}

/// What holds of a value. Of a null, and of a NaN, nothing does but that it is one.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// It is null.
    IsNull,
    /// It is not a number.
    IsNan,
    /// It equals.
    Eq(Literal),
    /// It is less.
    Lt(Literal),
    /// It is less or equal.
    LtEq(Literal),
    /// It is greater.
    Gt(Literal),
    /// It is greater or equal.
    GtEq(Literal),
    /// It is a string that starts so.
    StartsWith(Literal),
    /// It equals one of these.
    In(Vec<Literal>),
}

/// A value as JSON has it, of the type of what it is compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Literal {
    /// The value; never null.
    pub value: Value,
    /// Its type, where that is written.
    pub ty: Option<FieldType>,
}

/// What a test looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The field.
    pub reference: Reference,
    /// What is made of it.
    pub transform: Transform,
}

/// How a field is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// By its identifier.
    Id(i32),
    /// By its name, those of what it lies in before it, with dots.
    Name(String),
}

/// What partitions are made by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transform {
    /// The value.
    Identity,
    /// Years from 1970.
    Year,
    /// Months from January 1970.
    Month,
    /// The date.
    Day,
    /// Hours from 1970.
    Hour,
    /// The value down to a width.
    Truncate(u32),
    /// Another one, as it is written.
    Other(String),
}

impl Predicate {
    /// Reads a predicate.
    ///
    /// # Errors
    /// Something in it is not in the specification, or there is too much of it. What is not understood is never left out.
    pub(super) fn read(value: &Value) -> Result<Self, String> {
        let mut left = Left { tests: MAX_TESTS, values: MAX_VALUES };
        left.predicate(value, false)
    }

    fn all(parts: Vec<Self>) -> Self {
        Self::joined(parts, true, Self::All)
    }

    fn any(parts: Vec<Self>) -> Self {
        Self::joined(parts, false, Self::Any)
    }

    /// Joins predicates, of which one that is `neutral` says nothing, and one that is the opposite all.
    fn joined(parts: Vec<Self>, neutral: bool, join: fn(Vec<Self>) -> Self) -> Self {
        if parts.contains(&Self::Constant(!neutral)) {
            return Self::Constant(!neutral);
        }
        let mut joined = Vec::with_capacity(parts.len());
        for part in parts {
            match (part, neutral) {
                (Self::Constant(_), _) => {}
                // One level for long chains.
                (Self::All(parts), true) | (Self::Any(parts), false) => joined.extend(parts),
                (part, _) => joined.push(part),
            }
        }
        match joined.len() {
            0 => Self::Constant(neutral),
            1 => joined.swap_remove(0),
            _ => join(joined),
        }
    }
}

/// How much may still follow.
struct Left {
    tests: usize,
    values: usize,
}

impl Left {
    fn predicate(&mut self, value: &Value, negated: bool) -> Result<Predicate, String> {
        if let Value::Bool(constant) = value {
            return Ok(Predicate::Constant(*constant != negated));
        }
        let object = value.as_object().ok_or("an expression that is neither an object, nor true or false")?;
        let kind = kind(object)?;
        match kind {
            "true" | "false" => {
                keys(object, &[])?;
                Ok(Predicate::Constant((kind == "true") != negated))
            }
            "literal" => {
                keys(object, &["value"])?;
                let constant = key(object, "value")?.as_bool().ok_or("a filter is no value")?;
                Ok(Predicate::Constant(constant != negated))
            }
            "not" => {
                keys(object, &["child"])?;
                self.predicate(key(object, "child")?, !negated)
            }
            "and" | "or" => {
                keys(object, &["left", "right"])?;
                let parts = vec![
                    self.predicate(key(object, "left")?, negated)?,
                    self.predicate(key(object, "right")?, negated)?,
                ];
                let all = (kind == "and") != negated;
                Ok(if all { Predicate::all(parts) } else { Predicate::any(parts) })
            }
            _ => self.test(kind, object, negated),
        }
    }

    fn test(&mut self, kind: &str, object: &Map<String, Value>, negated: bool) -> Result<Predicate, String> {
        self.tests = self
            .tests
            .checked_sub(1)
            .ok_or_else(|| format!("the filter has more than {MAX_TESTS} predicates"))?;
        let (name, opposite) = match kind {
            "not-null" => ("is-null", true),
            "not-nan" => ("is-nan", true),
            "not-eq" => ("eq", true),
            "not-in" => ("in", true),
            "not-starts-with" => ("starts-with", true),
            other => (other, false),
        };
        let old = object.contains_key("term");
        let (term, test) = match name {
            "is-null" | "is-nan" => {
                let term = self.term_of(object, if old { "term" } else { "child" }, &[])?;
                (term, if name == "is-null" { Test::IsNull } else { Test::IsNan })
            }
            "in" => {
                let term = self.term_of(object, if old { "term" } else { "child" }, &["values"])?;
                (term, Test::In(self.literals(key(object, "values")?)?))
            }
            "eq" | "lt" | "lt-eq" | "gt" | "gt-eq" | "starts-with" => {
                let (left, right) = if old {
                    keys(object, &["term", "value"])?;
                    (key(object, "term")?, key(object, "value")?)
                } else {
                    keys(object, &["left", "right"])?;
                    (key(object, "left")?, key(object, "right")?)
                };
                self.comparison(name, old, left, right)?
            }
            _ => return Err(format!("the expression type '{kind}' is not known")),
        };
        if test == Test::In(Vec::new()) {
            return Ok(Predicate::Constant(negated != opposite));
        }
        Ok(Predicate::Test { term, test, negated: negated != opposite })
    }
}

impl Left {
    fn term_of(&self, object: &Map<String, Value>, name: &str, others: &[&str]) -> Result<Term, String> {
        let mut allowed = others.to_vec();
        allowed.push(name);
        keys(object, &allowed)?;
        term(key(object, name)?, name == "term")
    }

    /// A comparison of a term and a value; the value may stand first.
    fn comparison(
        &mut self,
        name: &str,
        old: bool,
        left: &Value,
        right: &Value,
    ) -> Result<(Term, Test), String> {
        let (first, second) = (is_term(left, old), is_term(right, false));
        let (left, right, name) = match (first, second) {
            (true, false) => (left, right, name),
            (false, true) if name != "starts-with" => {
                let mirrored = match name {
                    "lt" => "gt",
                    "lt-eq" => "gt-eq",
                    "gt" => "lt",
                    "gt-eq" => "lt-eq",
                    other => other,
                };
                (right, left, mirrored)
            }
            (true, true) => {
                return Err(format!("'{name}' compares two fields; it must be a field and a value"));
            }
            _ => return Err(format!("'{name}' compares no field")),
        };
        let (term, literal) = (term(left, old)?, self.literal(right)?);
        let test = match name {
            "eq" => Test::Eq(literal),
            "lt" => Test::Lt(literal),
            "lt-eq" => Test::LtEq(literal),
            "gt" => Test::Gt(literal),
            "gt-eq" => Test::GtEq(literal),
            _ => Test::StartsWith(literal),
        };
        Ok((term, test))
    }

    fn literal(&mut self, value: &Value) -> Result<Literal, String> {
        self.values = self
            .values
            .checked_sub(1)
            .ok_or_else(|| format!("the filter has more than {MAX_VALUES} values"))?;
        let (value, ty) = match value {
            Value::Object(object) if object.get("type").is_some_and(|kind| kind == "literal") => {
                keys(object, &["value", "data-type"])?;
                (key(object, "value")?, object.get("data-type").map(data_type).transpose()?)
            }
            other => (other, None),
        };
        match value {
            Value::Null => Err("a value is null; is-null is what tests that".to_owned()),
            Value::Object(_) | Value::Array(_) => Err("a value is no single one".to_owned()),
            _ => Ok(Literal { value: value.clone(), ty }),
        }
    }

    fn literals(&mut self, values: &Value) -> Result<Vec<Literal>, String> {
        match values {
            Value::Array(list) => list.iter().map(|value| self.literal(value)).collect(),
            Value::Object(object) if object.get("type").is_some_and(|kind| kind == "literals") => {
                keys(object, &["values", "data-type"])?;
                let ty = object.get("data-type").map(data_type).transpose()?;
                let list = key(object, "values")?.as_array().ok_or("values that are no list")?;
                let literal =
                    |value| self.literal(value).map(|literal| Literal { ty: ty.clone(), ..literal });
                list.iter().map(literal).collect()
            }
            _ => Err("values that are no list".to_owned()),
        }
    }
}

fn data_type(value: &Value) -> Result<FieldType, String> {
    FieldType::primitive(value.as_str().ok_or("the type of a value is no name")?)
}

/// Whether an operand is one that a field is in. A bare name is one in the older way of writing only.
fn is_term(value: &Value, old: bool) -> bool {
    match value {
        Value::String(_) => old,
        Value::Object(object) => object.get("type").is_none_or(|kind| kind != "literal"),
        _ => false,
    }
}

fn term(value: &Value, old: bool) -> Result<Term, String> {
    let object = match value {
        Value::String(name) if old => {
            return Ok(Term { reference: Reference::Name(name.clone()), transform: Transform::Identity });
        }
        Value::Object(object) => object,
        _ => return Err("an operand is no field".to_owned()),
    };
    match kind(object)? {
        "reference" => {
            let by = ["id", "name", "term"].into_iter().find(|name| object.contains_key(*name));
            let by = by.ok_or("a reference to nothing")?;
            keys(object, &[by])?;
            let value = key(object, by)?;
            let reference = if by == "id" {
                let id = value.as_i64().and_then(|id| i32::try_from(id).ok());
                Reference::Id(id.ok_or("the identifier of a field is no such number")?)
            } else {
                Reference::Name(value.as_str().ok_or("the name of a field is no text")?.to_owned())
            };
            Ok(Term { reference, transform: Transform::Identity })
        }
        "transform" => {
            keys(object, &["transform", "term"])?;
            let name = key(object, "transform")?.as_str().ok_or("a transform without a name")?;
            transformed(term(key(object, "term")?, true)?, Transform::read(name))
        }
        "apply" => applied(object),
        other => Err(format!("the expression type '{other}' is not known, or not as an operand")),
    }
}

/// A call of one of Iceberg's own functions, which are its transforms.
fn applied(object: &Map<String, Value>) -> Result<Term, String> {
    keys(object, &["function", "arguments"])?;
    let function = key(object, "function")?.as_object().ok_or("a function of the catalog's own")?;
    let identifier = function.get("identifier").and_then(Value::as_array).map(Vec::as_slice);
    let own = function.get("catalog").is_some_and(|catalog| catalog == "iceberg_functions");
    let (Some([Value::String(name)]), true, 2) = (identifier, own, function.len()) else {
        return Err("a function that is none of Iceberg's transforms".to_owned());
    };
    let arguments = key(object, "arguments")?.as_array().map(Vec::as_slice);
    match arguments {
        Some([of]) => transformed(term(of, false)?, Transform::read(name)),
        Some([width, of]) => {
            let width = match width {
                Value::Object(literal) if literal.get("type").is_some_and(|kind| kind == "literal") => {
                    keys(literal, &["value", "data-type"])?;
                    key(literal, "value")?
                }
                other => other,
            };
            transformed(term(of, false)?, Transform::read(&format!("{name}[{width}]")))
        }
        _ => Err(format!("the function {name} has one or two arguments")),
    }
}

fn transformed(term: Term, transform: Transform) -> Result<Term, String> {
    match (&term.transform, &transform) {
        (Transform::Identity, _) => Ok(Term { transform, ..term }),
        (_, Transform::Identity) => Ok(term),
        _ => Err("a transform of a transform".to_owned()),
    }
}

impl Transform {
    fn read(name: &str) -> Self {
        let width = name.strip_prefix("truncate[").and_then(|rest| rest.strip_suffix(']'));
        match name {
            "identity" => Self::Identity,
            "year" => Self::Year,
            "month" => Self::Month,
            "day" => Self::Day,
            "hour" => Self::Hour,
            // Iceberg's widths are of its type int.
            _ => match width
                .and_then(|width| width.parse::<i32>().ok())
                .and_then(|width| u32::try_from(width).ok())
            {
                Some(width) if width > 0 => Self::Truncate(width),
                _ => Self::Other(name.to_owned()),
            },
        }
    }
}

fn kind(object: &Map<String, Value>) -> Result<&str, String> {
    key(object, "type")?.as_str().ok_or_else(|| "the type of an expression is no word".to_owned())
}

fn key<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a Value, String> {
    object.get(name).ok_or_else(|| format!("an expression has no '{name}'"))
}

/// Checks that an expression says nothing but its type and what is known.
fn keys(object: &Map<String, Value>, known: &[&str]) -> Result<(), String> {
    match object.keys().find(|key| *key != "type" && !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(format!("an expression has '{key}', which is not known there")),
    }
}
