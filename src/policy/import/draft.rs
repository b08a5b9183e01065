//! Policies to be written down, and the document that they make.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::people::People;
use crate::catalog::Action;

/// The longest comment in the document, in characters.
const COMMENT: usize = 240;

/// What is shown in place of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum With {
    Action(Action),
    Sql(String),
}

/// A mask of one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mask {
    pub(super) columns: Vec<String>,
    pub(super) tags: Vec<String>,
    pub(super) with: With,
    pub(super) strength: i32,
}

/// What is withheld of tables that may be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Restrictions {
    pub(super) filter: Option<String>,
    /// Under whose policies the sub-queries read.
    pub(super) run_as: Option<String>,
    pub(super) masks: Vec<Mask>,
    pub(super) hidden: BTreeSet<String>,
    pub(super) hidden_tags: BTreeSet<String>,
}

impl Restrictions {
    pub(super) fn is_empty(&self) -> bool {
        self.filter.is_none()
            && self.masks.is_empty()
            && self.hidden.is_empty()
            && self.hidden_tags.is_empty()
    }
}

/// A policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Draft {
    /// Where it is from.
    pub(super) comments: Vec<String>,
    pub(super) who: People,
    pub(super) except: People,
    /// Patterns, as they stand in the document.
    pub(super) tables: Vec<String>,
    pub(super) allow: bool,
    pub(super) write: bool,
    pub(super) deny: bool,
    pub(super) restrictions: Restrictions,
}

/// What becomes a document.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    pub(super) head: Vec<String>,
    /// Tags and the columns that they stand for.
    pub(super) tags: Vec<(String, Vec<String>)>,
    pub(super) policies: Vec<Draft>,
}

impl Drafts {
    /// The document.
    pub(super) fn write(&self) -> String {
        let mut text = "# yaml-language-server: $schema=schema.json\n".to_owned();
        for line in &self.head {
            comment(&mut text, "", line);
        }
        text.push_str("version: 1\n");
        if !self.tags.is_empty() {
            text.push_str("\ntags:\n");
            for (tag, columns) in &self.tags {
                let _ = writeln!(text, "  {}:", scalar(tag));
                for column in columns {
                    let _ = writeln!(text, "    - {}", scalar(column));
                }
            }
        }
        if self.policies.is_empty() {
            text.push_str("\npolicies: []\n");
            return text;
        }
        text.push_str("\npolicies:");
        let mut names = BTreeSet::new();
        for draft in &self.policies {
            text.push('\n');
            draft.write(&mut text, &mut names);
        }
        text
    }
}

impl Draft {
    fn write(&self, text: &mut String, names: &mut BTreeSet<String>) {
        for line in &self.comments {
            comment(text, "  ", line);
        }
        let _ = writeln!(text, "  - name: {}", scalar(&self.name(names)));
        text.push_str("    who:\n");
        let users = |people: &People| -> Vec<String> {
            people.users.iter().map(|user| user.text().to_owned()).collect()
        };
        let groups = |people: &People| -> Vec<String> { people.groups.iter().cloned().collect() };
        list(text, 6, "users", &users(&self.who));
        list(text, 6, "groups", &groups(&self.who));
        list(text, 6, "except_users", &users(&self.except));
        list(text, 6, "except_groups", &groups(&self.except));
        if let [only] = &self.tables[..] {
            let _ = writeln!(text, "    tables: [{}]", scalar(only));
        } else {
            text.push_str("    tables:\n");
            for table in &self.tables {
                let _ = writeln!(text, "      - {}", scalar(table));
            }
        }
        for (word, is) in [("allow", self.allow), ("write", self.write), ("deny", self.deny)] {
            if is {
                let _ = writeln!(text, "    {word}: true");
            }
        }
        let Restrictions { filter, run_as, masks, hidden, hidden_tags } = &self.restrictions;
        if let Some(filter) = filter {
            let _ = writeln!(text, "    row_filter: {}", scalar(filter));
        }
        if let Some(user) = run_as {
            let _ = writeln!(text, "    run_as:\n      user: {}", scalar(user));
        }
        if !masks.is_empty() {
            text.push_str("    column_masks:\n");
        }
        for mask in masks {
            let mut lead = "      - ";
            for (key, names) in [("columns", &mask.columns), ("tags", &mask.tags)] {
                if !names.is_empty() {
                    let _ = writeln!(text, "{lead}{key}: [{}]", scalars(names));
                    lead = "        ";
                }
            }
            let _ = match &mask.with {
                With::Action(action) => writeln!(text, "        action: {}", action.as_str()),
                With::Sql(sql) => writeln!(text, "        sql: {}", scalar(sql)),
            };
            if mask.strength != 0 {
                let _ = writeln!(text, "        strength: {}", mask.strength);
            }
        }
        list(text, 4, "deny_columns", &hidden.iter().cloned().collect::<Vec<_>>());
        list(text, 4, "deny_tags", &hidden_tags.iter().cloned().collect::<Vec<_>>());
    }

    /// A name that says whom and what the policy is about, and that no other policy has.
    fn name(&self, taken: &mut BTreeSet<String>) -> String {
        let who = self.who.groups.first().map(String::as_str);
        let who = who.or(self.who.users.first().map(super::names::Pattern::text)).unwrap_or("nobody");
        let who = if who == "*" { "everybody" } else { who };
        let verb = match (self.deny, self.write, self.allow) {
            (true, ..) => "without",
            (_, true, _) => "writes",
            (.., true) => "reads",
            _ => "restricted-in",
        };
        let table = self.tables.first().map_or("", String::as_str);
        let what: Vec<&str> = table.split('.').filter(|part| *part != "*").collect();
        let what = if what.is_empty() { "everything".to_owned() } else { what.join("-") };
        let base: String = format!("{who}-{verb}-{what}")
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .take(80)
            .collect();
        let words: Vec<&str> = base.split('-').filter(|word| !word.is_empty()).collect();
        let base = words.join("-");
        let mut name = base.clone();
        let mut number = 2;
        while !taken.insert(name.clone()) {
            name = format!("{base}-{number}");
            number += 1;
        }
        name
    }
}

fn list(text: &mut String, indent: usize, key: &str, items: &[String]) {
    if !items.is_empty() {
        let _ = writeln!(text, "{:indent$}{key}: [{}]", "", scalars(items));
    }
}

fn scalars(items: &[String]) -> String {
    items.iter().map(|item| scalar(item)).collect::<Vec<_>>().join(", ")
}

/// A text as YAML: as it is where that is surely read as a text, else in double quotes.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c) || c == '*')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if plain {
        return text.to_owned();
    }
    let mut quoted = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() || ('\u{2028}'..='\u{202f}').contains(&c) || c == '\u{feff}' => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A comment of one line, whatever the text holds.
fn comment(text: &mut String, indent: &str, line: &str) {
    let _ = writeln!(text, "{indent}# {}", one_line(line));
}

/// A text without line ends and what else could be taken for one, cut where it is long.
pub(super) fn one_line(text: &str) -> String {
    let odd = |c: char| {
        c.is_control() || ('\u{2028}'..='\u{202f}').contains(&c) || c == '\u{feff}' || c >= '\u{fff0}'
    };
    let mut line: String = text.chars().take(COMMENT).map(|c| if odd(c) { ' ' } else { c }).collect();
    if text.chars().nth(COMMENT).is_some() {
        line.push_str("...");
    }
    line
}
