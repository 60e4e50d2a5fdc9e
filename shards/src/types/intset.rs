//! A sorted run of integers, all of the smallest width that holds them.

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntSet {
    Bits16(Vec<i16>),
    Bits32(Vec<i32>),
    Bits64(Vec<i64>),
}

/// The same for every width.
macro_rules! each {
    ($set:expr, $ints:ident => $result:expr) => {
        match $set {
            IntSet::Bits16($ints) => $result,
            IntSet::Bits32($ints) => $result,
            IntSet::Bits64($ints) => $result,
        }
    };
}

impl Default for IntSet {
    fn default() -> IntSet {
        IntSet::Bits16(Vec::new())
    }
}

#[allow(clippy::unnecessary_cast, reason = "in `each`, the casts widen two of the three forms")]
impl IntSet {
    /// Of integers in ascending order, none twice.
    pub fn from_sorted(ints: &[i64]) -> IntSet {
        let widest =
            |fits: fn(i64) -> bool| ints.first().is_none_or(|&int| fits(int)) && ints.last().is_none_or(|&int| fits(int));
        if widest(|int| i16::try_from(int).is_ok()) {
            IntSet::Bits16(ints.iter().map(|&int| int as i16).collect())
        } else if widest(|int| i32::try_from(int).is_ok()) {
            IntSet::Bits32(ints.iter().map(|&int| int as i32).collect())
        } else {
            IntSet::Bits64(ints.to_vec())
        }
    }

    pub fn heap_bytes(&self) -> usize {
        each!(self, ints => vec_bytes(ints))
    }

    pub fn len(&self) -> usize {
        each!(self, ints => ints.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// By rank, in ascending order.
    pub fn get(&self, rank: usize) -> Option<i64> {
        each!(self, ints => ints.get(rank).map(|&int| int as i64))
    }

    pub fn contains(&self, int: i64) -> bool {
        self.rank(int).is_ok()
    }

    /// The rank of an integer, or that which it would have.
    fn rank(&self, int: i64) -> Result<usize, usize> {
        each!(self, ints => ints.binary_search_by(|there| (*there as i64).cmp(&int)))
    }

    /// False: it was there already.
    pub fn insert(&mut self, int: i64) -> bool {
        let Err(rank) = self.rank(int) else { return false };
        self.widen(int);
        match self {
            IntSet::Bits16(ints) => put(ints, rank, int as i16),
            IntSet::Bits32(ints) => put(ints, rank, int as i32),
            IntSet::Bits64(ints) => put(ints, rank, int),
        }
        true
    }

    /// Makes room for an integer's width.
    fn widen(&mut self, int: i64) {
        match self {
            IntSet::Bits16(ints) if i16::try_from(int).is_err() => {
                *self = match i32::try_from(int) {
                    Ok(_) => IntSet::Bits32(ints.iter().map(|&int| int as i32).collect()),
                    Err(_) => IntSet::Bits64(ints.iter().map(|&int| int as i64).collect()),
                };
            }
            IntSet::Bits32(ints) if i32::try_from(int).is_err() => {
                *self = IntSet::Bits64(ints.iter().map(|&int| int as i64).collect());
            }
            _ => {}
        }
    }

    /// False: it was not there.
    pub fn remove(&mut self, int: i64) -> bool {
        let Ok(rank) = self.rank(int) else { return false };
        self.remove_at(rank);
        true
    }

    /// # Panics
    /// When `rank` is beyond the end.
    pub fn remove_at(&mut self, rank: usize) -> i64 {
        each!(self, ints => ints.remove(rank) as i64)
    }

    pub fn iter_from(&self, rank: usize) -> Ints<'_> {
        Ints { set: self, rank }
    }
}

fn vec_bytes<T>(ints: &Vec<T>) -> usize {
    ints.capacity() * size_of::<T>()
}

/// Grows by an eighth: most sets stay small and many.
fn put<T>(ints: &mut Vec<T>, rank: usize, int: T) {
    if ints.len() == ints.capacity() {
        ints.reserve_exact((ints.len() / 8).max(4));
    }
    ints.insert(rank, int);
}

pub struct Ints<'a> {
    set: &'a IntSet,
    rank: usize,
}

impl Iterator for Ints<'_> {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        let int = self.set.get(self.rank)?;
        self.rank += 1;
        Some(int)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn any_sequence_of_changes_equals_the_same_on_a_sorted_set() {
        for seed in 0..50 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut set, mut model) = (IntSet::default(), BTreeSet::new());
            for _ in 0..300 {
                let int = if random.u8(..4) == 0 { random.i64(..) >> random.u32(..64) } else { random.i64(-20..20) };
                match random.u8(..3) {
                    0 => assert_eq!(set.remove(int), model.remove(&int)),
                    _ => assert_eq!(set.insert(int), model.insert(int)),
                }
                assert_eq!(set.contains(int), model.contains(&int));
                assert_eq!(set.len(), model.len());
            }
            assert!(set.iter_from(0).eq(model.iter().copied()));
            assert!(set.iter_from(3).eq(model.iter().copied().skip(3)));
            let sorted: Vec<i64> = model.into_iter().collect();
            assert!(IntSet::from_sorted(&sorted).iter_from(0).eq(sorted.iter().copied()));
        }
    }

    #[test]
    fn the_width_is_that_of_the_widest_and_stays() {
        let mut set = IntSet::default();
        for (int, bytes) in [(1, 2), (32_767, 2), (32_768, 4), (-1, 4), (i64::MIN, 8)] {
            assert!(set.insert(int) && !set.insert(int));
            assert_eq!(each!(&set, ints => size_of_val(&ints[0])), bytes);
        }
        assert!(set.remove(i64::MIN));
        assert!(matches!(set, IntSet::Bits64(_)));
    }
}
