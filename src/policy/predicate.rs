//! Iceberg's predicates as SQL of Trino.
//!
//! Iceberg's are two-valued and SQL's are not: a test holds where the value is not null and passes, its opposite where the
//! value is null or does not pass. So written, Trino still skips files by them.

use crate::catalog::{Field, FieldType, Predicate, Reference, Schema, Term, Test, Transform};
use crate::sql::quote_identifier;

use super::literal::{literal, string};

/// The SQL of a predicate over the columns of a table: true or false, never null.
///
/// # Errors
/// Something in it is not there, is of a type that it cannot be asked of, or cannot be computed exactly.
pub(super) fn sql(predicate: &Predicate, schema: &Schema) -> Result<String, String> {
    match predicate {
        Predicate::Constant(constant) => Ok(constant.to_string()),
        Predicate::All(parts) => joined(parts, " AND ", schema),
        Predicate::Any(parts) => joined(parts, " OR ", schema),
        Predicate::Test { term, test, negated } => tested(term, test, *negated, schema),
    }
}

fn joined(parts: &[Predicate], with: &str, schema: &Schema) -> Result<String, String> {
    let parts = parts.iter().map(|part| sql(part, schema)).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("({})", parts.join(with)))
}

fn tested(term: &Term, test: &Test, negated: bool, schema: &Schema) -> Result<String, String> {
    let (value, ty, field) = operand(term, schema)?;
    if !matches!(test, Test::IsNull) && !ty.is_primitive() {
        return Err(format!("{field} is of the type {ty}, which cannot be compared"));
    }
    let of = |other| literal(other, &ty).map_err(|why| format!("{field}: {why}"));
    let holds = match test {
        Test::IsNull => return Ok(format!("{value} IS {}NULL", if negated { "NOT " } else { "" })),
        Test::IsNan if matches!(ty, FieldType::Float | FieldType::Double) => format!("is_nan({value})"),
        Test::IsNan => return Err(format!("{field} is of the type {ty}, which has no NaN")),
        Test::Eq(other) => format!("{value} = {}", of(other)?),
        Test::Lt(other) => format!("{value} < {}", of(other)?),
        Test::LtEq(other) => format!("{value} <= {}", of(other)?),
        Test::Gt(other) => format!("{value} > {}", of(other)?),
        Test::GtEq(other) => format!("{value} >= {}", of(other)?),
        Test::In(others) => {
            let others = others.iter().map(of).collect::<Result<Vec<_>, _>>()?;
            format!("{value} IN ({})", others.join(", "))
        }
        Test::StartsWith(prefix) => {
            let text = prefix.value.as_str().filter(|_| ty == FieldType::String);
            let text = text.ok_or_else(|| format!("{field}: starts-with is about a string and a string"))?;
            of(prefix)?;
            format!("substr({value}, 1, {}) = {}", text.chars().count(), string(text))
        }
    };
    Ok(if negated {
        format!("({value} IS NULL OR NOT {holds})")
    } else {
        format!("({value} IS NOT NULL AND {holds})")
    })
}

/// The field of an identifier or a name.
///
/// # Errors
/// There is none.
pub(super) fn find<'a>(reference: &Reference, schema: &'a Schema) -> Result<&'a Field, String> {
    match reference {
        Reference::Id(id) => schema.field(*id).ok_or_else(|| format!("there is no field {id}")),
        Reference::Name(name) => {
            let id = schema.named(name);
            id.and_then(|id| schema.field(id)).ok_or_else(|| format!("there is no one field '{name}'"))
        }
    }
}

/// The SQL of what is looked at, its type, and its field for messages.
fn operand(term: &Term, schema: &Schema) -> Result<(String, FieldType, String), String> {
    let field = find(&term.reference, schema)?;
    let name = field.path.join(".");
    if !schema.is_in_structs(field) {
        return Err(format!("{name} lies in a list or a map, of which a row has many"));
    }
    let path: Vec<String> = field.path.iter().map(|part| quote_identifier(part)).collect();
    let value = path.join(".");
    let (value, ty) =
        transformed(&term.transform, &value, &field.ty).ok_or_else(|| match &term.transform {
            Transform::Other(transform) => {
                format!("{name}: the transform '{transform}' cannot be computed exactly")
            }
            transform => format!("{name}: there is no transform {transform:?} of the type {}", field.ty),
        })?;
    Ok((value, ty, name))
}

fn transformed(transform: &Transform, value: &str, ty: &FieldType) -> Option<(String, FieldType)> {
    // Points in time are looked at in UTC, whatever the session's zone.
    let local = match ty {
        FieldType::Date | FieldType::Timestamp { zoned: false, .. } => Some(value.to_owned()),
        FieldType::Timestamp { zoned: true, .. } => Some(format!("at_timezone({value}, 'UTC')")),
        _ => None,
    };
    let int = |text: String| Some((text, FieldType::Int));
    match transform {
        Transform::Identity => Some((value.to_owned(), ty.clone())),
        Transform::Year => local.and_then(|local| int(format!("(year({local}) - 1970)"))),
        Transform::Month => {
            local.and_then(|local| int(format!("((year({local}) - 1970) * 12 + month({local}) - 1)")))
        }
        Transform::Day => Some((format!("CAST({} AS date)", local?), FieldType::Date)),
        Transform::Hour => {
            let FieldType::Timestamp { nanos, .. } = ty else { return None };
            let precision = if *nanos { 9 } else { 6 };
            let hour = format!("date_trunc('hour', CAST({} AS timestamp({precision})))", local?);
            int(format!("date_diff('hour', TIMESTAMP '1970-01-01 00:00:00', {hour})"))
        }
        Transform::Truncate(width) => Some((truncated(value, ty, *width)?, ty.clone())),
        Transform::Other(_) => None,
    }
}

fn truncated(value: &str, ty: &FieldType, width: u32) -> Option<String> {
    // Down, not towards zero. Wide enough for the least of all values, too.
    let down = |value: &str, width: &str| format!("({value} - ((({value} % {width}) + {width}) % {width}))");
    Some(match ty {
        FieldType::Int => down(&format!("CAST({value} AS bigint)"), &format!("BIGINT '{width}'")),
        FieldType::Long => {
            down(&format!("CAST({value} AS decimal(38,0))"), &format!("CAST('{width}' AS decimal(20,0))"))
        }
        FieldType::Decimal { scale, .. } => {
            // The width counts units of the last digit.
            let digits = format!("{width:0>length$}", length = usize::from(*scale) + 1);
            let (whole, fraction) = digits.split_at(digits.len() - usize::from(*scale));
            let precision = digits.len().min(38);
            let width = format!("CAST('{whole}.{fraction}' AS decimal({precision},{scale}))");
            down(value, &width)
        }
        FieldType::String | FieldType::Binary => format!("substr({value}, 1, {width})"),
        _ => return None,
    })
}
