//! SAML 2.0: we are a service provider, in the web browser single sign-on profile (SAML profiles 4.1) with single logout
//! (4.4).
//!
//! ```text
//! begin   -> a request for the browser to carry        remember Begun::id with the browser
//! accept  <- the response that the browser brings      compare Asserted::in_response_to; remember its assertion_id
//! ```
//!
//! **Verify, then use only what was verified.** A message is read strictly (`xml`); its signatures must have the one
//! shape that SAML knows and hold with a key of the identity provider (`signature`); from then on only the canonical bytes
//! that were signed are read, in a second pass, and nothing else of the message counts for anything but a refusal.
//! Assertions are read in the order of the schema, and what has no use at a sign-in is refused (`assertion`).
//!
//! Nothing is stored here. Two checks are the caller's, who has the browser's session and the shared store:
//! that the answer is to this browser's own request, and that no assertion is taken twice. See [`Asserted`].

mod assertion;
mod config;
mod encryption;
mod keys;
mod logout;
mod message;
mod metadata;
mod provider;
mod signature;
#[cfg(test)]
mod tests;
mod xml;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use self::config::{Binding, Config, Signed};
pub use self::logout::{LogoutAnswered, LogoutRequested};

use self::assertion::Expected;
use self::keys::{OwnKey, Pins, fingerprint, read_certificates};
use self::message::{Draft, Kind, identifier, posted, timestamp};
use self::provider::{Endpoint, Place, Provider, Source};
use self::signature::signed;
use self::xml::{ASSERTION, PROTOCOL, Tree, Unfit, escape};
use super::error::{Cause, Refused, SetupError};

/// The most that clocks may be apart.
const MAX_SKEW: Duration = Duration::from_mins(5);
/// The longest time between two reads of the metadata, and for which it is believed.
const MAX_AGE: Duration = Duration::from_hours(24 * 7);

/// One identity provider, and ourselves as it knows us.
///
/// Below our address it names, for a configuration called NAME: `/login/saml/NAME/metadata` (GET),
/// `/login/saml/NAME/acs` (POST: [`ServiceProvider::accept`]) and `/login/saml/NAME/logout` (GET and POST: with
/// `SAMLRequest` [`ServiceProvider::accept_logout_request`], with `SAMLResponse`
/// [`ServiceProvider::accept_logout_response`]). The POSTs come from another site, so that cookies reach them only with
/// `SameSite=None`.
pub struct ServiceProvider {
    config: Arc<Config>,
    entity_id: String,
    addresses: Addresses,
    key: OwnKey,
    source: Source,
    metadata: String,
}

/// Where browsers find us.
struct Addresses {
    sign_in: String,
    sign_out: String,
}

/// A message of ours, for the browser to carry to the identity provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Its identifier, which the answer names. To be remembered with the browser.
    pub id: String,
    /// How it is carried.
    pub delivery: Delivery,
}

/// How a browser carries a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is redirected (302 or 303) to this address.
    Redirect {
        /// The address, with the message in its query.
        url: String,
    },
    /// It submits a form to this address.
    Post {
        /// The address.
        url: String,
        /// The hidden fields, by name. They are to be escaped for HTML.
        fields: Vec<(&'static str, String)>,
    },
}

/// A message about signing out, as the browser brought it.
#[derive(Clone, Copy, Debug)]
pub enum Incoming<'m> {
    /// By GET: the query of the address as it came, not decoded, without the `?`.
    Redirect {
        /// The query.
        query: &'m str,
    },
    /// By POST: the fields of the form, decoded.
    Post {
        /// `SAMLRequest` or `SAMLResponse`.
        message: &'m str,
        /// `RelayState`.
        relay_state: Option<&'m str>,
    },
}

/// A name that the identity provider has for somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameId {
    /// The name.
    pub value: String,
    /// What form it has.
    pub format: Option<String>,
    /// Where it is unique.
    pub name_qualifier: Option<String>,
    /// For whom it is unique.
    pub sp_name_qualifier: Option<String>,
}

