//! Signing in with a browser: requests, callbacks, and what the token endpoint answers.

use std::time::{Duration, SystemTime};

use serde_json::json;

use super::double::{CLIENT, SECRET, Site, finish};
use crate::error::Failure as _;
use crate::identity::error::Refused;
use crate::identity::oidc::{Attempt, DeviceAttempt, Provider, Renew};

#[tokio::test]
async fn a_request() {
    let site =
        Site::new("scopes = [\"openid\", \"groups\"]\nauthorize_params = { audience = \"a b\" }\n").await;
    let begun = site.begin();
    let (place, query) = begun.url.split_once('?').expect("a query");
    assert_eq!(place, format!("{}/authorize", site.double.issuer));
    let value = |name: &str| {
        let prefix = format!("{name}=");
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(&prefix))
            .unwrap_or_else(|| panic!("{name}: {query}"))
    };
    assert_eq!(value("response_type"), "code");
    assert_eq!(value("client_id"), CLIENT);
    assert_eq!(value("redirect_uri"), "https%3A%2F%2Fgate.example%2Flogin%2Foidc%2Fidp%2Fcallback");
    assert_eq!(value("scope"), "openid+groups");
    assert_eq!(value("audience"), "a+b");
    assert_eq!(value("code_challenge_method"), "S256");
    assert_eq!((value("state"), value("nonce")), (begun.attempt.state(), begun.attempt.nonce.as_str()));
    assert!(!query.contains(&begun.attempt.verifier));
    let other = site.begin();
    assert_ne!(begun.attempt.state, other.attempt.state);
    assert_ne!(begun.attempt.nonce, other.attempt.nonce);
    assert_ne!(begun.attempt.verifier, other.attempt.verifier);
    let text = serde_json::to_string(&begun.attempt).expect("text");
    let again: Attempt = serde_json::from_str(&text).expect("the same");
    assert_eq!(again.verifier, begun.attempt.verifier);
    assert!(!format!("{again:?}").contains(&again.verifier) && !format!("{again:?}").contains(&again.state));
}

#[tokio::test]
async fn callbacks() {
    let names = |double: &super::double::Double| {
        let mut metadata = double.metadata();
        metadata["authorization_response_iss_parameter_supported"] = json!(true);
        double.answer("/.well-known/openid-configuration", 200, &metadata);
    };
    let plain = Site::new("").await;
    let named = Site::unread("", &names, Duration::from_mins(1)).expect("a configuration");
    named.provider.ready().await.expect("read");
    let check = async |site: &Site, query: &str, expect: Result<(), &str>| {
        let attempt = site.begin().attempt;
        site.grant(&site.key.sign(&site.claims(&attempt.nonce)));
        let query = query.replace("STATE", &attempt.state).replace("ISSUER", &site.double.issuer);
        match (finish(&site.provider, attempt, &query, SystemTime::now()).await, expect) {
            (Ok(_), Ok(())) => {}
            (Err(refused), Err(expect)) => {
                assert!(refused.to_string().contains(expect), "{query}: {refused}");
                let told = format!("{refused}{}", refused.client_message());
                assert!(!told.contains("script"), "{query}: {told}");
            }
            (outcome, _) => panic!("{query}: {outcome:?}"),
        }
    };
    check(&plain, "state=STATE&code=c", Ok(())).await;
    check(&plain, "state=STATE&code=c&session_state=x", Ok(())).await;
    check(&plain, "state=STATE&code=c&iss=ISSUER", Ok(())).await;
    check(&plain, "state=STATE&code=c&iss=ISSUER/", Err("of another issuer")).await;
    check(&plain, "state=STATE&code=c&iss=https://script.example", Err("of another issuer")).await;
    check(&named, "state=STATE&code=c", Err("does not name its issuer")).await;
    check(&named, "state=STATE&error=access_denied", Err("does not name its issuer")).await;
    check(&named, "state=STATE&code=c&iss=ISSUER", Ok(())).await;
    check(&plain, "code=c", Err("no state")).await;
    check(&plain, "state=&code=c", Err("of another attempt")).await;
    check(&plain, "state=x&code=c", Err("of another attempt")).await;
    check(&plain, "state=STATEx&code=c", Err("of another attempt")).await;
    check(&plain, "state=x&error=access_denied", Err("of another attempt")).await;
    check(&plain, "state=STATE&state=STATE&code=c", Err("twice")).await;
    check(&plain, "state=STATE", Err("no code")).await;
    check(&plain, "state=STATE&code=", Err("no code")).await;
    check(&plain, "state=STATE&code=c&error=access_denied", Err("signed nobody in (access_denied)")).await;
    check(&plain, "state=STATE&error=login_required", Err("signed nobody in (login_required)")).await;
    check(&plain, "state=STATE&error=invalid_scope", Err("does not take our request")).await;
    check(&plain, "state=STATE&error=server_error", Err("the provider says: server_error")).await;
    let odd = "state=STATE&error=%3Cscript%3E&error_description=%3Cscript%3E";
    check(&plain, odd, Err("an error that is not known")).await;
}

