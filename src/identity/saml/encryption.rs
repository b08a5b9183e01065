//! Encrypted assertions (XML Encryption 1.1).
//!
//! Of what was sent only the names of the algorithms and the two cipher texts are taken, and put into a document of our
//! own for the library to open: its other ways to find keys and data are never reached.

use bergshamra::core::algorithm;
use bergshamra::{EncContext, decrypt_to_bytes};

use super::keys::OwnKey;
use super::signature::base64;
use super::xml::{DSIG, ENC, ENC11, Element, Sequence, Unfit, escape, shown};

/// Ciphers that notice a change of what they encrypted.
const GUARDED: [&str; 3] = [algorithm::AES128_GCM, algorithm::AES192_GCM, algorithm::AES256_GCM];
/// Ciphers that do not: whoever may try changed ones, and learns which are taken, can read and write the text.
const UNGUARDED: [&str; 3] = [algorithm::AES128_CBC, algorithm::AES192_CBC, algorithm::AES256_CBC];
/// What encrypts the key. Never RSA PKCS #1 1.5.
const TRANSPORTS: [&str; 2] = [algorithm::RSA_OAEP, algorithm::RSA_OAEP_ENC11];

/// The text of an encrypted assertion. `is_signed` is whether the cipher text is under a signature that holds: only then
/// may the cipher be one that does not notice changes.
pub(super) fn open(encrypted: Element<'_>, key: &OwnKey, is_signed: bool) -> Result<String, Unfit> {
    let mut parts = Sequence::of(encrypted)?;
    let data = parts.required(ENC, "EncryptedData")?;
    let keys = encrypted.descendants(ENC, "EncryptedKey");
    let [wrapped] = keys[..] else { return Err("not encrypted with one key".into()) };
    let (cipher, text) = methods(data)?;
    let cipher_name = cipher.required("Algorithm")?;
    if !GUARDED.contains(&cipher_name) && !(is_signed && UNGUARDED.contains(&cipher_name)) {
        let unsigned = if is_signed { "" } else { ", at least not in a response that is not signed" };
        return Err(Unfit::because(format!("the cipher '{}' is not accepted{unsigned}", shown(cipher_name))));
    }
    let (transport, session_key) = methods(wrapped)?;
    let transport_name = transport.required("Algorithm")?;
    if !TRANSPORTS.contains(&transport_name) {
        return Err(Unfit::because(format!("the key transport '{}' is not accepted", shown(transport_name))));
    }
    let mut parts = String::new();
    for part in transport.children()? {
        let (name, namespace) = match part.name() {
            "DigestMethod" if part.is(DSIG, "DigestMethod") => ("DigestMethod", DSIG),
            "MGF" if part.is(ENC11, "MGF") => ("MGF", ENC11),
            other => return Err(Unfit::because(format!("a key transport with {}", shown(other)))),
        };
        let value = escape(part.required("Algorithm")?);
        parts.push_str(&format!("<{name} xmlns=\"{namespace}\" Algorithm=\"{value}\"/>"));
    }
    // A type that is not XML, so that the library hands the text over as it is.
    let document = format!(
        "<EncryptedData xmlns=\"{ENC}\" Type=\"urn:octets\"><EncryptionMethod Algorithm=\"{cipher_name}\"/>\
         <KeyInfo xmlns=\"{DSIG}\"><EncryptedKey xmlns=\"{ENC}\"><EncryptionMethod Algorithm=\"{transport_name}\">\
         {parts}</EncryptionMethod><CipherData><CipherValue>{session_key}</CipherValue></CipherData></EncryptedKey>\
         </KeyInfo><CipherData><CipherValue>{text}</CipherValue></CipherData></EncryptedData>"
    );
    let context = EncContext::new(key.manager()).with_disable_cipher_reference(true);
    let bytes = decrypt_to_bytes(&context, &document)
        .map_err(|error| Unfit::because(format!("cannot be decrypted: {}", shown(&error.to_string()))))?;
    String::from_utf8(bytes).map_err(|_| "decrypts to no text".into())
}

/// The method of an `EncryptedData` or `EncryptedKey`, and its cipher text in base64.
fn methods(element: Element<'_>) -> Result<(Element<'_>, String), Unfit> {
    let mut parts = Sequence::of(element)?;
    let method = parts.required(ENC, "EncryptionMethod")?;
    parts.optional(DSIG, "KeyInfo");
    let data = parts.required(ENC, "CipherData")?;
    let mut parts = Sequence::of(data)?;
    let value = parts.required(ENC, "CipherValue")?;
    parts.end()?;
    let text: String = value.text()?.split_ascii_whitespace().collect();
    base64(&text)?;
    Ok((method, text))
}
