//! A real browser: Chromium without a window, driven by the WebDriver protocol (W3C) through chromedriver.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Client;
use super::gateway::certificates;
use super::process::{Guarded, free_ports, within};

/// What WebDriver calls an element's number.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The driver of one browser.
pub(crate) struct Chromium {
    port: u16,
    session: String,
    _process: Mutex<Guarded>,
    _folder: tempfile::TempDir,
}

impl Chromium {
    /// Opens one with a profile of its own, which is signed in nowhere. It believes the certificate of our gateways.
    pub(crate) fn open() -> Self {
        Self::open_with(&[], &json!({}))
    }

    /// The same for somebody who likes dark pages.
    pub(crate) fn open_dark() -> Self {
        Self::open_with(&["--force-dark-mode"], &json!({}))
    }

    /// The same for somebody who lets no page run a script.
    pub(crate) fn open_without_scripts() -> Self {
        Self::open_with(&[], &json!({"profile.managed_default_content_settings.javascript": 2}))
    }

    fn open_with(more: &[&str], preferences: &Value) -> Self {
        let [port] = free_ports();
        let folder = tempfile::Builder::new().prefix("northgate-browser-").tempdir().expect("a folder");
        let log = folder.path().join("chromedriver.log");
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).env("HOME", folder.path());
        let process = Mutex::new(Guarded::spawn(&command, folder.path(), &log).expect("bash"));
        let up = || std::net::TcpStream::connect(("127.0.0.1", port)).ok();
        assert!(within(Duration::from_mins(1), up).is_some(), "chromedriver does not start");
        let mut arguments =
            vec!["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
        arguments.extend(["--window-size=1000,900", "--disable-background-networking"]);
        let believed = format!("--ignore-certificate-errors-spki-list={}", believed_key());
        arguments.push(&believed);
        arguments.extend(more);
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments, "prefs": preferences},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let mut browser = Self { port, session: String::new(), _process: process, _folder: folder };
        let made = browser.ask("POST", "/session", &capabilities);
        browser.session =
            made["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {made}")).to_owned();
        browser
    }

    fn try_ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let client = Client::plain(self.port).with("Content-Type", "application/json");
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let response = client.send(method, path, body.as_bytes());
        let answer: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        if response.status == 200 { Ok(answer["value"].clone()) } else { Err(format!("{path}: {answer}")) }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_ask(method, path, body).unwrap_or_else(|problem| panic!("{problem}"))
    }

    fn path(&self, rest: &str) -> String {
        format!("/session/{}{rest}", self.session)
    }

    /// Goes to an address.
    pub(crate) fn go(&self, url: &str) {
        self.ask("POST", &self.path("/url"), &json!({ "url": url }));
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        self.ask("GET", &self.path("/url"), &Value::Null).as_str().expect("an address").to_owned()
    }

    /// The element, once the page has it.
    fn element(&self, css: &str) -> String {
        let body = json!({"using": "css selector", "value": css});
        let found = within(Duration::from_secs(30), || {
            self.try_ask("POST", &self.path("/element"), &body).ok()?[ELEMENT].as_str().map(str::to_owned)
        });
        found.unwrap_or_else(|| panic!("{} has no {css}: {}", self.url(), self.text()))
    }

    /// Whether the page has such an element now.
    pub(crate) fn has(&self, css: &str) -> bool {
        let body = json!({"using": "css selector", "value": css});
        self.try_ask("POST", &self.path("/element"), &body).is_ok()
    }

    /// Types into a field, in the place of what is there.
    pub(crate) fn fill(&self, css: &str, text: &str) {
        let element = self.element(css);
        self.ask("POST", &self.path(&format!("/element/{element}/clear")), &json!({}));
        self.ask("POST", &self.path(&format!("/element/{element}/value")), &json!({ "text": text }));
    }

    /// Clicks. What leads to another page (all but boxes to tick) is waited for until the page that had it is
    /// gone, so that nothing of the old one is taken for the new.
    pub(crate) fn click(&self, css: &str) {
        let element = self.element(css);
        let kind = self.ask("GET", &self.path(&format!("/element/{element}/property/type")), &Value::Null);
        self.ask("POST", &self.path(&format!("/element/{element}/click")), &json!({}));
        if kind == "checkbox" {
            return;
        }
        let left =
            || self.try_ask("GET", &self.path(&format!("/element/{element}/name")), &Value::Null).err();
        let left = within(Duration::from_secs(30), left);
        assert!(left.is_some(), "{}: nothing came of a click on {css}: {}", self.url(), self.text());
    }

    /// The text of an element, as it is seen.
    pub(crate) fn text_of(&self, css: &str) -> String {
        let element = self.element(css);
        let text = self.ask("GET", &self.path(&format!("/element/{element}/text")), &Value::Null);
        text.as_str().expect("a text").to_owned()
    }

    fn try_run(&self, script: &str) -> Result<Value, String> {
        self.try_ask("POST", &self.path("/execute/sync"), &json!({"script": script, "args": []}))
    }

    /// What a script of ours gives in the page.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.try_run(script).unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// What the page's console says: breaches of its policy among it.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.ask("POST", &self.path("/se/log"), &json!({"type": "browser"}));
        log.as_array().into_iter().flatten().map(|entry| entry["message"].to_string()).collect()
    }

    /// Presses keys, one after another, wherever the page has its focus.
    pub(crate) fn press(&self, keys: &str) {
        let act = |key: char| {
            let key = key.to_string();
            [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]
        };
        let acts: Vec<_> = keys.chars().flat_map(act).collect();
        let actions = json!({"actions": [{"type": "key", "id": "keyboard", "actions": acts}]});
        self.ask("POST", &self.path("/actions"), &actions);
    }

    /// Goes back, as by the button of the browser.
    pub(crate) fn back(&self) {
        self.ask("POST", &self.path("/back"), &json!({}));
    }

    /// Gives it a cookie for the page, as an attacker would who has found a way to.
    pub(crate) fn plant(&self, name: &str, value: &str) {
        let cookie = json!({"name": name, "value": value, "path": "/", "secure": true, "httpOnly": true});
        self.ask("POST", &self.path("/cookie"), &json!({ "cookie": cookie }));
    }

    /// An attribute of an element.
    pub(crate) fn attribute(&self, css: &str, name: &str) -> String {
        let element = self.element(css);
        let value =
            self.ask("GET", &self.path(&format!("/element/{element}/attribute/{name}")), &Value::Null);
        value.as_str().expect("a value").to_owned()
    }

    /// The text of the page, as it is seen.
    pub(crate) fn text(&self) -> String {
        let text = self.try_run("return document.body ? document.body.innerText : ''");
        text.map_or_else(|problem| problem, |text| text.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the page says something.
    pub(crate) fn reads(&self, text: &str) {
        let says = || self.text().contains(text).then_some(());
        let said = within(Duration::from_secs(30), says).is_some();
        assert!(said, "{} does not say '{text}': {}", self.url(), self.text());
        self.look(text);
    }

    /// Its cookies for the page.
    pub(crate) fn cookies(&self) -> Vec<Value> {
        self.ask("GET", &self.path("/cookie"), &Value::Null).as_array().cloned().unwrap_or_default()
    }

    /// Keeps a picture of the page where `NORTHGATE_SCREENSHOTS` names a folder, for somebody to look at.
    pub(crate) fn look(&self, name: &str) {
        let Ok(folder) = std::env::var("NORTHGATE_SCREENSHOTS") else { return };
        let picture = self.ask("GET", &self.path("/screenshot"), &Value::Null);
        let picture = STANDARD.decode(picture.as_str().expect("a picture")).expect("base64");
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), picture).expect("written");
    }

    /// Fills in the sign-in page of Keycloak.
    pub(crate) fn sign_in_at_keycloak(&self, user: &str) {
        self.fill("#username", user);
        self.fill("#password", &format!("{user}-secret"));
        self.click("#kc-login");
    }

    /// Fills in our own.
    pub(crate) fn sign_in_by_password(&self, user: &str) {
        self.fill("#user", user);
        self.fill("#password", &format!("{user}-secret"));
        self.click("main button[type=submit]");
    }
}

/// The hash of the key of our gateways' certificate, by which a browser takes it for a good one.
fn believed_key() -> String {
    let pem = std::fs::read(certificates().join("server.pem")).expect("a certificate");
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).expect("PEM");
    let certificate = pem.parse_x509().expect("a certificate");
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate.public_key().raw);
    STANDARD.encode(hash.as_ref())
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.try_ask("DELETE", &self.path(""), &Value::Null);
    }
}
