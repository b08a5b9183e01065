//! Our parser against Trino's own, over the statements of Trino's own tests.
//!
//! The statements are taken from the published test sources of Trino 476 when the test runs, and kept outside of the
//! repository. For every query and session statement both must name the same
//! relations in the same places; what is printed must be the same tree to Trino's parser; and so for
//! some thousand mutations. What one of the two alone takes is counted and listed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use northgate::error::Location;
use northgate::sql::{Edits, Kind, Limits, Position, SourceMap, SqlError, Statement};
use serde::Deserialize;

use crate::harness::process::run_stack;

/// How many mutations are judged, and from which seed; `SQL_ORACLE_MUTATIONS` and `SQL_ORACLE_SEED` say otherwise.
const MUTATIONS: u64 = 100_000;
const SEED: u64 = 476;

/// What Trino's parser says of a statement.
#[derive(Deserialize)]
struct Verdict {
    ok: bool,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    tables: Vec<Table>,
    /// Names that are no tables to the parser: of what a statement makes, drops or shows.
    #[serde(default)]
    names: Vec<Vec<String>>,
    /// Whether a second statement has the same tree.
    #[serde(default)]
    same: bool,
    #[serde(default)]
    error: String,
    #[serde(default)]
    sql: String,
}

/// A table as Trino's parser sees it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Table {
    line: u32,
    column: u32,
    name: Vec<String>,
    common: bool,
}

#[test]
#[allow(clippy::print_stdout)] // the report: what is refused, and which kinds there are
fn trinos_parser_agrees() {
    let corpus = corpus();
    assert!(corpus.len() > 30_000, "only {} statements in the corpus", corpus.len());
    let mut report = Report::default();
    let mut printed = Vec::new();
    let mut mutable = Vec::new();
    for verdict in &corpus {
        let parsed = Statement::parse(&verdict.sql, &Limits::default());
        *report.kinds.entry(kind_name(&verdict.kind, parsed.as_ref().ok())).or_default() += 1;
        match &parsed {
            // What is named in its error is read, and denied.
            Err(error @ SqlError::NotSupported { .. }) => {
                report.denied.push(format!("{error}: {}", verdict.sql));
            }
            Err(error) => report.refused.push(format!("{error}: {}", verdict.sql)),
            Ok(statement) => {
                report.compare(&verdict.sql, statement, verdict);
                printed.push(Expected::of(statement, &verdict.sql));
                if verdict.sql.len() < 2000 {
                    mutable.push(statement.clone());
                }
            }
        }
    }
    report.check_printed(&printed);
    report.check_mutations(&mutable);
    println!("{}", report.summary(corpus.len()));
    assert!(report.disagreements.is_empty(), "{}", report.disagreements.join("\n\n"));
    // What we refuse and Trino takes: of these statements hardly any, and of those on purpose.
    assert!(report.refused.len() <= corpus.len() / 1000, "{}", report.refused.join("\n\n"));
}

/// Statements that others send: all of those that Trino's parser takes are read by ours, and to the same tables; how many
/// they are.
pub(crate) fn read_alike(texts: &BTreeSet<String>) -> usize {
    let questions: Vec<Question<'_>> = texts.iter().map(|text| (text.as_str(), None)).collect();
    let (mut report, mut printed) = (Report::default(), Vec::new());
    for (text, verdict) in texts.iter().zip(judge(&questions)).filter(|(_, verdict)| verdict.ok) {
        match Statement::parse(text, &Limits::default()) {
            Err(error) => report.refused.push(format!("{error}: {text}")),
            Ok(statement) => {
                report.compare(text, &statement, &verdict);
                printed.push(Expected::of(&statement, text));
            }
        }
    }
    report.check_printed(&printed);
    assert!(report.disagreements.is_empty(), "{}", report.disagreements.join("\n\n"));
    assert!(report.refused.is_empty(), "{}", report.refused.join("\n\n"));
    printed.len()
}

