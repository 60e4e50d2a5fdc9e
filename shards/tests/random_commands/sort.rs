//! Random SORTs.

use super::{Family, Peer};

pub static FAMILY: Family = Family {
    templates: &[
        "RPUSH :sort :sn [:sn] [:sn]",
        "RPUSH :sort :sw",
        "SADD :sortset :sn [:sn] [:sw]",
        "ZADD :sortzset :sn :sn :sn :sw",
        "SET w_:sn :sn",
        "SET w_:sw :sw",
        "HSET h_:sn f :sn g :sw",
        "DEL :sort",
        "SORT :anysort [LIMIT :sn :sn] [ASC|DESC] [ALPHA]",
        "SORT :anysort ALPHA [LIMIT :sn :sn] [DESC] [STORE :sort]",
        "SORT :anysort [BY nosort|BY w_*|BY h_*->f|BY h_*->] [ASC|DESC] [GET #|GET w_*|GET h_*->g|GET nostar] [GET w_*|GET #]",
        "SORT :sort BY w_* [LIMIT 1 :sn] [DESC] GET # GET w_* [GET h_*->f]",
        "SORT :sort ALPHA [DESC] GET # GET w_* [GET h_*->f] [STORE :sort]",
        "SORT :anysort [BY nosort] ALPHA STORE :sort [LIMIT 0 3] [STORE|BY|GET|LIMIT 1|FOO]",
        "SORT_RO :anysort [BY w_*] [GET #] [DESC] [ALPHA|STORE x]",
        "LRANGE :sort 0 -1",
        "COMMAND GETKEYS (SORT a BY b STORE c|SORT a STORE b GET c STORE d|SORT_RO a BY b)",
    ],
    newer: &[],
    fill,
    same,
    mirror: |_, _| None,
    state: &[],
    keys: &["sort0", "sort1", "sortset", "sortzset"],
};

fn fill(word: &str, random: &mut fastrand::Rng) -> Option<Vec<u8>> {
    let choose = |random: &mut fastrand::Rng, list: &[&str]| list[random.usize(..list.len())].as_bytes().to_vec();
    Some(match word {
        ":sort" if random.u8(..25) == 0 => choose(random, &["k0", "k1", "h0"]),
        ":sort" => choose(random, &["sort0", "sort1"]),
        ":sortset" => b"sortset".to_vec(),
        ":sortzset" => b"sortzset".to_vec(),
        ":anysort" => choose(random, FAMILY.keys),
        ":sn" if random.u8(..40) == 0 => choose(random, &["1.5", "-0.25", "inf", "0x10", "1e3"]),
        ":sn" => random.i64(-3..20).to_string().into_bytes(),
        ":sw" => choose(random, &["a", "b", "B", "aa", "zz", "3x"]),
        _ => return None,
    })
}

/// A set's order means nothing, and elements of equal weight come in any order.
fn same(_: Peer, args: &[Vec<u8>], ours: &[u8], theirs: &[u8]) -> Option<bool> {
    let is_sort = args[0].to_ascii_uppercase().starts_with(b"SORT");
    let loose = args.iter().any(|arg| arg.eq_ignore_ascii_case(b"BY")) || args.get(1).is_some_and(|key| key == b"sortset");
    // Redis takes a number out of range that any command met before for one of this command (errno is not reset).
    if is_sort && ours.starts_with(b"*") && theirs.starts_with(b"-ERR One or more scores") {
        return Some(true);
    }
    (is_sort && loose && ours.starts_with(b"*") && theirs.starts_with(b"*")).then(|| {
        let limited = args.iter().any(|arg| arg.eq_ignore_ascii_case(b"LIMIT"));
        let count = |reply: &[u8]| reply.split(|&byte| byte == b'\r').next().map(<[u8]>::to_vec);
        if limited {
            count(ours) == count(theirs)
        } else {
            super::unordered::unordered(ours, 1) == super::unordered::unordered(theirs, 1)
        }
    })
}
