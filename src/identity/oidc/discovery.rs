//! What the provider says of itself (OpenID Connect Discovery 1.0), and its keys. It is read again when a signature was of
//! an unknown key.

use std::sync::Arc;
use std::time::Duration;

use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod, CoreGrantType,
    CoreJsonWebKey, CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm,
    CoreResponseMode, CoreResponseType, CoreSubjectIdentifierType,
};
use openidconnect::{
    AdditionalProviderMetadata, AuthType, ClientId, ClientSecret, DeviceAuthorizationUrl, EndSessionUrl,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, IssuerUrl, ProviderMetadata, RedirectUrl,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::config::Config;
use super::exchange::Exchange;
use crate::https;
use crate::identity::fresh::{Fresh, Origin, Rhythm};
use crate::identity::keys::KeySet;
use crate::secret::Secret;

/// How long a token waits for keys that are being read; longer than reading may take.
const PATIENCE: Duration = Duration::from_secs(22);

/// The provider's metadata with what the library leaves out.
type Metadata = ProviderMetadata<
    Extra,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// The library's client, with the endpoints that there must be.
pub(super) type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet, EndpointMaybeSet>;

/// Metadata of other specifications than discovery.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Extra {
    /// OpenID Connect RP-Initiated Logout 1.0.
    pub(super) end_session_endpoint: Option<EndSessionUrl>,
    /// RFC 8628.
    pub(super) device_authorization_endpoint: Option<DeviceAuthorizationUrl>,
    /// RFC 9207.
    authorization_response_iss_parameter_supported: Option<bool>,
    /// RFC 7636, RFC 8414.
    code_challenge_methods_supported: Option<Vec<String>>,
}

impl AdditionalProviderMetadata for Extra {}

impl Extra {
    /// Whether the callback must name the issuer.
    pub(super) fn names_issuer(&self) -> bool {
        self.authorization_response_iss_parameter_supported == Some(true)
    }
}

/// What we are to the provider.
pub(super) struct Registered {
    pub(super) redirect_uri: RedirectUrl,
    pub(super) secret: Option<Secret<String>>,
}

/// What is known of the provider.
pub(super) struct Known {
    pub(super) client: Client,
    pub(super) extra: Extra,
    /// Its keys, as the library takes them.
    pub(super) keys: CoreJsonWebKeySet,
    /// The same keys for tokens that the library does not read.
    pub(super) logout_keys: KeySet,
}

impl Known {
    async fn load(config: &Config, registered: &Registered, exchange: &Exchange) -> Result<Self, String> {
        let issuer = IssuerUrl::new(config.issuer.clone()).map_err(|error| error.to_string())?;
        let place = issuer.join(".well-known/openid-configuration").map_err(|error| error.to_string())?;
        let metadata = Self::metadata(&exchange.read(place.as_str()).await?, config)?;
        let keys = exchange.read(metadata.jwks_uri().as_str()).await?;
        Self::new(&metadata, &keys, config, registered)
    }

    /// Reads the metadata, and checks all that it names.
    fn metadata(text: &[u8], config: &Config) -> Result<Metadata, String> {
        let metadata: Metadata =
            serde_json::from_slice(text).map_err(|error| format!("unreadable metadata: {error}"))?;
        if metadata.issuer().as_str() != config.issuer {
            return Err(format!("the metadata is of another issuer, '{}'", metadata.issuer().as_str()));
        }
        let extra = metadata.additional_metadata();
        let token = metadata.token_endpoint().ok_or("the metadata names no token_endpoint")?;
        for (name, url) in [
            ("authorization_endpoint", Some(metadata.authorization_endpoint().as_str())),
            ("token_endpoint", Some(token.as_str())),
            ("jwks_uri", Some(metadata.jwks_uri().as_str())),
            ("userinfo_endpoint", metadata.userinfo_endpoint().map(|url| url.as_str())),
            ("end_session_endpoint", extra.end_session_endpoint.as_ref().map(|url| url.as_str())),
            (
                "device_authorization_endpoint",
                extra.device_authorization_endpoint.as_ref().map(|url| url.as_str()),
            ),
        ] {
            if let Some(Err(why)) = url.map(|url| https::address(url, config.allow_plain_http)) {
                return Err(format!("{name} in the metadata: {why}"));
            }
        }
        let codes = metadata.response_types_supported().iter();
        if !codes.into_iter().any(|types| **types == [CoreResponseType::Code]) {
            return Err("the provider has no authorization code flow".to_owned());
        }
        let challenges = extra.code_challenge_methods_supported.as_ref();
        if challenges.is_some_and(|methods| !methods.iter().any(|method| method == "S256")) {
            return Err("the provider has no PKCE with S256".to_owned());
        }
        let offered = metadata.id_token_signing_alg_values_supported();
        if !config.allowed().any(|algorithm| offered.contains(&algorithm)) {
            return Err("the provider signs by no algorithm of `algorithms`".to_owned());
        }
        if config.userinfo && metadata.userinfo_endpoint().is_none() {
            return Err("userinfo: the provider has no UserInfo endpoint".to_owned());
        }
        Ok(metadata)
    }

