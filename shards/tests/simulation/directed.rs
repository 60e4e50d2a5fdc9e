//! Workloads that lead straight to what random ones meet rarely: each is run from many seeds, which choose the interleaving and what the
//! crash leaves of what was not synced.

use crate::check_with;
use crate::disk::CrashKind;
use crate::oracle::Oracle;
use crate::workload::{Clients, Plan};
use crate::world::{Stuck, World, contents};
use shards::log::FsyncMode;
use shards::transaction::Job;

const SEEDS: u64 = 60;

/// Many shards that are written to one after another, by clients that wait for each reply, and a power loss at the end.
pub fn plan(seed: u64, shards: u16, mode: FsyncMode) -> Plan {
    Plan {
        shards,
        clients: 4,
        mode,
        keys: 12,
        changes_mode: false,
        snapshots: false,
        restless: false,
        slow_shard: false,
        singles: true,
        ..Plan::plain(seed)
    }
}

/// A server that is ready, with its clients connected.
pub fn started(seed: u64, plan: &Plan) -> Result<(World, Clients), String> {
    let mut world = World::new(seed, plan.mode, plan.logged);
    world.settings.commit_timeout_ms = plan.commit_timeout_ms;
    let mut clients = Clients::new(plan.mode);
    let opened = world.start(plan.shards, &mut CrashKind::Process)?;
    world.run(opened);
    while !world.is_ready() {
        world.step();
    }
    clients.connect(&mut world, plan);
    Ok((world, clients))
}

pub fn steps(world: &mut World, clients: &mut Clients, plan: &Plan, count: usize) {
    for _ in 0..count {
        world.step();
        clients.turn(world, plan);
    }
}

pub fn after_power_loss(world: &mut World, clients: &Clients, shards: u16) -> Result<(), String> {
    after_crash(world, clients, shards, CrashKind::Power)
}

/// A crash of this kind, judged by the rules of a power loss.
fn after_crash(world: &mut World, clients: &Clients, shards: u16, crash: CrashKind) -> Result<(), String> {
    let history = std::mem::take(&mut world.history);
    world.crash(crash);
    let mut kind = CrashKind::Power;
    let opened = world.start(shards, &mut kind)?;
    let mut oracle = Oracle { base: Default::default() };
    oracle.check(world, &history, clients, kind, &opened)
}

/// One shard's disk does not answer while `appendfsync` leaves `always`: the mark is placed, but not durable everywhere. A power loss then
/// goes by the rules of `always`, and takes whatever was acknowledged without being durable.
fn leave_always(seed: u64) -> Result<(), String> {
    let plan = plan(seed, 4, FsyncMode::Always);
    let (mut world, mut clients) = started(seed, &plan)?;
    steps(&mut world, &mut clients, &plan, 1500);
    clients.set_mode(&mut world, [FsyncMode::Everysec, FsyncMode::No][(seed % 2) as usize]);
    // Each shard needs a segment for the new mode first.
    while world.shards.iter().any(|shard| shard.log().mode() == FsyncMode::Always) {
        steps(&mut world, &mut clients, &plan, 1);
    }
    world.stuck = Some((3, Stuck::Everything));
    steps(&mut world, &mut clients, &plan, 1500);
    after_power_loss(&mut world, &clients, plan.shards)
}

/// One shard's syncs do not end in `everysec`: marks are placed and none is complete. Only that shard is written to at first; what it has
/// acknowledged bounds how long the others go on, too.
fn stalled_log(seed: u64) -> Result<(), String> {
    let shards = [2, 4][(seed % 2) as usize];
    let plan = Plan { keys: 40, ..plan(seed, shards, FsyncMode::Everysec) };
    let (mut world, mut clients) = started(seed, &plan)?;
    let stalled = shards - 1;
    world.stuck = Some((stalled as usize, Stuck::Syncs));
    steps(&mut world, &mut clients, &Plan { of_shard: Some((stalled, true)), ..plan.clone() }, 1600);
    let told = clients.told.len();
    steps(&mut world, &mut clients, &Plan { of_shard: Some((stalled, false)), ..plan.clone() }, 7000);
    if told < 10 || clients.told.len() < told + 10 {
        return Err(format!("only {told} and then {} replies: nothing was tested", clients.told.len()));
    }
    after_power_loss(&mut world, &clients, plan.shards)
}

