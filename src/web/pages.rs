//! The pages, as they look.

use http::StatusCode;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};

use crate::identity::{Asking, Choice, Scope, Session, Token};

/// Where somebody is, for the navigation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Home,
    Connect,
    Tokens,
    Queries,
    Status,
    Audit,
    History,
    Elsewhere,
}

/// What all pages have in common.
#[expect(clippy::struct_excessive_bools, reason = "each is a page that there is for them, or not")]
pub(super) struct Frame<'f> {
    pub(super) title: &'f str,
    pub(super) place: Place,
    pub(super) session: Option<&'f Session>,
    /// Whether there are tokens here.
    pub(super) tokens: bool,
    /// Whether there are pages of queries.
    pub(super) queries: bool,
    /// Whether they are one of the operators.
    pub(super) operates: bool,
    /// Whether they may read the audit.
    pub(super) audit: bool,
    /// Where the browser goes by itself.
    pub(super) next: Option<&'f str>,
}

impl<'f> Frame<'f> {
    pub(super) fn new(title: &'f str, session: Option<&'f Session>) -> Self {
        Self {
            title,
            place: Place::Elsewhere,
            session,
            tokens: false,
            queries: false,
            operates: false,
            audit: false,
            next: None,
        }
    }

    pub(super) fn around(&self, narrow: bool, content: &Markup) -> Markup {
        let current = |place: Place| (self.place == place).then_some("page");
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="robots" content="noindex";
                    @if let Some(next) = self.next {
                        meta http-equiv="refresh" content=(format!("2;url={next}"));
                    }
                    title { (self.title) " · Northgate" }
                    link rel="stylesheet" href="/style.css";
                }
                // Tables of records need the room.
                body class=[matches!(self.place, Place::Audit | Place::History).then_some("broad")] {
                    a.skip href="#main" { "Skip to the content" }
                    header {
                        div {
                            a.brand href="/" { "Northgate" }
                            @if let Some(session) = self.session {
                                nav aria-label="Pages" {
                                    a href="/" aria-current=[current(Place::Home)] { "Overview" }
                                    a href="/connect" aria-current=[current(Place::Connect)] { "Connect" }
                                    a href="/history" aria-current=[current(Place::History)] { "History" }
                                    @if self.tokens {
                                        a href="/tokens" aria-current=[current(Place::Tokens)] { "Access tokens" }
                                    }
                                    @if self.queries {
                                        a href="/queries" aria-current=[current(Place::Queries)] { "Queries" }
                                    }
                                    @if self.operates {
                                        a href="/status" aria-current=[current(Place::Status)] { "Status" }
                                    }
                                    @if self.audit {
                                        a href="/audit" aria-current=[current(Place::Audit)] { "Audit" }
                                    }
                                }
                                div.who {
                                    span { (session.principal().name()) }
                                    form.inline method="post" action="/logout" {
                                        (key(session))
                                        button.plain.small type="submit" { "Sign out" }
                                    }
                                }
                            }
                        }
                    }
                    main #main class=[narrow.then_some("narrow")] { (content) }
                }
            }
        }
    }
}

pub(super) fn key(session: &Session) -> Markup {
    html! { input type="hidden" name="key" value=(session.form_key()); }
}

pub(super) fn choose(frame: &Frame<'_>, choices: &[Choice], query: &str, driver: bool) -> Markup {
    frame.around(
        true,
        &html! {
            h1 { "Sign in" }
            @if driver {
                p { "A program on your computer wants to query data as you. Sign in to go on." }
            }
            ul.choices {
                @for choice in choices {
                    li { a.button href={ (choice.path) (query) } { (choice.title) } }
                }
            }
        },
    )
}

pub(super) fn password(frame: &Frame<'_>, id: &str, name: &str, wrong: Option<&str>) -> Markup {
    frame.around(true, &html! {
        h1 { "Sign in" }
        form.card method="post" action="/login/password" {
            @if let Some(wrong) = wrong { p.bad role="alert" { (wrong) } }
            input type="hidden" name="attempt" value=(id);
            div.field {
                label for="user" { "User name" }
                input #user type="text" name="user" value=(name) autocomplete="username" autocapitalize="none" required autofocus[name.is_empty()];
            }
            div.field {
                label for="password" { "Password" }
                input #password type="password" name="password" autocomplete="current-password" required autofocus[!name.is_empty()];
            }
            button type="submit" { "Sign in" }
        }
    })
}

