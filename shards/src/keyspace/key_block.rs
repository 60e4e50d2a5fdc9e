//! The keys of one segment, in one block of memory.
//!
//! ```text
//! 0        2       4               4+cap            4+3*cap
//! | cap u16 | count u16 | fingerprint u8 ... | end u16 ... | key bytes, one after the other ... | free |
//! ```
//! `cap` is a multiple of 8, so that fingerprints are compared eight at a time. Key `i` lies between the ends of `i - 1` and
//! `i`: no pointer, no length, no padding. A 16-byte key costs 19 bytes here, against 32 or more as an allocation of its own.
//!
//! Keys longer than `KEY_BYTES_MAX`, and any key when the block is at its limit, do not lie in the block: the top bit of
//! their end is set, they take no bytes, and the segment keeps them, in order, in a list (`long`) that it passes in.

/// Longer keys get an allocation of their own: moving keys within the block must stay cheap.
pub const KEY_BYTES_MAX: usize = 256;

const HEAD_BYTES: usize = 4;
const LONG: u16 = 0x8000;
/// Ends are 15 bits.
const BLOB_BYTES_MAX: usize = 0x7fff;
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

pub type LongKeys = [Box<[u8]>];

#[derive(Default)]
pub struct KeyBlock {
    block: Box<[u8]>,
}

/// The next size that mimalloc and jemalloc have blocks of (four per doubling): what is paid for anyway is used.
pub fn size_class(bytes: usize) -> usize {
    if bytes <= 16 {
        return 16;
    }
    let step = (bytes.next_power_of_two() / 8).max(16);
    bytes.next_multiple_of(step)
}

impl KeyBlock {
    /// An empty block with room for `count` keys of `bytes` bytes in all.
    pub fn with_room(count: usize, bytes: usize) -> KeyBlock {
        let cap = count.next_multiple_of(8);
        let mut keys = KeyBlock { block: vec![0; size_class(HEAD_BYTES + 3 * cap + bytes)].into_boxed_slice() };
        keys.put_u16(0, cap);
        keys
    }

    pub fn heap_bytes(&self) -> usize {
        self.block.len()
    }

    /// Bytes of the keys that lie in the block.
    pub fn blob_bytes(&self) -> usize {
        self.start(self.count())
    }

    /// The first key with this fingerprint for which `same` holds.
    pub fn find(&self, fingerprint: u8, key: &[u8], long: &LongKeys) -> Option<usize> {
        let (count, pattern) = (self.count(), ONES * fingerprint as u64);
        let fingerprints = self.block.get(HEAD_BYTES..HEAD_BYTES + self.cap())?;
        for (word_at, word) in fingerprints.chunks_exact(8).enumerate() {
            let differing = u64::from_le_bytes(word.try_into().expect("chunks of 8")) ^ pattern;
            // The high bit of each byte that is zero, that is equal; also of some bytes above such a one: the key decides.
            let mut equal = differing.wrapping_sub(ONES) & !differing & HIGHS;
            while equal != 0 {
                let index = word_at * 8 + equal.trailing_zeros() as usize / 8;
                if index < count && self.key(index, long) == key {
                    return Some(index);
                }
                equal &= equal - 1;
            }
        }
        None
    }

    pub fn key<'a>(&'a self, index: usize, long: &'a LongKeys) -> &'a [u8] {
        if self.is_long(index) {
            return &long[self.long_before(index)];
        }
        let base = self.blob_at();
        &self.block[base + self.start(index)..base + self.start(index + 1)]
    }

    pub fn fingerprint(&self, index: usize) -> u8 {
        self.block[HEAD_BYTES + index]
    }

    /// Adds a key at the end. True when it does not lie in the block: the caller then adds it to its list of long keys.
    #[must_use]
    pub fn push(&mut self, fingerprint: u8, key: &[u8]) -> bool {
        let long = key.len() > KEY_BYTES_MAX || self.blob_bytes() + key.len() > BLOB_BYTES_MAX;
        let key = if long { &[] } else { key };
        self.make_room(key.len());
        let (count, start) = (self.count(), self.blob_bytes());
        self.block[HEAD_BYTES + count] = fingerprint;
        let at = self.blob_at() + start;
        self.block[at..at + key.len()].copy_from_slice(key);
        self.put_u16(self.end_at(count), start + key.len());
        if long {
            self.block[self.end_at(count) + 1] |= (LONG >> 8) as u8;
        }
        self.put_u16(2, count + 1);
        long
    }

    /// Takes a key out; those behind it move up. Some(position in the list of long keys) when it lies there.
    #[must_use]
    pub fn remove(&mut self, index: usize) -> Option<usize> {
        let (count, cap) = (self.count(), self.cap());
        let long_at = self.is_long(index).then(|| self.long_before(index));
        let (start, end, all) = (self.start(index), self.start(index + 1), self.blob_bytes());
        let base = self.blob_at();
        self.block.copy_within(base + end..base + all, base + start);
        self.block.copy_within(HEAD_BYTES + index + 1..HEAD_BYTES + count, HEAD_BYTES + index);
        for later in index + 1..count {
            let end_later = self.u16_at(self.end_at(later)) - (end - start);
            self.put_u16(HEAD_BYTES + cap + 2 * (later - 1), end_later);
        }
        self.put_u16(2, count - 1);
        self.shrink();
        long_at
    }

