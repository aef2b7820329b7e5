//! Tests of services that are built on Holocron.
//!
//! * [`TestVnode`] runs one vnode without any cluster, and shows what its handlers ask for. For most tests it is enough.
//! * [`TestCluster`] is a whole cluster in memory, of real hosts, on a clock of its own: hours pass in a second, hosts crash
//!   and pause when the test says so, and the store fails. Every promise of Holocron is checked meanwhile.
//! * [`Chaos`] runs a scenario under many schedules of faults, and names the seed of the one that failed.
//!
//! The same seed gives the same run, as long as the code under test draws no random numbers and reads no clock but the one
//! of its [`holocron::Context`] and tokio's.
//!
//! ```
//! # use holocron::{Context, Vnode};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Default, Serialize, Deserialize)]
//! # struct Counter(u64);
//! # impl Vnode for Counter {
//! #     const KIND: &'static str = "counter";
//! #     type Command = u64;
//! #     type Reply = u64;
//! #     type Query = ();
//! #     type Answer = u64;
//! #     type Env = ();
//! #     fn command(&mut self, _: &mut Context<'_, Self>, add: u64) -> u64 { self.0 += add; self.0 }
//! #     fn query(&self, _: &Context<'_, Self>, (): ()) -> u64 { self.0 }
//! # }
//! use holocron_testing::TestCluster;
//!
//! let mut cluster = TestCluster::new(|host| host.vnode::<Counter>()).hosts(3).start();
//! cluster.run(|client| async move {
//!     assert_eq!(client.get::<Counter>("visits").command(5).await, Ok(5));
//! });
//! cluster.crash("h1");
//! let visits = cluster.run(|client| async move { client.get::<Counter>("visits").query(()).await });
//! assert_eq!(visits, Ok(5));
//! ```

mod chaos;
mod cluster;

pub use chaos::{Chaos, Strike};
pub use cluster::{ClusterBuilder, TestCluster};
pub use holocron::testing::{Sent, TestVnode};
