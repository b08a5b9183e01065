//! Messages on their way: how ours are written and signed, and how those of the identity provider arrive (SAML bindings
//! 3.4 and 3.5).

use std::io::{Read as _, Write as _};
use std::time::SystemTime;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bergshamra::core::algorithm;
use bergshamra::{DsigContext, sign};
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::config::Binding;
use super::keys::{OwnKey, TrustedKeys};
use super::signature::base64;
use super::xml::{DSIG, MAX_MESSAGE, Unfit, escape};
use super::{Begun, Delivery, Incoming};

/// Longest relay state, in bytes (SAML bindings 3.4.3).
const MAX_RELAY_STATE: usize = 80;

/// An identifier that nobody can guess.
pub(super) fn identifier() -> Result<String, String> {
    let mut bytes = [0; 20];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "no random numbers".to_owned())?;
    let mut text = String::from("_");
    for byte in bytes {
        text.push_str(&format!("{byte:02x}"));
    }
    Ok(text)
}

/// An instant as SAML writes it.
pub(super) fn timestamp(time: SystemTime) -> Result<String, String> {
    let time = jiff::Timestamp::try_from(time).map_err(|error| error.to_string())?;
    Ok(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Which of the two fields a message stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Response,
}

impl Kind {
    const fn field(self) -> &'static str {
        match self {
            Self::Request => "SAMLRequest",
            Self::Response => "SAMLResponse",
        }
    }
}

/// A message of ours.
pub(super) struct Draft<'d> {
    pub(super) id: String,
    pub(super) kind: Kind,
    /// The XML up to the issuer, and after it: a signature stands between.
    pub(super) parts: [String; 2],
    pub(super) to: &'d str,
    pub(super) binding: Binding,
}

impl Draft<'_> {
    /// Writes it, signed if there is a key.
    pub(super) fn send(self, key: Option<&OwnKey>, relay_state: Option<&str>) -> Result<Begun, String> {
        if relay_state.is_some_and(|state| state.len() > MAX_RELAY_STATE) {
            return Err(format!("a relay state of more than {MAX_RELAY_STATE} bytes"));
        }
        let delivery = match self.binding {
            Binding::Redirect => self.redirect(key, relay_state)?,
            Binding::Post => self.post(key, relay_state)?,
        };
        Ok(Begun { id: self.id, delivery })
    }

    fn redirect(&self, key: Option<&OwnKey>, relay_state: Option<&str>) -> Result<Delivery, String> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(self.parts.concat().as_bytes()).map_err(|error| error.to_string())?;
        let deflated = encoder.finish().map_err(|error| error.to_string())?;
        let mut query = format!("{}={}", self.kind.field(), encode(&STANDARD.encode(deflated)));
        if let Some(state) = relay_state {
            query.push_str(&format!("&RelayState={}", encode(state)));
        }
        if let Some(key) = key {
            query.push_str(&format!("&SigAlg={}", encode(algorithm::RSA_SHA256)));
            let signature = key.sign(algorithm::RSA_SHA256, query.as_bytes())?;
            query.push_str(&format!("&Signature={}", encode(&STANDARD.encode(signature))));
        }
        let join = if self.to.contains('?') { '&' } else { '?' };
        Ok(Delivery::Redirect { url: format!("{}{join}{query}", self.to) })
    }

    fn post(&self, key: Option<&OwnKey>, relay_state: Option<&str>) -> Result<Delivery, String> {
        let [before, after] = &self.parts;
        let xml = match key {
            Some(key) => enveloped(before, &self.id, after, key)?,
            None => self.parts.concat(),
        };
        let mut fields = vec![(self.kind.field(), STANDARD.encode(xml))];
        if let Some(state) = relay_state {
            fields.push(("RelayState", state.to_owned()));
        }
        Ok(Delivery::Post { url: self.to.to_owned(), fields })
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Signs a document between its two parts.
pub(super) fn enveloped(before: &str, id: &str, after: &str, key: &OwnKey) -> Result<String, String> {
    let template = format!(
        "<ds:Signature xmlns:ds=\"{DSIG}\"><ds:SignedInfo><ds:CanonicalizationMethod Algorithm=\"{c14n}\"/>\
         <ds:SignatureMethod Algorithm=\"{method}\"/><ds:Reference URI=\"#{id}\"><ds:Transforms>\
         <ds:Transform Algorithm=\"{enveloped}\"/><ds:Transform Algorithm=\"{c14n}\"/></ds:Transforms>\
         <ds:DigestMethod Algorithm=\"{digest}\"/><ds:DigestValue></ds:DigestValue></ds:Reference></ds:SignedInfo>\
         <ds:SignatureValue></ds:SignatureValue><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{certificate}\
         </ds:X509Certificate></ds:X509Data></ds:KeyInfo></ds:Signature>",
        c14n = algorithm::EXC_C14N,
        method = algorithm::RSA_SHA256,
        enveloped = algorithm::ENVELOPED_SIGNATURE,
        digest = algorithm::SHA256,
        id = escape(id),
        certificate = key.certificate(),
    );
    let context = DsigContext::new(key.manager());
    sign(&context, &format!("{before}{template}{after}")).map_err(|error| error.to_string())
}

/// Whether a signature of a message is still to be looked for in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Seal {
    /// It stood beside the message, and holds.
    Checked,
    /// It must be in the message.
    Inside,
}