/// The relations of a printed statement, and where they come from.
struct Expected {
    original: String,
    text: String,
    map: SourceMap,
    tables: Vec<Named>,
}

impl Expected {
    fn of(statement: &Statement, text: &str) -> Self {
        let printed = statement.print(&Edits::default());
        Self {
            original: text.to_owned(),
            text: printed.text,
            map: printed.map,
            tables: relations(statement, text),
        }
    }
}

#[derive(Default)]
struct Report {
    kinds: BTreeMap<String, usize>,
    disagreements: Vec<String>,
    denied: Vec<String>,
    refused: Vec<String>,
    mutations: usize,
    mutations_taken: usize,
    mutations_refused: Vec<String>,
    mutations_taken_alone: Vec<String>,
}

impl Report {
    fn compare(&mut self, sql: &str, statement: &Statement, verdict: &Verdict) {
        if let Err(why) = agree(&relations(statement, sql), verdict) {
            self.disagreements.push(format!("{sql}\n{why}"));
        }
    }

    /// What we print is the same statement to Trino.
    fn check_printed(&mut self, printed: &[Expected]) {
        let texts: Vec<Question<'_>> = printed
            .iter()
            .map(|expected| (expected.text.as_str(), Some(expected.original.as_str())))
            .collect();
        for (expected, verdict) in printed.iter().zip(judge(&texts)) {
            if !verdict.ok {
                self.disagreements
                    .push(format!("printed, and then refused: {}\n{}", verdict.error, expected.text));
                continue;
            }
            if !verdict.same {
                self.disagreements.push(format!("printed, and then another statement: {}", expected.text));
            }
            let again = Statement::parse(&expected.text, &Limits::default()).expect("we take what we print");
            let found = relations(&again, &expected.text);
            if let Err(why) = agree(&found, &verdict) {
                self.disagreements.push(format!("printed: {}\n{why}", expected.text));
            }
            let mut originals = found;
            for named in &mut originals {
                let at = Location { line: named.table.line, column: named.table.column };
                let at = expected.map.original(at).expect("a table is not an edit");
                (named.table.line, named.table.column) = (at.line, at.column);
            }
            if expected.tables != originals {
                self.disagreements.push(format!("printed with other tables: {}", expected.text));
            }
        }
    }

    /// In no mutation do we see other relations. One that Trino refuses gets nowhere, whatever we think of it.
    fn check_mutations(&mut self, statements: &[Statement]) {
        let mut random = Random(from_environment("SQL_ORACLE_SEED", SEED));
        let count = from_environment("SQL_ORACLE_MUTATIONS", MUTATIONS);
        let mutations: Vec<String> = (0..count).map(|_| mutate(statements, &mut random)).collect();
        let texts: Vec<Question<'_>> = mutations.iter().map(|text| (text.as_str(), None)).collect();
        self.mutations = mutations.len();
        for (sql, verdict) in mutations.iter().zip(judge(&texts)) {
            match Statement::parse(sql, &Limits::default()) {
                Ok(statement) if verdict.ok => {
                    self.mutations_taken += 1;
                    self.compare(sql, &statement, &verdict);
                }
                Ok(_) => self.mutations_taken_alone.push(format!("{}: {sql}", verdict.error)),
                Err(error) if verdict.ok => self.mutations_refused.push(format!("{error}: {sql}")),
                Err(_) => {}
            }
        }
    }

    fn summary(&self, corpus: usize) -> String {
        let mut text = format!(
            "{corpus} statements, {} of them denied while reading and {} refused as unreadable:\n",
            self.denied.len(),
            self.refused.len()
        );
        for refused in self.denied.iter().chain(&self.refused) {
            let _ = writeln!(text, "  {refused}");
        }
        let _ = writeln!(
            text,
            "{} mutations, {} taken by both, {} of them refused by us alone:",
            self.mutations,
            self.mutations_taken,
            self.mutations_refused.len()
        );
        for refused in self.mutations_refused.iter().take(100) {
            let _ = writeln!(text, "  {refused}");
        }
        let _ = writeln!(text, "{} refused by Trino alone:", self.mutations_taken_alone.len());
        for taken in self.mutations_taken_alone.iter().take(100) {
            let _ = writeln!(text, "  {taken}");
        }
        let _ = writeln!(text, "{:?}", self.kinds);
        text
    }
}