/// A form that the user sends on to an identity provider.
pub(super) fn carry(frame: &Frame<'_>, url: &str, fields: &[(&'static str, String)]) -> Markup {
    frame.around(
        true,
        &html! {
            h1 { (frame.title) }
            form.card method="post" action=(url) {
                p { "You go on at your company's sign-in page." }
                @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
                button type="submit" autofocus { "Continue" }
            }
        },
    )
}

pub(super) fn home(frame: &Frame<'_>, session: &Session) -> Markup {
    let principal = session.principal();
    frame.around(
        false,
        &html! {
            h1 { "Signed in as " (principal.name()) }
            div.card {
                dl {
                    dt { "Groups" }
                    dd {
                        @if principal.groups().is_empty() { "none" }
                        @for (n, group) in principal.groups().iter().enumerate() {
                            @if n > 0 { ", " } (group)
                        }
                    }
                    dt { "Signed in until" }
                    dd { (time(session.ends())) }
                }
            }
            p { a.button href="/connect" { "Connect a tool" } }
        },
    )
}

/// Asks whether a driver may sign in. One that is elsewhere takes two acts in two places: a click that somebody was made to do
/// lets nobody in.
pub(super) fn confirm(
    frame: &Frame<'_>,
    session: &Session,
    asking: &Asking,
    ticket: &str,
    here: &str,
    wrong: Option<&str>,
) -> Markup {
    let unknown = "a program that does not say its name";
    frame.around(true, &html! {
        h1 { "Let this program in?" }
        form.card method="post" action={ "/oauth2/token/initiate/" (ticket) } {
            @if let Some(wrong) = wrong { p.bad role="alert" { (wrong) } }
            p { "A program wants to query data as " strong { (session.principal().name()) } "." }
            dl {
                dt { "Program" } dd { (asking.agent.as_deref().unwrap_or(unknown)) }
                dt { "Its address" } dd { (asking.address) }
                dt { "Your address" } dd { (here) }
                @if let Some(user) = asking.user.as_deref().filter(|user| *user != session.principal().name()) {
                    dt { "It runs queries as" } dd { (user) }
                }
            }
            p { "Go on only if you have just started it yourself. If somebody sent you this link, it would sign "
                em { "them" } " in as you." }
            (key(session))
            @if asking.address != here {
                div.warn {
                    p { "It does not run on this computer." }
                    label.check {
                        input type="checkbox" name="elsewhere" value="yes" required;
                        span { "I have just started it, on a server that I use, such as my notebook's" }
                    }
                }
            }
            div.actions {
                button type="submit" name="decision" value="allow" { "Let it in" }
                button.plain type="submit" name="decision" value="deny" formnovalidate { "No, turn it away" }
            }
        }
    })
}

pub(super) fn done(frame: &Frame<'_>, title: &str, text: &str) -> Markup {
    frame.around(
        true,
        &html! {
            h1 { (title) }
            div.card { p role="status" { (text) } }
        },
    )
}

pub(super) fn signed_out(frame: &Frame<'_>, elsewhere: Option<(&str, &str)>) -> Markup {
    frame.around(true, &html! {
        h1 { "You are signed out" }
        div.card {
            @if let Some((title, url)) = elsewhere {
                p role="status" { "You are signed out of Northgate. In a moment you are signed out of " (title) ", too." }
                p { a href=(url) { "Sign out of " (title) " now" } }
            } @else {
                p role="status" { "You may close this window." }
                p { a.button href="/login" { "Sign in again" } }
            }
        }
    })
}

pub(super) fn error(frame: &Frame<'_>, message: &str, reference: &str, again: Option<&str>) -> Markup {
    frame.around(
        true,
        &html! {
            h1 { (frame.title) }
            div.card {
                p role="alert" { (message) }
                @if let Some(again) = again { p { a.button href=(again) { "Sign in again" } } }
            }
            p.quiet { "If you ask for help, give this reference: " code { (reference) } }
        },
    )
}

