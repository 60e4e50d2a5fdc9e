//! The id of a stream's entry: milliseconds and a sequence number.

use crate::types::string::Decimal;

/// Text of `<ms>-<seq>`: two numbers of at most 20 digits.
const TEXT_BYTES_MAX: usize = 41;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    pub ms: u64,
    pub seq: u64,
}

impl StreamId {
    /// No entry has this id.
    pub const ZERO: StreamId = StreamId { ms: 0, seq: 0 };
    pub const MAX: StreamId = StreamId { ms: u64::MAX, seq: u64::MAX };
    pub const BYTES: usize = 16;

    pub fn new(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    pub fn next(self) -> Option<StreamId> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(StreamId { ms: self.ms, seq }),
            None => Some(StreamId { ms: self.ms.checked_add(1)?, seq: 0 }),
        }
    }

    pub fn previous(self) -> Option<StreamId> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(StreamId { ms: self.ms, seq }),
            None => Some(StreamId { ms: self.ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }

    /// Big-endian, so that bytes are in the order of ids: how RDB files hold the ids of nodes and of pending entries.
    pub fn to_bytes(self) -> [u8; StreamId::BYTES] {
        (u128::from(self.ms) << 64 | u128::from(self.seq)).to_be_bytes()
    }

    pub fn from_bytes(bytes: [u8; StreamId::BYTES]) -> StreamId {
        let both = u128::from_be_bytes(bytes);
        StreamId { ms: (both >> 64) as u64, seq: both as u64 }
    }

    pub fn text(self) -> IdText {
        let mut text = IdText { buffer: [0; TEXT_BYTES_MAX], start: TEXT_BYTES_MAX };
        text.push_front(self.seq);
        text.start -= 1;
        text.buffer[text.start] = b'-';
        text.push_front(self.ms);
        text
    }
}

/// An id as text, on the stack.
pub struct IdText {
    buffer: [u8; TEXT_BYTES_MAX],
    start: usize,
}

impl IdText {
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn push_front(&mut self, mut number: u64) {
        loop {
            self.start -= 1;
            self.buffer[self.start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return;
            }
        }
    }
}

/// The id's distance from its node's master id, as listpacks hold it: each part for itself, wrapping around.
pub(super) fn delta(id: StreamId, master: StreamId) -> (Decimal, Decimal) {
    let part = |a: u64, b: u64| Decimal::new(a.wrapping_sub(b) as i64);
    (part(id.ms, master.ms), part(id.seq, master.seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_neighbours_and_text_and_bytes_in_their_order() {
        let ids = [StreamId::ZERO, StreamId::new(0, u64::MAX), StreamId::new(1, 0), StreamId::new(17, 3), StreamId::MAX];
        for id in ids {
            assert_eq!(id.next().map_or(id, |next| next.previous().expect("next is above")), id);
            assert_eq!(StreamId::from_bytes(id.to_bytes()), id);
            assert_eq!(id.text().bytes(), format!("{}-{}", id.ms, id.seq).as_bytes());
        }
        assert!(ids.is_sorted() && ids.map(StreamId::to_bytes).is_sorted());
        assert_eq!((StreamId::MAX.next(), StreamId::ZERO.previous()), (None, None));
    }
}
