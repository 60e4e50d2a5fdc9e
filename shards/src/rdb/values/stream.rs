//! Streams in RDB files and as commands.
//!
//! ```text
//! value      nodes:length  (master id:16 bytes as a string  listpack:string) …
//!            entries:length  last id
//!            [2: first id  highest deleted id  entries ever added:length]
//!            groups:length  group …
//! group      name:string  last id  [2: entries read:length, u64::MAX = not known]
//!            pending:length    (id:16 bytes big-endian  delivered:i64 little-endian ms  deliveries:length) …
//!            consumers:length  consumer …
//! consumer   name:string  seen:i64 little-endian ms  [3: active:i64 little-endian ms, -1 = never]
//!            pending:length    (id:16 bytes) …
//! id         ms:length  seq:length
//! ```
//! `2:` is there from STREAM_2 on, `3:` in STREAM_3. The lowest form is written that loses nothing when it is read:
//!
//! | form | what a server puts in the place of what is missing |
//! |---|---|
//! | STREAM | nothing was deleted, no more was ever added than is there; entries read: what these two and the last id tell |
//! | STREAM_2 | a consumer was last active when it was last seen |

use super::{Loss, PIECE_BYTES, Progress};
use crate::error::Result;
use crate::rdb::format::type_code as code_of;
use crate::rdb::input::Source;
use crate::rdb::reader::Reader;
use crate::rdb::writer::{Compression, encode_length, encode_string};
use crate::types::Stream;
use crate::types::listpack::Listpack;
use crate::types::stream::{Consumer, Group, Node, StreamId};

mod as_commands;

pub use as_commands::encode_commands;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    First,
    Second,
    Third,
}

impl Form {
    const ALL: [Form; 3] = [Form::First, Form::Second, Form::Third];

    fn version(self) -> u32 {
        match self {
            Form::First => 9,
            Form::Second => 10,
            Form::Third => 11,
        }
    }

    fn code(self) -> u8 {
        match self {
            Form::First => code_of::STREAM,
            Form::Second => code_of::STREAM_2,
            Form::Third => code_of::STREAM_3,
        }
    }

    /// The lowest that loses nothing.
    fn lossless(stream: &Stream) -> Form {
        match (says_active_times(stream), says_history(stream)) {
            (true, _) => Form::Third,
            (false, true) => Form::Second,
            (false, false) => Form::First,
        }
    }

    /// The lowest that loses nothing, or the highest that a version has.
    fn within(stream: &Stream, version_max: u32) -> Form {
        let known = Form::ALL.into_iter().rev().find(|form| form.version() <= version_max);
        Form::lossless(stream).min(known.unwrap_or(Form::First))
    }
}

/// Whether a consumer was last active at another time than that at which it was last seen.
fn says_active_times(stream: &Stream) -> bool {
    let active_unlike_seen = |consumer: &Consumer| consumer.active_ms != Some(consumer.seen_ms);
    stream.groups().any(|group| group.consumers().any(active_unlike_seen))
}

/// Whether what the first form does not say is other than a server would put in its place.
fn says_history(stream: &Stream) -> bool {
    let history_unlike = stream.max_deleted_id() != StreamId::ZERO || stream.entries_added() != stream.len() as u64;
    let read_unlike = |group: &Group| group.entries_read != stream.entries_read_at(group.last_id);
    history_unlike || stream.groups().any(read_unlike)
}

/// What is lost for readers of versions up to this one.
pub fn loss(stream: &Stream, version_max: u32) -> Option<Loss> {
    let active = version_max < Form::Third.version() && says_active_times(stream);
    let history = version_max < Form::Second.version() && says_history(stream);
    match (history, active) {
        (true, true) => Some(Loss::HistoryAndActiveTimes),
        (true, false) => Some(Loss::History),
        (false, true) => Some(Loss::ActiveTimes),
        (false, false) => None,
    }
}

/// The lowest RDB version that can hold it.
pub fn version(stream: &Stream) -> u32 {
    Form::lossless(stream).version()
}

/// The type code under which `encode` writes it.
pub fn type_code(stream: &Stream, version_max: u32) -> u8 {
    Form::within(stream, version_max).code()
}

