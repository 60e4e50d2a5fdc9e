//! From arguments to the table's entry, and from the entry to the keys.

use super::FAMILIES;
use super::names::Names;
use super::table::{Command, KeySpec};
use crate::resp::parse_integer;
use std::sync::OnceLock;

/// Slots of the hash table of names: a power of two, several times the number of commands (asserted when it is filled).
const SLOTS: usize = 2048;

/// Longest shown part of a client's own words in an error, as in Redis.
const SHOWN_BYTES_MAX: usize = 128;

/// As `Names::lookup`, by the names of the table.
pub fn lookup(args: &[&[u8]]) -> Option<&'static Command> {
    Names::TABLE.lookup(args)
}

/// As `Names::resolve`, by the names of the table: for what this server has logged itself.
pub fn resolve(args: &[&[u8]]) -> Result<&'static Command, Vec<u8>> {
    Names::TABLE.resolve(args)
}

impl Names {
    /// The entry for a command by its name in any case; a container is resolved with the second argument.
    /// None: no such command or sub-command.
    pub fn lookup(&self, args: &[&[u8]]) -> Option<&'static Command> {
        let command = self.by_name(args.first()?)?;
        match args.get(1) {
            Some(sub) if !command.subcommands.is_empty() => subcommand(command, sub),
            _ => Some(command),
        }
    }

    /// The entry for these arguments, or Redis's error text (with its code): unknown command or sub-command, wrong number.
    /// Bytes: it shows the client's own words.
    pub fn resolve(&self, args: &[&[u8]]) -> Result<&'static Command, Vec<u8>> {
        let Some(command) = self.lookup(args) else {
            return Err(self.unknown(args));
        };
        if command.arity_matches(args.len()) { Ok(command) } else { Err(wrong_number(command.name).into_bytes()) }
    }

    /// A command by its full name: `get`, `client|getname`.
    pub fn by_full_name(&self, name: &[u8]) -> Option<&'static Command> {
        match name.iter().position(|&byte| byte == b'|') {
            None => self.by_name(name),
            Some(bar) => subcommand(self.by_name(&name[..bar])?, &name[bar + 1..]),
        }
    }

    fn unknown(&self, args: &[&[u8]]) -> Vec<u8> {
        let name = args.first().copied().unwrap_or_default();
        if let (Some(_), Some(sub)) = (self.by_name(name), args.get(1)) {
            return [
                &b"ERR unknown subcommand '"[..],
                shown(sub, SHOWN_BYTES_MAX),
                b"'. Try ",
                &name.to_ascii_uppercase(),
                b" HELP.",
            ]
            .concat();
        }
        let mut beginning = Vec::new();
        for arg in args.iter().skip(1) {
            if beginning.len() >= SHOWN_BYTES_MAX {
                break;
            }
            beginning = [&beginning, &b"'"[..], shown(arg, SHOWN_BYTES_MAX - beginning.len()), b"' "].concat();
        }
        [&b"ERR unknown command '"[..], shown(name, SHOWN_BYTES_MAX), b"', with args beginning with: ", &beginning].concat()
    }
}

/// Every command; sub-commands hang below theirs.
pub fn all() -> impl Iterator<Item = &'static Command> {
    FAMILIES.iter().copied().flatten()
}

/// A command by its own name in the table, in any case, whether it is a container or not.
pub fn by_name(name: &[u8]) -> Option<&'static Command> {
    let names = NAMES.get_or_init(fill);
    let mut slot = hash(name) & (SLOTS - 1);
    loop {
        let command = names[slot]?;
        if command.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(command);
        }
        slot = (slot + 1) & (SLOTS - 1);
    }
}

pub fn wrong_number(name: &str) -> String {
    format!("ERR wrong number of arguments for '{name}' command")
}

/// Indices of the keys among `args`.
#[derive(Debug)]
pub enum Keys {
    Range { next: usize, end: usize, step: usize },
    List(std::vec::IntoIter<usize>),
}

impl Iterator for Keys {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        match self {
            Keys::Range { next, end, step } => {
                let key = *next;
                (key < *end).then(|| *next += *step)?;
                Some(key)
            }
            Keys::List(list) => list.next(),
        }
    }
}

/// Where the keys stand in `args`, whose number must match the command's arity. Allocates only when the command has a
/// rule of its own. An error text (with its code) when the arguments don't fit: `MSET a 1 b`.
pub fn keys_of(command: &Command, args: &[&[u8]]) -> Result<Keys, String> {
    match possible_keys(command, args)? {
        Keys::Range { next, end, step } if !end.saturating_sub(next).is_multiple_of(step) => Err(wrong_number(command.name)),
        keys => Ok(keys),
    }
}

