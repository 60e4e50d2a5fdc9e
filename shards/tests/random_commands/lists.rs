//! Random commands on lists.

use super::{Family, Peer};

pub static LISTS: Family = Family {
    templates: &[
        "LPUSH :l :e [:e :e] [:e]",
        "RPUSH :l :e [:e] [:e :e :e :e :e]",
        "RPUSH :l :e :e :e :e :e :e :e :e :e :e",
        "RPUSH :l :big",
        "LPUSH :l :big :e",
        "LPUSHX :l :e [:e]",
        "RPUSHX :l :e [:e]",
        "LINSERT :l (BEFORE|AFTER|before|FOO) :e :e",
        "LINSERT :l (BEFORE|AFTER) :e :big",
        "LPOP :l [:n]",
        "RPOP :l [:n]",
        "LPOP :l",
        "LPOP :l :n foo",
        "LLEN :l",
        "LINDEX :l :j",
        "LSET :l :j :e",
        "LSET :l :j :big",
        "LRANGE :l :i :i",
        "LRANGE :l 0 -1",
        "LTRIM :l :i :i",
        "LPOS :l :e [RANK :i] [COUNT :n] [MAXLEN :n]",
        "LPOS :l :e [COUNT :n] [RANK :i|RANK|FOO 1]",
        "LREM :l :j :e",
        "LREM :l 0 :e",
        "RPOPLPUSH :l :l",
        "LMOVE :l :l (LEFT|RIGHT|FOO) (LEFT|RIGHT)",
        "LMPOP 1 :l (LEFT|RIGHT) [COUNT :n|FOO|COUNT]",
        "LMPOP 2 :l :l (LEFT|RIGHT) [COUNT :n]",
        "LMPOP :n :l :l (LEFT|RIGHT|FOO)",
        "OBJECT ENCODING :l",
        "COPY :l :l [REPLACE]",
        "RENAME :l :l",
        "DEL :l",
        "COMMAND GETKEYS (LMPOP 2 a b LEFT|LMPOP x a LEFT|LMPOP 0 a LEFT|LMOVE a b LEFT RIGHT|LPUSH a b c)",
    ],
    newer: &[],
    fill,
    same,
    mirror: |_, _| None,
    state: &["LRANGE K 0 -1"],
    keys: &["l0", "l1", "l2", "l3"],
};

fn fill(word: &str, random: &mut fastrand::Rng) -> Option<Vec<u8>> {
    let choose = |random: &mut fastrand::Rng, list: &[&str]| list[random.usize(..list.len())].as_bytes().to_vec();
    Some(match word {
        ":l" if random.u8(..25) == 0 => choose(random, &["k0", "k1", "s0", "z0", "h0"]),
        ":l" => choose(random, LISTS.keys),
        ":e" if random.u8(..6) == 0 => random.i64(-20..20).to_string().into_bytes(),
        ":e" if random.u8(..20) == 0 => choose(random, &["", "9223372036854775807", "-0", "007", "\u{ff}\0"]),
        ":e" => vec![b'a' + random.u8(..6); random.usize(1..3)],
        // About what makes a pack full.
        ":big" => vec![b'x'; [100, 1000, 4000, 8000, 8180, 8185, 8190, 9000, 70_000][random.usize(..9)]],
        ":n" if random.u8(..10) == 0 => choose(random, &["-1", "x", "9223372036854775807", "9223372036854775808", "1.5"]),
        ":n" => random.u32(..6).to_string().into_bytes(),
        ":i" if random.u8(..20) == 0 => {
            choose(random, &["x", "9223372036854775807", "-9223372036854775808", "-9223372036854775807", "1.0"])
        }
        // Without the ends of the range, where servers before 7.2 and since take an index or a count for another.
        ":j" if random.u8(..20) == 0 => choose(random, &["x", "100000", "-100000", "1.0", "9223372036854775808"]),
        ":i" | ":j" => random.i64(-8..9).to_string().into_bytes(),
        _ => return None,
    })
}

fn same(peer: Peer, args: &[Vec<u8>], ours: &[u8], theirs: &[u8]) -> Option<bool> {
    let is_list = |reply: &[u8]| reply == b"$8\r\nlistpack\r\n" || reply == b"$9\r\nquicklist\r\n";
    // Before 7.2 every list was a quicklist. Since, one becomes a listpack again when it shrinks to a single node; how many nodes
    // insertions in the middle leave is not the same here.
    let encodings = args[0].eq_ignore_ascii_case(b"OBJECT") && is_list(ours) && is_list(theirs);
    let is = |name: &str| args[0].eq_ignore_ascii_case(name.as_bytes());
    // Before 7.2 this number was not refused.
    let least = peer < Peer::Valkey8_1
        && is("LPOS")
        && args.iter().any(|arg| arg == b"-9223372036854775808")
        && ours.starts_with(b"-ERR value is out of range");
    (encodings || least).then_some(true)
}
