//! Signing in at a terminal.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::double::Site;
use crate::identity::error::Refused;
use crate::identity::oidc::id_token::since_epoch;
use crate::identity::oidc::{DeviceAttempt, DevicePolled};

fn answer(site: &Site) -> Value {
    json!({
        "device_code": "device", "user_code": "ABCD-EFGH", "verification_uri": format!("{}/go", site.double.issuer),
        "verification_uri_complete": format!("{}/go?c=ABCD-EFGH", site.double.issuer), "expires_in": 600,
        "interval": 5,
    })
}

fn word(polled: Result<DevicePolled, Refused>) -> String {
    match polled {
        Ok(DevicePolled::Pending) => "pending".to_owned(),
        Ok(DevicePolled::Declined) => "declined".to_owned(),
        Ok(DevicePolled::Expired) => "expired".to_owned(),
        Ok(DevicePolled::Signed(signed)) => signed.user.user,
        Err(refused) => refused.to_string(),
    }
}

#[tokio::test]
async fn a_terminal_signs_in() {
    let site = Site::new("").await;
    site.double.answer("/device", 200, &answer(&site));
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(since_epoch(SystemTime::now()));
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    let begun = site.provider.device_begin(start).await.expect("begun");
    assert_eq!((begun.user_code.as_str(), begun.expires), ("ABCD-EFGH", at(600)));
    assert!(begun.address_with_code.is_some_and(|address| address.ends_with("/go?c=ABCD-EFGH")));
    let text = serde_json::to_string(&begun.attempt).expect("text");
    let mut attempt: DeviceAttempt = serde_json::from_str(&text).expect("the same");
    assert!(!format!("{attempt:?}").contains("device\""), "{attempt:?}");

    let refuse = |error: &str| site.double.answer("/token", 400, &json!({ "error": error }));
    let mut asked = 0;
    // When it is polled, whether that asks the provider, what comes of it, and when to poll next.
    let mut check = async |seconds: u64, asks: bool, expect: &str, next: u64| {
        let polled = word(site.provider.device_poll(&mut attempt, at(seconds)).await);
        assert!(polled.contains(expect), "at {seconds}: {polled}");
        asked += usize::from(asks);
        assert_eq!(site.double.asked("/token").len(), asked, "at {seconds}");
        assert_eq!(attempt.next(), at(next), "at {seconds}");
    };
    refuse("authorization_pending");
    check(0, false, "pending", 5).await;
    check(4, false, "pending", 5).await;
    check(5, true, "pending", 10).await;
    check(9, false, "pending", 10).await;
    refuse("slow_down");
    check(10, true, "pending", 20).await;
    check(19, false, "pending", 20).await;
    check(20, true, "pending", 35).await;
    refuse("authorization_pending");
    check(35, true, "pending", 50).await;
    site.double.answer_text("/token", 503, "");
    check(50, true, "pending", 70).await;
    refuse("access_denied");
    check(70, true, "declined", 70).await;
    refuse("expired_token");
    check(70, true, "expired", 70).await;
    refuse("invalid_client");
    check(70, true, "invalid_client", 70).await;
    let mut claims = site.claims("n");
    claims["aud"] = json!("other");
    site.grant(&site.key.sign(&claims));
    check(70, true, "Invalid audiences", 70).await;
    claims = site.claims("n");
    claims.as_object_mut().expect("claims").remove("nonce");
    site.grant(&site.key.sign(&claims));
    check(70, true, "eva", 70).await;
    check(600, false, "expired", 70).await;

    let device = site.double.asked("/device").remove(0);
    assert!(device.contains("code_challenge_method=S256") && device.contains("scope=openid"), "{device}");
    let request = site.double.asked("/token").remove(0);
    for part in
        ["urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code", "device_code=device", "code_verifier="]
    {
        assert!(request.contains(part), "{request}");
    }
    let other = Site::new("").await;
    other.double.answer("/device", 200, &answer(&other));
    let mut theirs = other.provider.device_begin(start).await.expect("begun").attempt;
    assert!(word(site.provider.device_poll(&mut theirs, at(5)).await).contains("another provider"));
}

#[tokio::test]
async fn answers_that_cannot_be_used() {
    let site = Site::new("").await;
    let check = async |name: &str, value: Value, expect: Result<u64, &str>| {
        let mut answer = answer(&site);
        answer[name] = value;
        site.double.answer("/device", 200, &answer);
        let now = SystemTime::now();
        match (site.provider.device_begin(now).await, expect) {
            (Ok(begun), Ok(interval)) => {
                assert_eq!(since_epoch(begun.attempt.next()) - since_epoch(now), interval, "{answer}");
                assert!(begun.expires <= now + Duration::from_mins(30), "{answer}");
            }
            (Err(refused), Err(expect)) => {
                assert!(refused.to_string().contains(expect), "{answer}: {refused}");
            }
            (outcome, _) => panic!("{answer}: {outcome:?}"),
        }
    };
    check("interval", Value::Null, Ok(5)).await;
    check("interval", json!(0), Ok(1)).await;
    check("interval", json!(u64::MAX), Ok(60)).await;
    check("expires_in", json!(u64::MAX), Ok(5)).await;
    check("verification_uri", json!("http://idp.example/go"), Err("must be https")).await;
    check("verification_uri", json!("javascript:x"), Err("address")).await;
    check("verification_uri_complete", json!("http://idp.example/go"), Err("must be https")).await;
    check("user_code", json!("A\u{1b}[2J"), Err("cannot be shown")).await;
    check("user_code", json!(""), Err("cannot be shown")).await;
    check("user_code", json!("A".repeat(100)), Err("cannot be shown")).await;
    check("device_code", Value::Null, Err("cannot be read")).await;
    site.double.answer("/device", 401, &json!({"error": "unauthorized_client"}));
    let refused = site.provider.device_begin(SystemTime::now()).await.expect_err("not allowed");
    assert!(refused.to_string().contains("unauthorized_client"), "{refused}");
}
