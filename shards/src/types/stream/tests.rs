//! Against naive models: a vector of entries, maps of pending ones.

use super::*;
use crate::types::listpack::Listpack;
use std::collections::BTreeMap;

type Model = BTreeMap<StreamId, Vec<Vec<u8>>>;

fn entry_pairs(entry: Entry<'_>) -> Vec<Vec<u8>> {
    entry.pairs().flat_map(|(field, value)| [field.bytes().into_owned(), value.bytes().into_owned()]).collect()
}

fn content(stream: &Stream) -> Model {
    stream.range(StreamId::ZERO, StreamId::MAX).map(|entry| (entry.id, entry_pairs(entry))).collect()
}

fn random_pairs(random: &mut fastrand::Rng) -> Vec<Vec<u8>> {
    let fields = if random.u8(..3) == 0 { random.usize(1..5) } else { 2 };
    let field = |at: usize| if at < 2 { format!("field{at}") } else { at.to_string() };
    let value = |random: &mut fastrand::Rng| match random.u8(..4) {
        0 => random.i64(..).to_string(),
        1 => "x".repeat(random.usize(..100)),
        _ => random.u8(..).to_string(),
    };
    (0..fields).flat_map(|at| [field(at).into_bytes(), value(random).into_bytes()]).collect()
}

fn check(stream: &Stream, model: &Model) {
    stream.nodes.check();
    assert_eq!(stream.len(), model.len());
    assert_eq!(stream.nodes_len(), stream.nodes_from(0).count());
    assert_eq!(content(stream), *model);
    let back: Vec<StreamId> = stream.range_back(StreamId::ZERO, StreamId::MAX).map(|entry| entry.id).collect();
    assert!(back.iter().eq(model.keys().rev()));
    for node in stream.nodes_from(0) {
        let pack = Listpack::from_bytes(node.pack().as_bytes().to_vec()).expect("a valid listpack");
        assert_eq!(Node::load(node.master(), pack).map(|node| node.live()), Some(node.live()), "a valid node");
    }
}

fn random_id(random: &mut fastrand::Rng, stream: &Stream) -> StreamId {
    StreamId::new(random.u64(..=stream.last_id().ms + 1), random.u64(..3))
}

#[test]
fn any_sequence_of_changes_equals_the_same_on_a_map() {
    for seed in 0..30 {
        let mut random = fastrand::Rng::with_seed(seed);
        let limits = Limits { stream_node_max_entries: random.usize(..8), stream_node_max_bytes: 400, ..Limits::default() };
        let (mut stream, mut model) = (Stream::new(), Model::new());
        let mut clones: Vec<(Stream, Model)> = Vec::new();
        for _ in 0..300 {
            let id = random_id(&mut random, &stream);
            match random.u8(..10) {
                0..=5 => {
                    let last = stream.last_id();
                    let next = StreamId::new(last.ms + random.u64(..2), last.seq + 1);
                    let pairs = random_pairs(&mut random);
                    stream.add(next, &pairs.iter().map(Vec::as_slice).collect::<Vec<_>>(), &limits);
                    model.insert(next, pairs);
                }
                6 | 7 => assert_eq!(stream.delete(id), model.remove(&id).is_some()),
                8 => {
                    let count = random.usize(..4).min(stream.len());
                    stream.remove_oldest(count);
                    (0..count).for_each(|_| drop(model.pop_first()));
                }
                _ => clones.push((stream.clone(), model.clone())),
            }
            let end = random_id(&mut random, &stream);
            let ids = |range: &mut dyn Iterator<Item = Entry<'_>>| range.map(|entry| entry.id).collect::<Vec<_>>();
            let mut expected: Vec<StreamId> = model.keys().copied().filter(|key| (id..=end).contains(key)).collect();
            assert_eq!(ids(&mut stream.range(id, end)), expected);
            expected.reverse();
            assert_eq!(ids(&mut stream.range_back(id, end)), expected);
            assert_eq!(stream.rank(id), model.keys().filter(|key| **key < id).count());
            assert_eq!(stream.contains(id), model.contains_key(&id));
            assert_eq!(stream.first_id(), model.keys().next().copied().unwrap_or_default());
        }
        check(&stream, &model);
        clones.iter().for_each(|(stream, model)| check(stream, model));
    }
}

#[test]
fn a_trim_leaves_what_it_says() {
    let limits = Limits { stream_node_max_entries: 10, ..Limits::default() };
    let mut stream = Stream::new();
    (1..=95).for_each(|ms| stream.add(StreamId::new(ms, 0), &[b"f", b"v"], &limits));
    let count = |to, whole_nodes, limit| stream.trim_count(&Trim { to, whole_nodes, limit });
    let min = |ms| TrimTo::MinId(StreamId::new(ms, 0));
    assert_eq!(count(TrimTo::Len(42), false, 0), 53);
    assert_eq!(count(TrimTo::Len(42), true, 0), 50);
    assert_eq!(count(TrimTo::Len(42), true, 25), 20);
    assert_eq!(count(TrimTo::Len(0), true, 0), 95);
    assert_eq!(count(TrimTo::Len(100), false, 0), 0);
    assert_eq!((count(min(1), false, 0), count(min(31), false, 0), count(min(31), true, 0)), (0, 30, 30));
    assert_eq!((count(min(40), false, 0), count(min(40), true, 0), count(min(1000), true, 0)), (39, 30, 95));
}

