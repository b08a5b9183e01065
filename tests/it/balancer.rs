//! Behind a load balancer: whose word is taken for where a client is, how it called, and who it is.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};

use crate::harness::double::{Double, Reply};
use crate::harness::gateway::password_of;
use crate::harness::http::path_of;
use crate::harness::issuer::now;
use crate::harness::{Client, Gateway, Settings};

const COUNT: &str = "SELECT count(*) FROM lake.silver.customers";
const DATA: &str = "x-amzn-oidc-data";
const SIGNER: &str = "arn:aws:elasticloadbalancing:eu-central-1:1:loadbalancer/app/gateway/1";

/// A load balancer of AWS as far as the gateway knows one: a key, the place where its public half is, and what it says.
struct Balancer {
    pair: KeyPair,
    kid: String,
    keys: Arc<Double>,
}

impl Balancer {
    fn new() -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let kid = "5a3c1f00-1111-4222-8333-0123456789ab".to_owned();
        let (path, pem) = (format!("GET /{kid} "), pair.public_key_pem());
        let keys = Double::start(move |request| {
            let (status, body) =
                if request.starts_with(&path) { ("200 OK", pem.as_str()) } else { ("404 Not Found", "") };
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            Reply::Bytes(format!("{head}{body}").into_bytes())
        });
        Self { pair, kid, keys: Arc::new(keys) }
    }

    /// Another one whose key is nowhere to be had, but by the same name.
    fn impostor(&self) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        Self { pair, kid: self.kid.clone(), keys: Arc::clone(&self.keys) }
    }

    fn says(&self, user: &str, change: impl FnOnce(&mut Value)) -> String {
        let mut header = json!({"typ": "JWT", "alg": "ES256", "kid": self.kid, "signer": SIGNER, "client": "gateway",
            "iss": "https://idp.example", "exp": now() + 120});
        change(&mut header);
        let claims =
            json!({"sub": user, "groups": ["eu-analysts"], "exp": now() + 120, "iss": "https://idp.example"});
        let part = |value: &Value| URL_SAFE.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(&claims));
        let key = EncodingKey::from_ec_pem(self.pair.serialize_pem().as_bytes()).expect("a key");
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::ES256);
        format!("{message}.{}==", signature.expect("signed"))
    }

    /// A gateway behind it that trusts these networks.
    fn gateway(&self, trusted: &str) -> Gateway {
        let mut settings = Settings::new();
        settings.server_lines = format!("trusted_proxies = [\"{trusted}\"]");
        settings.more = format!(
            "[identity.alb]\nsigners = [\"{SIGNER}\"]\nclient = \"gateway\"\nissuer = \"https://idp.example\"\n\
             keys_url = \"{}\"\ngroups_claim = \"groups\"\n",
            self.keys.url()
        );
        Gateway::start(settings)
    }
}

#[test]
fn a_load_balancer_signs_users_in() {
    let balancer = Balancer::new();
    let gateway = balancer.gateway("127.0.0.0/8");
    let said = |value: &str| gateway.client().with(DATA, value);
    let good = balancer.says("eva", |_| {});
    assert_eq!(said(&good).query(COUNT).value(), 120);
    assert_eq!(said(&good).query("SELECT current_user").value(), "eva");
    let asked = |what: &str| balancer.keys.requests().iter().filter(|request| request.contains(what)).count();
    assert_eq!(asked("GET"), 1, "the key is remembered");
    let answer = said(&good).with("X-Forwarded-For", "192.0.2.1, 198.51.100.7").query(COUNT);
    let records = gateway.audit_of(&answer.id, |records| !records.is_empty());
    assert_eq!(records[0]["auth_method"], "alb", "{records:#?}");
    assert_eq!(records[0]["peer"], "198.51.100.7");
    assert_eq!(
        records[0]["forwarded"], "192.0.2.1, 198.51.100.7",
        "what the client wrote is on record, and not believed"
    );
    assert!(
        records[0]["proxy"].as_str().is_some_and(|proxy| proxy.starts_with("127.0.0.1:")),
        "{records:#?}"
    );

    let name = |name: &'static str, value: Value| move |header: &mut Value| header[name] = value;
    for (value, what) in [
        (balancer.impostor().says("eva", |_| {}), "another's key"),
        (balancer.says("eva", name("signer", json!(format!("{SIGNER}2")))), "another signer"),
        (balancer.says("eva", name("client", json!("other"))), "another client"),
        (balancer.says("eva", name("iss", json!("https://other.example"))), "another issuer"),
        (balancer.says("eva", name("exp", json!(now() - 120))), "expired"),
        (balancer.says("eva", name("alg", json!("none"))), "no algorithm"),
        (balancer.says("eva", name("kid", json!("../../etc/passwd"))), "a path for a key"),
        (balancer.says("eva", name("kid", json!("5a3c1f00-1111-4222-8333-000000000000"))), "an unknown key"),
        ("eva".to_owned(), "a name"),
        (String::new(), "nothing"),
    ] {
        let status = said(&value).submit("SELECT 1").status;
        assert_eq!(status, 401, "{what}");
        let status = said(&value).basic("eva", &password_of("eva")).submit("SELECT 1").status;
        assert_eq!(status, 401, "{what}, beside a password");
    }
    assert_eq!(asked("passwd"), 0);
    assert_eq!(said(&good).with(DATA, good.as_str()).submit("SELECT 1").status, 400, "twice");
    // It is no token, and beside another login it must be of the same user.
    let as_token = gateway.client().bearer(&good).submit("SELECT 1").status;
    assert!(matches!(as_token, 400 | 401), "{as_token}");
    assert_eq!(said(&good).basic("eva", &password_of("eva")).query(COUNT).value(), 120);
    assert_eq!(said(&good).basic("admin", &password_of("admin")).submit("SELECT 1").status, 403);
    // Links are the login's.
    let page = said(&good).submit("SELECT * FROM tpch.tiny.nation").page();
    let link = path_of(page["nextUri"].as_str().expect("there is more"));
    assert_eq!(said(&balancer.says("otto", |_| {})).get(&link).status, 404);
    assert_ne!(said(&good).get(&link).status, 404);
    assert!(!gateway.log().contains(&good), "what it says is not logged");
}