fn kind_name(theirs: &str, statement: Option<&Statement>) -> String {
    let ours = match statement.map(Statement::kind) {
        None => "refused".to_owned(),
        Some(kind) => kind.name().to_owned(),
    };
    format!("{theirs}: {ours}")
}

/// A relation of ours, as Trino's parser would name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    table: Table,
    /// Whether it may be no table to Trino's parser, or one without a place: what is written to, made or shown.
    object: bool,
}

fn relations(statement: &Statement, text: &str) -> Vec<Named> {
    if let Kind::Explain { inner, .. } | Kind::Prepare { inner, .. } = statement.kind() {
        return relations(inner, text);
    }
    let location = |token: u32| locate(text, statement.tokens()[token as usize].start as usize);
    let mut tables: Vec<Named> = statement
        .relations()
        .iter()
        .map(|relation| {
            // Trino has some tables begin with the word TABLE.
            let first = relation.tokens.start;
            let at = match relation.position {
                Position::From | Position::ShowTarget | Position::Target => location(first),
                Position::TableBody => location(first - 1),
                Position::TableArgument => location(first - 2),
            };
            let name = relation.name.iter().map(|part| part.folded().unwrap_or_default()).collect();
            let object = matches!(relation.position, Position::ShowTarget | Position::Target);
            Named { table: Table { line: at.line, column: at.column, name, common: false }, object }
        })
        .collect();
    tables.sort();
    tables
}

/// Whether our relations are those of Trino's parser: all of its tables, and each of ours one of its tables or names.
fn agree(ours: &[Named], verdict: &Verdict) -> Result<(), String> {
    let mut tables: Vec<&Table> = verdict.tables.iter().filter(|table| !table.common).collect();
    let show = || format!("ours:   {ours:?}\nTrino's: {:?}\n         {:?}", verdict.tables, verdict.names);
    for named in ours {
        let same = |table: &&Table| {
            table.name == named.table.name
                && ((table.line, table.column) == (named.table.line, named.table.column)
                    || named.object && table.line == 0)
        };
        // The name of a column that is commented on has one part more. A name that is written in several parts begins
        // a statement's place at its first word for some kinds.
        let name = |name: &Vec<String>| {
            let folded: Vec<String> = name.iter().map(|part| part.to_lowercase()).collect();
            folded == named.table.name
                || (verdict.kind == "Comment" && folded[..folded.len() - 1] == named.table.name)
        };
        if let Some(at) = tables.iter().position(same) {
            tables.remove(at);
        } else if named.object && verdict.names.iter().any(name) {
        } else if let Some(at) =
            tables.iter().position(|table| named.object && table.name == named.table.name)
        {
            tables.remove(at);
        } else {
            return Err(show());
        }
    }
    if tables.is_empty() { Ok(()) } else { Err(show()) }
}

/// The place of a byte, as Trino counts.
fn locate(text: &str, at: usize) -> Location {
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let number = |count| u32::try_from(count).expect("a short text");
    Location { line: number(line), column: number(column) }
}

// ---- mutations

/// A small generator of pseudo-random numbers (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let mixed = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(mixed).expect("31 bits") % bound
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// What is put between tokens.
const BLANKS: [&str; 5] = ["/* a -- b ' */", " -- it's /*\n", "--\r", "\t\r\n ", "/**/"];

