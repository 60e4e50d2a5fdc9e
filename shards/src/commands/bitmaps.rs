//! Strings as rows of bits: SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP. Bit 0 is the highest bit of the first byte.

use super::arguments::{
    Failure, STRING_LEN_MAX, SYNTAX, answer, find_string, integer, is, make_raw, read_string, string_at, string_to_change,
};
use super::context::Ctx;
use super::events::EventClasses;
use super::keys::delete_even_expired;
use super::substrings::{clamp_each, clamp_range};
use super::table::{Command, Multi, Route, Run, Spec, flags};
use crate::resp::parse_integer;
use crate::types::{Str, Value};
use std::ops::Range;

pub static COMMANDS: &[Command] = &[
    Command::new("setbit", 4, flags::WRITE | flags::DENYOOM, Route::Keys(Multi::Never), Run::Data(setbit))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW access update")])
        .acl(&["write", "bitmap", "slow"])
        .arguments("key offset:integer value:integer")
        .doc("bitmap", "2.2.0", "O(1)", "Sets or clears the bit at offset in the string value stored at key"),
    Command::new("getbit", 3, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(getbit))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RO access")])
        .acl(&["read", "bitmap", "fast"])
        .arguments("key offset:integer")
        .doc("bitmap", "2.2.0", "O(1)", "Returns the bit value at offset in the string value stored at key"),
    Command::new("bitcount", -2, flags::READONLY, Route::Keys(Multi::Never), Run::Data(bitcount))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RO access")])
        .acl(&["read", "bitmap", "slow"])
        .arguments("key [range(start:integer [end-unit-block(end:integer [unit(BYTE | BIT)])])]")
        .doc("bitmap", "2.6.0", "O(N)", "Count set bits in a string"),
    Command::new("bitpos", -3, flags::READONLY, Route::Keys(Multi::Never), Run::Data(bitpos))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RO access")])
        .acl(&["read", "bitmap", "slow"])
        .arguments("key bit:integer [range(start:integer [end-unit-block(end:integer [unit(BYTE | BIT)])])]")
        .doc("bitmap", "2.8.7", "O(N)", "Find first bit set or clear in a string"),
    Command::new("bitop", -4, flags::WRITE | flags::DENYOOM, Route::Keys(Multi::Gather), Run::Data(bitop))
        .keys(2, -1, 1)
        .specs(&[Spec::at(2, "OW update"), Spec::range(3, -1, 1, "RO access")])
        .acl(&["write", "bitmap", "slow"])
        .arguments("operation(AND | OR | XOR | NOT) destkey:key key...")
        .doc("bitmap", "2.6.0", "O(N)", "Perform bitwise operations between strings"),
];

/// SETBIT key offset value
fn setbit(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let (key, offset) = (args[1], bit_offset(args[2], ctx.replaying)?);
        let on = match parse_integer(args[3]) {
            Some(bit @ 0..=1) => bit == 1,
            _ => return Err("ERR bit is not an integer or out of range".into()),
        };
        let entry = find_string(ctx, key)?;
        let (index, mask) = (offset >> 3, 0x80 >> (offset & 7));
        let (old, grows) = match entry {
            Some(entry) => (string_at(ctx, entry).byte_at(index), string_at(ctx, entry).len() <= index),
            None => (0, true),
        };
        let new = if on { old | mask } else { old & !mask };
        if grows || new != old {
            string_to_change(ctx, key, entry).write_at(index, &[new]);
            ctx.effect(&[b"SETBIT", key, args[2], args[3]]);
            ctx.notify(EventClasses::STRING, "setbit", key);
        } else {
            make_raw(ctx, entry);
        }
        ctx.reply.integer((old & mask != 0) as i64);
        Ok(())
    });
}

/// The index of a bit inside the longest string allowed.
pub fn bit_offset(text: &[u8], replaying: bool) -> Result<usize, Failure> {
    checked_bit_offset(parse_integer(text), replaying)
}

