//! Replies whose elements come in no particular order.

/// What stands in a reply behind the headers of arrays, maps and sets: bulk strings without their length, other lines whole.
/// A header's own length counts, its kind does not.
pub fn elements(reply: &[u8]) -> Vec<&[u8]> {
    let (mut rest, mut elements) = (reply, Vec::new());
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let (line, after) = (&rest[..end], &rest[end + 2..]);
        rest = after;
        match line[0] {
            b'*' | b'%' | b'~' => {}
            b'$' if line != b"$-1" => {
                let len: usize = std::str::from_utf8(&line[1..]).expect("digits").parse().expect("a length");
                elements.push(&after[..len]);
                rest = &after[len + 2..];
            }
            _ => elements.push(line),
        }
    }
    elements
}

/// Kind of the reply and its elements, so many of which belong together, sorted.
pub fn unordered(reply: &[u8], together: usize) -> (u8, Vec<Vec<&[u8]>>) {
    let mut groups: Vec<Vec<&[u8]>> = elements(reply).chunks(together).map(<[_]>::to_vec).collect();
    groups.sort();
    (reply[0], groups)
}
