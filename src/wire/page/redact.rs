//! What a client is told of an error of Trino's.

use std::borrow::Cow;

use serde::Deserialize;

use super::PageContext;
use super::field::is_word;
use crate::error::Location;

/// Errors that are found by looking at the statement and the tables' columns, and by nothing else; no value that a
/// query reads can raise them or be in their texts. Left out on purpose, though they are mostly of this kind:
/// `INVALID_FUNCTION_ARGUMENT`, `INVALID_WINDOW_FRAME`, `INVALID_ARGUMENTS`, `NOT_SUPPORTED`, `SUBQUERY_MULTIPLE_ROWS`,
/// which functions and operators raise while they run.
const ANALYSIS: [&str; 58] = [
    "AMBIGUOUS_FUNCTION_CALL",
    "AMBIGUOUS_NAME",
    "AMBIGUOUS_RETURN_TYPE",
    "CATALOG_NOT_FOUND",
    "COLUMN_NOT_FOUND",
    "COLUMN_TYPE_UNKNOWN",
    "DUPLICATE_COLUMN_NAME",
    "DUPLICATE_COLUMN_OR_PATH_NAME",
    "DUPLICATE_NAMED_QUERY",
    "DUPLICATE_PARAMETER_NAME",
    "DUPLICATE_RANGE_VARIABLE",
    "DUPLICATE_WINDOW_NAME",
    "EXPRESSION_NOT_AGGREGATE",
    "EXPRESSION_NOT_CONSTANT",
    "EXPRESSION_NOT_IN_DISTINCT",
    "EXPRESSION_NOT_SCALAR",
    "FUNCTION_NOT_AGGREGATE",
    "FUNCTION_NOT_FOUND",
    "FUNCTION_NOT_WINDOW",
    "INVALID_COLUMN_REFERENCE",
    "INVALID_COPARTITIONING",
    "INVALID_LABEL",
    "INVALID_LIMIT_CLAUSE",
    "INVALID_LITERAL",
    "INVALID_NAVIGATION_NESTING",
    "INVALID_ORDER_BY",
    "INVALID_PARAMETER_USAGE",
    "INVALID_PARTITION_BY",
    "INVALID_PATH",
    "INVALID_PATTERN_RECOGNITION_FUNCTION",
    "INVALID_PROCESSING_MODE",
    "INVALID_RECURSIVE_REFERENCE",
    "INVALID_ROW_PATTERN",
    "INVALID_TABLE_FUNCTION_INVOCATION",
    "INVALID_WINDOW_MEASURE",
    "INVALID_WINDOW_REFERENCE",
    "MISMATCHED_COLUMN_ALIASES",
    "MISSING_ARGUMENT",
    "MISSING_CATALOG_NAME",
    "MISSING_COLUMN_ALIASES",
    "MISSING_COLUMN_NAME",
    "MISSING_GROUP_BY",
    "MISSING_ORDER_BY",
    "MISSING_OVER",
    "MISSING_ROW_PATTERN",
    "MISSING_SCHEMA_NAME",
    "MISSING_VARIABLE_DEFINITIONS",
    "NESTED_AGGREGATION",
    "NESTED_RECURSIVE",
    "NESTED_ROW_PATTERN_RECOGNITION",
    "NESTED_WINDOW",
    "NULL_TREATMENT_NOT_ALLOWED",
    "SCHEMA_NOT_FOUND",
    "SYNTAX_ERROR",
    "TABLE_NOT_FOUND",
    "TOO_MANY_ARGUMENTS",
    "TYPE_MISMATCH",
    "TYPE_NOT_FOUND",
];

/// Errors that have nothing to do with what was read, in words of our own.
const PLAIN: [(&str, &str); 12] = [
    ("ABANDONED_QUERY", "The query was ended because its client stopped asking for results"),
    ("ADMINISTRATIVELY_KILLED", "The query was ended by an administrator"),
    ("CLUSTER_OUT_OF_MEMORY", "The cluster ran out of memory"),
    ("EXCEEDED_CPU_LIMIT", "The query needed more CPU time than is allowed"),
    ("EXCEEDED_GLOBAL_MEMORY_LIMIT", "The query needed more memory than is allowed"),
    ("EXCEEDED_LOCAL_MEMORY_LIMIT", "The query needed more memory on one node than is allowed"),
    ("EXCEEDED_TIME_LIMIT", "The query took longer than is allowed"),
    ("NO_NODES_AVAILABLE", "The cluster has no node to run the query"),
    ("QUERY_QUEUE_FULL", "The cluster has too many queries waiting"),
    ("SERVER_SHUTTING_DOWN", "The cluster is shutting down"),
    ("SERVER_STARTING_UP", "The cluster is still starting"),
    ("USER_CANCELED", "Query was canceled"),
];

/// `QueryError`, as far as it is told.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TrinoError<'a> {
    #[serde(borrow, default)]
    pub(super) message: Option<Cow<'a, str>>,
    pub(super) error_code: i64,
    #[serde(borrow)]
    pub(super) error_name: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) error_type: Cow<'a, str>,
    #[serde(default)]
    error_location: Option<ErrorLocation>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ErrorLocation {
    line_number: u32,
    column_number: u32,
}

impl TrinoError<'_> {
    /// Its name and type are words, which may be told.
    pub(super) fn is_sound(&self) -> bool {
        is_word(&self.error_name) && is_word(&self.error_type)
    }
}

/// The message and the place that the client is told.
pub(super) fn told(error: &TrinoError<'_>, context: &PageContext) -> (String, Option<Location>) {
    let name = &*error.error_name;
    let location = error.error_location.map(|at| Location { line: at.line_number, column: at.column_number });
    let place = location.and_then(|at| match &context.positions {
        Some(map) => map(at),
        // Which place of the user's text it is cannot be said any more: it may be one in a policy's expression.
        None if context.restricted => None,
        None => Some(at),
    });
    if context.restricted && !(place.is_some() && ANALYSIS.binary_search(&name).is_ok()) {
        let told = match PLAIN.binary_search_by_key(&name, |(name, _)| name) {
            Ok(found) => PLAIN[found].1.to_owned(),
            Err(_) => format!(
                "The query failed: {name}. Details are withheld because it reads restricted data. (query {})",
                context.query
            ),
        };
        return (told, None);
    }
    let message = error.message.as_deref().unwrap_or(name);
    let text = match location.and_then(|at| message.strip_prefix(&format!("{at}: "))) {
        Some(rest) => place.map_or_else(|| rest.to_owned(), |place| format!("{place}: {rest}")),
        None => message.to_owned(),
    };
    (text, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_can_be_searched() {
        assert!(ANALYSIS.is_sorted());
        assert!(PLAIN.is_sorted_by_key(|(name, _)| *name));
        assert!(PLAIN.iter().all(|(name, _)| ANALYSIS.binary_search(name).is_err()));
    }
}