pub fn checked_bit_offset(offset: Option<i64>, replaying: bool) -> Result<usize, Failure> {
    let offset = offset.and_then(|offset| usize::try_from(offset).ok());
    offset
        .filter(|offset| replaying || offset >> 3 < STRING_LEN_MAX)
        .ok_or(Failure::Borrowed("ERR bit offset is not an integer or out of range"))
}

/// GETBIT key offset
fn getbit(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let offset = bit_offset(args[2], ctx.replaying)?;
        let byte = read_string(ctx, args[1])?.map_or(0, |entry| string_at(ctx, entry).byte_at(offset >> 3));
        ctx.reply.integer((byte >> (7 - (offset & 7)) & 1) as i64);
        Ok(())
    });
}

/// A part of a string in bytes or bits, as BITCOUNT and BITPOS take it.
struct BitRange {
    start: i64,
    /// None: up to the end of the string.
    end: Option<i64>,
    in_bits: bool,
}

impl BitRange {
    fn unit_in_bits(word: &[u8]) -> Result<bool, Failure> {
        match () {
            () if is(word, "BIT") => Ok(true),
            () if is(word, "BYTE") => Ok(false),
            () => Err(SYNTAX),
        }
    }

    /// Bits of a string of `len` bytes, half open; None = empty.
    fn bits(&self, len: usize, clamp: fn(i64, i64, usize) -> Option<Range<usize>>) -> Option<Range<usize>> {
        let units = if self.in_bits { len * 8 } else { len };
        let range = clamp(self.start, self.end.unwrap_or(units as i64 - 1), units)?;
        Some(if self.in_bits { range } else { range.start * 8..range.end * 8 })
    }
}

/// BITCOUNT key [start end [BYTE | BIT]]
fn bitcount(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let range = match *args {
            [_, _] => BitRange { start: 0, end: None, in_bits: false },
            [_, _, start, end] => BitRange { start: integer(start)?, end: Some(integer(end)?), in_bits: false },
            [_, _, start, end, unit] => {
                let (start, end) = (integer(start)?, Some(integer(end)?));
                BitRange { start, end, in_bits: BitRange::unit_in_bits(unit)? }
            }
            _ => return Err(SYNTAX),
        };
        let Some(entry) = read_string(ctx, args[1])? else {
            ctx.reply.integer(0);
            return Ok(());
        };
        let string = string_at(ctx, entry);
        let count = range.bits(string.len(), clamp_range).map_or(0, |bits| {
            let bytes = string.range(bits.start / 8, bits.end.div_ceil(8));
            count_ones(&bytes, bits.start % 8, bits.len())
        });
        ctx.reply.integer(count as i64);
        Ok(())
    });
}

/// Set bits among the `len` bits that start at bit `skip` (below 8) of `bytes`.
fn count_ones(bytes: &[u8], skip: usize, len: usize) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let all: u64 = words.iter().map(|word| u64::from_ne_bytes(*word).count_ones() as u64).sum::<u64>()
        + rest.iter().map(|byte| byte.count_ones() as u64).sum::<u64>();
    let before = bytes.first().map_or(0, |first| edge_ones(*first, 0, skip));
    let after = match (skip + len) % 8 {
        0 => 0,
        used => bytes.last().map_or(0, |last| edge_ones(*last, used, 8)),
    };
    all - before - after
}

/// Set bits of `byte` from bit `from` to before bit `to`, the highest bit being bit 0.
fn edge_ones(byte: u8, from: usize, to: usize) -> u64 {
    (from..to).filter(|bit| byte & (0x80 >> bit) != 0).count() as u64
}