/// Marks are placed all the time, with clients on all shards that write what follows from what they have just been told.
fn many_marks(seed: u64) -> Result<(), String> {
    let plan = plan(seed, 4, FsyncMode::No);
    let (mut world, mut clients) = started(seed, &plan)?;
    steps(&mut world, &mut clients, &plan, 500);
    for round in 0..12 {
        // A mark that is reported, so that each is complete soon.
        world.shards[0].start_job(u64::MAX - round, Job::SetMode(FsyncMode::No));
        steps(&mut world, &mut clients, &plan, 150);
    }
    after_power_loss(&mut world, &clients, plan.shards)
}

/// A log's sync fails and the process is killed before the manifest says *distrusted*: the page cache shows what the disk has not, and the
/// next start must bring it there before anything builds on it.
fn unrecorded_fault(seed: u64) -> Result<(), String> {
    let mode = [FsyncMode::Everysec, FsyncMode::No][(seed % 2) as usize];
    let plan = plan(seed, 2, mode);
    let (mut world, mut clients) = started(seed, &plan)?;
    steps(&mut world, &mut clients, &plan, 1000 + 10 * seed as usize);
    (world.fault_in, world.fault_of_syncs) = (Some(0), true);
    // A mark that is synced.
    clients.set_mode(&mut world, FsyncMode::Everysec);
    while world.fault.is_none() {
        steps(&mut world, &mut clients, &plan, 1);
    }
    world.crash(CrashKind::Process);
    let opened = world.start(plan.shards, &mut CrashKind::Process)?;
    let kept = contents(&opened.keyspaces);
    world.run(opened);
    world.crash(CrashKind::Power);
    let opened = world.start(plan.shards, &mut CrashKind::Power)?;
    if contents(&opened.keyspaces) != kept { Err("what a start had loaded is lost".into()) } else { Ok(()) }
}

/// A log's sync fails, the fault is recorded, and the kernel evicts what the sync has left clean before the process is killed.
fn recorded_fault(seed: u64) -> Result<(), String> {
    let plan = plan(seed, [2, 4][(seed % 2) as usize], FsyncMode::Everysec);
    let (mut world, mut clients) = started(seed, &plan)?;
    steps(&mut world, &mut clients, &plan, 1000 + 20 * seed as usize);
    (world.fault_in, world.fault_of_syncs) = (Some(0), true);
    while !world.has_recorded_fault() {
        steps(&mut world, &mut clients, &plan, 1);
    }
    // The rules of a power loss hold from here on.
    after_crash(&mut world, &clients, plan.shards, CrashKind::Process)
}

pub fn check_all(name: &str, run: impl Fn(u64) -> Result<(), String>) {
    for seed in 1..=SEEDS {
        check_with(|| run(seed)).unwrap_or_else(|cause| panic!("seed {seed}: {name}: {cause}"));
    }
}

#[test]
fn always_is_left_when_the_mark_is_durable_everywhere() {
    check_all("leave_always", leave_always);
}

#[test]
fn a_stalled_log_of_one_shard_bounds_what_all_acknowledge() {
    check_all("stalled_log", stalled_log);
}

#[test]
fn what_a_start_has_loaded_survives_a_power_loss_though_its_last_sync_had_failed() {
    check_all("unrecorded_fault", unrecorded_fault);
}

#[test]
fn after_a_recorded_fault_nothing_in_the_page_cache_is_believed() {
    check_all("recorded_fault", recorded_fault);
}

#[test]
fn a_mark_is_one_point() {
    check_all("many_marks", many_marks);
}
