//! The values a key can hold.
//!
//! | part | what |
//! |---|---|
//! | `string`, `chunks`, `thin_bytes` | strings: integers, inline, on the heap, in chunks |
//! | `list`, `set`, `hash`, `zset`, `stream` | the collections: small ones packed, big ones in a tree |
//! | `listpack`, `intset` | the packed forms, byte for byte as Redis saves them |
//! | `tree`, `element` | the structure of all big collections: nodes and bytes that clones share |
//! | `hyperloglog` | what a string holds that PFADD has made |
//! | `limits` | the settings that say when a collection leaves its packed form |
//!
//! Three promises hold for every value that can be big, so that none of them ever stalls a shard:
//! - **A clone costs next to nothing and does not change any more.** The snapshot, COPY and a value lent to another shard hold
//!   one, and encode or read it piece by piece; a write meanwhile copies the nodes it touches, not the value.
//! - **It is freed in steps** (`free_some`).
//! - **Its size is known** (`heap_bytes` is O(1)).

mod chunks;
pub mod element;
mod field_expiry;
pub mod hash;
pub mod hyperloglog;
pub mod intset;
pub mod limits;
pub mod list;
pub mod listpack;
pub mod set;
pub mod stream;
mod string;
mod thin_bytes;
pub mod tree;
pub mod zset;

pub use hash::Hash;
pub use limits::Limits;
pub use list::List;
pub use set::Set;
pub use stream::Stream;
pub use string::{BIG_STRING_BYTES, Str};
pub use zset::Zset;

/// Bigger values are saved in pieces, from a clone, and freed in steps.
pub const BIG_VALUE_BYTES: usize = 64 * 1024;

/// One value, 16 bytes: tables hold one per key. Collections are in boxes. New types are added here and nowhere else in the keyspace.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Str(Str),
    List(Box<List>),
    Set(Box<Set>),
    Hash(Box<Hash>),
    Zset(Box<Zset>),
    Stream(Box<Stream>),
}

const _: () = assert!(size_of::<Value>() == 16);

impl Value {
    /// The name that `TYPE` answers.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Str(_) => "string",
            Value::List(_) => "list",
            Value::Set(_) => "set",
            Value::Hash(_) => "hash",
            Value::Zset(_) => "zset",
            Value::Stream(_) => "stream",
        }
    }

    /// The name that `OBJECT ENCODING` answers.
    pub fn encoding_name(&self) -> &'static str {
        match self {
            Value::Str(string) => string.encoding_name(),
            Value::List(list) => list.encoding_name(),
            Value::Set(set) => set.encoding_name(),
            Value::Hash(hash) => hash.encoding_name(),
            Value::Zset(zset) => zset.encoding_name(),
            Value::Stream(_) => "stream",
        }
    }

    /// Bytes of memory this value takes outside its slot in the table. O(1): the keyspace asks at every change.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Value::Str(string) => string.heap_bytes(),
            Value::List(list) => list.heap_bytes(),
            Value::Set(set) => set.heap_bytes(),
            Value::Hash(hash) => hash.heap_bytes(),
            Value::Zset(zset) => zset.heap_bytes(),
            Value::Stream(stream) => stream.heap_bytes(),
        }
    }

    /// Whether it is saved in pieces from a clone, which then shares what it holds with this one.
    pub fn is_big(&self) -> bool {
        let compact = match self {
            Value::Str(string) => return string.len() > BIG_VALUE_BYTES,
            Value::List(list) => list.is_compact(),
            Value::Set(set) => set.is_compact(),
            Value::Hash(hash) => hash.is_compact(),
            Value::Zset(zset) => zset.is_compact(),
            Value::Stream(_) => false,
        };
        !compact && self.heap_bytes() > BIG_VALUE_BYTES
    }

    /// When the first of its elements expires, for a hash whose fields do.
    pub fn next_element_expiry_ms(&self) -> Option<i64> {
        match self {
            Value::Hash(hash) => hash.next_expiry(),
            _ => None,
        }
    }

    /// Frees up to `parts` parts (chunks, elements) of a big value, which is of no use afterwards; true when dropping the
    /// rest costs next to nothing.
    pub fn free_some(&mut self, parts: usize) -> bool {
        match self {
            Value::Str(string) => string.free_some(parts),
            Value::List(list) => list.free_some(parts),
            Value::Set(set) => set.free_some(parts),
            Value::Hash(hash) => hash.free_some(parts),
            Value::Zset(zset) => zset.free_some(parts),
            Value::Stream(stream) => stream.free_some(parts),
        }
    }

    pub fn as_str(&self) -> Option<&Str> {
        Str::of(self)
    }

    pub fn as_str_mut(&mut self) -> Option<&mut Str> {
        Str::of_mut(self)
    }
}

/// One of the types that a value can have.
pub trait Typed: Sized {
    /// None: the value is of another type.
    fn of(value: &Value) -> Option<&Self>;
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    fn into_value(self) -> Value;
}

impl Typed for Str {
    fn of(value: &Value) -> Option<&Str> {
        if let Value::Str(string) = value { Some(string) } else { None }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Str> {
        if let Value::Str(string) = value { Some(string) } else { None }
    }

    fn into_value(self) -> Value {
        Value::Str(self)
    }
}

macro_rules! typed {
    ($($type:ident)*) => {$(
        impl Typed for $type {
            fn of(value: &Value) -> Option<&$type> {
                if let Value::$type(found) = value { Some(found) } else { None }
            }

            fn of_mut(value: &mut Value) -> Option<&mut $type> {
                if let Value::$type(found) = value { Some(found) } else { None }
            }

            fn into_value(self) -> Value {
                Value::$type(Box::new(self))
            }
        }
    )*};
}

typed!(List Set Hash Zset Stream);
