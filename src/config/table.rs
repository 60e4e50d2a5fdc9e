//! The one table of directives: name, aliases, kind, default, when it may change, and what it means here.
//!
//! The file loader, the command line, `--help`, CONFIG GET, SET and REWRITE and the documentation read it. It holds every directive
//! of Redis 7.2, and ours. To add one, add a line.

use super::kind::Kind::{self, *};
use super::words;

#[derive(Clone, Copy, Debug)]
pub struct Directive {
    pub name: &'static str,
    /// Older names; CONFIG GET shows them too.
    pub aliases: &'static [&'static str],
    pub kind: Kind,
    /// As it would stand in the file.
    pub default: &'static str,
    pub change: Change,
    pub meaning: Meaning,
    /// For `--help`: shown when not empty.
    pub about: &'static str,
    /// Left out of CONFIG GET with a pattern.
    pub hidden: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// CONFIG SET.
    Anytime,
    /// CONFIG SET where `enable-protected-configs` allows it.
    Protected,
    AtStart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    Used,
    /// Accepted for the sake of existing files; the text says why it changes nothing.
    Ignored(&'static str),
}

impl Directive {
    const fn alias(mut self, aliases: &'static [&'static str]) -> Directive {
        self.aliases = aliases;
        self
    }

    const fn at_start(mut self) -> Directive {
        self.change = Change::AtStart;
        self
    }

    const fn protected(mut self) -> Directive {
        self.change = Change::Protected;
        self
    }

    const fn hidden(mut self) -> Directive {
        self.hidden = true;
        self
    }

    const fn ignored(mut self, why: &'static str) -> Directive {
        self.meaning = Meaning::Ignored(why);
        self
    }

    const fn about(mut self, about: &'static str) -> Directive {
        self.about = about;
        self
    }
}

/// A directive that is used and may change at any time.
const fn d(name: &'static str, kind: Kind, default: &'static str) -> Directive {
    Directive { name, aliases: &[], kind, default, change: Change::Anytime, meaning: Meaning::Used, about: "", hidden: false }
}

const INT: Kind = Int { min: 0, max: i32::MAX as i64 };
const LONG: Kind = Int { min: 0, max: i64::MAX };
const PORT: Kind = Int { min: 0, max: 65535 };
const ANY_INT: Kind = Int { min: i32::MIN as i64, max: i32::MAX as i64 };
const PERCENT_OF_CPU: Kind = Int { min: 1, max: 99 };
const MEMORY: Kind = Memory { min: 0, max: i64::MAX as u64 };
const MEMORY_FROM_1: Kind = Memory { min: 1, max: i64::MAX as u64 };
const MEMORY_FROM_1MB: Kind = Memory { min: 1 << 20, max: i64::MAX as u64 };
const WHO: Kind = Enum(&["no", "yes", "local"]);
const SHUTDOWN: Kind = Flags(&["default", "save", "nosave", "now", "force"]);
const POLICIES: &[&str] = &[
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "noeviction",
];
const FACILITIES: &[&str] = &["user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"];

const CLUSTER: &str = "this server takes no part in a Redis Cluster";
const TLS: &str = "connections are not encrypted; put a TLS proxy in front";
const DEFRAG: &str = "memory is not defragmented";
const LAZYFREE: &str = "big values are always freed in small steps";
const REHASH: &str = "tables grow segment by segment and are never rehashed as a whole";
const DISKLESS: &str = "a full sync never goes through a file";
const CPULIST: &str = "each shard is pinned to one CPU of the affinity mask; use taskset or a cgroup";
const MODULES: &str = "there are no modules";
const HIDDEN: &str = "a knob of Redis's own tests";

