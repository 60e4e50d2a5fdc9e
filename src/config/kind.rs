//! What a directive's value may be: from the words of a line to the text that CONFIG GET shows, and back to a line.

/// The words of a value, and the text that they are added to where a directive has several lines; gives the new text.
pub type ParseWords = fn(words: &[&str], before: &str) -> Result<String, String>;

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Bool,
    Int {
        min: i64,
        max: i64,
    },
    UInt {
        min: u64,
        max: u64,
    },
    /// An integer that is brought into its bounds instead of refused.
    Clamped {
        min: i64,
        max: i64,
    },
    /// Bytes, with units: 1k = 1000, 1kb = 1024, likewise m and g.
    Memory {
        min: u64,
        max: u64,
    },
    /// Bytes, or a share of `maxmemory`.
    MemoryOrPercent,
    Octal {
        max: u32,
    },
    Enum(&'static [&'static str]),
    /// Several of these words; the first stands for none.
    Flags(&'static [&'static str]),
    Text,
    /// No path.
    FileName,
    Checked(fn(&str) -> Result<String, String>),
    Words(ParseWords),
    /// Each line changes a part of the value.
    MergedWords(ParseWords),
    /// Lines of one file add up, the first replaces what was before; CONFIG SET replaces.
    SavePoints(ParseWords),
    /// Kept line by line; no part of CONFIG GET, SET and REWRITE.
    Lines {
        words_min: usize,
        words_max: usize,
    },
}

impl Kind {
    /// Whether a value may be several words.
    pub fn takes_words(self) -> bool {
        use Kind::*;
        matches!(self, Flags(_) | Words(_) | MergedWords(_) | SavePoints(_) | Lines { .. })
    }

    /// The text of the value. `before` = the present text, where words are added to it.
    pub fn parse(self, words: &[&str], before: &str) -> Result<String, String> {
        use Kind::*;
        match self {
            Flags(names) => return parse_flags(words, names),
            Words(parse) => return parse(words, ""),
            MergedWords(parse) | SavePoints(parse) => return parse(words, before),
            Lines { words_min, words_max } if (words_min..=words_max).contains(&words.len()) => return Ok(String::new()),
            Lines { .. } => return Err("Bad directive or wrong number of arguments".into()),
            _ => {}
        }
        let [word] = words else {
            return Err("wrong number of arguments".into());
        };
        match self {
            Bool => parse_enum(word, &["yes", "no"]).ok_or_else(|| "argument must be 'yes' or 'no'".into()),
            Int { min, max } => parse_integer(word).and_then(|value| within(value, min, max)),
            UInt { min, max } => parse_integer(word).and_then(|value| within(value, min as i64, max as i64)),
            Clamped { min, max } => parse_integer(word).map(|value| value.clamp(min, max).to_string()),
            Memory { min, max } => {
                let value = parse_memory(word).ok_or("argument must be a memory value")?;
                within(value, min, max)
            }
            MemoryOrPercent => parse_memory_or_percent(word),
            Octal { max } => {
                let value = u32::from_str_radix(word, 8).map_err(|_| "argument couldn't be parsed as an octal number")?;
                if value > max {
                    return Err(format!("argument must be between 0 and {max:o} inclusive"));
                }
                Ok(format!("{value:o}"))
            }
            Enum(names) => parse_enum(word, names).ok_or_else(|| one_of(names)),
            FileName if word.contains('/') => Err("the name can't be a path, just a filename".into()),
            FileName if word.is_empty() => Err("the name can't be empty".into()),
            Checked(check) => check(word),
            Text | FileName => Ok(word.to_string()),
            Flags(_) | Words(_) | MergedWords(_) | SavePoints(_) | Lines { .. } => unreachable!("returned above"),
        }
    }

    /// The lines that give this text, as words without the directive's name.
    pub fn lines(self, text: &str) -> Vec<Vec<String>> {
        let words: Vec<String> = text.split_ascii_whitespace().map(String::from).collect();
        match self {
            Kind::Memory { .. } | Kind::MemoryOrPercent => vec![vec![with_unit(text)]],
            Kind::SavePoints(_) if words.is_empty() => vec![vec![String::new()]],
            Kind::SavePoints(_) => words.chunks(2).map(<[String]>::to_vec).collect(),
            Kind::MergedWords(_) => words.chunks(4).map(output_buffer_line).collect(),
            // `bind ""` listens nowhere; no words at all would be another thing for some directives.
            Kind::Words(_) if words.is_empty() => vec![vec![String::new()]],
            Kind::Flags(_) | Kind::Words(_) => vec![words],
            Kind::Lines { .. } => Vec::new(),
            _ => vec![vec![text.to_string()]],
        }
    }
}

