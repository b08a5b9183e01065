//! Integration tests against the real servers.

fn main() {}
