use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use jsonwebtoken::EncodingKey;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::task::AbortOnDropHandle;

use super::*;

const KID: &str = "0f6b3b2e-97a1-4c6f-8f7e-2f1f0f0c9a11";
const SIGNER: &str =
    "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/gw/50dc6c495c0c9188";

/// The place of the keys, which has one of them, and counts who asks.
struct Place {
    url: String,
    asked: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl Place {
    async fn open(key: String) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = vec![0; 4096];
                let length = stream.read(&mut head).await.unwrap_or(0);
                counted.fetch_add(1, Ordering::Relaxed);
                let good = head[..length].starts_with(format!("GET /keys/{KID} ").as_bytes());
                let (status, body) = if good { ("200 OK", key.as_str()) } else { ("404 Not Found", "none") };
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { url, asked, _task: AbortOnDropHandle::new(task) }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

fn config(url: &str) -> config::Alb {
    config::Alb {
        signers: BTreeSet::from([SIGNER.to_owned()]),
        client: "gateway".to_owned(),
        issuer: "https://idp.example".to_owned(),
        region: None,
        keys_url: Some(url.to_owned()),
        ca_file: None,
        allow_plain_http: false,
        user_claim: "email".to_owned(),
        groups_claim: Some("groups".to_owned()),
        attributes: BTreeMap::from([("region".to_owned(), "zone".to_owned())]),
        require: BTreeMap::new(),
    }
}

fn pair() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key")
}

fn header() -> Value {
    json!({"typ": "JWT", "alg": "ES256", "kid": KID, "signer": SIGNER, "client": "gateway",
           "iss": "https://idp.example", "exp": now() + 120})
}

fn claims() -> Value {
    json!({"sub": "1", "email": "ann@example.com", "groups": ["eu"], "zone": "EU", "iss": "https://idp.example"})
}

/// What a load balancer says: in padded parts, and signed so.
fn say(pair: &KeyPair, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| base64::engine::general_purpose::URL_SAFE.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).expect("a key");
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::ES256).expect("signed");
    format!("{message}.{signature}==")
}

fn with(mut value: Value, name: &str, to: impl Into<Value>) -> Value {
    value[name] = to.into();
    value
}

#[tokio::test]
async fn what_is_believed() {
    let (pair, other) = (pair(), pair());
    let place = Place::open(pair.public_key_pem()).await;
    let alb = Alb::new(config(&place.url)).expect("set up");
    let good = say(&pair, &header(), &claims());
    assert!(good.contains("=."), "there is padding: {good}");
    let verified = alb.verify(&good).await.expect("good");
    assert_eq!(verified.principal.name(), "ann@example.com");
    assert_eq!(*verified.principal.method(), Method::Alb);
    assert_eq!(verified.principal.groups().iter().collect::<Vec<_>>(), ["eu"]);
    assert_eq!(verified.principal.attributes().get("region").map(String::as_str), Some("EU"));
    assert!(verified.ends <= now() + 120 + LEEWAY);
    let check = async |said: String, expect: Refused| {
        assert_eq!(alb.verify(&said).await.map(|verified| verified.ends), Err(expect), "{said}");
    };
    let said = |name: &str, to: Value| say(&pair, &with(header(), name, to), &claims());
    check(say(&other, &header(), &claims()), refused("bad signature")).await;
    check(said("signer", json!("arn:aws:other")), refused("another signer")).await;
    check(said("signer", json!([SIGNER])), refused("unreadable header")).await;
    check(said("client", json!("other")), refused("another client")).await;
    check(said("iss", json!("https://other.example")), refused("another issuer")).await;
    check(said("alg", json!("none")), refused("algorithm not allowed")).await;
    check(said("alg", json!("HS256")), refused("algorithm not allowed")).await;
    check(said("crit", json!(["exp"])), refused("critical header parameters")).await;
    check(said("exp", json!(now() - 100)), Refused::BadCredentials(Cause::Expired)).await;
    check(said("exp", json!(now() + 100_000)), refused("lives longer than allowed")).await;
    check(said("exp", json!("soon")), refused("unreadable exp")).await;
    check(said("kid", json!("../../evil")), refused("the key's name is no UUID")).await;
    check(said("kid", json!(KID.replace('-', "/"))), refused("the key's name is no UUID")).await;
    let claimed = |name: &str, to: Value| say(&pair, &header(), &with(claims(), name, to));
    check(claimed("iss", json!("https://other.example")), refused("claims of another issuer")).await;
    check(claimed("email", json!("")), refused("no usable user name")).await;
    check(claimed("groups", json!([1])), refused("unreadable groups")).await;
    // Not one bit of it is another's.
    let (head, rest) = good.split_once('.').expect("parts");
    let (body, signature) = rest.split_once('.').expect("parts");
    let changed =
        base64::engine::general_purpose::URL_SAFE.encode(claims().to_string().replace("ann", "bob"));
    check(format!("{head}.{changed}.{signature}"), refused("bad signature")).await;
    check(format!("{}.{body}.{signature}", head.trim_end_matches('=')), refused("bad signature")).await;
    check(format!("{head}.{body}."), refused("bad signature")).await;
    check(format!("{head}.{body}"), refused("not three parts")).await;
    check(format!("{head}.{body}.{signature}.x"), refused("not three parts")).await;
    check("nothing".to_owned(), refused("not three parts")).await;
}

