//! Sorted sets.
//!
//! | form | when | OBJECT ENCODING |
//! |---|---|---|
//! | `Pack` | within `zset-max-listpack-entries` and `-value`: member, score, member, score …, in order | listpack |
//! | `Trees` | above: one tree ordered by score and member, one by the members' hashes; they share the members' bytes | skiplist |

use super::element::{Element, Hashed};
use super::listpack::Listpack;
use super::tree::{Item, Tree};

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

impl Zset {
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
}

/// The same content; the encoding does not count.
impl PartialEq for Zset {
    fn eq(&self, _other: &Zset) -> bool {
        unimplemented!()
    }
}
