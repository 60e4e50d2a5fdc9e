//! What commands on the elements of one collection share: random choices, steps of a scan, what a pop of several keys asks for.

use super::arguments::{Failure, NOT_INTEGER, SYNTAX, integer, is};
use super::context::Ctx;
use super::databases::{ScanOptions, parse_element_scan};
use super::glob::glob_matches;
use std::collections::HashSet;

/// Elements in one effect at most: a record of the log stays small, whatever a command changes.
pub const EFFECT_ELEMENTS_MAX: usize = 256;

/// Redis would go on until memory ends; here more repetitions are out of range.
const REPETITIONS_MAX: i64 = 1 << 24;

const OUT_OF_RANGE: Failure = Failure::Borrowed("ERR value is out of range");

/// How many random elements are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RandomCount {
    /// So many different ones, or all.
    Distinct(usize),
    /// So many, each chosen among all.
    Repeated(usize),
}

impl RandomCount {
    /// Negative: with repetition.
    pub fn parse(text: &[u8]) -> Result<RandomCount, Failure> {
        match integer(text)? {
            i64::MIN => Err(format!("ERR value is out of range, value must between {} and {}", -i64::MAX, i64::MAX).into()),
            count if count < -REPETITIONS_MAX => Err(OUT_OF_RANGE),
            count @ ..0 => Ok(RandomCount::Repeated(count.unsigned_abs() as usize)),
            count => Ok(RandomCount::Distinct(usize::try_from(count).map_err(|_| NOT_INTEGER)?)),
        }
    }

    /// Of pairs, Redis wants the number of parts to be a number that it can count.
    pub fn check_pairs(self, pairs: bool) -> Result<(), Failure> {
        match self {
            RandomCount::Distinct(count) if pairs && count > i64::MAX as usize / 2 => Err(OUT_OF_RANGE),
            _ => Ok(()),
        }
    }

    /// Ranks among `len` elements: for all of them, in order.
    pub fn ranks(self, random: &mut fastrand::Rng, len: usize) -> Vec<usize> {
        match self {
            _ if len == 0 => Vec::new(),
            RandomCount::Repeated(count) => (0..count).map(|_| random.usize(..len)).collect(),
            RandomCount::Distinct(count) if count >= len => (0..len).collect(),
            RandomCount::Distinct(count) => distinct_ranks(random, count, len),
        }
    }
}

/// `count` different numbers below `len`, every choice as probable as any other (Floyd's way: no memory for the others).
fn distinct_ranks(random: &mut fastrand::Rng, count: usize, len: usize) -> Vec<usize> {
    let (mut chosen, mut ranks) = (HashSet::with_capacity(count), Vec::with_capacity(count));
    for last in len - count..len {
        let candidate = random.usize(..=last);
        let rank = if chosen.insert(candidate) { candidate } else { last };
        chosen.insert(rank);
        ranks.push(rank);
    }
    random.shuffle(&mut ranks);
    ranks
}

/// `HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]` and its like, read in two steps as Redis does it.
pub struct ElementScan<'a> {
    words: Vec<&'a [u8]>,
    pub without_values: bool,
}

impl<'a> ElementScan<'a> {
    /// Looks at the cursor only: whether there is such a key is answered before the options are looked at.
    pub fn new(args: &[&'a [u8]]) -> Result<ElementScan<'a>, Failure> {
        parse_element_scan(&args[2..3])?;
        Ok(ElementScan { words: args[2..].to_vec(), without_values: false })
    }

    /// Takes the option out that only HSCAN has.
    pub fn take_without_values(&mut self) {
        let mut at = 1;
        while at < self.words.len() {
            if is(self.words[at], "NOVALUES") {
                self.words.remove(at);
                self.without_values = true;
            } else {
                at += 2;
            }
        }
    }

    pub fn options(&self) -> Result<(u64, ScanOptions<'a>), Failure> {
        parse_element_scan(&self.words)
    }
}

/// Whether a scan shows an element of this name.
pub fn shows(options: &ScanOptions<'_>, element: &[u8]) -> bool {
    // `*` is all there is, and as a pattern matches all but the empty name.
    options.pattern.filter(|pattern| *pattern != b"*").is_none_or(|pattern| glob_matches(pattern, element, false))
}

/// The answer of a scan: the next cursor, then `found`.
pub fn reply_scan(ctx: &mut Ctx<'_>, cursor: u64, found: &[Vec<u8>]) {
    ctx.reply.array(2);
    ctx.reply.bulk(cursor.to_string().as_bytes());
    ctx.reply.array(found.len());
    found.iter().for_each(|element| ctx.reply.bulk(element));
}

/// Whether the option at `at`, the last argument, is there.
pub fn last_option(args: &[&[u8]], at: usize, option: &str) -> Result<bool, Failure> {
    match args.get(at) {
        None => Ok(false),
        Some(word) if args.len() == at + 1 && is(word, option) => Ok(true),
        Some(_) => Err(SYNTAX),
    }
}

/// Whom LMPOP and ZMPOP take from: the first of the keys that has elements.
pub struct MultiPop<'a, 'w, End> {
    pub keys: &'w [&'a [u8]],
    pub end: End,
    pub count: usize,
}

impl<'a, 'w, End> MultiPop<'a, 'w, End> {
    /// `numkeys key [key …] END [COUNT count]`: `end_of` reads the word for the end.
    pub fn parse(words: &'w [&'a [u8]], end_of: impl Fn(&[u8]) -> Result<End, Failure>) -> Result<Self, Failure> {
        let positive = |text: &[u8], failure: &'static str| match integer(text) {
            Ok(number @ 1..) => Ok(number as usize),
            _ => Err(Failure::Borrowed(failure)),
        };
        let keys = positive(words[0], "ERR numkeys should be greater than 0")?;
        // The keys are followed by a word.
        let (keys, words) = words[1..].split_at_checked(keys).ok_or(SYNTAX)?;
        let (end, words) = words.split_first().ok_or(SYNTAX)?;
        let end = end_of(end)?;
        let count = match words {
            [] => return Ok(MultiPop { keys, end, count: 1 }),
            [word, count, ..] if is(word, "COUNT") => positive(count, "ERR count should be greater than 0")?,
            _ => return Err(SYNTAX),
        };
        if words.len() == 2 { Ok(MultiPop { keys, end, count }) } else { Err(SYNTAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_ranks_are_distinct_and_all_equally_probable() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut times = [0; 10];
        for _ in 0..10_000 {
            let ranks = RandomCount::Distinct(3).ranks(&mut random, 10);
            assert_eq!(ranks.iter().collect::<HashSet<_>>().len(), 3);
            ranks.iter().for_each(|rank| times[*rank] += 1);
        }
        assert!(times.iter().all(|times| (2800..3200).contains(times)), "{times:?}");
        assert_eq!(RandomCount::Distinct(12).ranks(&mut random, 3), [0, 1, 2]);
        assert_eq!(RandomCount::Repeated(5).ranks(&mut random, 1), [0; 5]);
        assert_eq!(RandomCount::Repeated(5).ranks(&mut random, 0), []);
    }
}