/// Whom to sign out at the identity provider: what an [`Asserted`] said of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutSubject {
    /// Who.
    pub name_id: NameId,
    /// Which of their sessions; all, if there is none.
    pub session_index: Option<String>,
}

/// What a response says that holds.
///
/// The caller must do two things before believing it:
/// - compare [`Asserted::in_response_to`] with the [`Begun::id`] that is remembered for *this* browser, and forget that;
///   otherwise somebody can sign another's browser in as themselves, or bring a response that was made for another;
/// - put [`Asserted::assertion_id`], with the name of this identity provider, into a store that all instances share,
///   until [`Asserted::expires`]; if it was there already the response is a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asserted {
    /// The request of ours that it answers.
    pub in_response_to: String,
    /// The assertion's identifier.
    pub assertion_id: String,
    /// When it would be refused anyway, clock skew included.
    pub expires: SystemTime,
    /// The identity provider's name for the user; to be kept for signing out.
    pub name_id: NameId,
    /// The session at the identity provider; to be kept for signing out.
    pub session_index: Option<String>,
    /// When the identity provider wants the session to end.
    pub session_ends: Option<SystemTime>,
    /// When the user signed in there. With `force_authn` it must not be before the request, beyond the clock skew.
    pub authenticated_at: SystemTime,
    /// The user's name.
    pub user: String,
    /// The user's groups.
    pub groups: Vec<String>,
    /// The user's attributes, by our names for them.
    pub attributes: BTreeMap<String, String>,
}

impl From<Unfit> for Refused {
    fn from(unfit: Unfit) -> Self {
        Self::BadCredentials(match unfit {
            Unfit::Overage => Cause::Overage,
            Unfit::Because(why) => Cause::Saml(why.into_owned()),
        })
    }
}

