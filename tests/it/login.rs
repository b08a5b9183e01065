//! Who may sign in, and how others are told that they may not.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::issuer::{Key, claims, now, write_jwks};
use crate::harness::process::within;
use crate::harness::{Client, Gateway, Settings, gateway, gateway::add_user};

#[test]
fn passwords() {
    let ask = |user: &str, password: &str| gateway().client().basic(user, password).submit("SELECT 1");
    assert_eq!(ask("eva", "eva-secret").status, 200);
    let wrong = ask("eva", "wrong");
    let unknown = ask("nobody-at-all", "wrong");
    for (response, what) in [
        (&wrong, "a wrong password"),
        (&unknown, "an unknown user"),
        (&ask("eva", ""), "no password"),
        (&ask("", "x"), "no name"),
    ] {
        // A login without a name is not even a login.
        let malformed = what == "no name" && response.status == 400;
        assert!(malformed || response.status == 401, "{what}: {}", response.status);
        assert!(malformed || response.header("www-authenticate").is_some(), "{what}");
    }
    assert_eq!(wrong.body, unknown.body, "the answer tells nobody which names exist");
    let nothing = gateway().client().submit("SELECT 1");
    assert_eq!(nothing.status, 401);
    assert!(
        nothing.headers.iter().any(|(name, value)| name == "www-authenticate" && value.starts_with("Basic"))
    );
    let claimed = gateway().client().user("admin").submit("SELECT 1");
    assert_eq!(claimed.status, 401, "a name alone is no login");
    for header in
        ["Basic", "Basic ====", "Basic bm9jb2xvbg==", "Digest x", "Negotiate abc", "Bearer", "basic"]
    {
        let status = gateway().client().with("Authorization", header).submit("SELECT 1").status;
        assert!(matches!(status, 400 | 401), "{header}: {status}");
    }
}

#[test]
fn tokens() {
    let folder = tempfile::tempdir().expect("a folder");
    let (key, stranger) = (Key::new("one"), Key::new("one"));
    let jwks = folder.path().join("jwks.json");
    write_jwks(&jwks, &[&key]);
    let mut settings = Settings::new();
    settings.more = format!(
        "[[identity.jwt]]\nissuer = \"https://issuer.example\"\naudiences = [\"northgate\"]\njwks_file = \"{}\"\n\
         user_claim = \"sub\"\ngroups_claim = \"groups\"\n",
        jwks.display()
    );
    let gateway = Gateway::start(settings);
    let ask = |token: &str| gateway.client().bearer(token).submit("SELECT 1").status;
    let with = |name: &str, value: Value| {
        let mut claims = claims("eva", &["eu-analysts"]);
        claims[name] = value;
        key.sign(&claims)
    };

    let good = key.sign(&claims("eva", &["eu-analysts"]));
    let count = "SELECT count(*) FROM lake.silver.customers";
    let count_as = |token: &str| gateway.client().bearer(token).query(count).value();
    assert_eq!(count_as(&good), 120, "the groups of the token count");
    let whole = key.sign(&claims("carla", &["compliance"]));
    assert_eq!(count_as(&whole), 240);
    assert_eq!(gateway.client().bearer(&whole).query("SELECT current_user").value(), "carla");

    for (token, what) in [
        (with("exp", json!(now() - 120)), "expired"),
        (with("nbf", json!(now() + 3600)), "not yet"),
        (with("iss", json!("https://other.example")), "another issuer"),
        (with("aud", json!("other")), "another audience"),
        (with("sub", json!("")), "no user"),
        (with("exp", json!(now() + 40 * 24 * 3600)), "good for too long"),
        (stranger.sign(&claims("eva", &[])), "another's key"),
        (format!("{good}x"), "a changed signature"),
        (good.replacen('.', "..", 1), "not three parts"),
        (unsigned(), "no signature"),
        ("not-a-token".to_owned(), "no token at all"),
        ("x".repeat(20_000), "a long nothing"),
    ] {
        assert!(matches!(ask(&token), 400 | 401), "{what}: {}", ask(&token));
    }
    let expired = gateway.client().bearer(&with("exp", json!(now() - 120))).submit("SELECT 1");
    assert!(expired.text().contains("expired"), "{}", expired.text());
    assert!(!gateway.log().contains(&good), "tokens are not logged");

    // The issuer changes its key: the old one is kept for a while beside it, then goes.
    let next = Key::new("two");
    write_jwks(&jwks, &[&key, &next]);
    gateway.process.lock().expect("no panic in a lock").signal("HUP");
    let both = || (ask(&next.sign(&claims("eva", &[]))) == 200).then_some(());
    assert!(within(Duration::from_secs(20), both).is_some(), "the new key is not known");
    assert_eq!(ask(&good), 200, "the old key still holds");
}

