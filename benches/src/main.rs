//! Compares fsync modes, pipelines, clients, value sizes and shards, of Shardis and of every peer that is installed.
//!
//! A case is one combination of these. In each round every case is measured once on every server, each time on a
//! freshly started server with freshly written keys; so a disturbance of the machine hits all servers alike, and the
//! medians over the rounds are compared. See the README beside this crate for method and fairness.
//!
//! The way of a measurement: `plan` (cases) → `servers` (start) → `load` (requests, checked by `workload`) → `machine`
//! (CPU time) → `report` (medians, table) → `results` (files).

mod load;
mod machine;
mod plan;
mod report;
mod results;
mod servers;
mod workload;

use clap::Parser;
use load::{Load, Pace};
use machine::{CpuTime, Facts};
use plan::{Case, Ranges};
use report::{Figures, Row};
use results::{Interval, Run};
use servers::{Mode, Server, Setting};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use workload::{Command, Workload};

/// Compare fsync modes and servers: checked replies, CPU time per request, medians of interleaved rounds.
#[derive(Parser, Debug)]
#[command(version)]
struct Arguments {
    /// A short sanity run: few cases, one round, nothing kept unless --out is given
    #[arg(long)]
    quick: bool,
    /// Servers to compare: shardis, redis, redis8, valkey, kevy, or names given by --program [default: all installed]
    #[arg(long, value_delimiter = ',')]
    servers: Vec<String>,
    /// NAME=PATH: where a server is. A name that begins with shardis or kevy is started like these, any other like Redis
    #[arg(long)]
    program: Vec<String>,
    /// NAME=ARGUMENTS: more arguments for one server, separated by blanks
    #[arg(long)]
    server_args: Vec<String>,
    /// What the log does: none, no, everysec, always [default: all]
    #[arg(long, value_delimiter = ',')]
    modes: Vec<Mode>,
    /// set, get, incr, mset, mget, mixed [default: set,get]
    #[arg(long, value_delimiter = ',')]
    commands: Vec<Command>,
    /// Closed loop: requests in flight per connection
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16])]
    pipelines: Vec<usize>,
    /// Open loop instead: requests per second; latency counts from the instant at which a request is due
    #[arg(long, value_delimiter = ',')]
    rates: Vec<f64>,
    /// Connections
    #[arg(long, value_delimiter = ',', default_values_t = [50])]
    clients: Vec<usize>,
    /// Bytes per value
    #[arg(long, value_delimiter = ',', default_values_t = [64])]
    sizes: Vec<usize>,
    /// Shards (threads) of the servers that have them; the others run one thread on the same cores
    #[arg(long, value_delimiter = ',', default_values_t = [1])]
    shards: Vec<usize>,
    /// Keys, drawn uniformly; all are written before each measurement [default: 100000]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..1_000_000_000_000))]
    keys: Option<u64>,
    /// Keys per MSET and MGET
    #[arg(long, default_value_t = 10)]
    multi_keys: usize,
    /// Rounds; medians are over these [default: 5]
    #[arg(long)]
    rounds: Option<usize>,
    /// Length of one measurement [default: 2]
    #[arg(long)]
    seconds: Option<f64>,
    /// Load before it that is not counted [default: 0.5]
    #[arg(long)]
    warmup: Option<f64>,
    /// Cores of the servers [default: as many as shards, from the first]
    #[arg(long, value_delimiter = ',')]
    server_cores: Vec<usize>,
    /// Core of the load generator [default: the one after the servers']
    #[arg(long)]
    load_core: Option<usize>,
    /// Where the servers' temporary directories are made; its file system is what fsync is measured on
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// Where results are kept [default: benches/results/<date>-<machine>-<commit>]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Keep nothing
    #[arg(long, conflicts_with = "out")]
    no_keep: bool,
    /// The servers' commit, where it is not the one of the tree that the harness was built from
    #[arg(long)]
    commit: Option<String>,
    /// The machine's name in the results' directory [default: CPU and number of cores]
    #[arg(long)]
    machine: Option<String>,
}

