//! Sets.
//!
//! | form | when | OBJECT ENCODING |
//! |---|---|---|
//! | `Ints` | integers only, within `set-max-intset-entries` | intset |
//! | `Pack` | within `set-max-listpack-entries` and `-value` | listpack |
//! | `Table` | above: a tree ordered by the members' hashes | hashtable |

use super::element::Hashed;
use super::intset::IntSet;
use super::listpack::Listpack;
use super::tree::{Item, Tree};

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

impl Set {
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
                Form::Table(members) => members.heap_bytes(),
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
}

/// The same content; the encoding does not count.
impl PartialEq for Set {
    fn eq(&self, _other: &Set) -> bool {
        unimplemented!()
    }
}
