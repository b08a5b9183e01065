//! The SAML service provider, and a real identity provider (Keycloak) that knows it by its metadata.

use std::path::PathBuf;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use northgate::identity::Refused;
use northgate::identity::saml::{Config, Delivery, Incoming, LogoutSubject, ServiceProvider};

use crate::harness::http::Response;
use crate::harness::keycloak::{Browser, Keycloak, attribute, field};

/// A service provider, and the realm that it is a client of.
struct Site {
    service: ServiceProvider,
    port: u16,
    _folder: tempfile::TempDir,
}

fn key(folder: &tempfile::TempDir) -> (PathBuf, PathBuf) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key");
    let certificate = rcgen::CertificateParams::new(vec!["gate.example".to_owned()]).expect("names");
    let certificate = certificate.self_signed(&key).expect("signed");
    let files = (folder.path().join("key.pem"), folder.path().join("certificate.pem"));
    std::fs::write(&files.0, key.serialize_pem()).expect("written");
    std::fs::write(&files.1, certificate.pem()).expect("written");
    files
}

impl Site {
    async fn new(keycloak: &Keycloak, name: &str, more: &str, settings: &Value) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (key_file, certificate_file) = key(&folder);
        let port = keycloak.port;
        let realm = format!("http://127.0.0.1:{port}/realms/bank");
        let config: Config = toml::from_str(&format!(
            "name = \"{name}\"\nidp_entity_id = \"{realm}\"\nmetadata_url = \"{realm}/protocol/saml/descriptor\"\n\
             key_file = '{}'\ncertificate_file = '{}'\ngroups_attribute = \"Role\"\n{more}",
            key_file.display(),
            certificate_file.display()
        ))
        .expect("a configuration");
        let service = ServiceProvider::new(config, "https://gate.example").expect("a service provider");
        keycloak.register(service.metadata(), settings);
        service.ready().await.expect("the metadata can be read");
        Self { service, port, _folder: folder }
    }

    /// Carries a request to the identity provider.
    fn carry(browser: &mut Browser, delivery: &Delivery) -> Response {
        match delivery {
            Delivery::Redirect { url } => browser.get(url),
            Delivery::Post { url, fields } => {
                let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
                browser.post(url, &fields)
            }
        }
    }

    /// Signs in; gives the request's identifier and the response.
    fn sign_in(&self, browser: &mut Browser, user: &str) -> (String, String) {
        let begun = self.service.begin(Some("there"), SystemTime::now()).expect("begun");
        let page = Self::carry(browser, &begun.delivery);
        let page = if page.text().contains("kc-form-login") { browser.sign_in(&page, user) } else { page };
        let message = field(&page, "SAMLResponse").unwrap_or_else(|| panic!("no response: {}", page.text()));
        assert_eq!(field(&page, "RelayState").as_deref(), Some("there"));
        let acs = format!("https://gate.example/login/saml/{}/acs", self.service.config().name);
        assert!(page.text().contains(&acs), "it goes to our address");
        (begun.id, message)
    }
}

