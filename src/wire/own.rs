//! Pages of our own, for queries that wait, that are answered here, or that fail before Trino sees them.

use aws_lc_rs::rand;
use serde_json::Value;

use super::json::{self, Progress};
use crate::error::{ErrorCode, Failure, Location};

/// What every page says of its query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Northgate's id of the query.
    pub id: &'a str,
    /// What links are built on, from [`super::Call::base`].
    pub base: &'a str,
    /// Milliseconds since the query came.
    pub elapsed_ms: u64,
}

/// The type of a column that is answered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// `boolean`
    Boolean,
    /// `integer`
    Integer,
    /// `bigint`
    Bigint,
    /// `varchar`
    Varchar,
}

/// A column of a result that is answered here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: ColumnType,
}

impl LocalColumn {
    /// A column of text.
    pub fn varchar(name: impl Into<String>) -> Self {
        Self { name: name.into(), ty: ColumnType::Varchar }
    }
}

/// A page that says that the query waits, and why, if that is to be told. `sealed` is the sealed link of the next page.
pub fn queued_page(origin: &Origin<'_>, sealed: &str, why: Option<&str>) -> Vec<u8> {
    let mut out = begin(origin);
    out.extend_from_slice(b",\"nextUri\":");
    json::string(&mut out, &link(origin.base, sealed));
    stats(&mut out, origin, "QUEUED");
    let Some(why) = why else { return end(out) };
    // Northgate's own code: Trino's warnings are numbered from 1 up, those of connectors from 0x0100_0000.
    out.extend_from_slice(
        b",\"warnings\":[{\"warningCode\":{\"code\":65281,\"name\":\"QUERY_QUEUED\"},\"message\":",
    );
    json::string(&mut out, why);
    out.extend_from_slice(b"}]}");
    out
}

/// The page of a query that failed here. Its text is what the failure has for clients.
pub fn failure_page(origin: &Origin<'_>, failure: &dyn Failure) -> Vec<u8> {
    error_page(origin, failure.code(), &failure.client_message(), failure.location())
}

/// The page of a query that failed: an `error`, and no next page.
pub fn error_page(
    origin: &Origin<'_>,
    code: ErrorCode,
    message: &str,
    location: Option<Location>,
) -> Vec<u8> {
    let mut out = begin(origin);
    stats(&mut out, origin, "FAILED");
    out.extend_from_slice(b",\"error\":");
    json::error(&mut out, message, (i64::from(code.number), code.name, code.kind.as_str()), location);
    end(out)
}

/// The only page of a query that is answered here. `update_type` is for statements such as `SET SESSION`, which
/// have no columns; each row has one value to each column. Meant for small results: it is not cut into pages.
pub fn finished_page(
    origin: &Origin<'_>,
    update_type: Option<&str>,
    columns: &[LocalColumn],
    rows: &[Vec<Value>],
) -> Vec<u8> {
    let mut out = begin(origin);
    out.extend_from_slice(b",\"columns\":[");
    for (at, column) in columns.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"name\":");
        json::string(&mut out, &column.name);
        let (name, arguments) = match column.ty {
            ColumnType::Boolean => ("boolean", ""),
            ColumnType::Integer => ("integer", ""),
            ColumnType::Bigint => ("bigint", ""),
            ColumnType::Varchar => ("varchar", "{\"kind\":\"LONG\",\"value\":2147483647}"),
        };
        out.extend_from_slice(
            format!(
                ",\"type\":\"{name}\",\"typeSignature\":{{\"rawType\":\"{name}\",\"arguments\":[{arguments}]}}}}"
            )
            .as_bytes(),
        );
    }
    out.push(b']');
    if !rows.is_empty() {
        out.extend_from_slice(b",\"data\":[");
        for (at, row) in rows.iter().enumerate() {
            out.extend_from_slice(if at > 0 { b",[" } else { b"[" });
            for (at, value) in row.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(value.to_string().as_bytes());
            }
            out.push(b']');
        }
        out.push(b']');
    }
    stats(&mut out, origin, "FINISHED");
    out.extend_from_slice(b",\"warnings\":[]");
    if let Some(update_type) = update_type {
        out.extend_from_slice(b",\"updateType\":");
        json::string(&mut out, update_type);
    }
    out.push(b'}');
    out
}

