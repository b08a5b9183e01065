//! The bodies that the stub answers with: Trino 476's pages, field for field.

use std::fmt::Write as _;

use crate::bank::Mode;

/// Bytes of row data in one page of a stream, at most; what Trino aims at when a client asks for large pages.
pub(crate) const PAGE_BYTES: usize = 16 * 1024 * 1024;
/// Pages of a stream: 1 GiB in all.
pub(crate) const STREAM_PAGES: u64 = 64;

/// The text in front of `data`, `stats` or the links of a page: id and links. `next` is absent on the last page.
pub(crate) struct Links<'a> {
    /// Scheme and authority (and prefix) that links begin with.
    pub(crate) base: &'a str,
    /// Trino's query id.
    pub(crate) id: &'a str,
    /// The secret part of the link; its first letter is the mode.
    pub(crate) slug: &'a str,
    /// The number of the next page.
    pub(crate) next: Option<u64>,
    /// Whether there is a link to cancel the leaf stage.
    pub(crate) partial_cancel: bool,
}

/// Appends the page's opening brace, id and links, each with a comma after it.
pub(crate) fn open(out: &mut String, links: &Links<'_>) {
    let Links { base, id, slug, next, partial_cancel } = links;
    let _ = write!(out, r#"{{"id":"{id}","infoUri":"{base}/ui/query.html?{id}","#);
    if let Some(next) = next {
        if *partial_cancel {
            let _ = write!(
                out,
                r#""partialCancelUri":"{base}/v1/statement/executing/partialCancel/{id}/1/{slug}/{next}","#
            );
        }
        let _ = write!(out, r#""nextUri":"{base}/v1/statement/executing/{id}/{slug}/{next}","#);
    }
}

/// `"columns":[...],`
pub(crate) fn columns(columns: &[(&str, &str)]) -> String {
    let one = |(name, sql_type): &(&str, &str)| {
        let (raw, rest) = sql_type.split_once('(').unwrap_or((sql_type, ""));
        let (numbers, suffix) = rest.split_once(')').unwrap_or((rest, ""));
        let arguments: Vec<String> = numbers
            .split(',')
            .filter(|number| !number.is_empty())
            .map(|number| format!(r#"{{"kind":"LONG","value":{number}}}"#))
            .collect();
        format!(
            r#"{{"name":"{name}","type":"{sql_type}","typeSignature":{{"rawType":"{raw}{suffix}","arguments":[{}]}}}}"#,
            arguments.join(",")
        )
    };
    format!(r#""columns":[{}],"#, columns.iter().map(one).collect::<Vec<_>>().join(","))
}

/// Stats and warnings, and the closing brace.
pub(crate) fn close(state: &str) -> String {
    let finished = state == "FINISHED";
    let (running, done) = if finished { (0, 212) } else { (148, 64) };
    format!(
        r#""stats":{{"state":"{state}","queued":false,"scheduled":true,"progressPercentage":30.18867924528302,"runningPercentage":69.81132075471697,"nodes":4,"totalSplits":212,"queuedSplits":0,"runningSplits":{running},"completedSplits":{done},"planningTimeMillis":48,"analysisTimeMillis":31,"cpuTimeMillis":18233,"wallTimeMillis":94110,"queuedTimeMillis":1,"elapsedTimeMillis":7204,"finishingTimeMillis":0,"physicalInputTimeMillis":40217,"processedRows":48230144,"processedBytes":2893808640,"physicalInputBytes":803120331,"physicalWrittenBytes":0,"internalNetworkInputBytes":20480,"peakMemoryBytes":104857600,"spilledBytes":0,"rootStage":{{"stageId":"0","state":"{state}","done":{finished},"nodes":1,"totalSplits":17,"queuedSplits":0,"runningSplits":{running},"completedSplits":{done},"cpuTimeMillis":3,"wallTimeMillis":80,"processedRows":0,"processedBytes":0,"physicalInputBytes":0,"failedTasks":0,"coordinatorOnly":false,"subStages":[]}}}},"warnings":[]}}"#
    )
}

/// A whole page with rows and no next link, as the answer to a metadata query.
pub(crate) fn only_page(out: &mut String, base: &str, id: &str, page_columns: &[(&str, &str)], rows: &str) {
    open(out, &Links { base, id, slug: "", next: None, partial_cancel: false });
    out.push_str(&columns(page_columns));
    let _ = write!(out, r#""data":[{rows}],"#);
    out.push_str(&close("FINISHED"));
}

/// A page of an error, as Trino answers a statement that it cannot run.
pub(crate) fn error_page(out: &mut String, base: &str, id: &str, message: &str) {
    open(out, &Links { base, id, slug: "", next: None, partial_cancel: false });
    let _ = write!(
        out,
        r#""error":{{"message":"{message}","errorCode":13,"errorName":"NOT_SUPPORTED","errorType":"USER_ERROR","failureInfo":{{"type":"io.trino.spi.TrinoException","message":"{message}","suppressed":[],"stack":[]}}}},"#
    );
    out.push_str(&close("FAILED"));
}

/// `"data":[...],`: rows of the stream, [`PAGE_BYTES`] or a row less. The rows are made from a fixed seed: integers,
/// names, decimals as Trino writes them, texts with escapes and with letters outside ASCII, nulls and booleans.
pub(crate) fn stream_data() -> String {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let mut out = String::with_capacity(PAGE_BYTES + 1024);
    out.push_str(r#""data":["#);
    let mut row = String::new();
    for id in 0_u64.. {
        row.clear();
        let (name, memo) = (NAMES[pick(random(8))], MEMOS[pick(random(8))]);
        let _ = write!(
            row,
            r#"[{},"{name} {}","{}***@example.com","{}.{:02}","{}","2026-{:02}-{:02} {:02}:{:02}:{:02}.{:06} UTC","{}",{memo},{},"{}"]"#,
            9_000_000_000 + id * 7,
            SURNAMES[pick(random(8))],
            &name[..1],
            random(90_000),
            random(100),
            ["EUR", "USD", "CHF", "GBP", "EUR", "EUR", "USD", "SEK"][pick(random(8))],
            1 + random(12),
            1 + random(28),
            random(24),
            random(60),
            random(60),
            random(1_000_000),
            ["**** **** **** 4242", "**** **** **** 1881", "**** **** **** 0005"][pick(random(3))],
            random(10) == 0,
            ["eu-west", "eu-north", "us-east", "apac"][pick(random(4))],
        );
        if out.len() + row.len() + 3 > PAGE_BYTES {
            break;
        }
        if id > 0 {
            out.push(',');
        }
        out.push_str(&row);
    }
    out.push_str("],");
    out
}

fn pick(number: u64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

const NAMES: [&str; 8] = ["Ada", "Bruno", "Chloe", "Dmitri", "Elif", "Femi", "Greta", "Hiro"];
const SURNAMES: [&str; 8] =
    ["O'Neill", "Müller", "Lindqvist", "de la Cruz", "Okafor", "Tanaka", "Smith-Jones", "Żak"];
const MEMOS: [&str; 8] = [
    "null",
    r#""Invoice 2026/118""#,
    r#""rent \"March\", flat 3""#,
    r#""line one\nline two""#,
    r#""[refund] {see mail}""#,
    r#""C:\\exports\\may.csv""#,
    r#""caf\u00e9 au lait, 2 \u20ac""#,
    r#""salary""#,
];

/// What comes before and after the part of a page that differs from poll to poll.
pub(crate) struct Frames {
    /// Columns of the mode's answer.
    pub(crate) columns: String,
    /// The end of a page of a running query.
    pub(crate) running: String,
    /// The end of the last page.
    pub(crate) finished: String,
}

impl Frames {
    /// The frames of one mode.
    pub(crate) fn new(mode: Mode) -> Self {
        Self { columns: columns(mode.columns()), running: close("RUNNING"), finished: close("FINISHED") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_json() {
        for mode in [Mode::Poll, Mode::Submit, Mode::Stream] {
            let frames = Frames::new(mode);
            let mut page = String::new();
            let links =
                Links { base: "https://a:1", id: "q", slug: "p0", next: Some(7), partial_cancel: true };
            open(&mut page, &links);
            page.push_str(&frames.columns);
            if mode == Mode::Stream {
                page.push_str(&stream_data());
                assert!((PAGE_BYTES - 400..PAGE_BYTES + 2000).contains(&page.len()), "{}", page.len());
            }
            page.push_str(&frames.running);
            let read: serde_json::Value = serde_json::from_str(&page).unwrap();
            assert_eq!(read["nextUri"], "https://a:1/v1/statement/executing/q/p0/7");
            assert_eq!(read["columns"].as_array().unwrap().len(), mode.columns().len());
            if let Some(rows) = read["data"].as_array() {
                assert!(rows.iter().all(|row| row.as_array().unwrap().len() == mode.columns().len()));
            }
        }
    }

    #[test]
    fn a_type_has_its_signature() {
        let text = columns(&[("a", "decimal(18,2)"), ("b", "timestamp(6) with time zone"), ("c", "date")]);
        let read: serde_json::Value =
            serde_json::from_str(&format!("{{{}}}", text.trim_end_matches(','))).unwrap();
        let raw = |index: usize| read["columns"][index]["typeSignature"]["rawType"].clone();
        assert_eq!(
            (raw(0), raw(1), raw(2)),
            ("decimal".into(), "timestamp with time zone".into(), "date".into())
        );
    }
}
