use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::*;
use crate::units::Span;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const ISSUER: &str = "https://idp.example/realms/bank";

/// A key pair of an issuer.
struct Signer {
    id: &'static str,
    key: EncodingKey,
    pem: String,
}

impl Signer {
    fn new(id: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key pair");
        let pem = pair.serialize_pem();
        Self { id, key: EncodingKey::from_ec_pem(pem.as_bytes()).expect("a key"), pem: pair.public_key_pem() }
    }

    fn jwk(&self) -> Value {
        let jwk = Jwk::from_encoding_key(&self.key, Algorithm::ES256).expect("a public key");
        let mut jwk = serde_json::to_value(jwk).expect("JSON");
        jwk["kid"] = self.id.into();
        jwk
    }

    fn header(&self) -> Header {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.id.to_owned());
        header
    }

    fn sign(&self, claims: &Value) -> String {
        jsonwebtoken::encode(&self.header(), claims, &self.key).expect("a token")
    }
}

fn claims() -> Value {
    let now = jwt::now();
    json!({
        "iss": ISSUER, "aud": ["other", "northgate"], "sub": "ann", "exp": now + 600, "iat": now,
        "azp": "superset", "realm": {"roles": ["eu", "staff"]}, "address": {"region": "EU"}, "level": 3,
    })
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().expect("an object").shift_remove(name);
    claims
}

struct Fixture {
    folder: tempfile::TempDir,
    signer: Signer,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let signer = Signer::new("one");
        let set = json!({ "keys": [signer.jwk()] });
        std::fs::write(folder.path().join("keys.json"), set.to_string()).expect("written");
        Self { folder, signer }
    }

    fn config(&self) -> Config {
        let issuer = toml::toml! {
            issuer = "https://idp.example/realms/bank"
            audiences = ["northgate"]
            groups_claim = "realm.roles"
            attributes = { region = "address.region", level = "level", nothing = "no.such" }
            require = { azp = "superset" }
        };
        let mut issuer: IssuerConfig = issuer.try_into().expect("an issuer");
        issuer.jwks_file = Some(self.folder.path().join("keys.json"));
        Config {
            users_file: self.folder.path().join("users.toml"),
            jwt: vec![issuer],
            impersonation: vec![ImpersonationConfig {
                principals: BTreeSet::from(["superset".to_owned()]),
                groups: BTreeSet::new(),
                users: vec!["ann".to_owned(), "svc-*".to_owned()],
            }],
            ..Config::default()
        }
    }

    fn add(&self, name: &str, password: &str) {
        let user = NewUser {
            name: name.to_owned(),
            password_hash: hash_password(&secret(password)).expect("hashed"),
            groups: BTreeSet::from(["eu".to_owned()]),
            attributes: BTreeMap::from([("region".to_owned(), "EU".to_owned())]),
        };
        add_user(&self.folder.path().join("users.toml"), user).expect("added");
    }

    fn identity(&self) -> Identity {
        new(self.config()).expect("set up")
    }
}

