//! Patterns of CONFIG GET and `include`, as in Redis: `*`, `?`, `[a-z]`, `[^a]`, `\x`. Letters match in any case.

pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|skip| matches(rest, &text[skip..])),
        ([], _) | (_, []) => false,
        ([b'?', rest @ ..], [_, tail @ ..]) => matches(rest, tail),
        ([b'[', set @ ..], [byte, tail @ ..]) => {
            let (inside, rest) = class(set, byte.to_ascii_lowercase());
            inside && matches(rest, tail)
        }
        ([b'\\', escaped, rest @ ..], [byte, tail @ ..]) | ([escaped, rest @ ..], [byte, tail @ ..]) => {
            escaped.eq_ignore_ascii_case(byte) && matches(rest, tail)
        }
    }
}

/// Whether the byte is in the set, and what stands behind the set's `]`.
fn class(set: &[u8], byte: u8) -> (bool, &[u8]) {
    let (negated, mut rest) = match set {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, set),
    };
    let mut inside = false;
    loop {
        (inside, rest) = match rest {
            [] => return (inside != negated, rest),
            [b']', tail @ ..] => return (inside != negated, tail),
            [b'\\', escaped, tail @ ..] => (inside || escaped.to_ascii_lowercase() == byte, tail),
            [low, b'-', high, tail @ ..] => {
                let (low, high) = (low.to_ascii_lowercase(), high.to_ascii_lowercase());
                (inside || (low.min(high)..=low.max(high)).contains(&byte), tail)
            }
            [one, tail @ ..] => (inside || one.to_ascii_lowercase() == byte, tail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("max*", "maxmemory-policy", true),
            ("MAX*y", "maxmemory", true),
            ("*-max-*-value", "hash-max-listpack-value", true),
            ("?ir", "dir", true),
            ("?ir", "ir", false),
            ("[b-e]ir", "dir", true),
            ("[^d]ir", "dir", false),
            ("[d", "d", true),
            ("d\\*", "d*", true),
            ("d\\*", "dx", false),
            ("dir", "dirs", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }
}
