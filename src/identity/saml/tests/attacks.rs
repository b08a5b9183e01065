//! Responses that do not hold, in one way each, and what the log says of each.

use bergshamra::core::algorithm;
use bergshamra::{EncContext, KeysManager};

use super::*;
use crate::identity::saml::xml::{ENC, ENC11};

/// Changes a part of a response before it is signed.
fn with(part: impl Fn(&mut Forge) -> &mut String, from: &str, to: &str) -> Forge {
    Forge::new().with(|forge| {
        let part = part(forge);
        assert!(part.contains(from), "{from} in {part}");
        *part = part.replace(from, to);
    })
}

#[tokio::test]
async fn what_is_signed_but_not_for_us_or_not_now() {
    let service = service("").await;
    let check = |forge: Forge, expect: &str| {
        refused(&service, &forge.xml(), expect);
        // The same where the response is signed, and what it says of itself with it.
        refused(
            &service,
            &forge.with(|forge| (forge.response, forge.assertion) = (By::Idp, By::Nobody)).xml(),
            expect,
        );
    };
    let fine =
        |forge: Forge| assert!(offer(&service, &forge.xml()).is_ok(), "{:?}", offer(&service, &forge.xml()));

    // Who it is from, and for.
    check(with(|f| &mut f.issuer, IDP, "urn:other"), "issued by 'urn:other'");
    check(with(|f| &mut f.issuer, IDP, &format!("{IDP} ")), "issued by");
    check(with(|f| &mut f.response_issuer, IDP, "urn:other"), "issued by 'urn:other'");
    check(with(|f| &mut f.issuer, "<saml:Issuer>", "<saml:Issuer Format=\"urn:x\">"), "issued by");
    check(with(|f| &mut f.head, ACS, "https://other.example/acs"), "sent to 'https://other.example/acs'");
    check(with(|f| &mut f.head, "Destination", "Consent"), "without Destination");
    check(with(|f| &mut f.confirmation, ACS, "https://other.example/acs"), "for 'https://other.example/acs'");
    check(with(|f| &mut f.confirmation, "Recipient", "Address"), "without Recipient");
    check(with(|f| &mut f.conditions, SP, "https://other.example/metadata"), "another audience");
    check(with(|f| &mut f.conditions, SP, &format!("{SP}2")), "another audience");
    let restriction =
        format!("<saml:AudienceRestriction><saml:Audience>{SP}</saml:Audience></saml:AudienceRestriction>");
    check(with(|f| &mut f.conditions, &restriction, ""), "0 AudienceRestrictions");
    check(with(|f| &mut f.conditions, &restriction, &restriction.repeat(2)), "2 AudienceRestrictions");
    let audience = format!("<saml:Audience>{SP}</saml:Audience>");
    check(with(|f| &mut f.conditions, &audience, ""), "another audience");
    check(with(|f| &mut f.conditions, &audience, "<saml:Other/>"), "something else");
    fine(with(|f| &mut f.conditions, &audience, &format!("<saml:Audience>urn:x</saml:Audience>{audience}")));
    fine(with(|f| &mut f.conditions, &restriction, &format!("<saml:OneTimeUse/>{restriction}")));
    check(
        with(|f| &mut f.conditions, &restriction, &format!("<saml:Condition/>{restriction}")),
        "an unknown condition",
    );
    check(Forge::new().with(|f| f.conditions = String::new()), "where Conditions should be");
    check(Forge::new().with(|f| f.conditions = f.conditions.repeat(2)), "Conditions in Assertion");

    // What it answers.
    check(with(|f| &mut f.head, REQUEST, "_another"), "another request than its response");
    check(with(|f| &mut f.confirmation, REQUEST, "_another"), "another request than its response");
    check(with(|f| &mut f.head, "InResponseTo", "Consent"), "nobody asked for");
    check(with(|f| &mut f.confirmation, "InResponseTo", "Address"), "without InResponseTo");
    check(
        with(|f| &mut f.status, "status:Success", "status:Responder"),
        "answers urn:oasis:names:tc:SAML:2.0:status:Responder",
    );
    check(
        with(
            |f| &mut f.status,
            "Value=\"urn:oasis:names:tc:SAML:2.0:status:Success\"/>",
            "Value=\"urn:x\"><samlp:StatusCode Value=\"urn:oasis:names:tc:SAML:2.0:status:Success\"/></samlp:StatusCode>\
             <samlp:StatusMessage>no\u{85}way</samlp:StatusMessage>",
        ),
        "answers urn:x urn:oasis:names:tc:SAML:2.0:status:Success noway",
    );
    check(Forge::new().with(|f| f.status = String::new()), "where Status should be");

    // When.
    check(with(|f| &mut f.conditions, &at(-30), &at(61)), "not valid yet");
    fine(with(|f| &mut f.conditions, &at(-30), &at(60)));
    check(with(|f| &mut f.conditions, &at(240), &at(-60)), "expired");
    fine(with(|f| &mut f.conditions, &at(240), &at(-59)));
    check(with(|f| &mut f.confirmation, &at(300), &at(-60)), "has expired");
    check(with(|f| &mut f.confirmation, "NotOnOrAfter", "Address"), "without NotOnOrAfter");
    check(with(|f| &mut f.confirmation, "NotOnOrAfter", "NotBefore"), "has no meaning");
    check(with(|f| &mut f.confirmation, &at(300), "2027-01-15T12:00:00"), "is no time");
    check(with(|f| &mut f.confirmation, &at(300), "9999-12-31T23:59:59Z"), "is no time");
    check(with(|f| &mut f.confirmation, &at(300), "-009999-01-01T00:00:00Z"), "is no time");
    check(
        with(|f| &mut f.confirmation, &at(300), &at(90_000))
            .with(|f| f.conditions = f.conditions.replace(&at(240), &at(90_000))),
        "more than a day",
    );
    check(with(|f| &mut f.assertion_head, &at(0), &at(61)), "from the future");
    check(with(|f| &mut f.head, &at(0), &at(61)), "from the future");
    check(with(|f| &mut f.authn, &at(-10), &at(61)), "in the future");
    check(with(|f| &mut f.authn, &at(36_000), &at(-60)), "session that has ended");

    // What it is.
    check(with(|f| &mut f.head, "Version=\"2.0\"", "Version=\"1.1\""), "another version");
    check(with(|f| &mut f.assertion_head, "Version=\"2.0\"", ""), "another version");
    check(with(|f| &mut f.confirmation, "cm:bearer", "cm:holder-of-key"), "another way");
    check(with(|f| &mut f.confirmation, "cm:bearer", "cm:sender-vouches"), "another way");
    check(Forge::new().with(|f| f.confirmation = f.confirmation.repeat(2)), "SubjectConfirmation in Subject");
    check(Forge::new().with(|f| f.confirmation = String::new()), "without SubjectConfirmation");
    check(Forge::new().with(|f| f.name_id = String::new()), "where NameID should be");
    check(with(|f| &mut f.name_id, "saml:NameID", "saml:EncryptedID"), "where NameID should be");
    check(with(|f| &mut f.name_id, "saml:NameID", "saml:BaseID"), "where NameID should be");
    check(Forge::new().with(|f| f.name_id = f.name_id.repeat(2)), "where SubjectConfirmation should be");
    check(Forge::new().with(|f| f.authn = String::new()), "without AuthnStatement");
    check(Forge::new().with(|f| f.authn = f.authn.repeat(2)), "two AuthnStatements");
    check(
        with(|f| &mut f.attributes, "saml:Attribute>", "saml:EncryptedAttribute>").with(|f| {
            f.attributes = f.attributes.replace("<saml:Attribute ", "<saml:EncryptedAttribute ");
        }),
        "EncryptedAttribute among the attributes",
    );
    check(Forge::new().with(|f| f.more = "<saml:AuthzDecisionStatement/>".to_owned()), "where it may not be");
    check(Forge::new().with(|f| f.more = f.confirmation.clone()), "where it may not be");
    check(Forge::new().with(|f| f.issuer.insert_str(0, "text")), "beside elements");
    check(Forge::new().with(|f| f.beside = "<x/>".to_owned()), "x in Response");
    check(
        Forge::new().with(|f| f.beside = "<saml:EncryptedAssertion/>".to_owned()),
        "EncryptedAssertion in Response",
    );
}