/// As `keys_of`, also when the last key's value is missing: what COMMAND GETKEYS answers.
pub fn possible_keys(command: &Command, args: &[&[u8]]) -> Result<Keys, String> {
    match command.keys {
        KeySpec::None => Ok(Keys::Range { next: 0, end: 0, step: 1 }),
        KeySpec::Range { first, last, step } => {
            let last = if last < 0 { args.len().saturating_add_signed(last) } else { last as usize };
            Ok(Keys::Range { next: first, end: (last + 1).min(args.len()), step })
        }
        KeySpec::Find(find) => Ok(Keys::List(find(args)?.into_iter())),
    }
}

/// Rule for keys behind their number, which stands at index 1 (LMPOP, ZUNION …). No keys when the number is wrong: the
/// handler says so.
pub fn counted_keys(args: &[&[u8]]) -> Result<Vec<usize>, &'static str> {
    Ok(counted_from(args, 1))
}

/// The same with the key of the result in front of the number (ZUNIONSTORE …).
pub fn stored_counted_keys(args: &[&[u8]]) -> Result<Vec<usize>, &'static str> {
    let mut keys = counted_from(args, 2);
    if !keys.is_empty() {
        keys.push(1);
    }
    Ok(keys)
}

fn counted_from(args: &[&[u8]], at: usize) -> Vec<usize> {
    let count = args.get(at).and_then(|text| parse_integer(text)).and_then(|count| usize::try_from(count).ok());
    match count {
        Some(count) if count < args.len() - at => (at + 1..=at + count).collect(),
        _ => Vec::new(),
    }
}

static NAMES: OnceLock<Box<[Option<&'static Command>; SLOTS]>> = OnceLock::new();

fn fill() -> Box<[Option<&'static Command>; SLOTS]> {
    assert!(all().count() * 4 < SLOTS, "the table of names is too small");
    let mut names = Box::new([None; SLOTS]);
    for command in all() {
        let mut slot = hash(command.name.as_bytes()) & (SLOTS - 1);
        while names[slot].is_some() {
            slot = (slot + 1) & (SLOTS - 1);
        }
        names[slot] = Some(command);
    }
    names
}

/// FNV-1a over the name in lower case. Names are a few bytes; a long unknown one costs no more than `HASHED_BYTES_MAX`.
fn hash(name: &[u8]) -> usize {
    const HASHED_BYTES_MAX: usize = 24;
    let mut hash: u32 = 0x811c_9dc5;
    for &byte in name.iter().take(HASHED_BYTES_MAX) {
        hash = (hash ^ (byte | 0x20) as u32).wrapping_mul(0x0100_0193);
    }
    (hash ^ (hash >> 15)) as usize
}

fn subcommand(command: &Command, name: &[u8]) -> Option<&'static Command> {
    command.subcommands.iter().find(|sub| sub.own_name().as_bytes().eq_ignore_ascii_case(name))
}

