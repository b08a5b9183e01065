//! Requests in, responses out: pages for browsers, the protocol for drivers.

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use http_body_util::BodyExt;

use super::App;
use crate::identity::{Asking, Refused};
use crate::query::{Answer, QueryError};
use crate::server::{self, BodyError, Handler, respond};
use crate::telemetry::RequestRoute;
use crate::web::Web;
use crate::wire::{Origin, Peer};

/// Who a driver without a login says that it is.
fn asking(parts: &Parts, peer: &Peer) -> Asking {
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    Asking::new(header("x-trino-user"), peer.address.ip().to_string(), header("user-agent"))
}

/// A body whose errors are the server's.
fn sent<E: std::fmt::Display>(
    body: impl http_body::Body<Data = Bytes, Error = E> + Send + 'static,
) -> server::Body {
    body.map_err(|error| BodyError::Source(error.to_string())).boxed_unsync()
}

fn refusal(error: &QueryError) -> Response<crate::server::Body> {
    match error {
        QueryError::Refused(refused) => respond::refused(refused),
        QueryError::Malformed(malformed) => {
            let id = crate::wire::new_query_id(jiff::Timestamp::now().as_second());
            let origin = Origin { id: &id, base: "https://localhost", elapsed_ms: 0 };
            respond::malformed(&origin, malformed)
        }
        error => respond::failure(error.http_status(), error),
    }
}

impl App {
    /// Tells a driver without a login where its user can sign in with a browser (Trino's external authentication). In the
    /// place of the plain challenge to bring a token: drivers take the first of its kind.
    fn invite(&self, error: &QueryError, asking: Option<Asking>, response: &mut Response<server::Body>) {
        let (QueryError::Refused(refused), Some(login), Some(asking)) =
            (error, self.identity.login(), asking)
        else {
            return;
        };
        let token = |ticket: &str| format!("x_token_server=\"{}/oauth2/token/{ticket}\"", login.origin());
        let challenge = match refused {
            Refused::Renewed { ticket, .. } => format!("Bearer {}", token(ticket)),
            Refused::MissingCredentials | Refused::BadCredentials(_) => {
                let Some(tickets) = login.invite(asking) else { return };
                let initiate = format!("{}/oauth2/token/initiate/{}", login.origin(), tickets.initiate);
                format!("Bearer x_redirect_server=\"{initiate}\", {}", token(&tickets.token))
            }
            _ => return,
        };
        respond::challenge_bearer(response, &challenge);
    }
}

impl Handler for App {
    async fn handle(&self, parts: Parts, body: Bytes, peer: Peer) -> Response<crate::server::Body> {
        if Web::serves(parts.uri.path()) && self.identity.login().is_some() {
            let response = self.web.handle(&parts, &body, &peer).await.map(sent);
            self.metrics.request(RequestRoute::Web, response.status().as_u16());
            return response;
        }
        let asking = self.identity.login().map(|_| asking(&parts, &peer));
        let (route, result) = self.gateway.handle(parts, body, peer).await;
        let response = match result {
            Ok(Answer::Page { headers, body }) => respond::page(headers, sent(body)),
            Ok(Answer::Lines(body)) => respond::lines(sent(body)),
            Ok(Answer::Empty(status)) => respond::empty(status),
            Err(error) => {
                let mut response = refusal(&error);
                self.invite(&error, asking, &mut response);
                response
            }
        };
        self.metrics.request(route, response.status().as_u16());
        response
    }

    async fn screen(&self, parts: &Parts, peer: &Peer) -> Option<Response<crate::server::Body>> {
        if Web::serves(parts.uri.path()) && self.identity.login().is_some() {
            let response = self.web.screen(parts)?.map(sent);
            self.metrics.request(RequestRoute::Web, response.status().as_u16());
            return Some(response);
        }
        let error = self.gateway.screen(&parts.headers, peer).await.err()?;
        let response = refusal(&error);
        self.metrics.request(RequestRoute::Unknown, response.status().as_u16());
        Some(response)
    }

    fn is_open(&self, parts: &Parts) -> bool {
        Web::serves(parts.uri.path()) && self.identity.login().is_some()
    }

    async fn drain(&self) {
        self.gateway.leave();
        tokio::time::sleep(self.drain_delay).await;
        self.gateway.drain().await;
    }
}
