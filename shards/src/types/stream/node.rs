//! A node of a stream: a run of entries in one listpack, as Redis packs and saves them.
//!
//! ```text
//! master entry   live entries | deleted entries | n | field 1 … field n | 0
//! entry          flags | ms | seq | value 1 … value n | n + 3                             flags with SAME_FIELDS
//!                flags | ms | seq | m | field 1 | value 1 … field m | value m | 2m + 4    otherwise
//! ```
//! The node's master id is that of its first entry; `ms` and `seq` are added to it, wrapping around. The master's fields are
//! those of the first entry. The last number of an entry counts its other elements, so that a run can be read backwards.
//! A deleted entry stays with a flag, and goes with the node.
//!
//! A node from outside is valid when: 1. its elements are as drawn and nothing follows the last entry; 2. both counts are
//! right; 3. the ids, deleted ones included, ascend from the master id on. `Node::load` checks all of it, so nothing else here
//! has to. Redis may leave nodes without a live entry; a `Stream` does not.

use super::id::{StreamId, delta};
use crate::types::listpack::{Elements, Listpack, Packed, Pos};
use crate::types::string::Decimal;
use crate::types::tree::Item;
use triomphe::Arc;

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;

/// Reference count in front of a listpack's handle.
const SHARED_HEADER_BYTES: usize = 8;

#[derive(Clone, Debug)]
pub struct Node {
    master: StreamId,
    /// Entries that are not deleted; the listpack says the same.
    live: usize,
    /// Shared, because a tree that is written to copies whole leaves of nodes.
    pack: Arc<Listpack>,
}

impl Item for Node {
    type Key = StreamId;

    fn key(&self) -> &StreamId {
        &self.master
    }

    fn weight(&self) -> usize {
        self.live
    }

    fn heap_bytes(&self) -> usize {
        SHARED_HEADER_BYTES + size_of::<Listpack>() + self.pack.heap_bytes()
    }
}

/// What stands at the beginning of an entry.
#[derive(Clone, Copy)]
struct Head {
    /// Of the flags.
    pos: Pos,
    flags: i64,
    id: StreamId,
    /// Number of fields.
    len: usize,
    /// Of the first value or field.
    body: Option<Pos>,
}

impl Head {
    fn alive(&self) -> bool {
        self.flags & DELETED == 0
    }

    fn body_elements(&self) -> usize {
        if self.flags & SAME_FIELDS != 0 { self.len } else { self.len * 2 }
    }
}

impl Node {
    /// `pairs`: field, value, field, value …
    pub fn new(id: StreamId, pairs: &[&[u8]]) -> Node {
        let mut pack = Listpack::new();
        let len = Decimal::new((pairs.len() / 2) as i64);
        let fields = pairs.iter().step_by(2).copied();
        let elements: Vec<&[u8]> = [&b"0"[..], b"0", len.bytes()].into_iter().chain(fields).chain([&b"0"[..]]).collect();
        pack.append(&elements);
        let mut node = Node { master: id, live: 0, pack: Arc::new(pack) };
        node.append(id, pairs);
        node
    }

    /// A node from an RDB file. None: it is not valid.
    pub fn load(master: StreamId, pack: Listpack) -> Option<Node> {
        let live = validate(master, &pack)?;
        Some(Node { master, live, pack: Arc::new(pack) })
    }

    pub fn master(&self) -> StreamId {
        self.master
    }

    pub fn pack(&self) -> &Listpack {
        &self.pack
    }

    pub fn live(&self) -> usize {
        self.live
    }

    /// Entries with the deleted ones.
    pub fn all(&self) -> usize {
        self.live + self.int(self.second()) as usize
    }

    /// Puts an entry behind all others, whose ids are below.
    pub fn append(&mut self, id: StreamId, pairs: &[&[u8]]) {
        let same = self.has_master_fields(pairs);
        let (ms, seq) = delta(id, self.master);
        let len = pairs.len() / 2;
        let elements_count = 3 + if same { len } else { 1 + 2 * len };
        let (len, count) = (Decimal::new(len as i64), Decimal::new(elements_count as i64));
        let flags: &[u8] = if same { b"2" } else { b"0" };
        let mut elements = Vec::with_capacity(elements_count + 1);
        elements.extend([flags, ms.bytes(), seq.bytes()]);
        if same {
            elements.extend(pairs.iter().skip(1).step_by(2));
        } else {
            elements.push(len.bytes());
            elements.extend(pairs);
        }
        elements.push(count.bytes());
        Arc::make_mut(&mut self.pack).append(&elements);
        self.count(1, 0);
    }

