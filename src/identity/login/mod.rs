//! Sign-in with a browser, for people and for drivers that open one.
//!
//! Nothing here knows of HTTP: `web` carries cookies, forms and addresses to and fro.
//!
//! ```text
//! begin   -> where the browser goes, and a cookie that it carries meanwhile
//! password, accept_saml + finish_saml -> SignedIn: a session and what follows
//! session <- the cookie of a session
//! ```
//!
//! A session is kept under the hash of the secret in its cookie. It holds what the identity provider says of the user;
//! the rules of mapping are applied each time that it is looked at. Tokens of drivers lead to sessions: a session that
//! ends, ends them.

mod attempt;
mod config;
mod device;
mod driver;
mod drivers;
mod openid;
mod saml;
mod session;
#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use moka::sync::Cache;
use tokio::sync::{Semaphore, mpsc};

pub use self::attempt::Then;
pub use self::config::Config;
pub use self::device::{Answered, Terminal};
pub use self::driver::{Asking, Polled, Tickets};
pub use self::drivers::Waiting;

use self::attempt::Attempt;
pub(super) use self::drivers::is_driver_token;
use self::session::{By, Kept, Proof, There, Who, ended_user, seconds};
use super::error::{Cause, Refused, SetupError};
use super::mapping::Mapper;
use super::oidc::{self, Provider};
use super::principal::{Method, Principal};
use super::saml::{Config as SamlConfig, Delivery, ServiceProvider};
use super::snapshot::Snapshot;
use crate::secret::Secret;
use crate::state::{Key, Kind, Store, StoreError};
use crate::wire::Sealer;

/// How long a session that was looked up is believed without asking the store: what another gateway ends lives on so
/// long here.
const BELIEVED: Duration = Duration::from_secs(5);
/// Most sessions that are known without asking.
const MOST_KNOWN: u64 = 50_000;
/// Most drivers that wait and look at once.
const MOST_WAITING: usize = 1_000;
/// Most answers of SAML identity providers that are judged at once, which takes work.
const MOST_JUDGED: usize = 4;
/// Most endings of sessions that wait to be recorded.
const MOST_ENDINGS: usize = 10_000;
/// How long it is remembered that a session was ended here: longer than it may be renewed meanwhile.
const REMEMBERED: Duration = Duration::from_mins(2);
/// How long an answer of an identity provider waits for the browser that brought it.
const HANDED_OVER: Duration = Duration::from_mins(1);
/// The longest time that a session may last.
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// Sign-in with a browser.
pub struct Login {
    config: Config,
    store: Arc<Store>,
    sealer: Arc<Sealer>,
    mapper: Arc<Mapper>,
    oidc: Vec<Arc<Provider>>,
    saml: Vec<Arc<ServiceProvider>>,
    users: Arc<Snapshot>,
    /// Drivers that wait and look.
    waiting: Semaphore,
    /// Answers of SAML identity providers that are judged.
    judging: Semaphore,
    /// Told of sessions that nobody here has ended.
    endings: mpsc::Sender<Ending>,
    told: std::sync::Mutex<Option<mpsc::Receiver<Ending>>>,
    known: Cache<[u8; 32], Arc<drivers::Known>>,
}

/// A way to sign in, as the page offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What it is called.
    pub title: String,
    /// Its path below our address.
    pub path: String,
}

/// A sign-in that has begun.
#[derive(Debug)]
pub struct Begun {
    /// Where the browser goes.
    pub delivery: Delivery,
    /// What it carries meanwhile.
    pub carried: Carried,
}

/// What a browser carries while its user signs in.
#[derive(Debug)]
pub struct Carried {
    /// Which sign-in it is: part of the cookie's name.
    pub label: String,
    /// The cookie's value.
    pub value: Secret<String>,
    /// For how long.
    pub life: Duration,
}

/// Somebody who has signed in.
#[derive(Debug)]
pub struct SignedIn {
    /// What the browser carries from now on, and for how long.
    pub cookie: Secret<String>,
    /// For how long.
    pub life: Duration,
    /// The session.
    pub session: Session,
    /// What follows.
    pub then: Then,
}

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub struct Session {
    principal: Arc<Principal>,
    form_key: String,
    hash: [u8; 32],
    ends: i64,
    kept: Kept,
}

impl Session {
    /// Who.
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// What every form of this session carries: what comes without it, another site has sent.
    pub fn form_key(&self) -> &str {
        &self.form_key
    }

    /// When it ends.
    pub fn ends(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_second(self.ends).unwrap_or(jiff::Timestamp::MAX)
    }
}

