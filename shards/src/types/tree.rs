//! The structure of all big collections: a B+ tree whose nodes are shared until they are written to.
//!
//! ```text
//!                    inner:  (low key, weight, node) (low key, weight, node) …         at most INNER_CHILDREN_MAX
//!                                     │                        │
//!                    leaf:   item item item …         item item item …                 at most Item::LEAF_ITEMS_MAX
//!
//!      a clone ──► the same root; the first write of either side copies the nodes on its path, and no others
//! ```
//! - **A clone is O(1)**, whatever the size. A snapshot, a COPY and a value lent to another shard each hold a clone: what they
//!   hold does not change any more, and a write meanwhile copies some nodes, never the value.
//! - **Weights** are summed up in the inner nodes: an item at a rank, and the rank of a key, take one descent. An item
//!   weighs 1, or as many elements as it holds (a list's item is a packed run of elements).
//! - **Freed in steps**: `free_some` takes leaves off one after another.
//!
//! Invariants: 1. items are in order of their keys; 2. `low` of a child is above all keys before the child and at or below
//! all keys in it (the first child's is not looked at); 3. `weight` of a child is the sum of its items' weights; 4. no node
//! but an empty root leaf is empty.

use std::cmp::Ordering;
use std::ops::ControlFlow;
use triomphe::Arc;

const INNER_CHILDREN_MAX: usize = 64;

/// A node below a quarter of its maximum is joined with a neighbour when the two fill no more than three quarters.
const JOIN_BELOW_DIVISOR: usize = 4;

/// Reference count of a node.
const NODE_HEADER_BYTES: usize = 8;

/// What a tree holds.
pub trait Item: Clone {
    /// By what items are ordered. A tree that is ordered by position only has `()`.
    type Key: Clone;

    const LEAF_ITEMS_MAX: usize = 64;

    fn key(&self) -> &Self::Key;

    fn weight(&self) -> usize {
        1
    }

    /// Bytes of memory outside of the item itself.
    fn heap_bytes(&self) -> usize;
}

#[derive(Clone)]
pub struct Tree<T: Item> {
    root: Arc<Node<T>>,
    len: usize,
    bytes: usize,
}

#[derive(Clone)]
enum Node<T: Item> {
    Leaf(Vec<T>),
    Inner(Vec<Child<T>>),
}

#[derive(Clone)]
struct Child<T: Item> {
    low: T::Key,
    weight: usize,
    node: Arc<Node<T>>,
}

/// Where in the whole tree a node lies: runs that grow at an end leave full nodes behind.
#[derive(Clone, Copy)]
struct Edge {
    first: bool,
    last: bool,
}

impl<T: Item> Default for Tree<T> {
    fn default() -> Tree<T> {
        Tree::new()
    }
}

impl<T: Item> Tree<T> {
    pub fn new() -> Tree<T> {
        Tree { root: Arc::new(Node::Leaf(Vec::new())), len: 0, bytes: node_bytes::<T>() }
    }

    /// Sum of the items' weights.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory of nodes and items. O(1). What clones share counts in each of them.
    pub fn heap_bytes(&self) -> usize {
        self.bytes
    }

    // --- Looking -----------------------------------------------------------------------------------------------------

    /// The item for which `order` is `Equal`. `order` says how a key stands to what is looked for.
    pub fn find(&self, order: impl Fn(&T::Key) -> Ordering) -> Option<&T> {
        let mut node = &self.root;
        loop {
            match &**node {
                Node::Inner(children) => node = &children[child_of(children, &order)].node,
                Node::Leaf(items) => {
                    return items.binary_search_by(|item| order(item.key())).ok().map(|at| &items[at]);
                }
            }
        }
    }

