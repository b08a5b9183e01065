//! What the lines of the log are about: whatever is said while a query is served names that query and its trace, without each
//! place that says something having to know them.

use std::fmt;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{DefaultFields, FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use super::traces::Trace;

tokio::task_local! {
    static ABOUT: About;
}

/// The query that a task serves. For observation only: nothing may depend on it.
#[derive(Clone, Debug, Default)]
pub struct About {
    query: Option<Arc<str>>,
    trace: Trace,
}

impl About {
    /// A query, by the id that its user sees, and its trace.
    pub fn query(id: &str, trace: Trace) -> Self {
        Self { query: Some(id.into()), trace }
    }

    /// What this task is about now.
    pub fn current() -> Self {
        ABOUT.try_with(Clone::clone).unwrap_or_default()
    }

    /// Does something that is about this, as a part of its trace.
    pub fn scope<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        // Each layer around a future would have room for it twice: it is put where they need a pointer.
        let work = Box::pin(work);
        async move {
            if self.query.is_none() {
                return work.await;
            }
            let trace = self.trace.clone();
            ABOUT.scope(self, trace.scope(work)).await
        }
    }

    /// The members that a line has not got of itself.
    fn missing(named: &Named) -> Vec<(&'static str, String)> {
        let about = Self::current();
        let query = about.query.filter(|_| !named.query).map(|id| ("query", id.to_string()));
        let trace = about.trace.trace_id().filter(|_| !named.trace).map(|id| ("trace", id));
        query.into_iter().chain(trace).collect()
    }
}

/// Which of our members somebody has given.
#[derive(Default)]
struct Named {
    query: bool,
    trace: bool,
}

impl Visit for Named {
    fn record_debug(&mut self, field: &Field, _: &dyn fmt::Debug) {
        match field.name() {
            "query" => self.query = true,
            "trace" => self.trace = true,
            _ => {}
        }
    }
}

/// Lines for people: what they are about stands at their end.
#[derive(Debug, Default)]
pub(super) struct Fields(DefaultFields);

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut named = Named::default();
        fields.record(&mut named);
        self.0.format_fields(writer.by_ref(), fields)?;
        for (name, value) in About::missing(&named) {
            write!(writer, " {name}={value}")?;
        }
        Ok(())
    }
}

/// Lines for machines: the same, as members of the object.
pub(super) struct Objects<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for Objects<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'w> FormatFields<'w> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut named = Named::default();
        event.record(&mut named);
        let missing = About::missing(&named);
        if missing.is_empty() {
            return self.0.format_event(ctx, writer, event);
        }
        let mut line = String::new();
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        let Some(open) = line.trim_end().strip_suffix('}') else { return writer.write_str(&line) };
        writer.write_str(open)?;
        for (name, value) in missing {
            write!(writer, ",\"{name}\":{}", serde_json::Value::String(value))?;
        }
        writer.write_str("}\n")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::Value;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::telemetry::logs::{Format, subscriber};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic in a lock").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'w> MakeWriter<'w> for Lines {
        type Writer = Self;

        fn make_writer(&'w self) -> Self {
            self.clone()
        }
    }

    /// What is logged of a query, outside of it, and by somebody who names another.
    async fn said(format: Format) -> Vec<String> {
        let lines = Lines::default();
        let filter = tracing_subscriber::EnvFilter::new("info");
        let _guard = tracing::subscriber::set_default(subscriber(format, filter, false, lines.clone()));
        About::query("q1", Trace::default()).scope(async { tracing::info!(n = 1, "within \"it\"") }).await;
        tracing::info!("outside");
        About::query("q1", Trace::default())
            .scope(async { tracing::info!(query = "q2", "of another") })
            .await;
        let all = lines.0.lock().expect("no panic in a lock").clone();
        String::from_utf8(all).expect("text").lines().map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn each_line_says_which_query_it_is_about() {
        let lines = said(Format::Text).await;
        assert!(lines[0].ends_with("within \"it\" n=1 query=q1"), "{lines:?}");
        assert!(lines[1].ends_with("outside"), "{lines:?}");
        assert!(lines[2].contains("q2") && !lines[2].contains("q1"), "{lines:?}");
        let lines: Vec<Value> = said(Format::Json)
            .await
            .iter()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect();
        assert_eq!(lines[0]["query"], "q1", "{lines:?}");
        assert_eq!(lines[0]["message"], "within \"it\"", "{lines:?}");
        assert_eq!(lines[1]["query"], Value::Null, "{lines:?}");
        assert_eq!(lines[2]["query"], "q2", "{lines:?}");
    }
}
