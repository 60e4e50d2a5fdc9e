//! Sets.
//!
//! | form | when | OBJECT ENCODING |
//! |---|---|---|
//! | `Ints` | integers only, within `set-max-intset-entries` | intset |
//! | `Pack` | within `set-max-listpack-entries` and `-value` | listpack |
//! | `Table` | above: a tree ordered by the members' hashes | hashtable |
//!
//! As in Redis, a set only moves down in this table.

use super::element::{Element, Hashed, element_hash, scan_hashed};
use super::intset::{IntSet, Ints};
use super::limits::Limits;
use super::listpack::{Elements, LISTPACK_BYTES_MAX, Listpack, Packed};
use super::string::parse_i64;
use super::tree::{self, Item, Tree};
use std::collections::HashSet;

/// Redis allows no more, whatever the limit is set to: an intset stays below 1 GiB.
const INTSET_ENTRIES_MAX: usize = 1 << 30;

/// Members that `Set::push` has put into a listpack.
pub type Seen = HashSet<Vec<u8>>;

#[derive(Clone, Debug)]
pub struct Set(Form);

#[derive(Clone, Debug)]
enum Form {
    Ints(IntSet),
    Pack(Listpack),
    Table(Box<Tree<Hashed>>),
}

impl Item for Hashed {
    type Key = Hashed;

    fn key(&self) -> &Hashed {
        self
    }

    fn heap_bytes(&self) -> usize {
        self.element.heap_bytes()
    }
}

impl Default for Set {
    fn default() -> Set {
        Set::new()
    }
}

impl Set {
    /// An intset, which becomes something else with the first member that is no integer.
    pub fn new() -> Set {
        Set(Form::Ints(IntSet::default()))
    }

    /// A listpack.
    pub fn packed() -> Set {
        Set(Form::Pack(Listpack::new()))
    }

    /// For a member and `count` - 1 others, which are not looked at: what Redis makes for SADD.
    pub fn for_members(first: &[u8], count: usize, limits: &Limits) -> Set {
        Set(if parse_i64(first).is_some() && count <= limits.set_max_intset_entries {
            Form::Ints(IntSet::default())
        } else if count <= limits.set_max_listpack_entries {
            Form::Pack(Listpack::new())
        } else {
            Form::Table(Box::default())
        })
    }

    /// Of integers in ascending order.
    pub fn from_ints(ints: &[i64], limits: &Limits) -> Set {
        let mut set = Set(Form::Ints(IntSet::from_sorted(ints)));
        set.expect(ints.len(), limits);
        set
    }

    /// A listpack from outside as a set. None: it is empty, or a member is there twice.
    pub fn from_listpack(pack: &Listpack, limits: &Limits) -> Option<Set> {
        let (mut set, mut seen) = (Set::packed(), Seen::new());
        set.expect(pack.len(), limits);
        // Member by member: it may hold an integer as a string, which no search would find.
        let new = pack.iter().all(|member| member.with_bytes(|member| set.push(member, limits, &mut seen)));
        (new && !set.is_empty()).then_some(set)
    }

