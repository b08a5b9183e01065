//! The OpenID relying party, and a real provider (Keycloak).

use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use serde_json::json;

use northgate::error::Failure as _;
use northgate::identity::Refused;
use northgate::identity::oidc::{Attempt, Config, DevicePolled, Provider, Renew, Renewal, Signed};

use crate::harness::double::{Double, Reply, json as reply};
use crate::harness::http::Response;
use crate::harness::keycloak::{Browser, Keycloak, attribute};

const GATE: &str = "https://localhost:8443";

/// A provider of the realm, with more configuration.
async fn provider(keycloak: &Keycloak, more: &str) -> Provider {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "northgate-secret\n").expect("written");
    let config: Config = toml::from_str(&format!(
        "name = \"keycloak\"\nissuer = \"http://127.0.0.1:{}/realms/bank\"\nclient_id = \"northgate\"\n\
         client_secret_file = '{}'\nuser_claim = \"preferred_username\"\ngroups_claim = \"groups\"\n\
         attributes = {{ tenant = \"tenant\", mail = \"email\" }}\n{more}",
        keycloak.port,
        secret.display()
    ))
    .expect("a configuration");
    let provider = Provider::new(config, GATE).expect("a provider");
    provider.ready().await.expect("the metadata can be read");
    provider
}

/// The query of the callback that a browser is sent to.
fn callback(page: &Response) -> String {
    let link = page.header("location").unwrap_or_else(|| panic!("no callback: {}", page.text()));
    let query = link.strip_prefix(&format!("{GATE}/login/oidc/keycloak/callback?"));
    query.unwrap_or_else(|| panic!("another address: {link}")).to_owned()
}

/// Ends a sign-in with what the browser brings.
async fn finish(provider: &Provider, attempt: Attempt, query: &str) -> Result<Signed, Refused> {
    let code = provider.judge(&attempt, query, SystemTime::now())?;
    provider.finish(attempt, code, SystemTime::now()).await
}

/// Signs in, on the page of the provider if it shows one.
async fn sign_in(provider: &Provider, browser: &mut Browser, user: &str) -> Result<Signed, Refused> {
    let begun = provider.begin(SystemTime::now()).expect("begun");
    let page = browser.get(&begun.url);
    let page = if page.text().contains("kc-form-login") { browser.sign_in(&page, user) } else { page };
    finish(provider, begun.attempt, &callback(&page)).await
}

