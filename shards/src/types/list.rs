//! Lists.
//!
//! | form | when | OBJECT ENCODING |
//! |---|---|---|
//! | `Pack` | within `list-max-listpack-size` | listpack |
//! | `Nodes` | above: a tree of packs, ordered by position | quicklist |
//!
//! ```text
//! Nodes   [ a b c ] [ d e ] [ f g h i ] …       each pack within `list-max-listpack-size`, or of one element
//! ```
//! A list becomes `Nodes` when an element would make the pack exceed the limit, and a `Pack` again when a removal leaves one
//! pack that fills no more than half of it, so that lists at the limit do not change to and fro. Where a pack is full, an
//! element goes into a neighbour, or the pack is split; sparse neighbours of a split are joined.
//!
//! Packs are shared: a clone of the tree's leaf copies pointers, and a write copies one pack.

use super::limits::Limits;
use super::listpack::{LISTPACK_BYTES_MAX, Listpack, Packed, Pos};
use super::tree::{Item, Tree};
use std::ops::ControlFlow;
use triomphe::Arc;

/// What a pack with a limit on its elements must not exceed either.
const PACK_BYTES_SAFE: usize = 8192;

/// What is added to an element's length for its encoding when it is judged whether it fits.
const OVERHEAD_BYTES: usize = 8;

#[derive(Clone, Debug)]
pub struct List(Form);

#[derive(Clone, Debug)]
enum Form {
    Pack(Listpack),
    Nodes(Box<Tree<Node>>),
}

/// A run of neighbouring elements.
#[derive(Clone, Debug)]
struct Node(Arc<Listpack>);

impl Item for Node {
    type Key = ();

    fn key(&self) -> &() {
        &()
    }

    fn weight(&self) -> usize {
        self.0.len()
    }

    fn heap_bytes(&self) -> usize {
        size_of::<Listpack>() + self.0.heap_bytes()
    }
}

impl Node {
    fn new(pack: Listpack) -> Node {
        Node(Arc::new(pack))
    }

    fn of(elements: &[&[u8]]) -> Node {
        let mut pack = Listpack::new();
        pack.append(elements);
        Node::new(pack)
    }

    fn pack_mut(&mut self) -> &mut Listpack {
        Arc::make_mut(&mut self.0)
    }

    fn takes(&self, bytes: &[u8], limits: &Limits) -> bool {
        let pack = &self.0;
        let total = pack.total_bytes() + bytes.len() + OVERHEAD_BYTES;
        !PackLimit::of(limits).is_exceeded(total, pack.len() + 1) && total < LISTPACK_BYTES_MAX
    }
}

/// `list-max-listpack-size`.
enum PackLimit {
    Elements(usize),
    Bytes(usize),
}

impl PackLimit {
    fn of(limits: &Limits) -> PackLimit {
        match limits.list_max_listpack_size {
            elements @ 0.. => PackLimit::Elements((elements as usize).max(1)),
            level => PackLimit::Bytes(4096 << (level.max(-5).unsigned_abs() - 1)),
        }
    }

    fn is_exceeded(&self, bytes: usize, elements: usize) -> bool {
        match *self {
            PackLimit::Bytes(max) => bytes > max,
            PackLimit::Elements(max) => bytes > PACK_BYTES_SAFE || elements > max,
        }
    }

    fn halved(self) -> PackLimit {
        match self {
            PackLimit::Bytes(max) => PackLimit::Bytes(max / 2),
            PackLimit::Elements(max) => PackLimit::Elements(max / 2),
        }
    }
}

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Left,
    Right,
}

impl Default for List {
    fn default() -> List {
        List::new()
    }
}

impl List {
    pub fn new() -> List {
        List(Form::Pack(Listpack::new()))
    }

    /// A new list that is a tree already, to be filled by someone who calls `loaded` at the end.
    pub fn to_load() -> List {
        List(Form::Nodes(Box::default()))
    }

