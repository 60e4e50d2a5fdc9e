//! Redis strings, in 16 bytes plus what does not fit.
//!
//! | form | when | OBJECT ENCODING |
//! |---|---|---|
//! | `Int` | exactly the decimal form of an i64 | int |
//! | `Inline` | at most 14 bytes | embstr |
//! | `Exact` | up to `BIG_STRING_BYTES`: one block of just that size | embstr up to 44 bytes, then raw |
//! | `Grown` | up to `BIG_STRING_BYTES`, modified in place: a vector with room to grow | raw |
//! | `Chunked` | above `BIG_STRING_BYTES`: shared chunks | raw |
//!
//! A value is `Chunked` exactly when it is longer than `BIG_STRING_BYTES`, so equal values have the same or comparable forms.

use super::chunks::Chunks;
use super::thin_bytes::ThinBytes;
use std::borrow::Cow;

/// Longer strings are kept in chunks that clones share: above this a copy would be felt as a pause.
pub const BIG_STRING_BYTES: usize = 64 * 1024;

/// The longest string that Redis calls `embstr`.
const EMBSTR_BYTES_MAX: usize = 44;

/// What fits beside tag and length in 16 bytes.
const INLINE_BYTES_MAX: usize = 14;

/// `-9223372036854775808`.
const DECIMAL_BYTES_MAX: usize = 20;

/// A string value: an integer, or bytes.
#[derive(Clone)]
pub struct Str(Form);

#[derive(Clone)]
enum Form {
    Int(i64),
    Inline {
        len: u8,
        bytes: [u8; INLINE_BYTES_MAX],
    },
    Exact(ThinBytes),
    /// Boxed, although a `Vec` is on the heap already: inside, its 24 bytes would make every value bigger.
    #[allow(clippy::box_collection)]
    Grown(Box<Vec<u8>>),
    Chunked(Box<Chunks>),
}

const _: () = assert!(size_of::<Str>() == 16);

impl Str {
    /// As `SET` stores it: an integer when the bytes are exactly the decimal form of an i64 (at most 20 bytes).
    pub fn new(bytes: &[u8]) -> Str {
        parse_i64(bytes).map_or_else(|| Str::from_bytes(bytes), Str::from_i64)
    }

    /// As `INCRBYFLOAT` stores its sum: digits stay bytes.
    pub fn from_bytes(bytes: &[u8]) -> Str {
        Str(match bytes.len() {
            len @ 0..=INLINE_BYTES_MAX => {
                let mut inline = [0; INLINE_BYTES_MAX];
                inline[..len].copy_from_slice(bytes);
                Form::Inline { len: len as u8, bytes: inline }
            }
            0..=BIG_STRING_BYTES => Form::Exact(ThinBytes::new(bytes)),
            _ => Form::Chunked(Box::new(Chunks::new(bytes))),
        })
    }

