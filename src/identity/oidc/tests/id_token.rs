//! ID tokens with one fault each.

use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::double::{CLIENT, Key, SECRET, Site, finish, unsigned};
use crate::error::Failure as _;
use crate::identity::error::{Cause, Refused};
use crate::identity::oidc::id_token::since_epoch;

const MORE: &str = "groups_claim = \"groups\"\ntrusted_audiences = [\"desk\"]\n";

/// Signs in with claims that were changed; expects whom that signs in, or why it does not.
async fn check(site: &Site, name: &str, change: impl FnOnce(&mut Value), expect: Result<&str, &str>) {
    let signed = site.sign_in(|nonce| {
        let mut claims = site.claims(nonce);
        change(&mut claims);
        site.key.sign(&claims)
    });
    outcome(name, signed.await.map(|signed| signed.user.user), expect);
}

fn outcome(name: &str, outcome: Result<String, Refused>, expect: Result<&str, &str>) {
    match (outcome, expect) {
        (Ok(user), Ok(expect)) => assert_eq!(user, expect, "{name}"),
        (Err(refused), Err(expect)) => {
            assert!(matches!(refused, Refused::BadCredentials(_)), "{name}: {refused:?}");
            assert!(refused.to_string().contains(expect), "{name}: {refused}");
        }
        (outcome, _) => panic!("{name}: {outcome:?}"),
    }
}

fn set(name: &str, value: impl Into<Value>) -> impl FnOnce(&mut Value) {
    let (name, value) = (name.to_owned(), value.into());
    move |claims| claims[name] = value
}

fn without(name: &str) -> impl FnOnce(&mut Value) {
    let name = name.to_owned();
    move |claims| drop(claims.as_object_mut().expect("claims").remove(&name))
}

#[tokio::test]
async fn claims_with_a_fault() {
    let site = Site::new(MORE).await;
    let now = since_epoch(SystemTime::now());
    let site = &site;
    check(site, "as it is", |_| {}, Ok("eva")).await;

    check(site, "another issuer", set("iss", "https://other.example"), Err("Invalid issuer")).await;
    check(site, "two issuers", set("iss", json!([site.double.issuer, "x"])), Err("cannot be read")).await;
    check(site, "the issuer and more", set("iss", format!("{}/", site.double.issuer)), Err("issuer")).await;

    check(site, "another audience", set("aud", "desk"), Err("Invalid audiences")).await;
    check(site, "no audience", without("aud"), Err("Invalid audiences")).await;
    check(site, "a list of one", set("aud", json!([CLIENT])), Ok("eva")).await;
    check(site, "an unknown audience beside us", set("aud", json!([CLIENT, "x"])), Err("not a trusted"))
        .await;
    check(site, "two audiences", set("aud", json!([CLIENT, "desk"])), Err("without azp")).await;
    let two = |party: &str| {
        let party = party.to_owned();
        move |claims: &mut Value| {
            claims["aud"] = json!([CLIENT, "desk"]);
            claims["azp"] = json!(party);
        }
    };
    check(site, "two audiences, for us", two(CLIENT), Ok("eva")).await;
    check(site, "two audiences, for the other", two("desk"), Err("azp")).await;
    check(site, "for another party", set("azp", "desk"), Err("azp")).await;
    check(site, "for us", set("azp", CLIENT), Ok("eva")).await;

    check(site, "expired", set("exp", now - 90), Err("expired")).await;
    check(site, "expired within the skew", set("exp", now - 20), Ok("eva")).await;
    check(site, "without an end", without("exp"), Err("cannot be read")).await;
    check(site, "an end that is text", set("exp", "tomorrow"), Err("cannot be read")).await;
    check(site, "issued in the future", set("iat", now + 120), Err("issued in the future")).await;
    check(site, "issued within the skew", set("iat", now + 20), Ok("eva")).await;
    check(site, "never issued", without("iat"), Err("cannot be read")).await;
    check(site, "not valid yet", set("nbf", now + 120), Err("not valid yet")).await;
    check(site, "never valid", set("nbf", u64::MAX), Err("not valid yet")).await;
    check(site, "valid from text", set("nbf", "now"), Err("unreadable nbf")).await;
    check(site, "valid from now", set("nbf", now), Ok("eva")).await;

    check(site, "no nonce", without("nonce"), Err("Invalid nonce: missing")).await;
    check(site, "another nonce", set("nonce", "n"), Err("Invalid nonce: nonce mismatch")).await;

    let half = |text: &str| URL_SAFE_NO_PAD.encode(&digest(&SHA256, text.as_bytes()).as_ref()[..16]);
    check(site, "of this access token", set("at_hash", half("access")), Ok("eva")).await;
    check(site, "of another access token", set("at_hash", half("other")), Err("at_hash")).await;

    check(site, "no subject", without("sub"), Err("cannot be read")).await;
    check(site, "an empty subject", set("sub", ""), Err("unreadable sub")).await;
    check(site, "an endless subject", set("sub", "x".repeat(2000)), Err("unreadable sub")).await;
    check(site, "no user", without("preferred_username"), Err("no usable user name")).await;
    check(site, "a user that is none", set("preferred_username", "eva\n"), Err("no usable user")).await;
    check(site, "groups that are none", set("groups", 7), Err("unreadable groups")).await;
    check(site, "groups elsewhere", set("_claim_names", json!({"groups": "src1"})), Err("overage")).await;
}

