//! Parts of strings: APPEND, STRLEN, GETRANGE, SETRANGE, LCS.

use super::arguments::{
    Failure, NumberText, STRING_LEN_MAX, SYNTAX, answer, check_string_len, find_string, integer, is, put_string, read_string,
    string_at, string_at_mut, string_to_change,
};
use super::context::Ctx;
use super::events::EventClasses;
use super::table::{Command, Multi, Route, Run, Spec, flags};
use crate::keyspace::Entry;
use std::ops::Range;

pub static COMMANDS: &[Command] = &[
Command::new("append", 3, flags::WRITE | flags::DENYOOM | flags::FAST, Route::Keys(Multi::Never), Run::Data(append))
.keys(1, 1, 1).specs(&[Spec::at(1, "RW insert")]).acl(&["write", "string", "fast"]).arguments("key value")
.doc("string", "2.0.0", "O(1). The amortized time complexity is O(1) assuming the appended value is small and the already present value is of any size, since the dynamic string library used by Redis will double the free space available on every reallocation.", "Append a value to a key"),
Command::new("strlen", 2, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(strlen))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO")]).acl(&["read", "string", "fast"]).arguments("key")
.doc("string", "2.2.0", "O(1)", "Get the length of the value stored in a key"),
Command::new("getrange", 4, flags::READONLY, Route::Keys(Multi::Never), Run::Data(getrange))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO access")]).acl(&["read", "string", "slow"]).arguments("key start:integer end:integer")
.doc("string", "2.4.0", "O(N) where N is the length of the returned string. The complexity is ultimately determined by the returned length, but because creating a substring from an existing string is very cheap, it can be considered O(1) for small strings.", "Get a substring of the string stored at a key"),
Command::new("substr", 4, flags::READONLY, Route::Keys(Multi::Never), Run::Data(getrange))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO access")]).acl(&["read", "string", "slow"]).arguments("key start:integer end:integer")
.doc("string", "1.0.0", "O(N) where N is the length of the returned string. The complexity is ultimately determined by the returned length, but because creating a substring from an existing string is very cheap, it can be considered O(1) for small strings.", "Get a substring of the string stored at a key"),
Command::new("setrange", 4, flags::WRITE | flags::DENYOOM, Route::Keys(Multi::Never), Run::Data(setrange))
.keys(1, 1, 1).specs(&[Spec::at(1, "RW update")]).acl(&["write", "string", "slow"]).arguments("key offset:integer value")
.doc("string", "2.2.0", "O(1), not counting the time taken to copy the new string in place. Usually, this string is very small so the amortized complexity is O(1). Otherwise, complexity is O(M) with M being the length of the value argument.", "Overwrite part of a string at key starting at the specified offset"),
Command::new("lcs", -3, flags::READONLY, Route::Keys(Multi::Gather), Run::Data(lcs))
.keys(1, 2, 1).specs(&[Spec::range(1, 1, 1, "RO access")]).acl(&["read", "string", "slow"]).arguments("key1:key key2:key [LEN] [IDX] [MINMATCHLEN min-match-len:integer] [WITHMATCHLEN]")
.doc("string", "7.0.0", "O(N*M) where N and M are the lengths of s1 and s2, respectively", "Find longest common substring")];

/// APPEND key value
fn append(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let (key, tail) = (args[1], args[2]);
        let len = match find_string(ctx, key)? {
            Some(entry) => {
                let len = string_at(ctx, entry).len();
                check_string_len(ctx, len, tail.len())?;
                string_at_mut(ctx, entry).append(tail);
                len + tail.len()
            }
            None => {
                put_string(ctx, key, tail, None);
                tail.len()
            }
        };
        ctx.effect(&[b"APPEND", key, tail]);
        ctx.notify(EventClasses::STRING, "append", key);
        ctx.reply.integer(len as i64);
        Ok(())
    });
}

/// STRLEN key
fn strlen(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let len = read_string(ctx, args[1])?.map_or(0, |entry| string_at(ctx, entry).len());
        ctx.reply.integer(len as i64);
        Ok(())
    });
}

/// GETRANGE key start end: both inclusive, negative = counted from the end. SUBSTR is its old name.
fn getrange(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let (start, end) = (integer(args[2])?, integer(args[3])?);
        let Some(entry) = read_string(ctx, args[1])? else {
            ctx.reply.bulk(b"");
            return Ok(());
        };
        let string = ctx.keyspace.value(entry).as_str().expect("the entry was checked to hold a string");
        let range = clamp_range(start, end, string.len()).unwrap_or(0..0);
        ctx.reply.bulk(&string.range(range.start, range.end));
        Ok(())
    });
}

/// The half-open range that Redis's inclusive `start` and `end` mean in `len` elements; None = empty.
pub fn clamp_range(start: i64, end: i64, len: usize) -> Option<Range<usize>> {
    let backwards = start < 0 && end < 0 && start > end;
    if backwards { None } else { clamp_each(start, end, len) }
}

/// As `clamp_range`, but -5 to -10 of three elements is the first one: what BITPOS makes of it.
pub fn clamp_each(start: i64, end: i64, len: usize) -> Option<Range<usize>> {
    let len = len as i64;
    let from_end = |index: i64| if index < 0 { index.saturating_add(len).max(0) } else { index };
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    (start <= end).then(|| start as usize..end as usize + 1)
}

