//! Requests: an incremental parser for what clients send, and a decoder for what the log holds.
//!
//! How a connection uses it:
//!
//! ```text
//! buffer:  [ request being received ........ bytes not yet looked at ... ]
//!            ^0                              ^parser's position
//! ```
//! 1. Append received bytes to `buffer`, call `parser.parse(&buffer, &limits)`.
//! 2. `Parsed::Request { consumed }`: the arguments are `parser.fill_args(&buffer, &mut args)`; no argument (an empty line,
//!    `*0`) means nothing to run. After it ran, skip `consumed` bytes and parse again: several requests may be there.
//! 3. `Parsed::Incomplete`: keep the bytes (they may be moved, not changed) and receive more. The parser goes on where it
//!    stopped: no byte of a long argument is looked at twice. `parser.missing()` says how much room is worth reserving.
//! 4. `Err(error)`: send `-ERR error.text()`, close.
//!
//! No allocation per request: argument ranges stand in a vector that is reused.

use super::parse_integer;
use std::fmt;

/// What a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `proto-max-bulk-len`.
    pub bulk_len_max: usize,
    /// Arguments of one request.
    pub args_max: usize,
    /// An unauthenticated connection: at most 10 arguments of at most 16384 bytes.
    pub unauthenticated: bool,
}

/// Longest inline request, and longest line with a length (not a setting in Redis either).
const LINE_MAX: usize = 64 * 1024;
const UNAUTHENTICATED_ARGS_MAX: usize = 10;
const UNAUTHENTICATED_BULK_LEN_MAX: usize = 16384;

impl Default for Limits {
    fn default() -> Limits {
        Limits { bulk_len_max: 512 * 1024 * 1024, args_max: i32::MAX as usize, unauthenticated: false }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A whole request: the first `consumed` bytes of the buffer.
    Request {
        consumed: usize,
    },
    Incomplete,
}

/// Why the connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    InlineTooBig,
    UnbalancedQuotes,
    MultibulkLineTooBig,
    BulkLineTooBig,
    InvalidMultibulkLength,
    UnauthenticatedMultibulkLength,
    ExpectedBulk { got: u8 },
    InvalidBulkLength,
    UnauthenticatedBulkLength,
}

impl ProtocolError {
    /// Redis's text, to be sent after `-ERR `. Bytes above 127 are shown as `?`.
    pub fn text(&self) -> String {
        format!("Protocol error: {self}")
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            ProtocolError::InlineTooBig => "too big inline request",
            ProtocolError::UnbalancedQuotes => "unbalanced quotes in request",
            ProtocolError::MultibulkLineTooBig => "too big mbulk count string",
            ProtocolError::BulkLineTooBig => "too big bulk count string",
            ProtocolError::InvalidMultibulkLength => "invalid multibulk length",
            ProtocolError::UnauthenticatedMultibulkLength => "unauthenticated multibulk length",
            ProtocolError::InvalidBulkLength => "invalid bulk length",
            ProtocolError::UnauthenticatedBulkLength => "unauthenticated bulk length",
            ProtocolError::ExpectedBulk { got } => {
                let shown = match got {
                    // As in every error of Redis: a line's end inside it would end the reply.
                    b'\r' | b'\n' => ' ',
                    got if got.is_ascii() => *got as char,
                    _ => '?',
                };
                return write!(f, "expected '$', got '{shown}'");
            }
        };
        f.write_str(text)
    }
}

/// One connection's parser: how far the request at the start of the buffer has been understood.
#[derive(Default, Debug)]
pub struct RequestParser {
    /// The request was handed out; the next call starts a new one.
    done: bool,
    /// Everything before it is understood (in an inline request: searched for the line's end).
    position: usize,
    /// Arguments still to come, 0 = the first line isn't read yet.
    args_left: usize,
    /// Length of the argument that starts at `position`, once its header is read.
    bulk_len: Option<usize>,
    /// Arguments as ranges of the buffer, or of `inline` when that is not empty.
    args: Vec<(usize, usize)>,
    /// Arguments of an inline request: quotes and escapes removed.
    inline: Vec<u8>,
    is_inline: bool,
}

impl RequestParser {
    pub fn new() -> RequestParser {
        RequestParser::default()
    }

    /// Looks at `buffer`, whose first byte is the first byte of a request.
    pub fn parse(&mut self, buffer: &[u8], limits: &Limits) -> Result<Parsed, ProtocolError> {
        if self.done {
            self.reset();
        }
        match buffer.first() {
            None => Ok(Parsed::Incomplete),
            Some(b'*') => self.parse_multibulk(buffer, limits),
            Some(_) => self.parse_inline(buffer),
        }
    }

    /// Number of arguments of the parsed request.
    pub fn args_len(&self) -> usize {
        self.args.len()
    }