fn xml(message: &str) -> String {
    String::from_utf8(STANDARD.decode(message).expect("base64")).expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_identity_provider() {
    let keycloak = tokio::task::block_in_place(Keycloak::start);
    let signed = |assertion: bool, response: bool| {
        let text = |signed: bool| if signed { "true" } else { "false" };
        json!({"saml.assertion.signature": text(assertion), "saml.server.signature": text(response)})
    };
    let with = |mut settings: Value, more: &[(&str, &str)]| {
        for (name, value) in more {
            settings[*name] = json!(value);
        }
        settings
    };
    let plain = ("saml.encrypt", "false");
    let checked = ("saml.client.signature", "true");
    for (name, more, settings) in [
        ("assertion", "require = \"assertion\"", with(signed(true, false), &[plain])),
        ("response", "require = \"response\"", with(signed(false, true), &[plain])),
        (
            "both",
            "require = \"both\"\nrequest_binding = \"post\"\nforce_authn = true",
            with(signed(true, true), &[plain, checked, ("saml.signature.algorithm", "RSA_SHA512")]),
        ),
        // As Keycloak has it by itself, because our metadata offers a key: AES-256-GCM, RSA-OAEP with SHA-256.
        ("encrypted", "require_encryption = true", with(signed(true, false), &[])),
        (
            "unguarded",
            "require = \"both\"\nrequire_encryption = true",
            with(
                signed(true, true),
                &[
                    checked,
                    ("saml.encryption.algorithm", "http://www.w3.org/2001/04/xmlenc#aes128-cbc"),
                    ("saml.encryption.keyAlgorithm", "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"),
                    ("saml.encryption.digestMethod", "http://www.w3.org/2000/09/xmldsig#sha1"),
                ],
            ),
        ),
    ] {
        let site = Site::new(&keycloak, name, more, &settings).await;
        let mut browser = Browser::new(site.port);
        let (request, message) = site.sign_in(&mut browser, "eva");
        let asserted = site.service.accept(&message, SystemTime::now());
        let asserted = asserted.unwrap_or_else(|error| panic!("{name}: {error}\n{}", xml(&message)));
        assert_eq!(asserted.in_response_to, request, "{name}");
        assert_eq!(asserted.user, "eva", "{name}");
        assert!(asserted.groups.contains(&"analysts".to_owned()), "{name}: {asserted:?}");
        assert!(asserted.session_index.is_some() && asserted.expires > SystemTime::now(), "{name}");

        changed(&site.service, &message, &asserted);
        // Another's response answers another's request.
        let (other, message) = site.sign_in(&mut Browser::new(site.port), "otto");
        let theirs = site.service.accept(&message, SystemTime::now()).expect("accepted");
        assert_eq!((theirs.in_response_to.as_str(), theirs.user.as_str()), (other.as_str(), "otto"));
        assert_ne!(other, request);
        let of = LogoutSubject { name_id: asserted.name_id, session_index: asserted.session_index };
        sign_out(&site, &mut browser, &of, settings["saml.server.signature"] == "true");
    }
    requests_must_be_signed(&keycloak).await;
    another_service_provider(&keycloak).await;
    they_sign_out(&keycloak).await;
}

/// A real response with one byte changed.
fn changed(service: &ServiceProvider, message: &str, right: &northgate::identity::saml::Asserted) {
    let bytes = STANDARD.decode(message).expect("base64");
    let (mut refused, mut tried) = (0, 0);
    for place in (0..bytes.len()).step_by(41) {
        for flip in [1, 0x20] {
            let mut bytes = bytes.clone();
            bytes[place] ^= flip;
            tried += 1;
            match service.accept(&STANDARD.encode(&bytes), SystemTime::now()) {
                Ok(asserted) => assert_eq!(&asserted, right, "{}", String::from_utf8_lossy(&bytes)),
                Err(_) => refused += 1,
            }
        }
    }
    // What is left are changes outside of what is signed, and of no meaning.
    assert!(refused * 2 > tried, "{refused} of {tried}");
    let text = String::from_utf8(bytes).expect("UTF-8");
    if text.contains(">eva<") {
        assert!(
            service.accept(&STANDARD.encode(text.replace(">eva<", ">otto<")), SystemTime::now()).is_err()
        );
    }
}

/// Signs out there, and sees that the session there is gone.
/// It signs its answer if it signs responses at all.
fn sign_out(site: &Site, browser: &mut Browser, of: &LogoutSubject, is_signed: bool) {
    let now = SystemTime::now();
    let begun = site.service.begin_logout(of, Some("bye"), now).expect("begun").expect("an address");
    let page = Site::carry(browser, &begun.delivery);
    let answered = if let Some(link) = page.header("location") {
        let query = link.split_once('?').expect("a query").1;
        site.service.accept_logout_response(&Incoming::Redirect { query }, now)
    } else {
        let message = field(&page, "SAMLResponse");
        let message = message.unwrap_or_else(|| panic!("{}: {}", page.status, page.text()));
        let state = field(&page, "RelayState");
        let incoming = Incoming::Post { message: &message, relay_state: state.as_deref() };
        site.service.accept_logout_response(&incoming, now)
    };
    match answered {
        Ok(answered) => {
            assert!(is_signed);
            assert_eq!((answered.in_response_to, answered.relay_state.as_deref()), (begun.id, Some("bye")));
        }
        Err(error) => assert!(!is_signed && error.to_string().contains("not signed"), "{error}"),
    }
    let begun = site.service.begin(None, now).expect("begun");
    let page = Site::carry(browser, &begun.delivery);
    assert!(page.text().contains("kc-form-login"), "the session has ended: {}", page.text());
}

/// Keycloak refuses a request that is not signed, or is by another key, where it wants them signed.
async fn requests_must_be_signed(keycloak: &Keycloak) {
    let site = Site::new(keycloak, "strict", "", &json!({"saml.client.signature": "true"})).await;
    let begun = site.service.begin(None, SystemTime::now()).expect("begun");
    let Delivery::Redirect { url } = begun.delivery else { panic!("redirected") };
    assert_eq!(Browser::new(site.port).get(&url).status, 200);
    let unsigned = url.split("&SigAlg=").next().expect("a first part");
    assert_eq!(Browser::new(site.port).get(unsigned).status, 400);
    let broken = url.replace("&RelayState", "&x").replace("Signature=", "Signature=A");
    assert_eq!(Browser::new(site.port).get(&broken).status, 400);
}

/// A response for one service provider is nothing to another of the same realm.
async fn another_service_provider(keycloak: &Keycloak) {
    let one = Site::new(keycloak, "one", "", &json!({})).await;
    let two = Site::new(keycloak, "two", "", &json!({})).await;
    let (_, message) = one.sign_in(&mut Browser::new(one.port), "eva");
    assert!(one.service.accept(&message, SystemTime::now()).is_ok());
    let error = two.service.accept(&message, SystemTime::now()).expect_err("another");
    assert!(matches!(&error, Refused::BadCredentials(_)) && error.to_string().contains("sent to"), "{error}");
    let renamed = xml(&message).replacen("/saml/one/acs", "/saml/two/acs", 1);
    assert!(two.service.accept(&STANDARD.encode(renamed), SystemTime::now()).is_err());
    assert_eq!(attribute("<a VALUE=\"x&#x2f;y\">", "value"), "x/y");
}

/// Two service providers of one session: signing out of one signs out of the other.
async fn they_sign_out(keycloak: &Keycloak) {
    let first = Site::new(keycloak, "first", "", &json!({"saml.server.signature": "true"})).await;
    let second = Site::new(keycloak, "second", "", &json!({"saml.server.signature": "true"})).await;
    let mut browser = Browser::new(first.port);
    let now = SystemTime::now();
    let sign_in = |site: &Site, browser: &mut Browser| {
        let (_, message) = site.sign_in(browser, "eva");
        site.service.accept(&message, SystemTime::now()).expect("accepted")
    };
    let of_first = sign_in(&first, &mut browser);
    let of_second = sign_in(&second, &mut browser);
    let of = LogoutSubject { name_id: of_first.name_id, session_index: of_first.session_index };
    let begun = first.service.begin_logout(&of, None, now).expect("begun").expect("an address");
    let page = Site::carry(&mut browser, &begun.delivery);

    let query = page.header("location").map(|link| link.split_once('?').expect("a query").1.to_owned());
    let message = field(&page, "SAMLRequest");
    let state = field(&page, "RelayState");
    let incoming = match (&query, &message) {
        (Some(query), _) => Incoming::Redirect { query },
        (None, Some(message)) => Incoming::Post { message, relay_state: state.as_deref() },
        (None, None) => panic!("no request: {} {}", page.status, page.text()),
    };
    let refused = first.service.accept_logout_request(&incoming, now).expect_err("not for this one");
    assert!(refused.to_string().contains("another address"), "{refused}");
    let requested = second.service.accept_logout_request(&incoming, now);
    let requested = requested.unwrap_or_else(|error| panic!("{error}: {message:?} {query:?}"));
    assert_eq!(requested.name_id, of_second.name_id);
    assert_eq!(requested.session_indexes, Vec::from_iter(of_second.session_index));
    let answer = second.service.answer_logout(&requested, now).expect("answered").expect("an address");
    let page = Site::carry(&mut browser, &answer.delivery);
    let message =
        field(&page, "SAMLResponse").unwrap_or_else(|| panic!("{:?} {}", page.headers, page.text()));
    let incoming = Incoming::Post { message: &message, relay_state: None };
    let answered = first.service.accept_logout_response(&incoming, now).expect("accepted");
    assert_eq!(answered.in_response_to, begun.id);
}
