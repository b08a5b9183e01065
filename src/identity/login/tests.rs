//! Tests of sessions and of the tokens of drivers.

use std::collections::BTreeSet;

use super::session::ended_saml;
use super::*;
use crate::identity::saml;
use crate::identity::users::Users;

const HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";

fn users(text: &str) -> Users {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("users.toml");
    std::fs::write(&path, text).expect("written");
    Users::load(&path).expect("users")
}

fn entry(name: &str, hash: &str) -> String {
    format!("[[user]]\nname = '{name}'\npassword_hash = '{hash}'\ngroups = ['g']\n")
}

fn login(more: &str) -> Login {
    let users = users(&(entry("ann", HASH) + &entry("bob", HASH)));
    let users = Arc::new(Snapshot::new("users.toml".into(), users));
    let config = toml::from_str(&format!("external_url = 'https://gw.example'\npasswords = true\n{more}"));
    let store = Arc::new(Store::in_memory());
    let sealer = Arc::new(Sealer::generate().expect("a sealer"));
    let mapper = Arc::new(Mapper::new(&[], &BTreeSet::new()).expect("no rules"));
    let none = Providers { oidc: Vec::new(), saml: Vec::new() };
    Login::new(config.expect("a section"), none, store, sealer, mapper, users).expect("set up")
}

async fn signed_in(login: &Login, name: &str, before: Option<&str>) -> SignedIn {
    let users = login.users.users.load();
    let user = users.find(name).expect("a user");
    let proved = Login::proved_by_password(&user.principal, user.fingerprint().expect("a hash"), Then::Home);
    login.open(proved, before).await.expect("signed in")
}

#[tokio::test]
async fn a_session_is_opened_by_its_cookie_alone() {
    let login = login("");
    let one = signed_in(&login, "ann", None).await;
    let found = login.session(one.cookie.expose()).await.expect("asked").expect("found");
    assert_eq!(found.principal().name(), "ann");
    assert_eq!(found.principal().groups().len(), 1);
    assert_eq!(found.form_key(), one.session.form_key());
    assert!(login.session(found.form_key()).await.expect("asked").is_none(), "the form's key opens nothing");
    // A new sign-in in the browser makes a new secret, and the old one is worth nothing.
    let two = signed_in(&login, "bob", Some(one.cookie.expose())).await;
    assert_ne!(one.cookie.expose(), two.cookie.expose());
    assert!(login.session(one.cookie.expose()).await.expect("asked").is_none());
    login.end(&two.session).await.expect("ended");
    assert!(login.session(two.cookie.expose()).await.expect("asked").is_none());
}

#[tokio::test]
async fn an_attempt_is_for_one_browser_and_once_begun() {
    let login = login("");
    let (id, carried) = login.begin_password(Then::Driver("t".to_owned())).expect("begun");
    let (other, of_other) = login.begin_password(Then::Home).expect("begun");
    let check = |id: &str, carried: Option<&Carried>, expect: bool| {
        let carried = carried.map(|carried| carried.value.expose().as_str());
        assert_eq!(login.password_attempt(id, carried).is_ok(), expect, "{id}");
    };
    check(id.expose(), Some(&carried), true);
    check(id.expose(), Some(&of_other), false);
    check(other.expose(), Some(&carried), false);
    check(id.expose(), None, false);
    assert_ne!(carried.label, of_other.label);
}

#[tokio::test]
async fn a_driver_gets_its_token_once() {
    let login = login("");
    let session = signed_in(&login, "ann", None).await.session;
    let tickets = login.invite(Asking::new(None, "192.0.2.1".to_owned(), None)).expect("tickets");
    let waiting = login.waiting(&tickets.initiate).expect("it waits");
    assert!(login.decide(&waiting).await.expect("asked"));
    assert!(!login.decide(&waiting).await.expect("asked"), "decided before");
    login.grant(&waiting, &session).await.expect("granted");
    let Polled::Token(token) = login.poll(&tickets.token).await.expect("polled") else { panic!("no token") };
    assert!(is_driver_token(token.expose()));
    assert_eq!(login.prove(&token).await.expect("proved").principal.name(), "ann");
    assert!(!login.decide(&waiting).await.expect("asked"), "nor after it was fetched");
    let stranger = Secret::new(format!("{}x", token.expose()));
    assert!(matches!(login.prove(&stranger).await, Err(Refused::BadCredentials(Cause::Token(_)))));
    login.end(&session).await.expect("ended");
    assert!(matches!(login.prove(&token).await, Err(Refused::BadCredentials(Cause::Expired))));
}

