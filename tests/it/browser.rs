//! Sign-in with a real browser, for people and for drivers.

use std::process::Command;
use std::time::Duration;

use crate::harness::chromium::Chromium;
use crate::harness::gateway::{binary, certificates};
use crate::harness::http::path_of as path;
use crate::harness::keycloak::{Browser, field};
use crate::harness::process::within;
use crate::harness::sign_in::{
    Program, by_oidc, by_password, by_saml, challenge, cli, jdbc, keycloak, origin, poll, python,
};

const COUNT: &str = "rows:SELECT count(*), count(DISTINCT substr(ssn, 1, 3)) FROM lake.silver.customers";

#[test]
fn a_driver_signs_its_user_in_with_a_browser() {
    let gateway = by_password("");
    let browser = Chromium::open();
    let mut program = jdbc(&gateway, &["rows:SELECT current_user", COUNT]);
    browser.go(&program.address());
    browser.sign_in_by_password("eva");
    browser.reads("Let this program in?");
    assert!(browser.text().contains("Trino JDBC Driver/484"), "{}", browser.text());
    browser.click("button[value=allow]");
    browser.reads("You may close this window");
    assert_eq!(program.end(), "eva\n120\t1", "her policies hold");
    // The next program needs no password, and still the user's word.
    let mut program = jdbc(&gateway, &["rows:SELECT current_user"]);
    browser.go(&program.address());
    browser.reads("Let this program in?");
    browser.click("button[value=allow]");
    browser.reads("You may close this window");
    assert_eq!(program.end(), "eva");
    let records = gateway.audit();
    let outcomes: Vec<_> = records
        .iter()
        .filter(|record| record["type"] == "sign_in")
        .map(|record| &record["outcome"])
        .collect();
    assert_eq!(outcomes, ["accepted", "driver_accepted", "driver_accepted"]);
}

#[test]
fn a_python_program_signs_its_user_in_with_a_browser() {
    let gateway = by_password("");
    let browser = Chromium::open();
    let mut program = python(&gateway, &["SELECT current_user"; 2]);
    browser.go(&program.address());
    browser.sign_in_by_password("otto");
    browser.reads("Let this program in?");
    browser.click("button[value=allow]");
    browser.reads("You may close this window");
    assert_eq!(program.end(), "otto\notto");
}

#[test]
fn a_driver_is_turned_away() {
    let gateway = by_password("");
    let browser = Chromium::open();
    let (initiate, token) = challenge(&gateway, None);
    browser.go(&initiate);
    browser.sign_in_by_password("eva");
    browser.reads("Let this program in?");
    browser.click("button[value=deny]");
    browser.reads("It was turned away");
    let told = poll(&gateway.client(), &token);
    assert!(told["error"].as_str().is_some_and(|error| error.contains("turned away")), "{told}");
    // What was decided stays so.
    browser.go(&initiate);
    browser.click("button[value=allow]");
    browser.reads("This was decided before");
}

#[test]
fn a_link_of_somebody_else_signs_nobody_in() {
    let gateway = by_password("");
    let browser = Chromium::open();
    // Otto's driver asks, and eva is sent the link.
    let (initiate, token) = challenge(&gateway, Some("otto"));
    browser.go(&initiate);
    browser.sign_in_by_password("eva");
    browser.reads("The program wants to sign in as 'otto', and you are signed in as 'eva'");
    let told = poll(&gateway.client(), &token);
    assert!(told["nextUri"].is_string(), "{told}");
    // Without the form's key nothing is decided, wherever it comes from.
    let (initiate, token) = challenge(&gateway, None);
    let cookies = browser.cookies();
    let session =
        cookies.iter().find(|cookie| cookie["name"] == "__Host-northgate-session").expect("a session");
    assert_eq!(
        (&session["httpOnly"], &session["secure"], &session["sameSite"]),
        (&true.into(), &true.into(), &"Lax".into())
    );
    let cookie = format!("__Host-northgate-session={}", session["value"].as_str().expect("a value"));
    let own =
        gateway.client().with("Cookie", cookie).with("Content-Type", "application/x-www-form-urlencoded");
    for (origin, body) in [
        (origin(&gateway), "decision=allow"),
        (origin(&gateway), "decision=allow&key=aaaa"),
        ("https://evil.example".to_owned(), "decision=allow"),
    ] {
        let response = own.clone().with("Origin", origin).send("POST", &path(&initiate), body.as_bytes());
        assert_eq!(response.status, 403, "{body}");
    }
    assert!(poll(&gateway.client(), &token)["nextUri"].is_string());
    // A cookie signs no query in.
    assert_eq!(own.submit("SELECT 1").status, 401);
}

