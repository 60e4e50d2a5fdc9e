//! When the fields of a hash expire, of those that do.

use super::element::{Hashed, element_hash};
use super::tree::{Item, Tree};

/// Two trees of the same content.
#[derive(Clone, Debug, Default)]
pub(super) struct Expiries {
    by_field: Tree<OfField>,
    by_time: Tree<Due>,
}

#[derive(Clone, Debug)]
struct OfField {
    field: Hashed,
    at_ms: i64,
}

impl Item for OfField {
    type Key = Hashed;

    fn key(&self) -> &Hashed {
        &self.field
    }

    fn heap_bytes(&self) -> usize {
        self.field.element.heap_bytes()
    }
}

#[derive(Clone, Debug)]
struct Due((i64, Hashed));

impl Item for Due {
    type Key = (i64, Hashed);

    fn key(&self) -> &(i64, Hashed) {
        &self.0
    }

    fn heap_bytes(&self) -> usize {
        self.0.1.element.heap_bytes()
    }
}

impl Expiries {
    pub fn len(&self) -> usize {
        self.by_field.len()
    }

    pub fn heap_bytes(&self) -> usize {
        self.by_field.heap_bytes() + self.by_time.heap_bytes()
    }

    pub fn free_some(&mut self, parts: usize) -> bool {
        self.by_field.free_some(parts) && self.by_time.free_some(parts)
    }

    pub fn get(&self, field: &[u8]) -> Option<i64> {
        let hash = element_hash(field);
        self.by_field.find(|key| key.order(hash, field)).map(|found| found.at_ms)
    }

    pub fn set(&mut self, field: &[u8], at_ms: i64) {
        self.remove(field);
        let field = Hashed::new(field);
        self.by_time.insert(|key| key.0.cmp(&at_ms).then_with(|| key.1.cmp(&field)), Due((at_ms, field.clone())));
        self.by_field.insert(|key| key.cmp(&field), OfField { field: field.clone(), at_ms });
    }

    /// False: it did not expire.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        let hash = element_hash(field);
        let Some(removed) = self.by_field.remove(|key| key.order(hash, field)) else { return false };
        self.by_time.remove(|key| key.0.cmp(&removed.at_ms).then_with(|| key.1.order(hash, field)));
        true
    }

    /// Fields and times from a rank on, the earliest first.
    pub fn iter_from(&self, rank: usize) -> impl Iterator<Item = (&[u8], i64)> {
        self.by_time.iter_from(rank).map(|Due((at_ms, field))| (&*field.element, *at_ms))
    }
}

impl PartialEq for Expiries {
    fn eq(&self, other: &Expiries) -> bool {
        self.iter_from(0).eq(other.iter_from(0))
    }
}
