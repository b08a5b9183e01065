//! Rules of which the first one that matches decides, as policies that all apply together.
//!
//! Where a rule stands behind others, its policy leaves out those whom they are about. That is exact where an earlier
//! rule is about all tables of the later one; where it is about some of them only, or where it is not known whom it is
//! about, the later one restricts more than it did, which is noted.
//!
//! What makes the outcome never weaker: a rule allows only whom and what it is surely about, and restricts or denies
//! whom and what it may be about, but for those whom an earlier rule surely decides about first.

use std::collections::BTreeSet;

use super::Note;
use super::draft::{Draft, Restrictions};
use super::names::{Bounds, Names, Pattern};
use super::people::People;
use crate::sql::fold_column;

/// The most patterns of tables of one rule.
const MOST_TABLES: usize = 500;

/// A pattern of tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tables(pub(super) [Pattern; 3]);

impl Tables {
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(own, other)| own.covers(other))
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(own, other)| own.overlaps(other))
    }

    /// As it stands in a document.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(part).collect::<Vec<_>>().join(".")
    }

    /// The same for the names `system` that no pattern of a document stands for.
    pub(super) fn with_system(&self) -> Vec<Self> {
        let system = Pattern::read("system");
        let either = |pattern: &Pattern| {
            let named = system.as_ref().filter(|name| !pattern.is_literal() && pattern.covers(name));
            [Some(pattern.clone()), named.cloned()]
        };
        let [catalog, schema, table] = &self.0;
        let mut all = Vec::new();
        for catalog in either(catalog).into_iter().flatten() {
            for schema in either(schema).into_iter().flatten() {
                all.push(Self([catalog.clone(), schema, table.clone()]));
            }
        }
        all
    }

    fn names_system(&self) -> bool {
        self.0[..2].iter().any(|pattern| pattern.text() == "system")
    }
}

/// A part of a pattern: in quotes where it holds what means something else. A star in quotes is none.
pub(super) fn part(pattern: &Pattern) -> String {
    let text = pattern.text();
    if text.contains(['.', '"']) || text.contains(char::is_whitespace) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// The tables of some catalogs, schemas and names.
pub(super) fn tables(catalogs: &Names, schemas: &Names, names: &Names) -> Bounds<Vec<Tables>> {
    let all = |catalogs: &[Pattern], schemas: &[Pattern], names: &[Pattern]| {
        let mut all = Vec::new();
        for catalog in catalogs {
            for schema in schemas {
                for name in names {
                    all.push(Tables([catalog.clone(), schema.clone(), name.clone()]));
                }
            }
        }
        all
    };
    let count = |one: &[Pattern], two: &[Pattern], three: &[Pattern]| one.len() * two.len() * three.len();
    let sure = if count(&catalogs.sure, &schemas.sure, &names.sure) > MOST_TABLES {
        Vec::new()
    } else {
        all(&catalogs.sure, &schemas.sure, &names.sure)
    };
    let may = if count(&catalogs.may, &schemas.may, &names.may) > MOST_TABLES {
        vec![Tables([Pattern::any(), Pattern::any(), Pattern::any()])]
    } else {
        all(&catalogs.may, &schemas.may, &names.may)
    };
    Bounds { sure, may }
}

/// What a rule does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Effect {
    /// Whether the tables may be read; nothing else counts where they may not.
    pub(super) read: bool,
    /// Whether they may be changed in every way.
    pub(super) write: bool,
    /// Whether schemas may be made and dropped.
    pub(super) owns_schema: bool,
    pub(super) restrictions: Restrictions,
}

/// A rule of the source.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// What it is called in notes.
    pub(super) label: String,
    pub(super) who: Bounds<People>,
    pub(super) tables: Bounds<Vec<Tables>>,
    pub(super) effect: Effect,
}

impl Rule {
    fn surely_covers(&self, tables: &Tables) -> bool {
        self.tables.sure.iter().any(|own| own.covers(tables))
    }

