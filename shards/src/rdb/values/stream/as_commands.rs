//! Streams as commands.
//!
//! | part | commands |
//! |---|---|
//! | entries | XADD with its id, for each |
//! | ids | XSETID, unless the entries say the same |
//! | groups | XGROUP CREATE, XGROUP SETID … ENTRIESREAD; then for each consumer XGROUP CREATECONSUMER and XCLAIM … FORCE JUSTID |
//! | ghosts | XTRIM and XDEL; then XSETID, and XGROUP SETID for what Redis 8 has held to the numbers before |
//!
//! An entry that was deleted while it is pending is a *ghost*: XCLAIM takes only entries that are there, so a stand-in is added
//! in its place and taken away afterwards. When a consumer was last seen cannot be said: it counts as seen when the commands run.
//!
//! Redis 6.2 passes over a command that it can't parse without a word, and takes XSETID without looking at what follows the id. So what
//! it does not know stands in a command of its own, behind one that says the rest: a CREATE with ENTRIESREAD would make no group there.

use crate::rdb::aof::encode_command;
use crate::rdb::values::{ELEMENTS_PER_COMMAND, PIECE_BYTES, Progress};
use crate::types::Stream;
use crate::types::stream::{Consumer, Entry, Group, Pending, StreamId};

/// The next commands that make it under a key that does not exist yet; true when they are the last.
pub fn encode_commands(out: &mut Vec<u8>, key: &[u8], stream: &Stream, progress: &mut Progress) -> bool {
    let mut piece = Piece { enough: out.len() + PIECE_BYTES, out, key, stream, ghosts: progress.stage % 2 == 1 };
    let mut place = Place::of(progress);
    while piece.out.len() < piece.enough {
        let Some(next) = piece.step(place) else { return true };
        place = next;
    }
    *progress = place.progress(piece.ghosts);
    false
}

#[derive(Clone, Copy)]
enum Place {
    /// From this id on.
    Entries {
        from: StreamId,
    },
    Group {
        group: usize,
    },
    Consumer {
        group: usize,
        consumer: usize,
        pending: usize,
    },
    /// From this id on.
    Ghosts {
        from: StreamId,
    },
    Ids,
    /// Of a group, once ids and numbers are as they shall be.
    Position {
        group: usize,
    },
}

/// `Place`s without a consumer.
const PARTS: usize = 5;

impl Place {
    fn of(progress: &Progress) -> Place {
        let (at, inner) = (progress.at, progress.inner);
        match progress.stage / 2 {
            0 => Place::Entries { from: StreamId::new(at as u64, inner as u64) },
            1 => Place::Group { group: at },
            2 => Place::Ghosts { from: StreamId::new(at as u64, inner as u64) },
            3 => Place::Ids,
            4 => Place::Position { group: at },
            part => Place::Consumer { group: at, consumer: part - PARTS, pending: inner },
        }
    }

    fn progress(self, ghosts: bool) -> Progress {
        let (part, at, inner) = match self {
            Place::Entries { from } => (0, from.ms as usize, from.seq as usize),
            Place::Group { group } => (1, group, 0),
            Place::Ghosts { from } => (2, from.ms as usize, from.seq as usize),
            Place::Ids => (3, 0, 0),
            Place::Position { group } => (4, group, 0),
            Place::Consumer { group, consumer, pending } => (PARTS + consumer, group, pending),
        };
        Progress { stage: part * 2 + ghosts as usize, at, inner }
    }
}

struct Piece<'a> {
    out: &'a mut Vec<u8>,
    /// The piece ends where it is longer than this.
    enough: usize,
    key: &'a [u8],
    stream: &'a Stream,
    /// Whether there was one so far.
    ghosts: bool,
}