#[rustfmt::skip]
pub static DIRECTIVES: &[Directive] = &[
    // Ours.
    d("shards", Int { min: 0, max: 1024 }, "0").at_start().about("Shards, each a thread pinned to a core. 0: one per CPU of the affinity mask, within the cgroup's quota"),
    d("pipeline-order", Enum(&["strict", "relaxed"]), "strict").about("strict: effects of one connection keep their order across shards. relaxed: a pipeline's shards run side by side"),
    d("recovery-assume", Enum(&["auto", "process-crash", "power-loss"]), "auto").at_start().about("What ended the last run. Use power-loss for a copy or a snapshot of a running server's directory"),
    d("export-on-save", Bool, "no").about("SAVE and BGSAVE also write a standard dump.rdb"),
    d("log-prepare-bytes", MEMORY, "256mb").about("Disk space that may be zeroed ahead for logs, over all shards"),
    d("commit-timeout-ms", Int { min: 1, max: 3_600_000 }, "10000").about("How long replies, CONFIG SET, SHUTDOWN and saves wait for a disk that does not answer, before they become errors"),
    // Network.
    d("bind", Words(words::bind), "* -::*").about("Addresses to listen on; a leading - makes one optional"),
    d("port", PORT, "6379").about("TCP port; 0: none"),
    d("protected-mode", Bool, "yes").about("Without a password, refuse clients of other machines"),
    d("tcp-backlog", INT, "511").at_start(),
    d("tcp-keepalive", INT, "300"),
    d("timeout", INT, "0").about("Close connections that are idle for so many seconds; 0: never"),
    d("unixsocket", Text, "").at_start().about("Path of a Unix socket"),
    d("unixsocketperm", Octal { max: 0o777 }, "0").at_start(),
    d("bind-source-addr", Text, "").ignored("sockets to masters and sentinels are not opened yet"),
    d("socket-mark-id", UInt { min: 0, max: u32::MAX as u64 }, "0").ignored("sockets are not marked"),
    d("maxclients", UInt { min: 1, max: u32::MAX as u64 }, "10000").about("Connections at the same time"),
    d("io-threads", Int { min: 1, max: 128 }, "1").at_start().ignored("every shard does its own I/O; see shards"),
    d("io-threads-do-reads", Bool, "no").at_start().ignored("every shard does its own I/O; see shards"),
    d("proto-max-bulk-len", MEMORY_FROM_1MB, "512mb"),
    d("client-query-buffer-limit", MEMORY_FROM_1MB, "1gb"),
    d("client-output-buffer-limit", MergedWords(words::output_buffer_limits), "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"),
    d("maxmemory-clients", MemoryOrPercent, "0").ignored("clients are not measured yet"),
    // Process.
    d("daemonize", Bool, "no").at_start().about("Run in the background"),
    d("supervised", Enum(&["upstart", "systemd", "auto", "no"]), "no").at_start().ignored("readiness is not reported to the service manager"),
    d("pidfile", Text, "").at_start(),
    d("loglevel", Enum(&["debug", "verbose", "notice", "warning"]), "notice").about("How much is logged"),
    d("logfile", Text, "").at_start().about("Empty: standard output"),
    d("syslog-enabled", Bool, "no").at_start().ignored("the log goes to logfile or standard output"),
    d("syslog-ident", Text, "redis").at_start().ignored("the log goes to logfile or standard output"),
    d("syslog-facility", Enum(FACILITIES), "local0").at_start().ignored("the log goes to logfile or standard output"),
    d("crash-log-enabled", Bool, "yes").ignored("a panic is always logged"),
    d("crash-memcheck-enabled", Bool, "yes").ignored("memory is not tested after a crash"),
    d("databases", Int { min: 1, max: 65536 }, "16").at_start().about("Databases for SELECT"),
    d("always-show-logo", Bool, "no").at_start().ignored("there is no logo"),
    d("set-proc-title", Bool, "yes").at_start().ignored("the process keeps its title"),
    d("proc-title-template", Text, "{title} {listen-addr} {server-mode}").ignored("the process keeps its title"),
    d("locale-collate", Text, "").ignored("SORT ALPHA compares bytes"),
    d("shutdown-timeout", INT, "10").ignored("there are no replicas to wait for"),
    d("shutdown-on-sigint", SHUTDOWN, "default"),
    d("shutdown-on-sigterm", SHUTDOWN, "default"),
    d("oom-score-adj", Enum(&["no", "yes", "relative", "absolute"]), "no").ignored("set it in the service manager"),
    d("oom-score-adj-values", Words(words::oom_score_adj_values), "0 200 800").ignored("set it in the service manager"),
    d("disable-thp", Bool, "yes").at_start().ignored("nothing forks, so huge pages are not copied"),
    d("server_cpulist", Text, "").at_start().alias(&["server-cpulist"]).ignored(CPULIST),
    d("bio_cpulist", Text, "").at_start().alias(&["bio-cpulist"]).ignored(CPULIST),
    d("aof_rewrite_cpulist", Text, "").at_start().alias(&["aof-rewrite-cpulist"]).ignored(CPULIST),
    d("bgsave_cpulist", Text, "").at_start().alias(&["bgsave-cpulist"]).ignored(CPULIST),
    d("ignore-warnings", Text, "").ignored("it silences a warning that does not exist here"),
    d("enable-protected-configs", WHO, "no").at_start(),
    d("enable-debug-command", WHO, "no").at_start(),
    d("enable-module-command", WHO, "no").at_start().ignored(MODULES),
    d("hz", Clamped { min: 1, max: 500 }, "10").about("How often per second expired keys and idle clients are looked for"),
    d("dynamic-hz", Bool, "yes").ignored("the rate is that of hz"),
    d("jemalloc-bg-thread", Bool, "yes").ignored("another allocator is used"),
    // Snapshots.
    d("save", SavePoints(words::save_points), "3600 1 300 100 60 10000").about("Pairs of seconds and changes after which a snapshot is made; \"\": never"),
    d("stop-writes-on-bgsave-error", Bool, "yes").ignored("a failed snapshot does not stop writes yet"),
    d("rdbcompression", Bool, "yes").ignored("values above 20 bytes are always compressed"),
    d("rdbchecksum", Bool, "yes").at_start().ignored("files always carry a checksum"),
    d("sanitize-dump-payload", Enum(&["no", "yes", "clients"]), "no").ignored("payloads are always checked in full"),
    d("dbfilename", FileName, "dump.rdb").protected().about("Standard RDB file read at the first start and written by exports"),
    d("rdb-del-sync-files", Bool, "no").ignored(DISKLESS),
    d("rdb-save-incremental-fsync", Bool, "yes").ignored("snapshots are always written steadily"),
    d("dir", Text, "./data").protected().about("Directory of all data. (Redis's own default is the working directory)"),
    // Log.
    d("appendonly", Bool, "no").about("Keep an append-only log"),
    d("appendfsync", Enum(&["everysec", "always", "no"]), "everysec").about("When the log reaches the disk; what a crash can lose follows from it"),
    d("appendfilename", FileName, "appendonly.aof").at_start().about("Standard AOF read at the first start and written by exports"),
    d("appenddirname", FileName, "appendonlydir").at_start(),
    d("no-appendfsync-on-rewrite", Bool, "no").ignored("a rewrite does not stall the log"),
    d("auto-aof-rewrite-percentage", INT, "100"),
    d("auto-aof-rewrite-min-size", MEMORY, "64mb"),
    d("aof-load-truncated", Bool, "yes").about("A standard AOF whose end is torn is loaded up to there; no: it stops the first start"),
    d("aof-use-rdb-preamble", Bool, "yes").about("Bases and exported AOFs are RDB files; no: commands"),
    d("aof-timestamp-enabled", Bool, "no").ignored("frames carry the time anyway"),
    d("aof-rewrite-incremental-fsync", Bool, "yes").ignored("rewrites are always written steadily"),
    d("aof-disable-auto-gc", Bool, "no").ignored("old segments are removed when no manifest names them"),
    // Memory.
    d("maxmemory", Memory { min: 0, max: u64::MAX }, "0").ignored("memory is not limited yet: nothing is evicted"),
    d("maxmemory-policy", Enum(POLICIES), "noeviction").ignored("memory is not limited yet: nothing is evicted"),
    d("maxmemory-samples", Int { min: 1, max: i32::MAX as i64 }, "5").ignored("memory is not limited yet: nothing is evicted"),
    d("maxmemory-eviction-tenacity", Int { min: 0, max: 100 }, "10").ignored("memory is not limited yet: nothing is evicted"),
    d("lfu-log-factor", INT, "10").ignored("memory is not limited yet: nothing is evicted"),
    d("lfu-decay-time", INT, "1").ignored("memory is not limited yet: nothing is evicted"),
    d("active-expire-effort", Int { min: 1, max: 10 }, "1").ignored("active expiry adapts by itself"),
    d("lazyfree-lazy-eviction", Bool, "no").ignored(LAZYFREE),
    d("lazyfree-lazy-expire", Bool, "no").ignored(LAZYFREE),
    d("lazyfree-lazy-server-del", Bool, "no").ignored(LAZYFREE),
    d("lazyfree-lazy-user-del", Bool, "no").ignored(LAZYFREE),
    d("lazyfree-lazy-user-flush", Bool, "no").ignored(LAZYFREE),
    d("activerehashing", Bool, "yes").ignored(REHASH),
    d("activedefrag", Bool, "no").ignored(DEFRAG),
    d("active-defrag-ignore-bytes", MEMORY_FROM_1, "100mb").ignored(DEFRAG),
    d("active-defrag-threshold-lower", Int { min: 0, max: 1000 }, "10").ignored(DEFRAG),
    d("active-defrag-threshold-upper", Int { min: 0, max: 1000 }, "100").ignored(DEFRAG),
    d("active-defrag-cycle-min", PERCENT_OF_CPU, "1").ignored(DEFRAG),
    d("active-defrag-cycle-max", PERCENT_OF_CPU, "25").ignored(DEFRAG),
    d("active-defrag-max-scan-fields", Int { min: 1, max: i64::MAX }, "1000").ignored(DEFRAG),
    // Encodings.
    d("hash-max-listpack-entries", LONG, "512").alias(&["hash-max-ziplist-entries"]),
    d("hash-max-listpack-value", MEMORY, "64").alias(&["hash-max-ziplist-value"]),
    d("list-max-listpack-size", ANY_INT, "-2").alias(&["list-max-ziplist-size"]),
    d("list-compress-depth", INT, "0").ignored("the nodes of lists are not compressed"),
    d("set-max-intset-entries", LONG, "512"),
    d("set-max-listpack-entries", LONG, "128"),
    d("set-max-listpack-value", LONG, "64"),
    d("zset-max-listpack-entries", LONG, "128").alias(&["zset-max-ziplist-entries"]),
    d("zset-max-listpack-value", MEMORY, "64").alias(&["zset-max-ziplist-value"]),
    d("hll-sparse-max-bytes", MEMORY, "3000"),
    d("stream-node-max-bytes", MEMORY, "4096"),
    d("stream-node-max-entries", LONG, "100"),
    // Users.
    d("requirepass", Text, "").about("Password of the default user"),
    d("aclfile", Text, "").at_start().ignored("there are no users besides the default one yet"),
    d("acllog-max-len", LONG, "128").ignored("there are no users besides the default one yet"),
    d("acl-pubsub-default", Enum(&["allchannels", "resetchannels"]), "resetchannels").ignored("there are no users besides the default one yet"),
    d("user", Lines { words_min: 1, words_max: usize::MAX }, "").ignored("there are no users besides the default one yet; its password is requirepass"),
    d("rename-command", Lines { words_min: 2, words_max: 2 }, ""),
    // What is watched and told.
    d("slowlog-log-slower-than", Int { min: -1, max: i64::MAX }, "10000").ignored("slow commands are not recorded yet"),
    d("slowlog-max-len", LONG, "128").ignored("slow commands are not recorded yet"),
    d("latency-monitor-threshold", LONG, "0").ignored("latency is not recorded yet"),
    d("latency-tracking", Bool, "yes"),
    d("latency-tracking-info-percentiles", Words(words::percentiles), "50 99 99.9"),
    d("notify-keyspace-events", Checked(words::notify_keyspace_events), "").ignored("events are raised, but there is no publish and subscribe yet"),
    d("tracking-table-max-keys", LONG, "1000000").ignored("there is no publish and subscribe yet"),
    d("busy-reply-threshold", LONG, "5000").alias(&["lua-time-limit"]).ignored("there are no scripts yet"),
    // Replication.
    d("replicaof", Words(words::replicaof), "").at_start().alias(&["slaveof"]).ignored("there is no replication yet"),
    d("masterauth", Text, "").ignored("there is no replication yet"),
    d("masteruser", Text, "").ignored("there is no replication yet"),
    d("replica-serve-stale-data", Bool, "yes").alias(&["slave-serve-stale-data"]).ignored("there is no replication yet"),
    d("replica-read-only", Bool, "yes").alias(&["slave-read-only"]).ignored("there is no replication yet"),
    d("replica-priority", INT, "100").alias(&["slave-priority"]).ignored("there is no replication yet"),
    d("replica-announced", Bool, "yes").ignored("there is no replication yet"),
    d("replica-announce-ip", Text, "").alias(&["slave-announce-ip"]).ignored("there is no replication yet"),
    d("replica-announce-port", PORT, "0").alias(&["slave-announce-port"]).ignored("there is no replication yet"),
    d("replica-ignore-maxmemory", Bool, "yes").alias(&["slave-ignore-maxmemory"]).ignored("there is no replication yet"),
    d("replica-lazy-flush", Bool, "no").alias(&["slave-lazy-flush"]).ignored(LAZYFREE),
    d("replica-ignore-disk-write-errors", Bool, "no").ignored("there is no replication yet"),
    d("propagation-error-behavior", Enum(&["ignore", "panic", "panic-on-replicas"]), "ignore").ignored("there is no replication yet"),
    d("min-replicas-to-write", INT, "0").alias(&["min-slaves-to-write"]).ignored("there is no replication yet"),
    d("min-replicas-max-lag", INT, "10").alias(&["min-slaves-max-lag"]).ignored("there is no replication yet"),
    d("repl-timeout", Int { min: 1, max: i32::MAX as i64 }, "60").ignored("there is no replication yet"),
    d("repl-ping-replica-period", Int { min: 1, max: i32::MAX as i64 }, "10").alias(&["repl-ping-slave-period"]).ignored("there is no replication yet"),
    d("repl-backlog-size", MEMORY_FROM_1, "1mb"),
    d("repl-backlog-ttl", LONG, "3600").ignored("there is no replication yet"),
    d("repl-disable-tcp-nodelay", Bool, "no").ignored("there is no replication yet"),
    d("repl-diskless-sync", Bool, "yes").ignored(DISKLESS),
    d("repl-diskless-sync-delay", INT, "5").ignored("there is no replication yet"),
    d("repl-diskless-sync-max-replicas", INT, "0").ignored("there is no replication yet"),
    d("repl-diskless-load", Enum(&["disabled", "on-empty-db", "swapdb"]), "disabled").ignored(DISKLESS),
    // Cluster.
    d("cluster-enabled", Bool, "no").at_start().ignored(CLUSTER),
    d("cluster-config-file", Text, "nodes.conf").at_start().ignored(CLUSTER),
    d("cluster-port", PORT, "0").at_start().ignored(CLUSTER),
    d("cluster-node-timeout", LONG, "15000").ignored(CLUSTER),
    d("cluster-migration-barrier", INT, "1").ignored(CLUSTER),
    d("cluster-replica-validity-factor", INT, "10").alias(&["cluster-slave-validity-factor"]).ignored(CLUSTER),
    d("cluster-replica-no-failover", Bool, "no").alias(&["cluster-slave-no-failover"]).ignored(CLUSTER),
    d("cluster-allow-replica-migration", Bool, "yes").ignored(CLUSTER),
    d("cluster-require-full-coverage", Bool, "yes").ignored(CLUSTER),
    d("cluster-allow-reads-when-down", Bool, "no").ignored(CLUSTER),
    d("cluster-allow-pubsubshard-when-down", Bool, "yes").ignored(CLUSTER),
    d("cluster-link-sendbuf-limit", Memory { min: 0, max: u64::MAX }, "0").ignored(CLUSTER),
    d("cluster-announce-ip", Text, "").ignored(CLUSTER),
    d("cluster-announce-port", PORT, "0").ignored(CLUSTER),
    d("cluster-announce-tls-port", PORT, "0").ignored(CLUSTER),
    d("cluster-announce-bus-port", PORT, "0").ignored(CLUSTER),
    d("cluster-announce-hostname", Checked(words::hostname), "").ignored(CLUSTER),
    d("cluster-announce-human-nodename", Checked(words::node_name), "").ignored(CLUSTER),
    d("cluster-preferred-endpoint-type", Enum(&["ip", "hostname", "unknown-endpoint"]), "ip").ignored(CLUSTER),
    // TLS.
    d("tls-port", PORT, "0").ignored(TLS),
    d("tls-cert-file", Text, "").ignored(TLS),
    d("tls-key-file", Text, "").ignored(TLS),
    d("tls-key-file-pass", Text, "").ignored(TLS),
    d("tls-client-cert-file", Text, "").ignored(TLS),
    d("tls-client-key-file", Text, "").ignored(TLS),
    d("tls-client-key-file-pass", Text, "").ignored(TLS),
    d("tls-dh-params-file", Text, "").ignored(TLS),
    d("tls-ca-cert-file", Text, "").ignored(TLS),
    d("tls-ca-cert-dir", Text, "").ignored(TLS),
    d("tls-auth-clients", Enum(&["no", "yes", "optional"]), "yes").ignored(TLS),
    d("tls-replication", Bool, "no").ignored(TLS),
    d("tls-cluster", Bool, "no").ignored(TLS),
    d("tls-protocols", Text, "").ignored(TLS),
    d("tls-ciphers", Text, "").ignored(TLS),
    d("tls-ciphersuites", Text, "").ignored(TLS),
    d("tls-prefer-server-ciphers", Bool, "no").ignored(TLS),
    d("tls-session-caching", Bool, "yes").ignored(TLS),
    d("tls-session-cache-size", INT, "20480").ignored(TLS),
    d("tls-session-cache-timeout", INT, "300").ignored(TLS),
    // Not in CONFIG GET.
    d("include", Lines { words_min: 1, words_max: 1 }, ""),
    d("loadmodule", Lines { words_min: 1, words_max: usize::MAX }, "").ignored(MODULES),
    d("list-max-ziplist-entries", Lines { words_min: 1, words_max: 1 }, "").ignored("use list-max-listpack-size"),
    d("list-max-ziplist-value", Lines { words_min: 1, words_max: 1 }, "").ignored("use list-max-listpack-size"),
    d("lua-replicate-commands", Lines { words_min: 1, words_max: 1 }, "").ignored("scripts are always logged as their effects"),
    d("use-exit-on-panic", Bool, "no").hidden().ignored(HIDDEN),
    d("enable-debug-assert", Bool, "no").at_start().hidden().ignored(HIDDEN),
    d("rdb-key-save-delay", ANY_INT, "0").hidden().ignored(HIDDEN),
    d("key-load-delay", ANY_INT, "0").hidden().ignored(HIDDEN),
    d("watchdog-period", INT, "0").hidden().ignored(HIDDEN),
    d("loading-process-events-interval-bytes", Int { min: 1024, max: i32::MAX as i64 }, "2097152").hidden().ignored(HIDDEN),
];

/// Index in `DIRECTIVES`, by name or alias, whatever its case.
pub fn find(name: &str) -> Option<usize> {
    use std::collections::HashMap;
    use std::sync::OnceLock;
    static BY_NAME: OnceLock<HashMap<&str, usize>> = OnceLock::new();
    let by_name = BY_NAME.get_or_init(|| {
        let names = |directive: &Directive| std::iter::once(directive.name).chain(directive.aliases.iter().copied());
        DIRECTIVES
            .iter()
            .enumerate()
            .flat_map(|(i, directive)| names(directive).map(move |name| (name, i)).collect::<Vec<_>>())
            .collect()
    });
    by_name.get(&name.to_ascii_lowercase()[..]).copied()
}
