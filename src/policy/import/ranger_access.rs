//! What Ranger's access policies let, put together: reading a table of Trino's takes a right on its columns, one to use
//! its catalog and one to run queries.

use std::collections::BTreeSet;

use super::Note;
use super::draft::Draft;
use super::first::Tables;
use super::names::Pattern;
use super::people::People;

/// Accesses that change something.
pub(super) const WRITES: [&str; 8] =
    ["insert", "update", "delete", "create", "drop", "alter", "index", "lock"];

/// What one item lets.
pub(super) struct Granted {
    pub(super) label: String,
    pub(super) who: People,
    pub(super) but: People,
    pub(super) tables: Vec<Tables>,
    /// The catalogs that it is about as a whole.
    pub(super) uses: Vec<Pattern>,
    pub(super) reads: bool,
    pub(super) kinds: BTreeSet<String>,
    /// Columns that it leaves out.
    pub(super) without: Vec<Pattern>,
}

#[derive(Default)]
pub(super) struct Access {
    pub(super) granted: Vec<Granted>,
    /// Who may run queries.
    pub(super) execute: People,
    /// Who may not change what.
    pub(super) unwritten: Vec<(People, Vec<Tables>)>,
    /// Whether catalogs need no right of their own: of Hive's policies.
    pub(super) hive: bool,
}

/// The policies that allow.
pub(super) fn finish(access: &Access, notes: &mut Vec<Note>) -> Vec<Draft> {
    let mut drafts: Vec<Draft> = Vec::new();
    let uses: Vec<&Granted> = access
        .granted
        .iter()
        .filter(|one| (one.kinds.contains("use") || one.kinds.contains("all")) && one.but.is_nobody())
        .collect();
    for one in access.granted.iter().filter(|one| one.reads && !one.who.is_nobody()) {
        for tables in &one.tables {
            let mut who = one.who.clone();
            if !access.hive {
                let mut users = People::default();
                for other in
                    uses.iter().filter(|other| other.uses.iter().any(|catalog| catalog.covers(&tables.0[0])))
                {
                    users.add(&other.who);
                }
                let (users, running) = (who.surely_both(&users), &access.execute);
                let both = users.surely_both(running);
                if both != who {
                    notes.push(Note {
                        rule: one.label.clone(),
                        what: format!(
                            "not all whom it lets read {} are known to use the catalog and to run queries: no policy about \
                             the catalog (use) or about queries (queryid, execute) says so of them",
                            tables.text()
                        ),
                        effect: "stricter: only the others are allowed".to_owned(),
                    });
                }
                who = both;
            }
            if who.is_nobody() || one.but.covers(&who) {
                continue;
            }
            let all = ["insert", "delete", "create", "drop", "alter"];
            let writes = one.kinds.contains("all")
                || all.iter().all(|kind| one.kinds.contains(*kind))
                || access.hive && all.iter().skip(2).chain(&["update"]).all(|kind| one.kinds.contains(*kind));
            let changes = one.kinds.iter().any(|kind| WRITES.contains(&kind.as_str()));
            // All tables of a schema to write means the schema, too, which is a right of its own in Ranger.
            let schema = tables.0[2].is_any();
            let denied = access.unwritten.iter().any(|(people, denied)| {
                people.overlaps(&who) && denied.iter().any(|other| other.overlaps(tables))
            });
            let write = writes && !schema && !denied && one.without.is_empty();
            if (writes || changes) && !write {
                notes.push(Note {
                    rule: one.label.clone(),
                    what: format!(
                        "it lets {} be changed in some ways only, or together with its schema, or others deny that",
                        tables.text()
                    ),
                    effect: "stricter: it is read, not changed".to_owned(),
                });
            }
            let mut draft = Draft {
                comments: vec![one.label.clone()],
                who,
                except: one.but.clone(),
                tables: vec![tables.text()],
                allow: true,
                write,
                ..Draft::default()
            };
            if !one.without.is_empty() {
                draft.restrictions.hidden =
                    one.without.iter().map(|column| column.text().to_owned()).collect();
                notes.push(Note {
                    rule: one.label.clone(),
                    what: "it leaves out columns".to_owned(),
                    effect: "stricter: they are hidden also where another policy lets them be read"
                        .to_owned(),
                });
            }
            drafts.push(draft);
        }
    }
    merge(drafts)
}

/// Policies that differ in their tables alone are one.
fn merge(drafts: Vec<Draft>) -> Vec<Draft> {
    let mut merged: Vec<Draft> = Vec::new();
    for mut draft in drafts {
        let tables = std::mem::take(&mut draft.tables);
        let same = merged.iter_mut().find(|other| Draft { tables: Vec::new(), ..(*other).clone() } == draft);
        match same {
            Some(other) => other.tables.extend(tables),
            None => merged.push(Draft { tables, ..draft }),
        }
    }
    merged
}
