//! One shard's RDB file, and several of them merged into one `dump.rdb` without parsing or reading an entry twice.
//!
//! ```text
//! shard file    header | AUX … | AUX shardis-dbs | body … | EOF + CRC        a valid RDB by itself
//! body          (SELECTDB entry …) …                                          begins with SELECTDB, holds no RESIZEDB
//! merged file   header | AUX … | FUNCTION2 … | (SELECTDB RESIZEDB) per database | body … | EOF + CRC
//! ```
//! A body may select the same database many times: entries of several databases arrive interleaved. Readers only care
//! about the last SELECTDB before an entry; a RESIZEDB without entries behind it just sizes the tables.
//!
//! `shardis-dbs` holds the counts at the cut, `db:keys:expires` separated by commas (`0:1000:20,3:5:0`), so that a tool
//! that has lost the manifest can still merge: `read_shard_header` gives counts and the place of the body from the
//! first bytes; the body ends 9 bytes before the end of the file. The length of a header does not depend on its version:
//! write it first with any version and overwrite it when the highest version of all bodies is known.

use super::crc64::{Crc64, combine};
use super::format::{CRC_BYTES, WRITE_VERSION_MIN};
use super::input::Source;
use super::reader::{Item, Reader};
use super::values::{Loss, Progress, VERSION_ALL, encode_piece, encode_value, loss, type_of, value_version};
use super::writer::{
    Compression, encode_aux, encode_entry_start, encode_eof, encode_function, encode_header, encode_resize_db, encode_select_db,
};
use crate::error::Result;
use crate::ids::DbIndex;
use crate::types::Value;

/// Name of the AUX field with a shard's counts.
pub const AUX_DBS: &str = "shardis-dbs";
/// EOF opcode and checksum.
pub const END_BYTES: u64 = 1 + CRC_BYTES as u64;

/// Keys of one database: all of them, and those with an expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DbMeta {
    pub db: DbIndex,
    pub keys: u64,
    pub expires: u64,
}

/// A finished body, wherever its bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Body {
    pub bytes: u64,
    /// Of exactly these bytes.
    pub crc: u64,
    /// The lowest RDB version that holds every entry; 0 when there is none.
    pub version: u32,
    /// In order of number; only databases with keys.
    pub dbs: Vec<DbMeta>,
}

/// What the manifest keeps of a shard's RDB file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardRdbMeta {
    pub version: u32,
    /// Of the file.
    pub bytes: u64,
    /// The checksum in the footer.
    pub crc: u64,
    pub body_offset: u64,
    /// All bodies of the file as one.
    pub body: Body,
}

/// Encodes entries into one body. Take its bytes away whenever enough are pending.
pub struct BodyWriter {
    pending: Vec<u8>,
    /// Over everything taken.
    crc: Crc64,
    taken: u64,
    selected: Option<DbIndex>,
    version: u32,
    dbs: Vec<DbMeta>,
    compression: Compression,
    /// The highest version that readers know.
    version_max: u32,
    /// Of the value begun.
    unfinished: Option<Progress>,
}

impl BodyWriter {
    /// Everything that there is to say about values.
    pub fn new(compression: Compression) -> BodyWriter {
        BodyWriter::within(compression, VERSION_ALL)
    }

    /// For readers of versions up to this one: what they don't know of a value (`values::loss`) is left out.
    pub fn within(compression: Compression, version_max: u32) -> BodyWriter {
        BodyWriter {
            pending: Vec::new(),
            crc: Crc64::new(),
            taken: 0,
            selected: None,
            version: 0,
            dbs: Vec::new(),
            compression,
            version_max,
            unfinished: None,
        }
    }

    pub fn entry(&mut self, db: DbIndex, key: &[u8], value: &Value, expire_at_ms: Option<i64>) {
        self.start(db, key, value, expire_at_ms);
        encode_value(&mut self.pending, value, self.version_max, self.compression);
    }

    /// The beginning of a value that is too big to be encoded in one step. `piece` must follow, until it says that it was the last.
    pub fn begin(&mut self, db: DbIndex, key: &[u8], value: &Value, expire_at_ms: Option<i64>) {
        self.start(db, key, value, expire_at_ms);
        self.unfinished = Some(Progress::default());
    }

    /// The next piece of the value begun; true when it was the last.
    pub fn piece(&mut self, value: &Value) -> bool {
        let mut progress = self.unfinished.take().expect("a value was begun");
        let done = encode_piece(&mut self.pending, value, self.version_max, &mut progress, self.compression);
        self.unfinished = (!done).then_some(progress);
        done
    }