/// A form as it was filled in.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) days: u32,
    pub(super) read_only: bool,
    pub(super) catalogs: String,
    pub(super) addresses: String,
    pub(super) wrong: Option<String>,
}

pub(super) fn tokens(
    frame: &Frame<'_>,
    session: &Session,
    tokens: &[Token],
    lives: &[u32],
    draft: &Draft,
    made: Option<(&str, &Token)>,
) -> Markup {
    let now = Timestamp::now();
    frame.around(false, &html! {
        h1 { "Access tokens" }
        @if let Some((secret, token)) = made {
            div.card role="status" {
                h2 { "The new token “" (token.name) "”" }
                p { "Copy it now: it is not shown again." }
                pre.secret tabindex="0" { (secret) }
                p.quiet { "In your tool, sign in as " code { (token.owner) } " and give the token as the password." }
            }
        }
        p { "A token stands for your password in tools that cannot open a browser. It sees what you see, and no more." }
        @if tokens.is_empty() {
            p.quiet { "You have none yet." }
        } @else {
            div.card.scroll {
                table {
                    thead { tr {
                        th scope="col" { "Name" } th scope="col" { "May be used for" } th scope="col" { "Ends" }
                        th scope="col" { "Last used" } th scope="col" { "Revoke" }
                    } }
                    tbody { @for token in tokens { tr {
                        td { (token.name) br; span.quiet { code { (token.id) } } }
                        td { (scope(&token.scope)) }
                        td { @if token.is_expired(now) { "has ended" } @else { (day(token.expires)) } }
                        td { @match token.last_used { Some(at) => (time(at)), None => "never" } }
                        td {
                            form.inline method="post" action={ "/tokens/" (token.id) "/revoke" } {
                                (key(session))
                                button.plain.small type="submit" aria-label={ "Revoke " (token.name) } { "Revoke" }
                            }
                        }
                    } } }
                }
            }
        }
        h2 #new { "Make a token" }
        form.card method="post" action="/tokens" {
            (key(session))
            @if let Some(wrong) = &draft.wrong { p.bad role="alert" { (wrong) } }
            div.field {
                label for="name" { "Name" }
                input #name type="text" name="name" value=(draft.name) maxlength="100" required;
                p.quiet { "What it is for, such as “Power BI on my desk”." }
            }
            div.field {
                label for="days" { "It ends after" }
                select #days name="days" {
                    @for days in lives {
                        option value=(days) selected[*days == draft.days] { (days) @if *days == 1 { " day" } @else { " days" } }
                    }
                }
            }
            div.field {
                label.check {
                    input type="checkbox" name="read_only" value="yes" checked[draft.read_only];
                    span { "It may only read" }
                }
            }
            div.field {
                label for="catalogs" { "Catalogs (optional)" }
                input #catalogs type="text" name="catalogs" value=(draft.catalogs);
                p.quiet { "The only ones that it reaches, with commas between them. Empty: all that you reach." }
            }
            div.field {
                label for="addresses" { "Addresses (optional)" }
                input #addresses type="text" name="addresses" value=(draft.addresses);
                p.quiet { "Where it may be used from, such as " code { "10.1.0.0/16" } ". Empty: anywhere." }
            }
            button type="submit" { "Make the token" }
        }
    })
}

fn scope(scope: &Scope) -> String {
    let mut parts = vec![if scope.read_only { "reading" } else { "all that you may do" }.to_owned()];
    if let Some(catalogs) = &scope.catalogs {
        parts.push(format!("in {}", catalogs.iter().map(String::as_str).collect::<Vec<_>>().join(", ")));
    }
    if !scope.addresses.is_empty() {
        let from = scope.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        parts.push(format!("from {from}"));
    }
    if scope.impersonate {
        parts.push("also as those whom you may be".to_owned());
    }
    if scope.audit {
        parts.push("also the audit".to_owned());
    }
    parts.join(", ")
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// What a status is called on a page.
pub(super) fn heading(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "There is no such page",
        StatusCode::METHOD_NOT_ALLOWED => "That cannot be done here",
        StatusCode::TOO_MANY_REQUESTS => "Too many attempts",
        StatusCode::SERVICE_UNAVAILABLE => "Try again shortly",
        _ => "You are not signed in",
    }
}
