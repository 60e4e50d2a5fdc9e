//! Sorted sets.
//!
//! | form | when | OBJECT ENCODING |
//! |---|---|---|
//! | `Pack` | within `zset-max-listpack-entries` and `-value`: member, score, member, score …, in order | listpack |
//! | `Trees` | above: one tree ordered by score and member, one by the members' hashes; they share the members' bytes | skiplist |
//!
//! Whatever the form, members stand in order of score, then of their bytes, and a *rank* is a place in that order. Ranges of
//! scores or members become ranges of ranks first (`score_ranks`, `lex_ranks`): two descents, whatever the size.

use super::element::{Element, Hashed, element_hash, scan_hashed};
use super::limits::Limits;
use super::listpack::{LISTPACK_BYTES_MAX, Listpack, Packed, Pos};
use super::tree::{Item, Iter, IterBack, Tree};
use crate::resp::{DOUBLE_TEXT_MAX, double_text, double_text_17, exact_integer, parse_double};
use std::cmp::Ordering;
use std::ops::Range;

#[derive(Clone, Debug)]
pub struct Zset(Form);

#[derive(Clone, Debug)]
enum Form {
    Pack(Listpack),
    Trees(Box<Trees>),
}

#[derive(Clone, Debug, Default)]
struct Trees {
    by_score: Tree<Ranked>,
    by_member: Tree<Scored>,
}

/// In order of score, then of the member's bytes. Scores are never NaN.
#[derive(Clone, Debug, PartialEq)]
struct Ranked {
    score: f64,
    member: Element,
}

impl Ranked {
    fn order(&self, score: f64, member: &[u8]) -> Ordering {
        compare(self.score, score).then_with(|| (*self.member).cmp(member))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Ranked) -> Option<Ordering> {
        Some(self.order(other.score, &other.member))
    }
}

impl Item for Ranked {
    type Key = Ranked;

    fn key(&self) -> &Ranked {
        self
    }

    /// The members' bytes are counted in the other tree.
    fn heap_bytes(&self) -> usize {
        0
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Scored {
    member: Hashed,
    score: f64,
}

impl Item for Scored {
    type Key = Hashed;

    fn key(&self) -> &Hashed {
        &self.member
    }

    fn heap_bytes(&self) -> usize {
        self.member.element.heap_bytes()
    }
}

fn compare(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).expect("scores are never NaN")
}

/// An end of a range of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreBound {
    pub score: f64,
    pub exclusive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    pub min: ScoreBound,
    pub max: ScoreBound,
}

impl ScoreRange {
    fn below(&self, score: f64) -> bool {
        if self.min.exclusive { score <= self.min.score } else { score < self.min.score }
    }

    fn above(&self, score: f64) -> bool {
        if self.max.exclusive { score >= self.max.score } else { score > self.max.score }
    }
}

