//! Sign-in at a terminal. Programs read all of this.

use std::time::SystemTime;

use http::StatusCode;
use serde_json::json;

use super::answer::Reply;
use super::{Failed, Page, Result};
use crate::identity::{Answered, Refused};

/// Whole seconds from now, rounded up.
fn until(at: SystemTime) -> u64 {
    let left = at.duration_since(SystemTime::now()).unwrap_or_default();
    left.as_secs() + u64::from(left.subsec_nanos() > 0)
}

impl Page<'_> {
    pub(super) async fn begin_terminal(&self) -> Result {
        self.identity.count_terminal(self.address())?;
        let form = self.asked.form();
        let name = form.field("provider").filter(|name| !name.is_empty());
        let Some(begun) = self.login.begin_terminal(name).await else {
            let message = "Signing in at a terminal is not set up here, or there is no such provider.";
            return Ok(Reply::json(&json!({ "error": message })));
        };
        let begun = match begun {
            Ok(begun) => begun,
            Err(refused) => return self.terminal_refused(refused),
        };
        Ok(Reply::json(&json!({
            "user_code": begun.user_code,
            "verification_uri": begun.address,
            "verification_uri_complete": begun.address_with_code,
            "expires_in": until(begun.expires),
            "ticket": begun.ticket.expose(),
            "ask_in": until(begun.next),
        })))
    }

    pub(super) async fn ask_terminal(&self) -> Result {
        self.identity.admit_answer(self.address())?;
        let form = self.asked.form();
        let proved = match self.login.ask_terminal(form.text("ticket")).await {
            Ok(Answered::Proved(proved)) => *proved,
            Ok(Answered::Waiting { ticket, next }) => {
                return Ok(Reply::json(&json!({ "ticket": ticket.expose(), "ask_in": until(next) })));
            }
            Ok(Answered::Denied) => {
                return Ok(Reply::json(
                    &json!({ "error": "The sign-in was turned away at the identity provider." }),
                ));
            }
            Ok(Answered::Over) => {
                return Ok(Reply::json(&json!({ "error": "It has taken too long. Begin again." })));
            }
            Err(refused) => return self.terminal_refused(refused),
        };
        let name = proved.principal().name().to_owned();
        let detail = format!("{}, at a terminal", proved.detail().unwrap_or_default());
        let event = self.event("oidc", "accepted", Some(&name), Some(detail));
        self.recorded(&event).await?;
        let signed_in = self.identity.sign_in(proved, None).await?;
        let token = self.login.token_of(&signed_in.session).await?;
        Ok(Reply::json(&json!({ "token": token.expose(), "user": name })))
    }

    fn terminal_refused(&self, refused: Refused) -> Result {
        let message = super::told(&refused);
        match self.turned_away("oidc", refused) {
            Failed::Refused(Refused::TooManyAttempts { .. } | Refused::Unavailable(_)) => {
                Err(Failed::Because(StatusCode::SERVICE_UNAVAILABLE, message))
            }
            _ => Ok(Reply::json(&json!({ "error": message }))),
        }
    }
}
