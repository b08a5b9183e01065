//! What is to be changed in a catalog, so that it says what findings say.

use std::collections::{BTreeMap, BTreeSet};

use super::column::Column;
use super::findings::{Findings, Place, address};
use crate::catalog::rest::{Classified, Identifier, Retagged};

/// Iceberg keeps a table's metadata in this folder at its location.
const METADATA: &str = "metadata/";
/// How many objects outside the catalog's tables are named.
const NAMED: usize = 3;

/// What is to be changed.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) tables: Vec<Change>,
    /// Findings that protect nothing though they are about the catalog's tables.
    pub(super) problems: Vec<String>,
    pub(super) notes: Vec<String>,
    /// Tags that would be removed if that were asked for.
    pub(super) left: usize,
    /// Whether some objects were found in no table.
    pub(super) outside: bool,
}

/// What is to be changed of one table.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) table: Identifier,
    pub(super) uuid: String,
    pub(super) fields: BTreeMap<i32, Retagged>,
    /// The same in words.
    pub(super) lines: Vec<String>,
}

impl Plan {
    /// How many tags are added, and how many removed.
    pub(super) fn counts(&self) -> (usize, usize) {
        let fields = || self.tables.iter().flat_map(|change| change.fields.values());
        (fields().map(|field| field.added.len()).sum(), fields().map(|field| field.removed.len()).sum())
    }
}

/// Finds the tables of places.
pub(super) struct Tables<'a> {
    all: &'a [Classified],
    /// By where their files are.
    at: BTreeMap<String, Vec<usize>>,
    /// By name, in lower case, with and without the catalog's.
    named: BTreeMap<String, Vec<usize>>,
}

impl<'a> Tables<'a> {
    pub(super) fn new(catalog: &str, all: &'a [Classified]) -> Self {
        let (mut at, mut named) = (BTreeMap::new(), BTreeMap::new());
        let put = |map: &mut BTreeMap<String, Vec<usize>>, key: String, number| {
            let numbers = map.entry(key).or_default();
            if numbers.last() != Some(&number) {
                numbers.push(number);
            }
        };
        for (number, table) in all.iter().enumerate() {
            for place in &table.places {
                put(&mut at, address(place), number);
            }
            for name in names(catalog, &table.table) {
                put(&mut named, name, number);
            }
        }
        Self { all, at, named }
    }

    /// The tables that an object may belong to: those nearest to it. With each what of the object's address is behind that
    /// of the table.
    fn of_object<'b>(&self, object: &'b str) -> (&[usize], &'b str) {
        let slashes = object.rmatch_indices('/').map(|(at, _)| at);
        let found =
            slashes.filter_map(|at| Some((self.at.get(&object[..at])?.as_slice(), &object[at + 1..])));
        found.into_iter().next().unwrap_or((&[], ""))
    }
}

/// What a table may be called in a file, in lower case.
pub(super) fn names(catalog: &str, table: &Identifier) -> [String; 2] {
    let name = table.to_string().to_lowercase();
    [format!("{}.{name}", catalog.to_lowercase()), name]
}

/// What is wanted of one table.
#[derive(Default)]
struct Wanted {
    /// The tags of fields, each with who says so, and the name by which the field was found, where it has another now.
    tags: BTreeMap<i32, BTreeMap<String, (String, Option<String>)>>,
    /// Whether there may be more than is said.
    incomplete: bool,
}

/// Things of one kind are said once.
#[derive(Default)]
struct Problems(BTreeMap<(String, String), (String, usize)>);

impl Problems {
    fn add(&mut self, table: &str, what: String, first: impl FnOnce() -> String) {
        self.0.entry((table.to_owned(), what)).or_insert_with(|| (first(), 0)).1 += 1;
    }

    fn lines(self) -> impl Iterator<Item = String> {
        self.0.into_iter().map(|((table, what), (first, count))| {
            let more = if count > 1 { format!(", and {} more", count - 1) } else { String::new() };
            format!("{table}: {what} ({first}{more})")
        })
    }
}

