//! Numbers as Redis writes and reads them, without allocation.

use super::grisu::{self, DIGITS_MAX};
use std::io::Write;

/// Bytes of the longest i64: `-9223372036854775808`.
pub const INTEGER_TEXT_MAX: usize = 20;

/// Bytes that `double_text` needs at most.
pub const DOUBLE_TEXT_MAX: usize = 32;

/// The decimal form of `value`, at the end of `buffer`.
pub fn integer_text(value: i64, buffer: &mut [u8; INTEGER_TEXT_MAX]) -> &[u8] {
    let mut at = buffer.len();
    let mut rest = value.unsigned_abs();
    while rest >= 100 {
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&DIGIT_PAIRS[(rest % 100) as usize]);
        rest /= 100;
    }
    if rest >= 10 {
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&DIGIT_PAIRS[rest as usize]);
    } else {
        at -= 1;
        buffer[at] = b'0' + rest as u8;
    }
    if value < 0 {
        at -= 1;
        buffer[at] = b'-';
    }
    &buffer[at..]
}

static DIGIT_PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut i = 0;
    while i < 100 {
        pairs[i] = [b'0' + (i / 10) as u8, b'0' + (i % 10) as u8];
        i += 1;
    }
    pairs
};

/// The i64 whose decimal form is exactly `text`: no sign `+`, no leading zero, no space (Redis's `string2ll`).
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() < INTEGER_TEXT_MAX => {}
        _ => return None,
    }
    let mut magnitude: u64 = 0;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // At most 19 digits: below 10^19, which a u64 holds.
        magnitude = magnitude * 10 + digit as u64;
    }
    match negative {
        true if magnitude <= i64::MIN.unsigned_abs() => Some((magnitude as i64).wrapping_neg()),
        false => i64::try_from(magnitude).ok(),
        true => None,
    }
}

/// A double as Redis 7.2 writes it: an integer up to 2^62 in plain digits; otherwise the digits of `grisu`, plain or with an
/// exponent by the rules of `fpconv_dtoa`.
pub fn double_text(value: f64, buffer: &mut [u8; DOUBLE_TEXT_MAX]) -> &[u8] {
    let len = if value.is_nan() {
        put(buffer, format_args!("nan"))
    } else if value.is_infinite() {
        put(buffer, format_args!("{}inf", if value < 0.0 { "-" } else { "" }))
    } else if let Some(integer) = exact_integer(value) {
        put(buffer, format_args!("{integer}"))
    } else {
        finite_text(value, buffer)
    };
    &buffer[..len]
}

/// The value as an integer, where Redis writes and stores it as one. Not the negative zero: an integer has none.
pub fn exact_integer(value: f64) -> Option<i64> {
    const MAGNITUDE_MAX: f64 = (1i64 << 62) as f64;
    let exact = value.abs() <= MAGNITUDE_MAX && value.trunc() == value && (value != 0.0 || value.is_sign_positive());
    exact.then_some(value as i64)
}

fn finite_text(value: f64, buffer: &mut [u8; DOUBLE_TEXT_MAX]) -> usize {
    let sign = if value.is_sign_negative() { "-" } else { "" };
    if value == 0.0 {
        return put(buffer, format_args!("{sign}0"));
    }
    let mut digits = [0; DIGITS_MAX];
    // `value` = `digits` * 10^scale.
    let (count, scale) = grisu::digits(value.abs(), &mut digits);
    let digits = std::str::from_utf8(&digits[..count]).expect("digits are ASCII");
    let exponent = scale + count as i32 - 1;
    if scale >= 0 && exponent.abs() < count as i32 + 7 {
        return put(buffer, format_args!("{sign}{digits}{:0<width$}", "", width = scale as usize));
    }
    if scale < 0 && (scale > -7 || exponent.abs() < 4) {
        let before_point = count as i32 + scale;
        if before_point <= 0 {
            return put(buffer, format_args!("{sign}0.{:0<width$}{digits}", "", width = -before_point as usize));
        }
        let (whole, fraction) = digits.split_at(before_point as usize);
        return put(buffer, format_args!("{sign}{whole}.{fraction}"));
    }
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    put(buffer, format_args!("{sign}{first}{point}{rest}e{exponent:+}"))
}

fn put(buffer: &mut [u8; DOUBLE_TEXT_MAX], text: std::fmt::Arguments<'_>) -> usize {
    let mut rest = &mut buffer[..];
    rest.write_fmt(text).expect("32 bytes hold every double");
    let left = rest.len();
    buffer.len() - left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_written_as_the_standard_library_writes_them() {
        let mut buffer = [0; INTEGER_TEXT_MAX];
        let mut check = |value: i64| assert_eq!(integer_text(value, &mut buffer), value.to_string().as_bytes());
        [0, 1, 9, 10, 99, 100, 101, -1, -10, -100, i64::MAX, i64::MIN].into_iter().for_each(&mut check);
        let mut random = fastrand::Rng::with_seed(1);
        (0..10_000).for_each(|_| check(random.i64(..) >> random.u32(0..64)));
    }

    #[test]
    fn only_the_exact_decimal_form_is_an_integer() {
        for value in [0, 1, -1, 10, i64::MAX, i64::MIN, i64::MIN + 1] {
            assert_eq!(parse_integer(value.to_string().as_bytes()), Some(value));
        }
        for text in [
            "",
            "-",
            "+1",
            "01",
            "-0",
            "00",
            " 1",
            "1 ",
            "1a",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
        ] {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn doubles_are_written_as_redis_7_2_writes_them() {
        let mut buffer = [0; DOUBLE_TEXT_MAX];
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (3.0e7, "30000000"),
            (1e8, "100000000"),
            (123456789.5, "123456789.5"),
            (123456789.12345679, "1.2345678912345679e+8"),
            (1e20, "1e+20"),
            (9223372036854775807.0, "9223372036854776000"),
            (1e100, "1e+100"),
            (1.5e300, "1.5e+300"),
            (0.001, "0.001"),
            (0.000001, "0.000001"),
            (1e-7, "1e-7"),
            (123456789012345680.0, "123456789012345680"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (f64::MAX, "1.7976931348623157e+308"),
            (-5e-324, "-5e-324"),
        ] {
            assert_eq!(std::str::from_utf8(double_text(value, &mut buffer)).expect("ASCII"), text);
        }
    }
}
