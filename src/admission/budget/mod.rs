//! What may be used in a day: of all, of each principal, of a class, of a group's members together.
//!
//! A query pays as the statistics of its pages come. A statement that would read data is refused when a budget of its is used
//! up; what runs goes on. Days begin at midnight in `admission.time_zone`; what is used then pays for the new day.
//!
//! Of a query over restricted tables nobody is to learn how much it has read: a principal who knows what all else has cost
//! could tell from the moment at which the budget is used up. So it pays in steps that double, from a least one on that most
//! small tables do not reach, and by a random factor of its own. How long it takes tells as much.
//!
//! With a Redis that gateways share it counts for all of them, and is there after a restart. A gateway tells it each second
//! what is new, and looks there before a statement if what it knows is older. While Redis does not answer a gateway goes by
//! what it knows, and lets at most its part of a budget be used: `limit / replicas`, so that in all at most twice the budget is
//! used, and what runs when it is used up.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use tokio::time::Instant;

use super::classes::{Classes, Classified};
use super::config::{Budget, Config};
use super::error::{AdmissionError, Whose};
use crate::identity::Principal;
use crate::state::{Script, Scripts, StoreError};

/// How often Redis is told, and how long what it said is believed.
const TOLD: Duration = Duration::from_secs(1);
const BELIEVED: Duration = Duration::from_secs(2);
/// After Redis has not answered it is not asked before a statement for this long.
const RESTS: Duration = Duration::from_secs(5);
/// How long a day's figures are kept.
const KEPT: Duration = Duration::from_hours(72);
/// Of how many budgets Redis is told at once.
const MOST_TOLD: usize = 500;
/// The least that a query over restricted tables pays: bytes, rows, milliseconds of CPU.
const LEAST: Used = Used { scanned: 64 << 20, rows: 1 << 20, cpu_ms: 1 << 10 };
/// What a random factor is counted in.
const WHOLE: u64 = 1 << 16;

/// What was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Used {
    /// Bytes that Trino has read from storage.
    pub scanned: u64,
    /// Rows that it has read.
    pub rows: u64,
    /// Milliseconds of its processors.
    pub cpu_ms: u64,
}

impl Used {
    fn each(self, other: Self, of: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            scanned: of(self.scanned, other.scanned),
            rows: of(self.rows, other.rows),
            cpu_ms: of(self.cpu_ms, other.cpu_ms),
        }
    }

    fn and(self, other: Self) -> Self {
        self.each(other, u64::saturating_add)
    }

    fn less(self, other: Self) -> Self {
        self.each(other, u64::saturating_sub)
    }
}

/// What a budget is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Bytes read from storage.
    Scanned,
    /// Rows read.
    Rows,
    /// CPU time.
    Cpu,
}

/// Whose budget it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Owner {
    All,
    Class(usize),
    Group(usize),
    Principal(Arc<str>),
}

/// What is known of a budget today.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    /// What all gateways have used, as far as Redis was told; here alone, all.
    known: Used,
    /// What Redis was not told yet.
    untold: Used,
    /// When it said so.
    heard: Option<Instant>,
}

impl Counted {
    /// What is used, as far as is known here.
    fn all(&self) -> Used {
        self.known.and(self.untold)
    }
}

struct Day {
    date: Date,
    counted: HashMap<Owner, Counted>,
    /// Since when Redis does not answer.
    lost: Option<Instant>,
}

/// The budgets. Clones are the same.
#[derive(Clone)]
pub struct Budgets(Arc<Shared>);

struct Shared {
    all: Budget,
    per_principal: Budget,
    classes: Vec<(Arc<str>, Budget)>,
    groups: Vec<(Arc<str>, Budget)>,
    zone: TimeZone,
    replicas: u64,
    redis: Option<(Scripts, Script)>,
    day: Mutex<Day>,
}

/// Who pays for a query, and how much has been paid.
pub struct Account {
    budgets: Budgets,
    owners: Vec<Owner>,
    /// Of a query over restricted tables: its factor.
    factor: Option<u64>,
    paid: Mutex<Used>,
}

/// A budget and what is used of it, for operators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spent {
    /// `all`, or that of a `class`, a `group` or a `principal`.
    pub of: &'static str,
    /// Its name.
    pub name: String,
    /// What was used today.
    pub used: Used,
    /// What may be; what is not there has no bound.
    pub budget: Limits,
}

impl std::fmt::Display for Spent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { of, name, used, budget } = self;
        let space = if name.is_empty() { "" } else { " " };
        write!(f, "{of}{space}{name}, used today:")?;
        let units = [
            ("bytes read", used.scanned, budget.scanned),
            ("rows read", used.rows, budget.rows),
            ("ms of CPU time", used.cpu_ms, budget.cpu_ms),
        ];
        let mut comma = "";
        for (unit, used, budget) in units {
            if let Some(budget) = budget {
                write!(f, "{comma} {used} of {budget} {unit}")?;
                comma = ",";
            }
        }
        Ok(())
    }
}

