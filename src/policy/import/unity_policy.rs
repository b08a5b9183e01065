//! ABAC policies of Unity Catalog: filters and masks of whatever has some tags.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::ImportError;
use super::draft::{Draft, Restrictions, one_line};
use super::first::Tables;
use super::names::Pattern;
use super::people::People;
use super::unity::{Path, Reader, constant};
use super::unity_sql::{Argument, TagCondition};

#[derive(Deserialize)]
pub(super) struct AbacPolicy {
    name: String,
    on_securable_type: String,
    on_securable_fullname: String,
    policy_type: String,
    for_securable_type: Option<String>,
    #[serde(default)]
    to_principals: Vec<String>,
    #[serde(default)]
    except_principals: Option<Vec<String>>,
    when_condition: Option<String>,
    #[serde(default)]
    match_columns: Option<Vec<MatchColumn>>,
    column_mask: Option<MaskOptions>,
    row_filter: Option<FilterOptions>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MatchColumn {
    condition: Option<String>,
    alias: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MaskOptions {
    function_name: String,
    on_column: String,
    #[serde(default)]
    using: Option<Vec<Using>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilterOptions {
    function_name: String,
    #[serde(default)]
    using: Option<Vec<Using>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Using {
    alias: Option<String>,
    constant: Option<String>,
}

/// What a policy is about: one table, or all tables of a schema or a catalog.
struct On<'a> {
    path: &'a Path,
    table: Tables,
    columns: &'a Matched,
}

/// The columns of one table that each alias stands for.
type Matched = BTreeMap<String, Vec<String>>;

impl AbacPolicy {
    /// The catalog that it is about.
    pub(super) fn catalog(&self) -> Option<String> {
        self.on_securable_fullname.split('.').next().map(|name| name.replace('`', "").to_lowercase())
    }

    /// Whom it is about, without those whom it leaves out.
    fn who(&self) -> (People, People) {
        let is_user = |name: &str| {
            let id = name.len() == 36 && name.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
            name.contains('@') || id
        };
        let (mut who, mut except) = (People::default(), People::default());
        for name in &self.to_principals {
            let odd = name.is_empty() || name.contains('*') || name.chars().any(char::is_control);
            match Pattern::read(name) {
                _ if name == "account users" || odd => who.add(&People::everyone()),
                None => who.add(&People::everyone()),
                // The name of a user or of a group: it does not say which, and restricts both.
                Some(pattern) => {
                    let groups = if is_user(name) { BTreeSet::new() } else { BTreeSet::from([name.clone()]) };
                    who.add(&People { users: vec![pattern], groups });
                }
            }
        }
        for name in self.except_principals.iter().flatten() {
            let odd = name.is_empty() || name.contains('*') || name.chars().any(char::is_control);
            match Pattern::read(name).filter(|_| !odd) {
                Some(pattern) if is_user(name) => {
                    except.add(&People { users: vec![pattern], groups: BTreeSet::new() });
                }
                Some(_) => except.add(&People { users: Vec::new(), groups: BTreeSet::from([name.clone()]) }),
                None => {}
            }
        }
        (who, except)
    }
}

impl Reader<'_> {
    pub(super) fn policy(&mut self, policy: &AbacPolicy) -> Result<(), ImportError> {
        const KNOWN: [&str; 6] = ["id", "comment", "created_at", "created_by", "updated_at", "updated_by"];
        let label = format!("policy '{}' on {}", policy.name, policy.on_securable_fullname);
        let scope: Path = policy
            .on_securable_fullname
            .replace('`', "")
            .to_lowercase()
            .split('.')
            .map(str::to_owned)
            .collect();
        let about = self.pattern(&scope)?;
        let (who, except) = policy.who();
        if except.covers(&who) {
            return Ok(());
        }
        let draft = Draft { comments: vec![label.clone()], who, except, ..Draft::default() };
        let kind = policy.policy_type.trim_start_matches("POLICY_TYPE_");
        if kind == "GRANT" {
            self.note(&label, "it grants something", "stricter: it allows nothing");
            return Ok(());
        }
        let parts = ["CATALOG", "SCHEMA", "TABLE"]
            .iter()
            .position(|kind| *kind == policy.on_securable_type.to_uppercase());
        let tables =
            policy.for_securable_type.as_deref().is_none_or(|kind| kind.eq_ignore_ascii_case("TABLE"));
        if (kind == "COLUMN_MASK" || kind == "ROW_FILTER") && !tables {
            self.note(&label, "it is not about tables", "stricter: Northgate passes on nothing of the kind");
            return Ok(());
        }
        let mut why = policy
            .rest
            .keys()
            .find(|key| !KNOWN.contains(&key.as_str()))
            .map(|key| format!("the key '{key}' is not known"));
        if parts.is_none_or(|at| at + 1 != scope.len()) {
            why.get_or_insert_with(|| "what it is on is not clear".to_owned());
        }
        let found = match (kind, why) {
            (_, Some(why)) => Err(why),
            ("COLUMN_MASK" | "ROW_FILTER", None) => self.matched(policy, &label, &scope)?,
            (_, None) => Err(format!("its type {} is not known", one_line(kind))),
        };
        let found = match found {
            Ok(found) => found,
            Err(why) => {
                self.note(&label, why, "stricter: all that it is on is denied to those whom it is about");
                self.drafts.push(Draft { tables: vec![about.text()], deny: true, ..draft });
                return Ok(());
            }
        };
        if found.is_empty() {
            self.note(
                &label,
                "no table of the file matches it",
                "it does nothing here: bring it again when something is tagged",
            );
        }
        for (path, columns) in found {
            let table = self.pattern(&path)?;
            let mut draft = Draft { tables: vec![table.text()], ..draft.clone() };
            let on = On { path: &path, table, columns: &columns };
            if let Err(why) = self.apply(policy, kind, &label, &on, &mut draft.restrictions) {
                self.note(&label, why, "stricter: the table is denied to those whom it is about");
                draft.deny = true;
                draft.restrictions = Restrictions::default();
            }
            self.drafts.push(draft);
        }
        Ok(())
    }

    /// What a policy withholds of one table, or why it is not known.
    fn apply(
        &mut self,
        policy: &AbacPolicy,
        kind: &str,
        label: &str,
        on: &On<'_>,
        to: &mut Restrictions,
    ) -> Result<(), String> {
        match (kind, &policy.column_mask, &policy.row_filter) {
            ("COLUMN_MASK", Some(mask), None) => {
                let names = on.columns.get(&mask.on_column.to_lowercase());
                for name in names.ok_or("the column that it masks is not among those that it matches")? {
                    let sql = self.called(&mask.function_name, Some(name), mask.using.as_ref(), on);
                    self.mask(label, to, name, sql);
                }
                Ok(())
            }
            ("ROW_FILTER", None, Some(filter)) => {
                to.filter = Some(self.called(&filter.function_name, None, filter.using.as_ref(), on)?);
                Ok(())
            }
            _ => Err("it does not say what it does".to_owned()),
        }
    }

    /// A function of a policy, with what it is given.
    fn called(
        &self,
        function: &str,
        first: Option<&String>,
        using: Option<&Vec<Using>>,
        on: &On<'_>,
    ) -> Result<String, String> {
        let mut arguments: Vec<Argument> =
            first.map(|name| Argument::Column(name.clone())).into_iter().collect();
        for one in using.into_iter().flatten() {
            arguments.push(match (&one.alias, &one.constant) {
                (Some(alias), None) => match on.columns.get(&alias.to_lowercase()).map(Vec::as_slice) {
                    Some([only]) => Argument::Column(only.clone()),
                    _ => return Err(format!("{} stands for no column or for several", one_line(alias))),
                },
                (None, Some(text)) => constant(text)?,
                _ => return Err("an argument is neither an alias nor a constant".to_owned()),
            });
        }
        let whole = (on.path.len() == 3).then_some(on.path);
        self.call(function, &arguments, whole, std::slice::from_ref(&on.table))
    }

    /// The tables that a policy is about, with the columns that its aliases stand for; or why that is not known.
    fn matched(
        &mut self,
        policy: &AbacPolicy,
        label: &str,
        scope: &Path,
    ) -> Result<Result<Vec<(Path, Matched)>, String>, ImportError> {
        let wanted: Vec<&MatchColumn> = policy.match_columns.iter().flatten().collect();
        let when = policy.when_condition.as_deref().filter(|text| !text.trim().is_empty());
        let mut condition = when.and_then(TagCondition::read);
        if when.is_some() && (condition.is_none() || self.tags.is_none()) {
            condition = None;
            let what = "when it holds is not known: that is no condition on tags, or table_tags, schema_tags or catalog_tags are missing";
            self.note(label, what, "stricter: it holds always");
        }
        let holds = |reader: &Self, table: &Path| {
            let Some(condition) = &condition else { return true };
            let mut has = Vec::new();
            for length in 1..=table.len() {
                has.extend(
                    reader.tags.iter().filter_map(|tags| tags.get(&table[..length])).flatten().cloned(),
                );
            }
            condition.holds(&has)
        };
        if wanted.is_empty() {
            if condition.is_some() {
                // Which tables have tags from above is not all said: there may be more of them than are listed.
                self.note(
                    label,
                    "it holds for tables with some tags, and for all of their columns",
                    "stricter: it holds for all tables that it is on",
                );
            }
            return Ok(Ok(vec![(scope.clone(), Matched::new())]));
        }
        let Some(column_tags) = &self.column_tags else {
            return Err(ImportError::Missing(format!(
                "{} is about tags of columns: give column_tags, too",
                one_line(label)
            )));
        };
        let mut conditions = Vec::new();
        for (number, one) in wanted.iter().enumerate() {
            let text = one.condition.as_deref().unwrap_or_default();
            let Some(condition) = TagCondition::read(text) else {
                return Ok(Err(format!("'{}' is no condition on tags that is known", one_line(text))));
            };
            let alias = one.alias.clone().unwrap_or_else(|| format!("#{number}"));
            conditions.push((alias.to_lowercase(), condition));
        }
        let mut found: BTreeMap<Path, Matched> = BTreeMap::new();
        for (path, tags) in column_tags.iter().filter(|(path, _)| path.len() == 4 && path.starts_with(scope))
        {
            for (alias, _) in conditions.iter().filter(|(_, condition)| condition.holds(tags)) {
                found
                    .entry(path[..3].to_vec())
                    .or_default()
                    .entry(alias.clone())
                    .or_default()
                    .push(path[3].clone());
            }
        }
        found.retain(|table, columns| {
            conditions.iter().all(|(alias, _)| columns.contains_key(alias)) && holds(self, table)
        });
        Ok(Ok(found.into_iter().collect()))
    }
}
