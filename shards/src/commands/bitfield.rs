//! Strings as rows of integers of any width: BITFIELD, BITFIELD_RO.

use super::arguments::{
    Failure, SYNTAX, answer, find_string, integer, is, make_raw, read_string, string_at, string_at_mut, string_to_change,
};
use super::bitmaps::{bit_offset, checked_bit_offset};
use super::context::Ctx;
use super::events::EventClasses;
use super::table::{Command, Multi, Route, Run, Spec, flags};
use crate::keyspace::Entry;
use crate::resp::parse_integer;
use crate::types::Str;

pub static COMMANDS: &[Command] = &[
    Command::new("bitfield", -2, flags::WRITE | flags::DENYOOM, Route::Keys(Multi::Never), Run::Data(bitfield))
        .keys(1, 1, 1)
        .specs(&[
            Spec::at(1, "RW access update variable_flags").notes("This command allows both access and modification of the key")
        ])
        .acl(&["write", "bitmap", "slow"])
        .arguments(
            "key [operation(GET get-block(encoding offset:integer) | write([OVERFLOW overflow-block(WRAP | \
             SAT | FAIL)] write-operation(SET set-block(encoding offset:integer value:integer) | INCRBY \
             incrby-block(encoding offset:integer increment:integer))))...]",
        )
        .doc("bitmap", "3.2.0", "O(1) for each subcommand specified", "Perform arbitrary bitfield integer operations on strings"),
    Command::new("bitfield_ro", -2, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(bitfield_ro))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RO access")])
        .acl(&["read", "bitmap", "fast"])
        .arguments("key [GET get-block(encoding offset:integer)]...")
        .doc(
            "bitmap",
            "6.0.0",
            "O(1) for each subcommand specified",
            "Perform arbitrary bitfield integer operations on strings. Read-only variant of BITFIELD",
        ),
];

/// BITFIELD key [GET type offset | [OVERFLOW WRAP | SAT | FAIL] SET type offset value | INCRBY type offset increment …]
fn bitfield(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let operations = parse(&args[2..], ctx.replaying)?;
        run(ctx, args, &operations)
    });
}

/// BITFIELD_RO key [GET type offset …]
fn bitfield_ro(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let operations = parse(&args[2..], ctx.replaying)?;
        if operations.iter().any(Operation::writes) {
            return Err("ERR BITFIELD_RO only supports the GET subcommand".into());
        }
        run(ctx, args, &operations)
    });
}

/// An integer type of 1 to 64 bits (unsigned: 63).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct FieldType {
    signed: bool,
    bits: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Get,
    Set(i64),
    IncrBy(i64),
}

#[derive(Clone, Copy, Debug)]
struct Operation {
    action: Action,
    field: FieldType,
    offset: usize,
    overflow: Overflow,
}

impl Operation {
    fn writes(&self) -> bool {
        self.action != Action::Get
    }

    fn last_byte(&self) -> usize {
        (self.offset + self.field.bits as usize - 1) / 8
    }
}

fn parse(words: &[&[u8]], replaying: bool) -> Result<Vec<Operation>, Failure> {
    let (mut operations, mut overflow) = (Vec::new(), Overflow::Wrap);
    let mut at = 0;
    while at < words.len() {
        let (word, left) = (words[at], words.len() - at - 1);
        let (takes_value, is_set) = match () {
            () if is(word, "GET") && left >= 2 => (false, false),
            () if is(word, "SET") && left >= 3 => (true, true),
            () if is(word, "INCRBY") && left >= 3 => (true, false),
            () if is(word, "OVERFLOW") && left >= 1 => {
                overflow = overflow_type(words[at + 1])?;
                at += 2;
                continue;
            }
            () => return Err(SYNTAX),
        };
        let field = FieldType::parse(words[at + 1])?;
        let offset = field_offset(words[at + 2], field, replaying)?;
        let action = match (takes_value, is_set) {
            (false, _) => Action::Get,
            (true, true) => Action::Set(integer(words[at + 3])?),
            (true, false) => Action::IncrBy(integer(words[at + 3])?),
        };
        operations.push(Operation { action, field, offset, overflow });
        at += if takes_value { 4 } else { 3 };
    }
    Ok(operations)
}

fn overflow_type(word: &[u8]) -> Result<Overflow, Failure> {
    match () {
        () if is(word, "WRAP") => Ok(Overflow::Wrap),
        () if is(word, "SAT") => Ok(Overflow::Saturate),
        () if is(word, "FAIL") => Ok(Overflow::Fail),
        () => Err("ERR Invalid OVERFLOW type specified".into()),
    }
}

impl FieldType {
    fn parse(word: &[u8]) -> Result<FieldType, Failure> {
        let (signed, bits) = match word {
            [b'i', bits @ ..] => (true, parse_integer(bits)),
            [b'u', bits @ ..] => (false, parse_integer(bits)),
            _ => (false, None),
        };
        let bits_max = if signed { 64 } else { 63 };
        match bits {
            Some(bits) if (1..=bits_max).contains(&bits) => Ok(FieldType { signed, bits: bits as u32 }),
            _ => Err("ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.".into()),
        }
    }

    /// Smallest and greatest value.
    fn limits(self) -> (i128, i128) {
        if self.signed { (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1) } else { (0, (1 << self.bits) - 1) }
    }

