//! SORT and SORT_RO.
//!
//! BY and GET name other keys by a pattern whose `*` is an element. Such keys may live on any shard, so SORT first asks for all of
//! them (`Ctx::read_unnamed`) and does its work when it has them.

use super::arguments::{Failure, SYNTAX, WRONG_TYPE, answer, integer, is};
use super::context::Ctx;
use super::events::EventClasses;
use super::keys::{delete_even_expired, restore_effect};
use super::table::{Command, Multi, Route, Run, Spec, flags};
use crate::types::list::End;
use crate::types::{Hash, List, Str, Typed, Value, Zset};
use std::cmp::Ordering;
use std::ops::{ControlFlow, Range};

pub static COMMANDS: &[Command] = &[
    Command::new(
        "sort",
        -2,
        flags::WRITE | flags::DENYOOM | flags::MOVABLEKEYS,
        Route::Keys(Multi::Gather),
        Run::Data(sort),
    )
    .find_keys(keys)
    .reads_unnamed(reads_unnamed)
    .specs(&[
        Spec::at(1, "RO access"),
        Spec::unknown("RO access").notes(
            "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the content of the key we \
             sort",
        ),
        Spec::unknown("OW update").notes(
            "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear anywhere in the argument array",
        ),
    ])
    .acl(&["write", "set", "sortedset", "list", "slow", "dangerous"])
    .arguments(
        "key [BY by-pattern:pattern#1=pattern] [LIMIT limit(offset:integer count:integer)] [GET get-pattern:pattern#1=pattern]... \
         [order(ASC | DESC)] [ALPHA=sorting] [STORE destination:key#2]",
    )
    .doc("generic", "1.0.0", COMPLEXITY, "Sort the elements in a list, set or sorted set"),
    Command::new("sort_ro", -2, flags::READONLY | flags::MOVABLEKEYS, Route::Keys(Multi::Gather), Run::Data(sort_ro))
        .keys(1, 1, 1)
        .reads_unnamed(reads_unnamed)
        .specs(&[
            Spec::at(1, "RO access"),
            Spec::unknown("RO access").notes(
                "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the content of the key \
                 we sort",
            ),
        ])
        .acl(&["read", "set", "sortedset", "list", "slow", "dangerous"])
        .arguments(
            "key [BY by-pattern:pattern#1=pattern] [LIMIT limit(offset:integer count:integer)] \
             [GET get-pattern:pattern#1=pattern]... [order(ASC | DESC)] [ALPHA=sorting]",
        )
        .doc(
            "generic",
            "7.0.0",
            COMPLEXITY,
            "Sort the elements in a list, set or sorted set. Read-only variant of SORT.",
        ),
];

const COMPLEXITY: &str = "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number of returned \
                          elements. When the elements are not sorted, complexity is O(N).";

const NOT_NUMBERS: Failure = Failure::Borrowed("ERR One or more scores can't be converted into double");

#[derive(Default)]
struct Request<'a> {
    /// None: by the elements themselves.
    by: Option<&'a [u8]>,
    get: Vec<&'a [u8]>,
    limit: Option<(i64, i64)>,
    descending: bool,
    alpha: bool,
    store: Option<&'a [u8]>,
}

impl<'a> Request<'a> {
    /// `words` stand behind the key.
    fn parse(words: &[&'a [u8]], may_store: bool) -> Result<Request<'a>, Failure> {
        let mut request = Request::default();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let left = rest.len();
            match () {
                () if is(word, "ASC") => request.descending = false,
                () if is(word, "DESC") => request.descending = true,
                () if is(word, "ALPHA") => request.alpha = true,
                () if is(word, "LIMIT") && left >= 2 => {
                    let mut number = || integer(rest.next().expect("just counted"));
                    request.limit = Some((number()?, number()?));
                }
                () if is(word, "STORE") && may_store && left >= 1 => request.store = rest.next().copied(),
                () if is(word, "BY") && left >= 1 => request.by = rest.next().copied(),
                () if is(word, "GET") && left >= 1 => request.get.extend(rest.next()),
                () => return Err(SYNTAX),
            }
        }
        Ok(request)
    }

    /// BY a pattern without `*`: the elements stay in the order in which they are.
    fn keeps_order(&self) -> bool {
        self.by.is_some_and(|pattern| !pattern.contains(&b'*'))
    }

    fn range(&self, len: usize) -> Range<usize> {
        let (start, count) = self.limit.unwrap_or((0, -1));
        let start = usize::try_from(start).unwrap_or(0).min(len);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        start..start.saturating_add(count).min(len)
    }
}

fn keys(args: &[&[u8]]) -> Result<Vec<usize>, &'static str> {
    let mut keys = vec![1];
    let mut at = 2;
    while at < args.len() {
        at += match () {
            () if is(args[at], "LIMIT") => 3,
            () if is(args[at], "BY") || is(args[at], "GET") => 2,
            () if is(args[at], "STORE") && at + 1 < args.len() => {
                keys.truncate(1);
                keys.push(at + 1);
                2
            }
            () => 1,
        };
    }
    Ok(keys)
}

