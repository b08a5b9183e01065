//! ID tokens (OpenID Connect Core 2 and 3.1.3.7): the library verifies, and what it leaves to its caller is here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{CoreIdToken, CoreIdTokenVerifier};
use openidconnect::{
    AccessToken, AccessTokenHash, Audience, AuthenticationContextClass, ClaimsVerificationError, ClientId,
    IssuerUrl, Nonce, SignatureVerificationError,
};
use serde_json::Value;

use super::config::Config;
use super::discovery::Known;
use super::{Asserted, MAX_TOKEN};
use crate::identity::claims::Mapping;
use crate::identity::error::Cause;
use crate::identity::jwt::seconds;
use crate::identity::principal::Method;
use crate::secret::Secret;

/// Longest subject or session identifier, in bytes.
const MAX_IDENTIFIER: usize = 1024;

/// What an ID token must be the answer to.
#[derive(Clone, Copy)]
pub(super) enum Occasion<'a> {
    /// A sign-in with a browser, whose request had this nonce.
    SignIn { nonce: &'a str },
    /// A sign-in of a device, whose request has none.
    Device,
    /// A renewal (Core 12.2): of this subject, and with the nonce of the first token or none.
    Renewal { subject: &'a str, nonce: Option<&'a str> },
}

/// What an ID token is held against.
#[derive(Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) config: &'a Config,
    pub(super) occasion: Occasion<'a>,
    pub(super) now: SystemTime,
}

/// Why an ID token is not believed.
#[derive(Debug)]
pub(super) enum Unfit {
    /// Its key is not known: perhaps it is new.
    UnknownKey,
    /// It does not hold.
    Cause(Cause),
}

impl Unfit {
    fn because(why: impl std::fmt::Display) -> Self {
        Self::Cause(Cause::Oidc(format!("the ID token: {why}")))
    }
}

impl From<Unfit> for Cause {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::UnknownKey => Self::Oidc("the ID token: signed with an unknown key".to_owned()),
            Unfit::Cause(cause) => cause,
        }
    }
}

impl From<ClaimsVerificationError> for Unfit {
    fn from(error: ClaimsVerificationError) -> Self {
        use SignatureVerificationError::NoMatchingKey;
        match error {
            ClaimsVerificationError::SignatureVerification(NoMatchingKey) => Self::UnknownKey,
            ClaimsVerificationError::SignatureVerification(error) => Self::because(error),
            error => Self::because(error),
        }
    }
}

