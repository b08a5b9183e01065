//! Records held against a checkpoint, by the tiles between the two.
//!
//! `tlog_tiles` 0.2 has a reader for this, which leaves tiles unchecked where several hashes that the root is made of are in
//! one tile. So each tile is held against its parent here, up to those at the right edge of the tree, which make the root.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

use tlog_tiles::{HASH_SIZE, Hash, Tile};

use super::shelf::{Shelf, Source};
use super::tree::{Edge, WIDTH, tile_path};

/// Tiles above the lowest that are kept: those of some 16 million records. Then they are read again.
const MOST_KEPT: usize = 256;

/// Checks records, and copies the tiles that this needs.
pub(super) struct Prover<'a> {
    source: &'a dyn Source,
    copy: Option<RefCell<Shelf>>,
    /// The tiles that are not full: they make the root.
    edge: Edge,
    /// Full tiles that are what was written.
    above: RefCell<BTreeMap<(u8, u64), Vec<u8>>>,
}

impl<'a> Prover<'a> {
    /// # Errors
    /// The tiles at the right edge cannot be read, or do not make the root.
    pub(super) fn new(
        source: &'a dyn Source,
        size: u64,
        root: Hash,
        copy: Option<Shelf>,
    ) -> io::Result<Self> {
        let copy = copy.map(RefCell::new);
        let edge = Edge::load(size, |level, n, width| read(source, copy.as_ref(), level, n, width))?;
        if size > 0 && edge.root().ok() != Some(root) {
            return Err(bad("the tiles at the end of the log do not make the root that the checkpoint has"));
        }
        Ok(Self { source, copy, edge, above: RefCell::default() })
    }

    /// Checks the hashes of records. Gives the first that is not the one that was written.
    ///
    /// # Errors
    /// A tile is missing or damaged, or could not be copied.
    pub(super) fn check(&self, leaves: &[(u64, Hash)]) -> io::Result<Option<u64>> {
        let mut tile: Option<(u64, Vec<u8>)> = None;
        for &(n, leaf) in leaves {
            if n >= self.edge.size() {
                return Ok(Some(n));
            }
            let of = n / WIDTH;
            let bytes = match tile.take() {
                Some((number, bytes)) if number == of => bytes,
                _ => self.tile(0, of)?,
            };
            if at(&bytes, n) != Some(leaf) {
                return Ok(Some(n));
            }
            tile = Some((of, bytes));
        }
        Ok(None)
    }

    /// The hash of all records under a full tile, as the checkpoint has it.
    ///
    /// # Errors
    /// A tile above it is missing or damaged.
    pub(super) fn subtree(&self, level: u8, n: u64) -> io::Result<Option<Hash>> {
        Ok(at(&self.tile(level + 1, n / WIDTH)?, n))
    }

    /// A tile as it was written.
    fn tile(&self, level: u8, n: u64) -> io::Result<Vec<u8>> {
        if let Some((.., bytes)) = self.edge.partial().find(|(of, number, _)| (*of, *number) == (level, n)) {
            return Ok(bytes.to_vec());
        }
        if let Some(kept) = self.above.borrow().get(&(level, n)) {
            return Ok(kept.clone());
        }
        let bytes = read(self.source, self.copy.as_ref(), level, n, WIDTH)?;
        // The depth is that of the tree: eight at most.
        if self.subtree(level, n)? != Some(Tile::subtree_hash(&bytes)) {
            return Err(bad(&format!("{} is damaged", tile_path(level, n, WIDTH))));
        }
        // A lowest tile is needed once.
        if level > 0 {
            let mut above = self.above.borrow_mut();
            if above.len() == MOST_KEPT {
                above.clear();
            }
            above.insert((level, n), bytes.clone());
        }
        Ok(bytes)
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// The hash in a tile of what has this number at its level.
fn at(tile: &[u8], n: u64) -> Option<Hash> {
    let at = usize::try_from(n % WIDTH).ok()? * HASH_SIZE;
    tile.get(at..at + HASH_SIZE).and_then(|bytes| bytes.try_into().ok()).map(Hash)
}

fn read(
    source: &dyn Source,
    copy: Option<&RefCell<Shelf>>,
    level: u8,
    n: u64,
    width: u64,
) -> io::Result<Vec<u8>> {
    let path = tile_path(level, n, width);
    let mut bytes = source.tile(level, n, width)?.ok_or_else(|| bad(&format!("{path} is missing")))?;
    let length = usize::try_from(width).unwrap_or(0) * HASH_SIZE;
    if bytes.len() < length {
        return Err(bad(&format!("{path} is too short")));
    }
    bytes.truncate(length);
    if let Some(copy) = copy {
        copy.borrow_mut().write(&path, &bytes)?;
    }
    Ok(bytes)
}
