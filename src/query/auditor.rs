//! The audit over HTTP, for the programs of auditors. They sign in as drivers do.
//!
//! | `GET /v1/audit/` | what |
//! |---|---|
//! | `records` | a page of records, with the address of the next one |
//! | `records.jsonl` | all of them, a line for each, while they are found |
//! | `reports/KIND` | a report |
//! | `checkpoint` | the newest checkpoint, to be kept, and the key that it is verified with |

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::answer::Body;
use super::{Answer, Gateway, QueryError, RelayError};
use crate::audit::Event;
use crate::audit::take::{self, Selection, report};
use crate::identity::Authenticated;
use crate::wire::Call;

/// Records of a page if no number is asked for, and the most; and the bytes of one.
const EACH: usize = 100;
const MOST: usize = 1000;
const MOST_BYTES: usize = 16 << 20;
/// Bytes that are sent at a time, and how many such pieces wait for the client.
const PIECE: usize = 64 << 10;
const WAITING: usize = 4;

/// What an address asks for. What nobody takes is a mistake: of a wrong name more would be shown than was meant.
struct Parameters(BTreeMap<String, String>);

impl Parameters {
    fn of(query: &str) -> Result<Self, QueryError> {
        let mut all = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if all.insert(name.clone().into_owned(), value.into_owned()).is_some() {
                return Err(QueryError::Asked(format!("{name}: it is there twice")));
            }
        }
        Ok(Self(all))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).filter(|value| !value.is_empty())
    }

    fn number<T: std::str::FromStr>(&mut self, name: &str) -> Result<Option<T>, QueryError> {
        let number = self.take(name).map(|text| text.parse().map_err(|_| text));
        number.transpose().map_err(|text| QueryError::Asked(format!("{name}: {text:?} is not a number")))
    }

    fn selection(&mut self) -> Result<Selection, QueryError> {
        let moment = |text: Option<String>| text.map(|text| take::moment(&text)).transpose();
        let denied = match self.take("denied").as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(QueryError::Asked("denied: true or false".to_owned())),
        };
        Ok(Selection {
            from: moment(self.take("from")).map_err(QueryError::Asked)?,
            to: moment(self.take("to")).map_err(QueryError::Asked)?,
            user: self.take("user"),
            table: self.take("table"),
            tag: self.take("tag"),
            denied,
            after: self.number("after")?,
            text_keys: None,
        })
    }

    fn end(self) -> Result<(), QueryError> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(QueryError::Asked(format!("{name}: there is no such parameter"))),
        }
    }
}

/// That somebody looks at the audit, or would.
fn looked(action: &str, caller: &Authenticated, path: &str, query: &str) -> Event {
    let who = caller.principal().name();
    let by = caller.impersonator().map_or(who.to_owned(), |by| format!("{by} as {who}"));
    let detail = format!("{path}?{query}").trim_end_matches('?').to_owned();
    Event::Administration { action: action.to_owned(), by, peer: Some(caller.call().peer().origin()), detail }
}

#[derive(serde::Serialize)]
struct One {
    n: u64,
    record: Box<RawValue>,
}

