//! Expiry options of SET, GETEX, SETEX and RESTORE as one absolute time.

use super::arguments::{Failure, integer, is};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    Seconds,
    Milliseconds,
}

impl Unit {
    /// Of an option's word, and whether its time is absolute.
    pub fn of_option(word: &[u8]) -> Option<(Unit, bool)> {
        match () {
            () if is(word, "EX") => Some((Unit::Seconds, false)),
            () if is(word, "PX") => Some((Unit::Milliseconds, false)),
            () if is(word, "EXAT") => Some((Unit::Seconds, true)),
            () if is(word, "PXAT") => Some((Unit::Milliseconds, true)),
            () => None,
        }
    }
}

/// An expiry as the client wrote it.
#[derive(Clone, Copy, Debug)]
pub struct ExpiryTime<'a> {
    pub text: &'a [u8],
    pub unit: Unit,
    /// A Unix time (EXAT, PXAT), or counted from now (EX, PX).
    pub absolute: bool,
}

impl ExpiryTime<'_> {
    /// Unix time in milliseconds. Zero, negative and overflowing times are errors that name the command.
    pub fn at_ms(&self, now_ms: i64, command: &str) -> Result<i64, Failure> {
        let value = integer(self.text)?;
        self.positive_ms(value, now_ms).ok_or_else(|| invalid_expire(command))
    }

    fn positive_ms(&self, value: i64, now_ms: i64) -> Option<i64> {
        if value <= 0 {
            return None;
        }
        let value = if self.unit == Unit::Seconds { value.checked_mul(1000)? } else { value };
        if self.absolute { Some(value) } else { value.checked_add(now_ms) }
    }
}

pub fn invalid_expire(command: &str) -> Failure {
    format!("ERR invalid expire time in '{command}' command").into()
}
