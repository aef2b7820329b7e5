//! Progress lines on standard error while the demo runs.

use core::time::Duration;
use std::sync::Arc;

use holocron::Client;
use holocron_protocol::ids::DomainId;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::load::Load;
use crate::table::thousands;

/// Time between two lines about the load.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Prints lines with the time since the load began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    began: Instant,
}

impl Progress {
    pub(super) fn begin() -> Self {
        Self { began: Instant::now() }
    }

    /// The time since the load began.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn say(&self, what: &str) {
        eprintln!("{:6.1} s  {what}", self.elapsed().as_secs_f64());
    }

    /// Prints the progress of the load, until dropped.
    pub(super) async fn follow(self, load: Arc<Load>, client: Client) {
        let mut lines = interval(LINE_EVERY);
        lines.set_missed_tick_behavior(MissedTickBehavior::Delay);
        lines.tick().await;
        let mut before = (Instant::now(), load.tally().acknowledged());
        loop {
            lines.tick().await;
            let now = (Instant::now(), load.tally().acknowledged());
            let seconds = (now.0 - before.0).as_secs_f64();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rate, for people"
            )]
            let rate = (Duration::from_secs(now.1 - before.1).as_secs_f64() / seconds) as u64;
            before = now;
            self.say(&format!("{:>7} commands/s   {}", thousands(rate), shares(&client)));
        }
    }
}

/// The epoch, and how many slots each host owns.
fn shares(client: &Client) -> String {
    let Some(view) = client.view() else { return "no view yet".to_owned() };
    let record = &view.record;
    let slots_of = |session| {
        record
            .domains
            .get(&DomainId::HOME)
            .map_or(0, |domain| domain.slots.owned_by(session).count())
    };
    let mut line = format!("epoch {}:", record.epoch.get());
    for (name, host) in &record.hosts {
        let slots = host.sessions.get(&DomainId::HOME).map_or(0, |session| slots_of(*session));
        let leads = if *name == record.leader.host { " (leads)" } else { "" };
        line.push_str(&format!("  {name}{leads} {slots} slots"));
    }
    line
}