    pub fn from_i64(value: i64) -> Str {
        Str(Form::Int(value))
    }

    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Int(value) => Decimal::new(*value).bytes().len(),
            Form::Chunked(chunks) => chunks.len(),
            form => form.contiguous().len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The whole value as bytes; an integer is formatted, a value in several chunks is joined (a copy).
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match &self.0 {
            Form::Int(value) => Cow::Owned(Decimal::new(*value).bytes().to_vec()),
            Form::Chunked(chunks) => chunks.range(0, chunks.len()),
            form => Cow::Borrowed(form.contiguous()),
        }
    }

    /// The value as a list of contiguous pieces, without copying big values. Calls `piece` at least once unless empty.
    pub fn pieces(&self, mut piece: impl FnMut(&[u8])) {
        match &self.0 {
            Form::Int(value) => piece(Decimal::new(*value).bytes()),
            Form::Chunked(chunks) => chunks.pieces().for_each(piece),
            form => piece(form.contiguous()),
        }
    }

    /// The bytes `start..end` (already clamped to `len`).
    pub fn range(&self, start: usize, end: usize) -> Cow<'_, [u8]> {
        match &self.0 {
            Form::Int(value) => Cow::Owned(Decimal::new(*value).bytes()[start..end].to_vec()),
            Form::Chunked(chunks) => chunks.range(start, end),
            form => Cow::Borrowed(&form.contiguous()[start..end]),
        }
    }

    /// The integer, when the value is exactly the decimal form of an i64 (what `INCR` accepts).
    pub fn as_i64(&self) -> Option<i64> {
        match &self.0 {
            Form::Int(value) => Some(*value),
            Form::Chunked(_) => None,
            form => parse_i64(form.contiguous()),
        }
    }

    /// `APPEND`: afterwards the encoding is raw.
    pub fn append(&mut self, tail: &[u8]) {
        match self.modifiable(self.len() + tail.len()) {
            Form::Grown(bytes) => bytes.extend_from_slice(tail),
            Form::Chunked(chunks) => chunks.append(tail),
            _ => unreachable!("modifiable() gives one of these two"),
        }
    }

    /// Overwrites from `offset`, growing with zero bytes as needed (`SETRANGE`, `SETBIT`): afterwards the encoding is raw.
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        match self.modifiable(end.max(self.len())) {
            Form::Grown(all) => {
                if all.len() < end {
                    all.resize(end, 0);
                }
                all[offset..end].copy_from_slice(bytes);
            }
            Form::Chunked(chunks) => chunks.write_at(offset, bytes),
            _ => unreachable!("modifiable() gives one of these two"),
        }
    }

    /// As Redis makes a string ready to be written into: the same bytes, with the encoding raw.
    pub fn make_raw(&mut self) {
        self.modifiable(self.len());
    }

    /// One byte, 0 beyond the end.
    pub fn byte_at(&self, index: usize) -> u8 {
        match &self.0 {
            Form::Int(value) => Decimal::new(*value).bytes().get(index).copied().unwrap_or(0),
            Form::Chunked(chunks) => chunks.byte_at(index),
            form => form.contiguous().get(index).copied().unwrap_or(0),
        }
    }

    /// `int`, `embstr` (at most 44 bytes, never modified in place) or `raw`.
    pub fn encoding_name(&self) -> &'static str {
        match &self.0 {
            Form::Int(_) => "int",
            Form::Inline { .. } => "embstr",
            Form::Exact(bytes) if bytes.len() <= EMBSTR_BYTES_MAX => "embstr",
            Form::Exact(_) | Form::Grown(_) | Form::Chunked(_) => "raw",
        }
    }

    /// Bytes of memory this value takes outside its slot in the table. O(1).
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Form::Int(_) | Form::Inline { .. } => 0,
            Form::Exact(bytes) => bytes.len(),
            Form::Grown(bytes) => size_of::<Vec<u8>>() + bytes.capacity(),
            Form::Chunked(chunks) => chunks.heap_bytes(),
        }
    }

    /// Frees up to `parts` chunks of a big string; true when the rest can be dropped at once. The bytes are gone afterwards.
    pub fn free_some(&mut self, parts: usize) -> bool {
        match &mut self.0 {
            Form::Chunked(chunks) => chunks.free_some(parts),
            _ => true,
        }
    }

    /// Makes the value `Grown` or `Chunked`, whichever suits a length of `len_after`.
    fn modifiable(&mut self, len_after: usize) -> &mut Form {
        if len_after > BIG_STRING_BYTES {
            if !matches!(self.0, Form::Chunked(_)) {
                self.0 = Form::Chunked(Box::new(Chunks::new(&self.bytes())));
            }
        } else if !matches!(self.0, Form::Grown(_)) {
            let mut bytes = Vec::with_capacity(len_after);
            self.pieces(|piece| bytes.extend_from_slice(piece));
            self.0 = Form::Grown(Box::new(bytes));
        }
        &mut self.0
    }
}

impl Form {
    /// The bytes of a form that has them in one piece; `Int` and `Chunked` are handled by the caller.
    fn contiguous(&self) -> &[u8] {
        match self {
            Form::Inline { len, bytes } => &bytes[..*len as usize],
            Form::Exact(bytes) => bytes,
            Form::Grown(bytes) => bytes,
            Form::Int(_) | Form::Chunked(_) => unreachable!("the caller handles integers and chunks"),
        }
    }
}

/// Two strings are equal when their bytes are; the representation does not count.
impl PartialEq for Str {
    fn eq(&self, other: &Str) -> bool {
        match (&self.0, &other.0) {
            (Form::Int(a), Form::Int(b)) => a == b,
            (Form::Chunked(a), Form::Chunked(b)) => a == b,
            (Form::Chunked(_), _) | (_, Form::Chunked(_)) => false,
            _ => self.bytes() == other.bytes(),
        }
    }
}

impl std::fmt::Debug for Str {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Str({} {:?})", self.encoding_name(), String::from_utf8_lossy(&self.bytes()))
    }
}

/// An integer's decimal form, on the stack.
pub(super) struct Decimal {
    text: [u8; DECIMAL_BYTES_MAX],
    start: usize,
}

impl Decimal {
    pub(super) fn new(value: i64) -> Decimal {
        let mut decimal = Decimal { text: [0; DECIMAL_BYTES_MAX], start: DECIMAL_BYTES_MAX };
        let mut left = value.unsigned_abs();
        loop {
            decimal.push_front(b'0' + (left % 10) as u8);
            left /= 10;
            if left == 0 {
                break;
            }
        }
        if value < 0 {
            decimal.push_front(b'-');
        }
        decimal
    }

    fn push_front(&mut self, digit: u8) {
        self.start -= 1;
        self.text[self.start] = digit;
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.text[self.start..]
    }
}

