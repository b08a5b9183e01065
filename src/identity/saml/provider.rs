//! What the identity provider says of itself (SAML metadata). It is read again when a signature was of an unknown key.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Uri;

use super::assertion::instant;
use super::config::{Binding, Config};
use super::keys::{Pins, TrustedKeys};
use super::signature::base64;
use super::xml::{Comments, DSIG, Element, METADATA, PROTOCOL, Tree, Unfit};
use crate::https::{self, Bounds};
use crate::identity::fresh::{Fresh, Origin, PAUSE, Rhythm};

/// Largest metadata, in bytes. That of a whole federation may be larger: name the identity provider's own.
const MAX_METADATA: usize = 4 << 20;
const BOUNDS: Bounds = Bounds { time: Duration::from_secs(10), body: MAX_METADATA };

/// An address of the identity provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) binding: Binding,
    pub(super) address: String,
    /// Where answers go, if that is another place.
    pub(super) answers: Option<String>,
}

/// What is known of the identity provider.
#[derive(Clone)]
pub(super) struct Provider {
    pub(super) keys: TrustedKeys,
    pub(super) sign_in: Vec<Endpoint>,
    pub(super) sign_out: Vec<Endpoint>,
    valid_until: Option<SystemTime>,
}

impl Provider {
    /// Reads metadata: one entity, or several of which one is meant.
    pub(super) fn parse(text: &str, config: &Config, pins: &Pins, now: SystemTime) -> Result<Self, Unfit> {
        let tree = Tree::read(text, MAX_METADATA, Comments::Ignored)?;
        let root = tree.root()?;
        let is_meant = |entity: &Element<'_>| entity.attribute("entityID") == Some(&config.idp_entity_id);
        let mut entities = root.descendants(METADATA, "EntityDescriptor");
        if root.is(METADATA, "EntityDescriptor") {
            entities.push(root);
        }
        entities.retain(is_meant);
        let [entity] = entities[..] else {
            return Err(Unfit::because(format!(
                "the metadata describes '{}' {} times",
                config.idp_entity_id,
                entities.len()
            )));
        };
        let mut roles = entity.children()?;
        roles.retain(|role| {
            let protocols = role.attribute("protocolSupportEnumeration").unwrap_or_default();
            role.is(METADATA, "IDPSSODescriptor")
                && protocols.split_ascii_whitespace().any(|one| one == PROTOCOL)
        });
        let [role] = roles[..] else {
            return Err("no identity provider for SAML 2.0 in the metadata".into());
        };

        let mut valid_until = None;
        for element in [root, entity, role] {
            if let Some(until) = element.attribute("validUntil") {
                let until = instant(until)?;
                valid_until = Some(valid_until.map_or(until, |other: SystemTime| other.min(until)));
            }
        }
        if valid_until.is_some_and(|until| until <= now) {
            return Err("the metadata has expired".into());
        }
        let mut certificates = Vec::new();
        for key in role.children()?.into_iter().filter(|child| child.is(METADATA, "KeyDescriptor")) {
            if key.attribute("use").is_none_or(|usage| usage == "signing") {
                for certificate in key.descendants(DSIG, "X509Certificate") {
                    certificates.push(base64(certificate.text()?)?);
                }
            }
        }
        let keys = pins.keys(&certificates);
        if keys.is_empty() {
            return Err(match pins {
                Pins::None => "the metadata names no certificate for signatures".into(),
                _ => "no certificate is one of those pinned".into(),
            });
        }
        let endpoints = |name: &str| endpoints(role, name, config.allow_plain_http);
        let (sign_in, sign_out) = (endpoints("SingleSignOnService")?, endpoints("SingleLogoutService")?);
        if !sign_in.iter().any(|endpoint| endpoint.binding == config.request_binding) {
            return Err(Unfit::because(format!(
                "the metadata names no SingleSignOnService for {}; set request_binding to the other one",
                config.request_binding.uri()
            )));
        }
        Ok(Self { keys, sign_in, sign_out, valid_until })
    }
}