    /// Ranges of the arguments in the buffer, or `None` after an inline request, whose arguments stand in the parser.
    pub fn ranges(&self) -> Option<&[(usize, usize)]> {
        (!self.is_inline).then_some(&self.args)
    }

    /// One argument of the parsed request; `buffer` as given to `parse`.
    pub fn arg<'b>(&'b self, buffer: &'b [u8], index: usize) -> &'b [u8] {
        let (start, end) = self.args[index];
        if self.is_inline { &self.inline[start..end] } else { &buffer[start..end] }
    }

    /// Appends the arguments of the parsed request to `args`; `buffer` as given to `parse`.
    pub fn fill_args<'b>(&'b self, buffer: &'b [u8], args: &mut Vec<&'b [u8]>) {
        let from = if self.is_inline { &self.inline[..] } else { buffer };
        args.extend(self.args.iter().map(|&(start, end)| &from[start..end]));
    }

    /// After `Incomplete`: the length that the buffer must reach before a further call can get any further, at least.
    /// Reserve it at once for a big argument, so that the buffer doesn't grow (and copy) in steps.
    pub fn missing(&self) -> usize {
        self.position + self.bulk_len.map_or(1, |len| len + 2)
    }

    /// Forgets everything, as for a new connection; keeps the memory.
    pub fn reset(&mut self) {
        self.done = false;
        self.position = 0;
        self.args_left = 0;
        self.bulk_len = None;
        self.args.clear();
        self.inline.clear();
        self.is_inline = false;
        // One request with a million arguments must not pin that memory for the connection's life.
        if self.args.capacity() > ARGS_KEPT {
            self.args = Vec::new();
        }
        if self.inline.capacity() > LINE_MAX {
            self.inline = Vec::new();
        }
    }

    fn parse_multibulk(&mut self, buffer: &[u8], limits: &Limits) -> Result<Parsed, ProtocolError> {
        if self.args_left == 0 {
            let Some((line, next)) = line_at(buffer, 0) else {
                return incomplete(buffer.len(), ProtocolError::MultibulkLineTooBig);
            };
            match multibulk_len(&line[1..], limits)? {
                0 => return Ok(self.complete(next)),
                len => self.args_left = len,
            }
            self.position = next;
        }
        while self.args_left > 0 {
            let len = match self.bulk_len {
                Some(len) => len,
                None => {
                    let Some((line, next)) = line_at(buffer, self.position) else {
                        return incomplete(buffer.len() - self.position, ProtocolError::BulkLineTooBig);
                    };
                    let len = bulk_len(line, limits)?;
                    self.position = next;
                    self.bulk_len = Some(len);
                    len
                }
            };
            let end = self.position + len;
            if buffer.len() < end + 2 {
                return Ok(Parsed::Incomplete);
            }
            // As Redis, the two bytes after the argument are skipped, not checked.
            self.args.push((self.position, end));
            self.position = end + 2;
            self.bulk_len = None;
            self.args_left -= 1;
        }
        Ok(self.complete(self.position))
    }

    fn parse_inline(&mut self, buffer: &[u8]) -> Result<Parsed, ProtocolError> {
        let Some(found) = buffer[self.position..].iter().position(|&byte| byte == b'\n') else {
            self.position = buffer.len();
            return incomplete(buffer.len(), ProtocolError::InlineTooBig);
        };
        let newline = self.position + found;
        let line = buffer[..newline].strip_suffix(b"\r").unwrap_or(&buffer[..newline]);
        self.is_inline = true;
        split_line_into(line, &mut self.inline, &mut self.args).ok_or(ProtocolError::UnbalancedQuotes)?;
        Ok(self.complete(newline + 1))
    }

    fn complete(&mut self, consumed: usize) -> Parsed {
        self.done = true;
        Parsed::Request { consumed }
    }
}

/// Ranges kept allocated between requests.
const ARGS_KEPT: usize = 1024;

fn incomplete(len: usize, too_big: ProtocolError) -> Result<Parsed, ProtocolError> {
    if len > LINE_MAX { Err(too_big) } else { Ok(Parsed::Incomplete) }
}

/// The line that starts at `start` without its end, and where the next one starts. None: its end isn't there yet.
#[inline]
fn line_at(buffer: &[u8], start: usize) -> Option<(&[u8], usize)> {
    // Length lines are a few bytes: a plain loop beats a vectorised search.
    let len = buffer[start..].iter().position(|&byte| byte == b'\r')?;
    (start + len + 1 < buffer.len()).then(|| (&buffer[start..start + len], start + len + 2))
}

fn multibulk_len(text: &[u8], limits: &Limits) -> Result<usize, ProtocolError> {
    let len = parse_integer(text).ok_or(ProtocolError::InvalidMultibulkLength)?;
    let len = len.max(0) as usize;
    if len > limits.args_max {
        return Err(ProtocolError::InvalidMultibulkLength);
    }
    if limits.unauthenticated && len > UNAUTHENTICATED_ARGS_MAX {
        return Err(ProtocolError::UnauthenticatedMultibulkLength);
    }
    Ok(len)
}

