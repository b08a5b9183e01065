//! Stage 2: who is calling.

mod principal;

pub use principal::{Method, Principal};
