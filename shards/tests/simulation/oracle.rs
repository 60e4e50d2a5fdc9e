//! What must hold after a crash. See DESIGN: acknowledged ⇒ present; shown before w was issued and w present ⇒ present; transactions
//! whole; the state equals the replay of what was kept.

use crate::disk::CrashKind;
use crate::workload::{Claim, Clients, Issued, Promise, tokens_in};
use crate::world::{Contents, DATABASES, History, World, contents, text_of};
use shards::commands::{CommandStats, Effects, iter_bytes};
use shards::ids::{Lsn, Seq};
use shards::keyspace::Keyspace;
use shards::recovery::{Opened, replay_command};
use shards::resp::decode_command;
use std::collections::{BTreeMap, BTreeSet};

pub struct Oracle {
    /// The state at the start of the running generation.
    pub base: Contents,
}

/// What a violation says; the caller adds how to replay it.
pub type Verdict = Result<(), String>;

impl Oracle {
    /// After a crash and the start behind it: `world.history` is what the crashed generation wrote.
    pub fn check(&mut self, world: &World, history: &History, clients: &Clients, crash: CrashKind, opened: &Opened) -> Verdict {
        let ends = self.ends(world, opened, history);
        let kept = kept_tokens(history, &ends);
        check_told(clients, &kept, crash)?;
        check_order(clients, &kept)?;
        if !is_known(history, &ends) {
            assert!(world.fault.is_some(), "without a fault every record up to {ends:?} was handed to the disk");
            self.base = contents(&opened.keyspaces);
            return Ok(());
        }
        check_whole(history, &ends)?;
        check_derived(history, clients, &ends)?;
        let expected = self.replayed(history, &ends);
        let found = contents(&opened.keyspaces);
        if expected != found {
            return Err(format!(
                "the state is not the replay of what was kept (ends {ends:?}): {}",
                first_difference(&expected, &found)
            ));
        }
        self.base = found;
        Ok(())
    }

    /// A base holds exactly the state at its cut, and the cut is one point: no transaction stands on both sides of it.
    pub fn check_base(&self, history: &History, cuts: &[Lsn], found: &Contents) -> Verdict {
        check_whole(history, cuts).map_err(|cause| format!("a cut at {cuts:?}: {cause}"))?;
        let expected = self.replayed(history, cuts);
        if &expected != found {
            return Err(format!("a base is not the state at its cut {cuts:?}: {}", first_difference(&expected, found)));
        }
        Ok(())
    }

    /// For runs with a key of its own for every write: the state alone tells what is there, whatever was logged.
    pub fn check_unique(&mut self, clients: &Clients, crash: CrashKind, opened: &Opened) -> Verdict {
        let found = contents(&opened.keyspaces);
        let kept: BTreeSet<String> = found.values().flat_map(|(value, _)| tokens_in(&text_of(value))).collect();
        for issued in &clients.issued {
            let keys = issued.args.iter().skip(1).step_by(2).take(if issued.args[0] == b"SET" { 1 } else { usize::MAX });
            let there: Vec<bool> = keys.map(|key| found.contains_key(&(0, key.clone()))).collect();
            if there.iter().any(|one| *one != there[0]) {
                return Err(format!("{:?} is torn: {there:?}", issued.token));
            }
        }
        check_told(clients, &kept, crash)?;
        check_order(clients, &kept)?;
        if let Some(((_, key), _)) = self.base.iter().find(|(key, value)| found.get(*key) != Some(*value)) {
            return Err(format!("{:?} was there at the last start and is lost", String::from_utf8_lossy(key)));
        }
        self.base = found;
        Ok(())
    }

    /// Per shard, the last LSN of the crashed generation that counts.
    fn ends(&self, world: &World, opened: &Opened, history: &History) -> Vec<Lsn> {
        // Without a log, or crashed before the first commit: what the base covers, if there is one.
        let covered = || match opened.manifest.base.as_ref().filter(|base| base.generation == world.generation) {
            Some(base) => base.files.iter().map(|file| file.cut).collect(),
            None => vec![Lsn(0); history.records.len()],
        };
        world.ends.clone().unwrap_or_else(covered)
    }