/// The bounds of a budget, in the units of [`Used`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scanned: Option<u64>,
    /// Rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
}

impl Budgets {
    /// Nothing is used yet, as far as is known here. `classes` are those of the same section.
    ///
    /// # Errors
    /// [`AdmissionError::Config`]: a budget of nought, or a time zone that there is not.
    pub fn new(config: &Config, classes: &Classes, scripts: Option<Scripts>) -> Result<Self, AdmissionError> {
        let wrong = |why: String| AdmissionError::Config(why);
        let zone = TimeZone::get(&config.time_zone)
            .map_err(|_| wrong(format!("time_zone: there is no '{}'", config.time_zone)))?;
        let of_class = |name: &Arc<str>| {
            let found = config.classes.iter().find(|class| *class.name == **name);
            (Arc::clone(name), found.map(|class| class.budget).unwrap_or_default())
        };
        let of_group = |name: &Arc<str>| {
            let found = config.groups.iter().find(|group| *group.name == **name);
            (Arc::clone(name), found.map(|group| group.budget).unwrap_or_default())
        };
        let shared = Shared {
            all: config.budget,
            per_principal: config.budget_per_principal,
            classes: classes.names().iter().map(of_class).collect(),
            groups: classes.group_names().iter().map(of_group).collect(),
            replicas: u64::from(config.replicas.get()),
            redis: scripts.map(|scripts| (scripts, Script::new(include_str!("../budget.lua")))),
            day: Mutex::new(Day { date: today(&zone), counted: HashMap::new(), lost: None }),
            zone,
        };
        let nought = {
            let named = shared.classes.iter().chain(&shared.groups);
            let all = [("budget", &shared.all), ("budget_per_principal", &shared.per_principal)];
            let mut all = all.into_iter().chain(named.map(|(name, budget)| (&**name, budget)));
            all.find(|(_, budget)| budget.is_nought()).map(|(name, _)| name.to_owned())
        };
        if let Some(name) = nought {
            return Err(wrong(format!("{name}: with a budget of 0 nothing is ever read")));
        }
        Ok(Self(Arc::new(shared)))
    }

    /// The account of a query; `None` if nobody who pays for it has a budget.
    pub fn account(
        &self,
        classes: &Classes,
        principal: &Principal,
        class: &Classified,
        restricted: bool,
    ) -> Option<Account> {
        if self.0.is_unbounded() {
            return None;
        }
        let mut owners = vec![Owner::All, Owner::Class(class.class)];
        owners.extend(classes.groups_of(principal).into_iter().map(Owner::Group));
        owners.push(Owner::Principal(Arc::from(principal.name())));
        owners.retain(|owner| !self.0.budget(owner).is_none());
        let factor = restricted.then(factor);
        (!owners.is_empty()).then(|| Account {
            budgets: self.clone(),
            owners,
            factor,
            paid: Mutex::default(),
        })
    }

    /// What is used today of the budgets that somebody has used, as far as is known here; of at most so many principals, those
    /// who have used the most rows.
    pub fn spent(&self, principals: usize) -> Vec<Spent> {
        let day = self.0.day();
        let mut all: Vec<(&Owner, Used)> =
            day.counted.iter().map(|(owner, counted)| (owner, counted.all())).collect();
        all.sort_by(|(a, used), (b, other)| {
            let is_principal = |owner: &Owner| matches!(owner, Owner::Principal(_));
            is_principal(a).cmp(&is_principal(b)).then(other.rows.cmp(&used.rows)).then(a.cmp(b))
        });
        let others = all.iter().filter(|(owner, _)| !matches!(owner, Owner::Principal(_))).count();
        all.into_iter().take(others + principals).map(|(owner, used)| self.0.spent(owner, used)).collect()
    }

    /// What a principal has used today of their own budget, if there is one. Looks in Redis where that is due.
    pub async fn own(&self, principal: &str) -> Option<Spent> {
        let owner = Owner::Principal(Arc::from(principal));
        if self.0.budget(&owner).is_none() {
            return None;
        }
        self.refresh(std::slice::from_ref(&owner)).await;
        let used = self.0.day().counted.get(&owner).map(Counted::all);
        Some(self.0.spent(&owner, used.unwrap_or_default()))
    }

