//! Just enough HTTP/1.1 for both ends of the bench: plain blocking sockets and one buffer per connection, so that
//! the tool itself costs as little as can be and what is measured is the thing in the middle.

use std::io::{self, Read};

use memchr::memmem;

/// Bytes that are read at once: large, so that a stream costs few system calls.
const BUFFER: usize = 256 * 1024;
/// A head longer than this is refused.
const LONGEST_HEAD: usize = 64 * 1024;

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_owned())
}

/// The first line and the header lines of a message, as text.
pub(crate) struct Head {
    text: String,
}

impl Head {
    /// The first line.
    pub(crate) fn first_line(&self) -> &str {
        self.text.split("\r\n").next().unwrap_or_default()
    }

    /// The value of a header, whose name is matched without case.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.text.split("\r\n").skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The status code of an answer.
    pub(crate) fn status(&self) -> io::Result<u16> {
        let code = self.first_line().split(' ').nth(1).and_then(|code| code.parse().ok());
        code.ok_or_else(|| invalid("no status in the answer"))
    }

    fn framing(&self) -> io::Result<Framing> {
        if let Some(coding) = self.value("transfer-encoding") {
            return if coding.eq_ignore_ascii_case("chunked") {
                Ok(Framing::Chunked)
            } else {
                Err(invalid("a transfer coding other than chunked"))
            };
        }
        match self.value("content-length") {
            Some(text) => Ok(Framing::Length(text.parse().map_err(|_| invalid("a bad content-length"))?)),
            None => Ok(Framing::Length(0)),
        }
    }
}

#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
}

/// The reading side of a connection.
pub(crate) struct Reader<R> {
    source: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl<R: Read> Reader<R> {
    /// Reads messages from `source`.
    pub(crate) fn new(source: R) -> Self {
        Self { source, buffer: vec![0; BUFFER].into_boxed_slice(), start: 0, end: 0 }
    }

    /// The connection itself, to write to it.
    pub(crate) fn source(&mut self) -> &mut R {
        &mut self.source
    }

    /// Reads more; 0 at the end of the stream.
    fn fill(&mut self) -> io::Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(read) => {
                    self.end += read;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn fill_or_fail(&mut self) -> io::Result<()> {
        if self.fill()? == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// The head of the next message; `None` when the other side has closed between two messages.
    pub(crate) fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            let waiting = &self.buffer[self.start..self.end];
            if let Some(length) = memmem::find(waiting, b"\r\n\r\n") {
                let text =
                    std::str::from_utf8(&waiting[..length]).map_err(|_| invalid("a head not in UTF-8"))?;
                let head = Head { text: text.to_owned() };
                self.start += length + 4;
                return Ok(Some(head));
            }
            if waiting.len() > LONGEST_HEAD {
                return Err(invalid("a head that is too long"));
            }
            let idle = waiting.is_empty();
            if self.fill()? == 0 {
                return if idle { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// Hands the body that follows `head` to `sink`, piece by piece.
    pub(crate) fn body(&mut self, head: &Head, mut sink: impl FnMut(&[u8])) -> io::Result<()> {
        match head.framing()? {
            Framing::Length(length) => self.take(length, &mut sink),
            Framing::Chunked => loop {
                let size = self.chunk_size()?;
                self.take(size, &mut sink)?;
                if !self.line()?.is_empty() {
                    return Err(invalid("no end of line after a chunk (trailers are not read)"));
                }
                if size == 0 {
                    return Ok(());
                }
            },
        }
    }

    fn chunk_size(&mut self) -> io::Result<usize> {
        let line = self.line()?;
        let digits = line.split(|&byte| byte == b';').next().unwrap_or_default();
        let digits = std::str::from_utf8(digits).map_err(|_| invalid("a bad chunk size"))?;
        usize::from_str_radix(digits.trim(), 16).map_err(|_| invalid("a bad chunk size"))
    }

    /// One line without its end.
    fn line(&mut self) -> io::Result<&[u8]> {
        loop {
            let waiting = &self.buffer[self.start..self.end];
            if let Some(length) = memmem::find(waiting, b"\r\n") {
                let from = self.start;
                self.start += length + 2;
                return Ok(&self.buffer[from..from + length]);
            }
            if waiting.len() > LONGEST_HEAD {
                return Err(invalid("a line that is too long"));
            }
            self.fill_or_fail()?;
        }
    }

    fn take(&mut self, mut length: usize, sink: &mut impl FnMut(&[u8])) -> io::Result<()> {
        while length > 0 {
            if self.start == self.end {
                self.fill_or_fail()?;
            }
            let piece = length.min(self.end - self.start);
            sink(&self.buffer[self.start..self.start + piece]);
            self.start += piece;
            length -= piece;
        }
        Ok(())
    }
}

/// Cuts `body` into the chunks of HTTP's chunked coding, without the last, empty one.
pub(crate) fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut framed = Vec::with_capacity(body.len() + body.len() / size * 16 + 16);
    for chunk in body.chunks(size) {
        framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
    }
    framed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expect: Option<&str>) {
        let mut reader = Reader::new(bytes);
        let mut body = Vec::new();
        let read = reader
            .head()
            .and_then(|head| reader.body(&head.unwrap(), |piece| body.extend_from_slice(piece)))
            .ok()
            .map(|()| String::from_utf8(body).unwrap());
        assert_eq!(read.as_deref(), expect);
    }

    #[test]
    fn reads_both_framings() {
        check(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", Some("abc"));
        check(b"HTTP/1.1 204 None\r\n\r\n", Some(""));
        check(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n",
            Some("abc"),
        );
        check(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", None);
        check(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", None);
        check(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", None);
    }

    #[test]
    fn chunks_read_back() {
        let body = vec![b'x'; 100];
        let mut message = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        message.extend(chunked(&body, 7));
        message.extend(b"0\r\n\r\n");
        check(&message, Some(&"x".repeat(100)));
    }
}
