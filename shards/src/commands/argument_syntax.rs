//! A command's arguments: one line of syntax in its table entry, from which COMMAND DOCS describes them; redis-cli's hints come from there.
//!
//! The notation is that of Redis's documentation, with the names and types that COMMAND DOCS wants and the documentation leaves out:
//!
//! ```text
//! key                    a word in lower case: a value; `key` and `pattern` are of the type of that name, others are strings
//! seconds:integer        … or of the type that is given: string, integer, double, key, pattern, unix-time
//! addr=ip:port           … shown to users as `ip:port`, a string
//! count:integer=number   … of a type and shown as something else
//! destination:key#2      … found by that key specification; otherwise the nth key by the nth
//! equal"="               a token with another name than its own, in lower case
//! NX                     a word in upper case: a token, the argument `nx` of type pure-token
//! CH=change              … with a name of its own
//! EX seconds:integer     a token before a value belongs to the value
//! order(ASC | DESC)      one of several arguments; like a value, it may have a token before it
//! data(key value)        several arguments, a block; likewise
//! [x]                    optional
//! x...                   one or more times, after one token
//! [TOKEN x]...           … the token repeated each time
//! ```
//! Example, of SET: `key value [condition(NX | XX)] [GET] [expiration(EX seconds:integer | … | KEEPTTL)]`.
//! What version of Redis brought an argument is not told.

use super::table::Command;
use crate::resp::Reply;

const TYPES: [&str; 6] = ["string", "integer", "double", "key", "pattern", "unix-time"];

#[derive(Clone, PartialEq, Debug)]
pub struct Argument {
    /// Of a pure token, in upper case; shown in lower case.
    name: &'static str,
    /// As COMMAND DOCS names it.
    kind: &'static str,
    token: Option<&'static str>,
    display_text: &'static str,
    optional: bool,
    multiple: bool,
    multiple_token: bool,
    /// Of a key: which of the command's key specifications finds it.
    key_spec: Option<usize>,
    /// Of `oneof` and `block`.
    inner: Vec<Argument>,
}

/// What the command's syntax says. Panics when it does not follow the notation; a test reads that of every command.
pub fn arguments_of(command: &Command) -> Vec<Argument> {
    let mut parser = Parser { rest: command.arguments, keys: 0, specs: command.specs.len() };
    let arguments = parser.sequence();
    assert!(parser.rest.is_empty(), "{}: not understood from `{}` on", command.name, parser.rest);
    arguments
}

pub fn reply_arguments(reply: &mut Reply<'_>, arguments: &[Argument]) {
    reply.array(arguments.len());
    arguments.iter().for_each(|argument| argument.reply(reply));
}

/// Descends through the notation, one function to each of its forms.
struct Parser {
    rest: &'static str,
    /// Keys seen so far: the nth key is found by the nth specification, or the last.
    keys: usize,
    specs: usize,
}

impl Parser {
    fn sequence(&mut self) -> Vec<Argument> {
        let mut arguments = Vec::new();
        while !self.rest.is_empty() && !self.rest.starts_with([')', ']', '|']) {
            arguments.push(self.element());
            self.rest = self.rest.trim_start();
        }
        arguments
    }

    fn element(&mut self) -> Argument {
        if !self.accept("[") {
            return self.argument();
        }
        let mut argument = self.argument();
        self.expect("]");
        argument.optional = true;
        if self.accept("...") {
            argument.multiple = true;
            argument.multiple_token = argument.token.is_some();
        }
        argument
    }