    /// The weight of all items whose `order` is `Less`: the rank of the first one that is not.
    pub fn rank(&self, order: impl Fn(&T::Key) -> Ordering) -> usize {
        let (mut node, mut rank) = (&self.root, 0);
        loop {
            match &**node {
                Node::Inner(children) => {
                    let at = children[1..].partition_point(|child| order(&child.low) == Ordering::Less);
                    rank += children[..at].iter().map(|child| child.weight).sum::<usize>();
                    node = &children[at].node;
                }
                Node::Leaf(items) => {
                    let at = items.partition_point(|item| order(item.key()) == Ordering::Less);
                    return rank + items[..at].iter().map(Item::weight).sum::<usize>();
                }
            }
        }
    }

    /// The item that covers a rank, and the rank's offset in it.
    pub fn get(&self, rank: usize) -> Option<(&T, usize)> {
        let mut iter = self.descend(rank)?;
        let item = iter.items.next().expect("the descent ends at an item");
        Some((item, iter.offset))
    }

    /// All items from the one that covers `rank` on.
    pub fn iter_from(&self, rank: usize) -> Iter<'_, T> {
        self.descend(rank).unwrap_or(Iter { path: Vec::new(), items: [].iter(), offset: 0 })
    }

    pub fn iter(&self) -> Iter<'_, T> {
        self.iter_from(0)
    }

    /// All items backwards, from the one that covers `rank` on.
    pub fn iter_back_from(&self, rank: usize) -> IterBack<'_, T> {
        let mut iter = IterBack { path: Vec::new(), items: [].iter() };
        if rank >= self.len {
            return iter;
        }
        let (mut node, mut rank) = (&self.root, rank);
        loop {
            match &**node {
                Node::Inner(children) => {
                    let at = child_at(children, &mut rank);
                    iter.path.push(children[..at].iter());
                    node = &children[at].node;
                }
                Node::Leaf(items) => {
                    let at = item_at(items, &mut rank);
                    iter.items = items[..=at].iter();
                    return iter;
                }
            }
        }
    }

    fn descend(&self, rank: usize) -> Option<Iter<'_, T>> {
        if rank >= self.len {
            return None;
        }
        let (mut node, mut rank, mut path) = (&self.root, rank, Vec::new());
        loop {
            match &**node {
                Node::Inner(children) => {
                    let at = child_at(children, &mut rank);
                    path.push(children[at + 1..].iter());
                    node = &children[at].node;
                }
                Node::Leaf(items) => {
                    let at = item_at(items, &mut rank);
                    return Some(Iter { path, items: items[at..].iter(), offset: rank });
                }
            }
        }
    }

    // --- Changing ----------------------------------------------------------------------------------------------------

    /// Puts an item at its key; gives back the one that had the same key.
    pub fn insert(&mut self, order: impl Fn(&T::Key) -> Ordering, item: T) -> Option<T> {
        let weight = item.weight();
        self.bytes += item.heap_bytes();
        let mut bytes = self.bytes;
        let edge = Edge { first: true, last: true };
        let mut replaced = None;
        let place = |items: &[T]| items.binary_search_by(|item| order(item.key()));
        let split =
            insert_into(&mut self.root, edge, &|children| child_of(children, &order), &place, item, &mut replaced, &mut bytes);
        self.bytes = bytes;
        self.len += weight;
        if let Some(old) = &replaced {
            self.len -= old.weight();
            self.bytes -= old.heap_bytes();
        }
        self.grow(split);
        replaced
    }

    /// Puts an item in front of the one that begins at `rank`, or at the end.
    ///
    /// # Panics
    /// When an item covers `rank` that does not begin there.
    pub fn insert_at(&mut self, rank: usize, item: T) {
        assert!(rank <= self.len, "a rank beyond the end");
        let weight = item.weight();
        self.bytes += item.heap_bytes();
        let mut bytes = self.bytes;
        let split = insert_at_rank(&mut self.root, Edge { first: true, last: true }, rank, item, &mut bytes);
        self.bytes = bytes;
        self.len += weight;
        self.grow(split);
    }

    pub fn push(&mut self, item: T) {
        self.insert_at(self.len, item);
    }

    /// Changes the item for which `order` is `Equal`; `change` must leave its key as it is. None: there is none.
    pub fn update<R>(&mut self, order: impl Fn(&T::Key) -> Ordering, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        // Looked for first: nothing must be copied for an item that is not there.
        self.find(&order)?;
        let mut path = |node: Looked<'_, T>| match node {
            Looked::Inner(children) => child_of(children, &order),
            Looked::Leaf(items) => items.binary_search_by(|item| order(item.key())).expect("just found"),
        };
        Some(self.change(&mut path, change))
    }

    /// Changes the item that covers `rank`; its weight may change, but not to 0.
    ///
    /// # Panics
    /// When `rank` is beyond the end.
    pub fn update_at<R>(&mut self, rank: usize, change: impl FnOnce(&mut T) -> R) -> R {
        assert!(rank < self.len, "a rank beyond the end");
        let mut rank = rank;
        let mut path = |node: Looked<'_, T>| match node {
            Looked::Inner(children) => child_at(children, &mut rank),
            Looked::Leaf(items) => item_at(items, &mut rank),
        };
        self.change(&mut path, change)
    }

    fn change<R>(&mut self, path: &mut dyn FnMut(Looked<'_, T>) -> usize, change: impl FnOnce(&mut T) -> R) -> R {
        let mut deltas = (0isize, 0isize);
        let mut result = None;
        let mut change = Some(change);
        change_in(&mut self.root, path, &mut deltas, &mut |item| {
            result = Some(change.take().expect("one item is changed")(item));
        });
        self.len = self.len.checked_add_signed(deltas.0).expect("weights are not negative");
        self.bytes = self.bytes.checked_add_signed(deltas.1).expect("bytes are not negative");
        result.expect("the path ends at an item")
    }

    pub fn remove(&mut self, order: impl Fn(&T::Key) -> Ordering) -> Option<T> {
        self.find(&order)?;
        let mut path = |node: Looked<'_, T>| match node {
            Looked::Inner(children) => child_of(children, &order),
            Looked::Leaf(items) => items.binary_search_by(|item| order(item.key())).expect("just found"),
        };
        Some(self.take(&mut path))
    }

    /// Takes out the item that covers `rank`.
    ///
    /// # Panics
    /// When `rank` is beyond the end.
    pub fn remove_at(&mut self, rank: usize) -> T {
        assert!(rank < self.len, "a rank beyond the end");
        let mut rank = rank;
        let mut path = |node: Looked<'_, T>| match node {
            Looked::Inner(children) => child_at(children, &mut rank),
            Looked::Leaf(items) => item_at(items, &mut rank),
        };
        self.take(&mut path)
    }

    fn take(&mut self, path: &mut dyn FnMut(Looked<'_, T>) -> usize) -> T {
        let mut bytes = self.bytes;
        let item = remove_from(&mut self.root, path, &mut bytes);
        self.bytes = bytes - item.heap_bytes();
        self.len -= item.weight();
        while let Node::Inner(children) = &*self.root
            && children.len() == 1
        {
            let only = children[0].node.clone();
            self.bytes -= node_bytes::<T>() + children.capacity() * size_of::<Child<T>>();
            self.root = only;
        }
        item
    }

    fn grow(&mut self, split: Option<Child<T>>) {
        let Some(right) = split else { return };
        let low = match &*self.root {
            Node::Leaf(items) => items[0].key().clone(),
            Node::Inner(children) => children[0].low.clone(),
        };
        let left = Child { low, weight: self.len - right.weight, node: self.root.clone() };
        let children = vec![left, right];
        self.bytes += node_bytes::<T>() + children.capacity() * size_of::<Child<T>>();
        self.root = Arc::new(Node::Inner(children));
    }

    // --- Freeing -----------------------------------------------------------------------------------------------------

    /// Frees about `items` items from the end, leaves that a clone shares for nothing; true when dropping the rest costs next
    /// to nothing. The tree is of no use afterwards.
    pub fn free_some(&mut self, items: usize) -> bool {
        let mut left = items as isize;
        while left > 0 {
            match free_last(&mut self.root) {
                Some(freed) => left -= freed.max(1) as isize,
                None => return true,
            }
        }
        self.root.is_unique_leaf_or_shared()
    }

    /// Counts afresh what the tree keeps count of, and holds it to its invariants.
    #[cfg(test)]
    pub fn check(&self)
    where
        T::Key: PartialOrd,
    {
        let (mut bytes, mut last) = (0, None);
        let len = check_node(&self.root, true, &mut bytes, &mut last);
        assert_eq!((len, bytes), (self.len, self.bytes), "length and bytes");
    }
}