#[test]
fn a_token_server_tells_strangers_nothing() {
    let gateway = by_password("");
    let (initiate, token) = challenge(&gateway, None);
    let ticket = |url: &str| url.rsplit_once('/').expect("a path").1.to_owned();
    for other in [ticket(&initiate), "a".to_owned(), format!("{}A", ticket(&token))] {
        let told = poll(&gateway.client(), &format!("{}/oauth2/token/{other}", origin(&gateway)));
        assert!(told["error"].is_string(), "{told}");
    }
    // The browser's ticket cannot be made out of the driver's, nor the reverse.
    let response = gateway.client().get(&format!("/oauth2/token/initiate/{}", ticket(&token)));
    assert_eq!(response.status, 404);
}

#[test]
fn tokens_are_made_and_revoked_on_a_page() {
    let gateway = by_password("");
    let browser = Chromium::open();
    browser.go(&origin(&gateway));
    browser.click("a[href='/login/password']");
    browser.fill("#user", "eva");
    browser.fill("#password", "wrong");
    browser.click("main button[type=submit]");
    browser.reads("The user name or the password is not right.");
    browser.sign_in_by_password("eva");
    browser.reads("Signed in as eva");
    browser.click("nav a[href='/tokens']");
    browser.reads("You have none yet.");
    browser.fill("#name", "Power BI on <my> desk");
    browser.fill("#addresses", "10.0.0.0/99");
    browser.click("main form.card button");
    browser.reads("at most 32 bits");
    browser.fill("#addresses", "127.0.0.0/8");
    browser.click("main form.card button");
    browser.reads("Copy it now");
    let secret = browser.text_of("pre.secret");
    let client = gateway.client().basic("eva", &secret);
    assert_eq!(client.query("SELECT current_user").value(), "eva");
    let write = client.query("CREATE TABLE lake.silver.mine AS SELECT 1 AS one");
    assert!(write.failure().contains("Access Denied"), "{}", write.failure());
    browser.go(&format!("{}/tokens", origin(&gateway)));
    browser.reads("Power BI on <my> desk");
    assert!(!browser.text().contains(&secret), "it is not shown again");
    browser.click("table button");
    browser.reads("You have none yet.");
    assert_eq!(client.submit("SELECT 1").status, 401);
    let session = browser.cookies().into_iter().find(|cookie| cookie["name"] == "__Host-northgate-session");
    let session = session.expect("a session")["value"].as_str().expect("a value").to_owned();
    browser.click("header button");
    browser.reads("You are signed out");
    // The cookie of before is worth nothing.
    let old = gateway.client().with("Cookie", format!("__Host-northgate-session={session}"));
    assert_eq!(old.get("/tokens").status, 303);
}

