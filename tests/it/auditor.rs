//! The pages of the audit, with a real browser.

use std::time::Duration;

use serde_json::Value;

use crate::harness::chromium::Chromium;
use crate::harness::gateway::binary;
use crate::harness::process::within;
use crate::harness::{Client, Gateway, Settings};
use crate::tokens::token;

fn start() -> Gateway {
    let mut settings = Settings::new();
    // The first lines are of the table of before: the audit's.
    settings.more = "auditors = ['compliance']\ncheckpoint_every = '1s'\n\
                     [identity.login]\nexternal_url = 'https://localhost:{port}'\npasswords = true\n\
                     [identity.tokens]\n"
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

/// The audit by HTTP, as an auditor's program reads it.
#[test]
fn a_program_pages_through_the_audit_and_streams_it() {
    let gateway = start();
    let eva = gateway.signed_in("eva");
    for n in 0..5 {
        assert_eq!(eva.query(&format!("SELECT {n} FROM lake.silver.customers LIMIT 1")).rows().len(), 1);
    }
    gateway.signed_in("nora").query("SELECT * FROM lake.silver.orders").failure();
    let otto = gateway.signed_in("otto");
    let json = |path: &str| -> Value {
        let response = otto.get(path);
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        serde_json::from_slice(&response.body).expect("JSON")
    };
    // Page by page, each record once and in order, with the outcomes of the queries that are meant.
    let (mut next, mut numbers, mut kinds) =
        (Some("/v1/audit/records?user=eva&limit=3".to_owned()), Vec::new(), Vec::new());
    while let Some(path) = next.take() {
        let page = json(&path);
        let records = page["records"].as_array().expect("records");
        assert!((1..=3).contains(&records.len()), "{page}");
        for one in records {
            numbers.push(one["n"].as_u64().expect("a number"));
            kinds.push(one["record"]["type"].as_str().expect("a type").to_owned());
        }
        next = page["next"].as_str().map(str::to_owned);
    }
    assert!(numbers.is_sorted_by(|one, other| one < other), "{numbers:?}");
    assert_eq!(kinds.iter().filter(|kind| *kind == "intent").count(), 5, "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| *kind == "outcome").count(), 5, "{kinds:?}");
    let stream = otto.get("/v1/audit/records.jsonl?user=eva");
    assert_eq!(stream.header("content-type"), Some("application/x-ndjson"));
    let text = stream.text();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.iter().map(|line| line["n"].as_u64().expect("a number")).collect::<Vec<_>>(), numbers);
    // All of it is more, and begins where it is told to.
    let all = otto.get("/v1/audit/records.jsonl").text();
    assert!(all.lines().count() > lines.len());
    let after = otto.get("/v1/audit/records.jsonl?after=3").text();
    assert_eq!(
        after.lines().next().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["n"].clone()),
        Some(4.into())
    );
    let denials = json("/v1/audit/reports/denials");
    assert!(denials["lines"].to_string().contains("lake.silver.orders"), "{denials}");
    let kept = within(Duration::from_secs(10), || {
        let answer = otto.get("/v1/audit/checkpoint");
        (answer.status == 200).then(|| serde_json::from_slice::<Value>(&answer.body).expect("JSON"))
    });
    let kept = kept.expect("a checkpoint");
    assert!(kept["checkpoint"].as_str().is_some_and(|note| note.starts_with("northgate\n")), "{kept}");

    for wrong in
        ["records?usr=eva", "records?user=eva&user=otto", "records?limit=x", "records?from=now", "reports/x"]
    {
        assert_eq!(otto.get(&format!("/v1/audit/{wrong}")).status, 400, "{wrong}");
    }
    for path in ["nothing", "records/", "../records", ""] {
        assert_eq!(otto.get(&format!("/v1/audit/{path}")).status, 404, "{path}");
    }
    assert_eq!(otto.send("POST", "/v1/audit/records", b"").status, 405);
    // Nobody else, however they come.
    let paths =
        ["records", "records.jsonl", "reports/denials", "checkpoint"].map(|path| format!("/v1/audit/{path}"));
    for path in &paths {
        assert_eq!(gateway.client().get(path).status, 401, "{path}");
        assert_eq!(eva.get(path).status, 403, "{path}");
        assert_eq!(gateway.signed_in("admin").get(path).status, 403, "{path}");
        assert_eq!(gateway.client().basic("otto", "wrong").get(path).status, 401, "{path}");
        assert_ne!(eva.clone().with("X-Trino-User", "otto").get(path).status, 200, "{path}");
    }
    // A token that was made for queries, of whomever, opens none of it.
    let of_token = |more: &[&str]| {
        let mut create = vec!["create", "--user", "otto", "--name", "t", "--life", "7d"];
        create.extend(more);
        let secret = token(&gateway, &create);
        gateway.client().bearer(&secret).get("/v1/audit/records").status
    };
    assert_eq!(
        (of_token(&[]), of_token(&["--audit", "--catalog", "lake"]), of_token(&["--audit"])),
        (403, 403, 200)
    );
    let refused = |by: &str| {
        let of = |record: &&Value| record["action"] == "audit_refused" && record["by"] == by;
        gateway.audit().iter().any(|record| of(&record)).then_some(())
    };
    for by in ["eva", "otto"] {
        assert!(within(Duration::from_secs(10), || refused(by)).is_some(), "{by}");
    }
    let noted = |detail: &str| {
        let of_otto = |record: &&Value| record["type"] == "administration" && record["by"] == "otto";
        gateway.audit().iter().filter(of_otto).any(|record| record["detail"] == detail).then_some(())
    };
    for detail in ["records.jsonl?user=eva", "reports/denials", "checkpoint"] {
        assert!(within(Duration::from_secs(10), || noted(detail)).is_some(), "{detail}");
    }
}

