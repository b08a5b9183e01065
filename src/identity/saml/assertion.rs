//! What an assertion says, and whether it is for us and now (SAML core 2, SAML profiles 4.1.4).
//!
//! What is read here is text that was signed. The order of the elements is the schema's; what the schema allows and a
//! sign-in has no use for is refused, as it could only change what the rest means.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::config::Config;
use super::xml::{ASSERTION, DSIG, Element, PROTOCOL, Sequence, Unfit, shown};
use super::{Asserted, NameId};
use crate::identity::users::check_name;

const BEARER: &str = "urn:oasis:names:tc:SAML:2.0:cm:bearer";
const SUCCESS: &str = "urn:oasis:names:tc:SAML:2.0:status:Success";
const ENTITY: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity";
const TRANSIENT: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient";
/// What Entra ID has in the place of groups, where there are too many: an address to ask for them at.
const GROUPS_LINK: &str = "http://schemas.microsoft.com/claims/groups.link";
/// Most groups of one principal.
const MAX_GROUPS: usize = 10_000;
/// Longest identifier, name or value that is kept, in bytes.
const MAX_VALUE: usize = 1024;
/// The longest time for which an assertion may be offered, and so has to be remembered.
const MAX_LIFETIME: Duration = Duration::from_hours(24);

/// What a message is held against.
pub(super) struct Expected<'c> {
    pub(super) config: &'c Config,
    /// Our entity id.
    pub(super) audience: &'c str,
    /// Where the message came in.
    pub(super) address: &'c str,
    pub(super) now: SystemTime,
}

impl Expected<'_> {
    fn skew(&self) -> Duration {
        self.config.max_clock_skew.0
    }

    fn is_past(&self, time: SystemTime) -> bool {
        self.now >= time + self.skew()
    }

    fn is_ahead(&self, time: SystemTime) -> bool {
        time > self.now + self.skew()
    }
}

/// An instant, which SAML has in UTC.
pub(super) fn instant(text: &str) -> Result<SystemTime, Unfit> {
    let bad = || Unfit::because(format!("'{}' is no time", shown(text)));
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"-:.TZ".contains(&byte));
    if !plain || !text.ends_with('Z') || text.len() > 40 {
        return Err(bad());
    }
    let time: jiff::Timestamp = text.parse().map_err(|_| bad())?;
    // Times far off would overflow where spans are added; nothing is decided by them.
    let bounds = 0..=253_402_300_799_i64 - 86_400 * 2;
    if !bounds.contains(&time.as_second()) {
        return Err(bad());
    }
    Ok(time.into())
}

/// A short text that may not be empty.
fn value(text: &str, what: &str) -> Result<String, Unfit> {
    if text.is_empty() || text.len() > MAX_VALUE || text.chars().any(char::is_control) {
        return Err(Unfit::because(format!("{what} is empty, too long or has control characters")));
    }
    Ok(text.to_owned())
}

/// Checks version, identifier and time of a message or an assertion, and gives the identifier.
pub(super) fn head(element: Element<'_>, expected: &Expected<'_>) -> Result<String, Unfit> {
    if element.attribute("Version") != Some("2.0") {
        return Err(Unfit::because(format!("{} of another version than 2.0", element.name())));
    }
    if expected.is_ahead(instant(element.required("IssueInstant")?)?) {
        return Err(Unfit::because(format!("{} from the future; are the clocks right?", element.name())));
    }
    value(element.required("ID")?, "an identifier")
}

/// Checks that an issuer is the identity provider.
pub(super) fn issuer(element: Element<'_>, expected: &Expected<'_>) -> Result<(), Unfit> {
    if element.attribute("Format").is_some_and(|format| format != ENTITY)
        || element.text()? != expected.config.idp_entity_id
    {
        return Err(Unfit::because(format!("issued by '{}', another", shown(element.text()?))));
    }
    Ok(())
}

/// Checks that a status is success.
pub(super) fn status(element: Element<'_>) -> Result<(), Unfit> {
    let mut parts = Sequence::of(element)?;
    let code = parts.required(PROTOCOL, "StatusCode")?;
    let message = parts.optional(PROTOCOL, "StatusMessage");
    parts.optional(PROTOCOL, "StatusDetail");
    parts.end()?;
    if code.required("Value")? == SUCCESS {
        return Ok(());
    }
    let inner = code.children()?.first().and_then(|inner| inner.attribute("Value"));
    let message = message.map(Element::text).transpose()?.unwrap_or_default();
    Err(Unfit::because(format!(
        "the identity provider answers {} {} {}",
        shown(code.required("Value")?),
        shown(inner.unwrap_or_default()),
        shown(message)
    )))
}

/// The parts of a response that say what it is for. They may not be signed: they can refuse it and nothing else.
pub(super) struct Response<'t> {
    pub(super) in_response_to: &'t str,
    /// `Assertion` or `EncryptedAssertion`.
    pub(super) assertion: Element<'t>,
    pub(super) is_encrypted: bool,
}

