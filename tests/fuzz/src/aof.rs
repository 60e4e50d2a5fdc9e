//! A standard AOF: records, transactions, an RDB in front; its commands run as at an import.
//!
//! ```text
//! input   kind:u8 (bit 0: not the last part; bit 1: an AOF's manifest)  bytes of the file
//! ```

use super::keyspaces::{DATABASES, is_costly, keyspace, replay};
use shards::keyspace::Keyspace;
use shards::rdb::aof::{AofItem, AofReader, Command, Part};
use shards::rdb::aof_manifest::AofManifest;
use shards::rdb::{Item, Reader};
use shards::types::Limits;

pub fn check(data: &[u8]) {
    let [kind, bytes @ ..] = data else { return };
    if kind & 2 != 0 {
        _ = AofManifest::parse(bytes, "manifest").map(|manifest| manifest.files().count());
        return;
    }
    let part = if kind & 1 == 0 { Part::Last } else { Part::Earlier };
    let Ok(mut reader) = AofReader::new(bytes, "input", part) else { return };
    let mut keyspace = keyspace(Limits::DEFAULT);
    while let Ok(Some(item)) = reader.next_item() {
        match item {
            AofItem::Command(command) => run(&mut keyspace, &command),
            AofItem::Transaction(commands) => commands.iter().for_each(|command| run(&mut keyspace, command)),
            AofItem::Preamble(Item::Entry { db, key, value, expire_at_ms }) => {
                keyspace.insert(db % DATABASES, &key, value, expire_at_ms);
            }
            AofItem::End(end) => {
                let cut = end.cut.map_or(0, |cut| cut.bytes);
                assert_eq!(end.valid_bytes + cut, bytes.len() as u64, "every byte is valid or cut");
                assert!(cut == 0 || part == Part::Last, "only the last part may have a torn tail");
            }
            AofItem::Preamble(_) | AofItem::Timestamp(_) => {}
        }
    }
    // An RDB alone is an AOF's base.
    _ = Reader::new(bytes, "base").and_then(|mut reader| reader.next_item());
}

/// A refused command is an error at the import, never a panic.
fn run(keyspace: &mut Keyspace, command: &Command) {
    let args: Vec<&[u8]> = command.args.iter().map(Vec::as_slice).collect();
    if command.db < DATABASES && !is_costly(&args) {
        _ = replay(keyspace, command.db, &args);
    }
}