fn unsigned() -> String {
    use base64::Engine as _;
    let part = |value: Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", part(json!({ "alg": "none", "kid": "one" })), part(claims("eva", &["eu-analysts"])))
}

#[test]
fn guessing_is_slowed_down() {
    let mut settings = Settings::for_upstream("http://127.0.0.1:1");
    settings.identity = Some("attempts = { per_address = 5, per_name = 5 }".to_owned());
    let gateway = Gateway::start(settings);
    let statuses: Vec<_> = (0..12)
        .map(|i| gateway.client().basic("eva", &format!("guess{i}")).submit("SELECT 1").status)
        .collect();
    assert!(statuses[..4].iter().all(|status| *status == 401), "{statuses:?}");
    let limited = gateway.client().basic("eva", "guess").submit("SELECT 1");
    assert_eq!(limited.status, 429, "{statuses:?}");
    assert!(limited.header("retry-after").is_some(), "{limited:?}");
}

#[test]
fn the_users_file_is_read_again() {
    let gateway = Gateway::start(Settings::for_upstream("http://127.0.0.1:1"));
    let file = gateway.folder.path().join("users.toml");
    let hello = |user: &str| {
        gateway.client().basic(user, "a long password").send("HEAD", "/v1/statement", b"").status
    };
    assert_eq!(hello("newcomer"), 401);
    add_user(&file, "newcomer", &["eu-analysts"], "a long password");
    gateway.process.lock().expect("no panic in a lock").signal("HUP");
    assert!(within(Duration::from_secs(10), || (hello("newcomer") == 200).then_some(())).is_some());
    let text = fs::read_to_string(&file).expect("a file");
    assert!(text.contains("argon2id") && !text.contains("a long password"));
    // A users file that can't be read is not taken: those who could sign in still can.
    fs::write(&file, "[[user]]\nnome = 'x'\n").expect("the folder is ours");
    gateway.process.lock().expect("no panic in a lock").signal("HUP");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(hello("newcomer"), 200);
}

