//! Requests about kept answers.

use http::request::Parts;
use http::{Method, StatusCode};

use super::{Answer, Operated, not_allowed, text};
use crate::cache::Purge;
use crate::catalog::TableName;

/// `POST /cache/purge?table=c.s.t`, or `tag`, `principal`, `all=true`: one of them.
pub(super) async fn answer<O: Operated>(parts: &Parts, operated: &O) -> Answer {
    if parts.method != Method::POST {
        return not_allowed("POST");
    }
    match read(parts.uri.query().unwrap_or_default()) {
        Ok(purge) => match operated.purge(purge).await {
            Ok(removed) => text(StatusCode::OK, &format!("{removed} answers were removed\n")),
            Err((status, why)) => text(status, &format!("{why}\n")),
        },
        Err(wrong) => text(StatusCode::BAD_REQUEST, &format!("{wrong}\n")),
    }
}

fn read(query: &str) -> Result<Purge, String> {
    let (name, value) = query.split_once('=').unwrap_or((query, ""));
    let value = percent_encoding::percent_decode_str(value).decode_utf8();
    let value = value.map_err(|_| format!("{name} is not UTF-8"))?.into_owned();
    if value.contains('&') || query.contains('&') || value.is_empty() {
        return Err("one of table, tag, principal and all is needed".to_owned());
    }
    match (name, value.as_str()) {
        ("all", "true") => Ok(Purge::All),
        ("all", _) => Err("all is true".to_owned()),
        ("table", name) => match name.split('.').collect::<Vec<_>>()[..] {
            [catalog, schema, table] => TableName::new(catalog, schema, table).map(Purge::Table),
            _ => None,
        }
        .ok_or_else(|| "a table is catalog.schema.table".to_owned()),
        ("tag", _) => Ok(Purge::Tag(value.to_lowercase())),
        ("principal", _) => Ok(Purge::Principal(value)),
        _ => Err("one of table, tag, principal and all is needed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_go() {
        let check = |query: &str, expect: &str| {
            let got = format!("{:?}", read(query));
            assert!(got.contains(expect), "{query}: {got}");
        };
        check("all=true", "Ok(All)");
        check("table=Lake.gold.t", "Table(TableName { catalog: \"lake\", schema: \"gold\", table: \"t\" })");
        check("tag=PII.email", "Tag(\"pii.email\")");
        check("principal=a%20b", "Principal(\"a b\")");
        for wrong in [
            "",
            "all",
            "all=yes",
            "table=t",
            "table=a.b.c.d",
            "tag=",
            "user=x",
            "tag=a&tag=b",
            "principal=%ff",
        ] {
            check(wrong, "Err(");
        }
    }
}
