//! The deterministic simulation: N shards, the coordinator and a simulated disk in one thread, from one seed.
//!
//! `cargo test -p shards --test simulation` runs a fixed range of seeds. More, or one of them:
//! ```text
//! SEEDS=10000 cargo test --release -p shards --test simulation many_seeds
//! SEED=4711 cargo test --release -p shards --test simulation one_seed -- --nocapture
//! ```

mod disk;
mod oracle;
mod workload;
mod world;

use disk::CrashKind;
use oracle::Oracle;
use shards::transaction::Job;
use workload::{Clients, Plan};
use world::World;

const SEEDS_BY_DEFAULT: u64 = 300;

/// One seed: a workload with one to three crashes, each followed by a start and by the oracle. Err: what was violated.
fn run_seed(seed: u64) -> Result<(), String> {
    run_plan(seed, Plan::from_seed(seed))
}

fn run_plan(seed: u64, plan: Plan) -> Result<(), String> {
    let mut world = World::new(seed ^ 0x5eed, plan.mode, plan.logged);
    world.format = plan.format;
    let mut clients = Clients::new(plan.mode);
    let mut oracle = Oracle { base: Default::default() };
    let mut shards = plan.shards;
    let opened = world.start(shards, &mut CrashKind::Process)?;
    world.run(opened);
    for &(steps, is_power) in &plan.crashes {
        world.fault_in = plan.faults.then(|| world.random.u32(0..200));
        work(&mut world, &mut clients, &plan, steps)?;
        world.fault_in = None;
        let faulted = world.faulted;
        let mut kind = if is_power { CrashKind::Power } else { CrashKind::Process };
        let history = std::mem::take(&mut world.history);
        let crash_ms = world.now_ms;
        world.crash(kind);
        if plan.changes_shards {
            shards = [1, 2, 3, 4][world.random.usize(0..4)];
        }
        let opened = world.start(shards, &mut kind).map_err(|error| format!("the start after a crash stopped: {error}"))?;
        if faulted {
            // After a failed write the page cache is not believed: the rules of a power loss hold.
            kind = CrashKind::Power;
        }
        if plan.unique_keys {
            oracle.check_unique(&clients, kind, crash_ms, &opened)?;
        } else {
            oracle.check(&world, &history, &clients, kind, crash_ms, &opened)?;
        }
        world.run(opened);
    }
    finish(&mut world, &mut clients, &plan, shards)
}

fn work(world: &mut World, clients: &mut Clients, plan: &Plan, steps: usize) -> Result<(), String> {
    let mut left = steps;
    let mut connected = false;
    let first_operation = world.disk.operations();
    while left > 0 && plan.crash_at_operation.is_none_or(|limit| world.disk.operations() - first_operation < limit) {
        left -= 1;
        world.step();
        if !connected {
            connected = world.is_ready();
            if connected {
                clients.connect(world, plan);
            }
            continue;
        }
        if world.random.u8(0..3) == 0 {
            clients.act(world, plan);
        }
        clients.administrate(world, plan);
        clients.read(world);
    }
    if !connected {
        // Too short for a start: nobody was told anything.
        clients.issued.clear();
        clients.told.clear();
    }
    Ok(())
}

/// Nobody waits for ever; and a clean stop is followed by exactly the same state.
fn finish(world: &mut World, clients: &mut Clients, plan: &Plan, shards: u16) -> Result<(), String> {
    work(world, clients, plan, 1500)?;
    for _ in 0..40 {
        world.now_ms += 300;
        world.settle();
        clients.administrate(world, plan);
        clients.read(world);
        clients.resubmit_all(world);
    }
    if let Some(client) = clients.clients.iter().find(|client| !client.outstanding.is_empty() || client.refused.is_some()) {
        let shards: Vec<String> = world.shards.iter().map(|shard| shard.describe()).collect();
        return Err(format!(
            "{:?} waits for ever: {:?} {:?}\n{}",
            client.conn,
            client.outstanding,
            client.refused,
            shards.join("\n")
        ));
    }
    if !world.logged || clients.pending_log.is_some() {
        // As SHUTDOWN does where nothing is logged.
        world.shards[0].start_job(u64::MAX - 1, Job::Snapshot { format: plan.format, start_log: false });
    }
    world.shards[0].start_job(u64::MAX, Job::Stop);
    for _ in 0..60 {
        world.settle();
    }
    if !world.results.iter().any(|(id, result)| *id == u64::MAX && result.is_ok()) {
        let shards: Vec<String> = world.shards.iter().map(|shard| shard.describe()).collect();
        return Err(format!("the server did not stop: {:?}\n{}", world.results, shards.join("\n")));
    }
    let before = contents_of(world);
    world.crash(CrashKind::Power);
    let opened =
        world.start(shards, &mut CrashKind::Power).map_err(|error| format!("the start after a clean stop stopped: {error}"))?;
    if world::contents(&opened.keyspaces) != before {
        return Err("a clean stop lost or changed something".into());
    }
    Ok(())
}

fn contents_of(world: &World) -> std::collections::BTreeMap<(u16, Vec<u8>), Vec<u8>> {
    let mut all = std::collections::BTreeMap::new();
    for shard in &world.shards {
        all.extend(world::contents(std::slice::from_ref(shard.keyspace())));
    }
    all
}

fn check(seed: u64) -> Result<(), String> {
    let outcome = std::panic::catch_unwind(|| run_seed(seed));
    let verdict = outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    });
    verdict.map_err(|cause| {
        format!(
            "seed {seed}: {cause}\nreplay: SEED={seed} cargo test --release -p shards --test simulation one_seed -- --nocapture"
        )
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

#[test]
fn many_seeds_violate_nothing() {
    let first = number("FIRST_SEED").unwrap_or(1);
    let count = number("SEEDS").unwrap_or(SEEDS_BY_DEFAULT);
    // Mutants are only asked for the first seed that finds them.
    let limit = if number("STOP_AT_FIRST").is_some() { 1 } else { usize::MAX };
    let failures: Vec<String> = (first..first + count).filter_map(|seed| check(seed).err()).take(limit).collect();
    failures.iter().for_each(|failure| println!("{failure}"));
    assert!(failures.is_empty(), "{} of {count} seeds failed; the first: {}", failures.len(), failures[0]);
}

#[test]
fn one_seed() {
    let seed = number("SEED").unwrap_or(1);
    println!("{:?}", Plan::from_seed(seed));
    check(seed).unwrap_or_else(|cause| panic!("{cause}"));
}
