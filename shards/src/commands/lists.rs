//! Lists: LPUSH, RPOP, LRANGE, LMOVE and their relatives.

use super::arguments::{
    Failure, NO_SUCH_KEY, NumberText, SYNTAX, answer, find_typed, integer, is, read_typed, remove_emptied, typed, typed_mut,
    typed_to_change,
};
use super::context::Ctx;
use super::elements::MultiPop;
use super::events::EventClasses;
use super::lookup::{counted_keys, wrong_number};
use super::table::{Command, Multi, Route, Run, Spec, flags};
use crate::keyspace::Entry;
use crate::types::list::End;
use crate::types::listpack::Packed;
use crate::types::{List, Typed};
use std::ops::{ControlFlow, Range};

pub static COMMANDS: &[Command] = &[
    Command::new("lpush", -3, flags::WRITE | flags::DENYOOM | flags::FAST, Route::Keys(Multi::Never), Run::Data(lpush))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW insert")])
        .acl(&["write", "list", "fast"])
        .arguments("key element...")
        .doc("list", "1.0.0", "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.", "Prepend one or multiple elements to a list"),
    Command::new("rpush", -3, flags::WRITE | flags::DENYOOM | flags::FAST, Route::Keys(Multi::Never), Run::Data(rpush))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW insert")])
        .acl(&["write", "list", "fast"])
        .arguments("key element...")
        .doc("list", "1.0.0", "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.", "Append one or multiple elements to a list"),
    Command::new("lpushx", -3, flags::WRITE | flags::DENYOOM | flags::FAST, Route::Keys(Multi::Never), Run::Data(lpushx))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW insert")])
        .acl(&["write", "list", "fast"])
        .arguments("key element...")
        .doc("list", "2.2.0", "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.", "Prepend an element to a list, only if the list exists"),
    Command::new("rpushx", -3, flags::WRITE | flags::DENYOOM | flags::FAST, Route::Keys(Multi::Never), Run::Data(rpushx))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW insert")])
        .acl(&["write", "list", "fast"])
        .arguments("key element...")
        .doc("list", "2.2.0", "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.", "Append an element to a list, only if the list exists"),
    Command::new("linsert", 5, flags::WRITE | flags::DENYOOM, Route::Keys(Multi::Never), Run::Data(linsert))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW insert")])
        .acl(&["write", "list", "slow"])
        .arguments("key where(BEFORE | AFTER) pivot element")
        .doc("list", "2.2.0", "O(N) where N is the number of elements to traverse before seeing the value pivot. This means that inserting somewhere on the left end on the list (head) can be considered O(1) and inserting somewhere on the right end (tail) is O(N).", "Insert an element before or after another element in a list"),
    Command::new("lpop", -2, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(lpop))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW access delete")])
        .acl(&["write", "list", "fast"])
        .arguments("key [count:integer]")
        .doc("list", "1.0.0", "O(N) where N is the number of elements returned", "Remove and get the first elements in a list"),
    Command::new("rpop", -2, flags::WRITE | flags::FAST, Route::Keys(Multi::Never), Run::Data(rpop))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW access delete")])
        .acl(&["write", "list", "fast"])
        .arguments("key [count:integer]")
        .doc("list", "1.0.0", "O(N) where N is the number of elements returned", "Remove and get the last elements in a list"),
    Command::new("llen", 2, flags::READONLY | flags::FAST, Route::Keys(Multi::Never), Run::Data(llen))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RO")])
        .acl(&["read", "list", "fast"])
        .arguments("key")
        .doc("list", "1.0.0", "O(1)", "Get the length of a list"),
    Command::new("lindex", 3, flags::READONLY, Route::Keys(Multi::Never), Run::Data(lindex))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RO access")])
        .acl(&["read", "list", "slow"])
        .arguments("key index:integer")
        .doc("list", "1.0.0", "O(N) where N is the number of elements to traverse to get to the element at index. This makes asking for the first or the last element of the list O(1).", "Get an element from a list by its index"),
    Command::new("lset", 4, flags::WRITE | flags::DENYOOM, Route::Keys(Multi::Never), Run::Data(lset))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW update")])
        .acl(&["write", "list", "slow"])
        .arguments("key index:integer element")
        .doc("list", "1.0.0", "O(N) where N is the length of the list. Setting either the first or the last element of the list is O(1).", "Set the value of an element in a list by its index"),
    Command::new("lrange", 4, flags::READONLY, Route::Keys(Multi::Never), Run::Data(lrange))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RO access")])
        .acl(&["read", "list", "slow"])
        .arguments("key start:integer stop:integer")
        .doc("list", "1.0.0", "O(S+N) where S is the distance of start offset from HEAD for small lists, from nearest end (HEAD or TAIL) for large lists; and N is the number of elements in the specified range.", "Get a range of elements from a list"),
    Command::new("ltrim", 4, flags::WRITE, Route::Keys(Multi::Never), Run::Data(ltrim))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW delete")])
        .acl(&["write", "list", "slow"])
        .arguments("key start:integer stop:integer")
        .doc("list", "1.0.0", "O(N) where N is the number of elements to be removed by the operation.", "Trim a list to the specified range"),
    Command::new("lpos", -3, flags::READONLY, Route::Keys(Multi::Never), Run::Data(lpos))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RO access")])
        .acl(&["read", "list", "slow"])
        .arguments("key element [RANK rank:integer] [COUNT num-matches:integer] [MAXLEN len:integer]")
        .doc("list", "6.0.6", "O(N) where N is the number of elements in the list, for the average case. When searching for elements near the head or the tail of the list, or when the MAXLEN option is provided, the command may run in constant time.", "Return the index of matching elements on a list"),
    Command::new("lrem", 4, flags::WRITE, Route::Keys(Multi::Never), Run::Data(lrem))
        .keys(1, 1, 1)
        .specs(&[Spec::at(1, "RW delete")])
        .acl(&["write", "list", "slow"])
        .arguments("key count:integer element")
        .doc("list", "1.0.0", "O(N+M) where N is the length of the list and M is the number of elements removed.", "Remove elements from a list"),
    Command::new("rpoplpush", 3, flags::WRITE | flags::DENYOOM, Route::Keys(Multi::Gather), Run::Data(rpoplpush))
        .keys(1, 2, 1)
        .specs(&[Spec::at(1, "RW access delete"), Spec::at(2, "RW insert")])
        .acl(&["write", "list", "slow"])
        .arguments("source:key destination:key")
        .doc("list", "1.2.0", "O(1)", "Remove the last element in a list, prepend it to another list and return it"),
    Command::new("lmove", 5, flags::WRITE | flags::DENYOOM, Route::Keys(Multi::Gather), Run::Data(lmove))
        .keys(1, 2, 1)
        .specs(&[Spec::at(1, "RW access delete"), Spec::at(2, "RW insert")])
        .acl(&["write", "list", "slow"])
        .arguments("source:key destination:key wherefrom(LEFT | RIGHT) whereto(LEFT | RIGHT)")
        .doc("list", "6.2.0", "O(1)", "Pop an element from a list, push it to another list and return it"),
    Command::new("lmpop", -4, flags::WRITE | flags::MOVABLEKEYS, Route::Keys(Multi::Gather), Run::Data(lmpop))
        .find_keys(counted_keys)
        .specs(&[Spec::key_num(1, "RW access delete")])
        .acl(&["write", "list", "slow"])
        .arguments("numkeys:integer key... where(LEFT | RIGHT) [COUNT count:integer]")
        .doc("list", "7.0.0", "O(N+M) where N is the number of provided keys and M is the number of elements returned.", "Pop elements from a list"),
];

