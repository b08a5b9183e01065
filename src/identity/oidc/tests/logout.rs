//! Signing out, here and there.

use std::time::SystemTime;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::double::{CLIENT, Key, SECRET, Site, unsigned};
use crate::identity::oidc::id_token::since_epoch;
use crate::secret::Secret;

#[tokio::test]
async fn signing_out_here() {
    let site = Site::new("").await;
    let token = Secret::new(site.key.sign(&site.claims("n")));
    let url = site.provider.logout(Some(&token), "https://gate.example/out", Some("s")).expect("known");
    let url = url.expect("an address");
    assert!(url.starts_with(&format!("{}/logout?", site.double.issuer)), "{url}");
    for part in [
        format!("id_token_hint={}", token.expose()),
        format!("client_id={CLIENT}"),
        "post_logout_redirect_uri=https%3A%2F%2Fgate.example%2Fout".to_owned(),
        "state=s".to_owned(),
    ] {
        assert!(url.contains(&part), "{part}: {url}");
    }
    let url =
        site.provider.logout(None, "https://gate.example/out", None).expect("known").expect("an address");
    assert!(!url.contains("id_token_hint") && !url.contains("state="), "{url}");
    assert!(site.provider.logout(None, "/out", None).is_err());
}

fn claims(site: &Site) -> Value {
    let now = since_epoch(SystemTime::now());
    json!({
        "iss": site.double.issuer, "aud": CLIENT, "iat": now, "exp": now + 120, "jti": "j", "sid": "s-1",
        "sub": "248289761001", "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    })
}

#[tokio::test]
async fn signing_out_there() {
    let site = &Site::new("trusted_audiences = [\"desk\"]\n").await;
    let now = since_epoch(SystemTime::now());
    let check = async |name: &str, value: Value, expect: Result<(), &str>| {
        let mut claims = claims(site);
        if value.is_null() {
            claims.as_object_mut().expect("claims").remove(name);
        } else {
            claims[name] = value;
        }
        let outcome = site.provider.accept_logout(&site.key.sign(&claims), SystemTime::now()).await;
        match (outcome, expect) {
            (Ok(_), Ok(())) => {}
            (Err(refused), Err(expect)) => {
                assert!(refused.to_string().contains(expect), "{claims}: {refused}");
            }
            (outcome, _) => panic!("{claims}: {outcome:?}"),
        }
    };
    let out =
        site.provider.accept_logout(&site.key.sign(&claims(site)), SystemTime::now()).await.expect("holds");
    assert_eq!((out.id.as_str(), out.session.as_deref()), ("j", Some("s-1")));
    assert_eq!(out.subject.as_deref(), Some("248289761001"));
    assert!(out.expires > SystemTime::now());

    check("sid", Value::Null, Ok(())).await;
    check("sub", Value::Null, Ok(())).await;
    check("sid", json!(7), Err("identifier")).await;
    check("sid", json!("x".repeat(2000)), Err("identifier")).await;
    check("iss", json!("https://other.example"), Err("another issuer")).await;
    check("iss", json!([site.double.issuer, "https://other.example"]), Err("issuer")).await;
    check("iss", Value::Null, Err("missing")).await;
    check("aud", json!("desk"), Err("another audience")).await;
    check("aud", json!([CLIENT, "desk"]), Ok(())).await;
    check("aud", json!([CLIENT, "other"]), Err("not trusted")).await;
    check("aud", Value::Null, Err("missing")).await;
    check("exp", json!(now - 90), Err("expired")).await;
    check("exp", Value::Null, Err("missing")).await;
    check("iat", json!(now + 120), Err("in the future")).await;
    check("iat", json!(now - 700), Err("expired")).await;
    check("iat", Value::Null, Err("unreadable iat")).await;
    check("jti", Value::Null, Err("no jti")).await;
    check("nonce", json!("n"), Err("has a nonce")).await;
    check("events", Value::Null, Err("not of a logout")).await;
    check("events", json!({"http://schemas.openid.net/event/other": {}}), Err("not of a logout")).await;
    check("events", json!({"http://schemas.openid.net/event/backchannel-logout": true}), Err("logout")).await;
    let id_token = site.key.sign(&site.claims("n"));
    assert!(site.provider.accept_logout(&id_token, SystemTime::now()).await.is_err(), "an ID token is none");
}

#[tokio::test]
async fn logout_tokens_of_others() {
    let site = &Site::new("").await;
    let check = async |token: String, expect: Result<(), &str>| match (
        site.provider.accept_logout(&token, SystemTime::now()).await,
        expect,
    ) {
        (Ok(_), Ok(())) => {}
        (Err(refused), Err(expect)) => assert!(refused.to_string().contains(expect), "{token}: {refused}"),
        (outcome, _) => panic!("{token}: {outcome:?}"),
    };
    let claims = claims(site);
    let typed = |typ: &str| Header { typ: Some(typ.to_owned()), ..site.key.header() };
    check(site.key.sign_as(&typed("logout+jwt"), &claims), Ok(())).await;
    check(site.key.sign_as(&typed("application/logout+jwt"), &claims), Ok(())).await;
    check(site.key.sign_as(&typed("at+jwt"), &claims), Err("another use")).await;
    check(Key::new("one").sign(&claims), Err("bad signature")).await;
    check(Key::new("two").sign(&claims), Err("unknown key")).await;
    check(unsigned(&json!({"alg": "none"}), &claims), Err("unreadable header")).await;
    let shared = EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &shared).expect("a token");
    check(token, Err("algorithm not allowed")).await;
    check("x".repeat(70_000), Err("too long")).await;
    check(String::new(), Err("unreadable header")).await;
}
