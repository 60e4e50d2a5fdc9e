//! The manifest: the one file that says which bases and segments count. Replaced atomically; the only commit point.
//!
//! Text, one fact per line, words separated by one space, in this order; a person can read it, a program reads nothing else:
//!
//! ```text
//! shardis-manifest 1
//! written-by inode=12 birth-ns=34 boot-id=…            identity of this very file (0 0 - when not known)
//! state running|clean distrusted=0|1 next-base=3
//! base id=2 generation=5 shards=2 mode=everysec format=rdb|commands created-ms=…     (absent: the empty keyspace)
//! base-file shard=0 cut=1234 bytes=… crc=… path=shard-0000/base-2.rdb                one per shard of the base
//! base-keys shard=0 db=0 keys=10 expires=3                                          one per database that holds keys
//! generation number=5 shards=2 mode=everysec logged=1                               every generation from the base's on, rising
//! log-end shard=0 lsn=77                                                            once the generation's log was ended
//! segment shard=0 id=3 bytes=1048576                                                in order of their ids within a shard
//! crc 0123456789abcdef                                                              CRC-64/XZ of all bytes before this line
//! ```
//!
//! Mode of a base: `appendfsync` at its cut; mode of a generation: at its start. Each of the two counts as a mark that is complete.
//! A manifest is valid when: 1. the first line is as above; 2. the last line's CRC is right; 3. every line parses; 4. the
//! generations rise and every shard number is below the number of shards it belongs to.

use crate::disk::FileIdentity;
use crate::error::{Error, Result};
use crate::ids::{DbIndex, Generation, Lsn, ShardId};
use crate::log::format::{FsyncMode, crc64};
use crate::log::reader::SegmentFile;
use crate::log::writer::SegmentName;
use std::fmt::Write;