    pub fn encoding_name(&self) -> &'static str {
        match &self.0 {
            Form::Ints(_) => "intset",
            Form::Pack(_) => "listpack",
            Form::Table(_) => "hashtable",
        }
    }

    pub fn heap_bytes(&self) -> usize {
        size_of::<Set>()
            + match &self.0 {
                Form::Ints(ints) => ints.heap_bytes(),
                Form::Pack(pack) => pack.heap_bytes(),
                Form::Table(members) => size_of::<Tree<Hashed>>() + members.heap_bytes(),
            }
    }

    pub fn is_compact(&self) -> bool {
        !matches!(self.0, Form::Table(_))
    }

    pub fn free_some(&mut self, parts: usize) -> bool {
        match &mut self.0 {
            Form::Ints(_) | Form::Pack(_) => true,
            Form::Table(members) => members.free_some(parts),
        }
    }

    // --- Looking -----------------------------------------------------------------------------------------------------

    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Ints(ints) => ints.len(),
            Form::Pack(pack) => pack.len(),
            Form::Table(members) => members.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn contains(&self, member: &[u8]) -> bool {
        match &self.0 {
            Form::Ints(ints) => parse_i64(member).is_some_and(|int| ints.contains(int)),
            Form::Pack(pack) => pack.find(pack.first(), member, 1).is_some(),
            Form::Table(members) => {
                let hash = element_hash(member);
                members.find(|key| key.order(hash, member)).is_some()
            }
        }
    }

    /// The member at a rank, in an order that lasts until the next change.
    pub fn at(&self, rank: usize) -> Option<Packed<'_>> {
        self.iter_from(rank).next()
    }

    pub fn iter(&self) -> Members<'_> {
        self.iter_from(0)
    }

    /// All members from a rank on: integers ascending, packed ones as they came, others in no order.
    pub fn iter_from(&self, rank: usize) -> Members<'_> {
        Members(match &self.0 {
            Form::Ints(ints) => Walk::Ints(ints.iter_from(rank)),
            Form::Pack(pack) => Walk::Pack(pack.at(rank).map(|pos| pack.iter_from(pos))),
            Form::Table(members) => Walk::Table(members.iter_from(rank)),
        })
    }

    /// One step of SSCAN: visits about `count` members from `cursor` (0 = start) on and gives the next cursor, 0 = finished.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Packed<'_>)) -> u64 {
        match &self.0 {
            Form::Ints(_) | Form::Pack(_) => {
                self.iter().for_each(visit);
                0
            }
            Form::Table(members) => scan_hashed(members, cursor, count, |member| visit(Packed::Bytes(&member.element))),
        }
    }

    // --- Changing ----------------------------------------------------------------------------------------------------

    /// Leaves the compact form at once when so many members will be added that it could not stay. Redis counts them all as new.
    pub fn expect(&mut self, members: usize, limits: &Limits) {
        if !self.stays_compact_with(members, limits) {
            self.make_table();
        }
    }

    /// False: `expect` would change the form.
    pub fn stays_compact_with(&self, members: usize, limits: &Limits) -> bool {
        match &self.0 {
            Form::Ints(_) => members <= intset_entries_max(limits),
            Form::Pack(_) => members <= limits.set_max_listpack_entries,
            Form::Table(_) => true,
        }
    }

    /// A listpack of nothing but integers becomes an intset, within its limit: an intersection begins as a listpack.
    pub fn make_ints(&mut self, limits: &Limits) {
        if let Form::Pack(pack) = &self.0
            && pack.len() <= intset_entries_max(limits)
            && let Some(mut ints) = pack.iter().map(Packed::int).collect::<Option<Vec<i64>>>()
        {
            ints.sort_unstable();
            self.0 = Form::Ints(IntSet::from_sorted(&ints));
        }
    }

    /// False: it was there already.
    pub fn add(&mut self, member: &[u8], limits: &Limits) -> bool {
        match &mut self.0 {
            Form::Ints(ints) => match parse_i64(member) {
                Some(int) => {
                    let new = ints.insert(int);
                    if ints.len() > intset_entries_max(limits) {
                        self.make_table();
                    }
                    new
                }
                None => self.add_to_ints(member, limits),
            },
            Form::Pack(pack) => {
                if pack.find(pack.first(), member, 1).is_some() {
                    return false;
                }
                self.add_to_pack(member, limits)
            }
            Form::Table(members) => insert(members, member),
        }
    }

    /// As `add`, to a set that only `push` has filled, and without looking through a listpack for each member.
    pub fn push(&mut self, member: &[u8], limits: &Limits, seen: &mut Seen) -> bool {
        if let Form::Ints(ints) = &self.0
            && parse_i64(member).is_none()
        {
            *seen = ints.iter_from(0).map(|int| int.to_string().into_bytes()).collect();
        }
        match &self.0 {
            Form::Pack(_) => seen.insert(member.to_vec()) && self.add_to_pack(member, limits),
            _ => {
                let new = self.add(member, limits);
                if !self.is_compact() {
                    *seen = Seen::new();
                } else if let Form::Pack(_) = &self.0 {
                    seen.insert(member.to_vec());
                }
                new
            }
        }
    }

    /// The first member that is no integer.
    fn add_to_ints(&mut self, member: &[u8], limits: &Limits) -> bool {
        let longest = self.longest_int();
        let fits = longest <= limits.set_max_listpack_value && self.len() * (longest + 2) <= LISTPACK_BYTES_MAX;
        if fits && self.len() < limits.set_max_listpack_entries && member.len() <= limits.set_max_listpack_value {
            let mut pack = Listpack::new();
            self.iter().for_each(|int| int.with_bytes(|int| pack.push(int)));
            self.0 = Form::Pack(pack);
        } else {
            self.make_table();
        }
        self.add(member, limits)
    }

    /// Digits of the longest integer of an intset: it is the first or the last.
    fn longest_int(&self) -> usize {
        let len = |rank: Option<usize>| rank.and_then(|rank| self.at(rank)).map_or(0, Packed::len);
        len(Some(0)).max(len(self.len().checked_sub(1)))
    }

    /// A member that a packed set does not have.
    fn add_to_pack(&mut self, member: &[u8], limits: &Limits) -> bool {
        let Form::Pack(pack) = &mut self.0 else { unreachable!("the caller has seen a listpack") };
        let fits = member.len() <= limits.set_max_listpack_value && pack.total_bytes() + member.len() <= LISTPACK_BYTES_MAX;
        if fits && pack.len() < limits.set_max_listpack_entries {
            pack.push(member);
            return true;
        }
        self.make_table();
        self.add(member, limits)
    }

    /// False: it was not there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match &mut self.0 {
            Form::Ints(ints) => parse_i64(member).is_some_and(|int| ints.remove(int)),
            Form::Pack(pack) => {
                let found = pack.find(pack.first(), member, 1);
                if let Some(at) = found {
                    pack.remove(at, 1);
                }
                found.is_some()
            }
            Form::Table(members) => {
                let hash = element_hash(member);
                members.remove(|key| key.order(hash, member)).is_some()
            }
        }
    }

    /// Takes the member at a rank out.
    ///
    /// # Panics
    /// When `rank` is beyond the end.
    pub fn take_at(&mut self, rank: usize) -> Element {
        match &mut self.0 {
            Form::Ints(ints) => Packed::Int(ints.remove_at(rank)).with_bytes(Element::new),
            Form::Pack(pack) => {
                let pos = pack.at(rank).expect("a rank below the length");
                let member = pack.get(pos).with_bytes(Element::new);
                pack.remove(pos, 1);
                member
            }
            Form::Table(members) => members.remove_at(rank).element,
        }
    }

    fn make_table(&mut self) {
        if !self.is_compact() {
            return;
        }
        let mut table = Box::new(Tree::new());
        self.iter().for_each(|member| _ = member.with_bytes(|member| insert(&mut table, member)));
        self.0 = Form::Table(table);
    }
}

