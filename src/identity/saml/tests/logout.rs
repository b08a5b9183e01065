//! Single logout.

use super::*;
use crate::identity::saml::message::{Draft, Kind};
use crate::identity::saml::{Begun, Binding, Delivery, Incoming, LogoutSubject, NameId};

fn name() -> NameId {
    NameId {
        value: "eva & co".to_owned(),
        format: Some("urn:f".to_owned()),
        name_qualifier: None,
        sp_name_qualifier: Some("q".to_owned()),
    }
}

fn request(id: &str) -> [String; 2] {
    [
        format!(
            "<samlp:LogoutRequest xmlns:samlp=\"{PROTOCOL}\" xmlns:saml=\"{ASSERTION}\" ID=\"{id}\" Version=\"2.0\" \
             IssueInstant=\"{}\" Destination=\"{LOGOUT}\"><saml:Issuer>{IDP}</saml:Issuer>",
            at(0)
        ),
        "<saml:NameID Format=\"urn:f\">eva</saml:NameID><samlp:SessionIndex>s1</samlp:SessionIndex>\
         <samlp:SessionIndex>s2</samlp:SessionIndex></samlp:LogoutRequest>"
            .to_owned(),
    ]
}

fn response(status: &str) -> [String; 2] {
    [
        format!(
            "<samlp:LogoutResponse xmlns:samlp=\"{PROTOCOL}\" xmlns:saml=\"{ASSERTION}\" ID=\"_r\" Version=\"2.0\" \
             IssueInstant=\"{}\" Destination=\"{LOGOUT}\" InResponseTo=\"_out\"><saml:Issuer>{IDP}</saml:Issuer>",
            at(0)
        ),
        format!(
            "<samlp:Status><samlp:StatusCode Value=\"urn:oasis:names:tc:SAML:2.0:status:{status}\"/></samlp:Status>\
             </samlp:LogoutResponse>"
        ),
    ]
}

/// Sends a message as the identity provider does: the query, or the field.
fn send(kind: Kind, parts: [String; 2], binding: Binding, by: By, state: Option<&str>) -> String {
    let key = match by {
        By::Nobody => None,
        By::Idp => Some(&pairs().idp.key),
        By::Other => Some(&pairs().other.key),
    };
    let id = sign_in::between(&parts[0], " ID=\"", "\"");
    let draft = Draft { id, kind, parts, to: "https://x", binding };
    match draft.send(key, state).expect("sent").delivery {
        Delivery::Redirect { url } => url.split_once('?').expect("a query").1.to_owned(),
        Delivery::Post { fields, .. } => fields[0].1.clone(),
    }
}

fn redirect(query: &str) -> Incoming<'_> {
    Incoming::Redirect { query }
}

fn post(message: &str) -> Incoming<'_> {
    Incoming::Post { message, relay_state: Some("state") }
}

#[tokio::test]
async fn we_begin() {
    let service = service("").await;
    let of = LogoutSubject { name_id: name(), session_index: Some("s1".to_owned()) };
    let Some(Begun { id, delivery: Delivery::Redirect { url } }) =
        service.begin_logout(&of, Some("back"), noon()).expect("begun")
    else {
        panic!("not redirected")
    };
    assert!(url.starts_with("https://idp.example/out?x=1&SAMLRequest="), "{url}");
    let ours = super::super::keys::TrustedKeys::new([&pairs().ours.certificate()[..]]);
    let query = url.split_once("?x=1&").expect("a query").1;
    let (xml, ..) = super::super::message::receive(&redirect(query), Kind::Request, &ours).expect("signed");
    insta::assert_snapshot!(xml.replace(&id, "ID"));

    let sent = |by| send(Kind::Response, response("Success"), Binding::Redirect, by, Some("back"));
    let answered = service.accept_logout_response(&redirect(&sent(By::Idp)), noon()).expect("accepted");
    assert_eq!((answered.in_response_to.as_str(), answered.relay_state.as_deref()), ("_out", Some("back")));
    let sent = send(Kind::Response, response("Success"), Binding::Post, By::Idp, None);
    let answered = service.accept_logout_response(&post(&sent), noon()).expect("accepted");
    assert_eq!((answered.in_response_to.as_str(), answered.relay_state.as_deref()), ("_out", Some("state")));
    let failed = send(Kind::Response, response("Requester"), Binding::Redirect, By::Idp, None);
    let error = service.accept_logout_response(&redirect(&failed), noon()).expect_err("not signed out");
    assert!(error.to_string().contains("status:Requester"), "{error}");
}

