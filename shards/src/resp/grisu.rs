//! Digits of doubles by Grisu2 (Florian Loitsch, "Printing Floating-Point Numbers Quickly and Accurately with Integers", 2010).
//!
//! Redis 7.2 writes scores by this algorithm, so we do. The digits always read back as the same double, but in one case in some
//! hundred they are not the closest ones, in one in some thousand not the fewest; the standard library's would differ there.
//! Which of several powers of ten is taken decides the last digit: steps of 8 and the search below are those of Redis's fpconv.

/// Digits of a double as text fit in so many bytes.
pub const DIGITS_MAX: usize = 17;

/// A number `fraction * 2^exponent`.
#[derive(Clone, Copy)]
struct Float {
    fraction: u64,
    exponent: i32,
}

impl Float {
    fn normalized(self) -> Float {
        let shift = self.fraction.leading_zeros();
        Float { fraction: self.fraction << shift, exponent: self.exponent - shift as i32 }
    }

    /// The product's upper 64 bits, rounded.
    fn times(self, other: Float) -> Float {
        let product = self.fraction as u128 * other.fraction as u128 + (1 << 63);
        Float { fraction: (product >> 64) as u64, exponent: self.exponent + other.exponent + 64 }
    }
}

/// Digits and exponent of ten of a finite double above 0: `value = digits * 10^exponent`.
pub fn digits(value: f64, out: &mut [u8; DIGITS_MAX]) -> (usize, i32) {
    let exact = exact(value);
    let (lower, upper) = boundaries(exact);
    let (power, exponent) = power_for(upper.exponent);
    let mut lower = lower.times(power);
    let mut upper = upper.times(power);
    // Narrowed by the error that the products may have.
    lower.fraction += 1;
    upper.fraction -= 1;
    let value = exact.normalized().times(power);
    let (len, kappa) = generate(value, lower, upper, out);
    (len, kappa - exponent)
}

const FRACTION_BITS: u32 = 52;
const HIDDEN_BIT: u64 = 1 << FRACTION_BITS;
const EXPONENT_BIAS: i32 = 1023 + 52;

fn exact(value: f64) -> Float {
    let bits = value.to_bits();
    let (fraction, biased) = (bits & (HIDDEN_BIT - 1), (bits >> FRACTION_BITS & 0x7ff) as i32);
    match biased {
        0 => Float { fraction, exponent: 1 - EXPONENT_BIAS },
        biased => Float { fraction: fraction | HIDDEN_BIT, exponent: biased - EXPONENT_BIAS },
    }
}

/// Half way to the next double below and above, with the same exponent.
fn boundaries(exact: Float) -> (Float, Float) {
    let upper = Float { fraction: (exact.fraction << 1) + 1, exponent: exact.exponent - 1 }.normalized();
    // Below a power of two doubles lie closer together.
    let shift = if exact.fraction == HIDDEN_BIT { 2 } else { 1 };
    let lower = Float { fraction: (exact.fraction << shift) - 1, exponent: exact.exponent - shift };
    let lower = Float { fraction: lower.fraction << (lower.exponent - upper.exponent), exponent: upper.exponent };
    (lower, upper)
}

const POWER_FIRST: i32 = -348;
const POWER_STEP: i32 = 8;

/// 10^k for every eighth k from -348 on, as fractions with the top bit set, rounded; the exponent follows from k.
static POWERS: [u64; 87] = [
    0xfa8fd5a0081c0288,
    0xbaaee17fa23ebf76,
    0x8b16fb203055ac76,
    0xcf42894a5dce35ea,
    0x9a6bb0aa55653b2d,
    0xe61acf033d1a45df,
    0xab70fe17c79ac6ca,
    0xff77b1fcbebcdc4f,
    0xbe5691ef416bd60c,
    0x8dd01fad907ffc3c,
    0xd3515c2831559a83,
    0x9d71ac8fada6c9b5,
    0xea9c227723ee8bcb,
    0xaecc49914078536d,
    0x823c12795db6ce57,
    0xc21094364dfb5637,
    0x9096ea6f3848984f,
    0xd77485cb25823ac7,
    0xa086cfcd97bf97f4,
    0xef340a98172aace5,
    0xb23867fb2a35b28e,
    0x84c8d4dfd2c63f3b,
    0xc5dd44271ad3cdba,
    0x936b9fcebb25c996,
    0xdbac6c247d62a584,
    0xa3ab66580d5fdaf6,
    0xf3e2f893dec3f126,
    0xb5b5ada8aaff80b8,
    0x87625f056c7c4a8b,
    0xc9bcff6034c13053,
    0x964e858c91ba2655,
    0xdff9772470297ebd,
    0xa6dfbd9fb8e5b88f,
    0xf8a95fcf88747d94,
    0xb94470938fa89bcf,
    0x8a08f0f8bf0f156b,
    0xcdb02555653131b6,
    0x993fe2c6d07b7fac,
    0xe45c10c42a2b3b06,
    0xaa242499697392d3,
    0xfd87b5f28300ca0e,
    0xbce5086492111aeb,
    0x8cbccc096f5088cc,
    0xd1b71758e219652c,
    0x9c40000000000000,
    0xe8d4a51000000000,
    0xad78ebc5ac620000,
    0x813f3978f8940984,
    0xc097ce7bc90715b3,
    0x8f7e32ce7bea5c70,
    0xd5d238a4abe98068,
    0x9f4f2726179a2245,
    0xed63a231d4c4fb27,
    0xb0de65388cc8ada8,
    0x83c7088e1aab65db,
    0xc45d1df942711d9a,
    0x924d692ca61be758,
    0xda01ee641a708dea,
    0xa26da3999aef774a,
    0xf209787bb47d6b85,
    0xb454e4a179dd1877,
    0x865b86925b9bc5c2,
    0xc83553c5c8965d3d,
    0x952ab45cfa97a0b3,
    0xde469fbd99a05fe3,
    0xa59bc234db398c25,
    0xf6c69a72a3989f5c,
    0xb7dcbf5354e9bece,
    0x88fcf317f22241e2,
    0xcc20ce9bd35c78a5,
    0x98165af37b2153df,
    0xe2a0b5dc971f303a,
    0xa8d9d1535ce3b396,
    0xfb9b7cd9a4a7443c,
    0xbb764c4ca7a44410,
    0x8bab8eefb6409c1a,
    0xd01fef10a657842c,
    0x9b10a4e5e9913129,
    0xe7109bfba19c0c9d,
    0xac2820d9623bf429,
    0x80444b5e7aa7cf85,
    0xbf21e44003acdd2d,
    0x8e679c2f5e44ff8f,
    0xd433179d9c8cb841,
    0x9e19db92b4e31ba9,
    0xeb96bf6ebadf77d9,
    0xaf87023b9bf0ee6b,
];

