//! Databricks Unity Catalog: row filters and column masks of tables, and ABAC policies.
//!
//! The source is one JSON object with what the API lists (`tables`, `functions`, `policies`) and what the information
//! schema does (`column_tags`, `table_tags`, `schema_tags`, `catalog_tags`, `row_filters`, `column_masks`, `routines`,
//! `parameters`). All of it restricts; who may read a table at all is not in it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::draft::{Draft, Drafts, Mask, Restrictions, With, one_line};
use super::first::{Tables, part};
use super::names::Pattern;
use super::people::People;
use super::settle::settle;
use super::unity_file::{
    File, FilterRow, MaskRow, OF_COLUMNS, OF_TABLES, Parameter, ParameterRow, Table, TagRow, Using,
};
use super::unity_policy::AbacPolicy;
use super::unity_sql::{Argument, translate};
use super::{ImportError, Note, Options, expression};
use crate::sql::fold_column;

/// The most tables, functions, policies and tags, of each.
const MOST: usize = 20_000;

/// A table or a column by its parts, in lower case.
pub(super) type Path = Vec<String>;

/// A column, the function that masks it and what it is given besides.
type Masked<'a> = (&'a str, &'a str, Result<Vec<Argument>, String>);

/// A function, as far as it is known.
struct Known {
    /// Names and types.
    parameters: Vec<(String, Option<String>)>,
    body: Result<String, String>,
}

pub(super) struct Reader<'a> {
    options: &'a Options,
    pub(super) notes: &'a mut Vec<Note>,
    functions: BTreeMap<String, Known>,
    /// Types of columns by table.
    types: BTreeMap<Path, BTreeMap<String, String>>,
    /// The tags of columns, tables, schemas and catalogs; none where the source has no such list.
    pub(super) column_tags: Option<BTreeMap<Path, Vec<(String, String)>>>,
    pub(super) tags: Option<BTreeMap<Path, Vec<(String, String)>>>,
    pub(super) drafts: Vec<Draft>,
}

pub(super) fn import(source: &str, options: &Options, notes: &mut Vec<Note>) -> Result<Drafts, ImportError> {
    let unreadable = |error: serde_json::Error| ImportError::Unreadable(error.to_string());
    let mut value: Value = serde_json::from_str(source).map_err(unreadable)?;
    // Rows of the information schema have keys in either case.
    for (_, list) in value.as_object_mut().into_iter().flatten() {
        for row in list.as_array_mut().into_iter().flatten() {
            if let Value::Object(map) = row {
                *map =
                    std::mem::take(map).into_iter().map(|(key, value)| (key.to_lowercase(), value)).collect();
            }
        }
    }
    let file: File = serde_json::from_value(value).map_err(unreadable)?;
    if file.next_page_token.as_ref().is_some_and(|token| !token.is_empty()) {
        return Err(ImportError::Missing("this is the first page of a list: bring all of them".to_owned()));
    }
    let sizes = [
        file.tables.len(),
        file.functions.len(),
        file.policies.len(),
        file.column_tags.as_ref().map_or(0, Vec::len),
    ];
    if sizes.iter().any(|size| *size > MOST) {
        return Err(ImportError::TooLarge(format!("more than {MOST} of one kind")));
    }
    let File { tables, policies, row_filters, column_masks, .. } = &file;
    let mut catalogs: BTreeSet<String> =
        tables.iter().map(|table| table.catalog_name.to_lowercase()).collect();
    catalogs.extend(row_filters.iter().map(|row| row.catalog_name.to_lowercase()));
    catalogs.extend(column_masks.iter().map(|row| row.catalog_name.to_lowercase()));
    catalogs.extend(policies.iter().filter_map(AbacPolicy::catalog));
    if options.catalog.is_some() && catalogs.len() > 1 {
        let all: Vec<&str> = catalogs.iter().map(String::as_str).collect();
        return Err(ImportError::Missing(format!(
            "--catalog stands for one catalog, and there are {}",
            one_line(&all.join(", "))
        )));
    }
    let mut reader = Reader {
        options,
        notes,
        functions: functions(&file),
        types: BTreeMap::new(),
        column_tags: file.column_tags.as_ref().map(tags),
        tags: None,
        drafts: Vec::new(),
    };
    let above = [&file.table_tags, &file.schema_tags, &file.catalog_tags];
    if above.iter().all(|list| list.is_some()) {
        let rows = above.iter().flat_map(|list| list.iter().flatten());
        reader.tags = Some(tags(rows));
    }
    for table in tables {
        let path = path([&table.catalog_name, &table.schema_name, &table.name]);
        let types = table
            .columns
            .iter()
            .filter_map(|column| Some((fold_column(&column.name).into_owned(), column.type_text.clone()?)));
        reader.types.insert(path, types.collect());
    }
    for table in tables {
        reader.table(table);
    }
    reader.rows(row_filters, column_masks);
    for policy in policies {
        reader.policy(policy)?;
    }
    let Reader { mut drafts, notes, .. } = reader;
    settle(&mut drafts, notes);
    let head = vec![
        "From Unity Catalog's row filters, column masks and ABAC policies. These restrict what other documents allow.".to_owned(),
        "Groups have the names that they have in Databricks. Tags are as they were when this was made.".to_owned(),
    ];
    Ok(Drafts { head, tags: Vec::new(), policies: drafts })
}

