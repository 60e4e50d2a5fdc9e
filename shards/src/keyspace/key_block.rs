//! The keys of one segment, in one block of memory.
//!
//! ```text
//! 0       2         4          12              28                         4 + 24 * groups
//! | groups u16 | count u16 | 8 fingerprints | 8 ends u16 | 8 fingerprints | 8 ends | ... | key bytes, one after the other ... | free |
//! ```
//! Keys come in groups of 8, so that 8 fingerprints are compared at a time, and the ends of those that match are in the
//! same cache line. Key `i` lies between the ends of `i - 1` and `i`: no pointer, no length, no padding. A 16-byte key
//! costs 19 bytes here, against 32 or more as an allocation of its own.
//!
//! Keys longer than `KEY_BYTES_MAX`, and any key when the block is at its limit, do not lie in the block: the top bit of
//! their end is set, they take no bytes, and the segment keeps them, in order, in a list (`long`) that it passes in.

/// Longer keys get an allocation of their own: moving keys within the block must stay cheap.
pub const KEY_BYTES_MAX: usize = 256;

const HEAD_BYTES: usize = 4;
/// Keys of a group.
const GROUP: usize = 8;
/// A fingerprint and an end for each.
const GROUP_BYTES: usize = 3 * GROUP;
const LONG: usize = 0x8000;
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
        let groups = count.div_ceil(GROUP);
        let size = size_class(HEAD_BYTES + GROUP_BYTES * groups + bytes);
        let mut keys = KeyBlock { block: vec![0; size].into_boxed_slice() };
        keys.put_u16(0, groups);
        keys
    }

    pub fn heap_bytes(&self) -> usize {
        self.block.len()
    }

    pub fn first_byte(&self) -> Option<u8> {
        self.block.first().copied()
    }

    /// Bytes of the keys that lie in the block.
    pub fn blob_bytes(&self) -> usize {
        self.start(self.count())
    }

    /// The first key with this fingerprint for which `same` holds.
    pub fn find(&self, fingerprint: u8, key: &[u8], long: &LongKeys) -> Option<usize> {
        let (count, pattern) = (self.count(), ONES * fingerprint as u64);
        let groups = self.block.get(HEAD_BYTES..self.blob_at())?;
        for (number, group) in groups.chunks_exact(GROUP_BYTES).enumerate() {
            let word = group.first_chunk().expect("a group begins with 8 fingerprints");
            let differing = u64::from_le_bytes(*word) ^ pattern;
            // The high bit of each byte that is zero, that is equal; also of some bytes above such a one: the key decides.
            let mut equal = differing.wrapping_sub(ONES) & !differing & HIGHS;
            while equal != 0 {
                let index = number * GROUP + equal.trailing_zeros() as usize / 8;
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
        self.block[fingerprint_at(index)]
    }

    /// Adds a key at the end. True when it does not lie in the block: the caller then adds it to its list of long keys.
    #[must_use]
    pub fn push(&mut self, fingerprint: u8, key: &[u8]) -> bool {
        let long = key.len() > KEY_BYTES_MAX || self.blob_bytes() + key.len() > BLOB_BYTES_MAX;
        let key = if long { &[] } else { key };
        self.make_room(key.len());
        let (count, start) = (self.count(), self.blob_bytes());
        let at = self.blob_at() + start;
        self.block[at..at + key.len()].copy_from_slice(key);
        self.block[fingerprint_at(count)] = fingerprint;
        self.put_u16(end_at(count), (start + key.len()) | if long { LONG } else { 0 });
        self.put_u16(2, count + 1);
        long
    }

    /// Takes a key out; those behind it move up. Some(position in the list of long keys) when it lies there.
    #[must_use]
    pub fn remove(&mut self, index: usize) -> Option<usize> {
        let (count, base) = (self.count(), self.blob_at());
        let long_at = self.is_long(index).then(|| self.long_before(index));
        let (start, end, all) = (self.start(index), self.start(index + 1), self.blob_bytes());
        self.block.copy_within(base + end..base + all, base + start);
        for later in index + 1..count {
            self.block[fingerprint_at(later - 1)] = self.fingerprint(later);
            // The top bit stays, because no end is less than the length of a key before it.
            self.put_u16(end_at(later - 1), self.u16_at(end_at(later)) - (end - start));
        }
        self.put_u16(2, count - 1);
        self.shrink();
        long_at
    }

    /// Room for one more key of `bytes` bytes, in place while the block suffices.
    fn make_room(&mut self, bytes: usize) {
        let groups = self.groups().max(self.count() / GROUP + 1);
        let used = self.blob_bytes();
        if HEAD_BYTES + GROUP_BYTES * groups + used + bytes > self.block.len() {
            self.rebuild(groups, used + bytes);
        } else if groups > self.groups() {
            let blob = self.blob_at();
            self.put_u16(0, groups);
            self.block.copy_within(blob..blob + used, self.blob_at());
        }
    }

    /// Gives memory back when less than half of the block is used.
    fn shrink(&mut self) {
        let (groups, used) = (self.count().div_ceil(GROUP), self.blob_bytes());
        let needed = HEAD_BYTES + GROUP_BYTES * groups + used;
        if self.block.len() > 64 && needed * 2 < self.block.len() {
            self.rebuild(groups, used);
        }
    }

    /// Moves everything to a new block, with room for so many groups and bytes of keys.
    fn rebuild(&mut self, groups: usize, blob_bytes: usize) {
        let mut new = KeyBlock::with_room(groups * GROUP, blob_bytes);
        if !self.block.is_empty() {
            let (count, used) = (self.count(), self.blob_bytes());
            let kept = HEAD_BYTES + GROUP_BYTES * self.groups().min(groups);
            new.block[HEAD_BYTES..kept].copy_from_slice(&self.block[HEAD_BYTES..kept]);
            let (from, to) = (self.blob_at(), new.blob_at());
            new.block[to..to + used].copy_from_slice(&self.block[from..from + used]);
            new.put_u16(2, count);
        }
        *self = new;
    }

    pub fn count(&self) -> usize {
        if self.block.is_empty() { 0 } else { self.u16_at(2) }
    }

    fn groups(&self) -> usize {
        if self.block.is_empty() { 0 } else { self.u16_at(0) }
    }

    fn blob_at(&self) -> usize {
        HEAD_BYTES + GROUP_BYTES * self.groups()
    }

    /// Where key `index` starts among the key bytes, which is where the one before ends.
    fn start(&self, index: usize) -> usize {
        if index == 0 { 0 } else { self.u16_at(end_at(index - 1)) & !LONG }
    }

    fn is_long(&self, index: usize) -> bool {
        self.u16_at(end_at(index)) & LONG != 0
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

fn fingerprint_at(index: usize) -> usize {
    HEAD_BYTES + index / GROUP * GROUP_BYTES + index % GROUP
}

fn end_at(index: usize) -> usize {
    HEAD_BYTES + index / GROUP * GROUP_BYTES + GROUP + index % GROUP * 2
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