pub const PATH: &str = "shardis.manifest";
/// Written first, then renamed to `PATH`.
pub const TEMPORARY_PATH: &str = "shardis.manifest.new";
/// Nobody has 64 MiB of segment names; a longer file is not a manifest.
pub const BYTES_MAX: u64 = 64 << 20;
const FIRST_LINE: &str = "shardis-manifest 1";

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Manifest {
    /// Identity of the manifest's own file and of the boot that wrote it: a copied directory or a reboot shows.
    pub identity: FileIdentity,
    pub boot_id: String,
    pub state: State,
    /// A write or fsync failed in the newest generation: page cache contents are not to be believed.
    pub distrusted: bool,
    pub next_base: u64,
    pub base: Option<Base>,
    pub generations: Vec<GenerationEntry>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum State {
    #[default]
    Running,
    /// Stopped in order: every log ends where `log_ends` says.
    Clean,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BaseFormat {
    Rdb,
    Commands,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Base {
    pub id: u64,
    pub generation: Generation,
    pub mode: FsyncMode,
    pub format: BaseFormat,
    pub created_ms: i64,
    /// One per shard, in order.
    pub files: Vec<BaseFile>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BaseFile {
    pub path: String,
    pub bytes: u64,
    pub crc: u64,
    /// The base holds every effect up to this LSN of the shard's log and none behind it.
    pub cut: Lsn,
    pub keys: Vec<BaseKeys>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BaseKeys {
    pub db: DbIndex,
    pub keys: u64,
    pub expires: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GenerationEntry {
    pub number: Generation,
    pub shards: u16,
    pub mode: FsyncMode,
    /// False: it ran without a log; it changed nothing that is kept, but its bases count.
    pub logged: bool,
    /// Last LSN of each shard's log, once the log has been ended.
    pub log_ends: Option<Vec<Lsn>>,
    pub segments: Vec<SegmentEntry>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentEntry {
    pub shard: ShardId,
    pub id: u64,
    /// Length when it was prepared.
    pub bytes: u64,
}

impl GenerationEntry {
    pub fn segment_files(&self, shard: ShardId) -> Vec<SegmentFile> {
        let of_shard = self.segments.iter().filter(|segment| segment.shard == shard);
        of_shard
            .map(|segment| SegmentFile { path: self.segment_name(segment).path(), id: segment.id, bytes_min: segment.bytes })
            .collect()
    }

    pub fn segment_name(&self, segment: &SegmentEntry) -> SegmentName {
        SegmentName { generation: self.number, shard: segment.shard, id: segment.id }
    }
}

impl Manifest {
    /// Every file that this manifest needs; what else lies in shard directories is left over.
    pub fn files(&self) -> Vec<String> {
        let bases = self.base.iter().flat_map(|base| base.files.iter().map(|file| file.path.clone()));
        let segments = self.generations.iter().flat_map(|g| g.segments.iter().map(|segment| g.segment_name(segment).path()));
        bases.chain(segments).collect()
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut text = String::new();
        self.write(&mut text).expect("writing to a String can't fail");
        let crc = crc64(&[text.as_bytes()]);
        writeln!(text, "crc {crc:016x}").expect("writing to a String can't fail");
        text.into_bytes()
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{FIRST_LINE}")?;
        let boot_id = if self.boot_id.is_empty() { "-" } else { &self.boot_id };
        writeln!(out, "written-by inode={} birth-ns={} boot-id={boot_id}", self.identity.inode, self.identity.birth_ns)?;
        let state = if self.state == State::Clean { "clean" } else { "running" };
        writeln!(out, "state {state} distrusted={} next-base={}", self.distrusted as u8, self.next_base)?;
        if let Some(base) = &self.base {
            base.write(out)?;
        }
        self.generations.iter().try_for_each(|generation| generation.write(out))
    }

    pub fn decode(bytes: &[u8]) -> Result<Manifest> {
        let corrupt = |offset: usize, cause: String| Error::corrupt(PATH, offset as u64, cause);
        let text = std::str::from_utf8(bytes).map_err(|e| corrupt(e.valid_up_to(), "not UTF-8".into()))?;
        let crc_line = text.rfind("crc ").ok_or_else(|| corrupt(bytes.len(), "no crc line: the file is cut short".into()))?;
        let expected = format!("crc {:016x}\n", crc64(&[&bytes[..crc_line]]));
        if text[crc_line..] != expected {
            return Err(corrupt(crc_line, format!("{:?}, expected {expected:?}", &text[crc_line..])));
        }
        let mut lines = text[..crc_line].lines();
        if lines.next() != Some(FIRST_LINE) {
            return Err(Error::unsupported(PATH, 0, format!("the first line is not {FIRST_LINE:?}")));
        }
        let mut manifest = Manifest::default();
        for line in lines {
            let offset = line.as_ptr() as usize - text.as_ptr() as usize;
            manifest.take_line(line).ok_or_else(|| corrupt(offset, format!("unexpected line {line:?}")))?;
        }
        manifest.check().map_err(|cause| corrupt(0, cause))?;
        Ok(manifest)
    }

    fn take_line(&mut self, line: &str) -> Option<()> {
        let (kind, rest) = line.split_once(' ')?;
        let words = Words(rest);
        match kind {
            "written-by" => {
                self.identity = FileIdentity { inode: words.number("inode")?, birth_ns: words.number("birth-ns")? };
                self.boot_id = words.text("boot-id").filter(|id| *id != "-").unwrap_or_default().to_string();
            }
            "state" => {
                self.state = match rest.split(' ').next()? {
                    "clean" => State::Clean,
                    "running" => State::Running,
                    _ => return None,
                };
                self.distrusted = words.flag("distrusted")?;
                self.next_base = words.number("next-base")?;
            }
            "base" => self.base = Some(Base::parse(&words)?),
            "base-file" => self.base.as_mut()?.take_file(&words)?,
            "base-keys" => self.base.as_mut()?.take_keys(&words)?,
            "generation" => self.generations.push(GenerationEntry::parse(&words)?),
            "log-end" => self.generations.last_mut()?.take_end(&words)?,
            "segment" => {
                let segment = SegmentEntry { shard: words.shard()?, id: words.number("id")?, bytes: words.number("bytes")? };
                self.generations.last_mut()?.segments.push(segment);
            }
            _ => return None,
        }
        Some(())
    }

    fn check(&self) -> std::result::Result<(), String> {
        if !self.generations.is_sorted_by(|a, b| a.number < b.number) {
            return Err("the generations do not rise".into());
        }
        for generation in &self.generations {
            let is_inside = generation.segments.iter().all(|segment| segment.shard.0 < generation.shards);
            let are_complete = generation.log_ends.as_ref().is_none_or(|ends| ends.len() == generation.shards as usize);
            if !is_inside || !are_complete {
                return Err(format!("generation {} names shards that it does not have, or not all of them", generation.number.0));
            }
        }
        Ok(())
    }
}

impl Base {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        let format = if self.format == BaseFormat::Rdb { "rdb" } else { "commands" };
        let (id, generation, mode, created) = (self.id, self.generation.0, self.mode.name(), self.created_ms);
        writeln!(
            out,
            "base id={id} generation={generation} shards={} mode={mode} format={format} created-ms={created}",
            self.files.len()
        )?;
        for (shard, file) in self.files.iter().enumerate() {
            writeln!(
                out,
                "base-file shard={shard} cut={} bytes={} crc={:016x} path={}",
                file.cut.0, file.bytes, file.crc, file.path
            )?;
            for keys in &file.keys {
                writeln!(out, "base-keys shard={shard} db={} keys={} expires={}", keys.db, keys.keys, keys.expires)?;
            }
        }
        Ok(())
    }

    fn parse(words: &Words<'_>) -> Option<Base> {
        let format = match words.text("format")? {
            "rdb" => BaseFormat::Rdb,
            "commands" => BaseFormat::Commands,
            _ => return None,
        };
        Some(Base {
            id: words.number("id")?,
            generation: Generation(words.number("generation")?),
            mode: words.mode()?,
            format,
            created_ms: words.text("created-ms")?.parse().ok()?,
            files: Vec::with_capacity(words.number("shards").filter(|&n| n <= u16::MAX as u64)? as usize),
        })
    }

    fn take_file(&mut self, words: &Words<'_>) -> Option<()> {
        if words.shard()?.0 as usize != self.files.len() {
            return None;
        }
        self.files.push(BaseFile {
            path: words.text("path")?.to_string(),
            bytes: words.number("bytes")?,
            crc: u64::from_str_radix(words.text("crc")?, 16).ok()?,
            cut: Lsn(words.number("cut")?),
            keys: Vec::new(),
        });
        Some(())
    }

    fn take_keys(&mut self, words: &Words<'_>) -> Option<()> {
        let file = self.files.get_mut(words.shard()?.0 as usize)?;
        file.keys.push(BaseKeys {
            db: words.number("db")? as DbIndex,
            keys: words.number("keys")?,
            expires: words.number("expires")?,
        });
        Some(())
    }
}

impl GenerationEntry {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        let (number, mode, logged) = (self.number.0, self.mode.name(), self.logged as u8);
        writeln!(out, "generation number={number} shards={} mode={mode} logged={logged}", self.shards)?;
        for (shard, lsn) in self.log_ends.iter().flatten().enumerate() {
            writeln!(out, "log-end shard={shard} lsn={}", lsn.0)?;
        }
        for segment in &self.segments {
            writeln!(out, "segment shard={} id={} bytes={}", segment.shard.0, segment.id, segment.bytes)?;
        }
        Ok(())
    }

    fn parse(words: &Words<'_>) -> Option<GenerationEntry> {
        Some(GenerationEntry {
            number: Generation(words.number("number")?),
            shards: u16::try_from(words.number("shards")?).ok()?,
            mode: words.mode()?,
            logged: words.flag("logged")?,
            log_ends: None,
            segments: Vec::new(),
        })
    }

    fn take_end(&mut self, words: &Words<'_>) -> Option<()> {
        let ends = self.log_ends.get_or_insert_default();
        if words.shard()?.0 as usize != ends.len() {
            return None;
        }
        ends.push(Lsn(words.number("lsn")?));
        Some(())
    }
}

/// The `name=value` words of one line.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.0.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    fn flag(&self, name: &str) -> Option<bool> {
        match self.text(name)? {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        }
    }

    fn shard(&self) -> Option<ShardId> {
        Some(ShardId(u16::try_from(self.number("shard")?).ok()?))
    }

    fn mode(&self) -> Option<FsyncMode> {
        FsyncMode::from_name(self.text("mode")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Manifest {
        let file = |shard| BaseFile {
            path: format!("shard-000{shard}/base-2.rdb"),
            bytes: 99,
            crc: 0xabc,
            cut: Lsn(12),
            keys: vec![BaseKeys { db: 0, keys: 10, expires: 3 }, BaseKeys { db: 7, keys: 1, expires: 0 }],
        };
        let base = Base {
            id: 2,
            generation: Generation(5),
            mode: FsyncMode::Always,
            format: BaseFormat::Rdb,
            created_ms: -1,
            files: vec![file(0), file(1)],
        };
        let segments =
            vec![SegmentEntry { shard: ShardId(0), id: 1, bytes: 4096 }, SegmentEntry { shard: ShardId(1), id: 1, bytes: 8192 }];
        let generation = |number, log_ends| GenerationEntry {
            number: Generation(number),
            shards: 2,
            mode: FsyncMode::No,
            logged: true,
            log_ends,
            segments: segments.clone(),
        };
        Manifest {
            identity: FileIdentity { inode: 1, birth_ns: 2 },
            boot_id: "b-o-o-t".into(),
            state: State::Clean,
            distrusted: true,
            next_base: 3,
            base: Some(base),
            generations: vec![generation(5, Some(vec![Lsn(20), Lsn(21)])), generation(6, None)],
        }
    }

    #[test]
    fn a_manifest_survives_encoding() {
        for manifest in [Manifest::default(), example()] {
            assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
        }
    }

    #[test]
    fn a_flipped_bit_or_a_missing_end_is_an_error_that_names_the_file() {
        let bytes = example().encode();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let error = Manifest::decode(&damaged).expect_err("damage must be noticed");
            assert_eq!(error.path, PATH, "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..len]).is_err(), "cut at {len}");
        }
    }
}
