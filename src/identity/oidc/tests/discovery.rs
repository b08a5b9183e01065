//! Metadata and keys: with a fault each, and changing.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::double::{Double, Key, Site};
use crate::identity::error::Refused;
use crate::identity::oidc::discovery::usable;
use crate::identity::oidc::{Config, Provider};

const LONG: Duration = Duration::from_hours(1);

#[tokio::test]
async fn metadata_with_a_fault() {
    let check = async |name: &str, value: Value, expect: Option<&str>| {
        let prepare = |double: &Double| {
            let mut metadata = double.metadata();
            if value == json!("LEFT OUT") {
                metadata.as_object_mut().expect("an object").remove(name);
            } else {
                metadata[name] = value.clone();
            }
            double.answer("/.well-known/openid-configuration", 200, &metadata);
        };
        let site = Site::unread("", &prepare, LONG).expect("a configuration");
        let ready = site.provider.ready().await;
        match (ready, expect) {
            (Ok(()), None) => {}
            (Err(Refused::Unavailable(text)), Some(expect)) => {
                assert!(text.contains(expect), "{name}: {text}");
                assert!(site.provider.begin(SystemTime::now()).is_err(), "{name}");
            }
            (outcome, _) => panic!("{name} {value}: {outcome:?}"),
        }
    };
    let left_out = || json!("LEFT OUT");
    check("more", json!({"x": 1}), None).await;
    check("issuer", json!("https://other.example"), Some("of another issuer, 'https://other.example'")).await;
    check("issuer", left_out(), Some("unreadable metadata")).await;
    check("authorization_endpoint", left_out(), Some("unreadable metadata")).await;
    check("token_endpoint", left_out(), Some("names no token_endpoint")).await;
    for name in [
        "authorization_endpoint",
        "token_endpoint",
        "jwks_uri",
        "userinfo_endpoint",
        "end_session_endpoint",
        "device_authorization_endpoint",
    ] {
        let expect = format!("{name} in the metadata: must be https");
        check(name, json!("http://idp.example/x"), Some(&expect)).await;
        check(name, json!("ftp://idp.example/x"), Some(&expect)).await;
        check(name, json!("javascript:alert(1)"), Some("metadata")).await;
        check(name, json!(7), Some("unreadable metadata")).await;
    }
    check("userinfo_endpoint", left_out(), None).await;
    check("end_session_endpoint", left_out(), None).await;
    check("response_types_supported", json!(["id_token", "code token"]), Some("no authorization code")).await;
    check("code_challenge_methods_supported", json!(["plain"]), Some("no PKCE")).await;
    check("code_challenge_methods_supported", left_out(), None).await;
    check("id_token_signing_alg_values_supported", json!(["HS256", "none", "X"]), Some("`algorithms`")).await;
    let methods = "token_endpoint_auth_methods_supported";
    check(methods, json!(["private_key_jwt"]), Some("neither client_secret_basic")).await;
}

#[tokio::test]
async fn documents_that_are_none() {
    let check = async |path: &str, status: u16, body: &str, expect: &str| {
        let prepare = |double: &Double| double.answer_text(path, status, body);
        let site = Site::unread("", &prepare, LONG).expect("a configuration");
        let Err(Refused::Unavailable(text)) = site.provider.ready().await else { panic!("{path}: {expect}") };
        assert!(text.starts_with("identity.oidc 'idp': ") && text.contains(expect), "{path}: {text}");
        assert!(site.double.asked("/elsewhere").is_empty(), "redirects are not followed");
    };
    let metadata = "/.well-known/openid-configuration";
    check(metadata, 404, "{}", "answered 404").await;
    check(metadata, 503, "{}", "answered 503").await;
    check(metadata, 302, "{}", "answered 302").await;
    check(metadata, 200, "<html>", "unreadable metadata").await;
    check(metadata, 200, &"x".repeat(2 << 20), "longer than 1048576 bytes").await;
    check("/keys", 302, "{}", "answered 302").await;
    check("/keys", 200, "{}", "not a JWK Set").await;
    check("/keys", 200, r#"{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"one"}]}"#, "no key in the set").await;
    check("/keys", 200, &"x".repeat(2 << 20), "longer than 1048576 bytes").await;
    // A key that is too short to be believed counts for nothing.
    let short = r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"one"}]}"#;
    check("/keys", 200, short, "no key in the set").await;
}

