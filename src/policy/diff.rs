//! Whose view of which tables differs between two sets.
//!
//! The rules are compared by what they say about people and tables that stand for all of their kind: each user and group
//! that a policy for the table names, each two of them, and one whom none names; each table that is named, each pattern,
//! and where two patterns meet. What tables hold is not asked, so that a pattern of columns is compared as one
//! column of that name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;

use super::Isolation;
use super::pattern::{Glob, SYSTEM, TablePattern};
use super::rule::{Columns, Compiled, MaskWith, Rule};
use crate::catalog::TableName;
use crate::identity::{Method, Principal};
use crate::sql::fold_column;

/// Stands for a name that no document has.
const ANY: &str = "northgate_any";
/// The most people for one table, and the most questions to rules in all, that are looked at.
const MOST_PEOPLE: usize = 200_000;
const MOST_QUESTIONS: usize = 200_000_000;

/// A difference in what somebody sees of tables.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Whose view it is: `user ann`, `group staff`, `everybody else`.
    pub who: String,
    /// The table or the pattern of tables.
    pub table: String,
    /// What changes.
    pub what: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.who, self.table, self.what)
    }
}

/// The documents name too many people and tables to compare all with all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the documents name too many people and tables to compare all with all; compare for the tables of a file (--tables)"
)]
pub struct TooMany;

/// What is seen of a table.
#[derive(Default, PartialEq)]
struct Seen {
    filters: BTreeSet<String>,
    strict: bool,
    masks: BTreeMap<String, String>,
    hidden: BTreeSet<String>,
    write: bool,
    trusted: bool,
    /// When queries of it are marked as sensitive in the audit.
    marked: Marked,
}

/// When queries of a table are marked as sensitive in the audit.
#[derive(Default, PartialEq)]
enum Marked {
    #[default]
    Never,
    Always,
    /// Where catalogs give one of these tags.
    Tagged(BTreeSet<String>),
}

impl fmt::Display for Marked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::Always => f.write_str("always"),
            Self::Tagged(tags) => {
                let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
                write!(f, "where columns are tagged {}", tags.join(" or "))
            }
        }
    }
}

/// A table, or one that stands for a pattern.
struct Table {
    name: TableName,
    label: String,
    /// Its columns; none where the documents say which there may be.
    columns: Option<Vec<String>>,
}

