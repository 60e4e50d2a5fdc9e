//! Effects of commands on streams: ids, lengths and times as they came out.

use super::Shard;
use crate::types::{Stream, Typed};

/// `$NOW` in what is expected: the shard's clock.
fn check(shard: &mut Shard, line: &str, expected: &[&str]) {
    let now = shard.now_ms.to_string();
    let expected: Vec<String> = expected.iter().map(|effect| format!("0: {}", effect.replace("$NOW", &now))).collect();
    assert_eq!(shard.run(line).1, expected, "{line}");
}

#[test]
fn effects_say_what_came_out() {
    let mut shard = Shard::new();
    check(&mut shard, "XADD s * f v", &["XADD s $NOW-0 f v"]);
    check(&mut shard, "XADD s * f v", &["XADD s $NOW-1 f v"]);
    check(&mut shard, "XADD s MAXLEN ~ 1 * f v", &["XADD s $NOW-2 f v"]);
    check(&mut shard, "XADD s MAXLEN 2 * f v", &["XADD s MAXLEN = 2 $NOW-3 f v"]);
    check(&mut shard, "XTRIM s MINID 9999999999999-0", &["XTRIM s MAXLEN = 0"]);
    check(&mut shard, "XTRIM s MAXLEN 5", &[]);
    check(&mut shard, "XDEL s 1-1", &[]);
    check(&mut shard, "XSETID s 9999999999999-0", &["XSETID s 9999999999999-0 ENTRIESADDED 4 MAXDELETEDID 0-0"]);
    check(&mut shard, "XGROUP CREATE s g $", &["XGROUP CREATE s g 9999999999999-0 MKSTREAM ENTRIESREAD -1"]);
    check(&mut shard, "XACK s g 1-1", &[]);
}

#[test]
fn a_delivery_is_a_claim_with_its_time() {
    let mut shard = Shard::new();
    for line in ["XADD s 1-1 f v", "XADD s 1-2 f v", "XGROUP CREATE s g 0"] {
        shard.run(line);
    }
    let created = ["XGROUP CREATECONSUMER s g c", "XCLAIM s g c 0 0-0 TIME $NOW JUSTID"];
    let claimed = "XCLAIM s g c 0 1-1 1-2 TIME $NOW RETRYCOUNT 1 FORCE JUSTID";
    check(
        &mut shard,
        "XREADGROUP GROUP g c STREAMS s >",
        &[created[0], created[1], claimed, "XGROUP SETID s g 1-2 ENTRIESREAD 2"],
    );
    // To be seen is no change.
    check(&mut shard, "XREADGROUP GROUP g c STREAMS s >", &[]);
    check(&mut shard, "XCLAIM s g c 1000 1-1", &[]);
    let again = "XCLAIM s g c 0 1-2 TIME $NOW RETRYCOUNT 2 FORCE JUSTID";
    check(&mut shard, "XREADGROUP GROUP g c STREAMS s 1-1", &[again]);
    check(&mut shard, "XDEL s 1-1", &["XDEL s 1-1"]);
    check(&mut shard, "XAUTOCLAIM s g c 0 0 COUNT 1", &["XACK s g 1-1"]);
}

/// The replay's clock says nothing of when the consumer was there.
#[test]
fn a_replay_knows_when_consumers_were_seen() {
    let mut shard = Shard::new();
    let lines = ["XADD s 1-1 f v", "XADD s 1-2 f v", "XGROUP CREATE s g 0", "XREADGROUP GROUP g a COUNT 1 STREAMS s >"];
    let mut effects: Vec<String> = lines.iter().flat_map(|line| shard.run(line).1).collect();
    shard.now_ms += 5000;
    for line in ["XGROUP CREATECONSUMER s g b", "XCLAIM s g c 0 1-1 IDLE 1000"] {
        effects.extend(shard.run(line).1);
    }
    let mut replay = Shard { replaying: true, now_ms: 0, may_expire: false, ..Shard::new() };
    effects.iter().for_each(|effect| drop(replay.run(effect.strip_prefix("0: ").expect("of database 0"))));
    let times = |shard: &mut Shard| {
        let entry = shard.keyspace.find(0, b"s").expect("the stream");
        let group = Stream::of(shard.keyspace.value(entry)).and_then(|stream| stream.group(b"g")).expect("the group");
        group.consumers().map(|consumer| (consumer.seen_ms, consumer.active_ms.is_some())).collect::<Vec<_>>()
    };
    let then = shard.now_ms - 5000;
    assert_eq!(times(&mut shard), [(then, true), (then + 5000, false), (then + 5000, true)]);
    assert_eq!(times(&mut replay), times(&mut shard));
}

/// A snapshot holds a clone: what it saves is what was there, also of what counts as no change.
#[test]
fn a_clone_does_not_see_that_a_consumer_is_seen_again() {
    let mut shard = Shard::new();
    for line in ["XADD s 1-1 f v", "XGROUP CREATE s g 0", "XGROUP CREATECONSUMER s g c"] {
        shard.run(line);
    }
    let entry = shard.keyspace.find(0, b"s").expect("the stream");
    let clone = Stream::of(shard.keyspace.value(entry)).expect("a stream").clone();
    let seen = |stream: &Stream| stream.group(b"g").and_then(|group| group.consumer(b"c")).map(|consumer| consumer.seen_ms);
    let before = seen(&clone);
    shard.now_ms += 1;
    shard.run("XCLAIM s g c 0 9-9");
    let entry = shard.keyspace.find(0, b"s").expect("the stream");
    let now = seen(Stream::of(shard.keyspace.value(entry)).expect("a stream"));
    assert_eq!((seen(&clone), now), (before, Some(shard.now_ms)));
}

#[test]
fn an_effect_names_a_bounded_number_of_ids() {
    let mut shard = Shard::new();
    shard.run("XGROUP CREATE s g 0 MKSTREAM");
    for at in 1..=600 {
        shard.run(&format!("XADD s {at}-0 f v"));
    }
    let effects = shard.run("XREADGROUP GROUP g c STREAMS s >").1;
    let claims: Vec<usize> = effects[2..effects.len() - 1].iter().map(|effect| effect.split(' ').count() - 12).collect();
    assert_eq!(claims, [256, 256, 88]);
}