/// A page of an answer that is given again: the columns and rows as Trino sent them, as JSON arrays, and the sealed link of
/// the page behind it. What answers the statement itself has no columns yet.
pub fn cached_page(
    origin: &Origin<'_>,
    columns: Option<&[u8]>,
    rows: Option<&[u8]>,
    sealed: Option<&str>,
) -> Vec<u8> {
    let mut out = begin(origin);
    out.reserve(columns.map_or(0, <[u8]>::len) + rows.map_or(0, <[u8]>::len));
    if let Some(sealed) = sealed {
        out.extend_from_slice(b",\"nextUri\":");
        json::string(&mut out, &link(origin.base, sealed));
    }
    for (name, raw) in [("columns", columns), ("data", rows)] {
        if let Some(raw) = raw {
            out.extend_from_slice(format!(",\"{name}\":").as_bytes());
            out.extend_from_slice(raw);
        }
    }
    stats(&mut out, origin, if sealed.is_some() { "RUNNING" } else { "FINISHED" });
    // Within the statistics, which have nothing else to tell: nothing was read.
    out.pop();
    out.extend_from_slice(b",\"cached\":true}");
    end(out)
}

/// A new id for a query, in the shape of Trino's: `20261123_033045_00005_xsgd7`. The last ten characters are
/// random. `seconds` is the time, in seconds since 1970, UTC.
pub fn new_query_id(seconds: i64) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0; 9];
    // Ids need not be secret: should there be no random numbers, sealing fails next.
    let _ = rand::fill(&mut random);
    let number = u32::from_be_bytes([random[0], random[1], random[2], random[3]]) % 100_000;
    let suffix: String =
        random[4..].iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect();
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{}_{number:05}_{suffix}", time.strftime("%Y%m%d_%H%M%S"))
}

/// The address of a page.
pub(super) fn link(base: &str, sealed: &str) -> String {
    format!("{base}/v1/statement/executing/{sealed}")
}

/// The address of a page about the query, which drivers show. Nothing is there for now.
pub(super) fn info(base: &str, id: &str) -> String {
    format!("{base}/ui/query.html?{id}")
}

fn begin(origin: &Origin<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(b"{\"id\":");
    json::string(&mut out, origin.id);
    out.extend_from_slice(b",\"infoUri\":");
    json::string(&mut out, &info(origin.base, origin.id));
    out
}

fn stats(out: &mut Vec<u8>, origin: &Origin<'_>, state: &str) {
    let queued = state == "QUEUED";
    let progress = Progress {
        state,
        queued,
        scheduled: !queued,
        queued_ms: if queued { origin.elapsed_ms } else { 0 },
        elapsed_ms: origin.elapsed_ms,
    };
    out.extend_from_slice(b",\"stats\":");
    json::stats(out, &progress);
}

