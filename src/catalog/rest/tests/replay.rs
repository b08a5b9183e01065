//! A server that gives the answers of a real Polaris 1.7, recorded in `tests/golden/polaris`, and fails the test on a
//! question that was not recorded.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpListener;

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Exchange {
    pub(super) name: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) request_headers: BTreeMap<String, String>,
    pub(super) request_body: Value,
    pub(super) status: u16,
    pub(super) response_headers: BTreeMap<String, String>,
    pub(super) response_body: Value,
}

/// All that was recorded, in order.
pub(super) fn exchanges() -> Vec<Exchange> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/polaris/exchanges.jsonl");
    let text = std::fs::read_to_string(path).expect("the recordings");
    text.lines().map(|line| serde_json::from_str(line).expect("an exchange")).collect()
}

/// The server. Dropped, it fails the test if it was asked what it does not know.
pub(crate) struct Replay {
    pub(crate) uri: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    known: Vec<(Exchange, bool)>,
    strange: Vec<String>,
    asked: Vec<String>,
}

impl Replay {
    /// Knows the exchanges of these names. Of several that fit a question the first that was not given yet answers, and
    /// after them the last.
    pub(crate) async fn start(names: &[&str]) -> Self {
        let all = exchanges();
        let find =
            |name: &&str| all.iter().find(|one| one.name == *name).unwrap_or_else(|| panic!("no {name}"));
        let known = names.iter().map(|name| (find(name).clone(), false)).collect();
        let state = Arc::new(Mutex::new(State { known, ..State::default() }));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let uri = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                let service = service_fn(move |request| answer(Arc::clone(&state), request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { uri, state }
    }

    /// The names of the exchanges that were had.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.lock().expect("not poisoned").asked.clone()
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        if let Ok(state) = self.state.lock()
            && !std::thread::panicking()
        {
            assert!(state.strange.is_empty(), "asked what was not recorded: {:#?}", state.strange);
        }
    }
}

async fn answer(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let path = head.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    let mut state = state.lock().expect("not poisoned");
    let fits = |one: &Exchange| {
        one.method == head.method.as_str()
            && one.path == path
            && ["authorization", "if-none-match", "x-iceberg-access-delegation"]
                .iter()
                .all(|name| sent(&head.headers, name) == recorded(&one.request_headers, name))
            && same_body(&one.request_body, &body)
    };
    let found = state.known.iter().position(|(one, given)| !given && fits(one));
    let found = found.or_else(|| state.known.iter().rposition(|(one, _)| fits(one)));
    let Some(found) = found else {
        let text = format!("{} {path} {:?} {}", head.method, head.headers, String::from_utf8_lossy(&body));
        state.strange.push(text);
        let response = Response::builder().status(StatusCode::NOT_IMPLEMENTED).body(Full::default());
        return Ok(response.expect("a response"));
    };
    state.known[found].1 = true;
    let one = state.known[found].0.clone();
    state.asked.push(one.name.clone());
    let body = match &one.response_body {
        Value::Null => Bytes::new(),
        Value::String(text) => Bytes::from(text.clone()),
        value => Bytes::from(value.to_string()),
    };
    let mut response = Response::builder().status(one.status);
    for (name, value) in &one.response_headers {
        if !["content-length", "content-encoding"].contains(&name.to_lowercase().as_str()) {
            response = response.header(name, value);
        }
    }
    Ok(response.body(Full::new(body)).expect("a response"))
}

fn sent(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    // The recordings have one placeholder for a token in an answer, and another where it is sent.
    Some(value.replace("<access_token of ", "<"))
}

fn recorded(headers: &BTreeMap<String, String>, name: &str) -> Option<String> {
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
}

fn same_body(recorded: &Value, sent: &Bytes) -> bool {
    match recorded {
        Value::Null => sent.is_empty(),
        Value::String(form) => fields(form) == fields(&String::from_utf8_lossy(sent)),
        value => serde_json::from_slice::<Value>(sent).is_ok_and(|sent| sent == *value),
    }
}

fn fields(form: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    form.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}
