//! The values a key can hold.

mod chunks;
mod string;
mod thin_bytes;

pub use string::{BIG_STRING_BYTES, Str};

/// One value, 16 bytes: tables hold one per key. Another type goes in a box. New types are added here and nowhere else in the keyspace.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Str(Str),
}

const _: () = assert!(size_of::<Value>() == 16);

impl Value {
    /// The name that `TYPE` answers.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Str(_) => "string",
        }
    }

    /// The name that `OBJECT ENCODING` answers.
    pub fn encoding_name(&self) -> &'static str {
        match self {
            Value::Str(s) => s.encoding_name(),
        }
    }

    /// Bytes of memory this value takes outside its slot in the table. O(1): the keyspace asks at every change.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Value::Str(s) => s.heap_bytes(),
        }
    }

    /// Frees up to `parts` parts (chunks, elements) of a big value, which is of no use afterwards; true when dropping the
    /// rest costs next to nothing.
    pub fn free_some(&mut self, parts: usize) -> bool {
        match self {
            Value::Str(s) => s.free_some(parts),
        }
    }

    pub fn as_str(&self) -> Option<&Str> {
        match self {
            Value::Str(s) => Some(s),
        }
    }

    pub fn as_str_mut(&mut self) -> Option<&mut Str> {
        match self {
            Value::Str(s) => Some(s),
        }
    }
}
