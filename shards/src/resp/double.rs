//! Doubles as C's `strtod` reads them and as `%.17g` writes them: what Redis does with scores.

use super::number::DOUBLE_TEXT_MAX;
use std::io::Write;

/// What `strtod` makes of the beginning of a text.
struct Prefix {
    value: f64,
    /// Bytes that belong to the number, leading spaces included; 0 = there is none.
    consumed: usize,
    /// Too great, or too small to be anything but zero.
    out_of_range: bool,
}

/// A double that fills the whole text: not NaN, in range, without spaces in front.
pub fn parse_double(text: &[u8]) -> Option<f64> {
    let prefix = strtod(text);
    let whole = !text.is_empty() && prefix.consumed == text.len() && !is_space(text[0]);
    (whole && !prefix.out_of_range && !prefix.value.is_nan()).then_some(prefix.value)
}

/// A bound of a range of scores, which Redis reads less strictly: as a C string, empty = 0, spaces in front, any magnitude.
pub fn parse_bound(text: &[u8]) -> Option<f64> {
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    let prefix = strtod(&text[..end]);
    (prefix.consumed == end && !prefix.value.is_nan()).then_some(prefix.value)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn strtod(text: &[u8]) -> Prefix {
    let spaces = text.iter().take_while(|byte| is_space(**byte)).count();
    let (negative, sign) = match text.get(spaces) {
        Some(b'-') => (true, 1),
        Some(b'+') => (false, 1),
        _ => (false, 0),
    };
    let start = spaces + sign;
    let number = unsigned(&text[start..]);
    let consumed = if number.consumed == 0 { 0 } else { start + number.consumed };
    Prefix { value: if negative { -number.value } else { number.value }, consumed, ..number }
}

fn unsigned(text: &[u8]) -> Prefix {
    let starts = |word: &[u8]| text.len() >= word.len() && text[..word.len()].eq_ignore_ascii_case(word);
    let word = |value, consumed| Prefix { value, consumed, out_of_range: false };
    match () {
        () if starts(b"infinity") => word(f64::INFINITY, 8),
        () if starts(b"inf") => word(f64::INFINITY, 3),
        () if starts(b"nan") => word(f64::NAN, 3),
        () if starts(b"0x") => hexadecimal(text),
        () => decimal(text),
    }
}

fn digits(text: &[u8], is_digit: fn(&u8) -> bool) -> usize {
    text.iter().take_while(|byte| is_digit(byte)).count()
}

/// Digits with at most one point among them: bytes in all and digits.
fn mantissa(text: &[u8], is_digit: fn(&u8) -> bool) -> (usize, usize) {
    let whole = digits(text, is_digit);
    match text.get(whole) {
        Some(b'.') => {
            let fraction = digits(&text[whole + 1..], is_digit);
            if whole + fraction == 0 { (0, 0) } else { (whole + 1 + fraction, whole + fraction) }
        }
        _ => (whole, whole),
    }
}

/// Bytes of an exponent with its letter, and its value; (0, 0) when none stands there.
fn exponent(text: &[u8], letter: u8) -> (usize, i64) {
    if !text.first().is_some_and(|first| first.eq_ignore_ascii_case(&letter)) {
        return (0, 0);
    }
    let sign = matches!(text.get(1), Some(b'+' | b'-')) as usize;
    let count = digits(&text[1 + sign..], u8::is_ascii_digit);
    // No text is so long that an exponent beyond this could be evened out by its digits.
    const BEYOND: i64 = 1 << 40;
    let text = &text[1..1 + sign + count];
    let value =
        text.iter().filter(|byte| byte.is_ascii_digit()).fold(0, |value, digit| (value * 10 + (digit - b'0') as i64).min(BEYOND));
    if count == 0 { (0, 0) } else { (1 + sign + count, if text[0] == b'-' { -value } else { value }) }
}

fn decimal(text: &[u8]) -> Prefix {
    let (len, count) = mantissa(text, u8::is_ascii_digit);
    if count == 0 {
        return Prefix { value: 0.0, consumed: 0, out_of_range: false };
    }
    let consumed = len + exponent(&text[len..], b'e').0;
    let number = std::str::from_utf8(&text[..consumed]).expect("digits, points and signs are ASCII");
    let value: f64 = number.parse().expect("the standard library reads every decimal number");
    let is_zero = !text[..len].iter().any(|byte| matches!(byte, b'1'..=b'9'));
    Prefix { value, consumed, out_of_range: value.is_infinite() || (value == 0.0 && !is_zero) }
}

fn hexadecimal(text: &[u8]) -> Prefix {
    let (len, count) = mantissa(&text[2..], u8::is_ascii_hexdigit);
    if count == 0 {
        // The zero alone.
        return Prefix { value: 0.0, consumed: 1, out_of_range: false };
    }
    let (exponent_len, mut scale) = exponent(&text[2 + len..], b'p');
    let (mut bits, mut behind_point) = (0u64, false);
    for &byte in &text[2..2 + len] {
        let Some(digit) = (byte as char).to_digit(16) else {
            behind_point = true;
            continue;
        };
        if bits >> 60 == 0 {
            bits = bits << 4 | digit as u64;
            scale -= 4 * behind_point as i64;
        } else {
            // The lowest bit tells the rounding that something follows.
            bits |= (digit != 0) as u64;
            scale += 4 * !behind_point as i64;
        }
    }
    let value = scale_by_two(bits as f64, scale);
    Prefix { value, consumed: 2 + len + exponent_len, out_of_range: value.is_infinite() || (value == 0.0 && bits != 0) }
}

fn scale_by_two(mut value: f64, mut scale: i64) -> f64 {
    // 64 bits and the smallest double are 1138 powers of two apart; beyond 4000 nothing changes any more.
    scale = scale.clamp(-4000, 4000);
    while scale != 0 {
        let step = scale.clamp(-1000, 1000);
        value *= 2f64.powi(step as i32);
        scale -= step;
    }
    value
}

/// As C's `%.17g`.
pub fn double_text_17(value: f64, buffer: &mut [u8; DOUBLE_TEXT_MAX]) -> &[u8] {
    let mut rest = &mut buffer[..];
    write_17(value, &mut rest).expect("32 bytes hold 17 digits with sign, point and exponent");
    let left = rest.len();
    let len = DOUBLE_TEXT_MAX - left;
    &buffer[..len]
}

fn write_17(value: f64, out: &mut &mut [u8]) -> std::io::Result<()> {
    let sign = if value.is_sign_negative() { "-" } else { "" };
    if value.is_infinite() {
        return write!(out, "{sign}inf");
    }
    let scientific = format!("{:.16e}", value.abs());
    let (mantissa, exponent) = scientific.split_once('e').expect("`{:e}` writes an exponent");
    let exponent: i32 = exponent.parse().expect("`{:e}` writes an integer exponent");
    if (-4..17).contains(&exponent) {
        let fixed = format!("{:.*}", (16 - exponent) as usize, value.abs());
        return write!(out, "{sign}{}", without_trailing_zeros(&fixed));
    }
    let letter_sign = if exponent < 0 { '-' } else { '+' };
    write!(out, "{sign}{}e{letter_sign}{:02}", without_trailing_zeros(mantissa), exponent.abs())
}

fn without_trailing_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers_in_range_are_scores() {
        for (text, value) in [
            ("1", 1.0),
            ("+1.5", 1.5),
            (".5", 0.5),
            ("5.", 5.0),
            ("-1e3", -1000.0),
            ("inf", f64::INFINITY),
            ("-InfiniTy", f64::NEG_INFINITY),
            ("0x10", 16.0),
            ("0X.8p1", 1.0),
            ("0x1p-1074", 5e-324),
            ("0x123456789abcdef01", 20988295479420645000.0),
            ("5e-324", 5e-324),
            ("0e999999999999999999999", 0.0),
        ] {
            assert_eq!(parse_double(text.as_bytes()), Some(value), "{text}");
        }
        for text in
            ["", " 1", "1 ", "1x", "x", ".", "e5", "1e", "nan", "0x", "1e400", "1e-400", "--1", "inff", "1\0", "0x1p99999"]
        {
            assert_eq!(parse_double(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn bounds_are_read_less_strictly() {
        for (text, value) in [("", 0.0), (" 5", 5.0), ("5\0x", 5.0), ("1e400", f64::INFINITY), ("-inf", f64::NEG_INFINITY)] {
            assert_eq!(parse_bound(text.as_bytes()), Some(value), "{text:?}");
        }
        for text in [" ", "5 ", "nan", "x", "(5", "-"] {
            assert_eq!(parse_bound(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn seventeen_digits_are_those_of_printf() {
        let mut buffer = [0; DOUBLE_TEXT_MAX];
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (5.0, "5"),
            (0.1, "0.10000000000000001"),
            (1e17, "1e+17"),
            (1e16, "10000000000000000"),
            (1e-5, "1.0000000000000001e-05"),
            (0.0001, "0.0001"),
            (5e-324, "4.9406564584124654e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(std::str::from_utf8(double_text_17(value, &mut buffer)), Ok(text));
        }
    }
}
