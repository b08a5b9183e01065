//! Sign-in as attackers would have it: answers changed on their way, other sites' forms, headers that claim more than the
//! login, cookies that were planted.

use std::io::Write as _;
use std::process::Command;

use serde_json::json;

use crate::harness::chromium::Chromium;
use crate::harness::gateway::{certificates, password_of};
use crate::harness::http::path_of;
use crate::harness::keycloak::{Browser, Keycloak, field};
use crate::harness::sign_in::{by_password, by_saml, challenge, keycloak, oidc, origin, poll};
use crate::harness::{Client, Gateway, Response};
use crate::tokens::token;

const COUNT: &str = "SELECT count(*) FROM lake.silver.customers";
const SESSION: &str = "__Host-northgate-session";

/// What an answer has a browser carry, as the browser sends it.
fn carried(response: &Response, name: &str) -> Option<String> {
    let set = response.headers.iter().filter(|(header, _)| header == "set-cookie");
    let mut pairs = set.filter_map(|(_, value)| value.split(';').next());
    pairs.find(|pair| pair.starts_with(name) && !pair.ends_with('=')).map(str::to_owned)
}

/// A form, as a page of ours sends it.
fn form(gateway: &Gateway, cookie: &str, path: &str, body: &str) -> Response {
    let client = gateway.client().with("Cookie", cookie).with("Origin", origin(gateway));
    client.with("Content-Type", "application/x-www-form-urlencoded").send("POST", path, body.as_bytes())
}

/// Signs in with a password, as a browser does: the cookie of the session, and the key of its forms.
fn signed_in(gateway: &Gateway, user: &str) -> (String, String) {
    let page = gateway.client().get("/login/password");
    let cookie = carried(&page, "__Host-northgate-sign-in-").expect("a cookie");
    let attempt = field(&page, "attempt").expect("a field");
    let body = format!("attempt={attempt}&user={user}&password={}", password_of(user));
    let answer = form(gateway, &cookie, "/login/password", &body);
    let session = carried(&answer, SESSION).unwrap_or_else(|| panic!("{}: {}", answer.status, answer.text()));
    let home = gateway.client().with("Cookie", &session).get("/");
    (session, field(&home, "key").expect("a key"))
}

/// Changes a parameter of an address, or takes it out.
fn changed(url: &str, name: &str, value: Option<&str>) -> String {
    let (place, query) = url.split_once('?').expect("a query");
    let prefix = format!("{name}=");
    assert!(query.split('&').any(|pair| pair.starts_with(&prefix)), "{name} in {url}");
    let pairs = query.split('&').filter(|pair| !pair.starts_with(&prefix)).map(str::to_owned);
    let pairs: Vec<_> = pairs.chain(value.map(|value| format!("{prefix}{value}"))).collect();
    format!("{place}?{}", pairs.join("&"))
}

fn parameter(url: &str, name: &str) -> String {
    let prefix = format!("{name}=");
    let (_, query) = url.split_once('?').expect("a query");
    let found = query.split('&').find_map(|pair| pair.strip_prefix(&prefix));
    found.unwrap_or_else(|| panic!("{name} in {url}")).to_owned()
}

/// Begins a sign-in: where the browser is sent, and what it carries.
fn begin(gateway: &Gateway, provider: &str) -> (String, String) {
    let begun = gateway.client().get(&format!("/login/oidc/{provider}"));
    let cookie = carried(&begun, "__Host-northgate-sign-in-").expect("a cookie");
    (begun.header("location").expect("an address").to_owned(), cookie)
}

/// Signs eva in there; the path that her browser is sent back to.
fn answer(keycloak: &Keycloak, url: &str) -> String {
    let mut browser = Browser::new(keycloak.port);
    let page = browser.get(url);
    let page = if page.text().contains("kc-form-login") { browser.sign_in(&page, "eva") } else { page };
    path_of(page.header("location").unwrap_or_else(|| panic!("{url}: {}", page.text())))
}