fn new(config: Config) -> Result<Identity, SetupError> {
    Identity::new(
        config,
        &Arc::new(Store::in_memory()),
        crate::wire::Sealer::generate().map(Arc::new).expect("a sealer"),
        Arc::new(Metrics::new()),
    )
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn basic(user: &str, password: &str) -> Credentials {
    Credentials::Basic { user: user.to_owned(), password: secret(password) }
}

async fn bearer(identity: &Identity, token: &str) -> Result<Arc<Principal>, Refused> {
    prove(identity, &Credentials::Bearer(secret(token)), HERE).await
}

/// What credentials prove, on a connection from the address.
async fn prove(
    identity: &Identity,
    credentials: &Credentials,
    address: IpAddr,
) -> Result<Arc<Principal>, Refused> {
    let peer = Peer::new((address, 1).into(), None);
    identity.prove(credentials, None, &peer).await.map(|proven| proven.principal)
}

fn token_fault(why: &'static str) -> Refused {
    Refused::BadCredentials(Cause::Token(why))
}

#[tokio::test]
async fn passwords() {
    let fixture = Fixture::new();
    fixture.add("ann", "right");
    let identity = fixture.identity();
    for round in ["slow", "remembered"] {
        let principal = prove(&identity, &basic("ann", "right"), HERE).await.expect(round);
        assert_eq!(principal.name(), "ann");
        assert!(principal.groups().contains("eu"));
        assert_eq!(principal.method().as_str(), "password");
    }
    let check = async |user: &str, password: &str, expect: Refused| {
        let refused = prove(&identity, &basic(user, password), HERE).await.expect_err(user);
        assert_eq!(refused, expect, "{user} {password}");
    };
    check("ann", "wrong", Refused::BadCredentials(Cause::Password)).await;
    check("ann", "", Refused::BadCredentials(Cause::Password)).await;
    check("Ann", "right", Refused::BadCredentials(Cause::UnknownUser)).await;
    check("eve", "right", Refused::BadCredentials(Cause::UnknownUser)).await;
    check("", "", Refused::BadCredentials(Cause::UnknownUser)).await;
    assert_eq!(prove(&identity, &Credentials::None, HERE).await, Err(Refused::MissingCredentials));
}

/// Whoever asks after a name has the same work done for it, whether there is such a user or not; and a right password is
/// hashed once, however many requests and connections bring it.
#[tokio::test]
async fn what_a_password_costs() {
    let fixture = Fixture::new();
    fixture.add("ann", "right");
    let metrics = Arc::new(Metrics::new());
    let sealer = crate::wire::Sealer::generate().map(Arc::new).expect("a sealer");
    let identity =
        Identity::new(fixture.config(), &Arc::new(Store::in_memory()), sealer, Arc::clone(&metrics))
            .expect("set up");
    let hashed = || {
        let text = metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix("northgate_password_checks_total "));
        line.and_then(|count| count.parse::<u32>().ok()).expect("a count")
    };
    let check = async |user: &str, password: &str, times: u32| {
        let before = hashed();
        let _ = prove(&identity, &basic(user, password), HERE).await;
        assert_eq!(hashed() - before, times, "{user} {password}");
    };
    check("ann", "wrong", 1).await;
    check("nobody", "wrong", 1).await;
    check("nobody", "right", 1).await;
    check("", "", 1).await;
    check("ann", &"x".repeat(2000), 0).await;
    check("nobody", &"x".repeat(2000), 0).await;
    check("ann", "right", 1).await;
    for _ in 0..20 {
        check("ann", "right", 0).await;
    }
    check("nobody", "right", 1).await;
    // What an unknown name is checked against costs what the hashes of the file do.
    let users = identity.users.users.load();
    let cost = |hash: &str| hash.split('$').nth(3).expect("parameters").to_owned();
    let own = users.find("ann").and_then(|user| user.password.as_ref()).expect("a hash");
    let stand_in = users.stand_in(identity.passwords.seed("nobody")).expect("somebody's");
    assert_eq!(cost(own.as_str()), cost(stand_in.as_str()));
    // Many at once with the same password: one hashes, the others wait for it.
    fixture.add("bob", "right");
    identity.reload().expect("read");
    let before = hashed();
    let bob = basic("bob", "right");
    let all = (0..8).map(|_| prove(&identity, &bob, HERE));
    assert!(futures_util::future::join_all(all).await.into_iter().all(|proved| proved.is_ok()));
    let turns =
        u32::try_from(std::thread::available_parallelism().map_or(1, std::num::NonZero::get)).expect("few");
    assert!(hashed() - before <= turns, "{} times", hashed() - before);
}

#[tokio::test]
async fn a_password_that_was_changed_is_no_longer_remembered() {
    let fixture = Fixture::new();
    fixture.add("ann", "old");
    let identity = fixture.identity();
    assert!(prove(&identity, &basic("ann", "old"), HERE).await.is_ok());
    let users = fixture.folder.path().join("users.toml");
    std::fs::write(&users, "[[user]\n").expect("written");
    assert!(identity.reload().is_err());
    assert!(prove(&identity, &basic("ann", "old"), HERE).await.is_ok(), "a broken file changes nothing");
    std::fs::remove_file(&users).expect("removed");
    fixture.add("ann", "new");
    identity.reload().expect("read");
    assert!(prove(&identity, &basic("ann", "old"), HERE).await.is_err());
    assert!(prove(&identity, &basic("ann", "new"), HERE).await.is_ok());
    std::fs::write(&users, "").expect("written");
    identity.reload().expect("read");
    assert!(prove(&identity, &basic("ann", "new"), HERE).await.is_err(), "removed, though remembered");
}

