//! A counter that outlives its host: run it twice and it continues counting.

#![expect(clippy::print_stdout, reason = "an example prints")]

use holocron::Host;
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Counter(u64);

#[holocron::vnode(kind = "counter")]
impl Counter {
    /// Counts one more; returns how many there are.
    #[command]
    fn count(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join("holocron-visits");
    std::fs::create_dir_all(&folder)?; // a host doesn't create it: it may just not be mounted
    let store = format!("file://{}", folder.display());
    let host = Host::builder(&store).vnode::<Counter>().start().await?;
    let visits = host.client().get::<Counter>("visits");
    println!("{} visits", visits.count().await?); // durable before it returns
    host.leave().await;
    Ok(())
}
