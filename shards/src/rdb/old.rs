//! Packed forms that old files hold: ziplist, zipmap, and the intset, which is still in use. Read only, checked in full.
//!
//! ```text
//! ziplist   bytes: u32 LE | offset of the last entry: u32 LE | entries: u16 LE, 65535 = count them | entry … | 0xff
//! entry     bytes of the entry before: u8, or 0xfe + u32 LE | encoding | data
//! encoding  00xxxxxx                   a string of up to 63 bytes
//!           01xxxxxx xxxxxxxx          a string of up to 16383 bytes, big-endian
//!           10000000 + u32 BE          a string
//!           0xc0 0xd0 0xe0 0xf0 0xfe   a signed integer of 16, 32, 64, 24, 8 bits, little-endian
//!           0xf1 to 0xfd               the integers 0 to 12
//!
//! zipmap    pairs: u8, 254 and more = count them | (length key length free:u8 value, free unused bytes) … | 0xff
//! length    u8 up to 253, or 254 + u32 LE
//!
//! intset    bytes of an integer (2, 4 or 8): u32 LE | integers: u32 LE | integers, little-endian, ascending
//! ```

use std::num::NonZeroUsize;

const COUNT_UNKNOWN: u16 = u16::MAX;
const END: u8 = 0xff;

/// The bytes not yet looked at.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N).map(|bytes| bytes.try_into().expect("so many were taken"))
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }
}

/// The elements of a ziplist as strings. None: it is not valid.
pub fn ziplist(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut rest = Rest(bytes);
    let total = u32::from_le_bytes(rest.array()?) as usize;
    let last = u32::from_le_bytes(rest.array()?) as usize;
    let count = u16::from_le_bytes(rest.array()?);
    if total != bytes.len() {
        return None;
    }
    let (mut elements, mut before) = (Vec::new(), None);
    let mut last_at = bytes.len() - rest.0.len();
    while *rest.0.first()? != END {
        let at = bytes.len() - rest.0.len();
        let stated = match rest.u8()? {
            0xfe => u32::from_le_bytes(rest.array()?) as usize,
            short => short as usize,
        };
        if stated != before.map_or(0, NonZeroUsize::get) {
            return None;
        }
        elements.push(ziplist_element(&mut rest)?);
        before = NonZeroUsize::new(bytes.len() - rest.0.len() - at);
        last_at = at;
    }
    let counted = count == COUNT_UNKNOWN || count as usize == elements.len();
    (counted && rest.0.len() == 1 && last == last_at).then_some(elements)
}

fn ziplist_element(rest: &mut Rest<'_>) -> Option<Vec<u8>> {
    let first = rest.u8()?;
    let string_len = match first {
        0..=0x3f => first as usize,
        0x40..=0x7f => (first as usize & 0x3f) << 8 | rest.u8()? as usize,
        0x80 => u32::from_be_bytes(rest.array()?) as usize,
        _ => return ziplist_integer(first, rest).map(|value| value.to_string().into_bytes()),
    };
    rest.take(string_len).map(<[u8]>::to_vec)
}

fn ziplist_integer(encoding: u8, rest: &mut Rest<'_>) -> Option<i64> {
    Some(match encoding {
        0xc0 => i16::from_le_bytes(rest.array()?) as i64,
        0xd0 => i32::from_le_bytes(rest.array()?) as i64,
        0xe0 => i64::from_le_bytes(rest.array()?),
        0xf0 => {
            let [low, middle, high] = rest.array()?;
            (i32::from_le_bytes([0, low, middle, high]) >> 8) as i64
        }
        0xfe => i8::from_le_bytes(rest.array()?) as i64,
        0xf1..=0xfd => (encoding & 0x0f) as i64 - 1,
        _ => return None,
    })
}

