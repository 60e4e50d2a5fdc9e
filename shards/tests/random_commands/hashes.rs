//! Random commands on hashes.

use super::unordered::{elements, unordered};
use super::{Family, Mirror, Peer, sixteen};

pub static FAMILY: Family = Family {
    templates: &[
        "HSET :h :f :v",
        "HSET :h :f :v :f :v [:f :v :f :v]",
        "HSET :h :f :v :f",
        concat!("HSET h{many}", sixteen!(" :w :v :w :v :w :v :w :v :w :v :w :v :w :v :w :v")),
        concat!("HDEL h{many}", sixteen!(" :w :w")),
        "HSET h{long} :f :long",
        "HINCRBY h{long} :f I",
        "HMSET :h :f :v [:f :v]",
        "HSETNX :h :f :v",
        "HGET :h :f",
        "HMGET :h :f :f :f",
        "HGETALL :h",
        "HKEYS :h",
        "HVALS :h",
        "HDEL :h :f [:f] [:f :f]",
        "HLEN :h",
        "HSTRLEN :h :f",
        "HEXISTS :h :f",
        "HINCRBY :h :f I",
        "HINCRBY :h :n I",
        "HINCRBYFLOAT :h :f F",
        "HINCRBYFLOAT :h :n F",
        "HRANDFIELD :h [:c|:c WITHVALUES|:c FOO|:c WITHVALUES WITHVALUES]",
        "HRANDFIELD :h -9223372036854775808 [WITHVALUES]",
        "HSCAN :h (0|0|x|1) [MATCH :g] [COUNT (1000|0|x)] [FOO|MATCH|TYPE hash]",
        "DEL :h",
        "RENAME :h :h",
        "COPY :h :h [REPLACE]",
        "TYPE :h",
        "OBJECT ENCODING :h",
    ],
    newer: &[
        (Peer::Valkey8_1, "HSCAN :h 0 NOVALUES [MATCH :g] [COUNT 1000]"),
        (Peer::Redis8_2, "HEXPIRE :h S [NX|XX|GT|LT|FOO] FIELDS (1 :f|2 :f :f|2 :f|0 :f|x :f|3 :f a a)"),
        (Peer::Redis8_2, "HPEXPIRE :h P [NX|XX|GT|LT] (FIELDS 1 :f|FIELDS 3 :f :f :f|FOO 1 :f)"),
        (Peer::Redis8_2, "HEXPIREAT :h A [NX|XX|GT|LT] FIELDS 2 :f :f"),
        (Peer::Redis8_2, "HPEXPIREAT :h B [NX|XX|GT|LT] FIELDS 2 :f :n"),
        (Peer::Redis8_2, concat!("HPEXPIRE h{many} P FIELDS 16", sixteen!(" :w"))),
        (Peer::Redis8_2, "(HTTL|HPTTL|HEXPIRETIME|HPEXPIRETIME) :h (FIELDS 3 :f :f :n|FIELDS 2 :f|FIELDS 0 :f|FOO 1 :f)"),
        (Peer::Redis8_2, "HPERSIST :h (FIELDS 3 :f :f :n|FIELDS 2 :f|FIELDS 0 :f|FOO 1 :f)"),
        (Peer::Redis8_2, "HGETDEL :h (FIELDS 2 :f :f|FIELDS 2 :f|FIELDS 0 :f|FOO 1 :f)"),
        (Peer::Redis8_2, "HGETEX :h [EX S|PX P|EXAT A|PXAT B|PERSIST|KEEPTTL] (FIELDS 2 :f :n|FIELDS 2 :f|FIELDS 0 :f|FOO 1 :f)"),
        (
            Peer::Redis8_2,
            "HSETEX :h [FNX|FXX|FNX FXX] [EX S|PX P|EXAT A|PXAT B|KEEPTTL|KEEPTTL EX 5|FOO] FIELDS (2 :f :v :n :v|1 :f :v|2 :f :v|x :f :v)",
        ),
        (Peer::Redis8_2, "(HINCRBY|HINCRBYFLOAT|HSETNX) :h :f 5"),
    ],
    fill,
    same,
    mirror: |_, _| None::<Mirror>,
    state: &["HGETALL K"],
    keys: KEYS,
};