    fn replayed(&self, history: &History, ends: &[Lsn]) -> Contents {
        let mut state = Contents::new();
        let shards = ends.len() as u16;
        let mut keyspaces: Vec<Keyspace> = (0..shards).map(|_| Keyspace::new(DATABASES, 1)).collect();
        for ((db, key), (value, expire_at_ms)) in &self.base {
            let owner = shards::ids::Slot::of_key(key).shard(shards).0 as usize;
            keyspaces[owner].insert(*db, key, value.clone(), *expire_at_ms);
        }
        for ((records, end), keyspace) in history.records.iter().zip(ends).zip(&mut keyspaces) {
            for (_, written) in records.range(..=*end) {
                apply(keyspace, &written.effects);
            }
            state.extend(contents(std::slice::from_ref(keyspace)));
        }
        state
    }
}

/// False when a base was finished whose cut lies behind a failed write of the log: it holds effects that no log was ever asked to write. They
/// were not shown to anybody, so the claims are checked all the same, but their replay can't be.
fn is_known(history: &History, ends: &[Lsn]) -> bool {
    history.records.iter().zip(ends).all(|(records, end)| end.0 == 0 || records.contains_key(end))
}

fn apply(keyspace: &mut Keyspace, effects: &[u8]) {
    for (db, resp) in iter_bytes(effects) {
        let (args, _) = decode_command(resp).expect("effects are commands");
        let mut random = fastrand::Rng::with_seed(0);
        replay_command(keyspace, db, &args, &mut Vec::new(), &mut Effects::default(), &mut random, &mut CommandStats::default())
            .expect("an effect succeeds again");
    }
}

fn check_whole(history: &History, ends: &[Lsn]) -> Verdict {
    let mut found: BTreeMap<Seq, (usize, usize, usize)> = BTreeMap::new();
    for (records, end) in history.records.iter().zip(ends) {
        for (lsn, written) in records {
            if let Some((seq, participants)) = &written.seq {
                let entry = found.entry(*seq).or_insert((0, 0, participants.len()));
                entry.0 += (lsn <= end) as usize;
                entry.1 += 1;
            }
        }
    }
    match found.into_iter().find(|(_, (kept, _, all))| *kept != 0 && kept != all) {
        Some((seq, (kept, written, all))) => {
            Err(format!("transaction {} is torn: kept on {kept} of {all} shards (written on {written})", seq.0))
        }
        None => Ok(()),
    }
}

fn kept_tokens(history: &History, ends: &[Lsn]) -> BTreeSet<String> {
    let mut kept = BTreeSet::new();
    for (records, end) in history.records.iter().zip(ends) {
        for (_, written) in records.range(..=*end) {
            kept.extend(tokens_in(&written.effects));
        }
    }
    kept
}

/// A copy (RENAME, COPY, SORT over shards) is there only if what it was made from is. Values from before this generation may be moved
/// again and again.
fn check_derived(history: &History, clients: &Clients, ends: &[Lsn]) -> Verdict {
    let issued: BTreeSet<&String> = clients.issued.iter().filter_map(|issued| issued.token.as_ref()).collect();
    let is_copy = |effects: &[u8]| {
        iter_bytes(effects).any(|(_, resp)| resp[..resp.len().min(24)].windows(7).any(|word| word == b"RESTORE"))
    };
    let (mut originals, mut lost) = (BTreeSet::new(), BTreeSet::new());
    for (records, end) in history.records.iter().zip(ends) {
        for (lsn, written) in records.iter().filter(|(_, written)| !is_copy(&written.effects)) {
            let set = if lsn <= end { &mut originals } else { &mut lost };
            set.extend(tokens_in(&written.effects));
        }
    }
    for (records, end) in history.records.iter().zip(ends) {
        for (lsn, written) in records.range(..=*end).filter(|(_, written)| is_copy(&written.effects)) {
            let tokens = tokens_in(&written.effects);
            if let Some(token) =
                tokens.into_iter().find(|token| issued.contains(token) && lost.contains(token) && !originals.contains(token))
            {
                let shown = String::from_utf8_lossy(&written.effects[..written.effects.len().min(300)]).into_owned();
                return Err(format!(
                    "a copy of {token} (LSN {}) is there, but the write it was copied from is lost: {shown:?}",
                    lsn.0
                ));
            }
        }
    }
    Ok(())
}

