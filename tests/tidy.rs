//! The rules of the house: ranks, sizes and bans, read from the source as text.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// No file is longer than this, in lines.
const LONGEST: usize = 600;
/// Modules that are pure, and what they must not know of.
const PURE: [&str; 4] = ["sql", "wire", "policy", "rewrite"];
const IMPURE: [&str; 3] = ["tokio::", "hyper::", "tracing::"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn read(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    sources(&root().join(folder), &mut found);
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source file");
            (path.strip_prefix(root()).expect("below the root").display().to_string(), text)
        })
        .collect()
}

/// The table under "Ranks" in `src/lib.rs`.
fn ranks() -> BTreeMap<String, u32> {
    let text = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    let mut ranks = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.trim_start_matches("//!").split('|').map(str::trim).collect();
        if let ["", rank, modules, ""] = cells[..]
            && let Ok(rank) = rank.parse::<u32>()
        {
            for module in modules.split(',') {
                ranks.insert(module.trim().to_owned(), rank);
            }
        }
    }
    ranks
}

/// The module that a file belongs to: `src/sql/lexer.rs` and `src/sql.rs` are of `sql`.
fn module(path: &str) -> &str {
    let inner = path.strip_prefix("src/").expect("a path below src");
    inner.split(['/', '.']).next().expect("a first part")
}

/// The modules that a text names as `crate::x` or `northgate::x`, comments left out.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines() {
        let code = line.split("//").next().unwrap_or_default();
        for prefix in ["crate::", "northgate::"] {
            for rest in code.split(prefix).skip(1) {
                let names: Vec<&str> = match rest.strip_prefix('{') {
                    Some(list) => list.split(',').collect(),
                    None => vec![rest],
                };
                for name in names {
                    let word: String =
                        name.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                    found.push(word);
                }
            }
        }
    }
    found
}

#[test]
fn modules_import_only_lower_ranks() {
    let ranks = ranks();
    assert!(ranks.len() > 10, "the rank table of src/lib.rs was not found");
    let mut wrong = Vec::new();
    for (path, text) in read("src") {
        let own = module(&path);
        if own == "lib" {
            continue;
        }
        let rank = ranks.get(own).unwrap_or_else(|| panic!("{path}: '{own}' is not in the rank table"));
        for name in imports(&text) {
            if let Some(other) = ranks.get(&name)
                && name != own
                && other >= rank
            {
                wrong.push(format!("{path} (rank {rank}) imports {name} (rank {other})"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_is_too_long() {
    let mut wrong = Vec::new();
    for folder in ["src", "tests"] {
        for (path, text) in read(folder) {
            let lines = text.lines().count();
            if lines > LONGEST {
                wrong.push(format!("{path}: {lines} lines, {LONGEST} are allowed"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_modules_do_no_io() {
    let mut wrong = Vec::new();
    for (path, text) in read("src") {
        if !PURE.contains(&module(&path)) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in IMPURE {
                if code.contains(word) {
                    wrong.push(format!("{path}:{}: {word}", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_main_ends_the_process() {
    for (path, text) in read("src") {
        if path != "src/main.rs" {
            assert!(!text.contains("process::exit"), "{path} ends the process");
        }
    }
}

#[test]
fn imports_are_found() {
    let text = "use crate::sql::Statement;\nuse crate::{wire, policy::Permit};\n// crate::query\n";
    assert_eq!(imports(text), ["sql", "wire", "policy"]);
}

/// What a heading is called in links, as GitHub has it.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading.trim_matches(['#', ' ']).to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}

/// Links within the README, to files of the repository, and from alerts to what to do about them.
#[test]
fn links_of_the_readme_lead_somewhere() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let anchors: Vec<String> = readme.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
    let rules = fs::read_to_string(root().join("dashboards/northgate.rules.yml")).expect("the alerts");
    let runbooks = rules.lines().filter_map(|line| line.split("README.md").nth(1)?.split('"').next());
    let links: Vec<&str> =
        readme.split("](").skip(1).filter_map(|rest| rest.split(')').next()).chain(runbooks).collect();
    assert!(links.len() > 40, "{links:?}");
    for link in links.into_iter().filter(|link| !link.starts_with("https://")) {
        match link.strip_prefix('#') {
            Some(name) => assert!(anchors.iter().any(|anchor| anchor == name), "no heading for {link}"),
            None => assert!(root().join(link).exists(), "no file {link}"),
        }
    }
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(readme.contains(&format!("**{alert}**")), "nothing says what to do about {alert}");
    }
}