/// The arguments with all defaults filled in.
struct Plan {
    servers: Vec<Server>,
    cases: Vec<Case>,
    rounds: usize,
    duration: Duration,
    warmup: Duration,
    keys: u64,
    allowed_cores: Vec<usize>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match compare(&arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failures) => {
            eprintln!("{failures} measurements failed");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the number of failed measurements.
fn compare(arguments: &Arguments) -> Result<usize, String> {
    let plan = plan(arguments)?;
    let facts = Facts::gather(&arguments.dir);
    if facts.file_system == "tmpfs" {
        eprintln!("warning: {} is a tmpfs: fsync costs nothing there", arguments.dir.display());
    }
    machine::exact_timers();
    let load_at_start = machine::load_average();
    let (rows, intervals) = measure_all(arguments, &plan);

    let names: Vec<&str> = plan.servers.iter().map(|server| server.name.as_str()).collect();
    let table = report::table(&plan.cases, &report::summarize(&rows, &names));
    print!("{table}");
    if let Some(folder) = results_folder(arguments, &facts) {
        let command = results::command_line(std::env::args());
        let cores = describe_cores(arguments, &plan);
        let (cases, load_at_start) = (&plan.cases, &load_at_start);
        let (command, cores, rows, intervals) = (&command, &cores, &rows, &intervals);
        let run = Run {
            command,
            commit: &commit(arguments),
            facts: &facts,
            load_at_start,
            cores,
            cases,
            rows,
            intervals,
            table: &table,
        };
        results::keep(&folder, &run)?;
        eprintln!("kept in {}", folder.display());
    }
    Ok(rows.iter().filter(|row| row.outcome.is_err()).count())
}

fn commit(arguments: &Arguments) -> String {
    arguments.commit.clone().unwrap_or_else(results::commit)
}

fn results_folder(arguments: &Arguments, facts: &Facts) -> Option<PathBuf> {
    if arguments.no_keep || (arguments.quick && arguments.out.is_none()) {
        return None;
    }
    Some(arguments.out.clone().unwrap_or_else(|| results::folder(facts, arguments.machine.as_deref(), &commit(arguments))))
}

fn plan(arguments: &Arguments) -> Result<Plan, String> {
    let quick = arguments.quick;
    let or = |given: &[Mode], default: &[Mode]| if given.is_empty() { default.to_vec() } else { given.to_vec() };
    let all = [Mode::None, Mode::No, Mode::Everysec, Mode::Always];
    let modes = or(&arguments.modes, if quick { &[Mode::None, Mode::Always] } else { &all });
    let commands = if arguments.commands.is_empty() { vec![Command::Set, Command::Get] } else { arguments.commands.clone() };
    let paces: Vec<Pace> = match &arguments.rates[..] {
        [] => arguments.pipelines.iter().map(|&depth| Pace::Closed { depth }).collect(),
        rates => rates.iter().map(|&per_second| Pace::Open { per_second }).collect(),
    };
    check_ranges(arguments)?;
    let ranges = Ranges {
        modes: &modes,
        shards: &arguments.shards,
        commands: &commands,
        clients: &arguments.clients,
        paces: &paces,
        value_bytes: &arguments.sizes,
    };
    let seconds = |given: Option<f64>, full: f64, short: f64| given.unwrap_or(if quick { short } else { full }).max(0.0);
    Ok(Plan {
        servers: servers::find(&arguments.servers, &arguments.program, &arguments.server_args)?,
        cases: plan::cases(&ranges),
        rounds: arguments.rounds.unwrap_or(if quick { 1 } else { 5 }),
        duration: Duration::from_secs_f64(seconds(arguments.seconds, 2.0, 0.1)),
        warmup: Duration::from_secs_f64(seconds(arguments.warmup, 0.5, 0.02)),
        keys: arguments.keys.unwrap_or(if quick { 10_000 } else { 100_000 }),
        allowed_cores: machine::allowed_cores(),
    })
}

/// Values that would divide by zero or wait for ever.
fn check_ranges(arguments: &Arguments) -> Result<(), String> {
    let positive = |name: &str, values: &[usize]| match values {
        values if values.is_empty() || values.contains(&0) => Err(format!("--{name} takes numbers above zero")),
        _ => Ok(()),
    };
    positive("pipelines", &arguments.pipelines)?;
    positive("clients", &arguments.clients)?;
    positive("sizes", &arguments.sizes)?;
    positive("shards", &arguments.shards)?;
    positive("multi-keys", &[arguments.multi_keys])?;
    if arguments.rates.iter().any(|&rate| rate.is_nan() || rate < 1.0) {
        return Err("--rates takes rates of at least one per second".to_owned());
    }
    Ok(())
}

/// The servers' cores and the load generator's for so many shards.
fn cores(arguments: &Arguments, plan: &Plan, shards: usize) -> (Vec<usize>, usize) {
    let allowed = &plan.allowed_cores;
    let servers = match &arguments.server_cores[..] {
        [] => allowed[..shards.min(allowed.len())].to_vec(),
        given => given.to_vec(),
    };
    let free = allowed.iter().copied().find(|core| !servers.contains(core));
    let load = arguments.load_core.or(free).unwrap_or(allowed[allowed.len() - 1]);
    (servers, load)
}

fn describe_cores(arguments: &Arguments, plan: &Plan) -> String {
    let describe = |&shards: &usize| {
        let (servers, load) = cores(arguments, plan, shards);
        let shared = if servers.contains(&load) { " (shared with a server thread)" } else { "" };
        format!("{shards} shard(s): servers on {servers:?}, load on {load}{shared}")
    };
    arguments.shards.iter().map(describe).collect::<Vec<_>>().join("; ")
}

/// Rounds outside, servers inside: the servers of one case are measured within seconds of each other.
fn measure_all(arguments: &Arguments, plan: &Plan) -> (Vec<Row>, Vec<Interval>) {
    let (mut rows, mut intervals) = (Vec::new(), Vec::new());
    let total = plan.rounds * plan.cases.len() * plan.servers.len();
    eprintln!("{total} measurements; {}", describe_cores(arguments, plan));
    for round in 0..plan.rounds {
        for (index, case) in plan.cases.iter().enumerate() {
            for place in 0..plan.servers.len() {
                // Another server goes first each time, so that no one always follows the same neighbour's fsyncs.
                let server = &plan.servers[(place + round + index) % plan.servers.len()];
                progress(&format!("{}/{total} round {} {} {}", rows.len() + 1, round + 1, case.title(), server.name));
                let seed = workload::mix((round * plan.cases.len() + index) as u64);
                let mut version = String::new();
                let outcome = measure(arguments, plan, case, server, seed, &mut version);
                let (name, version) = (server.name.clone(), version);
                let outcome = outcome.map(|measured| {
                    intervals.push(Interval::new(index, &name, round, &measured));
                    figures(&measured)
                });
                rows.push(Row { case: index, round, server: name, version, outcome });
            }
        }
    }
    progress("");
    (rows, intervals)
}

/// One line on a terminal that is written over and over; nothing elsewhere.
fn progress(text: &str) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        // A progress line that cannot be written is no reason to stop.
        let _ = write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush());
    }
}