/// A mark is placed every second; nothing more is acknowledged, on any shard, when the oldest write that no complete one covers gets too
/// old. So what was acknowledged and is lost was acknowledged within so much time, however long ago.
const EVERYSEC_LOSS_MS: i64 = 2000;

fn check_told(clients: &Clients, kept: &BTreeSet<String>, crash: CrashKind) -> Verdict {
    let written: BTreeSet<&String> = clients.issued.iter().filter_map(|issued| issued.token.as_ref()).collect();
    let mut last_lost_ms = None;
    for told in clients.told.iter().rev() {
        let (Claim::Acknowledged(token) | Claim::Shown(token)) = &told.what;
        // Values from before this generation are in its base state.
        if !written.contains(token) || kept.contains(token) {
            continue;
        }
        let must_be_there = match (crash, told.mode) {
            (_, Promise::Nothing) => false,
            (CrashKind::Process, _) | (CrashKind::Power, Promise::Always) => true,
            (CrashKind::Power, Promise::Everysec) => {
                // While replies to writes are held, reads go on, and what they show may be lost as late as that.
                if matches!(told.what, Claim::Acknowledged(_)) {
                    last_lost_ms.get_or_insert(told.at_ms);
                }
                last_lost_ms.is_some_and(|last_ms| told.at_ms < last_ms - EVERYSEC_LOSS_MS)
            }
            (CrashKind::Power, Promise::No) => false,
        };
        if must_be_there {
            let by = clients.issued.iter().find(|issued| issued.token.as_ref() == Some(token)).map(Issued::describe);
            return Err(format!("{:?} at event {} ({:?}) is lost: {}", told.what, told.at, told.mode, by.unwrap_or_default()));
        }
    }
    Ok(())
}

/// If a write is there, so is every write that was acknowledged or shown in a reply before it was issued.
fn check_order(clients: &Clients, kept: &BTreeSet<String>) -> Verdict {
    let written: BTreeSet<&String> = clients.issued.iter().filter_map(|issued| issued.token.as_ref()).collect();
    let lost = clients.told.iter().filter(|told| {
        let (Claim::Acknowledged(token) | Claim::Shown(token)) = &told.what;
        written.contains(token) && !kept.contains(token)
    });
    let Some(first_lost) = lost.min_by_key(|told| told.at) else { return Ok(()) };
    let later = clients
        .issued
        .iter()
        .find(|issued| issued.issued_at > first_lost.at && issued.token.as_ref().is_some_and(|t| kept.contains(t)));
    match later {
        Some(later) => Err(format!(
            "{:?} of event {} is lost, but {:?}, issued later (event {}), is there",
            first_lost.what, first_lost.at, later.token, later.issued_at
        )),
        None => Ok(()),
    }
}

fn first_difference(expected: &Contents, found: &Contents) -> String {
    let keys: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let text = |state: &Contents, key| {
        let short = |value: &[u8]| String::from_utf8_lossy(&value[..value.len().min(200)]).into_owned();
        state.get(key).map(|(value, expire_at_ms)| {
            let text = text_of(value);
            (value.type_name(), text.len(), short(&text), *expire_at_ms)
        })
    };
    let differing = keys.into_iter().find(|key| expected.get(*key) != found.get(*key)).expect("they differ");
    let (db, key) = differing;
    format!(
        "db {db} {:?}: expected {:?}, found {:?}",
        String::from_utf8_lossy(key),
        text(expected, differing),
        text(found, differing)
    )
}
