//! The kinds of vnode that `holocron host` runs. Each is written with the public API only and is an example of it.
//!
//! They are written by hand, without `#[holocron::vnode]`: in the shell, their commands are the variants of their enums.

mod counter;
mod kv;

pub use self::{
    counter::{Command as CounterCommand, Counter, Query as CounterQuery},
    kv::{Answer as KvAnswer, Change, Command as KvCommand, Kv, Query as KvQuery},
};
use holocron::HostBuilder;

/// Registers the built-in kinds with a host.
pub fn register(host: HostBuilder) -> HostBuilder {
    host.vnode::<Counter>().vnode::<Kv>()
}