/// Verifies an ID token, and gives its claims.
///
/// The library checks the form, `typ`, `crit`, the algorithm, the key and the signature, `iss`, `aud`, `exp` and `nonce`.
pub(super) fn verify(
    token: &CoreIdToken,
    access_token: &AccessToken,
    known: &Known,
    expected: &Expected<'_>,
) -> Result<Value, Unfit> {
    let Expected { config, occasion, now } = *expected;
    let (skew, us) = (config.max_clock_skew.0, ClientId::new(config.client_id.clone()));
    let issuer = IssuerUrl::new(config.issuer.clone()).map_err(Unfit::because)?;
    // Even of a confidential client, tokens under the shared secret are not believed.
    let verifier = CoreIdTokenVerifier::new_public_client(us.clone(), issuer, known.keys.clone())
        .set_allowed_algs(config.allowed())
        .set_other_audience_verifier_fn(|audience: &Audience| {
            config.trusted_audiences.contains(audience.as_str())
        })
        .set_time_fn(move || (now - skew).into())
        .set_issue_time_verifier_fn(move |issued| {
            let is_past = SystemTime::from(issued) <= now + skew;
            if is_past { Ok(()) } else { Err("issued in the future".to_owned()) }
        });
    let verifier = match (occasion, config.max_age) {
        (Occasion::SignIn { .. } | Occasion::Device, Some(most)) => {
            verifier.set_auth_time_verifier_fn(move |at| {
                let signed_in = at.map(SystemTime::from).ok_or("no auth_time")?;
                let is_fresh = now <= signed_in + most.0 + skew;
                if is_fresh { Ok(()) } else { Err("signed in too long ago".to_owned()) }
            })
        }
        _ => verifier,
    };
    let verifier = match occasion {
        Occasion::SignIn { .. } | Occasion::Device if !config.acr_values.is_empty() => verifier
            .set_auth_context_verifier_fn(|acr: Option<&AuthenticationContextClass>| {
                let is_accepted = acr.is_some_and(|acr| config.acr_values.iter().any(|one| *one == **acr));
                if is_accepted { Ok(()) } else { Err("not by a way of `acr_values`".to_owned()) }
            }),
        _ => verifier,
    };
    let claims = match occasion {
        Occasion::SignIn { nonce } => token.claims(&verifier, &Nonce::new(nonce.to_owned()))?,
        Occasion::Device => token.claims(&verifier, |_: Option<&Nonce>| Ok(()))?,
        Occasion::Renewal { nonce, .. } => token.claims(&verifier, |found: Option<&Nonce>| {
            let is_same = found.is_none_or(|found| Some(found.secret().as_str()) == nonce);
            if is_same { Ok(()) } else { Err("another nonce".to_owned()) }
        })?,
    };

    if claims.authorized_party().is_some_and(|party| *party != us) {
        return Err(Unfit::because("issued for another party (azp)"));
    }
    if claims.audiences().len() > 1 && claims.authorized_party().is_none() {
        return Err(Unfit::because("of several audiences, without azp"));
    }
    if let Some(hash) = claims.access_token_hash() {
        let (algorithm, key) = (token.signing_alg(), token.signing_key(&verifier));
        let (algorithm, key) = (algorithm.map_err(Unfit::because)?, key.map_err(Unfit::because)?);
        let actual = AccessTokenHash::from_token(access_token, algorithm, key).map_err(Unfit::because)?;
        if *hash != actual {
            return Err(Unfit::because("of another access token (at_hash)"));
        }
    }
    if let Occasion::Renewal { subject, .. } = occasion
        && claims.subject().as_str() != subject
    {
        return Err(Unfit::because("of another subject than the session"));
    }
    // From here on the very bytes that were signed are read. A claim that the library knows is not in them twice.
    let claims = payload(&token.to_string()).ok_or_else(|| Unfit::because("unreadable"))?;
    let latest = since_epoch(now + skew);
    match claims.get("nbf").map(|from| seconds(Some(from))) {
        Some(None) => Err(Unfit::because("unreadable nbf")),
        Some(Some(from)) if from > latest => Err(Unfit::because("not valid yet")),
        _ => Ok(claims),
    }
}

/// Seconds since 1970.
pub(super) fn since_epoch(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn payload(token: &str) -> Option<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Whom verified claims describe.
pub(super) fn asserted(token: &CoreIdToken, claims: &Value, config: &Config) -> Result<Asserted, Cause> {
    let unfit = |why: &str| Cause::Oidc(format!("the ID token: {why}"));
    let token = token.to_string();
    if token.len() > MAX_TOKEN {
        return Err(unfit("too long"));
    }
    let text = |name: &str| match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.is_empty() && text.len() <= MAX_IDENTIFIER => {
            Ok(Some(text.clone()))
        }
        Some(_) => Err(unfit(&format!("unreadable {name}"))),
    };
    let time = |name: &str| {
        let since = seconds(claims.get(name)).filter(|since| *since < 1 << 40)?;
        Some(UNIX_EPOCH + Duration::from_secs(since))
    };
    let mapping = Mapping {
        user: config.user_claim.clone(),
        groups: config.groups_claim.clone(),
        attributes: config.attributes.clone(),
        require: config.require.clone(),
    };
    let method = Method::Jwt { issuer: config.issuer.clone() };
    let principal = mapping.principal(claims, method).map_err(|cause| match cause {
        Cause::Token(why) => unfit(why),
        cause => cause,
    })?;
    Ok(Asserted {
        subject: text("sub")?.ok_or_else(|| unfit("no sub"))?,
        nonce: text("nonce")?,
        session: text("sid")?,
        authenticated_at: time("auth_time"),
        expires: time("exp").ok_or_else(|| unfit("unreadable exp"))?,
        user: principal.name().to_owned(),
        groups: principal.groups().iter().cloned().collect(),
        attributes: principal.attributes().clone(),
        id_token: Secret::new(token),
    })
}
