//! Several shards' replies become one.

use super::connection::Parts;
use crate::commands::Merge;

impl Parts {
    /// All parts are there: the one reply.
    pub fn merge(&mut self, out: &mut Vec<u8>) {
        let replies: Vec<Vec<u8>> =
            self.parts.iter_mut().map(|(_, reply, _)| reply.take().expect("all parts are there")).collect();
        if let Some(error) = replies.iter().find(|reply| reply.first() == Some(&b'-')) {
            return out.extend_from_slice(error);
        }
        match self.merge {
            Merge::First => out.extend_from_slice(&replies[0]),
            Merge::Sum => {
                let sum: i64 = replies.iter().map(|reply| header_number(reply)).sum();
                out.extend_from_slice(format!(":{sum}\r\n").as_bytes());
            }
            Merge::Concat => {
                let total: i64 = replies.iter().map(|reply| header_number(reply)).sum();
                out.push(replies[0][0]);
                out.extend_from_slice(format!("{total}\r\n").as_bytes());
                replies.iter().for_each(|reply| out.extend_from_slice(&reply[header_len(reply)..]));
            }
            Merge::ByKey => self.merge_by_key(&replies, out),
        }
    }

    fn merge_by_key(&self, replies: &[Vec<u8>], out: &mut Vec<u8>) {
        let total = self.parts.iter().map(|(_, _, keys)| keys.len()).sum();
        let mut elements: Vec<&[u8]> = vec![&[]; total];
        for (reply, (_, _, keys)) in replies.iter().zip(&self.parts) {
            let mut rest = &reply[header_len(reply)..];
            for &key in keys {
                let (element, tail) = rest.split_at(element_len(rest));
                elements[key] = element;
                rest = tail;
            }
            assert!(rest.is_empty(), "a split command answers one element per key");
        }
        out.extend_from_slice(format!("*{total}\r\n").as_bytes());
        elements.iter().for_each(|element| out.extend_from_slice(element));
    }
}

/// Length of the first line with its end.
fn header_len(reply: &[u8]) -> usize {
    reply.windows(2).position(|pair| pair == b"\r\n").expect("replies of handlers are whole") + 2
}

/// The number in the first line: `:5`, `*3`, `$10`.
pub fn header_number(reply: &[u8]) -> i64 {
    let line = &reply[1..header_len(reply) - 2];
    std::str::from_utf8(line).ok().and_then(|text| text.parse().ok()).expect("replies of handlers are well-formed")
}

/// Length of one scalar element: a bulk string, an integer, a null.
fn element_len(reply: &[u8]) -> usize {
    let header = header_len(reply);
    match reply[0] {
        b'$' => match header_number(reply) {
            -1 => header,
            len => header + len as usize + 2,
        },
        _ => header,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;
    use crate::transaction::Deps;

    fn merged(merge: Merge, parts: &[(&str, &[usize])]) -> String {
        let parts = parts
            .iter()
            .enumerate()
            .map(|(i, (reply, keys))| (ShardId(i as u16), Some(reply.as_bytes().to_vec()), keys.to_vec()));
        let command = crate::commands::by_name(b"mget").expect("a command");
        let mut parts = Parts { command, merge, missing: 0, deps: Deps::default(), parts: parts.collect() };
        let mut out = Vec::new();
        parts.merge(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn replies_of_shards_become_one() {
        assert_eq!(merged(Merge::Sum, &[(":2\r\n", &[]), (":40\r\n", &[])]), ":42\r\n");
        assert_eq!(merged(Merge::First, &[("+OK\r\n", &[]), ("+OK\r\n", &[])]), "+OK\r\n");
        assert_eq!(merged(Merge::First, &[("+OK\r\n", &[]), ("-ERR x\r\n", &[])]), "-ERR x\r\n");
        assert_eq!(merged(Merge::Concat, &[("*1\r\n$1\r\na\r\n", &[]), ("*0\r\n", &[])]), "*1\r\n$1\r\na\r\n");
        let by_key = merged(Merge::ByKey, &[("*2\r\n$2\r\n\r\n\r\n$-1\r\n", &[2, 0]), ("*1\r\n$1\r\nx\r\n", &[1])]);
        assert_eq!(by_key, "*3\r\n$-1\r\n$1\r\nx\r\n$2\r\n\r\n\r\n");
    }
}