impl Piece<'_> {
    /// Encodes what is at a place; the place after it, None at the end.
    fn step(&mut self, place: Place) -> Option<Place> {
        match place {
            Place::Entries { from } => Some(self.entries(from)),
            Place::Group { group } => Some(match self.stream.group_at(group) {
                Some(found) => {
                    self.group(found);
                    Place::Consumer { group, consumer: 0, pending: 0 }
                }
                None if self.ghosts => self.first_ghosts(),
                None => return None,
            }),
            Place::Consumer { group, consumer, pending } => Some(self.consumer(group, consumer, pending)),
            Place::Ghosts { from } => Some(self.ghosts(from)),
            Place::Ids => {
                self.ids();
                Some(if self.ghosts { Place::Position { group: 0 } } else { Place::Group { group: 0 } })
            }
            Place::Position { group } => {
                self.position(self.stream.group_at(group)?);
                Some(Place::Position { group: group + 1 })
            }
        }
    }

    fn command(&mut self, args: &[&[u8]]) {
        encode_command(self.out, args);
    }

    fn entries(&mut self, from: StreamId) -> Place {
        for added in merged(self.stream, from) {
            let id = match added {
                Added::Live(entry) => {
                    self.entry(entry);
                    entry.id
                }
                Added::Ghost(id) => {
                    self.ghosts = true;
                    self.command(&[b"XADD", self.key, id.text().bytes(), b"x", b"y"]);
                    id
                }
            };
            match id.next() {
                Some(from) if self.out.len() >= self.enough => return Place::Entries { from },
                _ => {}
            }
        }
        if self.stream.is_empty() && !self.ghosts {
            self.command(&[b"XADD", self.key, b"MAXLEN", b"0", self.last_id_of_nothing().text().bytes(), b"x", b"y"]);
        }
        // Ghosts count as added, and Redis lets no number be below: it is set when they are gone.
        if self.ghosts { Place::Group { group: 0 } } else { Place::Ids }
    }

    fn entry(&mut self, entry: Entry<'_>) {
        let pairs: Vec<_> = entry.pairs().map(|(field, value)| [field.bytes(), value.bytes()]).collect();
        let id = entry.id.text();
        let mut args: Vec<&[u8]> = vec![b"XADD", self.key, id.bytes()];
        args.extend(pairs.iter().flatten().map(|bytes| &**bytes));
        self.command(&args);
    }

    /// The id of the entry that makes an empty stream: no entry has 0-0.
    fn last_id_of_nothing(&self) -> StreamId {
        self.stream.last_id().max(StreamId::new(0, 1))
    }

    fn group(&mut self, group: &Group) {
        self.command(&[b"XGROUP", b"CREATE", self.key, group.name(), group.last_id.text().bytes()]);
        // With ghosts it is said when they are gone.
        if !self.ghosts {
            self.position(group);
        }
    }

    fn position(&mut self, group: &Group) {
        if let Some(read) = group.entries_read {
            let (id, read) = (group.last_id.text(), read.to_string());
            self.command(&[b"XGROUP", b"SETID", self.key, group.name(), id.bytes(), b"ENTRIESREAD", read.as_bytes()]);
        }
    }

    fn consumer(&mut self, group_index: usize, index: usize, mut at: usize) -> Place {
        let group = self.stream.group_at(group_index).expect("the place is in a group");
        let Some(consumer) = group.consumer_at(index) else { return Place::Group { group: group_index + 1 } };
        if at == 0 {
            self.command(&[b"XGROUP", b"CREATECONSUMER", self.key, group.name(), consumer.name()]);
        }
        while at < consumer.len() && self.out.len() < self.enough {
            at += self.claim(group, consumer, at);
        }
        match at < consumer.len() {
            true => Place::Consumer { group: group_index, consumer: index, pending: at },
            false => Place::Consumer { group: group_index, consumer: index + 1, pending: 0 },
        }
    }

    /// One XCLAIM: of entries that were delivered equally often at the same time. Gives their number.
    fn claim(&mut self, group: &Group, consumer: &Consumer, at: usize) -> usize {
        let pending = |id| group.pending(id).expect("what a consumer has is pending in its group");
        let first: &Pending = pending(consumer.pending_from(at).next().expect("there is more"));
        let alike = |id: &StreamId| {
            let other = pending(*id);
            (other.delivered_ms, other.deliveries) == (first.delivered_ms, first.deliveries)
        };
        let ids = consumer.pending_from(at).take(ELEMENTS_PER_COMMAND).take_while(alike);
        let texts: Vec<_> = ids.map(StreamId::text).collect();
        let (time, count) = (first.delivered_ms.to_string(), first.deliveries.to_string());
        let mut args: Vec<&[u8]> = vec![b"XCLAIM", self.key, group.name(), consumer.name(), b"0"];
        args.extend(texts.iter().map(|text| text.bytes()));
        args.extend([&b"TIME"[..], time.as_bytes(), b"RETRYCOUNT", count.as_bytes(), b"FORCE", b"JUSTID"]);
        self.command(&args);
        texts.len()
    }

    /// Ghosts in front of all entries are trimmed: that leaves no trace, as XDEL does.
    fn first_ghosts(&mut self) -> Place {
        match self.stream.first() {
            None => self.command(&[b"XTRIM", self.key, b"MAXLEN", b"0"]),
            Some(first) => self.command(&[b"XTRIM", self.key, b"MINID", first.id.text().bytes()]),
        }
        match self.stream.first() {
            None => Place::Ids,
            Some(first) => Place::Ghosts { from: first.id },
        }
    }

    fn ghosts(&mut self, from: StreamId) -> Place {
        let ghosts = merged(self.stream, from).filter_map(|added| match added {
            Added::Ghost(id) => Some(id),
            Added::Live(_) => None,
        });
        let ids: Vec<StreamId> = ghosts.take(ELEMENTS_PER_COMMAND).collect();
        let texts: Vec<_> = ids.iter().map(|id| id.text()).collect();
        let args: Vec<&[u8]> = [&b"XDEL"[..], self.key].into_iter().chain(texts.iter().map(|text| text.bytes())).collect();
        if !ids.is_empty() {
            self.command(&args);
        }
        match ids.last().and_then(|id| id.next()) {
            Some(from) => Place::Ghosts { from },
            None => Place::Ids,
        }
    }

    /// Ids and counts that the commands so far have not made so.
    fn ids(&mut self) {
        let stream = self.stream;
        let (made_last, made_added) = match stream.last() {
            Some(last) => (last.id, stream.len() as u64),
            None => (self.last_id_of_nothing(), 1),
        };
        let deleted = stream.max_deleted_id();
        let (says_added, says_deleted) = (self.ghosts || stream.entries_added() != made_added, deleted != StreamId::ZERO);
        if !says_added && !says_deleted && stream.last_id() == made_last {
            return;
        }
        let (last, added, deleted) = (stream.last_id().text(), stream.entries_added().to_string(), deleted.text());
        let mut args: Vec<&[u8]> = vec![b"XSETID", self.key, last.bytes()];
        if says_added {
            args.extend([b"ENTRIESADDED", added.as_bytes()]);
        }
        if says_deleted {
            args.extend([b"MAXDELETEDID", deleted.bytes()]);
        }
        self.command(&args);
    }
}

