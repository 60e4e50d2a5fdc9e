//! The largest closed set of prefixes of several logs: every transaction in it is there on all of its shards.

use crate::ids::{Lsn, Seq, ShardId};
use crate::log::reader::Scan;
use std::collections::BTreeMap;

/// Where one transaction stands.
struct Places<'a> {
    found: Vec<(usize, Lsn)>,
    participants: &'a [ShardId],
}

/// Where to cut each log, at or before the end of its valid prefix.
///
/// Transactions stand in the order of their numbers in every log, so one pass in that order is enough: when one is missing somewhere,
/// every log is cut before it, and all that follow in those logs are missing too.
pub fn closed_set(scans: &[Scan]) -> Vec<Lsn> {
    let mut cuts: Vec<Lsn> = scans.iter().map(|scan| scan.last).collect();
    let mut places: BTreeMap<Seq, Places<'_>> = BTreeMap::new();
    for (shard, scan) in scans.iter().enumerate() {
        assert!(scan.transactions.is_sorted_by(|a, b| a.seq < b.seq), "transactions stand in the order of their numbers");
        for transaction in &scan.transactions {
            let participants = &transaction.participants;
            places
                .entry(transaction.seq)
                .or_insert(Places { found: Vec::new(), participants })
                .found
                .push((shard, transaction.lsn));
        }
    }
    for Places { found, participants } in places.into_values() {
        let is_whole = found.len() == participants.len() && found.iter().all(|&(shard, lsn)| lsn <= cuts[shard]);
        if !is_whole {
            for (shard, lsn) in found {
                cuts[shard] = cuts[shard].min(Lsn(lsn.0 - 1));
            }
        }
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::reader::ScannedTransaction;

    fn scan(last: u64, transactions: &[(u64, u64, &[u16])]) -> Scan {
        let transactions = transactions.iter().map(|&(seq, lsn, participants)| ScannedTransaction {
            seq: Seq(seq),
            lsn: Lsn(lsn),
            participants: participants.iter().map(|&p| ShardId(p)).collect(),
        });
        Scan { last: Lsn(last), transactions: transactions.collect(), ..Scan::default() }
    }

    #[test]
    fn a_transaction_missing_on_one_shard_takes_away_all_that_build_on_it() {
        // 1 is missing on shard 0, so shard 1 ends before it, so 2 is not whole, so shard 2 ends before 2, so 3 is not whole.
        let scans = [
            scan(4, &[(3, 4, &[0, 2])]),
            scan(9, &[(1, 5, &[0, 1]), (2, 7, &[1, 2])]),
            scan(8, &[(2, 3, &[1, 2]), (3, 6, &[0, 2])]),
        ];
        assert_eq!(closed_set(&scans), [Lsn(3), Lsn(4), Lsn(2)]);
    }

    #[test]
    fn whole_transactions_cut_nothing() {
        let scans = [scan(4, &[(1, 4, &[0, 1])]), scan(9, &[(1, 5, &[0, 1])])];
        assert_eq!(closed_set(&scans), [Lsn(4), Lsn(9)]);
    }
}
