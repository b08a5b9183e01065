use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// What is shown: readiness and reload go wrong if there is a problem.
struct Shown(Option<&'static str>);

impl Operated for Shown {
    async fn explain(&self, asked: Explain) -> String {
        format!("{asked:?}")
    }

    async fn tokens(&self, asked: TokenRequest) -> Result<String, (StatusCode, String)> {
        Ok(format!("{asked:?}"))
    }

    async fn queries(&self, asked: QueryRequest) -> Result<String, (StatusCode, String)> {
        Ok(format!("{asked:?}"))
    }

    async fn purge(&self, _: Purge) -> Result<usize, (StatusCode, String)> {
        Ok(3)
    }

    async fn clusters(&self, asked: ClusterRequest) -> Result<String, (StatusCode, String)> {
        Ok(format!("{asked:?}"))
    }

    fn metrics(&self) -> String {
        "# EOF\n".to_owned()
    }

    async fn ready(&self) -> Vec<Check> {
        if self.0 == Some("hang") {
            std::future::pending::<()>().await;
        }
        vec![
            Check { name: "policies", problem: None, note: None },
            Check { name: "trino", problem: self.0.map(str::to_owned), note: None },
        ]
    }

    fn status(&self) -> String {
        "{\"version\":\"0\"}".to_owned()
    }

    fn keys(&self) -> String {
        "{\"keys\":[]}".to_owned()
    }

    async fn reload(&self) -> Result<(), Vec<String>> {
        self.0.map_or(Ok(()), |problem| Err(vec![problem.to_owned(), "and more".to_owned()]))
    }
}

async fn ask(
    problem: Option<&'static str>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> (u16, String) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).expect("a request").into_parts();
    let response = answer(&parts.method, parts.uri.path(), &parts.headers, &Shown(problem)).await;
    let status = response.status().as_u16();
    let body = http_body_util::BodyExt::collect(response.into_body()).await.expect("a body").to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

#[tokio::test(start_paused = true)]
async fn what_is_answered() {
    let check = async |problem, method: &str, path: &str, status: u16, expect: &str| {
        let (got, body) = ask(problem, method, path, &[]).await;
        assert_eq!((got, body.as_str()), (status, expect), "{method} {path} with {problem:?}");
    };
    check(None, "GET", "/metrics", 200, "# EOF\n").await;
    check(None, "GET", "/jwks", 200, "{\"keys\":[]}").await;
    check(None, "GET", "/health", 200, "ok\n").await;
    check(Some("down"), "GET", "/health", 200, "ok\n").await;
    check(None, "GET", "/ready", 200, "{\"ready\":true,\"checks\":{\"policies\":\"ok\",\"trino\":\"ok\"}}")
        .await;
    check(
        Some("down"),
        "GET",
        "/ready",
        503,
        "{\"ready\":false,\"checks\":{\"policies\":\"ok\",\"trino\":\"down\"}}",
    )
    .await;
    check(
        Some("hang"),
        "GET",
        "/ready",
        503,
        "{\"ready\":false,\"checks\":{\"checks\":\"took longer than 5 s\"}}",
    )
    .await;
    check(None, "POST", "/reload", 200, "reloaded\n").await;
    check(Some("bad"), "POST", "/reload", 422, "bad\nand more\n").await;
    check(None, "GET", "/reload", 405, "method not allowed\n").await;
    check(None, "POST", "/metrics", 405, "method not allowed\n").await;
    check(None, "GET", "/", 404, "not found\n").await;
    check(None, "GET", "/metrics/", 404, "not found\n").await;
    check(None, "GET", "/v1/statement", 404, "not found\n").await;
}

#[tokio::test]
async fn pages_in_a_browser_are_refused() {
    for headers in [
        [("origin", "http://evil.example")].as_slice(),
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-origin")],
    ] {
        for (method, path) in [("POST", "/reload"), ("GET", "/metrics")] {
            assert_eq!(ask(None, method, path, headers).await.0, 403, "{method} {path} {headers:?}");
        }
    }
    assert_eq!(ask(None, "GET", "/metrics", &[("sec-fetch-site", "none")]).await.0, 200);
}

/// A token of the user's is taken from a header, and from nowhere else.
#[tokio::test]
async fn a_token_for_an_explanation() {
    let config = Config { listen: ([127, 0, 0, 1], 0).into(), ..Config::default() };
    let admin = Admin::bind(&config).await.expect("bound");
    let address = admin.address().expect("an address");
    let _serving = AbortOnDropHandle::new(tokio::spawn(admin.serve(Arc::new(Shown(None)))));
    let check = async |query: &str, headers: &str, expect: &str| {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let request = format!(
            "POST /explain?user=ann{query} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 8\r\n{headers}\r\n\
             SELECT 1"
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        assert!(answer.contains(expect) && !answer.contains("hunter2"), "{answer}");
    };
    check("", "", "token: None").await;
    check("", "x-northgate-user-token: hunter2\r\n", "token: Some(Secret(..))").await;
    check("", "x-northgate-user-token: \r\n", "400 Bad Request").await;
    check("&token=hunter2", "", "400 Bad Request").await;
}

#[tokio::test]
async fn it_listens() {
    let admin = Admin::bind(&Config { listen: ([127, 0, 0, 1], 0).into(), ..Config::default() })
        .await
        .expect("bound");
    let address = admin.address().expect("an address");
    let taken =
        Admin::bind(&Config { listen: address, ..Config::default() }).await.err().expect("taken").to_string();
    assert!(taken.starts_with(&format!("admin: cannot listen on {address}")), "{taken}");
    let serving = AbortOnDropHandle::new(tokio::spawn(admin.serve(Arc::new(Shown(None)))));
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    let mut answer = [0; 15];
    stream.read_exact(&mut answer).await.expect("answered");
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    drop(serving);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.expect("ended with the listener");
}
