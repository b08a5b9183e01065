//! Links and transactions that a client carries for us: opaque, and good for their owner only.
//!
//! AES-256-GCM-SIV with random nonces (RFC 8452): it stays safe if a nonce should repeat, and keys that several
//! gateways share may seal far more than the 2^32 texts that plain GCM allows. The purpose of a text and the
//! principal are authenticated with it, so that a text of another kind or of somebody else does not open.
//! A text that does not open says nothing of the reason: to its bearer there is no such thing.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::{ErrorCode, Failure};
use crate::secret::Secret;

/// Bytes of a key.
const KEY: usize = 32;
/// The current key and some that it replaced; each is tried in turn.
const MOST_KEYS: usize = 8;
const LINK: &[u8] = b"northgate link 2\0";
const TRANSACTION: &[u8] = b"northgate transaction 1\0";

/// What a ticket is for. None opens as one of another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticket {
    /// A sign-in under way, which the browser carries as a cookie.
    SignIn,
    /// What a driver shows its user: where to sign in for it.
    Initiate,
    /// What a driver asks for its token with.
    Token,
    /// What a terminal asks for its token with.
    Terminal,
}

impl Ticket {
    const fn purpose(self) -> &'static [u8] {
        match self {
            Self::SignIn => b"northgate sign-in 1\0",
            Self::Initiate => b"northgate initiate 1\0",
            Self::Token => b"northgate token 1\0",
            Self::Terminal => b"northgate terminal 1\0",
        }
    }
}

/// What a link leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Northgate's id of the query.
    pub query: String,
    /// Which gateway took it.
    pub origin: u64,
    /// The cluster that runs it; empty while that is not settled.
    pub cluster: String,
    /// The page.
    pub target: Target,
    /// Whether the query reads restricted data, so that its pages must be redacted.
    pub restricted: bool,
    /// Whether its answer is collected, to be given again: whoever serves a page keeps a copy for the query's gateway.
    pub collected: bool,
}

/// The page that a link leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A page of our own: the query waits here.
    Local {
        /// The number of the page.
        token: u64,
    },
    /// A page of an answer that is given again.
    Kept(KeptPage),
    /// A page of the cluster.
    Upstream {
        /// Its path (and query), beginning with `/v1/statement/`.
        path: String,
    },
}

/// A page of an answer that is given again. Any gateway that can reach the answer serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptPage {
    /// The name of the question.
    pub key: [u8; 32],
    /// The query whose answer it is: there may be another answer to the question by now.
    pub source: String,
    /// Which page, from 1.
    pub number: u64,
    /// Until when others than the query's own gateway serve it: seconds since 1970.
    pub until: i64,
}

/// A transaction of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The cluster where it lives.
    pub cluster: String,
    /// Trino's id of it.
    pub id: String,
}

/// Why there is no sealer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealerError {
    /// No key, or more than eight.
    #[error("a sealer needs 1 to {MOST_KEYS} keys, not {0}")]
    Count(usize),
    /// A key of another length.
    #[error("a sealing key has {KEY} bytes, not {0}")]
    Length(usize),
    /// The system has no random numbers.
    #[error("no random numbers")]
    Random,
}

impl Failure for SealerError {
    fn kind(&self) -> &'static str {
        "sealer"
    }

    fn code(&self) -> ErrorCode {
        ErrorCode::GENERIC_INTERNAL_ERROR
    }

    fn client_message(&self) -> String {
        "Northgate could not seal a link".to_owned()
    }
}

/// Seals and opens. The first key seals; all of them open.
pub struct Sealer {
    keys: Vec<LessSafeKey>,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({} keys)", self.keys.len())
    }
}

impl Sealer {
    /// Takes the current key and those that it replaced, of 32 bytes each.
    ///
    /// # Errors
    ///
    /// [`SealerError`] if their number or a length is wrong.
    pub fn new(keys: &[Secret<Vec<u8>>]) -> Result<Self, SealerError> {
        if keys.is_empty() || keys.len() > MOST_KEYS {
            return Err(SealerError::Count(keys.len()));
        }
        let read = |key: &Secret<Vec<u8>>| {
            UnboundKey::new(&AES_256_GCM_SIV, key.expose())
                .map(LessSafeKey::new)
                .map_err(|_| SealerError::Length(key.expose().len()))
        };
        Ok(Self { keys: keys.iter().map(read).collect::<Result<_, _>>()? })
    }

    /// A sealer with a key of its own, which nobody else has: links end with the process.
    ///
    /// # Errors
    ///
    /// [`SealerError::Random`].
    pub fn generate() -> Result<Self, SealerError> {
        let mut key = vec![0; KEY];
        rand::fill(&mut key).map_err(|_| SealerError::Random)?;
        Self::new(&[Secret::new(key)])
    }

    /// Seals a link for a principal. The text is of base64url characters.
    ///
    /// # Errors
    ///
    /// [`SealerError::Random`] if there are no random numbers.
    pub fn seal_link(&self, link: &Link, principal: &str) -> Result<String, SealerError> {
        self.seal(LINK, principal, encode_link(link))
    }

