//! Values with a grammar of their own. Each function gives the text that CONFIG GET shows, or Redis's text of the error.

use super::kind::parse_memory;

const BIND_ADDRESSES_MAX: usize = 16;
const NODE_NAME_BYTES_MAX: usize = 255;

/// `[seconds changes]…` or `""`. Added to `before`.
pub fn save_points(words: &[&str], before: &str) -> Result<String, String> {
    if words == [""] || words.is_empty() {
        return Ok(String::new());
    }
    let number = |word: &str, min: i64| word.parse::<i64>().is_ok_and(|number| number >= min);
    let valid = words.len().is_multiple_of(2) && words.chunks(2).all(|pair| number(pair[0], 1) && number(pair[1], 0));
    if !valid {
        return Err("Invalid save parameters".into());
    }
    let joined = words.join(" ");
    Ok(if before.is_empty() { joined } else { format!("{before} {joined}") })
}

pub fn bind(words: &[&str], _: &str) -> Result<String, String> {
    if words.len() > BIND_ADDRESSES_MAX {
        return Err("Too many bind addresses specified.".into());
    }
    // A quoted word may hold several, or none: the text is what its words give, so that a rewritten file says the same.
    Ok(words.iter().flat_map(|word| word.split_ascii_whitespace()).collect::<Vec<_>>().join(" "))
}

/// `(class hard soft seconds)…` laid over `before`, which holds all classes in order, or nothing.
pub fn output_buffer_limits(words: &[&str], before: &str) -> Result<String, String> {
    if !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    let mut limits: Vec<[String; 4]> = Vec::new();
    let before: Vec<&str> = before.split_ascii_whitespace().collect();
    for line in before.chunks_exact(4).chain(words.chunks_exact(4)) {
        let limit = output_buffer_limit(line)?;
        match limits.iter_mut().find(|other| other[0] == limit[0]) {
            Some(other) => *other = limit,
            None => limits.push(limit),
        }
    }
    Ok(limits.concat().join(" "))
}

fn output_buffer_limit(words: &[&str]) -> Result<[String; 4], String> {
    let class = match &words[0].to_ascii_lowercase()[..] {
        "normal" => "normal",
        "slave" | "replica" => "slave",
        "pubsub" => "pubsub",
        _ => return Err("Invalid client class specified in buffer limit configuration.".into()),
    };
    let seconds = words[3].parse::<i32>().ok().filter(|&seconds| seconds >= 0);
    match (parse_memory(words[1]), parse_memory(words[2]), seconds) {
        (Some(hard), Some(soft), Some(seconds)) => Ok([class.into(), hard.to_string(), soft.to_string(), seconds.to_string()]),
        _ => Err("Error in hard, soft or soft_seconds setting in buffer limit configuration.".into()),
    }
}

pub fn oom_score_adj_values(words: &[&str], _: &str) -> Result<String, String> {
    if words.len() != 3 {
        return Err("wrong number of arguments".into());
    }
    if !words.iter().all(|word| word.parse::<i32>().is_ok_and(|value| (-2000..=2000).contains(&value))) {
        return Err("Invalid oom-score-adj-values, elements must be between -2000 and 2000.".into());
    }
    Ok(words.join(" "))
}

pub fn percentiles(words: &[&str], _: &str) -> Result<String, String> {
    if words == [""] {
        return Ok(String::new());
    }
    let parsed: Result<Vec<f64>, _> = words.iter().map(|word| word.parse::<f64>()).collect();
    let parsed = parsed.map_err(|_| "Invalid latency-tracking-info-percentiles parameters")?;
    if !parsed.iter().all(|value| (0.0..=100.0).contains(value)) {
        return Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".into());
    }
    Ok(parsed.iter().map(f64::to_string).collect::<Vec<_>>().join(" "))
}

/// `host port`, or nothing: `no one`.
pub fn replicaof(words: &[&str], _: &str) -> Result<String, String> {
    match words {
        [""] => Ok(String::new()),
        [no, one] if no.eq_ignore_ascii_case("no") && one.eq_ignore_ascii_case("one") => Ok(String::new()),
        [host, _] if host.is_empty() || host.contains(|c: char| c.is_ascii_whitespace()) => Err("Invalid master host".into()),
        [host, port] if port.parse::<u16>().is_ok() => Ok(format!("{host} {port}")),
        [_, _] => Err("Invalid master port".into()),
        _ => Err("wrong number of arguments".into()),
    }
}

/// Classes that `A` stands for, in the order in which they are shown.
const EVENTS_ALL: &str = "g$lshzxetd";
/// Shown behind them.
const EVENTS_OTHER: &str = "KEmn";

pub fn notify_keyspace_events(word: &str) -> Result<String, String> {
    if let Some(_unknown) = word.chars().find(|&c| c != 'A' && !EVENTS_ALL.contains(c) && !EVENTS_OTHER.contains(c)) {
        return Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into());
    }
    let all = word.contains('A') || EVENTS_ALL.chars().all(|c| word.contains(c));
    let classes: String = if all { "A".into() } else { EVENTS_ALL.chars().filter(|&c| word.contains(c)).collect() };
    Ok(classes + &EVENTS_OTHER.chars().filter(|&c| word.contains(c)).collect::<String>())
}

pub fn hostname(word: &str) -> Result<String, String> {
    if word.len() > NODE_NAME_BYTES_MAX {
        return Err("Hostnames must be less than 256 characters".into());
    }
    if !word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.') {
        return Err("Hostnames may only contain alphanumeric characters, hyphens or dots".into());
    }
    Ok(word.into())
}

pub fn node_name(word: &str) -> Result<String, String> {
    if word.len() > NODE_NAME_BYTES_MAX {
        return Err("Announced human node name must be less than 256 characters".into());
    }
    if word.bytes().any(|byte| byte <= b' ' || byte == 0x7f || b"!\"#$%&'()*+,/:;<=>?@[]^{|}~".contains(&byte)) {
        return Err("Announced human node name contained invalid character".into());
    }
    Ok(word.into())
}