/// The end a command's name or argument tells of.
fn end_of(word: &[u8]) -> Result<End, Failure> {
    match () {
        () if is(word, "LEFT") => Ok(End::Left),
        () if is(word, "RIGHT") => Ok(End::Right),
        () => Err(SYNTAX),
    }
}

fn push_name(end: End) -> &'static str {
    if end == End::Left { "lpush" } else { "rpush" }
}

fn pop_name(end: End) -> &'static str {
    if end == End::Left { "lpop" } else { "rpop" }
}

// --- Pushing -----------------------------------------------------------------------------------------------------------

/// LPUSH key element [element …]
fn lpush(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    push_command(ctx, args, End::Left, false);
}

/// RPUSH key element [element …]
fn rpush(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    push_command(ctx, args, End::Right, false);
}

/// LPUSHX key element [element …]
fn lpushx(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    push_command(ctx, args, End::Left, true);
}

/// RPUSHX key element [element …]
fn rpushx(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    push_command(ctx, args, End::Right, true);
}

fn push_command(ctx: &mut Ctx<'_>, args: &[&[u8]], end: End, only_existing: bool) {
    answer(ctx, |ctx| {
        let entry = find_typed::<List>(ctx, args[1])?;
        let len = if entry.is_none() && only_existing { 0 } else { push(ctx, args[1], entry, end, &args[2..]) };
        ctx.reply.integer(len as i64);
        Ok(())
    });
}