/// An end of a range of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexBound<'a> {
    /// `-`
    Least,
    /// `+`
    Greatest,
    Inclusive(&'a [u8]),
    Exclusive(&'a [u8]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LexRange<'a> {
    pub min: LexBound<'a>,
    pub max: LexBound<'a>,
}

impl LexRange<'_> {
    fn below(&self, member: &[u8]) -> bool {
        match self.min {
            LexBound::Least => false,
            LexBound::Greatest => true,
            LexBound::Inclusive(min) => member < min,
            LexBound::Exclusive(min) => member <= min,
        }
    }

    fn above(&self, member: &[u8]) -> bool {
        match self.max {
            LexBound::Least => true,
            LexBound::Greatest => false,
            LexBound::Inclusive(max) => member > max,
            LexBound::Exclusive(max) => member >= max,
        }
    }

    /// Whether no member at all can lie inside, by the bounds alone.
    fn is_empty(&self) -> bool {
        use LexBound::{Exclusive, Greatest, Inclusive, Least};
        match (self.min, self.max) {
            (Least, Least) | (Greatest, Greatest) => false,
            (Least, _) | (_, Greatest) => false,
            (Greatest, _) | (_, Least) => true,
            (Inclusive(min), Inclusive(max)) => min > max,
            (Inclusive(min) | Exclusive(min), Inclusive(max) | Exclusive(max)) => min >= max,
        }
    }
}

impl Default for Zset {
    fn default() -> Zset {
        Zset::new()
    }
}

impl Zset {
    pub fn new() -> Zset {
        Zset(Form::Pack(Listpack::new()))
    }

    /// An empty one, in the form that fits what is going to be put in.
    pub fn for_members(count: usize, longest: usize, limits: &Limits) -> Zset {
        let mut zset = Zset::new();
        if zset.outgrown_by(count, longest, limits) {
            zset.leave_pack();
        }
        zset
    }

    /// Of members in order, each once.
    pub fn from_ordered(members: Vec<(Element, f64)>, limits: &Limits) -> Zset {
        let longest = members.iter().map(|(member, _)| member.len()).max().unwrap_or(0);
        if members.len() > limits.zset_max_listpack_entries || longest > limits.zset_max_listpack_value {
            let mut trees = Trees::default();
            members.into_iter().for_each(|(member, score)| trees.push(member, score));
            return Zset(Form::Trees(Box::new(trees)));
        }
        let mut pack = Listpack::new();
        for (member, score) in &members {
            with_score_text(*score, |text| pack.append(&[member, text]));
        }
        Zset(Form::Pack(pack))
    }

    /// A listpack from outside as it is. None: it is no sorted set (odd, empty, no scores, out of order, members twice).
    pub fn from_pack(pack: Listpack, limits: &Limits) -> Option<Zset> {
        let (mut seen, mut last) = (std::collections::HashSet::new(), None::<(f64, Vec<u8>)>);
        let mut elements = pack.iter();
        while let Some(member) = elements.next() {
            let score = packed_score(elements.next()?).filter(|score| !score.is_nan())?;
            let member = member.bytes().into_owned();
            let in_order = last.is_none_or(|(s, m)| compare(s, score).then_with(|| m.cmp(&member)) == Ordering::Less);
            if !in_order || !seen.insert(member.clone()) {
                return None;
            }
            last = Some((score, member));
        }
        let count = seen.len();
        let mut zset = Zset(Form::Pack(pack));
        if count > limits.zset_max_listpack_entries {
            zset.leave_pack();
        }
        (count > 0).then_some(zset)
    }

    pub fn encoding_name(&self) -> &'static str {
        match &self.0 {
            Form::Pack(_) => "listpack",
            Form::Trees(_) => "skiplist",
        }
    }

    pub fn heap_bytes(&self) -> usize {
        size_of::<Zset>()
            + match &self.0 {
                Form::Pack(pack) => pack.heap_bytes(),
                Form::Trees(trees) => size_of::<Trees>() + trees.by_score.heap_bytes() + trees.by_member.heap_bytes(),
            }
    }

    pub fn is_compact(&self) -> bool {
        matches!(self.0, Form::Pack(_))
    }

    pub fn free_some(&mut self, parts: usize) -> bool {
        match &mut self.0 {
            Form::Pack(_) => true,
            Form::Trees(trees) => trees.by_score.free_some(parts) && trees.by_member.free_some(parts),
        }
    }

    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Pack(pack) => pack.len() / 2,
            Form::Trees(trees) => trees.by_score.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    // --- Looking -----------------------------------------------------------------------------------------------------

    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.0 {
            Form::Pack(pack) => find_packed(pack, member).map(|(_, score)| score),
            Form::Trees(trees) => trees.score(member),
        }
    }

    /// The member's rank and score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match &self.0 {
            Form::Pack(_) => self
                .iter()
                .enumerate()
                .find_map(|(rank, (found, score))| found.with_bytes(|found| found == member).then_some((rank, score))),
            Form::Trees(trees) => {
                let score = trees.score(member)?;
                Some((trees.by_score.rank(|key| key.order(score, member)), score))
            }
        }
    }

    /// The member at a rank, with its score.
    pub fn get(&self, rank: usize) -> Option<(Packed<'_>, f64)> {
        self.iter_from(rank).next()
    }

    /// All members with their scores from a rank on.
    pub fn iter_from(&self, rank: usize) -> Members<'_> {
        Members(match &self.0 {
            Form::Pack(pack) => Direction::Pack { pack, pos: member_at(pack, rank) },
            Form::Trees(trees) => Direction::Tree(trees.by_score.iter_from(rank)),
        })
    }

    pub fn iter(&self) -> Members<'_> {
        self.iter_from(0)
    }

    /// All members backwards, from a rank on.
    pub fn iter_back_from(&self, rank: usize) -> Members<'_> {
        Members(match &self.0 {
            Form::Pack(pack) => Direction::PackBack { pack, pos: member_at(pack, rank) },
            Form::Trees(trees) => Direction::TreeBack(trees.by_score.iter_back_from(rank)),
        })
    }

    /// The ranks of the members whose scores are in the range.
    pub fn score_ranks(&self, range: &ScoreRange) -> Range<usize> {
        let (start, end) = match &self.0 {
            Form::Pack(_) => {
                let start = self.iter().take_while(|(_, score)| range.below(*score)).count();
                (start, self.iter().take_while(|(_, score)| !range.above(*score)).count())
            }
            Form::Trees(trees) => {
                let less = |less: bool| if less { Ordering::Less } else { Ordering::Greater };
                let start = trees.by_score.rank(|key| less(range.below(key.score)));
                (start, trees.by_score.rank(|key| less(!range.above(key.score))))
            }
        };
        start..end.max(start)
    }

    /// The ranks of the members in the range, which is asked of sets whose scores are all the same. Of others Redis answers
    /// what its way through them gives; in a pack that is: the first member that is not below, and what follows it in the
    /// range; `backwards`, the last that is not above, and what precedes it.
    pub fn lex_ranks(&self, range: &LexRange<'_>, backwards: bool) -> Range<usize> {
        let none = 0..0;
        if range.is_empty() {
            return none;
        }
        match &self.0 {
            Form::Trees(trees) => {
                let less = |less: bool| if less { Ordering::Less } else { Ordering::Greater };
                let start = trees.by_score.rank(|key| less(range.below(&key.member)));
                start..trees.by_score.rank(|key| less(!range.above(&key.member))).max(start)
            }
            Form::Pack(_) => {
                let below = |(member, _): &(Packed<'_>, f64)| member.with_bytes(|member| range.below(member));
                let above = |(member, _): &(Packed<'_>, f64)| member.with_bytes(|member| range.above(member));
                let len = self.len();
                let (Some(first), Some(last)) = (self.get(0), self.get(len.wrapping_sub(1))) else { return none };
                if above(&first) || below(&last) {
                    return none;
                }
                if backwards {
                    let end = len - self.iter_back_from(len - 1).take_while(above).count();
                    let count = self.iter_back_from(end.wrapping_sub(1)).take_while(|item| !below(item)).count();
                    return end - count..end;
                }
                let start = self.iter().take_while(below).count();
                start..start + self.iter_from(start).take_while(|item| !above(item)).count()
            }
        }
    }

    /// One step of ZSCAN: shows members with their scores' texts; gives the next cursor, 0 = finished. A pack is shown whole.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(&[u8], &[u8])) -> u64 {
        match &self.0 {
            Form::Pack(pack) => {
                let mut elements = pack.iter();
                while let (Some(member), Some(score)) = (elements.next(), elements.next()) {
                    member.with_bytes(|member| score.with_bytes(|score| visit(member, score)));
                }
                0
            }
            Form::Trees(trees) => scan_hashed(&trees.by_member, cursor, count, |item| {
                visit(&item.member.element, double_text_17(item.score, &mut [0; DOUBLE_TEXT_MAX]));
            }),
        }
    }

    // --- Changing ----------------------------------------------------------------------------------------------------

    /// Whether so many members, the longest of this length, are more than a pack may hold.
    pub fn outgrown_by(&self, count: usize, longest: usize, limits: &Limits) -> bool {
        self.is_compact() && (count > limits.zset_max_listpack_entries || longest > limits.zset_max_listpack_value)
    }

    /// Changes the form, not the content.
    pub fn leave_pack(&mut self) {
        let Form::Pack(pack) = &self.0 else { return };
        let mut trees = Trees::default();
        for (member, score) in members_of(pack) {
            trees.push(member.with_bytes(Element::new), score);
        }
        self.0 = Form::Trees(Box::new(trees));
    }

    /// Gives a member a score; gives back the one it had.
    ///
    /// # Panics
    /// On NaN.
    pub fn insert(&mut self, member: &[u8], score: f64, limits: &Limits) -> Option<f64> {
        assert!(!score.is_nan(), "scores are never NaN");
        if let Form::Pack(pack) = &mut self.0 {
            let found = find_packed(pack, member);
            if found.is_some() || pack_takes(pack, member, limits) {
                if let Some((pos, _)) = found {
                    pack.remove(pos, 2);
                }
                insert_packed(pack, member, score);
                return found.map(|(_, old)| old);
            }
            self.leave_pack();
        }
        let Form::Trees(trees) = &mut self.0 else { unreachable!("it has left the pack") };
        trees.insert(member, score)
    }

    /// Takes a member out; gives its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match &mut self.0 {
            Form::Pack(pack) => {
                let (pos, score) = find_packed(pack, member)?;
                pack.remove(pos, 2);
                Some(score)
            }
            Form::Trees(trees) => {
                let score = trees.score(member)?;
                trees.by_score.remove(|key| key.order(score, member)).expect("both trees hold it");
                trees.remove_member(member);
                Some(score)
            }
        }
    }

    /// Takes out the members of a range of ranks.
    ///
    /// # Panics
    /// When the range ends beyond the last member.
    pub fn remove_ranks(&mut self, ranks: Range<usize>) {
        match &mut self.0 {
            Form::Pack(pack) => {
                if let Some(pos) = member_at(pack, ranks.start) {
                    pack.remove(pos, ranks.len() * 2);
                }
            }
            Form::Trees(trees) => {
                for _ in ranks.clone() {
                    let gone = trees.by_score.remove_at(ranks.start);
                    trees.remove_member(&gone.member);
                }
            }
        }
    }
}