/// A second realm, whose eva is somebody else, and who signs in beside the bank's.
fn with_partner(keycloak: &Keycloak) -> Gateway {
    let client = json!({
        "clientId": "northgate", "secret": "northgate-secret", "standardFlowEnabled": true,
        "redirectUris": ["https://localhost:*"], "attributes": {"pkce.code.challenge.method": "S256"},
    });
    let user = json!({
        "username": "eva", "enabled": true, "email": "eva@partner.example", "emailVerified": true,
        "firstName": "Eva", "lastName": "Roth", "credentials": [{"type": "password", "value": "eva-secret"}],
    });
    let realm = json!({"realm": "partner", "enabled": true, "sslRequired": "none", "clients": [client], "users": [user]});
    keycloak.administer_all("POST", "", realm.to_string().as_bytes());
    let mut settings = oidc(keycloak, "");
    settings.more.push_str(&format!(
        "[[identity.oidc]]\nname = 'partner'\ntitle = 'The partner'\n\
         issuer = 'http://127.0.0.1:{}/realms/partner'\nclient_id = 'northgate'\nclient_secret_file = 'oidc.secret'\n\
         user_claim = 'preferred_username'\n\
         [[identity.mapping]]\nfrom = 'oidc:partner'\nmatch = '(.*)'\nuser = 'partner-$1'\n",
        keycloak.port
    ));
    Gateway::start(settings)
}

#[test]
fn answers_of_openid_providers_that_were_changed() {
    let keycloak = keycloak();
    let gateway = with_partner(keycloak);
    let bring = |callback: &str, cookie: &str| gateway.client().with("Cookie", cookie).get(callback);
    let refused = |callback: &str, cookie: &str, what: &str| {
        let response = bring(callback, cookie);
        assert!(matches!(response.status, 403 | 503), "{what}: {} {}", response.status, response.text());
        assert_eq!(carried(&response, SESSION), None, "{what}");
    };
    // What the browser takes there, changed: state, nonce and PKCE, of another attempt or none.
    let other = begin(&gateway, "keycloak").0;
    for name in ["state", "nonce", "code_challenge"] {
        for value in [Some(parameter(&other, name)), None] {
            let (url, cookie) = begin(&gateway, "keycloak");
            let callback = answer(keycloak, &changed(&url, name, value.as_deref()));
            refused(&callback, &cookie, &format!("{name}: {value:?}"));
        }
    }
    let (url, cookie) = begin(&gateway, "keycloak");
    let plain = changed(&url, "code_challenge_method", Some("plain"));
    refused(&answer(keycloak, &plain), &cookie, "a challenge that is its own verifier");
    // What it brings back, changed.
    for name in ["state", "code", "iss"] {
        for value in [Some("x"), Some(""), None] {
            let (url, cookie) = begin(&gateway, "keycloak");
            refused(&changed(&answer(keycloak, &url), name, value), &cookie, &format!("{name}: {value:?}"));
        }
    }
    // An answer of one provider, taken to the address of another.
    let (url, cookie) = begin(&gateway, "keycloak");
    let callback = answer(keycloak, &url);
    refused(&callback.replace("/keycloak/", "/partner/"), &cookie, "at another's address");
    assert_eq!(bring(&callback, &cookie).status, 303, "it was good where it belongs");
    // Somebody who begins at the partner, and is sent to the bank (mix-up).
    let (url, cookie) = begin(&gateway, "partner");
    let callback = answer(keycloak, &url.replace("/realms/partner/", "/realms/bank/"));
    assert!(callback.starts_with("/login/oidc/partner/callback?"), "{callback}");
    refused(&callback, &cookie, "of another issuer");
    refused(&changed(&callback, "iss", None), &cookie, "without its issuer");
    // Both providers have an eva. They are two users.
    for (provider, user) in [("keycloak", "eva"), ("partner", "partner-eva")] {
        let (url, cookie) = begin(&gateway, provider);
        let signed_in = bring(&answer(keycloak, &url), &cookie);
        let session = carried(&signed_in, SESSION).unwrap_or_else(|| panic!("{}", signed_in.text()));
        let home = gateway.client().with("Cookie", session).get("/").text();
        assert!(home.contains(&format!("Signed in as {user}<")), "{home}");
    }
}

