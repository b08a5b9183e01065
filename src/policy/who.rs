//! Whom a policy is for.

use std::collections::BTreeSet;

use super::pattern::Glob;
use crate::identity::Principal;

/// Users and groups, without some.
#[derive(Clone, Debug)]
pub(super) struct Who {
    pub(super) users: Vec<Glob>,
    pub(super) groups: BTreeSet<String>,
    pub(super) except_users: Vec<Glob>,
    pub(super) except_groups: BTreeSet<String>,
}

impl Who {
    /// Everybody.
    pub(super) fn everybody() -> Self {
        Self {
            users: vec![Glob::any()],
            groups: BTreeSet::new(),
            except_users: Vec::new(),
            except_groups: BTreeSet::new(),
        }
    }

    /// Whether the policy is for the principal.
    pub(super) fn includes(&self, principal: &Principal) -> bool {
        let names = |users: &[Glob], groups: &BTreeSet<String>| {
            users.iter().any(|glob| glob.matches(principal.name()))
                || principal.groups().iter().any(|group| groups.contains(group))
        };
        names(&self.users, &self.groups) && !names(&self.except_users, &self.except_groups)
    }

    /// Whether some principal may be in both. Groups can have any members, so that only lists of users and
    /// exceptions keep two apart.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        if self.excludes(other) || other.excludes(self) {
            return false;
        }
        if !self.groups.is_empty() && !other.groups.is_empty() {
            return true;
        }
        let users_meet = self.users.iter().any(|a| {
            other.users.iter().any(|b| {
                a.overlaps(b)
                    && ![a, b].iter().any(|glob| {
                        glob.literal().is_some_and(|name| {
                            self.except_users
                                .iter()
                                .chain(&other.except_users)
                                .any(|except| except.matches(name))
                        })
                    })
            })
        });
        // A user of the one may be a member of the other's groups.
        users_meet
            || (!self.groups.is_empty() && !other.users.is_empty())
            || (!other.groups.is_empty() && !self.users.is_empty())
    }

    /// Whether all that the other names are exceptions here.
    fn excludes(&self, other: &Self) -> bool {
        other.groups.iter().all(|group| self.except_groups.contains(group))
            && other.users.iter().all(|user| {
                self.except_users.iter().any(|except| {
                    except.is_any()
                        || except == user
                        || user.literal().is_some_and(|name| except.matches(name))
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Method;

    /// `users | groups | except users | except groups`, each separated by blanks.
    fn who(text: &str) -> Who {
        let parts: Vec<Vec<&str>> = text.split('|').map(|part| part.split_whitespace().collect()).collect();
        let globs = |i: usize| {
            parts.get(i).into_iter().flatten().map(|name| Glob::user(name).expect("a user")).collect()
        };
        let names = |i: usize| parts.get(i).into_iter().flatten().map(|name| (*name).to_owned()).collect();
        Who { users: globs(0), groups: names(1), except_users: globs(2), except_groups: names(3) }
    }

    #[test]
    fn inclusion() {
        let ann = Principal::new("ann", Method::Password).with_groups(["a", "b"]);
        let check = |text: &str, expect: bool| assert_eq!(who(text).includes(&ann), expect, "{text}");
        check("ann", true);
        check("Ann", false);
        check("a*", true);
        check("bob", false);
        check("|b", true);
        check("|c", false);
        check("*||ann", false);
        check("*|||b", false);
        check("*|||c", true);
    }

    #[test]
    fn overlap() {
        let check = |a: &str, b: &str, expect: bool| {
            assert_eq!(who(a).overlaps(&who(b)), expect, "{a} / {b}");
            assert_eq!(who(b).overlaps(&who(a)), expect, "{b} / {a}");
        };
        check("ann", "ann", true);
        check("ann", "bob", false);
        check("ann", "|staff", true);
        check("|x", "|y", true);
        check("*|||compliance", "|compliance", false);
        check("*|||compliance", "|compliance audit", true);
        check("*|||compliance", "cara|compliance", true);
        check("*||svc-*", "svc-load", false);
        check("*||svc-*", "svc-*", false);
        check("*||ann", "ann", false);
        check("*||ann", "ann bob", true);
    }
}