pub(super) fn path<const N: usize>(parts: [&str; N]) -> Path {
    parts.iter().map(|part| part.to_lowercase()).collect()
}

fn tags<'a>(rows: impl IntoIterator<Item = &'a TagRow>) -> BTreeMap<Path, Vec<(String, String)>> {
    let mut all: BTreeMap<Path, Vec<(String, String)>> = BTreeMap::new();
    for row in rows {
        let parts = [
            Some(&row.catalog_name),
            row.schema_name.as_ref(),
            row.table_name.as_ref(),
            row.column_name.as_ref(),
        ];
        let path: Path = parts.into_iter().flatten().map(|part| part.to_lowercase()).collect();
        all.entry(path).or_default().push((row.tag_name.clone(), row.tag_value.clone().unwrap_or_default()));
    }
    all
}

fn functions(file: &File) -> BTreeMap<String, Known> {
    let mut all = BTreeMap::new();
    let body = |kind: &Option<String>, text: &Option<String>| match (kind.as_deref(), text) {
        (Some("SQL"), Some(text)) => Ok(text.clone()),
        (Some(kind), Some(_)) => Err(format!("it is written in another language ({kind})")),
        _ => Err("what it does is not in the file".to_owned()),
    };
    for one in &file.functions {
        let mut parameters: Vec<&Parameter> =
            one.input_params.iter().flat_map(|all| &all.parameters).collect();
        parameters.sort_by_key(|parameter| parameter.position);
        let parameters =
            parameters.iter().map(|one| (one.name.to_lowercase(), one.type_text.clone())).collect();
        let name = path([&one.catalog_name, &one.schema_name, &one.name]).join(".");
        all.insert(name, Known { parameters, body: body(&one.routine_body, &one.routine_definition) });
    }
    for one in &file.routines {
        let name = path([&one.specific_catalog, &one.specific_schema, &one.specific_name]).join(".");
        let of = |row: &&ParameterRow| {
            path([&row.specific_catalog, &row.specific_schema, &row.specific_name]).join(".") == name
        };
        let mut rows: Vec<&ParameterRow> = file.parameters.iter().filter(of).collect();
        rows.sort_by_key(|row| row.ordinal_position);
        let named = rows.iter().filter_map(|row| {
            Some((row.parameter_name.as_ref()?.to_lowercase(), row.full_data_type.clone()))
        });
        let body = body(&one.routine_body, &one.routine_definition);
        all.entry(name).or_insert(Known { parameters: named.collect(), body });
    }
    all
}

