//! Finds the end of an array or an object in a stream, and counts what it holds, at the speed of memory.
//!
//! Blocks of 64 bytes become bit masks, eight bytes to a machine word, without branches: which bytes are quotes,
//! which are brackets, which of the quotes are escaped. The running parity of the quotes says what lies in strings.
//! Only the brackets outside of strings, two to a row of scalars, are then looked at one by one.

/// Arrays and objects in one another. Readers of JSON in Java (Jackson) stop at 1,000 too.
const DEEPEST: u32 = 1_000;
/// Bytes that one mask covers.
const BLOCK: usize = 64;
/// Blocks whose masks are made together.
const GROUP: usize = 4;
const EVEN: u64 = 0x5555_5555_5555_5555;
const ONES: u64 = 0x0101_0101_0101_0101;
const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
const HIGH: u64 = 0x8080_8080_8080_8080;
/// `b | BRACKET == 0x7f` for the four brackets, and for `Y`, `_`, `y` and DEL, which outside of strings are in no JSON.
const BRACKET: u8 = 0x26;

/// Why an array or an object has no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScanError {
    /// Something that is not JSON.
    Garbage,
    /// Nested more than 1,000 deep.
    TooDeep,
}

/// The state between two chunks. The first byte that it is given is the opening bracket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scanner {
    depth: u32,
    /// Brackets that were opened directly inside of the outermost one.
    inner: u64,
    /// All ones inside of a string, else zero.
    string: u64,
    /// One if the next byte is escaped, else zero.
    escaped: u64,
}

impl Scanner {
    /// How many arrays and objects stand directly in the outermost one, so far.
    pub(super) fn inner(&self) -> u64 {
        self.inner
    }

    /// Goes through `bytes`. Gives the number of bytes up to and with the closing bracket if it is there.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, ScanError> {
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        let (groups, single) = blocks.as_chunks::<GROUP>();
        for (number, group) in groups.iter().enumerate() {
            if let Some(end) = self.blocks(group)? {
                return Ok(Some(number * GROUP * BLOCK + end));
            }
        }
        for (number, block) in single.iter().enumerate() {
            if let Some(end) = self.blocks(std::array::from_ref(block))? {
                return Ok(Some((groups.len() * GROUP + number) * BLOCK + end));
            }
        }
        for (at, byte) in rest.iter().enumerate() {
            if self.byte(*byte)? {
                return Ok(Some(blocks.len() * BLOCK + at + 1));
            }
        }
        Ok(None)
    }

    fn blocks<const N: usize>(&mut self, blocks: &[[u8; BLOCK]; N]) -> Result<Option<usize>, ScanError> {
        let masks = Masks::of(blocks);
        for (number, block) in blocks.iter().enumerate() {
            let mut quotes = masks.quotes[number];
            if masks.slashes[number] | self.escaped != 0 {
                quotes &= !self.escapes(masks.slashes[number]);
            }
            let inside = parity(quotes) ^ self.string;
            self.string = 0_u64.wrapping_sub(inside >> 63);
            if let Some(end) = self.brackets(block, masks.brackets[number] & !inside)? {
                return Ok(Some(number * BLOCK + end));
            }
        }
        Ok(None)
    }

    /// Which bytes are escaped: those behind an odd number of backslashes.
    fn escapes(&mut self, slashes: u64) -> u64 {
        // A backslash that is escaped itself escapes nothing.
        let slashes = slashes & !self.escaped;
        let first = self.escaped;
        let starts = slashes & !(slashes << 1);
        // Adding its start to a run of ones carries to the place behind the run. Behind a run that starts at an
        // even place and is odd in length lies an odd place, and the other way round.
        let (behind_even, _) = slashes.overflowing_add(starts & EVEN);
        let (behind_odd, carried) = slashes.overflowing_add(starts & !EVEN);
        self.escaped = u64::from(carried);
        let odd_runs = (behind_even & !slashes & !EVEN) | (behind_odd & !slashes & EVEN);
        odd_runs | first
    }

    fn brackets(&mut self, block: &[u8; BLOCK], mut brackets: u64) -> Result<Option<usize>, ScanError> {
        while brackets != 0 {
            let at = brackets.trailing_zeros() as usize;
            brackets &= brackets - 1;
            if self.bracket(block[at])? {
                return Ok(Some(at + 1));
            }
        }
        if self.depth > DEEPEST { Err(ScanError::TooDeep) } else { Ok(None) }
    }

    /// Takes one bracket; true if it closes the outermost.
    fn bracket(&mut self, byte: u8) -> Result<bool, ScanError> {
        match byte {
            b'[' | b'{' => {
                self.inner += u64::from(self.depth == 1);
                self.depth += 1;
                Ok(false)
            }
            b']' | b'}' => {
                self.depth = self.depth.checked_sub(1).ok_or(ScanError::Garbage)?;
                Ok(self.depth == 0)
            }
            _ => Err(ScanError::Garbage),
        }
    }

    fn byte(&mut self, byte: u8) -> Result<bool, ScanError> {
        let escaped = std::mem::take(&mut self.escaped) != 0;
        if byte == b'\\' {
            self.escaped = u64::from(!escaped);
        } else if byte == b'"' && !escaped {
            self.string = !self.string;
        } else if self.string == 0 && byte | BRACKET == 0x7f {
            let closed = self.bracket(byte)?;
            return if self.depth > DEEPEST { Err(ScanError::TooDeep) } else { Ok(closed) };
        }
        Ok(false)
    }
}

/// Which bytes of some blocks are quotes, brackets and backslashes: a bit to each byte.
struct Masks<const N: usize> {
    quotes: [u64; N],
    brackets: [u64; N],
    slashes: [u64; N],
}

impl<const N: usize> Masks<N> {
    /// No step depends on the one before, so that compilers make vector instructions of several blocks at once.
    #[inline]
    fn of(blocks: &[[u8; BLOCK]; N]) -> Self {
        let mut masks = Self { quotes: [0; N], brackets: [0; N], slashes: [0; N] };
        for (number, block) in blocks.iter().enumerate() {
            let (mut quotes, mut brackets, mut slashes) = (0, 0, 0);
            for (row, bytes) in block.as_chunks::<8>().0.iter().enumerate() {
                let word = u64::from_le_bytes(*bytes);
                quotes |= filled(word ^ (ONES * u64::from(b'"'))) >> (7 - row);
                brackets |= filled((word | (ONES * u64::from(BRACKET))) ^ LOW) >> (7 - row);
                slashes |= filled(word ^ (ONES * u64::from(b'\\'))) >> (7 - row);
            }
            masks.quotes[number] = !transposed(quotes);
            masks.brackets[number] = !transposed(brackets);
            masks.slashes[number] = !transposed(slashes);
        }
        masks
    }
}

/// The high bit of each byte that is not zero.
#[inline]
fn filled(word: u64) -> u64 {
    (((word & LOW) + LOW) | word) & HIGH
}

/// Turns eight rows of eight bits about their diagonal. Bit n of byte m becomes bit m of byte n: eight words whose
/// flags were put together with one shift each become one mask in the order of the bytes. (A multiplication for
/// each word would gather them too. That is slower, the more so as compilers try to vectorise it.)
#[inline]
fn transposed(mut bits: u64) -> u64 {
    for (shift, mask) in [(7, 0x00aa_00aa_00aa_00aa), (14, 0x0000_cccc_0000_cccc), (28, 0xf0f0_f0f0)] {
        let moved = (bits ^ (bits >> shift)) & mask;
        bits ^= moved ^ (moved << shift);
    }
    bits
}

/// Bit n is the parity of bits 0 to n.
fn parity(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}
