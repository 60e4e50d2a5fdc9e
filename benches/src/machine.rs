//! What the machine is, who used its cores, and which cores we use. Reads /proc only.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::fs::read_to_string;
use std::path::Path;

/// The CPUs that this process may use when it starts, ascending.
pub fn allowed_cores() -> Vec<usize> {
    let mask = sched_getaffinity(None).expect("the own affinity can always be read");
    (0..CpuSet::MAX_CPU).filter(|&core| mask.is_set(core)).collect()
}

/// Binds the calling thread; a child that it starts inherits the mask.
pub fn pin(cores: &[usize]) -> Result<(), String> {
    let mut mask = CpuSet::new();
    cores.iter().for_each(|&core| mask.set(core));
    sched_setaffinity(None, &mask).map_err(|error| format!("cannot pin to cores {cores:?}: {error}"))
}

/// Lets the open loop wake on time: by default the kernel may add 50 µs to every time-out.
pub fn exact_timers() {
    // Where it is refused the open loop is only less exact.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

/// CPU time in seconds since some start, at one instant.
#[derive(Clone, Copy, Default, Debug)]
pub struct CpuTime {
    /// User and system time of all threads of the server, ended ones included.
    pub server_s: f64,
    /// Time in which the server's cores were busy, with whatever process.
    pub cores_s: f64,
}

pub fn cpu_time(pid: u32, cores: &[usize]) -> CpuTime {
    let ticks_per_s = rustix::param::clock_ticks_per_second() as f64;
    let server = read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|stat| server_ticks(&stat)).unwrap_or(0);
    let cores = read_to_string("/proc/stat").map(|stat| busy_ticks(&stat, cores)).unwrap_or(0);
    CpuTime { server_s: server as f64 / ticks_per_s, cores_s: cores as f64 / ticks_per_s }
}

/// Fields 14 and 15 of /proc/PID/stat (proc(5)). The name in field 2 may hold blanks, so count from its `)`.
fn server_ticks(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// user + nice + system + irq + softirq + steal; not idle and iowait.
fn busy_ticks(stat: &str, cores: &[usize]) -> u64 {
    let busy = |line: &str| -> Option<u64> {
        let mut words = line.split_ascii_whitespace();
        let core: usize = words.next()?.strip_prefix("cpu")?.parse().ok()?;
        let ticks: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
        cores.contains(&core).then(|| [0, 1, 2, 5, 6, 7].iter().filter_map(|&field| ticks.get(field)).sum())
    };
    stat.lines().filter_map(busy).sum()
}

/// Facts that belong to every result.
pub struct Facts {
    pub cpu: String,
    pub cores: usize,
    pub memory_gib: u64,
    pub kernel: String,
    /// Type of the file system that holds the servers' data.
    pub file_system: String,
}

impl Facts {
    pub fn gather(data: &Path) -> Facts {
        let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
        let mounts = read_to_string("/proc/mounts").unwrap_or_default();
        let data = data.canonicalize().unwrap_or_else(|_| data.to_owned());
        Facts {
            cpu: value_of("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown CPU".to_owned()),
            cores: allowed_cores().len(),
            memory_gib: memory_gib(),
            kernel,
            file_system: file_system(&mounts, &data).unwrap_or_else(|| "unknown".to_owned()),
        }
    }

    /// Short name for the results' directory: `amd-epyc-2c`. Not the host name, which says nothing to others.
    pub fn label(&self) -> String {
        let letters = |word: &str| word.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
        let words: Vec<String> = self.cpu.split(['(', ' ', '@']).map(letters).filter(|word| !word.is_empty()).collect();
        format!("{}-{}c", words[..words.len().min(3)].join("-"), self.cores)
    }
}

fn memory_gib() -> u64 {
    let kib = value_of("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or(0).div_ceil(1024 * 1024)
}

fn value_of(path: &str, name: &str) -> Option<String> {
    let text = read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The mount point with the longest matching path counts.
fn file_system(mounts: &str, path: &Path) -> Option<String> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let (_, kind) = mounts.filter(|(point, _)| path.starts_with(point)).max_by_key(|(point, _)| point.len())?;
    Some(kind.to_owned())
}

/// The 1, 5 and 15 minute load, as the kernel prints it.
pub fn load_average() -> String {
    let text = read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_ticks_survive_a_name_with_blanks() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 250 31 0 0 20 0 1 0 5 0 0";
        assert_eq!(server_ticks(stat), Some(281));
    }

    #[test]
    fn busy_is_what_is_neither_idle_nor_waiting_for_the_disk() {
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 2 4 1000 1000 8 16 32 0 0\ncpu1 100 0 0 0 0 0 0 0 0 0\n";
        assert_eq!(busy_ticks(stat, &[0]), 63);
        assert_eq!(busy_ticks(stat, &[0, 1]), 163);
    }

    #[test]
    fn the_innermost_mount_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/tmp/x")).as_deref(), Some("tmpfs"));
        assert_eq!(file_system(mounts, Path::new("/tmpx")).as_deref(), Some("ext4"));
    }
}
