//! Who signed in with a browser, until when, and how the identity provider knows them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::identity::oidc::{self, Asserted as OidcAsserted, Renew, Signed, Tokens};
use crate::identity::principal::{Method, Principal};
use crate::identity::saml::{self, Asserted, LogoutSubject, NameId};
use crate::secret::Secret;

/// Somebody as an identity provider, or the users file, says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Who {
    pub(super) name: String,
    #[serde(default)]
    pub(super) groups: BTreeSet<String>,
    #[serde(default)]
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) by: By,
}

/// By which way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(tag = "by", content = "provider", rename_all = "lowercase")]
pub(super) enum By {
    /// An OpenID provider, by its name in the configuration.
    Oidc(String),
    /// A SAML identity provider, by its name in the configuration.
    Saml(String),
    /// A password of the users file.
    Password,
}

impl By {
    pub(super) fn method(&self) -> Method {
        match self {
            Self::Oidc(provider) => Method::Oidc { provider: provider.clone() },
            Self::Saml(provider) => Method::Saml { provider: provider.clone() },
            Self::Password => Method::Password,
        }
    }
}

impl Who {
    pub(super) fn oidc(provider: &str, user: OidcAsserted) -> Self {
        Self {
            name: user.user,
            groups: user.groups.into_iter().collect(),
            attributes: user.attributes,
            by: By::Oidc(provider.to_owned()),
        }
    }

    pub(super) fn of(principal: &Principal, by: By) -> Self {
        Self {
            name: principal.name().to_owned(),
            groups: principal.groups().clone(),
            attributes: principal.attributes().clone(),
            by,
        }
    }

    /// The principal, before rules make a user of them.
    pub(super) fn principal(&self) -> Principal {
        Principal::new(self.name.as_str(), self.by.method())
            .with_groups(self.groups.iter().cloned())
            .with_attributes(self.attributes.clone())
    }
}

/// What the identity provider calls a sign-in: by this it is ended from there, and ends there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "at", rename_all = "lowercase")]
pub(super) enum There {
    /// There is none: the users file says who they are, and whether the password of then is still theirs.
    Here {
        /// What stands for the password's hash.
        password: String,
    },
    /// A SAML identity provider's name for the user, and for the session.
    Saml(SamlSession),
    /// What an OpenID provider calls them, and the tokens that it has given.
    Oidc(Box<OidcSession>),
}

impl There {
    /// Who has signed them in; none where we have.
    pub(super) fn issuer(&self) -> Option<&str> {
        match self {
            Self::Here { .. } => None,
            Self::Saml(session) => Some(&session.issuer),
            Self::Oidc(session) => Some(&session.issuer),
        }
    }
}

/// How an OpenID provider names a session, and what renews it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct OidcSession {
    /// Who says so. Another provider may have its name later on.
    #[serde(default)]
    issuer: String,
    subject: String,
    nonce: Option<String>,
    session: Option<String>,
    id_token: Stored,
    access_token: Stored,
    /// When the access token ends, in seconds since 1970.
    access_ends: Option<i64>,
    refresh_token: Option<Stored>,
    /// When it is to be asked whether the session lasts, in seconds since 1970.
    renew_at: Option<i64>,
    /// Since when it does not answer, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    silent: Option<i64>,
}

/// A token of an identity provider, as it is stored: the store is for us alone, or seals what it has.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
struct Stored(String);

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stored(..)")
    }
}

impl Stored {
    fn new(token: &Secret<String>) -> Self {
        Self(token.expose().clone())
    }

    fn secret(&self) -> Secret<String> {
        Secret::new(self.0.clone())
    }
}

/// A provider is asked no more often than this whether a session lasts, in seconds.
const LEAST_RENEWAL: i64 = 5;

impl OidcSession {
    /// The session of a sign-in; the provider is asked again after `often` seconds, or before if its token ends before.
    fn new(issuer: &str, signed: &Signed, now: i64, often: i64) -> Self {
        let Signed { user, tokens } = signed;
        let mut session = Self {
            issuer: issuer.to_owned(),
            subject: user.subject.clone(),
            nonce: user.nonce.clone(),
            session: user.session.clone(),
            id_token: Stored::new(&user.id_token),
            access_token: Stored::new(&tokens.access_token),
            access_ends: None,
            refresh_token: None,
            renew_at: None,
            silent: None,
        };
        session.take(tokens, now, often);
        session
    }

    fn take(&mut self, tokens: &Tokens, now: i64, often: i64) {
        self.access_token = Stored::new(&tokens.access_token);
        self.access_ends = tokens.access_token_expires.map(seconds);
        self.silent = None;
        self.refresh_token = tokens.refresh_token.as_ref().map(Stored::new);
        // Before the token ends, so that nobody meets one that has.
        let early = self.access_ends.map_or(often, |ends| ((ends - now) * 3 / 4).min(often));
        self.renew_at = self.refresh_token.as_ref().map(|_| now + early.max(LEAST_RENEWAL));
    }

    /// Whether the provider is to be asked now.
    pub(super) fn is_due(&self, now: i64) -> bool {
        self.renew_at.is_some_and(|at| at <= now)
    }

    /// The provider has not answered, and is asked again after `pause` seconds: for how many it has been silent.
    pub(super) fn put_off(&mut self, now: i64, pause: i64) -> i64 {
        self.renew_at = Some(now + pause);
        now - *self.silent.get_or_insert(now)
    }

