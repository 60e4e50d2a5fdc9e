//! Effects and notifications of sorted sets and points. The notifications are those of redis-server 7.0.15.

use super::*;

#[test]
fn scores_are_stated_as_they_became_and_removals_as_ranks() {
    check(
        &mut Shard::new(),
        &[
            ("zadd z 1 a 2 b", ":2", &["0: ZADD z 1 a 2 b"]),
            ("zadd z gt ch 5 a 1 b", ":1", &["0: ZADD z 5 a"]),
            ("zadd z nx 5 a", ":0", &[]),
            ("zadd z 5 a", ":0", &[]),
            ("zadd z incr 0.1 a", "$3 5.1", &["0: ZADD z 5.1 a"]),
            ("zincrby z 1e300 b", "$6 1e+300", &["0: ZADD z 1e+300 b"]),
            ("zincrby z 0 b", "$6 1e+300", &[]),
            ("zrem z nosuch b", ":1", &["0: ZREM z b"]),
            ("zadd z 1 c 2 d 3 e 4 f", ":4", &["0: ZADD z 1 c 2 d 3 e 4 f"]),
            ("zpopmin z 2", "*4 $1 c $1 1 $1 d $1 2", &["0: ZREMRANGEBYRANK z 0 1"]),
            ("zpopmax z", "*2 $1 a $3 5.1", &["0: ZREMRANGEBYRANK z 2 2"]),
            ("zmpop 2 nosuch z max", "*2 $1 z *1 *2 $1 f $1 4", &["0: ZREMRANGEBYRANK z 1 1"]),
            ("zremrangebyscore z 3 9", ":1", &["0: ZREMRANGEBYRANK z 0 0"]),
            ("exists z", ":0", &[]),
            ("geoadd g 13.361389 38.115556 p", ":1", &["0: ZADD g 3479099956230698 p"]),
        ],
    );
}

#[test]
fn stored_results_are_the_command_or_with_keys_of_other_shards_the_members() {
    let mut shard = Shard::new();
    check(
        &mut shard,
        &[
            ("zadd a 1 x 2 y", ":2", &["0: ZADD a 1 x 2 y"]),
            ("zunionstore d 2 a a", ":2", &["0: zunionstore d 2 a a"]),
            ("zrangestore d a 0 0", ":1", &["0: zrangestore d a 0 0"]),
            ("zdiffstore d 1 nosuch", ":0", &["0: DEL d"]),
            ("zdiffstore d 1 nosuch", ":0", &[]),
        ],
    );
    shard.gathered = true;
    check(
        &mut shard,
        &[
            ("zinterstore d 1 a weights 0.1", ":2", &["0: ZADD d 0.1 x 0.2 y"]),
            ("zrangestore d a 1 1", ":1", &["0: DEL d", "0: ZADD d 2 y"]),
        ],
    );
    let members: Vec<String> = (0..600).map(|number| format!("{number} m{number}")).collect();
    shard.run(&format!("zadd big {}", members.join(" ")));
    let (_, effects) = shard.run("zunionstore d 1 big");
    assert_eq!(effects.len(), 4, "DEL, then pieces");
}

#[test]
fn notifications_are_those_of_redis() {
    let mut shard = Shard::new();
    for (line, expected) in [
        ("ZADD a 1 x 2 y 3 z", "new a, zadd a"),
        ("ZADD a 1 x", ""),
        ("ZADD a INCR 1 x", "zincr a"),
        ("ZINCRBY a 1 x", "zincr a"),
        ("ZINCRBY a 0 x", ""),
        ("ZREM a x nosuch", "zrem a"),
        ("ZREM a nosuch", ""),
        ("ZPOPMIN a", "zpopmin a"),
        ("ZPOPMIN a 0", ""),
        ("ZPOPMAX a 5", "zpopmax a, del a"),
        ("ZADD a 1 x 2 y 3 z", "new a, zadd a"),
        ("ZMPOP 1 a MIN", "zpopmin a"),
        ("ZREMRANGEBYRANK a 0 0", "zremrangebyrank a"),
        ("ZREMRANGEBYSCORE a 0 100", "zremrangebyscore a, del a"),
        ("ZADD a 1 x 1 y", "new a, zadd a"),
        ("ZREMRANGEBYLEX a - +", "zremrangebylex a, del a"),
        ("ZADD a 1 x 1 y", "new a, zadd a"),
        ("ZADD b 1 x 1 q", "new b, zadd b"),
        ("ZUNIONSTORE d 2 a b", "new d, zunionstore d"),
        ("ZUNIONSTORE d 1 nosuch", "keymiss nosuch, del d"),
        ("ZINTERSTORE d 2 a b", "new d, zinterstore d"),
        ("ZDIFFSTORE d 2 a b", "zdiffstore d"),
        ("ZRANGESTORE d b 0 0", "zrangestore d"),
        ("ZRANGESTORE d b 5 6", "del d"),
        ("ZRANGESTORE other nosuch 5 6", "keymiss nosuch"),
        ("GEOADD g 1 1 a 2 2 b", "new g, zadd g"),
        ("GEOADD g 1 1 a", ""),
        ("GEOSEARCHSTORE d g FROMLONLAT 1 1 BYRADIUS 1000 km", "new d, geosearchstore d"),
        ("GEORADIUS g 1 1 1000 km STORE d", "georadiusstore d"),
        ("GEORADIUS g 50 1 1 km STORE d", "del d"),
        ("GEORADIUS g 50 1 1 km STORE d", ""),
        ("ZRANDMEMBER nosuch", "keymiss nosuch"),
        ("ZSCAN nosuch 0", "keymiss nosuch"),
        ("ZINTERCARD 2 nosuch a", "keymiss nosuch"),
        ("ZPOPMIN nosuch", ""),
        ("ZREM nosuch a", ""),
        ("ZMPOP 1 nosuch MIN", ""),
        ("GEOSEARCH nosuch FROMLONLAT 1 1 BYRADIUS 1 km", "keymiss nosuch"),
    ] {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let (mut out, mut effects) = (Vec::new(), Effects::default());
        effects.watch(EventClasses::parse("KEAmn"));
        shard.dispatch(resolve(&args).expect(line), &args, &mut out, &mut effects);
        let events = effects.events().iter().map(|event| format!("{} {}", event.name, String::from_utf8_lossy(&event.key)));
        assert_eq!(events.collect::<Vec<_>>().join(", "), expected, "{line}");
    }
}

#[test]
fn a_long_scan_returns_every_member_once() {
    let mut shard = Shard::new();
    let members: Vec<String> = (0..1000).map(|number| format!("{number} m{number}")).collect();
    shard.run(&format!("zadd z {}", members.join(" ")));
    let (mut cursor, mut seen, mut steps) = ("0".to_string(), Vec::new(), 0);
    loop {
        let (reply, _) = shard.run(&format!("zscan z {cursor} count 50"));
        let words: Vec<&str> = reply.split(' ').collect();
        seen.extend(words.iter().filter(|word| word.starts_with('m')).map(|word| word.to_string()));
        cursor = words[2].to_string();
        steps += 1;
        if cursor == "0" {
            break;
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!((seen.len(), steps), (1000, 20));
}
