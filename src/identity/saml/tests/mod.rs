//! An identity provider of our own, whose messages are right, and then wrong in one way each.

mod attacks;
mod logout;
mod metadata;
mod sign_in;
mod wrapping;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::keys::OwnKey;
use super::message::enveloped;
use super::xml::{ASSERTION, DSIG, PROTOCOL};
use super::{Asserted, Config, ServiceProvider};
use crate::identity::error::Refused;

const ACS: &str = "https://gate.example/login/saml/corp/acs";
const LOGOUT: &str = "https://gate.example/login/saml/corp/logout";
const SP: &str = "https://gate.example/login/saml/corp/metadata";
const IDP: &str = "https://idp.example/saml";
const REQUEST: &str = "_request";

/// When the tests take place.
fn noon() -> SystemTime {
    UNIX_EPOCH + Duration::from_hours(500_004)
}

/// A time as SAML writes it, so many seconds from noon.
fn at(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(1_800_014_400 + seconds).expect("a time");
    time.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()
}

/// A key, its certificate, and the files that they are in.
struct Pair {
    key_file: PathBuf,
    certificate_file: PathBuf,
    key: OwnKey,
}

impl Pair {
    fn certificate(&self) -> Vec<u8> {
        STANDARD.decode(self.key.certificate()).expect("base64")
    }
}

struct Pairs {
    /// The identity provider's.
    idp: Pair,
    /// Ours.
    ours: Pair,
    /// An attacker's.
    other: Pair,
    /// The identity provider's second one, of an elliptic curve.
    curve_certificate: Vec<u8>,
    curve_key: bergshamra::Key,
    folder: tempfile::TempDir,
}

fn pairs() -> &'static Pairs {
    static PAIRS: OnceLock<Pairs> = OnceLock::new();
    PAIRS.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let pair = |name: &str| pair(folder.path(), name);
        let (idp, ours, other) = (pair("idp"), pair("ours"), pair("other"));
        let curve = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
        let certificate = certificate(&curve);
        let curve_key =
            bergshamra::keys::loader::load_pem_auto(curve.serialize_pem().trim().as_bytes(), None);
        let curve_key = curve_key.expect("a key");
        let curve_certificate = certificate.der().to_vec();
        Pairs { idp, ours, other, curve_certificate, curve_key, folder }
    })
}

fn certificate(key: &rcgen::KeyPair) -> rcgen::Certificate {
    let names = vec!["idp.example".to_owned()];
    rcgen::CertificateParams::new(names).expect("names").self_signed(key).expect("signed")
}

fn pair(folder: &Path, name: &str) -> Pair {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key");
    let (key_file, certificate_file) =
        (folder.join(format!("{name}.key")), folder.join(format!("{name}.pem")));
    std::fs::write(&key_file, key.serialize_pem()).expect("written");
    std::fs::write(&certificate_file, certificate(&key).pem()).expect("written");
    let key = OwnKey::read(&key_file.clone().into(), &certificate_file).expect("a pair");
    Pair { key_file, certificate_file, key }
}

/// The identity provider's metadata, with these certificates for signatures.
fn idp_metadata(certificates: &[&[u8]]) -> String {
    let keys: Vec<_> = certificates
        .iter()
        .map(|der| {
            format!(
                "<md:KeyDescriptor use=\"signing\"><ds:KeyInfo xmlns:ds=\"{DSIG}\"><ds:X509Data><ds:X509Certificate>\n\
                 {}\n</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>",
                STANDARD.encode(der)
            )
        })
        .collect();
    let keys = keys.concat();
    let redirect = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect";
    let post = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST";
    format!(
        "<!-- by hand --><md:EntityDescriptor xmlns:md=\"urn:oasis:names:tc:SAML:2.0:metadata\" entityID=\"{IDP}\">\
         <md:IDPSSODescriptor protocolSupportEnumeration=\"{PROTOCOL}\">{keys}\
         <md:SingleLogoutService Binding=\"{redirect}\" Location=\"https://idp.example/out?x=1\" \
         ResponseLocation=\"https://idp.example/answered\"/>\
         <md:SingleSignOnService Binding=\"{redirect}\" Location=\"https://idp.example/in\"/>\
         <md:SingleSignOnService Binding=\"{post}\" Location=\"https://idp.example/in-post\"/>\
         </md:IDPSSODescriptor></md:EntityDescriptor>"
    )
}

/// A configuration, with what a test adds to it.
fn config(more: &str) -> Config {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        let file = pairs().folder.path().join("idp.xml");
        let text = idp_metadata(&[&pairs().idp.certificate(), &pairs().curve_certificate]);
        std::fs::write(&file, text).expect("written");
        file
    });
    let ours = &pairs().ours;
    let metadata =
        if more.contains("metadata_") { String::new() } else { format!("metadata_file = {file:?}\n") };
    toml::from_str(&format!(
        "name = \"corp\"\nidp_entity_id = \"{IDP}\"\nkey_file = {:?}\ncertificate_file = {:?}\n{metadata}{more}",
        ours.key_file, ours.certificate_file
    ))
    .expect("a configuration")
}

async fn service(more: &str) -> ServiceProvider {
    let service = ServiceProvider::new(config(more), "https://gate.example/").expect("a service provider");
    service.ready().await.expect("metadata");
    service
}

