//! Redis strings. First form: to be replaced by the compact representation behind the same methods.

use std::borrow::Cow;

/// A string value: an integer, or bytes.
#[derive(Clone, Debug)]
pub struct Str {
    bytes: Vec<u8>,
    raw: bool,
}

/// Two strings are equal when their bytes are; the representation does not count.
impl PartialEq for Str {
    fn eq(&self, other: &Str) -> bool {
        self.bytes == other.bytes
    }
}

impl Str {
    /// As `SET` stores it: an integer when the bytes are exactly the decimal form of an i64 (at most 20 bytes).
    pub fn new(bytes: &[u8]) -> Str {
        Str { bytes: bytes.to_vec(), raw: false }
    }

    pub fn from_i64(value: i64) -> Str {
        Str { bytes: value.to_string().into_bytes(), raw: false }
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The whole value as bytes; an integer is formatted, a value in several chunks is joined (a copy).
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    /// The value as a list of contiguous pieces, without copying big values. Calls `piece` at least once unless empty.
    pub fn pieces(&self, mut piece: impl FnMut(&[u8])) {
        piece(&self.bytes);
    }

    /// The bytes `start..end` (already clamped to `len`).
    pub fn range(&self, start: usize, end: usize) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes[start..end])
    }

    /// The integer, when the value is exactly the decimal form of an i64 (what `INCR` accepts).
    pub fn as_i64(&self) -> Option<i64> {
        let text = std::str::from_utf8(&self.bytes).ok()?;
        let value: i64 = text.parse().ok()?;
        (value.to_string() == text).then_some(value)
    }

    /// `APPEND`: afterwards the encoding is raw.
    pub fn append(&mut self, tail: &[u8]) {
        self.bytes.extend_from_slice(tail);
        self.raw = true;
    }

    /// Overwrites from `offset`, growing with zero bytes as needed (`SETRANGE`, `SETBIT`): afterwards the encoding is raw.
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset..end].copy_from_slice(bytes);
        self.raw = true;
    }

    /// One byte, 0 beyond the end.
    pub fn byte_at(&self, index: usize) -> u8 {
        self.bytes.get(index).copied().unwrap_or(0)
    }

    /// `int`, `embstr` (at most 44 bytes, never modified in place) or `raw`.
    pub fn encoding_name(&self) -> &'static str {
        match () {
            () if self.raw => "raw",
            () if self.as_i64().is_some() => "int",
            () if self.bytes.len() <= 44 => "embstr",
            () => "raw",
        }
    }

    /// Bytes of memory this value takes outside its slot in the table.
    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}
