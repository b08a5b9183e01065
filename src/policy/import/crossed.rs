//! Two lists of rules of which both must let: one list of which the first match decides.

use super::first::{Effect, Rule, Tables};
use super::names::{Bounds, Pattern};
use super::trino::{MOST_PATTERNS, MOST_RULES, NO_RULE};
use super::{ImportError, Note};

/// Each rule of the one list together with each of the other: the first that matches is the pair of those that
/// match first.
pub(super) fn crossed(
    notes: &mut Vec<Note>,
    one: &[Rule],
    other: &[Rule],
    effect: impl Fn(&Effect, &Effect) -> Effect,
) -> Result<Vec<Rule>, ImportError> {
    let mut rules = Vec::new();
    for a in one {
        let mut pairs = Vec::new();
        let mut whole = false;
        for b in other {
            let (who, tables) = (a.who.and(&b.who), met(&a.tables, &b.tables));
            if !who.may.is_nobody() && !tables.may.is_empty() {
                pairs.push((b, who, tables, settled(effect(&a.effect, &b.effect))));
            }
            // Nobody gets past this one.
            let covered = |own: &Tables| b.tables.sure.iter().any(|all| all.covers(own));
            whole = b.who.sure.covers(&a.who.may) && a.tables.may.iter().all(covered);
            if whole {
                break;
            }
        }
        // Where it does not matter which of the other list matches, the rule stays as it is.
        if whole && pairs.windows(2).all(|two| two[0].3 == two[1].3) {
            let effect = pairs.pop().map(|(.., effect)| effect).unwrap_or_default();
            rules.push(Rule { effect, ..a.clone() });
            pairs.clear();
        }
        for (b, who, tables, effect) in pairs {
            let label = if b.label.ends_with(NO_RULE) {
                a.label.clone()
            } else {
                format!("{}, {}", a.label, b.label)
            };
            let lost = |a: bool, b: bool, both: bool| a && b && !both;
            if lost(a.who.is_exact(), b.who.is_exact(), who.is_exact()) {
                let what = "it is about users and groups together, and a policy is about one or the other";
                note(
                    notes,
                    &label,
                    what,
                    "stricter: it allows whom it surely means, and restricts all of them",
                );
            }
            if lost(a.tables.is_exact(), b.tables.is_exact(), tables.is_exact()) {
                let what = "two patterns that meet in part make none together";
                note(
                    notes,
                    &label,
                    what,
                    "stricter: it allows what it surely means, and restricts what it may mean",
                );
            }
            rules.push(Rule { label, who, tables, effect });
        }
        if rules.len() > MOST_RULES {
            return Err(too_many());
        }
    }
    Ok(rules)
}

/// Without what does not count.
fn settled(effect: Effect) -> Effect {
    match effect {
        Effect { read: false, .. } => Effect::default(),
        Effect { write: false, .. } => Effect { owns_schema: false, ..effect },
        _ => effect,
    }
}

pub(super) fn too_many() -> ImportError {
    ImportError::TooLarge(format!(
        "its lists make more than {MOST_RULES} rules or {MOST_PATTERNS} patterns together"
    ))
}

fn met(one: &Bounds<Vec<Tables>>, other: &Bounds<Vec<Tables>>) -> Bounds<Vec<Tables>> {
    let both = |one: &[Tables], other: &[Tables], surely: bool| {
        let mut both: Vec<Tables> = Vec::new();
        for a in one {
            for b in other {
                let mut parts = Vec::new();
                for (x, y) in a.0.iter().zip(&b.0) {
                    if y.covers(x) {
                        parts.push(x.clone());
                    } else if x.covers(y) {
                        parts.push(y.clone());
                    } else if !surely && x.overlaps(y) {
                        parts.push(x.clone());
                    }
                }
                if let Ok(parts) = <[Pattern; 3]>::try_from(parts)
                    && !both.contains(&Tables(parts.clone()))
                {
                    both.push(Tables(parts));
                }
            }
        }
        both
    };
    Bounds { sure: both(&one.sure, &other.sure, true), may: both(&one.may, &other.may, false) }
}

fn note(notes: &mut Vec<Note>, rule: &str, what: &str, effect: &str) {
    notes.push(Note { rule: rule.to_owned(), what: what.to_owned(), effect: effect.to_owned() });
}