#[tokio::test]
async fn keys_are_asked_for_once() {
    let pair = pair();
    let place = Place::open(pair.public_key_pem()).await;
    let alb = Alb::new(config(&place.url)).expect("set up");
    let good = say(&pair, &header(), &claims());
    let (one, two, three) = tokio::join!(alb.verify(&good), alb.verify(&good), alb.verify(&good));
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(place.asked(), 1);
    let unknown = |n: u32| {
        let kid = format!("00000000-0000-0000-0000-{n:012}");
        say(&pair, &with(header(), "kid", kid), &claims())
    };
    for _ in 0..3 {
        assert_eq!(alb.verify(&unknown(0)).await.map(|_| ()), Err(refused("unknown key")));
    }
    assert_eq!(place.asked(), 2, "what is not there is remembered");
    for n in 1..100 {
        assert!(alb.verify(&unknown(n)).await.is_err());
    }
    // Some more cells come free while this runs.
    assert!(place.asked() < 50, "{}", place.asked());
    assert!(alb.verify(&good).await.is_ok(), "the key that is known stays so");
    // Whoever is not our signer has no key asked for.
    let before = place.asked();
    let foreign = with(with(header(), "kid", "11111111-0000-0000-0000-000000000000"), "signer", "arn:aws:x");
    assert!(alb.verify(&say(&pair, &foreign, &claims())).await.is_err());
    assert_eq!(place.asked(), before);
}

#[tokio::test]
async fn without_its_key_nothing_is_believed() {
    let pair = pair();
    let alb = Alb::new(config("http://127.0.0.1:1")).expect("set up");
    let refused = alb.verify(&say(&pair, &header(), &claims())).await.expect_err("no key");
    assert!(matches!(refused, Refused::Unavailable(_)), "{refused}");
    let place = Place::open("no key at all".to_owned()).await;
    let alb = Alb::new(config(&place.url)).expect("set up");
    let refused = alb.verify(&say(&pair, &header(), &claims())).await.expect_err("no key");
    assert!(matches!(refused, Refused::Unavailable(_)), "{refused}");
}

#[test]
fn configurations_that_are_refused() {
    let check = |change: &dyn Fn(&mut config::Alb), expect: &str| {
        let mut config = config("https://keys.example");
        change(&mut config);
        let error = Alb::new(config).map(|_| ()).map_err(|error| error.to_string());
        match error {
            Ok(()) => assert_eq!(expect, ""),
            Err(error) => assert!(!expect.is_empty() && error.contains(expect), "{error}: {expect}"),
        }
    };
    check(&|_| {}, "");
    check(&|config| config.signers.clear(), "identity: alb.signers");
    check(&|config| config.signers = BTreeSet::from(["*".to_owned()]), "alb.signers");
    check(&|config| config.client.clear(), "alb.client");
    check(&|config| config.issuer.clear(), "alb.client and issuer");
    check(&|config| config.keys_url = None, "give one of them");
    check(&|config| config.region = Some("eu-central-1".to_owned()), "give one of them");
    check(&|config| config.keys_url = Some("http://keys.example".to_owned()), "must be https");
    let region = |region: &'static str| {
        move |config: &mut config::Alb| {
            config.keys_url = None;
            config.region = Some(region.to_owned());
        }
    };
    check(&region("eu-central-1"), "");
    for wrong in ["", "eu.evil.example/", "EU", "-eu", "eu-"] {
        check(&region(wrong), "alb.region");
    }
}
