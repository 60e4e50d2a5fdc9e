//! What of the files counts. Reads only.

use super::closed_set::closed_set;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::ids::{Generation, Lsn, Seq, ShardId};
use crate::log::FsyncMode;
use crate::log::reader::{Scan, SegmentFile, Tail, scan, scan_despite_damage};
use crate::manifest::{GenerationEntry, Manifest, PATH, State};

/// `recovery-assume`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Assume {
    #[default]
    Auto,
    ProcessCrash,
    PowerLoss,
}

/// How the last process ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Crash {
    /// It did not: everything was made durable and its end recorded.
    Clean,
    /// The page cache is intact.
    Process,
    /// Or kernel crash, or a copied directory, or a disk fault before; the text says which.
    PowerLoss(String),
}

/// What was cut off one shard's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardCut {
    pub shard: ShardId,
    /// Valid records behind the cut, which no closed set holds or which stand behind the mark.
    pub records: u64,
    /// Bytes that are no valid frame.
    pub tail: Option<Tail>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GenerationEnds {
    pub generation: Generation,
    /// Per shard, the last LSN that counts.
    pub ends: Vec<Lsn>,
    /// Records behind the base.
    pub records: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    pub crash: Crash,
    /// Generations with a log, in order.
    pub generations: Vec<GenerationEnds>,
    /// The mark that the newest log was cut at, after a power loss.
    pub mark: Option<Seq>,
    pub cuts: Vec<ShardCut>,
    /// After a process crash: segments whose end is only known to be in the page cache. Were its last fsync one that failed, and the crash
    /// had come before that was recorded, a later fsync would bring nothing to the disk.
    pub unproven: Vec<String>,
}

impl Decision {
    pub fn ends_of(&self, generation: Generation) -> Option<&GenerationEnds> {
        self.generations.iter().find(|ends| ends.generation == generation)
    }

    pub fn is_cut(&self) -> bool {
        self.cuts.iter().any(|cut| cut.records > 0 || cut.tail.is_some())
    }
}

/// LSN up to which a base covers a shard's log of this generation.
pub fn covered(manifest: &Manifest, generation: &GenerationEntry, shard: ShardId) -> Lsn {
    match &manifest.base {
        Some(base) if base.generation == generation.number => base.files[shard.0 as usize].cut,
        _ => Lsn(0),
    }
}

pub fn decide(disk: &dyn Disk, manifest: &Manifest, assume: Assume) -> Result<Decision> {
    let crash = how_it_ended(disk, manifest, assume)?;
    let mut decision = Decision { crash, generations: Vec::new(), mark: None, cuts: Vec::new(), unproven: Vec::new() };
    for generation in manifest.generations.iter().filter(|generation| generation.logged) {
        let scan_shard = |shard: u16| {
            let (files, after, end) = log_of(manifest, generation, ShardId(shard));
            scan(disk, &files, after, end)
        };
        let scans = (0..generation.shards).map(scan_shard).collect::<Result<Vec<_>>>()?;
        decide_generation(manifest, generation, &scans, generation.log_ends.clone(), &mut decision);
    }
    Ok(decision)
}

/// One shard's log in one generation, as an examination found it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExaminedLog {
    pub generation: Generation,
    pub shard: ShardId,
    pub scan: Scan,
    pub damage: Option<Error>,
}

/// What a start would do, and what could still be loaded where it would stop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Examination {
    pub logs: Vec<ExaminedLog>,
    /// Without damage the decision of `decide`. Otherwise the largest consistent state before the damage: logs end there, transactions
    /// are whole, and later generations, which build on what is lost, end where they began.
    pub decision: Decision,
}

impl Examination {
    pub fn damage(&self) -> impl Iterator<Item = &Error> {
        self.logs.iter().filter_map(|log| log.damage.as_ref())
    }
}

/// For the check tool. Reads only.
pub fn examine(disk: &dyn Disk, manifest: &Manifest, assume: Assume) -> Result<Examination> {
    let crash = how_it_ended(disk, manifest, assume)?;
    let decision = Decision { crash, generations: Vec::new(), mark: None, cuts: Vec::new(), unproven: Vec::new() };
    let mut examination = Examination { logs: Vec::new(), decision };
    let mut is_lost = false;
    for generation in manifest.generations.iter().filter(|generation| generation.logged) {
        let examine_shard = |shard: u16| {
            let (files, after, end) = log_of(manifest, generation, ShardId(shard));
            let (scan, damage) = scan_despite_damage(disk, &files, after, end);
            ExaminedLog { generation: generation.number, shard: ShardId(shard), scan, damage }
        };
        let logs: Vec<ExaminedLog> = (0..generation.shards).map(examine_shard).collect();
        let is_damaged = logs.iter().any(|log| log.damage.is_some());
        let scans: Vec<Scan> = logs.iter().map(|log| log.scan.clone()).collect();
        let recorded = match &generation.log_ends {
            _ if is_lost => Some((0..generation.shards).map(|shard| covered(manifest, generation, ShardId(shard))).collect()),
            Some(ends) if is_damaged => Some(closed_set(&scans).into_iter().zip(ends).map(|(cut, end)| cut.min(*end)).collect()),
            ends => ends.clone(),
        };
        decide_generation(manifest, generation, &scans, recorded, &mut examination.decision);
        examination.logs.extend(logs);
        is_lost |= is_damaged;
    }
    Ok(examination)
}

