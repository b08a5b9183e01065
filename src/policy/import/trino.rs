//! Trino's file-based access control, as Trino 476 reads it.
//!
//! Its lists are read from the top, and the first rule that matches decides, separately for catalogs, tables, schemas and
//! queries. What may be done is what all of them let: so they are made one list of rules, each the meeting of one of each.

use std::collections::BTreeSet;

use serde_json::Value;

use super::crossed::{crossed, too_many};
use super::draft::{Drafts, Mask, Restrictions, With, one_line};
use super::first::{Compiling, Effect, Rule, Tables, tables};
use super::names::{Bounds, Names};
use super::people::People;
use super::trino_file::{CatalogRule, Environment, File, Privilege, TableRule};
use super::{ImportError, Note, Options, expression};
use crate::sql::fold_column;

/// The most rules that the lists make together, and patterns of tables in all of them.
pub(super) const MOST_RULES: usize = 2_000;
pub(super) const MOST_PATTERNS: usize = 6_000;
/// How the rule behind the last one of a list is called.
pub(super) const NO_RULE: &str = "no rule";

/// Whom a rule is about, as it is written.
struct Whom<'a> {
    user: &'a Option<String>,
    role: &'a Option<String>,
    group: &'a Option<String>,
}

struct Reader<'a> {
    options: &'a Options,
    notes: &'a mut Vec<Note>,
}

pub(super) fn import(source: &str, options: &Options, notes: &mut Vec<Note>) -> Result<Drafts, ImportError> {
    let file: File =
        serde_json::from_str(source).map_err(|error| ImportError::Unreadable(error.to_string()))?;
    let mut reader = Reader { options, notes };
    reader.left_out(&file);
    let rules = reader.rules(&file)?;
    let policies = Compiling { rules: &rules, grants: true, notes: reader.notes }.compile();
    let head = vec![
        "From the rules of Trino's file-based access control.".to_owned(),
        "Of several rules there the first one that matches decides; here all apply together, and exceptions keep".to_owned(),
        "them apart. Views are read under the reader's policies: say trusted_view where a view may be read as it is.".to_owned(),
        "A pattern with * does not stand for the catalog or a schema `system`.".to_owned(),
    ];
    Ok(Drafts { head, tags: Vec::new(), policies })
}

