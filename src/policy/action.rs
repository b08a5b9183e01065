//! The nine actions as SQL of Trino, per type.

use super::Salt;
use crate::catalog::{Action, Type};

/// Every function by its full name: a query's own functions, and the path, cannot get in front of it.
macro_rules! f {
    ($name:literal) => {
        concat!("system.builtin.", $name)
    };
}

/// SQL for what the action shows in place of `operand`, a column's qualified name, as a value of `ty`.
///
/// `salt` is for the salted hash. An action that does not apply to the type, or whose result does not
/// fit in it, is an error with the reason.
pub(super) fn value(action: Action, ty: &Type, operand: &str, salt: &Salt) -> Result<String, String> {
    if !ty.is_castable() {
        return Err(format!("the type {ty} is not one that a mask can be made for"));
    }
    let expression = match action {
        Action::MaskAlphanum => alphanum(&text(action, ty, operand)?),
        Action::ShowFirst4 => {
            let text = text(action, ty, operand)?;
            let rest = alphanum(&format!("{}({text}, 5)", f!("substr")));
            let shown = format!("{}({text}, 1, 4)", f!("substr"));
            short(&text, &format!("{}({shown}, {rest})", f!("concat")))
        }
        Action::ShowLast4 => {
            let text = text(action, ty, operand)?;
            let length = format!("{}({text})", f!("length"));
            let rest = alphanum(&format!("{}({text}, 1, {length} - 4)", f!("substr")));
            let shown = format!("{}({text}, {length} - 3)", f!("substr"));
            short(&text, &format!("{}({rest}, {shown})", f!("concat")))
        }
        Action::ReplaceWithNull => "NULL".to_owned(),
        Action::MaskToFixedValue => fixed(ty)?,
        Action::TruncateToYear => truncate(action, ty, operand, "year")?,
        Action::TruncateToMonth => truncate(action, ty, operand, "month")?,
        Action::Sha256Global => hash(action, ty, operand, None)?,
        Action::Sha256QueryLocal => {
            let salt = salt.hex().map_err(|error| error.to_string())?;
            hash(action, ty, operand, Some(salt))?
        }
    };
    Ok(format!("CAST({expression} AS {ty})"))
}

fn not_for(action: Action, ty: &Type) -> String {
    format!("the action {} does not apply to the type {ty}", action.as_str())
}

/// The operand as a varchar. The padding of a char is no part of it.
fn text(action: Action, ty: &Type, operand: &str) -> Result<String, String> {
    match ty {
        Type::Varchar(_) => Ok(operand.to_owned()),
        Type::Char(_) => Ok(format!("{}(CAST({operand} AS varchar))", f!("rtrim"))),
        _ => Err(not_for(action, ty)),
    }
}

fn alphanum(text: &str) -> String {
    format!("{0}({0}({text}, '[^0-9(),.@\\-]', 'x'), '[0-9]', 'n')", f!("regexp_replace"))
}

/// Four characters or fewer stay as they are.
fn short(text: &str, long: &str) -> String {
    format!("CASE WHEN {}({text}) <= 4 THEN {text} ELSE {long} END", f!("length"))
}

fn fixed(ty: &Type) -> Result<String, String> {
    let too_short = || Err(format!("the constant of mask-to-fixed-value does not fit in {ty}"));
    // Iceberg's timestamps have six digits or, counted in nanoseconds, nine; those end in 2262.
    let timestamp = |precision: u8| if precision <= 6 { "9999-12-31" } else { "2261-12-31" };
    Ok(match ty {
        Type::Boolean => "false".to_owned(),
        Type::Integer | Type::Bigint => "999999999".to_owned(),
        Type::Tinyint | Type::Smallint => return too_short(),
        Type::Real | Type::Double => "0e0".to_owned(),
        Type::Decimal { .. } => "0".to_owned(),
        Type::Varchar(Some(length)) | Type::Char(length) if *length < 8 => return too_short(),
        Type::Varchar(_) | Type::Char(_) => "'XXXXXXXX'".to_owned(),
        Type::Date => "DATE '9999-12-31'".to_owned(),
        Type::Time { zoned: false, .. } => "TIME '00:00:00'".to_owned(),
        Type::Time { zoned: true, .. } => "TIME '00:00:00+00:00'".to_owned(),
        Type::Timestamp { precision, zoned: false } => {
            format!("TIMESTAMP '{} 00:00:00'", timestamp(*precision))
        }
        Type::Timestamp { precision, zoned: true } => {
            format!("TIMESTAMP '{} 00:00:00 UTC'", timestamp(*precision))
        }
        Type::Uuid => "UUID '00000000-0000-0000-0000-000000000000'".to_owned(),
        // Trino lists a fixed(n) of Iceberg as varbinary, too; both are shown as empty.
        Type::Varbinary => "X''".to_owned(),
        Type::Array(_) => "ARRAY[]".to_owned(),
        Type::Map(..) => format!("{}()", f!("map")),
        Type::Row(fields) => {
            let values = fields
                .iter()
                .map(|field| fixed(&field.ty).map(|value| format!("CAST({value} AS {})", field.ty)))
                .collect::<Result<Vec<_>, _>>()?;
            format!("ROW({})", values.join(", "))
        }
        Type::Json | Type::Other(_) => return Err(not_for(Action::MaskToFixedValue, ty)),
    })
}

