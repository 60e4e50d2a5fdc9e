//! Bytes of a file, buffered, counted and checksummed.

use super::crc64::Crc64;
use crate::error::{Error, Result};

/// Where bytes come from. Called for whole buffers, never for single bytes.
pub trait Source {
    /// Fills the beginning of `buf`; 0 = the end.
    fn read(&mut self, buf: &mut [u8]) -> Result<usize>;
}

impl Source for &[u8] {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        let len = buf.len().min(self.len());
        let (head, tail) = self.split_at(len);
        buf[..len].copy_from_slice(head);
        *self = tail;
        Ok(len)
    }
}

/// A source from a blocking file.
pub struct IoSource<R> {
    pub inner: R,
    pub path: String,
}

impl<R: std::io::Read> Source for IoSource<R> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        loop {
            match self.inner.read(buf) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                result => return result.map_err(|error| Error::io("reading", &*self.path, &error)),
            }
        }
    }
}

const BUFFER_BYTES: usize = 256 * 1024;
/// A claimed length is believed this far ahead of the bytes that have arrived.
const GROWTH_STEP: usize = 1024 * 1024;

/// ```text
/// buffer   [ consumed, in the crc | consumed | not yet consumed | free ]
///           ^ at `base` in the file  ^ summed   ^ pos            ^ end
/// ```
pub struct Input<S> {
    source: S,
    path: String,
    buffer: Box<[u8]>,
    summed: usize,
    pos: usize,
    end: usize,
    base: u64,
    crc: Crc64,
}

impl<S: Source> Input<S> {
    pub fn new(source: S, path: impl Into<String>) -> Input<S> {
        Input::with_buffer(source, path, BUFFER_BYTES)
    }

    /// At least as many bytes as the longest `peek` and `array` need.
    pub fn with_buffer(source: S, path: impl Into<String>, buffer_bytes: usize) -> Input<S> {
        let buffer = vec![0; buffer_bytes].into_boxed_slice();
        Input { source, path: path.into(), buffer, summed: 0, pos: 0, end: 0, base: 0, crc: Crc64::new() }
    }

    /// Of the next byte, in the file.
    pub fn offset(&self) -> u64 {
        self.base + self.pos as u64
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// Checksum of everything consumed so far.
    pub fn crc(&mut self) -> u64 {
        self.crc.update(&self.buffer[self.summed..self.pos]);
        self.summed = self.pos;
        self.crc.value()
    }

    pub fn corrupt(&self, offset: u64, cause: impl Into<String>) -> Error {
        Error::corrupt(&*self.path, offset, cause)
    }

    fn ended(&self, missing: u64) -> Error {
        self.corrupt(self.base + self.end as u64, format!("the file ends here, {missing} more bytes expected"))
    }

    /// What is buffered, without consuming it; at least `want` bytes unless the file ends before.
    pub fn peek(&mut self, want: usize) -> Result<&[u8]> {
        assert!(want <= self.buffer.len());
        while self.end - self.pos < want && self.refill()? > 0 {}
        Ok(&self.buffer[self.pos..self.end])
    }

    /// Moves what is left to the front and reads once behind it. Gives the number of new bytes.
    fn refill(&mut self) -> Result<usize> {
        self.crc();
        self.buffer.copy_within(self.pos..self.end, 0);
        self.base += self.pos as u64;
        self.end -= self.pos;
        (self.pos, self.summed) = (0, 0);
        let len = self.source.read(&mut self.buffer[self.end..])?;
        self.end += len;
        Ok(len)
    }

    /// Consumes bytes that `peek` has shown.
    pub fn consume(&mut self, len: usize) {
        assert!(len <= self.end - self.pos);
        self.pos += len;
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        if self.end - self.pos < N {
            let available = self.peek(N)?.len();
            if available < N {
                return Err(self.ended((N - available) as u64));
            }
        }
        let array = self.buffer[self.pos..self.pos + N].try_into().expect("N bytes were peeked");
        self.pos += N;
        Ok(array)
    }

    pub fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// `len` bytes, whatever a damaged file claims: memory grows only as bytes arrive.
    pub fn bytes(&mut self, len: u64) -> Result<Vec<u8>> {
        let start = self.offset();
        match self.bytes_unless_end(len)? {
            Some(bytes) => Ok(bytes),
            None => Err(self.ended(len - (self.offset() - start))),
        }
    }

    /// The next `len` bytes where they lie, if they are buffered and not many; consumes them.
    pub fn borrow(&mut self, len: u64) -> Option<&[u8]> {
        let start = self.pos;
        if len > (self.end - start) as u64 {
            return None;
        }
        self.pos += len as usize;
        Some(&self.buffer[start..self.pos])
    }

    /// `None` when the file ends before; then all of it was consumed.
    pub fn bytes_unless_end(&mut self, len: u64) -> Result<Option<Vec<u8>>> {
        let mut bytes = Vec::with_capacity(len.min(GROWTH_STEP as u64) as usize);
        while (bytes.len() as u64) < len {
            match self.piece(len - bytes.len() as u64)? {
                [] => return Ok(None),
                piece => bytes.extend_from_slice(piece),
            }
        }
        Ok(Some(bytes))
    }

    pub fn skip(&mut self, mut len: u64) -> Result<()> {
        while len > 0 {
            match self.piece(len)?.len() {
                0 => return Err(self.ended(len)),
                skipped => len -= skipped as u64,
            }
        }
        Ok(())
    }

    /// Consumes at most `max` bytes; none only at the end of the file.
    fn piece(&mut self, max: u64) -> Result<&[u8]> {
        if self.pos == self.end {
            self.refill()?;
        }
        let start = self.pos;
        let len = ((self.end - start) as u64).min(max) as usize;
        self.pos += len;
        Ok(&self.buffer[start..start + len])
    }
}