    fn has_master_fields(&self, pairs: &[&[u8]]) -> bool {
        let (mut elements, len) = self.master_fields();
        len == pairs.len() / 2 && pairs.iter().step_by(2).all(|field| elements.next() == Some(Packed::of(field)))
    }

    /// The entry of this id.
    pub fn find(&self, id: StreamId) -> Option<Entry<'_>> {
        self.iter().find(|entry| entry.id >= id).filter(|entry| entry.id == id)
    }

    /// Live entries before this id.
    pub fn count_before(&self, id: StreamId) -> usize {
        self.iter().take_while(|entry| entry.id < id).count()
    }

    /// Marks the entry of this id, which is there, as deleted. One that would be the last goes with its node instead.
    pub fn delete(&mut self, id: StreamId) {
        let head = self.find(id).expect("the caller has found it").head;
        self.flag_deleted(head);
        self.count(-1, 1);
    }

    /// Marks the first live entries as deleted, fewer than all of them.
    pub fn delete_first(&mut self, count: usize) {
        let mut at = self.first_entry();
        let mut left = count;
        while left > 0 {
            let head = self.head(at.expect("there are more live entries"));
            if head.alive() {
                self.flag_deleted(head);
                left -= 1;
            }
            at = self.behind(&head);
        }
        self.count(-(count as isize), count as i64);
    }

    /// Flags keep their width, so positions stay as they are.
    fn flag_deleted(&mut self, head: Head) {
        let flags = Decimal::new(head.flags | DELETED);
        Arc::make_mut(&mut self.pack).replace(head.pos, flags.bytes());
    }

    /// Changes the counts. Their width may change, and with it all positions.
    fn count(&mut self, live: isize, deleted: i64) {
        self.live = self.live.checked_add_signed(live).expect("as many live entries as were counted");
        if deleted != 0 {
            let count = Decimal::new(self.int(self.second()) + deleted);
            let second = self.second();
            Arc::make_mut(&mut self.pack).replace(second, count.bytes());
        }
        let count = Decimal::new(self.live as i64);
        let pack = Arc::make_mut(&mut self.pack);
        let first = pack.first().expect("a node has a master entry");
        pack.replace(first, count.bytes());
    }

    // --- Reading -----------------------------------------------------------------------------------------------------

    /// Live entries in order.
    pub fn iter(&self) -> Entries<'_> {
        Entries { node: self, at: self.first_entry() }
    }

    /// Live entries backwards.
    pub fn iter_back(&self) -> EntriesBack<'_> {
        EntriesBack { node: self, last: self.pack.last() }
    }

    /// The id of the last entry, which may be a deleted one.
    pub fn last_id(&self) -> StreamId {
        let last = self.pack.last().expect("a node has a master entry");
        self.head_back(last).map_or(self.master, |head| head.id)
    }

    fn second(&self) -> Pos {
        self.pack.at(1).expect("a node has a master entry")
    }

    fn int(&self, pos: Pos) -> i64 {
        self.pack.get(pos).int().expect("counts are integers")
    }

    fn master_fields(&self) -> (Elements<'_>, usize) {
        let mut elements = self.pack.iter();
        let len = elements.nth(2).and_then(Packed::int).expect("the master entry has a number of fields");
        (elements, len as usize)
    }

    fn first_entry(&self) -> Option<Pos> {
        let (mut elements, len) = self.master_fields();
        elements.nth(len).expect("the master entry ends with 0");
        elements.pos()
    }

    fn head(&self, pos: Pos) -> Head {
        let mut elements = self.pack.iter_from(pos);
        let mut int = || elements.next().and_then(Packed::int).expect("an entry begins with integers");
        let (flags, ms, seq) = (int(), int(), int());
        let len = if flags & SAME_FIELDS != 0 { self.master_fields().1 } else { int() as usize };
        let id = StreamId::new(self.master.ms.wrapping_add(ms as u64), self.master.seq.wrapping_add(seq as u64));
        Head { pos, flags, id, len, body: elements.pos() }
    }

    /// The entry whose last element is at `last`.
    fn head_back(&self, last: Pos) -> Option<Head> {
        let count = self.int(last);
        let back = |pos: Option<Pos>, _| self.pack.prev(pos?);
        (count > 0).then(|| self.head((0..count).fold(Some(last), back).expect("an entry is as long as it says")))
    }

    /// The entry behind this one.
    fn behind(&self, head: &Head) -> Option<Pos> {
        let mut elements = self.pack.iter_from(head.body?);
        elements.nth(head.body_elements());
        elements.pos()
    }
}

