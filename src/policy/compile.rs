//! From documents to rules that can be asked: patterns and expressions read, contradictions found.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_saphyr::Spanned;

use super::Surroundings;
use super::document::{Document, Fallback, Isolation, Mask, Policy, Who as WhoDocument};
use super::error::{LoadError, Source};
use super::formula::Formula;
use super::nested::Fields;
use super::pattern::{ColumnPattern, Glob, SYSTEM, TablePattern};
use super::rule::{Columns, Compiled, Index, MaskRule, MaskWith, Rule};
use super::tagged::Tags;
use super::who::Who;
use crate::catalog::TableName;
use crate::identity::{Method, Principal};
use crate::sql::fold_name;

/// The most policies in a set, and masks in all: contradictions are looked for between all pairs.
const MAX_POLICIES: usize = 5_000;
const MAX_MASKS: usize = 3_000;
/// The longest time that answers about tables without versions are given again.
const LONGEST_CACHED: Duration = Duration::from_hours(7 * 24);

/// Collects errors of one file.
struct Reader<'a> {
    file: &'a str,
    /// Whether no catalog gives tags.
    untagged: bool,
    errors: Vec<LoadError>,
}

impl Reader<'_> {
    fn fail<T>(&mut self, at: &Spanned<T>, key: String, message: impl Into<String>) {
        let line = u32::try_from(at.referenced.line()).ok().filter(|line| *line > 0);
        self.errors.push(LoadError { file: self.file.to_owned(), line, key, message: message.into() });
    }

    /// Reads each text of a list; what fails is an error at its place.
    fn each<T>(
        &mut self,
        list: &[Spanned<String>],
        key: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let mut found = Vec::with_capacity(list.len());
        for (i, item) in list.iter().enumerate() {
            match read(&item.value) {
                Ok(value) => found.push(value),
                Err(message) => self.fail(item, format!("{key}[{i}]"), message),
            }
        }
        found
    }
}

/// Reads the documents of all files together.
pub(super) fn compile(
    documents: &[(String, Document)],
    surroundings: &Surroundings,
) -> Result<Compiled, Vec<LoadError>> {
    let mut errors = Vec::new();
    let mut open = BTreeMap::new();
    let mut tags: BTreeMap<String, Vec<ColumnPattern>> = BTreeMap::new();
    for (file, document) in documents {
        let mut reader = Reader { file, untagged: surroundings.without_tags, errors: Vec::new() };
        if document.version.value != 1 {
            reader.fail(&document.version, "version".to_owned(), "the version of the format is 1");
        }
        for (catalog, fallback) in &document.defaults {
            let key = format!("defaults.{catalog}");
            match fold_name(catalog) {
                Some(name) if name == SYSTEM && fallback.value == Fallback::Allow => {
                    reader.fail(fallback, key, "the catalog system cannot be opened as a whole");
                }
                Some(name) => {
                    if open.insert(name, fallback.value).is_some_and(|before| before != fallback.value) {
                        reader.fail(fallback, key, "another file says the opposite");
                    }
                }
                None => reader.fail(fallback, key, "the name has a character that cannot be folded surely"),
            }
        }
        for (tag, patterns) in &document.tags {
            let read = reader.each(patterns, &format!("tags.{tag}"), ColumnPattern::read);
            tags.entry(tag.clone()).or_default().extend(read);
        }
        errors.append(&mut reader.errors);
    }
    let mut rules = Vec::new();
    for (file, document) in documents {
        let mut reader = Reader { file, untagged: surroundings.without_tags, errors: Vec::new() };
        for (i, policy) in document.policies.iter().enumerate() {
            let rule = rule(&mut reader, policy, i, &tags);
            if is_for(&mut reader, policy, i, surroundings) {
                rules.push(rule);
            }
        }
        errors.append(&mut reader.errors);
    }
    check_names(&rules, &mut errors);
    if rules.len() > MAX_POLICIES || rules.iter().map(|rule| rule.masks.len()).sum::<usize>() > MAX_MASKS {
        errors.push(LoadError {
            file: documents.first().map(|(file, _)| file.clone()).unwrap_or_default(),
            line: None,
            key: "policies".to_owned(),
            message: format!("a set has at most {MAX_POLICIES} policies and {MAX_MASKS} masks"),
        });
    } else if errors.is_empty() {
        check_masks(&rules, &mut errors);
    }
    if errors.is_empty() {
        let (open, shut): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|(_, fallback)| *fallback == Fallback::Allow);
        let names = |catalogs: Vec<(String, Fallback)>| catalogs.into_iter().map(|(name, _)| name).collect();
        let deciding = surroundings.deciding.clone();
        let index = Index::of(&rules);
        let (open, shut) = (names(open), names(shut));
        Ok(Compiled { rules, open, shut, deciding, index, tags: Tags::new(tags) })
    } else {
        Err(errors)
    }
}