    fn new(
        metadata: &Metadata,
        keys: &[u8],
        config: &Config,
        registered: &Registered,
    ) -> Result<Self, String> {
        let (keys, logout_keys) = usable(keys)?;
        let token = metadata.token_endpoint().cloned().ok_or("the metadata names no token_endpoint")?;
        let secret = registered.secret.as_ref().map(|secret| ClientSecret::new(secret.expose().clone()));
        let how = authentication(metadata.token_endpoint_auth_methods_supported(), secret.is_some())?;
        let client = CoreClient::from_provider_metadata(
            metadata.clone(),
            ClientId::new(config.client_id.clone()),
            secret,
        )
        .set_token_uri(token)
        .set_auth_type(how)
        .set_redirect_uri(registered.redirect_uri.clone());
        Ok(Self { client, extra: metadata.additional_metadata().clone(), keys, logout_keys })
    }
}

/// How we prove who we are at the token endpoint. Where the metadata does not say, by `client_secret_basic`.
fn authentication(offered: Option<&Vec<CoreClientAuthMethod>>, secret: bool) -> Result<AuthType, String> {
    let Some(offered) = offered.filter(|_| secret) else {
        return Ok(if secret { AuthType::BasicAuth } else { AuthType::RequestBody });
    };
    if offered.contains(&CoreClientAuthMethod::ClientSecretBasic) {
        Ok(AuthType::BasicAuth)
    } else if offered.contains(&CoreClientAuthMethod::ClientSecretPost) {
        Ok(AuthType::RequestBody)
    } else {
        Err("the provider takes neither client_secret_basic nor client_secret_post".to_owned())
    }
}

/// The keys that bearer tokens could be verified with as well: none that are for encryption, symmetric or too short.
pub(super) fn usable(text: &[u8]) -> Result<(CoreJsonWebKeySet, KeySet), String> {
    let logout_keys = KeySet::parse(text)?;
    let mut set: Value = serde_json::from_slice(text).map_err(|error| format!("not a JWK Set: {error}"))?;
    let is_usable = |key: &Value| KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes()).is_ok();
    if let Some(keys) = set["keys"].as_array_mut() {
        keys.retain(is_usable);
    }
    let keys = serde_json::from_value(set).map_err(|error| format!("not a JWK Set: {error}"))?;
    Ok((keys, logout_keys))
}

/// The provider as last read.
pub(super) struct Source(Fresh<Known>);

impl Source {
    /// Starts to read, never twice within `pause`. Needs a tokio runtime; the task ends with the value.
    pub(super) fn start(
        config: Arc<Config>,
        registered: Registered,
        exchange: Arc<Exchange>,
        pause: Duration,
    ) -> Self {
        let rhythm = Rhythm { refresh: config.refresh.0, keep: config.keep_metadata.0, pause };
        Self(Fresh::start(Site { config, registered, exchange }, rhythm))
    }

    /// Asks for it to be read soon.
    pub(super) fn refresh(&self) {
        self.0.refresh();
    }

    /// Waits until it was tried to read it once.
    pub(super) async fn tried(&self) {
        self.0.tried().await;
    }

    /// Waits for it to be read again, unless it was just now.
    pub(super) async fn read_again(&self) {
        self.0.read_again(PATIENCE).await;
    }

    /// The provider, or why it is not known.
    pub(super) fn known(&self) -> Result<Arc<Known>, String> {
        self.0.known().map_err(|why| format!("its metadata: {why}"))
    }
}

struct Site {
    config: Arc<Config>,
    registered: Registered,
    exchange: Arc<Exchange>,
}

impl Origin for Site {
    type Value = Known;

    fn name(&self) -> &str {
        &self.config.name
    }

    async fn read(&self) -> Result<Known, String> {
        Known::load(&self.config, &self.registered, &self.exchange).await
    }
}
