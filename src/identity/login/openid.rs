//! Sign-in at an OpenID provider, and how its sessions last.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

use super::session::{By, Kept, OidcSession, Proof, There, Who, ended_oidc, seconds};
use super::{Begun, Ending, HANDED_OVER, LONGEST, Login, Proved, Session, SignedOut, Then};
use crate::identity::error::{Cause, Refused};
use crate::identity::oidc::{Provider, Renewal};
use crate::identity::saml::Delivery;
use crate::secret::Secret;
use crate::state::{Key, Kind, Store};

/// How long a session lasts that cannot be renewed since the provider does not answer, in seconds.
const GRACE: i64 = 600;
/// How long one gateway has to renew a session, before another tries.
const TURN: Duration = Duration::from_secs(20);
/// How long the provider has to answer: within the turn.
const ANSWER: Duration = Duration::from_secs(15);
/// How long it is left alone when it has not answered, in seconds.
const PAUSE: i64 = 30;
/// How often those look that wait for it.
const LOOK: Duration = Duration::from_millis(200);

impl Session {
    /// The user's token of the identity provider, if there is one that has not ended.
    pub(super) fn access_token(&self) -> Option<Secret<String>> {
        match &self.kept.there {
            There::Oidc(session) => session.access_token(seconds(SystemTime::now())),
            There::Here { .. } | There::Saml(_) => None,
        }
    }
}

impl Login {
    pub(super) fn oidc(&self, name: &str) -> Option<&Arc<Provider>> {
        self.oidc.iter().find(|provider| provider.config().name == name)
    }

    /// How often a provider is asked whether a session lasts, in seconds.
    pub(super) fn often(&self) -> i64 {
        i64::try_from(self.config.token_life.0.as_secs()).unwrap_or(i64::MAX)
    }

    /// Begins a sign-in at an OpenID provider; none if there is no such provider.
    pub async fn begin_oidc(&self, name: &str, then: Then) -> Option<Result<Begun, Refused>> {
        let provider = self.oidc(name)?;
        if let Err(refused) = provider.ready().await {
            return Some(Err(refused));
        }
        let now = SystemTime::now();
        Some(provider.begin(now).and_then(|begun| {
            let id = begun.attempt.state().to_owned();
            let carried = self.carry(By::Oidc(name.to_owned()), id, then, Some(begun.attempt), now)?;
            Ok(Begun { delivery: Delivery::Redirect { url: begun.url }, carried })
        }))
    }

    /// Judges what a browser brought from an OpenID provider: the query, as it came. `carried` is what the browser carries
    /// under the label of `state`.
    pub async fn finish_oidc(
        &self,
        name: &str,
        query: &str,
        state: &str,
        carried: Option<&str>,
    ) -> Option<Result<Proved, Refused>> {
        let provider = self.oidc(name)?;
        Some(self.finished(name, provider, query, state, carried).await)
    }

    async fn finished(
        &self,
        name: &str,
        provider: &Provider,
        query: &str,
        state: &str,
        carried: Option<&str>,
    ) -> Result<Proved, Refused> {
        let attempt = self.attempt(&By::Oidc(name.to_owned()), state, carried)?;
        let begun = attempt.oidc.ok_or(Refused::BadCredentials(Cause::Attempt))?;
        let now = SystemTime::now();
        let code = provider.judge(&begun, query, now)?;
        // The browser may come back to the address: the provider would take the second use of its code for a theft.
        let once = Key::new(Kind::Used, &serde_json::json!(["oidc", name, state]).to_string());
        if !self.store.add(once, &(), self.config.attempt_life.0 + HANDED_OVER).await? {
            return Err(Refused::BadCredentials(Cause::Attempt));
        }
        let signed = provider.finish(begun, code, now).await?;
        let proof = Proof::oidc(provider.config(), signed, seconds(now), self.often());
        let principal = self.mapper.apply(proof.who.principal())?;
        Ok(Proved { proof, principal, then: attempt.then })
    }

    /// The session as it is now, if the provider says that it lasts.
    pub(super) async fn lasting(&self, key: Key, kept: Kept) -> Result<Option<Kept>, Refused> {
        let mut kept = kept;
        loop {
            let now = seconds(SystemTime::now());
            let (By::Oidc(name), There::Oidc(there)) = (&kept.who.by, &kept.there) else {
                return Ok(Some(kept));
            };
            if !there.is_due(now) {
                return Ok(Some(kept));
            }
            let Some((provider, refresh)) = self.oidc(name).zip(there.refresh_token()) else {
                return Ok(None);
            };
            let turn = Turn {
                store: Arc::clone(&self.store),
                provider: Arc::clone(provider),
                endings: self.endings.clone(),
                often: self.often(),
                key,
            };
            // It goes on when whoever asked goes away: the provider may have taken the refresh token for used.
            let turn = tokio::spawn(turn.take(kept, refresh)).await;
            if let Some(renewed) = turn.map_err(|error| Refused::Unavailable(error.to_string()))? {
                return renewed;
            }
            tokio::time::sleep(LOOK).await;
            let Some(fresh) = self.store.find::<Kept>(key).await? else { return Ok(None) };
            kept = fresh;
        }
    }

    pub(super) fn end_oidc(&self, name: &str, there: &OidcSession) -> SignedOut {
        let Some(provider) = self.oidc(name) else { return SignedOut::Here };
        let back = format!("{}/login", self.origin());
        match provider.logout(Some(&there.id_token()), &back, None) {
            Ok(Some(url)) => {
                SignedOut::There(provider.config().title().to_owned(), Delivery::Redirect { url })
            }
            Ok(None) => SignedOut::Here,
            // Signed out here they are, whatever is there.
            Err(refused) => {
                tracing::warn!(%refused, provider = name, "cannot sign out at the identity provider");
                SignedOut::Here
            }
        }
    }