/// Compares findings with tables.
pub(super) fn plan(findings: &Findings, tables: &Tables<'_>, remove: bool) -> Plan {
    let mut problems = Problems::default();
    let mut wanted: BTreeMap<usize, Wanted> = BTreeMap::new();
    let (mut outside, mut metadata) = (BTreeSet::new(), BTreeSet::new());
    let mut places: BTreeMap<&Place, &[usize]> = BTreeMap::new();
    for place in findings.places() {
        let found: &[usize] = match place {
            Place::Table(name) => match tables.named.get(&name.to_lowercase()).map(Vec::as_slice) {
                Some([only]) => std::slice::from_ref(only),
                found => {
                    let many = if found.is_some() {
                        "several tables are called so"
                    } else {
                        "there is no such table"
                    };
                    problems
                        .add(name, format!("{many} in the catalog"), || "as the file calls it".to_owned());
                    &[]
                }
            },
            Place::Object(object) => match tables.of_object(object) {
                ([], _) => {
                    outside.insert(object);
                    &[]
                }
                (_, behind) if behind.starts_with(METADATA) => {
                    metadata.insert(object);
                    &[]
                }
                (found, _) => found,
            },
        };
        places.insert(place, found);
        for number in found {
            let wanted = wanted.entry(*number).or_default();
            wanted.incomplete |= findings.incomplete.contains(place);
        }
    }
    let mut unplaced = false;
    for lost in &findings.lost {
        let found = lost.place.as_ref().and_then(|place| places.get(place).copied());
        for number in found.unwrap_or_default() {
            let table = tables.all[*number].table.to_string();
            problems.add(&table, lost.why.clone(), || format!("{}{}", at(lost.place.as_ref()), lost.source));
            wanted.entry(*number).or_default().incomplete = true;
        }
        if lost.place.is_none() {
            unplaced = true;
            problems.add(&lost.source, lost.why.clone(), || "it is left out".to_owned());
        }
    }
    for ((place, column), tags) in &findings.found {
        for number in places.get(place).copied().unwrap_or_default() {
            let (table, wanted) = (&tables.all[*number], wanted.entry(*number).or_default());
            want(wanted, table, place, column, tags, &mut problems);
        }
    }
    let mut plan =
        Plan { problems: problems.lines().collect(), notes: findings.notes.clone(), ..Plan::default() };
    let some = |objects: &BTreeSet<&String>| {
        let names: Vec<&str> = objects.iter().take(NAMED).map(|one| one.as_str()).collect();
        let more = if objects.len() > NAMED { " and others" } else { "" };
        format!("{} ({}{more})", objects.len(), names.join(", "))
    };
    if !outside.is_empty() {
        plan.outside = true;
        plan.notes.push(format!("objects that belong to no table of the catalog: {}", some(&outside)));
    }
    if !metadata.is_empty() {
        let what = "objects of tables' metadata, which tags do not protect: let nobody but the catalog and its engines \
                    read them";
        plan.notes.push(format!("{what}: {}", some(&metadata)));
    }
    for (number, wanted) in wanted {
        let table = &tables.all[number];
        let old = stale(table, &wanted, findings.families.as_ref());
        let old_count: usize = old.values().map(BTreeSet::len).sum();
        let keep = wanted.incomplete || unplaced;
        if !remove {
            plan.left += if keep { 0 } else { old_count };
        } else if keep && old_count > 0 {
            plan.notes
                .push(format!("{}: nothing is removed, as the file may not say all of it", table.table));
        }
        let old = if remove && !keep { old } else { BTreeMap::new() };
        plan.tables.extend(change(table, &wanted, &old));
    }
    plan
}

fn at(place: Option<&Place>) -> String {
    match place {
        Some(Place::Object(object)) => format!("{object}, "),
        _ => String::new(),
    }
}

fn want(
    wanted: &mut Wanted,
    table: &Classified,
    place: &Place,
    column: &Column,
    tags: &BTreeMap<String, String>,
    problems: &mut Problems,
) {
    let ids = match column.fields(table, matches!(place, Place::Object(_))) {
        Ok(ids) => ids,
        Err(why) => {
            wanted.incomplete = true;
            let source = tags.values().next().map_or("", String::as_str);
            let what = format!("column {}: {why}", column.text);
            return problems.add(&table.table.to_string(), what, || format!("{}{source}", at(Some(place))));
        }
    };
    for id in ids {
        let was = (!column.is_now(table, id)).then(|| column.text.clone());
        let known = wanted.tags.entry(id).or_default();
        for (tag, source) in tags {
            known.entry(tag.clone()).or_insert_with(|| (source.clone(), was.clone()));
        }
    }
}

/// The tags of fields that nothing says any more.
fn stale(
    table: &Classified,
    wanted: &Wanted,
    families: Option<&BTreeSet<String>>,
) -> BTreeMap<i32, BTreeSet<String>> {
    let fields = table.tags.iter().filter(|(id, _)| table.schema.field(**id).is_some());
    let stale = fields.map(|(id, tags)| {
        let said = |tag: &String| {
            let said = wanted.tags.get(id);
            match families {
                None => said.is_some_and(|said| said.contains_key(tag)),
                Some(families) => {
                    // Nor does a file that has no finer word than `pii.email` say that `pii.email.work` is wrong.
                    let is_finer =
                        |known: &String| tag.strip_prefix(known).is_some_and(|rest| rest.starts_with('.'));
                    let first = tag.split('.').next().unwrap_or_default();
                    !families.contains(first)
                        || said.is_some_and(|said| said.keys().any(|known| known == tag || is_finer(known)))
                }
            }
        };
        (*id, tags.iter().filter(|tag| !said(tag)).cloned().collect::<BTreeSet<String>>())
    });
    stale.filter(|(_, tags)| !tags.is_empty()).collect()
}

fn change(table: &Classified, wanted: &Wanted, old: &BTreeMap<i32, BTreeSet<String>>) -> Option<Change> {
    let none = BTreeSet::new();
    let (mut fields, mut lines): (BTreeMap<i32, Retagged>, _) = (BTreeMap::new(), Vec::new());
    let ids: BTreeSet<i32> = wanted.tags.keys().chain(old.keys()).copied().collect();
    for id in ids {
        let name = table.schema.field(id).map_or_else(String::new, |field| field.path.join("."));
        let (has, gets) = (table.tags.get(&id).unwrap_or(&none), wanted.tags.get(&id));
        for (tag, (source, was)) in gets.into_iter().flatten().filter(|(tag, _)| !has.contains(*tag)) {
            let was = was.as_ref().map_or_else(String::new, |was| format!(", where it is called {was}"));
            lines.push(format!("+ {name} (field {id}): {tag}, by {source}{was}"));
            fields.entry(id).or_default().added.insert(tag.clone());
        }
        for tag in old.get(&id).into_iter().flatten() {
            lines.push(format!("- {name} (field {id}): {tag}"));
            fields.entry(id).or_default().removed.insert(tag.clone());
        }
    }
    let (table, uuid) = (table.table.clone(), table.uuid.clone());
    (!fields.is_empty()).then_some(Change { table, uuid, fields, lines })
}