/// Encodes the next piece; true when it was the last. What a lower version than `version` cannot say is left out; 9 is the lowest
/// there is.
pub fn encode(out: &mut Vec<u8>, stream: &Stream, version_max: u32, progress: &mut Progress, compression: Compression) -> bool {
    let form = match progress.stage {
        0 => Form::within(stream, version_max),
        stage => Form::ALL[stage % FORMS],
    };
    let mut piece = Piece { enough: out.len() + PIECE_BYTES, out, stream, form, compression };
    let mut place = Place::of(progress);
    while piece.out.len() < piece.enough {
        let Some(next) = piece.step(place) else { return true };
        place = next;
    }
    *progress = place.progress(form);
    false
}

/// Of entries and deliveries: commands take no greater ones.
const NUMBER_MAX: u64 = i64::MAX as u64;

const FORMS: usize = Form::ALL.len();

/// What comes next. `Progress::stage` holds part, consumer and form; the form is chosen once, because that looks at all consumers.
#[derive(Clone, Copy)]
enum Place {
    Start,
    /// The rank of the node's first entry.
    Node {
        rank: usize,
    },
    History,
    Group {
        group: usize,
    },
    Pending {
        group: usize,
        at: usize,
    },
    Consumers {
        group: usize,
    },
    Consumer {
        group: usize,
        consumer: usize,
    },
    Ids {
        group: usize,
        consumer: usize,
        at: usize,
    },
}

/// `Place`s without a consumer; each consumer has two more.
const PARTS: usize = 6;

impl Place {
    fn of(progress: &Progress) -> Place {
        let (at, inner) = (progress.at, progress.inner);
        match progress.stage / FORMS {
            0 => Place::Start,
            1 => Place::Node { rank: at },
            2 => Place::History,
            3 => Place::Group { group: at },
            4 => Place::Pending { group: at, at: inner },
            5 => Place::Consumers { group: at },
            part if (part - PARTS).is_multiple_of(2) => Place::Consumer { group: at, consumer: (part - PARTS) / 2 },
            part => Place::Ids { group: at, consumer: (part - PARTS) / 2, at: inner },
        }
    }

    fn progress(self, form: Form) -> Progress {
        let (part, at, inner) = match self {
            Place::Start => (0, 0, 0),
            Place::Node { rank } => (1, rank, 0),
            Place::History => (2, 0, 0),
            Place::Group { group } => (3, group, 0),
            Place::Pending { group, at } => (4, group, at),
            Place::Consumers { group } => (5, group, 0),
            Place::Consumer { group, consumer } => (PARTS + consumer * 2, group, 0),
            Place::Ids { group, consumer, at } => (PARTS + consumer * 2 + 1, group, at),
        };
        Progress { stage: part * FORMS + form as usize, at, inner }
    }
}

struct Piece<'a> {
    out: &'a mut Vec<u8>,
    /// The piece ends where it is longer than this.
    enough: usize,
    stream: &'a Stream,
    form: Form,
    compression: Compression,
}

