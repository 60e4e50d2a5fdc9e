//! Hashes.
//!
//! | form | when | OBJECT ENCODING |
//! |---|---|---|
//! | `Pack` | within `hash-max-listpack-entries` and `-value`: field, value, field, value … | listpack |
//! | `Table` | above: a tree ordered by the fields' hashes | hashtable |
//! | `Expiring` | some field expires, or once did: one of the others, and when which field expires | listpackex, hashtable |
//!
//! As in Redis, a hash never becomes a `Pack` again.

use super::element::{Element, Hashed, element_hash, scan_hashed};
use super::field_expiry::Expiries;
use super::limits::Limits;
use super::listpack::{Elements, LISTPACK_BYTES_MAX, Listpack, Packed, Pos};
use super::tree::{self, Item, Tree};
use std::collections::HashSet;

/// Fields that `Hash::push` has put into a listpack.
pub type Seen = HashSet<Vec<u8>>;

#[derive(Clone, Debug)]
pub struct Hash(Form);

#[derive(Clone, Debug)]
enum Form {
    Pack(Listpack),
    Table(Box<Tree<Pair>>),
    Expiring(Box<Expiring>),
}

#[derive(Clone, Debug)]
struct Expiring {
    /// A pack or a table.
    fields: Hash,
    expiries: Expiries,
}

#[derive(Clone, Debug, PartialEq)]
struct Pair {
    field: Hashed,
    value: Element,
}

impl Item for Pair {
    type Key = Hashed;

    fn key(&self) -> &Hashed {
        &self.field
    }

    fn heap_bytes(&self) -> usize {
        self.field.element.heap_bytes() + self.value.heap_bytes()
    }
}

impl Default for Hash {
    fn default() -> Hash {
        Hash::new()
    }
}

impl Hash {
    pub fn new() -> Hash {
        Hash(Form::Pack(Listpack::new()))
    }

    /// A listpack from outside as a hash. None: an odd number of elements, none at all, or a field that is there twice.
    pub fn from_listpack(pack: Listpack, limits: &Limits) -> Option<Hash> {
        let (mut hash, mut seen) = (Hash::new(), Seen::new());
        hash.expect(pack.len() / 2, limits);
        let mut elements = pack.iter();
        // Element by element: it may hold an integer as a string, which no search would find.
        while let Some(field) = elements.next() {
            let value = elements.next()?;
            if !field.with_bytes(|field| value.with_bytes(|value| hash.push(field, value, limits, &mut seen))) {
                return None;
            }
        }
        (!hash.is_empty()).then_some(hash)
    }

    /// As `set`, but in a hash that only `push` has filled, and without looking through a listpack for each field. False: the
    /// field was there already; the hash is of no use then.
    pub fn push(&mut self, field: &[u8], value: &[u8], limits: &Limits, seen: &mut Seen) -> bool {
        match &mut self.0 {
            Form::Pack(pack) if pack.len() / 2 < limits.hash_max_listpack_entries && fits(pack, field, value, limits) => {
                let new = seen.insert(field.to_vec());
                pack.append(&[field, value]);
                new
            }
            _ => self.set(field, value, limits),
        }
    }

