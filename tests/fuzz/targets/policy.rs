//! The expression of a document is refused, or bound so that it reads as one expression again.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use northgate::catalog::{Column, Described, RelationKind, TableName, Type};
use northgate::identity::{Method, Principal};
use northgate::policy::{Behind, Salt, Scoped, Set};
use northgate::sql::{Expression, Limits};

fn table(name: &str, columns: &[(&str, &str)]) -> Arc<Described> {
    let columns = columns.iter().map(|(name, ty)| Column { name: (*name).to_owned(), ty: Type::parse(ty) }).collect();
    Arc::new(Described { name: TableName::new("c", "s", name).expect("a name"), kind: RelationKind::Table, columns })
}

fuzz_target!(|text: &str| {
    let quoted = text.replace('\'', "''");
    let document = format!(
        "version: 1\npolicies:\n  - {{name: p, who: {{users: [ann, keeper]}}, tables: [c.s.m], allow: true}}\n  - name: t\n    \
         who: {{users: [ann]}}\n    tables: [c.s.t]\n    allow: true\n    row_filter: '{quoted}'\n"
    );
    let Ok(set) = Set::parse(&[("p.yaml", document)]) else { return };
    let columns = [("a", "varchar"), ("b", "bigint"), ("r", "row(x varchar,y bigint)"), ("at", "timestamp(3)")];
    let (t, m) = (table("t", &columns), table("m", &columns[..3]));
    let ann = Principal::new("ann", Method::Password).with_groups(["g"]);
    let behind = Behind { read_by_policies: [(m.name.clone(), m)].into(), ..Behind::default() };
    let Ok(permit) = set.decide_through(&ann, &[Arc::clone(&t)], &behind, &Salt::from_bytes([1; 16])) else { return };
    let scoped = permit.scoped(&t.name).expect("decided");
    let read = |read: &Scoped, alias: &str| {
        let columns: Vec<String> = read.columns().map(|column| format!("\"{alias}\".\"{}\"", column.name)).collect();
        format!("SELECT {} FROM c.s.m AS \"{alias}\"", columns.join(", "))
    };
    for filter in scoped.filters() {
        let bound = filter.render("t", read);
        let limits = Limits { bytes: 1 << 20, tokens: 200_000, depth: 200 };
        let again = Expression::parse(&bound, &limits).unwrap_or_else(|error| panic!("{error}\nof {text:?}: {bound:?}"));
        for column in again.columns() {
            assert!(column.parts.len() > 1 && column.parts[0].0.value.starts_with('t'), "{text:?}: {bound:?}");
        }
        for call in again.calls() {
            let alone = ["coalesce", "format", "if", "nullif", "try"].contains(&call.name[0].value.to_lowercase().as_str());
            assert!(call.name.len() == 3 || alone, "{text:?}: {bound:?}");
        }
    }
});
