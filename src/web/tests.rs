//! Tests of the pages that need no server.

use std::sync::Arc;

use http::{Request, Response};
use http_body_util::BodyExt as _;

use super::*;
use crate::identity::Config;
use crate::state::Store;
use crate::telemetry::Metrics;
use crate::wire::Sealer;

const ORIGIN: &str = "https://gw.example";

fn web(folder: &tempfile::TempDir) -> Web {
    let config: Config = toml::from_str(&format!(
        "users_file = '{}'\n[login]\nexternal_url = '{ORIGIN}'\npasswords = true\n",
        folder.path().join("users.toml").display()
    ))
    .expect("a section");
    let sealer = Arc::new(Sealer::generate().expect("a sealer"));
    let store = Arc::new(Store::in_memory());
    let identity = Identity::new(config, &store, sealer, Arc::new(Metrics::new())).expect("set up");
    let mut audit: crate::audit::Config =
        toml::from_str(&format!("folder = '{}'", folder.path().join("audit").display())).expect("a section");
    audit.auditors = ["auditors".to_owned()].into();
    let auditors = Arc::new(crate::audit::Auditors::new(&audit));
    Web::new(Arc::new(identity), Arc::new(Audit::open(&audit).expect("opened")), auditors)
}

async fn ask(
    web: &Web,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &'static str,
) -> Response<Bytes> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).expect("a request").into_parts();
    let peer = Peer::new("192.0.2.1:1".parse().expect("an address"), None);
    let response = web.handle(&parts, &Bytes::from_static(body.as_bytes()), &peer).await;
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, body.collect().await.expect("whole").to_bytes())
}

#[tokio::test]
async fn what_there_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let web = web(&folder);
    let check = async |method: &str, path: &str, expect: u16| {
        let response = ask(&web, method, path, &[("origin", ORIGIN)], "").await;
        assert_eq!(response.status().as_u16(), expect, "{method} {path}");
        // Every page is guarded, whatever it says.
        let headers = response.headers();
        let policy = headers["content-security-policy"].to_str().expect("text");
        assert!(policy.starts_with("default-src 'none'; style-src 'self'; form-action 'self'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("script"), "{policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["x-frame-options"], "DENY");
        if path != "/style.css" {
            assert_eq!(headers["cache-control"], "no-store");
        }
        if expect == 405 {
            assert!(headers.contains_key("allow"));
        }
    };
    check("GET", "/", 303).await;
    check("GET", "/login", 200).await;
    check("GET", "/login/password", 200).await;
    check("GET", "/style.css", 200).await;
    check("GET", "/logout", 303).await;
    check("POST", "/logout", 200).await;
    check("GET", "/audit", 303).await;
    check("GET", "/audit/query/20260101_000000_00000_abcde", 303).await;
    check("GET", "/audit/reports", 303).await;
    check("GET", "/audit/report.csv?kind=denials", 303).await;
    check("GET", "/audit/exports", 303).await;
    check("POST", "/audit/exports", 303).await;
    check("GET", "/audit/exports/0123456789abcdef.tar", 303).await;
    check("GET", "/history", 303).await;
    check("POST", "/history", 405).await;
    check("POST", "/audit", 405).await;
    for path in
        ["/tokens", "/login/oidc/x", "/login/saml/x", "/login/saml/x/metadata", "/nothing", "//", "/login/"]
    {
        check("GET", path, 404).await;
    }
    check("POST", "/login/saml/x/acs", 404).await;
    check("GET", "/login/finish?answer=x", 403).await;
    check("GET", "/oauth2/token/initiate/x", 404).await;
    check("GET", "/oauth2/token/x", 200).await;
    check("DELETE", "/oauth2/token/x", 204).await;
    for (method, path) in [
        ("POST", "/"),
        ("PUT", "/login"),
        ("DELETE", "/login/password"),
        ("PATCH", "/logout"),
        ("POST", "/oauth2/token/x"),
        ("GET", "/tokens/x/revoke"),
    ] {
        check(method, path, 405).await;
    }
}

#[tokio::test]
async fn a_password_counts_in_the_browser_that_was_asked_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let hash = crate::identity::hash_password(&crate::secret::Secret::new("pw".to_owned())).expect("hashed");
    std::fs::write(
        folder.path().join("users.toml"),
        format!("[[user]]\nname = 'ann'\npassword_hash = '{hash}'\n"),
    )
    .expect("written");
    let web = web(&folder);
    let form = ask(&web, "GET", "/login/password", &[], "").await;
    let cookie = form.headers()["set-cookie"].to_str().expect("text").to_owned();
    assert!(cookie.starts_with("__Host-northgate-sign-in-"), "{cookie}");
    for part in ["Path=/;", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age=600"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let cookie = cookie.split(';').next().expect("a pair");
    let page = String::from_utf8(form.body().to_vec()).expect("UTF-8");
    let (_, rest) = page.split_once("name=\"attempt\" value=\"").expect("a field");
    let attempt = rest.split('"').next().expect("a value");
    let body = |user: &str| -> &'static str {
        Box::leak(format!("attempt={attempt}&user={user}&password=pw").into_boxed_str())
    };
    let check = async |headers: &[(&str, &str)], user: &str, expect: u16| {
        let response = ask(&web, "POST", "/login/password", headers, body(user)).await;
        assert_eq!(response.status().as_u16(), expect, "{headers:?} {user}");
        let session = |value: &&http::HeaderValue| value.as_bytes().starts_with(b"__Host-northgate-session=");
        assert_eq!(
            response.headers().get_all("set-cookie").iter().any(|value| session(&value)),
            expect == 303
        );
    };
    check(&[("cookie", cookie)], "ann", 403).await;
    check(&[("cookie", cookie), ("origin", "https://evil.example")], "ann", 403).await;
    check(&[("origin", ORIGIN)], "ann", 403).await;
    check(&[("cookie", cookie), ("origin", ORIGIN)], "bob", 403).await;
    check(&[("cookie", cookie), ("origin", ORIGIN)], "ann", 303).await;
    check(&[("cookie", cookie), ("origin", ORIGIN)], "ann", 403).await;
}