/// Whoever is signed in by a password in a browser, and a client with the cookie of it.
fn signed_in(gateway: &Gateway, user: &str, dark: bool) -> (Chromium, Client) {
    let origin = format!("https://localhost:{}", gateway.port);
    let browser = if dark { Chromium::open_dark() } else { Chromium::open() };
    browser.go(&format!("{origin}/login/password"));
    browser.sign_in_by_password(user);
    browser.reads(&format!("Signed in as {user}"));
    let session = browser.cookies().into_iter().find(|cookie| cookie["name"] == "__Host-northgate-session");
    let session = session.expect("a session")["value"].as_str().expect("a value").to_owned();
    (browser, gateway.client().with("Cookie", format!("__Host-northgate-session={session}")))
}

#[test]
fn an_auditor_has_reports_and_exports_that_verify() {
    let gateway = start();
    gateway.signed_in("eva").query("SELECT id, email FROM lake.silver.customers").rows();
    gateway.signed_in("nora").query("SELECT * FROM lake.silver.orders").failure();
    let origin = format!("https://localhost:{}", gateway.port);
    let (browser, otto) = signed_in(&gateway, "otto", true);
    browser.go(&format!("{origin}/audit/reports"));
    for (query, expect) in [
        ("kind=denials", "lake.silver.orders"),
        ("kind=access&table=lake.silver.customers", "email,id"),
        ("kind=pii&tag=contact", "lake.silver.customers"),
        ("kind=hours&hours=0-1", "One line."),
        ("kind=privileged", "start"),
        ("kind=inactive&days=1", "The report has no lines."),
    ] {
        browser.go(&format!("{origin}/audit/reports?{query}"));
        let expect =
            if query.contains("hours") && browser.text().contains("no lines") { "no lines" } else { expect };
        browser.reads(expect);
    }
    browser.go(&format!("{origin}/audit/reports?kind=access"));
    browser.reads("say of which table or tag");
    let csv = otto.get("/audit/report.csv?kind=denials");
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert!(csv.text().contains("\"nora\""), "{}", csv.text());
    // An export, with its proofs.
    let sealed = || gateway.folder.path().join("audit/checkpoint").exists().then_some(());
    within(Duration::from_secs(10), sealed).expect("a checkpoint");
    browser.go(&format!("{origin}/audit/exports"));
    browser.click("form.filters button");
    within(Duration::from_mins(1), || browser.text().contains("records, under a checkpoint").then_some(()))
        .unwrap_or_else(|| panic!("{}", browser.text()));
    browser.reads("records, under a checkpoint");
    let link = browser.attribute("main a.button", "href");
    let tar = otto.get(&link);
    assert_eq!((tar.status, tar.header("content-type")), (200, Some("application/x-tar")));
    let temp = tempfile::tempdir().expect("a folder");
    let file = temp.path().join("export.tar");
    std::fs::write(&file, &tar.body).expect("written");
    let unpacked = std::process::Command::new("tar").arg("xf").arg(&file).arg("-C").arg(temp.path()).status();
    assert!(unpacked.is_ok_and(|status| status.success()));
    let verified = binary().args(["audit", "verify"]).arg(temp.path().join("audit-export")).output();
    let verified = verified.expect("it runs");
    let said = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success() && said.contains(" 0 faults"), "{said}");
    // Not somebody else's, and no forged form.
    let (_nora, nora) = signed_in(&gateway, "nora", false);
    let path = link;
    assert_eq!(nora.get(&path).status, 403);
    assert_eq!(gateway.client().get(&path).status, 303);
    for path in ["/audit/exports/../../audit.key", "/audit/exports/0123.tar", "/audit/exports/..%2faudit.key"]
    {
        let status = otto.get(path).status;
        assert!(status == 404 || status == 405, "{path}: {status}");
    }
    let form = otto.clone().with("Origin", &origin).with("Content-Type", "application/x-www-form-urlencoded");
    let forged = form.send("POST", "/audit/exports", b"key=x&from=2026-01-01&to=2026-12-31&format=csv");
    assert_eq!(forged.status, 403, "{}", forged.text());
}

#[test]
fn everybody_sees_what_they_did_and_nothing_else() {
    let gateway = start();
    gateway.signed_in("eva").query("SELECT ssn, 'of eva' FROM lake.silver.customers LIMIT 3").rows();
    gateway.signed_in("nora").query("SELECT 'of nora' FROM lake.silver.orders").failure();
    gateway.client().basic("eva", "wrong").submit("SELECT 1");
    let origin = format!("https://localhost:{}", gateway.port);
    let (browser, eva) = signed_in(&gateway, "eva", false);
    browser.click("nav a[href='/history']");
    browser.reads("'of eva'");
    let text = browser.text();
    assert!(text.contains("finished") && text.contains("login failed"), "{text}");
    assert!(!text.contains("nora") && !text.contains("otto"), "{text}");
    // What policies made of it is not told.
    for secret in ["region", "policy", "bank.yaml", "rewritten"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let asked = eva.get("/history?to=2026-11-30&user=nora").text();
    assert!(!asked.contains("of nora"), "{asked}");
    assert_eq!(eva.get("/history?to=never").status, 400);
    assert_eq!(gateway.client().get("/history").status, 303);
    browser.go(&format!("{origin}/history?to=2020-01-07"));
    browser.reads("There is nothing in these days.");
}
