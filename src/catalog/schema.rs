//! A table's columns as Iceberg has them: with the identifiers that its catalog names them by.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value};

use super::{Described, Type};
use crate::sql::fold_column;

/// The most fields of a table, and how deep they may lie within each other, as [`Type`] has it.
const MAX_FIELDS: usize = 20_000;
const MAX_DEPTH: usize = 64;

/// The current schema of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    /// All fields, those within others too.
    fields: BTreeMap<i32, Field>,
    /// The columns, in table order.
    columns: Vec<i32>,
}

/// A column, or a field within one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name behind those of all that it is in, the column first. The elements of a list are called `element`, the keys
    /// and the values of a map `key` and `value`.
    pub path: Vec<String>,
    /// What it holds.
    pub ty: FieldType,
    /// Whether it is never null.
    pub required: bool,
    /// Whether it is the key of a map, or lies in one.
    pub in_key: bool,
}

/// A type of Iceberg. Fields within a value are given by their identifiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// `boolean`
    Boolean,
    /// `int`
    Int,
    /// `long`
    Long,
    /// `float`
    Float,
    /// `double`
    Double,
    /// `decimal(p, s)`
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits behind the point.
        scale: u8,
    },
    /// `date`
    Date,
    /// `time`, in microseconds.
    Time,
    /// The four timestamps.
    Timestamp {
        /// Counted in nanoseconds, not in microseconds.
        nanos: bool,
        /// A point in time, in UTC.
        zoned: bool,
    },
    /// `string`
    String,
    /// `uuid`
    Uuid,
    /// `fixed[n]`, n bytes.
    Fixed(u32),
    /// `binary`
    Binary,
    /// `struct`, its fields in order.
    Struct(Vec<i32>),
    /// `list`, its elements.
    List(i32),
    /// `map`, its keys and values.
    Map(i32, i32),
    /// Another type, of which nothing more is known.
    Other(String),
}

impl FieldType {
    /// Reads the name of a primitive type.
    pub(super) fn primitive(text: &str) -> Result<Self, String> {
        let timestamp = |nanos, zoned| Self::Timestamp { nanos, zoned };
        Ok(match text {
            "boolean" => Self::Boolean,
            "int" => Self::Int,
            "long" => Self::Long,
            "float" => Self::Float,
            "double" => Self::Double,
            "date" => Self::Date,
            "time" => Self::Time,
            "timestamp" => timestamp(false, false),
            "timestamptz" => timestamp(false, true),
            "timestamp_ns" => timestamp(true, false),
            "timestamptz_ns" => timestamp(true, true),
            "string" => Self::String,
            "uuid" => Self::Uuid,
            "binary" => Self::Binary,
            _ => match text.strip_suffix([']', ')']).and_then(|text| text.split_once(['[', '('])) {
                Some(("fixed", length)) => Self::Fixed(number(length, text)?),
                Some(("decimal", digits)) => {
                    let (precision, scale) = digits.split_once(',').ok_or_else(|| unknown(text))?;
                    let (precision, scale) = (number(precision, text)?, number(scale, text)?);
                    if precision == 0 || precision > 38 || scale > precision {
                        return Err(unknown(text));
                    }
                    Self::Decimal { precision, scale }
                }
                _ => Self::Other(text.to_owned()),
            },
        })
    }

    /// Whether values are compared as they are: they have no fields, and their order is known.
    pub fn is_primitive(&self) -> bool {
        !matches!(self, Self::Struct(_) | Self::List(_) | Self::Map(..) | Self::Other(_))
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Decimal { precision, scale } => return write!(f, "decimal({precision}, {scale})"),
            Self::Date => "date",
            Self::Time => "time",
            Self::Timestamp { nanos: false, zoned: false } => "timestamp",
            Self::Timestamp { nanos: false, zoned: true } => "timestamptz",
            Self::Timestamp { nanos: true, zoned: false } => "timestamp_ns",
            Self::Timestamp { nanos: true, zoned: true } => "timestamptz_ns",
            Self::String => "string",
            Self::Uuid => "uuid",
            Self::Fixed(length) => return write!(f, "fixed[{length}]"),
            Self::Binary => "binary",
            Self::Struct(_) => "struct",
            Self::List(_) => "list",
            Self::Map(..) => "map",
            Self::Other(text) => text,
        })
    }
}

fn number<T: std::str::FromStr>(digits: &str, of: &str) -> Result<T, String> {
    let digits = digits.trim();
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain).ok_or_else(|| unknown(of))
}

