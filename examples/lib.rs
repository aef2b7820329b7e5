//! Example programs, one file each: `cargo run -p holocron-examples --example counter`.
