//! Stage 5: what a relation is.

mod relation;
mod types;

pub use relation::{Column, Described, RelationKind, TableName};
pub use types::{RowField, Type};