impl ServiceProvider {
    /// Checks the configuration, reads our key and starts to read the identity provider's metadata. Needs a tokio runtime;
    /// what it starts ends with the value. `external_url` is our own address as browsers see it.
    ///
    /// # Errors
    /// The configuration or our key cannot be used. An identity provider that cannot be reached is no error: its users are
    /// refused until it can.
    pub fn new(config: Config, external_url: &str) -> Result<Self, SetupError> {
        let invalid = |message: String| SetupError::Saml { name: config.name.clone(), message };
        check(&config).map_err(&invalid)?;
        let origin = Place::new(&config).map_err(&invalid)?;
        let pins = pins(&config)?;
        let key = OwnKey::read(&config.key_file, &config.certificate_file)?;
        let base = format!("{}/login/saml/{}", external_url.trim_end_matches('/'), config.name);
        let entity_id = config.entity_id.clone().unwrap_or_else(|| format!("{base}/metadata"));
        let addresses = Addresses { sign_in: format!("{base}/acs"), sign_out: format!("{base}/logout") };
        let metadata = metadata::write(&config, &entity_id, &addresses, &key).map_err(&invalid)?;
        let config = Arc::new(config);
        let source = Source::start(Arc::clone(&config), origin, pins);
        Ok(Self { config, entity_id, addresses, key, source, metadata })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Our metadata, for the administrator of the identity provider: XML, signed (`application/samlmetadata+xml`).
    pub fn metadata(&self) -> &str {
        &self.metadata
    }

    /// Asks for the identity provider's metadata to be read again soon.
    pub fn refresh(&self) {
        self.source.refresh();
    }

    /// Waits until the identity provider's metadata was read, or could not be.
    pub async fn ready(&self) -> Result<(), Refused> {
        self.source.tried().await;
        self.provider(SystemTime::now()).map(drop)
    }

    /// Begins to sign in: a request for the browser to carry. The relay state, at most 80 bytes, comes back beside the
    /// answer; it is not part of what is signed there, and proves nothing.
    ///
    /// # Errors
    /// The identity provider's metadata is not known.
    pub fn begin(&self, relay_state: Option<&str>, now: SystemTime) -> Result<Begun, Refused> {
        let provider = self.provider(now)?;
        let wanted = self.config.request_binding;
        let to = provider.sign_in.iter().find(|endpoint| endpoint.binding == wanted);
        let to = to.ok_or_else(|| Refused::Unavailable("no address to sign in at".to_owned()))?;
        self.request(to, now)
            .and_then(|draft| draft.send(self.config.sign_requests.then_some(&self.key), relay_state))
            .map_err(Refused::Unavailable)
    }

    fn request<'d>(&self, to: &'d Endpoint, now: SystemTime) -> Result<Draft<'d>, String> {
        let id = identifier()?;
        let force = if self.config.force_authn { " ForceAuthn=\"true\"" } else { "" };
        let before = format!(
            "<samlp:AuthnRequest xmlns:samlp=\"{PROTOCOL}\" xmlns:saml=\"{ASSERTION}\" ID=\"{id}\" Version=\"2.0\" \
             IssueInstant=\"{now}\" Destination=\"{to}\" AssertionConsumerServiceURL=\"{acs}\" \
             ProtocolBinding=\"{binding}\"{force}><saml:Issuer>{issuer}</saml:Issuer>",
            now = timestamp(now)?,
            to = escape(&to.address),
            acs = escape(&self.addresses.sign_in),
            binding = Binding::Post.uri(),
            issuer = escape(&self.entity_id),
        );
        let mut after = String::new();
        if let Some(format) = &self.config.name_id_format {
            after.push_str(&format!(
                "<samlp:NameIDPolicy Format=\"{}\" AllowCreate=\"true\"/>",
                escape(format)
            ));
        }
        if !self.config.authn_context.is_empty() {
            after.push_str("<samlp:RequestedAuthnContext Comparison=\"exact\">");
            for class in &self.config.authn_context {
                let class = escape(class);
                after.push_str(&format!("<saml:AuthnContextClassRef>{class}</saml:AuthnContextClassRef>"));
            }
            after.push_str("</samlp:RequestedAuthnContext>");
        }
        after.push_str("</samlp:AuthnRequest>");
        Ok(Draft { id, kind: Kind::Request, parts: [before, after], to: &to.address, binding: to.binding })
    }

    /// Judges a response: `SAMLResponse` as the form had it. Takes a millisecond; one made to take long, up to a tenth of
    /// a second.
    ///
    /// # Errors
    /// It does not hold, or the identity provider's metadata is not known.
    pub fn accept(&self, response: &str, now: SystemTime) -> Result<Asserted, Refused> {
        let provider = self.provider(now)?;
        self.judge(response, &provider, now).map_err(|unfit| {
            // Perhaps the identity provider has a new key. Asked for as often as one likes, it is not read more often.
            self.source.refresh();
            unfit.into()
        })
    }

    fn judge(&self, response: &str, provider: &Provider, now: SystemTime) -> Result<Asserted, Unfit> {
        let expected = self.expected(&self.addresses.sign_in, now);
        let text = posted(response)?;
        let tree = Tree::message(&text)?;
        let root = tree.root()?;
        let read = assertion::response(root, &expected)?;
        let [whole, part] = if read.is_encrypted {
            let [whole] = signed(&tree, &text, [root], &provider.keys)?;
            [whole, None]
        } else {
            signed(&tree, &text, [root, read.assertion], &provider.keys)?
        };
        if self.config.require_encryption && !read.is_encrypted {
            return Err("not encrypted".into());
        }
        // From here on only what was signed, or what was under the cipher, is read.
        let whole_tree = whole.as_deref().map(Tree::message).transpose()?;
        let (in_response_to, within) = match &whole_tree {
            Some(tree) => {
                let read = assertion::response(tree.root()?, &expected)?;
                (read.in_response_to, Some(read))
            }
            None => (read.in_response_to, None),
        };
        if read.is_encrypted {
            let encrypted = within.as_ref().unwrap_or(&read).assertion;
            let text = encryption::open(encrypted, &self.key, whole.is_some())?;
            let tree = Tree::message(&text)?;
            let [part] = signed(&tree, &text, [tree.root()?], &provider.keys)?;
            self.require(whole.is_some(), part.is_some())?;
            return match part {
                Some(part) => assertion::assertion(Tree::message(&part)?.root()?, in_response_to, &expected),
                // The cipher text is under the response's signature.
                None => assertion::assertion(tree.root()?, in_response_to, &expected),
            };
        }
        self.require(whole.is_some(), part.is_some())?;
        match (part, within) {
            (Some(part), _) => assertion::assertion(Tree::message(&part)?.root()?, in_response_to, &expected),
            (None, Some(within)) => assertion::assertion(within.assertion, in_response_to, &expected),
            (None, None) => Err("nothing is signed".into()),
        }
    }

    /// Whether enough is signed.
    fn require(&self, response: bool, assertion: bool) -> Result<(), Unfit> {
        let (enough, missing) = match self.config.require {
            Signed::Either => (response || assertion, "neither the response nor the assertion is signed"),
            Signed::Assertion => (assertion, "the assertion is not signed"),
            Signed::Response => (response, "the response is not signed"),
            Signed::Both => (response && assertion, "the response and the assertion are not both signed"),
        };
        // Whatever the setting says, something is.
        if enough && (response || assertion) { Ok(()) } else { Err(missing.into()) }
    }

    fn expected<'e>(&'e self, address: &'e str, now: SystemTime) -> Expected<'e> {
        Expected { config: &self.config, audience: &self.entity_id, address, now }
    }

    fn provider(&self, now: SystemTime) -> Result<Arc<Provider>, Refused> {
        let unavailable = |why| Refused::Unavailable(format!("identity.saml '{}': {why}", self.config.name));
        self.source.provider(now).map_err(unavailable)
    }
}

