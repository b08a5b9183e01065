//! Exports of a log, and what verifying says of those that were changed.

use std::fs;
use std::path::Path;

use super::report::{Kind, report};
use super::*;
use crate::audit::verify::Kept;
use crate::audit::{Asked, Asker, Audit, Config, Event, Intent, Outcome, Read, Reason, State};

fn config(folder: &Path) -> Config {
    Config { folder: folder.join("audit"), ..Config::default() }
}

fn intent(query: &str, user: &str, table: &str, tag: Option<&str>) -> Intent {
    let tags = tag.map(|tag| ("ssn".to_owned(), vec![tag.to_owned()]));
    let read = Read {
        name: table.to_owned(),
        columns: vec!["id".to_owned(), "ssn".to_owned()],
        tags: tags.into_iter().collect(),
        ..Read::default()
    };
    Intent {
        query: query.to_owned(),
        asker: Asker { principal: user.to_owned(), ..Asker::default() },
        asked: Asked {
            text: format!("=SELECT \"a\",\n'{query}' FROM {table}"),
            kind: Some("SELECT".to_owned()),
            tables: vec![read],
            ..Asked::default()
        },
        ..Intent::default()
    }
}

/// A log of 200 queries of four users, of which one is too long for an entry, and of one denial each ten.
async fn log(folder: &Path) -> (Config, Verifier) {
    let config = config(folder);
    let audit = Audit::open(&config).expect("opened");
    for n in 0..200_u64 {
        let user = ["eva", "otto", "nora", "adam"][usize::try_from(n % 4).expect("small")];
        let (table, tag) =
            if n % 3 == 0 { ("lake.silver.customers", Some("pii")) } else { ("lake.gold.sums", None) };
        let mut intent = intent(&format!("q{n}"), user, table, tag);
        if n == 57 {
            intent.rewritten = "x".repeat(70_000);
        }
        if n % 10 == 5 {
            let Intent { query, asker, asked, .. } = intent;
            let reason = Reason { reason: "policy_denied".into(), detail: "no policy allows it".into() };
            audit.keep(&Event::Denied { query, asker, asked, basis: crate::audit::Basis::default(), reason });
            continue;
        }
        let guard = audit.intend(intent).await.expect("recorded");
        guard.add(10, 100);
        guard.finish(&Outcome::of(State::Finished));
    }
    let verifier = Verifier::new(audit.verifier()).expect("a key");
    audit.close().await.expect("closed");
    (config, verifier)
}

