//! Texts under keys that are destroyed.

use std::fs;
use std::path::Path;

use super::*;
use crate::audit::take::{self, Format, Place, Selection};
use crate::audit::{shred, verify};

fn config_of(folder: &Path) -> Config {
    Config { folder: folder.join("audit"), text_keys: Some(folder.join("keys")), ..config() }
}

fn of(user: &str, query: &str) -> Intent {
    let mut intent = intent(query);
    intent.asker.principal = user.to_owned();
    intent.asked.text = format!("SELECT 'written by {user}'");
    intent.asked.prepared = Some(format!("prepared by {user}"));
    intent.asked.parameters = vec![format!("'value of {user}'"), "7".to_owned()];
    intent.rewritten = format!("SELECT 'sent for {user}'");
    intent
}

fn raw(folder: &Path) -> String {
    let mut all = String::new();
    crate::audit::reader::records(&folder.join("audit"), 0, |_, line| {
        all.push_str(std::str::from_utf8(line).expect("UTF-8"));
        all.push('\n');
        Ok(true)
    })
    .expect("read");
    all
}

/// The records as an auditor sees them.
fn seen(folder: &Path) -> Vec<Value> {
    let mut all = Vec::new();
    let selection = Selection { text_keys: Some(folder.join("keys")), ..Selection::default() };
    let line = |_: u64, line: &[u8]| {
        all.push(serde_json::from_slice(line).expect("JSON"));
        true
    };
    take::search(&Place::Folder(folder.join("audit")), &selection, line).expect("read");
    all
}

