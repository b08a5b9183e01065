//! What users wish of the cache.

use std::time::Duration;

use super::{Asked, ask, ask_with, gateway, hit, table};
use crate::harness::Answer;
use crate::harness::process::within;

#[test]
fn users_say_what_they_wish() {
    let table = table("wishes");
    let sql = format!("SELECT max(id) FROM {table}");
    ask("otto", &sql);
    hit("otto", &sql);
    let with = |tags: &str| ask_with(gateway(), "otto", &sql, &[("X-Trino-Client-Tags", tags)]);
    assert_eq!(with("cache=off").said, "bypass; client");
    assert_eq!(with("x,cache=on-and-off").said, "bypass; client");
    // By a session property, which Trino does not know of, and SET SESSION.
    let with_session = |value: &str| ask_with(gateway(), "otto", &sql, &[("X-Trino-Session", value)]).said;
    assert_eq!(with_session("northgate.cache=off,task_concurrency=1"), "bypass; client");
    assert_eq!(with_session("northgate.cache=never"), "bypass; client");
    assert_eq!(with_session("northgate.cache=on"), "hit");
    let set = gateway().signed_in("otto").query("SET SESSION northgate.cache = 'off'");
    let header = |answer: &Answer, name: &str| {
        answer.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.clone())
    };
    assert_eq!(header(&set, "x-trino-set-session").as_deref(), Some("northgate.cache=off"));
    let reset = gateway().signed_in("otto").query("RESET SESSION northgate.cache");
    assert_eq!(header(&reset, "x-trino-clear-session").as_deref(), Some("northgate.cache"));
    for wrong in ["SET SESSION northgate.cache = 'never'", "SET SESSION northgate.other = 'off'"] {
        assert!(gateway().signed_in("otto").query(wrong).error.is_some(), "{wrong}");
    }
    let anew = with("cache=refresh");
    assert_eq!(anew.said, "miss");
    let origin = |asked: &Asked| {
        gateway().audit_of(&asked.id, |records| records.len() == 2)[0]["cache_origin"].clone()
    };
    let newer = || Some(ask("otto", &sql)).filter(|asked| origin(asked) == anew.id);
    assert!(within(Duration::from_secs(20), newer).is_some(), "the new answer takes the place of the old");
}
