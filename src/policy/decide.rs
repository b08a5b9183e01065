//! The decision: a principal, relations as they are now, and what of them may be seen. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::action;
use super::error::{Denial, Source};
use super::formula::{Bound, bound_column, is_plain, operand};
use super::nested::{Fault, Masked, Nested, strongest};
use super::pattern::SYSTEM;
use super::permit::{Permit, Revision, Salt, Scoped};
use super::rule::{Columns, Compiled, MaskRule, MaskWith, Rule};
use super::tagged::Tagged;
use super::visibility::{INFORMATION_SCHEMA, Visibility};
use super::{Behind, Isolation, Lists, ruling};
use crate::catalog::rest::Ruling;
use crate::catalog::{Column, Described, RelationKind, TableName, Type};
use crate::identity::Principal;
use crate::sql::fold_column;

/// Somebody who reads.
pub(super) struct Deciding<'a> {
    pub(super) set: &'a Arc<Compiled>,
    pub(super) principal: &'a Principal,
    pub(super) behind: &'a Behind,
    pub(super) salt: &'a Salt,
}

/// How many policies may read through each other's sub-queries.
const DEPTH: usize = 4;

impl Deciding<'_> {
    pub(super) fn decide(&self, revision: &Revision, relations: &[Arc<Described>]) -> Result<Permit, Denial> {
        let visibility = if self.behind.lists_nothing {
            Visibility::nothing(self.set, self.principal)
        } else {
            Visibility::new(self.set, self.principal, self.behind)
        };
        let mut permit = Permit {
            revision: revision.clone(),
            tables: BTreeMap::new(),
            sources: BTreeSet::new(),
            read_by_policies: BTreeSet::new(),
            visibility,
            sensitive: false,
            salted: false,
            writable: BTreeSet::new(),
            writable_schemas: BTreeSet::new(),
        };
        for described in relations {
            self.add(&mut permit, described)?;
        }
        for (view, reads) in &self.behind.below {
            for described in reads {
                if !permit.tables.contains_key(&described.name) {
                    // What a view reads is not named to those who may not know of it.
                    let added = self.add(&mut permit, described);
                    added.map_err(|_| Denial::ViewNotTrusted(view.clone()))?;
                }
            }
        }
        restrict_views(&mut permit.tables);
        permit.salted = self.salt.is_drawn();
        Ok(permit)
    }

    fn add(&self, permit: &mut Permit, described: &Arc<Described>) -> Result<(), Denial> {
        let Self { set, principal, behind, salt } = *self;
        let ruling = behind.rulings.of(None, &described.name);
        let rules = ruling::rules(set.rules_for(principal, &described.name), described, ruling)?;
        let rules: Vec<&Rule> = rules.iter().map(|rule| &**rule).collect();
        let case = Case {
            set,
            principal,
            run_as: None,
            described,
            rules: &rules,
            ruling,
            through_views: true,
            behind,
            path: &[],
            salt,
        };
        let mut scoped = case.decide()?;
        scoped.tags = set.tags.of(described, ruling);
        if let Some(ruling) = ruling.filter(|ruling| ruling.decides) {
            permit.sources.insert(ruling::source("access", ruling));
        }
        permit.sensitive |= rules.iter().any(|rule| rule.is_sensitive());
        scoped.collect_reads(&mut permit.read_by_policies);
        permit.sources.extend(rules.iter().map(|rule| rule.source.clone()));
        permit.tables.insert(described.name.clone(), scoped);
        Ok(())
    }
}

/// A view that reads what is restricted is restricted.
fn restrict_views(tables: &mut BTreeMap<TableName, Scoped>) {
    loop {
        let reads = |scoped: &Scoped| {
            let view = scoped.view.as_ref()?;
            let hit = view.reads.iter().any(|name| tables.get(name).is_none_or(Scoped::is_restricted));
            ((hit || view.lists != Lists::Nothing) && !scoped.below).then(|| scoped.described.name.clone())
        };
        let found: Vec<TableName> = tables.values().filter_map(reads).collect();
        if found.is_empty() {
            break;
        }
        for name in found {
            if let Some(scoped) = tables.get_mut(&name) {
                scoped.below = true;
            }
        }
    }
}