    fn argument(&mut self) -> Argument {
        let word = self.word();
        let mut argument = if !is_token(word) {
            self.value(word)
        } else if self.rest.strip_prefix(' ').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_lowercase())) {
            self.expect(" ");
            let name = self.word();
            Argument { token: Some(word), ..self.value(name) }
        } else {
            let name = if self.accept("=") { self.word() } else { word };
            Argument { token: Some(word), ..Argument::new(name, "pure-token") }
        };
        argument.multiple = self.accept("...");
        argument
    }

    /// What stands behind a name in lower case.
    fn value(&mut self, name: &'static str) -> Argument {
        if self.accept("(") {
            return self.group(name);
        }
        let mut argument = Argument::new(name, if TYPES.contains(&name) { name } else { "string" });
        if self.accept("\"") {
            argument.kind = "pure-token";
            argument.token = Some(self.until(|c| c == '"'));
            self.expect("\"");
        }
        if self.accept(":") {
            argument.kind = self.word();
            assert!(TYPES.contains(&argument.kind), "no type of an argument: {}", argument.kind);
        }
        if self.accept("#") {
            argument.key_spec = Some(self.word().parse().expect("the number of a key specification"));
        }
        if self.accept("=") {
            argument.display_text = self.until(|c| c == ' ' || c == ']' || c == ')');
        }
        if argument.kind == "key" && argument.key_spec.is_none() {
            argument.key_spec = Some(self.keys.min(self.specs.checked_sub(1).expect("a command with keys says where they are")));
            self.keys += 1;
        }
        argument
    }

    fn group(&mut self, name: &'static str) -> Argument {
        let mut inner = self.sequence();
        if !self.rest.starts_with('|') {
            self.expect(")");
            return Argument { inner, ..Argument::new(name, "block") };
        }
        let mut count = 1;
        while self.accept("|") {
            self.rest = self.rest.trim_start();
            inner.extend(self.sequence());
            count += 1;
        }
        self.expect(")");
        assert_eq!(inner.len(), count, "{name}: an alternative is one argument; several are a block with a name");
        Argument { inner, ..Argument::new(name, "oneof") }
    }

    fn word(&mut self) -> &'static str {
        let word = self.until(|c| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
        assert!(!word.is_empty(), "a name or token is missing before `{}`", self.rest);
        word
    }

    fn until(&mut self, is_end: impl Fn(char) -> bool) -> &'static str {
        let (word, rest) = self.rest.split_at(self.rest.find(is_end).unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    fn accept(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, text: &str) {
        assert!(self.accept(text), "`{text}` is missing before `{}`", self.rest);
    }
}

fn is_token(word: &str) -> bool {
    !word.contains(|c: char| c.is_ascii_lowercase())
}

impl Argument {
    fn new(name: &'static str, kind: &'static str) -> Argument {
        Argument {
            name,
            kind,
            token: None,
            display_text: name,
            optional: false,
            multiple: false,
            multiple_token: false,
            key_spec: None,
            inner: Vec::new(),
        }
    }