fn output_buffer_line(words: &[String]) -> Vec<String> {
    match words {
        [class, hard, soft, seconds] => {
            let class = if class == "slave" { "replica" } else { class };
            vec![class.to_string(), with_unit(hard), with_unit(soft), seconds.clone()]
        }
        other => other.to_vec(),
    }
}

fn parse_enum(word: &str, names: &[&str]) -> Option<String> {
    names.iter().find(|name| name.eq_ignore_ascii_case(word)).map(|name| name.to_string())
}

fn one_of(names: &[&str]) -> String {
    format!("argument(s) must be one of the following: {}", names.join(", "))
}

fn parse_flags(words: &[&str], names: &[&str]) -> Result<String, String> {
    let mut set = Vec::new();
    for word in words {
        set.push(parse_enum(word, names).ok_or_else(|| one_of(names))?);
    }
    if set.is_empty() {
        return Err(one_of(names));
    }
    if set.iter().any(|flag| flag == "save") && set.iter().any(|flag| flag == "nosave") {
        return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into());
    }
    // In the order of the table, each once; the first name means none and shows only alone.
    let ordered: Vec<&str> = names[1..].iter().copied().filter(|name| set.iter().any(|flag| flag == name)).collect();
    Ok(if ordered.is_empty() { names[0].to_string() } else { ordered.join(" ") })
}

fn parse_integer(word: &str) -> Result<i64, String> {
    let value: i64 = word.parse().map_err(|_| "argument couldn't be parsed into an integer")?;
    // As everywhere in Redis, only the exact decimal form is a number.
    if value.to_string() == word { Ok(value) } else { Err("argument couldn't be parsed into an integer".into()) }
}

fn within<N: PartialOrd + std::fmt::Display>(value: N, min: N, max: N) -> Result<String, String> {
    if value < min || value > max {
        return Err(format!("argument must be between {min} and {max} inclusive"));
    }
    Ok(value.to_string())
}

/// Bytes; `None` when it is no such number or more than 64 bits.
pub fn parse_memory(word: &str) -> Option<u64> {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = word.split_at(digits);
    let factor: u64 = match &unit.to_ascii_lowercase()[..] {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn parse_memory_or_percent(word: &str) -> Result<String, String> {
    if let Some(bytes) = parse_memory(word) {
        return within(bytes, 0, i64::MAX as u64);
    }
    let percent = word.strip_suffix('%').and_then(|number| parse_integer(number).ok()).filter(|&percent| percent >= 0);
    match percent.ok_or("argument must be a memory or percent value")? {
        percent @ 0..=100 => Ok(format!("{percent}%")),
        _ => Err("percentage argument must be less or equal to 100".into()),
    }
}

/// The biggest unit that divides it.
fn with_unit(text: &str) -> String {
    let Ok(bytes) = text.parse::<u64>() else {
        return text.to_string();
    };
    for (unit, factor) in [("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10)] {
        if bytes > 0 && bytes % factor == 0 {
            return format!("{}{unit}", bytes / factor);
        }
    }
    text.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_decimal_and_binary_units() {
        for (word, bytes) in [
            ("0", Some(0)),
            ("7b", Some(7)),
            ("1k", Some(1000)),
            ("1kb", Some(1024)),
            ("2MB", Some(2 << 20)),
            ("1g", Some(1_000_000_000)),
            ("3Gb", Some(3 << 30)),
            ("", None),
            ("kb", None),
            ("1x", None),
            ("-1", None),
            ("1.5gb", None),
            ("99999999999999gb", None),
        ] {
            assert_eq!(parse_memory(word), bytes, "{word}");
        }
    }

    #[test]
    fn what_lines_gives_parses_to_the_same_text() {
        for directive in super::super::table::DIRECTIVES {
            let default = directive.default.split(' ').collect::<Vec<_>>();
            let words = if directive.kind.takes_words() { &default[..] } else { &[directive.default][..] };
            let Ok(text) = directive.kind.parse(words, "") else {
                assert_eq!(directive.default, "", "{}", directive.name);
                continue;
            };
            let again = directive.kind.lines(&text).iter().fold(String::new(), |before, words| {
                let words: Vec<&str> = words.iter().map(|word| &word[..]).collect();
                directive.kind.parse(&words, &before).expect("its own line")
            });
            assert_eq!(again, text, "{}", directive.name);
        }
    }
}
