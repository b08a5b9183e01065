//! The Merkle tree over the records (RFC 6962), in the layout of [c2sp.org/tlog-tiles].
//!
//! All arithmetic of the tree is `tlog_tiles`'s. This module has what that crate leaves out: the paths of the layout (the
//! crate writes those of Go's checksum database), bundles of entries, and the right edge of a tree that grows.
//!
//! [c2sp.org/tlog-tiles]: https://c2sp.org/tlog-tiles

use tlog_tiles::{Error, HASH_SIZE, Hash, HashReader, Tile};

/// Hashes in a whole tile, and entries in a whole bundle.
pub(super) const WIDTH: u64 = 256;
/// log2 of it: the height of a tile, as `tlog_tiles` counts.
pub(super) const HEIGHT: u8 = 8;
/// The longest entry, in bytes: its length is written in two.
pub(super) const MOST: usize = u16::MAX as usize;

/// Where the tile `n` of a level is, if it has `width` hashes.
pub(super) fn tile_path(level: u8, n: u64, width: u64) -> String {
    format!("tile/{level}/{}", within(n, width))
}

/// Where the bundle `n` is, if it has `width` entries.
pub(super) fn bundle_path(n: u64, width: u64) -> String {
    format!("tile/entries/{}", within(n, width))
}

/// Three digits at a time, so that no folder becomes large.
fn within(n: u64, width: u64) -> String {
    let mut path = format!("{:03}", n % 1000);
    let mut rest = n / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    if width < WIDTH { format!("{path}.p/{width}") } else { path }
}

/// Appends an entry to a bundle. It must not be longer than [`MOST`].
pub(super) fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) {
    let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
}

/// The entries of a bundle; the last item is an error where it ends within one.
pub(super) fn entries(bundle: &[u8]) -> impl Iterator<Item = Result<&[u8], Torn>> {
    let mut rest = bundle;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let taken = rest
            .split_first_chunk::<2>()
            .and_then(|(length, body)| body.split_at_checked(usize::from(u16::from_be_bytes(*length))));
        let Some((entry, behind)) = taken else {
            rest = &[];
            return Some(Err(Torn));
        };
        rest = behind;
        Some(Ok(entry))
    })
}

/// A bundle that ends within an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Torn;

/// The hashes of a tile.
pub(super) fn hashes(tile: &[u8]) -> impl Iterator<Item = Hash> + '_ {
    tile.as_chunks::<HASH_SIZE>().0.iter().map(|bytes| Hash(*bytes))
}

/// A whole tile that a growing tree filled.
pub(super) struct Filled {
    pub(super) level: u8,
    pub(super) n: u64,
    pub(super) bytes: Vec<u8>,
}

/// The tiles at the right edge of a tree, which are all that is needed for it to grow and for its root.
#[derive(Clone, Default)]
pub(super) struct Edge {
    size: u64,
    /// Of each level, the hashes in its last tile that is not full.
    levels: Vec<Vec<u8>>,
}

impl Edge {
    /// Records so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The edge of a tree of this size; `read` gives at least the first `width` hashes of a tile.
    pub(super) fn load<E>(
        size: u64,
        mut read: impl FnMut(u8, u64, u64) -> Result<Vec<u8>, E>,
    ) -> Result<Self, E> {
        let mut edge = Self { size, levels: Vec::new() };
        let (mut level, mut count) = (0_u8, size);
        while count > 0 {
            let width = count % WIDTH;
            let mut bytes = Vec::new();
            if width > 0 {
                bytes = read(level, count / WIDTH, width)?;
                bytes.truncate(usize::try_from(width).unwrap_or(0) * HASH_SIZE);
            }
            edge.levels.push(bytes);
            count /= WIDTH;
            level += 1;
        }
        Ok(edge)
    }

    /// Adds the hash of the next record, and tells of the tiles that it fills, from the lowest up.
    pub(super) fn push(&mut self, leaf: Hash, mut filled: impl FnMut(Filled)) {
        self.size += 1;
        let (mut hash, mut level, mut count) = (leaf, 0_usize, self.size);
        loop {
            if self.levels.len() == level {
                self.levels.push(Vec::with_capacity(256 * HASH_SIZE));
            }
            let Some(bytes) = self.levels.get_mut(level) else { return };
            bytes.extend_from_slice(&hash.0);
            if bytes.len() < 256 * HASH_SIZE {
                return;
            }
            hash = Tile::subtree_hash(bytes);
            let bytes = std::mem::take(bytes);
            count /= WIDTH;
            // A tree of 2^64 records has eight levels.
            filled(Filled { level: u8::try_from(level).unwrap_or(u8::MAX), n: count - 1, bytes });
            level += 1;
        }
    }

