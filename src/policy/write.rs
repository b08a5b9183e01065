//! What a principal may change, and under which names restrictions hold.

use std::borrow::Cow;

use super::decide::Case;
use super::error::Denial;
use super::pattern::SYSTEM;
use super::permit::{Permit, Salt};
use super::rule::{Columns, Compiled, MaskRule, Rule};
use super::visibility::INFORMATION_SCHEMA;
use super::{Behind, Target, ruling};
use crate::catalog::{RelationKind, TableName};
use crate::identity::Principal;
use crate::sql::fold_column;

/// Somebody who writes.
pub(super) struct Writer<'a> {
    pub(super) set: &'a Compiled,
    pub(super) principal: &'a Principal,
    pub(super) salt: &'a Salt,
}

impl Writer<'_> {
    pub(super) fn permit(&self, permit: &mut Permit, target: &Target<'_>) -> Result<(), Denial> {
        let Target { name, expected, existing, ruling, granted } = *target;
        let mut rules: Vec<Cow<'_, Rule>> =
            self.set.rules_for(self.principal, name).map(Cow::Borrowed).collect();
        if let Some(described) = existing {
            rules = ruling::rules(self.set.rules_for(self.principal, name), described, ruling)?;
        }
        let rules: Vec<&Rule> = rules.iter().map(|rule| &**rule).collect();
        if name.is_metadata() || name.schema == INFORMATION_SCHEMA || name.catalog == SYSTEM {
            return Err(Denial::Metadata(name.clone()));
        }
        if let Some(rule) = rules.iter().find(|rule| rule.deny) {
            return Err(Denial::Denied { table: name.clone(), by: Box::new(rule.source.clone()) });
        }
        // The same words whether it is there or not.
        let by_documents = rules.iter().any(|rule| rule.allow) || self.set.open.contains(&name.catalog);
        let may_know = match (existing, ruling::read(self.set, name, ruling)) {
            (Some(_), Some(read)) => read && (by_documents || !self.set.shut.contains(&name.catalog)),
            (None, Some(_)) => granted.unwrap_or(by_documents),
            (_, None) => by_documents,
        };
        if !may_know || !self.principal.reaches(&name.catalog) {
            return Err(Denial::NotAllowed(name.clone()));
        }
        if let Some(described) = existing {
            let restricted = || Err(Denial::RestrictedTarget(name.clone()));
            let filtered = rules.iter().any(|rule| rule.filter.is_some());
            if described.kind != expected || filtered && described.kind == RelationKind::Table {
                return restricted();
            }
            // What a view shows is not changed by who changes the view.
            if described.kind == RelationKind::Table {
                let Self { set, principal, salt } = *self;
                // A mask whose sub-query would have to be looked up restricts the table, too.
                let behind = Behind::default();
                let (rules, behind) = (&rules[..], &behind);
                let case = Case {
                    set,
                    principal,
                    run_as: None,
                    described,
                    rules,
                    ruling,
                    through_views: false,
                    behind,
                    path: &[],
                    salt,
                };
                let reads = rules.iter().any(|rule| rule.reads().next().is_some());
                if reads || case.decide()?.is_restricted() {
                    return restricted();
                }
            }
        }
        // Where grants decide, they alone do; a policy can still deny.
        if !granted.unwrap_or_else(|| rules.iter().any(|rule| rule.allow && rule.write)) {
            return Err(Denial::NotWritable(name.clone()));
        }
        permit.sources.extend(rules.iter().map(|rule| rule.source.clone()));
        permit.writable.insert(name.clone());
        Ok(())
    }
}

pub(super) fn permit_schema(
    set: &Compiled,
    permit: &mut Permit,
    principal: &Principal,
    (catalog, schema): (&str, &str),
    granted: Option<bool>,
) -> Result<(), Denial> {
    let denial = || Denial::SchemaNotWritable(schema.to_owned());
    if !principal.reaches(catalog)
        || catalog == SYSTEM
        || [SYSTEM, INFORMATION_SCHEMA].contains(&schema)
        || schema.contains('$')
    {
        return Err(denial());
    }
    let here = |rule: &&Rule| {
        rule.who.includes(principal)
            && rule.tables.iter().any(|table| table.schema_matches(catalog, schema) && table.table.is_any())
    };
    let rules: Vec<&Rule> = set.rules.iter().filter(here).collect();
    let may = granted.unwrap_or_else(|| rules.iter().any(|rule| rule.allow && rule.write));
    if rules.iter().any(|rule| rule.deny) || !may {
        return Err(denial());
    }
    permit.sources.extend(rules.iter().map(|rule| rule.source.clone()));
    permit.writable_schemas.insert((catalog.to_owned(), schema.to_owned()));
    Ok(())
}

/// The columns that a rule masks or hides, and those in which it masks fields.
fn columns<'a>(rule: &'a Rule) -> impl Iterator<Item = &'a Columns> {
    let of_mask =
        |mask: &'a MaskRule| mask.columns.iter().chain(mask.fields.iter().map(|fields| &fields.columns));
    rule.hidden.iter().chain(rule.masks.iter().flat_map(of_mask))
}

pub(super) fn check_rename(set: &Compiled, from: &TableName, to: &TableName) -> Result<(), Denial> {
    for rule in &set.rules {
        let restricts = rule.deny || rule.filter.is_some() || columns(rule).next().is_some();
        let tagged = |table: &TableName| -> Vec<bool> {
            columns(rule)
                .map(|columns| match columns {
                    Columns::Named(_) => true,
                    Columns::Tagged(pattern) => pattern.table.matches(table),
                })
                .collect()
        };
        if restricts && (rule.covers(from) != rule.covers(to) || tagged(from) != tagged(to)) {
            return Err(Denial::Protected { table: from.clone(), by: Box::new(rule.source.clone()) });
        }
    }
    Ok(())
}

pub(super) fn check_rename_column(
    set: &Compiled,
    table: &TableName,
    from: &[&str],
    to: &str,
) -> Result<(), Denial> {
    let folded: Vec<String> = from.iter().map(|part| fold_column(part).into_owned()).collect();
    let Some(((column, from), last)) = folded.split_first().zip(folded.len().checked_sub(1)) else {
        return Ok(());
    };
    let mut to_path = folded.clone();
    to_path[last] = fold_column(to).into_owned();
    let to = &to_path[1..];
    for rule in set.rules.iter().filter(|rule| rule.covers(table)) {
        let mut fields = rule.masks.iter().flat_map(|mask| &mask.fields);
        let protected = if last == 0 {
            columns(rule).any(|columns| columns.matches(table, column) != columns.matches(table, &to_path[0]))
        } else {
            fields.any(|fields| fields.leads(table, column, from) != fields.leads(table, column, to))
        };
        if protected {
            return Err(Denial::Protected { table: table.clone(), by: Box::new(rule.source.clone()) });
        }
    }
    Ok(())
}