    /// Fields in Redis's order.
    fn reply(&self, reply: &mut Reply<'_>) {
        let flags =
            [(self.optional, "optional"), (self.multiple, "multiple"), (self.multiple_token, "multiple_token")].into_iter();
        let flags: Vec<_> = flags.filter(|(is_set, _)| *is_set).map(|(_, name)| name).collect();
        let is_group = !self.inner.is_empty();
        let optional_fields = [self.key_spec.is_some(), self.token.is_some(), !flags.is_empty()];
        // Name and type; a group has arguments instead of a text.
        reply.map(3 + optional_fields.into_iter().filter(|is_there| *is_there).count());
        let mut text = |field: &str, value: &str| {
            reply.bulk(field.as_bytes());
            reply.bulk(value.as_bytes());
        };
        text("name", &self.name.to_ascii_lowercase());
        text("type", self.kind);
        if !is_group {
            text("display_text", &self.display_text.to_ascii_lowercase());
        }
        if let Some(index) = self.key_spec {
            reply.bulk(b"key_spec_index");
            reply.integer(index as i64);
        }
        if let Some(token) = self.token {
            reply.bulk(b"token");
            reply.bulk(token.as_bytes());
        }
        if !flags.is_empty() {
            reply.bulk(b"flags");
            reply.set(flags.len());
            flags.iter().for_each(|flag| reply.simple(flag));
        }
        if is_group {
            reply.bulk(b"arguments");
            reply_arguments(reply, &self.inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lookup::all;
    use super::super::table::{Route, Run, Spec};
    use super::*;
    use crate::resp::Protocol;

    const KEY: Spec = Spec::at(1, "RO access");

    fn read(syntax: &'static str, specs: &'static [Spec]) -> Vec<Argument> {
        arguments_of(&Command::new("x", -1, 0, Route::Home, Run::Container).specs(specs).arguments(syntax))
    }

    #[test]
    fn each_form_of_the_notation_is_read() {
        let token = |word| Argument { token: Some(word), ..Argument::new(word, "pure-token") };
        let value = Argument::new;
        let cases: [(&str, Argument); 11] = [
            ("message", value("message", "string")),
            ("pattern", value("pattern", "pattern")),
            ("count:integer...", Argument { multiple: true, ..value("count", "integer") }),
            ("addr=ip:port", Argument { display_text: "ip:port", ..value("addr", "string") }),
            ("by:pattern#2=x", Argument { key_spec: Some(2), display_text: "x", ..value("by", "pattern") }),
            ("[NX]", Argument { optional: true, ..token("NX") }),
            ("EX seconds:integer", Argument { token: Some("EX"), ..value("seconds", "integer") }),
            ("order(ASC | DESC)", Argument { inner: vec![token("ASC"), token("DESC")], ..value("order", "oneof") }),
            (
                "AUTH auth(a b)",
                Argument {
                    token: Some("AUTH"),
                    inner: vec![value("a", "string"), value("b", "string")],
                    ..value("auth", "block")
                },
            ),
            ("[ID id...]", Argument { optional: true, multiple: true, token: Some("ID"), ..value("id", "string") }),
            (
                "[GET x]...",
                Argument { optional: true, multiple: true, multiple_token: true, token: Some("GET"), ..value("x", "string") },
            ),
        ];
        for (syntax, argument) in cases {
            assert_eq!(read(syntax, &[]), [argument], "{syntax}");
        }
        let keys = read("source:key destination:key key...", &[KEY, KEY]);
        assert_eq!(keys.iter().map(|key| key.key_spec).collect::<Vec<_>>(), [Some(0), Some(1), Some(1)]);
    }

    #[test]
    fn a_reply_has_the_fields_of_redis_in_their_order() {
        let mut out = Vec::new();
        let arguments = read("[UNTIL when(key | NX)...]", &[KEY]);
        reply_arguments(&mut Reply::new(&mut out, Protocol::Resp2), &arguments);
        let lines = String::from_utf8(out).expect("text");
        let words: Vec<&str> = lines.lines().filter(|line| !line.starts_with('$')).collect();
        let key = "*8 name key type key display_text key key_spec_index :0";
        let token = "*8 name nx type pure-token display_text nx token NX";
        let group = format!("*10 name when type oneof token UNTIL flags *2 +optional +multiple arguments *2 {key} {token}");
        assert_eq!(words.join(" "), format!("*1 {group}"));
    }

    #[test]
    fn a_mistake_in_a_syntax_is_noticed() {
        for syntax in ["[a", "a)", "a(b | c", "a(b c | d)", "a:number", "a [] b", "key", "[a b]", "a  | b"] {
            assert!(std::panic::catch_unwind(|| read(syntax, &[])).is_err(), "{syntax}");
        }
    }

    /// The fewest words that an argument can be.
    fn words_min(argument: &Argument) -> usize {
        let inner = argument.inner.iter().map(words_min);
        let value = match argument.kind {
            _ if argument.optional => return 0,
            "pure-token" => return 1,
            // One that is nothing but options still wants one of them.
            "oneof" => inner.min().unwrap_or(0).max(1),
            "block" => inner.sum(),
            _ => 1,
        };
        value + argument.token.is_some() as usize
    }

    fn varies(argument: &Argument) -> bool {
        argument.optional || argument.multiple || argument.inner.iter().any(varies)
    }

    #[test]
    fn syntax_and_arity_of_every_command_agree() {
        // They take more than their syntax says, as in Redis.
        let exceptions = ["quit", "debug", "replconf"];
        let open_ended = ["psync", "cluster|setslot"];
        for command in all().flat_map(|command| std::iter::once(command).chain(command.subcommands)) {
            let arguments = arguments_of(command);
            if !command.subcommands.is_empty() || exceptions.contains(&command.name) {
                assert_eq!(arguments, [], "{}", command.name);
                continue;
            }
            let words = command.name.split('|').count() + arguments.iter().map(words_min).sum::<usize>();
            let arity =
                if arguments.iter().any(varies) || open_ended.contains(&command.name) { -(words as i32) } else { words as i32 };
            assert_eq!(arity, command.arity, "{}: {}", command.name, command.arguments);
        }
    }
}