fn unknown(ty: &str) -> String {
    format!("the type '{ty}' is none of Iceberg's")
}

impl Schema {
    /// Reads the current schema from what table metadata say of schemas: `current-schema-id` and `schemas`, or the
    /// `schema` of the first version of the format.
    ///
    /// # Errors
    /// It is not there, has a field twice, or is not as the Iceberg table specification has it.
    pub fn read(metadata: &Value) -> Result<Self, String> {
        let of_id = |id: &Value| {
            let list = metadata.get("schemas")?.as_array()?;
            list.iter().find(|schema| schema.get("schema-id") == Some(id))
        };
        let is_there = |value: &&Value| !value.is_null();
        let current = match metadata.get("schemas").filter(is_there) {
            None => metadata.get("schema").filter(is_there),
            Some(_) => metadata.get("current-schema-id").filter(is_there).and_then(of_id),
        };
        let current = current.and_then(Value::as_object).ok_or("there is no current schema")?;
        let mut reading = Reading { fields: BTreeMap::new(), path: Vec::new(), in_key: false };
        let columns = reading.fields(current)?;
        Ok(Self { fields: reading.fields, columns })
    }

    /// The field of an identifier.
    pub fn field(&self, id: i32) -> Option<&Field> {
        self.fields.get(&id)
    }

    /// All fields, those within others too, by identifier.
    pub fn iter(&self) -> impl Iterator<Item = (i32, &Field)> {
        self.fields.iter().map(|(id, field)| (*id, field))
    }

    /// The identifier of the field that a name stands for: the names of its path with dots between them. A name that may
    /// stand for several is none.
    pub fn named(&self, name: &str) -> Option<i32> {
        let mut found = self.fields.iter().filter(|(_, field)| is_path(&field.path, name));
        match (found.next(), found.next()) {
            (Some((id, _)), None) => Some(*id),
            _ => None,
        }
    }

    /// Whether a row has one value of a field: all that it is in are structs.
    pub fn is_in_structs(&self, field: &Field) -> bool {
        (1..field.path.len()).all(|end| {
            let around = self.fields.values().find(|around| around.path == field.path[..end]);
            around.is_some_and(|around| matches!(around.ty, FieldType::Struct(_)))
        })
    }

    /// What Trino and the catalog say differently of the columns, for whoever wants to know why they do not agree.
    pub fn disagreement(&self, described: &Described) -> Option<String> {
        let mut seen = BTreeSet::new();
        for column in &described.columns {
            let name = fold_column(&column.name);
            let of_name = |id: &&i32| {
                let path = self.field(**id).map(|field| field.path.as_slice());
                matches!(path, Some([only]) if fold_column(only) == name)
            };
            let Some(id) = self.columns.iter().find(of_name) else {
                return Some(format!("the catalog has no column {}", column.name));
            };
            if let Some(why) = self.differs(*id, &column.ty) {
                return Some(why);
            }
            seen.insert(*id);
        }
        let missing = self.columns.iter().find(|id| !seen.contains(id)).and_then(|id| self.field(*id));
        missing.map(|field| format!("Trino has no column {}", field.path.join(".")))
    }

    /// What is different about a field and its type in Trino.
    fn differs(&self, id: i32, ty: &Type) -> Option<String> {
        let field = self.field(id)?;
        let same = match (&field.ty, ty) {
            // What is not understood cannot be compared.
            (FieldType::Other(_), _) | (_, Type::Other(_)) => true,
            (FieldType::Boolean, Type::Boolean)
            | (FieldType::Int, Type::Integer)
            | (FieldType::Long, Type::Bigint)
            | (FieldType::Float, Type::Real)
            | (FieldType::Double, Type::Double)
            | (FieldType::Date, Type::Date)
            | (FieldType::Time, Type::Time { precision: 6, zoned: false })
            | (FieldType::String, Type::Varchar(None))
            | (FieldType::Uuid, Type::Uuid)
            | (FieldType::Fixed(_) | FieldType::Binary, Type::Varbinary) => true,
            (
                FieldType::Decimal { precision, scale },
                Type::Decimal { precision: of_trino, scale: scale_of_trino },
            ) => (precision, scale) == (of_trino, scale_of_trino),
            (FieldType::Timestamp { nanos, zoned }, Type::Timestamp { precision, zoned: of_trino }) => {
                zoned == of_trino && *precision == if *nanos { 9 } else { 6 }
            }
            (FieldType::List(element), Type::Array(of)) => return self.differs(*element, of),
            (FieldType::Map(key, value), Type::Map(of_key, of_value)) => {
                return self.differs(*key, of_key).or_else(|| self.differs(*value, of_value));
            }
            (FieldType::Struct(fields), Type::Row(of_trino)) if fields.len() == of_trino.len() => {
                return fields.iter().zip(of_trino).find_map(|(id, of_trino)| {
                    let name = of_trino.name.as_deref().unwrap_or_default();
                    let own = self.field(*id)?.path.last()?;
                    if fold_column(own) == fold_column(name) {
                        self.differs(*id, &of_trino.ty)
                    } else {
                        let path = field.path.join(".");
                        Some(format!("{path} has the field {own} in the catalog where Trino has {name}"))
                    }
                });
            }
            _ => false,
        };
        let path = field.path.join(".");
        (!same).then(|| format!("{path} is {} in the catalog and {ty} in Trino", field.ty))
    }
}