/// Reads a response, which must have one assertion.
pub(super) fn response<'t>(element: Element<'t>, expected: &Expected<'_>) -> Result<Response<'t>, Unfit> {
    if !element.is(PROTOCOL, "Response") {
        return Err("not a Response".into());
    }
    head(element, expected)?;
    if element.required("Destination")? != expected.address {
        return Err(Unfit::because(format!("sent to '{}'", shown(element.required("Destination")?))));
    }
    let mut parts = Sequence::of(element)?;
    if let Some(found) = parts.optional(ASSERTION, "Issuer") {
        issuer(found, expected)?;
    }
    parts.optional(DSIG, "Signature");
    status(parts.required(PROTOCOL, "Status")?)?;
    let (assertion, is_encrypted) = match parts.optional(ASSERTION, "EncryptedAssertion") {
        Some(encrypted) => (encrypted, true),
        None => (parts.required(ASSERTION, "Assertion")?, false),
    };
    parts.end()?;
    // After the status: a refusal need not say to what.
    let in_response_to =
        element.attribute("InResponseTo").ok_or(Unfit::from("an answer that nobody asked for"))?;
    Ok(Response { in_response_to, assertion, is_encrypted })
}

/// Reads an assertion, which must be for us and now, and for the request that its response is for.
pub(super) fn assertion(
    element: Element<'_>,
    in_response_to: &str,
    expected: &Expected<'_>,
) -> Result<Asserted, Unfit> {
    if !element.is(ASSERTION, "Assertion") {
        return Err("not an Assertion".into());
    }
    let assertion_id = head(element, expected)?;
    let mut parts = Sequence::of(element)?;
    issuer(parts.required(ASSERTION, "Issuer")?, expected)?;
    parts.optional(DSIG, "Signature");
    let (name_id, confirmed) = subject(parts.required(ASSERTION, "Subject")?, in_response_to, expected)?;
    let valid = conditions(parts.required(ASSERTION, "Conditions")?, expected)?;
    let mut session = None;
    let mut attributes = BTreeMap::new();
    loop {
        if let Some(statement) = parts.optional(ASSERTION, "AuthnStatement") {
            if session.replace(authentication(statement, expected)?).is_some() {
                return Err("two AuthnStatements".into());
            }
        } else if let Some(statement) = parts.optional(ASSERTION, "AttributeStatement") {
            read_attributes(statement, &mut attributes)?;
        } else {
            break;
        }
    }
    parts.end()?;
    let session = session.ok_or(Unfit::from("Assertion without AuthnStatement"))?;

    let ends = valid.map_or(confirmed, |valid| valid.min(confirmed));
    if ends > expected.now + MAX_LIFETIME {
        return Err("valid for more than a day".into());
    }
    let config = expected.config;
    let user = match &config.user_attribute {
        Some(name) => single(&attributes, name)?.ok_or_else(|| missing(name))?,
        None if name_id.format.as_deref() == Some(TRANSIENT) => {
            return Err("its NameID is made up for this session; set user_attribute".into());
        }
        None => name_id.value.clone(),
    };
    check_name(&user).map_err(|why| Unfit::because(format!("the user name '{}': {why}", shown(&user))))?;
    let groups = match &config.groups_attribute {
        Some(_) if attributes.contains_key(GROUPS_LINK) => return Err(Unfit::Overage),
        Some(name) => many(&attributes, name)?,
        None => Vec::new(),
    };
    if groups.len() > MAX_GROUPS {
        return Err("more than 10,000 groups".into());
    }
    let mut mapped = BTreeMap::new();
    for (ours, theirs) in &config.attributes {
        if let Some(text) = single(&attributes, theirs)? {
            mapped.insert(ours.clone(), text);
        }
    }
    Ok(Asserted {
        in_response_to: in_response_to.to_owned(),
        assertion_id,
        expires: ends + expected.skew(),
        name_id,
        session_index: session.index,
        session_ends: session.ends,
        authenticated_at: session.since,
        user,
        groups,
        attributes: mapped,
    })
}

/// A NameID.
pub(super) fn name_id(element: Element<'_>) -> Result<NameId, Unfit> {
    let attribute = |name: &str| element.attribute(name).map(|text| value(text, name)).transpose();
    Ok(NameId {
        value: value(element.text()?, "NameID")?,
        format: attribute("Format")?,
        name_qualifier: attribute("NameQualifier")?,
        sp_name_qualifier: attribute("SPNameQualifier")?,
    })
}

/// Who it is about, and until when it may be offered.
fn subject(
    element: Element<'_>,
    in_response_to: &str,
    expected: &Expected<'_>,
) -> Result<(NameId, SystemTime), Unfit> {
    let mut parts = Sequence::of(element)?;
    let name = name_id(parts.required(ASSERTION, "NameID")?)?;
    let confirmation = parts.required(ASSERTION, "SubjectConfirmation")?;
    parts.end()?;
    if confirmation.attribute("Method") != Some(BEARER) {
        return Err("confirmed in another way than by its bearer".into());
    }
    let mut parts = Sequence::of(confirmation)?;
    let data = parts.required(ASSERTION, "SubjectConfirmationData")?;
    parts.end()?;
    Sequence::of(data)?.end()?;
    if data.other_attributes(&["Recipient", "NotOnOrAfter", "InResponseTo", "Address"]) {
        return Err("a confirmation with something that has no meaning here".into());
    }
    if data.required("Recipient")? != expected.address {
        return Err(Unfit::because(format!("for '{}'", shown(data.required("Recipient")?))));
    }
    if data.required("InResponseTo")? != in_response_to {
        return Err("an answer to another request than its response".into());
    }
    let ends = instant(data.required("NotOnOrAfter")?)?;
    if expected.is_past(ends) {
        return Err("its confirmation has expired".into());
    }
    Ok((name, ends))
}