#[tokio::test]
async fn several_assertions() {
    let service = service("").await;
    let second = Forge::new().with(|f| f.assertion_head = f.assertion_head.replace("_assertion", "_second"));
    for beside in [second.assertion(), second.with(|f| f.assertion = By::Nobody).assertion()] {
        for response in [By::Idp, By::Nobody] {
            let forge = Forge::new().with(|f| (f.response, f.beside) = (response, beside.clone()));
            refused(&service, &forge.xml(), "Assertion in Response");
        }
    }
    refused(&service, &Forge::new().with(|f| f.wrap = |_| String::new()).xml(), "Response without Assertion");
    refused(&service, &Forge::new().with(|f| f.wrap = |it| format!("<x>{it}</x>")).xml(), "x in Response");
    // Not in a response at all.
    refused(&service, &Forge::new().assertion(), "not a Response");
    refused(
        &service,
        &Forge::new().xml().replace("samlp:Response", "samlp:ArtifactResponse"),
        "not a Response",
    );
    refused(&service, &Forge::new().xml().replace(PROTOCOL, "urn:other"), "not a Response");
}

#[tokio::test]
async fn what_is_no_message() {
    let service = service("").await;
    let xml = Forge::new().xml();
    let changed = |from: &str, to: &str| {
        assert!(xml.contains(from), "{from}");
        xml.replacen(from, to, 1)
    };
    // Comments in a name: its canonical form, and so its signature, is the same without.
    refused(&service, &changed(">eva<", ">ev<!-- -->a<"), "a comment");
    let longer = Forge::new().with(|f| f.name_id = f.name_id.replace(">eva<", ">eva.attacker<")).xml();
    refused(&service, &longer.replace(">eva.attacker<", ">eva<!---->.attacker<"), "a comment");
    refused(&service, &changed(">eva<", "><![CDATA[eva]]><"), "a CDATA section");
    refused(&service, &changed(">eva<", "><?x?>eva<"), "a processing instruction");
    // Document types and their entities.
    let entity = changed(">eva<", ">&user;<");
    refused(&service, &format!("<!DOCTYPE x [<!ENTITY user \"eva\">]>{entity}"), "not XML");
    refused(&service, &format!("<!DOCTYPE x SYSTEM \"http://127.0.0.1:1/x.dtd\">{xml}"), "not XML");
    refused(
        &service,
        &format!("<!DOCTYPE x [<!ENTITY user SYSTEM \"file:///etc/passwd\">]>{entity}"),
        "not XML",
    );
    refused(&service, &format!("<?xml version=\"1.0\"?><!DOCTYPE x>{xml}"), "not XML");
    refused(&service, &entity, "not XML");
    let laughs: String = (1..10).fold(String::new(), |all, i| {
        all + &format!("<!ENTITY l{i} \"{}\">", format!("&l{};", i - 1).repeat(10))
    });
    let bomb = changed(">eva<", ">&l9;<");
    refused(&service, &format!("<!DOCTYPE x [<!ENTITY l0 \"ha\">{laughs}]>{bomb}"), "not XML");
    // Identifiers.
    refused(&service, &changed("ID=\"_response\"", "ID=\"_assertion\""), "there twice");
    refused(&service, &changed("<samlp:Status>", "<samlp:Status Id=\"_assertion\">"), "there twice");
    refused(&service, &changed("<samlp:Status>", "<samlp:Status xml:id=\"_assertion\">"), "in a namespace");
    // Size and depth.
    refused(&service, &" ".repeat(2 << 20), "too long");
    refused(&service, &format!("{xml}{}", " ".repeat(1 << 20)), "longer than");
    let deep = format!("{}{}", "<a>".repeat(5000), "</a>".repeat(5000));
    refused(&service, &changed("<samlp:Status>", &format!("{deep}<samlp:Status>")), "not XML");
    for text in ["", "%%%", "<xml/>", "e30", "8J+YgA=="] {
        assert!(service.accept(text, noon()).is_err(), "{text}");
    }
    let latin1 = [xml.as_bytes(), b"\xe9"].concat();
    let error = service.accept(&STANDARD.encode(latin1), noon()).expect_err("not UTF-8");
    assert!(error.to_string().contains("not UTF-8"), "{error}");
    assert!(offer(&service, &format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{xml}\n")).is_ok());
}

/// Signs an assertion by the identity provider's key, with a signature that is changed before it is filled in.
fn signed_so(change: impl Fn(String) -> String) -> String {
    let xml = Forge::new().xml();
    let start = xml.find("<saml:Assertion").expect("an assertion");
    let end = xml.find("</samlp:Response>").expect("an end");
    let mut template = xml[start..end].to_owned();
    for name in ["DigestValue", "SignatureValue"] {
        let value = sign_in::between(&xml, &format!("<ds:{name}>"), &format!("</ds:{name}>"));
        template = template.replace(&value, "");
    }
    let assertion = bergshamra::sign(
        &bergshamra::DsigContext::new_permissive(pairs().idp.key.manager()),
        &change(template),
    );
    format!("{}{}{}", &xml[..start], assertion.expect("signed"), &xml[end..])
}

#[tokio::test]
async fn signatures_of_another_shape() {
    let service = service("").await;
    let exclusive = format!("<ds:Transform Algorithm=\"{}\"/>", algorithm::EXC_C14N);
    let enveloped = format!("<ds:Transform Algorithm=\"{}\"/>", algorithm::ENVELOPED_SIGNATURE);
    let replace = |from: &str, to: &str| {
        let from = from.to_owned();
        let to = to.to_owned();
        signed_so(move |template| {
            assert!(template.contains(&from), "{from} in {template}");
            template.replacen(&from, &to, 1)
        })
    };
    assert!(offer(&service, &signed_so(|template| template)).is_ok(), "a control");
    let prefixes = format!(
        "<ds:Transform Algorithm=\"{0}\"><ec:InclusiveNamespaces xmlns:ec=\"{0}\" PrefixList=\"xs saml\"/></ds:Transform>",
        algorithm::EXC_C14N
    );
    assert_eq!(
        offer(&service, &replace(&exclusive, &prefixes)).map(|asserted| asserted.user),
        Ok("eva".to_owned())
    );
    for (method, fine) in
        [(algorithm::RSA_SHA384, true), (algorithm::RSA_SHA512, true), (algorithm::RSA_PSS_SHA256, true)]
    {
        assert_eq!(offer(&service, &replace(algorithm::RSA_SHA256, method)).is_ok(), fine, "{method}");
    }

    let other = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315";
    refused(
        &service,
        &replace(&exclusive, &exclusive.replace(algorithm::EXC_C14N, other)),
        "in place of exclusive",
    );
    refused(
        &service,
        &replace(&exclusive, &exclusive.replace("c14n#", "c14n#WithComments")),
        "in place of exclusive",
    );
    refused(&service, &replace(&exclusive, ""), "without Transform");
    refused(&service, &replace(&exclusive, &format!("{exclusive}{exclusive}")), "Transform in Transforms");
    refused(&service, &replace(&enveloped, &format!("{enveloped}{enveloped}")), "in place of exclusive");
}

/// These need no good signature to fail: their shape is looked at first.
#[tokio::test]
async fn signatures_that_ask_for_more() {
    let service = service("").await;
    let exclusive = format!("<ds:Transform Algorithm=\"{}\"/>", algorithm::EXC_C14N);
    let enveloped = format!("<ds:Transform Algorithm=\"{}\"/>", algorithm::ENVELOPED_SIGNATURE);
    let xml = Forge::new().xml();
    let changed = |from: &str, to: &str| {
        assert!(xml.contains(from), "{from}");
        xml.replacen(from, to, 1)
    };
    let signature = |to: &str| {
        changed("<ds:SignatureMethod Algorithm=\"http://www.w3.org/2001/04/xmldsig-more#rsa-sha256\"/>", to)
    };
    for method in [
        algorithm::RSA_SHA1,
        algorithm::RSA_MD5,
        algorithm::RSA_SHA224,
        algorithm::RSA_PSS_SHA1,
        algorithm::ECDSA_SHA1,
        algorithm::DSA_SHA256,
        algorithm::HMAC_SHA1,
        algorithm::HMAC_SHA256,
        "http://www.w3.org/2021/04/xmldsig-more#eddsa-ed25519",
        "none",
        "",
    ] {
        let expect = if method.is_empty() { "without Algorithm" } else { "is not accepted" };
        refused(&service, &signature(&format!("<ds:SignatureMethod Algorithm=\"{method}\"/>")), expect);
    }
    let truncated = format!(
        "<ds:SignatureMethod Algorithm=\"{}\"><ds:HMACOutputLength>8</ds:HMACOutputLength></ds:SignatureMethod>",
        algorithm::RSA_SHA256
    );
    refused(&service, &signature(&truncated), "where it may not be");
    let prefixed = changed("<ds:DigestMethod", "<ds:DigestMethod xmlns:x=\"u\" x:Algorithm=\"y\"");
    refused(&service, &prefixed, "unknown attribute");
    for digest in [algorithm::SHA1, algorithm::SHA224, "http://www.w3.org/2001/04/xmldsig-more#md5"] {
        refused(&service, &changed(algorithm::SHA256, digest), "is not accepted");
    }
    for transform in [
        "http://www.w3.org/TR/1999/REC-xpath-19991116",
        "http://www.w3.org/2002/06/xmldsig-filter2",
        "http://www.w3.org/TR/1999/REC-xslt-19991116",
        "http://www.w3.org/2000/09/xmldsig#base64",
        "http://www.w3.org/TR/2001/WD-xptr-20010108",
    ] {
        let transform =
            format!("<ds:Transform Algorithm=\"{transform}\"><x>not(ancestor::y)</x></ds:Transform>");
        refused(&service, &changed(&exclusive, &transform), "in place of exclusive");
        refused(&service, &changed(&enveloped, &transform), "x in Transform");
        refused(
            &service,
            &changed(&exclusive, &format!("{exclusive}{transform}")),
            "Transform in Transforms",
        );
    }
    for uri in [
        "",
        "#_response",
        "#xpointer(/)",
        "#xpointer(id('_assertion'))",
        "cid:x",
        "http://127.0.0.1:1/",
        "/etc/passwd",
        "_assertion",
    ] {
        refused(
            &service,
            &changed("URI=\"#_assertion\"", &format!("URI=\"{uri}\"")),
            "something else than its own element",
        );
    }
    refused(&service, &changed(" URI=\"#_assertion\"", ""), "something else than its own element");
    let reference =
        format!("<ds:Reference{}</ds:Reference>", sign_in::between(&xml, "<ds:Reference", "</ds:Reference>"));
    refused(&service, &changed(&reference, &reference.repeat(2)), "Reference in SignedInfo");
    refused(&service, &changed(&reference, ""), "without Reference");
    refused(
        &service,
        &changed("</ds:SignatureValue>", "</ds:SignatureValue><ds:Object/>"),
        "where it may not be",
    );
    refused(&service, &changed("<ds:DigestValue>", "<ds:DigestValue><!-- x -->"), "a comment");
    for hint in
        ["RetrievalMethod URI=\"#x\"", "KeyInfoReference URI=\"#x\"", "MgmtData", "DEREncodedKeyValue"]
    {
        refused(&service, &changed("<ds:KeyInfo>", &format!("<ds:KeyInfo><ds:{hint}/>")), "in its KeyInfo");
    }
    let info = xml.find("<ds:KeyInfo>").expect("a hint")..xml.find("</ds:Signature>").expect("an end");
    let without = format!("{}{}", &xml[..info.start], &xml[info.end..]);
    assert!(offer(&service, &without).is_ok(), "nothing in a KeyInfo is needed");
}

#[tokio::test]
async fn keys_in_the_message_are_not_believed() {
    let service = service("").await;
    let forged = Forge::new().with(|f| f.assertion = By::Other).xml();
    assert!(forged.contains(pairs().other.key.certificate()), "the attacker's certificate is there");
    refused(&service, &forged, "verification failed");
    // The right certificate named, the wrong key used; and the reverse.
    let named = forged.replace(pairs().other.key.certificate(), pairs().idp.key.certificate());
    refused(&service, &named, "verification failed");
    let right = Forge::new().xml();
    let named = right.replace(pairs().idp.key.certificate(), pairs().other.key.certificate());
    assert_eq!(offer(&service, &named).map(|asserted| asserted.user), Ok("eva".to_owned()));
    // A public key taken for a shared secret.
    let mut keys = KeysManager::new();
    keys.add_key(bergshamra::keys::loader::load_hmac_key(&pairs().idp.certificate()).expect("a secret"));
    let start = right.find("<saml:Assertion").expect("an assertion");
    let end = right.find("</samlp:Response>").expect("an end");
    let mut template =
        right[start..end].replace(algorithm::RSA_SHA256, algorithm::HMAC_SHA256).replace(">eva<", ">admin<");
    for name in ["DigestValue", "SignatureValue"] {
        template = template
            .replace(&sign_in::between(&right, &format!("<ds:{name}>"), &format!("</ds:{name}>")), "");
    }
    let forged = bergshamra::sign(&bergshamra::DsigContext::new(keys), &template).expect("signed");
    refused(&service, &format!("{}{forged}{}", &right[..start], &right[end..]), "is not accepted");
}

/// Encrypts an assertion for us.
fn encrypted(assertion: &str, cipher: &str, transport: &str) -> String {
    let template = format!(
        "<xenc:EncryptedData xmlns:xenc=\"{ENC}\" Type=\"{ENC}Element\"><xenc:EncryptionMethod Algorithm=\"{cipher}\"/>\
         <ds:KeyInfo xmlns:ds=\"{DSIG}\"><xenc:EncryptedKey>{transport}<xenc:CipherData><xenc:CipherValue/>\
         </xenc:CipherData></xenc:EncryptedKey></ds:KeyInfo><xenc:CipherData><xenc:CipherValue/></xenc:CipherData>\
         </xenc:EncryptedData>"
    );
    let mut keys = KeysManager::new();
    keys.add_key(bergshamra::keys::loader::load_x509_cert_der(&pairs().ours.certificate()).expect("a key"));
    let text =
        bergshamra::encrypt(&EncContext::new(keys), &template, assertion.as_bytes()).expect("encrypted");
    format!("<saml:EncryptedAssertion>{text}</saml:EncryptedAssertion>")
}

const OAEP: &str = "<xenc:EncryptionMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p\"/>";

fn gcm(assertion: &str) -> String {
    encrypted(assertion, algorithm::AES256_GCM, OAEP)
}

fn cbc(assertion: &str) -> String {
    encrypted(assertion, algorithm::AES128_CBC, OAEP)
}

#[tokio::test]
async fn encrypted_assertions() {
    let services = [
        service("").await,
        service("require = \"assertion\"").await,
        service("require = \"response\"").await,
    ];
    let check = |response: By, assertion: By, wrap: fn(&str) -> String, expect: [bool; 3]| {
        let forge = Forge::new().with(|f| (f.response, f.assertion, f.wrap) = (response, assertion, wrap));
        let found = services.each_ref().map(|service| offer(service, &forge.xml()));
        assert_eq!(found.each_ref().map(Result::is_ok), expect, "{found:?}");
    };
    check(By::Nobody, By::Idp, gcm, [true, true, false]);
    check(By::Idp, By::Nobody, gcm, [true, false, true]);
    check(By::Idp, By::Idp, gcm, [true, true, true]);
    check(By::Nobody, By::Nobody, gcm, [false, false, false]);
    check(By::Nobody, By::Other, gcm, [false, false, false]);
    check(By::Other, By::Idp, gcm, [false, false, false]);
    check(By::Idp, By::Other, gcm, [false, false, false]);
    // A cipher that does not notice changes is only opened under a signature.
    check(By::Nobody, By::Idp, cbc, [false, false, false]);
    check(By::Idp, By::Idp, cbc, [true, true, true]);

    let service = &services[0];
    let forge = Forge::new();
    let sha256 = format!(
        "<xenc:EncryptionMethod Algorithm=\"{ENC11}rsa-oaep\"><ds:DigestMethod Algorithm=\"{}\"/><e:MGF xmlns:e=\"{ENC11}\" \
         Algorithm=\"{}\"/></xenc:EncryptionMethod>",
        algorithm::SHA256,
        algorithm::MGF1_SHA256
    );
    let within = |encrypted: String| {
        let xml = forge.xml();
        let (start, end) =
            (xml.find("<saml:Assertion").expect("one"), xml.find("</samlp:Response>").expect("an end"));
        format!("{}{encrypted}{}", &xml[..start], &xml[end..])
    };
    assert!(offer(service, &within(encrypted(&forge.assertion(), algorithm::AES128_GCM, &sha256))).is_ok());
    let good = within(gcm(&forge.assertion()));
    let changed = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    refused(service, &changed("rsa-oaep-mgf1p", "rsa-1_5"), "key transport");
    refused(service, &changed("xmlenc11#aes256-gcm", "xmlenc#tripledes-cbc"), "the cipher");
    refused(service, &changed("aes256-gcm", "aes128-gcm"), "cannot be decrypted");
    refused(
        service,
        &changed("<ds:KeyInfo", "<xenc:CipherReference URI=\"http://127.0.0.1:1/\"/><ds:KeyInfo"),
        "CipherReference in",
    );
    refused(service, &changed("<ds:KeyInfo", "<x"), "not XML");
    let value = sign_in::between(&good, "</ds:KeyInfo><xenc:CipherData><xenc:CipherValue>", "</xenc");
    let flipped =
        if value.starts_with('A') { value.replacen('A', "B", 1) } else { format!("A{}", &value[1..]) };
    refused(service, &changed(&value, &flipped), "cannot be decrypted");
    let both = Forge::new().with(|f| f.assertion_head = f.assertion_head.replace("_assertion", "_second"));
    refused(
        service,
        &changed("</samlp:Response>", &format!("{}</samlp:Response>", both.assertion())),
        "Assertion in Response",
    );
    // What comes out is as strictly read as anything.
    refused(service, &within(gcm(&format!("<!DOCTYPE x>{}", forge.assertion()))), "not XML");
    refused(service, &within(gcm(&forge.assertion().replace(">eva<", ">e<!---->va<"))), "a comment");
    refused(service, &within(gcm(&format!("{0}{0}", forge.assertion()))), "not XML");
    refused(service, &within(gcm(&forge.xml())), "a signature where none may be");
    refused(service, &within(gcm("text")), "not XML");
    let parts = forge.clone().with(|f| f.assertion = By::Nobody).assertion().replace(">eva<", ">admin<");
    let wrapped = parts.replace("</saml:Assertion>", &format!("{}</saml:Assertion>", forge.assertion()));
    refused(service, &within(gcm(&wrapped)), "");
    refused(&super::service("require_encryption = true").await, &forge.xml(), "not encrypted");
}

#[tokio::test]
async fn the_same_twice_and_for_another() {
    // Replays and others' requests are the caller's to find; what it needs for that is in the answer.
    let service = service("").await;
    let xml = Forge::new().xml();
    let (one, two) = (offer(&service, &xml).expect("accepted"), offer(&service, &xml).expect("accepted"));
    assert_eq!((one.assertion_id.as_str(), one.in_response_to.as_str()), ("_assertion", REQUEST));
    assert_eq!(one, two);
    // It cannot be offered later than it has to be remembered.
    assert!(service.accept(&STANDARD.encode(&xml), one.expires - Duration::from_secs(1)).is_ok());
    assert!(service.accept(&STANDARD.encode(&xml), one.expires).is_err());
    // Not the identifier, nor the request, can be changed without the signature.
    for (from, to) in [("ID=\"_assertion\"", "ID=\"_fresh\""), (REQUEST, "_mine")] {
        assert!(offer(&service, &xml.replace(from, to)).is_err(), "{from}");
    }
}