impl Trees {
    fn score(&self, member: &[u8]) -> Option<f64> {
        let hash = element_hash(member);
        self.by_member.find(|key| key.order(hash, member)).map(|item| item.score)
    }

    /// A new member that is behind all others.
    fn push(&mut self, member: Element, score: f64) {
        self.put_member(member.clone(), score);
        self.by_score.push(Ranked { score, member });
    }

    fn put_member(&mut self, element: Element, score: f64) {
        let hash = element_hash(&element);
        let item = Scored { member: Hashed { hash, element: element.clone() }, score };
        self.by_member.insert(|key| key.order(hash, &element), item);
    }

    fn remove_member(&mut self, member: &[u8]) {
        let hash = element_hash(member);
        self.by_member.remove(|key| key.order(hash, member)).expect("both trees hold it");
    }

    fn insert(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let hash = element_hash(member);
        let old = self.by_member.update(|key| key.order(hash, member), |item| std::mem::replace(&mut item.score, score));
        let element = match old {
            Some(old) => self.by_score.remove(|key| key.order(old, member)).expect("both trees hold it").member,
            None => {
                let element = Element::new(member);
                self.put_member(element.clone(), score);
                element
            }
        };
        self.by_score.insert(|key| key.order(score, member), Ranked { score, member: element });
        old
    }
}