/// BITPOS key bit [start [end [BYTE | BIT]]]
fn bitpos(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let bit = match integer(args[2])? {
            bit @ 0..=1 => bit == 1,
            _ => return Err("ERR The bit argument must be 1 or 0.".into()),
        };
        let range = match *args {
            [_, _, _] => BitRange { start: 0, end: None, in_bits: false },
            [_, _, _, start] => BitRange { start: integer(start)?, end: None, in_bits: false },
            [_, _, _, start, end] => BitRange { start: integer(start)?, end: Some(integer(end)?), in_bits: false },
            [_, _, _, start, end, unit] => {
                let start = integer(start)?;
                let in_bits = BitRange::unit_in_bits(unit)?;
                BitRange { start, end: Some(integer(end)?), in_bits }
            }
            _ => return Err(SYNTAX),
        };
        let position = match read_string(ctx, args[1])? {
            // An absent key is an endless row of zero bits.
            None => -(bit as i64),
            Some(entry) => find_bit(string_at(ctx, entry), bit, &range),
        };
        ctx.reply.integer(position);
        Ok(())
    });
}

/// The first such bit, or -1. A string without a zero bit is followed by zeros unless the range has an explicit end.
fn find_bit(string: &Str, bit: bool, range: &BitRange) -> i64 {
    let Some(bits) = range.bits(string.len(), clamp_each) else { return -1 };
    let bytes = string.range(bits.start / 8, bits.end.div_ceil(8));
    let skipped = if bit { 0x00 } else { 0xff };
    let base = bits.start / 8 * 8;
    let mut at = bits.start;
    while at < bits.end {
        let byte = bytes[(at - base) / 8];
        if byte == skipped {
            at = (at / 8 + 1) * 8;
            continue;
        }
        if (byte & (0x80 >> (at % 8)) != 0) == bit {
            return at as i64;
        }
        at += 1;
    }
    if bit || range.end.is_some() { -1 } else { bits.end as i64 }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BitOp {
    And,
    Or,
    Xor,
    Not,
}

/// BITOP AND | OR | XOR | NOT destkey key [key …]
fn bitop(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let op = match () {
            () if is(args[1], "AND") => BitOp::And,
            () if is(args[1], "OR") => BitOp::Or,
            () if is(args[1], "XOR") => BitOp::Xor,
            () if is(args[1], "NOT") => BitOp::Not,
            () => return Err(SYNTAX),
        };
        if op == BitOp::Not && args.len() != 4 {
            return Err("ERR BITOP NOT must be called with a single source key.".into());
        }
        let mut sources = Vec::with_capacity(args.len() - 3);
        for key in &args[3..] {
            let bytes = read_string(ctx, key)?.map_or(Vec::new(), |entry| string_at(ctx, entry).bytes().into_owned());
            sources.push(bytes);
        }
        let result = combine(op, sources);
        store_result(ctx, args[2], &result);
        ctx.reply.integer(result.len() as i64);
        Ok(())
    });
}

/// Shorter strings count as padded with zeros.
fn combine(op: BitOp, sources: Vec<Vec<u8>>) -> Vec<u8> {
    let len = sources.iter().map(Vec::len).max().unwrap_or(0);
    let mut sources = sources.into_iter();
    let mut result = sources.next().expect("the arity wants a source");
    result.resize(len, 0);
    if op == BitOp::Not {
        result.iter_mut().for_each(|byte| *byte = !*byte);
    }
    for source in sources {
        let (common, beyond) = result.split_at_mut(source.len());
        let pairs = common.iter_mut().zip(&source);
        match op {
            BitOp::And => {
                pairs.for_each(|(a, b)| *a &= b);
                beyond.fill(0);
            }
            BitOp::Or => pairs.for_each(|(a, b)| *a |= b),
            BitOp::Xor => pairs.for_each(|(a, b)| *a ^= b),
            BitOp::Not => unreachable!("NOT has one source"),
        }
    }
    result
}

fn store_result(ctx: &mut Ctx<'_>, key: &[u8], result: &[u8]) {
    if result.is_empty() {
        delete_even_expired(ctx, key);
        return;
    }
    // Written into an empty string, because Redis keeps a result as `raw`, also when it looks like an integer.
    let mut string = Str::new(b"");
    string.append(result);
    ctx.put(key, Value::Str(string), None);
    ctx.effect(&[b"SET", key, result]);
    ctx.notify(EventClasses::STRING, "set", key);
}
