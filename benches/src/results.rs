//! What is kept of a run: `benches/results/<date>-<machine>-<commit>/` with
//!
//! - `run.txt`: the exact command, the servers and the machine's facts
//! - `table.txt`: the table as the terminal showed it
//! - `raw.csv`: every measurement of every round, failures included
//! - `hdr/<case>-<server>.hlog`: latency histograms (HdrHistogram interval log, values in ns), one interval per round

use crate::load::Measured;
use crate::machine::{Facts, load_average};
use crate::plan::Case;
use crate::report::{CSV_HEADER, Row, csv_line};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The latencies of one measurement, to be written at the end of the run.
pub struct Interval {
    pub case: usize,
    pub server: String,
    pub round: usize,
    pub start: SystemTime,
    pub duration: Duration,
    pub latency: Histogram<u64>,
}

impl Interval {
    pub fn new<S>(case: usize, server: &str, round: usize, measured: &Measured<S>) -> Interval {
        let start = SystemTime::now() - measured.elapsed;
        let latency = measured.latency.clone();
        Interval { case, server: server.to_owned(), round, start, duration: measured.elapsed, latency }
    }
}

/// The default directory, under the `benches/results` of the source tree that this harness was built from.
pub fn folder(facts: &Facts, machine: Option<&str>, commit: &str) -> PathBuf {
    let parent = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    let label = machine.map_or_else(|| facts.label(), str::to_owned);
    let name = format!("{}-{label}-{commit}", date(SystemTime::now()));
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let mut names = std::iter::once(name.clone()).chain(numbered).map(|name| parent.join(name));
    names.find(|folder| !folder.exists()).expect("the numbers do not end")
}

/// The commit of the source tree, with a `+` when files differ from it.
pub fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR")]).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let hash = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "nocommit".to_owned());
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
    if changed { hash + "+" } else { hash }
}

/// UTC, `2026-01-31`. The calendar is that of Howard Hinnant's `civil_from_days`.
fn date(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |duration| duration.as_secs());
    let days = (seconds / 86_400) as i64 + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year_of_era, month + 3) } else { (year_of_era + 1, month - 9) };
    format!("{:04}-{month:02}-{day:02}", year + era * 400)
}

/// The command as a shell takes it. The program's own path says nothing to others: `cargo run` stands for it.
pub fn command_line(arguments: impl Iterator<Item = String>) -> String {
    let quote = |word: String| if word.contains([' ', '"', '*']) || word.is_empty() { format!("'{word}'") } else { word };
    let words: Vec<String> = arguments.skip(1).map(quote).collect();
    format!("cargo run --release -p shardis-bench -- {}", words.join(" "))
}

pub struct Run<'a> {
    pub command: &'a str,
    pub commit: &'a str,
    pub facts: &'a Facts,
    /// The load average when the run began.
    pub load_at_start: &'a str,
    pub cores: &'a str,
    pub cases: &'a [Case],
    pub rows: &'a [Row],
    pub intervals: &'a [Interval],
    pub table: &'a str,
}

pub fn keep(folder: &Path, run: &Run) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot keep results in {}: {error}", folder.display());
    fs::create_dir_all(folder.join("hdr")).map_err(failed)?;
    fs::write(folder.join("run.txt"), description(run)).map_err(failed)?;
    fs::write(folder.join("table.txt"), run.table).map_err(failed)?;
    let lines = run.rows.iter().map(|row| csv_line(&run.cases[row.case], row));
    let csv: Vec<String> = std::iter::once(CSV_HEADER.to_owned()).chain(lines).collect();
    fs::write(folder.join("raw.csv"), csv.join("\n") + "\n").map_err(failed)?;
    keep_histograms(&folder.join("hdr"), run)
}

fn description(run: &Run) -> String {
    let facts = run.facts;
    let mut versions: Vec<String> = run.rows.iter().map(|row| format!("{} {}", row.server, row.version)).collect();
    versions.sort();
    versions.dedup();
    format!(
        "command: {}\ndate: {} (UTC)\ncommit: {} (harness: {})\nservers: {}\ncores: {}\ncpu: {}\ncores allowed: {}\nmemory: {} GiB\n\
         kernel: Linux {}\nfile system of the data: {}\nload average before: {}\nload average after: {}\n",
        run.command,
        date(SystemTime::now()),
        run.commit,
        commit(),
        versions.join(", "),
        run.cores,
        facts.cpu,
        facts.cores,
        facts.memory_gib,
        facts.kernel,
        facts.file_system,
        run.load_at_start,
        load_average(),
    )
}

fn keep_histograms(folder: &Path, run: &Run) -> Result<(), String> {
    let mut names: Vec<(usize, &str)> = run.intervals.iter().map(|interval| (interval.case, interval.server.as_str())).collect();
    names.sort();
    names.dedup();
    for (case, server) in names {
        let intervals = run.intervals.iter().filter(|interval| interval.case == case && interval.server == server);
        let path = folder.join(format!("{}-{server}.hlog", run.cases[case].slug()));
        let log = interval_log(intervals).map_err(|error| format!("{}: {error}", path.display()))?;
        fs::write(&path, log).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn interval_log<'a>(intervals: impl Iterator<Item = &'a Interval>) -> Result<Vec<u8>, String> {
    let mut log = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    let mut writer = builder.add_comment("values in ns").begin_log_with(&mut log, &mut serializer).map_err(|e| e.to_string())?;
    for interval in intervals {
        let start = interval.start.duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("round{}", interval.round);
        let written = writer.write_histogram(&interval.latency, start, interval.duration, Tag::new(&name));
        written.map_err(|error| error.to_string())?;
    }
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_of_the_gregorian_calendar() {
        let at = |seconds| date(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01");
        assert_eq!(at(951_782_400), "2000-02-29");
        assert_eq!(at(1_735_689_599), "2024-12-31");
    }

    #[test]
    fn the_command_can_be_pasted() {
        let words = ["/x/shardis-bench", "--quick", "--server-args", "valkey=--io-threads 2"].map(str::to_owned);
        let expected = "cargo run --release -p shardis-bench -- --quick --server-args 'valkey=--io-threads 2'";
        assert_eq!(command_line(words.into_iter()), expected);
    }
}
