//! What a command changed, as RESP commands, ready for the log.

use super::events::{Event, EventClasses};
use crate::ids::DbIndex;

/// Effects of one command (or one transaction's part) in order. One *effect* is one RESP command with its database.
///
/// Layout in `bytes`, per effect: database u16 LE, length u32 LE, RESP array of bulk strings.
#[derive(Default, Debug, Clone)]
pub struct Effects {
    bytes: Vec<u8>,
    count: u32,
    /// Nobody will read the bytes: they are not made.
    counts_only: bool,
    /// Keyspace notifications of the same changes, of the classes asked for.
    events: Vec<Event>,
    watched: EventClasses,
}

/// Bytes in front of each effect: database u16 LE, length u32 LE.
pub const EFFECT_HEADER_BYTES: usize = 6;

impl Effects {
    pub fn push(&mut self, db: DbIndex, args: &[&[u8]]) {
        self.count += 1;
        if self.counts_only {
            return;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&db.to_le_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        header(&mut self.bytes, b'*', args.len());
        for arg in args {
            header(&mut self.bytes, b'$', arg.len());
            self.bytes.extend_from_slice(arg);
            self.bytes.extend_from_slice(b"\r\n");
        }
        let len = (self.bytes.len() - start - EFFECT_HEADER_BYTES) as u32;
        self.bytes[start + 2..start + EFFECT_HEADER_BYTES].copy_from_slice(&len.to_le_bytes());
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
        self.counts_only = false;
        self.events.clear();
    }

    /// `notify-keyspace-events`: which events are kept from now on.
    pub fn watch(&mut self, classes: EventClasses) {
        self.watched = classes;
    }

    /// Whether events of any of these classes are kept.
    #[inline]
    pub fn watches(&self, classes: EventClasses) -> bool {
        self.watched.contains(classes)
    }

    #[inline]
    pub fn notify(&mut self, db: DbIndex, class: EventClasses, name: &'static str, key: &[u8]) {
        if self.watches(class) {
            self.events.push(Event { db, class, name, key: key.to_vec() });
        }
    }

    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Takes the events of `other` over, which are raised here and nowhere else.
    pub fn take_events(&mut self, other: &mut Effects) {
        self.events.append(&mut other.events);
    }

    /// The command runs again, and misses the same keys again. What it has deleted stays deleted, and is told once.
    pub fn forget_misses(&mut self) {
        self.events.retain(|event| event.class != EventClasses::KEY_MISS);
    }

    /// Until `clear`, effects are only counted: there is no log, and no other shard to send them to.
    pub fn count_only(&mut self) {
        self.counts_only = true;
    }

    pub fn append(&mut self, other: &Effects) {
        self.bytes.extend_from_slice(&other.bytes);
        self.count += other.count;
        self.events.extend_from_slice(&other.events);
    }

    /// The effects one after another: database and the RESP bytes.
    pub fn iter(&self) -> impl Iterator<Item = (DbIndex, &[u8])> {
        iter_bytes(&self.bytes)
    }
}

/// Walks over effects in the layout of `Effects::bytes`; stops at the first that is cut short.
pub fn iter_bytes(mut bytes: &[u8]) -> impl Iterator<Item = (DbIndex, &[u8])> {
    std::iter::from_fn(move || {
        let header = bytes.get(..EFFECT_HEADER_BYTES)?;
        let db = u16::from_le_bytes([header[0], header[1]]);
        let len = u32::from_le_bytes([header[2], header[3], header[4], header[5]]) as usize;
        let resp = bytes.get(EFFECT_HEADER_BYTES..EFFECT_HEADER_BYTES + len)?;
        bytes = &bytes[EFFECT_HEADER_BYTES + len..];
        Some((db, resp))
    })
}

fn header(out: &mut Vec<u8>, kind: u8, number: usize) {
    out.push(kind);
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}
