//! Masks of Ranger's, and policies about tags.

use std::collections::BTreeMap;

use super::draft::{Draft, Mask, Restrictions, With, one_line};
use super::first::{Compiling, Effect, Rule, Tables, tables};
use super::names::{Bounds, Names};
use super::people::People;
use super::ranger::{About, Reader};
use super::ranger_file::{MaskInfo, Policy, Resource};
use super::settle::{NULL, NULL_STRENGTH};
use super::unity::quoted;
use super::{ImportError, expression};
use crate::sql::{fold_column, quote_identifier};

impl Reader<'_> {
    pub(super) fn masks(
        &mut self,
        policy: &Policy,
        label: &str,
        clear: bool,
        about: &About,
        tags: Option<&[String]>,
    ) {
        let mut rules = Vec::new();
        let columns = about.columns.as_ref();
        let exact = columns.is_none_or(Bounds::is_exact) && about.without.is_empty();
        let names: Vec<String> = match (tags, columns) {
            (Some(_), _) => Vec::new(),
            (None, Some(columns)) => columns.may.iter().map(|column| column.text().to_owned()).collect(),
            (None, None) => vec!["*".to_owned()],
        };
        for (index, item) in policy.data_mask_policy_items.iter().flatten().enumerate() {
            let mut who = self.who(label, item);
            let mut restrictions = Restrictions::default();
            let kind = item
                .data_mask_info
                .as_ref()
                .and_then(|info| info.data_mask_type.as_deref())
                .unwrap_or_default();
            let unmasked = kind.rsplit(':').next() == Some("MASK_NONE");
            let condition = item.data_mask_info.as_ref().and_then(|info| info.condition_expr.as_deref());
            let conditional = condition.is_some_and(|text| !text.is_empty());
            if !clear || unmasked && (conditional || !exact) {
                who.sure = People::default();
            }
            if unmasked && conditional {
                let what = format!("item {index} shows the values under a condition");
                self.note(label, what, "stricter: it is taken not to hold");
            }
            if let (Some(info), false) = (&item.data_mask_info, unmasked) {
                for name in &names {
                    match self.mask(label, index, info, name, &about.tables.may) {
                        Some(with) if exact => restrictions.masks.push(Mask {
                            columns: vec![quoted(name)],
                            tags: Vec::new(),
                            strength: if with == NULL { NULL_STRENGTH } else { 0 },
                            with,
                        }),
                        _ => drop(restrictions.hidden.insert(name.clone())),
                    }
                }
                if let Some(tags) = tags {
                    if kind.rsplit(':').next() == Some("MASK_NULL") {
                        restrictions.masks.push(Mask {
                            columns: Vec::new(),
                            tags: tags.to_vec(),
                            with: NULL,
                            strength: NULL_STRENGTH,
                        });
                    } else {
                        let what = format!(
                            "item {index}: the mask {} of a tag would be written for each column",
                            one_line(kind)
                        );
                        self.note(label, what, "stricter: the columns are hidden");
                        restrictions.hidden_tags.extend(tags.iter().cloned());
                    }
                }
            } else if !unmasked {
                self.note(label, format!("item {index} says no mask"), "stricter: the columns are hidden");
                restrictions.hidden.extend(names.iter().cloned());
                restrictions.hidden_tags.extend(tags.into_iter().flatten().cloned());
            }
            let effect = Effect { read: true, restrictions, ..Effect::default() };
            rules.push(Rule { label: label.to_owned(), who, tables: about.tables.clone(), effect });
        }
        self.restricting.extend(Compiling { rules: &rules, grants: false, notes: self.notes }.compile());
    }

    /// What a mask shows of a column; none where the column is hidden instead.
    fn mask(
        &mut self,
        label: &str,
        index: usize,
        info: &MaskInfo,
        column: &str,
        tables: &[Tables],
    ) -> Option<With> {
        let c = quote_identifier(&fold_column(column));
        let kind = info.data_mask_type.as_deref().unwrap_or_default();
        let kind = kind.rsplit(':').next().unwrap_or_default();
        let sql = match kind {
            "MASK_NULL" => return Some(NULL),
            "MASK_HASH" => format!("to_hex(sha256(to_utf8({c})))"),
            "MASK" => {
                let letters = format!("regexp_replace(regexp_replace({c}, '[A-Z]', 'X'), '[a-z]', 'x')");
                format!("regexp_replace({letters}, '[0-9]', 'n')")
            }
            "MASK_SHOW_LAST_4" => {
                let masked = format!("concat(rpad('', length({c}) - 4, 'X'), substr({c}, -4))");
                format!("CASE WHEN length({c}) <= 4 THEN {c} ELSE {masked} END")
            }
            "MASK_SHOW_FIRST_4" => {
                let masked = format!("concat(substr({c}, 1, 4), rpad('', length({c}) - 4, 'X'))");
                format!("CASE WHEN length({c}) <= 4 THEN {c} ELSE {masked} END")
            }
            "MASK_DATE_SHOW_YEAR" => format!("date_trunc('year', {c})"),
            "CUSTOM" => info.value_expr.as_deref().unwrap_or_default().replace("{col}", &c),
            _ => String::new(),
        };
        let conditional = info.condition_expr.as_ref().is_some_and(|text| !text.is_empty());
        let why = if conditional {
            "its mask has a condition".to_owned()
        } else if column.contains('*') {
            "a mask of many columns would be written for each of them".to_owned()
        } else if sql.is_empty() {
            format!("the mask '{}' is not known", one_line(kind))
        } else {
            match expression(&sql, tables) {
                Ok(_) => return Some(With::Sql(sql)),
                Err(why) => why,
            }
        };
        self.note(
            label,
            format!("item {index}, column {}: {why}", one_line(column)),
            "stricter: the column is hidden",
        );
        None
    }

    /// A policy about tags: of the tables and columns that the file of tags names.
    pub(super) fn tagged(
        &mut self,
        policy: &Policy,
        label: &str,
        clear: bool,
        resources: &BTreeMap<String, Resource>,
    ) -> Result<(), ImportError> {
        let Some(resource) = resources.get("tag").filter(|_| resources.len() == 1) else {
            return Err(ImportError::Unreadable(format!("{}: its resources are not known", one_line(label))));
        };
        let wanted = self.names(label, "tag", resource, false).may;
        let found = self.tags.named(&wanted, label)?;
        if policy.policy_items.iter().flatten().next().is_some() {
            self.note(label, "it lets be read what has a tag", "stricter: it allows nothing");
        }
        let everything = tables(&Names::any(), &Names::any(), &Names::any());
        let names: Vec<String> = found.columns.iter().cloned().collect();
        if policy.policy_type.unwrap_or(0) == 1 {
            if !names.is_empty() {
                let about =
                    About { tables: everything, catalogs: Vec::new(), columns: None, without: Vec::new() };
                self.masks(policy, label, clear, &about, Some(&names));
            }
            if !found.tables.is_empty() {
                let about = About {
                    tables: Bounds::exactly(found.tables),
                    catalogs: Vec::new(),
                    columns: None,
                    without: Vec::new(),
                };
                self.masks(policy, label, clear, &about, None);
            }
            return Ok(());
        }
        let spared = self.all(label, policy.deny_exceptions.as_ref()).sure;
        let mut denied: Vec<People> = Vec::new();
        for item in policy.deny_policy_items.iter().flatten() {
            denied.push(self.who(label, item).may);
        }
        if policy.is_deny_all_else == Some(true) {
            denied.push(People::everyone());
        }
        for who in denied.iter().filter(|who| !spared.covers(who) && !who.is_nobody()) {
            let draft = Draft {
                comments: vec![label.to_owned()],
                who: who.clone(),
                except: spared.clone(),
                ..Draft::default()
            };
            if !found.tables.is_empty() {
                let tables = found.tables.iter().map(Tables::text).collect();
                self.restricting.push(Draft { tables, deny: true, ..draft.clone() });
            }
            if !names.is_empty() {
                let restrictions =
                    Restrictions { hidden_tags: found.columns.clone(), ..Restrictions::default() };
                let tables =
                    everything.may.iter().flat_map(Tables::with_system).map(|tables| tables.text()).collect();
                self.restricting.push(Draft { tables, restrictions, ..draft });
            }
        }
        Ok(())
    }
}
