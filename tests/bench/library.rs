//! The rewrite, measured in this process: what of a statement's way costs no input and output.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use northgate::catalog::{Column, Described, RelationKind, TableName, Type};
use northgate::identity::{Method, Principal};
use northgate::policy::Set;
use northgate::rewrite::{self, Context, Names};
use northgate::sql::{Limits, Statement};

use crate::bank::{BI_QUERY, CATALOG, SCHEMA, TABLES};
use crate::fault::{Result, unusable};
use crate::record::{forget_peak, peak};
use crate::report::Figure;
use crate::setup;
use crate::shapes::{SHAPES, Shape};

/// The policies in force.
pub(crate) const POLICIES: &str = include_str!("policies.yaml");
/// How often the typical query is rewritten: a second or so at the bound.
const TIMES: usize = 3000;
/// Long statements are rewritten again and again for so long, and that so often: the kernel counts a thread's time on the
/// processor to some milliseconds only.
const BATCH: Duration = Duration::from_millis(200);
const BATCHES: usize = 2;
/// A statement that takes this long is long enough to compare with one of half its length.
const TOO_LONG: Duration = Duration::from_millis(700);

/// Policies, a principal, and the tables as Trino describes them.
pub(crate) struct World {
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

    /// With policies and tables of one's own; the names in statements are full.
    pub(crate) fn of(
        policies: &str,
        group: &str,
        tables: BTreeMap<TableName, Arc<Described>>,
    ) -> Result<Self> {
        let policies = Set::parse(&[("policies.yaml", policies)]);
        Ok(Self {
            policies: policies.map_err(|errors| unusable(format!("the bench's policies: {errors}")))?,
            principal: Principal::new(setup::principal(0), Method::Jwt { issuer: setup::ISSUER.into() })
                .with_groups([group]),
            tables,
            limits: Limits::default(),
        })
    }