fn faults(folder: &Path, verifier: &Verifier) -> Vec<String> {
    let verdict = verify_export(folder, verifier, &[]).expect("read");
    verdict.faults.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn exports_verify_and_say_what_was_changed() {
    let temp = tempfile::tempdir().expect("a folder");
    let (config, verifier) = log(temp.path()).await;
    let place = Place::Folder(config.folder.clone());
    let all = Selection::default();
    let mut texts = Vec::new();
    for format in [Format::Jsonl, Format::Csv, Format::Parquet] {
        let to = temp.path().join(format.file());
        let made = export(&place, &config, &all, format, &to, &|_, _| Ok(())).expect("made");
        assert_eq!(made.records, made.size);
        for (path, mode) in [(&to, 0o700), (&to.join(format.file()), 0o600)] {
            let permissions = fs::metadata(path).expect("there").permissions();
            assert_eq!(std::os::unix::fs::PermissionsExt::mode(&permissions) & 0o777, mode, "{path:?}");
        }
        let kept =
            Kept { name: "kept".into(), note: fs::read(config.folder.join(CHECKPOINT)).expect("read") };
        let verdict = verify_export(&to, &verifier, &[kept]).expect("read");
        assert_eq!(verdict.faults, []);
        assert_eq!((verdict.records, verdict.checkpoints), (made.records, 2), "{format:?}");
        let mut lines = Vec::new();
        let read = sheet::read(format, &to.join(format.file()), |record| {
            let (n, line) = record.expect("a record");
            lines.push((n, line.to_vec()));
            Ok(())
        });
        read.expect("read");
        texts.push(lines);
        assert!(
            matches!(export(&place, &config, &all, format, &to, &|_, _| Ok(())), Err(TakeError::Asked(_))),
            "over another"
        );
    }
    assert!(texts.windows(2).all(|two| two[0] == two[1]), "the formats differ");

    let good = temp.path().join(Format::Jsonl.file());
    let file = good.join("records.jsonl");
    let text = fs::read_to_string(&file).expect("read");
    let lines: Vec<&str> = text.lines().collect();
    let not_that = "records.jsonl: is not the file that the manifest is of".to_owned();
    let check = |changed: Vec<String>, expect: &[&str]| {
        fs::write(&file, changed.join("\n") + "\n").expect("written");
        let mut all = vec![not_that.clone()];
        all.extend(expect.iter().map(ToString::to_string));
        assert_eq!(faults(&good, &verifier), all);
    };
    let with = |at: usize, line: String| {
        let mut all: Vec<String> = lines.iter().map(ToString::to_string).collect();
        all[at] = line;
        all
    };
    check(
        with(7, lines[7].replacen("\"seq\":8", "\"seq\":9", 1)),
        &["record 7 (records.jsonl): was changed, or was never written"],
    );
    check(
        with(7, "{}".into()),
        &[
            "records.jsonl: line 8 is not a record",
            &format!("records.jsonl: has {} records, and the manifest says {}", lines.len() - 1, lines.len()),
        ],
    );
    let mut removed = with(0, lines[0].into());
    removed.remove(300);
    check(
        removed,
        &[&format!("records.jsonl: has {} records, and the manifest says {}", lines.len() - 1, lines.len())],
    );
    check(with(9, lines[3].into()), &["record 3 (records.jsonl): is not in its place, or is there twice"]);
    fs::write(&file, &text).expect("written");
    assert_eq!(faults(&good, &verifier), [""; 0]);
    let flip = |name: &str, at: usize| {
        let path = good.join(name);
        let whole = fs::read(&path).expect("read");
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).expect("written");
        let told = faults(&good, &verifier);
        fs::write(&path, whole).expect("written");
        told
    };
    assert_eq!(flip("tile/0/000", 40), ["records.jsonl: tile/0/000 is damaged"]);
    assert!(flip("tile/1/000.p/1", 4)[0].starts_with("tile: the tiles at the end"));
    assert_eq!(flip(MANIFEST, 20)[0], "manifest.json: was changed: the signature is over another");
    assert!(flip(SIGNED, 10)[0].starts_with("manifest.note: "));
    assert!(flip(CHECKPOINT, 12)[0].starts_with("checkpoint: "));
    fs::remove_file(good.join(SIGNED)).expect("removed");
    assert_eq!(faults(&good, &verifier), ["manifest.note: is missing: nobody vouches for what is not here"]);
}

fn found(place: &Place, selection: &Selection) -> Vec<String> {
    let mut found = Vec::new();
    let line = |_: u64, line: &[u8]| {
        let row = row::Row::of(line).expect("JSON");
        found.push(format!("{} {}", row.kind, row.query));
        true
    };
    search(place, selection, line).expect("searched");
    found
}

