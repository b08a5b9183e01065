//! Masks of fields within a column: the value is built anew around them.
//!
//! A field is named by its path from the column, as Iceberg names it: fields of rows by name, the elements of an array
//! `element`, the values of a map `value`. The keys of a map cannot be masked: two could become one.

use super::pattern::Glob;
use super::rule::{Columns, MaskRule, Rule};
use crate::catalog::{TableName, Type};
use crate::sql::{fold_column, quote_identifier};

/// Fields that a mask is about.
#[derive(Debug, Clone)]
pub(super) struct Fields {
    /// The columns that they are in.
    pub(super) columns: Columns,
    /// The path from the column; at least one.
    pub(super) path: Vec<Glob>,
}

impl Fields {
    /// Whether a value of the type has such a field.
    pub(super) fn are_in(&self, ty: &Type) -> bool {
        fn reach(ty: &Type, path: &[Glob]) -> bool {
            let Some((first, rest)) = path.split_first() else { return true };
            parts(ty).any(|(name, ty)| first.matches(&name) && reach(ty, rest))
        }
        reach(ty, &self.path)
    }

    /// Whether it names one field.
    pub(super) fn is_literal(&self) -> bool {
        self.path.iter().all(|glob| glob.literal().is_some())
    }

    /// Whether one is meant: of a column (folded) of a table, at a path.
    fn matches(&self, table: &TableName, column: &str, path: &[String]) -> bool {
        self.path.len() == path.len()
            && self.path.iter().zip(path).all(|(glob, name)| glob.matches(name))
            && self.columns.matches(table, column)
    }

    /// Whether one is meant that is at a path or below it.
    pub(super) fn leads(&self, table: &TableName, column: &str, path: &[String]) -> bool {
        self.path.len() >= path.len()
            && self.path.iter().zip(path).all(|(glob, name)| glob.matches(name))
            && self.columns.matches(table, column)
    }
}

/// A column whose fields may be masked.
pub(super) struct Nested<'a> {
    pub(super) table: &'a TableName,
    /// The column's name, folded.
    pub(super) column: &'a str,
    pub(super) rules: &'a [&'a Rule],
}

/// The mask of one field.
pub(super) type Masked<'a> = (&'a Rule, &'a MaskRule);

/// The strongest of some masks, and the policy of another that is as strong and shows something else.
pub(super) fn strongest<'a>(
    masks: impl Iterator<Item = Masked<'a>>,
) -> Option<(Masked<'a>, Option<&'a Rule>)> {
    let mut strongest: Option<(Masked<'a>, Option<&'a Rule>)> = None;
    for (rule, mask) in masks {
        match &mut strongest {
            Some(((_, held), _)) if held.strength > mask.strength => {}
            Some(((by, held), rival)) if held.strength == mask.strength => {
                let same_reader = rule.run_as == by.run_as || !mask.with.reads();
                if !held.with.same(&mask.with) || !same_reader {
                    *rival = Some(rule);
                }
            }
            _ => strongest = Some(((rule, mask), None)),
        }
    }
    strongest
}

/// What goes wrong where masks meet.
pub(super) enum Fault<'a> {
    /// Two masks, and neither is the stronger.
    Conflict(&'a Rule, &'a Rule),
    /// A mask cannot be applied.
    Broken(&'a Rule, String),
}

impl<'a> Nested<'a> {
    /// Whether a mask may be about a field of a type that is not understood, so that nobody knows its fields.
    pub(super) fn is_unclear(&self, ty: &Type, fields: &Fields) -> bool {
        fn unclear(ty: &Type) -> bool {
            match ty {
                Type::Other(text) => text.to_lowercase().contains("row"),
                _ => parts(ty).any(|(_, ty)| unclear(ty)),
            }
        }
        fields.columns.matches(self.table, self.column) && unclear(ty)
    }