/// At most `max` bytes, up to the first zero byte, as C's `%.*s` shows them.
fn shown(bytes: &[u8], max: usize) -> &[u8] {
    let end = bytes.iter().take(max).position(|&byte| byte == 0).unwrap_or(bytes.len().min(max));
    &bytes[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::table::{Multi, Route, Run, flags};

    fn args<'a>(words: &[&'a str]) -> Vec<&'a [u8]> {
        words.iter().map(|word| word.as_bytes()).collect()
    }

    #[test]
    fn every_entry_is_found_by_its_name_in_any_case() {
        let mut seen = std::collections::BTreeSet::new();
        for command in all() {
            assert!(seen.insert(command.name), "{} stands twice in the table", command.name);
            let upper = command.name.to_ascii_uppercase();
            assert!(std::ptr::eq(by_name(upper.as_bytes()).expect(command.name), command), "{}", command.name);
            let container = matches!(command.run, Run::Container);
            assert!(!container || !command.subcommands.is_empty(), "{} has nothing to run", command.name);
            for sub in command.subcommands {
                let found = lookup(&[command.name.as_bytes(), sub.own_name().to_ascii_uppercase().as_bytes()]);
                assert!(std::ptr::eq(found.expect(sub.name), sub), "{}", sub.name);
                assert!(std::ptr::eq(Names::TABLE.by_full_name(sub.name.as_bytes()).expect(sub.name), sub), "{}", sub.name);
                assert_eq!(sub.name.split_once('|').expect("parent|sub").0, command.name);
            }
        }
    }

    #[test]
    fn every_entry_is_documented_and_says_whether_it_is_fast_or_slow() {
        for command in all().flat_map(|command| std::iter::once(command).chain(command.subcommands)) {
            let name = command.name;
            assert!(!command.summary.is_empty() && !command.group.is_empty() && !command.since.is_empty(), "{name}");
            let fast = command.flags & flags::FAST != 0;
            assert!(command.acl.contains(&if fast { "fast" } else { "slow" }), "{name}");
            assert_eq!(command.acl.contains(&"write"), command.writes(), "{name}");
        }
    }

    #[test]
    fn the_route_fits_the_keys() {
        for command in all().flat_map(|command| std::iter::once(command).chain(command.subcommands)) {
            let name = command.name;
            let several = match command.keys {
                KeySpec::None => None,
                KeySpec::Range { first, last, .. } => Some(last != first as isize),
                KeySpec::Find(_) => Some(true),
            };
            match (command.route, several) {
                (Route::Keys(multi), Some(several)) if command.reads_unnamed.is_some() => {
                    assert!(several || multi == Multi::Gather, "{name}");
                }
                (Route::Keys(multi), Some(several)) => assert_eq!(multi != Multi::Never, several, "{name}"),
                (Route::Keys(_), None) => panic!("{name} is routed by keys and has none"),
                (_, keys) => assert!(keys.is_none(), "{name} has keys and is not routed by them"),
            }
            let fits = match command.run {
                Run::Data(_) => matches!(command.route, Route::Keys(_) | Route::All(_)),
                Run::Home(_) | Run::Container => matches!(command.route, Route::Home),
                Run::Engine(_) => matches!(command.route, Route::Engine),
            };
            assert!(fits, "{name} runs elsewhere than it is routed to");
        }
    }

    #[test]
    fn errors_have_the_texts_of_redis() {
        let long = "x".repeat(200);
        for (words, text) in [
            (vec!["foo", "a", "b"], "ERR unknown command 'foo', with args beginning with: 'a' 'b' ".to_string()),
            (vec!["foo"], "ERR unknown command 'foo', with args beginning with: ".to_string()),
            (vec!["get"], "ERR wrong number of arguments for 'get' command".to_string()),
            (vec!["GET", "a", "b"], "ERR wrong number of arguments for 'get' command".to_string()),
            (vec!["object", "foo"], "ERR unknown subcommand 'foo'. Try OBJECT HELP.".to_string()),
            (vec!["object"], "ERR wrong number of arguments for 'object' command".to_string()),
            (vec!["object", "encoding"], "ERR wrong number of arguments for 'object|encoding' command".to_string()),
            (vec!["foo", &long, "b"], format!("ERR unknown command 'foo', with args beginning with: '{}' ", "x".repeat(128))),
        ] {
            assert_eq!(resolve(&args(&words)).err(), Some(text.into_bytes()));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_they_came() {
        let error = resolve(&[b"f\xff", b"\xc3", b"a\0b"]).err();
        assert_eq!(error.as_deref(), Some(&b"ERR unknown command 'f\xff', with args beginning with: '\xc3' 'a' "[..]));
        let error = resolve(&[b"object", b"\xfe"]).err();
        assert_eq!(error.as_deref(), Some(&b"ERR unknown subcommand '\xfe'. Try OBJECT HELP."[..]));
    }

    #[test]
    fn keys_are_found_by_the_table() {
        for (words, expected) in [
            (vec!["get", "a"], vec![1]),
            (vec!["mset", "a", "1", "b", "2"], vec![1, 3]),
            (vec!["del", "a", "b", "c"], vec![1, 2, 3]),
            (vec!["bitop", "and", "a", "b"], vec![2, 3]),
            (vec!["object", "encoding", "a"], vec![2]),
            (vec!["ping"], vec![]),
        ] {
            let words = args(&words);
            let command = resolve(&words).expect("right arguments");
            assert_eq!(keys_of(command, &words).expect("keys").collect::<Vec<_>>(), expected);
        }
        let odd = args(&["mset", "a", "1", "b"]);
        let error = keys_of(resolve(&odd).expect("arity -3"), &odd).err();
        assert_eq!(error.as_deref(), Some("ERR wrong number of arguments for 'mset' command"));
    }
}
