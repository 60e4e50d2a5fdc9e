//! The 80-bit floating point of x86, which Redis calculates INCRBYFLOAT and HINCRBYFLOAT in, in integer arithmetic: the
//! same digits on every machine.
//!
//! A number is `mantissa * 2^exponent` with the top bit of the 64-bit mantissa set, or zero. Rounding is to nearest, ties
//! to even. Differences from C's `strtold`: hexadecimal forms aren't read; numbers below 2^-16382 have full precision.

use std::cmp::Ordering;

/// Longest text that Redis reads as a long double (`MAX_LONG_DOUBLE_CHARS`).
const TEXT_MAX: usize = 5 * 1024;

/// `mantissa * 2^exponent` of a finite number is below 2^16384.
const EXPONENT_MAX: i32 = 16383 - 63;
/// Smaller numbers are read as zero, which Redis refuses as a range error. The smallest denormal is 2^-16445.
const EXPONENT_MIN: i32 = -16445 - 63;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongDouble {
    Infinite { negative: bool },
    Finite { negative: bool, mantissa: u64, exponent: i32 },
}

impl LongDouble {
    pub const ZERO: LongDouble = LongDouble::Finite { negative: false, mantissa: 0, exponent: 0 };

    /// Reads a decimal number with optional exponent, or `inf`/`infinity`. None: something else, or out of range.
    pub fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.len() >= TEXT_MAX {
            return None;
        }
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity") {
            return Some(LongDouble::Infinite { negative });
        }
        let (digits, scale) = decimal(text)?;
        if digits.is_zero() {
            return Some(LongDouble::Finite { negative, mantissa: 0, exponent: 0 });
        }
        let (mantissa, exponent) = scaled(digits, scale)?;
        (EXPONENT_MIN..=EXPONENT_MAX).contains(&exponent).then_some(LongDouble::Finite { negative, mantissa, exponent })
    }

    /// None: the sum is not finite.
    pub fn add(self, other: LongDouble) -> Option<LongDouble> {
        let (
            LongDouble::Finite { negative: n1, mantissa: m1, exponent: e1 },
            LongDouble::Finite { negative: n2, mantissa: m2, exponent: e2 },
        ) = (self, other)
        else {
            return None;
        };
        if m1 == 0 || m2 == 0 {
            return Some(match (m1, m2) {
                (0, 0) => LongDouble::Finite { negative: n1 && n2, mantissa: 0, exponent: 0 },
                (0, _) => other,
                _ => self,
            });
        }
        // The greater exponent's mantissa is shifted up by 63, so that the other one loses at most what rounding needs.
        let ((n1, m1, e1), (n2, m2, e2)) = if e1 >= e2 { ((n1, m1, e1), (n2, m2, e2)) } else { ((n2, m2, e2), (n1, m1, e1)) };
        let great = (m1 as u128) << 63 >> 1;
        let small = shift_right_sticky((m2 as u128) << 63 >> 1, (e1 - e2) as u32);
        let (negative, sum) = match (n1 == n2, great.cmp(&small)) {
            (true, _) => (n1, great + small),
            (false, Ordering::Less) => (n2, small - great),
            (false, Ordering::Equal) => return Some(LongDouble::ZERO),
            (false, Ordering::Greater) => (n1, great - small),
        };
        let (mantissa, shift) = round_to_64(sum);
        let exponent = e1 - 62 + shift;
        (exponent <= EXPONENT_MAX).then_some(LongDouble::Finite { negative, mantissa, exponent })
    }

    /// As C's `%.17Lf` without trailing zeros: what Redis stores.
    pub fn text(self) -> String {
        let (negative, mantissa, exponent) = match self {
            LongDouble::Infinite { negative } => return if negative { "-inf" } else { "inf" }.to_string(),
            LongDouble::Finite { negative, mantissa, exponent } => (negative, mantissa, exponent),
        };
        let text =
            if exponent >= 0 { whole_text(mantissa, exponent as u32) } else { fraction_text(mantissa, exponent.unsigned_abs()) };
        let sign = if negative && text != "0" { "-" } else { "" };
        format!("{sign}{text}")
    }
}

const FRACTION_DIGITS: usize = 17;

fn fraction_text(mantissa: u64, shift: u32) -> String {
    // Below 2^64 * 10^17 < 2^121.
    let scaled = mantissa as u128 * 10u128.pow(FRACTION_DIGITS as u32);
    let rounded = if shift > 125 { 0 } else { round_half_even(scaled, shift) };
    let digits = format!("{rounded:0>width$}", width = FRACTION_DIGITS + 1);
    let (whole, fraction) = digits.split_at(digits.len() - FRACTION_DIGITS);
    match fraction.trim_end_matches('0') {
        "" => whole.to_string(),
        fraction => format!("{whole}.{fraction}"),
    }
}