/// Who signs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Nobody,
    Idp,
    Other,
}

/// A response, all of whose parts can be changed.
#[derive(Clone)]
struct Forge {
    response: By,
    assertion: By,
    /// Attributes of the Response.
    head: String,
    response_issuer: String,
    status: String,
    assertion_head: String,
    issuer: String,
    name_id: String,
    confirmation: String,
    conditions: String,
    authn: String,
    attributes: String,
    /// Behind the statements.
    more: String,
    /// Behind the assertion.
    beside: String,
    /// Done to the assertion once it is signed.
    wrap: fn(&str) -> String,
}

impl Forge {
    fn new() -> Self {
        Self {
            response: By::Nobody,
            assertion: By::Idp,
            head: format!(
                "ID=\"_response\" Version=\"2.0\" IssueInstant=\"{}\" Destination=\"{ACS}\" InResponseTo=\"{REQUEST}\"",
                at(0)
            ),
            response_issuer: format!("<saml:Issuer>{IDP}</saml:Issuer>"),
            status: "<samlp:Status><samlp:StatusCode Value=\"urn:oasis:names:tc:SAML:2.0:status:Success\"/>\
                     </samlp:Status>"
                .to_owned(),
            assertion_head: format!("ID=\"_assertion\" Version=\"2.0\" IssueInstant=\"{}\"", at(0)),
            issuer: format!("<saml:Issuer>{IDP}</saml:Issuer>"),
            name_id: "<saml:NameID Format=\"urn:oasis:names:tc:SAML:2.0:nameid-format:persistent\" \
                      SPNameQualifier=\"q\">eva</saml:NameID>"
                .to_owned(),
            confirmation: format!(
                "<saml:SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:bearer\">\
                 <saml:SubjectConfirmationData InResponseTo=\"{REQUEST}\" NotOnOrAfter=\"{}\" Recipient=\"{ACS}\"/>\
                 </saml:SubjectConfirmation>",
                at(300)
            ),
            conditions: format!(
                "<saml:Conditions NotBefore=\"{}\" NotOnOrAfter=\"{}\"><saml:AudienceRestriction>\
                 <saml:Audience>{SP}</saml:Audience></saml:AudienceRestriction></saml:Conditions>",
                at(-30),
                at(240)
            ),
            authn: format!(
                "<saml:AuthnStatement AuthnInstant=\"{}\" SessionIndex=\"s1\" SessionNotOnOrAfter=\"{}\">\
                 <saml:AuthnContext><saml:AuthnContextClassRef>urn:password</saml:AuthnContextClassRef>\
                 </saml:AuthnContext></saml:AuthnStatement>",
                at(-10),
                at(36_000)
            ),
            attributes: "<saml:AttributeStatement><saml:Attribute Name=\"uid\"><saml:AttributeValue>eva.l\
                         </saml:AttributeValue></saml:Attribute><saml:Attribute Name=\"Role\"><saml:AttributeValue>a\
                         </saml:AttributeValue></saml:Attribute><saml:Attribute Name=\"Role\"><saml:AttributeValue \
                         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"xs:string\" \
                         xmlns:xs=\"http://www.w3.org/2001/XMLSchema\">b</saml:AttributeValue></saml:Attribute>\
                         </saml:AttributeStatement>"
                .to_owned(),
            more: String::new(),
            beside: String::new(),
            wrap: str::to_owned,
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn assertion(&self) -> String {
        let before =
            format!("<saml:Assertion xmlns:saml=\"{ASSERTION}\" {}>{}", self.assertion_head, self.issuer);
        let subject = format!("<saml:Subject>{}{}</saml:Subject>", self.name_id, self.confirmation);
        let after = format!(
            "{subject}{}{}{}{}</saml:Assertion>",
            self.conditions, self.authn, self.attributes, self.more
        );
        sealed(self.assertion, &before, &self.assertion_head, &after)
    }

    fn xml(&self) -> String {
        let before = format!(
            "<samlp:Response xmlns:samlp=\"{PROTOCOL}\" xmlns:saml=\"{ASSERTION}\" {}>{}",
            self.head, self.response_issuer
        );
        let assertion = (self.wrap)(&self.assertion());
        let after = format!("{}{assertion}{}</samlp:Response>", self.status, self.beside);
        sealed(self.response, &before, &self.head, &after)
    }
}

fn sealed(by: By, before: &str, head: &str, after: &str) -> String {
    let key = match by {
        By::Nobody => return format!("{before}{after}"),
        By::Idp => &pairs().idp.key,
        By::Other => &pairs().other.key,
    };
    let id = head.split("ID=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an identifier");
    enveloped(before, id, after, key).expect("signed")
}

fn offer(service: &ServiceProvider, xml: &str) -> Result<Asserted, Refused> {
    service.accept(&STANDARD.encode(xml), noon())
}

/// What is written to the log.
#[track_caller]
fn refused(service: &ServiceProvider, xml: &str, expect: &str) {
    match offer(service, xml) {
        Ok(asserted) => panic!("accepted: {asserted:?}\n{xml}"),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(expect), "{text}\n  instead of: {expect}\n{xml}");
            assert!(!crate::error::Failure::client_message(&error).contains("SAML"), "{text}");
        }
    }
}
