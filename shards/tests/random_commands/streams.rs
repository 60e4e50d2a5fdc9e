//! Streams and consumer groups.

use super::{Args, Family, Mirror, Peer};
use shards::rdb::dump::dump_value_within;
use shards::rdb::format::type_code;
use shards::rdb::restore_value;
use shards::types::Limits;
use std::cell::Cell;

pub static STREAMS: Family = Family {
    templates: &[
        "XADD :x :next :f :v [:f :v|:f :v :g :v]",
        "XADD :x :next :f :v",
        "XADD :x :next :f :v",
        "XADD :x [NOMKSTREAM] [MAXLEN :n|MAXLEN = :n|MAXLEN ~ :n|MAXLEN ~ :n LIMIT :l] :next f :v :f :v",
        "XADD :x [NOMKSTREAM] [MINID :id|MINID = :id|MINID ~ :id|MINID ~ :id LIMIT :l] :next f :v :f :v",
        "XADD :x [NOMKSTREAM] (*|:id|:oddid|:auto) :f :v",
        "XADD :x [MAXLEN :n|LIMIT :l|MAXLEN :n MINID :id|MAXLEN = :n LIMIT :l|NOMKSTREAM|FOO] (*|:next) f :v",
        "XADD :x :next f",
        "XADD :x * f",
        "XLEN :x",
        "XRANGE :x :start :end [COUNT :n]",
        "XREVRANGE :x :end :start [COUNT :n]",
        "XRANGE :x (:oddid|- +) [COUNT :n|COUNT :n COUNT :n|FOO 1|COUNT]",
        "XDEL :x :id [:id|:id :id :id|:oddid]",
        "XTRIM :x (MAXLEN|MAXLEN =|MAXLEN ~) (:n|:large) [LIMIT :l]",
        "XTRIM :x (MINID|MINID =|MINID ~) (:id|:oddid) [LIMIT :l]",
        "XTRIM :x [MAXLEN 1000 MINID :id|LIMIT :l|FOO|MAXLEN]",
        "XSETID :x (:id|:next|:oddid) [ENTRIESADDED :count] [MAXDELETEDID :id|MAXDELETEDID 0-0|FOO :n|ENTRIESADDED]",
        "XGROUP CREATE :x :g (:id|$|0|:oddid) [MKSTREAM] [ENTRIESREAD :count|FOO]",
        "XGROUP CREATE :x :g (0|$|:id) MKSTREAM",
        "XGROUP SETID :x :g (:id|$|0) [ENTRIESREAD :count|MKSTREAM]",
        "XGROUP CREATECONSUMER :x :g :c",
        "XGROUP DELCONSUMER :x :g :c",
        "XGROUP (HELP|FOO :x :g)",
        "XREAD [COUNT :n] STREAMS :x (:id|0|$|:oddid)",
        "XREAD [COUNT :n] STREAMS :x :x (:id|0|$) (:id|0|$)",
        "XREAD [BLOCK -1|BLOCK x|COUNT x|NOACK|GROUP :g :c|FOO] STREAMS :x (:id|>)",
        "XREADGROUP GROUP :g :c [COUNT :n] [NOACK] STREAMS :x >",
        "XREADGROUP GROUP :g :c [COUNT :n] STREAMS :x >",
        "XREADGROUP GROUP :g :c [COUNT :n] STREAMS :x (0|:id|$|:oddid)",
        "XREADGROUP GROUP :g :c [COUNT :n] STREAMS :x :x > (>|0)",
        "XREADGROUP [GROUP :g :c] [COUNT :n|NOACK|BLOCK -1|COUNT x] [NOACK] STREAMS :x >",
        "XACK :x :g :id [:id :id :id|:oddid]",
        "XPENDING :x :g",
        "XPENDING :x :g [IDLE :idle] :start :end :n [:c]",
        "XPENDING :x :g [IDLE :idle|FOO] [:start :end] [:n|x] [:c]",
        "XCLAIM :x :g :c :idle :id [:id :id|:id :id :id :id] [IDLE :idle|TIME :time] [RETRYCOUNT :n] [FORCE] [JUSTID] [LASTID :id]",
        "XCLAIM :x :g :c :idle :id [FOO|IDLE|IDLE x|TIME x|RETRYCOUNT x|LASTID x] [FORCE]",
        "XAUTOCLAIM :x :g :c :idle (:start|0) [COUNT :n] [JUSTID|FOO]",
        "XAUTOCLAIM :x :g :c :idle (:start|0) [COUNT 0|COUNT x]",
        "XINFO STREAM :x [FULL|FULL COUNT :n|FULL COUNT|FOO]",
        "XINFO GROUPS :x",
        "XINFO CONSUMERS :x :g",
        "XINFO (HELP|FOO)",
        "XGROUP DESTROY (:x|:x|x0) (:g|g0)",
        "DEL :x",
        "COPY :x :x [REPLACE]",
        "RENAME :x :x",
        "OBJECT ENCODING :x",
    ],
    newer: &[(Peer::Valkey8_1, "XREAD [COUNT :n] STREAMS :x :x + (:id|+)"), (Peer::Valkey8_1, "XREAD [BLOCK 1] STREAMS :x")],
    fill,
    same,
    mirror,
    state: &["XRANGE K - +", "XINFO STREAM K", "XINFO STREAM K FULL COUNT 0", "XINFO GROUPS K"],
    keys: &["x0", "x1", "x2", "x3"],
};

