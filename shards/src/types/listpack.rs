//! The listpack: a run of small elements in one block of memory, byte for byte as Redis keeps and saves it.
//!
//! ```text
//! listpack   total bytes: u32 LE | elements: u16 LE, 65535 = count them | element … | 0xff
//! element    encoding | data | length of encoding and data, so that the run can be read backwards
//!
//! encoding   0xxxxxxx                     an integer of 7 bits
//!            10xxxxxx                     a string of up to 63 bytes
//!            110xxxxx xxxxxxxx            a signed integer of 13 bits, big-endian
//!            1110xxxx xxxxxxxx            a string of up to 4095 bytes, big-endian
//!            0xf0 + u32 LE                a string
//!            0xf1 0xf2 0xf3 0xf4          a signed integer of 16, 24, 32, 64 bits, little-endian
//! back       1 to 5 bytes, 7 bits each, the most significant first; all but the first have the top bit set
//! ```
//! A string that is exactly the decimal form of an i64 is kept as an integer.
//!
//! A listpack from outside is valid when: 1. total bytes is its length; 2. the count is that of the elements, or 65535;
//! 3. every element has a known encoding, lies inside, and is followed by the shortest back-length that says its length;
//! 4. it ends with 0xff. `from_bytes` checks all of it, so nothing else here has to.

use super::string::{Decimal, parse_i64};
use std::borrow::Cow;

const HEADER_BYTES: usize = 6;
const END: u8 = 0xff;
const COUNT_UNKNOWN: u16 = u16::MAX;

/// Redis adds no element that would make a listpack bigger than this.
pub const LISTPACK_BYTES_MAX: usize = 1 << 30;

#[derive(Clone, PartialEq, Eq)]
pub struct Listpack(Vec<u8>);

/// Where an element begins: an offset in the block. Valid until the next change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pos(usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packed<'a> {
    Int(i64),
    Bytes(&'a [u8]),
}

impl<'a> Packed<'a> {
    /// The element as a string.
    pub fn bytes(self) -> Cow<'a, [u8]> {
        match self {
            Packed::Int(value) => Cow::Owned(Decimal::new(value).bytes().to_vec()),
            Packed::Bytes(bytes) => Cow::Borrowed(bytes),
        }
    }

    /// Calls `with` with the element as a string, without a copy on the heap.
    pub fn with_bytes<R>(self, with: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Packed::Int(value) => with(Decimal::new(value).bytes()),
            Packed::Bytes(bytes) => with(bytes),
        }
    }

    pub fn len(self) -> usize {
        self.with_bytes(<[u8]>::len)
    }

    pub fn is_empty(self) -> bool {
        self == Packed::Bytes(b"")
    }

    /// The element as an integer, when it is one.
    pub fn int(self) -> Option<i64> {
        match self {
            Packed::Int(value) => Some(value),
            Packed::Bytes(_) => None,
        }
    }

    /// What a string becomes when it is put into a listpack.
    pub fn of(bytes: &'a [u8]) -> Packed<'a> {
        parse_i64(bytes).map_or(Packed::Bytes(bytes), Packed::Int)
    }
}

impl Default for Listpack {
    fn default() -> Listpack {
        Listpack::new()
    }
}

impl Listpack {
    pub fn new() -> Listpack {
        let mut pack = Listpack(Vec::with_capacity(HEADER_BYTES + 1));
        pack.0.extend_from_slice(&(HEADER_BYTES as u32 + 1).to_le_bytes());
        pack.0.extend_from_slice(&[0, 0, END]);
        pack
    }