#[tokio::test]
async fn guessing_is_stopped_and_the_owner_is_not() {
    let fixture = Fixture::new();
    fixture.add("ann", "right");
    let mut config = fixture.config();
    config.attempts.per_name = NonZeroU32::new(2).expect("not zero");
    let identity = new(config).expect("set up");
    assert!(prove(&identity, &basic("ann", "right"), HERE).await.is_ok());
    let mut answers = Vec::new();
    for last in 1..=4_u8 {
        let there = IpAddr::from([192, 0, 2, last]);
        answers
            .push(prove(&identity, &basic("ann", "guess"), there).await.expect_err("a guess").http_status());
    }
    assert_eq!(answers.iter().map(http::StatusCode::as_u16).collect::<Vec<_>>(), [401, 401, 401, 429]);
    let there = IpAddr::from([192, 0, 2, 9]);
    let right_elsewhere = prove(&identity, &basic("ann", "right"), there).await;
    assert!(right_elsewhere.is_ok(), "remembered as right: not an attempt");
    fixture.add("bob", "right");
    identity.reload().expect("read");
    assert!(prove(&identity, &basic("bob", "right"), there).await.is_ok());
}

#[tokio::test]
async fn a_good_token_is_a_principal() {
    let fixture = Fixture::new();
    let identity = fixture.identity();
    let token = fixture.signer.sign(&claims());
    for round in ["verified", "remembered"] {
        let principal = bearer(&identity, &token).await.expect(round);
        assert_eq!(principal.name(), "ann");
        assert_eq!(principal.groups().iter().collect::<Vec<_>>(), ["eu", "staff"]);
        let attributes: Vec<_> =
            principal.attributes().iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(attributes, [("level", "3"), ("region", "EU")]);
        assert_eq!(*principal.method(), Method::Jwt { issuer: ISSUER.to_owned() });
    }
}

#[tokio::test]
async fn claims_that_are_refused_or_not() {
    let fixture = Fixture::new();
    let mut config = fixture.config();
    config.attempts.per_address = NonZeroU32::new(1000).expect("not zero");
    let identity = new(config).expect("set up");
    let now = jwt::now();
    let check = async |claims: Value, expect: Option<Refused>| {
        let answer = bearer(&identity, &fixture.signer.sign(&claims)).await;
        assert_eq!(answer.err(), expect, "{claims}");
    };
    let bad = |why| Some(token_fault(why));
    check(with("aud", "northgate"), None).await;
    check(with("aud", "other"), bad("another audience")).await;
    check(with("aud", json!([])), bad("another audience")).await;
    check(with("aud", 7), bad("a claim is missing")).await;
    check(without("aud"), bad("a claim is missing")).await;
    check(with("iss", "https://idp.example/realms/other"), bad("unknown issuer")).await;
    check(with("iss", json!([ISSUER])), bad("not a signed JWT with an issuer")).await;
    check(without("iss"), bad("not a signed JWT with an issuer")).await;
    check(with("exp", now - 31), Some(Refused::BadCredentials(Cause::Expired))).await;
    check(with("exp", now - 20), None).await;
    check(without("exp"), bad("a claim is missing")).await;
    check(with("exp", "soon"), bad("a claim is missing")).await;
    check(with("exp", now + 86_400 + 60), bad("lives longer than allowed")).await;
    check(with("nbf", now + 20), None).await;
    check(with("nbf", now + 60), bad("not valid yet")).await;
    check(with("nbf", "x"), bad("unreadable")).await;
    check(with("iat", now + 60), bad("issued in the future")).await;
    check(with("iat", json!({})), bad("unreadable iat")).await;
    check(without("iat"), None).await;
    check(with("azp", "other"), bad("a required claim differs")).await;
    check(without("azp"), bad("a required claim differs")).await;
    check(
        with("events", json!({"http://schemas.openid.net/event/backchannel-logout": {}})),
        bad("a JWT for another use"),
    )
    .await;
    check(with("sub", ""), bad("no usable user name")).await;
    check(with("sub", "a\nb"), bad("no usable user name")).await;
    check(with("sub", 7), bad("no usable user name")).await;
    check(without("sub"), bad("no usable user name")).await;
    check(without("realm"), None).await;
    check(with("realm", json!({"roles": "eu"})), None).await;
    check(with("realm", json!({"roles": [1]})), bad("unreadable groups")).await;
    check(with("realm", json!({"roles": {"eu": true}})), bad("unreadable groups")).await;
    let overage = || Some(Refused::BadCredentials(Cause::Overage));
    check(with("_claim_names", json!({"realm.roles": "src1"})), overage()).await;
    check(with("hasgroups", true), overage()).await;
    check(with("hasgroups", false), None).await;
}