    /// The lowest bits as a value of this type.
    fn wrap(self, value: i128) -> i128 {
        let low = value & ((1 << self.bits) - 1);
        let negative = self.signed && low >> (self.bits - 1) & 1 == 1;
        if negative { low - (1 << self.bits) } else { low }
    }
}

/// `100`, or `#100`: counted in fields of this type.
fn field_offset(word: &[u8], field: FieldType, replaying: bool) -> Result<usize, Failure> {
    match word {
        [b'#', index @ ..] => {
            checked_bit_offset(parse_integer(index).map(|index| index.wrapping_mul(field.bits as i64)), replaying)
        }
        _ => bit_offset(word, replaying),
    }
}

fn run(ctx: &mut Ctx<'_>, args: &[&[u8]], operations: &[Operation]) -> Result<(), Failure> {
    let key = args[1];
    let last_written = operations.iter().filter(|operation| operation.writes()).map(Operation::last_byte).max();
    let entry = match last_written {
        None => read_string(ctx, key)?,
        Some(_) => find_string(ctx, key)?,
    };
    // Like Redis, make room for the furthest field first: it counts as a change even when every operation fails.
    let grown = last_written.is_some_and(|last| grow(ctx, key, entry, last));
    let entry = if grown { ctx.keyspace.find(ctx.db, key) } else { entry };
    if last_written.is_some() {
        make_raw(ctx, entry);
    }
    ctx.reply.array(operations.len());
    let (mut wrote, mut changed) = (false, grown);
    for operation in operations {
        let outcome = run_one(ctx, entry, operation);
        wrote |= outcome == Outcome::Changed || (outcome == Outcome::Kept && grown);
        changed |= outcome == Outcome::Changed;
    }
    if changed {
        ctx.effect(args);
    }
    // Not of a string that has only grown, as every operation failed.
    if wrote {
        ctx.notify(EventClasses::STRING, "setbit", key);
    }
    Ok(())
}

fn grow(ctx: &mut Ctx<'_>, key: &[u8], entry: Option<Entry>, last_byte: usize) -> bool {
    let grows = entry.is_none_or(|entry| string_at(ctx, entry).len() <= last_byte);
    if grows {
        string_to_change(ctx, key, entry).write_at(last_byte, &[0]);
    }
    grows
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Read,
    /// The value did not fit.
    Failed,
    /// Written, and it was this value already.
    Kept,
    Changed,
}

/// Answers one operation.
fn run_one(ctx: &mut Ctx<'_>, entry: Option<Entry>, operation: &Operation) -> Outcome {
    let old = entry.map_or(0, |entry| field_at(string_at(ctx, entry), operation));
    let wanted = match operation.action {
        Action::Get => {
            ctx.reply.integer(old as i64);
            return Outcome::Read;
        }
        // Redis reads a negative value for an unsigned field as a huge one: it overflows upwards.
        Action::Set(value) if operation.field.signed => value as i128,
        Action::Set(value) => value as u64 as i128,
        Action::IncrBy(increment) => old + increment as i128,
    };
    let Some(new) = fit(wanted, operation) else {
        ctx.reply.null();
        return Outcome::Failed;
    };
    ctx.reply.integer(if let Action::Set(_) = operation.action { old } else { new } as i64);
    if new == old {
        return Outcome::Kept;
    }
    let entry = entry.expect("an operation that writes made the key");
    write_field(string_at_mut(ctx, entry), operation, new);
    Outcome::Changed
}

/// The value that is stored. None: it does not fit and the operation is to fail.
fn fit(wanted: i128, operation: &Operation) -> Option<i128> {
    let (min, max) = operation.field.limits();
    if (min..=max).contains(&wanted) {
        return Some(wanted);
    }
    match operation.overflow {
        Overflow::Wrap => Some(operation.field.wrap(wanted)),
        Overflow::Saturate => Some(if saturates_upwards(wanted, max, operation) { max } else { min }),
        Overflow::Fail => None,
    }
}

/// Redis compares 64-bit differences, which wrap around: a SET of a signed field to a number near
/// -2^63 saturates at the upper end.
fn saturates_upwards(wanted: i128, max: i128, operation: &Operation) -> bool {
    match operation.action {
        Action::Set(_) if operation.field.signed => ((max - wanted) as i64) < 0,
        _ => wanted > max,
    }
}

/// A field lies in at most 9 bytes: their bits as one number, and how far the field is from its low end.
fn window(string: &Str, operation: &Operation) -> (u128, u32) {
    let (first, last) = (operation.offset / 8, operation.last_byte());
    let bits = (first..=last).fold(0u128, |bits, index| bits << 8 | string.byte_at(index) as u128);
    let end = (operation.offset % 8) as u32 + operation.field.bits;
    (bits, (last - first + 1) as u32 * 8 - end)
}

fn field_at(string: &Str, operation: &Operation) -> i128 {
    let (bits, shift) = window(string, operation);
    operation.field.wrap((bits >> shift) as i128)
}

fn write_field(string: &mut Str, operation: &Operation, value: i128) {
    let (bits, shift) = window(string, operation);
    let mask = ((1u128 << operation.field.bits) - 1) << shift;
    let bits = bits & !mask | (value as u128) << shift & mask;
    let bytes = operation.last_byte() - operation.offset / 8 + 1;
    string.write_at(operation.offset / 8, &bits.to_be_bytes()[16 - bytes..]);
}
