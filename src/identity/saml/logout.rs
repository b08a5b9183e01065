//! Single logout (SAML profiles 4.4), carried by the browser: ours to the identity provider, and its to us.

use std::time::{Duration, SystemTime};

use super::assertion::{self, Expected, instant};
use super::config::Binding;
use super::message::{Draft, Kind, Seal, identifier, receive, timestamp};
use super::provider::{Endpoint, Provider};
use super::signature::signed;
use super::xml::{ASSERTION, DSIG, Element, PROTOCOL, Sequence, Tree, Unfit, escape};
use super::{Begun, Incoming, LogoutSubject, NameId, ServiceProvider};
use crate::identity::error::Refused;

/// A request to sign out without an end is taken for as long as this after it was made.
const LIFETIME: Duration = Duration::from_mins(10);
/// Most sessions that one request names.
const MAX_SESSIONS: usize = 1000;

/// The identity provider has answered a request of ours to sign out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutAnswered {
    /// The request: the caller compares it with the [`Begun::id`] that is remembered for this browser.
    pub in_response_to: String,
    /// The relay state that was given with the request.
    pub relay_state: Option<String>,
}

/// The identity provider asks to end sessions here. The caller ends those, and answers by
/// [`ServiceProvider::answer_logout`]. As with assertions, an identifier that was there before is a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutRequested {
    /// The request's identifier, to be remembered until [`LogoutRequested::expires`].
    pub id: String,
    /// When it would be refused anyway, clock skew included.
    pub expires: SystemTime,
    /// Whose sessions end. All four parts must be equal to what the [`super::Asserted`] said.
    pub name_id: NameId,
    /// Which sessions of theirs end; all, if there is none.
    pub session_indexes: Vec<String>,
    /// To be given back with the answer.
    pub relay_state: Option<String>,
}

impl ServiceProvider {
    /// Begins to sign out at the identity provider. None if it has no address for that.
    ///
    /// # Errors
    /// The identity provider's metadata is not known.
    pub fn begin_logout(
        &self,
        of: &LogoutSubject,
        relay_state: Option<&str>,
        now: SystemTime,
    ) -> Result<Option<Begun>, Refused> {
        let provider = self.provider(now)?;
        let Some(to) = self.sign_out(&provider) else { return Ok(None) };
        let session = of
            .session_index
            .as_deref()
            .map(|index| format!("<samlp:SessionIndex>{}</samlp:SessionIndex>", escape(index)));
        let after = format!("{}{}</samlp:LogoutRequest>", write(&of.name_id), session.unwrap_or_default());
        self.draft("LogoutRequest", Kind::Request, to.binding, &to.address, "", after, now)
            .and_then(|draft| draft.send(Some(&self.key), relay_state))
            .map(Some)
            .map_err(Refused::Unavailable)
    }

    /// Answers a request to sign out, that its sessions have ended. None if the identity provider has no address for that.
    ///
    /// # Errors
    /// The identity provider's metadata is not known.
    pub fn answer_logout(
        &self,
        request: &LogoutRequested,
        now: SystemTime,
    ) -> Result<Option<Begun>, Refused> {
        let provider = self.provider(now)?;
        let Some(to) = self.sign_out(&provider) else { return Ok(None) };
        let address = to.answers.as_ref().unwrap_or(&to.address);
        let answered = format!(" InResponseTo=\"{}\"", escape(&request.id));
        let after = "<samlp:Status><samlp:StatusCode Value=\"urn:oasis:names:tc:SAML:2.0:status:Success\"/>\
                     </samlp:Status></samlp:LogoutResponse>";
        self.draft("LogoutResponse", Kind::Response, to.binding, address, &answered, after.to_owned(), now)
            .and_then(|draft| draft.send(Some(&self.key), request.relay_state.as_deref()))
            .map(Some)
            .map_err(Refused::Unavailable)
    }

    /// Judges the answer to a request of ours to sign out.
    ///
    /// # Errors
    /// It does not hold, does not say that the user was signed out, or the identity provider's metadata is not known.
    pub fn accept_logout_response(
        &self,
        message: &Incoming<'_>,
        now: SystemTime,
    ) -> Result<LogoutAnswered, Refused> {
        let provider = self.provider(now)?;
        let expected = self.expected(&self.addresses.sign_out, now);
        let (text, relay_state) = verified(message, Kind::Response, &provider)?;
        Ok(answered(&text, relay_state, &expected)?)
    }

    /// Judges a request of the identity provider to sign out. It must be signed.
    ///
    /// # Errors
    /// It does not hold, or the identity provider's metadata is not known.
    pub fn accept_logout_request(
        &self,
        message: &Incoming<'_>,
        now: SystemTime,
    ) -> Result<LogoutRequested, Refused> {
        let provider = self.provider(now)?;
        let expected = self.expected(&self.addresses.sign_out, now);
        let (text, relay_state) = verified(message, Kind::Request, &provider)?;
        Ok(requested(&text, relay_state, &expected)?)
    }

