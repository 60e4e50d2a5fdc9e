//! Directed workloads with a disk that does not answer, or has failed: nobody waits for ever, nothing is made up, and it ends by itself.

use crate::directed::{after_power_loss, check_all, plan, started, steps};
use crate::workload::{Clients, Plan};
use crate::world::{Stuck, World};
use shards::log::FsyncMode;
use shards::log::writer::write_mode;
use shards::manifest::{BaseFormat, State};
use shards::transaction::Job;

const TIMEOUT_MS: i64 = 3000;
const JOB: u64 = 1 << 40;

fn impatient(seed: u64, shards: u16, mode: FsyncMode) -> Plan {
    Plan { commit_timeout_ms: TIMEOUT_MS, keys: 40, ..plan(seed, shards, mode) }
}

fn wait(world: &mut World, clients: &mut Clients, plan: &Plan, ms: i64) {
    let end_ms = world.now_ms + ms;
    while world.now_ms < end_ms {
        world.now_ms += 15;
        // Enough of them for a mark to be placed in its 50 ms.
        steps(world, clients, plan, 80);
        clients.resubmit_all(world);
    }
}

/// The job's outcome. `Clients` takes the results of the world otherwise.
fn job(world: &mut World, clients: &mut Clients, plan: &Plan, job: Job, ms: i64) -> Option<Result<(), String>> {
    world.shards[0].start_job(JOB, job);
    outcome(world, clients, plan, ms)
}

fn outcome(world: &mut World, clients: &mut Clients, plan: &Plan, ms: i64) -> Option<Result<(), String>> {
    let end_ms = world.now_ms + ms;
    while world.now_ms < end_ms {
        world.now_ms += 5;
        (0..15).for_each(|_| _ = world.step());
        if let Some(at) = world.results.iter().position(|(id, _)| *id == JOB) {
            return Some(world.results.swap_remove(at).1);
        }
        clients.turn(world, plan);
    }
    None
}

fn coordinator(world: &World) -> &shards::transaction::Coordinator {
    world.shards[0].coordinator().expect("shard 0")
}

fn expect(is_so: bool, what: &str) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(what.to_string()) }
}

fn expect_error(outcome: &Option<Result<(), String>>, text: &str) -> Result<(), String> {
    let is_so = matches!(outcome, Some(Err(cause)) if cause.contains(text));
    expect(is_so, &format!("expected an error with {text:?}: {outcome:?}"))
}

/// Everyone is answered, first with errors, then with refusals; reads of other keys go on; and when the disk answers again, all is well.
fn stall(seed: u64, mode: FsyncMode, what: Stuck) -> Result<(), String> {
    let plan = impatient(seed, [2, 4][(seed % 2) as usize], mode);
    let stuck = plan.shards - 1;
    let (mut world, mut clients) = started(seed, &plan)?;
    wait(&mut world, &mut clients, &plan, 500);
    world.stuck = Some((stuck as usize, what));
    wait(&mut world, &mut clients, &plan, TIMEOUT_MS - 200);
    expect(clients.unknown + clients.refused == 0, "a disk that is slow for less than the time-out makes errors")?;
    wait(&mut world, &mut clients, &plan, 3 * TIMEOUT_MS);
    expect(clients.unknown > 0, "nobody who waited was told")?;
    expect(clients.refused > 0, "no write was refused")?;
    let (told, unknown) = (clients.told.len(), clients.unknown);
    wait(&mut world, &mut clients, &plan, TIMEOUT_MS);
    expect(clients.told.len() > told, "reads of committed data do not go on")?;
    expect(clients.unknown <= unknown + 4 * clients.clients.len(), "writes are executed all the time")?;
    if seed.is_multiple_of(3) {
        return after_power_loss(&mut world, &clients, plan.shards);
    }
    world.stuck = None;
    wait(&mut world, &mut clients, &plan, 2000);
    let (refused, unknown) = (clients.refused, clients.unknown);
    let told = clients.told.len();
    wait(&mut world, &mut clients, &plan, 1000);
    expect(clients.told.len() > told, "writes do not go on")?;
    expect((refused, unknown) == (clients.refused, clients.unknown), "writes are still refused")?;
    after_power_loss(&mut world, &clients, plan.shards)
}

#[test]
fn a_disk_that_does_not_answer_makes_errors_and_refusals_until_it_does() {
    check_all("stall, always", |seed| stall(seed, FsyncMode::Always, Stuck::Everything));
    check_all("stall, everysec", |seed| stall(seed, FsyncMode::Everysec, Stuck::Everything));
    check_all("stall, everysec, syncs", |seed| stall(seed, FsyncMode::Everysec, Stuck::Syncs));
}