fn whole_text(mantissa: u64, shift: u32) -> String {
    let mut number = Big::from(mantissa);
    number.shift_left(shift);
    number.decimal()
}

/// `value >> shift`, with the lowest bit set when a set bit fell out: enough to round correctly later.
fn shift_right_sticky(value: u128, shift: u32) -> u128 {
    match shift {
        0 => value,
        1..=127 => value >> shift | (value << (128 - shift) != 0) as u128,
        _ => (value != 0) as u128,
    }
}

fn round_half_even(value: u128, shift: u32) -> u128 {
    if shift == 0 {
        return value;
    }
    let (kept, lost, half) = (value >> shift, value & ((1 << shift) - 1), 1u128 << (shift - 1));
    kept + (lost > half || (lost == half && kept & 1 == 1)) as u128
}

/// A 64-bit mantissa with its top bit set, and how far `value` was shifted right for it. `value` is not 0.
fn round_to_64(value: u128) -> (u64, i32) {
    let bits = 128 - value.leading_zeros() as i32;
    if bits <= 64 {
        return ((value as u64) << (64 - bits), bits - 64);
    }
    let rounded = round_half_even(value, (bits - 64) as u32);
    if rounded >> 64 != 0 { (1 << 63, bits - 63) } else { (rounded as u64, bits - 64) }
}