/// What `update` and `remove` choose their way by.
enum Looked<'a, T: Item> {
    Inner(&'a [Child<T>]),
    Leaf(&'a [T]),
}

trait Shared {
    fn is_unique_leaf_or_shared(&self) -> bool;
}

impl<T: Item> Shared for Arc<Node<T>> {
    /// Whether dropping it touches at most one leaf.
    fn is_unique_leaf_or_shared(&self) -> bool {
        !self.is_unique() || matches!(&**self, Node::Leaf(_))
    }
}

fn node_bytes<T: Item>() -> usize {
    NODE_HEADER_BYTES + size_of::<Node<T>>()
}

/// The child that holds what is looked for, if any does.
fn child_of<T: Item>(children: &[Child<T>], order: &impl Fn(&T::Key) -> Ordering) -> usize {
    children[1..].partition_point(|child| order(&child.low) != Ordering::Greater)
}

/// The child that covers a rank, which becomes the rank within that child.
fn child_at<T: Item>(children: &[Child<T>], rank: &mut usize) -> usize {
    at_weight(children.iter().map(|child| child.weight), rank)
}

fn item_at<T: Item>(items: &[T], rank: &mut usize) -> usize {
    at_weight(items.iter().map(Item::weight), rank)
}

fn at_weight(weights: impl Iterator<Item = usize>, rank: &mut usize) -> usize {
    let found = weights.enumerate().try_for_each(|(at, weight)| match rank.checked_sub(weight) {
        Some(rest) => {
            *rank = rest;
            ControlFlow::Continue(())
        }
        None => ControlFlow::Break(at),
    });
    match found {
        ControlFlow::Break(at) => at,
        ControlFlow::Continue(()) => unreachable!("the caller made sure that the rank is covered"),
    }
}

/// Room for one more of at most `max`, growing by a quarter: doubling would leave a third of the memory unused.
fn reserve_one<E>(list: &mut Vec<E>, max: usize) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 4).max(2).min(max - list.len()));
    }
}