/// Renews a session with its last refresh token.
async fn renew(provider: &Provider, signed: &Signed) -> Result<Renewal, Refused> {
    let refresh_token = signed.tokens.refresh_token.as_ref().expect("a refresh token");
    let user = &signed.user;
    let session = Renew { refresh_token, subject: &user.subject, nonce: user.nonce.as_deref() };
    provider.renew(session, SystemTime::now()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_provider() {
    let keycloak = tokio::task::block_in_place(Keycloak::start);
    let gate = provider(&keycloak, "").await;
    who_signs_in(&keycloak, &gate).await;
    callbacks(&keycloak, &gate).await;
    renewals(&keycloak, &gate).await;
    terminals(&keycloak, &gate).await;
    logouts(&keycloak, &gate).await;
    public_and_by_userinfo(&keycloak).await;
    a_new_key(&keycloak, &gate).await;
}

async fn who_signs_in(keycloak: &Keycloak, gate: &Provider) {
    for (user, groups) in [("eva", &["analysts", "branch-eu"][..]), ("otto", &["auditors"]), ("nora", &[])] {
        let mut browser = Browser::new(keycloak.port);
        let signed = sign_in(gate, &mut browser, user).await.expect(user);
        assert_eq!(signed.user.user, user);
        assert_eq!(signed.user.groups, groups, "{user}");
        assert_eq!(signed.user.attributes["tenant"], "acme");
        assert_eq!(signed.user.attributes["mail"], format!("{user}@bank.example"));
        assert!(signed.user.session.is_some() && signed.user.authenticated_at.is_some());
        assert!(signed.tokens.access_token_expires > Some(SystemTime::now()));
        // There is a session now: the page does not come again, and it is the same session.
        let again = sign_in(gate, &mut browser, "nobody").await.expect("without a page");
        assert_eq!((&again.user.subject, &again.user.session), (&signed.user.subject, &signed.user.session));
    }
    // With `prompt` it does, and `max_age` holds of what the provider says of it.
    let strict = provider(keycloak, "prompt = \"login\"\nmax_age = \"1m\"\n").await;
    let mut browser = Browser::new(keycloak.port);
    for _ in 0..2 {
        let begun = strict.begin(SystemTime::now()).expect("begun");
        let page = browser.get(&begun.url);
        let page = browser.sign_in(&page, "eva");
        let signed = finish(&strict, begun.attempt, &callback(&page)).await;
        assert_eq!(signed.expect("signed in").user.user, "eva");
    }
    let required = provider(keycloak, "require = { tenant = \"other\" }\n").await;
    let refused =
        sign_in(&required, &mut Browser::new(keycloak.port), "eva").await.expect_err("another tenant");
    assert!(refused.to_string().contains("a required claim differs"), "{refused}");
}

async fn callbacks(keycloak: &Keycloak, gate: &Provider) {
    let refused = |refused: Result<Signed, Refused>, expect: &str| {
        let refused = refused.expect_err(expect);
        assert!(matches!(refused, Refused::BadCredentials(_)), "{refused:?}");
        assert!(refused.to_string().contains(expect), "{refused}");
        assert!(refused.client_message().starts_with("Authentication failed: "));
    };
    let mut browser = Browser::new(keycloak.port);
    sign_in(gate, &mut browser, "eva").await.expect("signed in");
    let now = SystemTime::now();
    // Keycloak names its issuer (RFC 9207), and says that it does.
    let begun = gate.begin(now).expect("begun");
    let query = callback(&browser.get(&begun.url));
    let without: Vec<_> = query.split('&').filter(|pair| !pair.starts_with("iss=")).collect();
    assert_ne!(without.join("&"), query);
    refused(finish(gate, begun.attempt.clone(), &without.join("&")).await, "does not name its issuer");
    let other = query.replace("realms%2Fbank", "realms%2Fother");
    refused(finish(gate, begun.attempt.clone(), &other).await, "of another issuer");
    // Of another attempt of the same browser.
    let second = gate.begin(now).expect("begun").attempt;
    refused(finish(gate, second, &query).await, "state is of another attempt");
    // A code is good once.
    finish(gate, begun.attempt.clone(), &query).await.expect("signed in");
    refused(finish(gate, begun.attempt, &query).await, "invalid_grant");
    // Nor is the code of one attempt good with the verifier of another.
    let (first, second) = (gate.begin(now).expect("begun"), gate.begin(now).expect("begun"));
    let query = callback(&browser.get(&first.url));
    let query = query.replace(first.attempt.state(), second.attempt.state());
    refused(finish(gate, second.attempt, &query).await, "invalid_grant");
    // Somebody who is not signed in, and shall not be asked.
    let begun = gate.begin(now).expect("begun");
    let page = Browser::new(keycloak.port).get(&format!("{}&prompt=none", begun.url));
    refused(finish(gate, begun.attempt, &callback(&page)).await, "login_required");
}

async fn renewals(keycloak: &Keycloak, gate: &Provider) {
    let mut browser = Browser::new(keycloak.port);
    let signed = sign_in(gate, &mut browser, "eva").await.expect("signed in");
    let Ok(Renewal::Renewed(renewed)) = renew(gate, &signed).await else { panic!("not renewed") };
    let user = renewed.user.expect("a new ID token");
    assert_eq!((user.user.as_str(), &user.subject), ("eva", &signed.user.subject));
    assert_ne!(renewed.tokens.access_token.expose(), signed.tokens.access_token.expose());
    // Of another subject.
    let refresh_token = signed.tokens.refresh_token.as_ref().expect("a refresh token");
    let session = Renew { refresh_token, subject: "other", nonce: signed.user.nonce.as_deref() };
    let refused = gate.renew(session, SystemTime::now()).await.expect_err("another subject");
    assert!(refused.to_string().contains("another subject"), "{refused}");
    // The groups are those of now.
    let find = |path: &str, name: &str, field: &str| {
        let all = keycloak.administer("GET", path, b"");
        let one = all.as_array().expect("a list").iter().find(|one| one[field] == name).expect(name);
        one["id"].as_str().expect("an id").to_owned()
    };
    let path = format!(
        "/users/{}/groups/{}",
        find("/users", "eva", "username"),
        find("/groups", "branch-eu", "name")
    );
    keycloak.administer("DELETE", &path, b"");
    let Ok(Renewal::Renewed(renewed)) = renew(gate, &signed).await else { panic!("not renewed") };
    assert_eq!(renewed.user.expect("a new ID token").groups, ["analysts"]);
    keycloak.administer("PUT", &path, b"");
    // An administrator ends the session.
    let session = signed.user.session.as_deref().expect("a session");
    keycloak.administer("DELETE", &format!("/sessions/{session}"), b"");
    assert!(matches!(renew(gate, &signed).await, Ok(Renewal::Ended)));
}

async fn terminals(keycloak: &Keycloak, gate: &Provider) {
    let wait = |attempt: &northgate::identity::oidc::DeviceAttempt| attempt.next() + Duration::from_secs(1);
    for accepts in [true, false] {
        let mut begun = gate.device_begin(SystemTime::now()).await.expect("begun");
        let attempt = &mut begun.attempt;
        let polled = gate.device_poll(attempt, SystemTime::now()).await.expect("polled");
        assert!(matches!(polled, DevicePolled::Pending), "not asked yet: {polled:?}");
        let polled = gate.device_poll(attempt, wait(&attempt.clone())).await.expect("polled");
        assert!(matches!(polled, DevicePolled::Pending), "not done yet: {polled:?}");

        let mut browser = Browser::new(keycloak.port);
        let page = browser.get(&begun.address_with_code.expect("a link"));
        let page = browser.sign_in(&page, "eva");
        let text = page.text();
        let form = &text[text.find("<form").unwrap_or_else(|| panic!("no question: {text}"))..];
        let link = attribute(form, "action");
        let link =
            if link.starts_with('/') { format!("http://127.0.0.1:{}{link}", keycloak.port) } else { link };
        let code = form.find("name=\"code\"").map(|at| attribute(&form[at..], "value")).unwrap_or_default();
        browser.post(&link, &[("code", code.as_str()), (if accepts { "accept" } else { "cancel" }, "x")]);

        // It minds how soon it is asked again, by its own clock.
        tokio::time::sleep(Duration::from_secs(6)).await;
        let polled = gate.device_poll(attempt, wait(&attempt.clone())).await.expect("polled");
        match polled {
            DevicePolled::Signed(signed) if accepts => {
                assert_eq!((signed.user.user.as_str(), signed.user.groups.len()), ("eva", 2));
                assert!(matches!(renew(gate, &signed).await, Ok(Renewal::Renewed(_))));
            }
            DevicePolled::Declined if !accepts => {}
            polled => panic!("{accepts}: {polled:?}"),
        }
    }
}

async fn logouts(keycloak: &Keycloak, gate: &Provider) {
    // Keycloak posts a logout token here.
    let (posts, posted) = mpsc::channel();
    let posts = std::sync::Mutex::new(posts);
    let double = Double::start(move |request: &str| -> Reply {
        let _ = posts.lock().expect("no panic in a lock").send(request.to_owned());
        reply("200 OK", "{}")
    });
    let clients = keycloak.administer("GET", "/clients?clientId=northgate", b"");
    let mut client = clients[0].clone();
    client["attributes"]["backchannel.logout.url"] = json!(format!("{}/logout", double.url()));
    client["attributes"]["backchannel.logout.session.required"] = json!("true");
    let path = format!("/clients/{}", client["id"].as_str().expect("an id"));
    keycloak.administer("PUT", &path, client.to_string().as_bytes());

    let mut browser = Browser::new(keycloak.port);
    let signed = sign_in(gate, &mut browser, "otto").await.expect("signed in");
    let back = format!("{GATE}/login");
    let url =
        gate.logout(Some(&signed.user.id_token), &back, Some("bye")).expect("known").expect("an address");
    let page = browser.get(&url);
    assert_eq!(page.header("location"), Some(format!("{back}?state=bye").as_str()), "{}", page.text());
    let begun = gate.begin(SystemTime::now()).expect("begun");
    let page = browser.get(&begun.url);
    assert!(page.text().contains("kc-form-login"), "the session there has ended");
    assert!(matches!(renew(gate, &signed).await, Ok(Renewal::Ended)));

    let request = posted.recv_timeout(Duration::from_secs(30)).expect("a logout token");
    let body = request.split("\r\n\r\n").nth(1).expect("a body");
    let token = body.split('&').find_map(|pair| pair.strip_prefix("logout_token=")).expect("a field");
    let out = gate.accept_logout(token, SystemTime::now()).await.expect("it holds");
    assert_eq!(out.session, signed.user.session);
    assert_eq!(out.subject.as_ref(), Some(&signed.user.subject));
    let forged = gate.accept_logout(signed.user.id_token.expose(), SystemTime::now()).await;
    assert!(forged.is_err(), "an ID token is no logout token");
}

/// Without a secret; and with the groups told by the UserInfo endpoint alone.
async fn public_and_by_userinfo(keycloak: &Keycloak) {
    let mapper = |id_token: &str| {
        json!({
            "name": "groups", "protocol": "openid-connect", "protocolMapper": "oidc-group-membership-mapper",
            "config": {
                "claim.name": "groups", "full.path": "false", "id.token.claim": id_token,
                "access.token.claim": "false", "userinfo.token.claim": "true"
            }
        })
    };
    let client = json!({
        "clientId": "terminal", "publicClient": true, "standardFlowEnabled": true,
        "redirectUris": [format!("{GATE}/login/oidc/terminal/callback")], "protocolMappers": [mapper("false")],
    });
    keycloak.administer("POST", "/clients", client.to_string().as_bytes());
    for (userinfo, groups) in [(false, &[][..]), (true, &["auditors"])] {
        let config: Config = toml::from_str(&format!(
            "name = \"terminal\"\nissuer = \"http://127.0.0.1:{}/realms/bank\"\nclient_id = \"terminal\"\n\
             user_claim = \"preferred_username\"\ngroups_claim = \"groups\"\nuserinfo = {userinfo}\n",
            keycloak.port
        ))
        .expect("a configuration");
        let public = Provider::new(config, GATE).expect("a provider");
        public.ready().await.expect("the metadata can be read");
        let begun = public.begin(SystemTime::now()).expect("begun");
        let mut browser = Browser::new(keycloak.port);
        let page = browser.get(&begun.url);
        let page = browser.sign_in(&page, "otto");
        let query = page.header("location").and_then(|link| link.split_once('?')).expect("a callback").1;
        let signed = finish(&public, begun.attempt, query).await.expect("signed in");
        assert_eq!(
            (signed.user.user.as_str(), &signed.user.groups[..]),
            ("otto", &groups.iter().map(|group| (*group).to_owned()).collect::<Vec<_>>()[..])
        );
    }
}

/// The provider signs with a key that it did not have when we last looked.
async fn a_new_key(keycloak: &Keycloak, gate: &Provider) {
    let realm = keycloak.administer("GET", "", b"");
    let key = json!({
        "name": "newer", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider",
        "parentId": realm["id"], "config": {"priority": ["900"], "algorithm": ["RS256"]},
    });
    keycloak.administer("POST", "/components", key.to_string().as_bytes());
    let mut browser = Browser::new(keycloak.port);
    // What was read within the last ten seconds is not read again.
    let mut last = String::new();
    for _ in 0..30 {
        match sign_in(gate, &mut browser, "eva").await {
            Ok(signed) => return assert_eq!(signed.user.user, "eva"),
            Err(refused) => last = refused.to_string(),
        }
        assert!(last.contains("unknown key"), "{last}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("{last}");
}
