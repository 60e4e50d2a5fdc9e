//! redis.conf and CONFIG SET: what is accepted can be used, shown, set again and written back.
//!
//! ```text
//! input   lines of a file [ 0 byte, then lines "name value" of CONFIG SET ]
//! ```
//! `include` lines are left out: an input must not open files.

use super::config::{Config, DIRECTIVES, Start, from_args};
use shards::rdb::quoting::split_words;
use std::sync::LazyLock;

pub fn check(data: &[u8]) {
    let mut parts = data.splitn(2, |&byte| byte == 0);
    let lines = without_includes(parts.next().unwrap_or_default());
    let Some(config) = load(&lines) else { return };
    usable(&config);
    survives_rewriting(&config, &lines);
    let sets = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    for line in sets.lines() {
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        if let Ok(change) = config.prepare_set(&[name, value], true) {
            usable(&change.config);
            survives_rewriting(&change.config, &lines);
        }
    }
}

fn without_includes(lines: &[u8]) -> Vec<u8> {
    let is_include = |line: &[u8]| {
        let first = split_words(line.trim_ascii()).and_then(|words| words.into_iter().next());
        first.is_some_and(|word| word.eq_ignore_ascii_case(b"include"))
    };
    let kept: Vec<&[u8]> = lines.split(|&byte| byte == b'\n').filter(|line| !is_include(line)).collect();
    kept.join(&b'\n')
}

fn load(lines: &[u8]) -> Option<Config> {
    match from_args(&["-".to_string()], &mut &lines[..]) {
        Ok(Start::Run(config)) => Some(*config),
        Ok(Start::Print(_)) => unreachable!("nothing asks for help"),
        Err(error) => {
            _ = error.to_string();
            None
        }
    }
}

/// Getters can't fail, and what CONFIG GET shows CONFIG SET takes.
fn usable(config: &Config) {
    _ = (config.limits(), config.bind().len(), config.save_points(), config.shards(), config.port());
    _ = (config.append_fsync(), config.recovery_assume(), config.warnings());
    config.command_names().expect("a name that can't be had was refused");
    assert!(config.get(&["*"]).len() > SETTABLE.len());
    let pairs: Vec<&str> = SETTABLE.iter().flat_map(|name| [*name, config.text(name)]).collect();
    let change = config.prepare_set(&pairs, true).unwrap_or_else(|error| panic!("CONFIG SET of what CONFIG GET shows: {error}"));
    assert_eq!(change.changed, [""; 0], "CONFIG SET of what CONFIG GET shows");
}

/// What may be set while the server runs. Looked up once: it does not depend on the values.
static SETTABLE: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let config = Config::default();
    let may_change = |name: &&str| match config.prepare_set(&[name, config.text(name)], true) {
        Ok(_) => true,
        Err(error) => {
            assert!(["immutable", "protected", "Unknown"].iter().any(|why| error.contains(why)), "{error}");
            false
        }
    };
    DIRECTIVES.iter().map(|directive| directive.name).filter(may_change).collect()
});

/// CONFIG REWRITE of the file that was read keeps the meaning, and a second one changes nothing.
fn survives_rewriting(config: &Config, lines: &[u8]) {
    let rewritten = config.rewritten(lines);
    let shown = || rewritten.escape_ascii().to_string();
    let again = load(&rewritten).unwrap_or_else(|| panic!("a rewritten file is refused: {}", shown()));
    for directive in DIRECTIVES {
        assert_eq!(again.text(directive.name), config.text(directive.name), "{} in {}", directive.name, shown());
    }
    assert_eq!(again.rewritten(&rewritten).escape_ascii().to_string(), shown(), "a second rewriting");
}
