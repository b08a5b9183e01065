//! What a right response gives, and what a right one may not say.

use std::time::Duration;

use super::*;
use crate::identity::saml::Delivery;

#[tokio::test]
async fn a_right_response() {
    let service =
        service("groups_attribute = \"Role\"\n[attributes]\nlogin = \"uid\"\nregion = \"none\"").await;
    let asserted = offer(&service, &Forge::new().xml()).expect("accepted");
    insta::assert_debug_snapshot!(asserted);
    assert_eq!(asserted.expires, noon() + Duration::from_mins(5), "four minutes, and one of skew");
}

#[test]
fn it_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<ServiceProvider>();
}

#[tokio::test]
async fn what_must_be_signed() {
    let services = [
        service("").await,
        service("require = \"assertion\"").await,
        service("require = \"response\"").await,
        service("require = \"both\"").await,
    ];
    let check = |response: By, assertion: By, expect: [bool; 4]| {
        let xml = Forge::new().with(|forge| (forge.response, forge.assertion) = (response, assertion)).xml();
        let found = services.each_ref().map(|service| offer(service, &xml).is_ok());
        assert_eq!(found, expect, "{xml}");
    };
    check(By::Nobody, By::Nobody, [false, false, false, false]);
    check(By::Nobody, By::Idp, [true, true, false, false]);
    check(By::Idp, By::Nobody, [true, false, true, false]);
    check(By::Idp, By::Idp, [true, true, true, true]);
    // What is signed beside what must be has to hold as well.
    check(By::Other, By::Idp, [false, false, false, false]);
    check(By::Idp, By::Other, [false, false, false, false]);
    check(By::Nobody, By::Other, [false, false, false, false]);
    check(By::Other, By::Nobody, [false, false, false, false]);
    check(By::Other, By::Other, [false, false, false, false]);
}

#[tokio::test]
async fn who_it_is() {
    let by_name = service("").await;
    let by_attribute = service("user_attribute = \"uid\"\ngroups_attribute = \"Role\"").await;
    let mapped = service("[attributes]\nrole = \"Role\"").await;
    let user = |service: &ServiceProvider, xml: &str| offer(service, xml).map(|asserted| asserted.user);
    assert_eq!(user(&by_name, &Forge::new().xml()), Ok("eva".to_owned()));
    assert_eq!(user(&by_attribute, &Forge::new().xml()), Ok("eva.l".to_owned()));
    refused(&mapped, &Forge::new().xml(), "several values of the attribute 'Role'");

    let named =
        |name: &str| Forge::new().with(|forge| forge.name_id = format!("<saml:NameID>{name}</saml:NameID>"));
    for (name, expect) in [
        ("", "NameID is empty"),
        (" eva", "space"),
        ("e\u{7}va", "not XML"),
        ("e&#10;va", "control characters"),
        (&"x".repeat(300), "256 bytes"),
        ("eva<b xmlns=\"u\"/>", "no plain text"),
    ] {
        // Some are no XML, which an honest signer would not write.
        let xml =
            if name.contains('\u{7}') { named("eva").xml().replace("eva", name) } else { named(name).xml() };
        refused(&by_name, &xml, expect);
    }
    let transient =
        "<saml:NameID Format=\"urn:oasis:names:tc:SAML:2.0:nameid-format:transient\">x</saml:NameID>";
    let transient = Forge::new().with(|forge| forge.name_id = transient.to_owned()).xml();
    refused(&by_name, &transient, "set user_attribute");
    assert_eq!(user(&by_attribute, &transient), Ok("eva.l".to_owned()));

    let twice = Forge::new().with(|forge| {
        forge.attributes = forge.attributes.replace("Name=\"Role\"", "Name=\"uid\"");
    });
    refused(&by_attribute, &twice.xml(), "several values of the attribute 'uid'");
    let none = Forge::new().with(|forge| forge.attributes = String::new());
    refused(&by_attribute, &none.xml(), "without the attribute 'uid'");

    let groups = |count: usize| {
        Forge::new().with(|forge| {
            let value = |i| format!("<saml:AttributeValue>g{i}</saml:AttributeValue>");
            let values = (0..count).map(value).collect::<Vec<_>>().concat();
            forge.attributes = forge.attributes.replace(
                "<saml:Attribute Name=\"uid\">",
                &format!(
                    "<saml:Attribute Name=\"Role\">{values}</saml:Attribute><saml:Attribute Name=\"uid\">"
                ),
            );
        })
    };
    assert_eq!(offer(&by_attribute, &groups(9_998).xml()).map(|asserted| asserted.groups.len()), Ok(10_000));
    refused(&by_attribute, &groups(9_999).xml(), "more than 10,000 groups");
    let link = Forge::new().with(|forge| {
        let link = "Name=\"http://schemas.microsoft.com/claims/groups.link\"";
        forge.attributes = forge.attributes.replacen("Name=\"Role\"", link, 1);
    });
    let overage = offer(&by_attribute, &link.xml());
    assert_eq!(overage, Err(Refused::BadCredentials(crate::identity::error::Cause::Overage)));
    assert!(offer(&by_name, &link.xml()).is_ok(), "no groups are wanted");
}

#[tokio::test]
async fn how_they_signed_in() {
    let service = service("authn_context = [\"urn:card\", \"urn:password\"]").await;
    assert!(offer(&service, &Forge::new().xml()).is_ok());
    let other = Forge::new().with(|forge| forge.authn = forge.authn.replace("urn:password", "urn:none"));
    refused(&service, &other.xml(), "signed in by 'urn:none'");
}