/// A token put together by hand: header, claims, and a signature of anything.
fn forged(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |value: &Value| B64.encode(value.to_string());
    format!("{}.{}.{}", part(header), part(claims), B64.encode(signature))
}

#[tokio::test]
async fn forgeries() {
    let fixture = Fixture::new();
    let mut config = fixture.config();
    config.attempts.per_address = NonZeroU32::new(1000).expect("not zero");
    let identity = new(config).expect("set up");
    let signer = &fixture.signer;
    let stranger = Signer::new("one");
    let good = signer.sign(&claims());
    let check = async |token: String, expect: &'static str| {
        assert_eq!(bearer(&identity, &token).await, Err(token_fault(expect)), "{token}");
    };
    check(stranger.sign(&claims()), "bad signature").await;
    check(Signer::new("two").sign(&claims()), "unknown key").await;
    check(forged(&json!({"alg": "none"}), &claims(), b""), "unreadable header").await;
    check(
        forged(&json!({"alg": "none"}), &claims(), b"").trim_end_matches('.').to_owned(),
        "not a signed JWT with an issuer",
    )
    .await;
    // The public key as the secret of an HMAC.
    let hmac = EncodingKey::from_secret(signer.pem.as_bytes());
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("one".to_owned());
    let confused = jsonwebtoken::encode(&header, &claims(), &hmac).expect("a token");
    check(confused, "algorithm not allowed").await;
    // A header that names another key, or brings its own.
    let mut header = stranger.header();
    header.jku = Some("https://evil.example/keys".to_owned());
    header.jwk = serde_json::from_value(stranger.jwk()).ok();
    let own_key = jsonwebtoken::encode(&header, &claims(), &stranger.key).expect("a token");
    check(own_key, "bad signature").await;
    let mut header = signer.header();
    header.kid = Some("../../dev/null".to_owned());
    check(jsonwebtoken::encode(&header, &claims(), &signer.key).expect("a token"), "unknown key").await;
    let mut header = signer.header();
    header.crit = Some(vec!["b64".to_owned()]);
    let critical = jsonwebtoken::encode(&header, &claims(), &signer.key).expect("a token");
    check(critical, "critical header parameters").await;
    let mut header = signer.header();
    header.typ = Some("logout+jwt".to_owned());
    let logout = jsonwebtoken::encode(&header, &claims(), &signer.key).expect("a token");
    check(logout, "a JWT for another use").await;
    // Claims of one token under the signature of another.
    let parts: Vec<&str> = good.split('.').collect();
    let swapped = format!("{}.{}.{}", parts[0], B64.encode(with("sub", "admin").to_string()), parts[2]);
    check(swapped, "bad signature").await;
    check(format!("{}.{}.", parts[0], parts[1]), "bad signature").await;
    check(format!("{good}.x"), "not a signed JWT with an issuer").await;
    check("x".to_owned(), "not a signed JWT with an issuer").await;
    check("x".repeat(20_000), "too long").await;
    assert!(bearer(&identity, &good).await.is_ok());
}

#[tokio::test]
async fn bad_tokens_are_counted_by_address_and_expired_ones_are_not() {
    let fixture = Fixture::new();
    let mut config = fixture.config();
    config.attempts.per_address = NonZeroU32::new(2).expect("not zero");
    let identity = new(config).expect("set up");
    let expired = fixture.signer.sign(&with("exp", jwt::now() - 60));
    for _ in 0..5 {
        assert_eq!(bearer(&identity, &expired).await, Err(Refused::BadCredentials(Cause::Expired)));
    }
    let good = fixture.signer.sign(&claims());
    assert!(bearer(&identity, &good).await.is_ok());
    for _ in 0..3 {
        assert!(matches!(bearer(&identity, "x").await, Err(Refused::BadCredentials(_))));
    }
    assert!(matches!(bearer(&identity, "x").await, Err(Refused::TooManyAttempts { by: By::Address, .. })));
    assert!(bearer(&identity, &good).await.is_ok(), "what was verified already goes on");
}