fn log_of(manifest: &Manifest, generation: &GenerationEntry, shard: ShardId) -> (Vec<SegmentFile>, Lsn, Option<Lsn>) {
    let end = generation.log_ends.as_ref().map(|ends| ends[shard.0 as usize]);
    (generation.segment_files(shard), covered(manifest, generation, shard), end)
}

fn how_it_ended(disk: &dyn Disk, manifest: &Manifest, assume: Assume) -> Result<Crash> {
    if manifest.state == State::Clean {
        return Ok(Crash::Clean);
    }
    let power_loss = |why: &str| Ok(Crash::PowerLoss(why.to_string()));
    match assume {
        Assume::ProcessCrash => return Ok(Crash::Process),
        Assume::PowerLoss => return power_loss("recovery-assume power-loss"),
        Assume::Auto => {}
    }
    if manifest.distrusted {
        return power_loss("a write or fsync had failed");
    }
    match disk.boot_id() {
        None => return power_loss("the boot id can't be read"),
        Some(id) if id != manifest.boot_id => return power_loss("another boot"),
        Some(_) => {}
    }
    match disk.identity(PATH)? {
        Some(identity) if identity == manifest.identity => Ok(Crash::Process),
        Some(_) => power_loss("the manifest is a copy: its inode or birth time is another"),
        None => power_loss("the file system does not tell a file's birth time"),
    }
}

fn decide_generation(
    manifest: &Manifest,
    generation: &GenerationEntry,
    scans: &[Scan],
    recorded: Option<Vec<Lsn>>,
    decision: &mut Decision,
) {
    // No mark before a recorded end cuts anything, and what stands behind it never counted.
    let ends = recorded.unwrap_or_else(|| {
        let (ends, mark) = ends_of_crashed(manifest, generation, scans, &decision.crash);
        decision.mark = mark;
        decision.cuts.extend(cuts(scans, &ends));
        if decision.crash == Crash::Process {
            decision.unproven.extend(scans.iter().flat_map(Scan::unproven).cloned());
        }
        ends
    });
    let covered_until = |shard: usize| covered(manifest, generation, ShardId(shard as u16));
    let records = ends.iter().enumerate().map(|(shard, end)| end.0.saturating_sub(covered_until(shard).0)).sum();
    decision.generations.push(GenerationEnds { generation: generation.number, ends, records });
}

fn ends_of_crashed(manifest: &Manifest, generation: &GenerationEntry, scans: &[Scan], crash: &Crash) -> (Vec<Lsn>, Option<Seq>) {
    if !matches!(crash, Crash::PowerLoss(_)) {
        return (closed_set(scans), None);
    }
    let newest = newest_complete_mark(scans);
    let mode = match (newest, &manifest.base) {
        (Some(seq), _) => mode_of(scans, seq),
        // The commit of a base, and of a generation's start, counts as a complete mark.
        (None, Some(base)) if base.generation == generation.number => base.mode,
        (None, _) => generation.mode,
    };
    if mode == FsyncMode::Always {
        return (closed_set(scans), newest);
    }
    let at_mark = |shard: usize, scan: &Scan| match newest {
        Some(seq) => scan.marks.iter().find(|mark| mark.seq == seq).expect("complete: on every shard").lsn,
        None => covered(manifest, generation, ShardId(shard as u16)),
    };
    (scans.iter().enumerate().map(|(shard, scan)| at_mark(shard, scan)).collect(), newest)
}

fn newest_complete_mark(scans: &[Scan]) -> Option<Seq> {
    let (first, others) = scans.split_first()?;
    let is_everywhere = |seq: Seq| others.iter().all(|scan| scan.marks.iter().any(|mark| mark.seq == seq));
    first.marks.iter().rev().map(|mark| mark.seq).find(|&seq| is_everywhere(seq))
}

fn mode_of(scans: &[Scan], seq: Seq) -> FsyncMode {
    let mark = scans[0].marks.iter().find(|mark| mark.seq == seq);
    mark.expect("the mark was found on every shard").mode
}

fn cuts(scans: &[Scan], ends: &[Lsn]) -> Vec<ShardCut> {
    let cut = |(shard, (scan, end)): (usize, (&Scan, &Lsn))| ShardCut {
        shard: ShardId(shard as u16),
        records: scan.last.0 - end.0,
        tail: scan.tail.clone(),
    };
    scans.iter().zip(ends).enumerate().map(cut).collect()
}