    /// Opens a link; `None` if it is forged, changed or somebody else's.
    pub fn open_link(&self, text: &str, principal: &str) -> Option<Link> {
        decode_link(&self.open(LINK, principal, text)?)
    }

    /// Seals a transaction for a principal. The text is of base64url characters.
    ///
    /// # Errors
    ///
    /// [`SealerError::Random`] if there are no random numbers.
    pub fn seal_transaction(
        &self,
        transaction: &Transaction,
        principal: &str,
    ) -> Result<String, SealerError> {
        let mut plain = Vec::new();
        put(&mut plain, &transaction.cluster);
        put(&mut plain, &transaction.id);
        self.seal(TRANSACTION, principal, plain)
    }

    /// Opens a transaction; `None` if it is forged, changed or somebody else's.
    pub fn open_transaction(&self, text: &str, principal: &str) -> Option<Transaction> {
        let plain = self.open(TRANSACTION, principal, text)?;
        let mut rest = &plain[..];
        let transaction = Transaction { cluster: take(&mut rest)?, id: take(&mut rest)? };
        rest.is_empty().then_some(transaction)
    }

    /// Seals a ticket. The text is of base64url characters.
    ///
    /// # Errors
    ///
    /// [`SealerError::Random`] if there are no random numbers.
    pub fn seal_ticket(&self, kind: Ticket, plain: Vec<u8>) -> Result<String, SealerError> {
        self.seal(kind.purpose(), "", plain)
    }

    /// Opens a ticket; `None` if it is forged, changed or of another kind. Its bearer may be anybody, and its age any.
    pub fn open_ticket(&self, kind: Ticket, text: &str) -> Option<Vec<u8>> {
        self.open(kind.purpose(), "", text)
    }

    fn seal(&self, purpose: &[u8], principal: &str, plain: Vec<u8>) -> Result<String, SealerError> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SealerError::Random)?;
        let mut sealed = plain;
        let tag = self.keys[0]
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                aad(purpose, principal),
                &mut sealed,
            )
            .map_err(|_| SealerError::Random)?;
        let mut whole = Vec::with_capacity(NONCE_LEN + sealed.len() + tag.as_ref().len());
        whole.extend_from_slice(&nonce);
        whole.extend_from_slice(&sealed);
        whole.extend_from_slice(tag.as_ref());
        Ok(URL_SAFE_NO_PAD.encode(whole))
    }

    fn open(&self, purpose: &[u8], principal: &str, text: &str) -> Option<Vec<u8>> {
        let whole = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = whole.split_first_chunk::<NONCE_LEN>()?;
        self.keys.iter().find_map(|key| {
            let mut copy = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let length = key.open_in_place(nonce, aad(purpose, principal), &mut copy).ok()?.len();
            copy.truncate(length);
            Some(copy)
        })
    }
}

/// The purposes have one length each and end in a zero, so that no two pairs give the same bytes.
fn aad(purpose: &[u8], principal: &str) -> Aad<Vec<u8>> {
    Aad::from([purpose, principal.as_bytes()].concat())
}

fn encode_link(link: &Link) -> Vec<u8> {
    let mut plain = Vec::with_capacity(160);
    plain.push(u8::from(link.restricted) | u8::from(link.collected) << 1);
    plain.extend_from_slice(&link.origin.to_be_bytes());
    put(&mut plain, &link.query);
    put(&mut plain, &link.cluster);
    match &link.target {
        Target::Local { token } => {
            plain.push(0);
            plain.extend_from_slice(&token.to_be_bytes());
        }
        Target::Upstream { path } => {
            plain.push(1);
            put(&mut plain, path);
        }
        Target::Kept(KeptPage { key, source, number, until }) => {
            plain.push(2);
            plain.extend_from_slice(key);
            put(&mut plain, source);
            plain.extend_from_slice(&number.to_be_bytes());
            plain.extend_from_slice(&until.to_be_bytes());
        }
    }
    plain
}

fn decode_link(plain: &[u8]) -> Option<Link> {
    let (flag, mut rest) = plain.split_first()?;
    if *flag > 3 {
        return None;
    }
    let (restricted, collected) = (flag & 1 != 0, flag & 2 != 0);
    let origin = u64::from_be_bytes(chunk(&mut rest)?);
    let (query, cluster) = (take(&mut rest)?, take(&mut rest)?);
    let (tag, mut rest) = rest.split_first()?;
    let target = match tag {
        0 => Target::Local { token: u64::from_be_bytes(chunk(&mut rest)?) },
        1 => Target::Upstream { path: take(&mut rest)? },
        2 => Target::Kept(KeptPage {
            key: chunk(&mut rest)?,
            source: take(&mut rest)?,
            number: u64::from_be_bytes(chunk(&mut rest)?),
            until: i64::from_be_bytes(chunk(&mut rest)?),
        }),
        _ => return None,
    };
    rest.is_empty().then_some(Link { query, origin, cluster, target, restricted, collected })
}