/// A live entry.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub id: StreamId,
    node: &'a Node,
    head: Head,
}

impl<'a> Entry<'a> {
    /// Number of fields.
    pub fn fields_len(&self) -> usize {
        self.head.len
    }

    /// Fields and values.
    pub fn pairs(&self) -> Pairs<'a> {
        let body = self.node.pack.iter_from(self.head.body.expect("an entry ends with a number"));
        let same = self.head.flags & SAME_FIELDS != 0;
        let (names, values) = if same { (self.node.master_fields().0, Some(body)) } else { (body, None) };
        Pairs { names, values, left: self.head.len }
    }
}

/// The same id and the same fields and values.
impl PartialEq for Entry<'_> {
    fn eq(&self, other: &Entry<'_>) -> bool {
        let text = |(field, value): (Packed<'_>, Packed<'_>)| (field.bytes().into_owned(), value.bytes().into_owned());
        let same_pair = |(a, b): (_, _)| a == b || text(a) == text(b);
        self.id == other.id && self.fields_len() == other.fields_len() && self.pairs().zip(other.pairs()).all(same_pair)
    }
}

pub struct Pairs<'a> {
    names: Elements<'a>,
    /// None: they stand among the names.
    values: Option<Elements<'a>>,
    left: usize,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Packed<'a>, Packed<'a>);

    fn next(&mut self) -> Option<(Packed<'a>, Packed<'a>)> {
        self.left = self.left.checked_sub(1)?;
        let name = self.names.next()?;
        Some((name, self.values.as_mut().unwrap_or(&mut self.names).next()?))
    }
}

pub struct Entries<'a> {
    node: &'a Node,
    at: Option<Pos>,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let head = self.node.head(self.at?);
            self.at = self.node.behind(&head);
            if head.alive() {
                return Some(Entry { id: head.id, node: self.node, head });
            }
        }
    }
}

pub struct EntriesBack<'a> {
    node: &'a Node,
    /// The last element of the next entry, or of the master entry.
    last: Option<Pos>,
}

impl<'a> Iterator for EntriesBack<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let head = self.node.head_back(self.last?)?;
            self.last = self.node.pack.prev(head.pos);
            if head.alive() {
                return Some(Entry { id: head.id, node: self.node, head });
            }
        }
    }
}

/// The number of live entries of a valid node.
fn validate(master: StreamId, pack: &Listpack) -> Option<usize> {
    let mut elements = pack.iter();
    let live = count_of(&mut elements)?;
    let deleted = count_of(&mut elements)?;
    let master_len = count_of(&mut elements)?;
    skip(&mut elements, master_len)?;
    (elements.next()?.int()? == 0).then_some(())?;
    let (mut seen_live, mut seen_deleted, mut last) = (0, 0, None);
    while elements.pos().is_some() {
        let (flags, id) = validate_entry(master, master_len, &mut elements)?;
        let ascends = last.map_or(id >= master, |last| id > last);
        ascends.then_some(())?;
        last = Some(id);
        if flags & DELETED != 0 { seen_deleted += 1 } else { seen_live += 1 }
    }
    ((live, deleted) == (seen_live, seen_deleted)).then_some(live)
}

fn validate_entry(master: StreamId, master_len: usize, elements: &mut Elements<'_>) -> Option<(i64, StreamId)> {
    let flags = elements.next()?.int().filter(|flags| (0..=DELETED | SAME_FIELDS).contains(flags))?;
    let (ms, seq) = (elements.next()?.int()?, elements.next()?.int()?);
    let count = if flags & SAME_FIELDS != 0 {
        skip(elements, master_len)?;
        3 + master_len
    } else {
        let len = count_of(elements)?;
        skip(elements, len.checked_mul(2)?)?;
        4 + 2 * len
    };
    let id = StreamId::new(master.ms.wrapping_add(ms as u64), master.seq.wrapping_add(seq as u64));
    (elements.next()?.int()? == count as i64).then_some((flags, id))
}

fn count_of(elements: &mut Elements<'_>) -> Option<usize> {
    usize::try_from(elements.next()?.int()?).ok()
}

fn skip(elements: &mut Elements<'_>, count: usize) -> Option<()> {
    (0..count).try_for_each(|_| elements.next().map(drop))
}