#[test]
fn a_driver_fetches_another_token_without_its_user() {
    let gateway = by_password("token_life = '10s'");
    let browser = Chromium::open();
    let (initiate, token_server) = challenge(&gateway, None);
    browser.go(&initiate);
    browser.sign_in_by_password("eva");
    browser.click("button[value=allow]");
    browser.reads("You may close this window");
    let told = poll(&gateway.client(), &token_server);
    let token = told["token"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned();
    let client = gateway.client().bearer(&token);
    assert_eq!(client.query("SELECT current_user").value(), "eva");
    assert_eq!(client.clone().with("X-Trino-User", "otto").submit("SELECT 1").status, 403);
    let renewed = within(Duration::from_secs(90), || {
        std::thread::sleep(Duration::from_secs(1));
        let response = client.send("HEAD", "/v1/statement", b"");
        (response.status == 401).then_some(response)
    });
    let renewed = renewed.expect("the token ends");
    let challenge = renewed.headers.iter().find(|(name, _)| name == "www-authenticate").expect("a challenge");
    assert!(!challenge.1.contains("x_redirect_server"), "{}", challenge.1);
    let (_, server) = challenge.1.split_once("x_token_server=\"").expect("an address");
    let told = poll(&gateway.client(), server.trim_end_matches('"'));
    let next = told["token"].as_str().unwrap_or_else(|| panic!("{told}"));
    assert_ne!(next, token);
    assert_eq!(gateway.client().bearer(next).query("SELECT current_user").value(), "eva");
    assert!(poll(&gateway.client(), &token_server)["token"].is_null(), "the first is told once");
    // Signing out ends what drivers have.
    browser.go(&origin(&gateway));
    browser.click("header button");
    browser.reads("You are signed out");
    assert_eq!(gateway.client().bearer(next).submit("SELECT 1").status, 401);
}

#[test]
fn the_command_line_signs_its_user_in_with_a_browser() {
    let gateway = by_password("");
    let browser = Chromium::open();
    let mut program = cli(&gateway, "otto", "SELECT current_user");
    browser.go(&program.address());
    browser.sign_in_by_password("otto");
    browser.reads("Let this program in?");
    browser.click("button[value=allow]");
    browser.reads("You may close this window");
    assert!(program.end().contains("\"otto\""));
}

#[test]
fn a_terminal_signs_its_user_in_with_a_code() {
    let keycloak = keycloak();
    let gateway = by_oidc(keycloak, "device_flow = true");
    let browser = Chromium::open();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(binary().get_program());
    command.args(["sign-in", "--server", &origin(&gateway), "--ca-file"]).arg(certificates().join("ca.pem"));
    let mut program = Program::start(&mut command);
    browser.go(&program.address_with("user_code="));
    browser.sign_in_at_keycloak("eva");
    browser.click("[name=accept]");
    let token = program.end();
    let token = token.trim();
    assert!(token.starts_with("ngd_"), "{token}");
    assert_eq!(gateway.client().bearer(token).query("SELECT current_user").value(), "eva");
    // Nobody can do so where the configuration does not say it.
    let gateway = by_oidc(keycloak, "");
    let mut command = binary();
    command.args(["sign-in", "--server", &origin(&gateway), "--ca-file"]).arg(certificates().join("ca.pem"));
    let output = command.output().expect("it runs");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("not set up here"), "{output:?}");
}

#[test]
fn saml_signs_people_and_their_drivers_in() {
    let keycloak = keycloak();
    let (gateway, _files) = by_saml(keycloak);
    let browser = Chromium::open();
    let mut program = jdbc(&gateway, &["rows:SELECT current_user", COUNT]);
    browser.go(&program.address());
    browser.sign_in_at_keycloak("eva");
    browser.reads("Let this program in?");
    browser.click("button[value=allow]");
    browser.reads("You may close this window");
    assert_eq!(program.end(), "eva\n120\t1", "her policies hold");
    let records = gateway.audit();
    let signed_in = records.iter().find(|record| record["type"] == "sign_in").expect("on record");
    assert_eq!((&signed_in["auth_method"], &signed_in["principal"]), (&"saml".into(), &"eva".into()));
    // Signing out here signs out there.
    browser.go(&origin(&gateway));
    browser.reads("eu-analysts");
    browser.click("header button");
    browser.reads("You may close this window");
    assert!(browser.url().contains("/login/saml/keycloak/logout"), "{}", browser.url());
    browser.go(&format!("{}/login/saml/keycloak", origin(&gateway)));
    // And there is nobody without a rule of mapping.
    browser.sign_in_at_keycloak("nora");
    browser.reads("You could not be signed in");
    assert!(browser.text().contains("you are signed in as 'nora', which is no user of Northgate"));
}

