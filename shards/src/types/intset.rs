//! A sorted run of integers, all of the smallest width that holds them.

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntSet {
    Bits16(Vec<i16>),
    Bits32(Vec<i32>),
    Bits64(Vec<i64>),
}

impl IntSet {
    pub fn heap_bytes(&self) -> usize {
        match self {
            IntSet::Bits16(ints) => ints.capacity() * 2,
            IntSet::Bits32(ints) => ints.capacity() * 4,
            IntSet::Bits64(ints) => ints.capacity() * 8,
        }
    }
}
