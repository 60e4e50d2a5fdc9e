//! Hashes.
//!
//! | form | when | OBJECT ENCODING |
//! |---|---|---|
//! | `Pack` | within `hash-max-listpack-entries` and `-value`: field, value, field, value … | listpack |
//! | `Table` | above: a tree ordered by the fields' hashes | hashtable |

use super::element::{Element, Hashed};
use super::listpack::Listpack;
use super::tree::{Item, Tree};

#[derive(Clone, Debug)]
pub struct Hash(Form);

#[derive(Clone, Debug)]
enum Form {
    Pack(Listpack),
    Table(Box<Tree<Pair>>),
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

impl Hash {
    pub fn encoding_name(&self) -> &'static str {
        match &self.0 {
            Form::Pack(_) => "listpack",
            Form::Table(_) => "hashtable",
        }
    }

    pub fn heap_bytes(&self) -> usize {
        size_of::<Hash>()
            + match &self.0 {
                Form::Pack(pack) => pack.heap_bytes(),
                Form::Table(pairs) => pairs.heap_bytes(),
            }
    }

    pub fn is_compact(&self) -> bool {
        matches!(self.0, Form::Pack(_))
    }

    pub fn free_some(&mut self, parts: usize) -> bool {
        match &mut self.0 {
            Form::Pack(_) => true,
            Form::Table(pairs) => pairs.free_some(parts),
        }
    }
}

/// The same content; the encoding does not count.
impl PartialEq for Hash {
    fn eq(&self, _other: &Hash) -> bool {
        unimplemented!()
    }
}