/// The XML of a message in base64.
pub(super) fn posted(text: &str) -> Result<String, Unfit> {
    if text.len() > MAX_MESSAGE * 3 / 2 {
        return Err("too long".into());
    }
    String::from_utf8(base64(text)?).map_err(|_| "not UTF-8".into())
}

/// The XML of a message, and its relay state. A signature beside it is checked.
pub(super) fn receive(
    incoming: &Incoming<'_>,
    kind: Kind,
    keys: &TrustedKeys,
) -> Result<(String, Seal, Option<String>), Unfit> {
    let query = match incoming {
        Incoming::Post { message, relay_state } => {
            return Ok((posted(message)?, Seal::Inside, relay_state.map(str::to_owned)));
        }
        Incoming::Redirect { query } => query,
    };
    if query.len() > MAX_MESSAGE {
        return Err("too long".into());
    }
    let find = |name: &str| {
        let mut found =
            query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(key, _)| *key == name);
        let first = found.next().map(|(_, value)| value);
        if found.next().is_some() { Err(Unfit::because(format!("{name} twice"))) } else { Ok(first) }
    };
    let message = find(kind.field())?.ok_or_else(|| Unfit::because(format!("without {}", kind.field())))?;
    let relay_state = find("RelayState")?;
    let algorithm = find("SigAlg")?.ok_or(Unfit::from("not signed"))?;
    let signature = find("Signature")?.ok_or(Unfit::from("not signed"))?;
    if find("SAMLEncoding")?.is_some() {
        return Err("in an unknown encoding".into());
    }
    // Signed is the text as it came, in this order.
    let mut data = format!("{}={message}", kind.field());
    if let Some(state) = relay_state {
        data.push_str(&format!("&RelayState={state}"));
    }
    data.push_str(&format!("&SigAlg={algorithm}"));
    keys.verify(&decode(algorithm)?, data.as_bytes(), &base64(&decode(signature)?)?)?;

    let deflated = base64(&decode(message)?)?;
    let mut text = String::new();
    let longest = MAX_MESSAGE as u64;
    DeflateDecoder::new(&deflated[..])
        .take(longest + 1)
        .read_to_string(&mut text)
        .map_err(|_| Unfit::from("not deflated text"))?;
    if text.len() as u64 > longest {
        return Err("too long".into());
    }
    Ok((text, Seal::Checked, relay_state.map(decode).transpose()?))
}

fn decode(text: &str) -> Result<String, Unfit> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| Unfit::from("not UTF-8"))?;
    Ok(text.into_owned())
}