/// The pairs of a zipmap. None: it is not valid.
pub fn zipmap(bytes: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut rest = Rest(bytes);
    let count = rest.u8()?;
    let mut pairs = Vec::new();
    while *rest.0.first()? != END {
        let key_len = zipmap_length(&mut rest)?;
        let key = rest.take(key_len)?.to_vec();
        let value_len = zipmap_length(&mut rest)?;
        let free = rest.u8()? as usize;
        let value = rest.take(value_len)?.to_vec();
        rest.take(free)?;
        pairs.push((key, value));
    }
    let counted = count >= 254 || count as usize == pairs.len();
    (counted && rest.0.len() == 1).then_some(pairs)
}

fn zipmap_length(rest: &mut Rest<'_>) -> Option<usize> {
    match rest.u8()? {
        254 => Some(u32::from_le_bytes(rest.array()?) as usize),
        END => None,
        short => Some(short as usize),
    }
}

/// The integers of an intset, ascending. None: it is not valid.
pub fn intset(bytes: &[u8]) -> Option<Vec<i64>> {
    let mut rest = Rest(bytes);
    let width = u32::from_le_bytes(rest.array()?);
    let count = u32::from_le_bytes(rest.array()?) as usize;
    let chunks = match width {
        2 | 4 | 8 if count.checked_mul(width as usize) == Some(rest.0.len()) => rest.0.chunks_exact(width as usize),
        _ => return None,
    };
    let integer = |chunk: &[u8]| {
        let negative = chunk[chunk.len() - 1] & 0x80 != 0;
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..chunk.len()].copy_from_slice(chunk);
        i64::from_le_bytes(wide)
    };
    let integers: Vec<i64> = chunks.map(integer).collect();
    integers.windows(2).all(|pair| pair[0] < pair[1]).then_some(integers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hexadecimal");
        digits.chunks(2).map(byte).collect()
    }

    #[test]
    fn a_ziplist_gives_its_elements() {
        // Entries: "ab", 5, -1 (8 bits), 1000 (16 bits), -70000 (24 bits), "" .
        let bytes = hex("24000000 21000000 0600 00 02 6162 04 f6 02 fe ff 03 c0 e803 04 f0 90eefe 05 00 ff");
        let mut bytes = bytes;
        let len = bytes.len() as u32;
        bytes[..4].copy_from_slice(&len.to_le_bytes());
        bytes[4..8].copy_from_slice(&(len - 3).to_le_bytes());
        let expected: Vec<Vec<u8>> = ["ab", "5", "-1", "1000", "-70000", ""].iter().map(|e| e.as_bytes().to_vec()).collect();
        assert_eq!(ziplist(&bytes), Some(expected));
        for at in 0..bytes.len() {
            assert_eq!(ziplist(&bytes[..at]), None);
        }
    }

    #[test]
    fn a_zipmap_gives_its_pairs() {
        let bytes = b"\x02\x03foo\x03\x00bar\x05hello\x05\x02worldxx\xff";
        let expected = vec![(b"foo".to_vec(), b"bar".to_vec()), (b"hello".to_vec(), b"world".to_vec())];
        assert_eq!(zipmap(bytes), Some(expected));
        for at in 0..bytes.len() {
            assert_eq!(zipmap(&bytes[..at]), None);
        }
    }

    #[test]
    fn an_intset_gives_its_integers_in_order() {
        assert_eq!(intset(b"\x02\0\0\0\x03\0\0\0\xff\xff\x01\0\x07\0"), Some(vec![-1, 1, 7]));
        assert_eq!(intset(b"\x02\0\0\0\x02\0\0\0\x07\0\x01\0"), None, "not ascending");
        assert_eq!(intset(b"\x02\0\0\0\x03\0\0\0\x07\0\x01\0"), None, "too short");
        assert_eq!(intset(b"\x03\0\0\0\0\0\0\0"), None, "no such width");
    }

    #[test]
    fn damaged_bytes_never_panic() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..50_000 {
            let mut bytes: Vec<u8> = (0..random.usize(..40)).map(|_| random.u8(..)).collect();
            if bytes.len() > 4 && random.bool() {
                let len = bytes.len() as u32;
                bytes[..4].copy_from_slice(&len.to_le_bytes());
            }
            let _ = (ziplist(&bytes), zipmap(&bytes), intset(&bytes));
        }
    }
}
