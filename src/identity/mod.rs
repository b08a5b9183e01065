//! Stage 2: who is calling.
//!
//! A [`Call`] comes in with credentials and goes out as [`Authenticated`], with the principal whose policies
//! apply. Passwords are checked against a users file (argon2id), bearer tokens against the keys of configured
//! issuers. What was found good is remembered for a while under a keyed hash, so that a driver's polls cost
//! microseconds; what was found bad is counted, and too much of it is refused unseen.
//!
//! Whatever cannot be checked is refused. Unknown users cost and are told the same as wrong passwords.

mod alb;
mod attempts;
mod browser;
mod certificate;
mod claims;
mod config;
mod error;
mod fetch;
mod fresh;
mod impersonation;
mod jwt;
mod keys;
mod login;
mod mapping;
pub mod oidc;
mod password;
mod principal;
pub mod saml;
mod snapshot;
mod source;
#[cfg(test)]
mod tests;
mod token_cache;
mod tokens;
mod users;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

pub use self::config::{
    Alb as AlbConfig, Attempts as AttemptsConfig, CertificateName,
    ClientCertificates as ClientCertificatesConfig, Config, Impersonation as ImpersonationConfig,
    Issuer as IssuerConfig, Mapping as MappingConfig, MappingTest as MappingTestConfig, SignatureAlgorithm,
};
pub use self::error::{By, Cause, Refused, SetupError};
pub use self::login::{
    Answered, Asking, Begun, Carried, Choice, Config as LoginConfig, Ending, Login, Polled, Proved, Session,
    SignedIn, SignedOut, Terminal, Then, Tickets, Waiting,
};
pub use self::password::hash_password;
pub use self::principal::{Method, Principal};
pub use self::tokens::{Config as TokensConfig, Network, Scope, Token, TokenError, Tokens};
pub use self::users::{NewUser, add_user};

use self::alb::Alb;
use self::attempts::Attempts;
use self::impersonation::Rules;
use self::jwt::{Issuers, Verified};
use self::mapping::Mapper;
use self::password::Checker;
use self::snapshot::{Snapshot, follow};
use self::token_cache::TokenCache;
use self::users::Users;
use crate::secret::Secret;
use crate::state::Store;
use crate::telemetry::{AuthMethod, AuthOutcome, Metrics};
use crate::wire::{Call, Credentials, Peer, Sealer};

/// The longest time that a right password may be remembered.
const MAX_REMEMBERED: Duration = Duration::from_hours(1);

/// Stage 2 of a query: a call, and who it is from. Only [`Identity::authenticate`] makes one.
#[derive(Debug)]
pub struct Authenticated {
    principal: Arc<Principal>,
    impersonator: Option<String>,
    token: Option<Arc<Secret<String>>>,
    scope: Option<Arc<Scope>>,
    call: Call,
}

impl Authenticated {
    /// The principal that the query runs as, and whose policies apply.
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// Who signed in, if that is somebody other than the principal.
    pub fn impersonator(&self) -> Option<&str> {
        self.impersonator.as_deref()
    }

    /// The principal's token of their identity provider; none where they signed in with something else, or where another
    /// signed in. Never a token of our own.
    pub fn token(&self) -> Option<&Secret<String>> {
        self.token.as_deref().filter(|_| self.impersonator.is_none())
    }

    /// What the personal access token that they signed in with may be used for, if it was one.
    pub fn scope(&self) -> Option<&Scope> {
        self.scope.as_deref()
    }

    /// Whether the gateway itself asks, in the principal's place.
    pub fn is_warming(&self) -> bool {
        matches!(self.principal.method(), Method::Warming)
    }

    /// The call.
    pub fn call(&self) -> &Call {
        &self.call
    }
}

/// What credentials have proved.
struct Proven {
    principal: Arc<Principal>,
    /// The token of the identity provider, if that is how.
    token: Option<Arc<Secret<String>>>,
    /// The scope of the personal access token, if that is how.
    scope: Option<Arc<Scope>>,
}

impl Proven {
    fn without_token(principal: Arc<Principal>) -> Self {
        Self { principal, token: None, scope: None }
    }
}

