//! The rewrite, measured in this process: what of a statement's way costs no input and output.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use northgate::catalog::{Column, Described, RelationKind, TableName, Type};
use northgate::identity::{Method, Principal};
use northgate::policy::Set;
use northgate::rewrite::{self, Context, Names};
use northgate::sql::{Limits, Statement};

use crate::bank::{BI_QUERY, CATALOG, SCHEMA, TABLES};
use crate::compare::median;
use crate::fault::{Result, unusable};
use crate::report::Figure;
use crate::setup;
use crate::shapes::{SHAPES, Shape};

/// The policies in force.
pub(crate) const POLICIES: &str = include_str!("policies.yaml");
/// How often the typical query is rewritten: a second or so at the bound.
const TIMES: usize = 3000;
/// How often each long statement is.
const LONG_TIMES: usize = 5;

/// Policies, a principal, and the tables as Trino describes them.
struct World {
    policies: Set,
    principal: Principal,
    tables: BTreeMap<TableName, Arc<Described>>,
    limits: Limits,
}

impl World {
    fn new() -> Result<Self> {
        let policies = Set::parse(&[("policies.yaml", POLICIES)]);
        let described = TABLES.iter().map(|table| {
            let name = TableName::new(CATALOG, SCHEMA, table.name)
                .ok_or_else(|| unusable(format!("a bad name: {}", table.name)))?;
            let column =
                |(name, sql_type): &(&str, &str)| Column { name: (*name).into(), ty: Type::parse(sql_type) };
            let columns = table.columns.iter().map(column).collect();
            Ok((name.clone(), Arc::new(Described { name, kind: RelationKind::Table, columns })))
        });
        Ok(Self {
            policies: policies.map_err(|errors| unusable(format!("the bench's policies: {errors}")))?,
            principal: Principal::new(setup::principal(0), Method::Jwt { issuer: setup::ISSUER.into() })
                .with_groups(setup::GROUPS),
            tables: described.collect::<Result<_>>()?,
            limits: Limits::default(),
        })
    }

    /// All that a statement goes through between the request and the audit, but for the question to Trino of what the
    /// tables are, which is remembered for a while.
    fn rewrite(&self, text: &str) -> std::result::Result<String, String> {
        let statement = Statement::parse(text, &self.limits).map_err(|error| error.to_string())?;
        let names = Names { catalog: Some(CATALOG), schema: Some(SCHEMA) };
        let resolved = rewrite::resolve(&statement, &names).map_err(|error| error.to_string())?;
        let described: Option<Vec<_>> = resolved.iter().map(|name| self.tables.get(name).cloned()).collect();
        let described = described.ok_or("a table that is not there")?;
        let permit = self.policies.decide(&self.principal, &described).map_err(|error| error.to_string())?;
        let context = Context { names, permit: &permit, properties: &[], limits: &self.limits };
        let scoped = rewrite::rewrite(&statement, &context).map_err(|error| error.to_string())?;
        Ok(scoped.text().to_owned())
    }
}

/// What marks a statement that the bench's policies have been applied to.
pub(crate) fn check_rewritten(text: &str) -> Result<()> {
    for mark in ["eu-north", "'internal'", "system.builtin.regexp_replace"] {
        if !text.contains(mark) {
            return Err(unusable(format!("the rewritten statement lacks {mark}: {text}")));
        }
    }
    Ok(())
}

/// `rewrite_typical_p50`.
pub(crate) fn typical() -> Result<Figure> {
    let world = World::new()?;
    check_rewritten(&world.rewrite(BI_QUERY).map_err(unusable)?)?;
    let mut micros = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let before = Instant::now();
        let text = world.rewrite(black_box(BI_QUERY));
        micros.push(before.elapsed().as_secs_f64() * 1e6);
        let _ = black_box(text);
    }
    micros.sort_by(f64::total_cmp);
    let p99 = micros[micros.len() * 99 / 100];
    let note = format!("p99 {p99:.0} us; {} bytes, 5 relations, 60 columns", BI_QUERY.len());
    Ok(Figure::alone("rewrite_typical_p50", median(micros), "us", "<= 200").note(note))
}

/// `rewrite_1mb_growth`.
pub(crate) fn growth() -> Result<Figure> {
    let world = World::new()?;
    let mut worst: Option<(f64, String)> = None;
    for shape in &SHAPES {
        let (half, whole, outcome) = times(&world, shape)?;
        let growth = whole / half / 2.0;
        if worst.as_ref().is_none_or(|(most, _)| growth > *most) {
            worst = Some((growth, format!("{}: {:.0} ms for 1 MB ({outcome})", shape.name, whole * 1e3)));
        }
    }
    let (growth, note) = worst.ok_or_else(|| unusable("no shapes"))?;
    Ok(Figure::alone("rewrite_1mb_growth", growth, "x", "<= 1.3")
        .note(format!("worst of {} shapes, {note}", SHAPES.len())))
}

/// The shortest times, in seconds, for half of the longest statement that is read and for all of it, and what came of it:
/// a refusal must not take long either.
fn times(world: &World, shape: &Shape) -> Result<(f64, f64, String)> {
    let (half, whole) = (shape.statement(world.limits.bytes / 2), shape.statement(world.limits.bytes));
    let outcome = |text: &str| match world.rewrite(text) {
        Ok(text) => format!("rewritten to {} bytes", text.len()),
        Err(why) => format!("refused: {}", why.chars().take(80).collect::<String>()),
    };
    let (of_half, of_whole) = (outcome(&half), outcome(&whole));
    if of_half.starts_with("refused") != of_whole.starts_with("refused") {
        return Err(unusable(format!("{}: half is {of_half}, the whole {of_whole}", shape.name)));
    }
    let mut shortest = [f64::INFINITY; 2];
    for _ in 0..LONG_TIMES {
        for (shortest, text) in shortest.iter_mut().zip([&half, &whole]) {
            let before = Instant::now();
            let _ = black_box(world.rewrite(black_box(text)));
            *shortest = shortest.min(before.elapsed().as_secs_f64());
        }
    }
    if std::env::var_os("BENCH_SHAPES").is_some() {
        eprintln!("{}: {:.1} ms, {:.1} ms, {of_whole}", shape.name, shortest[0] * 1e3, shortest[1] * 1e3);
    }
    Ok((shortest[0], shortest[1], of_whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policies_apply_to_the_query() {
        let text = World::new().unwrap().rewrite(BI_QUERY).unwrap();
        check_rewritten(&text).unwrap();
        assert!(check_rewritten(BI_QUERY).is_err());
    }

    #[test]
    fn short_statements_of_every_shape_are_rewritten() {
        let world = World::new().unwrap();
        for shape in &SHAPES {
            let done = world.rewrite(&shape.statement(3000));
            assert_eq!(done.is_err(), shape.name == "tables", "{}: {done:?}", shape.name);
        }
    }
}
