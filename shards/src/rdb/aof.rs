//! The standard AOF: one file, or one part of `appendonlydir`.
//!
//! ```text
//! file         [an RDB, told by its magic] then records
//! record       a command as a RESP array of bulk strings, or an annotation: a line that begins with #  (#TS:<unix seconds>)
//! transaction  MULTI, commands, EXEC: there whole or not at all
//! ```
//! Every file begins in database 0. In the last file of an AOF, and only there, a record that the file's end cuts off is a torn
//! tail: it is left out and reported, together with the open MULTI it belongs to. Bytes that are no record are corruption.

use super::format::HEADER_BYTES;
use super::input::{Input, Source};
use super::reader::{Item, Reader};
use crate::error::{Error, Result};
use crate::ids::DbIndex;

/// No line of an AOF is longer: counts, lengths, annotations.
const LINE_BYTES_MAX: usize = 128;
/// Memory for arguments is taken ahead for at most so many.
const ARGS_AHEAD_MAX: u64 = 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub db: DbIndex,
    /// With the name.
    pub args: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum AofItem {
    /// Of the RDB at the beginning.
    Preamble(Item),
    Command(Command),
    /// What stood between MULTI and EXEC.
    Transaction(Vec<Command>),
    /// Unix seconds, of the commands behind it.
    Timestamp(i64),
    End(AofEnd),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AofEnd {
    /// Bytes up to the end of the last record that counts.
    pub valid_bytes: u64,
    pub cut: Option<Cut>,
}

/// A torn tail: everything from `AofEnd::valid_bytes` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub bytes: u64,
    pub reason: CutReason,
    /// Whole commands among the bytes, of a transaction that was never finished.
    pub commands: usize,
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = self.bytes;
        match self.reason {
            CutReason::Truncated => write!(f, "{bytes} bytes, a record that was never finished"),
            CutReason::OpenTransaction => write!(f, "{bytes} bytes, a transaction (MULTI) that was never finished"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutReason {
    /// The file ends within a record.
    Truncated,
    /// MULTI without EXEC.
    OpenTransaction,
}

/// Whether a torn tail is tolerated here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Last,
    /// Another part follows: this one was finished before that was begun.
    Earlier,
}

pub struct AofReader<S> {
    state: State<S>,
    part: Part,
    db: DbIndex,
    multi: Option<Multi>,
    item_offset: u64,
}

enum State<S> {
    Preamble(Box<Reader<S>>),
    Records(Box<Input<S>>),
    /// Only while one state is exchanged for the other, and after an error in between.
    Gone,
    Ended,
}

struct Multi {
    offset: u64,
    commands: Vec<Command>,
}

enum Record {
    Command(Vec<Vec<u8>>),
    Timestamp(i64),
    Annotation,
    /// The file ends before the record, or within.
    End,
}

impl<S: Source> AofReader<S> {
    pub fn new(source: S, path: impl Into<String>, part: Part) -> Result<AofReader<S>> {
        let mut input = Input::new(source, path);
        let head = input.peek(HEADER_BYTES)?;
        let preamble = head.starts_with(b"REDIS") || head.starts_with(b"VALKEY");
        let state =
            if preamble { State::Preamble(Box::new(Reader::from_input(input)?)) } else { State::Records(Box::new(input)) };
        Ok(AofReader { state, part, db: 0, multi: None, item_offset: 0 })
    }

    /// Where the last item begins: a transaction with its MULTI.
    pub fn item_offset(&self) -> u64 {
        self.item_offset
    }

    /// `None` after `End`.
    pub fn next_item(&mut self) -> Result<Option<AofItem>> {
        if let State::Preamble(reader) = &mut self.state {
            self.item_offset = reader.offset();
            if let Some(item) = reader.next_item()? {
                return Ok(Some(AofItem::Preamble(item)));
            }
            let State::Preamble(reader) = std::mem::replace(&mut self.state, State::Gone) else { unreachable!("matched above") };
            self.state = State::Records(Box::new(reader.into_input()));
        }
        loop {
            let State::Records(input) = &mut self.state else {
                return Ok(None);
            };
            let offset = input.offset();
            self.item_offset = self.multi.as_ref().map_or(offset, |multi| multi.offset);
            match read_record(input)? {
                Record::Command(args) => {
                    if let Some(item) = self.command(offset, args)? {
                        return Ok(Some(item));
                    }
                }
                Record::Timestamp(at) => return Ok(Some(AofItem::Timestamp(at))),
                Record::Annotation => {}
                Record::End => return self.end(offset).map(Some),
            }
        }
    }

    fn command(&mut self, offset: u64, args: Vec<Vec<u8>>) -> Result<Option<AofItem>> {
        match (&args[0].to_ascii_lowercase()[..], &mut self.multi) {
            (b"select", _) => {
                self.db = self.parse_select(offset, &args)?;
                Ok(None)
            }
            (b"multi", None) => {
                self.multi = Some(Multi { offset, commands: Vec::new() });
                Ok(None)
            }
            (b"exec", Some(_)) => Ok(self.multi.take().map(|multi| AofItem::Transaction(multi.commands))),
            (b"multi", Some(_)) => Err(self.corrupt(offset, "MULTI inside MULTI")),
            (b"exec", None) => Err(self.corrupt(offset, "EXEC without MULTI")),
            (_, Some(multi)) => {
                multi.commands.push(Command { db: self.db, args });
                Ok(None)
            }
            (_, None) => Ok(Some(AofItem::Command(Command { db: self.db, args }))),
        }
    }

    fn parse_select(&self, offset: u64, args: &[Vec<u8>]) -> Result<DbIndex> {
        match args {
            [_, number] => std::str::from_utf8(number).ok().and_then(|text| text.parse().ok()),
            _ => None,
        }
        .ok_or_else(|| self.corrupt(offset, "SELECT without a number of a database"))
    }

    /// `offset` is where the last record begins that the end cuts off, or the end itself.
    fn end(&mut self, offset: u64) -> Result<AofItem> {
        let State::Records(input) = &mut self.state else { unreachable!("called while reading records") };
        let file_end = input.offset();
        let reason =
            if offset < file_end { Some(CutReason::Truncated) } else { self.multi.as_ref().map(|_| CutReason::OpenTransaction) };
        let valid_bytes = self.multi.as_ref().map_or(offset, |multi| multi.offset);
        let commands = self.multi.take().map_or(0, |multi| multi.commands.len());
        if let Some(reason) = reason
            && self.part == Part::Earlier
        {
            return Err(self.corrupt(valid_bytes, format!("torn tail ({reason:?}) in a file that is not the last")));
        }
        self.state = State::Ended;
        let cut = reason.map(|reason| Cut { bytes: file_end - valid_bytes, reason, commands });
        Ok(AofItem::End(AofEnd { valid_bytes, cut }))
    }

    fn corrupt(&self, offset: u64, cause: impl Into<String>) -> Error {
        let path = if let State::Records(input) = &self.state { input.path() } else { "" };
        Error::corrupt(path, offset, cause)
    }
}

/// Leaves the input at the end of the file when it gives `End`.
fn read_record<S: Source>(input: &mut Input<S>) -> Result<Record> {
    let offset = input.offset();
    let Some(line) = read_line(input)? else {
        return Ok(Record::End);
    };
    match line.split_first() {
        Some((b'#', annotation)) => Ok(parse_annotation(annotation)),
        Some((b'*', count)) => {
            let count = parse_count(count).filter(|&count| count > 0);
            let count =
                count.ok_or_else(|| input.corrupt(offset, format!("'{}' is no count of arguments", line.escape_ascii())))?;
            Ok(read_args(input, count)?.map_or(Record::End, Record::Command))
        }
        _ => Err(input.corrupt(offset, format!("'{}' begins no record", line.escape_ascii()))),
    }
}

fn read_args<S: Source>(input: &mut Input<S>, count: u64) -> Result<Option<Vec<Vec<u8>>>> {
    let mut args = Vec::with_capacity(count.min(ARGS_AHEAD_MAX) as usize);
    for _ in 0..count {
        match read_bulk(input)? {
            Some(arg) => args.push(arg),
            None => return Ok(None),
        }
    }
    Ok(Some(args))
}

fn read_bulk<S: Source>(input: &mut Input<S>) -> Result<Option<Vec<u8>>> {
    let offset = input.offset();
    let Some(line) = read_line(input)? else {
        return Ok(None);
    };
    let len = line.strip_prefix(b"$").and_then(parse_count);
    let len = len.ok_or_else(|| input.corrupt(offset, format!("'{}' is no length of an argument", line.escape_ascii())))?;
    let Some(arg) = input.bytes_unless_end(len)? else {
        return Ok(None);
    };
    let offset = input.offset();
    match input.bytes_unless_end(2)?.as_deref() {
        Some(b"\r\n") => Ok(Some(arg)),
        Some(_) => Err(input.corrupt(offset, "no end of line behind an argument")),
        None => Ok(None),
    }
}

/// Without its end. `None`: the file ends before the line does, and everything up to there was consumed.
fn read_line<S: Source>(input: &mut Input<S>) -> Result<Option<Vec<u8>>> {
    let offset = input.offset();
    let ahead = input.peek(LINE_BYTES_MAX)?;
    let window = &ahead[..ahead.len().min(LINE_BYTES_MAX)];
    match window.iter().position(|&byte| byte == b'\n') {
        Some(end) => {
            let line = window[..end].strip_suffix(b"\r").unwrap_or(&window[..end]).to_vec();
            input.consume(end + 1);
            Ok(Some(line))
        }
        None if window.len() < LINE_BYTES_MAX && plausible(window) => {
            let len = window.len();
            input.consume(len);
            Ok(None)
        }
        None => Err(input.corrupt(offset, "no record begins here")),
    }
}

/// Whether these last bytes of a file can be the beginning of a line. Zeros, as a file system leaves them, can't.
fn plausible(start: &[u8]) -> bool {
    start.first().is_none_or(|byte| b"*$#".contains(byte))
}

fn parse_count(digits: &[u8]) -> Option<u64> {
    let all_digits = digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| all_digits)?.parse().ok()
}

fn parse_annotation(text: &[u8]) -> Record {
    let seconds = text.strip_prefix(b"TS:").and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    seconds.map_or(Record::Annotation, Record::Timestamp)
}

/// Appends one record.
pub fn encode_command(out: &mut Vec<u8>, args: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

pub fn encode_select(out: &mut Vec<u8>, db: DbIndex) {
    encode_command(out, &[b"SELECT", db.to_string().as_bytes()]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::rdb::writer::{encode_entry, encode_header, encode_select_db};
    use crate::rdb::{bodies, crc64::Crc64};
    use crate::types::{Str, Value};

    fn record(words: &str) -> Vec<u8> {
        let mut out = Vec::new();
        encode_command(&mut out, &words.split(' ').map(str::as_bytes).collect::<Vec<_>>());
        out
    }

    fn records(lines: &[&str]) -> Vec<u8> {
        lines.iter().flat_map(|line| record(line)).collect()
    }

    fn read(bytes: &[u8], part: Part) -> Result<(Vec<String>, AofEnd)> {
        let mut reader = AofReader::new(bytes, "a.aof", part)?;
        let mut texts = Vec::new();
        let show = |command: &Command| format!("{}:{}", command.db, String::from_utf8_lossy(&command.args.join(&b' ')));
        loop {
            match reader.next_item()?.expect("End comes first") {
                AofItem::Preamble(Item::Entry { db, key, .. }) => texts.push(format!("{db}:entry {}", key.escape_ascii())),
                AofItem::Preamble(_) => {}
                AofItem::Command(command) => texts.push(show(&command)),
                AofItem::Transaction(commands) => texts.push(format!("{:?}", commands.iter().map(show).collect::<Vec<_>>())),
                AofItem::Timestamp(at) => texts.push(format!("at {at}")),
                AofItem::End(end) => {
                    assert_eq!(reader.next_item()?, None);
                    return Ok((texts, end));
                }
            }
        }
    }

    const WHOLE: [&str; 8] = ["SET a 1", "SELECT 3", "SET b 2", "MULTI", "SET c 3", "select 0", "DEL a", "EXEC"];

    #[test]
    fn commands_carry_their_database_and_transactions_are_one_item() {
        let bytes = [records(&WHOLE), b"#TS:1700000000\r\n#other\r\n".to_vec(), record("SET d 4")].concat();
        let (texts, end) = read(&bytes, Part::Earlier).expect("whole");
        assert_eq!(texts, ["0:SET a 1", "3:SET b 2", r#"["3:SET c 3", "0:DEL a"]"#, "at 1700000000", "0:SET d 4"]);
        assert_eq!(end, AofEnd { valid_bytes: bytes.len() as u64, cut: None });
    }

    #[test]
    fn a_torn_tail_is_cut_in_the_last_file_and_corrupt_elsewhere() {
        let bytes = records(&WHOLE);
        let mut record_ends = vec![0];
        WHOLE.iter().for_each(|line| record_ends.push(record_ends[record_ends.len() - 1] + record(line).len()));
        let (multi_start, multi_end) = (record_ends[3], record_ends[8]);
        for len in 0..bytes.len() {
            let last_whole = *record_ends.iter().rfind(|&&end| end <= len).expect("0 is one");
            let valid = if len > multi_start && len < multi_end { last_whole.min(multi_start) } else { last_whole };
            let (_, end) = read(&bytes[..len], Part::Last).expect("cut");
            assert_eq!(end.valid_bytes, valid as u64, "{len} bytes");
            assert_eq!(end.cut.map(|cut| cut.bytes), (len > valid).then_some((len - valid) as u64), "{len} bytes");
            let reason = if last_whole < len { CutReason::Truncated } else { CutReason::OpenTransaction };
            assert_eq!(end.cut.map(|cut| cut.reason), (len > valid).then_some(reason), "{len} bytes");
            let earlier = read(&bytes[..len], Part::Earlier).map_err(|error| (error.kind, error.offset)).map(|_| ());
            let expected = if len > valid { Err((ErrorKind::Corrupt, Some(valid as u64))) } else { Ok(()) };
            assert_eq!(earlier, expected, "{len} bytes");
        }
    }

    #[test]
    fn bytes_that_are_no_record_are_corrupt_at_their_offset() {
        let good = record("SET a 1");
        for bad in ["\0\0\0\0", "hello\r\n", "*x\r\n", "*0\r\n", "*-1\r\n", "*1\r\n:3\r\n", "*1\r\n$1\r\nab\r\n", "*1\r\n$-1\r\n"]
        {
            let error = read(&[&good, bad.as_bytes()].concat(), Part::Last).expect_err(bad);
            assert_eq!(error.kind, ErrorKind::Corrupt, "{bad:?}");
            assert!(error.offset >= Some(good.len() as u64), "{error}");
        }
        for bad in [&["EXEC"][..], &["MULTI", "MULTI"], &["SELECT x"], &["SELECT"]] {
            assert_eq!(read(&records(bad), Part::Last).expect_err("refused").kind, ErrorKind::Corrupt, "{bad:?}");
        }
    }

    #[test]
    fn an_rdb_at_the_beginning_is_read_first_and_commands_start_in_database_0() {
        let mut bytes = Vec::new();
        encode_header(&mut bytes, 9, &[("aof-base", "1")]);
        encode_select_db(&mut bytes, 5);
        encode_entry(&mut bytes, b"k", &Value::Str(Str::new(b"v")), None);
        let body = bodies::Body { crc: Crc64::of(b""), ..bodies::Body::default() };
        bytes.extend(bodies::file_end(&bytes, &body));
        let preamble_bytes = bytes.len();
        bytes.extend(record("SET a 1"));
        let (texts, end) = read(&bytes, Part::Last).expect("reads");
        assert_eq!(texts, ["5:entry k", "0:SET a 1"]);
        assert_eq!(end.valid_bytes, bytes.len() as u64);
        let torn = read(&bytes[..preamble_bytes - 1], Part::Last).expect_err("a torn preamble is not a torn tail");
        assert_eq!(torn.kind, ErrorKind::Corrupt);
    }
}
