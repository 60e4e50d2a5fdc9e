//! What commands on streams share: reading ids, intervals and limits, answering with entries.

use super::arguments::{Failure, SYNTAX, integer, is};
use super::context::Ctx;
use crate::keyspace::{Entry, Keyspace};
use crate::resp::Reply;
use crate::types::stream::{Entry as StreamEntry, StreamId, Trim, TrimTo};
use crate::types::{Limits, Stream, Typed};

pub const INVALID_ID: Failure = Failure::Borrowed("ERR Invalid stream ID specified as stream command argument");

/// Longest text of an id, as in Redis.
const ID_TEXT_BYTES_MAX: usize = 127;

/// Ids named in one effect.
pub const IDS_PER_EFFECT: usize = 256;

/// The stream of an entry that `find_typed` or `read_typed` gave; borrows nothing but the keyspace.
pub fn stream_at(keyspace: &Keyspace, entry: Entry) -> &Stream {
    Stream::of(keyspace.value(entry)).expect("the entry was checked to hold a stream")
}

/// Changes what counts as no change: when a consumer was last seen.
pub fn reform_stream(ctx: &mut Ctx<'_>, entry: Entry, reform: impl FnOnce(&mut Stream)) {
    ctx.keyspace.reform(entry, |value| reform(Stream::of_mut(value).expect("the entry was checked to hold a stream")));
}

/// An error whose text shows a client's own words, which need not be UTF-8.
pub struct Refusal(Vec<u8>);

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        Refusal(failure.as_bytes().to_vec())
    }
}

impl From<&'static str> for Refusal {
    fn from(text: &'static str) -> Refusal {
        Refusal(text.as_bytes().to_vec())
    }
}

impl Refusal {
    /// Texts and words in turn; a word is shown as C does, up to its first zero byte.
    pub fn showing(parts: [&str; 3], words: [&[u8]; 2]) -> Refusal {
        let mut text = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            text.extend_from_slice(part.as_bytes());
            let word = words.get(at).and_then(|word| word.split(|&byte| byte == 0).next());
            text.extend_from_slice(word.unwrap_or_default());
        }
        Refusal(text)
    }
}

/// As `answer`, for what may refuse with such a text.
pub fn answer_or_refuse<'a>(ctx: &mut Ctx<'a>, body: impl FnOnce(&mut Ctx<'a>) -> Result<(), Refusal>) {
    if let Err(Refusal(text)) = body(ctx) {
        ctx.reply.error_bytes(&text);
    }
}

// --- Ids -----------------------------------------------------------------------------------------------------------------

/// `ms-seq`, or `ms` with this sequence number.
pub fn stream_id(text: &[u8], missing_seq: u64) -> Result<StreamId, Failure> {
    match parse_id(text).ok_or(INVALID_ID)? {
        (ms, None) => Ok(StreamId::new(ms, missing_seq)),
        (ms, Some(seq)) => Ok(StreamId::new(ms, number(seq).ok_or(INVALID_ID)?)),
    }
}

/// The number in front and the text behind the dash.
fn parse_id(text: &[u8]) -> Option<(u64, Option<&[u8]>)> {
    if text.len() > ID_TEXT_BYTES_MAX {
        return None;
    }
    // As C sees it.
    let text = text.split(|&byte| byte == 0).next()?;
    match text.iter().position(|&byte| byte == b'-') {
        None => Some((number(text)?, None)),
        Some(dash) => Some((number(&text[..dash])?, Some(&text[dash + 1..]))),
    }
}

/// A number as `strtoull` reads it, which Redis asks when the text is no plain integer: blanks and a sign in front are allowed.
fn number(text: &[u8]) -> Option<u64> {
    let plain = crate::resp::parse_integer(text);
    if let Some(value) = plain {
        return u64::try_from(value).ok();
    }
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | 9..=13)).count();
    let (negative, digits) = match &text[blanks..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let add = |value: u64, digit: &u8| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add((digit - b'0') as u64),
        _ => None,
    };
    let value = digits.iter().try_fold(0, add)?;
    Some(if negative { value.wrapping_neg() } else { value })
}

/// What XADD's id may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewId {
    /// `*`
    Auto,
    /// `ms-*`
    AutoSeq(u64),
    Given(StreamId),
}

pub fn new_id(text: &[u8]) -> Result<NewId, Failure> {
    match parse_id(text) {
        Some((ms, Some(b"*"))) => Ok(NewId::AutoSeq(ms)),
        _ => stream_id(text, 0).map(NewId::Given),
    }
}

/// An end of an interval: an id, `-`, `+`, or `(` and an id that doesn't belong to it any more.
pub struct Bound {
    id: StreamId,
    excluded: bool,
}

impl Bound {
    pub fn parse(text: &[u8], missing_seq: u64) -> Result<Bound, Failure> {
        match text {
            b"-" => Ok(Bound { id: StreamId::ZERO, excluded: false }),
            b"+" => Ok(Bound { id: StreamId::MAX, excluded: false }),
            [b'(', id @ ..] if !id.is_empty() => Ok(Bound { id: stream_id(id, missing_seq)?, excluded: true }),
            id => Ok(Bound { id: stream_id(id, missing_seq)?, excluded: false }),
        }
    }

    pub fn start(self) -> Result<StreamId, Failure> {
        let id = if self.excluded { self.id.next() } else { Some(self.id) };
        id.ok_or(Failure::Borrowed("ERR invalid start ID for the interval"))
    }

    pub fn end(self) -> Result<StreamId, Failure> {
        let id = if self.excluded { self.id.previous() } else { Some(self.id) };
        id.ok_or(Failure::Borrowed("ERR invalid end ID for the interval"))
    }
}