    /// The tiles that are not full: level, number, hashes.
    pub(super) fn partial(&self) -> impl Iterator<Item = (u8, u64, &[u8])> {
        (0_u8..).zip(&self.levels).filter(|(_, bytes)| !bytes.is_empty()).map(|(level, bytes)| {
            let count = self.size >> (u32::from(HEIGHT) * u32::from(level));
            (level, count / WIDTH, bytes.as_slice())
        })
    }

    /// The root of the tree.
    pub(super) fn root(&self) -> Result<Hash, Error> {
        tlog_tiles::tree_hash(self.size, self)
    }
}

impl HashReader for Edge {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        let read = |&index: &u64| {
            let needed = Tile::from_index(HEIGHT, index);
            let bytes = self.levels.get(usize::from(needed.level())).ok_or(Error::IndexesNotInTree)?;
            let width = u32::try_from(bytes.len() / HASH_SIZE).map_err(|_| Error::InvalidTile)?;
            if width == 0 {
                return Err(Error::IndexesNotInTree);
            }
            Tile::new(HEIGHT, needed.level(), needed.level_index(), width, false).hash_at_index(bytes, index)
        };
        indexes.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tlog_tiles::{TileHashReader, TileReader, record_hash};

    use super::*;

    #[test]
    fn paths_are_those_of_the_layout() {
        let check = |n, width, expect: &str| assert_eq!(tile_path(2, n, width), expect);
        check(0, 256, "tile/2/000");
        check(0, 1, "tile/2/000.p/1");
        check(1_234_067, 256, "tile/2/x001/x234/067");
        check(1000, 255, "tile/2/x001/000.p/255");
        assert_eq!(bundle_path(1, 7), "tile/entries/001.p/7");
    }

    #[test]
    fn bundles_are_read_as_they_were_written() {
        let mut bundle = Vec::new();
        let long = vec![7; MOST];
        let given: [&[u8]; 3] = [b"a", b"", &long];
        given.iter().for_each(|entry| push_entry(&mut bundle, entry));
        assert_eq!(entries(&bundle).collect::<Result<Vec<_>, _>>().expect("whole"), given);
        bundle.pop();
        assert_eq!(entries(&bundle).last(), Some(Err(Torn)));
        assert_eq!(entries(&[0]).last(), Some(Err(Torn)));
    }

    struct Shelf(BTreeMap<(u8, u64), Vec<u8>>);

    impl TileReader for Shelf {
        fn height(&self) -> u8 {
            HEIGHT
        }
        fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
            let width = |tile: &Tile| usize::try_from(tile.width()).expect("small") * HASH_SIZE;
            let read = |tile: &Tile| self.0[&(tile.level(), tile.level_index())][..width(tile)].to_vec();
            Ok(tiles.iter().map(read).collect())
        }
        fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
    }

    /// The tiles that an edge writes make a tree whose root the crate's own way of counting agrees with, at each size.
    #[test]
    fn an_edge_grows_the_tree_of_the_rfc() {
        struct Stored(Vec<Hash>);
        impl HashReader for Stored {
            fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
                Ok(indexes.iter().map(|&at| self.0[usize::try_from(at).expect("small")]).collect())
            }
        }
        let (mut edge, mut stored) = (Edge::default(), Stored(Vec::new()));
        let mut shelf = Shelf(BTreeMap::new());
        assert_eq!(edge.root().expect("a root"), tlog_tiles::EMPTY_HASH);
        for n in 0..66_000_u64 {
            let leaf = record_hash(&n.to_be_bytes());
            let more = tlog_tiles::stored_hashes_for_record_hash(n, leaf, &stored).expect("hashes");
            stored.0.extend(more);
            edge.push(leaf, |tile| _ = shelf.0.insert((tile.level, tile.n), tile.bytes));
            let size = n + 1;
            if size < 600 || size % 97 == 0 || size % 256 < 2 || size > 65_530 && size < 65_540 {
                let root = tlog_tiles::tree_hash(size, &stored).expect("a root");
                assert_eq!(edge.root().expect("a root"), root, "{size}");
                for (level, n, bytes) in edge.partial() {
                    shelf.0.insert((level, n), bytes.to_vec());
                }
                let reader = TileHashReader::new(size, root, &shelf);
                assert_eq!(tlog_tiles::tree_hash(size, &reader).expect("a root"), root, "{size}");
                let again = Edge::load(size, |level, n, _| Ok::<_, Error>(shelf.0[&(level, n)].clone()));
                assert_eq!(again.expect("loaded").root().expect("a root"), root, "{size}");
            }
        }
    }
}
