//! Answers that are given again: their pages, at whichever gateway they are asked for.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use super::cached::CACHE;
use super::poll::{first, login};
use super::registry::{FirstPage, Running};
use super::tally::EXECUTING;
use super::{Answer, Gateway, QueryError, StatementError, answer};
use crate::audit::{Outcome, State};
use crate::cache::{Entry, Key};
use crate::error::Failure;
use crate::identity::Authenticated;
use crate::replica::{Ending, Page, Report};
use crate::telemetry;
use crate::wire::{self, KeptPage, Link, Origin, Target};

impl Gateway {
    /// Gives an answer that came while the query waited.
    pub(super) fn serve_shared(&self, running: &Running, entry: Arc<Entry>, base: &str, login: &str) {
        self.metrics.cache_lookup(telemetry::Cached::Shared);
        running.marked(|guard| guard.given(&entry.about().origin));
        self.serve_entry(running, entry, base, login);
    }

    /// Begins to give an answer again.
    pub(super) fn serve_entry(&self, running: &Running, entry: Arc<Entry>, base: &str, login: &str) {
        let headers = served(&entry);
        let origin = Origin { id: &running.id, base, elapsed_ms: running.elapsed_ms() };
        let link = self.link_to(&entry, &running.id, self.replicas.id(), 1, login);
        running.serve_from(entry);
        let body = match link {
            Ok(sealed) => wire::cached_page(&origin, None, None, Some(&sealed)),
            Err(error) => {
                self.end(running, &Outcome::failed(error.code().name, error.to_string()));
                wire::failure_page(&origin, &error)
            }
        };
        running.answer(FirstPage { headers, body: body.into() });
    }

    /// A link to a page of an answer that is given again.
    fn link_to(
        &self,
        entry: &Entry,
        query: &str,
        origin: u64,
        number: u64,
        login: &str,
    ) -> Result<String, wire::SealerError> {
        let about = entry.about();
        let life = i64::try_from(self.config.client_timeout.0.as_secs()).unwrap_or(i64::MAX);
        let target = Target::Kept(KeptPage {
            key: about.key.bytes(),
            source: about.origin.clone(),
            number,
            until: jiff::Timestamp::now().as_second().saturating_add(life),
        });
        // It runs nowhere.
        let (query, cluster) = (query.to_owned(), String::new());
        self.sealer
            .seal_link(&Link { query, cluster, target, restricted: false, collected: false, origin }, login)
    }

    /// A page of an answer that is given again. Each can be asked for any number of times, at any gateway.
    pub(super) async fn kept_page(
        &self,
        caller: &Authenticated,
        link: &Link,
        kept: &KeptPage,
        running: Option<&Arc<Running>>,
    ) -> Result<Answer, QueryError> {
        let entry = match running {
            Some(running) => running.entry(),
            None => self.registry.ended_entry(&link.query),
        };
        let elapsed_ms = running.map_or(0, |running| running.elapsed_ms());
        let origin = Origin { id: &link.query, base: caller.call().base(), elapsed_ms };
        let entry = match entry {
            Some(entry) => entry,
            None if !self.replicas.is_another(link.origin) => return Err(QueryError::NoSuchQuery),
            None => {
                if let Some(page) = self.last_elsewhere(link).await {
                    return Ok(first(page));
                }
                match self.kept_elsewhere(link, kept).await? {
                    Some(entry) => entry,
                    None => return Ok(Answer::page(wire::failure_page(&origin, &StatementError::NotKept))),
                }
            }
        };
        let pages = entry.pages().max(1) as u64;
        if kept.number > pages {
            return Err(QueryError::NoSuchQuery);
        }
        match self.page_of(&entry, &origin, link.origin, kept.number, login(caller)) {
            Ok((body, rows, bytes)) => {
                self.metrics.page(rows, bytes);
                self.gave(
                    link,
                    Page { number: EXECUTING + kept.number - 1, rows, bytes, sending: None },
                    running,
                    kept.number == pages,
                );
                Ok(Answer::with_headers(answer::whole(body), served(&entry)))
            }
            Err(error) => {
                tracing::error!(query = %link.query, %error, "an answer cannot be given again");
                let outcome = Outcome::failed(error.code().name, error.to_string());
                match running {
                    Some(running) => self.end(running, &outcome),
                    None => self.ended_elsewhere(link, outcome),
                }
                Ok(Answer::page(wire::failure_page(&origin, &error)))
            }
        }
    }

    /// The answer that another gateway's query is given again. None if nobody has it any more.
    async fn kept_elsewhere(&self, link: &Link, kept: &KeptPage) -> Result<Option<Arc<Entry>>, QueryError> {
        // What its principal may see is decided when they ask. That is not long ago.
        let Some(cache) = self.cache.as_ref().filter(|_| jiff::Timestamp::now().as_second() < kept.until)
        else {
            return Err(QueryError::NoSuchQuery);
        };
        let looked = cache.given(&Key::of_bytes(kept.key), &kept.source).await.unwrap_or_default();
        if looked.corrupt {
            self.metrics.cache_answer(telemetry::Kept::Corrupt);
        }
        match looked.entry {
            Some(entry) => Ok(Some(entry)),
            None if self.replicas.is_gone(link.origin).await => Ok(None),
            // The query's own gateway has it: the client asks again, and may get there.
            None => Err(QueryError::Elsewhere),
        }
    }

    /// Counts a page of an answer that was given again.
    fn gave(&self, link: &Link, page: Page, running: Option<&Arc<Running>>, is_last: bool) {
        let Some(running) = running else {
            let ending = is_last.then_some(Ending::Finished);
            self.replicas
                .report(link.origin, Report { pages: vec![page], ending, ..Report::of(&link.query) });
            return;
        };
        running.count(Some(page.number), page.rows, page.bytes);
        if is_last {
            self.end(running, &Outcome::of(State::Finished));
        }
    }

    fn page_of(
        &self,
        entry: &Entry,
        origin: &Origin<'_>,
        gateway: u64,
        number: u64,
        login: &str,
    ) -> Result<(Bytes, u64, u64), StatementError> {
        let rows = if entry.pages() == 0 {
            None
        } else {
            let page = entry.page(usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX));
            if page.is_err() {
                self.metrics.cache_answer(telemetry::Kept::Corrupt);
            }
            Some(page?)
        };
        let more = number < entry.pages() as u64;
        let next = more.then(|| self.link_to(entry, origin.id, gateway, number + 1, login)).transpose()?;
        let data = rows.as_ref().map(|(data, _)| &data[..]);
        let body = wire::cached_page(origin, Some(entry.columns()), data, next.as_deref());
        let bytes = data.map_or(0, <[u8]>::len) as u64;
        Ok((body.into(), rows.map_or(0, |(_, rows)| rows), bytes))
    }
}

/// What the client is told of an answer that is given again.
fn served(entry: &Entry) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CACHE, HeaderValue::from_static("hit"));
    headers.insert(header::AGE, HeaderValue::from(entry.age().as_secs()));
    headers
}
