//! What is fuzzed: one function per target, from any bytes to "held" or a panic.
//!
//! The long form (`cargo fuzz`, docs/fuzzing.md) and the short one (`tests/fuzz_corpora.rs`, a part of `cargo test`) call the same
//! functions. Each allows errors, and never a panic, memory by a claimed length, or two answers to one question.
//!
//! This module opens no file and reads no clock: an input behaves the same wherever it runs.

pub mod aof;
pub mod conf;
pub mod dump;
pub mod frames;
pub mod keyspaces;
pub mod manifest;
pub mod rdb;
pub mod resp;

// The server is a program: its settings are reached by their path. Not every getter is called here.
#[allow(dead_code, unused_imports)]
#[path = "../../../src/config/mod.rs"]
mod config;

/// A target: its name, which is that of its corpus too, and what holds for any input.
pub struct Target {
    pub name: &'static str,
    pub check: fn(&[u8]),
}

pub const TARGETS: [Target; 7] = [
    Target { name: "resp", check: resp::check },
    Target { name: "rdb", check: rdb::check },
    Target { name: "dump", check: dump::check },
    Target { name: "aof", check: aof::check },
    Target { name: "frames", check: frames::check },
    Target { name: "manifest", check: manifest::check },
    Target { name: "conf", check: conf::check },
];