#[test]
fn a_saml_answer_leads_nowhere_else_and_to_nobody_else() {
    let keycloak = keycloak();
    let (gateway, _files) = by_saml(keycloak);
    let begin = || {
        let begun = gateway.client().get("/login/saml/keycloak");
        let cookie = carried(&begun, "__Host-northgate-sign-in-").expect("a cookie");
        (begun.header("location").expect("an address").to_owned(), cookie)
    };
    let asserted = |url: &str, user: &str| {
        let mut browser = Browser::new(keycloak.port);
        let page = browser.get(url);
        let page = browser.sign_in(&page, user);
        field(&page, "SAMLResponse").expect("an answer")
    };
    let encode = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let accept = |message: &str, more: &str| {
        let body = format!("SAMLResponse={}{more}", encode(message));
        let client = gateway.client().with("Content-Type", "application/x-www-form-urlencoded");
        let client = client.with("Origin", format!("http://127.0.0.1:{}", keycloak.port));
        client.send("POST", "/login/saml/keycloak/acs", body.as_bytes())
    };
    let (url, own) = begin();
    let (_, of_another) = begin();
    // Eva's answer, in the browser of somebody who has begun a sign-in of their own.
    let accepted = accept(&asserted(&url, "eva"), "&RelayState=https%3A%2F%2Fevil.example%2F");
    let finish = accepted.header("location").expect("an address").to_owned();
    assert!(finish.starts_with("/login/finish?answer="), "{finish}");
    let stranger = gateway.client().with("Cookie", of_another).get(&finish);
    assert_eq!((stranger.status, carried(&stranger, SESSION)), (403, None));
    let (url, own_again) = begin();
    let accepted = accept(&asserted(&url, "eva"), "&RelayState=https%3A%2F%2Fevil.example%2F");
    let finish = accepted.header("location").expect("an address").to_owned();
    let done = gateway.client().with("Cookie", format!("{own}; {own_again}")).get(&finish);
    assert_eq!((done.status, done.header("location")), (303, Some("/")), "nowhere else");
    let session = carried(&done, SESSION).expect("a session");
    // Two answers in one form, and one twice.
    let (url, cookie) = begin();
    let message = asserted(&url, "eva");
    let twice = accept(&message, &format!("&SAMLResponse={}", encode(&message)));
    assert_eq!(twice.status, 403);
    assert_eq!(accept(&message, "").status, 303, "the first was not taken");
    assert_eq!(gateway.client().with("Cookie", cookie).get("/login/finish?answer=x").status, 403);
    // Nobody signs her out but her provider: what is not signed is not looked at.
    for message in ["SAMLRequest=PHg%2BPC94Pg%3D%3D", "SAMLResponse=PHg%2BPC94Pg%3D%3D"] {
        let logout = format!("/login/saml/keycloak/logout?{message}&RelayState=https%3A%2F%2Fevil.example");
        let response = gateway.client().with("Cookie", &session).get(&logout);
        assert_eq!(response.status, 403, "{}", response.text());
        assert!(!format!("{:?}{}", response.headers, response.text()).contains("evil.example"));
    }
    assert_eq!(gateway.client().with("Cookie", session).get("/").status, 200);
}

#[test]
fn a_session_that_was_planted_is_worth_nothing() {
    let gateway = by_password("");
    let browser = Chromium::open();
    let (of_otto, _) = signed_in(&gateway, "otto");
    let of_otto = of_otto.split_once('=').expect("a value").1.to_owned();
    browser.go(&format!("{}/login", origin(&gateway)));
    for planted in ["chosen-by-an-attacker", of_otto.as_str()] {
        browser.plant(SESSION, planted);
        // The page of a driver: whoever is signed in is asked, and may sign in as another.
        let (initiate, token) = challenge(&gateway, Some("eva"));
        browser.go(&initiate);
        if planted == of_otto {
            browser.reads("you are signed in as 'otto'");
            browser.go(&format!(
                "{}/login/password?driver={}",
                origin(&gateway),
                initiate.rsplit('/').next().expect("a ticket")
            ));
        }
        browser.sign_in_by_password("eva");
        browser.reads("Let this program in?");
        let cookies = browser.cookies();
        let session = cookies.iter().find(|cookie| cookie["name"] == SESSION).expect("a session");
        assert_ne!(session["value"], planted);
        let old = gateway.client().with("Cookie", format!("{SESSION}={planted}"));
        assert_eq!(old.get("/tokens").status, 303, "what was planted is no session, or none any more");
        assert!(poll(&gateway.client(), &token)["token"].is_null());
    }
}