#[test]
fn a_saml_sign_out_there_ends_what_is_here() {
    let keycloak = keycloak();
    let (gateway, _files) = by_saml(keycloak);
    let browser = Chromium::open();
    let (initiate, token_server) = challenge(&gateway, None);
    browser.go(&initiate);
    browser.sign_in_at_keycloak("eva");
    browser.click("button[value=allow]");
    browser.reads("You may close this window");
    let told = poll(&gateway.client(), &token_server);
    let client = gateway.client().bearer(told["token"].as_str().unwrap_or_else(|| panic!("{told}")));
    assert_eq!(client.query("SELECT current_user").value(), "eva");
    browser.go(&format!("http://127.0.0.1:{}/realms/bank/protocol/openid-connect/logout", keycloak.port));
    browser.click("#kc-logout");
    let out = within(Duration::from_secs(30), || (client.submit("SELECT 1").status == 401).then_some(()));
    assert!(out.is_some(), "the token lives on: {}", browser.text());
    browser.go(&format!("{}/tokens", origin(&gateway)));
    assert!(!browser.has("header form"), "{}", browser.text());
}

#[test]
fn a_saml_answer_is_for_the_browser_that_asked() {
    let keycloak = keycloak();
    let (gateway, _files) = by_saml(keycloak);
    // Somebody begins in a browser of theirs, signs in, and keeps the answer for another's.
    let ours = gateway.client();
    let begun = ours.get("/login/saml/keycloak");
    let url = begun.header("location").expect("an address").to_owned();
    let own = begun.header("set-cookie").expect("a cookie").split(';').next().expect("a value").to_owned();
    let mut there = Browser::new(keycloak.port);
    let page = there.get(&url);
    let page = there.sign_in(&page, "eva");
    let message = field(&page, "SAMLResponse").expect("an answer");
    let form = |message: &str| {
        let message = percent_encoding::utf8_percent_encode(message, percent_encoding::NON_ALPHANUMERIC);
        format!("SAMLResponse={message}")
    };
    let answer = |body: &str| {
        let client = gateway.client().with("Content-Type", "application/x-www-form-urlencoded");
        client.send("POST", "/login/saml/keycloak/acs", body.as_bytes())
    };
    let accepted = answer(&form(&message));
    assert_eq!(accepted.status, 303, "{}", accepted.text());
    let finish = accepted.header("location").expect("an address").to_owned();
    assert_eq!(answer(&form(&message)).status, 403, "a replay");
    assert_eq!(answer("SAMLResponse=AAAA").status, 403, "no answer at all");
    let stranger = gateway.client().get(&finish);
    assert_eq!(stranger.status, 403, "{}", stranger.text());
    assert!(stranger.header("set-cookie").is_none());
    assert!(stranger.text().contains("begun in another browser"), "{}", stranger.text());
    // What was tried by another is spent.
    assert_eq!(gateway.client().with("Cookie", own).get(&finish).status, 403);
}

#[test]
fn oidc_signs_people_and_their_drivers_in() {
    let keycloak = keycloak();
    let gateway = by_oidc(keycloak, "");
    let browser = Chromium::open();
    let mut program = jdbc(&gateway, &["rows:SELECT current_user", COUNT]);
    browser.go(&program.address());
    browser.sign_in_at_keycloak("eva");
    browser.reads("Let this program in?");
    browser.click("button[value=allow]");
    browser.reads("You may close this window");
    assert_eq!(program.end(), "eva\n120\t1", "her policies hold");
    browser.go(&origin(&gateway));
    browser.reads("analysts, branch-eu, eu-analysts");
    // Signing out here signs out there: the provider asks for the password again.
    browser.click("header button");
    browser.reads("Sign in");
    browser.go(&format!("{}/login/oidc/keycloak", origin(&gateway)));
    browser.sign_in_at_keycloak("nora");
    browser.reads("You could not be signed in");
    assert!(browser.text().contains("you are signed in as 'nora', which is no user of Northgate"));
}

