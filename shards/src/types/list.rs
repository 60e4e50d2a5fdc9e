//! Lists.
//!
//! | form | when | OBJECT ENCODING |
//! |---|---|---|
//! | `Pack` | within `list-max-listpack-size` | listpack |
//! | `Nodes` | above: a tree of packs, ordered by position | quicklist |

use super::listpack::Listpack;
use super::tree::{Item, Tree};

#[derive(Clone, Debug)]
pub struct List(Form);

#[derive(Clone, Debug)]
enum Form {
    Pack(Listpack),
    Nodes(Box<Tree<Node>>),
}

/// A run of neighbouring elements.
#[derive(Clone, Debug)]
struct Node(Listpack);

impl Item for Node {
    type Key = ();

    fn key(&self) -> &() {
        &()
    }

    fn weight(&self) -> usize {
        self.0.len()
    }

    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }
}

impl List {
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
                Form::Nodes(nodes) => nodes.heap_bytes(),
            }
    }

    pub fn is_compact(&self) -> bool {
        matches!(self.0, Form::Pack(_))
    }

    pub fn free_some(&mut self, parts: usize) -> bool {
        match &mut self.0 {
            Form::Pack(_) => true,
            Form::Nodes(nodes) => nodes.free_some(parts),
        }
    }
}

/// The same elements in the same order.
impl PartialEq for List {
    fn eq(&self, _other: &List) -> bool {
        todo!()
    }
}
