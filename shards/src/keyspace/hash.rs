//! The hash of a key, and its bend.
//!
//! A segment covers a range of hashes of size `2^(64-d)`. Were hashes uniform, all segments would have about `keys / 2^d`
//! entries for one or two values of d: all would grow in step, through one size of memory block after the other, and leave the
//! allocator with pages full of holes (measured: 10 bytes per key), and all would split at the same time.
//!
//! So hashes are bent: their density falls to one half over their range. Then at any time all fillings between half full
//! and full are there, equally often, whatever the number of keys. (The function is that of spiral storage: G. N. N. Martin, 1979.)
//!
//! ```text
//! uniform   |....|....|....|....|....|....|....|....|          x
//! bent      |....|.....|.....|......|......|.......|.......|    2^x - 1, straight between 64 points
//! ```

use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

const PIECE_BITS: u32 = 6;
const PIECES: usize = 1 << PIECE_BITS;

/// Where the pieces start: 2^(i/64) - 1, of 2^64.
const STARTS: [u64; PIECES] = starts();

/// 2^(1/64), of 2^63.
const STEP: u128 = 9_323_807_973_325_342_579;

/// Hash of keys, different in each process so that nobody can prepare keys that collide.
pub struct KeyHasher(RapidSecrets);

impl KeyHasher {
    pub fn new(seed: u64) -> KeyHasher {
        KeyHasher(RapidSecrets::seed(seed))
    }

    pub fn hash(&self, key: &[u8]) -> u64 {
        bend(rapidhash_v3_seeded(key, &self.0))
    }
}

/// From uniform numbers to the density of hashes.
pub fn bend(uniform: u64) -> u64 {
    let piece = (uniform >> (64 - PIECE_BITS)) as usize;
    let start = STARTS[piece];
    let end = if piece + 1 < PIECES { STARTS[piece + 1] } else { 0 };
    let width = end.wrapping_sub(start);
    start + (((uniform << PIECE_BITS) as u128 * width as u128) >> 64) as u64
}

const fn starts() -> [u64; PIECES] {
    let mut starts = [0; PIECES];
    let (mut power, mut i) = (1u128 << 63, 0);
    while i < PIECES {
        starts[i] = ((power - (1 << 63)) << 1) as u64;
        power = (power * STEP) >> 63;
        i += 1;
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bending_keeps_the_order_and_falls_to_half_the_density() {
        let at = |x: f64| bend((x * 2f64.powi(64)) as u64) as f64 / 2f64.powi(64);
        for i in 0..1000 {
            let x = i as f64 / 1000.0;
            assert!((at(x) - (x.exp2() - 1.0)).abs() < 1e-4, "{x}: {}", at(x));
        }
        let mut numbers: Vec<u64> = (0..10_000u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        numbers.sort_unstable();
        assert!(numbers.iter().map(|number| bend(*number)).is_sorted());
        assert_eq!(bend(0), 0);
        assert!(bend(u64::MAX) > u64::MAX - 4);
    }
}