/// The width of the counts changes, and with it where everything is.
#[test]
fn many_entries_of_one_node_are_deleted_at_once() {
    let limits = Limits { stream_node_max_entries: 0, stream_node_max_bytes: 0, ..Limits::default() };
    for deleted in [1, 100, 127, 128, 200, 399] {
        let (mut stream, mut model) = (Stream::new(), Model::new());
        for ms in 1..=400 {
            stream.add(StreamId::new(ms, 0), &[b"f", b"v"], &limits);
            model.insert(StreamId::new(ms, 0), vec![b"f".to_vec(), b"v".to_vec()]);
        }
        assert_eq!(stream.nodes_len(), 1);
        stream.remove_oldest(deleted);
        (0..deleted).for_each(|_| drop(model.pop_first()));
        check(&stream, &model);
    }
}

#[test]
fn the_bytes_of_a_node_are_those_of_redis() {
    let mut stream = Stream::new();
    let limits = Limits::default();
    stream.add(StreamId::new(5, 1), &[b"a", b"1"], &limits);
    stream.add(StreamId::new(6, 0), &[b"a", b"x"], &limits);
    stream.add(StreamId::new(7, 0), &[b"b", b"2"], &limits);
    stream.delete(StreamId::new(6, 0));
    let node = stream.nodes_from(0).next().expect("one node");
    let numbers: Vec<String> = node.pack().iter().map(|e| String::from_utf8(e.bytes().into_owned()).expect("text")).collect();
    assert_eq!(numbers.join(" "), "2 1 1 a 0 2 0 0 1 4 3 1 -1 x 4 0 2 -1 1 b 2 6");
}

#[test]
fn damaged_nodes_are_refused_or_others_but_never_a_panic() {
    let mut random = fastrand::Rng::with_seed(3);
    let mut stream = Stream::new();
    for ms in 1..10 {
        let pairs = random_pairs(&mut random);
        stream.add(StreamId::new(ms, 0), &pairs.iter().map(Vec::as_slice).collect::<Vec<_>>(), &Limits::default());
    }
    stream.delete(StreamId::new(4, 0));
    let node = stream.nodes_from(0).next().expect("one node");
    let mut valid = 0;
    for _ in 0..50_000 {
        let mut bytes = node.pack().as_bytes().to_vec();
        let at = random.usize(6..bytes.len());
        bytes[at] = if random.bool() { random.u8(..) } else { bytes[at].wrapping_add(1) };
        if let Some(node) = Listpack::from_bytes(bytes).and_then(|pack| Node::load(node.master(), pack)) {
            valid += 1;
            assert_eq!(node.iter().map(entry_pairs).count(), node.iter_back().map(entry_pairs).count());
        }
    }
    assert!(valid > 0, "bytes of values may be any");
}

#[test]
fn groups_keep_who_has_what() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut group = Group::new(b"g", StreamId::ZERO, None);
    let mut model: BTreeMap<StreamId, (i64, u64, u8)> = BTreeMap::new();
    let name = |consumer: u8| format!("consumer-with-a-long-name-{consumer}").into_bytes();
    let mut clones = Vec::new();
    for step in 0..20_000 {
        let (id, consumer) = (StreamId::new(random.u64(..300), 0), random.u8(..6));
        match random.u8(..10) {
            0..=5 => {
                group.create_consumer(&name(consumer), 0, None);
                group.deliver(&name(consumer), id, step, 1);
                model.insert(id, (step, 1, consumer));
            }
            6..=8 => assert_eq!(group.release(id), model.remove(&id).is_some()),
            _ if random.u8(..50) == 0 => {
                let had = model.values().filter(|(_, _, owner)| *owner == consumer).count();
                assert_eq!(group.delete_consumer(&name(consumer)).unwrap_or(0), had);
                model.retain(|_, (_, _, owner)| *owner != consumer);
            }
            _ if random.u8(..50) == 0 => clones.push((group.clone(), model.clone())),
            _ => {}
        }
    }
    clones.push((group, model));
    for (group, model) in clones {
        let pending = |pending: &Pending| (pending.id, (pending.delivered_ms, pending.deliveries, pending.consumer.to_vec()));
        let expected = model.iter().map(|(id, (at, count, owner))| (*id, (*at, *count, name(*owner))));
        assert!(group.pending_from(0).map(pending).eq(expected));
        for consumer in group.consumers() {
            let of_consumer = group.pending_from(0).filter(|pending| *pending.consumer == *consumer.name());
            assert!(consumer.pending_from(0).eq(of_consumer.map(|pending| pending.id)));
        }
        let owned: usize = group.consumers().map(Consumer::len).sum();
        assert_eq!(owned, group.pending_len());
    }
}

#[test]
fn a_big_stream_is_freed_in_steps() {
    let mut stream = Stream::new();
    (1..=20_000).for_each(|ms| stream.add(StreamId::new(ms, 0), &[b"f", b"v"], &Limits::default()));
    for name in [&b"g"[..], b"h"] {
        let mut group = Group::new(name, StreamId::ZERO, None);
        group.create_consumer(b"c", 0, None);
        (1..=20_000).for_each(|ms| group.deliver(b"c", StreamId::new(ms, 0), 0, 1));
        stream.put_group(group);
    }
    let mut steps = 1;
    while !stream.free_some(100) {
        steps += 1;
    }
    assert!(steps > 500, "{steps}");
}