fn endpoints(role: Element<'_>, name: &str, allow_plain_http: bool) -> Result<Vec<Endpoint>, Unfit> {
    let mut endpoints = Vec::new();
    for element in role.children()?.into_iter().filter(|child| child.is(METADATA, name)) {
        let bindings = [Binding::Redirect, Binding::Post];
        let Some(binding) = bindings.into_iter().find(|one| element.attribute("Binding") == Some(one.uri()))
        else {
            continue;
        };
        let address = |attribute: &str| {
            let text = element.attribute(attribute).filter(|text| !text.is_empty())?;
            let checked = https::address(text, allow_plain_http).map(|_| text.to_owned());
            Some(checked.map_err(|why| Unfit::because(format!("{name} in the metadata: {why}"))))
        };
        let answers = address("ResponseLocation").transpose()?;
        if let Some(address) = address("Location").transpose()? {
            endpoints.push(Endpoint { binding, address, answers });
        }
    }
    Ok(endpoints)
}

/// Where metadata is.
pub(super) enum Place {
    File(PathBuf),
    Url(Box<(Uri, https::Client)>),
}

impl Place {
    /// Checks the URL, and reads the certificate authorities.
    pub(super) fn new(config: &Config) -> Result<Self, String> {
        match (&config.metadata_url, &config.metadata_file) {
            (Some(url), None) => {
                let url = https::address(url, config.allow_plain_http)
                    .map_err(|why| format!("metadata_url: {why}"))?;
                let encrypted = url.scheme_str() == Some("https");
                let client = https::Client::new(config.ca_file.as_deref(), encrypted)?;
                Ok(Self::Url(Box::new((url, client))))
            }
            (None, Some(path)) => Ok(Self::File(path.clone())),
            _ => Err("give one of metadata_url and metadata_file".to_owned()),
        }
    }

    async fn load(&self) -> Result<String, String> {
        let bytes = match self {
            Self::File(path) => {
                let failed = |error: std::io::Error| format!("{}: {error}", path.display());
                if tokio::fs::metadata(path).await.map_err(failed)?.len() > MAX_METADATA as u64 {
                    return Err(format!("{}: larger than {MAX_METADATA} bytes", path.display()));
                }
                tokio::fs::read(path).await.map_err(failed)?
            }
            Self::Url(at) => {
                let (url, client) = &**at;
                let request = http::Request::get(url.clone())
                    .header(http::header::ACCEPT, "application/samlmetadata+xml, application/xml, text/xml")
                    .header(http::header::USER_AGENT, concat!("northgate/", env!("CARGO_PKG_VERSION")))
                    .body(Bytes::new())
                    .map_err(|error| error.to_string())?;
                let response = client.send(request, BOUNDS).await.map_err(|error| error.to_string())?;
                if response.status() != http::StatusCode::OK {
                    return Err(format!("{url} answered {}", response.status()));
                }
                response.into_body().to_vec()
            }
        };
        let mut text = String::from_utf8(bytes).map_err(|_| "the metadata is not UTF-8".to_owned())?;
        if text.starts_with('\u{feff}') {
            // The mark that some editors put in front.
            text.remove(0);
        }
        Ok(text)
    }
}

/// The identity provider as last read.
pub(super) struct Source(Fresh<Provider>);

impl Source {
    /// Starts to read. Needs a tokio runtime; the task ends with the value.
    pub(super) fn start(config: Arc<Config>, place: Place, pins: Pins) -> Self {
        let rhythm = Rhythm { refresh: config.refresh.0, keep: config.keep_metadata.0, pause: PAUSE };
        Self(Fresh::start(Site { config, place, pins }, rhythm))
    }

    /// Asks for the metadata to be read soon.
    pub(super) fn refresh(&self) {
        self.0.refresh();
    }

    /// Waits until it was tried to read the metadata once.
    pub(super) async fn tried(&self) {
        self.0.tried().await;
    }

    /// The identity provider, or why it is not known.
    pub(super) fn provider(&self, now: SystemTime) -> Result<Arc<Provider>, String> {
        let of_metadata = |why| format!("the identity provider's metadata: {why}");
        let provider = self.0.known().map_err(of_metadata)?;
        if provider.valid_until.is_some_and(|until| until <= now) {
            return Err(of_metadata("what was read last is too old: its validUntil is over".to_owned()));
        }
        Ok(provider)
    }
}

struct Site {
    config: Arc<Config>,
    place: Place,
    pins: Pins,
}

impl Origin for Site {
    type Value = Provider;

    fn name(&self) -> &str {
        &self.config.name
    }

    async fn read(&self) -> Result<Provider, String> {
        let text = self.place.load().await?;
        Provider::parse(&text, &self.config, &self.pins, SystemTime::now()).map_err(|why| why.to_string())
    }
}