    pub fn encoding_name(&self) -> &'static str {
        match &self.0 {
            Form::Pack(_) => "listpack",
            Form::Table(_) => "hashtable",
            Form::Expiring(expiring) if expiring.fields.is_compact() => "listpackex",
            Form::Expiring(_) => "hashtable",
        }
    }

    pub fn heap_bytes(&self) -> usize {
        size_of::<Hash>()
            + match &self.0 {
                Form::Pack(pack) => pack.heap_bytes(),
                Form::Table(pairs) => size_of::<Tree<Pair>>() + pairs.heap_bytes(),
                Form::Expiring(expiring) => size_of::<Expiries>() + expiring.fields.heap_bytes() + expiring.expiries.heap_bytes(),
            }
    }

    pub fn is_compact(&self) -> bool {
        match &self.0 {
            Form::Pack(_) => true,
            Form::Table(_) => false,
            Form::Expiring(expiring) => expiring.fields.is_compact(),
        }
    }

    pub fn free_some(&mut self, parts: usize) -> bool {
        match &mut self.0 {
            Form::Pack(_) => true,
            Form::Table(pairs) => pairs.free_some(parts),
            Form::Expiring(expiring) => expiring.fields.free_some(parts) && expiring.expiries.free_some(parts),
        }
    }

    // --- Looking -----------------------------------------------------------------------------------------------------

    /// Number of fields.
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Pack(pack) => pack.len() / 2,
            Form::Table(pairs) => pairs.len(),
            Form::Expiring(expiring) => expiring.fields.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a field.
    pub fn get(&self, field: &[u8]) -> Option<Packed<'_>> {
        match &self.0 {
            Form::Pack(pack) => {
                let at = pack.find(pack.first(), field, 2)?;
                Some(value_behind(pack, at))
            }
            Form::Table(pairs) => {
                let hash = element_hash(field);
                pairs.find(|key| key.order(hash, field)).map(|pair| Packed::Bytes(&pair.value))
            }
            Form::Expiring(expiring) => expiring.fields.get(field),
        }
    }

    pub fn contains(&self, field: &[u8]) -> bool {
        self.get(field).is_some()
    }

    /// The pair at a rank, in an order that lasts until the next change.
    pub fn at(&self, rank: usize) -> Option<(Packed<'_>, Packed<'_>)> {
        self.iter_from(rank).next()
    }

    pub fn iter(&self) -> Pairs<'_> {
        self.iter_from(0)
    }

    /// All pairs from a rank on.
    pub fn iter_from(&self, rank: usize) -> Pairs<'_> {
        match &self.0 {
            Form::Pack(pack) => Pairs(Walk::Pack(pack.at(rank * 2).map(|pos| pack.iter_from(pos)))),
            Form::Table(pairs) => Pairs(Walk::Table(pairs.iter_from(rank))),
            Form::Expiring(expiring) => expiring.fields.iter_from(rank),
        }
    }

    /// One step of HSCAN: visits about `count` pairs from `cursor` (0 = start) on and gives the next cursor, 0 = finished.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Packed<'_>, Packed<'_>)) -> u64 {
        match &self.0 {
            Form::Pack(_) => {
                self.iter().for_each(|(field, value)| visit(field, value));
                0
            }
            Form::Table(pairs) => scan_hashed(pairs, cursor, count, |pair| {
                visit(Packed::Bytes(&pair.field.element), Packed::Bytes(&pair.value));
            }),
            Form::Expiring(expiring) => expiring.fields.scan(cursor, count, visit),
        }
    }

    // --- Changing ----------------------------------------------------------------------------------------------------

    /// Leaves the compact form at once when so many fields will be set that it could not stay. Redis counts them all as new.
    pub fn expect(&mut self, fields: usize, limits: &Limits) {
        if fields > limits.hash_max_listpack_entries {
            self.make_table();
        }
    }

    /// True: the field is new. One that expired does so no more.
    pub fn set(&mut self, field: &[u8], value: &[u8], limits: &Limits) -> bool {
        if let Form::Pack(pack) = &self.0
            && !fits(pack, field, value, limits)
        {
            self.make_table();
        }
        match &mut self.0 {
            Form::Pack(pack) => {
                let new = set_in_pack(pack, field, value);
                if pack.len() / 2 > limits.hash_max_listpack_entries {
                    self.make_table();
                }
                new
            }
            Form::Table(pairs) => insert(pairs, field, value),
            Form::Expiring(expiring) => {
                expiring.expiries.remove(field);
                expiring.fields.set(field, value, limits)
            }
        }
    }

    /// False: there was no such field.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match &mut self.0 {
            Form::Pack(pack) => {
                let found = pack.find(pack.first(), field, 2);
                if let Some(at) = found {
                    pack.remove(at, 2);
                }
                found.is_some()
            }
            Form::Table(pairs) => {
                let hash = element_hash(field);
                pairs.remove(|key| key.order(hash, field)).is_some()
            }
            Form::Expiring(expiring) => {
                expiring.expiries.remove(field);
                expiring.fields.remove(field)
            }
        }
    }

    // --- Expiry of fields --------------------------------------------------------------------------------------------

    /// Number of fields that expire.
    pub fn expiring_len(&self) -> usize {
        self.expiries().map_or(0, Expiries::len)
    }

    pub fn expiry(&self, field: &[u8]) -> Option<i64> {
        self.expiries()?.get(field)
    }

    /// Fields that expire and when, from a rank among them on, the earliest first.
    pub fn expiries_from(&self, rank: usize) -> impl Iterator<Item = (&[u8], i64)> {
        self.expiries().into_iter().flat_map(move |expiries| expiries.iter_from(rank))
    }

    /// When the first field expires.
    pub fn next_expiry(&self) -> Option<i64> {
        self.expiries_from(0).next().map(|(_, at_ms)| at_ms)
    }

    fn expiries(&self) -> Option<&Expiries> {
        match &self.0 {
            Form::Expiring(expiring) => Some(&expiring.expiries),
            _ => None,
        }
    }

    /// # Panics
    /// When there is no such field.
    pub fn set_expiry(&mut self, field: &[u8], at_ms: i64) {
        assert!(self.contains(field), "only a field that is there expires");
        if !matches!(self.0, Form::Expiring(_)) {
            let fields = std::mem::take(self);
            self.0 = Form::Expiring(Box::new(Expiring { fields, expiries: Expiries::default() }));
        }
        let Form::Expiring(expiring) = &mut self.0 else { unreachable!("just made") };
        expiring.expiries.set(field, at_ms);
    }

    /// False: the field did not expire.
    pub fn persist(&mut self, field: &[u8]) -> bool {
        match &mut self.0 {
            Form::Expiring(expiring) => expiring.expiries.remove(field),
            _ => false,
        }
    }

    fn make_table(&mut self) {
        if let Form::Expiring(expiring) = &mut self.0 {
            return expiring.fields.make_table();
        }
        let Form::Pack(_) = &self.0 else { return };
        let mut table = Box::new(Tree::new());
        for (field, value) in self.iter() {
            field.with_bytes(|field| value.with_bytes(|value| insert(&mut table, field, value)));
        }
        self.0 = Form::Table(table);
    }
}

