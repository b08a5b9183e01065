//! Trino's types, read from the text that Trino lists them with.

use std::fmt;

/// How deep a type may nest. Trino has no limit of its own; nobody writes more.
const MAX_DEPTH: u32 = 64;

/// A type of Trino.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// `boolean`
    Boolean,
    /// `tinyint`
    Tinyint,
    /// `smallint`
    Smallint,
    /// `integer`
    Integer,
    /// `bigint`
    Bigint,
    /// `real`
    Real,
    /// `double`
    Double,
    /// `decimal(p,s)`
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits behind the point.
        scale: u8,
    },
    /// `varchar` or `varchar(n)`, n in code points.
    Varchar(Option<u32>),
    /// `char(n)`, n in code points.
    Char(u32),
    /// `varbinary`
    Varbinary,
    /// `date`
    Date,
    /// `time(p)` with or without a zone.
    Time {
        /// Digits of the second's fraction, 0 to 12.
        precision: u8,
        /// `with time zone`.
        zoned: bool,
    },
    /// `timestamp(p)` with or without a zone.
    Timestamp {
        /// Digits of the second's fraction, 0 to 12.
        precision: u8,
        /// `with time zone`.
        zoned: bool,
    },
    /// `uuid`
    Uuid,
    /// `json`
    Json,
    /// `array(element)`
    Array(Box<Type>),
    /// `map(key, value)`
    Map(Box<Type>, Box<Type>),
    /// `row(...)`
    Row(Vec<RowField>),
    /// Another type, or one whose text is ambiguous (Trino prints field names of rows without quotes).
    /// It is never printed into a statement.
    Other(String),
}

/// A field of a row type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowField {
    /// Its name; anonymous fields have none.
    pub name: Option<String>,
    /// Its type.
    pub ty: Type,
}

impl Type {
    /// Reads the text of a type. What is not understood in full is [`Type::Other`].
    pub fn parse(text: &str) -> Self {
        read(text, 0).unwrap_or_else(|| Self::Other(text.trim().to_owned()))
    }

    /// Whether `CAST(x AS <the text of this type>)` can be printed: the type is understood in full.
    pub fn is_castable(&self) -> bool {
        match self {
            Self::Other(_) => false,
            Self::Array(element) => element.is_castable(),
            Self::Map(key, value) => key.is_castable() && value.is_castable(),
            Self::Row(fields) => fields.iter().all(|field| field.ty.is_castable()),
            Self::Boolean
            | Self::Tinyint
            | Self::Smallint
            | Self::Integer
            | Self::Bigint
            | Self::Real
            | Self::Double
            | Self::Decimal { .. }
            | Self::Varchar(_)
            | Self::Char(_)
            | Self::Varbinary
            | Self::Date
            | Self::Time { .. }
            | Self::Timestamp { .. }
            | Self::Uuid
            | Self::Json => true,
        }
    }