    /// A listpack from outside. None: it is not valid.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Listpack> {
        let (header, last) = (bytes.get(..HEADER_BYTES)?, *bytes.last()?);
        let total = u32::from_le_bytes(header[..4].try_into().expect("4 bytes"));
        if total as usize != bytes.len() || bytes.len() <= HEADER_BYTES || last != END {
            return None;
        }
        let stated = u16::from_le_bytes([header[4], header[5]]);
        let (mut at, mut count) = (HEADER_BYTES, 0usize);
        while at < bytes.len() - 1 {
            at += valid_element(&bytes[at..bytes.len() - 1])?;
            count += 1;
        }
        let counted = stated == COUNT_UNKNOWN || count == stated as usize;
        counted.then(|| {
            let mut pack = Listpack(bytes);
            pack.set_count(count);
            pack
        })
    }

    /// Total bytes, as Redis counts them against its limits.
    pub fn total_bytes(&self) -> usize {
        self.0.len()
    }

    /// Bytes of memory outside of the handle.
    pub fn heap_bytes(&self) -> usize {
        self.0.capacity()
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match u16::from_le_bytes([self.0[4], self.0[5]]) {
            COUNT_UNKNOWN => self.iter().count(),
            count => count as usize,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.len() == HEADER_BYTES + 1
    }

    // --- Looking -----------------------------------------------------------------------------------------------------

    pub fn first(&self) -> Option<Pos> {
        self.existing(HEADER_BYTES)
    }

    pub fn last(&self) -> Option<Pos> {
        self.before(self.0.len() - 1)
    }

    pub fn next(&self, pos: Pos) -> Option<Pos> {
        self.existing(self.after(pos))
    }

    pub fn prev(&self, pos: Pos) -> Option<Pos> {
        self.before(pos.0)
    }

    pub fn get(&self, pos: Pos) -> Packed<'_> {
        decode(&self.0[pos.0..])
    }

    /// The element at an index counted from the start. O(n).
    pub fn at(&self, index: usize) -> Option<Pos> {
        let len = self.len();
        if index >= len {
            return None;
        }
        let mut pos;
        if index <= len / 2 {
            pos = self.first()?;
            for _ in 0..index {
                pos = self.next(pos)?;
            }
        } else {
            pos = self.last()?;
            for _ in index + 1..len {
                pos = self.prev(pos)?;
            }
        }
        Some(pos)
    }

    pub fn iter(&self) -> Elements<'_> {
        Elements { pack: self, at: HEADER_BYTES }
    }

    /// From an element on.
    pub fn iter_from(&self, pos: Pos) -> Elements<'_> {
        Elements { pack: self, at: pos.0 }
    }

    /// The first element equal to `bytes`, from `from` on, looking at one in `step`.
    pub fn find(&self, from: Option<Pos>, bytes: &[u8], step: usize) -> Option<Pos> {
        let wanted = Packed::of(bytes);
        let mut at = from?.0;
        while self.0[at] != END {
            if decode(&self.0[at..]) == wanted {
                return Some(Pos(at));
            }
            for _ in 0..step {
                if self.0[at] == END {
                    return None;
                }
                at = self.after(Pos(at));
            }
        }
        None
    }

    fn existing(&self, at: usize) -> Option<Pos> {
        (self.0[at] != END).then_some(Pos(at))
    }

    /// Offset behind an element.
    fn after(&self, pos: Pos) -> usize {
        let len = encoded_bytes(&self.0[pos.0..]);
        pos.0 + len + back_bytes(len)
    }

    fn before(&self, at: usize) -> Option<Pos> {
        if at == HEADER_BYTES {
            return None;
        }
        let (mut len, mut shift, mut back) = (0, 0, at - 1);
        loop {
            len |= ((self.0[back] & 0x7f) as usize) << shift;
            if self.0[back] & 0x80 == 0 {
                return Some(Pos(back - len));
            }
            (shift, back) = (shift + 7, back - 1);
        }
    }

    // --- Changing ----------------------------------------------------------------------------------------------------

    /// Bytes that an element would take.
    pub fn element_bytes(bytes: &[u8]) -> usize {
        let len = match Packed::of(bytes) {
            Packed::Int(value) => int_bytes(value),
            Packed::Bytes(bytes) => string_header_bytes(bytes.len()) + bytes.len(),
        };
        len + back_bytes(len)
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.splice(self.0.len() - 1, 0, &[bytes]);
    }

    pub fn push_int(&mut self, value: i64) {
        self.push(Decimal::new(value).bytes());
    }

    pub fn push_front(&mut self, bytes: &[u8]) {
        self.splice(HEADER_BYTES, 0, &[bytes]);
    }

    /// Puts elements in front of `pos`; gives the place of the first of them.
    pub fn insert(&mut self, pos: Pos, elements: &[&[u8]]) -> Pos {
        self.splice(pos.0, 0, elements);
        pos
    }

    /// Puts elements behind all others.
    pub fn append(&mut self, elements: &[&[u8]]) {
        self.splice(self.0.len() - 1, 0, elements);
    }

    pub fn replace(&mut self, pos: Pos, bytes: &[u8]) {
        let old = self.after(pos) - pos.0;
        self.splice_counted(pos.0, old, 1, &[bytes]);
    }

    /// Takes `count` elements out, from `pos` on; gives the one behind them.
    pub fn remove(&mut self, pos: Pos, count: usize) -> Option<Pos> {
        let (mut end, mut removed) = (pos.0, 0);
        while removed < count && self.0[end] != END {
            end = self.after(Pos(end));
            removed += 1;
        }
        self.splice_counted(pos.0, end - pos.0, removed, &[]);
        self.existing(pos.0)
    }

    /// Splits off everything from `pos` on.
    pub fn split_off(&mut self, pos: Pos) -> Listpack {
        let count = self.iter_from(pos).count();
        let mut right = Listpack(Vec::with_capacity(HEADER_BYTES + self.0.len() - pos.0));
        right.0.extend_from_slice(&[0; HEADER_BYTES]);
        right.0.extend_from_slice(&self.0[pos.0..]);
        right.set_count(count);
        right.set_total();
        let left = self.len() - count;
        self.0.truncate(pos.0);
        self.0.push(END);
        self.0.shrink_to_fit();
        self.set_count(left);
        self.set_total();
        right
    }

    fn splice(&mut self, at: usize, remove_bytes: usize, elements: &[&[u8]]) {
        self.splice_counted(at, remove_bytes, 0, elements);
    }

    fn splice_counted(&mut self, at: usize, remove_bytes: usize, removed: usize, elements: &[&[u8]]) {
        let count = self.len() - removed + elements.len();
        let added: usize = elements.iter().map(|bytes| Listpack::element_bytes(bytes)).sum();
        let (len, tail) = (self.0.len(), at + remove_bytes);
        let new_len = len - remove_bytes + added;
        if added > remove_bytes {
            self.reserve(added - remove_bytes);
            self.0.resize(new_len, 0);
        }
        self.0.copy_within(tail..len, at + added);
        self.0.truncate(new_len);
        let mut to = at;
        for bytes in elements {
            to += encode(&mut self.0[to..], bytes);
        }
        if self.0.capacity() > 64 && self.0.capacity() / 2 > self.0.len() {
            self.0.shrink_to(new_len + new_len / 8);
        }
        self.set_count(count);
        self.set_total();
    }

    /// Grows by an eighth: most packs stay small and many.
    fn reserve(&mut self, more: usize) {
        let needed = self.0.len() + more;
        if needed > self.0.capacity() {
            let room = (needed + needed / 8).next_multiple_of(16);
            self.0.reserve_exact(room - self.0.len());
        }
    }

    fn set_count(&mut self, count: usize) {
        let stored = u16::try_from(count).unwrap_or(COUNT_UNKNOWN);
        self.0[4..HEADER_BYTES].copy_from_slice(&stored.to_le_bytes());
    }

    fn set_total(&mut self) {
        let total = u32::try_from(self.0.len()).expect("no listpack grows beyond LISTPACK_BYTES_MAX");
        self.0[..4].copy_from_slice(&total.to_le_bytes());
    }
}