thread_local! {
    /// The highest id so far: ids ascend, and others are chosen near it. Each test has a thread of its own.
    static LAST: Cell<u64> = const { Cell::new(0) };
}

/// In the future, so that ids made by the clock are not above all others.
const FIRST_MS: u64 = 4_000_000_000_000;

/// Four entries a millisecond.
fn id_text(number: u64) -> String {
    format!("{}-{}", FIRST_MS + number / 4, number % 4)
}

fn fill(word: &str, random: &mut fastrand::Rng) -> Option<Vec<u8>> {
    let choose = |random: &mut fastrand::Rng, list: &[&str]| list[random.usize(..list.len())].to_string();
    let last = LAST.get();
    let near = |random: &mut fastrand::Rng| {
        let far = if random.u8(..4) == 0 { 200 } else { 40 };
        last.saturating_sub(random.u64(..far))
    };
    let text = match word {
        ":x" if random.u8(..10) == 0 => format!("k{}", random.u8(..6)),
        ":x" => format!("x{}", random.u8(..4)),
        ":next" => {
            LAST.set(last + random.u64(1..3));
            id_text(LAST.get())
        }
        ":id" if random.u8(..8) == 0 => (FIRST_MS + near(random) / 4).to_string(),
        ":id" => id_text(near(random)),
        ":auto" => format!("{}-*", FIRST_MS + LAST.get() / 4 + random.u64(..2)),
        ":oddid" => choose(
            random,
            &[
                "0-0",
                "0",
                "-",
                "+",
                "x",
                "1-",
                "1-x",
                "*-1",
                "(1",
                "(5-*",
                "01-1",
                "+5",
                "18446744073709551616",
                "$",
                ">",
                "1-1-1",
                "",
                "0-*",
            ],
        ),
        ":start" if random.u8(..3) == 0 => choose(random, &["-", "(0", "0", "(18446744073709551615-18446744073709551615", "(-"]),
        ":end" if random.u8(..3) == 0 => choose(random, &["+", "(0-0", "(+", "(18446744073709551615"]),
        ":start" | ":end" => {
            let open = if random.u8(..4) == 0 { "(" } else { "" };
            format!("{open}{}", id_text(near(random)))
        }
        ":f" => choose(random, &["f", "g", "field", "12", ""]),
        ":v" if random.u8(..12) == 0 => "x".repeat(random.usize(..800)),
        ":v" => choose(random, &["v", "12", "-7000000", "hello", "", "9223372036854775807", "01"]),
        ":g" => format!("g{}", random.u8(..2)),
        ":c" => choose(random, &["alice", "bob", "consumer-with-a-long-name"]),
        ":n" if random.u8(..15) == 0 => choose(random, &["-1", "0", "x", "9223372036854775807"]),
        ":n" => random.u8(1..30).to_string(),
        ":large" => random.u16(100..400).to_string(),
        ":l" => choose(random, &["0", "1", "10", "100", "1000", "-1", "x"]),
        ":count" if random.u8(..6) == 0 => choose(random, &["-1", "-2", "x", "0"]),
        ":count" => random.u16(..500).to_string(),
        ":idle" => choose(random, &["0", "0", "0", "500000", "-5", "1000000000000"]),
        ":time" => choose(random, &["0", "1600000000000", "1700000000000", "-1", "99999999999999"]),
        _ => return None,
    };
    Some(text.into_bytes())
}

/// The id that was made here; and 7.2 makes consumers where 7.0 does not.
fn mirror(args: &[Vec<u8>], ours: &[u8]) -> Option<Mirror> {
    let name = args[0].to_ascii_uppercase();
    // 7.0 lets XSETID go below what was deleted.
    if Peer::chosen() == Peer::Redis7_0 && ours.starts_with(b"-ERR The ID specified in XSETID is smaller than current max") {
        return Some(Mirror { commands: Vec::new() });
    }
    if ours.starts_with(b"-") {
        return None;
    }
    if name == b"XADD" && ours.starts_with(b"$") {
        let star = id_index(args).filter(|at| args[*at] == b"*")?;
        let id = ours.split(|&byte| byte == b'\n').nth(1)?.strip_suffix(b"\r")?.to_vec();
        let mut same = args.to_vec();
        same[star] = id;
        return Some(Mirror { commands: vec![same] });
    }
    if Peer::chosen() != Peer::Redis7_0 {
        return None;
    }
    if name == b"RESTORE" && ours.starts_with(b"+OK") && args[3].first() == Some(&type_code::STREAM_3) {
        let value = restore_value(&args[3], &Limits::DEFAULT).expect("it was restored here");
        let mut same = args.to_vec();
        same[3] = dump_value_within(&value, VERSION_OF_7_0);
        return Some(Mirror { commands: vec![same] });
    }
    consumers_of_7_2(&name, args, ours)
}

