//! The pages of the audit, with a real browser.

use crate::harness::chromium::Chromium;
use crate::harness::process::within;
use crate::harness::{Gateway, Settings};

fn start() -> Gateway {
    let mut settings = Settings::new();
    // The first lines are of the table of before: the audit's.
    settings.more = "auditors = ['compliance']\ncheckpoint_every = '1s'\n\
                     [identity.login]\nexternal_url = 'https://localhost:{port}'\npasswords = true\n"
        .to_owned();
    Gateway::start(settings)
}

#[test]
fn an_auditor_finds_what_was_asked() {
    let gateway = start();
    let eva = gateway.signed_in("eva");
    let answer =
        eva.query("SELECT count(*) FROM lake.silver.customers WHERE name <> '<script>alert(1)</script>'");
    assert_eq!(answer.value(), 120);
    let denied = gateway.signed_in("nora").query("SELECT * FROM lake.silver.orders");
    assert!(!denied.failure().is_empty());
    let origin = format!("https://localhost:{}", gateway.port);
    let browser = Chromium::open();
    browser.go(&format!("{origin}/audit"));
    browser.click("a[href='/login/password']");
    browser.sign_in_by_password("otto");
    browser.click("nav a[href='/audit']");
    browser.reads("Your searches are on record, too.");
    // By user: hers alone, with her text as she wrote it.
    browser.fill("#user", "eva");
    browser.click("form.filters button");
    browser.reads("<script>alert(1)</script>");
    assert!(!browser.text().contains("nora"), "{}", browser.text());
    browser.click("td a[href^='/audit/query/']");
    browser.reads("rewritten");
    assert!(browser.text().contains("policy_revision"), "{}", browser.text());
    // What was denied.
    browser.go(&format!("{origin}/audit"));
    browser.click("input[name=denied]");
    browser.click("form.filters button");
    browser.reads("lake.silver.orders");
    assert!(!browser.text().contains("<script>"), "{}", browser.text());
    // A table that nobody has read.
    browser.fill("#table", "lake.none.*");
    browser.click("form.filters button");
    browser.reads("There are no such records.");
    let session = browser.cookies().into_iter().find(|cookie| cookie["name"] == "__Host-northgate-session");
    let session = session.expect("a session")["value"].as_str().expect("a value").to_owned();
    let otto = gateway.client().with("Cookie", format!("__Host-northgate-session={session}"));
    let taken = otto.get("/audit/records.jsonl?user=eva");
    assert_eq!(taken.status, 200);
    assert!(taken.header("content-disposition").is_some_and(|value| value.starts_with("attachment")));
    let lines: Vec<serde_json::Value> =
        taken.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(lines.iter().any(|record| record["type"] == "intent" && record["principal"] == "eva"));
    for wrong in ["/audit?from=yesterday", "/audit/records.jsonl?to=2026-13-01"] {
        assert_eq!(otto.get(wrong).status, 400, "{wrong}");
    }
    assert_eq!(otto.get("/audit/query/20200101_000000_00000_abcde").status, 404);
    assert_eq!(otto.get("/audit/query/x").status, 404);
    // That he looked is on record, with what for.
    let looked = within(std::time::Duration::from_secs(10), || {
        let records = gateway.audit();
        let of_otto =
            records.iter().filter(|record| record["type"] == "administration" && record["by"] == "otto");
        let details: Vec<_> = of_otto.map(|record| record["detail"].to_string()).collect();
        details.iter().any(|detail| detail.contains("user eva")).then_some(())
    });
    assert!(looked.is_some());
    // Others have no such page.
    let browser = Chromium::open();
    browser.go(&format!("{origin}/login/password"));
    browser.sign_in_by_password("eva");
    browser.reads("Signed in as eva");
    assert!(!browser.has("nav a[href='/audit']"));
    browser.go(&format!("{origin}/audit"));
    browser.reads("The audit is for auditors.");
    for path in ["/audit", "/audit/records.jsonl", "/audit/query/20260101_000000_00000_abcde"] {
        assert_eq!(gateway.client().get(path).status, 303, "{path}");
    }
}
