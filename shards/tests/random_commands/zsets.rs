//! Sorted sets. Keys `z0` to `z4` hold any scores; `lex0` to `lex2` only equal ones, because ranges of members in others depend, in
//! big sets, on the dice by which a skiplist chooses its levels. So no other family gets to know the `lex` keys.

use super::{Family, Peer};

pub static FAMILY: Family = Family {
    templates: &[
        "ZADD :z [NX|XX] [GT|LT] [CH] :zs :zm [:zs :zm] [:zs :zm]",
        "ZADD :z :zs :zm :zs :zm :zs :zm :zs :zm :zs :zm :zs :zm",
        "ZADD :z [NX|XX|GT|LT] [CH] :zs :zm :zs :zm :zs :zm :zs :zm :zs :zm",
        "ZADD :z [NX|XX|GT|LT] [CH] INCR :zs :zm [:zs :zm]",
        "ZADD :z [CH] [INCR] :zs :zm :zs",
        "ZADD :z :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn \
         :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn :zi :zn",
        "ZINCRBY :z :zs :zm",
        "ZREM :z :zm [:zm] [:zm :zm :zn]",
        "ZSCORE :z :zm",
        "ZMSCORE :z :zm :zm :zn",
        "ZCARD :z",
        "ZCOUNT :z :zb :zb",
        "(ZRANK|ZREVRANK) :z (:zm|:zn)",
        "ZRANGE :z :zr :zr [WITHSCORES]",
        "ZRANGE :z :zb :zb BYSCORE [REV] [LIMIT :zo :zr] [WITHSCORES]",
        "ZRANGE :z :zb :zb [REV] [WITHSCORES] [BYSCORE] [LIMIT :zo :zr]",
        "ZRANGE :z :zr :zr REV [WITHSCORES] [BYSCORE|BYLEX|BYLEX BYSCORE|LIMIT 0 -1|LIMIT 0|FOO]",
        "ZREVRANGE :z :zr :zr [WITHSCORES] [REV|LIMIT 0 1|BYSCORE]",
        "ZRANGEBYSCORE :z :zb :zb [WITHSCORES] [LIMIT :zoo :zr]",
        "ZREVRANGEBYSCORE :z :zb :zb [LIMIT :zoo :zr] [WITHSCORES|REV]",
        "ZRANGESTORE :z :z :zr :zr [REV] [LIMIT 0 2|WITHSCORES]",
        "ZRANGESTORE :z :z :zb :zb BYSCORE [REV] [LIMIT :zo :zr]",
        "ZREMRANGEBYRANK :z :zr :zr",
        "ZREMRANGEBYSCORE :z :zb :zb",
        "ZADD :lex 0 :zm 0 :zm 0 :zn 0 :zn",
        "ZADD :lex 0 :zn 0 :zn 0 :zn 0 :zn 0 :zn 0 :zn 0 :zn 0 :zn 0 :zn 0 :zn 0 :zn 0 :zn 0 :zn 0 :zn 0 :zn 0 :zn 0 :zn 0 :zn 0 :zn 0 :zn",
        "ZREM :lex :zm :zn",
        "ZRANGE :lex 0 -1",
        "ZRANGE :lex :zx :zx BYLEX [REV] [LIMIT :zo :zr] [WITHSCORES]",
        "ZRANGEBYLEX :lex :zx :zx [LIMIT :zoo :zr] [WITHSCORES]",
        "ZREVRANGEBYLEX :lex :zx :zx [LIMIT :zoo :zr]",
        "ZRANGESTORE :lex :lex :zx :zx BYLEX [REV] [LIMIT :zo :zr]",
        "ZLEXCOUNT :lex :zx :zx",
        "ZREMRANGEBYLEX :lex :zx :zx",
        "(ZPOPMIN|ZPOPMAX) :z [:zc] [x]",
        "(ZPOPMIN|ZPOPMAX) :z",
        "ZMPOP (1 :z|2 :z :z|2 :z|0 :z|x :z|3 :z :z :z) (MIN|MAX|FOO) [COUNT :zc] [COUNT 1]",
        "ZRANDMEMBER :z [:zc|-3|-3 WITHSCORES|3 WITHSCORES|1000|1000 WITHSCORES|9223372036854775807 WITHSCORES|2 FOO]",
        "ZSCAN :z 0 COUNT 1000 [MATCH :zg]",
        "ZSCAN :z (x|0 COUNT 0|0 COUNT x|0 FOO|0 TYPE zset|0 MATCH)",
        "(ZUNION|ZINTER) :zk :zu :zu [WEIGHTS :zw :zw] [AGGREGATE (SUM|MIN|MAX|FOO)] [WITHSCORES]",
        "(ZUNION|ZINTER) 3 :zu :zu :zu WEIGHTS :zw :zw :zw [AGGREGATE (SUM|MIN|MAX)] WITHSCORES",
        "(ZUNION|ZINTER) 2 :zu :zu [AGGREGATE (SUM|MIN|MAX)] WITHSCORES",
        "(ZUNIONSTORE|ZINTERSTORE) :z 2 :zu :zu [WEIGHTS :zw :zw] [AGGREGATE (SUM|MIN|MAX)] [WITHSCORES]",
        "(ZUNIONSTORE|ZINTERSTORE) :z (3 :zu :zu :zu|0 :zu|x :zu|4 :zu)",
        "ZDIFF (1 :zu|2 :zu :zu|3 :zu :zu :zu) [WITHSCORES] [WEIGHTS 1]",
        "ZDIFFSTORE :z (1 :zu|2 :zu :zu|3 :zu :zu :zu) [WITHSCORES]",
        "ZINTERCARD (1 :zu|2 :zu :zu|3 :zu :zu :zu|0 :zu) [LIMIT (0|1|5|-1|x)]",
        "OBJECT ENCODING :z",
        "OBJECT ENCODING :lex",
        "DEL :z",
        "SET z4 string",
        "COMMAND GETKEYS (ZADD k 1 a|ZUNION 2 a b|ZUNIONSTORE d 2 a b WEIGHTS 1 2|ZMPOP 1 a MIN|ZRANGESTORE a b 0 1)",
        "COMMAND INFO (zadd|zunionstore|zmpop|zrange|zscan)",
    ],
    newer: &[
        (Peer::Valkey8_1, "(ZRANK|ZREVRANK) :z :zm (WITHSCORE|FOO|WITHSCORE x)"),
        (Peer::Valkey8_1, "ZADD :z -0 :zm [-0.0 :zn]"),
    ],
    fill,
    same,
    mirror: |_, _| None,
    state: &["ZRANGE K 0 -1 WITHSCORES", "ZCARD K"],
    keys: &["z0", "z1", "z2", "z3", "z4"],
};