fn intset_entries_max(limits: &Limits) -> usize {
    limits.set_max_intset_entries.min(INTSET_ENTRIES_MAX)
}

fn insert(members: &mut Tree<Hashed>, member: &[u8]) -> bool {
    let hash = element_hash(member);
    // Looked for first: a member that is there must not cost a copy of the nodes that a clone shares.
    if members.find(|key| key.order(hash, member)).is_some() {
        return false;
    }
    members.insert(|key| key.order(hash, member), Hashed { hash, element: Element::new(member) });
    true
}

pub struct Members<'a>(Walk<'a>);

enum Walk<'a> {
    Ints(Ints<'a>),
    /// None: behind the last member from the start.
    Pack(Option<Elements<'a>>),
    Table(tree::Iter<'a, Hashed>),
}

impl<'a> Iterator for Members<'a> {
    type Item = Packed<'a>;

    fn next(&mut self) -> Option<Packed<'a>> {
        match &mut self.0 {
            Walk::Ints(ints) => ints.next().map(Packed::Int),
            Walk::Pack(elements) => elements.as_mut()?.next(),
            Walk::Table(members) => members.next().map(|member| Packed::Bytes(&member.element)),
        }
    }
}

/// The same content; the encoding does not count.
impl PartialEq for Set {
    fn eq(&self, other: &Set) -> bool {
        self.len() == other.len() && self.iter().all(|member| member.with_bytes(|member| other.contains(member)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    type Model = BTreeSet<Vec<u8>>;

    const LIMITS: Limits =
        Limits { set_max_intset_entries: 12, set_max_listpack_entries: 8, set_max_listpack_value: 10, ..Limits::DEFAULT };

    fn check(set: &Set, model: &Model) {
        assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
        let (mut scanned, mut cursor) = (Model::new(), 0);
        loop {
            cursor = set.scan(cursor, 3, |member| {
                scanned.insert(member.bytes().into_owned());
            });
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(scanned, *model);
        for (rank, member) in set.iter().enumerate() {
            assert_eq!(set.at(rank), Some(member));
        }
        assert_eq!(set.at(model.len()), None);
        assert!(model.iter().all(|member| set.contains(member)));
        assert!(!set.contains(b"never"));
        if let Form::Table(members) = &set.0 {
            members.check();
        }
    }

    fn text(random: &mut fastrand::Rng, ints: bool) -> Vec<u8> {
        match random.u8(..8) {
            0 if !ints => vec![b'x'; random.usize(8..12)],
            1..4 if !ints => vec![b'a' + random.u8(..10); 2],
            _ => random.i64(-10..10).to_string().into_bytes(),
        }
    }

    #[test]
    fn any_sequence_of_changes_equals_the_same_on_a_set_and_clones_keep_what_they_saw() {
        for seed in 0..60 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut set, mut model) = (Set::new(), Model::new());
            let mut kept = Vec::new();
            for step in 0..200 {
                let member = text(&mut random, step < seed * 3);
                match random.u8(..6) {
                    0 => assert_eq!(set.remove(&member), model.remove(&member)),
                    1 if !model.is_empty() => assert!(model.remove(&*set.take_at(random.usize(..model.len())))),
                    _ => assert_eq!(set.add(&member, &LIMITS), model.insert(member)),
                }
                check(&set, &model);
                if step % 50 == 0 {
                    kept.push((set.clone(), model.clone()));
                }
            }
            kept.iter().for_each(|(set, model)| check(set, model));
            assert!(kept.iter().all(|(old, then)| (*old == set) == (*then == model)));
        }
    }

    #[test]
    fn pushing_is_adding() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut pushed, mut added, mut seen) = (Set::new(), Set::new(), Seen::new());
            for step in 0..20 {
                let member = text(&mut random, step < seed % 20);
                let new = added.add(&member, &LIMITS);
                assert_eq!(pushed.push(&member, &LIMITS, &mut seen), new);
                assert_eq!((&pushed, pushed.encoding_name()), (&added, added.encoding_name()));
            }
        }
    }

    #[test]
    fn the_encoding_changes_at_the_limits_and_never_back() {
        let of = |members: &[&[u8]]| {
            let mut set = Set::for_members(members[0], members.len(), &LIMITS);
            set.expect(members.len(), &LIMITS);
            members.iter().for_each(|member| assert!(set.add(member, &LIMITS)));
            set
        };
        let ints: Vec<String> = (0..13).map(|int| int.to_string()).collect();
        let ints: Vec<&[u8]> = ints.iter().map(|int| int.as_bytes()).collect();
        assert_eq!(of(&ints[..12]).encoding_name(), "intset");
        assert_eq!(of(&ints).encoding_name(), "hashtable");
        assert_eq!(of(&[&ints[..7], &[b"a"]].concat()).encoding_name(), "listpack");
        assert_eq!(of(&[&ints[..8], &[b"a"]].concat()).encoding_name(), "hashtable");
        assert_eq!(of(&[b"a", b"b"]).encoding_name(), "listpack");
        let mut set = of(&[b"a", &[b'x'; 11]]);
        assert_eq!(set.encoding_name(), "hashtable");
        assert!(set.remove(&[b'x'; 11]));
        assert_eq!(set.encoding_name(), "hashtable");
        assert_eq!(set, of(&[b"a"]));
    }

    #[test]
    fn a_listpack_with_a_repeated_member_is_no_set() {
        let of = |elements: &[&[u8]]| {
            let mut pack = Listpack::new();
            pack.append(elements);
            Set::from_listpack(&pack, &LIMITS)
        };
        assert_eq!(of(&[b"a", b"1"]).map(|set| set.len()), Some(2));
        assert_eq!(of(&[b"a", b"1", b"a"]), None);
        assert_eq!(of(&[]), None);
    }
}