impl std::fmt::Debug for Listpack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

pub struct Elements<'a> {
    pack: &'a Listpack,
    at: usize,
}

impl<'a> Elements<'a> {
    /// Of the next element.
    pub fn pos(&self) -> Option<Pos> {
        self.pack.existing(self.at)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Packed<'a>;

    fn next(&mut self) -> Option<Packed<'a>> {
        let pos = self.pack.existing(self.at)?;
        self.at = self.pack.after(pos);
        Some(self.pack.get(pos))
    }
}

// --- One element -------------------------------------------------------------------------------------------------------

fn int_bytes(value: i64) -> usize {
    match value {
        0..=127 => 1,
        -4096..=4095 => 2,
        -0x8000..=0x7fff => 3,
        -0x80_0000..=0x7f_ffff => 4,
        -0x8000_0000..=0x7fff_ffff => 5,
        _ => 9,
    }
}

fn string_header_bytes(len: usize) -> usize {
    match len {
        0..=63 => 1,
        64..=4095 => 2,
        _ => 5,
    }
}

fn back_bytes(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..16383 => 2,
        16383..2097151 => 3,
        2097151..268435455 => 4,
        _ => 5,
    }
}

/// Encodes an element with its back-length; gives their bytes.
fn encode(out: &mut [u8], bytes: &[u8]) -> usize {
    let len = match Packed::of(bytes) {
        Packed::Int(value) => encode_int(out, value),
        Packed::Bytes(bytes) => encode_string(out, bytes),
    };
    let back = back_bytes(len);
    for (i, byte) in out[len..len + back].iter_mut().enumerate() {
        let continues = if i == 0 { 0 } else { 0x80 };
        *byte = (len >> (7 * (back - 1 - i))) as u8 & 0x7f | continues;
    }
    len + back
}

