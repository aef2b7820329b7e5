//! Programs people would want to write, one file each: `cargo run -p holocron-examples --example counter`.