fn power(index: usize) -> (Float, i32) {
    let ten = POWER_FIRST + index as i32 * POWER_STEP;
    // floor(k * log2(10)) - 63
    (Float { fraction: POWERS[index], exponent: ((ten * 217_706) >> 16) - 63 }, ten)
}

/// A power of ten, and which, that brings a number of this exponent between 2^-60 and 2^-32 times its fraction.
fn power_for(exponent: i32) -> (Float, i32) {
    const LOG10_OF_2: f64 = 0.301_029_995_663_981_14;
    let approximate = (-((exponent + POWERS.len() as i32) as f64) * LOG10_OF_2) as i32;
    let mut index = ((approximate - POWER_FIRST) / POWER_STEP) as usize;
    loop {
        let (float, ten) = power(index);
        match exponent + float.exponent + 64 {
            ..-60 => index += 1,
            -60..=-32 => return (float, ten),
            _ => index -= 1,
        }
    }
}

/// As few digits as tell a number between `lower` and `upper`, then moved towards `value`; the power of ten that is left out.
fn generate(value: Float, lower: Float, upper: Float, out: &mut [u8; DIGITS_MAX]) -> (usize, i32) {
    let shift = -upper.exponent as u32;
    let one = 1u64 << shift;
    let (mut whole, mut fraction) = ((upper.fraction >> shift) as u32, upper.fraction & (one - 1));
    let (mut distance, mut delta) = (upper.fraction - value.fraction, upper.fraction - lower.fraction);
    let (mut len, mut kappa) = (0, 10);
    let mut divisor = 1_000_000_000u32;
    while kappa > 0 {
        put(out, &mut len, whole / divisor);
        whole %= divisor;
        kappa -= 1;
        let rest = ((whole as u64) << shift) + fraction;
        if rest <= delta {
            round(&mut out[len - 1], delta, rest, (divisor as u64) << shift, distance);
            return (len, kappa);
        }
        divisor /= 10;
    }
    loop {
        (fraction, delta, distance) = (fraction * 10, delta * 10, distance.wrapping_mul(10));
        kappa -= 1;
        put(out, &mut len, (fraction >> shift) as u32);
        fraction &= one - 1;
        if fraction < delta {
            round(&mut out[len - 1], delta, fraction, one, distance);
            return (len, kappa);
        }
    }
}

/// Zeros in front are no digits.
fn put(out: &mut [u8; DIGITS_MAX], len: &mut usize, digit: u32) {
    if digit != 0 || *len != 0 {
        out[*len] = b'0' + digit as u8;
        *len += 1;
    }
}

/// Lowers the last digit while that brings the number closer to the value, which lies `distance` below the upper end.
fn round(last: &mut u8, delta: u64, mut rest: u64, step: u64, distance: u64) {
    while rest < distance && delta - rest >= step && (rest + step < distance || distance - rest > rest + step - distance) {
        *last -= 1;
        rest += step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_read_back_as_the_same_double() {
        let mut random = fastrand::Rng::with_seed(1);
        let edges = [5e-324, f64::MIN_POSITIVE, f64::MAX, 1.0, 0.1, 0.5, 1e22, 1e23, 4503599627370496.5];
        let random = std::iter::repeat_with(|| f64::from_bits(random.u64(1..f64::INFINITY.to_bits())));
        for value in edges.into_iter().chain(random.take(200_000)) {
            let mut out = [0; DIGITS_MAX];
            let (len, exponent) = digits(value, &mut out);
            let text = format!("{}e{exponent}", std::str::from_utf8(&out[..len]).expect("digits"));
            assert_eq!(text.parse(), Ok(value), "{text}");
        }
    }

    #[test]
    fn digits_that_are_not_the_best_are_those_of_redis() {
        // From ZSCORE of valkey-server 8.1.
        for (value, expected) in [
            (0.005696493712507245, "56964937125072446"),
            (595_096_872_341_723.3, "5950968723417232"),
            (904_608_260_651_772.3, "9046082606517722"),
            (4.008505818073692e279, "40085058180736923"),
        ] {
            let mut out = [0; DIGITS_MAX];
            let (len, _) = digits(value, &mut out);
            assert_eq!(std::str::from_utf8(&out[..len]), Ok(expected));
        }
    }
}
