//! Tokens through [`Identity`], as the pipeline asks it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::ToSpan as _;

use super::*;
use crate::error::Failure as _;
use crate::identity::{Config as IdentityConfig, Identity, ImpersonationConfig, NewUser, add_user};
use crate::telemetry::Metrics;
use crate::wire::Credentials;

const HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21l$C0nBdGmy9vE8bYxUBsOLPDVcTFRRVcPkqDV0FQlrQ2I";

struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    /// A users file with `ann`, in the group `eu`.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ann = NewUser {
            name: "ann".to_owned(),
            password_hash: HASH.to_owned(),
            groups: ["eu".to_owned()].into(),
            attributes: [("region".to_owned(), "EU".to_owned())].into(),
        };
        add_user(&folder.path().join("users.toml"), ann).expect("added");
        Self { folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("tokens.jsonl")
    }

    fn try_identity(&self, change: impl FnOnce(&mut Config)) -> Result<Identity, SetupError> {
        self.try_configured(|config| change(config.tokens.as_mut().expect("there are tokens")))
    }

    fn try_configured(&self, change: impl FnOnce(&mut IdentityConfig)) -> Result<Identity, SetupError> {
        let tokens =
            Config { file: self.file(), cache: crate::units::Span(Duration::ZERO), ..Config::default() };
        let issuer = "issuer = 'https://idp.example'\naudiences = ['gw']\njwks_file = '/nowhere'";
        let mut config = IdentityConfig {
            users_file: self.folder.path().join("users.toml"),
            impersonation: vec![ImpersonationConfig {
                principals: ["ann".to_owned(), "ida".to_owned()].into(),
                groups: BTreeSet::new(),
                users: vec!["ann".to_owned()],
            }],
            jwt: vec![toml::from_str(issuer).expect("an issuer")],
            tokens: Some(tokens),
            ..IdentityConfig::default()
        };
        change(&mut config);
        Identity::new(
            config,
            &Arc::new(Store::in_memory()),
            crate::wire::Sealer::generate().map(Arc::new).expect("a sealer"),
            Arc::new(Metrics::new()),
        )
    }

    fn identity(&self) -> Identity {
        self.try_identity(|_| ()).expect("set up")
    }
}

fn tokens(identity: &Identity) -> &Tokens {
    identity.access_tokens().expect("configured")
}

fn ann() -> Principal {
    Principal::new("ann", Method::Password)
}

/// Somebody of an identity provider.
fn ida() -> Principal {
    Principal::new("ida", Method::Jwt { issuer: "https://idp.example".to_owned() }).with_groups(["us"])
}

fn in_days(days: i64) -> Timestamp {
    Timestamp::now() + (days * 24).hours()
}

async fn make(identity: &Identity, owner: &Principal, scope: Scope) -> (String, Token) {
    let made = tokens(identity).create(owner, "power bi", in_days(7), scope).await;
    let (secret, token) = made.expect("made");
    (secret.expose().clone(), token)
}

fn basic(user: &str, password: &str) -> Credentials {
    Credentials::Basic { user: user.to_owned(), password: Secret::new(password.to_owned()) }
}

fn bearer(token: &str) -> Credentials {
    Credentials::Bearer(Secret::new(token.to_owned()))
}

fn at(address: std::net::IpAddr) -> crate::wire::Peer {
    crate::wire::Peer::new((address, 1).into(), None)
}

async fn prove(
    identity: &Identity,
    credentials: &Credentials,
    address: &str,
) -> Result<Arc<Principal>, Refused> {
    let address = address.parse().expect("an address");
    identity.prove(credentials, None, &at(address)).await.map(|proven| proven.principal)
}

const HERE: &str = "192.0.2.1";

