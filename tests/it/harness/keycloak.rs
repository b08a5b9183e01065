//! An identity provider by itself: Keycloak with the realm `bank`, and a browser's way through its sign-in page.

use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use super::http::{Response, path_of};
use super::process::{Guarded, free_ports, within};
use super::{Client, stack};

/// The running server.
pub(crate) struct Keycloak {
    /// Its port; it speaks plain HTTP.
    pub(crate) port: u16,
    _process: Mutex<Guarded>,
    _folder: tempfile::TempDir,
}

impl Keycloak {
    /// Starts it.
    pub(crate) fn start() -> Self {
        let [port] = free_ports();
        let folder = tempfile::Builder::new().prefix("northgate-provider-").tempdir().expect("a folder");
        let log = folder.path().join("keycloak.log");
        let mut command = Command::new(stack());
        command.arg("keycloak").arg(folder.path()).arg(port.to_string());
        let process = Mutex::new(Guarded::spawn(&command, folder.path(), &log).expect("bash"));
        let answers = || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
            (Client::plain(port).get("/realms/bank").status < 500).then_some(())
        };
        let answered = within(Duration::from_mins(4), answers).is_some();
        assert!(answered, "it does not answer: {}", std::fs::read_to_string(&log).unwrap_or_default());
        Self { port, _process: process, _folder: folder }
    }

    /// Asks as the administrator; below `/admin/realms/bank`.
    pub(crate) fn administer(&self, method: &str, path: &str, body: &[u8]) -> Value {
        self.administer_all(method, &format!("/bank{path}"), body)
    }

    /// The same of all realms.
    pub(crate) fn administer_all(&self, method: &str, path: &str, body: &[u8]) -> Value {
        let form = "grant_type=password&client_id=admin-cli&username=admin&password=admin";
        let client = Client::plain(self.port).with("Content-Type", "application/x-www-form-urlencoded");
        let answer = client.send("POST", "/realms/master/protocol/openid-connect/token", form.as_bytes());
        let token: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let token = token["access_token"].as_str().unwrap_or_else(|| panic!("no token: {token}"));
        let client = Client::plain(self.port).bearer(token).with("Content-Type", "application/json");
        let response = client.send(method, &format!("/admin/realms{path}"), body);
        assert!(response.status < 300, "{path}: {} {}", response.status, response.text());
        serde_json::from_slice(&response.body).unwrap_or_default()
    }

    /// Makes a client of the realm out of a SAML service provider's metadata, with these settings of Keycloak's.
    pub(crate) fn register(&self, metadata: &str, settings: &Value) {
        let mut client = self.administer("POST", "/client-description-converter", metadata.as_bytes());
        for (name, value) in settings.as_object().expect("settings by name") {
            client["attributes"][name] = value.clone();
        }
        self.administer("POST", "/clients", json!(client).to_string().as_bytes());
    }
}

/// A browser that keeps cookies and follows redirects within one server.
pub(crate) struct Browser {
    port: u16,
    cookies: Vec<(String, String)>,
}

impl Browser {
    pub(crate) fn new(port: u16) -> Self {
        Self { port, cookies: Vec::new() }
    }

    /// GETs an address of the server.
    pub(crate) fn get(&mut self, url: &str) -> Response {
        self.send("GET", &self.path(url), b"")
    }

    /// Submits a form to an address of the server.
    pub(crate) fn post(&mut self, url: &str, fields: &[(&str, &str)]) -> Response {
        let encode = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
        };
        let form: Vec<_> =
            fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        self.send("POST", &self.path(url), form.join("&").as_bytes())
    }

    fn path(&self, url: &str) -> String {
        assert!(url.starts_with(&format!("http://127.0.0.1:{}/", self.port)), "another server: {url}");
        path_of(url)
    }

    fn send(&mut self, method: &str, path: &str, body: &[u8]) -> Response {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut client = Client::plain(self.port).with("Cookie", cookies.join("; "));
        if method == "POST" {
            client = client.with("Content-Type", "application/x-www-form-urlencoded");
        }
        let response = client.send(method, path, body);
        for (_, cookie) in response.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let pair = cookie.split(';').next().expect("a first part");
            let (name, value) = pair.split_once('=').expect("a name and a value");
            self.cookies.retain(|(other, _)| other != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        match response.header("location") {
            Some(link) if link.starts_with(&format!("http://127.0.0.1:{}/", self.port)) => {
                let path = path_of(link);
                self.send("GET", &path, b"")
            }
            _ => response,
        }
    }

    /// Fills in the sign-in page that a server has answered with.
    pub(crate) fn sign_in(&mut self, page: &Response, user: &str) -> Response {
        let text = page.text();
        let start = text.find("kc-form-login").unwrap_or_else(|| panic!("no sign-in page: {text}"));
        let action = attribute(&text[start..], "action");
        self.post(
            &action,
            &[("username", user), ("password", &format!("{user}-secret")), ("credentialId", "")],
        )
    }
}

/// The value of a hidden field of a page, if it is there.
pub(crate) fn field(page: &Response, name: &str) -> Option<String> {
    let text = page.text();
    let lower = text.find(&format!("NAME=\"{name}\"")).or_else(|| text.find(&format!("name=\"{name}\"")))?;
    Some(attribute(&text[lower..], "value"))
}

/// The value of the next attribute of this name.
pub(crate) fn attribute(text: &str, name: &str) -> String {
    let at = text.to_lowercase().find(&format!("{name}=\"")).unwrap_or_else(|| panic!("no {name} in {text}"));
    let rest = &text[at + name.len() + 2..];
    rest[..rest.find('"').expect("an end")]
        .replace("&amp;", "&")
        .replace("&#x3a;", ":")
        .replace("&#x2f;", "/")
}
