//! Random commands from templates, and when a reply of ours is as good as one of Redis. Shared by the test of the handlers and that of the
//! whole server.

mod geo;
mod hashes;
mod hyperloglogs;
mod lists;
mod sets;
mod sort;
mod streams;
mod unordered;
mod zsets;

use shards::resp::decode_command;
use std::io::BufRead;
use std::time::{SystemTime, UNIX_EPOCH};

pub const DATABASES: u16 = 4;

/// The real server that replies are compared with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Peer {
    /// Debian's redis-server.
    Redis7_0,
    /// Speaks Redis 7.2's commands.
    Valkey8_1,
    Redis8_2,
}

impl Peer {
    /// `DIFFERENTIAL_PEER=valkey8|redis8`, otherwise Redis 7.0.
    pub fn chosen() -> Peer {
        match std::env::var("DIFFERENTIAL_PEER").as_deref() {
            Ok("valkey8") => Peer::Valkey8_1,
            Ok("redis8") => Peer::Redis8_2,
            Ok(other) => panic!("DIFFERENTIAL_PEER={other}: valkey8 or redis8"),
            Err(_) => Peer::Redis7_0,
        }
    }
}

pub type SameReply = fn(peer: Peer, args: &[Vec<u8>], ours: &[u8], theirs: &[u8]) -> Option<bool>;

/// The random commands of one family of types.
pub struct Family {
    /// `random_commands` explains the notation; words that begin with a colon are filled in by `fill`.
    pub templates: &'static [&'static str],
    /// Templates of commands and options that only newer servers have: from which one on.
    pub newer: &'static [(Peer, &'static str)],
    pub fill: fn(word: &str, random: &mut fastrand::Rng) -> Option<Vec<u8>>,
    /// Whether two replies that are not the same bytes mean the same (order of unordered things, times). None: not this family's.
    pub same: SameReply,
    /// A command that chooses at random or by the clock runs here first; what the peer has to run to be in the same state, and
    /// whether its reply is right given ours. None: the same command.
    pub mirror: fn(args: &[Vec<u8>], ours: &[u8]) -> Option<Mirror>,
    /// Commands that show the whole state of a key of these types, K stands for the key. Compared for every key at the end.
    pub state: &'static [&'static str],
    /// The keys that `fill` gives.
    pub keys: &'static [&'static str],
}

/// What to run on the peer instead. Its reply is not compared, but must not be an error unless ours is.
pub struct Mirror {
    pub commands: Vec<Args>,
}

/// A part of a template, sixteen times.
macro_rules! sixteen {
    ($part:literal) => {
        concat!($part, $part, $part, $part, $part, $part, $part, $part, $part, $part, $part, $part, $part, $part, $part, $part)
    };
}
pub(crate) use sixteen;

/// A family has a file of its own; its line stands here.
pub static FAMILIES: &[&Family] = &[
    &hashes::FAMILY,
    &hyperloglogs::HYPERLOGLOGS,
    &lists::LISTS,
    &sets::FAMILY,
    &sort::FAMILY,
    &zsets::FAMILY,
    &geo::FAMILY,
    &streams::STREAMS,
];

pub type Args = Vec<Vec<u8>>;

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970").as_millis() as i64
}

pub fn encode(args: &[Vec<u8>]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        request.extend_from_slice(arg);
        request.extend_from_slice(b"\r\n");
    }
    request
}

/// Nothing when the connection was closed.
pub fn read_reply(reader: &mut impl BufRead, out: &mut Vec<u8>) {
    let start = out.len();
    if reader.read_until(b'\n', out).expect("the server answers") == 0 {
        return;
    }
    let header = &out[start..];
    let number = || std::str::from_utf8(&header[1..header.len() - 2]).ok().and_then(|text| text.parse::<i64>().ok());
    match header[0] {
        b'$' | b'=' => {
            if let Some(len @ 0..) = number() {
                let at = out.len();
                out.resize(at + len as usize + 2, 0);
                reader.read_exact(&mut out[at..]).expect("a whole bulk string");
            }
        }
        b'*' | b'~' | b'>' => (0..number().unwrap_or(0)).for_each(|_| read_reply(reader, out)),
        b'%' => (0..number().unwrap_or(0) * 2).for_each(|_| read_reply(reader, out)),
        _ => {}
    }
}

