//! Stage 5: what a relation is.

mod relation;
mod types;

pub use relation::{Column, Described, RelationKind, TableName, fold_column, fold_name};
pub use types::{RowField, Type};
