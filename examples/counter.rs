//! A counter that outlives its host: run it twice and it continues counting.

#![expect(clippy::print_stdout, reason = "an example prints")]

use holocron::{Context, Host, Vnode};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Counter(u64);

impl Vnode for Counter {
    const KIND: &'static str = "counter";
    type Command = u64;
    type Reply = u64;
    type Query = ();
    type Answer = u64;
    type Env = ();

    fn command(&mut self, _: &mut Context<'_, Self>, add: u64) -> u64 {
        self.0 += add;
        self.0
    }

    fn query(&self, _: &Context<'_, Self>, (): ()) -> u64 {
        self.0
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join("holocron-counter");
    std::fs::create_dir_all(&folder)?; // a host doesn't create it: it may just not be mounted
    let store = format!("file://{}", folder.display());
    let host = Host::builder(&store).vnode::<Counter>().start().await?;
    let visits = host.client().get::<Counter>("visits");
    println!("{} visits", visits.command(1).await?); // durable before it returns
    host.leave().await;
    Ok(())
}