#[tokio::test]
async fn a_token_is_a_password_and_a_bearer_token() {
    let fixture = Fixture::new();
    let identity = fixture.identity();
    let (secret, token) = make(&identity, &ann(), Scope::default()).await;
    for credentials in [basic("ann", &secret), bearer(&secret)] {
        let principal = prove(&identity, &credentials, HERE).await.expect("good");
        assert_eq!(principal.name(), "ann");
        assert_eq!(principal.groups().iter().collect::<Vec<_>>(), ["eu"]);
        assert_eq!(principal.attributes().get("region").map(String::as_str), Some("EU"));
        assert_eq!(*principal.method(), Method::Token { id: token.id.clone(), name: token.name.clone() });
    }
    let stored = std::fs::read_to_string(fixture.file()).expect("a file");
    assert!(stored.contains(&token.id) && !stored.contains(&secret[4..20]), "{stored}");
}

#[tokio::test]
async fn what_is_refused_is_refused_in_the_same_words() {
    let fixture = Fixture::new();
    let identity = fixture.identity();
    make(&identity, &ann(), Scope::default()).await;
    tokens(&identity).seen(&ida()).await.expect("kept");
    let (of_ida, _) = make(&identity, &ida(), Scope::default()).await;
    let (revoked, token) = make(&identity, &ann(), Scope::default()).await;
    prove(&identity, &bearer(&revoked), HERE).await.expect("good until it is revoked");
    tokens(&identity).revoke("ann", &token.id).await.expect("revoked");
    let inside = Scope { addresses: vec!["10.0.0.0/8".parse().expect("a network")], ..Scope::default() };
    let (bound, _) = make(&identity, &ann(), inside).await;
    prove(&identity, &bearer(&bound), "10.1.2.3").await.expect("from where it may be used");
    let guess = secret::generate().expect("random").expose().clone();
    let wrong = prove(&identity, &basic("ann", "wrong"), HERE).await.expect_err("a wrong password");
    for (what, credentials) in [
        ("a guess", basic("ann", &guess)),
        ("a guess", bearer(&guess)),
        ("another's", basic("ann", &of_ida)),
        ("another's in other letters", basic("IDA", &of_ida)),
        ("revoked", basic("ann", &revoked)),
        ("revoked", bearer(&revoked)),
        ("from elsewhere", basic("ann", &bound)),
        ("from elsewhere", bearer(&bound)),
    ] {
        let refused = prove(&identity, &credentials, HERE).await.expect_err(what);
        assert_eq!(refused.client_message(), wrong.client_message(), "{what}");
        assert_eq!(refused.http_status(), wrong.http_status(), "{what}");
    }
    // Nobody learns whose tokens there are.
    let revoke = tokens(&identity).revoke("ida", &token.id).await;
    assert_eq!(revoke, Err(TokenError::NotFound));
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let fixture = Fixture::new();
    let identity = fixture.identity();
    let secret = secret::generate().expect("random");
    let hash = hash(secret.expose());
    let token = Token {
        id: token::id(&hash),
        name: "old".to_owned(),
        owner: "ann".to_owned(),
        created: in_days(-2),
        expires: in_days(-1),
        scope: Scope::default(),
        last_used: None,
    };
    let entry = Entry { token, by_users_file: true };
    tokens(&identity).0.shelf.add(hash, entry, 1).await.expect("kept");
    let refused = prove(&identity, &bearer(secret.expose()), HERE).await.expect_err("expired");
    assert_eq!(refused, Refused::BadCredentials(Cause::Expired));
    assert_eq!(tokens(&identity).list("ann").await.expect("listed").len(), 1, "it is shown for a while");
    // And it does not count as one that its owner has.
    let (secret, _) = make(&identity, &ann(), Scope::default()).await;
    prove(&identity, &bearer(&secret), HERE).await.expect("good");
}

