//! Whom a rule of the source is about.

use std::collections::BTreeSet;

use super::names::{Bounds, Names, Pattern};

/// Whoever is one of the users or in one of the groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct People {
    pub(super) users: Vec<Pattern>,
    pub(super) groups: BTreeSet<String>,
}

impl People {
    pub(super) fn everyone() -> Self {
        Self { users: vec![Pattern::any()], groups: BTreeSet::new() }
    }

    pub(super) fn is_nobody(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }

    pub(super) fn is_everyone(&self) -> bool {
        self.users.iter().any(Pattern::is_any)
    }

    /// Whether all of the others are meant here, too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.is_everyone()
            || other.groups.is_subset(&self.groups)
                && other.users.iter().all(|user| self.users.iter().any(|own| own.covers(user)))
    }

    /// Whether somebody may be among both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        if self.is_nobody() || other.is_nobody() {
            return false;
        }
        !self.groups.is_empty()
            || !other.groups.is_empty()
            || self.users.iter().any(|a| other.users.iter().any(|b| a.overlaps(b)))
    }

    /// These and the others.
    pub(super) fn add(&mut self, other: &Self) {
        for user in &other.users {
            if !self.users.iter().any(|own| own.covers(user)) {
                self.users.retain(|own| !user.covers(own));
                self.users.push(user.clone());
            }
        }
        if self.is_everyone() {
            self.groups.clear();
        } else {
            self.groups.extend(other.groups.iter().cloned());
        }
    }

    /// Those who are surely among both.
    pub(super) fn surely_both(&self, other: &Self) -> Self {
        if self.is_everyone() {
            return other.clone();
        }
        if other.is_everyone() {
            return self.clone();
        }
        let mut both = Self::default();
        for a in &self.users {
            for b in &other.users {
                if a.covers(b) {
                    both.users.push(b.clone());
                } else if b.covers(a) {
                    both.users.push(a.clone());
                }
            }
        }
        both.groups = self.groups.intersection(&other.groups).cloned().collect();
        both
    }

    /// At least those who are among both.
    fn maybe_both(&self, other: &Self) -> Self {
        if self.covers(other) {
            return other.clone();
        }
        if other.covers(self) || !self.groups.is_empty() {
            return self.clone();
        }
        if !other.groups.is_empty() {
            return other.clone();
        }
        let mut both = Self::default();
        for a in &self.users {
            for b in &other.users {
                if a.overlaps(b) {
                    both.users.push(if a.covers(b) { b } else { a }.clone());
                }
            }
        }
        both
    }
}

impl Bounds<People> {
    pub(super) fn users(names: Names) -> Self {
        let people = |users| People { users, groups: BTreeSet::new() };
        Self { sure: people(names.sure), may: people(names.may) }
    }

    /// Those who are in some group of a name. Groups are named in full in documents.
    pub(super) fn groups(names: &Names) -> Self {
        let named = |patterns: &[Pattern]| {
            let literal = patterns.iter().filter(|pattern| pattern.is_literal());
            People { users: Vec::new(), groups: literal.map(|pattern| pattern.text().to_owned()).collect() }
        };
        let all = names.may.iter().all(Pattern::is_literal);
        Self { sure: named(&names.sure), may: if all { named(&names.may) } else { People::everyone() } }
    }

    /// Those who are among both.
    pub(super) fn and(&self, other: &Self) -> Self {
        Self { sure: self.sure.surely_both(&other.sure), may: self.may.maybe_both(&other.may) }
    }
}