fn rule(
    reader: &mut Reader<'_>,
    policy: &Policy,
    index: usize,
    tags: &BTreeMap<String, Vec<ColumnPattern>>,
) -> Rule {
    let key = |name: &str| format!("policies[{index}].{name}");
    if policy.name.value.trim().is_empty() {
        reader.fail(&policy.name, key("name"), "the name is empty");
    }
    let tables = reader.each(&policy.tables, &key("tables"), TablePattern::read);
    if policy.tables.is_empty() {
        reader.fail(&policy.name, key("tables"), "the policy is about no tables");
    }
    let restricts = policy.row_filter.is_some()
        || !policy.column_masks.is_empty()
        || !policy.deny_columns.is_empty()
        || !policy.deny_tags.is_empty();
    if policy.deny
        && (policy.allow || policy.trusted_view || policy.write || restricts || policy.cache.is_some())
    {
        reader.fail(&policy.name, key("deny"), "deny stands alone: there is nothing left to restrict");
    } else if !policy.deny && !policy.allow && !restricts && policy.cache.is_none() {
        reader.fail(&policy.name, key("allow"), "the policy says nothing: allow, restrict or deny");
    }
    for (said, name) in [(policy.write, "write"), (policy.trusted_view, "trusted_view")] {
        if said && !policy.allow {
            reader.fail(&policy.name, key(name), format!("{name} needs allow"));
        }
    }
    let filter = policy.row_filter.as_ref().and_then(|text| match Formula::parse(&text.value) {
        Ok(formula) => Some(Arc::new(formula)),
        Err(message) => {
            reader.fail(text, key("row_filter"), message);
            None
        }
    });
    if let Some(isolation) = &policy.isolation
        && policy.row_filter.is_none()
        && !policy.trusted_view
    {
        reader.fail(isolation, key("isolation"), "isolation goes with row_filter or trusted_view");
    }
    let mut hidden: Vec<Columns> = reader
        .each(&policy.deny_columns, &key("deny_columns"), Glob::column)
        .into_iter()
        .map(Columns::Named)
        .collect();
    let (patterns, hidden_tags) = tagged(reader, &policy.deny_tags, &key("deny_tags"), tags);
    for pattern in patterns {
        if pattern.path.is_empty() {
            hidden.push(Columns::Tagged(pattern));
        } else {
            reader.fail(
                &policy.name,
                key("deny_tags"),
                "a tag of fields: columns can be hidden, fields be masked",
            );
        }
    }
    let masks = policy
        .column_masks
        .iter()
        .enumerate()
        .filter_map(|(i, one)| mask(reader, policy, one, &key(&format!("column_masks[{i}]")), tags))
        .collect();
    let rule = Rule {
        source: Source {
            policy: policy.name.value.clone(),
            file: reader.file.to_owned(),
            line: u32::try_from(policy.name.referenced.line()).unwrap_or(0),
        },
        who: who(reader, policy, &policy.who, &key("who")),
        tables,
        allow: policy.allow,
        trusted_view: policy.trusted_view,
        write: policy.write,
        deny: policy.deny,
        filter,
        isolation: policy.isolation.as_ref().map_or_else(Isolation::default, |isolation| isolation.value),
        run_as: policy.run_as.as_ref().map(|run_as| {
            Principal::new(run_as.user.value.as_str(), Method::Password)
                .with_groups(run_as.groups.iter().map(String::as_str))
        }),
        masks,
        hidden,
        hidden_tags,
        sensitive: policy.sensitive,
        cached_for: cached_for(reader, policy, &key("cache.time_to_live")),
    };
    if let Some(run_as) = &policy.run_as {
        if run_as.user.value.trim().is_empty() {
            reader.fail(&run_as.user, key("run_as.user"), "the name is empty");
        }
        if rule.reads().next().is_none() {
            reader.fail(&run_as.user, key("run_as"), "run_as goes with a sub-query, and there is none");
        }
    }
    // Others are found when the table is read: it depends on the reader.
    let again = |name: &TableName| {
        rule.covers(name) && rule.run_as.as_ref().is_none_or(|principal| rule.who.includes(principal))
    };
    if let Some(name) = rule.reads().find(|name| again(name)) {
        let why = format!("the policy reads {name}, which it is itself about; read it with run_as");
        reader.fail(&policy.name, key("tables"), why);
    }
    rule
}

