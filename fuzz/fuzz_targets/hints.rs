//! See `holocron_fuzz::hints`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holocron_fuzz::hints(data));
