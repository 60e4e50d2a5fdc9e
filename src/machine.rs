//! What this machine and this process may do: io_uring, limits, CPUs. Asked before anything else, with words that say what to change.

use crate::journal;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;

/// What three rings of one executor lock, roughly.
const MEMLOCK_BYTES_PER_SHARD: u64 = 1 << 20;
/// Descriptors that are no clients: rings, event descriptors, log segments, listeners.
pub const RESERVED_DESCRIPTORS_MIN: u64 = 64;
const DESCRIPTORS_PER_SHARD: u64 = 32;

/// Whether io_uring may be used; the error says why not, and what to change.
pub fn probe_io_uring() -> Result<(), String> {
    let Err(error) = io_uring::IoUring::new(8) else { return Ok(()) };
    let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    Err(match error.raw_os_error() {
        _ if matches!(disabled.trim(), "1" | "2") => format!(
            "io_uring is switched off on this machine (kernel.io_uring_disabled = {}). Switch it on: sysctl -w kernel.io_uring_disabled=0",
            disabled.trim()
        ),
        Some(EPERM) => {
            "io_uring is not permitted. In a container, the runtime's seccomp profile forbids it (Docker's and containerd's \
             default profiles do): run with --security-opt seccomp=unconfined, or with a profile that allows io_uring_setup, \
             io_uring_enter and io_uring_register"
                .into()
        }
        Some(ENOSYS) => "the kernel has no io_uring (Linux 5.8 or newer is needed), or a seccomp profile hides it".into(),
        Some(ENOMEM) => format!("io_uring may lock too little memory. {}", memlock_advice(MEMLOCK_BYTES_PER_SHARD)),
        _ => format!("io_uring_setup failed: {error}"),
    })
}

const EPERM: i32 = 1;
const ENOMEM: i32 = 12;
const ENOSYS: i32 = 38;

fn memlock_advice(bytes: u64) -> String {
    format!(
        "Raise RLIMIT_MEMLOCK to at least {} KiB: `ulimit -l unlimited`, LimitMEMLOCK=infinity in a systemd unit, --ulimit memlock=-1 for Docker",
        bytes / 1024
    )
}

/// Rings and their buffers are locked memory.
pub fn raise_memlock(shards: u16) -> Result<(), String> {
    let wanted = shards as u64 * MEMLOCK_BYTES_PER_SHARD;
    let limit = getrlimit(Resource::Memlock);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    // A privileged process may raise both; any process may raise the first up to the second.
    let both = Rlimit { current: None, maximum: None };
    if setrlimit(Resource::Memlock, both).is_ok() {
        return Ok(());
    }
    _ = setrlimit(Resource::Memlock, Rlimit { current: limit.maximum, maximum: limit.maximum });
    match getrlimit(Resource::Memlock).current {
        Some(current) if current < wanted => {
            Err(format!("{shards} shards may lock {} KiB of memory only. {}", current / 1024, memlock_advice(wanted)))
        }
        _ => Ok(()),
    }
}

/// As Redis: raises the number of open files to what `maxclients` needs, else lowers `maxclients`. Returns what can be served.
pub fn raise_open_files(maxclients: u32, shards: u16) -> Result<u32, String> {
    let reserved = RESERVED_DESCRIPTORS_MIN + DESCRIPTORS_PER_SHARD * shards as u64;
    let wanted = maxclients as u64 + reserved;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(maxclients);
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(wanted));
    if setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_err() {
        let current = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
        _ = setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: limit.maximum });
    }
    let current = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if current >= wanted {
        return Ok(maxclients);
    }
    if current <= reserved {
        return Err(format!(
            "Your current 'ulimit -n' of {current} is not enough for the server to start. Please increase your open file limit to at least {wanted}. Exiting."
        ));
    }
    let served = (current - reserved) as u32;
    journal::warning(&format!("You requested maxclients of {maxclients} requiring at least {wanted} max file descriptors."));
    journal::warning(&format!(
        "Current maximum open files is {current}. maxclients has been reduced to {served} to compensate for low ulimit. If you need \
         higher maxclients increase 'ulimit -n'."
    ));
    Ok(served)
}

/// CPUs this process may run on.
pub fn affinity() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return vec![0] };
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

/// CPUs' worth of time that the cgroup grants; None = no limit. `root` = "/" except in tests.
pub fn cgroup_quota(root: &str) -> Option<f64> {
    let groups = fs::read_to_string(format!("{root}/proc/self/cgroup")).unwrap_or_default();
    let mut quota: Option<f64> = None;
    let mut take = |found: Option<f64>| quota = [quota, found].into_iter().flatten().reduce(f64::min);
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let base = match controllers {
            "" => format!("{root}/sys/fs/cgroup"),
            list if list.split(',').any(|name| name == "cpu") => format!("{root}/sys/fs/cgroup/cpu"),
            _ => continue,
        };
        // A group's limit also binds those inside it; in a container the path may be seen as the root.
        for dir in ancestors(path).map(|path| format!("{base}{path}")) {
            take(if controllers.is_empty() { quota_v2(&dir) } else { quota_v1(&dir) });
        }
    }
    quota
}

fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path.trim_end_matches('/')), |path| path.rfind('/').map(|at| &path[..at]))
}

/// `cpu.max`: "max 100000" or "150000 100000".
fn quota_v2(dir: &str) -> Option<f64> {
    let text = fs::read_to_string(format!("{dir}/cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
}

fn quota_v1(dir: &str) -> Option<f64> {
    let number = |name: &str| fs::read_to_string(format!("{dir}/{name}")).ok()?.trim().parse::<f64>().ok();
    let quota = number("cpu.cfs_quota_us").filter(|&quota| quota > 0.0)?;
    Some(quota / number("cpu.cfs_period_us")?)
}

/// How many shards by default, and the CPU of each: those of the mask, within the quota.
pub fn placement(wanted: Option<u16>) -> Vec<usize> {
    let cpus = affinity();
    let quota = cgroup_quota("").map_or(cpus.len(), |quota| (quota.ceil() as usize).max(1));
    let shards = wanted.map_or(cpus.len().min(quota), |shards| shards as usize);
    (0..shards).map(|shard| cpus[shard % cpus.len()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota_of(name: &str, files: &[(&str, &str)]) -> Option<f64> {
        let root = std::env::temp_dir().join(format!("shardis-cgroup-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("paths have directories")).expect("temporary directory");
            fs::write(path, text).expect("temporary file");
        }
        let quota = cgroup_quota(root.to_str().expect("UTF-8"));
        fs::remove_dir_all(root).expect("just made");
        quota
    }

    #[test]
    fn the_smallest_quota_of_all_groups_counts() {
        let v2 = [
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/a/b/cpu.max", "max 100000\n"),
        ];
        assert_eq!(quota_of("v2", &v2), Some(1.5));
        let v1 = [
            ("proc/self/cgroup", "3:cpu,cpuacct:/x\n2:memory:/x\n"),
            ("sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "200000\n"),
            ("sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(quota_of("v1", &v1), Some(2.0));
        assert_eq!(quota_of("none", &[("proc/self/cgroup", "0::/\n")]), None);
    }
}
