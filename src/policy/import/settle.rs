//! Masks of several policies that meet on a column.

use super::Note;
use super::draft::{Draft, Mask, With};
use crate::catalog::Action;

/// What is stronger than any other mask.
pub(super) const NULL: With = With::Action(Action::ReplaceWithNull);

/// More than the rules of one list can have among each other.
pub(super) const NULL_STRENGTH: i32 = 10_000;

/// Of two masks that may meet on a column which the source would choose between, NULL holds; where neither is that, the
/// columns are hidden.
pub(super) fn settle(drafts: &mut [Draft], notes: &mut Vec<Note>) {
    for b in 0..drafts.len() {
        let (before, behind) = drafts.split_at_mut(b);
        let Some(other) = behind.first_mut() else { return };
        for one in before {
            let tables = || one.tables.iter().any(|x| other.tables.iter().any(|y| texts_overlap(x, y)));
            let apart = !one.who.overlaps(&other.who)
                || one.except.covers(&other.who)
                || other.except.covers(&one.who);
            let masks = |draft: &Draft| draft.restrictions.masks.clone();
            let meet = |x: &Mask, y: &Mask| x.with != y.with && x.meets(y);
            let (ours, theirs) = (masks(other), masks(one));
            let clashes: Vec<bool> = ours.iter().map(|y| theirs.iter().any(|x| meet(x, y))).collect();
            if apart || !clashes.contains(&true) || !tables() {
                continue;
            }
            notes.push(Note {
                rule: other.comments.join(", "),
                what: format!("it masks columns in another way than {}", one.comments.join(", ")),
                effect: "stricter: NULL is shown where one of the two says so, else the columns are hidden"
                    .to_owned(),
            });
            let mut kept = Vec::new();
            for (mask, clash) in ours.into_iter().zip(clashes) {
                let null =
                    mask.with == NULL || theirs.iter().filter(|x| meet(x, &mask)).all(|x| x.with == NULL);
                if !clash || null {
                    kept.push(mask);
                } else {
                    other.restrictions.hidden.extend(mask.columns);
                    other.restrictions.hidden_tags.extend(mask.tags);
                }
            }
            other.restrictions.masks = kept;
        }
    }
}

fn texts_overlap(one: &str, other: &str) -> bool {
    let read = super::super::pattern::TablePattern::read;
    match (read(one), read(other)) {
        (Ok(one), Ok(other)) => one.overlaps(&other),
        _ => true,
    }
}
