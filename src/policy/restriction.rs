//! What a catalog restricts for one reader of one table, as a rule beside those of the documents.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::error::Source;
use super::formula::Formula;
use super::nested::Fields;
use super::pattern::Glob;
use super::predicate;
use super::rule::{Columns, MaskRule, MaskWith, Rule};
use crate::catalog::{Action, Described, Field, FieldType, Predicate, ReadRestrictions, Schema};

/// The rule that restricts what is restricted. `strength` is that of its masks. None where nothing is.
///
/// # Errors
/// Something cannot be applied, with the reason: nothing of the table may be shown then.
pub(super) fn rule(
    restrictions: &ReadRestrictions,
    schema: &Schema,
    described: &Described,
    source: Source,
    strength: i32,
) -> Result<Option<Rule>, String> {
    if let Some(why) = schema.disagreement(described) {
        return Err(why);
    }
    let filter = match &restrictions.filter {
        None | Some(Predicate::Constant(true)) => None,
        Some(filter) => Some(filter_of(filter, schema).map_err(|why| format!("required-row-filter: {why}"))?),
    };
    let masks =
        masks(restrictions, schema, strength).map_err(|why| format!("required-column-projections: {why}"))?;
    if filter.is_none() && masks.is_empty() {
        return Ok(None);
    }
    Ok(Some(Rule { filter, masks, ..Rule::of(&described.name, source) }))
}

fn filter_of(filter: &Predicate, schema: &Schema) -> Result<Arc<Formula>, String> {
    Formula::parse(&predicate::sql(filter, schema)?).map(Arc::new)
}

fn masks(restrictions: &ReadRestrictions, schema: &Schema, strength: i32) -> Result<Vec<MaskRule>, String> {
    let mut paths: BTreeSet<&[String]> = BTreeSet::new();
    let mut masks = Vec::with_capacity(restrictions.projections.len());
    for projection in &restrictions.projections {
        let id = projection.field;
        let field = schema.field(id).ok_or_else(|| format!("there is no field {id}"))?;
        masks.push(mask(field, projection.action, schema, strength)?);
        paths.insert(&field.path);
    }
    for path in &paths {
        if let Some(around) = (1..path.len()).map(|end| &path[..end]).find(|around| paths.contains(around)) {
            let (around, path) = (around.join("."), path.join("."));
            return Err(format!("{around} is projected, and so is {path} in it"));
        }
    }
    Ok(masks)
}

fn mask(field: &Field, action: Action, schema: &Schema, strength: i32) -> Result<MaskRule, String> {
    let name = field.path.join(".");
    if field.in_key {
        return Err(format!("{name} is the key of a map, or in one: keys cannot be projected"));
    }
    if action == Action::ReplaceWithNull && field.required {
        return Err(format!("{name} is required: replace-with-null is not for it"));
    }
    if !applies(action, &field.ty) {
        return Err(format!("{name}: the action {} is not for the type {}", action.as_str(), field.ty));
    }
    let with = match action {
        Action::MaskToFixedValue => fixed_value(&field.ty, schema)
            .map_err(|ty| format!("{name}: there is no fixed value of the type {ty}"))?,
        action => MaskWith::Action(action),
    };
    let Some((column, path)) = field.path.split_first() else {
        return Err("a field without a name".to_owned());
    };
    let named = Columns::Named(Glob::exactly(column));
    let path: Vec<Glob> = path.iter().map(|part| Glob::exactly(part)).collect();
    let (columns, fields) = if path.is_empty() {
        (vec![named], Vec::new())
    } else {
        (Vec::new(), vec![Fields { columns: named, path }])
    };
    Ok(MaskRule { columns, fields, tags: Vec::new(), with, strength })
}

/// Whether the specification has the action for the type.
fn applies(action: Action, ty: &FieldType) -> bool {
    match action {
        Action::MaskAlphanum | Action::ShowFirst4 | Action::ShowLast4 => *ty == FieldType::String,
        Action::ReplaceWithNull | Action::MaskToFixedValue => true,
        Action::TruncateToYear | Action::TruncateToMonth => {
            matches!(ty, FieldType::Date | FieldType::Timestamp { .. })
        }
        Action::Sha256Global | Action::Sha256QueryLocal => {
            matches!(ty, FieldType::String | FieldType::Int | FieldType::Long | FieldType::Binary)
        }
    }
}

/// The fixed value of a type: that of Trino's type, but where bytes of a fixed length are in it, which Trino's does not
/// tell. The error is the type that has none.
fn fixed_value(ty: &FieldType, schema: &Schema) -> Result<MaskWith, String> {
    let (sql, has_lengths) = constant(ty, schema)?;
    if has_lengths {
        Ok(MaskWith::Formula(Arc::new(Formula::parse(&sql)?)))
    } else {
        Ok(MaskWith::Action(Action::MaskToFixedValue))
    }
}

/// The fixed value as SQL, and whether there are bytes of a fixed length in it.
fn constant(ty: &FieldType, schema: &Schema) -> Result<(String, bool), String> {
    let plain = |text: &str| Ok((text.to_owned(), false));
    match ty {
        FieldType::Boolean => plain("false"),
        FieldType::Int | FieldType::Long => plain("999999999"),
        FieldType::Float | FieldType::Double => plain("0e0"),
        FieldType::Decimal { .. } => plain("0"),
        FieldType::String => plain("'XXXXXXXX'"),
        FieldType::Date => plain("DATE '9999-12-31'"),
        FieldType::Time => plain("TIME '00:00:00'"),
        FieldType::Timestamp { nanos, zoned } => {
            let date = if *nanos { "2261-12-31" } else { "9999-12-31" };
            Ok((format!("TIMESTAMP '{date} 00:00:00{}'", if *zoned { " UTC" } else { "" }), false))
        }
        FieldType::Uuid => plain("UUID '00000000-0000-0000-0000-000000000000'"),
        FieldType::Binary => plain("X''"),
        // Longer ones than any expression may be are refused there.
        FieldType::Fixed(length) if *length <= 16_384 => {
            Ok((format!("X'{}'", "00".repeat(*length as usize)), true))
        }
        FieldType::List(_) => plain("ARRAY[]"),
        FieldType::Map(..) => plain("map()"),
        FieldType::Struct(fields) => {
            let mut values = Vec::with_capacity(fields.len());
            let mut any = false;
            for id in fields {
                let field = schema.field(*id).ok_or_else(|| ty.to_string())?;
                let (value, has_lengths) = constant(&field.ty, schema)?;
                values.push(value);
                any |= has_lengths;
            }
            Ok((format!("ROW({})", values.join(", ")), any))
        }
        FieldType::Fixed(_) | FieldType::Other(_) => Err(ty.to_string()),
    }
}

#[cfg(test)]
mod tests;
