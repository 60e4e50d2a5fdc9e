//! From measurements to medians, the table and the CSV. Pure text; nothing is measured or written here.

use crate::load::Pace;
use crate::plan::Case;
use std::fmt::Write;

/// One measurement of one server.
#[derive(Clone, Debug)]
pub struct Row {
    /// Index into the plan's cases.
    pub case: usize,
    pub round: usize,
    pub server: String,
    pub version: String,
    pub outcome: Result<Figures, String>,
}

#[derive(Clone, Copy, Default, Debug)]
pub struct Figures {
    pub requests: u64,
    pub elapsed_s: f64,
    pub per_second: f64,
    /// User and system time of the server's process per request.
    pub cpu_us: f64,
    /// Cores that the server used on average.
    pub server_cores: f64,
    /// Cores' worth of the server's cores that others used (including the load generator where it shares a core).
    pub other_cores: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

/// The median of each figure over the rounds of one server in one case.
#[derive(Clone, Debug)]
pub struct Summary {
    pub case: usize,
    pub server: String,
    pub version: String,
    pub rounds: usize,
    pub failures: Vec<String>,
    pub figures: Figures,
    /// Throughput of the slowest and fastest round.
    pub per_second_range: (f64, f64),
    /// CPU per request of the cheapest and dearest round.
    pub cpu_us_range: (f64, f64),
}

/// Servers whose names begin so are no peers.
const OURS: &str = "shardis";

/// In the order of the cases and, within one, of `servers`.
pub fn summarize(rows: &[Row], servers: &[&str]) -> Vec<Summary> {
    let mut groups: Vec<(usize, &str, Vec<&Row>)> = Vec::new();
    for row in rows {
        match groups.iter_mut().find(|(case, server, _)| *case == row.case && *server == row.server) {
            Some((_, _, group)) => group.push(row),
            None => groups.push((row.case, &row.server, vec![row])),
        }
    }
    groups.sort_by_key(|(case, server, _)| (*case, servers.iter().position(|name| name == server)));
    groups.into_iter().map(|(case, server, rows)| summary(case, server, &rows)).collect()
}

fn summary(case: usize, server: &str, rows: &[&Row]) -> Summary {
    let good: Vec<Figures> = rows.iter().filter_map(|row| row.outcome.as_ref().ok().copied()).collect();
    let middle = |field: fn(&Figures) -> f64| median(good.iter().map(field).collect());
    let range = |field: fn(&Figures) -> f64| {
        let values = good.iter().map(field);
        (values.clone().fold(f64::INFINITY, f64::min), values.fold(0.0, f64::max))
    };
    Summary {
        case,
        server: server.to_owned(),
        version: rows.iter().map(|row| &row.version).max_by_key(|version| version.len()).cloned().unwrap_or_default(),
        rounds: good.len(),
        failures: rows.iter().filter_map(|row| row.outcome.as_ref().err().cloned()).collect(),
        figures: Figures {
            requests: good.iter().map(|figures| figures.requests).sum(),
            elapsed_s: middle(|f| f.elapsed_s),
            per_second: middle(|f| f.per_second),
            cpu_us: middle(|f| f.cpu_us),
            server_cores: middle(|f| f.server_cores),
            other_cores: middle(|f| f.other_cores),
            p50_us: middle(|f| f.p50_us),
            p99_us: middle(|f| f.p99_us),
            p999_us: middle(|f| f.p999_us),
            max_us: middle(|f| f.max_us),
        },
        per_second_range: range(|f| f.per_second),
        cpu_us_range: range(|f| f.cpu_us),
    }
}

/// NaN when there is nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => (values[count / 2 - 1] + values[count / 2]) / 2.0,
    }
}

pub fn table(cases: &[Case], summaries: &[Summary]) -> String {
    let mut out = String::new();
    for (index, case) in cases.iter().enumerate() {
        let rows: Vec<&Summary> = summaries.iter().filter(|summary| summary.case == index).collect();
        if !rows.is_empty() {
            case_table(&mut out, case, &rows);
        }
    }
    out
}

const HEADING: &str = "  server         version      krps (min-max)        x best  cpu us/req (min-max)      x best    \
                       p50 us    p99 us  p99.9 us  busy other";

fn case_table(out: &mut String, case: &Case, rows: &[&Summary]) {
    let peers = || rows.iter().filter(|row| !row.server.starts_with(OURS) && row.rounds > 0);
    let fastest = peers().map(|row| row.figures.per_second).fold(f64::NAN, f64::max);
    let cheapest = peers().map(|row| row.figures.cpu_us).fold(f64::NAN, f64::min);
    writeln!(out, "{}\n{HEADING}", case.title()).expect("a String takes everything");
    for row in rows {
        if row.rounds > 0 {
            figures_line(out, row, fastest, cheapest);
        }
        for failure in &row.failures {
            writeln!(out, "  {:<14} {:<8} failed: {}", row.server, row.version, failure.replace('\n', " | "))
                .expect("a String takes everything");
        }
    }
    out.push('\n');
}