/// A session that its identity provider has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Whose it was, as the identity provider calls them.
    pub identity: String,
    /// How they had signed in.
    pub method: Method,
    /// Why it ended.
    pub why: &'static str,
}

/// The identity providers whose users sign in with a browser.
pub(super) struct Providers {
    pub(super) oidc: Vec<oidc::Config>,
    pub(super) saml: Vec<SamlConfig>,
}

impl Providers {
    pub(super) fn is_empty(&self) -> bool {
        self.oidc.is_empty() && self.saml.is_empty()
    }
}

/// How one who signs out goes on.
#[derive(Debug)]
pub enum SignedOut {
    /// They are signed out.
    Here,
    /// They are, and can end their session at the identity provider of this name, too.
    There(String, Delivery),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl Login {
    /// Checks the section and sets up the providers. Needs a tokio runtime.
    pub(super) fn new(
        config: Config,
        providers: Providers,
        store: Arc<Store>,
        sealer: Arc<Sealer>,
        mapper: Arc<Mapper>,
        users: Arc<Snapshot>,
    ) -> Result<Self, SetupError> {
        config.check().map_err(|what| SetupError::Value(format!("login.{what}")))?;
        if providers.is_empty() && !config.passwords {
            let nobody = "login: nobody can sign in with a browser: there is neither [[identity.oidc]] nor \
                          [[identity.saml]], and `passwords` is false";
            return Err(SetupError::Value(nobody.to_owned()));
        }
        let origin = config.origin();
        let mut oidc = Vec::<Arc<Provider>>::new();
        for provider in providers.oidc {
            let provider = Provider::new(provider, &origin)?;
            if oidc.iter().any(|other| other.config().name == provider.config().name) {
                let name = provider.config().name.clone();
                return Err(SetupError::Oidc { name, message: "there is another of this name".to_owned() });
            }
            oidc.push(Arc::new(provider));
        }
        let mut saml = Vec::<Arc<ServiceProvider>>::new();
        for provider in providers.saml {
            let provider = ServiceProvider::new(provider, &origin)?;
            if saml.iter().any(|other| other.config().name == provider.config().name) {
                let name = provider.config().name.clone();
                return Err(SetupError::Saml { name, message: "there is another of this name".to_owned() });
            }
            saml.push(Arc::new(provider));
        }
        let known = Cache::builder().max_capacity(MOST_KNOWN).time_to_live(BELIEVED).build();
        let (endings, told) = mpsc::channel(MOST_ENDINGS);
        Ok(Self {
            config,
            store,
            sealer,
            mapper,
            oidc,
            saml,
            users,
            waiting: Semaphore::new(MOST_WAITING),
            judging: Semaphore::new(MOST_JUDGED),
            endings,
            told: std::sync::Mutex::new(Some(told)),
            known,
        })
    }

    /// Our address, as browsers see it, without a slash at its end.
    pub fn origin(&self) -> String {
        self.config.origin()
    }

    /// The ways to sign in.
    pub fn choices(&self) -> Vec<Choice> {
        let oidc = self.oidc.iter().map(|provider| Choice {
            title: provider.config().title().to_owned(),
            path: format!("/login/oidc/{}", provider.config().name),
        });
        let saml = self.saml.iter().map(|provider| Choice {
            title: provider.config().title().to_owned(),
            path: format!("/login/saml/{}", provider.config().name),
        });
        let password = self.config.passwords.then(|| Choice {
            title: "User name and password".to_owned(),
            path: "/login/password".to_owned(),
        });
        oidc.chain(saml).chain(password).collect()
    }

    /// Whether users sign in with their password here.
    pub fn takes_passwords(&self) -> bool {
        self.config.passwords
    }

    /// Asks for what is known of the identity providers to be read again.
    pub(super) fn refresh(&self) {
        self.oidc.iter().for_each(|provider| provider.refresh());
        self.saml.iter().for_each(|provider| provider.refresh());
    }

    /// Begins a sign-in by password: what its form carries, and what the browser does.
    pub fn begin_password(&self, then: Then) -> Result<(Secret<String>, Carried), Refused> {
        let id = driver::random().ok_or_else(no_random)?;
        let carried = self.carry(By::Password, id.expose().clone(), then, None, SystemTime::now())?;
        Ok((id, carried))
    }

    /// What follows a sign-in by password that this browser has begun.
    pub fn password_attempt(&self, id: &str, carried: Option<&str>) -> Result<Then, Refused> {
        Ok(self.attempt(&By::Password, id, carried)?.then)
    }

    fn carry(
        &self,
        by: By,
        id: String,
        then: Then,
        oidc: Option<oidc::Attempt>,
        now: SystemTime,
    ) -> Result<Carried, Refused> {
        let began = seconds(now);
        let life = self.config.attempt_life.0;
        let label = Attempt::label(&id);
        let attempt = Attempt { by, id, then, oidc, began, ends: after(began, life) };
        let value = attempt.seal(&self.sealer).ok_or_else(no_random)?;
        Ok(Carried { label, value: Secret::new(value), life })
    }

    /// The sign-in that this browser has begun.
    fn attempt(&self, by: &By, id: &str, carried: Option<&str>) -> Result<Attempt, Refused> {
        let now = seconds(SystemTime::now());
        carried
            .and_then(|carried| Attempt::open(&self.sealer, carried, by, id, now))
            .ok_or(Refused::BadCredentials(Cause::Attempt))
    }

    /// Which cookie belongs to what came back.
    pub fn label(id: &str) -> String {
        Attempt::label(id)
    }

    /// What follows a sign-in by password that has been proved: its form is good once.
    pub(super) async fn password_used(&self, id: &str) -> Result<(), Refused> {
        let once = Key::new(Kind::Used, &serde_json::json!(["password", id]).to_string());
        if self.store.add(once, &(), self.config.attempt_life.0).await? {
            return Ok(());
        }
        Err(Refused::BadCredentials(Cause::Attempt))
    }

    /// What a right password proves.
    pub(super) fn proved_by_password(principal: &Principal, password: String, then: Then) -> Proved {
        let there = There::Here { password };
        let proof = Proof { who: Who::of(principal, By::Password), there, ends: None };
        Proved { proof, principal: principal.clone(), then }
    }

    /// Makes a session. One that the browser had before ends.
    pub(super) async fn open(&self, proved: Proved, before: Option<&str>) -> Result<SignedIn, Refused> {
        let began = seconds(SystemTime::now());
        let Proved { proof, principal, then } = proved;
        let latest = after(began, self.config.session_life.0);
        let ends = proof.ends.map_or(latest, |ends| ends.min(latest));
        let life = Duration::from_secs(u64::try_from(ends - began).unwrap_or(0));
        if life.is_zero() {
            return Err(Refused::BadCredentials(Cause::Expired));
        }
        let secret = driver::random().ok_or_else(no_random)?;
        let form_key = driver::random().ok_or_else(no_random)?.expose().clone();
        let kept = Kept { who: proof.who, there: proof.there, form_key: form_key.clone(), began, ends };
        let key = Key::new(Kind::Session, secret.expose());
        self.store.put(key, &kept, life).await?;
        if let Some(before) = before {
            self.over(Key::new(Kind::Session, before)).await?;
        }
        let session = Session { principal: Arc::new(principal), form_key, hash: key.hash, ends, kept };
        Ok(SignedIn { cookie: secret, life, session, then })
    }

    /// The session of a cookie, if it lasts.
    pub async fn session(&self, cookie: &str) -> Result<Option<Session>, Refused> {
        self.session_of(Key::new(Kind::Session, cookie).hash).await
    }

    async fn session_of(&self, hash: [u8; 32]) -> Result<Option<Session>, Refused> {
        let key = Key { kind: Kind::Session, hash };
        let Some(kept) = self.lives(key).await? else { return Ok(None) };
        if !self.trusts(&kept) {
            return Ok(None);
        }
        let Some(kept) = self.lasting(key, kept).await? else { return Ok(None) };
        let principal = match &kept.there {
            There::Here { password } => {
                let users = self.users.users.load();
                let user =
                    users.find(&kept.who.name).filter(|user| user.fingerprint().as_ref() == Some(password));
                let Some(user) = user else {
                    self.store.remove(key).await?;
                    return Ok(None);
                };
                Arc::clone(&user.principal)
            }
            // Whom the rules of now do not let in is signed in no longer, and may sign in otherwise.
            There::Saml(_) | There::Oidc(_) => match self.mapper.apply(kept.who.principal()) {
                Ok(principal) => Arc::new(principal),
                Err(_) => return Ok(None),
            },
        };
        if self.is_over(&ended_user(principal.name()), &kept).await? {
            self.store.remove(key).await?;
            return Ok(None);
        }
        let (form_key, ends) = (kept.form_key.clone(), kept.ends);
        Ok(Some(Session { principal, form_key, hash, ends, kept }))
    }

    /// Ends all sessions of a user, and with them the tokens of their drivers, on an administrator's word. Other gateways that
    /// share the store follow within seconds.
    ///
    /// # Errors
    /// [`Refused::Unavailable`]: the store does not answer, and nothing has ended.
    pub async fn end_all(&self, user: &str) -> Result<(), Refused> {
        let now = seconds(SystemTime::now());
        self.store.put(Key::new(Kind::Ended, &ended_user(user)), &now, LONGEST).await?;
        self.known.invalidate_all();
        Ok(())
    }

    /// Whether sessions of this name were ended after it began.
    async fn is_over(&self, name: &str, kept: &Kept) -> Result<bool, Refused> {
        let ended: Option<i64> = self.store.find(Key::new(Kind::Ended, name)).await?;
        Ok(ended.is_some_and(|ended| kept.began <= ended))
    }

    /// Whether they could sign in so today. About whom a provider has signed in that is no longer ours nobody can be asked, and
    /// another one must not be, though it has the name.
    fn trusts(&self, kept: &Kept) -> bool {
        let issuer = match &kept.who.by {
            By::Oidc(name) => self.oidc(name).map(|provider| provider.config().issuer.as_str()),
            By::Saml(name) => self.saml(name).map(|provider| provider.config().idp_entity_id.as_str()),
            By::Password => return self.config.passwords,
        };
        issuer.is_some() && issuer == kept.there.issuer()
    }

    /// The session as it is kept, if nobody has ended it.
    async fn lives(&self, key: Key) -> Result<Option<Kept>, Refused> {
        let Some(kept) = self.store.find::<Kept>(key).await? else { return Ok(None) };
        if kept.ends <= seconds(SystemTime::now()) {
            return Ok(None);
        }
        for name in kept.names() {
            if self.is_over(&name, &kept).await? {
                self.store.remove(key).await?;
                return Ok(None);
            }
        }
        Ok(Some(kept))
    }

    /// The session of a cookie, for one who wants to leave: whether its identity provider still answers, and whether anybody
    /// still knows its user, does not matter.
    pub async fn leaving(&self, cookie: &str) -> Result<Option<Session>, Refused> {
        let key = Key::new(Kind::Session, cookie);
        let Some(kept) = self.lives(key).await? else { return Ok(None) };
        let known = kept.who.principal();
        let principal = Arc::new(self.mapper.apply(known.clone()).unwrap_or(known));
        let (form_key, ends) = (kept.form_key.clone(), kept.ends);
        Ok(Some(Session { principal, form_key, hash: key.hash, ends, kept }))
    }

    /// What is told of sessions that identity providers have ended; once.
    pub fn endings(&self) -> Option<mpsc::Receiver<Ending>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Ends a session for good: also for one who is renewing it at this moment.
    async fn over(&self, key: Key) -> Result<(), Refused> {
        self.store.put(openid::tombstone(key), &seconds(SystemTime::now()), REMEMBERED).await?;
        self.store.remove(key).await?;
        self.known.invalidate_all();
        Ok(())
    }

    /// Ends a session, and says how to end the one at the identity provider.
    pub async fn end(&self, session: &Session) -> Result<SignedOut, Refused> {
        self.over(Key { kind: Kind::Session, hash: session.hash }).await?;
        if !self.trusts(&session.kept) {
            return Ok(SignedOut::Here);
        }
        let (name, there) = match (&session.kept.who.by, &session.kept.there) {
            (By::Saml(name), There::Saml(there)) => (name, there),
            (By::Oidc(name), There::Oidc(there)) => return Ok(self.end_oidc(name, there)),
            _ => return Ok(SignedOut::Here),
        };
        let Some(provider) = self.saml(name) else { return Ok(SignedOut::Here) };
        // Signed out here they are, whatever is there.
        let begun =
            provider.begin_logout(&there.subject(), None, SystemTime::now()).unwrap_or_else(|refused| {
                tracing::warn!(%refused, provider = name, "cannot sign out at the identity provider");
                None
            });
        Ok(begun.map_or(SignedOut::Here, |begun| {
            SignedOut::There(provider.config().title().to_owned(), begun.delivery)
        }))
    }
}

/// What a sign-in has proved, and of whom.
#[derive(Debug)]
pub struct Proved {
    proof: Proof,
    principal: Principal,
    then: Then,
}

impl Proved {
    /// What the audit says of it: who says so, and what they call the user.
    pub fn detail(&self) -> Option<String> {
        let provider = match &self.proof.who.by {
            By::Oidc(provider) | By::Saml(provider) => provider,
            By::Password => return None,
        };
        Some(format!("by {provider}, as {}", self.proof.who.name))
    }

    /// Who it is.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The same before rules have made a user of them.
    pub(super) fn signed_in(&self) -> Principal {
        self.proof.who.principal()
    }
}

fn after(began: i64, life: Duration) -> i64 {
    began.saturating_add(i64::try_from(life.as_secs()).unwrap_or(i64::MAX))
}

fn no_random() -> Refused {
    Refused::Unavailable("no random numbers".to_owned())
}
