//! RESP2 and RESP3: replies out, requests in.

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

impl Reply<'_> {
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    pub fn ok(&mut self) {
        self.simple("OK");
    }

    /// `text` with its code in front: `ERR syntax error`, `WRONGTYPE Operation against …`.
    pub fn error(&mut self, text: &str) {
        self.line(b'-', text.as_bytes());
    }

    pub fn integer(&mut self, value: i64) {
        self.line(b':', value.to_string().as_bytes());
    }

    pub fn bulk(&mut self, bytes: &[u8]) {
        self.line(b'$', bytes.len().to_string().as_bytes());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// The absent value: `$-1` or `_`.
    pub fn null(&mut self) {
        self.out.extend_from_slice(if self.protocol == Protocol::Resp3 { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// Header of an array; `len` replies must follow.
    pub fn array(&mut self, len: usize) {
        self.line(b'*', len.to_string().as_bytes());
    }

    fn line(&mut self, kind: u8, body: &[u8]) {
        self.out.push(kind);
        self.out.extend_from_slice(body);
        self.out.extend_from_slice(b"\r\n");
    }
}
