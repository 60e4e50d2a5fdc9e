//! Which measurements are made: the product of the asked-for values, without the combinations that make no sense.

use crate::load::Pace;
use crate::servers::Mode;
use crate::workload::Command;

/// One row of the comparison, the same for every server.
#[derive(Clone, PartialEq, Debug)]
pub struct Case {
    pub mode: Mode,
    pub shards: usize,
    pub command: Command,
    pub clients: usize,
    pub pace: Pace,
    pub value_bytes: usize,
}

impl Case {
    /// For headings.
    pub fn title(&self) -> String {
        let pace = match self.pace {
            Pace::Closed { depth } => format!("P={depth}"),
            Pace::Open { per_second } => format!("{per_second}/s open"),
        };
        let shards = if self.shards == 1 { "1 shard".to_owned() } else { format!("{} shards", self.shards) };
        let command = self.command.name().to_uppercase();
        format!("{command} {pace} C={} {} B, {}, {shards}", self.clients, self.value_bytes, self.mode.name())
    }

    /// For file names.
    pub fn slug(&self) -> String {
        let pace = match self.pace {
            Pace::Closed { depth } => format!("p{depth}"),
            Pace::Open { per_second } => format!("r{per_second}"),
        };
        let (command, mode) = (self.command.name(), self.mode.name());
        format!("{command}-{pace}-c{}-{}b-{mode}-s{}", self.clients, self.value_bytes, self.shards)
    }
}

pub struct Ranges<'a> {
    pub modes: &'a [Mode],
    pub shards: &'a [usize],
    pub commands: &'a [Command],
    pub clients: &'a [usize],
    pub paces: &'a [Pace],
    pub value_bytes: &'a [usize],
}

/// INCR stores counters, so for it only the first value size counts.
pub fn cases(ranges: &Ranges) -> Vec<Case> {
    let mut cases = Vec::new();
    for &shards in ranges.shards {
        for &command in ranges.commands {
            for &pace in ranges.paces {
                for &clients in ranges.clients {
                    let sizes = if command == Command::Incr { &ranges.value_bytes[..1] } else { ranges.value_bytes };
                    for &value_bytes in sizes {
                        let case = |&mode| Case { mode, shards, command, clients, pace, value_bytes };
                        cases.extend(ranges.modes.iter().map(case));
                    }
                }
            }
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_is_the_product_and_incr_ignores_value_sizes() {
        let ranges = Ranges {
            modes: &[Mode::None, Mode::Always],
            shards: &[1, 2],
            commands: &[Command::Set, Command::Incr],
            clients: &[50],
            paces: &[Pace::Closed { depth: 1 }, Pace::Closed { depth: 16 }],
            value_bytes: &[64, 1024],
        };
        let cases = cases(&ranges);
        assert_eq!(cases.len(), 2 * 2 * 2 * (2 + 1));
        let slugs: std::collections::HashSet<String> = cases.iter().map(Case::slug).collect();
        assert_eq!(slugs.len(), cases.len(), "file names are distinct");
    }
}
