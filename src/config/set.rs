//! CONFIG GET and CONFIG SET.

use super::Config;
use super::kind::Kind;
use super::table::{self, DIRECTIVES, Directive, find};
use shards::commands::glob_matches;
use std::collections::HashSet;

/// A CONFIG SET that is valid but not applied yet.
#[derive(Clone, Debug)]
pub struct Change {
    /// All settings as they will be.
    pub config: Config,
    /// Names whose text differs from now, in the order given.
    pub changed: Vec<&'static str>,
}

impl Config {
    /// Names and texts, each name once. A plain name is answered as it was written, a pattern shows aliases too.
    pub fn get(&self, patterns: &[&str]) -> Vec<(String, String)> {
        let mut found: Vec<(String, usize)> = Vec::new();
        for pattern in patterns {
            if pattern.contains(['*', '?', '[']) {
                let matching = visible_names().filter(|(name, _)| glob_matches(pattern.as_bytes(), name.as_bytes(), true));
                found.extend(matching.map(|(name, index)| (name.to_string(), index)));
            } else if let Some(index) = find(pattern).filter(|&index| is_shown(&DIRECTIVES[index])) {
                found.push((pattern.to_string(), index));
            }
        }
        let mut seen = HashSet::new();
        found.retain(|(name, _)| seen.insert(name.clone()));
        found.into_iter().map(|(name, index)| (name, self.shown(index))).collect()
    }

    fn shown(&self, index: usize) -> String {
        // A client can't know what a relative path is relative to.
        if DIRECTIVES[index].name == "dir" { self.dir().display().to_string() } else { self.texts[index].clone() }
    }

    /// All pairs or none. `args` are names and values in turn; `local`: the client is on this machine.
    /// The error is the reply: `ERR …`.
    pub fn prepare_set(&self, args: &[&str], local: bool) -> Result<Change, String> {
        let (pairs, []) = args.as_chunks::<2>() else {
            return Err("ERR syntax error".into());
        };
        let mut indexes = Vec::new();
        for [name, _] in pairs {
            let index = find(name).filter(|&index| is_shown(&DIRECTIVES[index]));
            let index = index.ok_or_else(|| format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'"))?;
            self.may_change(&DIRECTIVES[index], local).map_err(|reason| set_error(name, reason))?;
            if indexes.contains(&index) {
                return Err(set_error(name, "duplicate parameter"));
            }
            indexes.push(index);
        }
        let mut config = self.clone();
        for (&index, [_, value]) in indexes.iter().zip(pairs) {
            let directive = &DIRECTIVES[index];
            config.texts[index] =
                parse_value(directive, value, &self.texts[index]).map_err(|reason| set_error(directive.name, &reason))?;
        }
        let changed = indexes.into_iter().filter(|&index| config.texts[index] != self.texts[index]);
        let changed = changed.map(|index| DIRECTIVES[index].name).collect();
        Ok(Change { config, changed })
    }

    fn may_change(&self, directive: &Directive, local: bool) -> Result<(), &'static str> {
        match directive.change {
            table::Change::Anytime => Ok(()),
            table::Change::AtStart => Err("can't set immutable config"),
            table::Change::Protected => match self.text("enable-protected-configs") {
                "yes" => Ok(()),
                "local" if local => Ok(()),
                _ => Err("can't set protected config"),
            },
        }
    }
}

/// The reply when a setting is refused, also when the server could not apply it.
pub fn set_error(name: &str, reason: &str) -> String {
    format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
}

fn parse_value(directive: &Directive, value: &str, before: &str) -> Result<String, String> {
    if !directive.kind.takes_words() {
        return directive.kind.parse(&[value], before);
    }
    let words: Vec<&str> = value.split(' ').collect();
    let before = if let Kind::SavePoints(_) = directive.kind { "" } else { before };
    directive.kind.parse(&words, before)
}

fn is_shown(directive: &Directive) -> bool {
    !matches!(directive.kind, Kind::Lines { .. })
}

fn visible_names() -> impl Iterator<Item = (&'static str, usize)> {
    let visible = DIRECTIVES.iter().enumerate().filter(|(_, directive)| is_shown(directive) && !directive.hidden);
    visible.flat_map(|(index, directive)| {
        std::iter::once(directive.name).chain(directive.aliases.iter().copied()).map(move |name| (name, index))
    })
}
