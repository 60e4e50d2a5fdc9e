//! The command line, in the style of Redis: `shardis-server [redis.conf] [--directive value …]… [-]`.
//!
//! Every directive is a flag, and a flag takes words until the next one (`--save 900 1 --save 300 10`), which is not how clap parses;
//! clap prints the help. Order: file, then standard input (`-`), then flags: the last word wins.

use super::file::{FileError, Loader};
use super::kind::Kind;
use super::table::DIRECTIVES;
use super::{Config, Meaning};
use clap::{Arg, ArgAction, Command};
use std::io::Read;
use std::path::Path;

/// What to do at the start.
#[derive(Debug)]
pub enum Start {
    Run(Box<Config>),
    /// Print this and end: `--help`, `--version`.
    Print(String),
}

/// `args` without the program's name; `stdin` is read only when `-` asks for it.
pub fn from_args(args: &[String], stdin: &mut dyn Read) -> Result<Start, FileError> {
    match args.first().map(String::as_str) {
        Some("-h" | "--help") => return Ok(Start::Print(command().render_help().to_string())),
        Some("-v" | "-V" | "--version") => return Ok(Start::Print(command().render_version())),
        _ => {}
    }
    let mut loader = Loader::new();
    let mut rest = args;
    if let [path, tail @ ..] = args
        && !path.starts_with('-')
    {
        loader.main_file(Path::new(path))?;
        rest = tail;
    }
    let from_stdin = rest.first().is_some_and(|word| word == "-") || rest.last().is_some_and(|word| word == "-");
    if from_stdin {
        rest = if rest[0] == "-" { &rest[1..] } else { &rest[..rest.len() - 1] };
        read_stdin(&mut loader, stdin)?;
    }
    apply_flags(&mut loader, rest)?;
    Ok(Start::Run(Box::new(loader.config)))
}

fn read_stdin(loader: &mut Loader, stdin: &mut dyn Read) -> Result<(), FileError> {
    let origin = "standard input";
    let mut bytes = Vec::new();
    let read = stdin.read_to_end(&mut bytes);
    read.map_err(|error| FileError { origin: origin.into(), line: 0, text: String::new(), reason: error.to_string() })?;
    loader.bytes(&bytes, origin, 0)
}

fn apply_flags(loader: &mut Loader, words: &[String]) -> Result<(), FileError> {
    let is_flag = |word: &String| word.starts_with("--");
    let mut rest = words;
    let mut number = 0;
    while let [first, tail @ ..] = rest {
        number += 1;
        let values = tail.iter().position(is_flag).unwrap_or(tail.len());
        let text = rest[..=values].join(" ");
        let fail = |reason| FileError { origin: "the command line".into(), line: number, text, reason };
        let Some(flag) = first.strip_prefix("--") else {
            return Err(fail(format!("'{first}' belongs to no flag; flags begin with --, see --help")));
        };
        let result = match flag.split_once('=') {
            Some((name, value)) if values == 0 => loader.directive(name, &[value.to_string()]),
            Some(_) => Err("wrong number of arguments".into()),
            None => loader.directive(flag, &words_of(flag, &tail[..values])),
        };
        result.map_err(fail)?;
        rest = &tail[values..];
    }
    Ok(())
}

/// As Redis: `--save "3600 1 300 10"` is one argument of the command line, and several words.
fn words_of(flag: &str, values: &[String]) -> Vec<String> {
    match values {
        [points] if flag.eq_ignore_ascii_case("save") && !points.is_empty() => {
            points.split_ascii_whitespace().map(String::from).collect()
        }
        _ => values.to_vec(),
    }
}

/// For `--help` and `--version`.
pub fn command() -> Command {
    let mut command = Command::new("shardis-server")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A Redis-compatible server that uses every core and loses nothing it should not lose.")
        .override_usage("shardis-server [CONFIG-FILE] [--DIRECTIVE VALUE...]... [-]")
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(Arg::new("CONFIG-FILE").help("A redis.conf, as Redis 7.2 reads it").required(false))
        .arg(Arg::new("-").help("Read more directives from standard input").required(false))
        .arg(Arg::new("help").short('h').long("help").action(ArgAction::SetTrue).help("Print this"))
        .arg(Arg::new("version").short('v').long("version").action(ArgAction::SetTrue).help("Print the version"))
        .after_help(after_help());
    for directive in DIRECTIVES.iter().filter(|directive| !directive.about.is_empty()) {
        let default = if directive.default.is_empty() { String::new() } else { format!(" [default: {}]", directive.default) };
        let help = format!("{}{default}", directive.about);
        command = command.arg(
            Arg::new(directive.name)
                .long(directive.name)
                .value_name(value_name(directive.kind))
                .help(help)
                .help_heading("Directives"),
        );
    }
    command
}

fn value_name(kind: Kind) -> String {
    match kind {
        Kind::Bool => "yes|no".into(),
        Kind::Enum(names) if names.len() <= 4 => names.join("|"),
        Kind::Enum(_) => "NAME".into(),
        Kind::Int { .. } | Kind::UInt { .. } | Kind::Clamped { .. } => "N".into(),
        Kind::Memory { .. } => "BYTES".into(),
        Kind::Words(_) | Kind::SavePoints(_) => "WORDS".into(),
        _ => "TEXT".into(),
    }
}

fn after_help() -> String {
    let others = DIRECTIVES
        .iter()
        .filter(|directive| directive.meaning == Meaning::Used && directive.about.is_empty() && !directive.hidden);
    let names: Vec<&str> = others.map(|directive| directive.name).collect();
    format!(
        "\
Examples:
  shardis-server                                          data in ./data, no log (appendonly no)
  shardis-server --appendonly yes --appendfsync always
  shardis-server /etc/redis/redis.conf --port 7000
  shardis-server --dir /var/lib/redis                     starts with the dump.rdb or appendonlydir found there
  echo 'maxmemory 1gb' | shardis-server -

Every directive of Redis 7.2 is a flag too; those without a meaning here are accepted with a warning. Also used:
{}",
        wrap(&names, 100)
    )
}

fn wrap(words: &[&str], width: usize) -> String {
    let mut lines = vec![String::from(" ")];
    for word in words {
        if lines.last().is_some_and(|line| line.len() + 1 + word.len() > width) {
            lines.push(String::from(" "));
        }
        let line = lines.last_mut().expect("never empty");
        line.push(' ');
        line.push_str(word);
    }
    lines.join("\n")
}