impl Reader<'_> {
    fn note(&mut self, rule: &str, what: impl Into<String>, effect: &str) {
        self.notes.push(Note { rule: rule.to_owned(), what: what.into(), effect: effect.to_owned() });
    }

    /// What documents have no words for.
    fn left_out(&mut self, file: &File) {
        let properties =
            "Northgate lets everybody set what [query] session_properties lists, and nothing else";
        let lists = [
            (
                "principals",
                &file.principals,
                "who may be whom is for [identity] to say; nobody may be anybody else until then",
            ),
            (
                "system_information",
                &file.system_information,
                "stricter: Northgate passes on none of these endpoints",
            ),
            ("system_session_properties", &file.system_session_properties, properties),
            ("catalog_session_properties", &file.catalog_session_properties, properties),
            ("session_properties", &file.session_properties, properties),
            (
                "functions",
                &file.functions,
                "stricter: functions of catalogs are not called through Northgate",
            ),
            ("procedures", &file.procedures, "stricter: procedures are not called through Northgate"),
            ("authorization", &file.authorization, "stricter: owners are not changed through Northgate"),
        ];
        for (name, list, effect) in lists {
            if list.as_ref().is_some_and(|list| !list.is_empty()) {
                self.note(name, "documents have no such rules", effect);
            }
        }
        for (index, rule) in file.impersonation.iter().flatten().enumerate() {
            let label = format!("impersonation[{index}]");
            let users = rule.original_user.as_deref().map_or_else(Names::any, Names::regex);
            let targets = Names::regex(&rule.new_user);
            let plain = rule.original_role.is_none()
                && rule.allow != Some(false)
                && users.is_exact()
                && users.sure.iter().all(super::names::Pattern::is_literal)
                && targets.is_exact()
                && !rule.new_user.contains('$');
            let list = |names: &Names| {
                let names: Vec<String> = names.sure.iter().map(|name| format!("{:?}", name.text())).collect();
                names.join(", ")
            };
            let what = if plain {
                format!(
                    "who may be whom is said in northgate.toml: [[identity.impersonation]] principals = [{}], users = [{}]",
                    list(&users),
                    list(&targets)
                )
            } else {
                "who may be whom is said in northgate.toml, and there are no such rules in it".to_owned()
            };
            self.note(&label, what, "stricter: nobody may be anybody else until it is there");
        }
    }

    fn rules(&mut self, file: &File) -> Result<Vec<Rule>, ImportError> {
        let mut rules = Vec::new();
        for (index, rule) in file.tables.iter().flatten().enumerate() {
            rules.push(self.table_rule(index, rule)?);
        }
        if file.tables.is_none() {
            let effect = Effect { read: true, write: true, ..Effect::default() };
            let label = "tables (there is no such list: everybody may do everything)";
            rules.push(self.everything(label, effect)?);
        }
        if let Some(list) = &file.catalogs {
            let mut catalogs = Vec::new();
            for (index, rule) in list.iter().enumerate() {
                catalogs.push(self.catalog_rule(index, rule)?);
            }
            let mut system =
                self.everything("catalogs: system", Effect { read: true, write: true, ..Effect::default() })?;
            system.tables = self.tables("catalogs", Some("system"), None, None)?;
            catalogs.push(system);
            catalogs.push(self.everything(&format!("catalogs: {NO_RULE}"), Effect::default())?);
            rules = crossed(self.notes, &rules, &catalogs, |one, other| {
                if !other.read {
                    return Effect::default();
                }
                Effect { write: one.write && other.write, ..one.clone() }
            })?;
        }
        if let Some(list) = &file.queries {
            let mut queries = Vec::new();
            for (index, rule) in list.iter().enumerate() {
                let label = format!("queries[{index}]");
                if rule.allow.iter().any(|word| word == "view" || word == "kill") {
                    let effect = "stricter: everybody sees and cancels their own queries alone";
                    self.note(&label, "it is about queries of others", effect);
                }
                if let Some(word) = rule
                    .allow
                    .iter()
                    .find(|word| !["execute", "view", "kill"].contains(&word.to_lowercase().as_str()))
                {
                    return Err(ImportError::Unreadable(format!(
                        "{label}: allow has the word '{}'",
                        one_line(word)
                    )));
                }
                // Rules with an owner are about queries that run already.
                if rule.query_owner.is_none() {
                    let whom = Whom { user: &rule.user, role: &rule.role, group: &rule.group };
                    let may = rule.allow.iter().any(|word| word.eq_ignore_ascii_case("execute"));
                    let mut one = self.everything(&label, Effect { read: may, ..Effect::default() })?;
                    one.who = self.who(&label, &whom);
                    queries.push(one);
                }
            }
            queries.push(self.everything(&format!("queries: {NO_RULE}"), Effect::default())?);
            rules = crossed(self.notes, &rules, &queries, |one, other| {
                if other.read { one.clone() } else { Effect::default() }
            })?;
        }
        let mut schemas = Vec::new();
        match &file.schemas {
            None => {
                for rule in &mut rules {
                    rule.effect.owns_schema = true;
                }
            }
            Some(list) => {
                for (index, rule) in list.iter().enumerate() {
                    let label = format!("schemas[{index}]");
                    let whom = Whom { user: &rule.user, role: &rule.role, group: &rule.group };
                    let effect = Effect { owns_schema: rule.owner, ..Effect::default() };
                    let tables =
                        self.tables(&label, rule.catalog.as_deref(), rule.schema.as_deref(), None)?;
                    schemas.push(Rule { who: self.who(&label, &whom), tables, effect, label });
                }
                schemas.push(self.everything(&format!("schemas: {NO_RULE}"), Effect::default())?);
            }
        }
        if rules.iter().any(|rule| rule.effect.write) && !schemas.is_empty() {
            rules = crossed(self.notes, &rules, &schemas, |one, other| Effect {
                owns_schema: other.owns_schema,
                ..one.clone()
            })?;
        }
        let patterns: usize = rules.iter().map(|rule| rule.tables.may.len() + rule.tables.sure.len()).sum();
        if rules.len() > MOST_RULES || patterns > MOST_PATTERNS {
            return Err(too_many());
        }
        Ok(rules)
    }

    fn everything(&self, label: &str, effect: Effect) -> Result<Rule, ImportError> {
        let catalogs = self.catalogs(label, None)?;
        Ok(Rule {
            label: label.to_owned(),
            who: Bounds::exactly(People::everyone()),
            tables: tables(&catalogs, &Names::any(), &Names::any()),
            effect,
        })
    }

    fn catalogs(&self, label: &str, catalog: Option<&str>) -> Result<Names, ImportError> {
        match (&self.options.catalog, catalog) {
            (Some(_), Some(_)) => Err(ImportError::Missing(format!(
                "{label} names catalogs, so this is the file of a whole cluster: leave --catalog out"
            ))),
            (Some(name), None) => {
                match super::names::Pattern::read(name).filter(super::names::Pattern::is_literal) {
                    Some(name) => Ok(Names::exactly(vec![name]).identifiers()),
                    None => Err(ImportError::Missing(format!(
                        "--catalog: '{}' is no name of a catalog",
                        one_line(name)
                    ))),
                }
            }
            (None, Some(regex)) => Ok(Names::regex(regex).identifiers()),
            (None, None) => Ok(Names::any()),
        }
    }

    fn tables(
        &mut self,
        label: &str,
        catalog: Option<&str>,
        schema: Option<&str>,
        table: Option<&str>,
    ) -> Result<Bounds<Vec<Tables>>, ImportError> {
        let names = |regex: Option<&str>| regex.map_or_else(Names::any, Names::regex).identifiers();
        let (catalogs, schemas, names) = (self.catalogs(label, catalog)?, names(schema), names(table));
        for (key, of, written) in
            [("catalog", &catalogs, catalog), ("schema", &schemas, schema), ("table", &names, table)]
        {
            if let Some(regex) = written
                && !of.is_exact()
            {
                self.unclear(label, key, regex);
            }
            if written.is_some_and(|regex| regex.contains('$') && of.may.is_empty()) {
                self.note(label, "names with $ are never accessible", "stricter: the rule is left out");
            }
        }
        let found = tables(&catalogs, &schemas, &names);
        if found.may.len() > 1
            && !found.is_exact()
            && catalogs.is_exact()
            && schemas.is_exact()
            && names.is_exact()
        {
            self.note(label, "it names more tables than are listed", "stricter: it allows nothing");
        }
        Ok(found)
    }

    fn unclear(&mut self, label: &str, key: &str, regex: &str) {
        let what =
            format!("{key} '{}' is no name, no list of names and no pattern with .* alone", one_line(regex));
        let effect = "stricter: it allows what it surely matches, and restricts or denies whatever it may match; a column \
                      that it masks is hidden";
        self.note(label, what, effect);
    }

    fn who(&mut self, label: &str, whom: &Whom<'_>) -> Bounds<People> {
        let mut who = Bounds::exactly(People::everyone());
        if let Some(regex) = whom.user {
            let users = Names::regex(regex);
            if !users.is_exact() {
                self.unclear(label, "user", regex);
            }
            who = Bounds::<People>::users(users);
        }
        let role = whom.role.as_ref().filter(|_| self.options.roles_are_groups);
        for (key, regex) in [("group", whom.group.as_ref()), ("role", role)] {
            let Some(regex) = regex else { continue };
            let groups = Bounds::<People>::groups(&Names::regex(regex));
            if !groups.is_exact() {
                let what = format!("{key} '{}' does not list groups by their names", one_line(regex));
                let effect =
                    "stricter: it allows those of the groups that are named, and restricts everybody";
                self.note(label, what, effect);
            }
            let both = who.and(&groups);
            if !both.is_exact() && who.is_exact() && groups.is_exact() {
                let what =
                    "it is about users who are in a group, too, and a policy is about one or the other";
                self.note(label, what, "stricter: it allows nobody, and restricts all of them");
            }
            who = both;
        }
        if let Some(regex) = whom.role
            && !self.options.roles_are_groups
        {
            let what = format!(
                "role '{}': Northgate has no roles; with --roles-as-groups they are groups",
                one_line(regex)
            );
            self.note(label, what, "stricter: it allows nobody, and restricts whoever may have the role");
            who.sure = People::default();
        }
        who
    }

    fn catalog_rule(&mut self, index: usize, rule: &CatalogRule) -> Result<Rule, ImportError> {
        let label = format!("catalogs[{index}]");
        let whom = Whom { user: &rule.user, role: &rule.role, group: &rule.group };
        let (read, write) = match &rule.allow {
            Value::Bool(all) => (*all, *all),
            Value::String(word) => match word.to_lowercase().as_str() {
                "all" | "owner" => (true, true),
                "read-only" => (true, false),
                "none" => (false, false),
                _ => return Err(ImportError::Unreadable(format!("{label}: allow is '{}'", one_line(word)))),
            },
            _ => return Err(ImportError::Unreadable(format!("{label}: allow is no word"))),
        };
        let tables = self.tables(&label, rule.catalog.as_deref(), None, None)?;
        let effect = Effect { read, write, ..Effect::default() };
        Ok(Rule { who: self.who(&label, &whom), tables, effect, label })
    }

    fn table_rule(&mut self, index: usize, rule: &TableRule) -> Result<Rule, ImportError> {
        let label = format!("tables[{index}]");
        let whom = Whom { user: &rule.user, role: &rule.role, group: &rule.group };
        let who = self.who(&label, &whom);
        let tables =
            self.tables(&label, rule.catalog.as_deref(), rule.schema.as_deref(), rule.table.as_deref())?;
        let has = |privilege: Privilege| rule.privileges.contains(&privilege);
        let changes = [Privilege::Insert, Privilege::Delete, Privilege::Update, Privilege::Ownership];
        let mut effect = Effect { read: has(Privilege::Select), ..Effect::default() };
        if !effect.read && !rule.privileges.is_empty() {
            self.note(&label, "it has privileges without SELECT", "stricter: its tables are denied");
        }
        effect.write = effect.read && changes.iter().all(|privilege| has(*privilege));
        if effect.read && !effect.write && changes.iter().any(|privilege| has(*privilege)) {
            let what = "it lets tables be changed in some ways only; write means all of them";
            self.note(&label, what, "stricter: its tables are read, not changed");
        }
        if effect.read {
            match self.restrictions(&label, rule, &tables.may)? {
                Some(restrictions) => effect.restrictions = restrictions,
                None => effect = Effect::default(),
            }
        }
        if effect.write && !effect.restrictions.is_empty() {
            let what = "it lets tables be changed that are not seen as they are";
            self.note(&label, what, "stricter: they are read, not changed");
            effect.write = false;
        }
        Ok(Rule { label, who, tables, effect })
    }

    /// The filter, masks and hidden columns; none where the tables must be denied.
    fn restrictions(
        &mut self,
        label: &str,
        rule: &TableRule,
        tables: &[Tables],
    ) -> Result<Option<Restrictions>, ImportError> {
        let mut all = Restrictions::default();
        let user = |environment: &Option<Environment>| environment.as_ref().and_then(|of| of.user.clone());
        let mut reader: Option<Option<String>> = None;
        if let Some(filter) = &rule.filter {
            match expression(filter, tables) {
                Ok(reads) => {
                    all.filter = Some(filter.clone());
                    if reads {
                        reader = Some(user(&rule.filter_environment));
                    }
                }
                Err(why) => {
                    self.note(label, format!("filter: {why}"), "stricter: its tables are denied");
                    return Ok(None);
                }
            }
        }
        let mut seen = BTreeSet::new();
        for column in rule.columns.iter().flatten() {
            let folded = fold_column(&column.name).into_owned();
            if !seen.insert(folded.clone()) {
                return Err(ImportError::Unreadable(format!("{label}: the column {folded} is there twice")));
            }
            if column.name != folded {
                let what =
                    format!("column '{}': Trino compares it in upper and lower case", one_line(&column.name));
                self.note(label, what, "stricter: it is meant however it is written");
            }
            if column.name.contains(['.', '"', '*'])
                || super::super::pattern::Glob::column(&column.name).is_err()
            {
                let what = format!("column '{}' is no name that a document can hold", one_line(&column.name));
                self.note(label, what, "stricter: its tables are denied");
                return Ok(None);
            }
            let Some(mask) = column.mask.as_ref().filter(|_| column.allow != Some(false)) else {
                if column.allow == Some(false) {
                    all.hidden.insert(folded);
                }
                continue;
            };
            let why = match expression(mask, tables) {
                Err(why) => Some(why),
                Ok(true) => {
                    let own = user(&column.mask_environment);
                    if *reader.get_or_insert_with(|| own.clone()) == own {
                        None
                    } else {
                        Some(
                            "its sub-query reads as another user than those of the filter or of another mask"
                                .to_owned(),
                        )
                    }
                }
                Ok(false) => None,
            };
            if let Some(why) = why {
                self.note(label, format!("mask of {folded}: {why}"), "stricter: the column is hidden");
                all.hidden.insert(folded);
                continue;
            }
            all.masks.push(Mask {
                columns: vec![folded],
                tags: Vec::new(),
                with: With::Sql(mask.clone()),
                strength: 0,
            });
        }
        all.run_as = reader.flatten();
        if let Some(user) = &all.run_as {
            let what = format!("its sub-queries read as {}, whose groups are not known", one_line(user));
            self.note(label, what, "stricter: they read what that user may read without groups");
        }
        Ok(Some(all))
    }
}