fn fill(word: &str, random: &mut fastrand::Rng) -> Option<Vec<u8>> {
    let rare = random.u8(..25) == 0;
    let choose = |random: &mut fastrand::Rng, list: &[&str]| list[random.usize(..list.len())].to_string();
    let text = match word {
        ":z" if rare => choose(random, &["k0", "k1", "l0", "nosuch"]),
        ":z" => choose(random, &["z0", "z1", "z2", "z3", "z4"]),
        ":zu" if random.u8(..4) == 0 => choose(random, &["s0", "s1", "s{ints}", "s{many}"]),
        ":zu" => choose(random, &["z0", "z1", "z2", "z3", "z4"]),
        ":lex" => choose(random, &["lex0", "lex1", "lex2"]),
        ":zm" if rare => choose(
            random,
            &["", "-12", "007", "a\0b", "a member of more than sixty-four bytes, which no listpack of a sorted set takes"],
        ),
        ":zm" => format!("m{}", random.u8(..30)),
        ":zn" => format!("{}", random.u16(..400)),
        ":zi" => format!("{}", random.i16(-50..50)),
        ":zs" if rare => choose(random, &["x", "nan", "", " 1", "1e400", "1e-400", "0x1p3", "1e", "-nan", "infinity"]),
        ":zs" => match random.u8(..8) {
            0 => choose(
                random,
                &["inf", "-inf", "1e17", "-1e20", "5e-324", "1.7976931348623157e308", "0.1", "123456789.123456789", "1e-7"],
            ),
            1 => format!("{}", random.f64() * 10f64.powi(random.i32(-20..20))),
            2 => format!("{}", f64::from_bits(random.u64(..0x7fe0_0000_0000_0000))),
            3 => format!("{}.{}", random.i8(-9..9), random.u16(..1000)),
            _ => format!("{}", random.i8(-5..9)),
        },
        ":zb" if rare => choose(random, &["", "(", " 3", "x", "nan", "(x", "1e400", "5 ", "((1"]),
        ":zb" => match random.u8(..6) {
            0 => choose(random, &["-inf", "+inf", "inf", "(inf", "(-inf"]),
            1 | 2 => format!("({}", random.i8(-5..9)),
            _ => format!("{}", random.i8(-5..9)),
        },
        ":zx" if rare => choose(random, &["", "m1", "-1", "+1", "x", "*"]),
        ":zx" => match random.u8(..5) {
            0 => choose(random, &["-", "+"]),
            1 => format!("(m{}", random.u8(..30)),
            2 => format!("[m{}", random.u8(..30)),
            3 => format!("({}", random.u16(..400)),
            _ => format!("[{}", random.u16(..400)),
        },
        ":zr" if rare => choose(random, &["x", "9223372036854775807", "-9223372036854775808", "", "1.5"]),
        ":zr" => format!("{}", random.i16(-30..40)),
        ":zo" => format!("{}", random.u8(..20)),
        ":zoo" => format!("{}", random.i8(-2..20)),
        ":zc" if rare => choose(random, &["x", "-1", "9223372036854775807", ""]),
        ":zc" => format!("{}", random.u8(..12)),
        ":zg" => choose(random, &["*", "m*", "m1?", "[0-4]*", "nosuch"]),
        ":zk" => {
            // One word: the number alone is damaged more often than keys are.
            choose(random, &["1", "2", "0", "x", "-1"])
        }
        ":zw" if rare => choose(random, &["x", "nan", "inf", ""]),
        ":zw" => choose(random, &["1", "2", "-1", "0", "0.5", "1e300", "0.1", "-inf"]),
        _ => return None,
    };
    Some(text.into_bytes())
}

