//! What is sent is a statement, and names a restricted table only where its filter stands behind it.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use northgate::catalog::{Column, Described, RelationKind, TableName, Type};
use northgate::identity::{Method, Principal};
use northgate::policy::{Permit, Salt, Set};
use northgate::rewrite::{self, Context, Names};
use northgate::sql::{Kind, Limits, Statement};

const POLICIES: &str = "
version: 1
policies:
  - {name: all, who: {users: [ann]}, tables: ['lake.gold.*'], allow: true}
  - name: rows
    who: {users: [ann]}
    tables: [lake.gold.customers]
    row_filter: region = 'the filter stands here'
    column_masks: [{columns: [ssn], action: replace-with-null}, {columns: [profile.phone], action: mask-alphanum}]
    deny_columns: [secret]
";

fn table(name: &str, columns: &[(&str, &str)]) -> Arc<Described> {
    let columns = columns.iter().map(|(name, ty)| Column { name: (*name).to_owned(), ty: Type::parse(ty) }).collect();
    let name = TableName::new("lake", "gold", name).expect("a name");
    Arc::new(Described { name, kind: RelationKind::Table, columns })
}

static TABLES: LazyLock<[Arc<Described>; 2]> = LazyLock::new(|| {
    [
        table(
            "customers",
            &[
                ("id", "bigint"),
                ("name", "varchar"),
                ("ssn", "varchar(11)"),
                ("region", "varchar"),
                ("secret", "varchar"),
                ("profile", "row(name varchar,phone varchar)"),
            ],
        ),
        table("orders", &[("id", "bigint"), ("customer_id", "bigint"), ("amount", "decimal(12,2)")]),
    ]
});

static SET: LazyLock<Set> = LazyLock::new(|| Set::parse(&[("p.yaml", POLICIES)]).expect("policies"));

fn permit(statement: &Statement) -> Option<Permit> {
    let names = Names { catalog: Some("lake"), schema: Some("gold") };
    let relations = rewrite::resolve(statement, &names).ok()?;
    let find = |name: &TableName| TABLES.iter().find(|table| table.name == *name).cloned();
    let described: Vec<_> = relations.iter().map(find).collect::<Option<_>>()?;
    let ann = Principal::new("ann", Method::Password);
    SET.decide_with(&ann, &described, &Salt::from_bytes([1; 16])).ok()
}

fuzz_target!(|text: &str| {
    let limits = Limits::default();
    let Ok(statement) = Statement::parse(text, &limits) else { return };
    if matches!(statement.kind(), Kind::Other(_) | Kind::Change(_)) {
        return;
    }
    let Some(permit) = permit(&statement) else { return };
    let names = Names { catalog: Some("lake"), schema: Some("gold") };
    let context = Context { names, permit: &permit, properties: &[], fixed: &[], limits: &limits };
    let Ok(scoped) = rewrite::rewrite(&statement, &context) else { return };
    let larger = Limits { bytes: usize::MAX, tokens: usize::MAX, ..limits };
    let sent = Statement::parse(scoped.text(), &larger)
        .unwrap_or_else(|error| panic!("{error}\nread: {text:?}\nsent: {:?}", scoped.text()));
    // Without what is written behind the last token: a comment there names nothing.
    let read = statement.slice(statement.whole()).to_lowercase();
    let mut count = 0;
    for relation in rewrite::subject(&sent).relations() {
        assert_eq!(relation.name.len(), 3, "{:?}", scoped.text());
        if relation.name[2].value == "customers" {
            count += 1;
            let alias = relation.alias.as_ref().map(|alias| alias.value.as_str());
            assert!(alias.is_some_and(|alias| alias.starts_with("northgate_t")), "{:?}", scoped.text());
            assert!(!read.contains(alias.expect("checked")), "{text:?}");
        }
    }
    let filters = scoped.text().matches("'the filter stands here'").count();
    let written = text.matches("'the filter stands here'").count();
    assert!(filters >= count && (count > 0 || filters <= written), "{count} relations: {:?}", scoped.text());
});
