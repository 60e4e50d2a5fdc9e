//! The way Redis splits a line into words: in `redis.conf`, in the AOF's manifest and in inline requests.
//!
//! Words are separated by blanks. `"…"` knows `\n \r \t \b \a \xHH` and takes any other `\c` as `c`; `'…'` knows only `\'`.
//! A closing quote must be followed by a blank or the end.

/// `None` when quotes do not balance.
pub fn split_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line.trim_ascii_start();
    while !rest.is_empty() {
        let (word, tail) = first_word(rest)?;
        words.push(word);
        rest = tail.trim_ascii_start();
    }
    Some(words)
}

fn first_word(line: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    let mut rest = line;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match byte {
            b'"' => closed(double_quoted(&mut word, tail)?)?,
            b'\'' => closed(single_quoted(&mut word, tail)?)?,
            // Redis ends a word at a zero byte too: to C it is the end of the line.
            b' ' | b'\n' | b'\r' | b'\t' | 0 => return Some((word, tail)),
            _ => {
                word.push(byte);
                tail
            }
        };
    }
    Some((word, rest))
}

fn closed(rest: &[u8]) -> Option<&[u8]> {
    rest.first().is_none_or(|byte| byte.is_ascii_whitespace()).then_some(rest)
}

fn double_quoted<'a>(word: &mut Vec<u8>, mut rest: &'a [u8]) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [b'"', tail @ ..] => return Some(tail),
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                word.push(hex(*high) << 4 | hex(*low));
                tail
            }
            [b'\\', escaped, tail @ ..] => {
                word.push(unescape(*escaped));
                tail
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                tail
            }
            [] => return None,
        }
    }
}

fn single_quoted<'a>(word: &mut Vec<u8>, mut rest: &'a [u8]) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [b'\'', tail @ ..] => return Some(tail),
            [b'\\', b'\'', tail @ ..] => {
                word.push(b'\'');
                tail
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                tail
            }
            [] => return None,
        }
    }
}

fn hex(digit: u8) -> u8 {
    (digit as char).to_digit(16).expect("checked by the caller") as u8
}

fn unescape(letter: u8) -> u8 {
    match letter {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}

/// The word in double quotes, such that `split_words` gives it back.
pub fn quote(word: &[u8]) -> String {
    let mut out = String::from('"');
    for &byte in word {
        match byte {
            b'"' | b'\\' => out.extend(['\\', byte as char]),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            7 => out.push_str("\\a"),
            8 => out.push_str("\\b"),
            0x20..=0x7e => out.push(byte as char),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_split_as_redis_splits_them() {
        let cases: [(&str, Option<&[&[u8]]>); 11] = [
            ("", Some(&[])),
            ("  a  b\tc \r\n", Some(&[b"a", b"b", b"c"])),
            (r#"save """#, Some(&[b"save", b""])),
            (r#"a "b \"c\" \x41\n\q""#, Some(&[b"a", b"b \"c\" A\nq"])),
            (r"a 'b\'c \n'", Some(&[b"a", b"b'c \\n"])),
            (r#"pre"quoted""#, Some(&[b"prequoted"])),
            (r#""a"b"#, None),
            (r#""a"#, None),
            ("'a", None),
            (r#""a\"#, None),
            (r#""\xZZ""#, Some(&[b"xZZ"])),
        ];
        for (line, expected) in cases {
            let words = split_words(line.as_bytes());
            assert_eq!(words.as_ref().map(|w| w.iter().map(|w| &w[..]).collect::<Vec<_>>()).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn quoted_words_come_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(split_words(quote(&all).as_bytes()), Some(vec![all]));
    }
}