impl Reader<'_> {
    pub(super) fn note(&mut self, rule: &str, what: impl Into<String>, effect: &str) {
        self.notes.push(Note { rule: rule.to_owned(), what: what.into(), effect: effect.to_owned() });
    }

    /// A pattern of a document for a table, or for the tables of a schema or a catalog.
    pub(super) fn pattern(&self, path: &[String]) -> Result<Tables, ImportError> {
        let wrong = || ImportError::Unreadable(format!("'{}' is no name", one_line(&path.join("."))));
        let read = |at: usize| match (at, path.get(at), &self.options.catalog) {
            (0, Some(_), Some(catalog)) => Pattern::read(&catalog.to_lowercase()).filter(Pattern::is_literal),
            (_, Some(name), _) if name.is_empty() || name.contains('$') => None,
            (_, Some(name), _) => Pattern::read(name).filter(Pattern::is_literal),
            (_, None, _) => Some(Pattern::any()),
        };
        match (read(0), read(1), read(2)) {
            (Some(catalog), Some(schema), Some(table)) => Ok(Tables([catalog, schema, table])),
            _ => Err(wrong()),
        }
    }

    /// A function as an expression, with what its parameters are.
    pub(super) fn call(
        &self,
        function: &str,
        arguments: &[Argument],
        table: Option<&Path>,
        about: &[Tables],
    ) -> Result<String, String> {
        let name = function.replace('`', "").to_lowercase();
        let known = self
            .functions
            .get(&name)
            .ok_or_else(|| format!("the function {} is not in the file", one_line(&name)))?;
        let body = known.body.as_ref().map_err(|why| format!("the function {}: {why}", one_line(&name)))?;
        if known.parameters.len() != arguments.len() {
            return Err(format!("the function {} has another number of parameters", one_line(&name)));
        }
        let mut bound = BTreeMap::new();
        for ((parameter, ty), argument) in known.parameters.iter().zip(arguments) {
            if let (Argument::Column(column), Some(ty), Some(types)) =
                (argument, ty, table.and_then(|table| self.types.get(table)))
                && types.get(column).is_some_and(|of| !of.eq_ignore_ascii_case(ty))
            {
                return Err(format!(
                    "the function {} takes {parameter} as another type than the column has",
                    one_line(&name)
                ));
            }
            bound.insert(parameter.clone(), argument.clone());
        }
        let sql =
            translate(body, &bound).map_err(|why| format!("the function {}: {why}", one_line(&name)))?;
        expression(&sql, about).map(|_| sql).map_err(|why| format!("the function {}: {why}", one_line(&name)))
    }

    fn table(&mut self, table: &Table) {
        let path = path([&table.catalog_name, &table.schema_name, &table.name]);
        let masks: Vec<Masked<'_>> = table
            .columns
            .iter()
            .filter_map(|column| {
                let mask = column.mask.as_ref()?;
                Some((
                    column.name.as_str(),
                    mask.function_name.as_str(),
                    arguments(&mask.using_column_names, mask.using_arguments.as_ref()),
                ))
            })
            .collect();
        let filter = table.row_filter.as_ref().map(|filter| {
            (
                filter.function_name.as_str(),
                arguments(&filter.input_column_names, filter.using_arguments.as_ref()),
            )
        });
        let of_columns = table.columns.iter().flat_map(|column| column.rest.keys());
        let odd = (table.rest.keys().filter(|key| !OF_TABLES.contains(&key.as_str())))
            .chain(of_columns.filter(|key| !OF_COLUMNS.contains(&key.as_str())));
        let odd: BTreeSet<&str> = odd.map(String::as_str).collect();
        if !odd.is_empty() {
            let odd: Vec<&str> = odd.into_iter().collect();
            let label = format!("table {}", path.join("."));
            self.note(
                &label,
                format!("the keys {} are not known", one_line(&odd.join(", "))),
                "stricter: the table is denied",
            );
            if let Ok(pattern) = self.pattern(&path) {
                let (who, tables) = (People::everyone(), vec![pattern.text()]);
                self.drafts.push(Draft {
                    comments: vec![label],
                    who,
                    tables,
                    deny: true,
                    ..Draft::default()
                });
            }
            return;
        }
        self.restrict(&path, filter, masks);
    }

    fn rows(&mut self, filters: &[FilterRow], masks: &[MaskRow]) {
        let usage = |text: &Option<String>| -> Vec<String> {
            let names = text.as_deref().unwrap_or_default().split(',').map(|name| name.trim().to_owned());
            names.filter(|name| !name.is_empty()).collect()
        };
        for row in filters {
            let path = path([&row.catalog_name, &row.schema_name, &row.table_name]);
            let function = [&row.filter_catalog[..], &row.filter_schema, &row.filter_name].join(".");
            self.restrict(
                &path,
                Some((&function, arguments(&usage(&row.filter_col_usage), None))),
                Vec::new(),
            );
        }
        for row in masks {
            let path = path([&row.catalog_name, &row.schema_name, &row.table_name]);
            let function = [&row.mask_catalog[..], &row.mask_schema, &row.mask_name].join(".");
            let arguments = arguments(&usage(&row.mask_col_usage), None);
            self.restrict(&path, None, vec![(&row.column_name, &function, arguments)]);
        }
    }

    /// The filter and the masks of one table, which hold for everybody.
    fn restrict(
        &mut self,
        path: &Path,
        filter: Option<(&str, Result<Vec<Argument>, String>)>,
        masks: Vec<Masked<'_>>,
    ) {
        if filter.is_none() && masks.is_empty() {
            return;
        }
        let label = format!("table {}", path.join("."));
        let Ok(table) = self.pattern(path) else {
            self.note(&label, "no document can name it", "stricter: nobody is ever let into it");
            return;
        };
        let about = [table.clone()];
        let mut draft = Draft {
            comments: vec![label.clone()],
            who: People::everyone(),
            tables: vec![table.text()],
            ..Draft::default()
        };
        if let Some((function, arguments)) = filter {
            match arguments.and_then(|arguments| self.call(function, &arguments, Some(path), &about)) {
                Ok(sql) => draft.restrictions.filter = Some(sql),
                Err(why) => {
                    self.note(&label, format!("row filter: {why}"), "stricter: the table is denied");
                    draft.deny = true;
                }
            }
        }
        for (column, function, arguments) in masks {
            let column = fold_column(column).into_owned();
            let all = arguments.map(|arguments| {
                std::iter::once(Argument::Column(column.clone())).chain(arguments).collect::<Vec<_>>()
            });
            let sql = all.and_then(|arguments| self.call(function, &arguments, Some(path), &about));
            self.mask(&label, &mut draft.restrictions, &column, sql);
        }
        if draft.deny {
            draft.restrictions = Restrictions::default();
        }
        self.drafts.push(draft);
    }

    /// Adds the mask of one column, or hides it.
    pub(super) fn mask(
        &mut self,
        label: &str,
        to: &mut Restrictions,
        column: &str,
        sql: Result<String, String>,
    ) {
        let name = quoted(column);
        match sql {
            Ok(sql) => to.masks.push(Mask {
                columns: vec![name],
                tags: Vec::new(),
                with: With::Sql(sql),
                strength: 0,
            }),
            Err(why) => {
                self.note(
                    label,
                    format!("mask of {}: {why}", one_line(column)),
                    "stricter: the column is hidden",
                );
                // What is hidden is named without quotes.
                to.hidden.insert(column.to_owned());
            }
        }
    }
}

/// A column as a mask names it.
pub(super) fn quoted(column: &str) -> String {
    // In quotes a star would be a star.
    let column = if column.contains('*') { column.replace(['.', '"'], "*") } else { column.to_owned() };
    Pattern::read(&column).map_or(column, |pattern| part(&pattern))
}

fn arguments(columns: &[String], using: Option<&Vec<Using>>) -> Result<Vec<Argument>, String> {
    let Some(using) = using.filter(|_| columns.is_empty()) else {
        return Ok(columns.iter().map(|name| Argument::Column(fold_column(name).into_owned())).collect());
    };
    using
        .iter()
        .map(|one| match (&one.column, &one.constant) {
            (Some(column), None) => Ok(Argument::Column(fold_column(column).into_owned())),
            (None, Some(text)) => constant(text),
            _ => Err("an argument is neither a column nor a constant".to_owned()),
        })
        .collect()
}

/// A constant that a function is given.
pub(super) fn constant(text: &str) -> Result<Argument, String> {
    translate(text, &BTreeMap::new())
        .map(Argument::Constant)
        .map_err(|why| format!("the constant {}: {why}", one_line(text)))
}
