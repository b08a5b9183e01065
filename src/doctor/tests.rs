//! What is found on files and answers made for it.

use jiff::SignedDuration;

use super::expiry::{End, ends, finding};
use super::*;
use crate::telemetry::Ending;

fn config(folder: &std::path::Path, text: &str) -> Config {
    let text = format!("[trino]\nurl = 'http://127.0.0.1:1'\n{text}");
    Config::read("northgate.toml", &text, std::iter::empty(), folder).expect("it can be read")
}

/// A certificate that ends after this.
fn certificate(left: SignedDuration) -> String {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    let end = std::time::SystemTime::from(Timestamp::now() + left);
    params.not_after = end.into();
    let key = rcgen::KeyPair::generate().expect("a key");
    params.self_signed(&key).expect("a certificate").pem()
}

#[test]
fn what_ends_is_told_in_time() {
    let now = Timestamp::now();
    let check = |of: Ending, left: SignedDuration, level: Level, says: &str| {
        let found = finding(&End { of, what: "it".to_owned(), at: Ok(now + left) }, now);
        assert_eq!(found.level, level, "{found}");
        assert!(found.says.contains(says), "{found}");
    };
    let hours = SignedDuration::from_hours;
    check(Ending::Server, hours(24 * 90), Level::Good, "it ends on 2");
    check(Ending::Server, hours(24 * 13), Level::Warning, "ends in 13 days");
    check(Ending::Server, hours(1), Level::Problem, "ends in 1 h");
    check(Ending::Server, hours(-1), Level::Problem, "has ended");
    check(Ending::RevocationList, hours(24), Level::Good, "it ends on");
    check(Ending::RevocationList, hours(1), Level::Warning, "ends in 1 h");
    check(Ending::RevocationList, hours(-1), Level::Problem, "has ended");
}

#[test]
fn certificates_are_found_in_the_files_that_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    let (soon, late) = (SignedDuration::from_hours(1), SignedDuration::from_hours(24 * 365));
    write("server.pem", &(certificate(late) + &certificate(soon)));
    write("server-key.pem", "");
    write("ca.pem", &(certificate(late) + &certificate(soon)));
    write("text.pem", "hello");
    let config = config(
        folder.path(),
        "ca_file = 'ca.pem'\n[server]\ncertificate = 'server.pem'\nkey = 'server-key.pem'\n[state]\nca_file = \
         'text.pem'\n[audit.s3]\nbucket = 'b'\nca_file = 'none.pem'\n",
    );
    let now = Timestamp::now();
    let found: Vec<(Ending, Level)> =
        ends(&config).iter().map(|end| (end.of, finding(end, now).level)).collect();
    assert_eq!(
        found,
        [
            // The first one to end is the end of a chain, the last one that of what is believed.
            (Ending::Server, Level::Problem),
            (Ending::Authority, Level::Good),
            (Ending::Authority, Level::Problem),
            (Ending::Authority, Level::Problem),
        ]
    );
}

#[test]
fn metadata_of_saml_has_the_end_of_its_newest_certificate() {
    let base64 = |left: i64| {
        let pem = certificate(SignedDuration::from_hours(left));
        pem.lines().filter(|line| !line.starts_with("---")).collect::<Vec<_>>().join("\n")
    };
    let element = |left: i64| format!("<ds:X509Certificate>\n{}</ds:X509Certificate>", base64(left));
    let text = format!("<md:EntityDescriptor>{}{}</md:EntityDescriptor>", element(100), element(5));
    let end = expiry::end_of_metadata(&text).expect("an end");
    let left = end.duration_since(Timestamp::now()).as_hours();
    assert!((98..=100).contains(&left), "{left}");
    assert!(expiry::end_of_metadata("<md:EntityDescriptor/>").is_err());
    assert!(expiry::end_of_metadata("<X509Certificate>!</X509Certificate>").is_err());
}

#[test]
fn clocks_are_compared() {
    let now: Timestamp = "2026-11-30T12:00:00Z".parse().expect("a time");
    let check = |date: &str, level: Level, says: &str| {
        let found = clock("Trino", Some(date), now).expect("something is said");
        assert!(found.level == level && found.says.contains(says), "{date}: {found}");
    };
    check("Mon, 30 Nov 2026 12:00:01 GMT", Level::Good, "agree");
    check("Mon, 30 Nov 2026 12:00:10 GMT", Level::Warning, "behind that of Trino");
    check("Mon, 30 Nov 2026 11:50:00 GMT", Level::Problem, "600 s ahead of that of Trino");
    assert_eq!(clock("Trino", Some("yesterday"), now), None);
    assert_eq!(clock("Trino", None, now), None);
}

#[test]
fn secrets_are_for_nobody_else() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(folder.path(), "[links]\nkey_file = 'links.key'\n");
    let check = |mode: u32, level: Level| {
        let path = folder.path().join("links.key");
        std::fs::write(&path, "hunter2").expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
        let found = secrets::findings(&config);
        assert_eq!(found.iter().map(|found| found.level).max(), Some(level), "{mode:o}: {found:?}");
        assert!(found.iter().all(|found| !found.to_string().contains("hunter2")));
    };
    check(0o600, Level::Good);
    check(0o640, Level::Good);
    check(0o644, Level::Problem);
    check(0o602, Level::Problem);
}
