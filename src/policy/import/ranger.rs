//! Apache Ranger's policies: of a service of Trino's or Hive's, as Ranger exports or downloads them.
//!
//! Access policies apply together there as here, and a denial wins. Of the items of a filter or mask policy the first
//! that matches holds. What is bound to a condition, a schedule or something unknown allows nothing, and denies, filters
//! or masks always.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::draft::{Draft, Drafts, one_line};
use super::first::{Compiling, Effect, Rule, Tables, tables};
use super::names::{Bounds, Names, Pattern};
use super::people::People;
use super::ranger_access::{Access, Granted, finish};
use super::ranger_file::{Item, Policy, Resource, collect};
use super::settle::settle;
use super::{ImportError, Note, Options, expression, ranger_tags};

/// The most policies, and the most items of all of them.
const MOST: usize = 2_000;

/// What a policy is about.
pub(super) struct About {
    pub(super) tables: Bounds<Vec<Tables>>,
    /// The catalogs, where it is about them as a whole.
    pub(super) catalogs: Vec<Pattern>,
    /// The columns; none where it names none.
    pub(super) columns: Option<Bounds<Vec<Pattern>>>,
    /// Columns that it leaves out.
    pub(super) without: Vec<Pattern>,
}

pub(super) struct Reader<'a> {
    pub(super) options: &'a Options,
    pub(super) notes: &'a mut Vec<Note>,
    pub(super) access: Access,
    pub(super) restricting: Vec<Draft>,
    pub(super) tags: ranger_tags::Tags,
}

pub(super) fn import(source: &str, options: &Options, notes: &mut Vec<Note>) -> Result<Drafts, ImportError> {
    let unreadable = |error: &dyn std::fmt::Display| ImportError::Unreadable(error.to_string());
    let file: Value = serde_json::from_str(source).map_err(|error| unreadable(&error))?;
    let mut policies = Vec::new();
    collect(file, &mut policies)?;
    if policies.len() > MOST {
        return Err(ImportError::TooLarge(format!("more than {MOST} policies")));
    }
    let policies = policies
        .into_iter()
        .map(|one| serde_json::from_value(one).map_err(|error| unreadable(&error)))
        .collect::<Result<Vec<Policy>, _>>()?;
    let tags = ranger_tags::Tags::read(options)?;
    let mut reader = Reader { options, notes, access: Access::default(), restricting: Vec::new(), tags };
    let zones = policies.iter().any(|policy| policy.zone_name.as_ref().is_some_and(|zone| !zone.is_empty()));
    for policy in policies.iter().filter(|policy| policy.is_enabled != Some(false)) {
        reader.policy(policy, zones)?;
    }
    let Reader { access, mut restricting, tags, .. } = reader;
    let mut policies = finish(&access, notes);
    settle(&mut restricting, notes);
    // What nobody is let into need not be denied: no pattern with a star lets anybody into `system`.
    let system = |table: &String| table.split('.').take(2).any(|part| part == "system");
    if !policies.iter().flat_map(|draft| &draft.tables).any(system) {
        for draft in &mut restricting {
            draft.tables.retain(|table| !system(table));
        }
        restricting.retain(|draft| !draft.tables.is_empty());
    }
    policies.extend(restricting);
    let used: BTreeSet<&String> = policies
        .iter()
        .flat_map(|draft| {
            let masks = draft.restrictions.masks.iter().flat_map(|mask| &mask.tags);
            draft.restrictions.hidden_tags.iter().chain(masks)
        })
        .collect();
    let tags = tags.columns(&used);
    let head = vec!["From the policies of Apache Ranger.".to_owned()];
    Ok(Drafts { head, tags, policies })
}