#[test]
fn the_word_of_a_stranger_is_none() {
    let balancer = Balancer::new();
    let gateway = balancer.gateway("192.0.2.0/24");
    let good = balancer.says("eva", |_| {});
    assert_eq!(gateway.client().with(DATA, good.as_str()).submit("SELECT 1").status, 401);
    let twice = gateway.signed_in("eva").with(DATA, good.as_str()).with(DATA, good.as_str());
    assert_eq!(twice.submit("SELECT 1").status, 400, "twice is refused, whoever says it");
    let other = gateway.signed_in("admin").with(DATA, good.as_str()).query(COUNT);
    assert_eq!(other.value(), 240, "it is as if it were not there");
    assert!(balancer.keys.requests().is_empty());
    let answer = gateway
        .signed_in("eva")
        .with("X-Forwarded-For", "198.51.100.7")
        .with("X-Forwarded-Host", "evil.example")
        .with("X-Forwarded-Proto", "http")
        .query(COUNT);
    assert!(!answer.everything().contains("evil.example"));
    let records = gateway.audit_of(&answer.id, |records| !records.is_empty());
    assert!(records[0]["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{records:#?}");
    assert_eq!(records[0].get("proxy"), None);
}

#[test]
fn links_lead_to_where_the_client_called() {
    let balancer = Balancer::new();
    let gateway = balancer.gateway("127.0.0.1/32");
    let link = |client: Client| {
        let page = client.submit("SELECT 1").page();
        let link = page["nextUri"].as_str().expect("there is more").to_owned();
        link.split("/v1/").next().map(str::to_owned).unwrap_or_default()
    };
    let eva = || gateway.signed_in("eva");
    let own = format!("https://localhost:{}", gateway.port);
    assert_eq!(link(eva()), own);
    assert_eq!(link(eva().with("X-Forwarded-Proto", "https").with("X-Forwarded-Port", "443")), own);
    let named = || eva().with("X-Forwarded-Host", "sql.example");
    assert_eq!(
        link(named().with("X-Forwarded-Proto", "https").with("X-Forwarded-Port", "443")),
        "https://sql.example"
    );
    assert_eq!(link(named().with("X-Forwarded-Port", "8443")), "https://sql.example:8443");
    assert_eq!(link(named().with("X-Forwarded-Proto", "http")), "http://sql.example");
    assert_eq!(named().with("X-Forwarded-Host", "sql.example").submit("SELECT 1").status, 400);
    assert_eq!(eva().with("X-Forwarded-Host", "evil.example/x").submit("SELECT 1").status, 400);
}

#[test]
fn guesses_are_counted_for_the_client() {
    let mut settings = Settings::for_upstream("http://127.0.0.1:1");
    settings.identity = Some("attempts = { per_address = 3, per_name = 1000 }".to_owned());
    settings.server_lines = "trusted_proxies = [\"127.0.0.0/8\"]".to_owned();
    let gateway = Gateway::start(settings);
    let guess = |from: &str| {
        gateway.client().with("X-Forwarded-For", from).basic("eva", "guess").submit("SELECT 1").status
    };
    let statuses: Vec<_> = (0..6).map(|n| guess(&format!("192.0.2.{n}, 198.51.100.7"))).collect();
    assert_eq!(statuses.last(), Some(&429), "what the client invents makes no other client: {statuses:?}");
    assert_eq!(guess("198.51.100.8"), 401, "another client");
    let failed: Vec<_> =
        gateway.audit().into_iter().filter(|record| record["type"] == "login_failed").collect();
    assert_eq!(failed[0]["peer"], "198.51.100.7", "{failed:#?}");
    assert!(failed[0]["proxy"].is_string());
}
