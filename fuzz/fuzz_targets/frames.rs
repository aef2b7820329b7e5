//! See `holocron_fuzz::frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holocron_fuzz::frames(data));
