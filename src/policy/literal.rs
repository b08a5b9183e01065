//! The values in Iceberg's predicates as literals of Trino, each of the type of what it is compared with.

use serde_json::Value;

use crate::catalog::{FieldType, Literal};
use crate::sql::quote_string;
use crate::units::hex;

/// SQL for a value of a type.
///
/// # Errors
/// It is none of the type, or the type has none that can be compared.
pub(super) fn literal(literal: &Literal, ty: &FieldType) -> Result<String, String> {
    if let Some(own) = &literal.ty
        && own != ty
    {
        return Err(format!("a value of the type {own} is compared with the type {ty}"));
    }
    value(&literal.value, ty).ok_or_else(|| format!("{} is no value of the type {ty}", literal.value))
}

fn value(value: &Value, ty: &FieldType) -> Option<String> {
    let text = || value.as_str();
    Some(match ty {
        FieldType::Boolean => value.as_bool()?.to_string(),
        FieldType::Int => format!("INTEGER '{}'", i32::try_from(value.as_i64()?).ok()?),
        FieldType::Long => format!("BIGINT '{}'", value.as_i64()?),
        FieldType::Float => {
            #[expect(clippy::cast_possible_truncation, reason = "the nearest float is what is meant")]
            let float = value.as_f64()? as f32;
            // There is one zero to compare with.
            float.is_finite().then(|| format!("REAL '{:e}'", if float == 0.0 { 0.0 } else { float }))?
        }
        FieldType::Double => {
            let float = value.as_f64()?;
            float.is_finite().then(|| format!("DOUBLE '{:e}'", if float == 0.0 { 0.0 } else { float }))?
        }
        FieldType::Decimal { precision, scale } => decimal(text()?, *precision, *scale)?,
        FieldType::Date => format!("DATE '{}'", date(text()?)?),
        FieldType::Time => format!("TIME '{}'", time(text()?, 6)?),
        FieldType::Timestamp { nanos, zoned } => {
            let (day, rest) = text()?.split_once('T')?;
            let rest = match zoned {
                true => rest.strip_suffix("+00:00").or_else(|| rest.strip_suffix('Z'))?,
                false => rest,
            };
            let time = time(rest, if *nanos { 9 } else { 6 })?;
            format!("TIMESTAMP '{} {time}{}'", date(day)?, if *zoned { " UTC" } else { "" })
        }
        FieldType::String => string(text()?),
        FieldType::Uuid => format!("UUID '{}'", uuid(text()?)?),
        FieldType::Fixed(length) => {
            let digits = bytes(text()?)?;
            (u32::try_from(digits.len() / 2).ok()? == *length).then(|| format!("X'{digits}'"))?
        }
        FieldType::Binary => format!("X'{}'", bytes(text()?)?),
        FieldType::Struct(_) | FieldType::List(_) | FieldType::Map(..) | FieldType::Other(_) => return None,
    })
}

/// A text as SQL. One with characters that no expression may have is written as its bytes.
pub(super) fn string(text: &str) -> String {
    if text.chars().any(char::is_control) {
        format!("from_utf8(X'{}')", hex(text.as_bytes()))
    } else {
        quote_string(text)
    }
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A number with as many digits behind the point as the type has.
fn decimal(text: &str, precision: u8, scale: u8) -> Option<String> {
    let number = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, digits(fraction).then_some(fraction)?),
        None => (number, ""),
    };
    let significant = whole.trim_start_matches('0').len();
    let fits = digits(whole)
        && fraction.len() == usize::from(scale)
        && significant + fraction.len() <= usize::from(precision);
    fits.then(|| format!("CAST('{text}' AS decimal({precision},{scale}))"))
}

/// `YYYY-MM-DD`, a day that there is.
fn date(text: &str) -> Option<&str> {
    let plain = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    (plain && text.parse::<jiff::civil::Date>().is_ok()).then_some(text)
}

