//! A rewritten statement that waits: many do, and each has a long text.

use std::sync::Arc;

use super::ScopedSql;
use crate::sql::SourceMap;

/// How much is tried: nobody waits for it.
const LEVEL: i32 = 3;

/// A statement in a part of its memory. Only what was [`ScopedSql`] can be in it.
#[derive(Debug)]
pub struct PackedSql {
    /// All but what is packed.
    rest: ScopedSql,
    /// The text, the way back, and a prepared statement's text, one behind the other.
    packed: Box<[u8]>,
    text: usize,
    map: usize,
    whole: usize,
}

impl PackedSql {
    /// Packs a statement; gives it back where that makes it no smaller.
    ///
    /// # Errors
    /// The statement.
    pub fn new(mut sql: ScopedSql) -> Result<Self, ScopedSql> {
        let map: &[u8] = sql.positions.as_ref().map_or(&[], |map| map.as_bytes());
        let prepared: &str = sql.prepared.as_ref().map_or("", |(_, text)| text);
        let whole = [sql.text.as_bytes(), map, prepared.as_bytes()].concat();
        let packed = match zstd::bulk::compress(&whole, LEVEL) {
            Ok(packed) if packed.len() < whole.len() => packed.into_boxed_slice(),
            _ => return Err(sql),
        };
        let (text, map, whole) = (sql.text.len(), map.len(), whole.len());
        sql.text = Arc::default();
        sql.positions = sql.positions.map(|_| Arc::default());
        if let Some((_, text)) = &mut sql.prepared {
            *text = String::new();
        }
        Ok(Self { rest: sql, packed, text, map, whole })
    }

    /// The statement as it was; none if that cannot be had.
    pub fn unpack(self) -> Option<ScopedSql> {
        let whole = zstd::bulk::decompress(&self.packed, self.whole).ok()?;
        let (text, rest) = whole.split_at_checked(self.text)?;
        let (map, prepared) = rest.split_at_checked(self.map)?;
        let mut sql = self.rest;
        sql.text = std::str::from_utf8(text).ok()?.into();
        sql.positions = sql.positions.map(|_| Arc::new(SourceMap::of_bytes(map)));
        if let Some((_, text)) = &mut sql.prepared {
            std::str::from_utf8(prepared).ok()?.clone_into(text);
        }
        Some(sql)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Location;
    use crate::sql::{Edits, Limits, Statement};

    #[test]
    fn a_statement_comes_out_as_it_went_in() {
        let list = (0..200).map(|n| format!("a{n}")).collect::<Vec<_>>().join(",\n ");
        let statement = Statement::parse(&format!("SELECT {list} FROM t"), &Limits::default()).expect("SQL");
        let printed = statement.print(&Edits::default());
        let place = Location { line: 1, column: 30 };
        let expect = printed.map.original(place);
        assert!(expect.is_some());
        for prepared in [None, Some(("p".to_owned(), "SELECT 'ü'".repeat(20)))] {
            let sql = ScopedSql {
                text: printed.text.as_str().into(),
                restricted: true,
                pins_time_zone: false,
                positions: prepared.is_none().then(|| Arc::new(printed.map.clone())),
                kind: "SELECT",
                prepared: prepared.clone(),
                values: Some(3),
            };
            let packed = PackedSql::new(sql).expect("it is smaller");
            assert!(2 * packed.packed.len() < packed.whole && packed.rest.text().is_empty());
            let sql = packed.unpack().expect("sound");
            assert_eq!((sql.text(), &sql.prepared), (printed.text.as_str(), &prepared));
            assert_eq!((sql.restricted, sql.kind, sql.values), (true, "SELECT", Some(3)));
            let map = sql.positions.as_ref();
            assert_eq!(map.map(|map| map.original(place)), prepared.is_none().then_some(expect));
        }
    }

    #[test]
    fn one_that_gets_no_smaller_is_given_back() {
        let sql = ScopedSql {
            text: "SELECT 1".into(),
            restricted: false,
            pins_time_zone: false,
            positions: None,
            kind: "SELECT",
            prepared: None,
            values: None,
        };
        assert_eq!(PackedSql::new(sql).map(|_| ()).expect_err("short").text(), "SELECT 1");
    }
}
