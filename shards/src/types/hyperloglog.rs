//! HyperLogLog: how many different elements were seen, to about 0.8 %, in at most 12 KiB. Kept in a string, byte for byte as Redis does.
//!
//! ```text
//! header    "HYLL" | encoding:u8 (0 dense, 1 sparse) | 3 unused bytes | cardinality: u64 LE, not known when its top bit is set
//! dense     16384 registers of 6 bits, the least significant bits first
//! sparse    runs of registers:
//!             00xxxxxx            x + 1 zeros
//!             01xxxxxx xxxxxxxx   x + 1 zeros
//!             1vvvvvxx            x + 1 registers of value v + 1
//! ```
//! An element's hash chooses a register with its low 14 bits; the register keeps the greatest number of trailing zeros, plus 1, seen
//! in the other 50. A sparse one becomes dense when a register exceeds 32, or when it grows beyond `hll-sparse-max-bytes`.
//!
//! The estimate is that of O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches", 2017. The hash is MurmurHash64A
//! (A. Appleby, in the public domain).

const INDEX_BITS: u32 = 14;
pub const REGISTERS: usize = 1 << INDEX_BITS;
const RANK_BITS: u32 = 64 - INDEX_BITS;
const REGISTER_BITS: usize = 6;
const REGISTER_MAX: u8 = (1 << REGISTER_BITS) - 1;

const MAGIC: &[u8; 4] = b"HYLL";
const ENCODING_AT: usize = 4;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
const CARDINALITY_AT: usize = 8;
const HEADER_BYTES: usize = 16;
const DENSE_BYTES: usize = HEADER_BYTES + REGISTERS * REGISTER_BITS / 8;

/// Greatest value of a register in the sparse encoding.
const SPARSE_VALUE_MAX: u8 = 32;
const VALUE_RUN_MAX: usize = 4;
const SHORT_ZEROS_MAX: usize = 64;

/// So many runs are looked at for values that can be joined, after a change.
const RUNS_JOINED_MAX: usize = 5;

const HASH_SEED: u64 = 0xadc8_3b19;

/// The bytes of a string that is a HyperLogLog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HyperLogLog(Vec<u8>);

/// The runs of a sparse one do not cover its registers exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// What came of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Same,
    Changed,
    /// It does not fit into the sparse encoding.
    TooBig,
}

impl Default for HyperLogLog {
    fn default() -> HyperLogLog {
        HyperLogLog::new()
    }
}

impl HyperLogLog {
    /// An empty one: sparse, of zeros.
    pub fn new() -> HyperLogLog {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[ENCODING_AT] = SPARSE;
        push_zeros(&mut bytes, REGISTERS);
        HyperLogLog(bytes)
    }

    /// None: the string is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<HyperLogLog> {
        let encoding = *bytes.get(..HEADER_BYTES).filter(|header| header.starts_with(MAGIC))?.get(ENCODING_AT)?;
        let sound = encoding == SPARSE || encoding == DENSE && bytes.len() == DENSE_BYTES;
        sound.then(|| HyperLogLog(bytes.to_vec()))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn is_dense(&self) -> bool {
        self.0[ENCODING_AT] == DENSE
    }

    /// Adds an element; true when a register changed.
    pub fn add(&mut self, element: &[u8], sparse_bytes_max: usize) -> Result<bool, Corrupt> {
        let (index, value) = index_and_value(element);
        self.raise(index, value, sparse_bytes_max)
    }

    fn raise(&mut self, index: usize, value: u8, sparse_bytes_max: usize) -> Result<bool, Corrupt> {
        if self.is_dense() {
            return Ok(self.raise_dense(index, value));
        }
        match self.raise_sparse(index, value, sparse_bytes_max)? {
            Outcome::Same => Ok(false),
            Outcome::Changed => Ok(true),
            Outcome::TooBig => {
                self.make_dense()?;
                Ok(self.raise_dense(index, value))
            }
        }
    }