/// A stop that can't make the log durable ends in time, and the server goes on.
fn stuck_stop(seed: u64) -> Result<(), String> {
    let plan = impatient(seed, 4, FsyncMode::Everysec);
    let (mut world, mut clients) = started(seed, &plan)?;
    wait(&mut world, &mut clients, &plan, 300);
    world.stuck = Some((3, Stuck::Syncs));
    let stopped = job(&mut world, &mut clients, &plan, Job::Stop, 2 * TIMEOUT_MS);
    expect_error(&stopped, "the disk has not answered")?;
    expect(!coordinator(&world).stopped() && coordinator(&world).manifest().state == State::Running, "it is stopped")?;
    world.stuck = None;
    wait(&mut world, &mut clients, &plan, 2000);
    let told = clients.told.len();
    wait(&mut world, &mut clients, &plan, 2000);
    expect(clients.told.len() > told, "the server does not go on")?;
    if seed.is_multiple_of(2) {
        return after_power_loss(&mut world, &clients, plan.shards);
    }
    let stopped = job(&mut world, &mut clients, &plan, Job::Stop, 2 * TIMEOUT_MS);
    expect(stopped == Some(Ok(())), &format!("it does not stop: {stopped:?}"))?;
    after_power_loss(&mut world, &clients, plan.shards)
}

#[test]
fn a_stop_whose_log_does_not_become_durable_is_given_up() {
    check_all("stuck_stop", stuck_stop);
}

/// `CONFIG SET appendfsync` and `appendonly`: the time-out, the truth, and what it becomes.
fn stuck_mode(seed: u64) -> Result<(), String> {
    let (old, new) = [(FsyncMode::Everysec, FsyncMode::Always), (FsyncMode::Always, FsyncMode::Everysec)][(seed % 2) as usize];
    let plan = impatient(seed, 4, old);
    let (mut world, mut clients) = started(seed, &plan)?;
    wait(&mut world, &mut clients, &plan, 300);
    // Seed by seed: before its segments are made, or when the mark is placed.
    let is_early = seed % 4 < 2;
    if is_early {
        world.stuck = Some((3, Stuck::Everything));
    }
    clients.set_mode(&mut world, new);
    let id = clients.next_job - 1;
    while !is_early && world.shards.iter().any(|shard| shard.log().mode() == old) {
        world.step();
    }
    world.stuck = Some((3, Stuck::Everything));
    let mut told = None;
    for _ in 0..400 {
        world.now_ms += 15;
        (0..25).for_each(|_| _ = world.step());
        told = told.or(world.results.iter().find(|(job, _)| *job == id).map(|(_, outcome)| outcome.clone()));
        clients.turn(&mut world, &plan);
    }
    expect_error(&told, if is_early { "has not answered" } else { "outcome unknown" })?;
    expect(coordinator(&world).mode() == old, "the mode that is shown is not in force everywhere")?;
    let next = job(&mut world, &mut clients, &plan, Job::SetMode(old), 2 * TIMEOUT_MS);
    expect(matches!(next, Some(Err(_))), &format!("a change behind it has an answer: {next:?}"))?;
    if seed.is_multiple_of(3) {
        return after_power_loss(&mut world, &clients, plan.shards);
    }
    world.stuck = None;
    wait(&mut world, &mut clients, &plan, 2000);
    expect(coordinator(&world).mode() == if is_early { old } else { new }, "what becomes of it")?;
    let mode = write_mode(coordinator(&world).mode());
    let fits = world.shards.iter().all(|shard| shard.log().has_ready(mode) || shard.log().is_preparing());
    expect(fits, "the next segments do not fit the mode")?;
    after_power_loss(&mut world, &clients, plan.shards)
}

#[test]
fn a_change_of_mode_that_does_not_become_durable_is_answered_and_shown_as_it_is() {
    check_all("stuck_mode", stuck_mode);
}

