//! MEMORY: what the memory of the process goes to, of which the keys know their part exactly.

use super::info::{Memory, human, sum};
use super::{Admin, Requester};
use crate::server::{ShardStats, Told};

/// With less data than this, every proportion is that of an empty server.
const DATASET_BYTES_MIN: u64 = 5 << 20;
/// Worth a word: the peak as a part of what is resident now, what is no data as a part of the data, the mean of all clients.
const PEAK_PERCENT_MAX: u64 = 150;
const OVERHEAD_PERCENT_MAX: u64 = 50;
const CLIENT_BYTES_MAX: u64 = 200 << 10;

struct Usage {
    process: Memory,
    startup: u64,
    dataset: u64,
    keys: u64,
    clients: u64,
    client_bytes: u64,
}

impl Usage {
    /// Beyond the data and the empty server: buffers, the allocator's slack, values on their way out.
    fn overhead(&self) -> u64 {
        self.above_startup().saturating_sub(self.dataset)
    }

    fn above_startup(&self) -> u64 {
        self.process.resident.saturating_sub(self.startup)
    }
}

fn percentage(part: u64, of: u64) -> f64 {
    part as f64 * 100.0 / of.max(1) as f64
}

impl Admin {
    fn usage(&self, told: &[Told]) -> Usage {
        let stats: Vec<&ShardStats> =
            told.iter().filter_map(|told| if let Told::Stats(stats) = told { Some(&**stats) } else { None }).collect();
        Usage {
            process: Memory::read(),
            startup: self.report.startup_memory,
            dataset: sum(&stats, |stats| stats.memory),
            keys: sum(&stats, |stats| stats.keys.iter().map(|db| db.keys).sum()),
            clients: self.shared.client_count() as u64,
            client_bytes: sum(&stats, |stats| stats.client_bytes),
        }
    }

    /// MEMORY STATS: Redis's fields, as far as they are known here. What is used is measured as what is resident.
    pub(super) fn memory_stats(&mut self, requester: Requester, told: &[Told]) {
        let usage = self.usage(told);
        let counts = [
            ("peak.allocated", usage.process.peak),
            ("total.allocated", usage.process.resident),
            ("startup.allocated", usage.startup),
            ("replication.backlog", 0),
            ("clients.slaves", 0),
            ("clients.normal", usage.client_bytes),
            ("cluster.links", 0),
            ("lua.caches", 0),
            ("functions.caches", 0),
            ("overhead.total", usage.process.resident.saturating_sub(usage.dataset)),
            ("keys.count", usage.keys),
            ("keys.bytes-per-key", usage.dataset / usage.keys.max(1)),
            ("dataset.bytes", usage.dataset),
        ];
        let percentages = [
            ("dataset.percentage", percentage(usage.dataset, usage.above_startup()).min(100.0)),
            ("peak.percentage", percentage(usage.process.resident, usage.process.peak)),
        ];
        self.answer(requester, |reply| {
            reply.map(counts.len() + percentages.len());
            for (name, count) in counts {
                reply.bulk(name.as_bytes());
                reply.integer(count as i64);
            }
            for (name, percentage) in percentages {
                reply.bulk(name.as_bytes());
                reply.double(percentage);
            }
        });
    }

    /// MEMORY DOCTOR
    pub(super) fn memory_doctor(&mut self, requester: Requester, told: &[Told]) {
        let report = report(&self.usage(told));
        self.answer(requester, |reply| reply.verbatim(b"txt", report.as_bytes()));
    }

    /// MEMORY MALLOC-STATS: as Redis when its allocator tells nothing.
    pub(super) fn memory_malloc_stats(&mut self, requester: Requester) {
        self.answer(requester, |reply| reply.bulk(b"Stats not supported for the current allocator"));
    }
}

fn report(usage: &Usage) -> String {
    let summary = format!("{} keys take {}", usage.keys, human(usage.dataset));
    if usage.dataset < DATASET_BYTES_MIN {
        return format!("{summary}: too little data to say what is unusual.\n");
    }
    let findings = findings(usage);
    if findings.is_empty() {
        return format!("{summary} of {} resident. Nothing is unusual.\n", human(usage.process.resident));
    }
    format!("{summary} of {} resident.\n{}", human(usage.process.resident), findings.concat())
}

fn findings(usage: &Usage) -> Vec<String> {
    let (peak, resident, overhead) = (usage.process.peak, usage.process.resident, usage.overhead());
    let mut findings = Vec::new();
    if peak > resident * PEAK_PERCENT_MAX / 100 {
        findings.push(format!(
            " * Peak: {} were resident once. The allocator has given back the difference; the machine must have room for the peak.\n",
            human(peak)
        ));
    }
    if overhead > usage.dataset * OVERHEAD_PERCENT_MAX / 100 {
        findings.push(format!(
            " * Overhead: {} are neither data nor the empty server: buffers of clients and logs, or memory that deleted keys left \
             to the allocator.\n",
            human(overhead)
        ));
    }
    let of_each_client = usage.client_bytes / usage.clients.max(1);
    if of_each_client > CLIENT_BYTES_MAX {
        findings.push(format!(
            " * Clients: {} of buffers each, on average. Some read their replies slowly or send big requests; see CLIENT LIST.\n",
            human(of_each_client)
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(resident_mib: u64, peak_mib: u64, dataset_mib: u64, client_mib: u64) -> Usage {
        let process = Memory { resident: resident_mib << 20, peak: peak_mib << 20, total: 1 << 40 };
        Usage { process, startup: 1 << 20, dataset: dataset_mib << 20, keys: 7, clients: 2, client_bytes: client_mib << 20 }
    }

    #[test]
    fn the_report_names_what_is_unusual_and_nothing_else() {
        for (usage, findings, words) in [
            (usage(10, 90, 4, 0), 0, &["too little data"][..]),
            (usage(110, 120, 100, 0), 0, &["7 keys take 100.00M of 110.00M resident. Nothing is unusual."]),
            (usage(110, 200, 100, 0), 1, &["Peak: 200.00M"]),
            (usage(200, 201, 100, 0), 1, &["Overhead: 99.00M"]),
            (usage(200, 400, 100, 50), 3, &["Peak", "Overhead", "Clients: 25.00M"]),
        ] {
            let report = report(&usage);
            assert!(words.iter().all(|word| report.contains(word)), "{report}");
            assert_eq!(report.matches(" * ").count(), findings, "{report}");
        }
    }
}