/// All that the sub-queries of the policies read which apply when a principal reads relations, and as whom if not as the
/// principal.
pub(super) fn read_by_policies<'a>(
    set: &'a Compiled,
    principal: &'a Principal,
    names: impl Iterator<Item = &'a TableName>,
) -> Vec<(&'a TableName, Option<&'a Principal>)> {
    let mut seen: Vec<(&TableName, Option<&Principal>)> = names.map(|name| (name, None)).collect();
    let given = seen.len();
    let mut found = Vec::new();
    let mut next = 0;
    while let Some((name, run_as)) = seen.get(next).copied() {
        next += 1;
        for rule in set.rules_for(run_as.unwrap_or(principal), name) {
            for read in rule.reads() {
                let step = (read, rule.run_as.as_ref().or(run_as));
                if !found.contains(&step) {
                    found.push(step);
                    if !seen[..given].contains(&step) {
                        seen.push(step);
                    }
                }
            }
        }
    }
    found
}

pub(super) fn check_name(set: &Compiled, principal: &Principal, name: &TableName) -> Result<(), Denial> {
    if !principal.reaches(&name.catalog) {
        return Err(Denial::NotAllowed(name.clone()));
    }
    let rules: Vec<&Rule> = set.rules_for(principal, name).collect();
    // The catalog that decides is asked when it is known what the relation is.
    let read = set.deciding.contains(&name.catalog).then_some(true);
    allowed(set, name, &rules, read)
}

/// What is decided by the name alone.
fn allowed(set: &Compiled, name: &TableName, rules: &[&Rule], read: Option<bool>) -> Result<(), Denial> {
    // Listings are never decided about: they are filtered by what the principal may see.
    if name.is_metadata() || name.schema == INFORMATION_SCHEMA {
        return Err(Denial::Metadata(name.clone()));
    }
    if let Some(rule) = rules.iter().find(|rule| rule.deny) {
        return Err(Denial::Denied { table: name.clone(), by: Box::new(rule.source.clone()) });
    }
    let ordinary = name.catalog != SYSTEM && name.schema != SYSTEM;
    let by_default = match read {
        Some(false) => return Err(Denial::ByCatalog(name.clone())),
        Some(true) => !set.shut.contains(&name.catalog),
        None => set.open.contains(&name.catalog),
    };
    if !(ordinary && by_default) && !rules.iter().any(|rule| rule.allow) {
        return Err(Denial::NotAllowed(name.clone()));
    }
    Ok(())
}

/// One relation before its rules.
pub(super) struct Case<'a> {
    pub(super) set: &'a Compiled,
    pub(super) principal: &'a Principal,
    /// The principal, if it is one as whom a policy reads.
    pub(super) run_as: Option<&'a Principal>,
    pub(super) described: &'a Arc<Described>,
    pub(super) rules: &'a [&'a Rule],
    /// What the catalog says of it.
    pub(super) ruling: Option<&'a Ruling>,
    /// Whether views are read through.
    pub(super) through_views: bool,
    pub(super) behind: &'a Behind,
    /// The tables whose policies read it, outermost first, and for whom.
    pub(super) path: &'a [(&'a TableName, &'a Principal)],
    pub(super) salt: &'a Salt,
}

