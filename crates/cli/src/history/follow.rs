//! `--follow`: new epochs as they are written.

use core::time::Duration;

use holocron::inspect::{ClusterReader, Entry, ReadError};
use holocron_protocol::ids::Epoch;
use holocron_store::GaveUp;
use tokio::time::sleep;

use super::teller::Teller;
use crate::exit::Fail;

/// The pause between two looks for the next epoch.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the store may give no answer before that is said.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// After this many looks that found nothing, checks that the store still has the cluster and that the log wasn't
/// trimmed beyond the next epoch.
const LOOKS_PER_CHECK: u32 = 20;

/// Tells every epoch from `next` on, until the process is interrupted. Goes on after an outage of the store.
pub(super) async fn follow(
    reader: &ClusterReader,
    mut next: Epoch,
    teller: &mut Teller,
) -> Result<(), Fail> {
    let reader = reader.clone().within(ANSWER_WITHIN);
    let (mut looks, mut silent) = (0_u32, false);
    loop {
        let step = match look(&reader, next, looks).await {
            Err(ReadError::GaveUp(GaveUp::Spent { last })) => {
                if !silent {
                    let why = last.map_or_else(String::new, |error| {
                        format!(": {}", holocron_store::explain(&error))
                    });
                    eprintln!("holocron: the store gives no answer; still trying{why}");
                }
                silent = true;
                sleep(LOOK_EVERY).await;
                continue;
            }
            answered => answered?,
        };
        if silent {
            eprintln!("holocron: the store answers again");
            silent = false;
        }
        match step {
            Step::Wait => {
                looks = looks.wrapping_add(1);
                sleep(LOOK_EVERY).await;
            }
            Step::Tell(entry) => {
                teller.tell(next, entry)?;
                (next, looks) = (next.next(), 0);
            }
            Step::SkipTo(first) => {
                teller.tell_deleted(first.previous().expect("epochs begin at 1"))?;
                next = first;
            }
        }
    }
}

/// What one look says.
enum Step {
    /// The epoch isn't written yet.
    Wait,
    /// This is stored of it.
    Tell(Entry),
    /// It was deleted; this is the first that is kept.
    SkipTo(Epoch),
}

/// Looks for an epoch: one get, and a few more now and then, and when it is there.
async fn look(reader: &ClusterReader, next: Epoch, looks: u32) -> Result<Step, ReadError> {
    let stored = reader.stored(next).await?;
    let is_check = looks % LOOKS_PER_CHECK == LOOKS_PER_CHECK - 1;
    if stored == Entry::Absent && !is_check {
        return Ok(Step::Wait);
    }
    if is_check {
        reader.check_store().await?;
    }
    Ok(match reader.entry(next).await? {
        Entry::Deleted => Step::SkipTo(reader.kept().await?.first.max(next)),
        Entry::Absent => Step::Wait,
        found @ (Entry::Record(_) | Entry::Undecodable(_)) => Step::Tell(found),
    })
}
