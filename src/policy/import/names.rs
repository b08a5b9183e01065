//! Names that a rule is about: what it surely means, and what it may mean.
//!
//! Patterns have `*` for any characters, as those of documents do. A regular expression that is not of that kind has no
//! pattern of its own; it lies between two lists of them.

use super::super::pattern::Glob;

/// The most names that one regular expression stands for.
const MOST: usize = 200;
/// How deep its parentheses are.
const DEPTH: usize = 20;

/// A pattern, with the text that it is written as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    text: String,
    glob: Glob,
}

impl Pattern {
    /// Reads a pattern; none where it is longer or has more stars than a document may have.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut tidy = text.to_owned();
        while tidy.contains("**") {
            tidy = tidy.replace("**", "*");
        }
        Glob::user(&tidy).ok().map(|glob| Self { text: tidy, glob })
    }

    pub(super) fn any() -> Self {
        // A star alone is a pattern.
        Self::read("*").unwrap_or_else(|| unreachable!("a star is a pattern"))
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn is_any(&self) -> bool {
        self.glob.is_any()
    }

    pub(super) fn is_literal(&self) -> bool {
        self.glob.literal().is_some()
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.glob.overlaps(&other.glob)
    }

    /// Whether all that the other stands for is meant here, too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        // A star of the other is matched by a star only, as no pattern holds this character.
        self.glob.matches(&other.text.replace('*', "\u{fffe}"))
    }
}

/// What stands between two lists: all of `sure` is meant, and nothing outside of `may`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bounds<T> {
    pub(super) sure: T,
    pub(super) may: T,
}

impl<T: Clone + PartialEq> Bounds<T> {
    pub(super) fn exactly(value: T) -> Self {
        Self { sure: value.clone(), may: value }
    }

    pub(super) fn is_exact(&self) -> bool {
        self.sure == self.may
    }
}

pub(super) type Names = Bounds<Vec<Pattern>>;

impl Names {
    /// Every name.
    pub(super) fn any() -> Self {
        Self::exactly(vec![Pattern::any()])
    }

    /// Nothing is known of what is meant.
    pub(super) fn unknown() -> Self {
        Self { sure: Vec::new(), may: vec![Pattern::any()] }
    }

    /// The names that a regular expression of Java's matches as a whole.
    pub(super) fn regex(text: &str) -> Self {
        let inner = text.strip_prefix('^').unwrap_or(text);
        let inner = match inner.strip_suffix('$') {
            Some(rest) if !rest.ends_with('\\') => rest,
            _ => inner,
        };
        let mut reader = Regex { chars: inner.chars().collect(), at: 0 };
        let Some(words) = reader.alternatives(0).filter(|_| reader.at == reader.chars.len()) else {
            return Self::unknown();
        };
        let (mut sure, mut may) = (Vec::new(), Vec::new());
        for word in words {
            let (mut low, mut high) = (Some(String::new()), String::new());
            for (number, piece) in word.iter().enumerate() {
                let (least, most) = match piece {
                    Piece::Char(c) => (Some(*c), *c),
                    Piece::Any => (Some('*'), '*'),
                    // A name is never empty.
                    Piece::Some if word.len() == 1 && number == 0 => (Some('*'), '*'),
                    Piece::Some => (None, '*'),
                    Piece::One => (Some('.'), '*'),
                };
                low = low.zip(least).map(|(mut low, c)| {
                    low.push(c);
                    low
                });
                high.push(most);
            }
            // An empty alternative matches no name.
            if high.is_empty() {
                continue;
            }
            sure.extend(low.and_then(|low| Pattern::read(&low)));
            match Pattern::read(&high) {
                Some(high) => may.push(high),
                None => return Self { sure, may: vec![Pattern::any()] },
            }
        }
        Self { sure, may }
    }

    /// The same as names of catalogs, schemas or tables, which Trino writes in lower case and documents in parts.
    pub(super) fn identifiers(self) -> Self {
        // Nothing can be said of a name with `$`, and nothing need be: it is never accessible.
        let accessible = |pattern: &Pattern| !pattern.text.contains('$');
        let plain = |pattern: &Pattern| {
            let special = pattern.text.contains(['.', '"']) || pattern.text.contains(char::is_whitespace);
            pattern.text.is_ascii() && !(special && !pattern.is_literal())
        };
        let sure = self
            .sure
            .into_iter()
            .filter(accessible)
            .filter(|pattern| plain(pattern) && !pattern.text.contains(|c: char| c.is_ascii_uppercase()));
        let may = self.may.into_iter().filter(accessible).map(|pattern| {
            if plain(&pattern) {
                Pattern::read(&pattern.text.to_ascii_lowercase()).unwrap_or_else(Pattern::any)
            } else {
                let wide: String = pattern
                    .text
                    .chars()
                    .map(|c| {
                        let odd = !c.is_ascii() || c == '.' || c == '"' || c.is_whitespace();
                        if odd { '*' } else { c.to_ascii_lowercase() }
                    })
                    .collect();
                Pattern::read(&wide).unwrap_or_else(Pattern::any)
            }
        });
        Self { sure: sure.collect(), may: may.collect() }
    }
}

#[derive(Clone)]
enum Piece {
    Char(char),
    /// `.`
    One,
    /// `.*`
    Any,
    /// `.+`
    Some,
}