#[tokio::test]
async fn running_queries_as_somebody_else() {
    let fixture = Fixture::new();
    fixture.add("ann", "pw");
    let identity = fixture.identity();
    let check = |signed_in: &str, user: Option<&str>, expect: Option<(&str, Option<&str>, usize)>| {
        let principal = Arc::new(Principal::new(signed_in, Method::Password).with_groups(["own"]));
        let got = identity.become_user(principal, None, user).ok();
        let got = got.as_ref().map(|(p, by)| (p.name(), by.as_deref(), p.attributes().len()));
        assert_eq!(got, expect, "{signed_in} as {user:?}");
    };
    check("ann", None, Some(("ann", None, 0)));
    check("ann", Some("ann"), Some(("ann", None, 0)));
    check("ann", Some("Ann"), None);
    check("ann", Some("superset"), None);
    check("superset", Some("ann"), Some(("ann", Some("superset"), 1)));
    // A rule would allow it, but nobody says which groups it is in.
    check("superset", Some("svc-load"), None);
    check("superset", Some("svc-\n"), None);
    check("superset", Some("bob"), None);
    let superset = Arc::new(Principal::new("superset", Method::Password).with_groups(["own"]));
    let (ann, _) = identity.become_user(superset, None, Some("ann")).expect("allowed");
    assert_eq!(ann.groups().iter().collect::<Vec<_>>(), ["eu"], "ann's groups, not superset's");
}

#[tokio::test]
async fn configurations_that_are_refused() {
    let fixture = Fixture::new();
    let check = |change: &dyn Fn(&mut Config), expect: &str| {
        let mut config = fixture.config();
        change(&mut config);
        let error = new(config).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expect), "{error:?} should say {expect:?}");
    };
    check(&|config| config.jwt.push(config.jwt[0].clone()), "is there twice");
    check(&|config| config.jwt[0].audiences.clear(), "audiences");
    check(&|config| config.jwt[0].algorithms.clear(), "algorithms");
    check(&|config| config.jwt[0].jwks_file = None, "one of jwks_url and jwks_file");
    check(
        &|config| config.jwt[0].jwks_url = Some("https://idp/keys".into()),
        "one of jwks_url and jwks_file",
    );
    let url = |config: &mut Config, url: &str| {
        config.jwt[0].jwks_file = None;
        config.jwt[0].jwks_url = Some(url.to_owned());
    };
    check(&|config| url(config, "http://idp.example/keys"), "must be https");
    check(&|config| url(config, "ftp://idp.example/keys"), "must be https");
    check(&|config| url(config, "/keys"), "no host");
    check(&|config| config.password_cache = Span(Duration::from_hours(2)), "password_cache");
    assert!(
        toml::from_str::<Config>("[[jwt]]\nissuer = \"x\"\naudiences = [\"a\"]\nalgorithms = [\"HS256\"]")
            .is_err()
    );
    assert!(
        toml::from_str::<Config>("[[jwt]]\nissuer = \"x\"\naudiences = [\"a\"]\nalgorithms = [\"none\"]")
            .is_err()
    );
}

#[tokio::test]
async fn keys_come_over_http_and_rotate() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let fixture = Fixture::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut config = fixture.config();
    config.jwt[0].jwks_file = None;
    config.jwt[0].jwks_url = Some(format!("http://{}/keys", listener.local_addr().expect("an address")));
    let keys = json!({ "keys": [fixture.signer.jwk()] }).to_string();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = [0; 4096];
        let length = stream.read(&mut request).await.expect("a request");
        assert!(request[..length].starts_with(b"GET /keys HTTP/1.1\r\n"));
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{keys}", keys.len());
        stream.write_all(answer.as_bytes()).await.expect("answered");
    });
    let identity = new(config).expect("set up");
    assert!(bearer(&identity, &fixture.signer.sign(&claims())).await.is_ok());
    server.await.expect("served");
}

