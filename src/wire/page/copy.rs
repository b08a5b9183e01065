//! A copy of what a page shows, for whoever wants to show it again.

use bytes::Bytes;

/// The columns and the rows of a page, as the bytes that came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageCopy {
    /// The JSON array of the columns, if the page has it.
    pub columns: Option<Bytes>,
    /// The JSON array of the rows; empty if the page has none.
    pub rows: Bytes,
    /// Whether Trino warned of something, which is not copied.
    pub warned: bool,
}

/// Makes the copy.
#[derive(Debug, Default)]
pub(super) struct Copying {
    /// None where no copy is wanted, or it became too large.
    copy: Option<PageCopy>,
    /// The rows so far. Bytes of their own: a piece of what came would hold on to all that came with it.
    rows: Vec<u8>,
    left: usize,
}

impl Copying {
    /// For at most so many bytes.
    pub(super) fn up_to(most: usize) -> Self {
        Self { copy: Some(PageCopy::default()), rows: Vec::new(), left: most }
    }

    pub(super) fn columns(&mut self, raw: &[u8]) {
        if self.takes(raw.len())
            && let Some(copy) = &mut self.copy
            && raw != b"null"
        {
            copy.columns = Some(Bytes::copy_from_slice(raw));
        }
    }

    pub(super) fn warnings(&mut self, raw: &[u8]) {
        if let Some(copy) = &mut self.copy {
            copy.warned |= raw.iter().any(|byte| !b"[] \t\r\n".contains(byte)) && raw != b"null";
        }
    }

    pub(super) fn rows(&mut self, part: &[u8]) {
        if self.takes(part.len()) {
            self.rows.extend_from_slice(part);
        }
    }

    /// Whether so much more can be copied. If not, there is no copy any more.
    fn takes(&mut self, bytes: usize) -> bool {
        if let Some(left) = self.left.checked_sub(bytes) {
            self.left = left;
        } else {
            (self.copy, self.rows) = (None, Vec::new());
        }
        self.copy.is_some()
    }

    pub(super) fn finish(self) -> Option<PageCopy> {
        Some(PageCopy { rows: self.rows.into(), ..self.copy? })
    }
}
