//! The server's log: lines as Redis writes them, to standard output or `logfile`.
//!
//! ```text
//! 4711:M 22 Nov 2026 13:30:53.123 * Ready to accept connections tcp
//! pid:role date              level message        level: . debug, - verbose, * notice, # warning
//! ```

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    Debug,
    Verbose,
    Notice,
    Warning,
}

impl Level {
    /// Of the directive `loglevel`.
    pub fn of(word: &str) -> Level {
        match word {
            "debug" => Level::Debug,
            "verbose" => Level::Verbose,
            "warning" => Level::Warning,
            _ => Level::Notice,
        }
    }

    fn sign(self) -> char {
        match self {
            Level::Debug => '.',
            Level::Verbose => '-',
            Level::Notice => '*',
            Level::Warning => '#',
        }
    }
}

struct Journal {
    level: Level,
    /// None: standard output.
    path: Option<PathBuf>,
}

static JOURNAL: OnceLock<Mutex<Journal>> = OnceLock::new();

fn journal() -> &'static Mutex<Journal> {
    JOURNAL.get_or_init(|| Mutex::new(Journal { level: Level::Notice, path: None }))
}

/// `logfile` = "": standard output. An error when the file can't be opened.
pub fn configure(level: Level, logfile: &str) -> std::io::Result<()> {
    let path = Some(logfile).filter(|path| !path.is_empty()).map(|path| std::path::absolute(path).unwrap_or(path.into()));
    if let Some(path) = &path {
        open(path)?;
    }
    *journal().lock().expect("no holder of the journal panics") = Journal { level, path };
    Ok(())
}

pub fn set_level(level: Level) {
    journal().lock().expect("no holder of the journal panics").level = level;
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

pub fn write(level: Level, message: &str) {
    let journal = journal().lock().expect("no holder of the journal panics");
    if level < journal.level {
        return;
    }
    let line = format!("{}:M {} {} {message}\n", std::process::id(), date(now()), level.sign());
    // The log is the last place to report anything: when it can't be written, nobody can be told.
    _ = match &journal.path {
        // Opened for each line, as Redis does: the file may be rotated away at any time.
        Some(path) => open(path).and_then(|mut file| file.write_all(line.as_bytes())),
        None => std::io::stdout().lock().write_all(line.as_bytes()),
    };
}

pub fn debug(message: &str) {
    write(Level::Debug, message);
}

pub fn verbose(message: &str) {
    write(Level::Verbose, message);
}

pub fn notice(message: &str) {
    write(Level::Notice, message);
}

pub fn warning(message: &str) {
    write(Level::Warning, message);
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// `22 Nov 2026 13:30:53.123`, in UTC.
fn date(ms: u64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, rest) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = civil(days as i64);
    let (hours, minutes, seconds) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
    format!("{day:02} {} {year} {hours:02}:{minutes:02}:{seconds:02}.{:03}", MONTHS[month as usize - 1], rest % 1000)
}

/// Year, month and day of a number of days since 1970 (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + (month <= 2) as i64, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "01 Jan 1970 00:00:00.000");
        assert_eq!(date(951_782_400_007), "29 Feb 2000 00:00:00.007");
        assert_eq!(date(1_795_354_253_123), "22 Nov 2026 13:30:53.123");
    }
}