/// Checks who is calling.
pub struct Identity {
    passwords: Checker,
    users: Arc<Snapshot>,
    issuers: Issuers,
    certificates: Option<ClientCertificatesConfig>,
    alb: Option<Alb>,
    tokens: TokenCache,
    access_tokens: Option<Tokens>,
    /// What the load balancer has said. Apart from tokens: none may be taken for the other.
    assertions: TokenCache,
    login: Option<Login>,
    mapper: Arc<Mapper>,
    rules: Rules,
    attempts: Attempts,
    metrics: Arc<Metrics>,
    _watch: AbortOnDropHandle<()>,
}

/// A user of the file, as they are after signing in by password.
///
/// # Errors
///
/// [`SetupError`] if there is a file that cannot be read.
pub fn known(users_file: &Path, name: &str) -> Result<Option<Principal>, SetupError> {
    let users = Users::load(users_file)?;
    Ok(users.find(name).map(|user| (*user.principal).clone()))
}

/// Whether credentials have the form of a personal access token.
pub fn is_access_token(credentials: &Credentials) -> bool {
    match credentials {
        Credentials::None => false,
        Credentials::Basic { password: text, .. } | Credentials::Bearer(text) => {
            tokens::is_token(text.expose())
        }
    }
}

impl Identity {
    /// Reads the users file and starts to fetch the issuers' keys. Needs a tokio runtime; what it starts ends
    /// with it. An issuer that cannot be reached is no error here: its tokens are refused until it can.
    /// Sessions and tokens are kept in the store.
    pub fn new(
        config: Config,
        store: &Arc<Store>,
        sealer: Arc<Sealer>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, SetupError> {
        if config.password_cache.0 > MAX_REMEMBERED {
            return Err(SetupError::Value("password_cache: at most 1h".to_owned()));
        }
        let users = Users::load(&config.users_file)?;
        let others = [
            !config.jwt.is_empty(),
            config.client_certificates.is_some(),
            config.alb.is_some(),
            !config.oidc.is_empty() || !config.saml.is_empty(),
        ];
        if users.len() == 0 && !others.contains(&true) {
            tracing::warn!(
                file = %config.users_file.display(),
                "nobody can sign in: the users file is empty; run `northgate user add`"
            );
        }
        let mapper = Arc::new(Mapper::new(&config.mapping, &config.sources())?);
        let providers = login::Providers { oidc: config.oidc, saml: config.saml };
        if config.login.is_none() && !providers.is_empty() {
            return Err(SetupError::Value(
                "oidc, saml: sign-in with a browser needs [identity.login]".to_owned(),
            ));
        }
        let users = Arc::new(Snapshot::new(config.users_file, users));
        let login = config.login.map(|login| {
            let (store, mapper) = (Arc::clone(store), Arc::clone(&mapper));
            Login::new(login, providers, store, sealer, mapper, Arc::clone(&users))
        });
        let login = login.transpose()?;
        let watch = AbortOnDropHandle::new(tokio::spawn(follow(Arc::clone(&users))));
        Ok(Self {
            passwords: Checker::new(config.password_cache.0, Arc::clone(&metrics))?,
            users,
            issuers: Issuers::new(config.jwt)?,
            certificates: config.client_certificates,
            alb: config.alb.map(Alb::new).transpose()?,
            tokens: TokenCache::new()?,
            access_tokens: config
                .tokens
                .map(|tokens| Tokens::open(tokens, store, Arc::clone(&mapper)))
                .transpose()?,
            assertions: TokenCache::new()?,
            login,
            mapper,
            rules: Rules::new(config.impersonation)?,
            attempts: Attempts::new(&config.attempts),
            metrics,
            _watch: watch,
        })
    }

    /// Whether one could be made. Files are read and left as they are, also if another gateway has them.
    pub fn check(
        mut config: Config,
        store: &Arc<Store>,
        sealer: Arc<Sealer>,
        metrics: Arc<Metrics>,
    ) -> Result<(), SetupError> {
        if let Some(tokens) = config.tokens.take() {
            Tokens::check(&tokens, store)?;
        }
        Self::new(config, store, sealer, metrics).map(drop)
    }

    /// Whether finding out who offers the credentials takes long: a password that is not known to be right.
    pub fn is_slow(&self, credentials: &Credentials) -> bool {
        if let Some((tokens, hash, _)) = self.access_token(credentials) {
            return !tokens.is_known(&hash);
        }
        let Credentials::Basic { user: name, password } = credentials else { return false };
        let users = self.users.users.load();
        let hash = users.find(name).and_then(|user| user.password.as_ref());
        !hash.is_some_and(|hash| self.passwords.remembered(name, password, hash))
    }

    /// Whether the credentials are good, whoever they are of.
    pub async fn screen(
        &self,
        credentials: &Credentials,
        assertion: Option<&Secret<String>>,
        peer: &Peer,
    ) -> Result<(), Refused> {
        self.prove(credentials, assertion, peer).await.map(drop)
    }

    /// Whether a failed sign-in is recorded by itself. Guesses above the limit are not, and of what has no limit, since it
    /// is no guess, as many are as of guesses.
    pub fn is_recorded(&self, refused: &Refused, address: IpAddr) -> bool {
        match refused {
            Refused::TooManyAttempts { .. } => false,
            // It gives something out, of which there is a bounded number.
            Refused::Renewed { .. } => true,
            refused => !is_stale(refused) || self.attempts.count_stale(address),
        }
    }

    /// Finds out who the call is from, or refuses it.
    pub async fn authenticate(&self, call: Call) -> Result<Authenticated, Refused> {
        let method = match call.credentials() {
            offered if self.access_token(offered).is_some() => AuthMethod::Token,
            Credentials::None if call.assertion().is_some() => AuthMethod::Alb,
            Credentials::None if call.peer().certificate.is_some() => AuthMethod::Certificate,
            Credentials::None => AuthMethod::None,
            Credentials::Basic { .. } => AuthMethod::Password,
            Credentials::Bearer(token) if self.driver_login(token).is_some() => AuthMethod::Driver,
            Credentials::Bearer(_) => AuthMethod::Jwt,
        };
        let identified = match self.prove(call.credentials(), call.assertion(), call.peer()).await {
            Ok(Proven { principal, token, scope }) => self
                .become_user(principal, scope.as_deref(), call.session().user.as_deref())
                .map(|(principal, impersonator)| (principal, impersonator, token, scope)),
            Err(refused) => Err(refused),
        };
        let outcome = identified.as_ref().map_or_else(outcome, |_| AuthOutcome::Accepted);
        self.metrics.authentication(method, outcome);
        let (principal, impersonator, token, scope) = identified?;
        Ok(Authenticated { principal, impersonator, token, scope, call })
    }

    /// Reads the users file again, and has the issuers' keys fetched again soon. A users file that does not
    /// hold together leaves the one before in force.
    pub fn reload(&self) -> Result<(), SetupError> {
        self.issuers.refresh();
        self.login.iter().for_each(Login::refresh);
        self.tokens.clear();
        self.assertions.clear();
        self.users.reload()
    }

    /// A user of the file in force, as they are after signing in by password.
    pub fn known(&self, name: &str) -> Option<Principal> {
        self.users.users.load().find(name).map(|user| (*user.principal).clone())
    }

    /// What the gateway itself asks in the place of a user of the file, in the groups that the file in force says; none if they
    /// are not in it. On record `by` is who signed in, and no token of the user's is there.
    pub fn in_place_of(&self, user: &str, by: String, call: Call) -> Option<Authenticated> {
        let users = self.users.users.load();
        let known = &users.find(user)?.principal;
        let principal = Principal::new(user, Method::Warming)
            .with_groups(known.groups().iter().cloned())
            .with_attributes(known.attributes().clone());
        Some(Authenticated {
            principal: Arc::new(principal),
            impersonator: Some(by),
            token: None,
            scope: None,
            call,
        })
    }

    /// Told each time that the users file has changed and was read: what is wrong with it, if anything is.
    pub fn rereads(&self) -> watch::Receiver<Option<String>> {
        self.users.reread.subscribe()
    }

    /// The personal access tokens, if there are any.
    pub fn access_tokens(&self) -> Option<&Tokens> {
        self.access_tokens.as_ref()
    }

    /// Makes a token for somebody in their absence: a user of the file, or somebody who has signed in. For administrators.
    pub async fn create_token(
        &self,
        owner: &str,
        name: &str,
        expires: jiff::Timestamp,
        scope: Scope,
    ) -> Result<(Secret<String>, Token), TokenError> {
        let unknown = || TokenError::Unknown(owner.chars().take(users::MAX_NAME).collect());
        let tokens = self.access_tokens().ok_or_else(unknown)?;
        let in_file = self.users.users.load().find(owner).is_some();
        tokens.create_for(owner, in_file, name, expires, scope).await
    }

    /// The personal access token among credentials: its hash, and the name that came with it.
    fn access_token<'a>(
        &self,
        credentials: &'a Credentials,
    ) -> Option<(&Tokens, tokens::Hash, Option<&'a str>)> {
        let tokens = self.access_tokens.as_ref()?;
        let (text, user) = match credentials {
            Credentials::None => return None,
            Credentials::Basic { user, password } => (password, Some(user.as_str())),
            Credentials::Bearer(token) => (token, None),
        };
        tokens::is_token(text.expose()).then(|| (tokens, tokens::hash(text.expose()), user))
    }