    /// Room for one more key of `bytes` bytes, in place while the block suffices.
    fn make_room(&mut self, bytes: usize) {
        let (cap, used) = (self.cap(), self.blob_bytes());
        let cap_needed = (self.count() + 1).next_multiple_of(8).max(cap);
        let needed = HEAD_BYTES + 3 * cap_needed + used + bytes;
        if needed > self.block.len() {
            self.rebuild(cap_needed, used + bytes);
        } else if cap_needed > cap {
            self.relayout(cap_needed);
        }
    }

    /// Gives memory back when less than half of the block is used.
    fn shrink(&mut self) {
        let cap = self.count().next_multiple_of(8);
        let needed = HEAD_BYTES + 3 * cap + self.blob_bytes();
        if self.block.len() > 64 && needed * 2 < self.block.len() {
            self.rebuild(cap, self.blob_bytes());
        }
    }

    fn rebuild(&mut self, cap: usize, blob_bytes: usize) {
        let (count, used) = (self.count(), self.blob_bytes());
        let mut new = KeyBlock::with_room(cap, blob_bytes);
        let (from, to) = (self.blob_at(), new.blob_at());
        new.block[HEAD_BYTES..HEAD_BYTES + count].copy_from_slice(&self.block[HEAD_BYTES.min(self.block.len())..][..count]);
        if count > 0 {
            let (ends, new_ends) = (self.end_at(0), new.end_at(0));
            new.block[new_ends..new_ends + 2 * count].copy_from_slice(&self.block[ends..ends + 2 * count]);
            new.block[to..to + used].copy_from_slice(&self.block[from..from + used]);
        }
        new.put_u16(2, count);
        *self = new;
    }

    /// Moves keys and ends up within the block, to make room for more fingerprints and ends.
    fn relayout(&mut self, cap: usize) {
        let (count, used) = (self.count(), self.blob_bytes());
        let (ends, blob) = (self.end_at(0), self.blob_at());
        self.put_u16(0, cap);
        self.block.copy_within(blob..blob + used, self.blob_at());
        self.block.copy_within(ends..ends + 2 * count, self.end_at(0));
    }

    pub fn count(&self) -> usize {
        if self.block.is_empty() { 0 } else { self.u16_at(2) }
    }

    fn cap(&self) -> usize {
        if self.block.is_empty() { 0 } else { self.u16_at(0) }
    }

    fn end_at(&self, index: usize) -> usize {
        HEAD_BYTES + self.cap() + 2 * index
    }

    fn blob_at(&self) -> usize {
        HEAD_BYTES + 3 * self.cap()
    }

    /// Where key `index` starts among the key bytes, which is where the one before ends.
    fn start(&self, index: usize) -> usize {
        if index == 0 { 0 } else { self.u16_at(self.end_at(index - 1)) & !LONG as usize }
    }

    fn is_long(&self, index: usize) -> bool {
        self.u16_at(self.end_at(index)) & LONG as usize != 0
    }

    fn long_before(&self, index: usize) -> usize {
        (0..index).filter(|before| self.is_long(*before)).count()
    }

    fn u16_at(&self, at: usize) -> usize {
        u16::from_le_bytes([self.block[at], self.block[at + 1]]) as usize
    }

    fn put_u16(&mut self, at: usize, value: usize) {
        let value = u16::try_from(value).expect("counts and ends of a segment fit 16 bits");
        self.block[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_sequence_of_pushes_and_removals_equals_the_same_on_a_vector() {
        for seed in 0..300 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut keys, mut long, mut model) = (KeyBlock::default(), Vec::<Box<[u8]>>::new(), Vec::<Vec<u8>>::new());
            for step in 0..200u32 {
                if random.u8(..) < 150 {
                    let len = if random.u8(..) < 20 { random.usize(200..400) } else { random.usize(0..30) };
                    let key = [&step.to_le_bytes()[..], &vec![b'k'; len]].concat();
                    if keys.push(key[0] % 7, &key) {
                        long.push(key.clone().into());
                    }
                    model.push(key);
                } else if !model.is_empty() {
                    let index = random.usize(0..model.len());
                    if let Some(at) = keys.remove(index) {
                        long.remove(at);
                    }
                    model.remove(index);
                }
                assert_eq!(keys.count(), model.len());
            }
            for (index, key) in model.iter().enumerate() {
                assert_eq!(keys.key(index, &long), &key[..], "seed {seed}");
                assert_eq!(keys.find(key[0] % 7, key, &long), Some(index), "seed {seed}");
                assert_eq!(keys.fingerprint(index), key[0] % 7);
            }
            assert_eq!(keys.find(3, b"absent", &long), None);
        }
    }

    #[test]
    fn a_full_block_keeps_further_keys_outside() {
        let (mut keys, mut long) = (KeyBlock::default(), Vec::<Box<[u8]>>::new());
        for i in 0..1000u32 {
            let key = [&i.to_le_bytes()[..], &[0; 200]].concat();
            if keys.push(1, &key) {
                long.push(key.into());
            }
        }
        assert!(!long.is_empty());
        assert!((0..1000u32).all(|i| keys.key(i as usize, &long)[..4] == i.to_le_bytes()));
    }

    #[test]
    fn size_classes_are_four_per_doubling() {
        assert_eq!([1, 17, 64, 65, 129, 513, 1025, 1281].map(size_class), [16, 32, 64, 80, 160, 640, 1280, 1536]);
    }
}
