//! stub
use super::compile::Rule;
use super::error::Source;
use crate::catalog::{Described, ReadRestrictions, Schema};
pub(super) fn rule(
    _: &ReadRestrictions,
    _: &Schema,
    _: &Described,
    _: Source,
    _: i32,
) -> Result<Option<Rule>, String> {
    Ok(None)
}