    async fn prove_access_token(
        &self,
        (tokens, hash, user): (&Tokens, tokens::Hash, Option<&str>),
        address: IpAddr,
    ) -> Result<Proven, Refused> {
        // It cannot be guessed: who fails with passwords of a name keeps nobody out who has a token of it.
        if !tokens.is_familiar(&hash) {
            self.attempts.admit_token(address)?;
        }
        let users = self.users.users.load_full();
        match tokens.prove(&hash, user, address, &users).await {
            Ok((principal, scope)) => Ok(Proven { principal, token: None, scope: Some(scope) }),
            Err(refused) => {
                if !is_stale(&refused) {
                    self.attempts.failed_token(address);
                }
                Err(refused)
            }
        }
    }

    async fn prove(
        &self,
        credentials: &Credentials,
        assertion: Option<&Secret<String>>,
        peer: &Peer,
    ) -> Result<Proven, Refused> {
        let address = peer.address.ip();
        let authorized = match credentials {
            Credentials::None => None,
            offered if let Some(token) = self.access_token(offered) => {
                Some(self.prove_access_token(token, address).await?)
            }
            Credentials::Basic { user, password } => {
                Some(self.prove_password(user, password, address).await.map(Proven::without_token)?)
            }
            Credentials::Bearer(token) if let Some(login) = self.driver_login(token) => {
                Some(self.prove_driver(login, token, address).await?)
            }
            Credentials::Bearer(token) => Some(self.prove_token(token, address).await?),
        };
        let asserted = match (&self.alb, assertion) {
            (Some(alb), Some(assertion)) => Some(self.prove_assertion(alb, assertion, address).await?),
            _ => None,
        };
        let signed_in = match (authorized, asserted) {
            (Some(proven), Some(asserted)) => {
                agree(&proven.principal, &asserted)?;
                Some(proven)
            }
            (proven, asserted) => proven.or(asserted.map(Proven::without_token)),
        };
        match (signed_in, self.prove_certificate(peer)) {
            (Some(proven), Some(Ok(certified))) => {
                agree(&proven.principal, &certified)?;
                Ok(proven)
            }
            // A certificate that names nobody, such as a device's, contradicts nobody.
            (Some(proven), _) => Ok(proven),
            (None, Some(certified)) => certified.map(Proven::without_token),
            (None, None) => Err(Refused::MissingCredentials),
        }
    }