impl Piece<'_> {
    /// Encodes what is at a place; the place after it, None at the end.
    fn step(&mut self, place: Place) -> Option<Place> {
        let stream = self.stream;
        match place {
            Place::Start => {
                encode_length(self.out, stream.nodes_len() as u64);
                Some(Place::Node { rank: 0 })
            }
            Place::Node { rank } => Some(self.nodes(rank)),
            Place::History => {
                self.history();
                Some(Place::Group { group: 0 })
            }
            Place::Group { group } => {
                let found = stream.group_at(group)?;
                self.group(found);
                Some(Place::Pending { group, at: 0 })
            }
            Place::Pending { group, at } => Some(match self.pending(group_at(stream, group), at) {
                Some(at) => Place::Pending { group, at },
                None => Place::Consumers { group },
            }),
            Place::Consumers { group } => {
                encode_length(self.out, group_at(stream, group).consumers_len() as u64);
                Some(Place::Consumer { group, consumer: 0 })
            }
            Place::Consumer { group, consumer } => Some(match group_at(stream, group).consumer_at(consumer) {
                Some(found) => {
                    self.consumer(found);
                    Place::Ids { group, consumer, at: 0 }
                }
                None => Place::Group { group: group + 1 },
            }),
            Place::Ids { group, consumer, at } => {
                let found = group_at(stream, group).consumer_at(consumer).expect("the place is at a consumer");
                Some(match self.ids(found, at) {
                    Some(at) => Place::Ids { group, consumer, at },
                    None => Place::Consumer { group, consumer: consumer + 1 },
                })
            }
        }
    }

    fn nodes(&mut self, mut rank: usize) -> Place {
        for node in self.stream.nodes_from(rank) {
            encode_string(self.out, &node.master().to_bytes(), Compression::Off);
            encode_string(self.out, node.pack().as_bytes(), self.compression);
            rank += node.live();
            if self.out.len() >= self.enough {
                return Place::Node { rank };
            }
        }
        Place::History
    }

    fn history(&mut self) {
        let stream = self.stream;
        encode_length(self.out, stream.len() as u64);
        self.id(stream.last_id());
        if self.form >= Form::Second {
            self.id(stream.first_id());
            self.id(stream.max_deleted_id());
            encode_length(self.out, stream.entries_added());
        }
        encode_length(self.out, stream.groups_len() as u64);
    }

    fn group(&mut self, group: &Group) {
        encode_string(self.out, group.name(), self.compression);
        self.id(group.last_id);
        if self.form >= Form::Second {
            encode_length(self.out, group.entries_read.unwrap_or(u64::MAX));
        }
        encode_length(self.out, group.pending_len() as u64);
    }

    /// The index of what is left of the pending entries for the next piece, if anything is.
    fn pending(&mut self, group: &Group, mut at: usize) -> Option<usize> {
        for pending in group.pending_from(at) {
            self.out.extend_from_slice(&pending.id.to_bytes());
            self.out.extend_from_slice(&pending.delivered_ms.to_le_bytes());
            encode_length(self.out, pending.deliveries);
            at += 1;
            if self.out.len() >= self.enough {
                return Some(at);
            }
        }
        None
    }

    fn consumer(&mut self, consumer: &Consumer) {
        encode_string(self.out, consumer.name(), self.compression);
        self.out.extend_from_slice(&consumer.seen_ms.to_le_bytes());
        if self.form >= Form::Third {
            self.out.extend_from_slice(&consumer.active_ms.unwrap_or(NEVER).to_le_bytes());
        }
        encode_length(self.out, consumer.len() as u64);
    }

    fn ids(&mut self, consumer: &Consumer, mut at: usize) -> Option<usize> {
        for id in consumer.pending_from(at) {
            self.out.extend_from_slice(&id.to_bytes());
            at += 1;
            if self.out.len() >= self.enough {
                return Some(at);
            }
        }
        None
    }

    fn id(&mut self, id: StreamId) {
        encode_length(self.out, id.ms);
        encode_length(self.out, id.seq);
    }
}

fn group_at(stream: &Stream, index: usize) -> &Group {
    stream.group_at(index).expect("the place is in a group")
}

/// When a consumer that never was given anything was last active.
const NEVER: i64 = -1;

// --- Reading -------------------------------------------------------------------------------------------------------------

/// Reads what stands behind one of its type codes.
pub fn read<S: Source>(reader: &mut Reader<S>, code: u8) -> Result<Stream> {
    let form = Form::ALL.into_iter().find(|form| form.code() == code);
    let form = form.ok_or_else(|| reader.unsupported_type(code))?;
    let mut stream = Stream::new();
    for _ in 0..reader.plain_length()? {
        read_node(reader, &mut stream)?;
    }
    read_history(reader, form, &mut stream)?;
    for _ in 0..reader.plain_length()? {
        let offset = reader.offset();
        let group = read_group(reader, form, &stream)?;
        if stream.put_group(group).is_some() {
            return Err(reader.corrupt(offset, "a consumer group stands twice in a stream"));
        }
    }
    Ok(stream)
}

fn read_node<S: Source>(reader: &mut Reader<S>, stream: &mut Stream) -> Result<()> {
    let offset = reader.offset();
    let key = reader.string()?;
    let master = <[u8; StreamId::BYTES]>::try_from(&key[..]);
    let master = master.map_err(|_| reader.corrupt(offset, format!("a stream's node has an id of {} bytes", key.len())))?;
    let master = StreamId::from_bytes(master);
    let pack = Listpack::from_bytes(reader.string()?);
    let node = pack.and_then(|pack| Node::load(master, pack));
    let node = node.ok_or_else(|| reader.corrupt(offset, "a stream's node is no valid listpack of entries"))?;
    if stream.load_node(node) { Ok(()) } else { Err(reader.corrupt(offset, "a stream's nodes are not in order")) }
}

