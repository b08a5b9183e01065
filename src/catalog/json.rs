//! JSON from which nothing may be lost: a key that comes twice, and nesting without end, are mistakes.

use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep objects and lists may nest.
pub(super) const MAX_DEPTH: usize = 100;

/// Reads a text as JSON.
///
/// # Errors
/// It is none, nests deeper than [`MAX_DEPTH`], or an object has a key twice: readers do not agree which one counts.
pub(super) fn read(text: &str) -> Result<Value, String> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict { left: MAX_DEPTH }.deserialize(&mut reader).map_err(|error| error.to_string())?;
    reader.end().map_err(|error| error.to_string())?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Strict {
    /// How many levels may follow.
    left: usize,
}

impl Strict {
    fn below<E: Error>(self) -> Result<Self, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Self { left }),
            None => Err(E::custom(format!("nested more than {MAX_DEPTH} levels deep"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that is none"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(below)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format!("the key '{key}' comes twice")));
            }
            let value = entries.next_value_seed(below)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_read_as_it_is() {
        let check = |text: &str| {
            assert_eq!(read(text).map(|value| value.to_string()), Ok(text.to_owned()), "{text}");
        };
        check("null");
        check(r#"{"b":[1,-2,0.1,"\n",true,null,{}],"a":18446744073709551615}"#);
        check("5e-324");
    }

    #[test]
    fn what_is_no_json_or_ambiguous_is_refused() {
        let check = |text: &str, expect: &str| {
            let error = read(text).expect_err("an error");
            assert!(error.contains(expect), "{error}");
        };
        check(r#"{"a":1,"b":{"c":1,"c":2}}"#, "the key 'c' comes twice");
        check(r#"{"a":1} {"#, "trailing");
        check("1e999", "number out of range");
        check("", "EOF");
        for depth in [101, 10_000, 1_000_000] {
            check(&"[".repeat(depth), "nested more than 100 levels deep");
            check(&r#"{"type":"not","child":"#.repeat(depth), "nested more than 100 levels deep");
        }
        assert!(read(&format!("{}{}", "[".repeat(100), "]".repeat(100))).is_ok());
    }
}