impl Case<'_> {
    pub(super) fn decide(&self) -> Result<Scoped, Denial> {
        let name = &self.described.name;
        // What a policy reads to decide is not for the principal to choose, and so not for what they signed in with.
        if self.path.is_empty() && !self.principal.reaches(&name.catalog) {
            return Err(Denial::NotAllowed(name.clone()));
        }
        allowed(self.set, name, self.rules, ruling::read(self.set, name, self.ruling))?;
        let view = match self.described.kind {
            RelationKind::Table => None,
            RelationKind::View | RelationKind::MaterializedView => {
                if self.rules.iter().any(|rule| rule.allow && rule.trusted_view) {
                    None
                } else {
                    let view = self.behind.views.get(name).filter(|_| self.through_views);
                    Some(Arc::clone(view.ok_or_else(|| Denial::ViewNotTrusted(name.clone()))?))
                }
            }
        };
        self.check_texts()?;
        let visible = self.visible()?;
        if !visible.contains(&true) {
            return Err(Denial::NoColumns(name.clone()));
        }
        let mut filters: Vec<Bound> = Vec::new();
        let mut isolation = Isolation::Standard;
        for rule in self.rules {
            if let Some(formula) = &rule.filter {
                let bound = formula
                    .bind(self.described, self.principal, |name| self.read(rule, name))
                    .map_err(|why| self.broken(rule, &format!("row_filter: {why}")))?;
                isolation = isolation.max(rule.isolation);
                if !filters.iter().any(|filter| filter.is(&bound)) {
                    filters.push(bound);
                }
            }
        }
        for rule in self.rules {
            for mask in &rule.masks {
                let fields = mask.fields.iter().map(|fields| &fields.columns);
                self.check_required(rule, mask.columns.iter().chain(fields))?;
            }
        }
        let mut masks = BTreeMap::new();
        for (column, _) in self.described.columns.iter().zip(&visible).filter(|(_, visible)| **visible) {
            if let Some(bound) = self.mask(column)? {
                masks.insert(column.name.clone(), bound);
            }
        }
        let described = Arc::clone(self.described);
        let trusted = described.kind != RelationKind::Table && view.is_none();
        let trusting = self.rules.iter().filter(|rule| rule.allow && rule.trusted_view);
        let opaque = trusting
            .map(|rule| rule.isolation)
            .max()
            .filter(|_| trusted && !self.set.shows_all(self.principal));
        isolation = isolation.max(opaque.unwrap_or(Isolation::Standard));
        let tags = Tagged::new();
        // The strictest of them holds.
        let cached_for = self.rules.iter().filter_map(|rule| rule.cached_for).min();
        Ok(Scoped {
            view,
            opaque,
            below: false,
            described,
            visible,
            by_column: self.rules.iter().any(|rule| rule.is_by_column()),
            filters,
            isolation,
            masks,
            tags,
            cached_for,
        })
    }

    /// Names that cannot be put into an expression.
    fn check_texts(&self) -> Result<(), Denial> {
        let principal = [self.principal.name()]
            .into_iter()
            .chain(self.principal.groups().iter().map(String::as_str))
            .chain(self.principal.attributes().values().map(String::as_str));
        let mut texts = principal.chain(self.described.columns.iter().map(|column| column.name.as_str()));
        if texts.all(is_plain) {
            return Ok(());
        }
        Err(Denial::Unprintable(self.described.name.clone()))
    }

    /// What may be seen of a table that a policy's sub-query reads.
    fn read(&self, rule: &Rule, name: &TableName) -> Result<Arc<Scoped>, String> {
        let principal = rule.run_as.as_ref().unwrap_or(self.principal);
        let mut path = self.path.to_vec();
        path.push((&self.described.name, self.principal));
        if path.len() > DEPTH || path.iter().any(|(before, who)| *before == name && *who == principal) {
            return Err(format!("to read {name} its policies would have to be applied within themselves"));
        }
        let known = &self.behind.read_by_policies;
        let described = known.get(name).ok_or_else(|| format!("it reads {name}, which is not there"))?;
        let run_as = rule.run_as.as_ref().or(self.run_as);
        let ruling = self.behind.rulings.of(run_as, name);
        let cannot = |denial: Denial| format!("{} cannot read {name}: {denial}", principal.name());
        let rules = ruling::rules(self.set.rules_for(principal, name), described, ruling).map_err(cannot)?;
        let rules: Vec<&Rule> = rules.iter().map(|rule| &**rule).collect();
        let case = Case {
            principal,
            run_as,
            described,
            rules: &rules,
            ruling,
            through_views: false,
            path: &path,
            ..*self
        };
        case.decide().map(Arc::new).map_err(cannot)
    }

    fn broken(&self, rule: &Rule, why: &str) -> Denial {
        Denial::PolicyBroken {
            table: self.described.name.clone(),
            by: Box::new(rule.source.clone()),
            why: why.to_owned(),
        }
    }

    /// A column that a rule names in this very table must be there: where it was renamed, its rule would
    /// silently hold no more.
    fn check_required<'c>(
        &self,
        rule: &Rule,
        columns: impl IntoIterator<Item = &'c Columns>,
    ) -> Result<(), Denial> {
        for columns in columns {
            if let Some(name) = columns.required(rule, &self.described.name)
                && self.described.column(name).is_none()
            {
                return Err(self.broken(rule, &format!("there is no column '{name}'")));
            }
        }
        Ok(())
    }

    /// Which columns exist for the principal.
    fn visible(&self) -> Result<Vec<bool>, Denial> {
        let table = &self.described.name;
        for rule in self.rules {
            self.check_required(rule, &rule.hidden)?;
        }
        Ok(self
            .described
            .columns
            .iter()
            .map(|column| {
                let folded = fold_column(&column.name);
                !self
                    .rules
                    .iter()
                    .any(|rule| rule.hidden.iter().any(|columns| columns.matches(table, &folded)))
            })
            .collect())
    }

    /// The strongest mask of a column.
    fn mask(&self, column: &Column) -> Result<Option<Bound>, Denial> {
        let folded = fold_column(&column.name);
        let whole = |mask: &MaskRule| {
            mask.columns.iter().any(|columns| columns.matches(&self.described.name, &folded))
        };
        let masks = self.rules.iter().flat_map(|rule| rule.masks.iter().map(|mask| (*rule, mask)));
        let nested = Nested { table: &self.described.name, column: &folded, rules: self.rules };
        let Some(((rule, mask), rival)) = strongest(masks.filter(|(_, mask)| whole(mask))) else {
            return self.masked_fields(column, &nested);
        };
        let below = nested.strongest_below(&column.ty, &mut Vec::new());
        let below = below.filter(|(_, below)| mask.yields_to(below)).map(|(rule, _)| rule);
        if let Some(rival) = rival.or(below) {
            return Err(self.conflict(column, &rule.source, &rival.source));
        }
        let bound = match &mask.with {
            MaskWith::Action(action) => action::value(*action, &column.ty, &operand(&column.name), self.salt)
                .map(|text| bound_column(column, &text)),
            MaskWith::Formula(_) if !column.ty.is_castable() => {
                Err(format!("the type {} is not one that a mask can be made for", column.ty))
            }
            MaskWith::Formula(formula) => {
                let bound = formula.bind(self.described, self.principal, |name| self.read(rule, name));
                bound.map(|bound| bound.cast(&column.ty))
            }
        };
        bound.map(Some).map_err(|why| self.broken(rule, &format!("column {}: {why}", column.name)))
    }

    fn conflict(&self, column: &Column, one: &Source, other: &Source) -> Denial {
        Denial::MaskConflict {
            table: self.described.name.clone(),
            column: column.name.clone(),
            by: Box::new((one.clone(), other.clone())),
        }
    }

    /// A column that is not masked as a whole: with those of its fields replaced that are.
    fn masked_fields(&self, column: &Column, nested: &Nested<'_>) -> Result<Option<Bound>, Denial> {
        for rule in self.rules {
            for fields in rule.masks.iter().flat_map(|mask| &mask.fields) {
                let required = fields.columns.required(rule, &self.described.name);
                let of_this = required.is_some_and(|name| name == nested.column);
                let missing = of_this && fields.is_literal() && !fields.are_in(&column.ty);
                if missing || nested.is_unclear(&column.ty, fields) {
                    return Err(self.broken(rule, &format!("column {} has no such field", column.name)));
                }
            }
        }
        let Some((rule, _)) = nested.strongest_below(&column.ty, &mut Vec::new()) else { return Ok(None) };
        if !column.ty.is_castable() {
            let why = format!("column {}: the type {} cannot be built anew", column.name, column.ty);
            return Err(self.broken(rule, &why));
        }
        let bound = std::cell::RefCell::new(bound_column(column, &operand(&column.name)));
        let value = |(rule, mask): Masked<'_>, ty: &Type, field: &str| match &mask.with {
            MaskWith::Action(action) => action::value(*action, ty, field, self.salt),
            MaskWith::Formula(_) if !ty.is_castable() => {
                Err(format!("the type {ty} is not one that a mask can be made for"))
            }
            MaskWith::Formula(formula) => {
                let one = formula.bind(self.described, self.principal, |name| self.read(rule, name))?;
                bound.borrow_mut().within(one.cast(ty))
            }
        };
        let path = &mut Vec::new();
        let rebuilt = nested.rebuilt(&operand(&column.name), &column.ty, path, &value);
        let rebuilt = rebuilt.map_err(|fault| match fault {
            Fault::Conflict(one, other) => self.conflict(column, &one.source, &other.source),
            Fault::Broken(rule, why) => self.broken(rule, &format!("column {}: {why}", column.name)),
        })?;
        match rebuilt {
            Some(text) => Ok(Some(bound.into_inner().with_text(&text))),
            None => Ok(None),
        }
    }
}