/// How long answers may be given again.
fn cached_for(reader: &mut Reader<'_>, policy: &Policy, key: &str) -> Option<Duration> {
    let life = &policy.cache.as_ref()?.time_to_live;
    if life.value.0.is_zero() || life.value.0 > LONGEST_CACHED {
        reader.fail(life, key.to_owned(), "at least 1ms and at most 7d");
    }
    Some(life.value.0)
}

fn who(reader: &mut Reader<'_>, policy: &Policy, who: &WhoDocument, key: &str) -> Who {
    if who.users.is_empty() && who.groups.is_empty() {
        reader.fail(&policy.name, key.to_owned(), "nobody is named; everybody is users: [\"*\"]");
    }
    let group = |name: &str| {
        if name.is_empty() || name.contains('*') {
            Err("groups are named in full, without '*'".to_owned())
        } else {
            Ok(name.to_owned())
        }
    };
    Who {
        users: reader.each(&who.users, &format!("{key}.users"), Glob::user),
        groups: reader.each(&who.groups, &format!("{key}.groups"), group).into_iter().collect(),
        except_users: reader.each(&who.except_users, &format!("{key}.except_users"), Glob::user),
        except_groups: reader
            .each(&who.except_groups, &format!("{key}.except_groups"), group)
            .into_iter()
            .collect(),
    }
}

fn tagged(
    reader: &mut Reader<'_>,
    names: &[Spanned<String>],
    key: &str,
    tags: &BTreeMap<String, Vec<ColumnPattern>>,
) -> (Vec<ColumnPattern>, Vec<Glob>) {
    let untagged = reader.untagged;
    let found = reader.each(names, key, |name| {
        let glob = Glob::tag(name)?;
        let of_documents: Vec<ColumnPattern> = tags
            .iter()
            .filter(|(tag, _)| glob.matches(&tag.to_lowercase()))
            .flat_map(|(_, columns)| columns.clone())
            .collect();
        // A word that is written nowhere else would protect nothing.
        let known = glob.literal().is_none() || tags.keys().any(|tag| glob.matches(&tag.to_lowercase()));
        if known && untagged && of_documents.is_empty() {
            Err(format!(
                "'{name}' stands for no columns, and no catalog gives tags: configure one, [catalog.rest]"
            ))
        } else if known {
            Ok((of_documents, glob))
        } else {
            Err(format!(
                "there is no tag '{name}'; one that catalogs give is declared without columns: `{name}: []`"
            ))
        }
    });
    let (patterns, globs): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    (patterns.into_iter().flatten().collect(), globs)
}

/// Whether a policy is for the environment that the gateway stands in.
fn is_for(reader: &mut Reader<'_>, policy: &Policy, index: usize, surroundings: &Surroundings) -> bool {
    let (only, except) = (&policy.environments, &policy.except_environments);
    let Some(first) = only.iter().chain(except).next() else { return true };
    let Some(environment) = &surroundings.environment else {
        let key = format!("policies[{index}].environments");
        reader.fail(
            first,
            key,
            "the configuration does not say which environment this is: [policies] environment",
        );
        return true;
    };
    let named = |list: &[Spanned<String>]| list.iter().any(|one| one.value == *environment);
    (only.is_empty() || named(only)) && !named(except)
}

