//! Whatever is read is printed so that it is read as the same: the same kind, and the same relations in the same places.
#![no_main]

use libfuzzer_sys::fuzz_target;
use northgate::sql::{Edits, Limits, Statement};

fn relations(statement: &Statement) -> Vec<(Vec<String>, String, bool, bool)> {
    let one = |relation: &northgate::sql::Relation| {
        let name = relation.name.iter().map(|part| part.value.clone()).collect();
        let position = format!("{:?} {:?}", relation.position, relation.scope);
        (name, position, relation.version.is_some(), relation.sampled)
    };
    statement.relations().iter().map(one).collect()
}

fuzz_target!(|text: &str| {
    let limits = Limits::default();
    let Ok(statement) = Statement::parse(text, &limits) else { return };
    let printed = statement.print(&Edits::default()).text;
    let again = Statement::parse(&printed, &limits)
        .unwrap_or_else(|error| panic!("{error}\nread:    {text:?}\nprinted: {printed:?}"));
    assert_eq!(statement.kind().name(), again.kind().name(), "{printed:?}");
    assert_eq!(relations(&statement), relations(&again), "{printed:?}");
    assert_eq!(printed, again.print(&Edits::default()).text);
    let alone = Statement::parse_relations(text, &limits).expect("what is read with references is read without");
    assert_eq!(relations(&statement), relations(&alone));
});