/// The last two grow beyond the limits of a listpack: by many fields, or by long values.
const KEYS: &[&str] = &["h0", "h1", "h2", "h{many}", "h{long}"];

pub fn fill(word: &str, random: &mut fastrand::Rng) -> Option<Vec<u8>> {
    let text = match word {
        ":h" => KEYS[random.usize(..KEYS.len())].to_string(),
        ":f" if random.u8(..5) == 0 => format!("{}", random.u32(..700)),
        ":f" => ["", "a", "b", "c", "name", "12", "-5", "field with blanks"][random.usize(..8)].to_string(),
        ":w" => random.u32(..600).to_string(),
        ":long" => "v".repeat(random.usize(62..67)),
        ":n" => ["n1", "n2", "n3"][random.usize(..3)].to_string(),
        ":v" if random.u8(..80) == 0 => "v".repeat(random.usize(63..67)),
        ":v" if random.u8(..3) == 0 => random.i64(-100_000..100_000).to_string(),
        ":v" => ["", "1", "abc", "12", "3.5", "hello world", "-9223372036854775808", "\u{e4}\0"][random.usize(..8)].to_string(),
        ":c" if random.u8(..10) == 0 => {
            ["x", "4611686018427387904", "9223372036854775807", "99999999999999999999"][random.usize(..4)].to_string()
        }
        ":c" => random.i32(-6..20).to_string(),
        ":g" => ["*", "a*", "[ab]", "?", "1*"][random.usize(..5)].to_string(),
        _ => return None,
    };
    Some(text.into_bytes())
}

fn same(peer: Peer, args: &[Vec<u8>], ours: &[u8], theirs: &[u8]) -> Option<bool> {
    let name = args[0].to_ascii_uppercase();
    match &name[..] {
        // The fields of a big hash come in no particular order.
        b"HGETALL" => Some(unordered(ours, 2) == unordered(theirs, 2)),
        b"HKEYS" | b"HVALS" => Some(unordered(ours, 1) == unordered(theirs, 1)),
        b"HRANDFIELD" => Some(same_choice(args, ours, theirs)),
        b"HTTL" | b"HPTTL" | b"HEXPIRETIME" | b"HPEXPIRETIME" => Some(same_times(&name, ours, theirs)),
        // Redis makes room for expiries when it is asked for one, whether it comes to that or not.
        b"OBJECT" if peer == Peer::Redis8_2 && theirs == b"$10\r\nlistpackex\r\n" => Some(ours == b"$8\r\nlistpack\r\n"),
        b"HSCAN" => Some(same_scan(args, ours, theirs)),
        _ => None,
    }
}

/// Chosen at random: only the form and the number of elements can be compared, and all of them when all were wanted.
fn same_choice(args: &[Vec<u8>], ours: &[u8], theirs: &[u8]) -> bool {
    let nothing = |reply: &[u8]| matches!(reply, b"$-1\r\n" | b"_\r\n");
    if args.len() == 2 {
        return ours[0] == theirs[0] && nothing(ours) == nothing(theirs);
    }
    ours[0] == b'*' && theirs[0] == b'*' && elements(ours).len() == elements(theirs).len()
}

/// The clocks were read at different times.
fn same_times(name: &[u8], ours: &[u8], theirs: &[u8]) -> bool {
    let tolerance = if name.starts_with(b"HP") { 1500 } else { 1 };
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.strip_prefix(':')?.parse::<i64>().ok();
    let close = |(a, b): (i64, i64)| a == b || (a >= 0 && b >= 0 && a.abs_diff(b) <= tolerance);
    let (ours, theirs) = (elements(ours), elements(theirs));
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| number(a).zip(number(b)).is_some_and(close))
}

/// The steps of a scan over a big hash are not those of Redis; a small one is returned whole.
fn same_scan(args: &[Vec<u8>], ours: &[u8], theirs: &[u8]) -> bool {
    let whole = |reply: &[u8]| reply.starts_with(b"*2\r\n$1\r\n0\r\n");
    match (whole(ours), whole(theirs)) {
        (true, true) if args[2] == b"0" => unordered(ours, 1) == unordered(theirs, 1),
        _ => ours[0] == theirs[0] && ours[0] == b'*',
    }
}
