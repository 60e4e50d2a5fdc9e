//! RESP2 and RESP3: replies out (this file), requests in (`request`), numbers as text (`number`, `double`).
//!
//! Nothing here allocates except when the output buffer grows: replies are the hot path of every command.

mod double;
mod grisu;
mod number;
mod request;

pub use double::{double_text_17, parse_bound, parse_double};
pub use number::{DOUBLE_TEXT_MAX, INTEGER_TEXT_MAX, double_text, exact_integer, integer_text, parse_integer};
pub use request::{Limits, Parsed, ProtocolError, RequestParser, decode_command, decode_command_into, split_line};

/// The protocol a connection speaks (`HELLO`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

/// Writes one reply to the end of a buffer.
pub struct Reply<'a> {
    pub out: &'a mut Vec<u8>,
    pub protocol: Protocol,
}

impl<'a> Reply<'a> {
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Reply<'a> {
        Reply { out, protocol }
    }
}

impl Reply<'_> {
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// `text` with its code in front: `ERR syntax error`, `WRONGTYPE Operation against …`.
    /// Line ends inside the text become spaces, as in Redis: they would end the reply too early.
    pub fn error(&mut self, text: &str) {
        self.error_bytes(text.as_bytes());
    }

    /// As `error`: a text that quotes what need not be UTF-8.
    pub fn error_bytes(&mut self, text: &[u8]) {
        self.out.push(b'-');
        self.out.extend(text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
        self.out.extend_from_slice(b"\r\n");
    }

    pub fn integer(&mut self, value: i64) {
        self.header(b':', value);
    }

    pub fn bulk(&mut self, bytes: &[u8]) {
        self.bulk_header(bytes.len());
        self.out.extend_from_slice(bytes);
        self.bulk_end();
    }

    /// A bulk string that is written in pieces: `len` bytes must be pushed to `out`, then `bulk_end`.
    pub fn bulk_header(&mut self, len: usize) {
        self.header(b'$', len as i64);
    }

    pub fn bulk_end(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }

    /// An integer as a bulk string (what GET answers for a counter).
    pub fn bulk_integer(&mut self, value: i64) {
        let mut buffer = [0u8; INTEGER_TEXT_MAX];
        self.bulk(integer_text(value, &mut buffer));
    }

    /// The absent value: `$-1` or `_`.
    pub fn null(&mut self) {
        self.out.extend_from_slice(if self.resp3() { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// The absent array: `*-1` or `_`.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(if self.resp3() { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// Header of an array; `len` replies must follow.
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len as i64);
    }

    /// Header of a map; `pairs` times two replies must follow. RESP2: a flat array.
    pub fn map(&mut self, pairs: usize) {
        if self.resp3() {
            self.header(b'%', pairs as i64);
        } else {
            self.header(b'*', pairs as i64 * 2);
        }
    }

    /// Header of a set; `len` replies must follow. RESP2: an array.
    pub fn set(&mut self, len: usize) {
        let kind = if self.resp3() { b'~' } else { b'*' };
        self.header(kind, len as i64);
    }

    /// Header of a message out of band; `len` replies must follow. RESP2: an array.
    pub fn push(&mut self, len: usize) {
        let kind = if self.resp3() { b'>' } else { b'*' };
        self.header(kind, len as i64);
    }

    /// Header of attributes in front of a reply; `pairs` times two replies must follow. RESP3 only.
    pub fn attribute(&mut self, pairs: usize) {
        assert!(self.resp3(), "RESP2 has no attributes");
        self.header(b'|', pairs as i64);
    }

    /// RESP2: a bulk string.
    pub fn double(&mut self, value: f64) {
        let mut buffer = [0u8; DOUBLE_TEXT_MAX];
        self.double_digits(double_text(value, &mut buffer));
    }

    /// RESP2: 1 or 0.
    pub fn boolean(&mut self, value: bool) {
        match (self.protocol, value) {
            (Protocol::Resp3, true) => self.out.extend_from_slice(b"#t\r\n"),
            (Protocol::Resp3, false) => self.out.extend_from_slice(b"#f\r\n"),
            (Protocol::Resp2, value) => self.integer(value as i64),
        }
    }

    /// A double in digits of the caller's own. RESP2: a bulk string.
    pub fn double_digits(&mut self, text: &[u8]) {
        if self.resp3() {
            self.line(b',', text);
        } else {
            self.bulk(text);
        }
    }

    /// Decimal digits of any length. RESP2: a bulk string.
    pub fn big_number(&mut self, digits: &str) {
        if self.resp3() {
            self.line(b'(', digits.as_bytes());
        } else {
            self.bulk(digits.as_bytes());
        }
    }

    /// Text with a three-letter format (`txt`, `mkd`). RESP2: a bulk string.
    pub fn verbatim(&mut self, format: &[u8; 3], text: &[u8]) {
        if !self.resp3() {
            return self.bulk(text);
        }
        self.header(b'=', text.len() as i64 + 4);
        self.out.extend_from_slice(format);
        self.out.push(b':');
        self.out.extend_from_slice(text);
        self.bulk_end();
    }

    fn resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    fn header(&mut self, kind: u8, value: i64) {
        // Lengths and counters are mostly one digit: one copy of four bytes.
        if (0..10).contains(&value) {
            self.out.extend_from_slice(&[kind, b'0' + value as u8, b'\r', b'\n']);
            return;
        }
        let mut buffer = [0u8; INTEGER_TEXT_MAX + 3];
        let (digits_room, end) = buffer.split_at_mut(INTEGER_TEXT_MAX + 1);
        end.copy_from_slice(b"\r\n");
        let room: &mut [u8; INTEGER_TEXT_MAX] = (&mut digits_room[1..]).try_into().expect("the room is that long");
        let start = INTEGER_TEXT_MAX + 1 - integer_text(value, room).len();
        buffer[start - 1] = kind;
        self.out.extend_from_slice(&buffer[start - 1..]);
    }

    fn line(&mut self, kind: u8, body: &[u8]) {
        self.out.push(kind);
        self.out.extend_from_slice(body);
        self.out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(protocol: Protocol, write: impl FnOnce(&mut Reply<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut Reply::new(&mut out, protocol));
        String::from_utf8(out).expect("these replies are text")
    }

    type Case = (fn(&mut Reply<'_>), &'static str, &'static str);

    #[test]
    fn every_kind_of_reply_in_both_protocols() {
        let cases: &[Case] = &[
            (|r| r.ok(), "+OK\r\n", "+OK\r\n"),
            (|r| r.error("ERR a\r\nb"), "-ERR a  b\r\n", "-ERR a  b\r\n"),
            (|r| r.integer(-12), ":-12\r\n", ":-12\r\n"),
            (|r| r.integer(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"),
            (|r| r.bulk(b""), "$0\r\n\r\n", "$0\r\n\r\n"),
            (|r| r.bulk_integer(1234567890), "$10\r\n1234567890\r\n", "$10\r\n1234567890\r\n"),
            (|r| r.null(), "$-1\r\n", "_\r\n"),
            (|r| r.null_array(), "*-1\r\n", "_\r\n"),
            (|r| r.array(10), "*10\r\n", "*10\r\n"),
            (|r| r.map(3), "*6\r\n", "%3\r\n"),
            (|r| r.set(3), "*3\r\n", "~3\r\n"),
            (|r| r.push(3), "*3\r\n", ">3\r\n"),
            (|r| r.double(0.5), "$3\r\n0.5\r\n", ",0.5\r\n"),
            (|r| r.boolean(true), ":1\r\n", "#t\r\n"),
            (|r| r.boolean(false), ":0\r\n", "#f\r\n"),
            (|r| r.big_number("12"), "$2\r\n12\r\n", "(12\r\n"),
            (|r| r.verbatim(b"txt", b"hello"), "$5\r\nhello\r\n", "=9\r\ntxt:hello\r\n"),
        ];
        for (write, resp2, resp3) in cases {
            assert_eq!(written(Protocol::Resp2, write), *resp2);
            assert_eq!(written(Protocol::Resp3, write), *resp3);
        }
    }
}