    /// The masks of the field at a path.
    fn masks(&self, path: &[String]) -> impl Iterator<Item = Masked<'a>> {
        self.rules.iter().flat_map(|rule| rule.masks.iter().map(|mask| (*rule, mask))).filter(|(_, mask)| {
            mask.fields.iter().any(|fields| fields.matches(self.table, self.column, path))
        })
    }

    /// The strength of the strongest mask of anything below a path.
    pub(super) fn strongest_below(&self, ty: &Type, path: &mut Vec<String>) -> Option<Masked<'a>> {
        let mut strongest: Option<Masked<'a>> = None;
        for (name, ty) in parts(ty) {
            path.push(name);
            let below = self.strongest_below(ty, path);
            for mask in self.masks(path).chain(below) {
                if strongest.is_none_or(|(_, held)| held.strength < mask.1.strength) {
                    strongest = Some(mask);
                }
            }
            path.pop();
        }
        strongest
    }

    /// SQL for the value of `operand`, of a type, with the masked fields replaced; none where there are none. `value` is the
    /// SQL of a mask.
    pub(super) fn rebuilt(
        &self,
        operand: &str,
        ty: &Type,
        path: &mut Vec<String>,
        value: &dyn Fn(Masked<'a>, &Type, &str) -> Result<String, String>,
    ) -> Result<Option<String>, Fault<'a>> {
        if let Some(((rule, mask), rival)) = strongest(self.masks(path)) {
            let below = self.strongest_below(ty, path).filter(|(_, below)| mask.yields_to(below));
            if let Some(rival) = rival.or(below.map(|(rule, _)| rule)) {
                return Err(Fault::Conflict(rule, rival));
            }
            return value((rule, mask), ty, operand).map(Some).map_err(|why| Fault::Broken(rule, why));
        }
        // A name that no other lambda around it has.
        let element = quote_identifier(&format!("northgate_e{}", path.len()));
        let below = |name: &str, operand: &str, ty: &Type, path: &mut Vec<String>| {
            path.push(name.to_owned());
            let rebuilt = self.rebuilt(operand, ty, path, value);
            path.pop();
            rebuilt
        };
        match ty {
            Type::Row(_) => {
                let mut fields = Vec::new();
                let mut any = false;
                for (number, (name, ty)) in parts(ty).enumerate() {
                    let field = format!("{operand}[{}]", number + 1);
                    let rebuilt = below(&name, &field, ty, path)?;
                    any |= rebuilt.is_some();
                    fields.push(rebuilt.unwrap_or(field));
                }
                let row = format!("IF({operand} IS NOT NULL, CAST(ROW({}) AS {ty}))", fields.join(", "));
                Ok(any.then_some(row))
            }
            Type::Array(of) => {
                let rebuilt = below("element", &element, of, path)?;
                Ok(rebuilt.map(|to| format!("system.builtin.transform({operand}, {element} -> {to})")))
            }
            Type::Map(key, of) => {
                if let Some((rule, _)) = self.at_key(key, path) {
                    return Err(Fault::Broken(rule, "the keys of a map cannot be masked".to_owned()));
                }
                let rebuilt = below("value", &element, of, path)?;
                Ok(rebuilt.map(|to| {
                    let key = quote_identifier(&format!("northgate_k{}", path.len()));
                    format!("system.builtin.transform_values({operand}, ({key}, {element}) -> {to})")
                }))
            }
            _ => Ok(None),
        }
    }

    /// A mask of the keys of a map, or of something in them.
    fn at_key(&self, key: &Type, path: &mut Vec<String>) -> Option<Masked<'a>> {
        path.push("key".to_owned());
        let own = self.masks(path).next();
        let found = own.or_else(|| self.strongest_below(key, path));
        path.pop();
        found
    }
}

/// What a value of the type is made of, with the names that paths have for it.
fn parts(ty: &Type) -> impl Iterator<Item = (String, &Type)> {
    let parts: Vec<(String, &Type)> = match ty {
        Type::Row(fields) => fields
            .iter()
            .map(|field| (field.name.as_deref().map(fold_column).unwrap_or_default().into_owned(), &field.ty))
            .collect(),
        Type::Array(of) => vec![("element".to_owned(), of)],
        Type::Map(key, value) => vec![("key".to_owned(), key), ("value".to_owned(), value)],
        _ => Vec::new(),
    };
    parts.into_iter()
}