#[tokio::test]
async fn what_is_asked_for_is_found_with_its_outcome() {
    let temp = tempfile::tempdir().expect("a folder");
    let (config, verifier) = log(temp.path()).await;
    let place = Place::Folder(config.folder.clone());
    let eva = Selection { user: Some("eva".into()), ..Selection::default() };
    let of_eva = found(&place, &eva);
    // 50 queries, none of them denied: n % 4 == 0.
    assert_eq!(of_eva.len(), 100, "{of_eva:?}");
    let otto = Selection { user: Some("otto".into()), tag: Some("PII".into()), ..Selection::default() };
    let tagged: Vec<u64> = (0..200).filter(|n| n % 4 == 1 && n % 3 == 0 && n % 10 != 5).collect();
    let denied: Vec<u64> = (0..200).filter(|n| n % 4 == 1 && n % 3 == 0 && n % 10 == 5).collect();
    assert_eq!(found(&place, &otto).len(), tagged.len() * 2 + denied.len());
    let only = Selection { denied: true, ..otto.clone() };
    assert_eq!(found(&place, &only).len(), denied.len());
    let table = Selection { table: Some("lake.*.sums".into()), denied: true, ..Selection::default() };
    assert_eq!(found(&place, &table).len(), (0..200).filter(|n| n % 3 != 0 && n % 10 == 5).count());
    let later = Selection { from: Some(Timestamp::now()), ..Selection::default() };
    assert_eq!(found(&place, &later), [""; 0]);
    let sooner =
        Selection { to: Some("2020-01-01T00:00:00Z".parse().expect("a time")), ..Selection::default() };
    assert_eq!(found(&place, &sooner), [""; 0]);

    // A part of the log verifies, too.
    let to = temp.path().join("part");
    let made = export(&place, &config, &otto, Format::Parquet, &to, &|_, _| Ok(())).expect("made");
    assert_eq!(made.records, (tagged.len() * 2 + denied.len()) as u64);
    assert_eq!(faults(&to, &verifier), [""; 0]);

    let lines = report(std::slice::from_ref(&place), &Kind::Tagged("pii".into()), &Selection::default())
        .expect("made")
        .lines;
    let of = |who: &str| lines.iter().find(|line| line[0] == who).expect("there").clone();
    assert_eq!(
        of("otto")[1..5],
        ["lake.silver.customers", "ssn", &tagged.len().to_string(), &(tagged.len() * 10).to_string()]
    );
    let access = Selection { table: Some("lake.gold.sums".into()), ..Selection::default() };
    assert_eq!(report(std::slice::from_ref(&place), &Kind::Access, &access).expect("made").lines.len(), 4);
    assert!(report(std::slice::from_ref(&place), &Kind::Access, &Selection::default()).is_err());
    assert_eq!(
        report(std::slice::from_ref(&place), &Kind::Denials, &Selection::default())
            .expect("made")
            .lines
            .len(),
        20
    );
    assert_eq!(
        report(std::slice::from_ref(&place), &Kind::Inactive(90), &Selection::default())
            .expect("made")
            .lines
            .len(),
        0
    );
    let in_a_year = Timestamp::now() + jiff::SignedDuration::from_hours(24 * 365);
    let year = Selection { to: Some(in_a_year), ..Selection::default() };
    assert_eq!(
        report(std::slice::from_ref(&place), &Kind::Inactive(90), &year).expect("made").lines.len(),
        4
    );
    // Who was seen before this time is not in it, and would not be missed.
    let late = Selection { from: Some(in_a_year - jiff::SignedDuration::from_hours(24 * 30)), ..year };
    assert!(matches!(
        report(std::slice::from_ref(&place), &Kind::Inactive(90), &late),
        Err(TakeError::Asked(_))
    ));
}

/// A log whose clock goes back three hours, and then ahead by a day.
#[test]
fn a_clock_that_jumps_hides_nothing() {
    use crate::audit::tree::{Edge, WIDTH, push_entry, tile_path};
    let temp = tempfile::tempdir().expect("a folder");
    let mut shelf = Shelf::new(temp.path());
    let noon: Timestamp = "2026-11-23T12:00:00Z".parse().expect("a time");
    let jump = |n: i64| match n {
        0..700 => 0,
        700..1800 => -3 * 3600,
        _ => 24 * 3600,
    };
    let at = |n: i64| noon + jiff::SignedDuration::from_secs(n + jump(n));
    let count = 10 * 256_i64;
    let (mut edge, mut bundle) = (Edge::default(), Vec::new());
    for n in 0..count {
        let line = format!(
            "{{\"v\":1,\"run\":\"r\",\"seq\":{n},\"time\":\"{}\",\"tick_us\":1,\"type\":\"stop\"}}",
            at(n)
        );
        push_entry(&mut bundle, line.as_bytes());
        let mut filled = Vec::new();
        edge.push(record_hash(line.as_bytes()), |tile| filled.push(tile));
        for tile in filled {
            shelf.write(&bundle_path(tile.n, WIDTH), &std::mem::take(&mut bundle)).expect("written");
            shelf.write(&tile_path(tile.level, tile.n, WIDTH), &tile.bytes).expect("written");
        }
    }
    for hours in -4..30 {
        let from = noon + jiff::SignedDuration::from_hours(hours);
        let selection = Selection {
            from: Some(from),
            to: Some(from + jiff::SignedDuration::from_mins(20)),
            ..Selection::default()
        };
        let mut found = Vec::new();
        let each = |found_one: Found<'_>| {
            found.push(i64::try_from(found_one.n).expect("small"));
            Ok::<_, TakeError>(true)
        };
        scan(&shelf, count.cast_unsigned(), &mut Filter::new(&selection), each, |_, _| Ok(())).expect("read");
        let meant: Vec<i64> =
            (0..count).filter(|n| selection.from <= Some(at(*n)) && Some(at(*n)) < selection.to).collect();
        assert_eq!(found, meant, "{hours}");
    }
}