fn read_history<S: Source>(reader: &mut Reader<S>, form: Form, stream: &mut Stream) -> Result<()> {
    let offset = reader.offset();
    let len = reader.plain_length()?;
    if len != stream.len() as u64 {
        return Err(reader.corrupt(offset, format!("a stream of {} entries that says it has {len}", stream.len())));
    }
    let last_id = read_id(reader)?;
    if last_id < stream.last_id() {
        return Err(reader.corrupt(offset, "a stream's last id is below that of an entry"));
    }
    let (mut max_deleted_id, mut added) = (StreamId::ZERO, len);
    if form >= Form::Second {
        // The first id: that of the first entry, which is there.
        read_id(reader)?;
        max_deleted_id = read_id(reader)?;
        added = reader.plain_length()?;
    }
    if max_deleted_id > last_id || added < len || added > NUMBER_MAX {
        return Err(reader.corrupt(offset, "a stream's highest deleted id or number of entries ever added can't be"));
    }
    stream.set_ids(last_id, added, max_deleted_id);
    Ok(())
}

fn read_id<S: Source>(reader: &mut Reader<S>) -> Result<StreamId> {
    Ok(StreamId { ms: reader.plain_length()?, seq: reader.plain_length()? })
}

fn read_group<S: Source>(reader: &mut Reader<S>, form: Form, stream: &Stream) -> Result<Group> {
    let name = reader.string()?;
    let last_id = read_id(reader)?;
    let offset = reader.offset();
    let entries_read = match form {
        Form::First => stream.entries_read_at(last_id),
        _ => Some(reader.plain_length()?).filter(|&read| read != u64::MAX),
    };
    if entries_read.is_some_and(|read| read > NUMBER_MAX) {
        return Err(reader.corrupt(offset, "a group has read more entries than can be"));
    }
    let mut group = Group::new(&name, last_id, entries_read);
    let offset = reader.offset();
    let mut pending = read_pending(reader)?;
    for _ in 0..reader.plain_length()? {
        read_consumer(reader, form, &mut group, &mut pending)?;
    }
    if group.pending_len() != pending.len() {
        return Err(reader.corrupt(offset, "pending entries of no consumer"));
    }
    Ok(group)
}

/// Sorted by id; nobody's yet.
fn read_pending<S: Source>(reader: &mut Reader<S>) -> Result<Vec<Unowned>> {
    let offset = reader.offset();
    let mut pending: Vec<Unowned> = Vec::new();
    for _ in 0..reader.plain_length()? {
        let id = StreamId::from_bytes(reader.array()?);
        let delivered_ms = i64::from_le_bytes(reader.array()?);
        let deliveries = reader.plain_length()?;
        if deliveries > NUMBER_MAX {
            return Err(reader.corrupt(offset, "an entry was delivered more often than can be"));
        }
        pending.push(Unowned { id, delivered_ms, deliveries });
    }
    pending.sort_unstable_by_key(|entry| entry.id);
    if pending.windows(2).any(|pair| pair[0].id == pair[1].id) {
        return Err(reader.corrupt(offset, "an entry stands twice among the pending ones of a group"));
    }
    Ok(pending)
}

struct Unowned {
    id: StreamId,
    delivered_ms: i64,
    deliveries: u64,
}

fn read_consumer<S: Source>(reader: &mut Reader<S>, form: Form, group: &mut Group, pending: &mut [Unowned]) -> Result<()> {
    let offset = reader.offset();
    let name = reader.string()?;
    let seen_ms = i64::from_le_bytes(reader.array()?);
    let active_ms = match form {
        Form::Third => Some(i64::from_le_bytes(reader.array()?)).filter(|&at| at != NEVER),
        _ => Some(seen_ms),
    };
    if !group.create_consumer(&name, seen_ms, active_ms) {
        return Err(reader.corrupt(offset, "a consumer stands twice in a group"));
    }
    for _ in 0..reader.plain_length()? {
        let offset = reader.offset();
        let id = StreamId::from_bytes(reader.array()?);
        let found = pending.binary_search_by_key(&id, |entry| entry.id).ok().filter(|_| group.pending(id).is_none());
        let entry = &pending
            [found.ok_or_else(|| reader.corrupt(offset, "a consumer's pending entry is not its group's, or another's"))?];
        group.deliver(&name, id, entry.delivered_ms, entry.deliveries);
    }
    Ok(())
}
