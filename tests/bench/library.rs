//! The rewrite, measured in this process.

use crate::fault::{Result, unusable};
use crate::report::Figure;

/// `rewrite_typical_p50` and `rewrite_1mb_growth`.
pub(crate) fn measure() -> Result<Vec<Figure>> {
    Err(unusable("the rewrite is not there yet"))
}