fn reads_unnamed(args: &[&[u8]]) -> bool {
    Request::parse(&args[2..], true).is_ok_and(|request| request.by.iter().chain(&request.get).any(|p| p.contains(&b'*')))
}

/// SORT key [BY pattern] [LIMIT offset count] [GET pattern …] [ASC | DESC] [ALPHA=sorting] [STORE destination]
fn sort(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| sort_key(ctx, args[1], &Request::parse(&args[2..], true)?));
}

/// SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern …] [ASC | DESC] [ALPHA=sorting]
fn sort_ro(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| sort_key(ctx, args[1], &Request::parse(&args[2..], false)?));
}

fn sort_key(ctx: &mut Ctx<'_>, key: &[u8], request: &Request<'_>) -> Result<(), Failure> {
    let (elements, unordered) = elements_of(ctx, key, request)?;
    let sorted =
        if request.keeps_order() && !(unordered && request.store.is_some()) { elements } else { sorted(ctx, elements, request)? };
    let range = request.range(sorted.len());
    let mut answers = Vec::new();
    for element in &sorted[range] {
        match &request.get[..] {
            [] => answers.push(Some(element.clone())),
            patterns => answers.extend(patterns.iter().map(|pattern| looked_up(ctx, pattern, element)).collect::<Vec<_>>()),
        }
    }
    if ctx.wants_more() {
        return Ok(());
    }
    match request.store {
        Some(destination) => store(ctx, destination, &answers),
        None => {
            ctx.reply.array(answers.len());
            answers.iter().for_each(|answer| match answer {
                Some(bytes) => ctx.reply.bulk(bytes),
                None => ctx.reply.null(),
            });
        }
    }
    Ok(())
}

/// All elements of a list, set or sorted set, and whether their order means nothing. Others that are not sorted are in the order asked for.
fn elements_of(ctx: &mut Ctx<'_>, key: &[u8], request: &Request<'_>) -> Result<(Vec<Vec<u8>>, bool), Failure> {
    let Some(entry) = ctx.read(key) else { return Ok((Vec::new(), false)) };
    if let Value::Zset(zset) = ctx.keyspace.value(entry)
        && zset.is_compact()
    {
        // As in Redis, where OBJECT ENCODING tells.
        ctx.keyspace.reform(entry, |value| Zset::of_mut(value).expect("just seen").leave_pack());
    }
    let mut elements = Vec::new();
    match ctx.keyspace.value(entry) {
        Value::List(list) => list.each_from(0, |_, element| {
            elements.push(element.bytes().into_owned());
            ControlFlow::Continue(())
        }),
        Value::Set(set) => {
            elements.extend(set.iter().map(|member| member.bytes().into_owned()));
            return Ok((elements, true));
        }
        Value::Zset(zset) => elements.extend(zset.iter().map(|(member, _)| member.bytes().into_owned())),
        _ => return Err(WRONG_TYPE),
    }
    if request.keeps_order() && request.descending {
        elements.reverse();
    }
    Ok((elements, false))
}

/// What an element is sorted by.
enum Weight {
    Number(f64),
    /// None: the key that BY names is not there; such elements come first.
    Text(Option<Vec<u8>>),
}

impl Weight {
    fn cmp(&self, other: &Weight) -> Ordering {
        match (self, other) {
            (Weight::Number(a), Weight::Number(b)) => a.partial_cmp(b).expect("weights are no NaN"),
            (Weight::Text(a), Weight::Text(b)) => a.cmp(b),
            _ => unreachable!("all weights are of one kind"),
        }
    }
}

fn sorted(ctx: &mut Ctx<'_>, elements: Vec<Vec<u8>>, request: &Request<'_>) -> Result<Vec<Vec<u8>>, Failure> {
    // A set whose order is kept, but stored: by its members, so that the result does not depend on chance.
    let by = request.by.filter(|_| !request.keeps_order());
    let alpha = request.alpha || request.keeps_order();
    let mut weighed = Vec::with_capacity(elements.len());
    for element in elements {
        let text = match by {
            None => Some(element.clone()),
            Some(pattern) => looked_up(ctx, pattern, &element),
        };
        weighed.push((text, element));
    }
    if ctx.wants_more() {
        return Ok(Vec::new());
    }
    let weigh = |(text, element): (Option<Vec<u8>>, Vec<u8>)| {
        let weight = match (alpha, text) {
            (true, text) => Weight::Text(text),
            (false, None) => Weight::Number(0.0),
            (false, Some(text)) => Weight::Number(number(&text).ok_or(NOT_NUMBERS)?),
        };
        Ok((weight, element))
    };
    let mut weighed = weighed.into_iter().map(weigh).collect::<Result<Vec<_>, Failure>>()?;
    weighed.sort_by(|(a, x), (b, y)| {
        let order = a.cmp(b).then_with(|| if alpha && by.is_some() { Ordering::Equal } else { x.cmp(y) });
        if request.descending { order.reverse() } else { order }
    });
    Ok(weighed.into_iter().map(|(_, element)| element).collect())
}

