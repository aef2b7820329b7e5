//! `holocron history`: what happened in a cluster, from its epoch log.

mod at;
mod diff;
mod follow;
mod teller;

use core::ops::RangeInclusive;
use std::sync::Arc;

use clap::Args;
use holocron::inspect::{ClusterReader, ENTRIES_MAX, Entry, ReadError};
use holocron_protocol::{
    epoch::{kept::Kept, record::EpochRecord},
    ids::Epoch,
};

use self::teller::{Form, Teller};
use crate::{
    deadline::{Deadline, DeadlineArguments},
    exit::{self, Fail},
    store::StoreArguments,
    times::When,
};

/// Epochs that are shown if the user doesn't say how many.
const LIMIT_DEFAULT: u64 = 20;
/// How far before the first epoch that is shown a readable record is looked for, to compare it with.
const LOOK_BACK: u64 = 16;
/// Most epochs that one run shows.
const LIMIT_MAX: u64 = 1_000_000;

/// Show what happened in a cluster: who led, which hosts came and went, which slots moved, when and why
///
/// Each change of a cluster is an epoch: a numbered record in the store, written by the host that leads. The list shows
/// what changed with each, the newest last. Needs only the store: it works while all hosts are down, and changes nothing.
#[derive(Debug, Args)]
#[command(after_help = exit::help("\
Words:
  slot      a fixed share of the vnodes; what a host is given, and what moves between hosts
  session   one run of a host; it can commit nothing more once it is sealed
  planned   the former owner lives and hands its slots over
  takeover  the former owner's session is over; the new owner reads what it had committed
  Times are those of the leaders' clocks, in UTC. They are for people: what happened first is said by the numbers.

Examples:
  holocron history --store file:///tmp/h
  holocron history --store file:///tmp/h --at 10m
  holocron history --store file:///tmp/h --at 2026-11-29T09:17:40Z
  holocron history --store file:///tmp/h --diff 41 42
  holocron history --store file:///tmp/h --follow --json | jq .reason"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    store: StoreArguments,
    /// How many of the newest epochs to show; with --diff, how many of the epochs in between. Default: 20; with --diff,
    /// all. Higher: one more read for each.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=LIMIT_MAX))]
    limit: Option<u64>,
    /// Show the cluster as it was then: leader, hosts, slots of each host. A time like 2026-11-29T09:17:40Z, or how long
    /// ago, like 10m or "2h 30m".
    #[arg(long, value_name = "TIME", value_parser = When::parse, conflicts_with_all = ["diff", "follow", "limit"])]
    at: Option<When>,
    /// Show what changed from epoch A to epoch B, in all and epoch by epoch.
    #[arg(long, value_names = ["A", "B"], num_args = 2, conflicts_with = "follow")]
    diff: Option<Vec<u64>>,
    /// Go on with new epochs as they are written, until interrupted. Continues through an outage of the store.
    #[arg(long)]
    follow: bool,
    /// Print a JSON object per line instead of text.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    deadline: DeadlineArguments,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    let deadline = arguments.deadline.start();
    let reader = deadline.reader(&arguments.store).await?;
    let kept = deadline.read(reader.kept()).await?;
    let form = if arguments.json { Form::Json } else { Form::Text };
    let source = Source { reader, kept, deadline };
    if let Some(when) = arguments.at {
        return at::show(&source, when, form).await;
    }
    if let Some(diff) = &arguments.diff {
        let [before, after] = [diff[0], diff[1]].map(Epoch::new);
        return diff::show(&source, (before, after), arguments.limit, form).await;
    }
    let mut teller = Teller::new(form);
    source.list(arguments.limit.unwrap_or(LIMIT_DEFAULT), &mut teller).await?;
    if arguments.follow {
        return follow::follow(&source.reader, kept.newest.next(), &mut teller).await;
    }
    Ok(())
}

/// The history that is read, and until when.
struct Source {
    reader: ClusterReader,
    kept: Kept,
    deadline: Deadline,
}

impl Source {
    /// Tells the newest epochs.
    async fn list(&self, limit: u64, teller: &mut Teller) -> Result<(), Fail> {
        if let Some(last) = self.kept.last_deleted() {
            teller.tell_deleted(last)?;
        }
        let mut shown = self.kept.last(limit);
        if limit == 0 {
            shown = self.kept.newest.next().get()..=self.kept.newest.get();
        }
        teller.begin_with(*shown.start(), self.before(*shown.start()).await?);
        self.tell(shown, teller).await
    }

    /// The newest record before a number, if one of the last few can be read.
    async fn before(&self, number: u64) -> Result<Option<Arc<EpochRecord>>, Fail> {
        let first = number.saturating_sub(LOOK_BACK).max(self.kept.first.get());
        self.deadline.read(self.reader.readable(first..=number - 1)).await
    }

    /// Tells these epochs one after the other.
    async fn tell(&self, epochs: RangeInclusive<u64>, teller: &mut Teller) -> Result<(), Fail> {
        let (mut next, end) = epochs.into_inner();
        while next <= end {
            let last = end.min(next + ENTRIES_MAX - 1);
            for (epoch, entry) in self.deadline.read(self.reader.entries(next..=last)).await? {
                teller.tell(epoch, entry)?;
            }
            next = last + 1;
        }
        Ok(())
    }

    /// The record of a given epoch, or why there is none.
    async fn record(&self, epoch: Epoch) -> Result<Arc<EpochRecord>, Fail> {
        let Kept { first, newest } = self.kept;
        let reading = async {
            if !self.kept.contains(epoch) {
                return Ok::<_, ReadError>(Entry::Deleted);
            }
            self.reader.entry(epoch).await
        };
        match self.deadline.read(reading).await? {
            Entry::Record(record) => Ok(record),
            Entry::Undecodable(malformed) => {
                Err(Fail::failed(format!("epoch {}: {malformed}", epoch.get())))
            }
            Entry::Deleted | Entry::Absent => Err(Fail::failed(format!(
                "there is no epoch {}; the store keeps epochs {} to {}",
                epoch.get(),
                first.get(),
                newest.get()
            ))),
        }
    }
}
