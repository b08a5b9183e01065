//! What a relation is: its name as Trino resolves it, its kind and its columns.

use std::fmt;

use super::Type;
use crate::sql::{fold_name, is_same_column};

/// A three-part name, each part folded to lower case as Trino folds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// The catalog.
    pub catalog: String,
    /// The schema.
    pub schema: String,
    /// The table or view.
    pub table: String,
}

impl TableName {
    /// Folds the parts. `None` where the folding is not sure to be Trino's, see [`fold_name`].
    pub fn new(catalog: &str, schema: &str, table: &str) -> Option<Self> {
        Some(Self { catalog: fold_name(catalog)?, schema: fold_name(schema)?, table: fold_name(table)? })
    }

    /// The name with all three parts in double quotes: `"lake"."gold"."customers"`.
    pub fn quoted(&self) -> String {
        let mut text = String::with_capacity(self.catalog.len() + self.schema.len() + self.table.len() + 8);
        quote_into(&mut text, &self.catalog);
        text.push('.');
        quote_into(&mut text, &self.schema);
        text.push('.');
        quote_into(&mut text, &self.table);
        text
    }

    /// Whether any part has a `$`: a metadata table, a storage table, or something of the kind. Or whether it is called as
    /// Trino calls the storage of a materialized view where that is not hidden: it was read with the owner's rights.
    pub fn is_metadata(&self) -> bool {
        let storage = |name: &str| {
            name.strip_prefix(STORAGE).is_some_and(|id| {
                id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            })
        };
        let odd = [&self.catalog, &self.schema, &self.table].iter().any(|part| part.contains('$'));
        odd || storage(&self.table)
    }
}

/// What the names of the tables begin with in which materialized views are stored, where Trino's setting
/// `iceberg.materialized-views.hide-storage-table` is false or was. An identifier in 32 hexadecimal digits follows.
const STORAGE: &str = "st_";

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in [&self.catalog, &self.schema, &self.table].into_iter().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            let plain = part.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
                && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            if plain {
                f.write_str(part)?;
            } else {
                let mut quoted = String::with_capacity(part.len() + 2);
                quote_into(&mut quoted, part);
                f.write_str(&quoted)?;
            }
        }
        Ok(())
    }
}

fn quote_into(out: &mut String, part: &str) {
    out.push('"');
    for c in part.chars() {
        if c == '"' {
            out.push('"');
        }
        out.push(c);
    }
    out.push('"');
}

/// A column of a relation, as Trino lists it. Hidden columns (`$path`) are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The name, in the case that Trino gives it.
    pub name: String,
    /// The type.
    pub ty: Type,
}

/// What kind of relation a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationKind {
    /// A table of its own.
    Table,
    /// A view: it reads other relations, under its owner's rights or the reader's.
    View,
    /// A materialized view.
    MaterializedView,
}

/// A relation, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its resolved name.
    pub name: TableName,
    /// What it is.
    pub kind: RelationKind,
    /// Its columns, in table order.
    pub columns: Vec<Column>,
}

impl Described {
    /// The column of this name, compared as Trino compares column names.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| is_same_column(&column.name, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::fold_column;

    #[test]
    fn t1_names_fold_as_in_java() {
        let check =
            |name: &str, expect: Option<&str>| assert_eq!(fold_name(name).as_deref(), expect, "{name}");
        check("Lake", Some("lake"));
        check("la\u{212a}e", Some("lake"));
        check("\u{17f}sn", Some("\u{17f}sn"));
        check("K\u{d6}LN", Some("k\u{f6}ln"));
        check("\u{130}x", None);
        check("\u{3a3}", None);
    }

    #[test]
    fn t1_columns_compare_as_in_java() {
        let check = |name: &str, expect: &str| assert_eq!(fold_column(name), expect, "{name}");
        check("SSN", "ssn");
        check("\u{17f}sn", "ssn");
        check("\u{212a}ey", "key");
        check("\u{131}d", "id");
        check("\u{130}d", "id");
        check("\u{df}", "\u{df}");
    }

    #[test]
    fn names_print_plain_or_quoted() {
        let name = TableName::new("Lake", "my.schema", "a\"b").expect("foldable");
        assert_eq!(name.to_string(), "lake.\"my.schema\".\"a\"\"b\"");
        assert_eq!(name.quoted(), "\"lake\".\"my.schema\".\"a\"\"b\"");
        assert!(!name.is_metadata());
        for (table, metadata) in [
            ("T$files", true),
            ("ST_0123456789abcdef0123456789abcdef", true),
            ("st_0123456789abcdef0123456789abcde", false),
            ("st_0123456789abcdef0123456789abcdefg", false),
            ("st_0123456789abcdef0123456789abcdeg", false),
            ("xst_0123456789abcdef0123456789abcdef", false),
        ] {
            assert_eq!(
                TableName::new("lake", "gold", table).expect("foldable").is_metadata(),
                metadata,
                "{table}"
            );
        }
    }
}