/// Counts what a change of a list's capacity does to the bytes.
fn resized<E, R>(list: &mut Vec<E>, bytes: &mut usize, change: impl FnOnce(&mut Vec<E>) -> R) -> R {
    let before = list.capacity();
    let result = change(list);
    *bytes = *bytes + list.capacity() * size_of::<E>() - before * size_of::<E>();
    result
}

/// The node, to be written to: its own copy if it was shared. A copy may have less room than the node it was made of.
fn own<'a, T: Item>(node: &'a mut Arc<Node<T>>, bytes: &mut usize) -> &'a mut Node<T> {
    if !node.is_unique() {
        let before = room(node);
        let copy = Node::clone(node);
        *bytes = *bytes + room(&copy) - before;
        *node = Arc::new(copy);
    }
    Arc::get_mut(node).expect("nobody else has it")
}

fn room<T: Item>(node: &Node<T>) -> usize {
    match node {
        Node::Leaf(items) => items.capacity() * size_of::<T>(),
        Node::Inner(children) => children.capacity() * size_of::<Child<T>>(),
    }
}

/// Inserts below `node`; gives the right half when the node had to be split.
fn insert_into<T: Item>(
    node: &mut Arc<Node<T>>,
    edge: Edge,
    child_for: &impl Fn(&[Child<T>]) -> usize,
    place: &impl Fn(&[T]) -> Result<usize, usize>,
    item: T,
    replaced: &mut Option<T>,
    bytes: &mut usize,
) -> Option<Child<T>> {
    match own(node, bytes) {
        Node::Leaf(items) => match place(items) {
            Ok(at) => {
                *replaced = Some(std::mem::replace(&mut items[at], item));
                None
            }
            Err(at) => insert_item(items, at, item, edge, bytes),
        },
        Node::Inner(children) => {
            let at = child_for(children);
            let below = Edge { first: edge.first && at == 0, last: edge.last && at + 1 == children.len() };
            let weight = item.weight();
            let split = insert_into(&mut children[at].node, below, child_for, place, item, replaced, bytes);
            children[at].weight = children[at].weight + weight - replaced.as_ref().map_or(0, Item::weight);
            insert_split(children, at, split, edge, bytes)
        }
    }
}