#[tokio::test]
async fn what_is_erased_is_read_by_nobody_and_the_log_still_verifies() {
    let temp = tempfile::tempdir().expect("a folder");
    let config = config_of(temp.path());
    let audit = Audit::open(&config).expect("opened");
    for (user, query) in [("ann", "q1"), ("bob", "q2"), ("ann", "q3")] {
        drop(audit.intend(of(user, query)).await.expect("recorded"));
    }
    let Intent { query, asker, asked, basis, .. } = of("ann", "q4");
    let reason = Reason { reason: "policy_denied".into(), detail: "no policy".into() };
    audit.record(&Event::Denied { query, asker, asked, basis, reason }).await.expect("recorded");
    let Intent { query, asker, asked, .. } = of("ann", "q5");
    let reason = Reason { reason: "unreadable".into(), detail: "at 'written by ann'".into() };
    audit.keep(&Event::Refused { query, asker, asked, reason });
    // Somebody who runs queries as another has written them.
    let mut as_bob = of("bob", "q6");
    as_bob.asker.impersonator = Some("ann".into());
    drop(audit.intend(as_bob).await.expect("recorded"));
    // And what somebody typed into a tool is theirs.
    let mut by_tool = of("ann", "q7");
    by_tool.asker.impersonator = Some("tool".into());
    drop(audit.intend(by_tool).await.expect("recorded"));
    let mut of_others = of("bob", "q8");
    of_others.asker.impersonator = Some("tool".into());
    drop(audit.intend(of_others).await.expect("recorded"));
    audit.close().await.expect("closed");
    let verifier = Verifier::new(audit.verifier()).expect("a key");
    drop(audit);

    let text = raw(temp.path());
    for word in ["written by", "prepared by", "value of", "sent for"] {
        assert!(!text.contains(word), "{text}");
    }
    assert!(text.contains("\"detail\":\"no policy\""), "{text}");
    let intent_of = |all: &[Value], query: &str| {
        all.iter()
            .find(|record| record["query"] == query && record["type"] != "outcome")
            .expect("there")
            .clone()
    };
    let before = seen(temp.path());
    let first = intent_of(&before, "q1");
    assert_eq!(first["text"], "SELECT 'written by ann'");
    assert_eq!(first["prepared"], "prepared by ann");
    assert_eq!(first["parameters"], serde_json::json!(["'value of ann'", "7"]));
    assert_eq!(first["rewritten"], "SELECT 'sent for ann'");
    assert_eq!(intent_of(&before, "q4")["text"], "SELECT 'written by ann'");
    assert_eq!(intent_of(&before, "q5")["detail"], "at 'written by ann'");
    assert_eq!(intent_of(&before, "q6")["text"], "SELECT 'written by bob'");

    // Texts differ though they are the same, and none opens as another's.
    let sealed = |query: &str| {
        let line = text.lines().find(|line| line.contains(&format!("\"query\":\"{query}\""))).expect("there");
        serde_json::from_str::<Value>(line).expect("JSON")
    };
    assert_ne!(sealed("q1")["text"], sealed("q3")["text"]);
    let mut swapped = sealed("q1");
    swapped["text"] = sealed("q3")["text"].clone();
    swapped["prepared"] = sealed("q1")["rewritten"].clone();
    let keys = temp.path().join("keys");
    let line = serde_json::to_vec(&swapped).expect("JSON");
    let opened: Value = serde_json::from_slice(&shred::Opener::new(&keys).line(&line)).expect("JSON");
    assert_eq!((&opened["text"], &opened["prepared"]), (&"[erased]".into(), &"[erased]".into()));
    assert_eq!(opened["rewritten"], "SELECT 'sent for ann'");

    let exported = temp.path().join("before");
    let all = Selection::default();
    take::export(&Place::Folder(config.folder.clone()), &config, &all, Format::Jsonl, &exported, &|_, _| {
        Ok(())
    })
    .expect("made");
    assert_eq!(shred::destroy(&keys, "carl", None).expect("nothing"), [""; 0]);
    assert_eq!(shred::destroy(&keys, "ann", Some("2020-01")).expect("nothing"), [""; 0]);
    assert_eq!(shred::destroy(&keys, "ann", None).expect("destroyed").len(), 3);
    let after = seen(temp.path());
    for query in ["q1", "q3", "q4", "q5", "q6", "q7"] {
        let record = intent_of(&after, query);
        assert_eq!(record["text"], "[erased]", "{record}");
        assert!(!record.to_string().contains(" by "), "{record}");
    }
    for query in ["q2", "q8"] {
        assert_eq!(intent_of(&after, query), intent_of(&before, query));
    }
    let verdict = verify::folder(&config.folder, &verifier, &[], &[]).expect("read");
    assert_eq!(verdict.faults, []);
    assert_eq!(take::verify_export(&exported, &verifier, &[]).expect("read").faults, []);
    assert!(!fs::read_to_string(exported.join("records.jsonl")).expect("read").contains("written by"));
    let opened = Selection { text_keys: Some(keys), ..Selection::default() };
    for format in [Format::Jsonl, Format::Csv, Format::Parquet] {
        let to = temp.path().join(format!("{format:?}"));
        take::export(&Place::Folder(config.folder.clone()), &config, &opened, format, &to, &|_, _| Ok(()))
            .expect("made");
        assert_eq!(take::verify_export(&to, &verifier, &[]).expect("read").faults, [], "{format:?}");
        if format != Format::Parquet {
            let text = fs::read_to_string(to.join(if format == Format::Csv {
                "records.csv"
            } else {
                "records.jsonl"
            }))
            .expect("read");
            assert!(text.contains("written by bob") && !text.contains("written by ann"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_key_that_is_destroyed_while_it_is_in_use_is_used_no_more() {
    let temp = tempfile::tempdir().expect("a folder");
    let audit = Audit::open(&config_of(temp.path())).expect("opened");
    drop(audit.intend(of("ann", "q1")).await.expect("recorded"));
    let keys = temp.path().join("keys");
    assert_eq!(shred::destroy(&keys, "ann", None).expect("destroyed").len(), 1);
    drop(audit.intend(of("ann", "q2")).await.expect("recorded"));
    audit.close().await.expect("closed");
    drop(audit);
    let texts: Vec<_> =
        seen(temp.path()).iter().filter_map(|record| record["text"].as_str().map(str::to_owned)).collect();
    assert_eq!(texts, ["[erased]", "SELECT 'written by ann'"]);
    // The next start goes on with the key that is there.
    let audit = Audit::open(&config_of(temp.path())).expect("opened");
    drop(audit.intend(of("ann", "q3")).await.expect("recorded"));
    audit.close().await.expect("closed");
    let months: Vec<_> = fs::read_dir(&keys).expect("read").collect();
    assert_eq!(fs::read_dir(months[0].as_ref().expect("a month").path()).expect("read").count(), 1);
}

/// A crash while a key was made or destroyed, and a file that somebody damaged.
#[tokio::test]
async fn what_is_left_of_a_key_keeps_nobody_from_erasing_others() {
    let temp = tempfile::tempdir().expect("a folder");
    let audit = Audit::open(&config_of(temp.path())).expect("opened");
    drop(audit.intend(of("ann", "q1")).await.expect("recorded"));
    drop(audit.intend(of("bob", "q2")).await.expect("recorded"));
    audit.close().await.expect("closed");
    drop(audit);
    let keys = temp.path().join("keys");
    let month = fs::read_dir(&keys).expect("read").next().expect("a month").expect("an entry").path();
    for (name, bytes) in [("00", &b""[..]), ("01", &[0; 60]), ("02", b"{\"us"), ("03.new", b"{\"us")] {
        fs::write(month.join(name), bytes).expect("written");
    }
    let error = shred::destroy(&keys, "ann", None).expect_err("one cannot be read").to_string();
    assert!(error.contains("02 is no key") && !error.contains("03"), "{error}");
    assert!(!month.join("00").exists() && !month.join("01").exists());
    let texts: Vec<_> =
        seen(temp.path()).iter().filter_map(|record| record["text"].as_str().map(str::to_owned)).collect();
    assert_eq!(texts, ["[erased]", "SELECT 'written by bob'"]);
    fs::remove_file(month.join("02")).expect("removed");
    assert_eq!(shred::destroy(&keys, "bob", None).expect("destroyed").len(), 1);
}

#[tokio::test]
async fn a_query_whose_text_cannot_be_sealed_is_refused() {
    let temp = tempfile::tempdir().expect("a folder");
    let audit = Audit::open(&config_of(temp.path())).expect("opened");
    let keys = temp.path().join("keys");
    fs::remove_dir_all(&keys).expect("removed");
    fs::write(&keys, "in the way").expect("written");
    let error = audit.intend(of("ann", "q1")).await.expect_err("not sealed");
    assert_eq!(error.kind(), "audit_text_key");
    audit.close().await.expect("closed");
    let text = raw(temp.path());
    assert!(text.contains("\"type\":\"refused\"") && !text.contains("written by"), "{text}");
}
