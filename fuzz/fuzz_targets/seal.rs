//! See `holocron_fuzz::seal`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holocron_fuzz::seal(data));