fn encode_int(out: &mut [u8], value: i64) -> usize {
    let len = int_bytes(value);
    match len {
        1 => out[0] = value as u8,
        2 => out[..2].copy_from_slice(&(0b1100_0000_0000_0000 | (value as u16 & 0x1fff)).to_be_bytes()),
        _ => {
            out[0] = match len {
                3 => 0xf1,
                4 => 0xf2,
                5 => 0xf3,
                _ => 0xf4,
            };
            out[1..len].copy_from_slice(&value.to_le_bytes()[..len - 1]);
        }
    }
    len
}

fn encode_string(out: &mut [u8], bytes: &[u8]) -> usize {
    let header = string_header_bytes(bytes.len());
    match header {
        1 => out[0] = 0x80 | bytes.len() as u8,
        2 => out[..2].copy_from_slice(&(0xe000 | bytes.len() as u16).to_be_bytes()),
        _ => {
            out[0] = 0xf0;
            out[1..5].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        }
    }
    out[header..header + bytes.len()].copy_from_slice(bytes);
    header + bytes.len()
}

/// Bytes of encoding and data of the element that `bytes` begins with.
fn encoded_bytes(bytes: &[u8]) -> usize {
    match bytes[0] {
        0..=0x7f => 1,
        first @ 0x80..=0xbf => 1 + (first & 0x3f) as usize,
        0xc0..=0xdf => 2,
        first @ 0xe0..=0xef => 2 + ((first as usize & 0x0f) << 8 | bytes[1] as usize),
        0xf0 => 5 + u32::from_le_bytes(bytes[1..5].try_into().expect("4 bytes")) as usize,
        0xf1 => 3,
        0xf2 => 4,
        0xf3 => 5,
        0xf4 => 9,
        other => unreachable!("{other:#x} begins no element"),
    }
}

fn decode(bytes: &[u8]) -> Packed<'_> {
    let len = encoded_bytes(bytes);
    match bytes[0] {
        first @ 0..=0x7f => Packed::Int(first as i64),
        0x80..=0xbf => Packed::Bytes(&bytes[1..len]),
        0xc0..=0xdf => {
            let value = u16::from_be_bytes([bytes[0], bytes[1]]) & 0x1fff;
            Packed::Int((((value << 3) as i16) >> 3) as i64)
        }
        0xe0..=0xef => Packed::Bytes(&bytes[2..len]),
        0xf0 => Packed::Bytes(&bytes[5..len]),
        _ => {
            let negative = bytes[len - 1] & 0x80 != 0;
            let mut value = [if negative { 0xff } else { 0 }; 8];
            value[..len - 1].copy_from_slice(&bytes[1..len]);
            Packed::Int(i64::from_le_bytes(value))
        }
    }
}