    /// Looks in Redis what all have used of budgets of which that is not known, or was heard a while ago. Without an answer
    /// what is known stands.
    async fn refresh(&self, owners: &[Owner]) {
        let shared = &self.0;
        if shared.redis.is_none() {
            return;
        }
        let stale: Vec<Owner> = {
            let day = shared.day();
            let rests = day.lost.is_some_and(|since| since.elapsed() < RESTS);
            let is_stale = |owner: &&Owner| {
                let heard = day.counted.get(owner).and_then(|counted| counted.heard);
                !rests && heard.is_none_or(|heard| heard.elapsed() >= BELIEVED)
            };
            owners.iter().filter(is_stale).cloned().collect()
        };
        if !stale.is_empty() {
            _ = self.told(&stale).await;
        }
    }

    /// Tells Redis what is used, and hears what others have, for ever. For a task of its own.
    pub async fn run(self) {
        if self.0.redis.is_none() || self.0.is_unbounded() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(TOLD).await;
            loop {
                let untold: Vec<Owner> = {
                    let day = self.0.day();
                    let untold = day.counted.iter().filter(|(_, counted)| counted.untold != Used::default());
                    untold.map(|(owner, _)| owner.clone()).take(MOST_TOLD).collect()
                };
                // That it fails is logged where Redis is asked.
                if untold.is_empty() || self.told(&untold).await.is_err() || untold.len() < MOST_TOLD {
                    break;
                }
            }
        }
    }

    /// Tells Redis what is new of these, and hears what all have used.
    async fn told(&self, owners: &[Owner]) -> Result<(), StoreError> {
        let Some((scripts, script)) = &self.0.redis else { return Ok(()) };
        let (date, told) = {
            let mut day = self.0.day();
            // While it is told it is neither new nor known.
            let told: Vec<Used> = owners
                .iter()
                .map(|owner| std::mem::take(&mut day.counted.entry(owner.clone()).or_default().untold))
                .collect();
            (day.date, told)
        };
        let mut words = vec![KEPT.as_millis().to_string()];
        for (owner, used) in owners.iter().zip(&told) {
            words.push(match owner {
                Owner::All => "all".to_owned(),
                Owner::Class(at) => format!("c:{}", self.0.classes[*at].0),
                Owner::Group(at) => format!("g:{}", scripts.name(&self.0.groups[*at].0)),
                Owner::Principal(name) => format!("p:{}", scripts.name(name)),
            });
            words.extend([used.scanned, used.rows, used.cpu_ms].map(|figure| figure.to_string()));
        }
        let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        let key = format!("northgate:{{admission}}:used:{date}");
        let answer: Result<Vec<u64>, StoreError> = scripts.run(script, &[key.as_str()], &words).await;
        let mut day = self.0.day();
        day.lost = answer.is_err().then(|| day.lost.unwrap_or_else(Instant::now));
        let is_that_day = day.date == date;
        match answer {
            Ok(figures) => {
                for (owner, figures) in owners.iter().zip(figures.chunks_exact(3)) {
                    let counted = day.counted.entry(owner.clone()).or_default();
                    if is_that_day {
                        counted.known = Used { scanned: figures[0], rows: figures[1], cpu_ms: figures[2] };
                        counted.heard = Some(Instant::now());
                    }
                }
                Ok(())
            }
            Err(error) => {
                // It may have been counted: then it is twice, and a budget is used up early.
                for (owner, used) in owners.iter().zip(told).filter(|_| is_that_day) {
                    let counted = day.counted.entry(owner.clone()).or_default();
                    counted.untold = counted.untold.and(used);
                }
                Err(error)
            }
        }
    }
}

impl Account {
    /// Whether there is something left of every budget that the query is paid from. Looks in Redis where that is due.
    ///
    /// # Errors
    /// [`AdmissionError::Spent`]: the first that is used up.
    pub async fn check(&self) -> Result<(), AdmissionError> {
        self.budgets.refresh(&self.owners).await;
        let shared = &self.budgets.0;
        let day = shared.day();
        for owner in &self.owners {
            let counted = day.counted.get(owner).copied().unwrap_or_default();
            let limits = shared.budget(owner).limits();
            let over = limits.reached(counted.all(), 1).or_else(|| {
                let alone =
                    shared.redis.is_some() && counted.heard.is_none_or(|heard| heard.elapsed() >= BELIEVED);
                alone.then(|| limits.reached(counted.untold, shared.replicas)).flatten()
            });
            if let Some(unit) = over {
                let (_, name) = shared.named(owner);
                let whose = match owner {
                    Owner::All => Whose::All,
                    Owner::Class(_) => Whose::Class,
                    Owner::Group(_) => Whose::Group,
                    Owner::Principal(_) => Whose::Principal,
                };
                let until = format!("midnight ({})", shared.zone.iana_name().unwrap_or("UTC"));
                return Err(AdmissionError::Spent { whose, name: Arc::from(name), unit, until });
            }
        }
        Ok(())
    }