/// `HH:MM:SS`, perhaps with a fraction, which is filled up to so many digits.
fn time(text: &str, precision: usize) -> Option<String> {
    let (clock, fraction) = match text.split_once('.') {
        Some((clock, fraction)) => (clock, digits(fraction).then_some(fraction)?),
        None => (text, ""),
    };
    let parts: Vec<&str> = clock.split(':').collect();
    let [hour, minute, second] = parts.as_slice() else { return None };
    let below = |part: &str, end: u8| {
        part.len() == 2 && digits(part) && part.parse::<u8>().is_ok_and(|number| number < end)
    };
    let fits = below(hour, 24) && below(minute, 60) && below(second, 60) && fraction.len() <= precision;
    fits.then(|| format!("{clock}.{fraction:0<precision$}"))
}

fn uuid(text: &str) -> Option<String> {
    let plain = text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    plain.then(|| text.to_ascii_lowercase())
}

fn bytes(text: &str) -> Option<String> {
    let plain = text.len() % 2 == 0 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use serde_json::json;

    use super::*;
    use crate::policy::formula::Formula;

    #[test]
    fn values_become_literals_or_are_refused() {
        let timestamp = |nanos, zoned| FieldType::Timestamp { nanos, zoned };
        let decimal = |precision, scale| FieldType::Decimal { precision, scale };
        let table = [
            (FieldType::Boolean, json!([true, false, 1, "true"])),
            (FieldType::Int, json!([5, -2_147_483_648_i64, 2_147_483_648_i64, 5.0, "5", true])),
            (FieldType::Long, json!([i64::MIN, i64::MAX, u64::MAX, 1.5])),
            (FieldType::Float, json!([1, -0.0, 0.1, 3.402_823_5e38, 1e39, "NaN", "1"])),
            (FieldType::Double, json!([1, -0.0, 0.1, -1.5e300, "Infinity"])),
            (
                decimal(4, 2),
                json!(["14.20", "-0.05", "0.00", "00012.34", "123.45", "1.2", "1", "1e2", "", "-", 14.2]),
            ),
            (decimal(38, 0), json!(["-99999999999999999999999999999999999999", "1."])),
            (
                FieldType::Date,
                json!(["1969-12-31", "2023-02-29", "2024-02-29", "10000-01-01", "-001-01-01", 3]),
            ),
            (
                FieldType::Time,
                json!(["23:59:59.999999", "00:00:00", "12:00:00.5", "24:00:00", "12:00", "12:00:00.1234567"]),
            ),
            (
                timestamp(false, false),
                json!(["1969-12-31T23:59:59.999999", "2020-01-01T00:00:00+00:00", "2020-01-01 00:00:00"]),
            ),
            (
                timestamp(false, true),
                json!([
                    "2020-12-31T23:30:00.5+00:00",
                    "2020-01-01T00:00:00Z",
                    "2020-01-01T00:00:00",
                    "2020-01-01T00:00:00+01:00"
                ]),
            ),
            (
                timestamp(true, false),
                json!(["2020-01-01T00:00:00.123456789", "2020-01-01T00:00:00.1234567890"]),
            ),
            (timestamp(true, true), json!(["2020-01-01T00:00:00+00:00"])),
            (FieldType::String, json!(["EU", "", "it's", "a\u{1}\u{0}\r\n", "\u{1f600}", 1])),
            (
                FieldType::Uuid,
                json!(["F79C3E09-677C-4BBD-A479-3F349CB785E7", "f79c3e09677c4bbda4793f349cb785e7", "'"]),
            ),
            (FieldType::Fixed(2), json!(["00fF", "00", "0g00", ""])),
            (FieldType::Binary, json!(["", "00ff", "0", "'a'"])),
            (FieldType::Struct(vec![]), json!([1])),
            (FieldType::Other("variant".to_owned()), json!([1])),
        ];
        let mut lines = String::new();
        for (ty, values) in table {
            for value in values.as_array().expect("a list") {
                let got = literal(&Literal { value: value.clone(), ty: None }, &ty);
                if let Ok(sql) = &got {
                    Formula::parse(sql).expect("an expression");
                }
                let _ =
                    writeln!(lines, "{ty} {value}: {}", got.unwrap_or_else(|why| format!("refused: {why}")));
            }
        }
        insta::assert_snapshot!(lines);
        let typed = Literal { value: json!(5), ty: Some(FieldType::Int) };
        assert!(literal(&typed, &FieldType::Int).is_ok());
        assert!(literal(&typed, &FieldType::Long).is_err());
    }
}