/// Pushes elements one after another, to `entry` or a new key, and states it; gives the new length.
pub fn push(ctx: &mut Ctx<'_>, key: &[u8], entry: Option<Entry>, end: End, elements: &[&[u8]]) -> usize {
    let limits = *ctx.keyspace.limits();
    let list = typed_to_change(ctx, key, entry, List::new);
    list.make_room(elements, &limits);
    elements.iter().for_each(|element| list.push(end, element, &limits));
    let len = list.len();
    let name: &[u8] = if end == End::Left { b"LPUSH" } else { b"RPUSH" };
    ctx.effect(&[&[name, key], elements].concat());
    ctx.notify(EventClasses::LIST, push_name(end), key);
    len
}

/// LINSERT key BEFORE | AFTER pivot element
fn linsert(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let after = match () {
            () if is(args[2], "AFTER") => 1,
            () if is(args[2], "BEFORE") => 0,
            () => return Err(SYNTAX),
        };
        let Some(entry) = find_typed::<List>(ctx, args[1])? else {
            ctx.reply.integer(0);
            return Ok(());
        };
        let limits = *ctx.keyspace.limits();
        // Redis makes room before it looks for the pivot; OBJECT ENCODING tells.
        ctx.keyspace.reform(entry, |value| List::of_mut(value).expect("a list").make_room(&[args[4]], &limits));
        let Some(index) = first_equal(typed(ctx, entry), args[3]) else {
            ctx.reply.integer(-1);
            return Ok(());
        };
        let list = typed_mut::<List>(ctx, entry);
        list.insert(index + after, args[4], &limits);
        let len = list.len();
        ctx.effect(&[b"LINSERT", args[1], args[2], args[3], args[4]]);
        ctx.notify(EventClasses::LIST, "linsert", args[1]);
        ctx.reply.integer(len as i64);
        Ok(())
    });
}

