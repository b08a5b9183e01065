//! The `northgate` program.

fn main() {}