#[test]
fn keys_that_are_left_out() {
    let good = Key::new("one").public();
    let check = |other: Value| {
        let set = json!({"keys": [other, good]}).to_string();
        let (keys, logout_keys) = usable(set.as_bytes()).expect("one is usable");
        assert_eq!((keys.keys().len(), logout_keys.len()), (1, 1), "{set}");
    };
    let long = "z".repeat(342);
    let mut encrypts = good.clone();
    encrypts["use"] = json!("enc");
    check(encrypts);
    check(json!({"kty": "oct", "k": "c2VjcmV0", "kid": "one"}));
    check(json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "one"}));
    check(json!({"kty": "RSA", "n": long, "e": "AQAB", "kid": "one", "alg": "RSA-OAEP"}));
    check(json!({"kty": "new"}));
    check(json!(7));
}

#[tokio::test]
async fn keys_that_change() {
    let site = Site::unread("", &|_| {}, Duration::from_millis(1)).expect("a configuration");
    site.provider.ready().await.expect("read");
    let two = Key::new("two");
    site.double.answer_keys(&[&site.key, &two]);
    // Longer than the shortest time between two reads.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let signed = site.sign_in(|nonce| two.sign(&site.claims(nonce))).await;
    assert_eq!(signed.expect("the new key is fetched").user.user, "eva");
    site.double.answer_keys(&[&two]);
    site.provider.refresh();
    // The old key is gone as soon as the set was read again.
    for _ in 0..500 {
        if site.sign_in(|nonce| site.key.sign(&site.claims(nonce))).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the old key is still believed");
}

#[tokio::test]
async fn nobody_makes_us_hammer_the_provider() {
    let site = Site::unread("", &|_| {}, LONG).expect("a configuration");
    site.provider.ready().await.expect("read");
    let two = Key::new("two");
    for _ in 0..20 {
        let refused = site.sign_in(|nonce| two.sign(&site.claims(nonce))).await.expect_err("unknown");
        assert!(refused.to_string().contains("unknown key"), "{refused}");
        site.provider.refresh();
        let logout = two.sign(&json!({"iss": site.double.issuer}));
        assert!(site.provider.accept_logout(&logout, SystemTime::now()).await.is_err());
    }
    assert_eq!(site.double.asked("/keys").len(), 1);
    assert_eq!(site.double.asked("/.well-known/openid-configuration").len(), 1);
}

#[tokio::test]
async fn what_was_read_last_is_believed_for_a_while() {
    let more = "refresh = \"1ms\"\nkeep_metadata = \"100ms\"\n";
    let site = Site::unread(more, &|_| {}, Duration::from_millis(1)).expect("a configuration");
    site.provider.ready().await.expect("read");
    site.double.answer_text("/keys", 503, "");
    for _ in 0..500 {
        if let Err(Refused::Unavailable(text)) = site.provider.begin(SystemTime::now()) {
            assert!(text.contains("answered 503"), "{text}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it is believed for ever");
}

#[tokio::test]
async fn configurations_that_are_refused() {
    let check = |text: &str, expect: &str| {
        let base = "name = \"a\"\nissuer = \"https://i.example\"\nclient_id = \"gate\"\n";
        // A key that is given replaces the one of the base.
        let given = |line: &&str| !text.starts_with(line.split(' ').next().unwrap_or_default());
        let text = base.lines().filter(given).fold(text.to_owned(), |all, line| format!("{all}\n{line}"));
        let error = match toml::from_str::<Config>(&text) {
            Err(error) => error.to_string(),
            Ok(config) => match Provider::new(config, "https://gate.example") {
                Err(error) => error.to_string(),
                Ok(_) => "none".to_owned(),
            },
        };
        assert!(error.contains(expect), "{text}: {error}");
    };
    check("", "none");
    check("name = \"a/b\"", "identity.oidc 'a/b': name: 1 to 64");
    check("name = \"\"", "name: 1 to 64");
    check("issuer = \"http://i.example\"", "issuer: must be https");
    check("issuer = \"http://127.0.0.1:1\"", "none");
    check("issuer = \"https://i.example/?x\"", "a query");
    check("client_id = \"\"", "client_id: empty");
    check("client_secret_file = \"/none/such\"", "/none/such: ");
    check("client_secret_file = \"/dev/null\"", "client_secret_file: empty");
    check("ca_file = \"/none/such\"", "ca_file /none/such");
    check("algorithms = []", "algorithms: none");
    check("algorithms = [\"HS256\"]", "unknown variant");
    check("algorithms = [\"none\"]", "unknown variant");
    check("max_clock_skew = \"6m\"", "at most 5m");
    check("keep_metadata = \"1m\"", "not be shorter than refresh");
    check("refresh = \"8d\"\nkeep_metadata = \"8d\"", "at most 7d");
    check("scopes = [\"a b\"]", "scopes: one");
    check("acr_values = [\"a b\"]", "acr_values: one");
    check("prompt = \"none\"", "unknown variant");
    check("authorize_params = { state = \"x\" }", "'state' is not to be set");
    check("secret = \"x\"", "unknown field");
}
