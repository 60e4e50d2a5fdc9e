//! Keyspace notifications: what `notify-keyspace-events` asks for, raised by the handlers beside their effects.

use crate::ids::DbIndex;

/// Classes of events, a bit each; the letters are those of `notify-keyspace-events`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventClasses(u16);

impl EventClasses {
    pub const NONE: EventClasses = EventClasses(0);
    /// `K`: events are published under the key.
    pub const KEYSPACE: EventClasses = EventClasses(1);
    /// `E`: events are published under their name.
    pub const KEYEVENT: EventClasses = EventClasses(1 << 1);
    pub const GENERIC: EventClasses = EventClasses(1 << 2);
    pub const STRING: EventClasses = EventClasses(1 << 3);
    pub const LIST: EventClasses = EventClasses(1 << 4);
    pub const SET: EventClasses = EventClasses(1 << 5);
    pub const HASH: EventClasses = EventClasses(1 << 6);
    pub const ZSET: EventClasses = EventClasses(1 << 7);
    pub const EXPIRED: EventClasses = EventClasses(1 << 8);
    pub const EVICTED: EventClasses = EventClasses(1 << 9);
    pub const STREAM: EventClasses = EventClasses(1 << 10);
    pub const MODULE: EventClasses = EventClasses(1 << 11);
    /// Not in `A`.
    pub const KEY_MISS: EventClasses = EventClasses(1 << 12);
    /// Not in `A`.
    pub const NEW: EventClasses = EventClasses(1 << 13);

    const LETTERS: [(char, EventClasses); 14] = [
        ('K', EventClasses::KEYSPACE),
        ('E', EventClasses::KEYEVENT),
        ('g', EventClasses::GENERIC),
        ('$', EventClasses::STRING),
        ('l', EventClasses::LIST),
        ('s', EventClasses::SET),
        ('h', EventClasses::HASH),
        ('z', EventClasses::ZSET),
        ('x', EventClasses::EXPIRED),
        ('e', EventClasses::EVICTED),
        ('t', EventClasses::STREAM),
        ('d', EventClasses::MODULE),
        ('m', EventClasses::KEY_MISS),
        ('n', EventClasses::NEW),
    ];

    /// The directive's value, which was checked before. Without `K` and `E` nothing is published, so nothing is raised.
    pub fn parse(text: &str) -> EventClasses {
        let of = |letter| match letter {
            'A' => "g$lshzxetd".chars().fold(0, |bits, letter| bits | EventClasses::letter(letter).0),
            letter => EventClasses::letter(letter).0,
        };
        let classes = EventClasses(text.chars().fold(0, |bits, letter| bits | of(letter)));
        let published = classes.0 & (EventClasses::KEYSPACE.0 | EventClasses::KEYEVENT.0) != 0;
        if published { classes } else { EventClasses::NONE }
    }

    fn letter(letter: char) -> EventClasses {
        EventClasses::LETTERS.iter().find(|(l, _)| *l == letter).map_or(EventClasses::NONE, |(_, class)| *class)
    }

    pub const fn and(self, other: EventClasses) -> EventClasses {
        EventClasses(self.0 | other.0)
    }

    /// Whether any of these classes is among them.
    #[inline]
    pub fn contains(self, class: EventClasses) -> bool {
        self.0 & class.0 != 0
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub db: DbIndex,
    pub class: EventClasses,
    /// `set`, `lpush`, `expired` …
    pub name: &'static str,
    pub key: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directive_names_classes() {
        let classes = EventClasses::parse("KA");
        for (letter, class) in EventClasses::LETTERS {
            assert_eq!(classes.contains(class), !"Emn".contains(letter), "{letter}");
        }
        assert_eq!(EventClasses::parse("A"), EventClasses::NONE, "neither K nor E");
        assert!(EventClasses::parse("E$").contains(EventClasses::STRING));
        assert!(!EventClasses::parse("E$").contains(EventClasses::GENERIC));
    }
}