#[test]
fn an_oidc_session_lasts_as_long_as_it_does_there() {
    let keycloak = keycloak();
    let gateway = by_oidc(keycloak, "");
    let browser = Chromium::open();
    let (initiate, token_server) = challenge(&gateway, None);
    browser.go(&initiate);
    browser.sign_in_at_keycloak("otto");
    browser.click("button[value=allow]");
    browser.reads("You may close this window");
    let mut server = token_server;
    let ended = || panic!("the token does not end");
    let probe = |token: &str| gateway.client().bearer(token).send("HEAD", "/v1/statement", b"");
    // Three tokens after another, without the user.
    for _ in 0..3 {
        let told = poll(&gateway.client(), &server);
        let token = told["token"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned();
        assert_eq!(probe(&token).status, 200);
        let over =
            within(Duration::from_secs(30), || Some(probe(&token)).filter(|response| response.status == 401));
        let over = over.unwrap_or_else(ended);
        let challenge = over.header("www-authenticate").expect("a challenge").to_owned();
        assert!(!challenge.contains("x_redirect_server"), "{challenge}");
        server =
            challenge.split_once("x_token_server=\"").expect("an address").1.trim_end_matches('"').to_owned();
    }
    let told = poll(&gateway.client(), &server);
    let token = told["token"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned();
    assert_eq!(probe(&token).status, 200);
    // The provider ends the session: the driver must send its user to sign in.
    let users = keycloak.administer("GET", "/users?username=otto", b"");
    let id = users[0]["id"].as_str().expect("an id");
    keycloak.administer("POST", &format!("/users/{id}/logout"), b"");
    let over = within(Duration::from_secs(40), || {
        let response = probe(&token);
        let challenge = response.header("www-authenticate")?.to_owned();
        challenge.contains("x_redirect_server").then_some(())
    });
    assert!(over.is_some(), "the session lives on");
    browser.go(&format!("{}/tokens", origin(&gateway)));
    assert!(!browser.has("header form"), "{}", browser.text());
}

#[test]
fn an_oidc_answer_is_for_the_browser_that_asked() {
    let keycloak = keycloak();
    let gateway = by_oidc(keycloak, "");
    let begin = || {
        let begun =
            gateway.client().get("/login/oidc/keycloak?next=https://evil.example&then=//evil.example");
        let cookie =
            begun.header("set-cookie").expect("a cookie").split(';').next().expect("a value").to_owned();
        (begun.header("location").expect("an address").to_owned(), cookie)
    };
    let (url, own) = begin();
    let mut there = Browser::new(keycloak.port);
    let page = there.get(&url);
    let page = there.sign_in(&page, "eva");
    let callback = path(page.header("location").expect("a callback"));
    let (_, of_another) = begin();
    let (name, _) = own.split_once('=').expect("a name");
    let (_, value) = of_another.split_once('=').expect("a value");
    let answer = |cookie: &str| gateway.client().with("Cookie", cookie).get(&callback);
    for (cookie, what) in [
        (String::new(), "no cookie"),
        (of_another.clone(), "another sign-in's"),
        (format!("{name}={value}"), "another sign-in's under this one's name"),
        (format!("{own}; {own}"), "twice"),
    ] {
        let response = answer(&cookie);
        assert_eq!(response.status, 403, "{what}: {}", response.text());
        assert!(response.header("set-cookie").is_none(), "{what}");
    }
    let response = answer(&own);
    assert_eq!(response.status, 303, "{}", response.text());
    assert_eq!(response.header("location"), Some("/"), "nowhere else");
    assert_eq!(answer(&own).status, 403, "a replay");
}