/// What is put in among them.
const WORDS: &str = "OVER LIMIT WINDOW TABLE LATERAL FROM ( ) ALL ANY WITH UNION SELECT VALUES TABLESAMPLE \
    MATCH_RECOGNIZE FOR VERSION AS ON OFFSET FETCH FILTER -> - * . ? INTERVAL ROW FINAL POSITION ESCAPE JOIN NATURAL \
    UNNEST RECURSIVE AT [ , 1 'a' \"q\" x NOT";

/// Words that are names, too, and what they are else may begin with them.
const NAMES: &str = "all any some array at both copartition current date day descriptor double empty error fetch filter \
    final first format function grouping if ignore interval json keep key lateral leading limit map match \
    match_recognize measures merge nested nullif offset one over partition path pattern position range row rows \
    running session set show substring table tablesample time timestamp try_cast using value view window zone x \"x\"";

/// A statement with one or two of its tokens dropped, doubled, swapped, put in from elsewhere or replaced, names by
/// words that can be names, and with comments and odd white space between.
fn mutate(statements: &[Statement], random: &mut Random) -> String {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let names: Vec<&str> = NAMES.split_whitespace().collect();
    let tokens_of = |statement: &Statement| -> Vec<String> {
        let count = u32::try_from(statement.tokens().len()).expect("few tokens");
        (0..count).map(|token| statement.slice(token..token + 1).to_owned()).collect()
    };
    let mut tokens = tokens_of(&statements[random.below(statements.len())]);
    for _ in 0..=random.below(2) {
        let at = random.below(tokens.len().max(1));
        match random.below(8) {
            _ if tokens.is_empty() => tokens.push("SELECT".to_owned()),
            0 => drop(tokens.remove(at)),
            1 => tokens.insert(at, tokens[at].clone()),
            2 => {
                let other = (at + 1).min(tokens.len() - 1);
                tokens.swap(at, other);
            }
            3 => tokens.insert(at, words[random.below(words.len())].to_owned()),
            4 => {
                let other = tokens_of(&statements[random.below(statements.len())]);
                let from = random.below(other.len());
                let to = (from + 1 + random.below(8)).min(other.len());
                tokens.splice(at..at, other[from..to].iter().cloned());
            }
            5 => {
                let other = tokens_of(&statements[random.below(statements.len())]);
                tokens[at].clone_from(&other[random.below(other.len())]);
            }
            _ => {
                // A name, if one is near.
                let is_name =
                    |token: &String| token.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
                let near = (at..tokens.len()).find(|index| is_name(&tokens[*index])).unwrap_or(at);
                names[random.below(names.len())].clone_into(&mut tokens[near]);
            }
        }
    }
    let mut sql = String::new();
    for token in tokens {
        sql.push_str(BLANKS.get(random.below(80)).unwrap_or(&" "));
        sql.push_str(&token);
    }
    sql
}

// ---- Trino's parser

/// The statements of Trino's own tests.
fn corpus() -> Vec<Verdict> {
    read_verdicts(Path::new(run_stack(&["corpus"]).trim()))
}

/// A statement, and maybe one that must have the same tree.
type Question<'a> = (&'a str, Option<&'a str>);

/// What Trino's parser says of each statement.
fn judge(statements: &[Question<'_>]) -> Vec<Verdict> {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    let mut lines = String::new();
    for (statement, other) in statements {
        base64::prelude::BASE64_STANDARD.encode_string(statement, &mut lines);
        if let Some(other) = other {
            lines.push(' ');
            base64::prelude::BASE64_STANDARD.encode_string(other, &mut lines);
        }
        lines.push('\n');
    }
    std::fs::write(&input, lines).expect("written");
    let text = |path: &Path| path.to_str().expect("a plain path").to_owned();
    run_stack(&["judge", &text(&input), &text(&output)]);
    let verdicts = read_verdicts(&output);
    assert_eq!(verdicts.len(), statements.len());
    verdicts
}

fn read_verdicts(path: &Path) -> Vec<Verdict> {
    let text = std::fs::read_to_string(path).expect("the verdicts");
    text.lines().map(|line| serde_json::from_str(line).expect("a verdict")).collect()
}
