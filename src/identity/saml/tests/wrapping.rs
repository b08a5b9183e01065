//! Signature wrapping: what was signed stays in the message, and something else stands where it is looked for.

use proptest::prelude::{Strategy as _, any};
use proptest::test_runner::{Config as Cases, TestRunner};

use super::*;

/// A signed element, taken apart.
struct Parts {
    /// With its signature.
    whole: String,
    /// Without.
    bare: String,
    signature: String,
}

fn apart(element: &str) -> Parts {
    let start = element.find("<ds:Signature ").expect("a signature");
    let end = element.find("</ds:Signature>").expect("its end") + "</ds:Signature>".len();
    Parts {
        whole: element.to_owned(),
        bare: format!("{}{}", &element[..start], &element[end..]),
        signature: element[start..end].to_owned(),
    }
}

/// The same for another user, with another identifier or the same one.
fn evil(bare: &str, id: &str) -> String {
    bare.replace(">eva<", ">admin<").replace("ID=\"_assertion\"", &format!("ID=\"{id}\""))
}

/// Puts a text into an element, in front of its first end tag of this name.
fn into(element: &str, end: &str, text: &str) -> String {
    let at = element.rfind(end).expect("an end tag");
    format!("{}{text}{}", &element[..at], &element[at..])
}

/// Puts a text behind the issuer.
fn behind_issuer(element: &str, text: &str) -> String {
    element.replacen("</saml:Issuer>", &format!("</saml:Issuer>{text}"), 1)
}

#[tokio::test]
async fn xsw_1_to_8() {
    let services = [
        service("").await,
        service("require = \"assertion\"").await,
        service("require = \"response\"").await,
        service("require = \"both\"").await,
    ];
    let mut tried = 0;
    let mut check = |name: &str, xml: &str| {
        assert!(xml.contains(">admin<") && xml.contains(">eva<"), "{name}: both are there: {xml}");
        for service in &services {
            tried += 1;
            assert!(offer(service, xml).is_err(), "{name}: {xml}");
        }
    };
    let response = Forge::new().with(|forge| (forge.response, forge.assertion) = (By::Idp, By::Nobody)).xml();
    let both = Forge::new().with(|forge| forge.response = By::Idp).xml();
    assert!(offer(&services[0], &response).is_ok() && offer(&services[3], &both).is_ok(), "controls");
    for (what, signed) in [("response", &response), ("both", &both)] {
        let parts = apart(signed);
        for id in ["_response", "_evil"] {
            let evil = evil(&parts.bare, "_other").replace("ID=\"_response\"", &format!("ID=\"{id}\""));
            let original =
                if id == "_evil" { parts.bare.clone() } else { parts.bare.replace("_response", "_r2") };
            // 1: the original within its signature, which stands in the forged one.
            let wrapping = into(&parts.signature, "</ds:Signature>", &original);
            check(&format!("XSW1 {what} {id}"), &behind_issuer(&evil, &wrapping));
            // 2: the original beside its signature.
            check(
                &format!("XSW2 {what} {id}"),
                &behind_issuer(&evil, &format!("{original}{}", parts.signature)),
            );
            check(
                &format!("XSW2b {what} {id}"),
                &behind_issuer(&evil, &format!("{}{original}", parts.signature)),
            );
            let object = format!("<ds:Object>{original}</ds:Object>");
            check(
                &format!("XSW1 object {what} {id}"),
                &behind_issuer(&evil, &into(&parts.signature, "</ds:Signature>", &object)),
            );
            let extensions = format!("<samlp:Extensions>{}</samlp:Extensions>", parts.whole);
            check(&format!("extensions {what} {id}"), &behind_issuer(&evil, &extensions));
        }
    }

    let signed = Forge::new();
    let parts = apart(&signed.assertion());
    let around = |content: &str| signed.xml().replace(&parts.whole, content);
    assert!(offer(&services[1], &around(&parts.whole)).is_ok(), "a control");
    for id in ["_assertion", "_evil"] {
        let evil = evil(&parts.bare, id);
        let object = |content: &str| format!("<ds:Object>{content}</ds:Object>");
        let within = |content: &str| into(&parts.signature, "</ds:Signature>", content);
        let end = "</saml:Assertion>";
        for (name, content) in [
            // 3: the forged one in front of the original; and behind it.
            ("XSW3", format!("{evil}{}", parts.whole)),
            ("XSW3b", format!("{}{evil}", parts.whole)),
            // 4: the original in the forged one.
            ("XSW4", into(&evil, end, &parts.whole)),
            // 5: the signature in the forged one, the original behind.
            ("XSW5", format!("{}{}", behind_issuer(&evil, &parts.signature), parts.bare)),
            ("XSW5b", format!("{}{}", parts.bare, behind_issuer(&evil, &parts.signature))),
            // 6: the original in its signature in the forged one.
            ("XSW6", behind_issuer(&evil, &within(&parts.bare))),
            // 7: the forged one among extensions.
            ("XSW7", format!("<samlp:Extensions>{evil}</samlp:Extensions>{}", parts.whole)),
            // 8: the original in an object of its signature.
            ("XSW8", behind_issuer(&evil, &within(&object(&parts.bare)))),
            // And further places.
            (
                "advice",
                evil.replace(
                    "<saml:AuthnStatement",
                    &format!("<saml:Advice>{}</saml:Advice><saml:AuthnStatement", parts.whole),
                ),
            ),
            (
                "confirmation",
                evil.replace(
                    "\"/></saml:SubjectConfirmation>",
                    &format!("\">{}</saml:SubjectConfirmationData></saml:SubjectConfirmation>", parts.whole),
                ),
            ),
            ("attribute", into(&evil, "</saml:AttributeValue>", &parts.whole)),
            ("moved signature", format!("{}{}", behind_issuer(&evil, &parts.signature), parts.whole)),
            ("at the end", into(&evil, end, &format!("{}{}", parts.signature, parts.bare))),
        ] {
            check(&format!("{name} {id}"), &around(&content));
        }
    }
    let extensions = |content: &str| {
        behind_issuer(&signed.xml(), &format!("<samlp:Extensions>{content}</samlp:Extensions>"))
    };
    check("extensions", &extensions(&evil(&parts.bare, "_evil")));
    assert_eq!(tried, 4 * (2 * 2 * 5 + 2 * 13 + 1));
}