fn insert_at_rank<T: Item>(node: &mut Arc<Node<T>>, edge: Edge, mut rank: usize, item: T, bytes: &mut usize) -> Option<Child<T>> {
    match own(node, bytes) {
        Node::Leaf(items) => {
            let mut at = 0;
            while rank > 0 {
                rank = rank.checked_sub(items[at].weight()).expect("items are put between items");
                at += 1;
            }
            insert_item(items, at, item, edge, bytes)
        }
        Node::Inner(children) => {
            let mut at = 0;
            // At the border of two children the left one takes it: a run that grows at the end stays together.
            while rank > children[at].weight {
                rank -= children[at].weight;
                at += 1;
            }
            let below = Edge { first: edge.first && at == 0, last: edge.last && at + 1 == children.len() };
            children[at].weight += item.weight();
            let split = insert_at_rank(&mut children[at].node, below, rank, item, bytes);
            insert_split(children, at, split, edge, bytes)
        }
    }
}

fn insert_item<T: Item>(items: &mut Vec<T>, at: usize, item: T, edge: Edge, bytes: &mut usize) -> Option<Child<T>> {
    if items.len() < T::LEAF_ITEMS_MAX {
        resized(items, bytes, |items| {
            reserve_one(items, T::LEAF_ITEMS_MAX);
            items.insert(at, item);
        });
        return None;
    }
    let mut right = split_list(items, at, item, edge, bytes);
    right.shrink_to_fit();
    *bytes += node_bytes::<T>() + right.capacity() * size_of::<T>();
    let (low, weight) = (right[0].key().clone(), right.iter().map(Item::weight).sum());
    Some(Child { low, weight, node: Arc::new(Node::Leaf(right)) })
}

/// Takes in the right half of a child that was split.
fn insert_split<T: Item>(
    children: &mut Vec<Child<T>>,
    at: usize,
    split: Option<Child<T>>,
    edge: Edge,
    bytes: &mut usize,
) -> Option<Child<T>> {
    let right = split?;
    children[at].weight -= right.weight;
    if children.len() < INNER_CHILDREN_MAX {
        resized(children, bytes, |children| {
            reserve_one(children, INNER_CHILDREN_MAX);
            children.insert(at + 1, right);
        });
        return None;
    }
    let mut right = split_list(children, at + 1, right, edge, bytes);
    right.shrink_to_fit();
    *bytes += node_bytes::<T>() + right.capacity() * size_of::<Child<T>>();
    let (low, weight) = (right[0].low.clone(), right.iter().map(|child| child.weight).sum());
    Some(Child { low, weight, node: Arc::new(Node::Inner(right)) })
}