/// The value whose decimal form is exactly `text`: no plus sign, no leading zeros, no "-0", no blanks.
pub(super) fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [] => return None,
        [b'0', ..] => return (text == b"0").then_some(0),
        _ if text.len() > DECIMAL_BYTES_MAX => return None,
        _ => {}
    }
    // Counted downwards, because i64::MIN has no positive counterpart.
    let mut value = 0i64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_sub(digit as i64)?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(s: &Str, model: &[u8]) {
        assert_eq!(s.len(), model.len());
        assert_eq!(&s.bytes()[..], model);
        let mut joined = Vec::new();
        s.pieces(|piece| joined.extend_from_slice(piece));
        assert_eq!(joined, model);
        assert_eq!(s.is_empty(), model.is_empty());
        assert!(*s == Str::new(model));
    }

    #[test]
    fn integers_are_exactly_their_decimal_form() {
        for value in [0, 1, -1, 9, 10, -10, 1234567890, i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1] {
            let text = value.to_string();
            let s = Str::new(text.as_bytes());
            assert_eq!((s.as_i64(), s.encoding_name()), (Some(value), "int"));
            check(&s, text.as_bytes());
            assert_eq!(Str::from_i64(value), s);
        }
        let not: [&str; 13] = [
            "",
            "-",
            "-0",
            "+1",
            "01",
            " 1",
            "1 ",
            "1.0",
            "9223372036854775808",
            "-9223372036854775809",
            "00",
            "123456789012345678901",
            "1a",
        ];
        for text in not {
            let s = Str::new(text.as_bytes());
            assert_eq!((s.as_i64(), s.encoding_name()), (None, "embstr"), "{text:?}");
            check(&s, text.as_bytes());
        }
    }

    #[test]
    fn encoding_follows_length_and_modification() {
        assert_eq!(Str::new(&[b'x'; 44]).encoding_name(), "embstr");
        assert_eq!(Str::new(&[b'x'; 45]).encoding_name(), "raw");
        let mut s = Str::new(b"12");
        s.append(b"3");
        assert_eq!((s.encoding_name(), s.as_i64()), ("raw", Some(123)));
        let mut s = Str::new(b"abc");
        s.write_at(0, b"x");
        assert_eq!(s.encoding_name(), "raw");
        let mut s = Str::from_bytes(b"12");
        assert_eq!((s.encoding_name(), s.as_i64()), ("embstr", Some(12)));
        assert_eq!(Str::from_bytes(&[b'1'; 45]).encoding_name(), "raw");
        s.make_raw();
        assert_eq!((s.encoding_name(), s.as_i64()), ("raw", Some(12)));
    }

    #[test]
    fn a_clone_of_a_big_value_keeps_its_bytes_and_shares_untouched_chunks() {
        let model: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
        let mut s = Str::new(&model);
        let before = s.clone();
        s.write_at(200_000, b"changed");
        s.append(b"tail");
        check(&before, &model);
        let (Form::Chunked(a), Form::Chunked(b)) = (&s.0, &before.0) else { panic!("both are big") };
        let differing = a.pieces().zip(b.pieces()).filter(|(a, b)| a.as_ptr() != b.as_ptr()).count();
        assert_eq!(differing, 2, "the chunk written to and the last one");
    }

    #[test]
    fn setting_a_far_bit_allocates_no_zeros() {
        let mut s = Str::new(b"");
        s.write_at((1 << 29) - 1, &[1]);
        assert_eq!((s.len(), s.byte_at((1 << 29) - 1), s.byte_at(77)), (1 << 29, 1, 0));
        while !s.free_some(1000) {}
        assert!(s.is_empty());
    }

    #[test]
    fn any_sequence_of_changes_equals_the_same_on_a_vector() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut model: Vec<u8> = random.i64(..).to_string().into_bytes()[..random.usize(0..19)].to_vec();
            let mut s = Str::new(&model);
            for _ in 0..30 {
                change(&mut random, &mut s, &mut model);
                check(&s, &model);
                let start = random.usize(0..=model.len());
                let end = random.usize(start..=model.len());
                assert_eq!(&s.range(start, end)[..], &model[start..end], "seed {seed}");
                let at = random.usize(0..model.len() + 10);
                assert_eq!(s.byte_at(at), model.get(at).copied().unwrap_or(0), "seed {seed}");
            }
        }
    }

    fn change(random: &mut fastrand::Rng, s: &mut Str, model: &mut Vec<u8>) {
        let len = if random.u8(..) < 16 { random.usize(0..200_000) } else { random.usize(0..40) };
        let bytes: Vec<u8> = (0..len).map(|_| random.u8(..)).collect();
        if random.bool() {
            s.append(&bytes);
            model.extend_from_slice(&bytes);
        } else {
            let offset = random.usize(0..model.len() + 1 + len);
            s.write_at(offset, &bytes);
            model.resize(model.len().max(offset + len), 0);
            model[offset..offset + len].copy_from_slice(&bytes);
        }
        assert_eq!(s.encoding_name(), "raw");
    }
}