    pub fn encoding_name(&self) -> &'static str {
        match &self.0 {
            Form::Pack(_) => "listpack",
            Form::Nodes(_) => "quicklist",
        }
    }

    pub fn heap_bytes(&self) -> usize {
        size_of::<List>()
            + match &self.0 {
                Form::Pack(pack) => pack.heap_bytes(),
                Form::Nodes(nodes) => size_of::<Tree<Node>>() + nodes.heap_bytes(),
            }
    }

    pub fn is_compact(&self) -> bool {
        matches!(self.0, Form::Pack(_))
    }

    pub fn free_some(&mut self, parts: usize) -> bool {
        match &mut self.0 {
            Form::Pack(_) => true,
            // A part is an element; a node holds many.
            Form::Nodes(nodes) => nodes.free_some(parts.div_ceil(64)),
        }
    }

    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Pack(pack) => pack.len(),
            Form::Nodes(nodes) => nodes.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    // --- Looking -----------------------------------------------------------------------------------------------------

    pub fn get(&self, index: usize) -> Option<Packed<'_>> {
        let (pack, offset) = self.pack_at(index)?;
        pack.at(offset).map(|pos| pack.get(pos))
    }

    fn pack_at(&self, index: usize) -> Option<(&Listpack, usize)> {
        match &self.0 {
            Form::Pack(pack) => (index < pack.len()).then_some((pack, index)),
            Form::Nodes(nodes) => nodes.get(index).map(|(node, offset)| (&*node.0, offset)),
        }
    }

    /// Shows elements from `start` on, with their indices, until `visit` breaks.
    pub fn each_from(&self, start: usize, mut visit: impl FnMut(usize, Packed<'_>) -> ControlFlow<()>) {
        match &self.0 {
            Form::Pack(pack) => drop(visit_pack(pack, start, start, &mut visit)),
            Form::Nodes(nodes) => {
                let packs = nodes.iter_from(start);
                let (mut offset, mut index) = (packs.offset(), start);
                for node in packs {
                    if visit_pack(&node.0, offset, index, &mut visit).is_break() {
                        return;
                    }
                    (index, offset) = (index + node.0.len() - offset, 0);
                }
            }
        }
    }

    /// Shows elements from `start` on towards the beginning.
    pub fn each_back_from(&self, start: usize, mut visit: impl FnMut(usize, Packed<'_>) -> ControlFlow<()>) {
        match &self.0 {
            Form::Pack(pack) => drop(visit_pack_back(pack, start, start, &mut visit)),
            Form::Nodes(nodes) => {
                let Some((_, mut offset)) = nodes.get(start) else { return };
                let mut index = start;
                for node in nodes.iter_back_from(start) {
                    if offset == usize::MAX {
                        offset = node.0.len() - 1;
                    }
                    if visit_pack_back(&node.0, offset, index, &mut visit).is_break() {
                        return;
                    }
                    (index, offset) = (index.wrapping_sub(offset + 1), usize::MAX);
                }
            }
        }
    }

    // --- Changing ----------------------------------------------------------------------------------------------------

    /// To be called before elements are added or exchanged: when all of them are too many for a pack, the list becomes a tree.
    pub fn make_room(&mut self, elements: &[&[u8]], limits: &Limits) {
        let Form::Pack(pack) = &self.0 else { return };
        let bytes: usize = elements.iter().map(|element| element.len()).sum();
        if PackLimit::of(limits).is_exceeded(pack.total_bytes() + bytes, pack.len() + elements.len()) {
            self.make_nodes();
        }
    }

    fn make_nodes(&mut self) -> &mut Tree<Node> {
        if let Form::Pack(pack) = &mut self.0 {
            let pack = std::mem::take(pack);
            let mut nodes = Tree::new();
            if !pack.is_empty() {
                nodes.push(Node::new(pack));
            }
            self.0 = Form::Nodes(Box::new(nodes));
        }
        match &mut self.0 {
            Form::Nodes(nodes) => nodes,
            Form::Pack(_) => unreachable!("made a tree above"),
        }
    }

    pub fn push(&mut self, end: End, bytes: &[u8], limits: &Limits) {
        match &mut self.0 {
            Form::Pack(pack) => push_into(pack, end, bytes),
            Form::Nodes(nodes) => {
                let at = if end == End::Left { 0 } else { nodes.len().saturating_sub(1) };
                match nodes.get(at) {
                    Some((node, _)) if node.takes(bytes, limits) => {
                        nodes.update_at(at, |node| push_into(node.pack_mut(), end, bytes));
                    }
                    _ => nodes.insert_at(if end == End::Left { 0 } else { nodes.len() }, Node::of(&[bytes])),
                }
            }
        }
    }

    /// Takes an element off an end; the caller calls `removed` when it is done with removing.
    pub fn pop(&mut self, end: End) -> Option<Vec<u8>> {
        let index = if end == End::Left { 0 } else { self.len().checked_sub(1)? };
        let element = self.get(index)?.bytes().into_owned();
        self.remove_range(index, 1);
        Some(element)
    }

    /// Puts an element in front of the one at `index`, or at the end.
    pub fn insert(&mut self, index: usize, bytes: &[u8], limits: &Limits) {
        match &mut self.0 {
            Form::Pack(pack) => insert_into(pack, index, bytes),
            Form::Nodes(nodes) => insert_into_nodes(nodes, index, bytes, limits),
        }
    }

    /// Exchanges the element at `index`.
    ///
    /// # Panics
    /// When there is none.
    pub fn set(&mut self, index: usize, bytes: &[u8], limits: &Limits) {
        match &mut self.0 {
            Form::Pack(pack) => pack.replace(pack.at(index).expect("the index is inside"), bytes),
            Form::Nodes(nodes) => {
                let (node, offset) = nodes.get(index).expect("the index is inside");
                let pos = node.0.at(offset).expect("the index is inside");
                let old_bytes = node.0.get(pos).len();
                let total = node.0.total_bytes() + bytes.len() + OVERHEAD_BYTES - old_bytes.min(bytes.len() + OVERHEAD_BYTES);
                if node.0.len() == 1 {
                    nodes.update_at(index, |node| *node = Node::of(&[bytes]));
                } else if !PackLimit::of(limits).is_exceeded(total, node.0.len()) {
                    nodes.update_at(index, |node| node.pack_mut().replace(pos, bytes));
                } else {
                    insert_into_nodes(nodes, index, bytes, limits);
                    remove_from_nodes(nodes, index + 1, 1);
                }
            }
        }
    }

    /// Takes `count` elements out, from `start` on; the caller calls `removed` when it is done with removing.
    pub fn remove_range(&mut self, start: usize, count: usize) {
        match &mut self.0 {
            Form::Pack(pack) => {
                if let Some(pos) = pack.at(start) {
                    pack.remove(pos, count);
                }
            }
            Form::Nodes(nodes) => remove_from_nodes(nodes, start, count),
        }
    }

    /// To be called after removals: what fits well into one pack again becomes one.
    pub fn removed(&mut self, limits: &Limits) {
        self.shrink(&PackLimit::of(limits).halved());
    }

    /// To be called after loading: what fits into one pack becomes one.
    pub fn loaded(&mut self, limits: &Limits) {
        self.shrink(&PackLimit::of(limits));
    }

    fn shrink(&mut self, limit: &PackLimit) {
        let Form::Nodes(nodes) = &self.0 else { return };
        if let Some((node, _)) = nodes.get(0)
            && node.0.len() == nodes.len()
            && !limit.is_exceeded(node.0.total_bytes(), node.0.len())
        {
            self.0 = Form::Pack(Listpack::clone(&node.0));
        }
    }
}

fn visit_pack(
    pack: &Listpack,
    offset: usize,
    mut index: usize,
    visit: &mut impl FnMut(usize, Packed<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let Some(pos) = pack.at(offset) else { return ControlFlow::Continue(()) };
    for element in pack.iter_from(pos) {
        visit(index, element)?;
        index += 1;
    }
    ControlFlow::Continue(())
}

fn visit_pack_back(
    pack: &Listpack,
    offset: usize,
    index: usize,
    visit: &mut impl FnMut(usize, Packed<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let (mut pos, mut index) = (pack.at(offset), index);
    while let Some(at) = pos {
        visit(index, pack.get(at))?;
        index = index.wrapping_sub(1);
        pos = pack.prev(at);
    }
    ControlFlow::Continue(())
}

fn push_into(pack: &mut Listpack, end: End, bytes: &[u8]) {
    match end {
        End::Left => pack.push_front(bytes),
        End::Right => pack.push(bytes),
    }
}

fn insert_into(pack: &mut Listpack, index: usize, bytes: &[u8]) {
    match pack.at(index) {
        Some(pos) => drop(pack.insert(pos, &[bytes])),
        None => pack.push(bytes),
    }
}

fn insert_into_nodes(nodes: &mut Tree<Node>, index: usize, bytes: &[u8], limits: &Limits) {
    let len = nodes.len();
    if len == 0 {
        return nodes.push(Node::of(&[bytes]));
    }
    // At the end, the last node is asked as if the element came behind its last one.
    let (node, offset) = match nodes.get(index) {
        Some(found) => found,
        None => nodes.get(len - 1).map(|(node, offset)| (node, offset + 1)).expect("not empty"),
    };
    let start = index - offset;
    if node.takes(bytes, limits) {
        return nodes.update_at(start, |node| insert_into(node.pack_mut(), offset, bytes));
    }
    if offset > 0 && offset < node.0.len() {
        let pos = node.0.at(offset).expect("inside the node");
        split_node(nodes, start, pos);
        nodes.insert_at(index, Node::of(&[bytes]));
        return join_around(nodes, index, limits);
    }
    // Between two nodes: the other one may have room.
    let neighbour = if offset == 0 { start.checked_sub(1) } else { Some(index).filter(|at| *at < len) };
    match neighbour.and_then(|at| nodes.get(at)) {
        Some((other, _)) if other.takes(bytes, limits) => {
            let end = if offset == 0 { End::Right } else { End::Left };
            let at = neighbour.expect("it was looked up by it");
            nodes.update_at(at, |node| push_into(node.pack_mut(), end, bytes));
        }
        _ => nodes.insert_at(index, Node::of(&[bytes])),
    }
}

/// Splits the node that begins at `start` in front of `pos`.
fn split_node(nodes: &mut Tree<Node>, start: usize, pos: Pos) {
    let right = nodes.update_at(start, |node| node.pack_mut().split_off(pos));
    let left_len = nodes.get(start).expect("it was just there").0.0.len();
    nodes.insert_at(start + left_len, Node::new(right));
}

/// Joins the node at `index` with its neighbours, as long as they fit into one.
fn join_around(nodes: &mut Tree<Node>, index: usize, limits: &Limits) {
    let start = index - nodes.get(index).expect("it was just put there").1;
    let next = start + nodes.get(start).expect("a node begins there").0.0.len();
    join_with_next(nodes, start, next, limits);
    if let Some(before) = start.checked_sub(1) {
        let before = before - nodes.get(before).expect("there is a node before").1;
        join_with_next(nodes, before, start, limits);
    }
}

fn join_with_next(nodes: &mut Tree<Node>, left: usize, right: usize, limits: &Limits) {
    let (Some((a, _)), Some((b, _))) = (nodes.get(left), nodes.get(right)) else { return };
    let (bytes, elements) = (a.0.total_bytes() + b.0.total_bytes(), a.0.len() + b.0.len());
    if PackLimit::of(limits).is_exceeded(bytes, elements) {
        return;
    }
    let moved = nodes.remove_at(right);
    nodes.update_at(left, |node| moved.0.iter().for_each(|element| element.with_bytes(|bytes| node.pack_mut().push(bytes))));
}

fn remove_from_nodes(nodes: &mut Tree<Node>, start: usize, mut count: usize) {
    while count > 0
        && let Some((node, offset)) = nodes.get(start)
    {
        let (len, here) = (node.0.len(), count.min(node.0.len() - offset));
        if here == len {
            nodes.remove_at(start);
        } else {
            nodes.update_at(start, |node| {
                let pos = node.0.at(offset).expect("inside the node");
                node.pack_mut().remove(pos, here);
            });
        }
        count -= here;
    }
}

/// The same elements in the same order; how they are packed does not count.
impl PartialEq for List {
    fn eq(&self, other: &List) -> bool {
        let collect = |list: &List| {
            let mut elements = Vec::with_capacity(list.len());
            list.each_from(0, |_, element| {
                elements.push(element.bytes().into_owned());
                ControlFlow::Continue(())
            });
            elements
        };
        self.len() == other.len() && collect(self) == collect(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(list: &List) -> Vec<Vec<u8>> {
        let mut elements = Vec::new();
        list.each_from(0, |index, element| {
            assert_eq!(index, elements.len());
            elements.push(element.bytes().into_owned());
            ControlFlow::Continue(())
        });
        elements
    }

    fn check(list: &List, model: &[Vec<u8>], random: &mut fastrand::Rng) {
        assert_eq!(list.len(), model.len());
        assert_eq!(elements(list), model);
        if let Form::Nodes(nodes) = &list.0 {
            nodes.check();
        }
        if !model.is_empty() {
            let start = random.usize(..model.len());
            assert_eq!(list.get(start).map(|element| element.bytes().into_owned()).as_ref(), Some(&model[start]));
            let (mut backwards, mut forwards) = (Vec::new(), Vec::new());
            list.each_back_from(start, |index, element| {
                assert_eq!(index, start - backwards.len());
                backwards.push(element.bytes().into_owned());
                ControlFlow::Continue(())
            });
            list.each_from(start, |index, element| {
                assert_eq!(index, start + forwards.len());
                forwards.push(element.bytes().into_owned());
                ControlFlow::Continue(())
            });
            backwards.reverse();
            assert_eq!((&backwards[..], &forwards[..]), (&model[..=start], &model[start..]));
        }
        assert_eq!(list.get(model.len()), None);
    }

    #[test]
    fn any_sequence_of_changes_equals_the_same_on_a_vector_and_clones_keep_what_they_saw() {
        for seed in 0..80 {
            let mut random = fastrand::Rng::with_seed(seed);
            let limits = Limits { list_max_listpack_size: [-1, 4, 20, 0, 1][seed as usize % 5], ..Limits::default() };
            let (mut list, mut model) = (List::new(), Vec::<Vec<u8>>::new());
            let mut clones = Vec::new();
            for _ in 0..300 {
                let len = if random.u8(..10) == 0 { random.usize(..5000) } else { random.usize(..30) };
                let new = vec![b'a' + random.u8(..26); len];
                let at = random.usize(..=model.len());
                list.make_room(&[&new], &limits);
                match random.u8(..10) {
                    0 | 1 => (list.push(End::Left, &new, &limits), model.insert(0, new)).1,
                    2 | 3 => (list.push(End::Right, &new, &limits), model.push(new)).1,
                    4 | 5 => (list.insert(at, &new, &limits), model.insert(at, new)).1,
                    6 if at < model.len() => {
                        list.set(at, &new, &limits);
                        list.removed(&limits);
                        model[at] = new;
                    }
                    7 => {
                        let count = random.usize(..10);
                        list.remove_range(at, count);
                        list.removed(&limits);
                        model.drain(at..(at + count).min(model.len()));
                    }
                    8 => assert_eq!(list.pop(End::Left), (!model.is_empty()).then(|| model.remove(0))),
                    _ => assert_eq!(list.pop(End::Right), model.pop()),
                }
                check(&list, &model, &mut random);
                if random.u8(..40) == 0 {
                    clones.push((list.clone(), model.clone()));
                }
            }
            clones.iter().for_each(|(list, model)| check(list, model, &mut random));
        }
    }

    #[test]
    fn the_encoding_follows_the_limit_there_and_half_of_it_back() {
        let limits = Limits { list_max_listpack_size: 4, ..Limits::default() };
        let mut list = List::new();
        let add = |list: &mut List, element: &[u8], limits: &Limits| {
            list.make_room(&[element], limits);
            list.push(End::Right, element, limits);
        };
        (0..4).for_each(|_| add(&mut list, b"x", &limits));
        assert_eq!(list.encoding_name(), "listpack");
        add(&mut list, b"x", &limits);
        assert_eq!(list.encoding_name(), "quicklist");
        for left in [4, 3, 2] {
            assert_eq!(list.encoding_name(), "quicklist", "{left} and more");
            list.pop(End::Right);
            list.removed(&limits);
        }
        assert_eq!((list.len(), list.encoding_name()), (2, "listpack"));
        let mut list = List::new();
        add(&mut list, &[b'x'; 8181], &Limits::default());
        assert_eq!(list.encoding_name(), "listpack");
        add(&mut list, b"x", &Limits::default());
        assert_eq!(list.encoding_name(), "quicklist");
    }

    #[test]
    fn a_write_while_a_clone_is_held_copies_little() {
        let mut list = List::to_load();
        (0..200_000).for_each(|i| list.push(End::Right, format!("element {i}").as_bytes(), &Limits::default()));
        let clone = list.clone();
        list.set(100_000, b"changed", &Limits::default());
        list.push(End::Left, b"first", &Limits::default());
        let (Form::Nodes(a), Form::Nodes(b)) = (&list.0, &clone.0) else { panic!("both are big") };
        let shared = b.iter().filter(|old| a.iter().any(|new| Arc::ptr_eq(&new.0, &old.0))).count();
        assert!((1..=2).contains(&(b.iter().count() - shared)), "at most two packs were written to");
    }
}