#[inline]
fn bulk_len(line: &[u8], limits: &Limits) -> Result<usize, ProtocolError> {
    let (&kind, text) = line.split_first().unwrap_or((&b'\r', b""));
    if kind != b'$' {
        return Err(ProtocolError::ExpectedBulk { got: kind });
    }
    let len = parse_integer(text).and_then(|len| usize::try_from(len).ok()).ok_or(ProtocolError::InvalidBulkLength)?;
    if len > limits.bulk_len_max {
        return Err(ProtocolError::InvalidBulkLength);
    }
    if limits.unauthenticated && len > UNAUTHENTICATED_BULK_LEN_MAX {
        return Err(ProtocolError::UnauthenticatedBulkLength);
    }
    Ok(len)
}

/// The first RESP array of bulk strings in `bytes` and its length. None: cut short, or something else.
pub fn decode_command(bytes: &[u8]) -> Option<(Vec<&[u8]>, usize)> {
    let mut args = Vec::new();
    let consumed = decode_command_into(bytes, &mut args)?;
    Some((args, consumed))
}

/// As `decode_command`, into a vector that the caller reuses (it is cleared first).
pub fn decode_command_into<'b>(bytes: &'b [u8], args: &mut Vec<&'b [u8]>) -> Option<usize> {
    args.clear();
    let (line, mut position) = line_at(bytes, 0)?;
    let len = usize::try_from(parse_integer(line.strip_prefix(b"*")?)?).ok()?;
    for _ in 0..len {
        let (line, start) = line_at(bytes, position)?;
        let len = usize::try_from(parse_integer(line.strip_prefix(b"$")?)?).ok()?;
        let end = start.checked_add(len)?;
        if bytes.get(end..end + 2)? != b"\r\n" {
            return None;
        }
        args.push(&bytes[start..end]);
        position = end + 2;
    }
    Some(position)
}

/// Splits a line into words as Redis's `sdssplitargs`: `"a\x20\n"` with escapes, `'a\'b'` without; None when quotes
/// don't balance. Also the syntax of `redis.conf`.
pub fn split_line(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut bytes, mut words) = (Vec::new(), Vec::new());
    split_line_into(line, &mut bytes, &mut words)?;
    Some(words.into_iter().map(|(start, end)| bytes[start..end].to_vec()).collect())
}

fn split_line_into(line: &[u8], bytes: &mut Vec<u8>, words: &mut Vec<(usize, usize)>) -> Option<()> {
    // A zero byte ends the line, as it ends a string in C.
    let line = &line[..line.iter().position(|&byte| byte == 0).unwrap_or(line.len())];
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(|&byte| is_space(byte)) {
            at += 1;
        }
        if at == line.len() {
            return Some(());
        }
        let start = bytes.len();
        at = word(line, at, bytes)?;
        words.push((start, bytes.len()));
    }
}

/// Copies the word at `at`; returns where it ends. Unlike between words, a vertical tab or a form feed is no end: so it is in Redis.
fn word(line: &[u8], mut at: usize, bytes: &mut Vec<u8>) -> Option<usize> {
    loop {
        match line.get(at) {
            None | Some(b' ' | b'\t' | b'\n' | b'\r') => return Some(at),
            Some(b'"') => return quoted(line, at + 1, b'"', bytes),
            Some(b'\'') => return quoted(line, at + 1, b'\'', bytes),
            Some(&byte) => bytes.push(byte),
        }
        at += 1;
    }
}

/// Copies what stands between quotes; the closing one must be followed by a space or the end.
fn quoted(line: &[u8], mut at: usize, quote: u8, bytes: &mut Vec<u8>) -> Option<usize> {
    loop {
        let byte = *line.get(at)?;
        if byte == quote {
            let end = at + 1;
            return line.get(end).is_none_or(|&byte| is_space(byte)).then_some(end);
        }
        let (decoded, len) = match (byte, quote) {
            (b'\\', b'"') => escape(&line[at..]),
            (b'\\', _) if line.get(at + 1) == Some(&b'\'') => (b'\'', 2),
            _ => (byte, 1),
        };
        bytes.push(decoded);
        at += len;
    }
}

/// The byte that the escape at the start of `text` stands for, and the escape's length.
fn escape(text: &[u8]) -> (u8, usize) {
    match *text {
        [_, b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => (hex(high) << 4 | hex(low), 4),
        [_, letter, ..] => match letter {
            b'n' => (b'\n', 2),
            b'r' => (b'\r', 2),
            b't' => (b'\t', 2),
            b'b' => (8, 2),
            b'a' => (7, 2),
            other => (other, 2),
        },
        _ => (b'\\', 1),
    }
}

fn hex(digit: u8) -> u8 {
    (digit as char).to_digit(16).expect("checked by the caller") as u8
}

/// C's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests;