#[test]
fn forms_of_other_sites_do_nothing() {
    let gateway = by_password("");
    let (cookie, key) = signed_in(&gateway, "eva");
    let (_, of_otto) = signed_in(&gateway, "otto");
    let own = || gateway.client().with("Cookie", &cookie);
    let made = form(&gateway, &cookie, "/tokens", &format!("key={key}&name=mine&days=7&read_only=yes"));
    assert_eq!(made.status, 200, "{}", made.text());
    let listed = || own().get("/tokens").text();
    let page = listed();
    let id = page.split("/tokens/").nth(1).and_then(|rest| rest.split('/').next()).expect("an id").to_owned();
    let (initiate, token) = challenge(&gateway, Some("eva"));
    let initiate = path_of(&initiate);
    let here = origin(&gateway);
    let key_of = |key: &str| format!("key={key}");
    for path in ["/tokens", &format!("/tokens/{id}/revoke"), "/logout", &initiate] {
        let body = |key: &str| format!("{key}&name=evil&days=7&decision=allow");
        for (headers, body, what) in [
            (&[][..], body(&key_of(&key)), "a browser that says nothing of where it is from"),
            (&[("Origin", "https://evil.example")], body(&key_of(&key)), "another site"),
            (&[("Origin", "null")], body(&key_of(&key)), "a page in a sandbox"),
            (&[("Origin", "https://localhost")], body(&key_of(&key)), "another port"),
            (&[("Sec-Fetch-Site", "cross-site")], body(&key_of(&key)), "another site"),
            (&[("Sec-Fetch-Site", "same-site")], body(&key_of(&key)), "a sibling"),
            (&[("Sec-Fetch-Site", "none")], body(&key_of(&key)), "nobody's page"),
            (
                &[("Origin", here.as_str()), ("Sec-Fetch-Site", "cross-site")],
                body(&key_of(&key)),
                "two words",
            ),
            (&[("Origin", here.as_str())], body(""), "no key"),
            (&[("Origin", here.as_str())], body(&key_of("")), "an empty key"),
            (&[("Origin", here.as_str())], body(&key_of(&of_otto)), "another's key"),
            (&[("Origin", here.as_str())], body(&format!("key={key}&key={key}")), "a key twice"),
        ] {
            let client = headers.iter().fold(own(), |client, (name, value)| client.with(name, *value));
            let client = client.with("Content-Type", "application/x-www-form-urlencoded");
            let response = client.send("POST", path, body.as_bytes());
            assert_eq!(response.status, 403, "{path}: {what}: {}", response.text());
        }
        // By an address alone nothing is done, whatever is in it.
        let by_address =
            own().with("Origin", &here).get(&format!("{path}?key={key}&name=evil&decision=allow"));
        assert!(matches!(by_address.status, 200 | 303 | 405), "{path}: {}", by_address.status);
        let in_address =
            own().with("Origin", &here).send("POST", &format!("{path}?key={key}"), b"name=evil&days=7");
        assert_eq!(in_address.status, 403, "{path}: a key in the address");
    }
    let after = listed();
    assert!(after.contains(&id) && !after.contains("evil"), "{after}");
    assert!(poll(&gateway.client(), &token)["nextUri"].is_string(), "nobody was let in");
    // Nor does a session that has no form of this key, or another's token.
    let (of_nora, key_of_nora) = signed_in(&gateway, "nora");
    assert_eq!(
        form(&gateway, &of_nora, &format!("/tokens/{id}/revoke"), &format!("key={key_of_nora}")).status,
        404
    );
    assert!(listed().contains(&id));
}

#[test]
fn who_leaves_is_signed_in_nowhere() {
    let gateway = by_password("");
    let (of_eva, key) = signed_in(&gateway, "eva");
    let (of_otto, _) = signed_in(&gateway, "otto");
    let (initiate, driver) = challenge(&gateway, Some("eva"));
    form(&gateway, &of_eva, &path_of(&initiate), &format!("key={key}&decision=allow"));
    let secret = poll(&gateway.client(), &driver)["token"].as_str().expect("a token").to_owned();
    let ask = || gateway.client().bearer(&secret).submit("SELECT 1").status;
    assert_eq!(ask(), 200);
    token(&gateway, &["revoke", "--user", "eva"]);
    let sees = |session: &str| gateway.client().with("Cookie", session).get("/tokens").status;
    assert_eq!((sees(&of_eva), sees(&of_otto)), (303, 200));
    assert_eq!(ask(), 401, "the driver that the session had let in");
    let made = form(&gateway, &of_eva, "/tokens", &format!("key={key}&name=late&days=7"));
    assert_eq!((made.status, made.header("location")), (303, Some("/login")));
    let ended = |record: &serde_json::Value| {
        record["action"] == "end_sessions" && record["detail"] == "all sessions of eva"
    };
    assert!(gateway.audit().iter().any(ended));
}