    async fn prove_assertion(
        &self,
        alb: &Alb,
        assertion: &Secret<String>,
        address: IpAddr,
    ) -> Result<Arc<Principal>, Refused> {
        let fingerprint = self.assertions.fingerprint(assertion);
        if let Some(principal) = self.assertions.find(&fingerprint)? {
            return Ok(principal);
        }
        self.attempts.admit_token(address)?;
        let verified = alb.verify(assertion.expose()).await.inspect_err(|refused| {
            if !is_stale(refused) {
                self.attempts.failed_token(address);
            }
        })?;
        let verified = self.mapped(verified)?;
        self.assertions.insert(fingerprint, verified.clone());
        Ok(verified.principal)
    }

    /// Who the certificate of the connection names, if it has one, and if certificates name users.
    fn prove_certificate(&self, peer: &Peer) -> Option<Result<Arc<Principal>, Refused>> {
        let (config, certificate) = (self.certificates.as_ref()?, peer.certificate.as_ref()?);
        let principal = certificate::principal(config, certificate)
            .and_then(|principal| self.mapper.apply(principal))
            .map(|principal| certificate::in_groups(principal, &self.users.users.load()));
        Some(principal.map(Arc::new))
    }

    fn mapped(&self, verified: Verified) -> Result<Verified, Refused> {
        let principal = self.mapper.apply(Arc::unwrap_or_clone(verified.principal))?;
        Ok(Verified { principal: Arc::new(principal), ends: verified.ends })
    }