fn measure(
    arguments: &Arguments,
    plan: &Plan,
    case: &Case,
    server: &Server,
    seed: u64,
    version: &mut String,
) -> Result<load::Measured<CpuTime>, String> {
    let (cores, load_core) = cores(arguments, plan, case.shards);
    let setting = Setting { mode: case.mode, shards: case.shards, cores: &cores, load_core, data: &arguments.dir };
    let running = server.start(&setting)?;
    version.clone_from(&running.version);
    let workload = Workload::new(case.command, plan.keys, case.value_bytes, arguments.multi_keys);
    load::prefill(running.address, &workload)?;
    let load = Load {
        address: running.address,
        workload: &workload,
        clients: case.clients,
        pace: case.pace,
        warmup: plan.warmup,
        duration: plan.duration,
        seed,
    };
    let measured = load::run(&load, || machine::cpu_time(running.pid(), &cores))?;
    if measured.requests == 0 {
        return Err(format!("no reply within the {} s that count", plan.duration.as_secs_f64()));
    }
    if case.command == Command::Incr {
        let sum = load::sum_of_counters(running.address, &workload)?;
        if sum != measured.requests_ever {
            return Err(format!("{} INCRs were answered, but the counters sum up to {sum}", measured.requests_ever));
        }
    }
    Ok(measured)
}

fn figures(measured: &load::Measured<CpuTime>) -> Figures {
    let elapsed_s = measured.elapsed.as_secs_f64();
    let requests = measured.requests as f64;
    let server_s = measured.after.server_s - measured.before.server_s;
    let other_s = measured.after.cores_s - measured.before.cores_s - server_s;
    let quantile = |quantile| measured.latency.value_at_quantile(quantile) as f64 / 1e3;
    Figures {
        requests: measured.requests,
        elapsed_s,
        per_second: requests / elapsed_s,
        cpu_us: server_s * 1e6 / requests,
        server_cores: server_s / elapsed_s,
        other_cores: (other_s / elapsed_s).max(0.0),
        p50_us: quantile(0.5),
        p99_us: quantile(0.99),
        p999_us: quantile(0.999),
        max_us: measured.latency.max() as f64 / 1e3,
    }
}
