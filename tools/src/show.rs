//! How numbers, keys and records are printed.

use shards::commands::iter_bytes;
use shards::log::Record;
use shards::resp::decode_command;

/// Longer keys and arguments are cut.
const TEXT_BYTES_MAX: usize = 64;

/// Printable on one line.
pub fn text(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(TEXT_BYTES_MAX)];
    let more = if cut.len() < bytes.len() { format!("… ({} bytes)", bytes.len()) } else { String::new() };
    format!("{}{more}", cut.escape_ascii())
}

pub fn words<'a>(args: impl IntoIterator<Item = &'a [u8]>) -> String {
    args.into_iter().map(text).collect::<Vec<_>>().join(" ")
}

pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

pub fn record(record: &Record<'_>) -> String {
    match record {
        Record::Write { effects } => format!("write        {}", self::effects(effects)),
        Record::Transaction { seq, participants, effects } => {
            let shards: Vec<String> = participants.iter().map(|shard| shard.0.to_string()).collect();
            format!("transaction  seq {} of shards {}: {}", seq.0, shards.join(","), self::effects(effects))
        }
        Record::Mark { seq, mode } => format!("mark         seq {}, from here on appendfsync {}", seq.0, mode.name()),
        Record::End { next_segment } => format!("end          the log goes on in segment {next_segment}"),
    }
}

fn effects(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "(it only read here)".into();
    }
    let effect = |(db, resp): (u16, &[u8])| match decode_command(resp) {
        Some((args, _)) => format!("db{db} {}", words(args)),
        None => format!("db{db} malformed: {}", text(resp)),
    };
    iter_bytes(bytes).map(effect).collect::<Vec<_>>().join(" | ")
}