    fn raise_dense(&mut self, index: usize, value: u8) -> bool {
        let raises = dense_register(&self.0, index) < value;
        if raises {
            set_dense_register(&mut self.0, index, value);
        }
        raises
    }

    /// Makes every register at least what it is in `registers`. It becomes dense when `dense` says so.
    pub fn merge(&mut self, registers: &[u8; REGISTERS], dense: bool, sparse_bytes_max: usize) -> Result<(), Corrupt> {
        if dense {
            self.make_dense()?;
        }
        for (index, value) in registers.iter().enumerate().filter(|(_, value)| **value > 0) {
            self.raise(index, *value, sparse_bytes_max)?;
        }
        self.forget_cardinality();
        Ok(())
    }

    pub fn make_dense(&mut self) -> Result<(), Corrupt> {
        if self.is_dense() {
            return Ok(());
        }
        let registers = self.registers()?;
        let mut dense = vec![0; DENSE_BYTES];
        dense[..HEADER_BYTES].copy_from_slice(&self.0[..HEADER_BYTES]);
        dense[ENCODING_AT] = DENSE;
        for (index, value) in registers.iter().enumerate().filter(|(_, value)| **value > 0) {
            set_dense_register(&mut dense, index, *value);
        }
        self.0 = dense;
        Ok(())
    }

    pub fn registers(&self) -> Result<[u8; REGISTERS], Corrupt> {
        let mut registers = [0; REGISTERS];
        if self.is_dense() {
            for (index, register) in registers.iter_mut().enumerate() {
                *register = dense_register(&self.0, index);
            }
            return Ok(registers);
        }
        let (mut at, mut index) = (HEADER_BYTES, 0);
        while at < self.0.len() {
            let run = Run::at(&self.0, at).ok_or(Corrupt)?;
            registers.get_mut(index..index + run.len).ok_or(Corrupt)?.fill(run.value);
            (at, index) = (at + run.bytes, index + run.len);
        }
        if index == REGISTERS { Ok(registers) } else { Err(Corrupt) }
    }

    // --- Cardinality -------------------------------------------------------------------------------------------------

    /// What was computed last, when nothing has changed since.
    pub fn known_cardinality(&self) -> Option<u64> {
        let known = u64::from_le_bytes(self.0[CARDINALITY_AT..HEADER_BYTES].try_into().expect("8 bytes"));
        (known >> 63 == 0).then_some(known)
    }

    pub fn know_cardinality(&mut self, cardinality: u64) {
        self.0[CARDINALITY_AT..HEADER_BYTES].copy_from_slice(&cardinality.to_le_bytes());
    }

    pub fn forget_cardinality(&mut self) {
        self.0[HEADER_BYTES - 1] |= 0x80;
    }

    /// The runs of a sparse one, as PFDEBUG DECODE shows them.
    pub fn describe_runs(&self) -> Result<String, Corrupt> {
        let (mut at, mut words) = (HEADER_BYTES, Vec::new());
        while at < self.0.len() {
            let run = Run::at(&self.0, at).ok_or(Corrupt)?;
            words.push(match (run.value, run.bytes) {
                (0, 1) => format!("z:{}", run.len),
                (0, _) => format!("Z:{}", run.len),
                (value, _) => format!("v:{value},{}", run.len),
            });
            at += run.bytes;
        }
        Ok(words.join(" "))
    }

    // --- Sparse ------------------------------------------------------------------------------------------------------

    fn raise_sparse(&mut self, index: usize, value: u8, sparse_bytes_max: usize) -> Result<Outcome, Corrupt> {
        if value > SPARSE_VALUE_MAX {
            return Ok(Outcome::TooBig);
        }
        let (mut at, mut before, mut first) = (HEADER_BYTES, HEADER_BYTES, 0);
        let run = loop {
            let run = Run::at(&self.0, at).ok_or(Corrupt)?;
            if index < first + run.len {
                break run;
            }
            (before, first, at) = (at, first + run.len, at + run.bytes);
        };
        if run.value >= value {
            return Ok(Outcome::Same);
        }
        let mut runs = Vec::with_capacity(5);
        push_run(&mut runs, run.value, index - first);
        push_run(&mut runs, value, 1);
        push_run(&mut runs, run.value, first + run.len - index - 1);
        let grows = runs.len() > run.bytes;
        if grows && self.0.len() + runs.len() - run.bytes > sparse_bytes_max.saturating_add(HEADER_BYTES) {
            return Ok(Outcome::TooBig);
        }
        self.0.splice(at..at + run.bytes, runs);
        self.join_values(before);
        Ok(Outcome::Changed)
    }