    /// Whether values of the type have to do with time, so that a session's time zone may matter.
    pub fn is_temporal(&self) -> bool {
        match self {
            Self::Date | Self::Time { .. } | Self::Timestamp { .. } => true,
            Self::Array(element) => element.is_temporal(),
            Self::Map(key, value) => key.is_temporal() || value.is_temporal(),
            Self::Row(fields) => fields.iter().any(|field| field.ty.is_temporal()),
            Self::Boolean
            | Self::Tinyint
            | Self::Smallint
            | Self::Integer
            | Self::Bigint
            | Self::Real
            | Self::Double
            | Self::Decimal { .. }
            | Self::Varchar(_)
            | Self::Char(_)
            | Self::Varbinary
            | Self::Uuid
            | Self::Json
            | Self::Other(_) => false,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = |zoned: bool| if zoned { " with time zone" } else { "" };
        match self {
            Self::Boolean => f.write_str("boolean"),
            Self::Tinyint => f.write_str("tinyint"),
            Self::Smallint => f.write_str("smallint"),
            Self::Integer => f.write_str("integer"),
            Self::Bigint => f.write_str("bigint"),
            Self::Real => f.write_str("real"),
            Self::Double => f.write_str("double"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Varchar(None) => f.write_str("varchar"),
            Self::Varchar(Some(length)) => write!(f, "varchar({length})"),
            Self::Char(length) => write!(f, "char({length})"),
            Self::Varbinary => f.write_str("varbinary"),
            Self::Date => f.write_str("date"),
            Self::Time { precision, zoned } => write!(f, "time({precision}){}", zone(*zoned)),
            Self::Timestamp { precision, zoned } => write!(f, "timestamp({precision}){}", zone(*zoned)),
            Self::Uuid => f.write_str("uuid"),
            Self::Json => f.write_str("json"),
            Self::Array(element) => write!(f, "array({element})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
            Self::Row(fields) => {
                f.write_str("row(")?;
                for (i, field) in fields.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    if let Some(name) = &field.name {
                        write!(f, "\"{}\" ", name.replace('"', "\"\""))?;
                    }
                    write!(f, "{}", field.ty)?;
                }
                f.write_str(")")
            }
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// Reads a type; `None` where it is not one of those known.
fn read(text: &str, depth: u32) -> Option<Type> {
    if depth > MAX_DEPTH {
        return None;
    }
    let text = text.trim();
    let (head, rest) = match text.find('(') {
        None => (text, None),
        Some(open) => (&text[..open], Some(&text[open + 1..])),
    };
    let head = head.trim().to_ascii_lowercase();
    let Some(rest) = rest else { return read_plain(&head) };
    let close = matching(rest)?;
    let (inside, tail) = (&rest[..close], rest[close + 1..].trim().to_ascii_lowercase());
    let zoned = match tail.as_str() {
        "" | "without time zone" => false,
        "with time zone" => true,
        _ => return None,
    };
    if !tail.is_empty() && head != "time" && head != "timestamp" {
        return None;
    }
    match head.as_str() {
        "decimal" | "dec" | "numeric" => {
            let parts = split(inside)?;
            let precision = number(parts.first()?, 38)?;
            let scale = parts.get(1).map_or(Some(0), |s| number(s, 38))?;
            (parts.len() <= 2 && precision >= 1 && scale <= precision)
                .then_some(Type::Decimal { precision, scale })
        }
        "varchar" | "char" => {
            let length: u32 = inside.trim().parse().ok()?;
            Some(match (head.as_str(), length) {
                ("char", _) => Type::Char(length),
                (_, 2_147_483_647) => Type::Varchar(None),
                _ => Type::Varchar(Some(length)),
            })
        }
        "time" => Some(Type::Time { precision: number(inside, 12)?, zoned }),
        "timestamp" => Some(Type::Timestamp { precision: number(inside, 12)?, zoned }),
        "array" => Some(Type::Array(Box::new(read(inside, depth + 1)?))),
        "map" => match split(inside)?.as_slice() {
            [key, value] => {
                Some(Type::Map(Box::new(read(key, depth + 1)?), Box::new(read(value, depth + 1)?)))
            }
            _ => None,
        },
        "row" => split(inside)?
            .into_iter()
            .map(|field| read_field(field, depth))
            .collect::<Option<_>>()
            .map(Type::Row),
        _ => None,
    }
}

fn read_plain(name: &str) -> Option<Type> {
    Some(match name {
        "boolean" => Type::Boolean,
        "tinyint" => Type::Tinyint,
        "smallint" => Type::Smallint,
        "integer" | "int" => Type::Integer,
        "bigint" => Type::Bigint,
        "real" => Type::Real,
        "double" | "double precision" => Type::Double,
        "decimal" | "dec" | "numeric" => Type::Decimal { precision: 38, scale: 0 },
        "varchar" => Type::Varchar(None),
        "char" => Type::Char(1),
        "varbinary" => Type::Varbinary,
        "date" => Type::Date,
        "time" | "time without time zone" => Type::Time { precision: 3, zoned: false },
        "time with time zone" => Type::Time { precision: 3, zoned: true },
        "timestamp" | "timestamp without time zone" => Type::Timestamp { precision: 3, zoned: false },
        "timestamp with time zone" => Type::Timestamp { precision: 3, zoned: true },
        "uuid" => Type::Uuid,
        "json" => Type::Json,
        _ => return None,
    })
}

/// A field of a row: a type alone, or a name and a type. Names with white space come without quotes and
/// cannot be told apart, so that they are not read.
fn read_field(text: &str, depth: u32) -> Option<RowField> {
    let text = text.trim();
    if let Some(ty) = read(text, depth + 1) {
        return Some(RowField { name: None, ty });
    }
    if let Some(rest) = text.strip_prefix('"') {
        let mut name = String::new();
        let mut chars = rest.char_indices().peekable();
        while let Some((i, c)) = chars.next() {
            if c != '"' {
                name.push(c);
            } else if chars.next_if(|(_, next)| *next == '"').is_some() {
                name.push('"');
            } else {
                return Some(RowField { name: Some(name), ty: read(&rest[i + 1..], depth + 1)? });
            }
        }
        return None;
    }
    let (name, rest) = text.split_once(' ')?;
    let plain = name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if !plain {
        return None;
    }
    Some(RowField { name: Some(name.to_owned()), ty: read(rest, depth + 1)? })
}

fn number(text: &str, most: u8) -> Option<u8> {
    text.trim().parse().ok().filter(|value| *value <= most)
}

/// The index of the parenthesis that closes the one before `text`.
fn matching(text: &str) -> Option<usize> {
    let mut depth = 0_u32;
    let mut quoted = false;
    for (i, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted && depth == 0 => return Some(i),
            ')' if !quoted => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Splits at the commas outside parentheses and quotes.
fn split(text: &str) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut depth, mut quoted) = (Vec::new(), 0, 0_u32, false);
    for (i, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.checked_sub(1)?,
            ',' if !quoted && depth == 0 => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!quoted && depth == 0).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_print_as_they_are_read() {
        for text in [
            "boolean",
            "decimal(12,2)",
            "varchar",
            "varchar(10)",
            "char(3)",
            "timestamp(6) with time zone",
            "time(3)",
            "array(map(varchar, row(\"a\" bigint, \"b c\" array(date))))",
            "row(bigint, varchar)",
        ] {
            let ty = Type::parse(text);
            assert!(ty.is_castable(), "{text}");
            assert_eq!(ty.to_string(), text);
        }
    }

    #[test]
    fn other_spellings() {
        let check = |text: &str, expect: &str| assert_eq!(Type::parse(text).to_string(), expect, "{text}");
        check("INT", "integer");
        check("double precision", "double");
        check("timestamp with time zone", "timestamp(3) with time zone");
        check("numeric(5)", "decimal(5,0)");
        check("varchar(2147483647)", "varchar");
        check(
            "row(a bigint, b varchar(3), c row(d double))",
            "row(\"a\" bigint, \"b\" varchar(3), \"c\" row(\"d\" double))",
        );
        check("row(x timestamp(3) with time zone)", "row(\"x\" timestamp(3) with time zone)");
    }

    #[test]
    fn what_is_not_understood_is_never_cast_to() {
        for text in [
            "HyperLogLog",
            "row(a b bigint)",
            "decimal(39,2)",
            "array(",
            "varchar(3))",
            "bigint) OR (1=1",
            "interval day to second",
            "row(a bigint",
            "",
            "array(HyperLogLog)",
        ] {
            let ty = Type::parse(text);
            assert!(!ty.is_castable(), "{text}: {ty:?}");
        }
        let deep = format!("{}bigint{}", "array(".repeat(10_000), ")".repeat(10_000));
        assert!(!Type::parse(&deep).is_castable());
    }
}
