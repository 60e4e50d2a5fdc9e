//! The short form of fuzzing: every input of every corpus, and seeded mutations of them, through the functions that `cargo fuzz` calls.
//!
//! `FUZZ_SEED=7 FUZZ_ROUNDS=100000 cargo test --test fuzz_corpora` goes further. A failure prints the input that replays it; how to keep
//! it, and the long form: docs/fuzzing.md.

#[path = "fuzz/src/lib.rs"]
mod fuzz;

use fuzz::{TARGETS, Target};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// Mutated inputs per target.
const ROUNDS: usize = 8000;
/// Mutations of one input, at most.
const MUTATIONS: usize = 6;
/// Values that counts and lengths are seldom tested with.
const INTERESTING: [u8; 12] = [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0x81, 0xc0, 0xc3, 0xf0, 0xfe, 0xff];

fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target.name);
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut inputs: Vec<_> = entries
        .map(|entry| entry.expect("readable").path())
        .map(|path| (path.display().to_string(), std::fs::read(&path).expect("readable")))
        .collect();
    inputs.sort();
    assert!(inputs.len() > 5, "{} holds inputs", dir.display());
    inputs
}

fn check(target: &Target, origin: &str, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| (target.check)(input))).is_err() {
        let path = std::env::temp_dir().join(format!("fuzz-{}-{}", target.name, std::process::id()));
        std::fs::write(&path, input).expect("a temporary file");
        panic!("target {}, {origin}: {}\nkept as {}", target.name, input.escape_ascii(), path.display());
    }
}

fn mutated(mut input: Vec<u8>, inputs: &[(String, Vec<u8>)], random: &mut fastrand::Rng) -> Vec<u8> {
    for _ in 0..random.usize(1..=MUTATIONS) {
        let at = random.usize(..=input.len());
        let end = random.usize(at..=input.len()).min(at + random.usize(1..20));
        match random.u8(..8) {
            0 if at < input.len() => input[at] ^= 1 << random.u8(..8),
            1 if at < input.len() => input[at] = INTERESTING[random.usize(..INTERESTING.len())],
            2 if at < input.len() => input[at] = input[at].wrapping_add(random.u8(..).wrapping_sub(128) / 16),
            3 => input.insert(at, random.u8(..)),
            4 => drop(input.drain(at..end)),
            5 => input.splice(at..at, input[at..end].to_vec()).for_each(drop),
            6 => input.truncate(at),
            _ => {
                let other = &inputs[random.usize(..inputs.len())].1;
                let from = random.usize(..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
    input
}

fn number(name: &str) -> Option<usize> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

fn inputs_and_mutations_hold(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let inputs = corpus(target);
    for (origin, input) in &inputs {
        check(target, origin, input);
    }
    let seed = number("FUZZ_SEED").unwrap_or(1) as u64;
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..number("FUZZ_ROUNDS").unwrap_or(ROUNDS) {
        let (origin, input) = &inputs[random.usize(..inputs.len())];
        let input = mutated(input.clone(), &inputs, &mut random);
        check(target, &format!("FUZZ_SEED={seed}, round {round}, from {origin}"), &input);
    }
}

#[test]
fn requests_hold() {
    inputs_and_mutations_hold("resp");
}

#[test]
fn rdb_files_hold() {
    inputs_and_mutations_hold("rdb");
}

#[test]
fn dump_payloads_hold() {
    inputs_and_mutations_hold("dump");
}

#[test]
fn standard_aofs_hold() {
    inputs_and_mutations_hold("aof");
}

#[test]
fn logs_hold() {
    inputs_and_mutations_hold("frames");
}

#[test]
fn manifests_hold() {
    inputs_and_mutations_hold("manifest");
}

#[test]
fn settings_hold() {
    inputs_and_mutations_hold("conf");
}