/// SETRANGE key offset value
fn setrange(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let (key, value) = (args[1], args[3]);
        let offset = usize::try_from(integer(args[2])?).map_err(|_| "ERR offset is out of range")?;
        let entry = find_string(ctx, key)?;
        if value.is_empty() {
            let len = entry.map_or(0, |entry| string_at(ctx, entry).len());
            ctx.reply.integer(len as i64);
            return Ok(());
        }
        check_string_len(ctx, offset, value.len())?;
        let string = string_to_change(ctx, key, entry);
        string.write_at(offset, value);
        let len = string.len();
        ctx.effect(&[b"SETRANGE", key, NumberText::new(offset as i64).bytes(), value]);
        ctx.notify(EventClasses::STRING, "setrange", key);
        ctx.reply.integer(len as i64);
        Ok(())
    });
}

/// LCS key1 key2 [LEN] [IDX] [MINMATCHLEN len] [WITHMATCHLEN]
fn lcs(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        ctx.read(args[1]);
        let b = ctx.read(args[2]);
        // Looked up again: deleting an expired `b` may have moved the entry.
        let a = ctx.find(args[1]);
        let (a, b) = (lcs_operand(ctx, a)?, lcs_operand(ctx, b)?);
        let options = LcsOptions::parse(&args[3..])?;
        if a.len().saturating_add(1).saturating_mul(b.len() + 1).saturating_mul(4) > LCS_TABLE_BYTES_MAX {
            return Err("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len".into());
        }
        let found = longest_common_subsequence(&a, &b);
        match options.output {
            LcsOutput::Length => ctx.reply.integer(found.bytes.len() as i64),
            LcsOutput::String => ctx.reply.bulk(&found.bytes),
            LcsOutput::Matches => reply_matches(ctx, &found, &options),
        }
        Ok(())
    });
}

/// The table of lengths may take as much as the longest string.
const LCS_TABLE_BYTES_MAX: usize = STRING_LEN_MAX;

fn lcs_operand(ctx: &Ctx<'_>, entry: Option<Entry>) -> Result<Vec<u8>, Failure> {
    let Some(entry) = entry else { return Ok(Vec::new()) };
    let string = ctx.keyspace.value(entry).as_str().ok_or("ERR The specified keys must contain string values")?;
    Ok(string.bytes().into_owned())
}

enum LcsOutput {
    String,
    Length,
    Matches,
}

struct LcsOptions {
    output: LcsOutput,
    match_len_min: usize,
    with_match_len: bool,
}

impl LcsOptions {
    fn parse(words: &[&[u8]]) -> Result<LcsOptions, Failure> {
        let (mut len, mut idx, mut with_match_len, mut match_len_min) = (false, false, false, 0);
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            match () {
                () if is(word, "LEN") => len = true,
                () if is(word, "IDX") => idx = true,
                () if is(word, "WITHMATCHLEN") => with_match_len = true,
                () if is(word, "MINMATCHLEN") => {
                    match_len_min = integer(rest.next().ok_or(SYNTAX)?)?.max(0) as usize;
                }
                () => return Err(SYNTAX),
            }
        }
        let output = match (len, idx) {
            (true, true) => return Err("ERR If you want both the length and indexes, please just use IDX.".into()),
            (true, false) => LcsOutput::Length,
            (false, true) => LcsOutput::Matches,
            (false, false) => LcsOutput::String,
        };
        Ok(LcsOptions { output, match_len_min, with_match_len })
    }
}

struct CommonSubsequence {
    bytes: Vec<u8>,
    /// Runs of equal bytes from the last to the first: start in a, start in b, length.
    runs: Vec<(usize, usize, usize)>,
}

/// The textbook table, walked back with Redis's choice between equals: among several answers it must be the same one.
fn longest_common_subsequence(a: &[u8], b: &[u8]) -> CommonSubsequence {
    let width = b.len() + 1;
    let mut table = vec![0u32; (a.len() + 1) * width];
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            let above = table[i * width + j + 1].max(table[(i + 1) * width + j]);
            table[(i + 1) * width + j + 1] = if x == y { table[i * width + j] + 1 } else { above };
        }
    }
    let (mut i, mut j) = (a.len(), b.len());
    let (mut bytes, mut runs) = (Vec::new(), Vec::<(usize, usize, usize)>::new());
    let mut in_run = false;
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            (i, j) = (i - 1, j - 1);
            bytes.push(a[i]);
            match runs.last_mut() {
                Some(run) if in_run => *run = (i, j, run.2 + 1),
                _ => runs.push((i, j, 1)),
            }
            in_run = true;
        } else {
            in_run = false;
            if table[(i - 1) * width + j] > table[i * width + j - 1] { i -= 1 } else { j -= 1 }
        }
    }
    bytes.reverse();
    CommonSubsequence { bytes, runs }
}

fn reply_matches(ctx: &mut Ctx<'_>, found: &CommonSubsequence, options: &LcsOptions) {
    let long_enough = |run: &&(usize, usize, usize)| run.2 >= options.match_len_min;
    ctx.reply.map(2);
    ctx.reply.bulk(b"matches");
    ctx.reply.array(found.runs.iter().filter(long_enough).count());
    for &(a, b, len) in found.runs.iter().filter(long_enough) {
        ctx.reply.array(if options.with_match_len { 3 } else { 2 });
        for start in [a, b] {
            ctx.reply.array(2);
            ctx.reply.integer(start as i64);
            ctx.reply.integer((start + len - 1) as i64);
        }
        if options.with_match_len {
            ctx.reply.integer(len as i64);
        }
    }
    ctx.reply.bulk(b"len");
    ctx.reply.integer(found.bytes.len() as i64);
}