#[tokio::test]
async fn without_keys_nothing_is_believed() {
    let fixture = Fixture::new();
    std::fs::remove_file(fixture.folder.path().join("keys.json")).expect("removed");
    let identity = fixture.identity();
    let refused = bearer(&identity, &fixture.signer.sign(&claims())).await.expect_err("no keys");
    assert_eq!(refused.http_status(), http::StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_call_is_authenticated_whole() {
    let fixture = Fixture::new();
    fixture.add("superset", "pw");
    fixture.add("ann", "pw");
    let metrics = Arc::new(Metrics::new());
    let identity = Identity::new(
        fixture.config(),
        &Arc::new(Store::in_memory()),
        crate::wire::Sealer::generate().map(Arc::new).expect("a sealer"),
        Arc::clone(&metrics),
    )
    .expect("set up");
    let call = |authorization: &str, user: &str| {
        let request = http::Request::post("/v1/statement")
            .header("host", "gw:8443")
            .header("authorization", authorization)
            .header("x-trino-user", user);
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let peer = Peer::new((HERE, 1).into(), None);
        Call::read(parts, "SELECT 1".into(), peer, &crate::wire::Limits::default()).expect("a call")
    };
    let good = "Basic c3VwZXJzZXQ6cHc=";
    let authenticated = identity.authenticate(call(good, "ann")).await.expect("let in");
    assert_eq!(authenticated.principal().name(), "ann");
    assert_eq!(authenticated.impersonator(), Some("superset"));
    assert_eq!(authenticated.call().body(), "SELECT 1");
    assert!(matches!(identity.authenticate(call(good, "bob")).await, Err(Refused::Impersonation { .. })));
    assert!(identity.authenticate(call("Basic c3VwZXJzZXQ6eA==", "ann")).await.is_err());
    let counts = metrics.render();
    for outcome in ["accepted", "rejected", "impersonation_denied"] {
        let line = format!("northgate_authentications_total{{method=\"password\",outcome=\"{outcome}\"}} 1");
        assert!(counts.contains(&line), "{line} is not in\n{counts}");
    }
}

#[tokio::test]
async fn certificates() {
    let fixture = Fixture::new();
    fixture.add("ann", "pw");
    let mut config = fixture.config();
    config.client_certificates = Some(ClientCertificatesConfig { user_from: CertificateName::CommonName });
    let identity = new(config).expect("set up");
    let plain = new(fixture.config()).expect("set up");
    let with = async |identity: &Identity, common_name: &str, credentials: &Credentials| {
        let mut peer = Peer::new((HERE, 1).into(), None);
        peer.certificate =
            Some(Arc::new(crate::wire::ClientCertificate::of("", &[common_name], 4_000_000_000)));
        identity.prove(credentials, None, &peer).await.map(|proven| proven.principal)
    };
    let ann = with(&identity, "ann", &Credentials::None).await.expect("signed in");
    assert_eq!((ann.name(), ann.method()), ("ann", &Method::Certificate));
    let known = identity.known("ann").expect("a user");
    assert_eq!((ann.groups(), ann.attributes()), (known.groups(), known.attributes()));
    let stranger = with(&identity, "zoe", &Credentials::None).await.expect("signed in");
    assert!(stranger.groups().is_empty());
    // Rules say who it is: before the users file is asked for groups, and before two logins are compared.
    let mut config = fixture.config();
    config.client_certificates = Some(ClientCertificatesConfig { user_from: CertificateName::CommonName });
    let rule = "from = 'certificate'\nmatch = '(\\w+)@example\\.com'\nuser = '$1'\ngroups = ['mail']";
    config.mapping = vec![toml::from_str(rule).expect("a rule")];
    let mapped = new(config).expect("set up");
    let ann = with(&mapped, "ann@example.com", &Credentials::None).await.expect("signed in");
    assert_eq!((ann.name(), ann.identity()), ("ann", "ann@example.com"));
    assert!(ann.groups().contains("mail") && ann.groups().is_superset(known.groups()));
    let refused = with(&mapped, "ann", &Credentials::None).await;
    assert_eq!(refused, Err(Refused::Unmapped { identity: "ann".to_owned() }));
    assert!(with(&mapped, "ann@example.com", &basic("ann", "pw")).await.is_ok());
    // A certificate beside another login: of the same user, of another, of none, and where none are asked for.
    let password = basic("ann", "pw");
    let same = with(&identity, "ann", &password).await.expect("signed in");
    assert_eq!(*same.method(), Method::Password);
    let conflict = Refused::Conflict { users: vec!["ann".to_owned(), "bob".to_owned()] };
    assert_eq!(with(&identity, "bob", &password).await, Err(conflict));
    assert!(with(&identity, "", &password).await.is_ok(), "a certificate that names nobody");
    assert!(with(&identity, "ann", &basic("ann", "wrong")).await.is_err(), "it does not make up for a guess");
    assert_eq!(with(&plain, "ann", &Credentials::None).await, Err(Refused::MissingCredentials));
    assert!(with(&plain, "bob", &password).await.is_ok());
}
