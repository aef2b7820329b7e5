//! Example programs, one file each: `cargo run -p holocron-examples --example counter`.
//!
//! The Rust of the guide is compiled and run here too: `cargo test -p holocron-examples --doc`.

#[cfg(doctest)]
#[doc = include_str!("../docs/guide.md")]
mod guide {}

#[cfg(doctest)]
#[doc = include_str!("../docs/from-orleans.md")]
mod from_orleans {}

#[cfg(doctest)]
#[doc = include_str!("../docs/from-durable-objects.md")]
mod from_durable_objects {}

#[cfg(doctest)]
#[doc = include_str!("../docs/from-restate.md")]
mod from_restate {}

#[cfg(doctest)]
#[doc = include_str!("../docs/from-ractor.md")]
mod from_ractor {}