/// An interval's first and last id. All that can't be read is said before what can't be an interval.
pub fn interval(start: &[u8], end: &[u8]) -> Result<(StreamId, StreamId), Failure> {
    let start = Bound::parse(start, 0)?.start()?;
    let end = Bound::parse(end, u64::MAX)?.end()?;
    Ok((start, end))
}

// --- Limits --------------------------------------------------------------------------------------------------------------

/// XADD's and XTRIM's options; for XADD the index of what follows them: its id.
pub struct TrimOptions {
    pub trim: Option<Trim>,
    pub no_mkstream: bool,
    pub next: usize,
}

/// `words`: all arguments. XADD's options end at the first word that is none.
pub fn trim_options(words: &[&[u8]], of_xadd: bool, limits: &Limits) -> Result<TrimOptions, Failure> {
    let mut options = TrimOptions { trim: None, no_mkstream: false, next: words.len() };
    let mut limit = None;
    let mut at = 2;
    while at < words.len() {
        let (word, more) = (words[at], words.len() - at - 1);
        if of_xadd && word == b"*" {
            break;
        } else if more > 0 && (is(word, "MAXLEN") || is(word, "MINID")) {
            if options.trim.is_some() {
                return Err("ERR syntax error, MAXLEN and MINID options at the same time are not compatible".into());
            }
            let operator = more > 1 && matches!(words[at + 1], b"~" | b"=");
            let whole_nodes = operator && words[at + 1] == b"~";
            at += 1 + operator as usize;
            options.trim = Some(Trim { to: trim_to(word, words[at])?, whole_nodes, limit: 0 });
        } else if more > 0 && is(word, "LIMIT") {
            at += 1;
            let value = u64::try_from(integer(words[at])?);
            limit = Some(value.map_err(|_| Failure::Borrowed("ERR The LIMIT argument must be >= 0."))?);
        } else if of_xadd && is(word, "NOMKSTREAM") {
            options.no_mkstream = true;
        } else if of_xadd {
            new_id(word)?;
            break;
        } else {
            return Err(SYNTAX);
        }
        at += 1;
    }
    options.next = at;
    apply_limit(&mut options.trim, limit, of_xadd, limits)?;
    Ok(options)
}

fn trim_to(word: &[u8], threshold: &[u8]) -> Result<TrimTo, Failure> {
    if is(word, "MINID") {
        return stream_id(threshold, 0).map(TrimTo::MinId);
    }
    let len = u64::try_from(integer(threshold)?);
    len.map(TrimTo::Len).map_err(|_| "ERR The MAXLEN argument must be >= 0.".into())
}

const LIMIT_WITHOUT_TILDE: Failure = Failure::Borrowed("ERR syntax error, LIMIT cannot be used without the special ~ option");

fn apply_limit(trim: &mut Option<Trim>, limit: Option<u64>, of_xadd: bool, limits: &Limits) -> Result<(), Failure> {
    let Some(trim) = trim else {
        return match (limit, of_xadd) {
            (Some(1..), _) => Err("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy".into()),
            (_, false) => Err("ERR syntax error, XTRIM must be called with a trimming strategy".into()),
            (Some(0), true) => Err(LIMIT_WITHOUT_TILDE),
            (None, true) => Ok(()),
        };
    };
    if limit.is_some() && !trim.whole_nodes {
        return Err(LIMIT_WITHOUT_TILDE);
    }
    trim.limit = limit.unwrap_or_else(|| default_limit(limits));
    Ok(())
}

/// As many entries as Redis takes away at most when it may choose: those of a hundred nodes.
fn default_limit(limits: &Limits) -> u64 {
    match 100 * limits.stream_node_max_entries as u64 {
        0 => 10_000,
        limit => limit.min(1_000_000),
    }
}

// --- Answering -----------------------------------------------------------------------------------------------------------

pub fn reply_id(reply: &mut Reply<'_>, id: StreamId) {
    reply.bulk(id.text().bytes());
}

/// An id, then fields and values in one array.
pub fn reply_entry(reply: &mut Reply<'_>, entry: StreamEntry<'_>) {
    reply.array(2);
    reply_id(reply, entry.id);
    reply.array(entry.fields_len() * 2);
    for (field, value) in entry.pairs() {
        field.with_bytes(|bytes| reply.bulk(bytes));
        value.with_bytes(|bytes| reply.bulk(bytes));
    }
}

pub fn reply_entries(reply: &mut Reply<'_>, entries: &[StreamEntry<'_>]) {
    reply.array(entries.len());
    entries.iter().for_each(|entry| reply_entry(reply, *entry));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_by_redis() {
        let id = |text: &str| stream_id(text.as_bytes(), 7).ok();
        let is = |ms, seq| Some(StreamId::new(ms, seq));
        assert_eq!(id("5"), is(5, 7));
        assert_eq!(id("5-3"), is(5, 3));
        assert_eq!(id("18446744073709551615-0"), is(u64::MAX, 0));
        assert_eq!((id("05-+3"), id(" 5-03")), (is(5, 3), is(5, 3)));
        for wrong in ["", "-", "+", "5-", "-5", "5--3", "x", "5-x", "5-3-1", "18446744073709551616", "5-*", "1.5", "5 "] {
            assert_eq!(id(wrong), None, "{wrong}");
        }
        assert_eq!(new_id(b"5-*"), Ok(NewId::AutoSeq(5)));
        assert_eq!(new_id(b"*-5"), Err(INVALID_ID));
    }
}
