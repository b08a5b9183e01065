//! Traces of queries, sent to a collector by OTLP. Off unless a collector is configured; then nothing is made, sent or passed on.
//!
//! A query is one span with one below it for each stage, from where its statement came to its last page. It goes on with the
//! client's `traceparent` (W3C Trace Context), and what Trino and the catalogs are asked for a query carries ours. A trace
//! begins when its caller is known: nobody else makes any. There are no users and no SQL in them.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider,
};
use serde::{Deserialize, Serialize};

use crate::https::{self, Bounds};

/// The header of W3C Trace Context.
pub const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
/// How often spans are sent, and what one sending may take.
const SENT: Duration = Duration::from_secs(2);
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(10), body: 1 << 20 };
/// How long the last ones are waited for when the gateway stops.
const LAST: Duration = Duration::from_secs(3);

/// `[telemetry.traces]`: the collector of traces.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TracesConfig {
    /// Where spans are sent, by OTLP over HTTP: `http://127.0.0.1:4318/v1/traces`.
    pub endpoint: String,
    /// The part of the traces that begin here which are sent, from 0 to 1. Of those that a client has begun its own word
    /// counts.
    #[serde(default = "TracesConfig::all")]
    pub sample: f64,
    /// The only certificate authorities that the collector may be signed by (PEM). Default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Send over plain HTTP to another host. Who is on that network sees who asks what when, though not by name.
    #[serde(default)]
    pub allow_plain_http: bool,
}

impl TracesConfig {
    fn all() -> f64 {
        1.0
    }

    /// What is wrong with it.
    ///
    /// # Errors
    /// The key and why.
    pub fn check(&self) -> Result<(), String> {
        https::address(&self.endpoint, self.allow_plain_http).map_err(|why| format!("endpoint: {why}"))?;
        if (0.0..=1.0).contains(&self.sample) { Ok(()) } else { Err("sample: from 0 to 1".to_owned()) }
    }
}

/// Where traces come from.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Source>>);

struct Source {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Traces").field(&self.0.is_some()).finish()
    }
}

impl Traces {
    /// Those of a configuration; without one there are none. Needs a tokio runtime, by which they are sent.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn open(config: Option<&TracesConfig>) -> Result<Self, String> {
        let Some(config) = config else { return Ok(Self(None)) };
        config.check()?;
        let encrypted = config.endpoint.starts_with("https");
        let sender = Sender {
            client: https::Client::new(config.ca_file.as_deref(), encrypted)?,
            handle: tokio::runtime::Handle::current(),
        };
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(sender)
            .with_endpoint(&config.endpoint)
            .with_timeout(BOUNDS.time)
            .with_headers(HashMap::new())
            .build()
            .map_err(|error| error.to_string())?;
        let batches = BatchConfigBuilder::default().with_scheduled_delay(SENT).build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let resource = Resource::builder()
            .with_service_name("northgate")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sample))))
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("northgate");
        Ok(Self(Some(Arc::new(Source { provider, tracer }))))
    }

    /// What a request says of the trace that it is of.
    pub fn parent(&self, headers: &HeaderMap) -> Parent {
        if self.0.is_none() {
            return Parent(Context::new());
        }
        Parent(TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers)))
    }

    /// Begins the trace of a query, or goes on with that of its client.
    pub fn begin(&self, parent: &Parent, began: SystemTime) -> Trace {
        let Some(source) = &self.0 else { return Trace(None) };
        let span = source.tracer.span_builder("query").with_kind(SpanKind::Server).with_start_time(began);
        let context = parent.0.with_span(source.tracer.build_with_context(span, &parent.0));
        // What is not to be sent is passed on as such, so that nobody behind sends it either.
        Trace(Some(Arc::new(Inner { tracer: source.tracer.clone(), context })))
    }

    /// Sends what there still is.
    pub async fn close(&self) {
        let Some(source) = self.0.clone() else { return };
        let closed = tokio::task::spawn_blocking(move || source.provider.shutdown_with_timeout(LAST)).await;
        if let Ok(Err(error)) = closed {
            tracing::debug!(%error, "the last traces were not sent");
        }
    }
}

/// What a request says of the trace that it is of.
#[derive(Clone, Debug)]
pub struct Parent(Context);

tokio::task_local! {
    static CURRENT: Trace;
}

/// The trace of a query; or none, which costs nothing. For observation only: nothing may depend on it.
#[derive(Clone, Default)]
pub struct Trace(Option<Arc<Inner>>);

struct Inner {
    tracer: SdkTracer,
    context: Context,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trace").field(&self.id()).finish()
    }
}

