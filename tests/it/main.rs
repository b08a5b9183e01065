//! Integration tests: the real gateway before the real Trino, spoken to by the real clients.
//!
//! `cargo test --test it` runs all of them; the test stack (tests/stack) fetches what is missing. Trino and the
//! gateway are started by the first test that asks for them.

mod attacks;
mod audit;
mod bad_input;
mod catalog;
mod clients;
mod faults;
mod harness;
mod leaks;
mod links;
mod login;
mod native;
mod pipeline;
mod restrictions;
mod sql_oracle;
mod start;
