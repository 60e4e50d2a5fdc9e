//! INFO: every section and field of Redis 7.2 that means something here, summed over all shards; and a few of our own
//! (`shards`, `aof_*` about recovery).

use super::saves::Saving;
use super::{Admin, Requester};
use crate::server::{ShardStats, Told};
use shards::shard::{CallReport, Shard};
use std::fmt::Write;

use shards::commands::REDIS_VERSION as VERSION;

/// All sections in the order of Redis.
const SECTIONS: [&str; 13] = [
    "server",
    "clients",
    "memory",
    "persistence",
    "stats",
    "replication",
    "cpu",
    "modules",
    "commandstats",
    "errorstats",
    "latencystats",
    "cluster",
    "keyspace",
];
/// Those that are shown only when they are asked for, by name or as `all`.
const EXTRA: [&str; 2] = ["commandstats", "latencystats"];

/// For the rates of INFO stats.
#[derive(Default)]
pub struct CpuClock {
    sampled_ms: i64,
    commands: u64,
    net_in: u64,
    net_out: u64,
    per_second: (u64, u64, u64),
}

pub fn random_id() -> String {
    let mut bytes = [0u8; 20];
    // A weak id when the kernel has no randomness yet: it is a name, no secret.
    _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    bytes.iter().fold(String::new(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}

/// Sum over shards.
pub(super) fn sum(stats: &[&ShardStats], field: impl Fn(&ShardStats) -> u64) -> u64 {
    stats.iter().map(|stats| field(stats)).sum()
}

macro_rules! lines {
    ($out:expr, $($name:literal => $value:expr),* $(,)?) => {
        {
            // Writing to a String can't fail.
            $( let _ = write!($out, concat!($name, ":{}\r\n"), $value); )*
        }
    };
}

impl Admin {
    pub(super) fn info(&mut self, requester: Requester, wanted: &[String], told: &[Told], shard: &mut Shard, now: i64) {
        self.count_changes(told);
        let stats: Vec<&ShardStats> =
            told.iter().filter_map(|told| if let Told::Stats(stats) = told { Some(&**stats) } else { None }).collect();
        self.sample(&stats, now);
        let mut out = String::new();
        for section in sections(wanted) {
            if !out.is_empty() {
                out.push_str("\r\n");
            }
            self.section(section, &stats, shard, now, &mut out);
        }
        self.answer(requester, |reply| reply.verbatim(b"txt", out.as_bytes()));
    }

    fn section(&self, name: &str, stats: &[&ShardStats], shard: &Shard, now: i64, out: &mut String) {
        let title = if name == "cpu" { "CPU".into() } else { name[..1].to_uppercase() + &name[1..] };
        _ = write!(out, "# {title}\r\n");
        match name {
            "server" => self.server(now, out),
            "clients" => self.clients(stats, out),
            "memory" => self.memory(stats, out),
            "persistence" => self.persistence(stats, shard, now, out),
            "stats" => self.stats(stats, out),
            "replication" => lines!(out,
                "role" => "master", "connected_slaves" => 0, "master_failover_state" => "no-failover",
                "master_replid" => self.run_id, "master_replid2" => "0".repeat(40), "master_repl_offset" => 0,
                "second_repl_offset" => -1, "repl_backlog_active" => 0, "repl_backlog_size" => self.config.text("repl-backlog-size"),
                "repl_backlog_first_byte_offset" => 0, "repl_backlog_histlen" => 0,
            ),
            "cpu" => cpu(out),
            "commandstats" => commandstats(&calls_of(stats), out),
            "errorstats" => errorstats(&calls_of(stats), out),
            "latencystats" => self.latencystats(&calls_of(stats), out),
            "cluster" => lines!(out, "cluster_enabled" => 0),
            "keyspace" => keyspace(stats, now, out),
            _ => {}
        }
    }

    fn server(&self, now: i64, out: &mut String) {
        let uptime_s = self.shared.started.elapsed().as_secs();
        let uname = rustix::system::uname();
        let os = format!(
            "{} {} {}",
            uname.sysname().to_string_lossy(),
            uname.release().to_string_lossy(),
            uname.machine().to_string_lossy()
        );
        let executable = std::env::current_exe().unwrap_or_default();
        let file = self.config.file().map_or_else(String::new, |path| path.display().to_string());
        lines!(out,
            "redis_version" => VERSION, "redis_git_sha1" => "00000000", "redis_git_dirty" => 0,
            "redis_mode" => "standalone", "os" => os, "arch_bits" => usize::BITS, "monotonic_clock" => "POSIX clock_gettime",
            "multiplexing_api" => "epoll",
            "process_id" => std::process::id(), "process_supervised" => "no", "run_id" => self.run_id,
            "tcp_port" => self.config.port(), "server_time_usec" => now * 1000,
            "uptime_in_seconds" => uptime_s, "uptime_in_days" => uptime_s / 86400,
            "hz" => self.config.text("hz"), "configured_hz" => self.config.text("hz"), "lru_clock" => (now / 1000) & 0xff_ffff,
            "executable" => executable.display(), "config_file" => file, "io_threads_active" => 0,
            "listener0" => self.listeners(),
            "shardis_version" => env!("CARGO_PKG_VERSION"), "shards" => self.shared.shards,
        );
    }

    /// `name=tcp,bind=127.0.0.1,bind=-::1,port=6379`, and the same for a Unix socket.
    fn listeners(&self) -> String {
        let mut text = String::new();
        let path = self.config.text("unixsocket");
        if self.config.port() > 0 {
            text.push_str("name=tcp");
            self.config.text("bind").split_ascii_whitespace().for_each(|address| text.extend([",bind=", address]));
            _ = write!(text, ",port={}", self.config.port());
            if !path.is_empty() {
                text.push_str("\r\nlistener1:");
            }
        }
        if !path.is_empty() {
            text.extend(["name=unix,bind=", path]);
        }
        text
    }

    fn clients(&self, stats: &[&ShardStats], out: &mut String) {
        let max = |field: fn(&ShardStats) -> u64| stats.iter().map(|stats| field(stats)).max().unwrap_or(0);
        lines!(out,
            "connected_clients" => self.shared.client_count(), "cluster_connections" => 0, "maxclients" => self.config.text("maxclients"),
            "client_recent_max_input_buffer" => max(|stats| stats.input_max),
            "client_recent_max_output_buffer" => max(|stats| stats.output_max),
            "blocked_clients" => 0, "tracking_clients" => 0, "clients_in_timeout_table" => 0,
            "total_blocking_keys" => 0, "total_blocking_keys_on_nokey" => 0,
        );
        for (shard, stats) in stats.iter().enumerate() {
            _ = write!(out, "shard{shard}_clients:{}\r\n", stats.clients);
        }
    }

    fn memory(&self, stats: &[&ShardStats], out: &mut String) {
        let memory = Memory::read();
        let maxmemory: u64 = self.config.number("maxmemory");
        let dataset = sum(stats, |stats| stats.memory);
        let startup = self.report.startup_memory;
        let above_startup = memory.resident.saturating_sub(startup).max(1);
        let keys = sum(stats, |stats| stats.keys.iter().map(|db| db.keys).sum());
        lines!(out,
            "used_memory" => memory.resident, "used_memory_human" => human(memory.resident),
            "used_memory_rss" => memory.resident, "used_memory_rss_human" => human(memory.resident),
            "used_memory_peak" => memory.peak, "used_memory_peak_human" => human(memory.peak),
            "used_memory_peak_perc" => format!("{:.2}%", memory.resident as f64 * 100.0 / memory.peak.max(1) as f64),
            "used_memory_overhead" => memory.resident.saturating_sub(dataset), "used_memory_startup" => startup,
            "used_memory_dataset" => dataset,
            "used_memory_dataset_perc" => format!("{:.2}%", (dataset as f64 * 100.0 / above_startup as f64).min(100.0)),
            "number_of_keys" => keys,
            "total_system_memory" => memory.total, "total_system_memory_human" => human(memory.total),
            "used_memory_lua" => 0, "used_memory_vm_eval" => 0, "used_memory_lua_human" => "0B", "used_memory_scripts_eval" => 0,
            "number_of_cached_scripts" => 0, "number_of_functions" => 0, "number_of_libraries" => 0,
            "used_memory_vm_functions" => 0, "used_memory_vm_total" => 0, "used_memory_vm_total_human" => "0B",
            "used_memory_functions" => 0, "used_memory_scripts" => 0, "used_memory_scripts_human" => "0B",
            "maxmemory" => maxmemory, "maxmemory_human" => human(maxmemory), "maxmemory_policy" => self.config.text("maxmemory-policy"),
            // What is used is measured as what is resident.
            "mem_fragmentation_ratio" => "1.00", "mem_fragmentation_bytes" => 0, "mem_not_counted_for_evict" => 0,
            "mem_replication_backlog" => 0, "mem_total_replication_buffers" => 0, "mem_clients_slaves" => 0,
            "mem_clients_normal" => sum(stats, |stats| stats.client_bytes), "mem_cluster_links" => 0,
            "mem_allocator" => "mimalloc", "active_defrag_running" => 0, "lazyfree_pending_objects" => 0, "lazyfreed_objects" => 0,
        );
    }

    fn persistence(&self, stats: &[&ShardStats], shard: &Shard, now: i64, out: &mut String) {
        let saves = &self.saves;
        let is_saving = saves.is_running(&[Saving::Save, Saving::Final, Saving::BgSave, Saving::Export]);
        let is_rewriting = saves.is_running(&[Saving::Rewrite]);
        let since = saves.current.as_ref().map_or(-1, |(_, since_ms)| (now - since_ms) / 1000);
        let seconds = |duration_ms: Option<i64>| duration_ms.map_or(-1, |ms| ms / 1000);
        let status = |is_ok: bool| if is_ok { "ok" } else { "err" };
        let logging = shard.coordinator().is_some_and(|coordinator| coordinator.logging());
        let refusing = stats.iter().find_map(|stats| stats.refusing.as_ref());
        lines!(out,
            "loading" => self.reloading.is_some() as u8, "async_loading" => 0, "current_cow_peak" => 0, "current_cow_size" => 0, "current_cow_size_age" => 0,
            "current_fork_perc" => "0.00", "current_save_keys_processed" => sum(stats, |stats| stats.save_progress.0),
            "current_save_keys_total" => sum(stats, |stats| stats.save_progress.1),
            "rdb_changes_since_last_save" => saves.changes, "rdb_bgsave_in_progress" => is_saving as u8,
            "rdb_last_save_time" => saves.last_save_ms / 1000, "rdb_last_bgsave_status" => status(saves.last_ok),
            "rdb_last_bgsave_time_sec" => seconds(saves.last_duration_ms),
            "rdb_current_bgsave_time_sec" => if is_saving { since } else { -1 },
            "rdb_saves" => saves.saves, "rdb_last_cow_size" => 0, "rdb_last_load_keys_expired" => 0, "rdb_last_load_keys_loaded" => self.report.keys_loaded,
            "aof_enabled" => logging as u8, "aof_rewrite_in_progress" => is_rewriting as u8,
            "aof_rewrite_scheduled" => saves.is_queued(Saving::Rewrite) as u8,
            "aof_last_rewrite_time_sec" => seconds(saves.last_rewrite_duration_ms),
            "aof_current_rewrite_time_sec" => if is_rewriting { since } else { -1 },
            "aof_last_bgrewrite_status" => status(saves.last_rewrite_ok), "aof_rewrites" => saves.rewrites,
            "aof_rewrites_consecutive_failures" => saves.rewrite_failures_in_a_row, "aof_last_write_status" => status(refusing.is_none()), "aof_last_cow_size" => 0,
            "module_fork_in_progress" => 0, "module_fork_last_cow_size" => 0,
        );
        if logging {
            let pending = sum(stats, |stats| stats.committed_behind);
            lines!(out,
                "aof_current_size" => saves.base_bytes + saves.log_size(), "aof_base_size" => saves.base_bytes,
                "aof_pending_rewrite" => 0,
                "aof_records_not_committed" => pending, "aof_fsyncs" => sum(stats, |stats| stats.log_syncs),
            );
        }
        let report = &self.report;
        lines!(out,
            "shardis_recovery" => report.found, "shardis_recovery_crash" => report.crash,
            "shardis_recovery_cut_records" => report.cut_records, "shardis_recovery_cut_bytes" => report.cut_bytes,
            "shardis_recovery_mark" => report.mark.map_or_else(|| "none".into(), |seq| seq.to_string()),
        );
        if logging {
            for (index, (last, written, durable)) in stats.iter().map(|stats| stats.lsns).enumerate() {
                _ = write!(out, "shardis_shard_{index}:last_lsn={last},written_lsn={written},durable_lsn={durable}\r\n");
            }
        }
        if let Some(cause) = refusing {
            lines!(out, "refusing_writes" => cause);
        }
    }

    fn stats(&self, stats: &[&ShardStats], out: &mut String) {
        let (commands, net_in, net_out) = self.cpu.per_second;
        lines!(out,
            "total_connections_received" => sum(stats, |stats| stats.connections_received),
            "total_commands_processed" => sum(stats, |stats| stats.commands), "instantaneous_ops_per_sec" => commands,
            "total_net_input_bytes" => sum(stats, |stats| stats.net_in), "total_net_output_bytes" => sum(stats, |stats| stats.net_out),
            "total_net_repl_input_bytes" => 0, "total_net_repl_output_bytes" => 0,
            "instantaneous_input_kbps" => format!("{:.2}", net_in as f64 / 1024.0),
            "instantaneous_output_kbps" => format!("{:.2}", net_out as f64 / 1024.0),
            "instantaneous_input_repl_kbps" => "0.00", "instantaneous_output_repl_kbps" => "0.00",
            "rejected_connections" => self.rejected, "sync_full" => 0, "sync_partial_ok" => 0, "sync_partial_err" => 0,
            "expired_keys" => sum(stats, |stats| stats.expired),             "expired_time_cap_reached_count" => 0, "evicted_keys" => 0, "evicted_clients" => 0,
            "total_eviction_exceeded_time" => 0, "current_eviction_exceeded_time" => 0,
            "keyspace_hits" => sum(stats, |stats| stats.hits), "keyspace_misses" => sum(stats, |stats| stats.misses),
            "pubsub_channels" => 0, "pubsub_patterns" => 0, "pubsubshard_channels" => 0, "latest_fork_usec" => 0, "total_forks" => 0,
            "migrate_cached_sockets" => 0, "slave_expires_tracked_keys" => 0, "active_defrag_hits" => 0, "active_defrag_misses" => 0,
            "active_defrag_key_hits" => 0, "active_defrag_key_misses" => 0, "total_active_defrag_time" => 0,
            "current_active_defrag_time" => 0, "tracking_total_keys" => 0, "tracking_total_items" => 0, "tracking_total_prefixes" => 0,
            "unexpected_error_replies" => 0, "total_error_replies" => sum(stats, |stats| stats.errors),
            "dump_payload_sanitizations" => 0, "total_reads_processed" => sum(stats, |stats| stats.reads),
            "total_writes_processed" => sum(stats, |stats| stats.writes), "io_threaded_reads_processed" => 0,
            "io_threaded_writes_processed" => 0,
            "client_query_buffer_limit_disconnections" => sum(stats, |stats| stats.query_disconnections),
            "client_output_buffer_limit_disconnections" => 0, "reply_buffer_shrinks" => 0, "reply_buffer_expands" => 0,
            "eventloop_cycles" => sum(stats, |stats| stats.passes),
            "acl_access_denied_auth" => sum(stats, |stats| stats.calls.errors.get(&b"WRONGPASS"[..]).copied().unwrap_or(0)),
            "acl_access_denied_cmd" => 0, "acl_access_denied_key" => 0, "acl_access_denied_channel" => 0,
        );
    }

    fn latencystats(&self, report: &CallReport, out: &mut String) {
        if !self.config.flag("latency-tracking") {
            return;
        }
        let percentiles: Vec<f64> =
            self.config.text("latency-tracking-info-percentiles").split(' ').filter_map(|word| word.parse().ok()).collect();
        for (name, command) in &report.commands {
            let value = |percent: &f64| Some(format!("p{percent}={:.3}", command.percentile_ns(*percent)? as f64 / 1000.0));
            let values: Option<Vec<String>> = percentiles.iter().map(value).collect();
            if let Some(values) = values.filter(|_| command.calls > 0) {
                _ = write!(out, "latency_percentiles_usec_{name}:{}\r\n", values.join(","));
            }
        }
    }

    fn sample(&mut self, stats: &[&ShardStats], now: i64) {
        let clock = &mut self.cpu;
        let elapsed_ms = (now - clock.sampled_ms).max(1) as u64;
        let totals = (sum(stats, |s| s.commands), sum(stats, |s| s.net_in), sum(stats, |s| s.net_out));
        if clock.sampled_ms > 0 && elapsed_ms >= 100 {
            let rate = |now: u64, before: u64| now.saturating_sub(before) * 1000 / elapsed_ms;
            clock.per_second = (rate(totals.0, clock.commands), rate(totals.1, clock.net_in), rate(totals.2, clock.net_out));
        }
        if elapsed_ms >= 100 {
            (clock.sampled_ms, clock.commands, clock.net_in, clock.net_out) = (now, totals.0, totals.1, totals.2);
        }
    }
}

fn sections(wanted: &[String]) -> Vec<&'static str> {
    let is_wanted = |name: &str| {
        let by_default = !EXTRA.contains(&name);
        let matches = |word: &String| match word.as_str() {
            "default" => by_default,
            "all" | "everything" => true,
            word => word == name,
        };
        if wanted.is_empty() { by_default } else { wanted.iter().any(matches) }
    };
    SECTIONS.into_iter().filter(|name| is_wanted(name)).collect()
}

fn keyspace(stats: &[&ShardStats], now: i64, out: &mut String) {
    let databases = stats.iter().map(|stats| stats.keys.len()).max().unwrap_or(0);
    for db in 0..databases {
        let of_db = || stats.iter().filter_map(|stats| stats.keys.get(db));
        let (keys, expires): (u64, u64) = (of_db().map(|db| db.keys).sum(), of_db().map(|db| db.expires).sum());
        // Redis estimates it by samples; here it is exact.
        let at_ms = of_db().map(|db| db.expire_sum_ms).sum::<i128>() / expires.max(1) as i128;
        let avg_ttl = if expires > 0 { (at_ms - now as i128).max(0) } else { 0 };
        if keys > 0 {
            _ = write!(out, "db{db}:keys={keys},expires={expires},avg_ttl={avg_ttl}\r\n");
        }
    }
}

fn calls_of(stats: &[&ShardStats]) -> CallReport {
    let mut calls = CallReport::default();
    stats.iter().for_each(|stats| calls.merge(&stats.calls));
    calls
}

fn commandstats(report: &CallReport, out: &mut String) {
    for (name, command) in &report.commands {
        if command.calls == 0 && command.rejected == 0 && command.failed == 0 {
            continue;
        }
        // What was measured stands for all calls; a command that was always within a pipeline may not have been measured yet.
        let usec = command.time_ns / 1000;
        let per_call = if command.calls == 0 { 0.0 } else { usec as f64 / command.calls as f64 };
        _ = write!(
            out,
            "cmdstat_{name}:calls={},usec={usec},usec_per_call={per_call:.2},rejected_calls={},failed_calls={}\r\n",
            command.calls, command.rejected, command.failed
        );
    }
}

fn errorstats(report: &CallReport, out: &mut String) {
    for (kind, count) in &report.errors {
        _ = write!(out, "errorstat_{}:count={count}\r\n", String::from_utf8_lossy(kind));
    }
}

/// From /proc: CPU time of the process, in seconds.
fn cpu(out: &mut String) {
    let fields_of = |path: &str| -> Vec<f64> {
        let stat = std::fs::read_to_string(path).unwrap_or_default();
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        after_name.split_ascii_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect()
    };
    // The main thread of Redis is the one that answers.
    let (fields, thread) = (fields_of("/proc/self/stat"), fields_of("/proc/thread-self/stat"));
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let seconds = |fields: &[f64], index: usize| format!("{:.6}", fields.get(index).unwrap_or(&0.0) / ticks);
    // Fields 14 to 17 of proc(5), counted here from the third.
    lines!(out,
        "used_cpu_sys" => seconds(&fields, 12), "used_cpu_user" => seconds(&fields, 11),
        "used_cpu_sys_children" => seconds(&fields, 14), "used_cpu_user_children" => seconds(&fields, 13),
        "used_cpu_sys_main_thread" => seconds(&thread, 12), "used_cpu_user_main_thread" => seconds(&thread, 11),
    );
}

/// Bytes of this process.
pub fn resident_memory() -> u64 {
    Memory::read().resident
}

pub(super) struct Memory {
    pub resident: u64,
    pub peak: u64,
    pub total: u64,
}

impl Memory {
    pub fn read() -> Memory {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let machine = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_ascii_whitespace().next());
            number.and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
        };
        Memory { resident: kib(&status, "VmRSS:"), peak: kib(&status, "VmHWM:"), total: kib(&machine, "MemTotal:") }
    }
}

/// As Redis: `1.50M`.
pub(super) fn human(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "K", "M", "G", "T"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes}B") } else { format!("{value:.2}{unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.2}P")
}
