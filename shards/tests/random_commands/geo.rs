//! Points in sorted sets. Keys `g0` to `g3` hold points only, `dists0` and `dists1` distances; two members never have the same point by chance, because the order of
//! equal distances is nobody's promise.

use super::zsets::same_numbers;
use super::{Family, Peer};

pub static FAMILY: Family = Family {
    templates: &[
        "GEOADD :geo [NX|XX] [CH] :lon :lat :place [:lon :lat :place] [:lon :lat :place]",
        "GEOADD :geo :lon :lat :place :lon :lat :place :lon :lat :place :lon :lat :place :lon :lat :place :lon :lat :place :lon :lat :place :lon :lat :place",
        "GEOADD :geo (NX XX|INCR|GT|XX CH|NX CH) :lon :lat :place",
        "GEOPOS :geo :place :place [:place]",
        "GEOPOS :geo",
        "GEOHASH :geo :place :place [:place]",
        "GEODIST :geo :place :place [:unit] [x]",
        "GEORADIUS :geo :lon :lat :dist :unit [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT :few|COUNT :few ANY|ANY] [ASC|DESC]",
        "GEORADIUS :geo :lon :lat :dist :unit [COUNT :few] [ASC|DESC] [WITHDIST] [STORE :geo|STOREDIST :dists|STORE :geo STOREDIST :dists]",
        "GEORADIUS_RO :geo :lon :lat :dist :unit [WITHCOORD] [WITHDIST] [COUNT :few] [ASC|DESC] [STORE :geo]",
        "GEORADIUSBYMEMBER :geo :place :dist :unit [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT :few|COUNT :few ANY|ANY] [ASC|DESC]",
        "GEORADIUSBYMEMBER :geo :place :dist :unit [COUNT :few] [ASC|DESC] [STORE :geo|STOREDIST :dists]",
        "GEORADIUSBYMEMBER_RO :geo :place :dist :unit [WITHCOORD] [WITHDIST] [COUNT :few] [ASC|DESC] [STOREDIST :dists]",
        "GEOSEARCH :geo FROMMEMBER :place BYRADIUS :dist :unit [ASC|DESC] [COUNT :few|COUNT :few ANY|ANY] [WITHCOORD] [WITHDIST] [WITHHASH]",
        "GEOSEARCH :geo BYBOX :dist :dist :unit FROMLONLAT :lon :lat [WITHDIST] [ASC|DESC] [COUNT :few|COUNT :few ANY|STOREDIST|STORE :geo]",
        "GEOSEARCH :geo FROMLONLAT :lon :lat BYRADIUS :dist :unit [WITHDIST]",
        "GEOSEARCH :geo FROMLONLAT :lon :lat BYBOX :dist :dist :unit [WITHDIST]",
        "GEOSEARCH :geo (FROMMEMBER :place|FROMLONLAT :lon :lat|ASC DESC ASC|FROMMEMBER :place FROMMEMBER :place|FROMLONLAT 1 1 FROMLONLAT 1 1|FROMMEMBER \
         :place FROMLONLAT 1 1|FROMLONLAT 1 1 FROMMEMBER :place) (BYRADIUS :dist :unit|BYBOX :dist :dist :unit|BYRADIUS 1 m BYBOX 1 1 m|BYBOX 1 1 m BYRADIUS 1 m|ASC \
         ASC ASC ASC|BYRADIUS :dist|BYBOX :dist :dist|BYRADIUS 1 m BYRADIUS :dist km|BYBOX 1 1 m BYBOX :dist :dist km)",
        "GEOSEARCHSTORE :geo :geo FROMMEMBER :place BYRADIUS :dist :unit [ASC|DESC] [COUNT :few|COUNT :few ANY] [WITHDIST]",
        "GEOSEARCHSTORE :dists :geo FROMMEMBER :place BYRADIUS :dist :unit [ASC|DESC] [COUNT :few|COUNT :few ANY] STOREDIST [WITHDIST]",
        "GEOSEARCHSTORE :dists :geo FROMLONLAT :lon :lat BYBOX :dist :dist :unit [COUNT :few] STOREDIST",
        "ZRANGE :dists 0 -1 WITHSCORES",
        "ZREM :geo :place :place",
        "ZRANGE :geo 0 -1 WITHSCORES",
        "ZREMRANGEBYRANK :geo 20 40",
        "DEL :geo",
        "COMMAND INFO (geoadd|georadius|geosearchstore|georadiusbymember_ro)",
        "COMMAND GETKEYS (GEORADIUS k 1 1 1 m STORE d|GEORADIUSBYMEMBER k a 1 m STOREDIST d|GEOSEARCHSTORE a b ASC ASC ASC ASC ASC ASC)",
    ],
    newer: &[],
    fill,
    same,
    mirror: |_, _| None,
    state: &[],
    keys: &[],
};

fn fill(word: &str, random: &mut fastrand::Rng) -> Option<Vec<u8>> {
    let rare = random.u8(..40) == 0;
    let choose = |random: &mut fastrand::Rng, list: &[&str]| list[random.usize(..list.len())].to_string();
    let text = match word {
        ":geo" if rare => choose(random, &["k0", "nosuch"]),
        ":geo" => choose(random, &["g0", "g1", "g2", "g3"]),
        ":dists" => choose(random, &["dists0", "dists1"]),
        ":place" if random.u8(..4) == 0 => format!("p{}", random.u16(..400)),
        ":place" => format!("p{}", random.u8(..40)),
        ":lon" if rare => choose(random, &["x", "180.1", "-180", "180", "nan", "", "inf"]),
        ":lat" if rare => choose(random, &["x", "85.06", "-85.05112878", "85.05112878", "nan", "-90"]),
        ":lon" if random.bool() => format!("{}", 13.0 + random.f64()),
        ":lat" if random.bool() => format!("{}", 38.0 + random.f64()),
        ":lon" => format!("{}", random.f64() * 360.0 - 180.0),
        ":lat" => format!("{}", random.f64() * 170.0 - 85.0),
        ":dist" if rare => choose(random, &["x", "-1", "0", "nan", "1e300", "inf"]),
        ":dist" => format!("{}", 10f64.powf(random.f64() * 8.0 - 1.0)),
        ":unit" if rare => choose(random, &["x", "KM", "Mi", ""]),
        ":unit" => choose(random, &["m", "km", "ft", "mi"]),
        ":few" if rare => choose(random, &["0", "-1", "x"]),
        ":few" => format!("{}", random.u8(1..12)),
        _ => return None,
    };
    Some(text.into_bytes())
}

fn same(peer: Peer, args: &[Vec<u8>], ours: &[u8], theirs: &[u8]) -> Option<bool> {
    (args[0].to_ascii_uppercase().starts_with(b"GEO") && peer == Peer::Redis7_0).then(|| same_numbers(ours, theirs))
}