#[test]
fn a_page_of_before_is_not_shown_after_signing_out() {
    let gateway = by_password("");
    let browser = Chromium::open();
    browser.go(&format!("{}/login/password", origin(&gateway)));
    browser.sign_in_by_password("eva");
    browser.reads("Signed in as eva");
    browser.click("nav a[href='/tokens']");
    browser.reads("You have none yet.");
    browser.fill("#name", "a report");
    browser.click("main form.card button");
    browser.reads("Copy it now");
    let secret = browser.text_of("pre.secret");
    browser.go(&format!("{}/tokens", origin(&gateway)));
    browser.reads("a report");
    browser.click("header button");
    browser.reads("You are signed out");
    for _ in 0..5 {
        browser.back();
        let text = browser.text();
        assert!(
            !text.contains("a report") && !text.contains(&secret) && !text.contains("Signed in as"),
            "{text}"
        );
    }
}

#[test]
fn headers_that_claim_more_than_the_login() {
    let gateway = crate::harness::gateway();
    let eva = || gateway.signed_in("eva");
    for (name, value) in [
        ("X-Trino-Original-User", "admin"),
        ("X-Trino-Original-Roles", "system=ROLE{admin}"),
        ("X-Trino-Authorization-User", "admin"),
        ("X-Trino-Extra-Credential", "user=admin,password=admin-secret"),
        ("X-Trino-Role", "system=ALL"),
        ("X_Trino_User", "admin"),
        ("X-Amzn-Oidc-Identity", "admin"),
        ("X-Amzn-Oidc-Accesstoken", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9."),
        ("X-Amzn-Oidc-Data", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9."),
        ("X-Forwarded-User", "admin"),
        ("X-Remote-User", "admin"),
        ("Remote-User", "admin"),
        ("Cookie", "__Host-northgate-session=x"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-Original-URL", "/v1/info"),
    ] {
        let answer = eva().with(name, value).query("SELECT current_user");
        assert_eq!(answer.value(), "eva", "{name}: {value}");
        let answer = eva().with(name, value).query(COUNT);
        let id = answer.id.clone();
        assert_eq!(answer.value(), 120, "{name}: {value}");
        let records = gateway.audit_of(&id, |records| !records.is_empty());
        assert_eq!(
            (&records[0]["principal"], records[0].get("impersonator")),
            (&json!("eva"), None),
            "{name}"
        );
        // And alone it is no login.
        let nobody = gateway.client().with(name, value).submit("SELECT 1").status;
        assert_eq!(nobody, 401, "{name}: {value}");
    }
    for (headers, expect) in [
        (&[("X-Trino-User", "admin")][..], 403),
        (&[("X-Trino-User", "admin"), ("X-Trino-Original-User", "eva")], 403),
        (&[("X-Trino-User", "eva"), ("X-Trino-User", "admin")], 400),
        (&[("X-Trino-User", "admin"), ("x-trino-user", "eva")], 400),
        (&[("X-Trino-User", "eva,admin")], 403),
        (&[("X-Trino-User", "EVA")], 403),
        (&[("X-Presto-User", "admin")], 400),
        (&[("X-Trino-Role", "system=ROLE{admin}")], 400),
        (&[("X-Trino-Role", "lake=ROLE{admin}")], 400),
        (&[("X-Trino-User ", "admin")], 400),
        (&[("Transfer-Encoding", "chunked")], 400),
    ] {
        let client = headers.iter().fold(eva(), |client, (name, value)| client.with(name, *value));
        let response = client.submit("SELECT current_user");
        assert_eq!(response.status, expect, "{headers:?}: {}", response.text());
    }
}

/// By HTTP/1.1 and HTTP/2: the status of a query with these headers.
fn by_curl(gateway: &Gateway, version: &str, headers: &[&str], target: &str) -> String {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", version, "--data", "SELECT 1", "--output", "/dev/null"]);
    curl.args(["--write-out", "%{http_version} %{http_code}"])
        .arg("--cacert")
        .arg(certificates().join("ca.pem"));
    for header in headers {
        curl.args(["--header", header]);
    }
    let output = curl.arg(format!("{}{target}", origin(gateway))).output().expect("curl runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn which_of_two_logins_is_meant_is_not_guessed() {
    let gateway = crate::harness::gateway();
    let basic = |user: &str| {
        use base64::Engine as _;
        let text = format!("{user}:{}", password_of(user));
        format!("Authorization: Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
    };
    let (eva, admin) = (basic("eva"), basic("admin"));
    let bearer = "Authorization: Bearer x.y.z";
    let in_one = format!("{admin}, {}", eva.trim_start_matches("Authorization: "));
    for (version, name) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let check = |headers: &[&str], target: &str, expect: &str| {
            let got = by_curl(gateway, version, headers, target);
            assert_eq!(got, format!("{name} {expect}"), "{headers:?} {target}");
        };
        check(&[&eva], "/v1/statement", "200");
        check(&[&eva, &admin], "/v1/statement", "400");
        check(&[&admin, &eva], "/v1/statement", "400");
        check(&[&eva, &eva], "/v1/statement", "400");
        check(&[&eva, bearer], "/v1/statement", "400");
        check(&[bearer, &eva], "/v1/statement", "400");
        check(&[&in_one], "/v1/statement", "400");
        check(&["Proxy-Authorization: Basic eDp5"], "/v1/statement", "401");
        // A login in the address is none, and is not looked for there.
        for target in ["/v1/statement?access_token=x.y.z", "/v1/statement?user=eva&password=eva-secret"] {
            check(&[], target, "404");
            check(&[&eva], target, "404");
        }
        check(&[&eva], "/v1/statement/", "404");
        check(&[&eva], "/v1/%73tatement", "404");
        check(&[&eva], "//v1/statement", "404");
        check(&[&eva], "/V1/statement", "404");
    }
    let with_name = |credentials: &str| {
        let url = format!("https://{credentials}@localhost:{}/v1/statement", gateway.port);
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--data", "SELECT 1", "--output", "/dev/null", "--write-out", "%{http_code}"]);
        let output =
            curl.arg("--cacert").arg(certificates().join("ca.pem")).arg(url).output().expect("curl runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(with_name("eva:eva-secret"), "200", "curl makes a header of it");
}

/// Sends a request as it is, and gives all of its answer.
fn all_of(gateway: &Gateway, request: &str) -> String {
    let mut wire = gateway.client().connect();
    wire.write_all(request.as_bytes()).and_then(|()| wire.flush()).expect("it listens");
    let response = Response::read(wire, false);
    format!("{} {:?} {}", response.status, response.headers, response.text())
}

#[test]
fn our_address_is_the_one_that_is_configured() {
    let keycloak = keycloak();
    let gateway = Gateway::start(oidc(keycloak, ""));
    for path in ["/", "/login", "/login/oidc/keycloak", "/logout", "/nothing", "/oauth2/token/initiate/x"] {
        for request in [
            format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"),
            format!(
                "GET https://evil.example{path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
            ),
            format!(
                "GET {path} HTTP/1.1\r\nHost: localhost:{}\r\nX-Forwarded-Host: evil.example\r\n\
                 X-Forwarded-Proto: http\r\nForwarded: host=evil.example\r\nConnection: close\r\n\r\n",
                gateway.port
            ),
        ] {
            let answer = all_of(&gateway, &request);
            assert!(!answer.contains("evil.example"), "{request}\n{answer}");
        }
    }
    let challenged = |head: &str| {
        let request = format!(
            "POST /v1/statement HTTP/1.1\r\n{head}\r\nContent-Length: 8\r\nConnection: close\r\n\r\nSELECT 1"
        );
        all_of(&gateway, &request)
    };
    for head in [
        "Host: evil.example".to_owned(),
        format!("Host: localhost:{}\r\nX-Forwarded-Host: evil.example", gateway.port),
    ] {
        let answer = challenged(&head);
        assert!(
            answer.contains(&format!("x_redirect_server=\\\"{}/oauth2/token/initiate/", origin(&gateway))),
            "{answer}"
        );
        assert!(!answer.contains("evil.example"), "{answer}");
    }
    // Nor does a link choose what follows a sign-in.
    for query in [
        "driver=https%3A%2F%2Fevil.example",
        "driver=%2F%2Fevil.example",
        "next=//evil.example",
        "then=home%0d%0aX:%20y",
    ] {
        let begun = gateway.client().get(&format!("/login?{query}"));
        assert!(!format!("{:?}{}", begun.headers, begun.text()).contains("evil.example"), "{query}");
    }
}

#[test]
fn guesses_on_the_page_are_slowed_down() {
    let mut settings = crate::harness::Settings::for_upstream("http://127.0.0.1:1");
    settings.identity = Some("attempts = { per_address = 5, per_name = 5 }".to_owned());
    settings.more =
        "[identity.login]\nexternal_url = 'https://localhost:{port}'\npasswords = true\n".to_owned();
    let gateway = Gateway::start(settings);
    let attempt = |user: &str, password: &str| {
        let page = gateway.client().get("/login/password");
        let cookie = carried(&page, "__Host-northgate-sign-in-").expect("a cookie");
        let attempt = field(&page, "attempt").expect("a field");
        form(
            &gateway,
            &cookie,
            "/login/password",
            &format!("attempt={attempt}&user={user}&password={password}"),
        )
    };
    let (wrong, unknown) = (attempt("eva", "guess"), attempt("nobody", "guess"));
    assert_eq!((wrong.status, unknown.status), (403, 403));
    let plain = |response: &Response, name: &str| {
        let (attempt, text) = (field(response, "attempt").expect("a field"), response.text());
        text.replace(&attempt, "").replace(&format!("value=\"{name}\""), "")
    };
    assert_eq!(plain(&wrong, "eva"), plain(&unknown, "nobody"), "the page tells nobody which names exist");
    let statuses: Vec<_> = (0..8).map(|_| attempt("eva", "guess").status).collect();
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    let limited = attempt("eva", "eva-secret");
    assert_eq!(limited.status, 429, "not with the right one either");
    assert!(limited.header("retry-after").is_some());
    // Answers of identity providers, and codes of terminals, are counted, too.
    let ask = |client: &Client| client.get("/login/finish?answer=guess").status;
    assert_eq!(ask(&gateway.client()), 403);
}

/// A driver that is elsewhere: its user has to do two things, in two places, before it is let in.
#[test]
fn a_driver_elsewhere_takes_more_than_a_click() {
    let mut settings = crate::harness::Settings::for_upstream("http://127.0.0.1:1");
    settings.server_lines = "trusted_proxies = [\"127.0.0.0/8\"]".to_owned();
    settings.more =
        "[identity.login]\nexternal_url = 'https://localhost:{port}'\npasswords = true\n".to_owned();
    let gateway = Gateway::start(settings);
    let asked = gateway.client().with("X-Forwarded-For", "198.51.100.7").submit("SELECT 1");
    let challenge = asked.header("www-authenticate").expect("a challenge").to_owned();
    let part = |name: &str| {
        let (_, rest) = challenge.split_once(&format!("{name}=\"")).unwrap_or_else(|| panic!("{challenge}"));
        rest.split_once('"').expect("an end").0.to_owned()
    };
    let (initiate, token) = (part("x_redirect_server"), part("x_token_server"));
    let (cookie, key) = signed_in(&gateway, "eva");
    let allow =
        |more: &str| form(&gateway, &cookie, &path_of(&initiate), &format!("key={key}&decision=allow{more}"));
    for more in ["", "&elsewhere=", "&elsewhere=no"] {
        let response = allow(more);
        assert_eq!(response.status, 400, "{more}");
        assert!(response.text().contains("Tick the box"), "{}", response.text());
    }
    assert!(poll(&gateway.client(), &token)["nextUri"].is_string(), "it still waits");
    let browser = Chromium::open();
    browser.go(&initiate);
    browser.sign_in_by_password("eva");
    browser.reads("It does not run on this computer.");
    assert!(browser.text().contains("198.51.100.7"), "{}", browser.text());
    // The browser itself does not send the form, and lets its user turn the program away nevertheless.
    assert_eq!(browser.run("return document.querySelector('main form').checkValidity()"), false);
    assert_eq!(browser.run("return document.querySelector('button[value=deny]').formNoValidate"), true);
    browser.click("input[name=elsewhere]");
    browser.click("button[value=allow]");
    browser.reads("You may close this window");
    assert!(poll(&gateway.client(), &token)["token"].is_string());
}
