//! Sessions that last as the provider says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::double::Site;
use crate::identity::config::Mapping as Rule;
use crate::identity::login::{Login, Providers, Then};
use crate::identity::mapping::Mapper;
use crate::identity::saml::Delivery;
use crate::identity::snapshot::Snapshot;
use crate::identity::users::Users;
use crate::state::Store;
use crate::wire::Sealer;

fn login(site: &Site) -> Arc<Login> {
    login_with(site, Arc::new(Store::in_memory()), &[])
}

fn login_with(site: &Site, store: Arc<Store>, rules: &[Rule]) -> Arc<Login> {
    let users = Arc::new(Snapshot::new("users.toml".into(), Users::default()));
    let config = "external_url = 'https://gate.example'\ntoken_life = '10s'";
    let providers = Providers { oidc: vec![site.provider.config().clone()], saml: Vec::new() };
    let sources = BTreeSet::from(["oidc:idp".to_owned()]);
    let mapper = Arc::new(Mapper::new(rules, &sources).expect("rules"));
    let sealer = Arc::new(Sealer::generate().expect("a sealer"));
    let config = toml::from_str(config).expect("a section");
    Arc::new(Login::new(config, providers, store, sealer, mapper, users).expect("set up"))
}

/// Signs in, for a session that is to be renewed at once, which is after five seconds; its cookie.
async fn signed_in(site: &Site, login: &Login) -> String {
    let begun = login.begin_oidc("idp", Then::Home).await.expect("there is one").expect("begun");
    let Delivery::Redirect { url } = begun.delivery else { panic!("no redirect") };
    let (_, query) = url.split_once('?').expect("a query");
    let of = |name: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(key, _)| key == name).expect("a field").1.into_owned()
    };
    let answer = json!({
        "access_token": "access", "token_type": "Bearer", "expires_in": 4, "refresh_token": "first",
        "id_token": site.key.sign(&site.claims(&of("nonce"))),
    });
    site.double.answer("/token", 200, &answer);
    let (state, carried) = (of("state"), begun.carried.value.expose().clone());
    let query = format!("state={state}&code=c");
    let proved = login.finish_oidc("idp", &query, &state, Some(&carried)).await.expect("there is one");
    // The same answer again, and one that says no: neither takes up room.
    let again = login.finish_oidc("idp", &query, &state, Some(&carried)).await.expect("there is one");
    assert!(again.is_err(), "an answer is good once");
    login.open(proved.expect("proved"), None).await.expect("open").cookie.expose().clone()
}

async fn lives(login: &Login, cookie: &str) -> bool {
    login.session(cookie).await.expect("asked").is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_is_one_for_all_and_outlives_who_asks() {
    let site = Site::new("").await;
    let login = login(&site);
    let [ended, left, silent, over] = [
        signed_in(&site, &login).await,
        signed_in(&site, &login).await,
        signed_in(&site, &login).await,
        signed_in(&site, &login).await,
    ];
    let signed_in = site.double.asked("/token").len();
    let renewals = || site.double.asked("/token").len() - signed_in;
    tokio::time::sleep(Duration::from_millis(5_500)).await;

    let renewed = json!({
        "access_token": "new", "token_type": "Bearer", "expires_in": 3600, "refresh_token": "second",
    });
    site.double.answer("/token", 200, &renewed);
    site.double.script().delay = Duration::from_secs(1);
    // Whoever asked goes away in the middle of it.
    let asking = tokio::spawn({
        let (login, cookie) = (Arc::clone(&login), left.clone());
        async move { lives(&login, &cookie).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    asking.abort();
    assert!(lives(&login, &left).await, "others wait for it");
    assert_eq!(renewals(), 1, "it is not begun again");

    // It is ended in the middle of it.
    let asking = tokio::spawn({
        let (login, cookie) = (Arc::clone(&login), ended.clone());
        async move { lives(&login, &cookie).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let session = login.leaving(&ended).await.expect("asked").expect("it lasts");
    login.end(&session).await.expect("ended");
    assert!(!asking.await.expect("asked"), "what was ended stays so");
    assert!(!lives(&login, &ended).await, "what was ended stays so");

    site.double.script().delay = Duration::ZERO;
    site.double.answer("/token", 503, &json!({}));
    let before = renewals();
    assert!(lives(&login, &silent).await && lives(&login, &silent).await, "the provider may come back");
    assert_eq!(renewals(), before + 1, "it is left alone for a while");

    let mut endings = login.endings().expect("not taken yet");
    assert!(endings.try_recv().is_err(), "nothing has ended there");
    site.double.answer("/token", 400, &json!({ "error": "invalid_grant" }));
    assert!(!lives(&login, &over).await, "the provider has ended it");
    assert_eq!(endings.try_recv().expect("it is told").identity, "eva");
}

#[tokio::test]
async fn a_provider_that_declines_takes_up_no_room() {
    let site = Site::new("").await;
    let login = login(&site);
    let begun = login.begin_oidc("idp", Then::Home).await.expect("there is one").expect("begun");
    let Delivery::Redirect { url } = &begun.delivery else { panic!("no redirect") };
    let state = url.split("state=").nth(1).expect("a state").split('&').next().expect("a state").to_owned();
    let declined = format!("state={state}&error=access_denied");
    for _ in 0..2 {
        let refused = login.finish_oidc("idp", &declined, &state, Some(begun.carried.value.expose())).await;
        let refused = refused.expect("there is one").expect_err("declined").to_string();
        assert!(refused.contains("signed nobody in"), "{refused}: not \"used before\"");
    }
}

/// The configuration has another provider under the name of the one that signed somebody in: neither is that session believed,
/// nor is the other shown the first one's refresh token.
#[tokio::test(flavor = "multi_thread")]
async fn another_provider_of_the_same_name_renews_nothing() {
    let (one, two) = (Site::new("").await, Site::new("").await);
    let store = Arc::new(Store::in_memory());
    let before = login_with(&one, Arc::clone(&store), &[]);
    let cookie = signed_in(&one, &before).await;
    assert!(lives(&before, &cookie).await);
    let after = login_with(&two, store, &[]);
    tokio::time::sleep(Duration::from_millis(5_500)).await;
    assert!(!lives(&after, &cookie).await);
    assert!(two.double.asked("/token").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_rules_of_now_do_not_let_in_is_signed_in_no_longer() {
    let site = Site::new("").await;
    let store = Arc::new(Store::in_memory());
    let rule = |pattern: &str, user: &str| -> Rule {
        toml::from_str(&format!("from = 'oidc:idp'\nmatch = '{pattern}'\nuser = '{user}'")).expect("a rule")
    };
    let before = login_with(&site, Arc::clone(&store), &[rule("(.*)", "$1")]);
    let cookie = signed_in(&site, &before).await;
    assert!(lives(&before, &cookie).await);
    let other = login_with(&site, Arc::clone(&store), &[rule("(.*)", "idp-$1")]);
    let session = other.session(&cookie).await.expect("asked").expect("it lasts");
    assert_eq!(session.principal().name(), "idp-eva", "the rules of now");
    let none = login_with(&site, store, &[rule("otto", "otto")]);
    assert!(!lives(&none, &cookie).await);
    assert!(none.leaving(&cookie).await.expect("asked").is_some(), "one may leave");
}