    fn start(&mut self, db: DbIndex, key: &[u8], value: &Value, expire_at_ms: Option<i64>) {
        assert_eq!(self.unfinished, None, "the value before is not finished");
        debug_assert_ne!(loss(value, self.version_max), Some(Loss::Key), "a key of which nothing is left is left out");
        if self.selected != Some(db) {
            encode_select_db(&mut self.pending, db);
            self.selected = Some(db);
        }
        self.version = self.version.max(value_version(value).min(self.version_max));
        add(&mut self.dbs, DbMeta { db, keys: 1, expires: expire_at_ms.is_some() as u64 });
        encode_entry_start(&mut self.pending, type_of(value, self.version_max), key, expire_at_ms, self.compression);
    }

    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    pub fn dbs(&self) -> &[DbMeta] {
        &self.dbs
    }

    /// The bytes encoded since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        self.crc.update(&self.pending);
        self.taken += self.pending.len() as u64;
        std::mem::take(&mut self.pending)
    }

    /// The last bytes, and what the whole body is.
    pub fn finish(mut self) -> (Vec<u8>, Body) {
        assert_eq!(self.unfinished, None, "the last value is not finished");
        let bytes = self.take();
        (bytes, Body { bytes: self.taken, crc: self.crc.value(), version: self.version, dbs: self.dbs })
    }
}

/// Adds counts of a database, keeping the order of numbers.
pub(super) fn add(dbs: &mut Vec<DbMeta>, more: DbMeta) {
    match dbs.binary_search_by_key(&more.db, |meta| meta.db) {
        Ok(found) => {
            dbs[found].keys += more.keys;
            dbs[found].expires += more.expires;
        }
        Err(place) => dbs.insert(place, more),
    }
}

/// One sum per database.
pub fn sum_dbs<'a>(parts: impl IntoIterator<Item = &'a [DbMeta]>) -> Vec<DbMeta> {
    let mut sums = Vec::new();
    parts.into_iter().flatten().for_each(|meta| add(&mut sums, *meta));
    sums
}

/// The version that a file of these bodies needs.
pub fn bodies_version<'a>(bodies: impl IntoIterator<Item = &'a Body>) -> u32 {
    bodies.into_iter().map(|body| body.version).fold(WRITE_VERSION_MIN, u32::max)
}

/// The bodies one behind the other, as one.
pub fn concatenate(bodies: &[Body]) -> Body {
    Body {
        bytes: bodies.iter().map(|body| body.bytes).sum(),
        crc: bodies.iter().fold(0, |crc, body| combine(crc, body.crc, body.bytes)),
        version: bodies.iter().map(|body| body.version).max().unwrap_or(0),
        dbs: sum_dbs(bodies.iter().map(|body| &body.dbs[..])),
    }
}

/// Beginning of a shard's file; `dbs` are the counts at the cut.
pub fn shard_header(out: &mut Vec<u8>, version: u32, aux: &[(&str, &str)], dbs: &[DbMeta]) {
    encode_header(out, version, aux);
    let counts: Vec<String> = dbs.iter().map(|meta| format!("{}:{}:{}", meta.db, meta.keys, meta.expires)).collect();
    encode_aux(out, AUX_DBS.as_bytes(), counts.join(",").as_bytes());
}

/// End of a shard's file, and what the manifest keeps. `header` holds exactly the bytes before the first body.
pub fn shard_end(header: &[u8], bodies: &[Body]) -> (Vec<u8>, ShardRdbMeta) {
    let body = concatenate(bodies);
    let end = file_end(header, &body);
    let crc = u64::from_le_bytes(*end.last_chunk().expect("the footer is 8 bytes"));
    let bytes = header.len() as u64 + body.bytes + END_BYTES;
    (end, ShardRdbMeta { version: bodies_version([&body]), bytes, crc, body_offset: header.len() as u64, body })
}

/// Beginning of a merged file: everything that stands there once.
pub fn merge_header(out: &mut Vec<u8>, version: u32, aux: &[(&str, &str)], functions: &[&[u8]], dbs: &[DbMeta]) {
    encode_header(out, version, aux);
    functions.iter().for_each(|library| encode_function(out, library));
    for meta in dbs {
        encode_select_db(out, meta.db);
        encode_resize_db(out, meta.keys, meta.expires);
    }
}

/// EOF and checksum of a file that is `header` followed by `body`. The body's bytes are not needed.
pub fn file_end(header: &[u8], body: &Body) -> Vec<u8> {
    let mut end = Vec::new();
    encode_eof(&mut end, combine(Crc64::of(header), body.crc, body.bytes));
    end
}

/// What the beginning of a shard's file tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardHeader {
    pub version: u32,
    pub body_offset: u64,
    pub dbs: Vec<DbMeta>,
}