// --- Packs ---------------------------------------------------------------------------------------------------------------

/// Calls `with` with a score as a pack holds it: negative zero becomes zero there, as in Redis.
fn with_score_text<R>(score: f64, with: impl FnOnce(&[u8]) -> R) -> R {
    match exact_integer(score + 0.0) {
        Some(integer) => Packed::Int(integer).with_bytes(with),
        None => with(double_text(score, &mut [0; DOUBLE_TEXT_MAX])),
    }
}

fn packed_score(score: Packed<'_>) -> Option<f64> {
    match score {
        Packed::Int(score) => Some(score as f64),
        Packed::Bytes(text) => parse_double(text),
    }
}

fn score_at(pack: &Listpack, pos: Pos) -> f64 {
    packed_score(pack.get(pos)).expect("every score of a pack was written or checked here")
}

/// A rank beyond the end has none, also the one before the first that wrapped around.
fn member_at(pack: &Listpack, rank: usize) -> Option<Pos> {
    pack.at(rank.checked_mul(2)?)
}

fn find_packed(pack: &Listpack, member: &[u8]) -> Option<(Pos, f64)> {
    let pos = pack.find(pack.first(), member, 2)?;
    let score = pack.next(pos).expect("a score follows each member");
    Some((pos, score_at(pack, score)))
}

fn pack_takes(pack: &Listpack, member: &[u8], limits: &Limits) -> bool {
    pack.len() / 2 < limits.zset_max_listpack_entries
        && member.len() <= limits.zset_max_listpack_value
        && pack.total_bytes() + member.len() < LISTPACK_BYTES_MAX
}

fn insert_packed(pack: &mut Listpack, member: &[u8], score: f64) {
    let mut pos = pack.first();
    while let Some(at) = pos {
        let score_pos = pack.next(at).expect("a score follows each member");
        let order = compare(score_at(pack, score_pos), score);
        if order.then_with(|| pack.get(at).with_bytes(|found| found.cmp(member))) == Ordering::Greater {
            break;
        }
        pos = pack.next(score_pos);
    }
    with_score_text(score, |text| match pos {
        Some(pos) => drop(pack.insert(pos, &[member, text])),
        None => pack.append(&[member, text]),
    });
}