#[tokio::test]
async fn keys_of_other_kinds_and_pins() {
    let curve = || signed_by_curve(&Forge::new().with(|forge| forge.assertion = By::Nobody));
    assert!(offer(&service("").await, &curve()).is_ok(), "an elliptic curve");

    let sha256 = |der: &[u8]| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
        digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    };
    let of_curve = sha256(&pairs().curve_certificate);
    let pinned = service(&format!("pinned_fingerprints = [\"{of_curve}\"]")).await;
    assert!(offer(&pinned, &curve()).is_ok());
    refused(&pinned, &Forge::new().xml(), "no trusted key");

    let pinned = service(&format!("pinned_certificates = [{:?}]", pairs().idp.certificate_file)).await;
    assert!(offer(&pinned, &Forge::new().xml()).is_ok());
    refused(&pinned, &curve(), "no trusted key");
    // Metadata that names another's key, which only pinned keys defend against.
    let evil = pairs().folder.path().join("evil.xml");
    std::fs::write(&evil, idp_metadata(&[&pairs().other.certificate()])).expect("written");
    let forged = Forge::new().with(|forge| forge.assertion = By::Other).xml();
    let pinned =
        format!("metadata_file = {evil:?}\npinned_certificates = [{:?}]", pairs().idp.certificate_file);
    refused(&service(&pinned).await, &forged, "verification failed");
    assert!(offer(&service(&format!("metadata_file = {evil:?}")).await, &forged).is_ok(), "a control");
    let pinned =
        format!("metadata_file = {evil:?}\npinned_fingerprints = [\"{}\"]", of_curve.replace(':', ""));
    let none = ServiceProvider::new(config(&pinned), "https://gate.example").expect("a service provider");
    let error = none.ready().await.expect_err("no key is left");
    assert!(error.to_string().contains("no certificate is one of those pinned"), "{error}");
    assert!(matches!(offer(&none, &forged), Err(Refused::Unavailable(_))));
}

/// Signs the assertion of a response by the key of an elliptic curve.
fn signed_by_curve(forge: &Forge) -> String {
    let signed = forge.clone().with(|forge| forge.assertion = By::Idp).xml();
    let start = signed.find("<saml:Assertion").expect("an assertion");
    let end = signed.find("</samlp:Response>").expect("an end");
    let template = signed[start..end]
        .replace("xmldsig-more#rsa-sha256", "xmldsig-more#ecdsa-sha256")
        .replace(&between(&signed, "<ds:DigestValue>", "</ds:DigestValue>"), "")
        .replace(&between(&signed, "<ds:SignatureValue>", "</ds:SignatureValue>"), "");
    let mut keys = bergshamra::KeysManager::new();
    keys.add_key(pairs().curve_key.clone());
    let assertion = bergshamra::sign(&bergshamra::DsigContext::new(keys), &template).expect("signed");
    format!("{}{assertion}{}", &signed[..start], &signed[end..])
}

/// The text between two others.
pub(super) fn between(text: &str, before: &str, after: &str) -> String {
    let rest = text.split_once(before).expect("the one before").1;
    rest.split_once(after).expect("the one after").0.to_owned()
}

#[tokio::test]
async fn requests() {
    let redirected = |delivery: Delivery| match delivery {
        Delivery::Redirect { url } => url,
        Delivery::Post { .. } => panic!("posted"),
    };
    let begun = service("").await.begin(Some("r/1?"), noon()).expect("begun");
    let url = redirected(begun.delivery);
    assert!(url.starts_with("https://idp.example/in?SAMLRequest="), "{url}");
    assert!(
        url.contains("&RelayState=r%2F1%3F&SigAlg=http%3A%2F%2F") && url.contains("&Signature="),
        "{url}"
    );
    // What the identity provider would do with it.
    let incoming = super::super::Incoming::Redirect { query: url.split_once('?').expect("a query").1 };
    let ours = super::super::keys::TrustedKeys::new([&pairs().ours.certificate()[..]]);
    let (xml, _, state) =
        super::super::message::receive(&incoming, super::super::message::Kind::Request, &ours)
            .expect("it verifies");
    assert_eq!(state.as_deref(), Some("r/1?"));
    insta::assert_snapshot!(xml.replace(&begun.id, "ID"));

    let unsigned = service("sign_requests = false").await.begin(None, noon()).expect("begun");
    assert!(!redirected(unsigned.delivery).contains('&'));

    let more = "request_binding = \"post\"\nforce_authn = true\nauthn_context = [\"urn:a&b\"]\n\
                name_id_format = \"urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress\"";
    let begun = service(more).await.begin(Some("state"), noon()).expect("begun");
    let Delivery::Post { url, fields } = begun.delivery else { panic!("redirected") };
    assert_eq!(url, "https://idp.example/in-post");
    let xml = String::from_utf8(STANDARD.decode(&fields[0].1).expect("base64")).expect("UTF-8");
    assert_eq!((fields[0].0, fields[1].0, fields[1].1.as_str()), ("SAMLRequest", "RelayState", "state"));
    insta::assert_snapshot!(masked(&xml).replace(&begun.id, "ID"));
    assert!(service("").await.begin(Some(&"x".repeat(81)), noon()).is_err(), "too long a relay state");
}

/// Without what is different each time.
pub(super) fn masked(xml: &str) -> String {
    let mut text = xml.replace(pairs().ours.key.certificate(), "CERTIFICATE");
    for name in ["DigestValue", "SignatureValue"] {
        text = text.replace(&between(&text, &format!("<ds:{name}>"), &format!("</ds:{name}>")), "...");
    }
    text
}