fn check(config: &Config) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if config.name.is_empty() || config.name.len() > 64 || !config.name.chars().all(plain) {
        return Err("name: 1 to 64 of a-z, 0-9 and -".to_owned());
    }
    if config.idp_entity_id.is_empty() {
        return Err("idp_entity_id: empty".to_owned());
    }
    if config.max_clock_skew.0 > MAX_SKEW {
        return Err("max_clock_skew: at most 5m".to_owned());
    }
    if config.refresh.0 > MAX_AGE || config.keep_metadata.0 > MAX_AGE {
        return Err("refresh, keep_metadata: at most 7d".to_owned());
    }
    if config.keep_metadata < config.refresh {
        return Err("keep_metadata: must not be shorter than refresh".to_owned());
    }
    if !config.pinned_certificates.is_empty() && !config.pinned_fingerprints.is_empty() {
        return Err("give one of pinned_certificates and pinned_fingerprints".to_owned());
    }
    Ok(())
}

fn pins(config: &Config) -> Result<Pins, SetupError> {
    if !config.pinned_certificates.is_empty() {
        let mut certificates = Vec::new();
        for path in &config.pinned_certificates {
            certificates.extend(read_certificates(path)?);
        }
        return Ok(Pins::Certificates(certificates));
    }
    if config.pinned_fingerprints.is_empty() {
        return Ok(Pins::None);
    }
    let read = |text: &String| {
        fingerprint(text).ok_or_else(|| SetupError::Saml {
            name: config.name.clone(),
            message: format!("pinned_fingerprints: '{text}' is not 64 hexadecimal digits (SHA-256)"),
        })
    };
    config.pinned_fingerprints.iter().map(read).collect::<Result<_, _>>().map(Pins::Fingerprints)
}
