//! The manifest of a multi-part AOF, `appendonlydir/NAME.manifest`.
//!
//! ```text
//! file NAME seq N type b|i|h      one line per file, words quoted as in redis.conf, further pairs are ignored
//! ```
//! A manifest is valid when: 1. every line but comments (`#`) has that form and ends with a newline; 2. no name holds a `/`;
//! 3. at most one file is a base (`b`); 4. the numbers of increments (`i`) rise strictly. History (`h`) waits for its removal.

use super::quoting::split_words;
use crate::error::{Error, Result};

#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct AofManifest {
    pub base: Option<AofFile>,
    pub increments: Vec<AofFile>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AofFile {
    /// In the directory of the manifest.
    pub name: String,
    pub seq: u64,
}

#[derive(PartialEq)]
enum Role {
    Base,
    Increment,
    History,
}

impl AofManifest {
    /// `path` is for errors only.
    pub fn parse(bytes: &[u8], path: &str) -> Result<AofManifest> {
        let mut manifest = AofManifest::default();
        let mut offset = 0;
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            manifest.line(line).map_err(|cause| Error::corrupt(path, offset, cause))?;
            offset += line.len() as u64;
        }
        if offset == 0 {
            return Err(Error::corrupt(path, 0, "the manifest is empty"));
        }
        Ok(manifest)
    }

    fn line(&mut self, line: &[u8]) -> std::result::Result<(), &'static str> {
        let Some(line) = line.strip_suffix(b"\n") else {
            return Err("the line has no end");
        };
        if line.starts_with(b"#") {
            return Ok(());
        }
        let (file, role) = parse_line(line).ok_or("not a line 'file NAME seq N type b|i|h'")?;
        if file.name.contains('/') {
            return Err("a file can't be a path, just a name");
        }
        match role {
            Role::Base if self.base.is_some() => Err("a second base"),
            Role::Base => {
                self.base = Some(file);
                Ok(())
            }
            Role::Increment if self.increments.last().is_some_and(|last| last.seq >= file.seq) => {
                Err("the numbers of increments do not rise")
            }
            Role::Increment => {
                self.increments.push(file);
                Ok(())
            }
            Role::History => Ok(()),
        }
    }

    /// In the order of loading. Only the last may have a torn tail.
    pub fn files(&self) -> impl Iterator<Item = &AofFile> {
        self.base.iter().chain(&self.increments)
    }
}

fn parse_line(line: &[u8]) -> Option<(AofFile, Role)> {
    let words = split_words(line)?;
    let (mut name, mut seq, mut role) = (None, None, None);
    for pair in words.chunks(2) {
        let [word, value] = pair else { return None };
        match &word.to_ascii_lowercase()[..] {
            b"file" => name = Some(String::from_utf8(value.clone()).ok()?),
            b"seq" => seq = Some(std::str::from_utf8(value).ok()?.parse().ok().filter(|&seq| seq > 0)?),
            b"type" => role = Some(parse_role(value)?),
            _ => {}
        }
    }
    Some((AofFile { name: name.filter(|name| !name.is_empty())?, seq: seq? }, role?))
}

fn parse_role(word: &[u8]) -> Option<Role> {
    match word {
        b"b" => Some(Role::Base),
        b"i" => Some(Role::Increment),
        b"h" => Some(Role::History),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> std::result::Result<Vec<String>, String> {
        let manifest = AofManifest::parse(text.as_bytes(), "m").map_err(|error| error.to_string())?;
        Ok(manifest.files().map(|file| file.name.clone()).collect())
    }

    #[test]
    fn files_come_in_the_order_of_loading() {
        let text = "# comment\nfile i.1 seq 1 type i\nfile \"b \\x41\" seq 2 type b\nfile old seq 1 type h\nfile i.3 seq 3 type i offset 7\n";
        assert_eq!(parse(text), Ok(vec!["b A".into(), "i.1".into(), "i.3".into()]));
    }

    #[test]
    fn invalid_manifests_are_refused_with_their_offset() {
        for (second_line, cause) in [
            ("file b seq 2 type b\n", "a second base"),
            ("file i seq 1 type i\nfile j seq 1 type i\n", "the numbers of increments do not rise"),
            ("file ../x seq 1 type i\n", "a file can't be a path, just a name"),
            ("file i seq 1 type i", "the line has no end"),
            ("\n", "not a line 'file NAME seq N type b|i|h'"),
            ("file i seq 0 type i\n", "not a line 'file NAME seq N type b|i|h'"),
            ("file i seq 1 type x\n", "not a line 'file NAME seq N type b|i|h'"),
            ("file i seq 1 type\n", "not a line 'file NAME seq N type b|i|h'"),
        ] {
            let error = parse(&format!("file a seq 1 type b\n{second_line}")).expect_err(second_line);
            assert!(error.starts_with("reading m @ ") && error.ends_with(cause), "{error}");
            assert!(!error.contains("@ 0:"), "{error}");
        }
        assert_eq!(parse(""), Err("reading m @ 0: the manifest is empty".into()));
    }
}