#[tokio::test]
async fn what_an_identity_provider_ends_is_over() {
    let login = login("");
    let name = |value: &str| saml::NameId {
        value: value.to_owned(),
        format: None,
        name_qualifier: None,
        sp_name_qualifier: None,
    };
    let names = |value: &str, index: Option<&str>| {
        [ended_saml("idp", &name(value), None), ended_saml("idp", &name(value), index)]
    };
    let ended = async |key: &str| {
        let now = seconds(SystemTime::now());
        login.store.put(Key::new(Kind::Ended, key), &now, LONGEST).await.expect("kept");
    };
    let open = async |value: &str, index: &str| {
        let asserted = saml::Asserted {
            in_response_to: "r".to_owned(),
            assertion_id: "a".to_owned(),
            expires: SystemTime::now(),
            name_id: name(value),
            session_index: Some(index.to_owned()),
            session_ends: None,
            authenticated_at: SystemTime::now(),
            user: value.to_owned(),
            groups: Vec::new(),
            attributes: std::collections::BTreeMap::new(),
        };
        let provider = "name = 'idp'\nidp_entity_id = 'urn:idp'\nkey_file = 'k'\ncertificate_file = 'c'";
        let proof = Proof::saml(&toml::from_str(provider).expect("a provider"), asserted);
        let principal = proof.who.principal();
        login.open(Proved { proof, principal, then: Then::Home }, None).await.expect("open").cookie
    };
    let lives = async |cookie: &Secret<String>| {
        login.lives(Key::new(Kind::Session, cookie.expose())).await.expect("asked").is_some()
    };
    let (one, two, other) = (open("ann", "1").await, open("ann", "2").await, open("bob", "1").await);
    ended(&names("ann", Some("1"))[1]).await;
    assert_eq!((lives(&one).await, lives(&two).await, lives(&other).await), (false, true, true));
    ended(&names("ann", None)[0]).await;
    assert_eq!((lives(&two).await, lives(&other).await), (false, true));
}

#[tokio::test]
async fn an_administrator_ends_all_sessions_of_a_user() {
    let login = login("");
    let open = async |user: &str| signed_in(&login, user, None).await;
    let (one, two, other) = (open("ann").await, open("ann").await, open("bob").await);
    let token = login.token_of(&two.session).await.expect("a token");
    assert!(login.prove(&token).await.is_ok());
    login.end_all("ann").await.expect("ended");
    let lives =
        async |signed: &SignedIn| login.session(signed.cookie.expose()).await.expect("asked").is_some();
    assert_eq!((lives(&one).await, lives(&two).await, lives(&other).await), (false, false, true));
    assert!(login.prove(&token).await.is_err(), "the driver's token has ended with it");
}

#[tokio::test]
async fn a_session_by_password_lasts_as_long_as_the_password() {
    let login = login("");
    let cookie = signed_in(&login, "ann", None).await.cookie;
    let lives = async || login.session(cookie.expose()).await.expect("asked");
    assert_eq!(lives().await.expect("it lasts").principal().groups().len(), 1);
    let of_now = entry("ann", HASH).replace("['g']", "[]");
    login.users.users.store(Arc::new(users(&of_now)));
    assert!(lives().await.expect("it lasts").principal().groups().is_empty(), "the groups of now");
    login.users.users.store(Arc::new(users(&entry("ann", &HASH.replace("c2Fs", "c2Ft")))));
    assert!(lives().await.is_none(), "another password");
    login.users.users.store(Arc::new(users(&entry("ann", HASH))));
    assert!(lives().await.is_none(), "it is over for good");
}

#[tokio::test]
async fn a_way_to_sign_in_that_is_closed_ends_its_sessions() {
    let mut login = login("");
    let cookie = signed_in(&login, "ann", None).await.cookie;
    let token = login.session(cookie.expose()).await.expect("asked").expect("it lasts");
    let token = login.token_of(&token).await.expect("a token");
    login.config.passwords = false;
    assert!(login.session(cookie.expose()).await.expect("asked").is_none());
    assert!(matches!(login.prove(&token).await, Err(Refused::BadCredentials(Cause::Expired))));
    assert!(login.leaving(cookie.expose()).await.expect("asked").is_some(), "one may leave");
}

#[tokio::test]
async fn a_form_for_a_password_is_good_once() {
    let login = login("");
    assert!(login.password_used("a").await.is_ok());
    assert!(matches!(login.password_used("a").await, Err(Refused::BadCredentials(Cause::Attempt))));
    assert!(login.password_used("b").await.is_ok());
}

#[tokio::test]
async fn one_token_is_not_renewed_for_ever() {
    let login = login("");
    let session = signed_in(&login, "ann", None).await.session;
    let token = login.token_of(&session).await.expect("a token");
    let key = Key::new(Kind::DriverToken, token.expose());
    let given = driver::Given { session: session.hash, ends: 0, renewed: 0 };
    login.store.put(key, &given, LONGEST).await.expect("kept");
    for _ in 0..200 {
        assert!(matches!(login.prove(&token).await, Err(Refused::Renewed { .. })));
    }
    assert!(matches!(login.prove(&token).await, Err(Refused::BadCredentials(Cause::Expired))));
}