#[tokio::test]
async fn groups_are_those_of_the_last_sign_in_or_of_the_users_file() {
    let fixture = Fixture::new();
    let identity = fixture.identity();
    assert!(matches!(
        tokens(&identity).create(&ida(), "x", in_days(1), Scope::default()).await,
        Err(TokenError::Unknown(_))
    ));
    tokens(&identity).seen(&ida()).await.expect("kept");
    let (secret, _) = make(&identity, &ida(), Scope::default()).await;
    let groups = async |identity: &Identity| {
        let principal = prove(identity, &bearer(&secret), HERE).await.expect("good");
        principal.groups().iter().cloned().collect::<Vec<_>>().join(",")
    };
    assert_eq!(groups(&identity).await, "us");
    tokens(&identity).seen(&ida().with_groups(["de", "fr"])).await.expect("kept");
    assert_eq!(groups(&identity).await, "de,fr");
    // A sign-in with a token is none that tells of groups.
    let by_token = Principal::new("ida", Method::Token { id: String::new(), name: String::new() })
        .with_groups(["admins"]);
    tokens(&identity).seen(&by_token).await.expect("left out");
    assert_eq!(groups(&identity).await, "de,fr");
    // A user of the file is in the groups of the file, whatever a provider says of that name.
    let (of_ann, _) = make(&identity, &ann(), Scope::default()).await;
    let issuer = "https://idp.example".to_owned();
    let other = Principal::new("ann", Method::Jwt { issuer }).with_groups(["admins"]);
    tokens(&identity).seen(&other).await.expect("kept");
    let principal = prove(&identity, &bearer(&of_ann), HERE).await.expect("good");
    assert_eq!(principal.groups().iter().collect::<Vec<_>>(), ["eu"]);
    std::fs::write(fixture.folder.path().join("users.toml"), "").expect("written");
    identity.reload().expect("read");
    assert!(prove(&identity, &bearer(&of_ann), HERE).await.is_err(), "ann is no user any more");
    drop(identity);
    let short = |config: &mut Config| config.groups_life = crate::units::Span(Duration::from_mins(1));
    let identity = fixture.try_identity(short).expect("set up");
    assert_eq!(groups(&identity).await, "de,fr");
    let from = "jwt:https://idp.example".to_owned();
    let long_ago = Person::of(&ida(), from, "ida", in_days(-1));
    tokens(&identity).0.shelf.see(long_ago, Duration::from_mins(1)).await.expect("kept");
    let away = Refused::BadCredentials(Cause::OwnerAway);
    assert_eq!(prove(&identity, &bearer(&secret), HERE).await, Err(away));
    tokens(&identity).seen(&ida()).await.expect("kept");
    assert_eq!(groups(&identity).await, "us", "the owner is back");
}

/// Whoever may not sign in any more as the configuration is now, or would be somebody else, has no use of a token either.
#[tokio::test]
async fn a_token_is_of_who_its_owner_would_be_now() {
    let fixture = Fixture::new();
    let rule = |pattern: &str, user: &str| {
        let text = format!(
            "from = 'jwt:https://idp.example'\nmatch = '{pattern}'\nuser = '{user}'\ncatalog_user = 'p-$1'\n\
             groups = ['staff']\ngroups_prefix = 'idp-'"
        );
        toml::from_str(&text).expect("a rule")
    };
    let mail = "(.*)@bank\\.example";
    let identity = fixture.try_configured(|config| config.mapping = vec![rule(mail, "$1")]).expect("set up");
    let issuer = "https://idp.example".to_owned();
    let ida = Principal::new("ida@bank.example", Method::Jwt { issuer }).with_groups(["us"]);
    tokens(&identity).seen(&ida).await.expect("kept");
    let (secret, _) = tokens(&identity)
        .create(&identity.mapper.apply(ida).expect("a user"), "x", in_days(1), Scope::default())
        .await
        .expect("made");
    drop(identity);
    let away = || Err(Refused::BadCredentials(Cause::OwnerAway));
    let check = async |change: &dyn Fn(&mut IdentityConfig), expect: Result<&str, Refused>| {
        let identity = fixture.try_configured(change).expect("set up");
        let proved = prove(&identity, &bearer(secret.expose()), HERE).await;
        let proved = proved.map(|principal| {
            let groups: Vec<_> = principal.groups().iter().map(String::as_str).collect();
            format!("{} {} {} {groups:?}", principal.name(), principal.identity(), principal.catalog_name())
        });
        assert_eq!(proved.as_deref().map_err(Clone::clone), expect);
    };
    let fine = "ida ida@bank.example p-ida [\"idp-us\", \"staff\"]";
    check(&|config| config.mapping = vec![rule(mail, "$1")], Ok(fine)).await;
    check(&|config| config.mapping = vec![rule("(b.*)@bank\\.example", "$1")], away()).await;
    check(&|config| config.mapping = vec![rule(mail, "x-$1")], away()).await;
    check(&|config| config.mapping.clear(), away()).await;
    check(&|config| config.jwt.clear(), away()).await;
    check(&|config| config.mapping = vec![rule(mail, "$1")], Ok(fine)).await;
}