fn end(mut out: Vec<u8>) -> Vec<u8> {
    out.extend_from_slice(b",\"warnings\":[]}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin<'static> =
        Origin { id: "20261123_033045_00005_abcde", base: "https://gw:8443", elapsed_ms: 12 };

    /// The fields that trino-jdbc and the Python and Go drivers read from `stats` without a default.
    const STATS: [&str; 21] = [
        "state",
        "queued",
        "scheduled",
        "nodes",
        "totalSplits",
        "queuedSplits",
        "runningSplits",
        "completedSplits",
        "planningTimeMillis",
        "analysisTimeMillis",
        "cpuTimeMillis",
        "wallTimeMillis",
        "queuedTimeMillis",
        "elapsedTimeMillis",
        "finishingTimeMillis",
        "physicalInputTimeMillis",
        "processedRows",
        "processedBytes",
        "physicalInputBytes",
        "peakMemoryBytes",
        "spilledBytes",
    ];

    fn read(page: &[u8], state: &str) -> Value {
        let page: Value = serde_json::from_slice(page).expect("JSON");
        assert_eq!(page["id"], ORIGIN.id);
        assert_eq!(page["infoUri"], "https://gw:8443/ui/query.html?20261123_033045_00005_abcde");
        assert_eq!(page["stats"]["state"], state);
        assert_eq!(page["stats"]["elapsedTimeMillis"], 12);
        assert_eq!(page["warnings"], serde_json::json!([]));
        for field in STATS {
            assert!(!page["stats"][field].is_null(), "{field}");
        }
        page
    }

    #[test]
    fn a_query_waits() {
        let page: Value =
            serde_json::from_slice(&queued_page(&ORIGIN, "abc-_1", Some("it \"waits\""))).expect("JSON");
        let warning = serde_json::json!({"warningCode": {"code": 65281, "name": "QUERY_QUEUED"}, "message": "it \"waits\""});
        assert_eq!(page["warnings"], serde_json::json!([warning]));
        let page = read(&queued_page(&ORIGIN, "abc-_1", None), "QUEUED");
        assert_eq!(page["nextUri"], "https://gw:8443/v1/statement/executing/abc-_1");
        assert_eq!(page["stats"]["queued"], true);
        assert!(page.get("error").is_none() && page.get("columns").is_none());
    }

    #[test]
    fn a_query_fails() {
        let at = Some(Location { line: 2, column: 7 });
        let page = read(&error_page(&ORIGIN, ErrorCode::SYNTAX_ERROR, "a \"b\"\n", at), "FAILED");
        let expect = serde_json::json!({
            "message": "a \"b\"\n", "errorCode": 1, "errorName": "SYNTAX_ERROR", "errorType": "USER_ERROR",
            "errorLocation": {"lineNumber": 2, "columnNumber": 7},
            "failureInfo": {"type": "io.trino.spi.TrinoException", "message": "a \"b\"\n", "suppressed": [], "stack": []},
        });
        assert_eq!(page["error"], expect);
        assert!(page.get("nextUri").is_none());
        let failure = super::super::Malformed::Body(super::super::BodyFault::NotUtf8);
        let page = read(&failure_page(&ORIGIN, &failure), "FAILED");
        assert_eq!(page["error"]["message"], "The SQL text is not UTF-8");
        assert!(page["error"].get("errorLocation").is_none());
    }

    #[test]
    fn a_query_is_answered_here() {
        let columns = [
            LocalColumn::varchar("a\"b"),
            LocalColumn { name: "n".to_owned(), ty: ColumnType::Bigint },
            LocalColumn { name: "f".to_owned(), ty: ColumnType::Boolean },
        ];
        let rows = [vec!["x\"y".into(), 1.into(), true.into()], vec![Value::Null, 2.into(), Value::Null]];
        let page = read(&finished_page(&ORIGIN, None, &columns, &rows), "FINISHED");
        assert_eq!(page["data"], serde_json::json!([["x\"y", 1, true], [null, 2, null]]));
        // As Trino 476 describes `SELECT CAST('' AS varchar)`.
        let varchar = serde_json::json!({"name": "a\"b", "type": "varchar", "typeSignature":
            {"rawType": "varchar", "arguments": [{"kind": "LONG", "value": 2_147_483_647_u32}]}});
        assert_eq!(page["columns"][0], varchar);
        assert_eq!(
            page["columns"][1]["typeSignature"],
            serde_json::json!({"rawType": "bigint", "arguments": []})
        );
        assert!(page.get("updateType").is_none() && page.get("nextUri").is_none());
        let page = read(&finished_page(&ORIGIN, Some("SET SESSION"), &[], &[]), "FINISHED");
        assert_eq!(page["updateType"], "SET SESSION");
        assert_eq!(page["columns"], serde_json::json!([]));
        assert!(page.get("data").is_none());
    }

    #[test]
    fn an_answer_is_given_again() {
        let page = read(&cached_page(&ORIGIN, None, None, Some("abc")), "RUNNING");
        assert_eq!(page["nextUri"], "https://gw:8443/v1/statement/executing/abc");
        assert!(page.get("columns").is_none() && page.get("data").is_none());
        assert_eq!(page["stats"]["cached"], true);
        let page =
            read(&cached_page(&ORIGIN, Some(b"[{\"name\":\"a\"}]"), Some(b"[[1],[2]]"), None), "FINISHED");
        assert_eq!(page["columns"], serde_json::json!([{"name": "a"}]));
        assert_eq!(page["data"], serde_json::json!([[1], [2]]));
        assert!(page.get("nextUri").is_none());
    }

    #[test]
    fn ids_have_the_shape_of_trinos() {
        let id = new_query_id(1_795_404_645);
        assert!(id.starts_with("20261123_033045_"), "{id}");
        let parts: Vec<&str> = id.split('_').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 6, 5, 5], "{id}");
        assert!(parts[2].bytes().all(|b| b.is_ascii_digit()), "{id}");
        assert_ne!(id, new_query_id(1_795_404_645));
    }
}
