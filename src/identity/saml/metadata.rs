//! Our own metadata (SAML metadata 2.4.4).

use super::Addresses;
use super::config::{Binding, Config};
use super::keys::OwnKey;
use super::message::{enveloped, identifier};
use super::xml::{DSIG, METADATA, PROTOCOL, escape};

/// Writes and signs it.
pub(super) fn write(
    config: &Config,
    entity_id: &str,
    addresses: &Addresses,
    key: &OwnKey,
) -> Result<String, String> {
    let id = identifier()?;
    let before = format!(
        "<md:EntityDescriptor xmlns:md=\"{METADATA}\" ID=\"{id}\" entityID=\"{}\">",
        escape(entity_id)
    );
    let mut after = format!(
        "<md:SPSSODescriptor AuthnRequestsSigned=\"{}\" WantAssertionsSigned=\"{}\" \
         protocolSupportEnumeration=\"{PROTOCOL}\">",
        config.sign_requests,
        matches!(config.require, super::Signed::Assertion | super::Signed::Both)
    );
    for usage in ["signing", "encryption"] {
        after.push_str(&format!(
            "<md:KeyDescriptor use=\"{usage}\"><ds:KeyInfo xmlns:ds=\"{DSIG}\"><ds:X509Data><ds:X509Certificate>{}\
             </ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>",
            key.certificate()
        ));
    }
    for binding in [Binding::Redirect, Binding::Post] {
        after.push_str(&format!(
            "<md:SingleLogoutService Binding=\"{}\" Location=\"{}\"/>",
            binding.uri(),
            escape(&addresses.sign_out)
        ));
    }
    if let Some(format) = &config.name_id_format {
        after.push_str(&format!("<md:NameIDFormat>{}</md:NameIDFormat>", escape(format)));
    }
    after.push_str(&format!(
        "<md:AssertionConsumerService Binding=\"{}\" Location=\"{}\" index=\"0\" isDefault=\"true\"/>\
         </md:SPSSODescriptor></md:EntityDescriptor>",
        Binding::Post.uri(),
        escape(&addresses.sign_in)
    ));
    enveloped(&before, &id, &after, key)
}
