//! `holocron move`: move slots to a host.

use clap::Args;
use holocron::PeerMessage;
use holocron_protocol::ids::Slot;
use serde_json::json;

use crate::{
    deadline::DeadlineArguments,
    exit::{self, Fail, Failure},
    leader::{ask_leader, known_host},
    settle::{Moved, Order, session_of},
    store::ClusterArguments,
};

/// Move slots to a host
///
/// Callers see slow calls at most, no failed ones. A slot stays where it was moved until hosts join or leave. Refused if
/// it would bring a host more than a slot and a tenth off its share: change weights instead. Returns when the host serves the slots.
#[derive(Debug, Args)]
#[command(after_help = exit::help("Examples:
  holocron move --store file:///tmp/h 17 h2
  holocron move --store file:///tmp/h 0-99,200 h3 --deadline 60"))]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Which slots: numbers and ranges, separated by commas.
    slots: String,
    /// The host that is to serve them.
    host: String,
    /// Print a JSON object instead of a sentence.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    deadline: DeadlineArguments,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Fail> {
    let slots = parse(&arguments.slots).map_err(|why| Fail::new(Failure::Usage, why))?;
    let deadline = arguments.deadline.start();
    let client = deadline.connect(&arguments.cluster).await?;
    let record = client.ready().await?.record;
    let host = known_host(&record, &arguments.host)?;
    let session = session_of(&record, &host);
    let order = PeerMessage::Move { slots: slots.clone(), to: host.clone() };
    ask_leader(&client, order.clone(), deadline).await?;
    let reader = deadline.reader(&arguments.cluster.store).await?;
    let wanted = Order { client: &client, reader: &reader, deadline, order, host: &host };
    let epoch = wanted.until_done(record, |record| {
        let Some(session) = session.filter(|_| session_of(record, &host) == session) else {
            return Moved::Gone;
        };
        let owned = |slot: &&Slot| record.home().slots.holding(**slot).is_owned_by(session);
        match slots.len() - slots.iter().filter(owned).count() {
            0 => Moved::Done,
            left => Moved::Left(left),
        }
    });
    let epoch = epoch.await?;
    if arguments.json {
        let epoch = epoch.get();
        println!("{}", json!({ "host": host.as_str(), "slots": slots.len(), "epoch": epoch }));
    } else {
        println!("{host} serves the {} slots since {epoch}", slots.len());
    }
    Ok(())
}

/// `17`, `0-99`, `0-99,200`.
fn parse(text: &str) -> Result<Vec<Slot>, String> {
    let number = |text: &str| {
        text.trim().parse::<u16>().map_err(|error| format!("{text:?} is no slot number: {error}"))
    };
    let mut slots = Vec::new();
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if last < first {
            return Err(format!("{part:?} is no range of slots: it ends before it begins"));
        }
        slots.extend((first..=last).map(Slot));
    }
    slots.sort_unstable();
    slots.dedup();
    Ok(slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_numbers_and_ranges() {
        let numbers =
            |text| parse(text).map(|slots| slots.iter().map(|slot| slot.0).collect::<Vec<_>>());
        assert_eq!(numbers("17"), Ok(vec![17]));
        assert_eq!(numbers("3-5, 1,4"), Ok(vec![1, 3, 4, 5]));
        for wrong in ["", "x", "5-3", "1-", "-1", "70000", "1,,2"] {
            assert!(numbers(wrong).is_err(), "{wrong:?}");
        }
    }
}