    /// Joins neighbouring runs of the same value, from `at` on.
    fn join_values(&mut self, mut at: usize) {
        for _ in 0..RUNS_JOINED_MAX {
            let Some(run) = Run::at(&self.0, at) else { return };
            let next = Run::at(&self.0, at + run.bytes);
            match next {
                Some(next) if run.value > 0 && next.value == run.value && run.len + next.len <= VALUE_RUN_MAX => {
                    self.0.remove(at);
                    self.0[at] = value_run(run.value, run.len + next.len);
                }
                _ => at += run.bytes,
            }
        }
    }
}

/// A run of equal registers.
#[derive(Clone, Copy)]
struct Run {
    value: u8,
    len: usize,
    bytes: usize,
}

impl Run {
    fn at(bytes: &[u8], at: usize) -> Option<Run> {
        let first = *bytes.get(at)?;
        Some(match first >> 6 {
            0 => Run { value: 0, len: (first & 0x3f) as usize + 1, bytes: 1 },
            1 => Run { value: 0, len: ((first as usize & 0x3f) << 8 | *bytes.get(at + 1)? as usize) + 1, bytes: 2 },
            _ => Run { value: (first >> 2 & 0x1f) + 1, len: (first & 3) as usize + 1, bytes: 1 },
        })
    }
}

fn push_run(out: &mut Vec<u8>, value: u8, len: usize) {
    match (value, len) {
        (_, 0) => {}
        (0, _) => push_zeros(out, len),
        _ => out.push(value_run(value, len)),
    }
}

fn push_zeros(out: &mut Vec<u8>, len: usize) {
    match len {
        1..=SHORT_ZEROS_MAX => out.push(len as u8 - 1),
        _ => out.extend_from_slice(&(0x4000 | (len as u16 - 1)).to_be_bytes()),
    }
}

fn value_run(value: u8, len: usize) -> u8 {
    0x80 | (value - 1) << 2 | (len as u8 - 1)
}

// --- Dense -------------------------------------------------------------------------------------------------------------

/// Offset of a register's first byte, and of its first bit there.
fn dense_place(index: usize) -> (usize, usize) {
    let bit = index * REGISTER_BITS;
    (HEADER_BYTES + bit / 8, bit % 8)
}

fn dense_register(bytes: &[u8], index: usize) -> u8 {
    let (at, shift) = dense_place(index);
    let pair = bytes[at] as u16 | (bytes.get(at + 1).copied().unwrap_or(0) as u16) << 8;
    (pair >> shift) as u8 & REGISTER_MAX
}

fn set_dense_register(bytes: &mut [u8], index: usize, value: u8) {
    let (at, shift) = dense_place(index);
    let (mask, bits) = ((REGISTER_MAX as u16) << shift, (value as u16) << shift);
    bytes[at] = bytes[at] & !(mask as u8) | bits as u8;
    if mask > 0xff {
        bytes[at + 1] = bytes[at + 1] & !((mask >> 8) as u8) | (bits >> 8) as u8;
    }
}

// --- Elements and the estimate -----------------------------------------------------------------------------------------

fn index_and_value(element: &[u8]) -> (usize, u8) {
    let hash = murmur_hash_64a(element);
    // A bit beyond the end, so that the count ends.
    let rest = hash >> INDEX_BITS | 1 << RANK_BITS;
    (hash as usize & (REGISTERS - 1), rest.trailing_zeros() as u8 + 1)
}

