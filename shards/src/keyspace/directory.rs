//! An array that grows by splitting one item at a time: the directory of extendible hashing.
//!
//! ```text
//! bits = 2    index     items (depth)
//!   00 ─────┐
//!   01 ─────┴──────►  A (1)      all positions that begin with 0
//!   10 ────────────►  B (2)      10
//!   11 ────────────►  C (2)      11
//! ```
//! An item of depth `d` covers the positions that share their first `d` bits, and stands `2^(bits-d)` times in the index.
//! Splitting A changes the index in place; splitting B first doubles the index, a copy of small numbers.
//!
//! A table has two of these on top of each other (table.rs), which bounds the doubling.

pub struct Directory<T> {
    bits: u32,
    index: Vec<u32>,
    depths: Vec<u8>,
    items: Vec<T>,
}

impl<T> Directory<T> {
    pub fn new(item: T) -> Directory<T> {
        Directory { bits: 0, index: vec![0], depths: vec![0], items: vec![item] }
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// The number of the item that covers `position`, of which the first bits count.
    pub fn at(&self, position: u64) -> usize {
        self.index[self.slot(position)] as usize
    }

    pub fn item(&self, number: usize) -> &T {
        &self.items[number]
    }

    pub fn item_mut(&mut self, number: usize) -> &mut T {
        &mut self.items[number]
    }

    pub fn depth(&self, number: usize) -> u32 {
        self.depths[number] as u32
    }

    /// Takes any item out, for a directory that is taken apart and never asked for a position again.
    pub fn pop(&mut self) -> Option<T> {
        self.items.pop()
    }

    pub fn last_mut(&mut self) -> Option<&mut T> {
        self.items.last_mut()
    }

    pub fn heap_bytes(&self) -> usize {
        self.index.capacity() * size_of::<u32>() + self.items.capacity() * (size_of::<T>() + 1)
    }

    /// Splits the item at `position`: `halve` keeps the half with a 0 at the next bit and returns the other.
    pub fn split(&mut self, position: u64, halve: impl FnOnce(&mut T) -> T) {
        let left = self.at(position);
        if self.depth(left) == self.bits {
            self.double();
        }
        let right = self.items.len();
        let half = halve(&mut self.items[left]);
        push_tight(&mut self.items, half);
        self.depths[left] += 1;
        let depth = self.depths[left];
        push_tight(&mut self.depths, depth);
        let covered = self.covered(position, self.depth(left) - 1);
        let middle = covered.start + covered.len() / 2;
        self.index[middle..covered.end].fill(right as u32);
    }

    /// The other half of what was split last at `position`, when it is there undivided.
    pub fn buddy(&self, position: u64) -> Option<usize> {
        let depth = self.depth(self.at(position));
        let bit = depth.checked_sub(1)?;
        let buddy = self.at(position ^ (1 << 63 >> bit));
        (self.depth(buddy) == depth).then_some(buddy)
    }

    /// Undoes a split: `join` puts the right half into the left one. There must be a `buddy`.
    pub fn merge(&mut self, position: u64, join: impl FnOnce(&mut T, T)) {
        let bit = self.depth(self.at(position)) - 1;
        let right = self.at(position | (1 << 63 >> bit));
        let left = self.at(position & !(1 << 63 >> bit));
        let covered = self.covered(position, bit);
        self.index[covered].fill(left as u32);
        self.depths[left] -= 1;
        let half = self.take(right);
        let left = self.at(position);
        join(&mut self.items[left], half);
        self.halve_while_possible();
    }

    /// Two directories, for the positions that begin with 0 and with 1, each without that bit. `bits` must be above 0.
    pub fn halves(self) -> (Directory<T>, Directory<T>) {
        assert!(self.bits > 0, "one item can't be spread over two directories");
        let middle = self.index.len() / 2;
        let mut items: Vec<Option<T>> = self.items.into_iter().map(Some).collect();
        let mut half = |index: &[u32]| {
            let mut new =
                Directory { bits: self.bits - 1, index: Vec::with_capacity(middle), depths: Vec::new(), items: Vec::new() };
            for number in index {
                // The slots of one item are neighbours: at the first one it moves, at the others it is the newest.
                if let Some(item) = items[*number as usize].take() {
                    push_tight(&mut new.items, item);
                    push_tight(&mut new.depths, self.depths[*number as usize] - 1);
                }
                new.index.push(new.items.len() as u32 - 1);
            }
            new.halve_while_possible();
            new
        };
        (half(&self.index[..middle]), half(&self.index[middle..]))
    }

    /// The reverse of `halves`.
    pub fn join(mut left: Directory<T>, mut right: Directory<T>) -> Directory<T> {
        let bits = left.bits.max(right.bits);
        while left.bits < bits {
            left.double();
        }
        while right.bits < bits {
            right.double();
        }
        let offset = left.items.len() as u32;
        left.index.extend(right.index.iter().map(|number| number + offset));
        left.items.extend(right.items);
        left.depths.extend(right.depths);
        left.depths.iter_mut().for_each(|depth| *depth += 1);
        left.bits = bits + 1;
        left
    }

    pub fn bits(&self) -> u32 {
        self.bits
    }

    fn slot(&self, position: u64) -> usize {
        // Two shifts, because a shift by all 64 bits is not defined.
        ((position >> 1) >> (63 - self.bits)) as usize
    }

    /// The slots whose positions share the first `depth` bits with `position`.
    fn covered(&self, position: u64, depth: u32) -> std::ops::Range<usize> {
        let len = 1 << (self.bits - depth);
        let start = self.slot(position) & !(len - 1);
        start..start + len
    }

    fn double(&mut self) {
        self.index = self.index.iter().flat_map(|number| [*number, *number]).collect();
        self.bits += 1;
    }

    fn halve_while_possible(&mut self) {
        while self.bits > 0 && self.depths.iter().all(|depth| (*depth as u32) < self.bits) {
            self.index = self.index.iter().copied().step_by(2).collect();
            self.bits -= 1;
        }
    }

    /// Takes an item out that no slot points to any more; the last one gets its number.
    fn take(&mut self, number: usize) -> T {
        let last = self.items.len() as u32 - 1;
        for slot in &mut self.index {
            if *slot == last {
                *slot = number as u32;
            }
        }
        self.depths.swap_remove(number);
        let item = self.items.swap_remove(number);
        if self.items.capacity() > 2 * self.items.len() {
            self.items.shrink_to_fit();
            self.depths.shrink_to_fit();
        }
        item
    }
}

/// Grows by an eighth: doubling would leave a quarter of the memory unused on average.
fn push_tight<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 8).max(1));
    }
    list.push(item);
}
