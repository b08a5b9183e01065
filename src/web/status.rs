//! How the gateway does, for operators.

use http::StatusCode;
use maud::{Markup, html};

use super::answer::Reply;
use super::pages::Place;
use super::{Failed, Page, Result, to};
use crate::status::{Finding, Level, Status, time};

impl Page<'_> {
    pub(super) async fn status(&self) -> Result {
        let queries = self.queries.ok_or(Failed::NotFound)?;
        let Some(session) = self.session().await? else { return to("/login") };
        if !queries.admits(&session) {
            return Err(Failed::NotFound);
        }
        let mut frame = self.frame("Status", Some(&session));
        frame.place = Place::Status;
        Ok(Reply::page(StatusCode::OK, frame.around(false, &shown(&(queries.status)()))))
    }
}

fn shown(status: &Status) -> Markup {
    let Status { version, started, not_ready, findings, clusters, gateways, classes, .. } = status;
    let Status { limits, policies, catalogs, audit, ends, now, .. } = status;
    html! {
        h1 { "Status" }
        p {
            "Northgate " (version) " since " (time(*started)) ". At " (time(*now)) " it is "
            @if not_ready.is_empty() { "ready." } @else { strong { "not ready: " (not_ready.join("; ")) } "." }
        }
        @for finding in findings { (attention(finding)) }
        h2 { "Clusters" }
        div.card.scroll { table {
            thead { tr {
                th scope="col" { "Cluster" } th scope="col" { "State" } th scope="col" { "Health" }
                th scope="col" { "Trino" } th.number scope="col" { "Queries" } th.number scope="col" { "Clock" }
            } }
            tbody { @for cluster in clusters { tr {
                td { (cluster.name) } td { (cluster.state) } td { (cluster.health) }
                td { (cluster.version.as_deref().unwrap_or("?")) }
                td.number { (cluster.queries) }
                td.number { @match cluster.clock_ahead { Some(ahead) => { (format!("{ahead:+.1} s")) } None => { "?" } } }
            } } }
        } }
        h2 { "Queries" }
        div.card.scroll { table {
            thead { tr { th scope="col" { "Class" } th.number scope="col" { "Running" } th.number scope="col" { "Waiting" } } }
            tbody { @for class in classes { tr {
                td { (class.name) } td.number { (class.running) } td.number { (class.queued) }
            } } }
        }
        p.quiet { "At this gateway. Limits are counted " (limits) "." } }
        h2 { "Gateways" }
        div.card.scroll { table {
            thead { tr { th scope="col" { "Gateway" } th scope="col" { "Version" } th scope="col" { "Since" } } }
            tbody { @for gateway in gateways { tr {
                td { code { (gateway.id) } @if gateway.this { " (this one)" } }
                td { (gateway.version) } td.time { (time(gateway.started)) }
            } } }
        } }
        h2 { "Policies and catalogs" }
        div.card { dl {
            dt { "Policies" } dd { (policies.count) " of revision " code { (policies.revision) } ", since " (time(policies.loaded)) }
            @for catalog in catalogs {
                dt { "Catalog " (catalog.name) }
                dd { (catalog.uri) @if catalog.decides { ", decides" } @else { ", for tags" } }
            }
        } }
        h2 { "Audit" }
        div.card { dl {
            dt { "Log" } dd { (audit.origin) }
            dt { "Sealed" } dd { (audit.sealed) " records" }
            @if let Some(witnessed) = audit.witnessed { dt { "Witnessed" } dd { (witnessed) " records" } }
            @if let Some(copying) = audit.copying {
                dt { "Copy" }
                dd { @if copying { "kept up" } @else { strong { "not kept up" } } ", " (audit.behind) " bytes behind" }
            }
            dt { "Written" } dd { @if audit.writable { "yes" } @else { strong { "no: queries are refused" } } }
            dt { "In memory" } dd { (audit.held) " records" }
            @if let Some(free) = audit.free { dt { "Disk" } dd { (free / 1_000_000) " MB free" } }
        } }
        h2 { "Ends next" }
        div.card.scroll { table {
            thead { tr { th scope="col" { "When" } th scope="col" { "What" } } }
            tbody { @for end in ends { tr { td.time { (time(end.at)) } td { (end.what) } } } }
        } }
    }
}

fn attention(finding: &Finding) -> Markup {
    html! {
        div.warn role="status" {
            p {
                @if finding.level == Level::Problem { strong { "Problem: " } }
                (finding.says)
            }
            @if let Some(remedy) = &finding.remedy { p.quiet { (remedy) } }
        }
    }
}