fn stuck_switch(seed: u64, logged: bool) -> Result<(), String> {
    let plan = Plan { logged, unique_keys: true, singles: false, ..impatient(seed, 4, FsyncMode::Everysec) };
    let (mut world, mut clients) = started(seed, &plan)?;
    wait(&mut world, &mut clients, &plan, 300);
    let change = if logged { Job::EndLog } else { Job::Snapshot { format: BaseFormat::Rdb, start_log: true } };
    if !logged {
        // The segments of the new log are there; its base is not.
        world.shards[0].start_job(JOB, change);
        while world.shards.iter().any(|shard| !shard.log().enabled()) {
            world.step();
        }
        world.stuck = Some((3, Stuck::Everything));
    } else {
        world.stuck = Some((3, Stuck::Syncs));
        world.shards[0].start_job(JOB, change);
    }
    let told = outcome(&mut world, &mut clients, &plan, 3 * TIMEOUT_MS);
    if told == Some(Ok(())) {
        return Ok(()); // Everything was done already.
    }
    expect_error(&told, "has not answered")?;
    expect(coordinator(&world).logging() == logged, "appendonly is not shown as it is")?;
    world.stuck = None;
    wait(&mut world, &mut clients, &plan, 2000);
    expect(world.shards.iter().all(|shard| shard.log().enabled() == logged), "some logs are on and some are off")?;
    let told = clients.told.len();
    wait(&mut world, &mut clients, &plan, 2000);
    expect(clients.told.len() > told, "the server does not go on")?;
    let told = job(&mut world, &mut clients, &plan, change, 2 * TIMEOUT_MS);
    expect(told == Some(Ok(())), &format!("the second time: {told:?}"))?;
    expect(world.leftover_bases() == 0, "a base that was given up has left a file")
}

#[test]
fn the_log_is_switched_on_or_off_everywhere_or_nowhere() {
    check_all("stuck_switch, off", |seed| stuck_switch(seed, true));
    check_all("stuck_switch, on", |seed| stuck_switch(seed, false));
}

/// A log fails while a snapshot runs and a stop waits behind other jobs: the snapshot is given up with its files, and the stop ends by
/// itself, without a clean manifest.
fn stop_after_fault(seed: u64) -> Result<(), String> {
    let plan = Plan { snapshots: true, ..impatient(seed, 4, [FsyncMode::Everysec, FsyncMode::Always][(seed % 2) as usize]) };
    let (mut world, mut clients) = started(seed, &plan)?;
    wait(&mut world, &mut clients, &plan, 200);
    world.shards[0].start_job(JOB - 1, Job::Snapshot { format: BaseFormat::Rdb, start_log: false });
    world.fault_in = Some(world.random.u32(0..20));
    while !world.refuses() {
        steps(&mut world, &mut clients, &plan, 1);
    }
    let stopped = job(&mut world, &mut clients, &plan, Job::Stop, TIMEOUT_MS);
    expect_error(&stopped, "after a disk fault")?;
    let manifest = coordinator(&world).manifest();
    expect(manifest.distrusted && manifest.state == State::Running, "the manifest says clean")?;
    expect(world.written_manifest().distrusted, "the manifest on the disk does not say distrusted")?;
    wait(&mut world, &mut clients, &plan, 2 * TIMEOUT_MS);
    expect(!coordinator(&world).snapshot_running(), "a snapshot runs for ever")?;
    expect(world.leftover_bases() == 0, "a base that was given up has left a file")?;
    after_power_loss(&mut world, &clients, plan.shards)
}

#[test]
fn a_stop_after_a_fault_ends_and_is_not_clean() {
    check_all("stop_after_fault", stop_after_fault);
}

fn is_anyone_paused(world: &World) -> bool {
    world.shards.iter().any(|shard| shard.describe().contains("paused true"))
}