/// Whether a name is a path with dots between its parts.
fn is_path(path: &[String], name: &str) -> bool {
    let mut rest = Some(name);
    for (number, part) in path.iter().enumerate() {
        rest = rest.and_then(|rest| if number == 0 { Some(rest) } else { rest.strip_prefix('.') });
        rest = rest.and_then(|rest| rest.strip_prefix(part.as_str()));
    }
    rest == Some("")
}

/// A schema that is being read.
struct Reading {
    fields: BTreeMap<i32, Field>,
    path: Vec<String>,
    in_key: bool,
}

impl Reading {
    /// The fields of a struct.
    fn fields(&mut self, object: &Map<String, Value>) -> Result<Vec<i32>, String> {
        let list = object.get("fields").and_then(Value::as_array).ok_or("a struct without fields")?;
        let mut names = BTreeSet::new();
        let mut ids = Vec::with_capacity(list.len().min(MAX_FIELDS));
        for field in list {
            let field = field.as_object().ok_or("a field that is no object")?;
            let name = field.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
            let name = name.ok_or("a field without a name")?;
            if !names.insert(fold_column(name).into_owned()) {
                return Err(format!("two fields are called {name}, if case is left out of account"));
            }
            let required = boolean(field, "required")?;
            ids.push(self.field(field.get("id"), name, required, field.get("type"))?);
        }
        Ok(ids)
    }

    fn field(
        &mut self,
        id: Option<&Value>,
        name: &str,
        required: bool,
        ty: Option<&Value>,
    ) -> Result<i32, String> {
        let id = id.and_then(Value::as_i64).and_then(|id| i32::try_from(id).ok());
        let id = id.ok_or_else(|| format!("the field {name} has no identifier"))?;
        self.path.push(name.to_owned());
        if self.path.len() > MAX_DEPTH {
            return Err(format!("fields lie within each other more than {MAX_DEPTH} levels deep"));
        }
        let ty = self.ty(ty.ok_or_else(|| format!("the field {name} has no type"))?)?;
        let field = Field { path: self.path.clone(), ty, required, in_key: self.in_key };
        self.path.pop();
        if self.fields.insert(id, field).is_some() {
            return Err(format!("two fields have the identifier {id}"));
        }
        if self.fields.len() > MAX_FIELDS {
            return Err(format!("there are more than {MAX_FIELDS} fields"));
        }
        Ok(id)
    }

    fn ty(&mut self, ty: &Value) -> Result<FieldType, String> {
        if let Some(text) = ty.as_str() {
            return FieldType::primitive(text);
        }
        let object = ty.as_object().ok_or("a type that is neither a name nor an object")?;
        match object.get("type").and_then(Value::as_str) {
            Some("struct") => Ok(FieldType::Struct(self.fields(object)?)),
            Some("list") => {
                let required = boolean(object, "element-required")?;
                let element =
                    self.field(object.get("element-id"), "element", required, object.get("element"))?;
                Ok(FieldType::List(element))
            }
            Some("map") => {
                let before = std::mem::replace(&mut self.in_key, true);
                let key = self.field(object.get("key-id"), "key", true, object.get("key"))?;
                self.in_key = before;
                let required = boolean(object, "value-required")?;
                let value = self.field(object.get("value-id"), "value", required, object.get("value"))?;
                Ok(FieldType::Map(key, value))
            }
            other => Err(unknown(other.unwrap_or_default())),
        }
    }
}

fn boolean(object: &Map<String, Value>, key: &str) -> Result<bool, String> {
    object.get(key).and_then(Value::as_bool).ok_or_else(|| format!("{key} is neither true nor false"))
}

#[cfg(test)]
mod tests;