/// Templates of commands. A word in capitals of one letter is filled in: K key, V value, I integer, F float, S seconds
/// from now, P milliseconds from now, A and B the same as Unix time, R index in a string, O bit offset, D database,
/// T type of a bit field, G pattern. `[x|y z]` is left out, or one of its alternatives; `(…)` always is one of them.
pub const TEMPLATES: &[&str] = &[
    "SET K V [NX|XX] [GET] [EX S|PX P|EXAT A|PXAT B|KEEPTTL]",
    "SET K V",
    "SET K I",
    "SET K F",
    "SETNX K V",
    "SETEX K S V",
    "PSETEX K P V",
    "GET K",
    "GETSET K V",
    "GETDEL K",
    "GETEX K [EX S|PX P|EXAT A|PXAT B|PERSIST|KEEPTTL]",
    "MGET K K K",
    "MSET K V K V",
    "MSETNX K V K V",
    "INCR K",
    "DECR K",
    "INCRBY K I",
    "DECRBY K I",
    "INCRBYFLOAT K F",
    "APPEND K V",
    "STRLEN K",
    "GETRANGE K R R",
    "SUBSTR K R R",
    "SETRANGE K R V",
    "LCS K K [LEN|IDX|LEN IDX] [MINMATCHLEN R] [WITHMATCHLEN]",
    "SETBIT K O (0|1|2)",
    "GETBIT K O",
    "BITCOUNT K [R R|R R BIT|R R BYTE|R]",
    "BITPOS K (0|1|2) [R|R R|R R BIT|R R BYTE]",
    "BITOP (AND|OR|XOR) K K K",
    "BITOP (NOT|AND|OR|FOO) K K",
    "BITFIELD K [OVERFLOW (WRAP|SAT|FAIL|FOO)] (GET T O|SET T O I|INCRBY T O I|SET T #R I) [GET T O|INCRBY T #R I]",
    "BITFIELD K SET T O I OVERFLOW (WRAP|SAT|FAIL) INCRBY T O I INCRBY T O I",
    "BITFIELD_RO K (GET T O|GET T #R|SET T O I)",
    "DEL K [K]",
    "UNLINK K",
    "EXISTS K K K",
    "TOUCH K K",
    "TYPE K",
    "EXPIRE K S [NX|XX|GT|LT] [XX|GT|FOO]",
    "PEXPIRE K P [NX|XX|GT|LT]",
    "EXPIREAT K A [NX|XX|GT|LT]",
    "PEXPIREAT K B [NX|XX|GT|LT] [XX|GT|LT]",
    "TTL K",
    "PTTL K",
    "EXPIRETIME K",
    "PEXPIRETIME K",
    "PERSIST K",
    "RENAME K K",
    "RENAMENX K K",
    "COPY K K [DB D] [REPLACE]",
    "MOVE K D",
    "SWAPDB D D",
    "DBSIZE",
    "KEYS G",
    "SELECT D",
    "ECHO V",
    "PING [V]",
    "OBJECT (ENCODING|REFCOUNT) K",
    "OBJECT (FREQ|FOO) K",
    "OBJECT HELP",
    "CONFIG HELP",
    "COMMAND HELP",
    "DUMP no-such-key",
    "RESTORE K I V [REPLACE] [ABSTTL] [IDLETIME I|FREQ I]",
    "COMMAND GETKEYS (GET K|MSET K V K V|BITOP AND K K K|DEL K K|PING A|FOO B|RENAME K K|GET K K)",
    "COMMAND GETKEYSANDFLAGS (GET K|SET K V|SET K V GET|BITOP AND K K K|BITFIELD K GET u8 0|COPY K K)",
    "COMMAND INFO (get|set|mset|bitop|copy|rename|nosuch|lcs|ping|select|keys|object|encoding)",
    "CLIENT (GETNAME|SETNAME a|SETNAME \u{e4}|GETREDIR|FOO)",
    "FOO K V",
];

/// A template, and the family that fills in its words.
#[derive(Clone, Copy)]
pub struct Template {
    text: &'static str,
    family: Option<&'static Family>,
}

