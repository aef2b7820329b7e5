//! See `holocron_fuzz::envelope`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holocron_fuzz::envelope(data));