#[test]
fn only_identity_providers_send_much() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let web = runtime.block_on(async { web(&folder) });
    let check = |method: &str, path: &str, length: Option<&str>, read: bool| {
        let request = Request::builder().method(method).uri(path);
        let request =
            length.into_iter().fold(request, |request, length| request.header("content-length", length));
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let refused = web.screen(&parts);
        assert_eq!(
            refused.as_ref().map(|refused| refused.status().as_u16()),
            (!read).then_some(413),
            "{path}"
        );
    };
    check("POST", "/login/saml/idp/acs", Some("200000"), true);
    check("POST", "/login/saml/idp/acs", None, true);
    check("POST", "/login/saml/idp/logout", Some("200000"), true);
    check("POST", "/login/oidc/idp/logout", Some("20000"), true);
    check("POST", "/login/saml/idp/acs", Some("300000"), false);
    check("POST", "/login/saml/idp/acs", Some("-1"), false);
    check("PUT", "/login/saml/idp/acs", Some("20000"), false);
    for path in ["/", "/tokens", "/login/password", "/logout", "/nothing", "/v2", "/login/saml/idp/acs/"] {
        check("POST", path, Some("20000"), false);
        check("POST", path, None, false);
    }
}

#[test]
fn a_limit_that_names_nothing_is_none() {
    let check = |catalogs: &str, addresses: &str, holds: bool| {
        let draft = pages::Draft {
            catalogs: catalogs.to_owned(),
            addresses: addresses.to_owned(),
            ..pages::Draft::default()
        };
        assert_eq!(draft.scope().is_ok(), holds, "{catalogs:?} {addresses:?}");
    };
    check("", "", true);
    check(" ", " ", true);
    check("lake, tpch,", "10.0.0.0/8", true);
    check(",", "", false);
    check("", " , ,", false);
}