    async fn prove_password(
        &self,
        name: &str,
        password: &Secret<String>,
        address: IpAddr,
    ) -> Result<Arc<Principal>, Refused> {
        let users = self.users.users.load_full();
        let user = users.find(name);
        let hash = user.and_then(|user| user.password.as_ref());
        if !hash.is_some_and(|hash| self.passwords.remembered(name, password, hash)) {
            self.attempts.admit_password(address, name)?;
            let stand_in = users.stand_in(self.passwords.seed(name));
            let admit = || self.attempts.admit_password(address, name);
            let checked = self.passwords.check(name, password, hash, stand_in, admit).await;
            if matches!(checked, Err(Refused::BadCredentials(_))) {
                self.attempts.failed_password(address, name);
            }
            checked?;
            self.attempts.succeeded(address, name);
        }
        user.map(|user| Arc::clone(&user.principal)).ok_or(Refused::BadCredentials(Cause::UnknownUser))
    }

    async fn prove_token(&self, token: &Secret<String>, address: IpAddr) -> Result<Proven, Refused> {
        let proven = |principal| Proven { principal, token: Some(Arc::new(token.clone())), scope: None };
        let fingerprint = self.tokens.fingerprint(token);
        if let Some(principal) = self.tokens.find(&fingerprint)? {
            return Ok(proven(principal));
        }
        self.attempts.admit_token(address)?;
        match self.issuers.verify(token.expose()).await {
            Ok(verified) => {
                let verified = self.mapped(verified)?;
                self.tokens.insert(fingerprint, verified.clone());
                Ok(proven(verified.principal))
            }
            Err(refused) => {
                // A token that was good once is no guess.
                if !is_stale(&refused) {
                    self.attempts.failed_token(address);
                }
                Err(refused)
            }
        }
    }

    /// Who the query runs as: the one who signed in, or the user asked for where a rule allows it and the users file
    /// says which groups they are in.
    fn become_user(
        &self,
        signed_in: Arc<Principal>,
        scope: Option<&Scope>,
        user: Option<&str>,
    ) -> Result<(Arc<Principal>, Option<String>), Refused> {
        let Some(user) = user.filter(|user| *user != signed_in.name()) else {
            return Ok((signed_in, None));
        };
        let refused = || Refused::Impersonation {
            principal: signed_in.name().to_owned(),
            user: user.chars().take(users::MAX_NAME).filter(|c| !c.is_control()).collect(),
        };
        let in_scope = scope.is_none_or(|scope| scope.impersonate);
        if !in_scope || users::check_name(user).is_err() || !self.rules.allow(&signed_in, user) {
            return Err(refused());
        }
        let users = self.users.users.load();
        // Without their groups the restrictions of these would not hold.
        let known = users.find(user).ok_or_else(refused)?;
        let principal = Principal::new(signed_in.identity(), signed_in.method().clone())
            .known_here_as(user.to_owned())
            .with_groups(known.principal.groups().iter().cloned())
            .with_attributes(known.principal.attributes().clone())
            .within(signed_in.catalogs().cloned());
        Ok((Arc::new(principal), Some(signed_in.name().to_owned())))
    }
}

/// Two ways to sign in must lead to one user.
fn agree(one: &Principal, other: &Principal) -> Result<(), Refused> {
    if one.name() == other.name() {
        return Ok(());
    }
    Err(Refused::Conflict { users: vec![one.name().to_owned(), other.name().to_owned()] })
}

/// Whether nobody has guessed: what was offered was good once, or could not be checked.
fn is_stale(refused: &Refused) -> bool {
    matches!(
        refused,
        Refused::BadCredentials(
            Cause::Expired
                | Cause::OwnerAway
                | Cause::Certificate(_)
                | Cause::Attempt
                | Cause::Overage
                | Cause::Declined(_)
        ) | Refused::Renewed { .. }
            | Refused::Conflict { .. }
            | Refused::Unmapped { .. }
            | Refused::Unavailable(_)
    )
}

fn outcome(refused: &Refused) -> AuthOutcome {
    match refused {
        Refused::MissingCredentials
        | Refused::BadCredentials(_)
        | Refused::Unmapped { .. }
        | Refused::Conflict { .. } => AuthOutcome::Rejected,
        Refused::Renewed { .. } => AuthOutcome::Renewed,
        Refused::Impersonation { .. } => AuthOutcome::Impersonation,
        Refused::TooManyAttempts { .. } => AuthOutcome::Limited,
        Refused::Unavailable(_) => AuthOutcome::Unavailable,
    }
}