#[tokio::test]
async fn any_byte_changed() {
    let service = service("groups_attribute = \"Role\"").await;
    let xml = Forge::new().with(|forge| forge.response = By::Idp).xml();
    let right = offer(&service, &xml).expect("accepted");
    let mut refused = 0;
    for place in (0..xml.len()).step_by(7) {
        for change in [b'x', b' ', b'<', b'&', b'\t'] {
            let mut bytes = xml.clone().into_bytes();
            if bytes[place] == change {
                continue;
            }
            bytes[place] = change;
            match service.accept(&STANDARD.encode(&bytes), noon()) {
                // White space within a tag means nothing, and no more does it in the base64 of a signature.
                Ok(asserted) => assert_eq!(asserted, right, "{}", String::from_utf8_lossy(&bytes)),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > xml.len() / 2, "{refused}");
}

/// Pieces of two right responses, for two users, put together anyhow: never is anything accepted but what one of them says,
/// and nothing that was not signed for.
#[tokio::test]
async fn any_pieces_in_any_order() {
    let service = service("groups_attribute = \"Role\"").await;
    let eva = Forge::new();
    let otto = Forge::new().with(|forge| {
        forge.name_id = forge.name_id.replace(">eva<", ">otto<");
        forge.assertion_head = forge.assertion_head.replace("_assertion", "_assertion_2");
        forge.response = By::Idp;
    });
    let unsigned = otto.clone().with(|forge| {
        forge.name_id = forge.name_id.replace(">otto<", ">admin<");
        (forge.response, forge.assertion) = (By::Nobody, By::Nobody);
    });
    let sources = [eva.xml(), otto.xml(), unsigned.xml()];
    let right = [&sources[0], &sources[1]].map(|xml| offer(&service, xml).expect("accepted"));
    // Cuts at tags, so that a good part of what comes out is XML.
    let tags = sources.each_ref().map(|xml| {
        let mut at: Vec<_> = xml.match_indices('<').map(|(at, _)| at).collect();
        at.push(xml.len());
        at
    });
    let edit =
        (any::<proptest::sample::Index>(), any::<proptest::sample::Index>(), 0..8_usize, 0..3_usize, 0..3_u8);
    let edits = (0..2_usize, proptest::collection::vec(edit, 1..4));
    let accepted = std::cell::Cell::new(0);
    TestRunner::new(Cases::with_cases(4_000))
        .run(
            &edits.prop_map(|(base, edits)| {
                let mut xml = sources[base].clone();
                for (to, from, tags_long, source, kind) in edits {
                    let (source, cuts) = (&sources[source], &tags[source]);
                    let first = from.index(cuts.len() - 1);
                    let piece = &source[cuts[first]..cuts[(first + tags_long).min(cuts.len() - 1)]];
                    let places: Vec<_> = xml.match_indices('<').map(|(at, _)| at).collect();
                    let Some(start) = places.get(to.index(places.len().max(1))).copied() else { continue };
                    let end = places.iter().copied().find(|at| *at > start).unwrap_or(xml.len());
                    match kind {
                        0 => xml.insert_str(start, piece),
                        1 => xml.replace_range(start..end, piece),
                        _ => xml.replace_range(start..end, ""),
                    }
                }
                xml
            }),
            |xml| {
                if let Ok(asserted) = offer(&service, &xml) {
                    accepted.set(accepted.get() + 1);
                    assert!(right.contains(&asserted), "{asserted:?}: {xml}");
                }
                Ok(())
            },
        )
        .expect("nothing else is accepted");
    assert!(accepted.get() > 0, "some edits change nothing that counts");
}