pub(super) fn changes(
    old: &Compiled,
    new: &Compiled,
    tables: &[(TableName, Vec<String>)],
) -> Result<Vec<Change>, TooMany> {
    let rules: Vec<&Rule> = old.rules.iter().chain(&new.rules).collect();
    let tables = if tables.is_empty() {
        representatives(&rules, old.open.iter().chain(&new.open))?
    } else {
        let table = |(name, columns): &(TableName, Vec<String>)| Table {
            name: name.clone(),
            label: name.to_string(),
            columns: Some(columns.clone()),
        };
        tables.iter().map(table).collect()
    };
    let mut found = Vec::new();
    let mut questions = 0_usize;
    for table in &tables {
        let before: Vec<&Rule> = old.rules.iter().filter(|rule| rule.covers(&table.name)).collect();
        let after: Vec<&Rule> = new.rules.iter().filter(|rule| rule.covers(&table.name)).collect();
        let both: Vec<&Rule> = before.iter().chain(&after).copied().collect();
        let people = people(&both)?;
        questions = questions.saturating_add(people.len().saturating_mul(both.len() + 1));
        if questions > MOST_QUESTIONS {
            return Err(TooMany);
        }
        let columns = columns(&both, table);
        // What changed for the parts of somebody, so that it is said once.
        let mut said: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for person in &people {
            let seen = |set: &Compiled, rules: &[&Rule]| {
                let rules: Vec<&Rule> =
                    rules.iter().copied().filter(|rule| rule.who.includes(&person.principal)).collect();
                seen(set, &rules, table, &columns)
            };
            let what = compare(seen(old, &before).as_ref(), seen(new, &after).as_ref());
            let told = person.parts.iter().filter_map(|part| said.get(part.as_str())).flatten();
            let told: BTreeSet<&String> = told.collect();
            for change in what.iter().filter(|change| !told.contains(change)) {
                let (who, table) = (person.label.clone(), table.label.clone());
                found.push(Change { who, table, what: change.clone() });
            }
            said.insert(&person.label, what.into_iter().collect());
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

struct Person {
    label: String,
    principal: Principal,
    /// The labels of those whose changes are this one's, too.
    parts: Vec<String>,
}

const NOBODY: &str = "everybody else";

/// Those who stand for all whom some rules tell apart: whoever is made of others comes behind them.
fn people(rules: &[&Rule]) -> Result<Vec<Person>, TooMany> {
    let person = |user: Option<&String>, groups: &[&String]| {
        let name = user.map_or_else(|| ANY.to_owned(), |user| user.replace('*', ANY));
        let user_label = user.map(|user| format!("user {user}"));
        let label = match (&user_label, groups) {
            (None, []) => NOBODY.to_owned(),
            (Some(user), []) => user.clone(),
            (None, [group]) => format!("group {group}"),
            (Some(user), [group, ..]) => format!("{user} in group {group}"),
            (None, [one, other, ..]) => format!("groups {one} and {other}"),
        };
        let mut parts = vec![NOBODY.to_owned()];
        parts.extend(user_label);
        parts.extend(groups.iter().map(|group| format!("group {group}")));
        let principal =
            Principal::new(name, Method::Password).with_groups(groups.iter().map(|group| (*group).clone()));
        Person { label, principal, parts }
    };
    let (mut users, mut groups) = (BTreeSet::new(), BTreeSet::new());
    for rule in rules {
        let globs = rule.who.users.iter().chain(&rule.who.except_users);
        users.extend(globs.filter(|glob| !glob.is_any()).map(Glob::text));
        groups.extend(rule.who.groups.iter().chain(&rule.who.except_groups).cloned());
    }
    if users.len() * groups.len() + groups.len() * groups.len() > MOST_PEOPLE {
        return Err(TooMany);
    }
    let mut people = vec![person(None, &[])];
    people.extend(users.iter().map(|user| person(Some(user), &[])));
    people.extend(groups.iter().map(|group| person(None, &[group])));
    for group in &groups {
        people.extend(users.iter().map(|user| person(Some(user), &[group])));
        people.extend(
            groups
                .range::<String, _>((Bound::Excluded(group), Bound::Unbounded))
                .map(|other| person(None, &[group, other])),
        );
    }
    Ok(people)
}

/// Tables that stand for all patterns, and for where two of them meet.
fn representatives<'a>(
    rules: &[&Rule],
    open: impl Iterator<Item = &'a String>,
) -> Result<Vec<Table>, TooMany> {
    let mut patterns: Vec<&TablePattern> = Vec::new();
    for rule in rules {
        let masks = rule
            .masks
            .iter()
            .flat_map(|mask| mask.columns.iter().chain(mask.fields.iter().map(|fields| &fields.columns)));
        let tagged = masks.chain(&rule.hidden).filter_map(|columns| match columns {
            Columns::Tagged(pattern) => Some(&pattern.table),
            Columns::Named(_) => None,
        });
        for pattern in rule.tables.iter().chain(tagged) {
            if !patterns.contains(&pattern) {
                patterns.push(pattern);
            }
        }
    }
    if patterns.len() > 3_000 {
        return Err(TooMany);
    }
    // Of two parts that meet the one that says more.
    let meet = |one: &Glob, other: &Glob| {
        let first = one.literal().is_some() || other.is_any() || other.literal().is_none();
        if first && !(one.is_any() && other.literal().is_none()) { one.text() } else { other.text() }
    };
    let mut labels: BTreeSet<[String; 3]> = BTreeSet::new();
    for (at, one) in patterns.iter().enumerate() {
        labels.insert([one.catalog.text(), one.schema.text(), one.table.text()]);
        for other in patterns[at + 1..].iter().filter(|other| other.overlaps(one)) {
            labels.insert([
                meet(&one.catalog, &other.catalog),
                meet(&one.schema, &other.schema),
                meet(&one.table, &other.table),
            ]);
        }
    }
    labels.extend(open.map(|catalog| [catalog.clone(), "*".to_owned(), "*".to_owned()]));
    let table = |label: &[String; 3]| {
        let [catalog, schema, table] = label.clone().map(|part| part.replace('*', ANY));
        let name = TableName::new(&catalog, &schema, &table)?;
        Some(Table { name, label: label.join("."), columns: None })
    };
    Ok(labels.iter().filter_map(table).collect())
}

/// The columns of a table that rules speak of, folded, with what they are called here.
fn columns(rules: &[&Rule], table: &Table) -> BTreeMap<String, String> {
    if let Some(columns) = &table.columns {
        return columns.iter().map(|name| (fold_column(name).into_owned(), name.clone())).collect();
    }
    let mut found = BTreeMap::new();
    for rule in rules.iter().filter(|rule| rule.covers(&table.name)) {
        let columns = rule.masks.iter().flat_map(|mask| &mask.columns).chain(&rule.hidden);
        for columns in columns {
            let glob = match columns {
                Columns::Named(glob) => glob,
                Columns::Tagged(pattern) if pattern.table.matches(&table.name) => &pattern.column,
                Columns::Tagged(_) => continue,
            };
            found.insert(glob.text().replace('*', ANY), glob.text());
        }
    }
    found
}

/// What somebody sees of a table by the rules that are for them; none where they may not know of it.
fn seen(set: &Compiled, rules: &[&Rule], table: &Table, columns: &BTreeMap<String, String>) -> Option<Seen> {
    let name = &table.name;
    let open = name.catalog != SYSTEM && name.schema != SYSTEM && set.open.contains(&name.catalog);
    if rules.iter().any(|rule| rule.deny) || !open && !rules.iter().any(|rule| rule.allow) {
        return None;
    }
    let mut seen = Seen { strict: true, ..Seen::default() };
    let filters = rules.iter().filter(|rule| rule.filter.is_some());
    seen.strict =
        filters.clone().count() == 0 || filters.clone().any(|rule| rule.isolation == Isolation::Strict);
    let reader = |rule: &Rule| {
        rule.run_as.as_ref().map_or_else(String::new, |reader| {
            let groups: Vec<&str> = reader.groups().iter().map(String::as_str).collect();
            let groups = if groups.is_empty() { String::new() } else { format!(" ({})", groups.join(", ")) };
            format!(", read as {}{groups}", reader.name())
        })
    };
    for rule in filters {
        let text = rule.filter.as_ref().map_or("", |formula| formula.text());
        seen.filters.insert(format!("{text}{}", reader(rule)));
    }
    let with = |rule: &Rule, with: &MaskWith| match with {
        MaskWith::Action(action) => action.as_str().to_owned(),
        MaskWith::Formula(formula) => format!("{}{}", formula.text(), reader(rule)),
    };
    for (column, label) in columns {
        if rules.iter().any(|rule| rule.hidden.iter().any(|hidden| hidden.matches(name, column))) {
            seen.hidden.insert(label.clone());
            continue;
        }
        let masks = rules.iter().flat_map(|rule| rule.masks.iter().map(move |mask| (*rule, mask)));
        let meant =
            masks.filter(|(_, mask)| mask.columns.iter().any(|columns| columns.matches(name, column)));
        if let Some((rule, mask)) = meant.max_by_key(|(_, mask)| mask.strength) {
            seen.masks.insert(label.clone(), with(rule, &mask.with));
        }
    }
    let mut of_tags: BTreeMap<String, i32> = BTreeMap::new();
    // Which columns catalogs give a tag to is not known here.
    for rule in rules {
        seen.hidden.extend(rule.hidden_tags.iter().map(|tag| format!("tagged {}", tag.text())));
        for mask in &rule.masks {
            for tag in &mask.tags {
                let label = format!("tagged {}", tag.text());
                let stronger = of_tags.get(&label).is_some_and(|held| *held > mask.strength);
                if !stronger {
                    of_tags.insert(label.clone(), mask.strength);
                    seen.masks.insert(label, with(rule, &mask.with));
                }
            }
            for fields in &mask.fields {
                let column = match &fields.columns {
                    Columns::Named(glob) => glob,
                    Columns::Tagged(pattern) if pattern.table.matches(name) => &pattern.column,
                    Columns::Tagged(_) => continue,
                };
                let path: Vec<String> = std::iter::once(column).chain(&fields.path).map(Glob::text).collect();
                let label = format!("{} (strength {})", path.join("."), mask.strength);
                seen.masks.insert(label, with(rule, &mask.with));
            }
        }
    }
    seen.write = rules.iter().any(|rule| rule.allow && rule.write);
    seen.trusted = rules.iter().any(|rule| rule.allow && rule.trusted_view);
    seen.marked = marked(rules);
    Some(seen)
}

fn marked(rules: &[&Rule]) -> Marked {
    if rules.iter().any(|rule| rule.is_sensitive()) {
        return Marked::Always;
    }
    let by_tag = rules.iter().filter(|rule| rule.sensitive);
    let tags = by_tag.flat_map(|rule| rule.masks.iter().flat_map(|mask| &mask.tags).chain(&rule.hidden_tags));
    let tags: BTreeSet<String> = tags.map(Glob::text).collect();
    if tags.is_empty() { Marked::Never } else { Marked::Tagged(tags) }
}

impl Seen {
    /// In short.
    fn describe(&self) -> String {
        let mut parts: Vec<String> = self.filters.iter().map(|filter| format!("filter {filter}")).collect();
        parts.extend(self.masks.iter().map(|(column, with)| format!("{column} masked by {with}")));
        parts.extend(self.hidden.iter().map(|column| format!("{column} hidden")));
        if self.write {
            parts.push("may be changed".to_owned());
        }
        if self.marked != Marked::Never {
            parts.push(format!("marked as sensitive in the audit {}", self.marked));
        }
        if parts.is_empty() { String::new() } else { format!(" ({})", parts.join("; ")) }
    }
}

fn compare(before: Option<&Seen>, after: Option<&Seen>) -> Vec<String> {
    let (before, after) = match (before, after) {
        (None, None) => return Vec::new(),
        (None, Some(after)) => return vec![format!("may be read now{}", after.describe())],
        (Some(_), None) => return vec!["may not be read any more".to_owned()],
        (Some(before), Some(after)) => (before, after),
    };
    let mut changes = Vec::new();
    let filters = |more: &Seen, less: &Seen, what: &str, changes: &mut Vec<String>| {
        changes
            .extend(more.filters.difference(&less.filters).map(|filter| format!("filter {what}: {filter}")));
    };
    filters(after, before, "added", &mut changes);
    filters(before, after, "removed", &mut changes);
    if before.strict != after.strict && !before.filters.is_empty() && !after.filters.is_empty() {
        let word = if after.strict { "strict" } else { "standard" };
        changes.push(format!("its filters are {word} now"));
    }
    let columns: BTreeSet<&String> =
        [before, after].iter().flat_map(|seen| seen.masks.keys().chain(&seen.hidden)).collect();
    for column in columns {
        let state = |seen: &Seen| {
            let masked = seen.masks.get(column).map(|with| format!("masked by {with}"));
            if seen.hidden.contains(column) {
                "hidden".to_owned()
            } else {
                masked.unwrap_or_else(|| "shown".to_owned())
            }
        };
        let (was, is) = (state(before), state(after));
        if was != is {
            changes.push(format!("column {column}: {is}, was {was}"));
        }
    }
    let flag = |was: bool, is: bool, gained: &str, lost: &str| {
        (was != is).then(|| if is { gained.to_owned() } else { lost.to_owned() })
    };
    changes.extend(flag(before.write, after.write, "may be changed now", "may not be changed any more"));
    let lost = "as a view is read through, not as it is any more";
    changes.extend(flag(before.trusted, after.trusted, "as a view is read as it is now", lost));
    if before.marked != after.marked {
        changes.push(format!("marked as sensitive in the audit {}, was {}", after.marked, before.marked));
    }
    changes
}