fn same(peer: Peer, args: &[Vec<u8>], ours: &[u8], theirs: &[u8]) -> Option<bool> {
    let name = args[0].to_ascii_uppercase();
    let has = |word: &[u8]| args.iter().any(|arg| arg.eq_ignore_ascii_case(word));
    match &name[..] {
        // 7.0 looks at the members given before it chooses the form, 7.2 at all of them.
        b"OBJECT" if peer == Peer::Redis7_0 && has(b"ENCODING") => {
            (ours.ends_with(b"skiplist\r\n") && theirs.ends_with(b"listpack\r\n")).then_some(true)
        }
        // Servers after 7.2 take a negative offset for none.
        _ if peer != Peer::Redis7_0 && name.starts_with(b"ZR") && has(b"LIMIT") && negative_offset(args) => Some(true),
        // 7.0 has no WITHSCORE.
        b"ZRANK" | b"ZREVRANK" if peer == Peer::Redis7_0 && args.len() == 4 => Some(true),
        b"ZRANDMEMBER" => Some(lines(ours).len() == lines(theirs).len() && ours[0] == theirs[0]),
        b"ZSCAN" => {
            let sorted = |reply: &[u8]| {
                let mut lines: Vec<String> = lines(reply).into_iter().filter(|line| !line.starts_with('$')).collect();
                lines.iter_mut().for_each(|line| {
                    if let Ok(number) = line.parse::<f64>() {
                        *line = number.to_string();
                    }
                });
                lines.sort();
                lines
            };
            // A scan that is not finished has come to another place here and there.
            let unfinished = |reply: &[u8]| lines(reply).get(2).is_some_and(|cursor| cursor != "0");
            Some(unfinished(ours) || unfinished(theirs) || sorted(ours) == sorted(theirs))
        }
        [b'Z', ..] if peer == Peer::Redis7_0 => Some(same_numbers(ours, theirs)),
        _ => None,
    }
}

fn negative_offset(args: &[Vec<u8>]) -> bool {
    let limit = args.iter().position(|arg| arg.eq_ignore_ascii_case(b"LIMIT"));
    limit.and_then(|at| args.get(at + 1)).is_some_and(|offset| offset.starts_with(b"-"))
}

pub fn lines(reply: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(reply).split("\r\n").map(str::to_string).collect()
}

/// 7.0 writes doubles with 17 digits, 7.2 with as few as tell them apart.
pub fn same_numbers(ours: &[u8], theirs: &[u8]) -> bool {
    let (ours, theirs) = (lines(ours), lines(theirs));
    let number = |line: &str| line.strip_prefix(',').unwrap_or(line).parse::<f64>().ok();
    let same = |(a, b): (&String, &String)| {
        a == b || (a.starts_with('$') && b.starts_with('$')) || number(a).is_some_and(|a| Some(a) == number(b))
    };
    ours.len() == theirs.len() && ours.iter().zip(&theirs).all(same)
}