    /// All that a statement goes through between the request and the audit, but for the question to Trino of what the
    /// tables are, which is remembered for a while.
    pub(crate) fn rewrite(&self, text: &str) -> std::result::Result<String, String> {
        let statement = Statement::parse(text, &self.limits).map_err(|error| error.to_string())?;
        let names = Names { catalog: Some(CATALOG), schema: Some(SCHEMA) };
        let resolved = rewrite::resolve(&statement, &names).map_err(|error| error.to_string())?;
        let described: Option<Vec<_>> = resolved.iter().map(|name| self.tables.get(name).cloned()).collect();
        let described = described.ok_or("a table that is not there")?;
        let permit = self.policies.decide(&self.principal, &described).map_err(|error| error.to_string())?;
        let context = Context { names, permit: &permit, properties: &[], fixed: &[], limits: &self.limits };
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
    let (whole, p99) = micros(TIMES, || drop(black_box(world.rewrite(black_box(BI_QUERY)))));
    let (parse, _) = micros(TIMES, || drop(black_box(Statement::parse(black_box(BI_QUERY), &world.limits))));
    let note = format!(
        "p99 {p99:.0} us; parsing alone {parse:.0} us; {} bytes, 5 relations, 60 columns",
        BI_QUERY.len()
    );
    Ok(Figure::alone("rewrite_typical_p50", whole, "us", "<= 200").note(note))
}

/// The median and the 99th percentile of the time of `work`, in microseconds.
pub(crate) fn micros(times: usize, work: impl Fn()) -> (f64, f64) {
    let mut micros: Vec<f64> = (0..times)
        .map(|_| {
            let before = Instant::now();
            work();
            before.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    micros.sort_by(f64::total_cmp);
    (micros[micros.len() / 2], micros[micros.len() * 99 / 100])
}

/// `rewrite_1mb_growth`.
pub(crate) fn growth() -> Result<Figure> {
    let world = World::new()?;
    let mut worst: Option<(f64, String)> = None;
    for shape in &SHAPES {
        let (half, whole, outcome) = times(&world, shape);
        let growth = whole / half / 2.0;
        if worst.as_ref().is_none_or(|(most, _)| growth > *most) {
            worst = Some((growth, format!("{}: {outcome}", shape.name)));
        }
    }
    let (growth, note) = worst.ok_or_else(|| unusable("no shapes"))?;
    Ok(Figure::alone("rewrite_1mb_growth", growth, "x", "<= 1.3")
        .note(format!("worst of {} shapes, {note}", SHAPES.len())))
}

/// The shortest times, in seconds, for a statement of half the length and one of the whole, and what came of it. The
/// length is the longest that is read, or as much of it as is rewritten (the rewritten text has a limit too) and does not
/// take too long. Statements of a shape that is always refused count too: a refusal must not take long either.
fn times(world: &World, shape: &Shape) -> (f64, f64, String) {
    let timed = |text: &str| {
        let before = Instant::now();
        let done = black_box(world.rewrite(black_box(text)));
        (before.elapsed(), done)
    };
    let mut bytes = world.limits.bytes / 8;
    let mut half = shape.statement(bytes / 2);
    let (mut whole, mut done) = (shape.statement(bytes), timed(&shape.statement(bytes)));
    while bytes < world.limits.bytes && done.0 < TOO_LONG {
        let longer = shape.statement(bytes * 2);
        let next = timed(&longer);
        if done.1.is_ok() && next.1.is_err() {
            break;
        }
        bytes *= 2;
        (half, whole, done) = (whole, longer, next);
    }
    let outcome = match &done.1 {
        Ok(text) => format!("rewritten to {} bytes", text.len()),
        Err(why) => format!("refused: {}", why.chars().take(80).collect::<String>()),
    };
    let mut shortest = [f64::INFINITY; 2];
    let batch = (BATCH.as_secs_f64() / done.0.as_secs_f64().max(1e-6)).ceil().clamp(1.0, 1000.0);
    for _ in 0..if done.0 < TOO_LONG { BATCHES } else { 1 } {
        for (shortest, text) in shortest.iter_mut().zip([&half, &whole]) {
            let before = processor_time();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // between 1 and 1000
            for _ in 0..batch as u32 {
                drop(black_box(world.rewrite(black_box(text))));
            }
            let spent = processor_time().saturating_sub(before);
            *shortest = shortest.min(spent.as_secs_f64() / batch);
        }
    }
    let [short, long] = shortest.map(|seconds| seconds * 1e3);
    eprintln!("bench: {bytes} bytes of {}: {long:.1} ms, half of it {short:.1} ms; {outcome}", shape.name);
    (shortest[0], shortest[1], outcome)
}

/// Of how many bytes statements are whose memory is measured, as parts of the longest that is read: of a shape that is refused
/// at its longest, a shorter one may take more.
const PARTS: [usize; 4] = [1, 2, 4, 8];

/// `statement_memory`: each statement in a process of its own, as memory that was used before is there already.
pub(crate) fn memory() -> Result<Figure> {
    let (mut worst, mut worst_rewritten) = ((0.0, String::new()), (0.0, String::new()));
    for (number, shape) in SHAPES.iter().enumerate() {
        for part in PARTS {
            let mut of_one = Command::new(std::env::current_exe()?);
            of_one.args(["memory", &number.to_string(), &part.to_string()]);
            // What the kernel gives in pieces of 2 MB is not what was asked for.
            let said = of_one.env("MIMALLOC_ALLOW_THP", "0").output()?;
            let said = String::from_utf8_lossy(&said.stdout);
            let numbers: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            let [parsed, rewritten] = numbers[..] else { return Err(unusable("a process gave no numbers")) };
            let what = format!("1/{part} of {}", shape.name);
            eprintln!("bench: {what}: {parsed:.1} times its length, {rewritten:.1} times both texts");
            if parsed > worst.0 {
                worst = (parsed, what.clone());
            }
            if rewritten > worst_rewritten.0 {
                worst_rewritten = (rewritten, what);
            }
        }
    }
    let ((parsed, what), (rewritten, other)) = (worst, worst_rewritten);
    Ok(Figure::alone("statement_memory", parsed, "x", "<= 50").note(format!(
        "{what}, of {} shapes in 4 lengths; rewriting at most {rewritten:.1} times it and its rewritten text ({other})",
        SHAPES.len()
    )))
}

/// By how many times its length this process grew while it read one statement; and by how many times its length, and that of
/// what became of it, when it was rewritten, too.
pub(crate) fn memory_of(shape: usize, part: usize) -> Result<String> {
    let world = World::new()?;
    let shape = SHAPES.get(shape).ok_or_else(|| unusable("no such shape"))?;
    let text = shape.statement(world.limits.bytes / part.max(1));
    drop(world.rewrite(&shape.statement(1000)));
    forget_peak();
    let before = peak();
    drop(black_box(Statement::parse(&text, &world.limits)));
    let parsed = peak();
    let sent = world.rewrite(&text).map_or(0, |sent| sent.len());
    let rewritten = peak();
    let times = |grown: f64, bytes: usize| grown * 1e6 / bytes as f64;
    let (parsed, rewritten) =
        (times(parsed - before, text.len()), times(rewritten - before, text.len() + sent));
    Ok(format!("{parsed:.2} {rewritten:.2}"))
}

/// The time that this thread has been running on a processor: unlike a clock it does not count the moments in which
/// something else ran, of which a long measurement has many. A clock's time where the kernel does not say.
fn processor_time() -> Duration {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    match text.split(' ').next().and_then(|nanos| nanos.parse().ok()) {
        Some(nanos) if nanos > 0 => Duration::from_nanos(nanos),
        _ => BEGAN.elapsed(),
    }
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