#[tokio::test]
async fn what_cannot_be_made() {
    let fixture = Fixture::new();
    let identity = fixture.try_identity(|config| config.per_user = 2).expect("set up");
    let check = async |name: &str, expires, expect: &str| {
        let made = tokens(&identity).create(&ann(), name, expires, Scope::default()).await;
        assert_eq!(crate::error::Failure::kind(&made.expect_err(name)), expect, "{name}");
    };
    check("", in_days(1), "token_name").await;
    check("a\nb", in_days(1), "token_name").await;
    check(&"x".repeat(101), in_days(1), "token_name").await;
    check("past", in_days(-1), "token_life").await;
    check("long", in_days(91), "token_life").await;
    let by_token = Principal::new("ann", Method::Token { id: String::new(), name: String::new() });
    let made = tokens(&identity).create(&by_token, "x", in_days(1), Scope::default()).await;
    assert_eq!(made.map(drop), Err(TokenError::ByToken));
    let none = Scope { catalogs: Some(Arc::default()), ..Scope::default() };
    let made = tokens(&identity).create(&ann(), "x", in_days(1), none).await;
    assert!(matches!(made, Err(TokenError::Scope(_))));
    make(&identity, &ann(), Scope::default()).await;
    let (_, second) = make(&identity, &ann(), Scope::default()).await;
    check("third", in_days(1), "token_limit").await;
    tokens(&identity).revoke("ann", &second.id).await.expect("revoked");
    make(&identity, &ann(), Scope::default()).await;
    let unknown = identity.create_token("zoe", "x", in_days(1), Scope::default()).await;
    assert_eq!(unknown.map(drop), Err(TokenError::Unknown("zoe".to_owned())));
}

#[tokio::test]
async fn guesses_are_limited_and_do_not_lock_out_who_has_a_token() {
    let fixture = Fixture::new();
    let identity = fixture.identity();
    let (secret, _) = make(&identity, &ann(), Scope::default()).await;
    prove(&identity, &bearer(&secret), HERE).await.expect("good");
    prove(&identity, &basic("ann", &secret), HERE).await.expect("good");
    for credentials in [|guess: &str| bearer(guess), |guess: &str| basic("ann", guess)] {
        let mut limited = false;
        for _ in 0..40 {
            let guess = secret::generate().expect("random");
            let refused = prove(&identity, &credentials(guess.expose()), HERE).await.expect_err("a guess");
            limited |= matches!(refused, Refused::TooManyAttempts { .. });
        }
        assert!(limited);
        prove(&identity, &credentials(&secret), HERE).await.expect("still good");
    }
}

#[tokio::test]
async fn impersonation_is_not_in_a_scope_unless_it_says_so() {
    let fixture = Fixture::new();
    let identity = fixture.identity();
    tokens(&identity).seen(&ida()).await.expect("kept");
    let catalogs = Some(Arc::new(BTreeSet::from(["bank".to_owned()])));
    for impersonate in [false, true] {
        let scope = Scope { impersonate, catalogs: catalogs.clone(), ..Scope::default() };
        let (secret, _) = make(&identity, &ida(), scope).await;
        let address = HERE.parse().expect("an address");
        let proven = identity.prove(&bearer(&secret), None, &at(address)).await.expect("good");
        let became = identity.become_user(proven.principal, proven.scope.as_deref(), Some("ann"));
        assert_eq!(became.is_ok(), impersonate);
        if let Ok((principal, _)) = became {
            assert!(
                principal.reaches("bank") && !principal.reaches("other"),
                "the scope holds for who they are, too"
            );
        }
    }
}

