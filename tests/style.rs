//! What of the style can be checked by reading.

mod source;

use source::{code_lines, is_test_file, rust_files};

const LINES_MAX: usize = 900;
/// A shorter file needs no introduction.
const PAGE_LINES: usize = 20;
const OURS: [&str; 4] = ["shards", "src", "tools", "benches"];

#[test]
fn no_file_is_too_long_to_read_in_one_sitting() {
    for (file, text) in OURS.into_iter().chain(["tests"]).flat_map(rust_files) {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{file} has {lines} lines, at most {LINES_MAX}");
    }
}

#[test]
fn outside_of_tests_an_expect_says_why_it_cannot_fail() {
    for (file, text) in OURS.into_iter().flat_map(rust_files).filter(|(file, _)| !is_test_file(file)) {
        for (number, line) in code_lines(&text) {
            assert!(!line.contains(".unwrap()"), "{file}:{number}: use expect(\"why\"): {line}");
        }
    }
}

#[test]
fn every_unsafe_block_has_its_reason() {
    for (file, text) in OURS.into_iter().flat_map(rust_files) {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in code_lines(&text).filter(|(_, line)| line.contains("unsafe {") || line.contains("unsafe impl")) {
            let above = &lines[number.saturating_sub(6)..number];
            assert!(above.iter().any(|line| line.contains("SAFETY:")), "{file}:{number}: no SAFETY: above {line}");
        }
    }
}

#[test]
fn no_test_is_ignored_and_every_file_begins_with_what_it_is_for() {
    for (file, text) in OURS.into_iter().chain(["tests"]).flat_map(rust_files) {
        let ignored = concat!("#[", "ignore");
        assert!(!text.contains(ignored), "{file}: an ignored test");
        // What a module's own tests are for stands in the module.
        let is_exempt = is_test_file(&file) || text.lines().count() < PAGE_LINES;
        assert!(is_exempt || text.starts_with("//!"), "{file}: no documentation at its beginning");
    }
}