#[test]
fn names_of_providers_become_users() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = Key::new("one");
    let jwks = folder.path().join("jwks.json");
    write_jwks(&jwks, &[&key]);
    let mut settings = Settings::new();
    settings.more = format!(
        r#"
[[identity.jwt]]
issuer = "https://issuer.example"
audiences = ["northgate"]
jwks_file = "{}"
groups_claim = "groups"

[[identity.mapping]]
from = "jwt:https://issuer.example"
match = '(?<name>[A-Za-z]+)@bank\.example'
user = "${{name}}"
lower = true
tests = [{{ input = "Eva@bank.example", user = "eva" }}, {{ input = "eva@evil.example", refused = true }}]

[[identity.impersonation]]
principals = ["eva"]
users = ["otto"]
"#,
        jwks.display()
    );
    let gateway = Gateway::start(settings);
    let ask = |user: &str| gateway.client().bearer(&key.sign(&claims(user, &["eu-analysts"])));
    let answer = ask("Eva@bank.example").query("SELECT current_user");
    let id = answer.id.clone();
    assert_eq!(answer.value(), "eva");
    let records = gateway.audit_of(&id, |records| !records.is_empty());
    assert_eq!(
        (&records[0]["principal"], &records[0]["identity"]),
        (&json!("eva"), &json!("Eva@bank.example"))
    );
    let answer = ask("eva@bank.example").user("otto").query("SELECT current_user");
    let records = gateway.audit_of(&answer.id, |records| !records.is_empty());
    assert_eq!(
        (&records[0]["principal"], &records[0]["impersonator"], &records[0]["identity"]),
        (&json!("otto"), &json!("eva"), &json!("eva@bank.example"))
    );
    // What runs as somebody else is cancelled by its id by who has signed in, as its links are theirs.
    let long = "SELECT a FROM UNNEST(sequence(1, 10000)) t (a), UNNEST(sequence(1, 10000)) u (b), UNNEST(sequence(1, 10000)) v (c)";
    let page = ask("eva@bank.example").user("otto").submit(long).page();
    let path = format!("/v1/query/{}", page["id"].as_str().expect("an id"));
    let follow = |page: &Value| {
        let next = page["nextUri"].as_str().unwrap_or_else(|| panic!("it ended: {page}"));
        ask("eva@bank.example").get(&crate::harness::http::path_of(next))
    };
    assert_eq!(ask("otto@bank.example").send("DELETE", &path, b"").status, 204);
    let page = follow(&page).page();
    assert_eq!(page["error"], Value::Null, "{page}");
    assert_eq!(ask("eva@bank.example").send("DELETE", &path, b"").status, 204);
    let failed =
        gateway.client().bearer(&key.sign(&claims("eva@bank.example", &[]))).follow(follow(&page)).failure();
    assert!(failed.starts_with("USER_CANCELED: "), "{failed}");
    for stranger in ["eva", "eva@evil.example", "eva@bank.example.evil.example", "x eva@bank.example"] {
        let response = ask(stranger).submit("SELECT 1");
        assert_eq!(response.status, 403, "{stranger}");
        assert!(response.text().contains("is no user of Northgate"), "{}", response.text());
    }
    assert_eq!(
        gateway.signed_in("eva").query("SELECT current_user").value(),
        "eva",
        "passwords are as before"
    );
    // Tests that fail stop a start, and `northgate check` says so.
    let file = gateway.folder.path().join("northgate.toml");
    let text = fs::read_to_string(&file).expect("a file");
    fs::write(&file, text.replace("user = \"eva\" }", "user = \"eve\" }")).expect("the folder is ours");
    let check =
        crate::harness::gateway::binary().args(["check", "--config"]).arg(&file).output().expect("it runs");
    let error = String::from_utf8_lossy(&check.stderr);
    assert!(
        !check.status.success() && error.contains("test 'Eva@bank.example': is the user 'eva'"),
        "{error}"
    );
}

/// A job signs in as itself: the identity provider gives it tokens for its own secret (client credentials, RFC 6749 4.4).
#[test]
fn a_service_account_brings_a_token_of_the_provider() {
    let keycloak = crate::harness::sign_in::keycloak();
    let audience = json!({
        "name": "to-northgate", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
        "config": {"included.custom.audience": "https://sql.bank.example", "access.token.claim": "true"},
    });
    for (name, mappers) in [("nightly", json!([audience])), ("elsewhere", json!([]))] {
        let client = json!({
            "clientId": name, "secret": "nightly-secret", "serviceAccountsEnabled": true,
            "standardFlowEnabled": false, "publicClient": false, "protocolMappers": mappers,
        });
        keycloak.administer("POST", "/clients", client.to_string().as_bytes());
    }
    let token = |name: &str| {
        let form = format!("grant_type=client_credentials&client_id={name}&client_secret=nightly-secret");
        let client = Client::plain(keycloak.port).with("Content-Type", "application/x-www-form-urlencoded");
        let answer = client.send("POST", "/realms/bank/protocol/openid-connect/token", form.as_bytes());
        let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
        answer["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    };
    let realm = format!("http://127.0.0.1:{}/realms/bank", keycloak.port);
    let mut settings = Settings::new();
    settings.more = format!(
        "[[identity.jwt]]\nissuer = '{realm}'\naudiences = ['https://sql.bank.example']\n\
         jwks_url = '{realm}/protocol/openid-connect/certs'\nuser_claim = 'preferred_username'\n\
         [[identity.mapping]]\nfrom = 'jwt:{realm}'\nmatch = 'service-account-(nightly)'\nuser = '$1'\n\
         groups = ['eu-analysts']\n"
    );
    let gateway = Gateway::start(settings);
    let nightly = gateway.client().bearer(&token("nightly"));
    let sql = "SELECT current_user, n FROM (SELECT count(*) AS n FROM lake.silver.customers)";
    assert_eq!(
        nightly.query(sql).rows(),
        [vec![json!("nightly"), json!(120)]],
        "the policies of its group hold"
    );
    assert_eq!(nightly.user("eva").submit("SELECT 1").status, 403, "it is nobody else");
    let elsewhere = gateway.client().bearer(&token("elsewhere"));
    assert_eq!(elsewhere.submit("SELECT 1").status, 401, "a token for another audience");
}
