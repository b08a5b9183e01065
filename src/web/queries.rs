//! The queries that wait and run: one's own, and everybody's for operators.

use http::StatusCode;
use maud::html;

use super::answer::Reply;
use super::pages::{self, Place};
use super::{Failed, Page, Result, to};
use crate::audit::Event;
use crate::identity::Session;
use crate::query::reason;

impl Page<'_> {
    fn queries_of<'s>(&self, session: &'s Session) -> Option<&'s str> {
        let operates = self.queries.is_some_and(|queries| queries.admits(session));
        (!operates).then(|| session.principal().name())
    }

    pub(super) async fn queries(&self) -> Result {
        let queries = self.queries.ok_or(Failed::NotFound)?;
        let Some(session) = self.session().await? else { return to("/login") };
        let of = self.queries_of(&session);
        let mut frame = self.frame("Queries", Some(&session));
        frame.place = Place::Queries;
        let listed = queries.gateway.queries(of);
        let content = html! {
            h1 { "Queries" }
            p {
                @if of.is_some() { "Your queries that wait or run at this gateway." }
                @else { "All queries that wait or run at this gateway." }
            }
            @if listed.is_empty() {
                p { "There are none." }
            } @else {
                div.card.scroll { table {
                    thead { tr {
                        th scope="col" { "Query" } th scope="col" { "User" } th scope="col" { "Kind" } th scope="col" { "Class" }
                        th scope="col" { "State" } th.number scope="col" { "Age" } th scope="col" { "Cancel" }
                    } }
                    tbody {
                        @for query in &listed {
                            tr {
                                td { code { (query.id) } }
                                td { (query.principal) }
                                td { (query.kind) }
                                td { (query.class) br; span.quiet { (query.rule) } }
                                td {
                                    @match query.position {
                                        Some(position) => { "waits, number " (position) }
                                        None => "runs",
                                    }
                                }
                                td.number { (query.age) " s" }
                                td {
                                    form.inline method="post" action=(format!("/queries/{}/cancel", query.id)) {
                                        (pages::key(&session))
                                        label.hidden for={ "reason-" (query.id) } { "Why " (query.id) " is cancelled" }
                                        input id={ "reason-" (query.id) } type="text" name="reason" required maxlength="300" placeholder="Reason";
                                        button.small type="submit" aria-label={ "Cancel " (query.id) } { "Cancel" }
                                    }
                                }
                            }
                        }
                    }
                } }
            }
        };
        Ok(Reply::page(StatusCode::OK, frame.around(false, &content)))
    }

    pub(super) async fn cancel_query(&self, id: &str) -> Result {
        let queries = self.queries.ok_or(Failed::NotFound)?;
        let Some(session) = self.session_of_form().await? else { return to("/login") };
        let Some(reason) = reason(self.asked.form().text("reason")) else {
            let why = "A cancel needs a reason of at most 300 characters, on one line.";
            return Err(Failed::Because(StatusCode::BAD_REQUEST, why.to_owned()));
        };
        let of = self.queries_of(&session);
        // One who may not see a query learns nothing of it.
        if !queries.gateway.queries(of).iter().any(|query| query.id == id) {
            return Err(Failed::NotFound);
        }
        let by = session.principal().name();
        self.recorded(&Event::Administration {
            action: "cancel".to_owned(),
            by: by.to_owned(),
            peer: Some(self.address().to_string()),
            detail: format!("{id}: {reason}"),
        })
        .await?;
        // It may have ended meanwhile: then there is nothing to cancel.
        let _ = queries.gateway.cancel_for(id, of, by, &reason).await;
        to("/queries")
    }
}
