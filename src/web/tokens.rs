//! Personal access tokens of whoever is signed in.

use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;

use super::answer::Reply;
use super::pages::{self, Draft, Place};
use super::{Failed, Page, Result, to};
use crate::audit::Event;
use crate::error::Failure as _;
use crate::identity::{Network, Scope, Session, Token, TokenError, Tokens};

/// The lives that are offered, in days, as far as they may be so long.
const LIVES: [u32; 6] = [1, 7, 30, 90, 180, 365];
const DAY: Duration = Duration::from_hours(24);

impl From<TokenError> for Failed {
    fn from(error: TokenError) -> Self {
        tracing::info!(%error, "a token is not made, listed or revoked");
        Self::Because(error.http_status(), error.client_message())
    }
}

fn lives(tokens: &Tokens) -> Vec<u32> {
    LIVES.into_iter().filter(|days| DAY * *days <= tokens.max_life()).collect()
}

/// What lies between commas; nothing, if nothing was typed. Nothing means no limit: what looks like one and has no items
/// must not mean that.
fn items(text: &str) -> std::result::Result<Vec<&str>, String> {
    let items: Vec<_> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    if items.is_empty() && !text.trim().is_empty() {
        return Err(format!("'{}' names nothing; leave the field empty for no limit", text.trim()));
    }
    Ok(items)
}

impl Draft {
    pub(super) fn scope(&self) -> std::result::Result<Scope, String> {
        let catalogs: std::collections::BTreeSet<_> =
            items(&self.catalogs)?.into_iter().map(str::to_owned).collect();
        let addresses = items(&self.addresses)?.into_iter().map(str::parse::<Network>);
        let addresses = addresses.collect::<std::result::Result<_, _>>()?;
        Ok(Scope {
            read_only: self.read_only,
            catalogs: (!catalogs.is_empty()).then(|| catalogs.into()),
            addresses,
            impersonate: false,
            audit: false,
        })
    }
}

impl Page<'_> {
    fn store(&self) -> Result<&Tokens> {
        self.identity.access_tokens().ok_or(Failed::NotFound)
    }

    pub(super) async fn tokens(&self) -> Result {
        let tokens = self.store()?;
        let Some(session) = self.session().await? else { return to("/login") };
        let draft = Draft { read_only: true, days: 90, ..Draft::default() };
        self.listed(tokens, &session, &draft, None).await
    }

    async fn listed(
        &self,
        tokens: &Tokens,
        session: &Session,
        draft: &Draft,
        made: Option<(&str, &Token)>,
    ) -> Result {
        let listed = tokens.list(session.principal().name()).await?;
        let mut frame = self.frame("Access tokens", Some(session));
        frame.place = Place::Tokens;
        let page = pages::tokens(&frame, session, &listed, &lives(tokens), draft, made);
        let status = if draft.wrong.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        Ok(Reply::page(status, page))
    }

    pub(super) async fn make_token(&self) -> Result {
        let tokens = self.store()?;
        let Some(session) = self.session_of_form().await? else { return to("/login") };
        let form = self.asked.form();
        let mut draft = Draft {
            name: form.text("name").to_owned(),
            days: form.text("days").parse().unwrap_or(0),
            read_only: form.field("read_only").is_some(),
            catalogs: form.text("catalogs").to_owned(),
            addresses: form.text("addresses").to_owned(),
            wrong: None,
        };
        match self.made(tokens, &session, &draft).await {
            Ok((secret, token)) => {
                let empty = Draft { read_only: true, days: 90, ..Draft::default() };
                self.listed(tokens, &session, &empty, Some((secret.expose(), &token))).await
            }
            Err(Failed::Because(status, message)) if status.is_client_error() => {
                draft.wrong = Some(message);
                self.listed(tokens, &session, &draft, None).await
            }
            Err(failed) => Err(failed),
        }
    }

    async fn made(
        &self,
        tokens: &Tokens,
        session: &Session,
        draft: &Draft,
    ) -> Result<(crate::secret::Secret<String>, Token)> {
        let owner = session.principal();
        let scope = draft.scope().map_err(TokenError::Scope)?;
        let expires = Timestamp::now().checked_add(DAY * draft.days.min(10_000));
        let expires = expires.map_err(|_| TokenError::Life(tokens.max_life()))?;
        let (secret, token) = tokens.create(owner, &draft.name, expires, scope).await?;
        let event = Event::TokenCreated { by: Some(owner.name().to_owned()), token: token.clone() };
        if let Err(failed) = self.recorded(&event).await {
            let revoked = tokens.revoke(owner.name(), &token.id).await;
            tracing::error!(revoked = revoked.is_ok(), token = token.id, "a token is not on record");
            return Err(failed);
        }
        Ok((secret, token))
    }

    pub(super) async fn revoke_token(&self, id: &str) -> Result {
        let tokens = self.store()?;
        let Some(session) = self.session_of_form().await? else { return to("/login") };
        let owner = session.principal().name();
        let token = tokens.revoke(owner, id).await?;
        self.recorded(&Event::TokenRevoked { by: Some(owner.to_owned()), token }).await?;
        to("/tokens")
    }
}
