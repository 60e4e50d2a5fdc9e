//! A data set that holds every type in every encoding: as commands, which every server since Redis 6.2 understands.

use crate::harness::{Client, Random, Reply, encode};

pub type Args = Vec<Vec<u8>>;

/// Long after the test: 2100.
pub const FAR_MS: i64 = 4_102_444_800_000;

/// Number of keys in several sizes: below, at and above each threshold of Redis 6.2 (ziplists up to 512 elements) and 7.x (128).
const SIZES: [usize; 8] = [1, 2, 127, 128, 129, 511, 512, 513];
/// The longest element of a packed collection has 64 bytes.
const LENGTHS: [usize; 4] = [1, 64, 65, 9000];

/// Commands in one pipeline.
const BATCH: usize = 200;

pub fn args(line: &str) -> Args {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

fn with(line: &str, more: impl IntoIterator<Item = Vec<u8>>) -> Args {
    args(line).into_iter().chain(more).collect()
}

/// Runs them all; none may fail.
pub fn run(client: &mut Client, commands: &[Args]) {
    for batch in commands.chunks(BATCH) {
        let bytes: Vec<u8> =
            batch.iter().flat_map(|command| encode(&command.iter().map(Vec::as_slice).collect::<Vec<_>>())).collect();
        client.send(&bytes);
        for command in batch {
            let reply = client.reply();
            assert!(!matches!(reply, Reply::Error(_)), "{:?}: {reply:?}", String::from_utf8_lossy(&command.join(&b' ')));
        }
    }
}

/// What a server gets to hold.
pub fn everything(field_expiry: bool) -> Vec<Args> {
    let mut random = Random(7);
    let mut commands = Vec::new();
    for db in [0, 1, 9] {
        commands.push(args(&format!("SELECT {db}")));
        strings(&mut commands, &mut random);
        lists(&mut commands);
        sets(&mut commands);
        hashes(&mut commands);
        zsets(&mut commands);
        if db != 1 {
            streams(&mut commands);
            hyperloglogs(&mut commands);
            big_values(&mut commands, &mut random);
        }
        if field_expiry {
            expiring_fields(&mut commands);
        }
        for (number, key) in ["s:44", "l:128", "set:int:512", "h:129", "z:129", "stream:groups"].into_iter().enumerate() {
            commands.push(args(&format!("PEXPIREAT {key} {}", FAR_MS + db * 1_000_000 + number as i64 * 10_000)));
        }
    }
    commands
}

/// Commands that change what is there already, for a log behind a base.
pub fn later(round: usize) -> Vec<Args> {
    let lines = format!(
        "SELECT 1|APPEND s:44 {round}|INCRBY s:int:1 7|INCRBYFLOAT s:float 0.5|SETRANGE s:45 100 x|RPUSH l:128 more{round}|LPOP l:2\
         |LTRIM l:513 0 400|SADD set:int:512 100000{round}|SREM set:text:128 member:1|SPOP set:text:513|SMOVE set:int:129 set:int:1 2\
         |HSET h:128 new{round} 1|HDEL h:512 field:2|HINCRBYFLOAT h:1 float 1.5|ZADD z:128 1.5 new{round}|ZREM z:513 m:3|ZPOPMIN z:127\
         |ZUNIONSTORE z:union 2 z:1 z:2|SORT l:127 ALPHA STORE sorted|RENAME s:empty s:renamed|DEL l:1|PERSIST h:129\
         |MULTI|SET in:transaction {round}|INCR counter|EXEC|SELECT 0|XADD stream:1 * field {round}|XDEL stream:100 100-0\
         |XREADGROUP GROUP g alice COUNT 3 STREAMS stream:groups >|XACK stream:groups g 5-0|XTRIM stream:101 MAXLEN 90\
         |XCLAIM stream:groups g bob 0 6-0|XGROUP SETID stream:groups late 7-0|PFADD hll:sparse more{round}|PFADD hll:dense more{round}\
         |COPY z:2 copied{round}|SETBIT bits 70{round} 1|GEOADD geo 1.5 2.5 place{round}|SET s:far x PXAT {FAR_MS}|MOVE s:one 9"
    );
    let mut commands: Vec<Args> = lines.split('|').map(args).collect();
    // It can be renamed and moved once.
    commands.retain(|command| round == 1 || !matches!(&command[0][..], b"RENAME" | b"MOVE"));
    commands
}

fn strings(commands: &mut Vec<Args>, random: &mut Random) {
    let numbers = [
        "0",
        "-1",
        "127",
        "128",
        "-129",
        "32767",
        "-32769",
        "2147483647",
        "-2147483649",
        "9223372036854775807",
        "0012",
        "1e3",
        "-0",
    ];
    for (number, text) in numbers.into_iter().enumerate() {
        commands.push(args(&format!("SET s:int:{number} {text}")));
    }
    for length in [1, 44, 45, 64, 20_000] {
        commands.push(args(&format!("SET s:{length} {}", "compressible ".repeat(length)[..length].replace(' ', "_"))));
    }
    commands.push(with("SET s:empty", [vec![]]));
    commands.push(args("SET s:one 1"));
    commands.push(args("SET s:float 10.25"));
    commands.push(with("SET s:binary", [(0..=255).cycle().take(3000).collect()]));
    commands.push(with("SET s:random", [(0..5000).map(|_| random.next() as u8).collect()]));
    commands.push(with("SET", [b"key with \x00 and \xff\r\n".to_vec(), b"\x00\r\n\xff".to_vec()]));
    commands.push(args("SETBIT bits 1000 1"));
}

/// An element: an integer, a short text or a long one.
fn element(number: usize) -> Vec<u8> {
    match number % 4 {
        0 => (number as i64 * 1_000_003 - 70_000).to_string().into_bytes(),
        1 => format!("text {number}").into_bytes(),
        2 => vec![b'a' + (number % 26) as u8; 20 + number % 30],
        _ => number.to_string().into_bytes(),
    }
}

fn lists(commands: &mut Vec<Args>) {
    for size in SIZES {
        commands.push(with(&format!("RPUSH l:{size}"), (0..size).map(element)));
    }
    for length in LENGTHS {
        commands.push(with(&format!("RPUSH l:long:{length}"), (0..5).map(|_| vec![b'x'; length])));
    }
    commands.push(with("RPUSH l:plain", [vec![b'p'; 70_000], b"1".to_vec(), vec![b'q'; 9000]]));
}

fn sets(commands: &mut Vec<Args>) {
    for size in SIZES {
        commands.push(with(&format!("SADD set:int:{size}"), (0..size).map(|number| number.to_string().into_bytes())));
        let members = (0..size).map(|number| format!("member:{number}").into_bytes());
        commands.push(with(&format!("SADD set:text:{size}"), members));
        commands.push(with(&format!("SADD set:mixed:{size}"), (0..size).map(element)));
    }
    for (bits, number) in [(16, 40_000i64), (32, 3_000_000_000), (64, i64::MIN)] {
        commands.push(args(&format!("SADD set:int:bits:{bits} 1 -5 {number}")));
    }
    for length in LENGTHS {
        commands.push(with(&format!("SADD set:long:{length}"), [vec![b'x'; length], b"7".to_vec()]));
    }
}

fn hashes(commands: &mut Vec<Args>) {
    for size in SIZES {
        let pairs = (0..size).flat_map(|number| [format!("field:{number}").into_bytes(), element(number)]);
        commands.push(with(&format!("HSET h:{size}"), pairs));
    }
    for length in LENGTHS {
        commands.push(with(&format!("HSET h:long:{length}"), [b"f".to_vec(), vec![b'v'; length], vec![], vec![]]));
    }
    commands.push(args("HSET h:1 float 0.1"));
}

fn expiring_fields(commands: &mut Vec<Args>) {
    for size in [4, 128, 129, 600] {
        for (name, every) in [("some", 3), ("all", 1)] {
            let pairs = (0..size).flat_map(|number| [format!("field:{number}").into_bytes(), element(number)]);
            commands.push(with(&format!("HSET fields:{name}:{size}"), pairs));
            for number in (0..size).step_by(every) {
                let at = FAR_MS + (number % 7) as i64;
                commands.push(args(&format!("HPEXPIREAT fields:{name}:{size} {at} FIELDS 1 field:{number}")));
            }
        }
    }
}

fn zsets(commands: &mut Vec<Args>) {
    for size in SIZES {
        let members = (0..size).flat_map(|number| {
            let score = (number as f64 * 0.37 - 20.0).to_string();
            [score.into_bytes(), format!("m:{number}").into_bytes()]
        });
        commands.push(with(&format!("ZADD z:{size}"), members));
    }
    for length in LENGTHS {
        commands.push(with(&format!("ZADD z:long:{length}"), [b"1".to_vec(), vec![b'm'; length], b"1".to_vec(), b"5".to_vec()]));
    }
    commands.push(args(
        "ZADD z:scores inf a -inf b 0 c 0 d 1e300 e 5e-324 f 0.1 g 9007199254740993 h 17 i -42 j 3.0000000000000004 k",
    ));
    commands.push(args("GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania -122.4 37.8 Francisco"));
}

fn streams(commands: &mut Vec<Args>) {
    for size in [1, 100, 101, 250] {
        for ms in 1..=size {
            let fields = if ms % 10 == 0 { "other 1 fields" } else { "field 1234 name" };
            commands.push(args(&format!("XADD stream:{size} {ms}-0 {fields} value:{ms}")));
        }
    }
    for seq in 1..=20 {
        commands.push(args(&format!("XADD stream:one:ms 5-{seq} f {}", "long".repeat(seq * 30))));
    }
    commands.push(args("XDEL stream:250 1-0 2-0 77-0 250-0"));
    commands.push(args("XADD stream:empty 3-1 a b"));
    commands.push(args("XDEL stream:empty 3-1"));
    commands.push(args("XGROUP CREATE stream:none g $ MKSTREAM"));
    for ms in 1..=40 {
        commands.push(args(&format!("XADD stream:groups {ms}-0 f {ms}")));
    }
    for line in [
        "XGROUP CREATE stream:groups g 0",
        "XGROUP CREATE stream:groups late 20-0",
        "XGROUP CREATE stream:groups idle $",
        "XGROUP CREATECONSUMER stream:groups g nobody",
        "XREADGROUP GROUP g alice COUNT 10 STREAMS stream:groups >",
        "XREADGROUP GROUP g bob COUNT 5 STREAMS stream:groups >",
        "XREADGROUP GROUP g noack COUNT 2 NOACK STREAMS stream:groups >",
        "XREADGROUP GROUP late carol STREAMS stream:groups >",
        "XACK stream:groups g 1-0 2-0 12-0",
        "XCLAIM stream:groups g bob 0 3-0 TIME 1600000000000 RETRYCOUNT 9",
        "XDEL stream:groups 4-0 30-0 39-0",
        "XADD stream:whole 1-0 a b",
        "XGROUP CREATE stream:whole g 0",
        "XREADGROUP GROUP g alice STREAMS stream:whole >",
    ] {
        commands.push(args(line));
    }
}

fn hyperloglogs(commands: &mut Vec<Args>) {
    commands.push(args("PFADD hll:sparse a b c"));
    commands.push(args("PFADD hll:empty"));
    for from in (0..10_000).step_by(500) {
        commands.push(with("PFADD hll:dense", (from..from + 500).map(|number: usize| number.to_string().into_bytes())));
    }
}

/// Several pieces each: more than 64 KiB.
fn big_values(commands: &mut Vec<Args>, random: &mut Random) {
    commands.push(with("SET big:string", [(0..300_000).map(|_| random.next() as u8).collect()]));
    commands.push(with("SET big:compressible", [b"0123456789abcdef".repeat(20_000)]));
    for from in (0..4000).step_by(500) {
        let numbers = from..from + 500;
        let value = |number: usize| format!("{number}:{}", "v".repeat(number % 90)).into_bytes();
        commands.push(with("RPUSH big:list", numbers.clone().map(value)));
        commands.push(with("SADD big:set", numbers.clone().map(value)));
        commands.push(with("HSET big:hash", numbers.clone().flat_map(|number| [value(number), value(number + 1)])));
        commands.push(with("ZADD big:zset", numbers.clone().flat_map(|n| [(n % 700).to_string().into_bytes(), value(n)])));
    }
    for ms in 1..=2000 {
        commands.push(args(&format!("XADD big:stream {ms}-1 field {ms} text {}", "t".repeat(ms % 60))));
    }
    commands.push(args("XGROUP CREATE big:stream g 0"));
    commands.push(args("XREADGROUP GROUP g a COUNT 700 STREAMS big:stream >"));
}