fn first_equal(list: &List, wanted: &[u8]) -> Option<usize> {
    let mut found = None;
    list.each_from(0, |index, element| {
        if element.with_bytes(|bytes| bytes == wanted) {
            found = Some(index);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    found
}

/// LSET key index element
fn lset(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let entry = find_typed::<List>(ctx, args[1])?.ok_or(NO_SUCH_KEY)?;
        let index = integer(args[2])?;
        let limits = *ctx.keyspace.limits();
        // Redis makes room before it looks at the index.
        ctx.keyspace.reform(entry, |value| List::of_mut(value).expect("a list").make_room(&[args[3]], &limits));
        let index = index_from_start(index, typed::<List>(ctx, entry).len()).ok_or("ERR index out of range")?;
        let list = typed_mut::<List>(ctx, entry);
        list.set(index, args[3], &limits);
        list.removed(&limits);
        ctx.effect(&[b"LSET", args[1], args[2], args[3]]);
        ctx.notify(EventClasses::LIST, "lset", args[1]);
        ctx.reply.ok();
        Ok(())
    });
}

/// A negative index counts from the end. None: there is no such element.
fn index_from_start(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 { index + len as i64 } else { index };
    usize::try_from(index).ok().filter(|index| *index < len)
}

// --- Taking out --------------------------------------------------------------------------------------------------------

/// LPOP key [count]
fn lpop(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    pop_command(ctx, args, End::Left);
}

/// RPOP key [count]
fn rpop(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    pop_command(ctx, args, End::Right);
}

fn pop_command(ctx: &mut Ctx<'_>, args: &[&[u8]], end: End) {
    answer(ctx, |ctx| {
        if args.len() > 3 {
            return Err(wrong_number(pop_name(end)).into());
        }
        let count = args.get(2).map(|count| positive(count)).transpose()?;
        match (find_typed::<List>(ctx, args[1])?, count) {
            (None, None) => ctx.reply.null(),
            (None, Some(_)) => ctx.reply.null_array(),
            (Some(entry), None) => {
                let element = pop(ctx, args[1], entry, end, 1).remove(0);
                ctx.reply.bulk(&element);
            }
            (Some(entry), Some(count)) => {
                let elements = pop(ctx, args[1], entry, end, count);
                reply_elements(ctx, &elements);
            }
        }
        Ok(())
    });
}

fn positive(text: &[u8]) -> Result<usize, Failure> {
    usize::try_from(integer(text).map_err(|_| OUT_OF_RANGE)?).map_err(|_| OUT_OF_RANGE)
}

const OUT_OF_RANGE: Failure = Failure::Borrowed("ERR value is out of range, must be positive");

fn reply_elements(ctx: &mut Ctx<'_>, elements: &[Vec<u8>]) {
    ctx.reply.array(elements.len());
    elements.iter().for_each(|element| ctx.reply.bulk(element));
}

/// Takes up to `count` elements off an end and states it; the key goes with the last one.
pub fn pop(ctx: &mut Ctx<'_>, key: &[u8], entry: Entry, end: End, count: usize) -> Vec<Vec<u8>> {
    let elements = take(ctx, entry, end, count);
    if elements.is_empty() {
        return elements;
    }
    let name: &[u8] = if end == End::Left { b"LPOP" } else { b"RPOP" };
    ctx.effect(&[name, key, NumberText::new(elements.len() as i64).bytes()]);
    popped(ctx, key, entry, end);
    elements
}

fn take(ctx: &mut Ctx<'_>, entry: Entry, end: End, count: usize) -> Vec<Vec<u8>> {
    let list = typed::<List>(ctx, entry);
    let (len, count) = (list.len(), count.min(list.len()));
    if count == 0 {
        return Vec::new();
    }
    let range = if end == End::Left { 0..count } else { len - count..len };
    let mut elements = elements_in(list, range.clone());
    if end == End::Right {
        elements.reverse();
    }
    typed_mut::<List>(ctx, entry).remove_range(range.start, count);
    elements
}

fn elements_in(list: &List, range: Range<usize>) -> Vec<Vec<u8>> {
    let mut elements = Vec::with_capacity(range.len());
    list.each_from(range.start, |_, element| {
        elements.push(element.bytes().into_owned());
        if elements.len() < range.len() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    elements
}

/// Events of a removal from an end, and what has become of the list.
fn popped(ctx: &mut Ctx<'_>, key: &[u8], entry: Entry, end: End) {
    ctx.notify(EventClasses::LIST, pop_name(end), key);
    after_removal(ctx, key, entry);
}

fn after_removal(ctx: &mut Ctx<'_>, key: &[u8], entry: Entry) {
    if typed::<List>(ctx, entry).is_empty() {
        return remove_emptied(ctx, key, entry);
    }
    let limits = *ctx.keyspace.limits();
    ctx.keyspace.reform(entry, |value| List::of_mut(value).expect("a list").removed(&limits));
}

/// LREM key count element: from the end when `count` is negative, all when it is 0.
fn lrem(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let count = integer(args[2])?;
        if count == i64::MIN {
            return Err(NOT_NEGATABLE);
        }
        let Some(entry) = find_typed::<List>(ctx, args[1])? else {
            ctx.reply.integer(0);
            return Ok(());
        };
        let mut found = equal_elements(typed(ctx, entry), args[3], count);
        if !found.is_empty() {
            // From the end on, so that the indices before stay what they are.
            found.sort_unstable_by(|a, b| b.cmp(a));
            let list = typed_mut::<List>(ctx, entry);
            found.iter().for_each(|index| list.remove_range(*index, 1));
            ctx.effect(&[b"LREM", args[1], args[2], args[3]]);
            ctx.notify(EventClasses::LIST, "lrem", args[1]);
            after_removal(ctx, args[1], entry);
        }
        ctx.reply.integer(found.len() as i64);
        Ok(())
    });
}

fn equal_elements(list: &List, wanted: &[u8], count: i64) -> Vec<usize> {
    let max = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let mut found = Vec::new();
    let look = |index: usize, element: Packed<'_>| {
        if element.with_bytes(|bytes| bytes == wanted) {
            found.push(index);
        }
        if found.len() < max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    if count < 0 {
        list.each_back_from(list.len() - 1, look)
    } else {
        list.each_from(0, look)
    }
    found
}

/// LTRIM key start stop
fn ltrim(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let (start, stop) = (integer(args[2])?, integer(args[3])?);
        if let Some(entry) = find_typed::<List>(ctx, args[1])? {
            let len = typed::<List>(ctx, entry).len();
            let kept = index_range(start, stop, len);
            let cuts = kept.len() < len;
            if cuts {
                let list = typed_mut::<List>(ctx, entry);
                list.remove_range(kept.end, len - kept.end);
                list.remove_range(0, kept.start);
                ctx.effect(&[b"LTRIM", args[1], args[2], args[3]]);
            }
            ctx.notify(EventClasses::LIST, "ltrim", args[1]);
            // Also when nothing was cut: what fits into a pack becomes one then.
            after_removal(ctx, args[1], entry);
        }
        ctx.reply.ok();
        Ok(())
    });
}