impl Trace {
    /// That of what this task does now.
    pub fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// Does something as a part of it.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        if self.0.is_none() { work.await } else { CURRENT.scope(self, work).await }
    }

    /// Its id, in hexadecimal, if it is one that is sent.
    pub fn id(&self) -> Option<String> {
        let inner = self.0.as_ref()?;
        let span = inner.context.span();
        let context = span.span_context();
        context.is_sampled().then(|| context.trace_id().to_string())
    }

    /// Its id, in hexadecimal, whether it is sent or not.
    pub fn trace_id(&self) -> Option<String> {
        let inner = self.0.as_ref()?;
        Some(inner.context.span().span_context().trace_id().to_string())
    }

    /// The header by which another server goes on with it.
    pub fn header(&self) -> Option<HeaderValue> {
        let inner = self.0.as_ref()?;
        let span = inner.context.span();
        let context = span.span_context();
        let flags = context.trace_flags().to_u8();
        let text = format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id());
        HeaderValue::try_from(text).ok()
    }

    /// Names the query that it is of.
    pub fn of_query(&self, id: &str) {
        if let Some(inner) = &self.0 {
            inner.context.span().set_attribute(KeyValue::new("northgate.query", id.to_owned()));
        }
    }

    /// A stage that took so long until now.
    pub fn stage(&self, name: &'static str, took: Duration) {
        let Some(inner) = &self.0 else { return };
        let now = SystemTime::now();
        let span = inner.tracer.span_builder(name).with_kind(SpanKind::Internal);
        let span = span.with_start_time(now.checked_sub(took).unwrap_or(now));
        let mut span = inner.tracer.build_with_context(span, &inner.context);
        opentelemetry::trace::Span::end_with_timestamp(&mut span, now);
    }

    /// How the query ended. The span ends when nobody holds it any more, or now.
    pub fn end(&self, outcome: &'static str, failed: bool) {
        let Some(inner) = &self.0 else { return };
        let span = inner.context.span();
        span.set_attribute(KeyValue::new("northgate.outcome", outcome));
        if failed {
            span.set_status(Status::error(outcome));
        }
        span.end();
    }
}

/// Sends spans by our own client, from whatever thread they are sent from.
#[derive(Debug)]
struct Sender {
    client: https::Client,
    handle: tokio::runtime::Handle,
}

type Sent<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Sender {
    fn send_bytes<'this, 'sent>(&'this self, request: Request<Bytes>) -> Sent<'sent>
    where
        'this: 'sent,
        Self: 'sent,
    {
        let client = self.client.clone();
        let sent = self.handle.spawn(async move {
            let answer = client.send(request, BOUNDS).await;
            match &answer {
                Ok(answer) if answer.status().is_success() => {}
                Ok(answer) => {
                    tracing::debug!(status = %answer.status(), "the collector does not take traces");
                }
                Err(error) => tracing::debug!(%error, "traces are not sent"),
            }
            answer
        });
        Box::pin(async move { Ok(sent.await??) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn traces(sample: f64) -> Traces {
        let config = TracesConfig {
            endpoint: "http://127.0.0.1:1/v1/traces".to_owned(),
            sample,
            ca_file: None,
            allow_plain_http: false,
        };
        Traces::open(Some(&config)).expect("they can be made")
    }

    fn told(traces: &Traces, value: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(TRACE_PARENT, HeaderValue::from_str(value).expect("a header"));
        let trace = traces.begin(&traces.parent(&headers), SystemTime::now());
        trace.header().map(|header| header.to_str().expect("text").to_owned()).unwrap_or_default()
    }

    #[tokio::test]
    async fn a_trace_of_the_clients_goes_on_in_a_span_of_ours() {
        let traces = traces(0.0);
        let header = told(&traces, PARENT);
        assert!(
            header.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && header.ends_with("-01"),
            "{header}"
        );
        assert!(!header.contains("00f067aa0ba902b7"), "{header}");
        // One that is not to be sent is told to be so, and what is no trace is none.
        assert!(told(&traces, &PARENT.replace("-01", "-00")).ends_with("-00"));
        for wrong in ["", "x", "00-0-0-01", &PARENT.replace("4b", "zz"), &format!("{PARENT}\"; x")] {
            let header = told(&traces, wrong);
            assert!(!header.contains("4bf92f35") && header.ends_with("-00"), "{wrong}: {header}");
        }
    }

    #[tokio::test]
    async fn without_a_collector_there_is_nothing() {
        let traces = Traces::open(None).expect("nothing to open");
        assert_eq!(told(&traces, PARENT), "");
        Trace::default().scope(async { assert_eq!(Trace::current().header(), None) }).await;
    }

    #[tokio::test]
    async fn what_is_done_within_a_trace_knows_of_it() {
        let traces = traces(1.0);
        let trace = traces.begin(&traces.parent(&HeaderMap::new()), SystemTime::now());
        let header = trace.header();
        assert!(trace.id().is_some());
        trace.clone().scope(async { assert_eq!(Trace::current().header(), header) }).await;
        assert_eq!(Trace::current().header(), None);
    }

    #[test]
    fn which_settings_hold() {
        let check = |text: &str, expect: &str| {
            let config: TracesConfig = toml::from_str(text).expect("a section");
            let got = config.check().err().unwrap_or_default();
            assert!(got.starts_with(expect) && got.is_empty() == expect.is_empty(), "{text}: {got}");
        };
        check("endpoint = 'http://127.0.0.1:4318/v1/traces'", "");
        check("endpoint = 'https://collector.example/v1/traces'\nsample = 0.1", "");
        check("endpoint = 'http://collector.example/v1/traces'", "endpoint: must be https");
        check("endpoint = 'http://collector.example/v1/traces'\nallow_plain_http = true", "");
        check("endpoint = 'http://127.0.0.1:4318'\nsample = 1.5", "sample");
    }
}