#[tokio::test]
async fn what_was_made_and_revoked_outlives_the_process() {
    let fixture = Fixture::new();
    let identity = fixture.identity();
    let busy = fixture.try_identity(|_| ()).map(drop).expect_err("the file is in use").to_string();
    assert!(busy.contains("another gateway"), "{busy}");
    let (kept, token) = make(&identity, &ann(), Scope { read_only: true, ..Scope::default() }).await;
    let (gone, other) = make(&identity, &ann(), Scope::default()).await;
    prove(&identity, &bearer(&kept), HERE).await.expect("good");
    let used = tokens(&identity).list("ann").await.expect("listed")[1].last_used;
    assert!(used.is_some());
    tokens(&identity).note().await.expect("written");
    tokens(&identity).revoke_any(&other.id).await.expect("revoked");
    drop(identity);
    let mode = |path: &Path| {
        let metadata = std::fs::metadata(path).expect("a file");
        std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777
    };
    assert_eq!(mode(&fixture.file()), 0o600);
    // Two rounds: of what was appended, and of what was written anew. A line that was not ended did not take effect.
    for round in 0..2 {
        let mut text = std::fs::read_to_string(fixture.file()).expect("a file");
        text.push_str("{\"revoked\":\"");
        std::fs::write(fixture.file(), text).expect("written");
        let identity = fixture.identity();
        let proven =
            identity.prove(&bearer(&kept), None, &at(HERE.parse().expect("an address"))).await.expect("good");
        assert!(proven.scope.is_some_and(|scope| scope.read_only));
        assert!(prove(&identity, &bearer(&gone), HERE).await.is_err(), "round {round}");
        let all = tokens(&identity).all().await.expect("listed");
        assert_eq!(all.iter().map(|token| &token.id).collect::<Vec<_>>(), [&token.id]);
        assert!(all[0].last_used >= used);
        assert_eq!(std::fs::read_to_string(fixture.file()).expect("a file").matches("revoked").count(), 0);
    }
    let text = std::fs::read_to_string(fixture.file()).expect("a file");
    for broken in [
        text.replace("\"made\"", "\"mad\""),
        text.replace("{\"tokens\":1}\n", ""),
        text.replacen(":1}", ":2}", 1),
    ] {
        std::fs::write(fixture.file(), broken).expect("written");
        let refused = fixture.try_identity(|_| ()).map(drop).expect_err("not understood").to_string();
        assert!(refused.contains("line "), "{refused}");
    }
}

#[tokio::test]
async fn the_file_is_written_anew_when_it_has_grown() {
    let fixture = Fixture::new();
    let identity = fixture.identity();
    let (kept, token) = make(&identity, &ann(), Scope::default()).await;
    let length = || std::fs::metadata(fixture.file()).expect("a file").len();
    let (mut shrunk, mut gone) = (false, Vec::new());
    for _ in 0..40 {
        let before = length();
        let (secret, other) = make(&identity, &ann(), Scope::default()).await;
        tokens(&identity).revoke("ann", &other.id).await.expect("revoked");
        shrunk |= length() < before;
        gone.push(secret);
    }
    assert!(shrunk, "it grows for ever: {} bytes", length());
    drop(identity);
    let identity = fixture.identity();
    prove(&identity, &bearer(&kept), HERE).await.expect("good");
    assert_eq!(tokens(&identity).all().await.expect("listed").len(), 1);
    assert_eq!(tokens(&identity).all().await.expect("listed")[0].id, token.id);
    for secret in gone {
        let refused = prove(&identity, &bearer(&secret), HERE).await.expect_err("revoked");
        assert!(!matches!(refused, Refused::Unavailable(_)), "{refused}");
    }
}