/// Everything is to stand still for reading the files, and a disk does not answer or fails, sooner or later: then everything goes on, and the
/// asker is told.
fn stuck_stand_still(seed: u64, fails: bool) -> Result<(), String> {
    let plan = impatient(seed, [2, 4][(seed % 2) as usize], [FsyncMode::Everysec, FsyncMode::Always][(seed / 2 % 2) as usize]);
    let (mut world, mut clients) = started(seed, &plan)?;
    wait(&mut world, &mut clients, &plan, 300);
    let base = (!seed.is_multiple_of(3)).then_some(BaseFormat::Rdb);
    world.shards[0].start_job(JOB, Job::StandStill { base });
    (0..world.random.u32(0..400)).for_each(|_| _ = world.step());
    if fails {
        (world.fault_in, world.fault_anywhere) = (Some(world.random.u32(0..4)), true);
    } else {
        world.stuck = Some((world.random.usize(0..plan.shards as usize), Stuck::Everything));
    }
    let told = outcome(&mut world, &mut clients, &plan, 4 * TIMEOUT_MS);
    match &told {
        None => return Err("nobody was told".into()),
        // Until whoever has asked for it says so, and a fault or a disk that does not answer changes nothing about that.
        Some(Ok(())) => {
            wait(&mut world, &mut clients, &plan, 2 * TIMEOUT_MS);
            let stands = world.shards.iter().all(|shard| shard.describe().contains("paused true"));
            expect(stands, "something has gone on by itself")?;
            let gone_on = job(&mut world, &mut clients, &plan, Job::GoOn, TIMEOUT_MS);
            expect(gone_on == Some(Ok(())), &format!("it does not go on: {gone_on:?}"))?;
        }
        Some(Err(_)) if fails => expect(world.fault.is_some(), "an error without a cause")?,
        Some(Err(_)) => expect_error(&told, "has not answered")?,
    }
    (world.stuck, world.fault_in) = (None, None);
    let told = clients.told.len();
    wait(&mut world, &mut clients, &plan, 3000);
    expect(!is_anyone_paused(&world), "a shard stands still for ever")?;
    expect(clients.told.len() > told || world.fault.is_some(), "the server does not go on")?;
    if world.fault.is_none() {
        let again = job(&mut world, &mut clients, &plan, Job::StandStill { base }, 2 * TIMEOUT_MS);
        expect(again == Some(Ok(())), &format!("the second time: {again:?}"))?;
        world.reload();
        let gone_on = job(&mut world, &mut clients, &plan, Job::GoOn, TIMEOUT_MS);
        expect(gone_on == Some(Ok(())), &format!("the second time it does not go on: {gone_on:?}"))?;
    }
    wait(&mut world, &mut clients, &plan, 500);
    expect(world.fault.is_some() || world.leftover_bases() == 0, "a base that was given up has left a file")?;
    after_power_loss(&mut world, &clients, plan.shards)
}

#[test]
fn what_is_to_stand_still_and_can_not_goes_on() {
    check_all("stuck_stand_still", |seed| stuck_stand_still(seed, false));
    check_all("stuck_stand_still, fault", |seed| stuck_stand_still(seed, true));
}

/// Reading files back takes long; the disk answers all the time.
fn long_stand_still(seed: u64) -> Result<(), String> {
    let plan = impatient(seed, 2, FsyncMode::Everysec);
    let (mut world, mut clients) = started(seed, &plan)?;
    wait(&mut world, &mut clients, &plan, 300);
    let stands = job(&mut world, &mut clients, &plan, Job::StandStill { base: None }, TIMEOUT_MS);
    expect(stands == Some(Ok(())), &format!("{stands:?}"))?;
    wait(&mut world, &mut clients, &plan, 4 * TIMEOUT_MS);
    let gone_on = job(&mut world, &mut clients, &plan, Job::GoOn, TIMEOUT_MS);
    expect(gone_on == Some(Ok(())), &format!("{gone_on:?}"))?;
    wait(&mut world, &mut clients, &plan, 2000);
    expect(clients.refused == 0, "writes are refused though the disk answers")?;
    after_power_loss(&mut world, &clients, plan.shards)
}

#[test]
fn standing_still_for_long_is_no_stall() {
    check_all("long_stand_still", long_stand_still);
}

/// A log is ended while the bound of everysec holds: without a log nothing is held any more.
fn end_of_a_held_log(seed: u64) -> Result<(), String> {
    let plan = Plan { commit_timeout_ms: 1 << 40, ..impatient(seed, 2, FsyncMode::Everysec) };
    let (mut world, mut clients) = started(seed, &plan)?;
    world.stuck = Some((1, Stuck::Syncs));
    wait(&mut world, &mut clients, &plan, 2500);
    world.shards[0].start_job(JOB, Job::EndLog);
    while world.shards.iter().any(|shard| !shard.describe().contains("paused true")) {
        steps(&mut world, &mut clients, &plan, 1);
    }
    world.stuck = None;
    while world.shards.iter().any(|shard| shard.log().enabled()) {
        steps(&mut world, &mut clients, &plan, 1);
    }
    wait(&mut world, &mut clients, &plan, 200);
    let told = clients.told.len();
    wait(&mut world, &mut clients, &plan, 500);
    expect(clients.told.len() > told + 10, "replies are held without a log")
}

#[test]
fn a_log_that_is_ended_during_a_hold_leaves_nothing_held() {
    check_all("end_of_a_held_log", end_of_a_held_log);
}
