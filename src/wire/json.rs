//! Writing the little JSON that pages need.

/// Writes a string literal.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[from..at]);
        from = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(DIGITS[usize::from(byte >> 4)]);
                out.push(DIGITS[usize::from(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&text.as_bytes()[from..]);
    out.push(b'"');
}

/// Writes a number.
pub(super) fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(value.to_string().as_bytes());
}

/// What a client may know of a running statement; everything that counts rows, bytes or splits is zero.
pub(super) struct Progress<'a> {
    pub(super) state: &'a str,
    pub(super) queued: bool,
    pub(super) scheduled: bool,
    /// Since it was submitted, in the queue, in milliseconds.
    pub(super) queued_ms: u64,
    /// Since it was submitted, in milliseconds.
    pub(super) elapsed_ms: u64,
}

/// Writes a `stats` object with every field that drivers of Trino expect (`StatementStats` of 476).
pub(super) fn stats(out: &mut Vec<u8>, progress: &Progress<'_>) {
    out.extend_from_slice(b"{\"state\":");
    string(out, progress.state);
    let flag = |out: &mut Vec<u8>, name: &str, value: bool| {
        out.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
    };
    flag(out, "queued", progress.queued);
    flag(out, "scheduled", progress.scheduled);
    if progress.state == "FINISHED" {
        out.extend_from_slice(b",\"progressPercentage\":100.0,\"runningPercentage\":0.0");
    }
    out.extend_from_slice(
        b",\"nodes\":0,\"totalSplits\":0,\"queuedSplits\":0,\"runningSplits\":0,\"completedSplits\":0,\
          \"planningTimeMillis\":0,\"analysisTimeMillis\":0,\"cpuTimeMillis\":0,\"wallTimeMillis\":0,\
          \"queuedTimeMillis\":",
    );
    number(out, progress.queued_ms);
    out.extend_from_slice(b",\"elapsedTimeMillis\":");
    number(out, progress.elapsed_ms);
    out.extend_from_slice(
        b",\"finishingTimeMillis\":0,\"physicalInputTimeMillis\":0,\"processedRows\":0,\"processedBytes\":0,\
          \"physicalInputBytes\":0,\"physicalWrittenBytes\":0,\"internalNetworkInputBytes\":0,\
          \"peakMemoryBytes\":0,\"spilledBytes\":0}",
    );
}

/// Writes an `error` object (`QueryError` of 476). The stack and the causes stay with us.
pub(super) fn error(
    out: &mut Vec<u8>,
    message: &str,
    code: (i64, &str, &str),
    location: Option<crate::error::Location>,
) {
    let (number, name, kind) = code;
    out.extend_from_slice(b"{\"message\":");
    string(out, message);
    out.extend_from_slice(format!(",\"errorCode\":{number},\"errorName\":").as_bytes());
    string(out, name);
    out.extend_from_slice(b",\"errorType\":");
    string(out, kind);
    if let Some(location) = location {
        let (line, column) = (location.line, location.column);
        out.extend_from_slice(
            format!(",\"errorLocation\":{{\"lineNumber\":{line},\"columnNumber\":{column}}}").as_bytes(),
        );
    }
    out.extend_from_slice(b",\"failureInfo\":{\"type\":\"io.trino.spi.TrinoException\",\"message\":");
    string(out, message);
    out.extend_from_slice(b",\"suppressed\":[],\"stack\":[]}}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read_back() {
        let all: String = (0..0x3000).filter_map(char::from_u32).collect();
        for text in ["", "a", "\"", "\\", "a\"b\\c\n\r\t\u{1}\u{1f}\u{7f}d", "\u{1F600}", &all] {
            let mut out = Vec::new();
            string(&mut out, text);
            assert_eq!(serde_json::from_slice::<String>(&out).expect("JSON"), text);
        }
    }
}