/// As C's `strtod` reads a whole string: blanks in front, decimal or hexadecimal, infinities; no NaN, nothing beyond the range.
fn number(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    if text.is_empty() {
        // An empty string is read as 0.
        return Some(0.0);
    }
    let (negative, digits) = match text.as_bytes()[0] {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let value = if digits.len() > 2 && digits[..2].eq_ignore_ascii_case("0x") {
        hexadecimal(&digits[2..])?
    } else if ["inf", "infinity"].iter().any(|word| digits.eq_ignore_ascii_case(word)) {
        f64::INFINITY
    } else {
        let starts = digits.starts_with(|first: char| first.is_ascii_digit() || first == '.');
        let is_zero = !digits.bytes().take_while(|byte| !matches!(byte, b'e' | b'E')).any(|byte| matches!(byte, b'1'..=b'9'));
        digits.parse::<f64>().ok().filter(|value| starts && (is_zero || value.is_normal()))?
    };
    Some(if negative { -value } else { value })
}

/// `1f`, `1.8p3`: digits behind the point are sixteenths, the exponent is one of 2.
fn hexadecimal(text: &str) -> Option<f64> {
    let (digits, exponent) = match text.split_once(['p', 'P']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut value = 0.0;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + digit.to_digit(16)? as f64;
    }
    let scale = exponent.saturating_sub(4 * fraction.len() as i32);
    let some_digit = !whole.is_empty() || !fraction.is_empty();
    Some(value * 2f64.powi(scale)).filter(|value| some_digit && value.is_finite())
}

/// The value that a pattern names for an element: the element itself (`#`), a string, or a field of a hash (`prefix*suffix->field`).
fn looked_up(ctx: &mut Ctx<'_>, pattern: &[u8], element: &[u8]) -> Option<Vec<u8>> {
    if pattern == b"#" {
        return Some(element.to_vec());
    }
    let star = pattern.iter().position(|&byte| byte == b'*')?;
    let (prefix, suffix) = (&pattern[..star], &pattern[star + 1..]);
    let arrow = suffix.windows(2).position(|pair| pair == b"->").filter(|at| at + 2 < suffix.len());
    let (suffix, field) = arrow.map_or((suffix, None), |at| (&suffix[..at], Some(&suffix[at + 2..])));
    let entry = ctx.read_unnamed(&[prefix, element, suffix].concat())?;
    let value = ctx.keyspace.value(entry);
    match field {
        Some(field) => {
            let hash = Hash::of(value)?;
            let alive = hash.expiry(field).is_none_or(|at_ms| at_ms > ctx.now_ms);
            hash.get(field).filter(|_| alive).map(|value| value.bytes().into_owned())
        }
        None => Str::of(value).map(|string| string.bytes().into_owned()),
    }
}

fn store(ctx: &mut Ctx<'_>, destination: &[u8], answers: &[Option<Vec<u8>>]) {
    if answers.is_empty() {
        delete_even_expired(ctx, destination);
    } else {
        let limits = *ctx.keyspace.limits();
        let mut list = List::to_load();
        for answer in answers {
            list.push(End::Right, answer.as_deref().unwrap_or_default(), &limits);
        }
        list.loaded(&limits);
        let value = Value::List(Box::new(list));
        ctx.put(destination, value.clone(), None);
        restore_effect(ctx, ctx.db, destination, &value, None);
        ctx.notify(EventClasses::LIST, "sortstore", destination);
    }
    ctx.reply.integer(answers.len() as i64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_strtod_does() {
        for (text, expected) in [
            ("12", 12.0),
            (" -1.5e3", -1500.0),
            ("0x1F", 31.0),
            ("0x1.8p3", 12.0),
            ("inf", f64::INFINITY),
            (".5", 0.5),
            ("", 0.0),
        ] {
            assert_eq!(number(text.as_bytes()), Some(expected), "{text:?}");
        }
        for text in ["1 ", "a", "nan", "1e999", "1e-400", "0x", "--1", "1x", "."] {
            assert_eq!(number(text.as_bytes()), None, "{text:?}");
        }
    }
}