/// Where the id of an XADD stands: behind its options.
fn id_index(args: &[Vec<u8>]) -> Option<usize> {
    let mut at = 2;
    loop {
        match &args.get(at)?.to_ascii_uppercase()[..] {
            b"NOMKSTREAM" => at += 1,
            b"LIMIT" => at += 2,
            b"MAXLEN" | b"MINID" => at += 2 + matches!(&args.get(at + 1)?[..], b"~" | b"=") as usize,
            _ => return Some(at),
        }
    }
}

const VERSION_OF_7_0: u32 = 10;

fn consumers_of_7_2(name: &[u8], args: &[Vec<u8>], ours: &[u8]) -> Option<Mirror> {
    let create = |key: &[u8], group: &[u8], consumer: &[u8]| -> Args {
        [&b"XGROUP"[..], b"CREATECONSUMER", key, group, consumer].map(<[u8]>::to_vec).to_vec()
    };
    let mut commands: Vec<Args> = match name {
        b"XREADGROUP" => {
            let at = |word: &[u8]| args.iter().position(|arg| arg == word);
            let (group, streams) = (at(b"GROUP")?, at(b"STREAMS")? + 1);
            let keys = &args[streams..streams + (args.len() - streams) / 2];
            let all_served = keys.len() == 1 && !matches!(ours, b"*-1\r\n" | b"_\r\n");
            if all_served {
                return None;
            }
            keys.iter().map(|key| create(key, &args[group + 1], &args[group + 2])).collect()
        }
        b"XCLAIM" | b"XAUTOCLAIM" if ours.windows(4).any(|part| part == b"*0\r\n") => {
            vec![create(&args[1], &args[2], &args[3])]
        }
        _ => return None,
    };
    commands.push(args.to_vec());
    Some(Mirror { commands })
}

/// Times may differ by the time that the commands take.
const TOLERANCE_MS: u64 = 3000;

fn same(peer: Peer, args: &[Vec<u8>], ours: &[u8], theirs: &[u8]) -> Option<bool> {
    let (name, sub) = (args[0].to_ascii_uppercase(), args.get(1).map(|word| word.to_ascii_uppercase()).unwrap_or_default());
    match &name[..] {
        b"XINFO" if matches!(&sub[..], b"STREAM" | b"CONSUMERS" | b"GROUPS") => Some(same_but_times(peer, ours, theirs)),
        b"XPENDING" => Some(same_but_times(peer, ours, theirs)),
        // Its last line is worded differently.
        b"XINFO" | b"XGROUP" if sub == b"HELP" => Some(ours.len().abs_diff(theirs.len()) <= 1),
        b"XREAD" | b"XREADGROUP" if ours.starts_with(b"-ERR Unbalanced") => Some(theirs.starts_with(b"-ERR Unbalanced")),
        // Of 7.4 and Valkey 8.
        b"XREAD" | b"XREADGROUP" if peer == Peer::Redis7_0 && args.iter().any(|arg| arg == b"+") => {
            Some(theirs.starts_with(b"-"))
        }
        _ if name.starts_with(b"X") => Some(ours == theirs),
        _ => None,
    }
}

fn same_but_times(peer: Peer, ours: &[u8], theirs: &[u8]) -> bool {
    let (ours, theirs) = (lines(peer, ours), lines(peer, theirs));
    let number = |line: &[u8]| std::str::from_utf8(line).ok()?.strip_prefix(':')?.parse::<i64>().ok();
    let may_differ = |at: usize| {
        let before: &[u8] = if at > 0 { &ours[at - 1] } else { b"" };
        // 7.0 counts entries read on where it should not, and notes other times.
        if peer == Peer::Redis7_0 && matches!(before, b"entries-read" | b"lag") {
            return true;
        }
        let Some((a, b)) = number(&ours[at]).zip(number(&theirs[at])) else { return false };
        let is_time = a > 1_000_000_000_000
            || matches!(before, b"idle" | b"inactive")
            || ours.get(at + 1).is_some_and(|next| number(next).is_some());
        let is_of_consumer = matches!(before, b"idle" | b"seen-time");
        is_time && ((a >= 0 && b >= 0 && a.abs_diff(b) <= TOLERANCE_MS) || (peer == Peer::Redis7_0 && is_of_consumer))
    };
    ours.len() == theirs.len() && (0..ours.len()).all(|at| ours[at] == theirs[at] || may_differ(at))
}

/// A reply's lines. For 7.0 without what it does not know: when consumers were active, and how many fields that makes.
fn lines(peer: Peer, reply: &[u8]) -> Vec<Vec<u8>> {
    let all: Vec<Vec<u8>> =
        reply.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec()).collect();
    if peer != Peer::Redis7_0 {
        return all;
    }
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut rest = all.into_iter();
    while let Some(line) = rest.next() {
        match &line[..] {
            b"active-time" | b"inactive" => {
                kept.pop();
                rest.next();
            }
            [b'*' | b'%', ..] => {}
            _ => kept.push(line),
        }
    }
    kept
}