    fn may_meet(&self, tables: &Tables) -> bool {
        self.tables.may.iter().any(|own| own.overlaps(tables))
    }

    fn grants_in(&self, tables: &Tables) -> bool {
        self.effect.read && self.tables.sure.iter().any(|own| own.overlaps(tables))
    }
}

/// What a rule does about one pattern of tables.
#[derive(PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the documents")]
struct Plan {
    who: People,
    except: People,
    allow: bool,
    write: bool,
    deny: bool,
    restrict: bool,
}

/// Rules as policies. With `grants` those that let read also allow; else they only restrict what others allow.
pub(super) struct Compiling<'a> {
    pub(super) rules: &'a [Rule],
    pub(super) grants: bool,
    pub(super) notes: &'a mut Vec<Note>,
}

impl Compiling<'_> {
    pub(super) fn compile(mut self) -> Vec<Draft> {
        let rules = self.rules;
        // What others allow is not known here.
        let names_system =
            !self.grants || rules.iter().flat_map(|rule| &rule.tables.sure).any(Tables::names_system);
        // Else exceptions keep the rules apart.
        let strengths = if self.grants { strengths(rules) } else { vec![0; rules.len()] };
        let mut drafts = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let mut restrictions = rule.effect.restrictions.clone();
            let exact = rule.who.is_exact();
            for mask in &mut restrictions.masks {
                mask.strength = mask.strength.max(strengths[index]);
            }
            let mut planned: Vec<(Plan, Vec<Tables>)> = Vec::new();
            let mut plan = |plan: Plan, tables: &Tables| {
                if plan.who.is_nobody() || plan.except.covers(&plan.who) {
                    return;
                }
                match planned.iter_mut().find(|(other, _)| *other == plan) {
                    Some((_, all)) => all.push(tables.clone()),
                    None => planned.push((plan, vec![tables.clone()])),
                }
            };
            for tables in &rule.tables.may {
                let sure = exact && rule.tables.sure.contains(tables);
                if let Some(one) = self.about(index, tables, sure) {
                    plan(one, tables);
                }
            }
            for tables in &rule.tables.sure {
                let both = exact && rule.tables.may.contains(tables);
                for one in self.granted(index, tables, both) {
                    plan(one, tables);
                }
            }
            if !exact || !rule.tables.is_exact() {
                // Which of two masks holds is not known then: neither the value nor either of them is shown.
                for mask in restrictions.masks.drain(..) {
                    restrictions.hidden.extend(mask.columns);
                    restrictions.hidden_tags.extend(mask.tags);
                }
            }
            for (plan, tables) in planned {
                let tables: Vec<String> = tables
                    .iter()
                    .flat_map(|tables| {
                        let system = names_system && (plan.deny || plan.restrict);
                        if system { tables.with_system() } else { vec![tables.clone()] }
                    })
                    .map(|tables| tables.text())
                    .collect();
                drafts.push(Draft {
                    comments: vec![rule.label.clone()],
                    who: plan.who,
                    except: plan.except,
                    tables,
                    allow: plan.allow,
                    write: plan.write,
                    deny: plan.deny,
                    restrictions: if plan.restrict { restrictions.clone() } else { Restrictions::default() },
                });
            }
        }
        drafts
    }

    /// Those about whom an earlier rule surely decides in all of the tables.
    fn decided_before(&self, index: usize, tables: &Tables) -> People {
        let mut people = People::default();
        let who = &self.rules[index].who.may;
        for earlier in self.rules[..index].iter().filter(|earlier| earlier.surely_covers(tables)) {
            if earlier.who.sure.overlaps(who) {
                people.add(&earlier.who.sure);
            }
        }
        people
    }

    /// The earlier rules that may decide about some of the tables, or some of the people, and not surely all.
    fn in_between(&self, index: usize, tables: &Tables, except: &People) -> Vec<usize> {
        let who = &self.rules[index].who.may;
        (0..index)
            .filter(|at| {
                let earlier = &self.rules[*at];
                earlier.may_meet(tables) && earlier.who.may.overlaps(who) && !except.covers(&earlier.who.may)
            })
            .collect()
    }

    /// What a rule denies or restricts; with `sure` also what it allows to the same people.
    fn about(&mut self, index: usize, tables: &Tables, sure: bool) -> Option<Plan> {
        let rule = &self.rules[index];
        let mut except = self.decided_before(index, tables);
        if except.covers(&rule.who.may) {
            return None;
        }
        let between = self.in_between(index, tables, &except);
        let who = rule.who.may.clone();
        let plan =
            |except: People| Plan { who, except, allow: false, write: false, deny: false, restrict: false };
        if !rule.effect.read {
            let granted = |people: &People| {
                // What is granted elsewhere is not known here.
                if !self.grants {
                    return true;
                }
                let mut later = self.rules[index + 1..].iter();
                later.any(|later| later.grants_in(tables) && later.who.sure.overlaps(people))
            };
            // What no later rule allows need not be denied: and what an earlier one allows stays so.
            if !granted(&rule.who.may) {
                return None;
            }
            let mut lost: Vec<String> = Vec::new();
            for at in between {
                let earlier = &self.rules[at];
                if !earlier.effect.read {
                    continue;
                }
                if granted(&earlier.who.sure) || !earlier.who.is_exact() {
                    lost.push(earlier.label.clone());
                } else {
                    except.add(&earlier.who.sure);
                }
            }
            if !lost.is_empty() {
                self.notes.push(Note {
                    rule: rule.label.clone(),
                    what: format!(
                        "it denies {} behind a rule about a part of that or of unclear people ({})",
                        tables.text(),
                        lost.join(", ")
                    ),
                    effect: "stricter: the denial holds for all of it, also for whom the earlier rule let in"
                        .to_owned(),
                });
            }
            return Some(Plan { deny: true, ..plan(except) });
        }
        let restrict = !rule.effect.restrictions.is_empty();
        if restrict {
            let more: Vec<&str> = between
                .iter()
                .map(|at| &self.rules[*at])
                .filter(|earlier| {
                    earlier.effect.read && !implied(&rule.effect.restrictions, &earlier.effect.restrictions)
                })
                .map(|earlier| earlier.label.as_str())
                .collect();
            if !more.is_empty() {
                self.notes.push(Note {
                    rule: rule.label.clone(),
                    what: format!(
                        "its filter, masks or hidden columns in {} stand behind a rule about a part of that or of \
                         unclear people ({})",
                        tables.text(),
                        more.join(", ")
                    ),
                    effect: "stricter: both apply where both rules match".to_owned(),
                });
            }
        }
        let allow = self.grants && sure;
        if !restrict && !allow {
            return None;
        }
        let write = allow && self.writers(index, tables).is_some_and(|but| except.covers(&but));
        Some(Plan { allow, write, restrict, ..plan(except) })
    }

    /// Who must not write although the rule lets them: an earlier rule may decide about them. None for everybody.
    fn writers(&self, index: usize, tables: &Tables) -> Option<People> {
        let rule = &self.rules[index];
        // A policy that lets all tables of a schema be written also lets the schema be made and dropped.
        if !rule.effect.write || tables.0[2].is_any() && !rule.effect.owns_schema {
            return None;
        }
        let mut but = People::default();
        for earlier in &self.rules[..index] {
            let writes = earlier.effect.read
                && earlier.effect.write
                && (earlier.effect.owns_schema || !rule.effect.owns_schema);
            if !writes && earlier.may_meet(tables) && earlier.who.may.overlaps(&rule.who.sure) {
                but.add(&earlier.who.may);
            }
        }
        (!but.covers(&rule.who.sure)).then_some(but)
    }

    /// What a rule allows besides [`Self::about`], which did the rest if `both`.
    fn granted(&mut self, index: usize, tables: &Tables, both: bool) -> Vec<Plan> {
        let rule = &self.rules[index];
        let mut plans = Vec::new();
        if !self.grants || !rule.effect.read {
            return plans;
        }
        let who = rule.who.sure.clone();
        let except = self.decided_before(index, tables);
        let plan = |except: People, write: bool| Plan {
            who: who.clone(),
            except,
            allow: true,
            write,
            deny: false,
            restrict: false,
        };
        if except.covers(&who) {
            return plans;
        }
        if !both {
            plans.push(plan(except.clone(), false));
        }
        if !rule.effect.write {
            return plans;
        }
        let whole = tables.0[2].is_any() && !rule.effect.owns_schema;
        match self.writers(index, tables) {
            Some(but) if both && except.covers(&but) => {}
            Some(but) => {
                let before = |earlier: &Rule| {
                    earlier.surely_covers(tables) && earlier.who.is_exact() && earlier.who.sure.overlaps(&who)
                };
                let clear = self.rules[..index].iter().all(|earlier| {
                    earlier.effect.write || !earlier.may_meet(tables) || before(earlier)
                        || !earlier.who.may.overlaps(&who)
                });
                if !clear {
                    self.unwritten(index, tables, "those whom an earlier rule may be about do not write");
                }
                plans.push(plan(but, true));
            }
            None if whole => self.unwritten(
                index,
                tables,
                "nobody writes by it: writing all tables of a schema would mean making and dropping schemas, too",
            ),
            None => self.unwritten(index, tables, "nobody writes by it"),
        }
        plans
    }

    fn unwritten(&mut self, index: usize, tables: &Tables, effect: &str) {
        self.notes.push(Note {
            rule: self.rules[index].label.clone(),
            what: format!(
                "it lets {} be written, which cannot be kept apart from other rules",
                tables.text()
            ),
            effect: format!("stricter: {effect}"),
        });
    }
}

