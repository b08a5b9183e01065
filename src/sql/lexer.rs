//! Text to tokens, by the rules of Trino's lexer.
//!
//! `--` ends at CR or LF; block comments do not nest; there are no backslash escapes; an identifier without
//! quotes is ASCII letters, digits and `_`; white space is blank, tab, CR and LF alone. What this lexer
//! takes, Trino's takes in the same way; it refuses more: NUL anywhere, backquotes, identifiers that begin
//! with a digit, comments without an end.

use super::Keyword;
use super::error::{SqlError, locate};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A word without quotes that is a keyword.
    Keyword(Keyword),
    /// A word without quotes that is not.
    Word,
    /// `"..."`
    Quoted,
    /// `'...'`
    String,
    /// `U&'...'`
    UnicodeString,
    /// `X'...'`
    Binary,
    /// `12`, `1_000`, `0x1F`, `0o7`, `0b1`
    Integer,
    /// `1.5`, `.5`, `1.`
    Decimal,
    /// `1e5`
    Double,
    /// An operator or a bracket.
    Symbol(Symbol),
}

/// A token: what it is and where it stands, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Its first byte.
    pub start: u32,
    /// The byte behind its last.
    pub end: u32,
}

macro_rules! symbols {
    ($($name:ident $($byte:literal)+,)*) => {
        /// An operator or a bracket.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)] // each is named after its sign
        pub enum Symbol { $($name,)* }

        impl Symbol {
            /// The symbol that a text begins with, and its length.
            fn first_of(text: &[u8]) -> Option<(Self, usize)> {
                match text {
                    $([$($byte,)+ ..] => Some((Self::$name, [$($byte),+].len())),)*
                    _ => None,
                }
            }
        }
    };
}

// Longest first.
symbols! {
    Arrow b'-' b'>', FatArrow b'=' b'>', NotEqual b'<' b'>', NotEqualC b'!' b'=', LessEqual b'<' b'=',
    GreaterEqual b'>' b'=', Concat b'|' b'|', ExclusionOpen b'{' b'-', ExclusionClose b'-' b'}',
    Dot b'.', Comma b',', Open b'(', Close b')', BracketOpen b'[', BracketClose b']', Equal b'=', Less b'<',
    Greater b'>', Plus b'+', Minus b'-', Asterisk b'*', Slash b'/', Percent b'%', Question b'?', Semicolon b';',
    Colon b':', Pipe b'|', Caret b'^', Dollar b'$', BraceOpen b'{', BraceClose b'}',
}

impl Symbol {
    /// The comparison operators.
    pub const COMPARISONS: [Self; 7] = [
        Self::Equal,
        Self::NotEqual,
        Self::NotEqualC,
        Self::Less,
        Self::LessEqual,
        Self::Greater,
        Self::GreaterEqual,
    ];
}

/// Reads all tokens of a text.
pub(super) fn tokens(text: &str, most: usize) -> Result<Vec<Token>, SqlError> {
    let mut lexer = Lexer { text, bytes: text.as_bytes(), at: 0 };
    if let Some(at) = memchr::memchr(0, lexer.bytes) {
        return Err(lexer.error(at, "a NUL character"));
    }
    let mut tokens = Vec::with_capacity((text.len() / 5).min(most));
    while let Some(token) = lexer.next()? {
        if tokens.len() == most {
            return Err(SqlError::TooLong { limit: most, unit: "words" });
        }
        tokens.push(token);
    }
    Ok(tokens)
}

struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl Lexer<'_> {
    fn error(&self, at: usize, what: impl Into<String>) -> SqlError {
        SqlError::Syntax { location: locate(self.text, at), what: what.into() }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn next(&mut self) -> Result<Option<Token>, SqlError> {
        self.skip_space()?;
        let start = self.at;
        let Some(&first) = self.bytes.get(start) else {
            return Ok(None);
        };
        let kind = match first {
            b'\'' => self.quoted(b'\'', TokenKind::String, "a string")?,
            b'"' => self.identifier()?,
            b'U' | b'u' if self.peek(1) == b'&' && self.peek(2) == b'\'' => {
                self.at += 2;
                self.quoted(b'\'', TokenKind::UnicodeString, "a string")?
            }
            b'X' | b'x' if self.peek(1) == b'\'' => self.binary()?,
            b'0'..=b'9' => self.number()?,
            b'.' if self.peek(1).is_ascii_digit() => self.number()?,
            b'A'..=b'Z' | b'a'..=b'z' | b'_' => self.word(),
            b'`' => {
                return Err(self.error(start, "backquoted identifiers are not supported; use double quotes"));
            }
            _ => self.symbol()?,
        };
        Ok(Some(Token { kind, start: offset(start), end: offset(self.at) }))
    }

    fn skip_space(&mut self) -> Result<(), SqlError> {
        loop {
            match self.peek(0) {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                b'-' if self.peek(1) == b'-' => {
                    let rest = &self.bytes[self.at..];
                    self.at += memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                }
                b'/' if self.peek(1) == b'*' => {
                    let rest = &self.bytes[self.at + 2..];
                    match memchr::memmem::find(rest, b"*/") {
                        Some(length) => self.at += length + 4,
                        None => return Err(self.error(self.at, "a comment without an end")),
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    fn quoted(&mut self, mark: u8, kind: TokenKind, what: &str) -> Result<TokenKind, SqlError> {
        let start = self.at;
        self.at += 1;
        loop {
            match memchr::memchr(mark, &self.bytes[self.at..]) {
                None => return Err(self.error(start, format!("{what} without an end"))),
                Some(length) => self.at += length + 1,
            }
            if self.peek(0) != mark {
                return Ok(kind);
            }
            self.at += 1;
        }
    }

    fn identifier(&mut self) -> Result<TokenKind, SqlError> {
        let start = self.at;
        let kind = self.quoted(b'"', TokenKind::Quoted, "a quoted identifier")?;
        if self.at - start == 2 {
            return Err(self.error(start, "zero-length identifier"));
        }
        Ok(kind)
    }

    fn binary(&mut self) -> Result<TokenKind, SqlError> {
        let start = self.at;
        self.at += 2;
        match memchr::memchr(b'\'', &self.bytes[self.at..]) {
            None => Err(self.error(start, "a binary literal without an end")),
            Some(length) => {
                self.at += length + 1;
                Ok(TokenKind::Binary)
            }
        }
    }

    fn word(&mut self) -> TokenKind {
        let start = self.at;
        self.at += self.run(0, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
        Keyword::find(&self.text[start..self.at]).map_or(TokenKind::Word, TokenKind::Keyword)
    }

    /// How many bytes from `ahead` on satisfy the test.
    fn run(&self, ahead: usize, test: impl Fn(u8) -> bool) -> usize {
        self.bytes[self.at + ahead..].iter().take_while(|byte| test(**byte)).count()
    }

    /// Digits with single underscores between them; 0 if there are none.
    fn digits(&self, ahead: usize, test: impl Fn(u8) -> bool) -> usize {
        let mut length = 0;
        loop {
            let run = self.run(ahead + length, &test);
            if run == 0 {
                return length.saturating_sub(usize::from(length > 0));
            }
            length += run;
            if self.peek(ahead + length) != b'_' {
                return length;
            }
            length += 1;
        }
    }

    fn number(&mut self) -> Result<TokenKind, SqlError> {
        let (length, kind) = self.number_length();
        let as_identifier = match self.peek(0) {
            b'0'..=b'9' => self.run(0, |byte| byte.is_ascii_alphanumeric() || byte == b'_'),
            _ => 0,
        };
        if as_identifier > length {
            return Err(self.error(
                self.at,
                "identifiers must not start with a digit; surround the identifier with double quotes",
            ));
        }
        self.at += length;
        Ok(kind)
    }

    fn number_length(&self) -> (usize, TokenKind) {
        if self.peek(0) == b'0' {
            let based = match self.peek(1) {
                b'x' | b'X' => self.based(|byte| byte.is_ascii_hexdigit()),
                b'o' | b'O' => self.based(|byte| (b'0'..=b'7').contains(&byte)),
                b'b' | b'B' => self.based(|byte| byte == b'0' || byte == b'1'),
                _ => 0,
            };
            if based > 0 {
                return (based, TokenKind::Integer);
            }
        }
        let whole = self.digits(0, |byte| byte.is_ascii_digit());
        let mut best = (whole, TokenKind::Integer);
        if self.peek(whole) == b'.' {
            let fraction = self.digits(whole + 1, |byte| byte.is_ascii_digit());
            if whole > 0 || fraction > 0 {
                best = (whole + 1 + fraction, TokenKind::Decimal);
            }
        }
        // The exponent's form takes plain digits only.
        let whole = self.run(0, |byte| byte.is_ascii_digit());
        let mut mantissa = whole;
        if self.peek(whole) == b'.' {
            mantissa = whole + 1 + self.run(whole + 1, |byte| byte.is_ascii_digit());
        }
        if mantissa > usize::from(whole == 0) && matches!(self.peek(mantissa), b'e' | b'E') {
            let sign = usize::from(matches!(self.peek(mantissa + 1), b'+' | b'-'));
            let exponent = self.run(mantissa + 1 + sign, |byte| byte.is_ascii_digit());
            let length = mantissa + 1 + sign + exponent;
            if exponent > 0 && length > best.0 {
                best = (length, TokenKind::Double);
            }
        }
        best
    }

    /// `0x` and the like: each digit may have one underscore before it.
    fn based(&self, test: impl Fn(u8) -> bool) -> usize {
        let mut length = 2;
        loop {
            let under = usize::from(self.peek(length) == b'_');
            if !test(self.peek(length + under)) {
                return if length > 2 { length } else { 0 };
            }
            length += under + 1;
        }
    }

    fn symbol(&mut self) -> Result<TokenKind, SqlError> {
        if let Some((symbol, length)) = Symbol::first_of(&self.bytes[self.at..]) {
            self.at += length;
            Ok(TokenKind::Symbol(symbol))
        } else {
            let sign = self.text[self.at..].chars().next().unwrap_or(char::REPLACEMENT_CHARACTER);
            Err(self.error(self.at, format!("unexpected character {}", visible(sign))))
        }
    }
}

/// A character that a reader can tell from its look-alikes.
fn visible(sign: char) -> String {
    if sign.is_ascii_graphic() { format!("'{sign}'") } else { format!("U+{:04X}", u32::from(sign)) }
}

fn offset(at: usize) -> u32 {
    // A text is at most `Limits::bytes` long, which is checked to be below 4 GiB.
    u32::try_from(at).unwrap_or(u32::MAX)
}