impl Reader<'_> {
    pub(super) fn note(&mut self, rule: &str, what: impl Into<String>, effect: &str) {
        self.notes.push(Note { rule: rule.to_owned(), what: what.into(), effect: effect.to_owned() });
    }

    fn policy(&mut self, policy: &Policy, zones: bool) -> Result<(), ImportError> {
        const KNOWN: [&str; 14] = [
            "guid",
            "createdBy",
            "updatedBy",
            "createTime",
            "updateTime",
            "version",
            "service",
            "description",
            "resourceSignature",
            "isAuditEnabled",
            "serviceType",
            "options",
            "policyLabels",
            "serviceDisplayName",
        ];
        let label = format!(
            "policy {} '{}'",
            policy.id.map_or_else(|| "-".to_owned(), |id| id.to_string()),
            policy.name
        );
        let some = |list: &Option<Vec<Value>>| list.as_ref().is_some_and(|list| !list.is_empty());
        let mut why = Vec::new();
        if some(&policy.conditions) {
            why.push("conditions".to_owned());
        }
        if some(&policy.validity_schedules) {
            why.push("a schedule".to_owned());
        }
        why.extend(
            policy
                .rest
                .keys()
                .filter(|key| !KNOWN.contains(&key.as_str()))
                .map(|key| format!("the key '{key}'")),
        );
        let zoned = policy.zone_name.as_ref().is_some_and(|zone| !zone.is_empty());
        if zones && !zoned {
            why.push(
                "no security zone, while others have one, and which tables are in zones is not said"
                    .to_owned(),
            );
        }
        if !why.is_empty() {
            let what = format!("it has {}", why.join(", "));
            self.note(&label, what, "stricter: it allows nothing, and denies, filters or masks always");
        }
        if policy.policy_priority.unwrap_or(0) != 0 {
            let effect = "stricter: it does not win over denials, filters and masks of others";
            self.note(&label, "it overrides other policies", effect);
        }
        let clear = why.is_empty();
        for resources in
            std::iter::once(&policy.resources).chain(policy.additional_resources.iter().flatten())
        {
            if resources.contains_key("tag") {
                self.tagged(policy, &label, clear, resources)?;
            } else if let Some(about) = self.about(&label, resources)? {
                match policy.policy_type.unwrap_or(0) {
                    0 => self.access(policy, &label, clear, &about),
                    1 => self.masks(policy, &label, clear, &about, None),
                    2 => self.filters(policy, &label, clear, &about),
                    _ => {
                        return Err(ImportError::Unreadable(format!(
                            "{}: policyType is not known",
                            one_line(&label)
                        )));
                    }
                }
            } else if resources.contains_key("queryid") {
                self.queries(policy, &label, clear);
            } else {
                let effect = "stricter: Northgate passes on nothing of the kind, and who may be whom is for [identity] to say";
                self.note(&label, "it is not about tables", effect);
            }
        }
        Ok(())
    }

    /// The names that a resource stands for.
    pub(super) fn names(&mut self, label: &str, key: &str, resource: &Resource, fold: bool) -> Names {
        let mut names = Names { sure: Vec::new(), may: Vec::new() };
        for value in &resource.values {
            let value = if fold { value.to_lowercase() } else { value.clone() };
            let odd = value.contains(['?', '{', '}', '\\', ',']);
            let wide: String = value.chars().map(|c| if "?{}\\,".contains(c) { '*' } else { c }).collect();
            match Pattern::read(&wide) {
                Some(pattern) if !odd => {
                    names.sure.push(pattern.clone());
                    names.may.push(pattern);
                }
                Some(pattern) if !value.contains('{') => names.may.push(pattern),
                _ => names.may.push(Pattern::any()),
            }
        }
        let unclear = resource.is_excludes == Some(true)
            || resource.is_recursive == Some(true)
            || !resource.rest.is_empty();
        if unclear {
            names = Names::unknown();
        }
        if !names.is_exact() {
            let values = one_line(&resource.values.join(", "));
            let what = format!("{key} '{values}' is excluded, recursive, or no pattern with * alone");
            let effect =
                "stricter: it allows what it surely means, and denies, filters or masks what it may mean";
            self.note(label, what, effect);
        }
        names
    }

    /// The tables that resources are about; none where they are about something else.
    fn about(
        &mut self,
        label: &str,
        resources: &BTreeMap<String, Resource>,
    ) -> Result<Option<About>, ImportError> {
        let known = ["catalog", "database", "schema", "table", "column"];
        let tables_only = resources.keys().all(|key| known.contains(&key.as_str()));
        if !tables_only || !(resources.contains_key("catalog") || resources.contains_key("database")) {
            return Ok(None);
        }
        let hive = resources.contains_key("database");
        self.access.hive |= hive;
        let catalogs = match (resources.get("catalog"), &self.options.catalog) {
            (Some(resource), _) => self.names(label, "catalog", resource, true).identifiers(),
            (None, Some(name)) => {
                let name = Pattern::read(name).filter(Pattern::is_literal);
                name.map_or_else(Names::unknown, |name| Names::exactly(vec![name])).identifiers()
            }
            (None, None) => {
                return Err(ImportError::Missing(
                    "these are policies of Hive, which has no catalogs: say with --catalog which one of Trino it is".to_owned(),
                ));
            }
        };
        let mut part = |key: &str| match resources.get(key) {
            Some(resource) => self.names(label, key, resource, true).identifiers(),
            // A policy about a catalog as a whole lets nothing of it be read, and may deny all.
            None => Names::unknown(),
        };
        let schemas = part(if hive { "database" } else { "schema" });
        let names = part("table");
        let mut without = Vec::new();
        let columns = match resources.get("column") {
            None => None,
            Some(resource) if resource.is_excludes == Some(true) => {
                let plain = Resource {
                    values: resource.values.clone(),
                    is_excludes: None,
                    is_recursive: None,
                    rest: BTreeMap::new(),
                };
                without = self.names(label, "column", &plain, true).may;
                Some(Names::any())
            }
            Some(resource) => Some(self.names(label, "column", resource, true)),
        };
        let whole = resources.len() == 1 && !hive;
        let found = tables(&catalogs, &schemas, &names);
        let catalogs = if whole { catalogs.sure } else { Vec::new() };
        Ok(Some(About { tables: found, catalogs, columns, without }))
    }

    /// Whom an item is about.
    pub(super) fn who(&mut self, label: &str, item: &Item) -> Bounds<People> {
        let mut who = Bounds::exactly(People::default());
        for user in item.users.iter().flatten() {
            let people = match user.as_str() {
                "{USER}" => Some(People::everyone()),
                name if name.contains(['{', '*']) => None,
                name => Pattern::read(name).map(|user| People { users: vec![user], groups: BTreeSet::new() }),
            };
            if let Some(people) = people {
                who.sure.add(&people);
                who.may.add(&people);
            } else {
                let what = format!("user '{}' is a name for whoever it is then", one_line(user));
                self.note(
                    label,
                    what,
                    "stricter: it allows nobody by that, and denies, filters or masks for everybody",
                );
                who.may.add(&People::everyone());
            }
        }
        let roles = item.roles.iter().flatten();
        let groups =
            item.groups.iter().flatten().chain(roles.clone().filter(|_| self.options.roles_are_groups));
        for group in groups.cloned().collect::<Vec<_>>() {
            let people = match group.as_str() {
                "public" => Some(People::everyone()),
                name if name.is_empty()
                    || name.contains(['*', '{'])
                    || name.chars().any(char::is_control) =>
                {
                    None
                }
                name => Some(People { users: Vec::new(), groups: BTreeSet::from([name.to_owned()]) }),
            };
            if let Some(people) = people {
                who.sure.add(&people);
                who.may.add(&people);
            } else {
                let what = format!("group '{}' is no name of a group", one_line(&group));
                self.note(
                    label,
                    what,
                    "stricter: it allows nobody by that, and denies, filters or masks for everybody",
                );
                who.may.add(&People::everyone());
            }
        }
        if !self.options.roles_are_groups && roles.clone().next().is_some() {
            let roles: Vec<&str> = roles.map(String::as_str).collect();
            let what = format!(
                "roles {}: Northgate has no roles; with --roles-as-groups they are groups",
                one_line(&roles.join(", "))
            );
            self.note(
                label,
                what,
                "stricter: it allows nobody by them, and denies, filters or masks for everybody",
            );
            who.may.add(&People::everyone());
        }
        let conditional = item.conditions.as_ref().is_some_and(|list| !list.is_empty());
        let unknown = item.rest.keys().find(|key| *key != "delegateAdmin" && *key != "itemId");
        if conditional || unknown.is_some() {
            let what = unknown
                .map_or("an item has conditions".to_owned(), |key| format!("an item has the key '{key}'"));
            self.note(label, what, "stricter: it allows nobody, and denies, filters or masks always");
            who.sure = People::default();
        }
        who
    }

    fn kinds(item: &Item) -> BTreeSet<String> {
        let accesses = item.accesses.iter().flatten().filter(|access| access.is_allowed != Some(false));
        // Tag policies say of which service an access is.
        accesses.map(|access| access.kind.rsplit(':').next().unwrap_or_default().to_lowercase()).collect()
    }

    /// Those whom some items are about.
    pub(super) fn all(&mut self, label: &str, items: Option<&Vec<Item>>) -> Bounds<People> {
        let mut all = Bounds::exactly(People::default());
        for item in items.into_iter().flatten() {
            let who = self.who(label, item);
            all.sure.add(&who.sure);
            all.may.add(&who.may);
        }
        all
    }

    fn access(&mut self, policy: &Policy, label: &str, clear: bool, about: &About) {
        let but = self.all(label, policy.allow_exceptions.as_ref()).may;
        let mut allowed = People::default();
        let whole = about.columns.as_ref().is_some_and(|columns| columns.sure.iter().any(Pattern::is_any));
        for item in policy.policy_items.iter().flatten() {
            let (who, kinds) = (self.who(label, item), Self::kinds(item));
            let reads = ["select", "all", "read"].iter().any(|kind| kinds.contains(*kind));
            if clear && reads {
                allowed.add(&who.sure);
            }
            if let Some(columns) = &about.columns
                && reads
                && !whole
            {
                let columns: Vec<&str> = columns.may.iter().map(Pattern::text).collect();
                let what = format!(
                    "it lets some columns be read ({}), and no others",
                    one_line(&columns.join(", "))
                );
                self.note(label, what, "stricter: it allows nothing");
            }
            if clear {
                self.access.granted.push(Granted {
                    label: label.to_owned(),
                    who: who.sure,
                    but: but.clone(),
                    tables: about.tables.sure.clone(),
                    uses: about.catalogs.clone(),
                    reads: reads && whole,
                    kinds,
                    without: about.without.clone(),
                });
            }
        }
        let spared = self.all(label, policy.deny_exceptions.as_ref()).sure;
        for item in policy.deny_policy_items.iter().flatten() {
            let (who, kinds) = (self.who(label, item), Self::kinds(item));
            self.deny(label, &who.may, &spared, &kinds, about);
        }
        if policy.is_deny_all_else == Some(true) {
            // Whom exceptions take back from those let in is among those denied.
            let in_it = if but.is_nobody() { allowed } else { People::default() };
            let kinds = BTreeSet::from(["select".to_owned()]);
            self.deny(label, &People::everyone(), &in_it, &kinds, about);
        }
    }

    fn deny(&mut self, label: &str, who: &People, spared: &People, kinds: &BTreeSet<String>, about: &About) {
        if who.is_nobody() || spared.covers(who) || kinds.is_empty() {
            return;
        }
        if kinds.iter().all(|kind| super::ranger_access::WRITES.contains(&kind.as_str())) {
            self.access.unwritten.push((who.clone(), about.tables.may.clone()));
            return;
        }
        let some = about.columns.as_ref().filter(|columns| !columns.may.iter().any(Pattern::is_any));
        let mut draft = Draft {
            comments: vec![label.to_owned()],
            who: who.clone(),
            except: spared.clone(),
            tables: about
                .tables
                .may
                .iter()
                .flat_map(Tables::with_system)
                .map(|tables| tables.text())
                .collect(),
            ..Draft::default()
        };
        match some {
            Some(columns) => {
                draft.restrictions.hidden =
                    columns.may.iter().map(|column| column.text().to_owned()).collect();
            }
            None => draft.deny = true,
        }
        if !draft.tables.is_empty() {
            self.restricting.push(draft);
        }
    }

    /// Who may run queries.
    fn queries(&mut self, policy: &Policy, label: &str, clear: bool) {
        for item in policy.policy_items.iter().flatten() {
            let (who, kinds) = (self.who(label, item), Self::kinds(item));
            if clear && (kinds.contains("execute") || kinds.contains("all")) {
                self.access.execute.add(&who.sure);
            }
        }
        let everything = About {
            tables: tables(&Names::any(), &Names::any(), &Names::any()),
            catalogs: Vec::new(),
            columns: None,
            without: Vec::new(),
        };
        for item in policy.deny_policy_items.iter().flatten() {
            let who = self.who(label, item).may;
            self.deny(label, &who, &People::default(), &BTreeSet::from(["select".to_owned()]), &everything);
        }
    }

    fn filters(&mut self, policy: &Policy, label: &str, clear: bool, about: &About) {
        let mut rules = Vec::new();
        for (index, item) in policy.row_filter_policy_items.iter().flatten().enumerate() {
            let mut who = self.who(label, item);
            if !clear {
                who.sure = People::default();
            }
            let mut effect = Effect { read: true, ..Effect::default() };
            let text = item
                .row_filter_info
                .as_ref()
                .and_then(|info| info.filter_expr.as_deref())
                .unwrap_or_default();
            if !text.trim().is_empty() {
                match expression(text, &about.tables.may) {
                    Ok(_) => effect.restrictions.filter = Some(text.to_owned()),
                    Err(why) => {
                        self.note(label, format!("item {index}: {why}"), "stricter: the tables are denied");
                        effect.read = false;
                    }
                }
            }
            rules.push(Rule { label: label.to_owned(), who, tables: about.tables.clone(), effect });
        }
        self.restricting.extend(Compiling { rules: &rules, grants: false, notes: self.notes }.compile());
    }
}