fn figures_line(out: &mut String, row: &Summary, fastest: f64, cheapest: f64) {
    let f = &row.figures;
    let (slow, fast) = row.per_second_range;
    let (cheap, dear) = row.cpu_us_range;
    let krps = format!("{:.1} ({:.1}-{:.1})", f.per_second / 1e3, slow / 1e3, fast / 1e3);
    let cpu = format!("{:.2} ({:.2}-{:.2})", f.cpu_us, cheap, dear);
    let line = format!(
        "  {:<14} {:<8} {krps:>22} {:>7}  {cpu:>21} {:>7}  {:>9.0} {:>9.0} {:>9.0}  {:>4.2}  {:>4.2}",
        row.server,
        row.version,
        ratio(f.per_second, fastest),
        ratio(f.cpu_us, cheapest),
        f.p50_us,
        f.p99_us,
        f.p999_us,
        f.server_cores,
        f.other_cores
    );
    writeln!(out, "{line}").expect("a String takes everything");
}

/// To the best peer of the same case; a dash where there is none.
fn ratio(value: f64, best: f64) -> String {
    let ratio = value / best;
    if ratio.is_finite() { format!("{ratio:.2}") } else { "-".to_owned() }
}

pub const CSV_HEADER: &str = "round,server,version,mode,shards,command,clients,pipeline,rate_per_s,value_bytes,requests,\
elapsed_s,requests_per_s,cpu_us_per_request,server_cores,other_cores,p50_us,p99_us,p999_us,max_us,error";

pub fn csv_line(case: &Case, row: &Row) -> String {
    let (depth, rate) = match case.pace {
        Pace::Closed { depth } => (depth.to_string(), String::new()),
        Pace::Open { per_second } => (String::new(), per_second.to_string()),
    };
    let what = format!(
        "{},{},{},{},{},{},{},{depth},{rate},{}",
        row.round,
        row.server,
        row.version,
        case.mode.name(),
        case.shards,
        case.command.name(),
        case.clients,
        case.value_bytes
    );
    match &row.outcome {
        Ok(f) => format!(
            "{what},{},{:.4},{:.1},{:.4},{:.3},{:.3},{:.1},{:.1},{:.1},{:.1},",
            f.requests,
            f.elapsed_s,
            f.per_second,
            f.cpu_us,
            f.server_cores,
            f.other_cores,
            f.p50_us,
            f.p99_us,
            f.p999_us,
            f.max_us
        ),
        Err(error) => format!("{what},,,,,,,,,,,\"{}\"", error.replace('"', "'").replace('\n', " | ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::Mode;
    use crate::workload::Command;

    fn case() -> Case {
        let pace = Pace::Closed { depth: 16 };
        Case { mode: Mode::Always, shards: 1, command: Command::Set, clients: 50, pace, value_bytes: 64 }
    }

    fn row(server: &str, round: usize, per_second: f64, cpu_us: f64) -> Row {
        let figures = Figures { per_second, cpu_us, ..Figures::default() };
        Row { case: 0, round, server: server.to_owned(), version: "1".to_owned(), outcome: Ok(figures) }
    }

    #[test]
    fn ratios_are_of_medians_and_to_the_best_peer() {
        let rows = [
            row("shardis", 0, 300e3, 2.0),
            row("redis", 0, 100e3, 8.0),
            row("valkey", 0, 200e3, 4.0),
            row("valkey", 1, 900e3, 4.0),
            row("valkey", 2, 200e3, 4.0),
        ];
        let summaries = summarize(&rows, &["shardis", "redis", "valkey"]);
        let text = table(&[case()], &summaries);
        let ours = text.lines().find(|line| line.contains("shardis")).expect("a row");
        assert!(ours.contains("300.0") && ours.contains("1.50") && ours.contains("0.50"), "{text}");
    }

    #[test]
    fn a_failure_is_a_row_and_spoils_no_other() {
        let mut failed = row("shardis", 0, 0.0, 0.0);
        failed.outcome = Err("no \"reply\"\nfor 10 s".to_owned());
        assert_eq!(csv_line(&case(), &failed).split(',').count(), CSV_HEADER.split(',').count());
        assert_eq!(csv_line(&case(), &row("redis", 0, 1.0, 1.0)).split(',').count(), CSV_HEADER.split(',').count());
        let rows = [row("redis", 0, 100e3, 8.0), failed];
        let text = table(&[case()], &summarize(&rows, &["shardis", "redis"]));
        assert!(text.contains("failed: no \"reply\" | for 10 s") && text.contains("100.0"), "{text}");
        assert!(text.find("shardis") < text.find("redis "), "the servers stand in the given order:\n{text}");
    }

    #[test]
    fn the_median_of_an_even_count_is_the_mean_of_the_middle() {
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), 2.5);
        assert!(median(vec![]).is_nan());
    }
}