/// Reads header and AUX fields. `None`: a sound RDB, but not a shard's file.
pub fn read_shard_header<S: Source>(reader: &mut Reader<S>) -> Result<Option<ShardHeader>> {
    let mut dbs = None;
    while reader.at_aux()? {
        if let Some(Item::Aux { name, value }) = reader.next_item()?
            && name == AUX_DBS.as_bytes()
        {
            dbs = parse_dbs(&value);
        }
    }
    let (version, body_offset) = (reader.version(), reader.offset());
    Ok(dbs.map(|dbs| ShardHeader { version, body_offset, dbs }))
}

fn parse_dbs(text: &[u8]) -> Option<Vec<DbMeta>> {
    let text = std::str::from_utf8(text).ok()?;
    text.split_terminator(',').map(parse_db).collect()
}

fn parse_db(text: &str) -> Option<DbMeta> {
    let mut numbers = text.split(':');
    let meta =
        DbMeta { db: numbers.next()?.parse().ok()?, keys: numbers.next()?.parse().ok()?, expires: numbers.next()?.parse().ok()? };
    numbers.next().is_none().then_some(meta)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Str;

    pub fn body(shard: usize, entries: usize) -> (Vec<u8>, Body) {
        let mut writer = BodyWriter::new(Compression::Lzf);
        let mut bytes = Vec::new();
        for i in 0..entries {
            let value = Value::Str(Str::new(format!("value {i}").repeat(i % 20).as_bytes()));
            let key = format!("{{{shard}}}:{i}");
            writer.entry((i % 3) as DbIndex * 7, key.as_bytes(), &value, (i % 4 == 0).then_some(4_000_000_000_000));
            if i % 11 == 0 {
                bytes.extend(writer.take());
            }
        }
        let big = Value::Str(Str::new(&[b'b'; 2_000_000]));
        writer.begin(0, format!("big{shard}").as_bytes(), &big, None);
        while !writer.piece(&big) {
            bytes.extend(writer.take());
        }
        let (rest, body) = writer.finish();
        bytes.extend(rest);
        assert_eq!((body.bytes, body.crc), (bytes.len() as u64, Crc64::of(&bytes)));
        (bytes, body)
    }

    fn entries(file: &[u8]) -> Vec<Item> {
        let mut reader = Reader::new(file, "test").expect("header");
        let mut all = Vec::new();
        while let Some(item) = reader.next_item().expect("sound") {
            if matches!(item, Item::Entry { .. }) {
                all.push(item);
            }
        }
        all
    }

    fn shard_file(shard: usize, entries: usize) -> (Vec<u8>, ShardRdbMeta) {
        let (bytes, body) = body(shard, entries);
        let mut file = Vec::new();
        shard_header(&mut file, bodies_version([&body]), &[("redis-bits", "64")], &body.dbs);
        let (end, meta) = shard_end(&file, &[body]);
        file.extend(bytes);
        file.extend(end);
        (file, meta)
    }

    #[test]
    fn a_shard_file_is_an_rdb_and_tells_where_its_body_is() {
        for entry_count in [0, 1, 2, 500] {
            let (file, meta) = shard_file(3, entry_count);
            assert_eq!(file.len() as u64, meta.bytes);
            assert_eq!(entries(&file).len(), entry_count + 1);
            let mut reader = Reader::new(&file[..], "test").expect("header");
            let header = read_shard_header(&mut reader).expect("sound").expect("a shard's");
            assert_eq!(header, ShardHeader { version: 9, body_offset: meta.body_offset, dbs: meta.body.dbs.clone() });
            let body = &file[header.body_offset as usize..file.len() - END_BYTES as usize];
            assert_eq!(Crc64::of(body), meta.body.crc);
        }
    }

    #[test]
    fn merged_bodies_hold_the_entries_of_all_with_one_sum_per_database() {
        let shards: Vec<_> = (0..5).map(|shard| shard_file(shard, shard * 40)).collect();
        let bodies: Vec<Body> = shards.iter().map(|(_, meta)| meta.body.clone()).collect();
        let body = concatenate(&bodies);
        let mut merged = Vec::new();
        merge_header(&mut merged, bodies_version(&bodies), &[], &[], &body.dbs);
        let end = file_end(&merged, &body);
        for (file, meta) in &shards {
            merged.extend(&file[meta.body_offset as usize..file.len() - END_BYTES as usize]);
        }
        merged.extend(end);
        let expected: Vec<Item> = shards.iter().flat_map(|(file, _)| entries(file)).collect();
        assert_eq!(entries(&merged), expected);
        assert_eq!(body.dbs.iter().map(|db| db.keys).sum::<u64>(), expected.len() as u64);
    }

    #[test]
    fn an_ordinary_rdb_is_not_taken_for_a_shard_file() {
        let mut file = Vec::new();
        encode_header(&mut file, 9, &[("redis-ver", "7.0.15")]);
        file.extend(file_end(&file, &Body::default()));
        let mut reader = Reader::new(&file[..], "test").expect("header");
        assert_eq!(read_shard_header(&mut reader).expect("sound"), None);
    }
}
