#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shardis_fuzz::resp::check(data));