    /// Ends the sessions that an OpenID provider says have ended there (Back-Channel Logout 1.0), and says which. None if there is no such
    /// provider.
    pub async fn oidc_logged_out(&self, name: &str, token: &str) -> Option<Result<String, Refused>> {
        let provider = self.oidc(name)?;
        Some(self.logged_out(name, provider, token).await)
    }

    async fn logged_out(&self, name: &str, provider: &Provider, token: &str) -> Result<String, Refused> {
        let now = SystemTime::now();
        let out = provider.accept_logout(token, now).await?;
        let life = out.expires.duration_since(now).unwrap_or_default();
        let once = Key::new(Kind::Used, &serde_json::json!(["oidc-logout", name, out.id]).to_string());
        if !self.store.add(once, &(), life + HANDED_OVER).await? {
            return Err(Refused::BadCredentials(Cause::Oidc("the logout token was used before".to_owned())));
        }
        let ended = ended_oidc(name, out.subject.as_deref(), out.session.as_deref());
        self.store.put(Key::new(Kind::Ended, &ended), &seconds(now), LONGEST).await?;
        self.known.invalidate_all();
        let of =
            |what: &str, text: Option<&str>| text.map(|text| format!(", {what} {text}")).unwrap_or_default();
        let (subject, session) =
            (of("subject", out.subject.as_deref()), of("session", out.session.as_deref()));
        Ok(format!("by {name}{subject}{session}"))
    }
}

/// Under which name it is kept that a session was ended here.
pub(super) fn tombstone(session: Key) -> Key {
    Key::new(Kind::Ended, &serde_json::json!(["session", crate::units::hex(&session.hash)]).to_string())
}

/// One renewal of a session.
struct Turn {
    store: Arc<Store>,
    provider: Arc<Provider>,
    endings: mpsc::Sender<Ending>,
    often: i64,
    key: Key,
}

impl Turn {
    /// Renews the session, unless it is another's turn: none, then.
    async fn take(self, kept: Kept, refresh: Secret<String>) -> Option<Result<Option<Kept>, Refused>> {
        // Of all who ask, here and elsewhere, one renews: a refresh token that is used twice is taken for stolen.
        let turn = Key::new(Kind::Renewal, &crate::units::hex(&self.key.hash));
        match self.store.add(turn, &(), TURN).await {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => return Some(Err(error.into())),
        }
        // While it was waited for, another may have done it.
        let renewed = match self.store.find::<Kept>(self.key).await {
            Ok(Some(fresh)) if fresh == kept => self.renewed(kept, &refresh).await,
            fresh => fresh.map_err(Refused::from),
        };
        if let Err(error) = self.store.remove(turn).await {
            tracing::warn!(%error, "a turn to renew a session ends by itself");
        }
        Some(renewed)
    }

    async fn renewed(&self, mut kept: Kept, refresh: &Secret<String>) -> Result<Option<Kept>, Refused> {
        let now = SystemTime::now();
        let There::Oidc(there) = &mut kept.there else { return Ok(Some(kept)) };
        let name = self.provider.config().name.as_str();
        let answer = tokio::time::timeout(ANSWER, self.provider.renew(there.renew(refresh), now)).await;
        match answer.unwrap_or_else(|_| Err(Refused::Unavailable("no answer in time".to_owned()))) {
            Ok(Renewal::Renewed(renewed)) => {
                there.renewed(renewed.user.as_ref(), &renewed.tokens, seconds(now), self.often);
                if let Some(user) = renewed.user {
                    kept.who = Who::oidc(name, user);
                }
                self.keep(kept).await
            }
            Ok(Renewal::Ended) => self.ended(&kept, "the provider has ended the session").await,
            Err(refused @ Refused::Unavailable(_)) => {
                tracing::warn!(provider = name, %refused, "a session cannot be renewed");
                // Whoever asks meanwhile must not wait for it again and again.
                if there.put_off(seconds(now), PAUSE) < GRACE { self.keep(kept).await } else { Err(refused) }
            }
            Err(refused) => {
                tracing::warn!(provider = name, %refused, "a session was renewed with what does not hold: it ends");
                self.ended(&kept, "the provider's answer to a renewal does not hold").await
            }
        }
    }

    /// Keeps the session as it is now, unless it was ended meanwhile.
    async fn keep(&self, kept: Kept) -> Result<Option<Kept>, Refused> {
        let life = u64::try_from(kept.ends - seconds(SystemTime::now())).unwrap_or(0);
        self.store.put(self.key, &kept, Duration::from_secs(life)).await?;
        // Whoever ends it says so first, and then removes it: one of the two comes after.
        if self.store.find::<i64>(tombstone(self.key)).await?.is_some() {
            self.store.remove(self.key).await?;
            return Ok(None);
        }
        Ok(Some(kept))
    }

    async fn ended(&self, kept: &Kept, why: &'static str) -> Result<Option<Kept>, Refused> {
        self.store.remove(self.key).await?;
        let ending = Ending { identity: kept.who.name.clone(), method: kept.who.by.method(), why };
        if self.endings.try_send(ending).is_err() {
            tracing::error!(
                provider = self.provider.config().name,
                why,
                "the end of a session is not on record"
            );
        }
        Ok(None)
    }
}