#[tokio::test]
async fn attempts_of_another() {
    let (one, two) = (Site::new("").await, Site::new("").await);
    let now = SystemTime::now();
    let check = async |attempt: Attempt, state: &str, now: SystemTime, expect: &str| {
        one.grant(&one.key.sign(&one.claims(&attempt.nonce)));
        let query = format!("state={state}&code=c");
        let outcome = finish(&one.provider, attempt, &query, now).await.map(|signed| signed.user.user);
        let text = outcome.unwrap_or_else(|refused| refused.to_string());
        assert!(text.contains(expect), "{text}");
    };
    let attempt = one.begin().attempt;
    let state = attempt.state.clone();
    check(attempt.clone(), &state, now, "eva").await;
    // Another browser's callback.
    check(one.begin().attempt, &state, now, "of another attempt").await;
    // Another provider's attempt, of the same name or not.
    let theirs = two.begin().attempt;
    check(theirs.clone(), &theirs.state, now, "begun at another provider").await;
    let renamed = Attempt { provider: "other".to_owned(), ..attempt.clone() };
    check(renamed, &state, now, "begun at another provider").await;
    check(attempt.clone(), &state, now + Duration::from_mins(14), "eva").await;
    check(attempt.clone(), &state, now + Duration::from_mins(15), "taken too long").await;
    // The verifier of the attempt went to the provider, which checks it.
    let asked = one.double.asked("/token");
    assert!(asked[0].contains(&format!("code_verifier={}", attempt.verifier)), "{}", asked[0]);
    assert!(asked[0].contains("grant_type=authorization_code") && asked[0].contains("redirect_uri=https"));
}