fn members_of(pack: &Listpack) -> Members<'_> {
    Members(Direction::Pack { pack, pos: pack.first() })
}

/// Members with their scores, in either direction.
pub struct Members<'a>(Direction<'a>);

enum Direction<'a> {
    /// `pos`: the next member.
    Pack {
        pack: &'a Listpack,
        pos: Option<Pos>,
    },
    PackBack {
        pack: &'a Listpack,
        pos: Option<Pos>,
    },
    Tree(Iter<'a, Ranked>),
    TreeBack(IterBack<'a, Ranked>),
}

impl<'a> Iterator for Members<'a> {
    type Item = (Packed<'a>, f64);

    fn next(&mut self) -> Option<(Packed<'a>, f64)> {
        let (pack, pos, forward) = match &mut self.0 {
            Direction::Tree(iter) => return iter.next().map(|item| (Packed::Bytes(&item.member), item.score)),
            Direction::TreeBack(iter) => return iter.next().map(|item| (Packed::Bytes(&item.member), item.score)),
            Direction::Pack { pack, pos } => (*pack, pos, true),
            Direction::PackBack { pack, pos } => (*pack, pos, false),
        };
        let member = (*pos)?;
        let score = pack.next(member).expect("a score follows each member");
        *pos = if forward { pack.next(score) } else { pack.prev(member).and_then(|score| pack.prev(score)) };
        Some((pack.get(member), score_at(pack, score)))
    }
}

/// The same content; the encoding does not count.
impl PartialEq for Zset {
    fn eq(&self, other: &Zset) -> bool {
        let same = |((a, a_score), (b, b_score)): ((Packed<'_>, f64), (Packed<'_>, f64))| {
            a_score == b_score && a.with_bytes(|a| b.with_bytes(|b| a == b))
        };
        self.len() == other.len() && self.iter().zip(other.iter()).all(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const LIMITS: Limits = Limits { zset_max_listpack_entries: 20, zset_max_listpack_value: 10, ..Limits::DEFAULT };

    type Model = BTreeMap<Vec<u8>, f64>;

    fn ordered(model: &Model) -> Vec<(Vec<u8>, f64)> {
        let mut members: Vec<_> = model.iter().map(|(member, score)| (member.clone(), *score)).collect();
        members.sort_by(|a, b| compare(a.1, b.1).then_with(|| a.0.cmp(&b.0)));
        members
    }

    fn owned(members: Members<'_>) -> Vec<(Vec<u8>, f64)> {
        members.map(|(member, score)| (member.bytes().into_owned(), score)).collect()
    }

    fn check(zset: &Zset, model: &Model) {
        let expected = ordered(model);
        assert_eq!(owned(zset.iter()), expected);
        assert_eq!(zset.len(), model.len());
        if let Form::Trees(trees) = &zset.0 {
            trees.by_score.check();
            trees.by_member.check();
        }
        for (rank, (member, score)) in expected.iter().enumerate().step_by(7) {
            assert_eq!(zset.rank(member), Some((rank, *score)));
            assert_eq!(owned(zset.iter_from(rank)), expected[rank..]);
            assert_eq!(owned(zset.iter_back_from(rank)), expected[..=rank].iter().rev().cloned().collect::<Vec<_>>());
        }
        let mut scanned = Vec::new();
        assert_eq!(zset.scan(0, usize::MAX, |member, _| scanned.push(member.to_vec())), 0);
        scanned.sort();
        assert!(scanned.iter().eq(model.keys()));
    }

    #[test]
    fn any_sequence_of_changes_equals_the_same_on_a_map_and_clones_keep_what_they_saw() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut zset, mut model, mut clones) = (Zset::new(), Model::new(), Vec::new());
            let (range, scores) = (random.u32(5..600), random.i32(1..50));
            for _ in 0..random.usize(1..1500) {
                let mut member = random.u32(..range).to_string().into_bytes();
                if random.u8(..60) == 0 {
                    member.extend_from_slice(b"a long member");
                }
                let score = random.i32(-scores..scores) as f64 / if random.bool() { 1.0 } else { 3.0 };
                match random.u8(..12) {
                    0..6 => assert_eq!(zset.insert(&member, score, &LIMITS), model.insert(member, score)),
                    6..10 => assert_eq!(zset.remove(&member), model.remove(&member)),
                    10 => {
                        let start = random.usize(..=model.len());
                        let ranks = start..(start + random.usize(..4)).min(model.len());
                        let gone: Vec<_> = ordered(&model)[ranks.clone()].to_vec();
                        gone.iter().for_each(|(member, _)| _ = model.remove(member));
                        zset.remove_ranks(ranks);
                    }
                    _ if random.u8(..20) == 0 => clones.push((zset.clone(), model.clone())),
                    _ => assert_eq!(zset.score(&member), model.get(&member).copied()),
                }
            }
            check(&zset, &model);
            clones.iter().for_each(|(zset, model)| check(zset, model));
            let again = ordered(&model).iter().map(|(member, score)| (Element::new(member), *score)).collect();
            assert_eq!(Zset::from_ordered(again, &Limits::DEFAULT), zset);
        }
    }

    #[test]
    fn ranges_are_those_that_a_filter_gives() {
        let mut random = fastrand::Rng::with_seed(1);
        for size in [0, 1, 5, 20, 21, 300] {
            let (mut by_score, mut by_member) = (Zset::new(), Zset::new());
            for number in 0..size {
                by_score.insert(format!("{number}").as_bytes(), random.i32(-20..20) as f64, &LIMITS);
                by_member.insert(format!("{:03}", random.u32(..400)).as_bytes(), 1.0, &LIMITS);
            }
            for _ in 0..300 {
                let mut bound = || ScoreBound { score: random.i32(-22..22) as f64, exclusive: random.bool() };
                let range = ScoreRange { min: bound(), max: bound() };
                let inside = |score: f64| !range.below(score) && !range.above(score);
                let expected = by_score.iter().filter(|(_, score)| inside(*score)).count();
                let ranks = by_score.score_ranks(&range);
                assert_eq!(ranks.len(), expected);
                assert!(by_score.iter_from(ranks.start).take(expected).all(|(_, score)| inside(score)));

                let texts = [random.u32(..400), random.u32(..400)].map(|number| format!("{number:03}").into_bytes());
                let bounds = [0, 1].map(|at| match random.u8(..8) {
                    0 => LexBound::Least,
                    1 => LexBound::Greatest,
                    2..5 => LexBound::Inclusive(&texts[at]),
                    _ => LexBound::Exclusive(&texts[at]),
                });
                let range = LexRange { min: bounds[0], max: bounds[1] };
                let inside = |member: &Packed<'_>| member.with_bytes(|member| !range.below(member) && !range.above(member));
                let expected = by_member.iter().filter(|(member, _)| inside(member)).count();
                for backwards in [false, true] {
                    let ranks = by_member.lex_ranks(&range, backwards);
                    assert_eq!(ranks.len(), expected, "{range:?}");
                    assert!(by_member.iter_from(ranks.start).take(expected).all(|(member, _)| inside(&member)));
                }
            }
        }
    }

    #[test]
    fn a_pack_is_left_when_a_member_or_their_number_is_beyond_the_limits_and_never_come_back_to() {
        let mut zset = Zset::new();
        for number in 0..20 {
            zset.insert(format!("{number}").as_bytes(), 0.5, &LIMITS);
        }
        zset.insert(b"3", 1e300, &LIMITS);
        assert_eq!(zset.encoding_name(), "listpack");
        zset.insert(b"one more", 1.0, &LIMITS);
        assert_eq!(zset.encoding_name(), "skiplist");
        zset.remove_ranks(1..21);
        assert_eq!((zset.encoding_name(), zset.len()), ("skiplist", 1));
        let mut zset = Zset::new();
        zset.insert(b"0123456789", 1.0, &LIMITS);
        assert_eq!(zset.encoding_name(), "listpack");
        zset.insert(b"0123456789a", 1.0, &LIMITS);
        assert_eq!(zset.encoding_name(), "skiplist");
    }

    #[test]
    fn both_trees_of_a_big_set_share_the_members() {
        let mut zset = Zset::new();
        for number in 0..10_000 {
            zset.insert(format!("a member of some length {number}").as_bytes(), number as f64, &LIMITS);
        }
        let Form::Trees(trees) = &zset.0 else { panic!("too many for a pack") };
        let ranked = trees.by_score.get(5000).expect("there").0;
        let scored = trees.by_member.find(|key| key.order(element_hash(&ranked.member), &ranked.member)).expect("there");
        assert!(std::ptr::eq(ranked.member.as_ptr(), scored.member.element.as_ptr()));
        let per_member = zset.heap_bytes() / 10_000;
        assert!(per_member < 150, "{per_member} bytes per member");
    }
}
