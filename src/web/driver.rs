//! The sign-in of drivers: the page that asks their user, and what they ask themselves.

use http::StatusCode;
use maud::Markup;
use serde_json::json;

use super::answer::Reply;
use super::{Failed, Page, Result, pages};
use crate::identity::{Polled, Session, Waiting};

const OVER: &str =
    "This link is over, or is not one of ours. Connect again in your program: it opens a new one.";

impl Page<'_> {
    fn waiting(&self, ticket: &str) -> Result<Waiting> {
        self.login.waiting(ticket).ok_or_else(|| Failed::Because(StatusCode::NOT_FOUND, OVER.to_owned()))
    }

    /// Asks the user whether the driver may sign in as them; before that they sign in.
    pub(super) async fn initiate(&self, ticket: &str) -> Result {
        let waiting = self.waiting(ticket)?;
        let Some(session) = self.session().await? else { return self.sign_in_for(ticket) };
        if let Some(reply) = self.claims_another(&waiting, &session) {
            return Ok(reply);
        }
        Ok(Reply::page(StatusCode::OK, self.question(&waiting, &session, ticket, None)))
    }

    fn question(&self, waiting: &Waiting, session: &Session, ticket: &str, wrong: Option<&str>) -> Markup {
        let frame = self.frame("Let a program in", Some(session));
        pages::confirm(&frame, session, waiting.asking(), ticket, &self.address().to_string(), wrong)
    }

    /// What the audit says of a driver.
    fn program(waiting: &Waiting) -> String {
        let asking = waiting.asking();
        format!("{} at {}", asking.agent.as_deref().unwrap_or("a program"), asking.address)
    }

    /// A driver that says that it is somebody else has another's link, or a user who signed in as the wrong one.
    fn claims_another(&self, waiting: &Waiting, session: &Session) -> Option<Reply> {
        let principal = session.principal();
        let claimed = waiting.asking().user.as_deref();
        let user = claimed.filter(|user| !self.identity.may_be(principal, user))?;
        let detail = format!("{} claims to be '{user}'", Self::program(waiting));
        let method = principal.method().as_str();
        self.audit.keep(&self.event(method, "driver_refused", Some(principal.name()), Some(detail)));
        let message = format!(
            "The program wants to sign in as '{user}', and you are signed in as '{}'. If it is yours, set its user to \
             '{}', or sign out here and sign in as '{user}'. If you did not start it, close this window.",
            principal.name(),
            principal.name(),
        );
        let frame = self.frame("This is not for you", Some(session));
        Some(Reply::page(StatusCode::FORBIDDEN, pages::done(&frame, frame.title, &message)))
    }

    pub(super) async fn decide(&self, ticket: &str) -> Result {
        let waiting = self.waiting(ticket)?;
        let Some(session) = self.session_of_form().await? else { return self.sign_in_for(ticket) };
        let principal = session.principal();
        let allow = match self.asked.form().text("decision") {
            "allow" => true,
            "deny" => false,
            _ => return Err(Failed::Forged),
        };
        if let Some(reply) = self.claims_another(&waiting, &session).filter(|_| allow) {
            return Ok(reply);
        }
        let is_elsewhere = waiting.asking().address != self.address().to_string();
        if allow && is_elsewhere && self.asked.form().text("elsewhere") != "yes" {
            let page = self.question(&waiting, &session, ticket, Some("Tick the box to let it in."));
            return Ok(Reply::page(StatusCode::BAD_REQUEST, page));
        }
        if !self.login.decide(&waiting).await? {
            let message = "This was decided before. If your program still waits, connect again.";
            return Err(Failed::Because(StatusCode::CONFLICT, message.to_owned()));
        }
        let outcome = if allow { "driver_accepted" } else { "driver_refused" };
        let detail = Self::program(&waiting);
        let event = self.event(principal.method().as_str(), outcome, Some(principal.name()), Some(detail));
        let (title, text) = if allow {
            self.recorded(&event).await?;
            self.login.grant(&waiting, &session).await?;
            ("You are signed in", "The program goes on by itself. You may close this window.")
        } else {
            self.audit.keep(&event);
            self.login.deny(&waiting).await?;
            ("It was turned away", "The program is not signed in. You may close this window.")
        };
        let frame = self.frame("Sign-in of a program", Some(&session));
        Ok(Reply::page(StatusCode::OK, pages::done(&frame, title, text)))
    }

    /// The driver asks. Programs read this.
    pub(super) async fn poll(&self, ticket: &str) -> Result {
        let answer = match self.login.poll(ticket).await? {
            Polled::Waiting => json!({ "nextUri": format!("{}/oauth2/token/{ticket}", self.origin) }),
            Polled::Token(token) => json!({ "token": token.expose() }),
            Polled::Denied => json!({ "error": "The sign-in was turned away in the browser." }),
            Polled::Unknown => json!({ "error": "The sign-in is over. Connect again." }),
        };
        Ok(Reply::json(&answer))
    }

    /// The driver has what it wants.
    pub(super) async fn forget(&self, ticket: &str) -> Result {
        self.login.forget(ticket).await?;
        Ok(Reply::empty())
    }
}
