//! A load tool: many timers that are due at once.
//!
//! It starts a host on a directory store below the temporary directory, and has many vnodes set a timer each for the same moment.
//! The vnodes leave memory meanwhile. It prints how late the timers fired and how many requests the store had, and checks
//! that each fired once.
//!
//! ```text
//! many-timers [TIMERS]
//! ```
#![expect(clippy::print_stdout, reason = "a tool prints")]

use core::time::Duration;
use std::{
    error::Error,
    sync::{Arc, Mutex},
};

use holocron::{Activation, BoxError, Context, Host, Kind, Lifecycle, Settings, Vnode};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error>>;

const TIMERS_DEFAULT: usize = 50_000;
/// Commands in flight while timers are set.
const AT_ONCE: usize = 256;
/// How long vnodes stay in memory without a call.
const IDLE_AFTER: Duration = Duration::from_secs(2);
/// How long after the last command the timers are due.
const DUE_AFTER: Duration = Duration::from_secs(10);

/// When each timer fired, in milliseconds after it was due.
#[derive(Debug, Default)]
struct Late(Mutex<Vec<u64>>);

struct Clock(Arc<Late>);

impl Lifecycle<Alarm> for Clock {
    type Resource = ();
    const HAS_HOOKS: bool = false;

    async fn open(&self, _: &Activation) -> Result<(), BoxError> {
        Ok(())
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Alarm {
    rings: u32,
}

#[derive(Serialize, Deserialize)]
enum Command {
    /// Ring at this time, in milliseconds since 1970.
    Set(u64),
    Ring(u64),
}

impl Vnode for Alarm {
    const KIND: &'static str = "alarm";
    type Command = Command;
    type Reply = ();
    type Query = ();
    type Answer = u32;
    type Env = Clock;

    fn command(&mut self, context: &mut Context<'_, Self>, command: Command) {
        let now = context.now_ms();
        match command {
            Command::Set(at) => {
                let delay = Duration::from_millis(at.saturating_sub(now));
                context.after("ring", delay, Command::Ring(at));
            }
            Command::Ring(at) => {
                self.rings += 1;
                let mut late = context.env().0.0.lock().expect("only pushed to");
                late.push(now.saturating_sub(at));
            }
        }
    }

    fn query(&self, _: &Context<'_, Self>, (): ()) -> u32 {
        self.rings
    }
}

fn main() -> Outcome<()> {
    let timers = std::env::args().nth(1).map_or(Ok(TIMERS_DEFAULT), |count| count.parse())?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(timers))
}

async fn measure(timers: usize) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let late = Arc::<Late>::default();
    let settings = Settings { idle_after: IDLE_AFTER, ..Settings::default() };
    let host = Host::builder(&format!("file://{}", folder.path().display()))
        .settings(settings)
        .kind(Kind::<Alarm>::new(Clock(Arc::clone(&late))))
        .start()
        .await?;
    let wall = || holocron::Clock::wall_ms(&holocron::SystemClock);
    // Setting them takes some seconds.
    let due = wall() + u64::try_from(DUE_AFTER.as_millis())? + timers as u64 / 5;
    let began = Instant::now();
    let setters: Vec<_> = (0..AT_ONCE)
        .map(|setter| {
            let client = host.client();
            tokio::spawn(async move {
                for number in (setter..timers).step_by(AT_ONCE) {
                    let alarm = client.get::<Alarm>(&format!("a{number}"));
                    alarm.command(Command::Set(due)).await.expect("the host serves");
                }
            })
        })
        .collect();
    for setter in setters {
        setter.await?;
    }
    println!("{timers} timers were set in {:.1} s", began.elapsed().as_secs_f64());
    while wall() + 500 < due {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (active, before) = (host.status().vnodes_active, host.status().requests);
    println!("{active} vnodes are in memory half a second before they are due");
    let fired = || late.0.lock().expect("only pushed to").len();
    let mut most = 0;
    while fired() < timers && wall() < due + 120_000 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        most = most.max(host.status().vnodes_active);
    }
    let requests = host.status().requests - before;
    let mut all = core::mem::take(&mut *late.0.lock().expect("only pushed to"));
    all.sort_unstable();
    let at = |percent: usize| all.get(all.len() * percent / 100).copied().unwrap_or(0);
    println!(
        "{} have fired: p50 {} ms, p99 {} ms, the last {} ms late; {requests} store requests; {most} vnodes in memory at most",
        all.len(),
        at(50),
        at(99),
        all.last().copied().unwrap_or(0),
    );
    for number in [0, timers / 2, timers - 1] {
        let rings = host.client().get::<Alarm>(&format!("a{number}")).query(()).await?;
        if rings != 1 {
            return Err(format!("a{number} has rung {rings} times").into());
        }
    }
    host.leave().await;
    if all.len() == timers { Ok(()) } else { Err("not every timer has fired".into()) }
}
