//! Two gateways behind one address, where each request may reach the other.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::harness::http::{Response, path_of};
use crate::harness::keycloak::field;
use crate::harness::process::within;
use crate::harness::{Client, Gateway, Settings};
use crate::tokens::Store;

/// What browsers call both.
const ORIGIN: &str = "https://sql.bank.example";

fn start(store: &Store) -> Gateway {
    let mut settings = Settings::new();
    settings.files.push(("links.key", STANDARD.encode([7; 32])));
    settings.more = format!(
        "{}\n[identity.login]\nexternal_url = '{ORIGIN}'\npasswords = true\n[links]\nkey_file = 'links.key'\n",
        store.lines
    );
    Gateway::start(settings)
}

/// What a browser sends with its cookies.
fn form(gateway: &Gateway, cookie: &str, path: &str, body: &str) -> Response {
    let client = gateway.client().with("Cookie", cookie).with("Origin", ORIGIN);
    client.with("Content-Type", "application/x-www-form-urlencoded").send("POST", path, body.as_bytes())
}

fn cookie(response: &Response, name: &str) -> String {
    let set = response.headers.iter().filter(|(header, _)| header == "set-cookie").map(|(_, value)| value);
    let pair = set.filter_map(|value| value.split(';').next()).find(|pair| pair.starts_with(name));
    pair.unwrap_or_else(|| panic!("no {name}: {}", response.text())).to_owned()
}

fn poll(client: &Client, ticket: &str) -> Value {
    serde_json::from_slice(&client.get(ticket).body).expect("JSON")
}

#[test]
fn sign_in_with_redis() {
    each_step_at_another("redis");
}

#[test]
fn sign_in_with_postgres() {
    each_step_at_another("postgres");
}

fn each_step_at_another(backend: &str) {
    let store = Store::start(backend);
    let (one, two) = (start(&store), start(&store));
    let asked = one.client().submit("SELECT 1");
    let challenge = asked.header("www-authenticate").expect("a challenge").to_owned();
    let part = |name: &str| {
        let (_, rest) = challenge.split_once(&format!("{name}=\"")).unwrap_or_else(|| panic!("{challenge}"));
        path_of(rest.split_once('"').expect("an end").0)
    };
    let (initiate, token) = (part("x_redirect_server"), part("x_token_server"));
    // The browser is sent to sign in by the one, asked by the other, and answered by the first.
    let begun = one.client().get(&initiate);
    let page = two.client().get(begun.header("location").expect("a way to sign in"));
    let carried = cookie(&page, "__Host-northgate-sign-in-");
    let attempt = field(&page, "attempt").expect("a field");
    let body = format!("attempt={attempt}&user=eva&password=eva-secret");
    let signed_in =
        || Some(form(&one, &carried, "/login/password", &body)).filter(|answer| answer.status == 303);
    let signed_in = within(Duration::from_secs(30), signed_in).expect("the store answers");
    assert_eq!(signed_in.header("location"), Some(initiate.as_str()));
    let session = cookie(&signed_in, "__Host-northgate-session=");
    let confirm = two.client().with("Cookie", &session).get(&initiate);
    let key = field(&confirm, "key").unwrap_or_else(|| panic!("no question: {}", confirm.text()));
    // The decision is taken once, wherever.
    let allowed = form(&one, &session, &initiate, &format!("key={key}&decision=allow"));
    assert_eq!(allowed.status, 200, "{}", allowed.text());
    assert_eq!(form(&two, &session, &initiate, &format!("key={key}&decision=allow")).status, 409);
    let told = poll(&two.client(), &token);
    let driver = told["token"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned();
    assert!(poll(&one.client(), &token)["token"].is_null(), "it is told once");
    for gateway in [&one, &two] {
        assert_eq!(gateway.client().bearer(&driver).query("SELECT current_user").value(), "eva");
    }
    // Who signs out at the one is signed out at the other, within the seconds that a session is believed.
    let out = form(&two, &session, "/logout", &format!("key={key}"));
    assert_eq!(out.status, 200);
    let probe =
        |gateway: &Gateway| gateway.client().bearer(&driver).send("HEAD", "/v1/statement", b"").status;
    assert_eq!(probe(&two), 401);
    assert!(within(Duration::from_secs(8), || (probe(&one) == 401).then_some(())).is_some());
    assert_eq!(one.client().with("Cookie", &session).get("/").status, 303);
    // Without the store nobody is signed in or out, and the page says to come back.
    store.process.lock().expect("no panic in a lock").signal("KILL");
    let lost = within(Duration::from_secs(15), || {
        let page = one.client().with("Cookie", &session).get("/");
        (page.status == 503).then_some(page)
    });
    let lost = lost.expect("the store is lost");
    assert!(
        lost.header("retry-after").is_some() && lost.text().contains("Try again shortly"),
        "{}",
        lost.text()
    );
}
