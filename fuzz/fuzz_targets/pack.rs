//! See `holocron_fuzz::pack`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holocron_fuzz::pack(data));
