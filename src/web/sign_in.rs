//! Signing in and out.

use std::sync::Arc;

use http::{Method, StatusCode};

use super::answer::Reply;
use super::request::{SESSION, SIGN_IN};
use super::{Failed, Page, Result, pages, to};
use crate::error::Failure as _;
use crate::identity::saml::{Delivery, Incoming};
use crate::identity::{Begun, Login, Proved, Refused, Session, SignedOut, Then};
use crate::secret::Secret;

/// What an identity provider's address has as its origin, for the policy of the page that sends a form there.
fn origin_of(url: &str) -> Option<String> {
    let parsed: http::Uri = url.parse().ok()?;
    Some(format!("{}://{}", parsed.scheme_str()?, parsed.authority()?))
}

impl Page<'_> {
    /// What follows the sign-in: a driver's link that the query names, or the first page. Nothing else, so that nobody can be
    /// sent anywhere by a link.
    fn then(&self) -> Then {
        let ticket = self.asked.parameter("driver");
        ticket.filter(|ticket| self.login.waiting(ticket).is_some()).map_or(Then::Home, Then::Driver)
    }

    fn query(then: &Then) -> String {
        match then {
            Then::Home => String::new(),
            Then::Driver(ticket) => format!("?driver={ticket}"),
        }
    }

    pub(super) async fn choose(&self) -> Result {
        let Some(then) = self.beginning().await? else { return to("/") };
        let query = Self::query(&then);
        let choices = self.login.choices();
        let frame = self.frame("Sign in", None);
        Ok(Reply::page(StatusCode::OK, pages::choose(&frame, &choices, &query, then != Then::Home)))
    }

    /// Where somebody signs in for a driver: straight at the identity provider, if there is but one.
    pub(super) fn sign_in_for(&self, ticket: &str) -> Result {
        let choices = self.login.choices();
        let path = match choices.as_slice() {
            [one] => one.path.as_str(),
            _ => "/login",
        };
        to(&format!("{path}?driver={ticket}"))
    }

    /// What follows a sign-in that a browser begins; none for one who is signed in and was not sent by a driver: a link of
    /// another site must not make them another.
    async fn beginning(&self) -> Result<Option<Then>> {
        let then = self.then();
        let there = then == Then::Home && self.session().await?.is_some();
        Ok((!there).then_some(then))
    }

    pub(super) async fn begin_oidc(&self, name: &str) -> Result {
        let Some(then) = self.beginning().await? else { return to("/") };
        let begun = self.login.begin_oidc(name, then).await.ok_or(Failed::NotFound)?;
        self.send(begun?)
    }

    /// An OpenID provider's answer, which the browser brings.
    pub(super) async fn oidc_answered(&self, name: &str) -> Result {
        self.identity.admit_answer(self.address())?;
        let state = self.asked.parameter("state").unwrap_or_default();
        let label = Login::label(&state);
        let carried = self.asked.cookie(&format!("{SIGN_IN}{label}"));
        let carried = carried.as_ref().map(|carried| carried.expose().as_str());
        let finished = self.login.finish_oidc(name, self.asked.query, &state, carried).await;
        match finished.ok_or(Failed::NotFound)? {
            Ok(proved) => self.signed_in("oidc", proved, &label).await,
            Err(refused) => Err(self.turned_away("oidc", refused)),
        }
    }

    /// An OpenID provider says that somebody has signed out there. Programs read the answer.
    pub(super) async fn oidc_logged_out(&self, name: &str) -> Result {
        self.identity.admit_answer(self.address())?;
        let form = self.asked.form();
        let done =
            self.login.oidc_logged_out(name, form.text("logout_token")).await.ok_or(Failed::NotFound)?;
        match done {
            Ok(whose) => {
                self.audit.keep(&self.event("oidc", "ended_by_provider", None, Some(whose)));
                Ok(Reply::other("text/plain; charset=utf-8", String::new()))
            }
            Err(refused @ Refused::Unavailable(_)) => Err(self.turned_away("oidc", refused)),
            Err(refused) => {
                let _ = self.turned_away("oidc", refused);
                Err(Failed::Because(StatusCode::BAD_REQUEST, "This logout token cannot be used.".to_owned()))
            }
        }
    }

    pub(super) async fn begin_saml(&self, name: &str) -> Result {
        let Some(then) = self.beginning().await? else { return to("/") };
        let begun = self.login.begin_saml(name, then).await.ok_or(Failed::NotFound)?;
        self.send(begun?)
    }

    fn send(&self, begun: Begun) -> Result {
        Ok(self.deliver(begun.delivery)?.with_sign_in(&begun.carried))
    }

    fn deliver(&self, delivery: Delivery) -> Result {
        match delivery {
            Delivery::Redirect { url } => Reply::redirect(&url).ok_or(Failed::NotFound),
            Delivery::Post { url, fields } => {
                let page = pages::carry(&self.frame("Go on to sign in", None), &url, &fields);
                Ok(Reply::page(StatusCode::OK, page).forms_to(origin_of(&url).as_deref()))
            }
        }
    }

    pub(super) fn saml_metadata(&self, name: &str) -> Result {
        let metadata = self.login.saml_metadata(name).ok_or(Failed::NotFound)?;
        Ok(Reply::other("application/samlmetadata+xml", metadata.to_owned()))
    }

    /// An identity provider's answer, which the browser brings from there without its cookies.
    pub(super) async fn saml_answered(&self, name: &str) -> Result {
        let address = self.address();
        self.identity.admit_answer(address)?;
        let form = self.asked.form();
        let accepted =
            self.login.accept_saml(name, form.text("SAMLResponse")).await.ok_or(Failed::NotFound)?;
        match accepted {
            Ok(reference) => to(&format!("/login/finish?answer={}", reference.expose())),
            Err(refused) => Err(self.turned_away("saml", refused)),
        }
    }

    /// The same browser with its cookies.
    pub(super) async fn finish(&self) -> Result {
        let reference = self.asked.parameter("answer").unwrap_or_default();
        let carried = |label: &str| self.asked.cookie(&format!("{SIGN_IN}{label}"));
        match self.login.finish_saml(&reference, carried).await {
            Ok((proved, label)) => self.signed_in("saml", proved, &label).await,
            Err(refused) => Err(self.turned_away("saml", refused)),
        }
    }

    /// Counts and records a sign-in that did not hold.
    pub(super) fn turned_away(&self, method: &str, refused: Refused) -> Failed {
        let address = self.address();
        self.identity.failed_answer(&refused, address);
        if self.identity.is_recorded(&refused, address) {
            self.audit.keep(&self.event(method, "refused", None, Some(refused.to_string())));
        } else {
            self.audit.pass_over();
        }
        Failed::Refused(refused)
    }

    async fn signed_in(&self, method: &str, proved: Proved, label: &str) -> Result {
        let name = proved.principal().name().to_owned();
        self.recorded(&self.event(method, "accepted", Some(&name), proved.detail())).await?;
        let before = self.asked.cookie(SESSION);
        let before = before.as_ref().map(|before| before.expose().as_str());
        let signed_in = self.identity.sign_in(proved, before).await?;
        let next = match &signed_in.then {
            Then::Home => "/".to_owned(),
            Then::Driver(ticket) => format!("/oauth2/token/initiate/{ticket}"),
        };
        let reply = to(&next)?.without_sign_in(label);
        Ok(reply.with_session(signed_in.cookie.expose(), signed_in.life))
    }

    pub(super) async fn password_form(&self) -> Result {
        if !self.login.takes_passwords() {
            return Err(Failed::NotFound);
        }
        let Some(then) = self.beginning().await? else { return to("/") };
        self.password_again(then, "", None)
    }

    fn password_again(&self, then: Then, name: &str, wrong: Option<&Refused>) -> Result {
        let (id, carried) = self.login.begin_password(then)?;
        let (status, message) = match wrong {
            None => (StatusCode::OK, None),
            Some(Refused::BadCredentials(_)) => {
                (StatusCode::FORBIDDEN, Some("The user name or the password is not right.".to_owned()))
            }
            Some(refused) => (refused.http_status(), Some(refused.client_message())),
        };
        let frame = self.frame("Sign in", None);
        let page = pages::password(&frame, id.expose(), name, message.as_deref());
        let reply = Reply::page(status, page).with_sign_in(&carried);
        Ok(reply.retry_after(wrong.and_then(Refused::retry_after)))
    }

    pub(super) async fn password(&self) -> Result {
        if !self.login.takes_passwords() {
            return Err(Failed::NotFound);
        }
        if !self.asked.is_own(&self.origin) {
            return Err(Failed::Forged);
        }
        let form = self.asked.form();
        let id = form.text("attempt");
        let label = Login::label(id);
        let carried = self.asked.cookie(&format!("{SIGN_IN}{label}"));
        let then =
            self.login.password_attempt(id, carried.as_ref().map(|carried| carried.expose().as_str()))?;
        let name = form.text("user");
        match self.checked(name, form.text("password"), (id, then.clone())).await {
            Ok(proved) => self.signed_in("password", proved, &label).await,
            Err(refused) => Ok(self.password_again(then, name, Some(&refused))?.without_sign_in(&label)),
        }
    }

    /// Checks a password. An attempt counts, and is on record, though its connection is closed while it is looked at.
    async fn checked(
        &self,
        name: &str,
        password: &str,
        (id, then): (&str, Then),
    ) -> std::result::Result<Proved, Refused> {
        let (identity, audit) = (Arc::clone(self.identity), Arc::clone(self.audit));
        let (name, password, id) = (name.to_owned(), Secret::new(password.to_owned()), id.to_owned());
        let (address, peer) = (self.address(), self.asked.peer.clone());
        let checked = tokio::spawn(async move {
            let proved = identity.password_proves(&name, &password, address, (&id, then)).await;
            if let Err(refused) = &proved {
                if identity.is_recorded(refused, address) {
                    let detail = Some(refused.to_string());
                    audit.keep(&super::event(&peer, "password", "refused", Some(&name), detail));
                } else {
                    audit.pass_over();
                }
            }
            proved
        });
        checked.await.unwrap_or_else(|_| Err(Refused::Unavailable("the check was cut off".to_owned())))
    }

    /// The session of a form that signs out, if there is one.
    async fn leaving(&self) -> Result<Option<Session>> {
        let Some(cookie) = self.asked.cookie(SESSION).filter(|_| self.asked.is_own(&self.origin)) else {
            return if self.asked.is_own(&self.origin) { Ok(None) } else { Err(Failed::Forged) };
        };
        let Some(session) = self.login.leaving(cookie.expose()).await? else { return Ok(None) };
        self.holds_key_of(&session)?;
        Ok(Some(session))
    }

    pub(super) async fn sign_out(&self) -> Result {
        let Some(session) = self.leaving().await? else {
            let page = pages::signed_out(&self.frame("Signed out", None), None);
            return Ok(Reply::page(StatusCode::OK, page).without_session());
        };
        let principal = session.principal();
        let event = self.event(principal.method().as_str(), "signed_out", Some(principal.name()), None);
        let ended = self.login.end(&session).await?;
        // Whoever wants to leave, leaves, whether it can be recorded or not.
        self.audit.keep(&event);
        let mut frame = self.frame("Signed out", None);
        let reply = match &ended {
            SignedOut::Here => Reply::page(StatusCode::OK, pages::signed_out(&frame, None)),
            SignedOut::There(title, Delivery::Redirect { url }) => {
                frame.next = Some(url);
                Reply::page(StatusCode::OK, pages::signed_out(&frame, Some((title, url))))
            }
            SignedOut::There(_, delivery) => self.deliver(delivery.clone())?,
        };
        Ok(reply.without_session())
    }

    /// An identity provider asks to end sessions, or answers that it has ended one.
    pub(super) async fn saml_logout(&self, name: &str) -> Result {
        self.identity.admit_answer(self.address())?;
        let form = self.asked.form();
        let by_form = self.asked.method == Method::POST;
        let has = |field: &str| {
            if by_form { form.field(field).is_some() } else { self.asked.parameter(field).is_some() }
        };
        let message = |field: &'static str| {
            if by_form {
                Incoming::Post { message: form.text(field), relay_state: form.field("RelayState") }
            } else {
                Incoming::Redirect { query: self.asked.query }
            }
        };
        if has("SAMLResponse") {
            let answered =
                self.login.logout_answered(name, &message("SAMLResponse")).ok_or(Failed::NotFound)?;
            answered.map_err(|refused| self.turned_away("saml", refused))?;
            return Ok(Reply::page(StatusCode::OK, pages::signed_out(&self.frame("Signed out", None), None)));
        }
        let asked = self.login.logout_asked(name, &message("SAMLRequest")).await.ok_or(Failed::NotFound)?;
        match asked {
            Ok((answer, whose)) => {
                self.audit.keep(&self.event("saml", "ended_by_provider", None, Some(whose)));
                if let Some(answer) = answer {
                    return self.deliver(answer);
                }
                Ok(Reply::page(StatusCode::OK, pages::signed_out(&self.frame("Signed out", None), None)))
            }
            Err(refused) => Err(self.turned_away("saml", refused)),
        }
    }
}