#[tokio::test]
async fn signatures_with_a_fault() {
    let site = &Site::new(MORE).await;
    let check = async |name: &str, token: &dyn Fn(&Value) -> String, expect: Result<&str, &str>| {
        let signed = site.sign_in(|nonce| token(&site.claims(nonce))).await;
        outcome(name, signed.map(|signed| signed.user.user), expect);
    };
    let (key, other) = (&site.key, Key::new("one"));
    let with = |change: &dyn Fn(&mut Header)| {
        let mut header = key.header();
        change(&mut header);
        header
    };
    check("as it is", &|claims| key.sign(claims), Ok("eva")).await;
    check("by another key", &|claims| other.sign(claims), Err("EC Signature was wrong")).await;
    let named = |id: Option<&str>| with(&|header| header.kid = id.map(str::to_owned));
    check("of no name", &|claims| key.sign_as(&named(None), claims), Ok("eva")).await;
    check("of another name", &|claims| key.sign_as(&named(Some("two")), claims), Err("unknown key")).await;
    let typed = |typ: &str| with(&|header| header.typ = Some(typ.to_owned()));
    check("an access token", &|claims| key.sign_as(&typed("at+jwt"), claims), Err("JWT type")).await;
    check("a logout token", &|claims| key.sign_as(&typed("logout+jwt"), claims), Err("JWT type")).await;

    let none = json!({"alg": "none"});
    check("unsigned", &|claims| unsigned(&none, claims), Err("No signature found")).await;
    check(
        "unsigned, with a key",
        &|claims| unsigned(&json!({"alg": "none", "kid": "one"}), claims),
        Err("No"),
    )
    .await;
    let odd = json!({"alg": "nOnE"});
    check("unsigned, oddly", &|claims| unsigned(&odd, claims), Err("cannot be read")).await;
    let stripped = |claims: &Value| {
        let token = key.sign(claims);
        token[..=token.rfind('.').expect("a signature")].to_owned()
    };
    check("without its signature", &stripped, Err("ignature")).await;
    let changed = |claims: &Value| {
        let (token, mut claims) = (key.sign(claims), claims.clone());
        claims["preferred_username"] = json!("root");
        let parts: Vec<_> = token.split('.').collect();
        format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()), parts[2])
    };
    check("with other claims", &changed, Err("EC Signature was wrong")).await;
    let crit = |claims: &Value| {
        let token = unsigned(&json!({"alg": "ES256", "kid": "one", "crit": ["x"]}), claims);
        format!("{token}{}", URL_SAFE_NO_PAD.encode([7; 64]))
    };
    check("critical", &crit, Err("critical")).await;

    // The metadata offers HS256: still neither our secret nor a public key is a key for it.
    let public = key.public().to_string();
    let point = key.public()["x"].as_str().expect("text").to_owned();
    for secret in [SECRET, &key.pair.public_key_pem(), &public, &point] {
        let header = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::HS256) };
        let shared = EncodingKey::from_secret(secret.as_bytes());
        let token = |claims: &Value| jsonwebtoken::encode(&header, claims, &shared).expect("a token");
        check("by a shared secret", &token, Err("Disallowed signature algorithm")).await;
    }
}

