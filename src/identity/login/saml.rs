//! Sign-in at a SAML identity provider, and sign-out from there.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::attempt::Attempt;
use super::session::{By, Proof, ended_saml, seconds};
use super::{Begun, HANDED_OVER, LONGEST, Login, Proved, Then, driver, no_random};
use crate::identity::error::{Cause, Refused};
use crate::identity::saml::{Delivery, Incoming, ServiceProvider};
use crate::secret::Secret;
use crate::state::{Key, Kind};

/// How long an answer waits to be judged.
const TO_BE_JUDGED: Duration = Duration::from_secs(5);

impl Login {
    /// Our metadata for an identity provider.
    pub fn saml_metadata(&self, name: &str) -> Option<&str> {
        self.saml(name).map(|provider| provider.metadata())
    }

    pub(super) fn saml(&self, name: &str) -> Option<&Arc<ServiceProvider>> {
        self.saml.iter().find(|provider| provider.config().name == name)
    }

    /// Begins a sign-in by SAML; none if there is no such identity provider.
    pub async fn begin_saml(&self, name: &str, then: Then) -> Option<Result<Begun, Refused>> {
        let provider = self.saml(name)?;
        if let Err(refused) = provider.ready().await {
            return Some(Err(refused));
        }
        let now = SystemTime::now();
        Some(provider.begin(None, now).and_then(|begun| {
            let carried = self.carry(By::Saml(name.to_owned()), begun.id, then, None, now)?;
            Ok(Begun { delivery: begun.delivery, carried })
        }))
    }

    /// Judges the answer that a browser brought from a SAML identity provider. What it says is kept under the text that is
    /// given back: the answer comes from another site, so that the cookies of this browser come with its next request only.
    pub async fn accept_saml(&self, name: &str, response: &str) -> Option<Result<Secret<String>, Refused>> {
        let provider = self.saml(name)?;
        Some(self.accepted(name, provider, response).await)
    }

    async fn accepted(
        &self,
        name: &str,
        provider: &Arc<ServiceProvider>,
        response: &str,
    ) -> Result<Secret<String>, Refused> {
        let now = SystemTime::now();
        // One that is made to take long must not hold up the connections of this thread.
        let turn = tokio::time::timeout(TO_BE_JUDGED, self.judging.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(Refused::Unavailable("too many answers of identity providers at once".to_owned()));
        };
        let (judge, response) = (Arc::clone(provider), response.to_owned());
        let asserted = tokio::task::spawn_blocking(move || judge.accept(&response, now));
        let asserted = asserted.await.map_err(|error| Refused::Unavailable(error.to_string()))??;
        let life = asserted.expires.duration_since(now).unwrap_or_default();
        let once =
            Key::new(Kind::Used, &serde_json::json!(["saml", name, asserted.assertion_id]).to_string());
        if !self.store.add(once, &(), life + HANDED_OVER).await? {
            return Err(Refused::BadCredentials(Cause::Saml("the assertion was used before".to_owned())));
        }
        let request = asserted.in_response_to.clone();
        let signed_in_at = provider.config().force_authn.then(|| {
            // Beyond what clocks may differ by.
            seconds(asserted.authenticated_at + provider.config().max_clock_skew.0)
        });
        let handed = Handed {
            by: By::Saml(name.to_owned()),
            request,
            signed_in_at,
            proof: Proof::saml(provider.config(), asserted),
        };
        let reference = driver::random().ok_or_else(no_random)?;
        self.store.put(Key::new(Kind::Attempt, reference.expose()), &handed, HANDED_OVER).await?;
        Ok(reference)
    }

    /// The answer that is kept under this text, for the browser that has begun the sign-in. `carried` finds what that carries
    /// under a label.
    pub async fn finish_saml(
        &self,
        reference: &str,
        carried: impl Fn(&str) -> Option<Secret<String>>,
    ) -> Result<(Proved, String), Refused> {
        let lost = || Refused::BadCredentials(Cause::Attempt);
        let handed: Option<Handed> = self.store.take(Key::new(Kind::Attempt, reference)).await?;
        let handed = handed.ok_or_else(lost)?;
        let label = Attempt::label(&handed.request);
        let cookie = carried(&label);
        let attempt = self.attempt(
            &handed.by,
            &handed.request,
            cookie.as_ref().map(|cookie| cookie.expose().as_str()),
        )?;
        if handed.signed_in_at.is_some_and(|at| at < attempt.began) {
            let old = "the user did not sign in anew";
            return Err(Refused::BadCredentials(Cause::Saml(old.to_owned())));
        }
        let principal = self.mapper.apply(handed.proof.who.principal())?;
        Ok((Proved { proof: handed.proof, principal, then: attempt.then }, label))
    }

    /// Ends the sessions that a SAML identity provider asks to end, and says what to answer, and whose they were. None if there is no such
    /// identity provider.
    pub async fn logout_asked(
        &self,
        name: &str,
        message: &Incoming<'_>,
    ) -> Option<Result<(Option<Delivery>, String), Refused>> {
        let provider = self.saml(name)?;
        Some(self.ended_there(name, provider, message).await)
    }

    async fn ended_there(
        &self,
        name: &str,
        provider: &ServiceProvider,
        message: &Incoming<'_>,
    ) -> Result<(Option<Delivery>, String), Refused> {
        let now = SystemTime::now();
        let asked = provider.accept_logout_request(message, now)?;
        let once = Key::new(Kind::Used, &serde_json::json!(["saml-logout", name, asked.id]).to_string());
        let life = asked.expires.duration_since(now).unwrap_or_default();
        if !self.store.add(once, &(), life + HANDED_OVER).await? {
            return Err(Refused::BadCredentials(Cause::Saml("the request was used before".to_owned())));
        }
        let indexes = asked.session_indexes.iter().map(|index| Some(index.as_str()));
        let indexes: Vec<_> = if asked.session_indexes.is_empty() { vec![None] } else { indexes.collect() };
        for index in indexes {
            let ended = Key::new(Kind::Ended, &ended_saml(name, &asked.name_id, index));
            self.store.put(ended, &seconds(now), LONGEST).await?;
        }
        self.known.invalidate_all();
        let whose = format!("by {name}: the sessions of {}", asked.name_id.value);
        Ok((provider.answer_logout(&asked, now)?.map(|begun| begun.delivery), whose))
    }

    /// Judges the answer of a SAML identity provider to a sign-out. None if there is no such identity provider.
    pub fn logout_answered(&self, name: &str, message: &Incoming<'_>) -> Option<Result<(), Refused>> {
        let provider = self.saml(name)?;
        // Nothing follows from it: who it is for is signed out here already.
        Some(provider.accept_logout_response(message, SystemTime::now()).map(drop))
    }
}

/// What an identity provider has said, until the browser that brought it comes with its cookies.
#[derive(serde::Serialize, serde::Deserialize)]
struct Handed {
    by: By,
    /// The request of ours that it answers.
    request: String,
    /// The latest time at which the user signed in there, where they must have done it anew.
    signed_in_at: Option<i64>,
    proof: Proof,
}