fn chunk<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*first)
}

fn put(plain: &mut Vec<u8>, text: &str) {
    // What is sealed is far shorter; a text that were not would fail to open, not be cut.
    plain.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    plain.extend_from_slice(text.as_bytes());
}

fn take(rest: &mut &[u8]) -> Option<String> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (text, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    *rest = after;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer() -> Sealer {
        Sealer::new(&[Secret::new(vec![7; KEY])]).expect("a sealer")
    }

    fn links() -> Vec<Link> {
        let path =
            "/v1/statement/executing/20261123_033045_00005_xsgd7/yac07d104a917054aa68e622aa0dcd4b1d61c09e0/1";
        let link = |target, restricted| Link {
            query: "20261123_033045_00005_abcde".to_owned(),
            origin: 7,
            cluster: "c-1".to_owned(),
            target,
            restricted,
            collected: restricted,
        };
        let kept = KeptPage {
            key: [9; 32],
            source: "20261123_033045_00004_abcde".to_owned(),
            number: 2,
            until: 1 << 40,
        };
        vec![
            link(Target::Upstream { path: path.to_owned() }, true),
            link(Target::Upstream { path: String::new() }, false),
            link(Target::Local { token: u64::MAX }, false),
            link(Target::Kept(kept), true),
        ]
    }

    #[test]
    fn a_link_opens_for_its_owner_only() {
        let sealer = sealer();
        for link in links() {
            let text = sealer.seal_link(&link, "alice").expect("sealed");
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{text}");
            assert_eq!(sealer.open_link(&text, "alice"), Some(link.clone()));
            for other in ["Alice", "alic", "alicee", "", "bob"] {
                assert_eq!(sealer.open_link(&text, other), None, "{other}");
            }
            assert!(sealer.open(LINK, "alice", &text).is_some());
            assert_eq!(sealer.open(TRANSACTION, "alice", &text), None, "a link opened for another purpose");
            assert_ne!(sealer.seal_link(&link, "alice").expect("sealed"), text, "a nonce was used twice");
            assert_eq!(Sealer::generate().expect("a sealer").open_link(&text, "alice"), None);
        }
    }

    #[test]
    fn a_link_changed_in_one_bit_does_not_open() {
        let sealer = sealer();
        for link in links() {
            let text = sealer.seal_link(&link, "alice").expect("sealed");
            for at in 0..text.len() {
                for bit in 0..8 {
                    let mut bytes = text.clone().into_bytes();
                    bytes[at] ^= 1 << bit;
                    if let Ok(changed) = String::from_utf8(bytes) {
                        assert_eq!(sealer.open_link(&changed, "alice"), None, "byte {at}, bit {bit}");
                    }
                }
                assert_eq!(sealer.open_link(&text[..at], "alice"), None, "cut to {at}");
                assert_eq!(sealer.open_link(&text[at + 1..], "alice"), None, "cut from {at}");
            }
            for more in ["A", "=", " ", "\n", "AAAA"] {
                assert_eq!(sealer.open_link(&format!("{text}{more}"), "alice"), None, "{more:?} behind");
                assert_eq!(sealer.open_link(&format!("{more}{text}"), "alice"), None, "{more:?} before");
            }
        }
    }

    #[test]
    fn a_transaction_opens_for_its_owner_only() {
        let sealer = sealer();
        let transaction = Transaction { cluster: "c".to_owned(), id: "40f03e42-d418".to_owned() };
        let text = sealer.seal_transaction(&transaction, "alice").expect("sealed");
        assert_eq!(sealer.open_transaction(&text, "alice"), Some(transaction));
        assert_eq!(sealer.open_transaction(&text, "bob"), None);
        assert_eq!(sealer.open_link(&text, "alice"), None);
    }

    #[test]
    fn a_replaced_key_still_opens() {
        let (old, new) = (Secret::new(vec![1; KEY]), Secret::new(vec![2; KEY]));
        let before = Sealer::new(std::slice::from_ref(&old)).expect("a sealer");
        let after = Sealer::new(&[new, old]).expect("a sealer");
        let link = links().remove(0);
        let text = before.seal_link(&link, "a").expect("sealed");
        assert_eq!(after.open_link(&text, "a"), Some(link.clone()));
        let text = after.seal_link(&link, "a").expect("sealed");
        assert_eq!(before.open_link(&text, "a"), None, "sealed with the key that was replaced");
    }

    #[test]
    fn keys_are_checked() {
        let check = |lengths: &[usize], expect: SealerError| {
            let keys: Vec<_> = lengths.iter().map(|n| Secret::new(vec![0; *n])).collect();
            assert_eq!(Sealer::new(&keys).expect_err("an error"), expect);
        };
        check(&[], SealerError::Count(0));
        check(&[32; 9], SealerError::Count(9));
        check(&[31], SealerError::Length(31));
        check(&[32, 16], SealerError::Length(16));
        check(&[33], SealerError::Length(33));
    }
}
