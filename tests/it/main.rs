//! Integration tests: the real gateway before the real Trino, spoken to by the real clients.
//!
//! `cargo test --test it` runs all of them; the test stack (tests/stack) fetches what is missing. Trino and the
//! gateway are started by the first test that asks for them.

mod admission;
mod attacks;
mod audit;
mod auditor;
mod bad_input;
mod balancer;
mod browser;
mod cache;
mod catalog;
mod certificates;
mod classify;
mod clients;
mod clusters;
mod copies;
mod dashboards;
mod deploy;
mod doctor;
mod drivers;
mod evidence;
mod faults;
mod harness;
mod jobs;
mod leaks;
mod lineage;
mod links;
mod login;
mod native;
mod notebooks;
mod oidc;
mod pages;
mod personas;
mod pipeline;
mod replicas;
mod restrictions;
mod rules;
mod saml;
mod secrets;
mod several;
mod sql_oracle;
mod start;
mod suites;
mod tokens;
mod tools;
mod traces;
mod trespass;
mod twins;
mod upstream;
mod witness;