/// Checks the conditions, and says when they end.
fn conditions(element: Element<'_>, expected: &Expected<'_>) -> Result<Option<SystemTime>, Unfit> {
    if element.other_attributes(&["NotBefore", "NotOnOrAfter"]) {
        return Err("an unknown condition".into());
    }
    if let Some(begins) = element.attribute("NotBefore")
        && expected.is_ahead(instant(begins)?)
    {
        return Err("not valid yet; are the clocks right?".into());
    }
    let ends = element.attribute("NotOnOrAfter").map(instant).transpose()?;
    if ends.is_some_and(|ends| expected.is_past(ends)) {
        return Err("expired".into());
    }
    let mut audiences = 0;
    for condition in element.children()? {
        if condition.is(ASSERTION, "AudienceRestriction") {
            audiences += 1;
            audience(condition, expected)?;
        } else if !condition.is(ASSERTION, "OneTimeUse") && !condition.is(ASSERTION, "ProxyRestriction") {
            return Err(Unfit::because(format!("an unknown condition, {}", shown(condition.name()))));
        }
    }
    if audiences != 1 {
        return Err(Unfit::because(format!("{audiences} AudienceRestrictions in place of one")));
    }
    Ok(ends)
}

fn audience(restriction: Element<'_>, expected: &Expected<'_>) -> Result<(), Unfit> {
    let mut found = false;
    for audience in restriction.children()? {
        if !audience.is(ASSERTION, "Audience") {
            return Err("an AudienceRestriction with something else".into());
        }
        found |= audience.text()? == expected.audience;
    }
    if found { Ok(()) } else { Err("for another audience".into()) }
}

struct Session {
    index: Option<String>,
    ends: Option<SystemTime>,
    since: SystemTime,
}

fn authentication(element: Element<'_>, expected: &Expected<'_>) -> Result<Session, Unfit> {
    let since = instant(element.required("AuthnInstant")?)?;
    if expected.is_ahead(since) {
        return Err("signed in in the future; are the clocks right?".into());
    }
    let ends = element.attribute("SessionNotOnOrAfter").map(instant).transpose()?;
    if ends.is_some_and(|ends| expected.is_past(ends)) {
        return Err("of a session that has ended".into());
    }
    let index = element.attribute("SessionIndex").map(|index| value(index, "SessionIndex")).transpose()?;
    let mut parts = Sequence::of(element)?;
    parts.optional(ASSERTION, "SubjectLocality");
    let context = parts.required(ASSERTION, "AuthnContext")?;
    parts.end()?;
    let accepted = &expected.config.authn_context;
    if !accepted.is_empty() {
        let class = Sequence::of(context)?.required(ASSERTION, "AuthnContextClassRef")?.text()?;
        if !accepted.iter().any(|accepted| accepted == class) {
            return Err(Unfit::because(format!("signed in by '{}', which is not accepted", shown(class))));
        }
    }
    Ok(Session { index, ends, since })
}

/// The attributes of a statement. One that is there twice has the values of both.
fn read_attributes<'t>(
    statement: Element<'t>,
    attributes: &mut BTreeMap<&'t str, Vec<Element<'t>>>,
) -> Result<(), Unfit> {
    for attribute in statement.children()? {
        if !attribute.is(ASSERTION, "Attribute") {
            return Err(Unfit::because(format!("{} among the attributes", shown(attribute.name()))));
        }
        let values = attributes.entry(attribute.required("Name")?).or_default();
        for value in attribute.children()? {
            if !value.is(ASSERTION, "AttributeValue") {
                return Err("an attribute with something that is no value".into());
            }
            values.push(value);
        }
    }
    Ok(())
}

fn missing(name: &str) -> Unfit {
    Unfit::because(format!("without the attribute '{name}'"))
}

fn many(attributes: &BTreeMap<&str, Vec<Element<'_>>>, name: &str) -> Result<Vec<String>, Unfit> {
    let values = attributes.get(name).map(Vec::as_slice).unwrap_or_default();
    values.iter().map(|found| value(found.text()?, &format!("the attribute '{name}'"))).collect()
}

/// The value of an attribute that may have one value and no more.
fn single(attributes: &BTreeMap<&str, Vec<Element<'_>>>, name: &str) -> Result<Option<String>, Unfit> {
    let mut values = many(attributes, name)?;
    if values.len() > 1 {
        return Err(Unfit::because(format!("several values of the attribute '{name}'")));
    }
    Ok(values.pop())
}