/// Whether a listpack may take this pair in addition.
fn fits(pack: &Listpack, field: &[u8], value: &[u8], limits: &Limits) -> bool {
    let longest = field.len().max(value.len());
    longest <= limits.hash_max_listpack_value && pack.total_bytes() + field.len() + value.len() <= LISTPACK_BYTES_MAX
}

fn set_in_pack(pack: &mut Listpack, field: &[u8], value: &[u8]) -> bool {
    match pack.find(pack.first(), field, 2) {
        None => {
            pack.append(&[field, value]);
            true
        }
        Some(at) => {
            let value_at = pack.next(at).expect("every field has a value");
            pack.replace(value_at, value);
            false
        }
    }
}

fn value_behind(pack: &Listpack, field: Pos) -> Packed<'_> {
    pack.get(pack.next(field).expect("every field has a value"))
}

fn insert(pairs: &mut Tree<Pair>, field: &[u8], value: &[u8]) -> bool {
    let (field, value) = (Hashed::new(field), Element::new(value));
    let place = field.clone();
    pairs.insert(|key| key.cmp(&place), Pair { field, value }).is_none()
}

pub struct Pairs<'a>(Walk<'a>);

enum Walk<'a> {
    /// None: behind the last pair from the start.
    Pack(Option<Elements<'a>>),
    Table(tree::Iter<'a, Pair>),
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Packed<'a>, Packed<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Walk::Pack(elements) => {
                let elements = elements.as_mut()?;
                Some((elements.next()?, elements.next().expect("every field has a value")))
            }
            Walk::Table(pairs) => pairs.next().map(|pair| (Packed::Bytes(&pair.field.element), Packed::Bytes(&pair.value))),
        }
    }
}