/// All templates that a peer knows: of strings and keys of any type, and of every family.
pub fn templates(peer: Peer) -> Vec<Template> {
    let plain = TEMPLATES.iter().map(|text| Template { text, family: None });
    plain.chain(FAMILIES.iter().flat_map(|family| family_templates(family, peer))).collect()
}

pub fn family_templates(family: &'static Family, peer: Peer) -> Vec<Template> {
    let newer = family.newer.iter().filter(|(since, _)| *since <= peer).map(|(_, template)| template);
    family.templates.iter().chain(newer).map(|text| Template { text, family: Some(family) }).collect()
}

/// Templates of one family only, by the beginning of a command's name (`DIFFERENTIAL_ONLY=H,OBJECT`): for long runs of it.
pub fn only(templates: Vec<Template>) -> Vec<Template> {
    let Ok(names) = std::env::var("DIFFERENTIAL_ONLY") else { return templates };
    let names: Vec<&str> = names.split(',').collect();
    templates.into_iter().filter(|template| names.iter().any(|name| template.text.starts_with(name))).collect()
}

/// What the peer must run after our reply, if not the same.
pub fn mirror(args: &[Vec<u8>], ours: &[u8]) -> Option<Mirror> {
    FAMILIES.iter().find_map(|family| (family.mirror)(args, ours))
}

/// Rare: it would keep the databases empty.
const RARE_TEMPLATES: &[&str] = &["FLUSHDB [ASYNC|SYNC|FOO]", "FLUSHALL [ASYNC|SYNC]"];

pub struct Generator {
    pub random: fastrand::Rng,
    templates: Vec<Template>,
    /// Of the template that is being filled in.
    family: Option<&'static Family>,
    /// Most commands are from the templates here: those of one family stand together, and its values must live for a while to be met
    /// by the rest of its commands.
    focus: usize,
}

/// Templates in focus, and commands until it moves on, about.
const FOCUS: usize = 30;

impl Generator {
    pub fn new(seed: u64, templates: Vec<Template>) -> Generator {
        Generator { random: fastrand::Rng::with_seed(seed), templates, family: None, focus: 0 }
    }

    fn template(&mut self) -> Template {
        if self.random.usize(..400) == 0 {
            let text = RARE_TEMPLATES[self.random.usize(..RARE_TEMPLATES.len())];
            return Template { text, family: None };
        }
        let (all, random) = (self.templates.len(), &mut self.random);
        if random.usize(..FOCUS) == 0 {
            self.focus = random.usize(..all);
        }
        let at = if random.u8(..4) == 0 { random.usize(..all) } else { (self.focus + random.usize(..FOCUS)) % all };
        self.templates[at]
    }

    pub fn command(&mut self) -> Args {
        let template = self.template();
        self.family = template.family;
        let mut words = Vec::new();
        self.expand(template.text, &mut words);
        let mut args: Args = words.iter().map(|word| self.fill(word)).collect();
        self.damage(&mut args);
        args
    }

    /// Chooses among alternatives; these don't nest, except round ones inside square ones.
    fn expand(&mut self, template: &str, words: &mut Vec<String>) {
        let mut rest = template.trim_start();
        while !rest.is_empty() {
            let (open, close) = match rest.as_bytes()[0] {
                b'[' => ('[', ']'),
                b'(' => ('(', ')'),
                _ => {
                    let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
                    words.push(word.to_string());
                    rest = after.trim_start();
                    continue;
                }
            };
            let end = rest.find(close).expect("brackets are closed");
            let alternatives = split_alternatives(&rest[1..end]);
            if open == '(' || self.random.bool() {
                let chosen = alternatives[self.random.usize(..alternatives.len())].to_string();
                self.expand(&chosen, words);
            }
            rest = rest[end + 1..].trim_start();
        }
    }