#[tokio::test]
async fn they_begin() {
    let service = service("").await;
    let sent = send(Kind::Request, request("_l"), Binding::Redirect, By::Idp, Some("r=1&x"));
    let requested = service.accept_logout_request(&redirect(&sent), noon()).expect("accepted");
    insta::assert_debug_snapshot!(requested);
    let sent = send(Kind::Request, request("_l"), Binding::Post, By::Idp, None);
    let posted = service.accept_logout_request(&post(&sent), noon()).expect("accepted");
    assert_eq!((posted.name_id, posted.id), (requested.name_id.clone(), "_l".to_owned()));
    let Some(Begun { id, delivery: Delivery::Redirect { url } }) =
        service.answer_logout(&requested, noon()).expect("answered")
    else {
        panic!("not redirected")
    };
    assert!(url.starts_with("https://idp.example/answered?SAMLResponse="), "{url}");
    assert!(url.contains("&RelayState=r%3D1%26x&"), "{url}");
    let ours = super::super::keys::TrustedKeys::new([&pairs().ours.certificate()[..]]);
    let query = url.split_once('?').expect("a query").1;
    let (xml, ..) = super::super::message::receive(&redirect(query), Kind::Response, &ours).expect("signed");
    insta::assert_snapshot!(xml.replace(&id, "ID"));
}

#[tokio::test]
async fn what_does_not_hold() {
    let service = service("").await;
    let refused = |incoming: Incoming<'_>, expect: &str| {
        let error = service.accept_logout_request(&incoming, noon()).expect_err(expect);
        assert!(error.to_string().contains(expect), "{error}\n  instead of: {expect}\n{incoming:?}");
    };
    let good = send(Kind::Request, request("_l"), Binding::Redirect, By::Idp, Some("state"));
    let changed = |from: &str, to: &str| {
        assert!(good.contains(from), "{from} in {good}");
        good.replace(from, to)
    };
    refused(redirect(&send(Kind::Request, request("_l"), Binding::Redirect, By::Nobody, None)), "not signed");
    refused(redirect(&send(Kind::Request, request("_l"), Binding::Redirect, By::Other, None)), "none of the");
    refused(post(&send(Kind::Request, request("_l"), Binding::Post, By::Nobody, None)), "not signed");
    refused(post(&send(Kind::Request, request("_l"), Binding::Post, By::Other, None)), "verification failed");
    refused(redirect(&changed("RelayState=state", "RelayState=other")), "none of the");
    refused(redirect(&changed("&RelayState=state", "")), "none of the");
    refused(redirect(&changed("rsa%2Dsha256", "rsa%2Dsha512")), "none of the");
    refused(redirect(&changed("rsa%2Dsha256", "rsa%2Dsha1")), "is not accepted");
    refused(redirect(&changed("rsa%2Dsha256", "hmac%2Dsha256")), "is not accepted");
    refused(redirect(&changed("SAMLRequest=", "SAMLResponse=")), "without SAMLRequest");
    refused(redirect(&format!("{good}&SAMLRequest=x")), "SAMLRequest twice");
    refused(redirect(&format!("SigAlg=x&{good}")), "SigAlg twice");
    refused(redirect(&format!("{good}&SAMLEncoding=x")), "unknown encoding");
    refused(redirect(&"x".repeat(2 << 20)), "too long");
    refused(post(&good), "not base64");

    let changed = |change: &dyn Fn(&mut [String; 2])| {
        let mut parts = request("_l");
        change(&mut parts);
        let _ = &parts;
        send(Kind::Request, parts, Binding::Redirect, By::Idp, None)
    };
    let replaced = |from: &'static str, to: String| {
        changed(&|parts| {
            assert!(parts.concat().contains(from), "{from}");
            *parts = parts.clone().map(|part| part.replace(from, &to));
        })
    };
    refused(redirect(&replaced(IDP, "urn:other".to_owned())), "issued by 'urn:other'");
    refused(redirect(&replaced(LOGOUT, ACS.to_owned())), "another address");
    refused(redirect(&replaced("Destination", "Consent".to_owned())), "without Destination");
    refused(redirect(&replaced("Version=\"2.0\"", "Version=\"1.1\"".to_owned())), "another version");
    refused(redirect(&replaced("LogoutRequest", "AuthnRequest".to_owned())), "not a LogoutRequest");
    refused(redirect(&replaced("NameID", "EncryptedID".to_owned())), "where NameID should be");
    refused(redirect(&replaced("Version", format!("NotOnOrAfter=\"{}\" Version", at(-61)))), "expired");
    refused(redirect(&changed(&|parts| parts[0] = parts[0].replace(&at(0), &at(-700)))), "expired");
    refused(redirect(&changed(&|parts| parts[0] = parts[0].replace(&at(0), &at(61)))), "from the future");
    refused(redirect(&changed(&|parts| parts[1].insert_str(0, &"<!---->".repeat(3)))), "a comment");
    let bomb = changed(&|parts| parts[1].insert_str(0, &" ".repeat(2 << 20)));
    assert!(bomb.len() < 100_000, "{}", bomb.len());
    refused(redirect(&bomb), "too long");
}
