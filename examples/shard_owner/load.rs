//! Writers that put entries while hosts come and go, and the check that none was lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use holocron::{BoxError, CallError, Client};
use tokio::task::JoinHandle;

use crate::{
    hosts::SHARDS,
    index::{Answer, Command, Query, Shard},
};

const WRITERS: u16 = 32;
const KEYS_PER_WRITER: u64 = 50;
const PAUSE: Duration = Duration::from_millis(5);

/// What one writer knows: of each of its keys, the last value that was acknowledged, and the last that was sent.
struct Written {
    writer: u16,
    acknowledged: Vec<Option<u64>>,
    sent: Vec<Option<u64>>,
    puts: u64,
    failed: u64,
    longest: Duration,
}

/// The writers.
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    writers: Vec<JoinHandle<Written>>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) puts: u64,
    pub(crate) failed: u64,
    pub(crate) keys: u64,
    pub(crate) lost: u64,
    pub(crate) longest: Duration,
}

fn key(writer: u16, number: usize) -> String {
    format!("writer-{writer}/key-{number}")
}

/// The shard of a key: any function of the key and the number of shards.
fn shard_of(key: &str) -> u16 {
    let hash = key.bytes().fold(5_381_u64, |hash, byte| hash.wrapping_mul(33) ^ u64::from(byte));
    u16::try_from(hash % u64::from(SHARDS)).expect("below the number of shards")
}

impl Load {
    pub(crate) fn start(client: &Client) -> Self {
        let over = Arc::<AtomicBool>::default();
        let write = |writer| tokio::spawn(write(client.clone(), writer, Arc::clone(&over)));
        Self { writers: (0..WRITERS).map(write).collect(), over }
    }

    /// Ends the load, and reads every key back.
    pub(crate) async fn check(self, client: &Client) -> Result<Totals, BoxError> {
        self.over.store(true, Ordering::Relaxed);
        let mut totals = Totals::default();
        for writer in self.writers {
            let written = writer.await?;
            totals.puts += written.puts;
            totals.failed += written.failed;
            totals.longest = totals.longest.max(written.longest);
            for number in 0..written.acknowledged.len() {
                if written.sent[number].is_some() {
                    totals.keys += 1;
                    totals.lost += u64::from(is_lost(client, &written, number).await?);
                }
            }
        }
        Ok(totals)
    }
}

/// Whether a key has an older value than was acknowledged, or one that was never sent.
async fn is_lost(client: &Client, written: &Written, number: usize) -> Result<bool, CallError> {
    let key = key(written.writer, number);
    let shard = client.shard::<Shard>(shard_of(&key));
    let Answer::Value(value) = shard.query(Query::Get(key)).await? else { return Ok(true) };
    let value: Option<u64> = value.and_then(|value| value.parse().ok());
    Ok(value < written.acknowledged[number] || value > written.sent[number])
}

async fn write(client: Client, writer: u16, over: Arc<AtomicBool>) -> Written {
    let keys = usize::try_from(KEYS_PER_WRITER).expect("a few");
    let (acknowledged, sent) = (vec![None; keys], vec![None; keys]);
    let mut written =
        Written { writer, acknowledged, sent, puts: 0, failed: 0, longest: Duration::ZERO };
    while !over.load(Ordering::Relaxed) {
        written.puts += 1;
        let number = usize::try_from(written.puts % KEYS_PER_WRITER).expect("a few");
        let (key, value) = (key(writer, number), written.puts);
        written.sent[number] = Some(value);
        let shard = client.shard::<Shard>(shard_of(&key));
        let began = Instant::now();
        match shard.command(Command::Put { key, value: value.to_string() }).await {
            Ok(()) => written.acknowledged[number] = Some(value),
            Err(_) => written.failed += 1,
        }
        written.longest = written.longest.max(began.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    written
}