#[tokio::test]
async fn answers_of_the_token_endpoint() {
    let site = Site::new("").await;
    let check = async |status: u16, body: &str, is_unavailable: bool, expect: &str| {
        let attempt = site.begin().attempt;
        site.double.answer_text("/token", status, body);
        let query = format!("state={}&code=c", attempt.state);
        let refused = finish(&site.provider, attempt, &query, SystemTime::now()).await;
        let refused = refused.expect_err(expect);
        assert_eq!(matches!(refused, Refused::Unavailable(_)), is_unavailable, "{body}: {refused:?}");
        assert!(refused.to_string().contains(expect), "{body}: {refused}");
        assert!(!refused.client_message().contains("said"), "{body}");
        assert!(!refused.to_string().contains("tell-nobody"), "{body}: {refused}");
    };
    let used = r#"{"error":"invalid_grant","error_description":"said\n so"}"#;
    check(400, used, false, "no token: invalid_grant (said\\n so)").await;
    check(400, r#"{"error":"access_denied"}"#, false, "signed nobody in").await;
    check(401, r#"{"error":"invalid_client","error_description":"said"}"#, true, "invalid_client (said)")
        .await;
    check(400, r#"{"error":"invalid_request"}"#, true, "invalid_request").await;
    check(500, r#"{"error":"invalid_grant"}"#, true, "answered 500").await;
    check(429, "", true, "answered 429").await;
    check(400, "", true, "empty").await;
    check(400, "<html>", true, "cannot be read").await;
    check(200, "<html>", true, "Content-Type").await;
    check(200, "", true, "empty").await;
    check(200, "[]", true, "cannot be read").await;
    check(200, r#"{"token_type":"Bearer","id_token":"tell-nobody"}"#, false, "cannot be read").await;
    check(200, r#"{"access_token":"tell-nobody","token_type":"Bearer"}"#, false, "no ID token").await;
    check(200, r#"{"access_token":"a","token_type":"Bearer","id_token":"tell-nobody"}"#, false, "read").await;
    check(200, &format!("{{\"x\":\"{}\"}}", "x".repeat(2 << 20)), true, "longer than 1048576 bytes").await;
    check(302, "{}", true, "cannot be read").await;
    assert!(site.double.asked("/elsewhere").is_empty(), "redirects are not followed");
}

#[tokio::test]
async fn tokens_that_cannot_be_used() {
    let site = Site::new("").await;
    let check = async |access: &str, refresh: &str, expect: Result<(), &str>| {
        let attempt = site.begin().attempt;
        let id_token = site.key.sign(&site.claims(&attempt.nonce));
        let answer = json!({
            "access_token": access, "token_type": "bearer", "refresh_token": refresh, "id_token": id_token
        });
        site.double.answer("/token", 200, &answer);
        let query = format!("state={}&code=c", attempt.state);
        let outcome = finish(&site.provider, attempt, &query, SystemTime::now()).await;
        let outcome = outcome.map(drop).map_err(|refused| refused.to_string());
        match (&outcome, expect) {
            (Ok(()), Ok(())) => {}
            (Err(text), Err(expect)) if text.contains(expect) => {}
            _ => panic!("{outcome:?}"),
        }
    };
    check("a", "r", Ok(())).await;
    check("a\r\nX: y", "r", Err("not of ASCII")).await;
    check("a", "r\n", Err("not of ASCII")).await;
    check(&"a".repeat(70_000), "r", Err("too long")).await;
}

#[tokio::test]
async fn how_we_prove_who_we_are() {
    let check = async |more: &str, methods: Option<&[&str]>, in_head: bool, in_body: bool| {
        let prepare = |double: &super::double::Double| {
            let mut metadata = double.metadata();
            if let Some(methods) = methods {
                metadata["token_endpoint_auth_methods_supported"] = json!(methods);
            }
            double.answer("/.well-known/openid-configuration", 200, &metadata);
        };
        let site = Site::unread(more, &prepare, Duration::from_mins(1)).expect("a configuration");
        site.provider.ready().await.expect("read");
        site.sign_in(|nonce| site.key.sign(&site.claims(nonce))).await.expect("signed in");
        let request = site.double.asked("/token").remove(0);
        assert_eq!(request.to_lowercase().contains("authorization: basic "), in_head, "{request}");
        assert_eq!(request.contains(&format!("client_secret={SECRET}")), in_body, "{request}");
        assert_eq!(request.contains(&format!("client_id={CLIENT}")), !in_head, "{request}");
    };
    check("", None, true, false).await;
    check("", Some(&["client_secret_post", "client_secret_basic"]), true, false).await;
    check("", Some(&["private_key_jwt", "client_secret_post"]), false, true).await;
    check("# public\n", None, false, false).await;
    check("# public\n", Some(&["client_secret_basic"]), false, false).await;
}

#[test]
fn what_is_awaited_may_change_threads() {
    fn is_send<T: Send>(_: impl Fn(&'static Provider) -> T) {}
    is_send(Provider::ready);
    is_send(|provider| {
        let attempt: Attempt = serde_json::from_str("{}").expect("never run");
        finish(provider, attempt, "", SystemTime::now())
    });
    is_send(|provider| provider.device_begin(SystemTime::now()));
    is_send(|provider| provider.accept_logout("", SystemTime::now()));
    is_send(|provider| async {
        let old = crate::secret::Secret::new(String::new());
        let session = Renew { refresh_token: &old, subject: "", nonce: None };
        provider.renew(session, SystemTime::now()).await
    });
    is_send(|provider| async {
        let mut attempt: DeviceAttempt = serde_json::from_str("{}").expect("never run");
        provider.device_poll(&mut attempt, SystemTime::now()).await
    });
}