    pub fn fill(&mut self, word: &str) -> Vec<u8> {
        let now = now_ms();
        let random = &mut self.random;
        let choose = |random: &mut fastrand::Rng, list: &[&str]| list[random.usize(..list.len())].to_string();
        let text = match word {
            "K" if !FAMILIES.is_empty() && random.u8(..8) == 0 => return self.fill(":any"),
            "K" => format!("k{}", random.u8(..6)),
            "V" => {
                let words = ["", "a", "abc", "hello world", "foobar", "12", "-7", "3.5", "ohmytext", "mynewtext", "\u{ff}\0x"];
                return choose(random, &words).repeat(if random.u8(..10) == 0 { 20 } else { 1 }).into_bytes();
            }
            "I" if random.u8(..5) == 0 => {
                let edges =
                    ["9223372036854775807", "-9223372036854775808", "9223372036854775808", "0", "-0", "01", "1.5", "x", ""];
                choose(random, &edges)
            }
            "I" => random.i64(-300..300).to_string(),
            "F" if random.u8(..4) == 0 => choose(
                random,
                &["1e10", "inf", "-inf", "nan", "1e4931", "5.0e3", "-2.5e-8", ".5", "5.", " 1", "1e400", "abc", ""],
            ),
            "F" => format!("{}.{}", random.i32(-1000..1000), random.u32(..100_000)),
            "S" if random.u8(..8) == 0 => choose(random, &["0", "-1", "9223372036854775807", "9223372036854776", "x"]),
            "S" => random.i64(1_000..100_000_000).to_string(),
            "P" if random.u8(..8) == 0 => choose(random, &["0", "-1", "9223372036854775807", "x", "1.0"]),
            "P" => random.i64(1_000_000..100_000_000_000).to_string(),
            "A" if random.u8(..8) == 0 => choose(random, &["0", "-1", "1", "9223372036854775807", "x"]),
            "A" => (now / 1000 + random.i64(1_000..100_000_000)).to_string(),
            "B" if random.u8(..8) == 0 => choose(random, &["0", "-1", "1", "9223372036854775807", "x"]),
            "B" => (now + random.i64(1_000_000..100_000_000_000)).to_string(),
            "R" if random.u8(..12) == 0 => choose(random, &["x", "9223372036854775807", "-9223372036854775808", "600000000"]),
            "R" => random.i64(-20..40).to_string(),
            "O" if random.u8(..12) == 0 => choose(random, &["-1", "x", "4294967296", "4294967295000", "#1"]),
            "O" => random.u32(..200).to_string(),
            "#R" => format!("#{}", random.u32(..12)),
            "D" if random.u8(..8) == 0 => choose(random, &["-1", "4", "x", "99999999999"]),
            "D" => random.u8(..DATABASES as u8).to_string(),
            "T" if random.u8(..12) == 0 => choose(random, &["u64", "i65", "x8", "i0", "u"]),
            "T" => {
                let kind = if random.bool() { 'i' } else { 'u' };
                let bits = [1, 4, 5, 8, 16, 31, 32, 63][random.usize(..8)];
                if kind == 'i' && random.u8(..6) == 0 { "i64".to_string() } else { format!("{kind}{bits}") }
            }
            "G" => choose(random, &["*", "k*", "k[1-3]", "k?", "*1", "[^k]*", "K1", "k\\1"]),
            // Any key of any family, to meet values of the wrong type.
            ":any" => {
                let keys: Vec<&str> = FAMILIES.iter().flat_map(|family| family.keys.iter().copied()).collect();
                if keys.is_empty() { "k0".to_string() } else { choose(random, &keys) }
            }
            // A key whose name ends with something filled in.
            word if word.contains("_:") => {
                let (prefix, rest) = word.split_once(':').expect("just seen");
                let rest = format!(":{rest}");
                return [prefix.as_bytes(), &self.fill(&rest)].concat();
            }
            word if word.starts_with(':') => {
                let family = self.family.unwrap_or_else(|| panic!("{word} stands in a template of no family"));
                return (family.fill)(word, random).unwrap_or_else(|| panic!("its family does not fill in {word}"));
            }
            word => word.to_string(),
        };
        text.into_bytes()
    }

    /// Sometimes an argument too many, too few, or of the wrong kind; sometimes another case.
    fn damage(&mut self, args: &mut Args) {
        match self.random.u8(..60) {
            0 => drop(args.pop().filter(|_| args.len() > 1)),
            1 => args.push(b"extra".to_vec()),
            2 if args.len() > 2 => {
                let at = self.random.usize(2..args.len());
                args[at] = b"junk".to_vec();
            }
            3 => args[0].make_ascii_lowercase(),
            _ => {}
        }
        if args.is_empty() {
            args.push(b"PING".to_vec());
        }
    }
}