    /// Where to sign out: in the way that requests go, if there is such an address.
    fn sign_out<'p>(&self, provider: &'p Provider) -> Option<&'p Endpoint> {
        let wanted = |endpoint: &&Endpoint| endpoint.binding == self.config.request_binding;
        provider.sign_out.iter().find(wanted).or_else(|| provider.sign_out.first())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a message")]
    fn draft<'d>(
        &self,
        name: &str,
        kind: Kind,
        binding: Binding,
        to: &'d str,
        more: &str,
        after: String,
        now: SystemTime,
    ) -> Result<Draft<'d>, String> {
        let id = identifier()?;
        let before = format!(
            "<samlp:{name} xmlns:samlp=\"{PROTOCOL}\" xmlns:saml=\"{ASSERTION}\" ID=\"{id}\" Version=\"2.0\" \
             IssueInstant=\"{now}\" Destination=\"{to}\"{more}><saml:Issuer>{issuer}</saml:Issuer>",
            now = timestamp(now)?,
            to = escape(to),
            issuer = escape(&self.entity_id),
        );
        Ok(Draft { id, kind, parts: [before, after], to, binding })
    }
}

fn write(name: &NameId) -> String {
    let mut text = String::from("<saml:NameID");
    let attributes = [
        ("NameQualifier", &name.name_qualifier),
        ("SPNameQualifier", &name.sp_name_qualifier),
        ("Format", &name.format),
    ];
    for (attribute, value) in attributes {
        if let Some(value) = value {
            text.push_str(&format!(" {attribute}=\"{}\"", escape(value)));
        }
    }
    text.push_str(&format!(">{}</saml:NameID>", escape(&name.value)));
    text
}

/// The text of a message that was signed: beside it, or within.
fn verified(
    message: &Incoming<'_>,
    kind: Kind,
    provider: &Provider,
) -> Result<(String, Option<String>), Unfit> {
    let (text, seal, relay_state) = receive(message, kind, &provider.keys)?;
    if seal == Seal::Checked {
        return Ok((text, relay_state));
    }
    let tree = Tree::message(&text)?;
    let [canonical] = signed(&tree, &text, [tree.root()?], &provider.keys)?;
    Ok((canonical.ok_or(Unfit::from("not signed"))?, relay_state))
}

/// Checks who sent a message, and that it was sent here. Gives its identifier.
fn envelope<'t>(
    root: Element<'t>,
    name: &str,
    expected: &Expected<'_>,
) -> Result<(String, Sequence<'t>), Unfit> {
    if !root.is(PROTOCOL, name) {
        return Err(Unfit::because(format!("not a {name}")));
    }
    let id = assertion::head(root, expected)?;
    if root.required("Destination")? != expected.address {
        return Err("sent to another address".into());
    }
    let mut parts = Sequence::of(root)?;
    assertion::issuer(parts.required(ASSERTION, "Issuer")?, expected)?;
    parts.optional(DSIG, "Signature");
    Ok((id, parts))
}

fn answered(
    text: &str,
    relay_state: Option<String>,
    expected: &Expected<'_>,
) -> Result<LogoutAnswered, Unfit> {
    let tree = Tree::message(text)?;
    let root = tree.root()?;
    let (_, mut parts) = envelope(root, "LogoutResponse", expected)?;
    assertion::status(parts.required(PROTOCOL, "Status")?)?;
    parts.end()?;
    Ok(LogoutAnswered { in_response_to: root.required("InResponseTo")?.to_owned(), relay_state })
}

fn requested(
    text: &str,
    relay_state: Option<String>,
    expected: &Expected<'_>,
) -> Result<LogoutRequested, Unfit> {
    let tree = Tree::message(text)?;
    let root = tree.root()?;
    let (id, mut parts) = envelope(root, "LogoutRequest", expected)?;
    // Keycloak writes some extensions, which have no say here.
    parts.optional(PROTOCOL, "Extensions");
    let name_id = assertion::name_id(parts.required(ASSERTION, "NameID")?)?;
    let mut session_indexes = Vec::new();
    while let Some(index) = parts.optional(PROTOCOL, "SessionIndex") {
        session_indexes.push(index.text()?.to_owned());
        if session_indexes.len() > MAX_SESSIONS {
            return Err("more than 1,000 sessions".into());
        }
    }
    parts.end()?;
    let made = instant(root.required("IssueInstant")?)?;
    let ends = root.attribute("NotOnOrAfter").map_or(Ok(made + LIFETIME), instant)?.min(made + LIFETIME);
    let expires = ends + expected.config.max_clock_skew.0;
    if expected.now >= expires {
        return Err("expired".into());
    }
    Ok(LogoutRequested { id, expires, name_id, session_indexes, relay_state })
}
