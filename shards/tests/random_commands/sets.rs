//! Random commands on sets.

use super::unordered::{elements, unordered};
use super::{Family, Mirror, Peer, sixteen};

pub static FAMILY: Family = Family {
    templates: &[
        "SADD :s :e [:e :e]",
        "SADD :s :e :e :e :e :e :e",
        "SADD s{ints} :i :i :i",
        concat!("SADD s{ints} ", sixteen!(" :i :i :i :i :i :i :i :i :i :i")),
        concat!("SADD s{many}", sixteen!(" :m :m :m")),
        concat!("SADD :s", sixteen!(" a a a a a a a a a")),
        concat!("SREM s{many}", sixteen!(" :m :m :m")),
        concat!("SREM s{ints}", sixteen!(" :i :i :i :i :i :i")),
        "SADD s{long} :long",
        "SREM :s :e [:e :e]",
        "SMEMBERS :s",
        "SISMEMBER :s :e",
        "SMISMEMBER :s :e :e :i",
        "SCARD :s",
        "SPOP :s [:p|:p FOO]",
        "SRANDMEMBER :s [:c|:c FOO]",
        "SRANDMEMBER :s -9223372036854775808",
        "SSCAN :s (0|0|x|1) [MATCH :g] [COUNT (1000|0|x)] [FOO|MATCH|TYPE set]",
        "SMOVE :s :s :e",
        "SMOVE :s :s :i",
        "SMOVE (:s K|K :s) a",
        "SINTER :s [:s] [:s :s]",
        "SUNION :s [:s] [:s :s]",
        "SDIFF :s [:s] [:s :s :s]",
        "SINTERSTORE :s :s [:s] [:s :s]",
        "SUNIONSTORE :s :s [:s] [:s :s]",
        "SDIFFSTORE :s :s [:s] [:s :s :s]",
        "(SINTER|SUNION|SDIFF) K :s K",
        "(SINTERSTORE|SUNIONSTORE|SDIFFSTORE) K :s [K]",
        "SINTERCARD (1 :s|2 :s :s|3 :s :s :s|3 :s :s|0 :s|x :s|-1 :s|2 :s K) [LIMIT (0|1|5|-1|x)] [LIMIT 3|LIMIT|FOO 1]",
        "COMMAND GETKEYS SINTERCARD (2 :s :s|0 :s|2 :s) [LIMIT 1]",
        "COMMAND GETKEYS SINTERSTORE :s :s :s",
        "DEL :s",
        "RENAME :s :s",
        "COPY :s :s [REPLACE]",
        "TYPE :s",
        "OBJECT ENCODING :s",
        "EXPIRE :s S",
    ],
    newer: &[],
    fill,
    same,
    mirror,
    state: &["SMEMBERS K"],
    keys: KEYS,
};

/// The last three grow beyond the limits of the packed forms: by many integers, by many members, by long ones.
const KEYS: &[&str] = &["s0", "s1", "s2", "s{ints}", "s{many}", "s{long}"];

fn fill(word: &str, random: &mut fastrand::Rng) -> Option<Vec<u8>> {
    let text = match word {
        ":s" => KEYS[random.usize(..KEYS.len())].to_string(),
        ":e" if random.u8(..3) == 0 => random.i32(-5..30).to_string(),
        ":e" if random.u8(..60) == 0 => "e".repeat(random.usize(63..67)),
        ":e" => ["", "a", "b", "c", "d", "e", "01", "+1", "hello world", "\u{e4}\0"][random.usize(..10)].to_string(),
        ":i" if random.u8(..200) == 0 => (random.i64(..) >> random.u32(..64)).to_string(),
        ":i" => random.i32(-50..550).to_string(),
        ":m" => format!("m{}", random.u32(..150)),
        ":long" => "x".repeat(random.usize(62..67)),
        ":p" if random.u8(..10) == 0 => ["x", "-1", "9223372036854775807", "9223372036854775808"][random.usize(..4)].to_string(),
        ":p" if random.u8(..10) == 0 => "300".to_string(),
        ":p" => random.u32(..6).to_string(),
        // Cursors and patterns.
        ":c" | ":g" => return super::hashes::fill(word, random),
        _ => return None,
    };
    Some(text.into_bytes())
}

fn same(peer: Peer, args: &[Vec<u8>], ours: &[u8], theirs: &[u8]) -> Option<bool> {
    let name = args[0].to_ascii_uppercase();
    match &name[..] {
        b"SMEMBERS" | b"SINTER" | b"SUNION" | b"SDIFF" => Some(unordered(ours, 1) == unordered(theirs, 1)),
        b"SRANDMEMBER" => Some(same_choice(args, ours, theirs)),
        b"SSCAN" => Some(same_scan(args, ours, theirs)),
        // 7.0 has no packed sets.
        // 7.0 has no packed sets, and chooses otherwise when it stores a result.
        b"OBJECT" if peer == Peer::Redis7_0 && is_set_encoding(ours) => Some(is_set_encoding(theirs)),
        _ => None,
    }
}

fn is_set_encoding(reply: &[u8]) -> bool {
    matches!(reply, b"$6\r\nintset\r\n" | b"$8\r\nlistpack\r\n" | b"$9\r\nhashtable\r\n")
}

/// Chosen at random: only the form and the number of members can be compared.
fn same_choice(args: &[Vec<u8>], ours: &[u8], theirs: &[u8]) -> bool {
    let count = |reply: &[u8]| elements(reply).len();
    match args.len() {
        2 => ours[0] == theirs[0] && ours[0] == b'$',
        // 7.0 answers with a set when all members are wanted.
        _ => matches!(ours[0], b'*' | b'~') && matches!(theirs[0], b'*' | b'~') && count(ours) == count(theirs),
    }
}

/// The steps of a scan over a big set are not those of Redis; a small one is returned whole.
fn same_scan(args: &[Vec<u8>], ours: &[u8], theirs: &[u8]) -> bool {
    let whole = |reply: &[u8]| reply.starts_with(b"*2\r\n$1\r\n0\r\n");
    match (whole(ours), whole(theirs)) {
        (true, true) if args[2] == b"0" => unordered(ours, 1) == unordered(theirs, 1),
        _ => ours[0] == theirs[0] && ours[0] == b'*',
    }
}

/// What SPOP has chosen here is removed there.
fn mirror(args: &[Vec<u8>], ours: &[u8]) -> Option<Mirror> {
    let popped = args[0].eq_ignore_ascii_case(b"SPOP") && matches!(ours[0], b'$' | b'*' | b'~') && ours != b"$-1\r\n";
    let popped: Vec<&[u8]> = if popped { elements(ours) } else { return None };
    if popped.is_empty() {
        return None;
    }
    let members = popped.into_iter().map(<[u8]>::to_vec);
    Some(Mirror { commands: vec![[b"SREM".to_vec(), args[1].clone()].into_iter().chain(members).collect()] })
}
