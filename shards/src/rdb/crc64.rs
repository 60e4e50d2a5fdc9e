//! CRC-64/REDIS ("Jones"): polynomial ad93d23594c935a9, reflected, initial value 0, no final xor.
//! Not the CRC-64/XZ of frames and manifests.

use crc_fast::{CrcAlgorithm, Digest, checksum_combine};

/// A running checksum.
#[derive(Clone, Debug)]
pub struct Crc64(Digest);

impl Default for Crc64 {
    fn default() -> Crc64 {
        Crc64::new()
    }
}

impl Crc64 {
    pub fn new() -> Crc64 {
        Crc64::resume(0)
    }

    /// Goes on where a checksum stood.
    pub fn resume(crc: u64) -> Crc64 {
        Crc64(Digest::new_with_init_state(CrcAlgorithm::Crc64Redis, crc))
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn value(&self) -> u64 {
        self.0.finalize()
    }

    pub fn of(bytes: &[u8]) -> u64 {
        let mut crc = Crc64::new();
        crc.update(bytes);
        crc.value()
    }
}

/// The checksum of A followed by B, from theirs and B's length: no byte is read again.
pub fn combine(crc_a: u64, crc_b: u64, len_b: u64) -> u64 {
    checksum_combine(CrcAlgorithm::Crc64Redis, crc_a, crc_b, len_b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit by bit, from the definition.
    fn naive(bytes: &[u8]) -> u64 {
        const REFLECTED: u64 = 0xad93_d235_94c9_35a9_u64.reverse_bits();
        bytes.iter().fold(0, |crc, &byte| {
            (0..8).fold(crc ^ byte as u64, |crc, _| if crc & 1 == 1 { (crc >> 1) ^ REFLECTED } else { crc >> 1 })
        })
    }

    #[test]
    fn check_value_is_that_of_the_catalogue() {
        assert_eq!(Crc64::of(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(Crc64::of(b""), 0);
    }

    #[test]
    fn agrees_with_the_definition_split_combined_and_resumed_at_any_place() {
        let mut random = fastrand::Rng::with_seed(7);
        for len in (0..300).chain([1000, 4096, 70_000]) {
            let bytes: Vec<u8> = (0..len).map(|_| random.u8(..)).collect();
            let (a, b) = bytes.split_at(random.usize(..=len));
            let expected = naive(&bytes);
            assert_eq!(Crc64::of(&bytes), expected, "len {len}");
            assert_eq!(combine(Crc64::of(a), Crc64::of(b), b.len() as u64), expected, "combined, len {len} at {}", a.len());
            let mut resumed = Crc64::resume(Crc64::of(a));
            resumed.update(b);
            assert_eq!(resumed.value(), expected, "resumed, len {len} at {}", a.len());
        }
    }
}