/// What `start` and `stop` (inclusive, negative: from the end) leave of `len` elements; an empty range is at the end.
fn index_range(start: i64, stop: i64, len: usize) -> Range<usize> {
    let from_start = |index: i64| if index < 0 { index.saturating_add(len as i64) } else { index };
    let (start, stop) = (from_start(start).max(0), from_start(stop).min(len as i64 - 1));
    if start > stop || start >= len as i64 { len..len } else { start as usize..stop as usize + 1 }
}

// --- Looking -----------------------------------------------------------------------------------------------------------

/// LLEN key
fn llen(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let len = read_typed::<List>(ctx, args[1])?.map_or(0, |entry| typed::<List>(ctx, entry).len());
        ctx.reply.integer(len as i64);
        Ok(())
    });
}

/// LINDEX key index
fn lindex(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let Some(entry) = read_typed::<List>(ctx, args[1])? else {
            ctx.reply.null();
            return Ok(());
        };
        let index = integer(args[2])?;
        let list = List::of(ctx.keyspace.value(entry)).expect("a list");
        match index_from_start(index, list.len()).and_then(|index| list.get(index)) {
            Some(element) => element.with_bytes(|bytes| ctx.reply.bulk(bytes)),
            None => ctx.reply.null(),
        }
        Ok(())
    });
}

/// LRANGE key start stop
fn lrange(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let (start, stop) = (integer(args[2])?, integer(args[3])?);
        let Some(entry) = read_typed::<List>(ctx, args[1])? else {
            ctx.reply.array(0);
            return Ok(());
        };
        let list = List::of(ctx.keyspace.value(entry)).expect("a list");
        let range = index_range(start, stop, list.len());
        ctx.reply.array(range.len());
        let mut left = range.len();
        if left > 0 {
            list.each_from(range.start, |_, element| {
                element.with_bytes(|bytes| ctx.reply.bulk(bytes));
                left -= 1;
                if left > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
        }
        Ok(())
    });
}

/// What LPOS asks for.
struct Wanted {
    /// The first match that counts; negative: from the end.
    rank: i64,
    /// Some: an array of so many matches, 0 = all.
    count: Option<usize>,
    /// Elements looked at, 0 = all.
    looked_at_max: usize,
}

impl Wanted {
    fn parse(words: &[&[u8]]) -> Result<Wanted, Failure> {
        let mut wanted = Wanted { rank: 1, count: None, looked_at_max: 0 };
        for pair in words.chunks(2) {
            let [word, value] = pair else { return Err(SYNTAX) };
            match () {
                () if is(word, "RANK") => wanted.rank = rank(value)?,
                () if is(word, "COUNT") => wanted.count = Some(not_negative(value, "ERR COUNT can't be negative")?),
                () if is(word, "MAXLEN") => wanted.looked_at_max = not_negative(value, "ERR MAXLEN can't be negative")?,
                () => return Err(SYNTAX),
            }
        }
        Ok(wanted)
    }
}

const NOT_NEGATABLE: Failure =
    Failure::Borrowed("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807");

