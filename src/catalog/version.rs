//! Which state of a table a query reads.

use std::fmt;

/// One state of an Iceberg table, as its catalog tells it. Each commit, of rows, columns, branches or properties, by whatever
/// engine, makes another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    /// Which table it is, under whatever name.
    pub uuid: String,
    /// The snapshot that is read where none is named; an empty table has none.
    pub snapshot: Option<i64>,
    /// The schema in force.
    pub schema: Option<i64>,
    /// Where the metadata of this state are: a file that is written once.
    pub metadata: String,
    /// When it came to be, as whoever made it says: milliseconds since 1970.
    pub updated: i64,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.snapshot {
            Some(snapshot) => write!(f, "snapshot {snapshot}"),
            None => f.write_str("no snapshot"),
        }
    }
}