/// Whether nothing is withheld by the one that the other does not withhold as well.
fn implied(one: &Restrictions, other: &Restrictions) -> bool {
    let fold = |names: &BTreeSet<String>| -> BTreeSet<String> {
        names.iter().map(|name| fold_column(name).into_owned()).collect()
    };
    let hidden = fold(&other.hidden);
    let masked: BTreeSet<String> = other
        .masks
        .iter()
        .flat_map(|mask| &mask.columns)
        .map(|name| fold_column(name).into_owned())
        .collect();
    (one.filter.is_none() || one.filter == other.filter && one.run_as == other.run_as)
        && one.hidden_tags.is_subset(&other.hidden_tags)
        && fold(&one.hidden).is_subset(&hidden)
        && one.masks.iter().all(|mask| {
            mask.tags.is_empty()
                && mask.columns.iter().all(|column| {
                    let column = fold_column(column).into_owned();
                    hidden.contains(&column) || masked.contains(&column)
                })
        })
}

/// How strong the masks of each rule are: stronger than those of later rules on the same columns.
fn strengths(rules: &[Rule]) -> Vec<i32> {
    let mut strengths = vec![0_i32; rules.len()];
    for index in (0..rules.len()).rev() {
        let rule = &rules[index];
        let masks = &rule.effect.restrictions.masks;
        if masks.is_empty() {
            continue;
        }
        for later in index + 1..rules.len() {
            let other = &rules[later];
            let meet = rule.who.may.overlaps(&other.who.may)
                && other.tables.may.iter().any(|tables| rule.may_meet(tables))
                && other
                    .effect
                    .restrictions
                    .masks
                    .iter()
                    .any(|b| masks.iter().any(|a| a.with != b.with && a.meets(b)));
            if meet {
                strengths[index] = strengths[index].max(strengths[later] + 1);
            }
        }
    }
    strengths
}

impl super::draft::Mask {
    /// Whether some column may be meant by both.
    pub(super) fn meets(&self, other: &Self) -> bool {
        let pattern = |name: &String| Pattern::read(&fold_column(name)).unwrap_or_else(Pattern::any);
        !self.tags.is_empty()
            || !other.tags.is_empty()
            || self
                .columns
                .iter()
                .map(pattern)
                .any(|a| other.columns.iter().map(pattern).any(|b| a.overlaps(&b)))
    }
}
