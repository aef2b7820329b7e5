//! See `holocron_fuzz::epoch`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holocron_fuzz::epoch(data));
