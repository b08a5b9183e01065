//! The names of the relations of a query, in little memory: many wait, and seldom are they asked for.

use crate::catalog::TableName;

/// Names, one behind the other as JSON.
pub(super) struct Names(Box<str>);

impl Names {
    pub(super) fn of(names: &[TableName]) -> Self {
        let parts: Vec<_> = names.iter().map(|name| (&name.catalog, &name.schema, &name.table)).collect();
        // Of strings there is JSON.
        Self(serde_json::to_string(&parts).unwrap_or_default().into())
    }

    pub(super) fn all(&self) -> Vec<TableName> {
        let parts: Vec<(String, String, String)> = serde_json::from_str(&self.0).unwrap_or_default();
        parts.into_iter().map(|(catalog, schema, table)| TableName { catalog, schema, table }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_out_as_they_went_in() {
        let name =
            |table: &str| TableName { catalog: "c".into(), schema: "a.b\0".into(), table: table.into() };
        for names in [vec![], vec![name("t")], vec![name("\"q\n\""), name("größe"), name("")]] {
            assert_eq!(Names::of(&names).all(), names);
        }
    }
}