fn mask(
    reader: &mut Reader<'_>,
    policy: &Policy,
    mask: &Mask,
    key: &str,
    tags: &BTreeMap<String, Vec<ColumnPattern>>,
) -> Option<MaskRule> {
    let (mut columns, mut fields) = (Vec::new(), Vec::new());
    for mut path in reader.each(&mask.columns, &format!("{key}.columns"), Glob::path) {
        let named = Columns::Named(path.remove(0));
        if path.is_empty() {
            columns.push(named);
        } else {
            fields.push(Fields { columns: named, path });
        }
    }
    let (patterns, of_catalogs) = tagged(reader, &mask.tags, &format!("{key}.tags"), tags);
    for pattern in patterns {
        if pattern.path.is_empty() {
            columns.push(Columns::Tagged(pattern));
        } else {
            let path = pattern.path.clone();
            fields.push(Fields { columns: Columns::Tagged(pattern), path });
        }
    }
    let at = mask.columns.first().or(mask.tags.first()).unwrap_or(&policy.name);
    if mask.columns.is_empty() && mask.tags.is_empty() {
        reader.fail(at, format!("{key}.columns"), "the mask names no columns and no tags");
    }
    let with = match (&mask.action, &mask.sql) {
        (Some(action), None) => MaskWith::Action(action.value),
        (None, Some(text)) => match Formula::parse(&text.value) {
            Ok(formula) => MaskWith::Formula(Arc::new(formula)),
            Err(message) => {
                reader.fail(text, format!("{key}.sql"), message);
                return None;
            }
        },
        (None, None) | (Some(_), Some(_)) => {
            reader.fail(at, format!("{key}.action"), "a mask has either an action or sql");
            return None;
        }
    };
    Some(MaskRule { columns, fields, tags: of_catalogs, with, strength: mask.strength })
}

fn check_names(rules: &[Rule], errors: &mut Vec<LoadError>) {
    let mut seen: BTreeMap<&str, &Source> = BTreeMap::new();
    for rule in rules {
        if let Some(before) = seen.insert(&rule.source.policy, &rule.source) {
            errors.push(LoadError {
                file: rule.source.file.clone(),
                line: Some(rule.source.line),
                key: "name".to_owned(),
                message: format!("'{}' is the name of another policy, too: {before}", rule.source.policy),
            });
        }
    }
}

/// Two different masks of one strength that can meet on a column.
fn check_masks(rules: &[Rule], errors: &mut Vec<LoadError>) {
    let masks: Vec<(&Rule, usize)> =
        rules.iter().flat_map(|rule| (0..rule.masks.len()).map(move |i| (rule, i))).collect();
    for (n, (rule, i)) in masks.iter().enumerate() {
        for (other, j) in &masks[n + 1..] {
            let (a, b) = (&rule.masks[*i], &other.masks[*j]);
            let meet = a.strength == b.strength
                && !a.with.same(&b.with)
                && (std::ptr::eq(*rule, *other) || rule.who.overlaps(&other.who))
                && (a.columns.iter().any(|x| b.columns.iter().any(|y| may_meet(rule, x, other, y)))
                    || a.fields.iter().any(|x| b.fields.iter().any(|y| fields_may_meet(rule, x, other, y))));
            if meet {
                errors.push(LoadError {
                    file: other.source.file.clone(),
                    line: Some(other.source.line),
                    key: format!("column_masks[{j}]"),
                    message: format!(
                        "'{}' of policy '{}' and '{}' of policy {} may meet on one column and are of the same \
                         strength; give one of them a higher strength, or keep them apart",
                        b.with.describe(),
                        other.source.policy,
                        a.with.describe(),
                        rule.source
                    ),
                });
            }
        }
    }
}

fn fields_may_meet(rule: &Rule, x: &Fields, other: &Rule, y: &Fields) -> bool {
    x.path.len() == y.path.len()
        && x.path.iter().zip(&y.path).all(|(a, b)| a.overlaps(b))
        && may_meet(rule, &x.columns, other, &y.columns)
}

/// Whether a column of some table can be meant by both. Tags narrow the tables of their policy down.
fn may_meet(rule: &Rule, x: &Columns, other: &Rule, y: &Columns) -> bool {
    let tags: Vec<&TablePattern> = x.tag_table().into_iter().chain(y.tag_table()).collect();
    let tags_meet = match tags.as_slice() {
        [a, b] => a.overlaps(b),
        _ => true,
    };
    tags_meet
        && x.glob().overlaps(y.glob())
        && rule.tables.iter().any(|a| {
            tags.iter().all(|tag| tag.overlaps(a))
                && other.tables.iter().any(|b| a.overlaps(b) && tags.iter().all(|tag| tag.overlaps(b)))
        })
}