    /// What is used today of the budgets that the query is paid from, as far as is known here.
    pub fn spent(&self) -> Vec<Spent> {
        let shared = &self.budgets.0;
        let day = shared.day();
        let used = |owner| day.counted.get(owner).map(Counted::all).unwrap_or_default();
        self.owners.iter().map(|owner| shared.spent(owner, used(owner))).collect()
    }

    /// Notes what the query has used so far in all.
    pub fn pay(&self, used: Used) {
        let due = self.due(used);
        let new = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            let new = due.less(*paid);
            *paid = paid.each(due, u64::max);
            new
        };
        if new == Used::default() {
            return;
        }
        let mut day = self.budgets.0.day();
        let is_shared = self.budgets.0.redis.is_some();
        for owner in &self.owners {
            let counted = day.counted.entry(owner.clone()).or_default();
            let to = if is_shared { &mut counted.untold } else { &mut counted.known };
            *to = to.and(new);
        }
    }

    fn due(&self, used: Used) -> Used {
        let Some(factor) = self.factor else { return used };
        let step = |used: u64, least: u64| {
            let varied = u128::from(used) * u128::from(factor) / u128::from(WHOLE);
            let varied = u64::try_from(varied).unwrap_or(u64::MAX).max(least);
            varied.checked_next_power_of_two().unwrap_or(u64::MAX)
        };
        used.each(LEAST, step)
    }
}

impl Shared {
    /// What is known of today. On another day nothing is used yet.
    fn day(&self) -> MutexGuard<'_, Day> {
        let mut day = self.day.lock().unwrap_or_else(PoisonError::into_inner);
        let now = today(&self.zone);
        if day.date != now {
            (day.date, day.counted) = (now, HashMap::new());
        }
        day
    }

    fn budget(&self, owner: &Owner) -> Budget {
        match owner {
            Owner::All => self.all,
            Owner::Class(at) => self.classes.get(*at).map(|(_, budget)| *budget).unwrap_or_default(),
            Owner::Group(at) => self.groups.get(*at).map(|(_, budget)| *budget).unwrap_or_default(),
            Owner::Principal(_) => self.per_principal,
        }
    }

    fn named<'a>(&'a self, owner: &'a Owner) -> (&'static str, &'a str) {
        match owner {
            Owner::All => ("all", ""),
            Owner::Class(at) => ("class", self.classes.get(*at).map_or("", |(name, _)| name)),
            Owner::Group(at) => ("group", self.groups.get(*at).map_or("", |(name, _)| name)),
            Owner::Principal(name) => ("principal", name),
        }
    }

    fn spent(&self, owner: &Owner, used: Used) -> Spent {
        let (of, name) = self.named(owner);
        Spent { of, name: name.to_owned(), used, budget: self.budget(owner).limits() }
    }

    fn is_unbounded(&self) -> bool {
        let named = self.classes.iter().chain(&self.groups).map(|(_, budget)| budget);
        named.chain([&self.all, &self.per_principal]).all(Budget::is_none)
    }
}

impl Limits {
    /// What is reached of a part of these.
    fn reached(&self, used: Used, parts: u64) -> Option<Unit> {
        let is = |limit: Option<u64>, used: u64| limit.is_some_and(|limit| used >= (limit / parts).max(1));
        let units = [
            (Unit::Scanned, is(self.scanned, used.scanned)),
            (Unit::Rows, is(self.rows, used.rows)),
            (Unit::Cpu, is(self.cpu_ms, used.cpu_ms)),
        ];
        units.into_iter().find(|(_, reached)| *reached).map(|(unit, _)| unit)
    }
}

impl Budget {
    fn limits(&self) -> Limits {
        let millis = |span: crate::units::Span| u64::try_from(span.0.as_millis()).unwrap_or(u64::MAX);
        Limits { scanned: self.scanned.map(|size| size.0), rows: self.rows, cpu_ms: self.cpu.map(millis) }
    }

    fn is_nought(&self) -> bool {
        let Limits { scanned, rows, cpu_ms } = self.limits();
        [scanned, rows, cpu_ms].contains(&Some(0))
    }
}

fn today(zone: &TimeZone) -> Date {
    jiff::Timestamp::now().to_zoned(zone.clone()).date()
}

/// Between a half and one and a half. Without random numbers the most.
fn factor() -> u64 {
    let mut random = [0; 2];
    let part = aws_lc_rs::rand::fill(&mut random).map_or(WHOLE, |()| u64::from(u16::from_be_bytes(random)));
    WHOLE / 2 + part
}
