//! Renewing sessions, and the UserInfo endpoint.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::double::Site;
use crate::identity::error::Refused;
use crate::identity::oidc::{Renew, Renewal};
use crate::secret::Secret;

/// Renews a session of the usual subject with this answer.
async fn renew(site: &Site, status: u16, body: &str) -> Result<Renewal, Refused> {
    site.double.answer_text("/token", status, body);
    let old = Secret::new("old".to_owned());
    let session = Renew { refresh_token: &old, subject: "248289761001", nonce: Some("first") };
    site.provider.renew(session, SystemTime::now()).await
}

fn answer(id_token: Option<&str>, refresh: Option<&str>) -> String {
    let mut answer = json!({"access_token": "new", "token_type": "Bearer", "expires_in": 60});
    if let Some(token) = id_token {
        answer["id_token"] = json!(token);
    }
    if let Some(token) = refresh {
        answer["refresh_token"] = json!(token);
    }
    answer.to_string()
}

#[tokio::test]
async fn a_session_goes_on() {
    let site = Site::new("max_age = \"1m\"\n").await;
    let check = async |body: &str, user: Option<&str>, refresh: &str| {
        let Ok(Renewal::Renewed(renewed)) = renew(&site, 200, body).await else { panic!("{body}") };
        assert_eq!(renewed.user.map(|user| user.user).as_deref(), user, "{body}");
        assert_eq!(
            renewed.tokens.refresh_token.map(|token| token.expose().clone()).as_deref(),
            Some(refresh)
        );
        assert_eq!(renewed.tokens.access_token.expose(), "new");
    };
    let token = |change: &dyn Fn(&mut Value)| {
        let mut claims = site.claims("first");
        change(&mut claims);
        site.key.sign(&claims)
    };
    check(&answer(None, None), None, "old").await;
    check(&answer(None, Some("newer")), None, "newer").await;
    check(&answer(Some(&token(&|_| {})), None), Some("eva"), "old").await;
    let bare = token(&|claims| drop(claims.as_object_mut().expect("claims").remove("nonce")));
    check(&answer(Some(&bare), None), Some("eva"), "old").await;
    // The user signed in long ago, as is so with a renewal.
    let late = token(&|claims| claims["auth_time"] = json!(7));
    check(&answer(Some(&late), None), Some("eva"), "old").await;
    let renamed = token(&|claims| claims["preferred_username"] = json!("eva.lang"));
    check(&answer(Some(&renamed), None), Some("eva.lang"), "old").await;
    let request = site.double.asked("/token").remove(0);
    assert!(
        request.contains("grant_type=refresh_token") && request.contains("refresh_token=old"),
        "{request}"
    );
}

#[tokio::test]
async fn a_session_does_not_go_on() {
    let site = Site::new("").await;
    let token = |change: &dyn Fn(&mut Value)| {
        let mut claims = site.claims("first");
        change(&mut claims);
        answer(Some(&site.key.sign(&claims)), None)
    };
    let check = async |status: u16, body: &str, expect: &str| {
        let text = match renew(&site, status, body).await {
            Ok(Renewal::Ended) => "ended".to_owned(),
            Ok(Renewal::Renewed(_)) => "renewed".to_owned(),
            Err(refused) => refused.to_string(),
        };
        assert!(text.contains(expect), "{body}: {text}");
    };
    check(400, r#"{"error":"invalid_grant"}"#, "ended").await;
    check(400, r#"{"error":"invalid_client"}"#, "cannot check the credentials").await;
    check(503, "", "cannot check the credentials").await;
    check(200, "<html>", "cannot check the credentials").await;
    check(200, &token(&|_| {}), "renewed").await;
    check(200, &token(&|claims| claims["sub"] = json!("other")), "another subject").await;
    check(200, &token(&|claims| claims["nonce"] = json!("other")), "another nonce").await;
    check(200, &token(&|claims| claims["aud"] = json!("other")), "Invalid audiences").await;
    check(200, &token(&|claims| claims["iss"] = json!("https://other.example")), "Invalid issuer").await;
    check(200, &token(&|claims| claims["exp"] = json!(7)), "expired").await;
    check(200, &answer(Some("e30.e30."), None), "cannot be read").await;
}

#[tokio::test]
async fn userinfo_adds_claims() {
    let site =
        Site::new("userinfo = true\ngroups_claim = \"groups\"\nattributes = { desk = \"desk\" }\n").await;
    let check = async |told: Value, expect: Result<(&str, &[&str]), &str>| {
        site.double.answer("/userinfo", if told.is_null() { 401 } else { 200 }, &told);
        let signed = site.sign_in(|nonce| {
            let mut claims = site.claims(nonce);
            claims.as_object_mut().expect("claims").remove("groups");
            site.key.sign(&claims)
        });
        match (signed.await, expect) {
            (Ok(signed), Ok((user, groups))) => {
                assert_eq!(
                    (signed.user.user.as_str(), &signed.user.groups[..]),
                    (user, &groups.iter().map(|group| (*group).to_owned()).collect::<Vec<_>>()[..])
                );
            }
            (Err(refused), Err(expect)) => assert!(refused.to_string().contains(expect), "{told}: {refused}"),
            (outcome, _) => panic!("{told}: {outcome:?}"),
        }
    };
    let subject = "248289761001";
    check(json!({"sub": subject, "groups": ["b", "a"], "desk": "7"}), Ok(("eva", &["a", "b"]))).await;
    // What the ID token says stays.
    check(json!({"sub": subject, "preferred_username": "root"}), Ok(("eva", &[]))).await;
    check(json!({"sub": "other", "groups": ["admins"]}), Err("userinfo: ")).await;
    check(json!({"groups": ["admins"]}), Err("userinfo: ")).await;
    check(Value::Null, Err("userinfo: ")).await;
    check(json!({"sub": subject, "groups": 7}), Err("unreadable groups")).await;
    assert!(site.double.asked("/userinfo")[0].contains("Bearer access"));
}