/// Splits at bars that stand outside round brackets.
fn split_alternatives(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'|' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

pub fn show_all(args: &[impl AsRef<[u8]>]) -> String {
    args.iter().map(|arg| format!("{:?} ", String::from_utf8_lossy(arg.as_ref()))).collect()
}

/// Replies may differ where the clocks were read at different times, and where 7.2 differs from the 7.0 that is compared with.
pub fn same_reply(peer: Peer, args: &[Vec<u8>], ours: &[u8], theirs: &[u8], exact_encoding: bool) -> bool {
    if ours == theirs {
        return true;
    }
    // Texts for people, and what names the server's own commands.
    let says_help = args.get(1).is_some_and(|word| word.eq_ignore_ascii_case(b"HELP"));
    if peer != Peer::Redis7_0 && (says_help || args[0].eq_ignore_ascii_case(b"COMMAND")) {
        return true;
    }
    if let Some(same) = FAMILIES.iter().find_map(|family| (family.same)(peer, args, ours, theirs)) {
        return same;
    }
    let name = args[0].to_ascii_uppercase();
    let number = |reply: &[u8]| std::str::from_utf8(reply).ok()?.strip_prefix(':')?.trim_end().parse::<i64>().ok();
    let sub_command = args.get(1).map(|word| word.to_ascii_uppercase()).unwrap_or_default();
    match &name[..] {
        b"TTL" | b"EXPIRETIME" => close(number(ours), number(theirs), 1) || ours == theirs,
        b"PTTL" | b"PEXPIRETIME" => close(number(ours), number(theirs), 1500) || ours == theirs,
        b"KEYS" => sorted_keys(ours) == sorted_keys(theirs),
        // A start without an end, which Redis refuses.
        b"BITCOUNT" if peer == Peer::Valkey8_1 && args.len() == 3 => true,
        // 7.0 answers for an absent key before it looks at the other arguments.
        b"BITCOUNT" | b"BITPOS" => {
            ours == theirs
                || (ours.starts_with(b"-ERR") && (number(theirs).is_some_and(|n| n <= 0) || theirs.starts_with(b"-WRONGTYPE")))
        }
        // Valkey 8 does not set what has expired already; here it is there until a command meets it.
        b"DBSIZE" if peer == Peer::Valkey8_1 => number(ours) >= number(theirs),
        // Valkey 8 embeds strings that fit a cache line with their key.
        b"OBJECT" if peer == Peer::Valkey8_1 && [ours, theirs].iter().all(|reply| EMBEDDED_OR_RAW.contains(reply)) => true,
        b"OBJECT" if sub_command == b"ENCODING" => ours == theirs || (!exact_encoding && ours[0] == theirs[0]),
        // Which small integers are shared objects depends on how they came about.
        b"OBJECT" if sub_command == b"REFCOUNT" => ours[0] == theirs[0],
        // 7.0 wants one argument more.
        b"COMMAND" if args.len() == 3 && sub_command.starts_with(b"GETKEYS") => true,
        // All commands: not as many here.
        b"COMMAND" if args.len() == 1 || (args.len() == 2 && sub_command == b"INFO") => true,
        // The order of sub-commands is random in Redis.
        b"COMMAND" if args.get(2).is_some_and(|name| name == b"object") => true,
        _ => ours == theirs,
    }
}

const EMBEDDED_OR_RAW: [&[u8]; 2] = [b"$6\r\nembstr\r\n", b"$3\r\nraw\r\n"];

fn close(ours: Option<i64>, theirs: Option<i64>, tolerance: i64) -> bool {
    ours.zip(theirs).is_some_and(|(a, b)| a >= 0 && b >= 0 && a.abs_diff(b) <= tolerance as u64)
}

pub fn sorted_keys(reply: &[u8]) -> Vec<Vec<u8>> {
    let Some((mut keys, _)) = decode_command(reply) else { return vec![reply.to_vec()] };
    keys.sort();
    keys.into_iter().map(<[u8]>::to_vec).collect()
}

pub fn words(text: &str) -> Args {
    text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}
