//! The queries that wait and run: one's own, and everybody's for operators.

use std::time::Duration;

use http::StatusCode;
use maud::{Markup, html};

use super::answer::Reply;
use super::pages::{self, Place};
use super::{Failed, Page, Result, to};
use crate::admission::Spent;
use crate::audit::Event;
use crate::identity::Session;
use crate::query::reason;
use crate::units::Span;

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
        let spent = match of {
            Some(name) => queries.gateway.spent_by(name).await.into_iter().collect(),
            None => queries.gateway.spent(),
        };
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
            @if !spent.is_empty() { (budgets(&spent, of.is_none())) }
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

/// What is used of budgets today. Their owners are told in tenths: from each figure of a query over restricted tables they could
/// tell how much of what is hidden from them it has read.
fn budgets(spent: &[Spent], in_full: bool) -> Markup {
    let cell = |used: u64, budget: Option<u64>, shown: fn(u64) -> String| match (budget, in_full) {
        (Some(budget), true) => format!("{} of {}", shown(used), shown(budget)),
        (Some(budget), false) => format!("{} of {}", tenths(used, budget), shown(budget)),
        (None, true) => shown(used),
        (None, false) => "no bound".to_owned(),
    };
    html! {
        h2 { @if in_full { "Budgets of today" } @else { "Your budget of today" } }
        div.card.scroll { table {
            thead { tr { @for name in ["Used by", "Bytes read", "Rows read", "CPU time"] { th scope="col" { (name) } } } }
            tbody {
                @for Spent { of, name, used, budget } in spent {
                    tr {
                        td { (of) " " (name) }
                        td { (cell(used.scanned, budget.scanned, bytes)) }
                        td { (cell(used.rows, budget.rows, |rows| rows.to_string())) }
                        td { (cell(used.cpu_ms, budget.cpu_ms, seconds)) }
                    }
                }
            }
        } }
    }
}

fn tenths(used: u64, budget: u64) -> String {
    match u128::from(used) * 10 / u128::from(budget.max(1)) {
        0 => "less than 10%".to_owned(),
        tenths @ 1..=9 => format!("{tenths}0% or more"),
        _ => "all".to_owned(),
    }
}

fn bytes(number: u64) -> String {
    let units = [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match units.into_iter().find(|(_, unit)| number >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", number as f64 / unit as f64),
        None => format!("{number} B"),
    }
}

fn seconds(millis: u64) -> String {
    Span(Duration::from_secs(millis / 1_000)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{SpentLimits, Used};

    #[test]
    fn what_is_used_is_told_in_tenths_to_who_may_not_know_it() {
        let spent = [Spent {
            of: "principal",
            name: "ann".to_owned(),
            used: Used { scanned: 123_456_789_012, rows: 6_999, cpu_ms: 14_400_999 },
            budget: SpentLimits { scanned: Some(500_000_000_000), rows: None, cpu_ms: Some(14_400_000) },
        }];
        let cells = |in_full: bool| {
            let text = budgets(&spent, in_full).into_string();
            let cells = text.split("<td>").skip(1).map(|cell| cell.split('<').next().unwrap_or_default());
            cells.collect::<Vec<_>>().join("|")
        };
        assert_eq!(cells(true), "principal ann|123.5 GB of 500.0 GB|6999|4h of 4h");
        assert_eq!(cells(false), "principal ann|20% or more of 500.0 GB|no bound|all of 4h");
        assert_eq!(tenths(u64::MAX, 1), "all");
        assert_eq!(tenths(0, 1), "less than 10%");
        assert_eq!(bytes(999), "999 B");
    }
}
