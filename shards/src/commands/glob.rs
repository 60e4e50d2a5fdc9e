//! Glob patterns of KEYS, SCAN, CONFIG GET and ACL, as Redis's `stringmatchlen`, oddities included.

/// Whether the whole of `text` matches `pattern`: `*`, `?`, `[a-z]`, `[^a]`, `\` escapes.
///
/// Time is bounded by length of pattern × length of text: like Redis since 7.0.3, a failed `*` isn't tried again once a
/// later `*` had been reached.
pub fn glob_matches(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    // One of the oddities: here not even `*` matches an empty text.
    if text.is_empty() {
        return pattern.is_empty();
    }
    let mut skip_longer = false;
    matches_from(pattern, text, ignore_case, &mut skip_longer, 0)
}

/// As Redis: a pattern nested deeper matches nothing.
const NESTING_MAX: usize = 1000;

fn matches_from(mut pattern: &[u8], mut text: &[u8], ignore_case: bool, skip_longer: &mut bool, nesting: usize) -> bool {
    if nesting > NESTING_MAX {
        return false;
    }
    let fold = |byte: u8| if ignore_case { byte.to_ascii_lowercase() } else { byte };
    while !pattern.is_empty() && !text.is_empty() {
        match pattern[0] {
            b'*' => return star(pattern, text, ignore_case, skip_longer, nesting),
            b'?' => {}
            b'[' => {
                let (matched, last) = class(pattern, text[0], ignore_case);
                if !matched {
                    return false;
                }
                pattern = &pattern[last..];
            }
            literal => {
                let escaped = literal == b'\\' && pattern.len() >= 2;
                if escaped {
                    pattern = &pattern[1..];
                }
                if fold(pattern[0]) != fold(text[0]) {
                    return false;
                }
            }
        }
        // `last` of a class that is never closed lies at the pattern's end.
        pattern = pattern.get(1..).unwrap_or_default();
        text = &text[1..];
    }
    // Only stars match nothing.
    let rest_is_stars = pattern.iter().all(|&byte| byte == b'*');
    text.is_empty() && rest_is_stars
}

fn star(mut pattern: &[u8], mut text: &[u8], ignore_case: bool, skip_longer: &mut bool, nesting: usize) -> bool {
    while pattern.get(1) == Some(&b'*') {
        pattern = &pattern[1..];
    }
    if pattern.len() == 1 {
        return true;
    }
    while !text.is_empty() {
        if matches_from(&pattern[1..], text, ignore_case, skip_longer, nesting + 1) {
            return true;
        }
        if *skip_longer {
            return false;
        }
        text = &text[1..];
    }
    // No shorter rest of the text was enough: a longer match of an earlier star leaves even less.
    *skip_longer = true;
    false
}

/// Whether `byte` is in the class at the start of `pattern`, and the index of the class's last byte.
fn class(pattern: &[u8], byte: u8, ignore_case: bool) -> (bool, usize) {
    let fold = |byte: u8| if ignore_case { byte.to_ascii_lowercase() } else { byte };
    let byte = fold(byte);
    let mut at = 1;
    let negated = pattern.get(at) == Some(&b'^');
    if negated {
        at += 1;
    }
    let mut found = false;
    loop {
        match pattern[at..] {
            [b'\\', escaped, ..] => {
                at += 1;
                found |= fold(escaped) == byte;
            }
            [b']', ..] => break,
            [] => {
                // Never closed: the last byte of the pattern ends it.
                at -= 1;
                break;
            }
            [start, b'-', end, ..] => {
                let (start, end) = (fold(start.min(end)), fold(start.max(end)));
                at += 2;
                found |= (start..=end).contains(&byte);
            }
            [literal, ..] => found |= fold(literal) == byte,
        }
        at += 1;
    }
    (found != negated, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("*", "", false),
            ("*", "abc", true),
            ("", "", true),
            ("", "a", false),
            ("a*c", "abbbc", true),
            ("a*c", "abbb", false),
            ("a**c*", "abc", true),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[^e]llo", "hallo", true),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[a-c]llo", "hdllo", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("a\\", "a\\", true),
            ("[\\]]", "]", true),
            ("[a", "a", true),
            ("[", "a", false),
            ("[^", "a", true),
            ("a[]b", "ab", false),
            ("abc*", "abc", true),
            ("?", "", false),
        ] {
            assert_eq!(glob_matches(pattern.as_bytes(), text.as_bytes(), false), expected, "{pattern} on {text}");
        }
        assert!(glob_matches(b"MaxMemory*", b"maxmemory-policy", true));
        assert!(!glob_matches(b"MaxMemory*", b"maxmemory-policy", false));
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_exponential_time() {
        let pattern = "a*".repeat(40) + "b";
        assert!(!glob_matches(pattern.as_bytes(), "a".repeat(80).as_bytes(), false));
    }
}