/// Puts `new` at `at` into a full list and gives its right part: half of it, or, where the whole tree grows at an end, as
/// little as possible on that side, so that nodes filled in order stay full.
fn split_list<E>(list: &mut Vec<E>, at: usize, new: E, edge: Edge, bytes: &mut usize) -> Vec<E> {
    if edge.last && at == list.len() {
        return vec![new];
    }
    if edge.first && at == 0 {
        return resized(list, bytes, |list| std::mem::replace(list, vec![new]));
    }
    let middle = list.len() / 2;
    let mut right = resized(list, bytes, |list| {
        let right = list.split_off(middle);
        list.shrink_to(middle + 1);
        right
    });
    if at <= middle {
        resized(list, bytes, |list| list.insert(at, new));
    } else {
        right.insert(at - middle, new);
    }
    right
}

fn change_in<T: Item>(
    node: &mut Arc<Node<T>>,
    path: &mut dyn FnMut(Looked<'_, T>) -> usize,
    deltas: &mut (isize, isize),
    change: &mut dyn FnMut(&mut T),
) {
    let mut bytes = 0usize;
    let before = if node.is_unique() { 0 } else { room(node) };
    bytes += before;
    match own(node, &mut bytes) {
        Node::Leaf(items) => {
            let at = path(Looked::Leaf(items));
            let item = &mut items[at];
            let old = (item.weight() as isize, item.heap_bytes() as isize);
            change(item);
            assert!(item.weight() > 0, "an item without weight can't be found any more");
            deltas.0 += item.weight() as isize - old.0;
            deltas.1 += item.heap_bytes() as isize - old.1;
        }
        Node::Inner(children) => {
            let at = path(Looked::Inner(children));
            let child = &mut children[at];
            let weight_before = deltas.0;
            change_in(&mut child.node, path, deltas, change);
            child.weight = child.weight.checked_add_signed(deltas.0 - weight_before).expect("weights are not negative");
        }
    }
    deltas.1 += bytes as isize - before as isize;
}

fn remove_from<T: Item>(node: &mut Arc<Node<T>>, path: &mut dyn FnMut(Looked<'_, T>) -> usize, bytes: &mut usize) -> T {
    match own(node, bytes) {
        Node::Leaf(items) => {
            let at = path(Looked::Leaf(items));
            resized(items, bytes, |items| {
                let item = items.remove(at);
                if items.capacity() > 8 && items.len() < items.capacity() / 2 {
                    items.shrink_to(items.len() + items.len() / 4);
                }
                item
            })
        }
        Node::Inner(children) => {
            let at = path(Looked::Inner(children));
            let item = remove_from(&mut children[at].node, path, bytes);
            children[at].weight -= item.weight();
            tidy(children, at, bytes);
            item
        }
    }
}

/// After a removal from a child: an empty one goes, a sparse one is joined with a sparse neighbour.
fn tidy<T: Item>(children: &mut Vec<Child<T>>, at: usize, bytes: &mut usize) {
    if children[at].weight == 0 {
        let gone = resized(children, bytes, |children| children.remove(at));
        *bytes -= node_bytes::<T>() + room(&gone.node);
        return;
    }
    let (len, max) = size(&children[at].node);
    if len >= max / JOIN_BELOW_DIVISOR {
        return;
    }
    let fits = |other: &Child<T>| len + size(&other.node).0 <= max - max / JOIN_BELOW_DIVISOR;
    let left = match () {
        () if children.get(at + 1).is_some_and(fits) => at,
        () if at > 0 && fits(&children[at - 1]) => at - 1,
        () => return,
    };
    let mut right = resized(children, bytes, |children| children.remove(left + 1));
    *bytes -= node_bytes::<T>() + room(&right.node);
    children[left].weight += right.weight;
    let mut ignored = room(&right.node);
    let low = right.low.clone();
    match (own(&mut children[left].node, bytes), own(&mut right.node, &mut ignored)) {
        (Node::Leaf(into), Node::Leaf(from)) => resized(into, bytes, |into| {
            into.reserve_exact(from.len());
            into.append(from);
        }),
        (Node::Inner(into), Node::Inner(from)) => {
            // The first child's bound was not looked at so far; from here on it is.
            from[0].low = low;
            resized(into, bytes, |into| {
                into.reserve_exact(from.len());
                into.append(from);
            });
        }
        _ => unreachable!("neighbours are of the same height"),
    }
}

fn size<T: Item>(node: &Node<T>) -> (usize, usize) {
    match node {
        Node::Leaf(items) => (items.len(), T::LEAF_ITEMS_MAX),
        Node::Inner(children) => (children.len(), INNER_CHILDREN_MAX),
    }
}

/// Frees the last leaf that nobody shares, or lets go of the last node that somebody does. None: there is nothing below.
fn free_last<T: Item>(node: &mut Arc<Node<T>>) -> Option<usize> {
    let Node::Inner(children) = Arc::get_mut(node)? else { return None };
    let last = children.last_mut()?;
    if let Some(freed) = free_last(&mut last.node) {
        return Some(freed);
    }
    let gone = children.pop().expect("just seen");
    Some(match &*gone.node {
        Node::Leaf(items) if gone.node.is_unique() => items.len(),
        _ => 1,
    })
}

#[cfg(test)]
fn check_node<T: Item>(node: &Arc<Node<T>>, root: bool, bytes: &mut usize, last: &mut Option<T::Key>) -> usize
where
    T::Key: PartialOrd,
{
    *bytes += node_bytes::<T>() + room(node);
    match &**node {
        Node::Leaf(items) => {
            assert!((root || !items.is_empty()) && items.len() <= T::LEAF_ITEMS_MAX);
            for item in items {
                assert!(last.as_ref().is_none_or(|last| last <= item.key()), "keys are in order");
                *last = Some(item.key().clone());
                *bytes += item.heap_bytes();
            }
            items.iter().map(Item::weight).sum()
        }
        Node::Inner(children) => {
            assert!((2 - !root as usize..=INNER_CHILDREN_MAX).contains(&children.len()));
            let mut sum = 0;
            for (at, child) in children.iter().enumerate() {
                if at > 0 {
                    assert!(last.as_ref().is_none_or(|last| *last <= child.low), "low is above what is before");
                }
                assert_eq!(check_node(&child.node, false, bytes, last), child.weight);
                sum += child.weight;
            }
            sum
        }
    }
}

pub struct Iter<'a, T: Item> {
    path: Vec<std::slice::Iter<'a, Child<T>>>,
    items: std::slice::Iter<'a, T>,
    offset: usize,
}

impl<'a, T: Item> Iter<'a, T> {
    /// The offset of the rank asked for in the first item.
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl<'a, T: Item> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        loop {
            if let Some(item) = self.items.next() {
                return Some(item);
            }
            let Some(child) = self.path.last_mut()?.next() else {
                self.path.pop();
                continue;
            };
            match &*child.node {
                Node::Leaf(items) => self.items = items.iter(),
                Node::Inner(children) => self.path.push(children.iter()),
            }
        }
    }
}

pub struct IterBack<'a, T: Item> {
    path: Vec<std::slice::Iter<'a, Child<T>>>,
    items: std::slice::Iter<'a, T>,
}

impl<'a, T: Item> Iterator for IterBack<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        loop {
            if let Some(item) = self.items.next_back() {
                return Some(item);
            }
            let Some(child) = self.path.last_mut()?.next_back() else {
                self.path.pop();
                continue;
            };
            match &*child.node {
                Node::Leaf(items) => self.items = items.iter(),
                Node::Inner(children) => self.path.push(children.iter()),
            }
        }
    }
}

impl<T: Item + PartialEq> PartialEq for Tree<T> {
    fn eq(&self, other: &Tree<T>) -> bool {
        self.len == other.len && (Arc::ptr_eq(&self.root, &other.root) || self.iter().eq(other.iter()))
    }
}

impl<T: Item + std::fmt::Debug> std::fmt::Debug for Tree<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests;