/// The same content, expiries included; the encoding does not count.
impl PartialEq for Hash {
    fn eq(&self, other: &Hash) -> bool {
        let same = |field: Packed<'_>, value: Packed<'_>| {
            field.with_bytes(|field| other.get(field)).is_some_and(|there| there.bytes() == value.bytes())
        };
        let same_fields = self.len() == other.len() && self.iter().all(|(field, value)| same(field, value));
        same_fields && self.expiries_from(0).eq(other.expiries_from(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    type Model = BTreeMap<Vec<u8>, Vec<u8>>;

    const LIMITS: Limits = Limits { hash_max_listpack_entries: 8, hash_max_listpack_value: 10, ..Limits::DEFAULT };

    fn check(hash: &Hash, model: &Model) {
        assert_eq!((hash.len(), hash.is_empty()), (model.len(), model.is_empty()));
        let mut scanned = Model::new();
        let mut cursor = 0;
        loop {
            cursor = hash.scan(cursor, 3, |field, value| {
                scanned.insert(field.bytes().into_owned(), value.bytes().into_owned());
            });
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(scanned, *model);
        for (rank, (field, value)) in hash.iter().enumerate() {
            assert_eq!(hash.at(rank), Some((field, value)));
            assert_eq!(model.get(&*field.bytes()).map(Vec::as_slice), Some(&*value.bytes()));
        }
        assert_eq!(hash.at(model.len()), None);
        for (field, value) in model {
            assert_eq!(hash.get(field).expect("there").bytes(), *value);
        }
        assert!(!hash.contains(b"never"));
        if let Form::Table(pairs) = &hash.0 {
            pairs.check();
        }
    }

    fn text(random: &mut fastrand::Rng) -> Vec<u8> {
        match random.u8(..8) {
            0 => random.i64(-20..20).to_string().into_bytes(),
            1 => vec![b'x'; random.usize(8..12)],
            _ => vec![b'a' + random.u8(..10); 2],
        }
    }

    #[test]
    fn any_sequence_of_changes_equals_the_same_on_a_map_and_clones_keep_what_they_saw() {
        for seed in 0..60 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut hash, mut model) = (Hash::new(), Model::new());
            let mut kept = Vec::new();
            for step in 0..200 {
                let field = text(&mut random);
                if random.u8(..3) > 0 {
                    let value = text(&mut random);
                    let new = hash.set(&field, &value, &LIMITS);
                    assert_eq!(new, model.insert(field, value).is_none());
                } else {
                    assert_eq!(hash.remove(&field), model.remove(&field).is_some());
                }
                check(&hash, &model);
                if step % 50 == 0 {
                    kept.push((hash.clone(), model.clone()));
                }
            }
            kept.iter().for_each(|(hash, model)| check(hash, model));
            assert!(kept.iter().all(|(old, then)| (*old == hash) == (*then == model)));
        }
    }

    #[test]
    fn the_encoding_changes_at_the_limits_and_never_back() {
        let filled = |count: usize| {
            let mut hash = Hash::new();
            (0..count).for_each(|i| assert!(hash.set(i.to_string().as_bytes(), b"v", &LIMITS)));
            hash
        };
        assert_eq!(filled(8).encoding_name(), "listpack");
        let mut big = filled(9);
        assert_eq!(big.encoding_name(), "hashtable");
        (1..9).for_each(|i| assert!(big.remove(i.to_string().as_bytes())));
        assert_eq!((big.encoding_name(), big.len()), ("hashtable", 1));
        for (field, value) in [(&[b'f'; 11][..], &b"v"[..]), (b"f", &[b'v'; 11])] {
            let mut hash = filled(1);
            hash.set(field, value, &LIMITS);
            assert_eq!(hash.encoding_name(), "hashtable");
        }
        let mut expecting = filled(1);
        expecting.expect(8, &LIMITS);
        assert_eq!(expecting.encoding_name(), "listpack");
        expecting.expect(9, &LIMITS);
        assert_eq!(expecting.encoding_name(), "hashtable");
        assert_eq!(expecting, filled(1));
    }

    #[test]
    fn expiries_go_with_their_fields_through_all_changes() {
        for seed in 0..40 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut hash, mut model) = (Hash::new(), BTreeMap::<Vec<u8>, Option<i64>>::new());
            for _ in 0..300 {
                let field = text(&mut random);
                match random.u8(..5) {
                    0 => assert_eq!(hash.remove(&field), model.remove(&field).is_some()),
                    1 | 2 if model.contains_key(&field) => {
                        let at_ms = random.i64(..20);
                        hash.set_expiry(&field, at_ms);
                        model.insert(field, Some(at_ms));
                    }
                    3 if model.contains_key(&field) => {
                        assert_eq!(hash.persist(&field), model.insert(field, None).flatten().is_some());
                    }
                    _ => assert_eq!(hash.set(&field, b"v", &LIMITS), model.insert(field, None).is_none()),
                }
                assert_eq!(hash.len(), model.len());
                assert!(model.iter().all(|(field, at_ms)| hash.contains(field) && hash.expiry(field) == *at_ms));
                assert_eq!(hash.next_expiry(), model.values().flatten().min().copied());
                assert_eq!(hash.expiring_len(), model.values().flatten().count());
                assert_eq!(hash, hash.clone());
            }
        }
    }

    #[test]
    fn a_listpack_with_an_odd_field_or_a_repeated_one_is_no_hash() {
        let of = |elements: &[&[u8]]| {
            let mut pack = Listpack::new();
            pack.append(elements);
            Hash::from_listpack(pack, &LIMITS)
        };
        assert_eq!(of(&[b"a", b"1", b"b", b"2"]).map(|hash| hash.len()), Some(2));
        assert_eq!(of(&[b"a", b"1", b"b"]), None);
        assert_eq!(of(&[b"a", b"1", b"a", b"2"]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_big_hash_is_freed_in_steps() {
        let mut hash = Hash::new();
        (0..10_000).for_each(|i| assert!(hash.set(i.to_string().as_bytes(), &[b'v'; 20], &LIMITS)));
        assert!(hash.heap_bytes() > 10_000 * 60);
        let mut steps = 0;
        while !hash.free_some(100) {
            steps += 1;
        }
        assert!(steps > 50);
    }
}