fn murmur_hash_64a(bytes: &[u8]) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let mix = |word: u64| {
        let word = word.wrapping_mul(M);
        (word ^ word >> 47).wrapping_mul(M)
    };
    let mut hash = HASH_SEED ^ (bytes.len() as u64).wrapping_mul(M);
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        hash = (hash ^ mix(u64::from_le_bytes(*word))).wrapping_mul(M);
    }
    if !tail.is_empty() {
        let mut word = [0; 8];
        word[..tail.len()].copy_from_slice(tail);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(M);
    }
    hash = (hash ^ hash >> 47).wrapping_mul(M);
    hash ^ hash >> 47
}

/// The estimate from the registers of one or of several merged ones.
pub fn cardinality(registers: &[u8; REGISTERS]) -> u64 {
    let mut counts = [0u32; REGISTER_MAX as usize + 1];
    registers.iter().for_each(|register| counts[*register as usize] += 1);
    let m = REGISTERS as f64;
    let mut z = m * tau((m - counts[RANK_BITS as usize + 1] as f64) / m);
    for count in counts[1..=RANK_BITS as usize].iter().rev() {
        z = (z + *count as f64) * 0.5;
    }
    z += m * sigma(counts[0] as f64 / m);
    // 1 / (2 ln 2), to the digits that the real server computes with.
    const ALPHA: f64 = 0.721_347_520_444_481_7;
    (ALPHA * m * m / z).round() as u64
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 3000;

    #[test]
    fn registers_are_the_same_in_both_encodings() {
        let mut random = fastrand::Rng::with_seed(1);
        let (mut sparse, mut dense) = (HyperLogLog::new(), HyperLogLog::new());
        dense.make_dense().expect("sound");
        for step in 0..3000 {
            let element = random.u32(..).to_le_bytes();
            assert_eq!(sparse.add(&element, LIMIT), dense.add(&element, LIMIT));
            if step % 100 == 0 {
                assert!(sparse.registers() == dense.registers());
            }
        }
        assert!(sparse.is_dense(), "3000 different elements do not fit into 3000 bytes");
        assert!(sparse == dense);
    }

    #[test]
    fn the_estimate_is_close() {
        let mut log = HyperLogLog::new();
        for count in 1..=200_000u32 {
            log.add(&count.to_le_bytes(), LIMIT).expect("sound");
            if count.is_power_of_two() || count % 50_000 == 0 {
                let estimate = cardinality(&log.registers().expect("sound")) as f64;
                assert!((estimate / count as f64 - 1.0).abs() < 0.03, "{estimate} of {count}");
            }
        }
    }

    #[test]
    fn the_bytes_are_those_of_redis() {
        let mut log = HyperLogLog::new();
        for element in [b"a", b"b", b"c"] {
            log.add(element, LIMIT).expect("sound");
        }
        log.forget_cardinality();
        assert_eq!(log.as_bytes(), b"HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80`\xf3\x80P\xb1\x84K\xfb\x80BZ");
        assert_eq!(log.describe_runs().as_deref(), Ok("Z:8436 v:1,1 Z:4274 v:2,1 Z:3068 v:1,1 Z:603"));
        assert_eq!(cardinality(&log.registers().expect("sound")), 3);
    }

    #[test]
    fn damaged_bytes_are_corrupt_or_another_but_never_a_panic() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut sound = HyperLogLog::new();
        (0..200u32).for_each(|i| drop(sound.add(&i.to_le_bytes(), LIMIT)));
        for _ in 0..5_000 {
            let mut bytes = sound.as_bytes().to_vec();
            let at = random.usize(HEADER_BYTES..bytes.len());
            bytes[at] = random.u8(..);
            bytes.truncate(random.usize(HEADER_BYTES..=bytes.len()));
            let mut log = HyperLogLog::from_bytes(&bytes).expect("the header is sound");
            let _ = (log.registers(), log.add(b"x", LIMIT), log.describe_runs(), log.make_dense());
        }
    }
}