/// What XADD has to add.
enum Added<'a> {
    Live(Entry<'a>),
    Ghost(StreamId),
}

/// Entries and ghosts in order, from an id on. Without ghosts behind the last id (XSETID can have brought it below them): beside entries,
/// XDEL of their stand-ins would leave a trace that no XSETID goes below.
fn merged(stream: &Stream, from: StreamId) -> impl Iterator<Item = Added<'_>> {
    let last = if stream.is_empty() { StreamId::MAX } else { stream.last_id() };
    let mut entries = stream.range(from, StreamId::MAX).peekable();
    let with_pending = stream.groups().filter(|group| group.pending_len() > 0);
    let mut pending: Vec<_> =
        with_pending.map(|group| group.pending_from(group.rank(from.max(StreamId::new(0, 1)))).peekable()).collect();
    std::iter::from_fn(move || {
        let next_pending = pending.iter_mut().filter_map(|ids| ids.peek().map(|pending| pending.id)).min();
        let next_entry = entries.peek().map(|entry| entry.id);
        let next = [next_pending, next_entry].into_iter().flatten().min().filter(|&next| next <= last)?;
        for ids in &mut pending {
            ids.next_if(|pending| pending.id == next);
        }
        match entries.next_if(|entry| entry.id == next) {
            Some(entry) => Some(Added::Live(entry)),
            None => Some(Added::Ghost(next)),
        }
    })
}