/// All digits of a decimal number as an integer, and the power of ten to multiply it by.
fn decimal(text: &[u8]) -> Option<(Big, i32)> {
    let (number, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&text[..at], decimal_exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let point = number.iter().position(|&byte| byte == b'.');
    let (whole, fraction) = point.map_or((number, &b""[..]), |at| (&number[..at], &number[at + 1..]));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut digits = Big::from(0);
    for &byte in whole.iter().chain(fraction) {
        if !byte.is_ascii_digit() {
            return None;
        }
        digits.multiply_add(10, (byte - b'0') as u32);
    }
    Some((digits, exponent - fraction.len() as i32))
}

fn decimal_exponent(text: &[u8]) -> Option<i32> {
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Beyond this everything is out of range whatever the digits; the limit keeps the arithmetic small.
    const BEYOND: i32 = 20_000;
    let value = std::str::from_utf8(digits).expect("digits").parse().unwrap_or(BEYOND).min(BEYOND);
    Some(if text[0] == b'-' { -value } else { value })
}

/// `digits * 10^scale` (not 0) as mantissa and exponent. None: far out of range.
fn scaled(mut digits: Big, scale: i32) -> Option<(u64, i32)> {
    let decimal_magnitude = digits.bits() as i32 * 3 / 10 + scale;
    if !(-5100..=5100).contains(&decimal_magnitude) {
        return None;
    }
    if scale >= 0 {
        digits.multiply_power_of_ten(scale as u32);
        return Some(digits.top_64(0));
    }
    let mut divisor = Big::from(1);
    divisor.multiply_power_of_ten(scale.unsigned_abs());
    // Scale the dividend so that the quotient has 66 or 67 bits: 64, one for rounding, and the rest tells "more than half".
    let shift = 66 + divisor.bits() as i32 - digits.bits() as i32;
    if shift >= 0 {
        digits.shift_left(shift as u32)
    } else {
        divisor.shift_left(shift.unsigned_abs())
    }
    let (quotient, exact) = digits.divide(&divisor);
    let (mantissa, shifted) = round_to_64(quotient << 1 | !exact as u128);
    Some((mantissa, shifted - 1 - shift))
}

/// A natural number of any size, least significant limb first, without leading zero limbs.
#[derive(Clone, Debug)]
struct Big(Vec<u32>);

impl From<u64> for Big {
    fn from(value: u64) -> Big {
        let mut big = Big(vec![value as u32, (value >> 32) as u32]);
        big.trim();
        big
    }
}

impl Big {
    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    fn bits(&self) -> u32 {
        self.0.last().map_or(0, |top| self.0.len() as u32 * 32 - top.leading_zeros())
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn multiply_add(&mut self, factor: u32, addend: u32) {
        let mut carry = addend as u64;
        for limb in &mut self.0 {
            let product = *limb as u64 * factor as u64 + carry;
            *limb = product as u32;
            carry = product >> 32;
        }
        if carry != 0 {
            self.0.push(carry as u32);
        }
    }

    fn multiply_power_of_ten(&mut self, mut power: u32) {
        while power >= 9 {
            self.multiply_add(1_000_000_000, 0);
            power -= 9;
        }
        self.multiply_add(10u32.pow(power), 0);
    }

    fn shift_left(&mut self, bits: u32) {
        if self.is_zero() {
            return;
        }
        self.multiply_add(1 << (bits % 32), 0);
        self.0.splice(0..0, std::iter::repeat_n(0, (bits / 32) as usize));
    }

    /// The number as a rounded 64-bit mantissa times a power of two.
    fn top_64(&self, exponent: i32) -> (u64, i32) {
        let limbs = self.0.len();
        let mut top = 0u128;
        for limb in self.0.iter().rev().take(3) {
            top = top << 32 | *limb as u128;
        }
        let rest = limbs.saturating_sub(3);
        let sticky = self.0[..rest].iter().any(|&limb| limb != 0) as u128;
        let (mantissa, shifted) = round_to_64(top << 1 | sticky);
        (mantissa, exponent + shifted - 1 + rest as i32 * 32)
    }

    /// Quotient below 2^68 by bits, and whether nothing remains.
    fn divide(mut self, divisor: &Big) -> (u128, bool) {
        let mut quotient = 0u128;
        let mut shifted = divisor.clone();
        let steps = (self.bits() + 1).saturating_sub(divisor.bits());
        shifted.shift_left(steps);
        for _ in 0..=steps {
            quotient <<= 1;
            if self.at_least(&shifted) {
                self.subtract(&shifted);
                quotient |= 1;
            }
            shifted.halve();
        }
        (quotient, self.is_zero())
    }

    fn at_least(&self, other: &Big) -> bool {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev())) != Ordering::Less
    }

    fn subtract(&mut self, other: &Big) {
        let mut borrow = 0i64;
        for (at, limb) in self.0.iter_mut().enumerate() {
            let difference = *limb as i64 - other.0.get(at).copied().unwrap_or(0) as i64 + borrow;
            *limb = difference as u32;
            borrow = difference >> 32;
        }
        self.trim();
    }

    fn halve(&mut self) {
        let mut carry = 0;
        for limb in self.0.iter_mut().rev() {
            let low = *limb & 1;
            *limb = *limb >> 1 | carry << 31;
            carry = low;
        }
        self.trim();
    }

    fn decimal(mut self) -> String {
        let mut groups = Vec::new();
        while !self.is_zero() {
            let mut rest = 0u64;
            for limb in self.0.iter_mut().rev() {
                let value = rest << 32 | *limb as u64;
                *limb = (value / 1_000_000_000) as u32;
                rest = value % 1_000_000_000;
            }
            self.trim();
            groups.push(rest);
        }
        let Some(first) = groups.pop() else { return "0".to_string() };
        groups.iter().rev().fold(first.to_string(), |text, group| text + &format!("{group:09}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_redis_on_x86() {
        // From INCRBYFLOAT of redis-server 7.0.15 on x86_64.
        for (a, b, sum) in [
            ("3.0", "1.1", "4.1"),
            ("0.1", "0.2", "0.3"),
            ("10.5", "0.1", "10.6"),
            ("-5.0e3", "2.0e2", "-4800"),
            ("1e17", "0.1", "100000000000000000.1015625"),
            ("1", "1e-17", "1.00000000000000001"),
            ("1", "1e-18", "1"),
            ("-1", "1", "0"),
            ("5", "-5.00000000000000000", "0"),
            ("1e300", "1", CHECKED_1E300),
        ] {
            let parse = |text: &str| LongDouble::parse(text.as_bytes()).expect(text);
            assert_eq!(parse(a).add(parse(b)).expect("finite").text(), sum, "{a} + {b}");
        }
    }

    const CHECKED_1E300: &str = concat!(
        "1000000000000000000008997324079559193870523944273290747938260082321265646596180935755849152083750497",
        "1903503725086142748359035925561846729839130962605207486462873271356418436532940842551076060167897266",
        "5293237003055138294762099454029477278188962060617926761162709741065056718738610569008942491510400614",
        "4",
    );

    #[test]
    fn only_numbers_are_read() {
        for text in ["", "-", ".", "1e", "e1", " 1", "1 ", "1.2.3", "abc", "0x1", "nan", "1e5000", "1e-5000", "--1"] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text:?}");
        }
        for text in ["1", "+1", ".5", "5.", "1e10", "1E+10", "1e-10", "inf", "-INFINITY", "0e99999", "-0"] {
            assert!(LongDouble::parse(text.as_bytes()).is_some(), "{text:?}");
        }
        assert_eq!(LongDouble::parse(b"inf").and_then(|inf| inf.add(LongDouble::ZERO)), None);
    }
}