struct Regex {
    chars: Vec<char>,
    at: usize,
}

impl Regex {
    /// `a|b|c` up to a closing parenthesis or the end: each as a word. None where something else is written.
    fn alternatives(&mut self, depth: usize) -> Option<Vec<Vec<Piece>>> {
        if depth > DEPTH {
            return None;
        }
        let mut all = Vec::new();
        let mut words: Vec<Vec<Piece>> = vec![Vec::new()];
        loop {
            let more = match self.chars.get(self.at).copied() {
                None | Some(')') => break,
                Some('|') => {
                    self.at += 1;
                    all.append(&mut words);
                    words = vec![Vec::new()];
                    continue;
                }
                Some('(') => {
                    self.at += 1;
                    if self.chars[self.at..].starts_with(&['?', ':']) {
                        self.at += 2;
                    }
                    let inner = self.alternatives(depth + 1)?;
                    if self.chars.get(self.at) != Some(&')') {
                        return None;
                    }
                    self.at += 1;
                    inner
                }
                Some('.') => {
                    self.at += 1;
                    let piece = match self.chars.get(self.at) {
                        Some('*') => Piece::Any,
                        Some('+') => Piece::Some,
                        _ => Piece::One,
                    };
                    if !matches!(piece, Piece::One) {
                        self.at += 1;
                    }
                    vec![vec![piece]]
                }
                Some('\\') => {
                    let c =
                        self.chars.get(self.at + 1).copied().filter(|c| !c.is_alphanumeric() && *c != '*')?;
                    self.at += 2;
                    vec![vec![Piece::Char(c)]]
                }
                Some('*' | '+' | '?' | '{' | '}' | '[' | ']' | '^' | '$') => return None,
                Some(c) if c.is_control() => return None,
                Some(c) => {
                    self.at += 1;
                    vec![vec![Piece::Char(c)]]
                }
            };
            // What is repeated is not of the kind that patterns are.
            if matches!(self.chars.get(self.at), Some('*' | '+' | '?' | '{')) {
                return None;
            }
            if words.len() * more.len() + all.len() > MOST {
                return None;
            }
            words = words
                .iter()
                .flat_map(|word| more.iter().map(|end| [word.as_slice(), end.as_slice()].concat()))
                .collect();
            if words.iter().map(Vec::len).sum::<usize>() > 20_000 {
                return None;
            }
        }
        all.append(&mut words);
        (all.len() <= MOST).then_some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(names: &Names) -> String {
        let list = |patterns: &[Pattern]| {
            patterns.iter().map(|pattern| pattern.text.as_str()).collect::<Vec<_>>().join(" ")
        };
        if names.is_exact() {
            list(&names.sure)
        } else {
            format!("[{}] to [{}]", list(&names.sure), list(&names.may))
        }
    }

    #[test]
    fn regular_expressions() {
        let check = |regex: &str, expect: &str| assert_eq!(shown(&Names::regex(regex)), expect, "{regex}");
        check("alice", "alice");
        check("^alice$", "alice");
        check("alice|bob", "alice bob");
        check("(alice|bob)", "alice bob");
        check("(?:a|b)c", "ac bc");
        check("a(b|c(d|e))f", "abf acdf acef");
        check(".*", "*");
        check(".+", "*");
        check("svc-.*", "svc-*");
        check(".*_eu|x", "*_eu x");
        check("a\\.b", "a.b");
        check("ann@corp.com", "[ann@corp.com] to [ann@corp*com]");
        check("a.+", "[] to [a*]");
        check("", "");
        check("(|a)", "a");
        for unknown in [
            "[a-z]+",
            "a?",
            "a*",
            "(ab)*",
            "(ab",
            "ab)",
            "a{2}",
            "\\d+",
            "\\*",
            "(?i)a",
            "a^b",
            "a$b",
            "a\\",
            ".*?",
            "\\Qa\\E",
            "a\nb",
            "x\\$",
            "(((((((((((((((((((((((a)))))))))))))))))))))))",
        ] {
            // An escaped dollar at the end is one that is meant.
            let expect = if unknown == "x\\$" { "x$" } else { "[] to [*]" };
            check(unknown, expect);
        }
        let bomb = "(a|b)".repeat(40);
        check(&bomb, "[] to [*]");
    }

    #[test]
    fn identifiers() {
        let check = |regex: &str, expect: &str| {
            assert_eq!(shown(&Names::regex(regex).identifiers()), expect, "{regex}");
        };
        check("gold", "gold");
        check("Gold", "[] to [gold]");
        check("a\\.b", "a.b");
        check("a\\..*", "[] to [a*]");
        check("t\\$files|t", "t");
        check("k\u{f6}ln", "[] to [k*ln]");
    }

    #[test]
    fn covering() {
        let check = |a: &str, b: &str, expect: bool| {
            let read = |text| Pattern::read(text).expect("a pattern");
            assert_eq!(read(a).covers(&read(b)), expect, "{a} {b}");
        };
        check("*", "a*b", true);
        check("a*", "ab*", true);
        check("ab*", "a*", false);
        check("a*b", "axb", true);
        check("a*b", "a*", false);
        check("*a*", "*ba*", true);
        check("*a", "*", false);
        check("a", "a", true);
    }
}