fn rank(text: &[u8]) -> Result<i64, Failure> {
    match integer(text)? {
        i64::MIN => Err(NOT_NEGATABLE),
        0 => Err(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from \
                  the end of the list"
                .into(),
        ),
        rank => Ok(rank),
    }
}

fn not_negative(text: &[u8], error: &'static str) -> Result<usize, Failure> {
    usize::try_from(integer(text).map_err(|_| error)?).map_err(|_| error.into())
}

/// LPOS key element [RANK rank] [COUNT matches] [MAXLEN len]
fn lpos(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let wanted = Wanted::parse(&args[3..])?;
        let entry = read_typed::<List>(ctx, args[1])?;
        let found = entry.map_or(Vec::new(), |entry| positions(typed(ctx, entry), args[2], &wanted));
        match wanted.count {
            Some(_) => {
                ctx.reply.array(found.len());
                found.iter().for_each(|index| ctx.reply.integer(*index as i64));
            }
            None => match found.first() {
                Some(index) => ctx.reply.integer(*index as i64),
                None => ctx.reply.null(),
            },
        }
        Ok(())
    });
}

fn positions(list: &List, element: &[u8], wanted: &Wanted) -> Vec<usize> {
    let max = match wanted.count {
        None => 1,
        Some(0) => usize::MAX,
        Some(count) => count,
    };
    let mut skip = wanted.rank.unsigned_abs() - 1;
    let (mut found, mut looked_at) = (Vec::new(), 0);
    let look = |index: usize, other: Packed<'_>| {
        if other.with_bytes(|bytes| bytes == element) {
            if skip == 0 {
                found.push(index);
            }
            skip = skip.saturating_sub(1);
        }
        looked_at += 1;
        let ends = found.len() >= max || looked_at == wanted.looked_at_max;
        if ends { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    if wanted.rank < 0 {
        list.each_back_from(list.len() - 1, look)
    } else {
        list.each_from(0, look)
    }
    found
}

// --- Several keys ------------------------------------------------------------------------------------------------------

/// RPOPLPUSH source destination
fn rpoplpush(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| move_command(ctx, args[1], args[2], End::Right, End::Left));
}

/// LMOVE source destination LEFT | RIGHT LEFT | RIGHT
fn lmove(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let (from, to) = (end_of(args[3])?, end_of(args[4])?);
        move_command(ctx, args[1], args[2], from, to)
    });
}

fn move_command(ctx: &mut Ctx<'_>, source: &[u8], destination: &[u8], from: End, to: End) -> Result<(), Failure> {
    match move_element(ctx, source, destination, from, to)? {
        Some(element) => ctx.reply.bulk(&element),
        None => ctx.reply.null(),
    }
    Ok(())
}

/// Moves an element between ends of lists, or of one list, and states it; None when there is nothing to move.
pub fn move_element(
    ctx: &mut Ctx<'_>,
    source: &[u8],
    destination: &[u8],
    from: End,
    to: End,
) -> Result<Option<Vec<u8>>, Failure> {
    if find_typed::<List>(ctx, source)?.is_none() {
        return Ok(None);
    }
    find_typed::<List>(ctx, destination)?;
    // Looked up again: deleting an expired destination may have moved the entry.
    let Some(entry) = find_typed::<List>(ctx, source)? else { return Ok(None) };
    let element = take(ctx, entry, from, 1).remove(0);
    let name: &[u8] = if from == End::Left { b"LPOP" } else { b"RPOP" };
    ctx.effect(&[name, source]);
    let target = find_typed::<List>(ctx, destination)?;
    push(ctx, destination, target, to, &[&element]);
    // Looked up again: a new destination may have moved the entry.
    let entry = find_typed::<List>(ctx, source)?.expect("emptied, but still there");
    popped(ctx, source, entry, from);
    Ok(Some(element))
}

/// LMPOP numkeys key [key …] LEFT | RIGHT [COUNT count]
fn lmpop(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let request = MultiPop::parse(&args[1..], end_of)?;
        for key in request.keys {
            if let Some(entry) = find_typed::<List>(ctx, key)? {
                let elements = pop(ctx, key, entry, request.end, request.count);
                ctx.reply.array(2);
                ctx.reply.bulk(key);
                reply_elements(ctx, &elements);
                return Ok(());
            }
        }
        ctx.reply.null_array();
        Ok(())
    });
}