#[tokio::test]
async fn an_algorithm_that_is_not_allowed() {
    let site = &Site::new("algorithms = [\"RS256\", \"PS256\"]\n").await;
    check(site, "by our setting", |_| {}, Err("Disallowed signature algorithm: algorithm `ES256`")).await;
}

#[tokio::test]
async fn a_claim_twice() {
    let site = &Site::new(MORE).await;
    let attempt = site.begin().attempt;
    let claims = site.claims(&attempt.nonce).to_string();
    for (name, value) in [("preferred_username", "\"root\""), ("sub", "\"0\""), ("exp", "99999999999")] {
        let attempt = attempt.clone();
        let twice = format!("{{\"{name}\":{value},{}", &claims[1..]);
        // What is signed is this very text.
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": "ES256", "kid": "one"}).to_string());
        let text = format!("{header}.{}", URL_SAFE_NO_PAD.encode(&twice));
        let pem = site.key.pair.serialize_pem();
        let key = EncodingKey::from_ec_pem(pem.as_bytes()).expect("a key");
        let signature = jsonwebtoken::crypto::sign(text.as_bytes(), &key, Algorithm::ES256).expect("signed");
        site.grant(&format!("{text}.{signature}"));
        let query = format!("state={}&code=c", attempt.state);
        let signed = finish(&site.provider, attempt, &query, SystemTime::now()).await;
        outcome(name, signed.map(|signed| signed.user.user), Err("cannot be read"));
    }
}

#[tokio::test]
async fn how_and_when_they_signed_in() {
    let site =
        &Site::new("max_age = \"1h\"\nacr_values = [\"gold\", \"silver\"]\nprompt = \"login\"\n").await;
    let url = site.begin().url;
    for part in ["max_age=3600", "acr_values=gold+silver", "prompt=login"] {
        assert!(url.contains(part), "{url}");
    }
    let now = since_epoch(SystemTime::now());
    let acr = |acr: &str, at: u64| {
        let acr = acr.to_owned();
        move |claims: &mut Value| {
            claims["acr"] = json!(acr);
            claims["auth_time"] = json!(at);
        }
    };
    check(site, "both", acr("silver", now - 3000), Ok("eva")).await;
    check(site, "too weakly", acr("bronze", now), Err("acr_values")).await;
    check(site, "in a way not named", |_| {}, Err("acr_values")).await;
    check(site, "long ago", acr("gold", now - 4000), Err("too long ago")).await;
    let never = |claims: &mut Value| {
        claims["acr"] = json!("gold");
        claims.as_object_mut().expect("claims").remove("auth_time");
    };
    check(site, "at no time", never, Err("no auth_time")).await;
}

#[tokio::test]
async fn who_it_is() {
    let more = "groups_claim = \"realm.roles\"\nattributes = { mail = \"email\" }\nrequire = { tenant = \"acme\" }\n";
    let site = &Site::new(more).await;
    let signed = site.sign_in(|nonce| {
        let mut claims = site.claims(nonce);
        claims["tenant"] = json!("acme");
        claims["realm"] = json!({"roles": ["b", "a"]});
        site.key.sign(&claims)
    });
    let signed = signed.await.expect("signed in");
    let user = &signed.user;
    assert_eq!((user.user.as_str(), user.subject.as_str()), ("eva", "248289761001"));
    assert_eq!((user.session.as_deref(), &user.groups), (Some("s-1"), &vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(user.attributes["mail"], "eva@bank.example");
    assert!(user.authenticated_at.is_some() && user.expires > SystemTime::now() && user.nonce.is_some());
    assert_eq!(signed.tokens.access_token.expose(), "access");
    assert_eq!(signed.tokens.refresh_token.as_ref().map(|token| token.expose().as_str()), Some("refresh"));
    assert!(signed.tokens.access_token_expires > Some(SystemTime::now()));
    assert!(!format!("{signed:?}").contains("ey") && !format!("{signed:?}").contains("\"access\""));
    check(site, "another tenant", set("tenant", "evil"), Err("a required claim differs")).await;
    let refused = Refused::BadCredentials(Cause::Oidc("secret detail".to_owned()));
    assert!(!refused.client_message().contains("detail"));
}
