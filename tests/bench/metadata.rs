//! What the stub answers to a gateway's own questions about the tables.

use std::fmt::Write as _;

use crate::bank::TABLES;

/// Names and types of the columns of the answer.
const COLUMNS: &[(&str, &str)] = &[
    ("what", "varchar(12)"),
    ("table_name", "varchar"),
    ("name", "varchar"),
    ("type", "varchar"),
    ("position", "bigint"),
];

/// Columns of the answer, and its rows as JSON arrays with commas between; `None` if the question is not understood.
/// The answer is shaped as Northgate's catalog asks for it: what a row is about, table, column or kind of table, type and
/// place, for every table that the question names in a literal.
pub(crate) fn answer(statement: &str) -> Option<(&'static [(&'static str, &'static str)], String)> {
    if !statement.contains("information_schema.columns") {
        return None;
    }
    let mut rows = String::new();
    for table in TABLES.iter().filter(|table| statement.contains(&format!("'{}'", table.name))) {
        let name = table.name;
        for (place, (column, sql_type)) in (1..).zip(&table.columns) {
            let _ = write!(rows, r#"["column","{name}","{column}","{sql_type}",{place}],"#);
        }
        let _ = write!(rows, r#"["table","{name}","BASE TABLE","",0],"#);
    }
    rows.truncate(rows.trim_end_matches(',').len());
    Some((COLUMNS, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describes_the_tables_that_are_asked_for() {
        let (columns, rows) =
            answer("SELECT .. information_schema.columns .. IN ('branches', 'nothing')").unwrap();
        let rows: Vec<Vec<serde_json::Value>> = serde_json::from_str(&format!("[{rows}]")).unwrap();
        assert_eq!(rows.len(), 13);
        assert!(rows.iter().all(|row| row.len() == columns.len() && row[1] == "branches"));
        assert!(answer("SELECT 1").is_none());
    }
}