fn truncate(action: Action, ty: &Type, operand: &str, unit: &str) -> Result<String, String> {
    match ty {
        Type::Date | Type::Timestamp { zoned: false, .. } => {
            Ok(format!("{}('{unit}', {operand})", f!("date_trunc")))
        }
        Type::Timestamp { zoned: true, .. } => {
            Ok(format!("{}('{unit}', {}({operand}, 'UTC'))", f!("date_trunc"), f!("at_timezone")))
        }
        _ => Err(not_for(action, ty)),
    }
}

fn hash(action: Action, ty: &Type, operand: &str, salt: Option<&str>) -> Result<String, String> {
    let big_endian = |bits: u32| format!("{}({}_{bits}({operand}))", f!("reverse"), f!("to_big_endian"));
    let bytes = match ty {
        Type::Varchar(_) | Type::Char(_) => format!("{}({})", f!("to_utf8"), text(action, ty, operand)?),
        Type::Integer => big_endian(32),
        Type::Bigint => big_endian(64),
        Type::Varbinary => operand.to_owned(),
        _ => return Err(not_for(action, ty)),
    };
    let bytes = match salt {
        Some(salt) => format!("{}(X'{salt}', {bytes})", f!("concat")),
        None => bytes,
    };
    let digest = format!("{}({bytes})", f!("sha256"));
    let number = |bits: u32| {
        let head = format!("{}({digest}, 1, {})", f!("substr"), bits / 8);
        format!("{}_{bits}({}({head}))", f!("from_big_endian"), f!("reverse"))
    };
    Ok(match ty {
        Type::Varchar(Some(length)) | Type::Char(length) if *length < 64 => {
            return Err(format!("the 64 digits of {} do not fit in {ty}", action.as_str()));
        }
        Type::Integer => number(32),
        Type::Bigint => number(64),
        Type::Varbinary => digest,
        _ => format!("{}({}({digest}))", f!("lower"), f!("to_hex")),
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// The actions that apply, by type.
    #[test]
    fn which_action_applies_to_which_type() {
        let strings = [
            Action::MaskAlphanum,
            Action::ShowFirst4,
            Action::ShowLast4,
            Action::ReplaceWithNull,
            Action::MaskToFixedValue,
            Action::Sha256Global,
            Action::Sha256QueryLocal,
        ];
        let hashed = [
            Action::ReplaceWithNull,
            Action::MaskToFixedValue,
            Action::Sha256Global,
            Action::Sha256QueryLocal,
        ];
        let dates = [
            Action::ReplaceWithNull,
            Action::MaskToFixedValue,
            Action::TruncateToYear,
            Action::TruncateToMonth,
        ];
        let constants = [Action::ReplaceWithNull, Action::MaskToFixedValue];
        let check = |ty: &str, expect: &[Action]| {
            let ty = Type::parse(ty);
            let got: Vec<Action> = Action::ALL
                .into_iter()
                .filter(|action| value(*action, &ty, "x", &Salt::random()).is_ok())
                .collect();
            assert_eq!(got, expect, "{ty}");
        };
        check("varchar", &strings);
        check("varchar(64)", &strings);
        check("varchar(63)", &strings[..5]);
        check("varchar(7)", &strings[..4]);
        check("char(64)", &strings);
        check("char(3)", &strings[..4]);
        check("integer", &hashed);
        check("bigint", &hashed);
        check("varbinary", &hashed);
        check("date", &dates);
        check("timestamp(6)", &dates);
        check("timestamp(6) with time zone", &dates);
        check("time(6)", &constants);
        check("boolean", &constants);
        check("double", &constants);
        check("decimal(12,2)", &constants);
        check("uuid", &constants);
        check("array(bigint)", &constants);
        check("map(varchar, bigint)", &constants);
        check("row(a bigint, b varchar)", &constants);
        check("row(a smallint)", &constants[..1]);
        check("json", &constants[..1]);
        check("smallint", &constants[..1]);
        check("HyperLogLog", &[]);
    }

    #[test]
    fn the_sql_of_each_action() {
        let types = [
            ("varchar", &Action::ALL[..]),
            ("char(70)", &[Action::ShowLast4, Action::Sha256Global]),
            ("integer", &[Action::Sha256Global]),
            ("bigint", &[Action::Sha256QueryLocal, Action::MaskToFixedValue]),
            ("varbinary", &[Action::Sha256QueryLocal]),
            ("date", &[Action::TruncateToYear, Action::MaskToFixedValue]),
            ("timestamp(6) with time zone", &[Action::TruncateToMonth, Action::MaskToFixedValue]),
            ("timestamp(9)", &[Action::MaskToFixedValue]),
            ("row(a bigint, b array(varchar))", &[Action::MaskToFixedValue]),
        ];
        let mut lines = String::new();
        for (ty, actions) in types {
            for action in actions {
                if let Ok(sql) = value(*action, &Type::parse(ty), "t.c", &Salt::from_bytes([17; 16])) {
                    let _ = writeln!(lines, "{ty} {}: {sql}", action.as_str());
                }
            }
        }
        insta::assert_snapshot!(lines);
    }
}