    /// Asks the provider whether the session lasts.
    pub(super) fn refresh_token(&self) -> Option<Secret<String>> {
        self.refresh_token.as_ref().map(Stored::secret)
    }

    pub(super) fn renew<'a>(&'a self, refresh_token: &'a Secret<String>) -> Renew<'a> {
        Renew { refresh_token, subject: &self.subject, nonce: self.nonce.as_deref() }
    }

    /// What the provider has given anew.
    pub(super) fn renewed(&mut self, user: Option<&OidcAsserted>, tokens: &Tokens, now: i64, often: i64) {
        if let Some(user) = user {
            self.id_token = Stored::new(&user.id_token);
        }
        self.take(tokens, now, often);
    }

    /// The access token, if it has not ended.
    pub(super) fn access_token(&self, now: i64) -> Option<Secret<String>> {
        self.access_ends.is_none_or(|ends| now < ends).then(|| self.access_token.secret())
    }

    pub(super) fn id_token(&self) -> Secret<String> {
        self.id_token.secret()
    }
}

/// How a SAML identity provider names a session.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct SamlSession {
    /// Who says so. Another identity provider may have its name later on.
    #[serde(default)]
    issuer: String,
    value: String,
    format: Option<String>,
    name_qualifier: Option<String>,
    sp_name_qualifier: Option<String>,
    index: Option<String>,
}

impl SamlSession {
    fn new(issuer: &str, name: NameId, index: Option<String>) -> Self {
        let NameId { value, format, name_qualifier, sp_name_qualifier } = name;
        Self { issuer: issuer.to_owned(), value, format, name_qualifier, sp_name_qualifier, index }
    }

    pub(super) fn subject(&self) -> LogoutSubject {
        let name_id = NameId {
            value: self.value.clone(),
            format: self.format.clone(),
            name_qualifier: self.name_qualifier.clone(),
            sp_name_qualifier: self.sp_name_qualifier.clone(),
        };
        LogoutSubject { name_id, session_index: self.index.clone() }
    }
}

/// What a sign-in has proved.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Proof {
    pub(super) who: Who,
    pub(super) there: There,
    /// When the identity provider wants it to end, in seconds since 1970.
    pub(super) ends: Option<i64>,
}

impl Proof {
    pub(super) fn oidc(provider: &oidc::Config, signed: Signed, now: i64, often: i64) -> Self {
        let there = There::Oidc(Box::new(OidcSession::new(&provider.issuer, &signed, now, often)));
        Self { who: Who::oidc(&provider.name, signed.user), there, ends: None }
    }

    pub(super) fn saml(provider: &saml::Config, asserted: Asserted) -> Self {
        let by = By::Saml(provider.name.clone());
        let who = Who {
            name: asserted.user,
            groups: asserted.groups.into_iter().collect(),
            attributes: asserted.attributes,
            by,
        };
        let session = SamlSession::new(&provider.idp_entity_id, asserted.name_id, asserted.session_index);
        let there = There::Saml(session);
        Self { who, there, ends: asserted.session_ends.map(seconds) }
    }
}

/// Seconds since 1970.
pub(super) fn seconds(at: std::time::SystemTime) -> i64 {
    let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A sign-in as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Kept {
    pub(super) who: Who,
    pub(super) there: There,
    /// What forms must carry.
    pub(super) form_key: String,
    /// When it began and ends, in seconds since 1970.
    pub(super) began: i64,
    pub(super) ends: i64,
}

impl Kept {
    /// The names under which the identity provider may have ended it: the session, and all of the user's.
    pub(super) fn names(&self) -> Vec<String> {
        match (&self.who.by, &self.there) {
            (By::Saml(provider), There::Saml(session)) => {
                let subject = session.subject();
                let all = ended_saml(provider, &subject.name_id, None);
                let one =
                    session.index.as_deref().map(|index| ended_saml(provider, &subject.name_id, Some(index)));
                std::iter::once(all).chain(one).collect()
            }
            (By::Oidc(provider), There::Oidc(session)) => {
                let (all, one) = (Some(session.subject.as_str()), session.session.as_deref());
                let one = one.into_iter().flat_map(|one| {
                    [ended_oidc(provider, None, Some(one)), ended_oidc(provider, all, Some(one))]
                });
                std::iter::once(ended_oidc(provider, all, None)).chain(one).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// The same for an OpenID provider, which names a subject, a session, or both.
pub(super) fn ended_oidc(provider: &str, subject: Option<&str>, session: Option<&str>) -> String {
    serde_json::json!(["oidc", provider, subject, session]).to_string()
}

/// Under which name it is kept that an identity provider has ended a session, or all of somebody.
pub(super) fn ended_saml(provider: &str, name: &NameId, index: Option<&str>) -> String {
    let parts = ["saml", provider, &name.value];
    let rest = [&name.format, &name.name_qualifier, &name.sp_name_qualifier];
    let rest = rest.into_iter().map(|part| part.as_deref());
    serde_json::json!([parts, rest.collect::<Vec<_>>(), index]).to_string()
}

/// Under which name it is kept that an administrator has ended all sessions of a user.
pub(super) fn ended_user(user: &str) -> String {
    serde_json::json!(["user", user]).to_string()
}
