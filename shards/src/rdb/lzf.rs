//! LZF, the compression of RDB strings.
//!
//! Own code because the one crate (`lzf` 1.0.0) is deprecated, zeroes a table of 512 KiB for every string and counts
//! bytes in an `i32`. Any valid stream will do: readers do not care how matches were found.
//!
//! ```text
//! 000LLLLL                     L+1 literal bytes follow
//! LLLooooo oooooooo            copy L+2 bytes from o+1 bytes back, L = 1..6
//! 111ooooo LLLLLLLL oooooooo   copy L+9 bytes from o+1 bytes back
//! ```

const LITERALS_MAX: usize = 32;
const OFFSET_MAX: usize = 1 << 13;
const MATCH_MIN: usize = 3;
const MATCH_MAX: usize = 255 + 9;

/// The longest input `compress` takes; positions are kept in 32 bits.
pub const INPUT_MAX: usize = u32::MAX as usize;

/// No stream grows by more than this factor: three bytes give at most `MATCH_MAX`.
pub const RATIO_MAX: u64 = (MATCH_MAX / 3) as u64;

/// Appends the compressed form to `out` and gives its length; or leaves `out` as it was when that would be longer than `max_len`.
pub fn compress(out: &mut Vec<u8>, input: &[u8], max_len: usize) -> Option<usize> {
    assert!(input.len() <= INPUT_MAX);
    // A short string does not pay for clearing a big table.
    if input.len() <= 512 { Compressor::<9>::run(out, input, max_len) } else { Compressor::<14>::run(out, input, max_len) }
}

struct Compressor<'a, const HASH_BITS: u32> {
    out: &'a mut Vec<u8>,
    input: &'a [u8],
    /// First byte not yet written.
    literals: usize,
}

impl<const HASH_BITS: u32> Compressor<'_, HASH_BITS> {
    fn run(out: &mut Vec<u8>, input: &[u8], max_len: usize) -> Option<usize> {
        let start = out.len();
        let limit = start + max_len;
        // Position + 1 of the last three bytes with this hash; 0 = none.
        let mut seen = vec![0u32; 1 << HASH_BITS];
        let mut state = Compressor::<HASH_BITS> { out, input, literals: 0 };
        let mut at = 0;
        while at + MATCH_MIN <= input.len() {
            let slot = Self::hash(input, at);
            let candidate = std::mem::replace(&mut seen[slot], at as u32 + 1) as usize;
            match Self::match_len(input, candidate, at) {
                0 => at += 1,
                len => {
                    state.write_literals(at);
                    state.write_match(at - candidate, len);
                    at += len;
                    state.literals = at;
                }
            }
            if state.out.len() > limit {
                break;
            }
        }
        state.write_literals(input.len());
        let len = out.len() - start;
        if len > max_len {
            out.truncate(start);
            return None;
        }
        Some(len)
    }

    fn hash(input: &[u8], at: usize) -> usize {
        let three = u32::from_le_bytes([input[at], input[at + 1], input[at + 2], 0]);
        (three.wrapping_mul(0x9E37_79B1) >> (32 - HASH_BITS)) as usize
    }

    /// 0 when the candidate (position + 1) is no match.
    fn match_len(input: &[u8], candidate: usize, at: usize) -> usize {
        if candidate == 0 || at - candidate >= OFFSET_MAX {
            return 0;
        }
        let old = &input[candidate - 1..];
        let len = input[at..].iter().zip(old).take(MATCH_MAX).take_while(|(a, b)| a == b).count();
        if len < MATCH_MIN { 0 } else { len }
    }

    fn write_literals(&mut self, end: usize) {
        for run in self.input[self.literals..end].chunks(LITERALS_MAX) {
            self.out.push(run.len() as u8 - 1);
            self.out.extend_from_slice(run);
        }
        self.literals = end;
    }

    fn write_match(&mut self, offset: usize, len: usize) {
        let (offset_high, offset_low) = ((offset >> 8) as u8, offset as u8);
        if len < 9 {
            self.out.push(((len - 2) as u8) << 5 | offset_high);
        } else {
            self.out.extend_from_slice(&[0b1110_0000 | offset_high, (len - 9) as u8]);
        }
        self.out.push(offset_low);
    }
}

/// The original of `original_len` bytes; `None` when the stream is damaged or of another length.
/// Memory grows with what the stream really gives, not with `original_len`.
pub fn decompress(stream: &[u8], original_len: usize) -> Option<Vec<u8>> {
    if original_len as u64 > stream.len() as u64 * RATIO_MAX {
        return None;
    }
    let mut out = Vec::with_capacity(original_len.min(stream.len() * 4));
    let mut rest = stream;
    while let Some((&control, tail)) = rest.split_first() {
        rest = if control < 32 {
            let (literals, tail) = tail.split_at_checked(control as usize + 1)?;
            out.extend_from_slice(literals);
            tail
        } else {
            copy_match(&mut out, control, tail)?
        };
        if out.len() > original_len {
            return None;
        }
    }
    (out.len() == original_len).then_some(out)
}

fn copy_match<'a>(out: &mut Vec<u8>, control: u8, mut rest: &'a [u8]) -> Option<&'a [u8]> {
    let mut next = || {
        let (&byte, tail) = rest.split_first()?;
        rest = tail;
        Some(byte as usize)
    };
    let len = match (control >> 5) as usize {
        7 => next()? + 9,
        short => short + 2,
    };
    let back = ((control as usize & 0b1_1111) << 8 | next()?) + 1;
    let from = out.len().checked_sub(back)?;
    if back >= len {
        out.extend_from_within(from..from + len);
    } else {
        // Source and target overlap: the bytes just written are read again.
        for i in from..from + len {
            out.push(out[i]);
        }
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &[u8]) {
        let mut stream = Vec::new();
        if let Some(len) = compress(&mut stream, input, input.len() * 2 + 8) {
            assert_eq!(len, stream.len());
            assert_eq!(decompress(&stream, input.len()).as_deref(), Some(input));
            assert_eq!(decompress(&stream, input.len() + 1), None);
        } else {
            panic!("{} bytes do not fit into twice their size", input.len());
        }
    }

    #[test]
    fn what_was_compressed_comes_back() {
        let mut random = fastrand::Rng::with_seed(1);
        for len in (0..700).chain([8191, 8192, 8193, 20_000, 100_000]) {
            for letters in [1, 2, 4, 255] {
                let input: Vec<u8> = (0..len).map(|_| random.u8(..letters)).collect();
                check(&input);
            }
        }
    }

    #[test]
    fn a_match_reaches_8192_bytes_back_and_no_further() {
        for gap in 8180..8200 {
            let mut random = fastrand::Rng::with_seed(gap);
            let mut input = b"abcdefghij".to_vec();
            input.extend((0..gap).map(|_| random.u8(128..)));
            input.extend_from_slice(b"abcdefghij");
            check(&input);
        }
    }

    #[test]
    fn what_does_not_shrink_is_refused_and_the_buffer_left_alone() {
        let input: Vec<u8> = (0..200).collect();
        let mut out = b"before".to_vec();
        assert_eq!(compress(&mut out, &input, input.len() - 4), None);
        assert_eq!(out, b"before");
    }

    #[test]
    fn damaged_streams_never_panic() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..20_000 {
            let stream: Vec<u8> = (0..random.usize(..40)).map(|_| random.u8(..)).collect();
            decompress(&stream, random.usize(..500));
        }
        assert_eq!(decompress(&[1, 2, 3], usize::MAX), None, "no memory for a claim that can't be true");
    }
}