/// Bytes of the element with its back-length, when it is valid and lies inside `bytes`.
fn valid_element(bytes: &[u8]) -> Option<usize> {
    let header = match bytes[0] {
        0xe0..=0xef => 2,
        0xf0 => 5,
        0xf5.. => return None,
        _ => 1,
    };
    bytes.get(..header)?;
    let len = encoded_bytes(bytes);
    let back = bytes.get(len..len.checked_add(back_bytes(len))?)?;
    let mut stated = 0usize;
    for (i, byte) in back.iter().enumerate() {
        if (*byte & 0x80 == 0) != (i == 0) {
            return None;
        }
        stated = stated << 7 | (*byte & 0x7f) as usize;
    }
    (stated == len).then_some(len + back.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pack: &Listpack, model: &[Vec<u8>]) {
        assert_eq!(pack.len(), model.len());
        assert!(pack.iter().map(|element| element.bytes().into_owned()).eq(model.iter().cloned()));
        let mut backwards = Vec::new();
        let mut pos = pack.last();
        while let Some(at) = pos {
            backwards.push(pack.get(at).bytes().into_owned());
            pos = pack.prev(at);
        }
        backwards.reverse();
        assert_eq!(backwards, model);
        assert_eq!(Listpack::from_bytes(pack.as_bytes().to_vec()).as_ref(), Some(pack));
    }

    fn element(random: &mut fastrand::Rng) -> Vec<u8> {
        match random.u8(..12) {
            0 => vec![b'x'; random.usize(60..70)],
            1 => vec![b'y'; random.usize(4090..4100)],
            2 => vec![0xff; random.usize(120..130)],
            3 => random.i64(..).to_string().into_bytes(),
            4 => (random.i64(..) >> random.u32(..64)).to_string().into_bytes(),
            5 => vec![b'z'; random.usize(16370..16390)],
            _ => vec![b'a' + random.u8(..3); random.usize(..4)],
        }
    }

    #[test]
    fn any_sequence_of_changes_equals_the_same_on_a_vector() {
        for seed in 0..100 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut pack, mut model) = (Listpack::new(), Vec::<Vec<u8>>::new());
            for _ in 0..100 {
                let new = element(&mut random);
                let at = random.usize(..=model.len());
                match random.u8(..7) {
                    0 => (pack.push(&new), model.push(new)).1,
                    1 => (pack.push_front(&new), model.insert(0, new)).1,
                    2 if at < model.len() => {
                        pack.replace(pack.at(at).expect("there"), &new);
                        model[at] = new;
                    }
                    3 if at < model.len() => {
                        let count = random.usize(1..4);
                        let next = pack.remove(pack.at(at).expect("there"), count);
                        model.drain(at..(at + count).min(model.len()));
                        assert_eq!(next, pack.at(at));
                    }
                    4 if at < model.len() => {
                        let right = pack.split_off(pack.at(at).expect("there"));
                        check(&right, &model.split_off(at));
                    }
                    5 if at < model.len() => {
                        pack.insert(pack.at(at).expect("there"), &[&new, b"12"]);
                        model.splice(at..at, [new, b"12".to_vec()]);
                    }
                    _ => {
                        let found = pack.find(pack.first(), &new, 1);
                        assert_eq!(found, model.iter().position(|e| *e == new).and_then(|at| pack.at(at)));
                    }
                }
                check(&pack, &model);
            }
        }
    }

    #[test]
    fn the_bytes_are_those_of_redis() {
        let mut pack = Listpack::new();
        pack.append(&[b"a", b"127", b"-1", b"4095", b"-4097", b"100000", b"9223372036854775807", b"01"]);
        let expected = b"\x2f\x00\x00\x00\x08\x00\x81a\x02\x7f\x01\xdf\xff\x02\xcf\xff\x02\xf1\xff\xef\x03\xf2\xa0\x86\x01\x04\
                         \xf4\xff\xff\xff\xff\xff\xff\xff\x7f\x09\x8201\x03\xff";
        let mut expected = expected.to_vec();
        expected[0] = expected.len() as u8;
        assert_eq!(pack.as_bytes(), expected);
    }

    #[test]
    fn a_damaged_listpack_is_refused_or_another_but_never_a_panic() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut pack = Listpack::new();
        pack.append(&[b"abc", b"12", &[b'x'; 100], b"-70000", b"", &[b'y'; 5000]]);
        for _ in 0..20_000 {
            let mut bytes = pack.as_bytes().to_vec();
            let at = random.usize(..bytes.len().min(160));
            bytes[at] = random.u8(..);
            if random.bool() {
                bytes.truncate(random.usize(..bytes.len()));
            }
            if let Some(pack) = Listpack::from_bytes(bytes) {
                pack.iter().for_each(|element| drop(element.bytes()));
            }
        }
    }

    #[test]
    fn more_than_65534_elements_are_counted() {
        let mut pack = Listpack::new();
        let elements = vec![&b"1"[..]; 70_000];
        pack.append(&elements);
        assert_eq!(pack.len(), 70_000);
        pack.remove(pack.first().expect("there"), 10_000);
        assert_eq!(pack.len(), 60_000);
    }
}