#[derive(serde::Serialize)]
struct Page {
    records: Vec<One>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Gateway {
    /// Answers an auditor's program.
    pub(super) async fn read_audit(
        self: &Arc<Self>,
        call: Call,
        path: &str,
        query: &str,
    ) -> Result<Answer, QueryError> {
        let caller = self.authenticated(call).await?;
        // A token that was given to a tool for its queries opens no more than those.
        let limited = caller.scope().is_some_and(|scope| !scope.audit || scope.catalogs.is_some());
        if limited || caller.impersonator().is_some() || !self.auditors.admits(caller.principal().groups()) {
            tracing::info!("somebody who may not read the audit asks for it");
            self.audit.keep(&looked("audit_refused", &caller, path, query));
            return Err(QueryError::NotAuditor);
        }
        let mut asked = Parameters::of(query)?;
        match path {
            "records" => {
                let each: Option<usize> = asked.number("limit")?;
                let selection = asked.selection()?;
                asked.end()?;
                let turn = self.turn(&caller, "audit_search", path, query).await?;
                let each = each.unwrap_or(EACH).clamp(1, MOST);
                self.page(selection, each, query, turn).await
            }
            "records.jsonl" => {
                let selection = asked.selection()?;
                asked.end()?;
                let turn = self.turn(&caller, "audit_export", path, query).await?;
                Ok(Answer::Lines(self.lines(selection, turn)))
            }
            "checkpoint" => {
                asked.end()?;
                let turn = self.turn(&caller, "audit_search", path, query).await?;
                let place = self.auditors.place().clone();
                let read = self.blocking(turn, move || take::checkpoint(&place)).await?;
                let json = serde_json::json!({
                    "checkpoint": String::from_utf8_lossy(&read),
                    "verifier": self.audit.verifier(),
                });
                Ok(Answer::page(json.to_string()))
            }
            _ => {
                let Some(kind) = path.strip_prefix("reports/") else { return Err(QueryError::NoSuchQuery) };
                let more = asked.0.clone();
                let kind = report::Kind::read(kind, |name| more.get(name).cloned());
                let kind = kind.map_err(QueryError::Asked)?;
                ["hours", "zone", "days"].iter().for_each(|name| _ = asked.take(name));
                let selection = self.auditors.opening(asked.selection()?);
                asked.end()?;
                let turn = self.turn(&caller, "audit_report", path, query).await?;
                let place = self.auditors.place().clone();
                let made = self.blocking(turn, move || report::report(&[place], &kind, &selection)).await?;
                Ok(Answer::page(serde_json::json!({"names": made.names, "lines": made.lines}).to_string()))
            }
        }
    }

    /// The right to look, when it is on record that somebody does.
    async fn turn(
        &self,
        caller: &Authenticated,
        action: &str,
        path: &str,
        query: &str,
    ) -> Result<OwnedSemaphorePermit, QueryError> {
        let turn = self.auditors.turn().ok_or(QueryError::Busy)?;
        let event = looked(action, caller, path, query);
        self.audit.record(&event).await.map_err(QueryError::Audit)?;
        Ok(turn)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        turn: OwnedSemaphorePermit,
        work: impl FnOnce() -> Result<T, take::TakeError> + Send + 'static,
    ) -> Result<T, QueryError> {
        let done = self.work.spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        let unreadable = |why: String| {
            tracing::error!(why, "the audit cannot be read");
            QueryError::Unreadable
        };
        match done.await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(take::TakeError::Asked(why))) => Err(QueryError::Asked(why)),
            Ok(Err(error)) => Err(unreadable(error.to_string())),
            Err(error) => Err(unreadable(error.to_string())),
        }
    }

    async fn page(
        &self,
        selection: Selection,
        each: usize,
        query: &str,
        turn: OwnedSemaphorePermit,
    ) -> Result<Answer, QueryError> {
        let (place, selection) = (self.auditors.place().clone(), self.auditors.opening(selection));
        let found = self.blocking(turn, move || {
            let (mut records, mut bytes, mut more) = (Vec::new(), 0, false);
            let line = |n: u64, line: &[u8]| {
                if records.len() == each || bytes > MOST_BYTES {
                    more = true;
                    return false;
                }
                bytes += line.len();
                if let Ok(record) = serde_json::from_slice(line) {
                    records.push(One { n, record });
                }
                true
            };
            take::search(&place, &selection, line)?;
            Ok((records, more))
        });
        let (records, more) = found.await?;
        let next = records.last().filter(|_| more).map(|last| {
            let mut next = form_urlencoded::Serializer::new(String::new());
            next.extend_pairs(form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != "after"));
            next.append_pair("after", &last.n.to_string());
            format!("/v1/audit/records?{}", next.finish())
        });
        let page = serde_json::to_vec(&Page { records, next }).map_err(|_| QueryError::Unreadable)?;
        Ok(Answer::page(page))
    }

    /// Lines that are sent while they are found.
    fn lines(&self, selection: Selection, turn: OwnedSemaphorePermit) -> Body {
        let (place, selection) = (self.auditors.place().clone(), self.auditors.opening(selection));
        let (sender, receiver) = mpsc::channel::<Result<Bytes, RelayError>>(WAITING);
        self.work.spawn_blocking(move || {
            let _turn = turn;
            let mut piece = Vec::new();
            let line = |n: u64, line: &[u8]| {
                piece.extend_from_slice(format!("{{\"n\":{n},\"record\":").as_bytes());
                piece.extend_from_slice(line);
                piece.extend_from_slice(b"}\n");
                // Whoever has gone away asks for nothing more.
                piece.len() < PIECE || sender.blocking_send(Ok(std::mem::take(&mut piece).into())).is_ok()
            };
            let last = match take::search(&place, &selection, line) {
                Ok(()) => Ok(piece.into()),
                Err(error) => {
                    tracing::error!(%error, "the audit cannot be read to its end");
                    Err(RelayError::Audit)
                }
            };
            drop(sender.blocking_send(last));
        });
        let pieces = stream::unfold(receiver, async |mut receiver| {
            let piece = receiver.recv().await?;
            Some((piece.map(Frame::data), receiver))
        });
        StreamBody::new(pieces).boxed_unsync()
    }
}
