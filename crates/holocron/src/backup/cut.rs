//! Taking a cut: `protocol::backup::taking` decides, this asks the hosts and the store.

use core::time::Duration;
use std::{collections::BTreeMap, sync::Arc};

use futures::{FutureExt, StreamExt, TryFutureExt, future::join_all, stream::FuturesUnordered};
use holocron_protocol::{
    backup::{
        contents::{Cut, FrozenAt},
        taking::{Effect, Event, Taking},
    },
    epoch::record::EpochRecord,
    format::cluster::Cluster,
    ids::{CutId, SessionId},
    journal::freeze::Thawed,
    slot::replay::JournalEnd,
};
use holocron_store::{Patience, Store};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{BackupError, Original};
use crate::{
    store_io::{cluster_object::read_cluster, epoch_log::EpochLog, journal_end::journal_extent},
    transport::{
        frame::Hello,
        link::Link,
        peer::{PeerMessage, PeerReply},
        serve::View,
    },
};

/// How often a cut is tried: slots may move, or a host may fail, in the middle.
const ATTEMPTS_MAX: u32 = 8;
/// The pause before the next attempt; it grows with each.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(250);
/// How long one message or read of an attempt may take. A session goes on by itself after two seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// How long a store may take to answer what isn't asked while sessions are frozen.
const STORE_WITHIN: Duration = Duration::from_secs(20);

/// A cut that was taken.
#[derive(Debug)]
pub(super) struct Taken {
    /// The epoch log of the cluster.
    pub(super) log: EpochLog,
    pub(super) view: View,
    pub(super) cut: Cut,
    /// From the first message that froze a session until all could go on.
    pub(super) frozen_for: Duration,
}

/// Takes a cut of a running cluster.
pub(super) async fn take(original: &Original) -> Result<Taken, BackupError> {
    let (patience, stop) = (Patience::at_start(STORE_WITHIN), CancellationToken::new());
    let (cluster, _) = read_cluster(&*original.store, patience, &stop).await?;
    let log = EpochLog { store: Arc::clone(&original.store), cluster, patience, stop };
    let mut attempts = 0;
    loop {
        let none = || BackupError::NoCluster("the cluster has no epoch yet".to_owned());
        let view = log.newest(None).await?.ok_or_else(none)?;
        let why = match attempt(original, &log, &view).await {
            Ok((cut, frozen_for)) => return Ok(Taken { log, view, cut, frozen_for }),
            Err(Missed::Refused(why)) => return Err(BackupError::NotSupported(why)),
            Err(Missed::Failed(why)) => why,
        };
        attempts += 1;
        tracing::debug!(attempts, why, "no cut was taken");
        if attempts == ATTEMPTS_MAX {
            return Err(BackupError::NoCut(why));
        }
        sleep(ATTEMPT_PAUSE * attempts).await;
    }
}

/// Why an attempt has no cut.
enum Missed {
    Refused(String),
    /// The next attempt may have one.
    Failed(String),
}

async fn attempt(
    original: &Original,
    log: &EpochLog,
    view: &View,
) -> Result<(Cut, Duration), Missed> {
    let (mut taking, effects) = Taking::new(&view.record).map_err(Missed::Refused)?;
    // Before anything is frozen.
    let links = connect(original, log.cluster, &view.record).await.map_err(Missed::Failed)?;
    let asker = Asker { log, view, links, cut: CutId::new(original.random.bits()) };
    let began = Instant::now();
    let mut waiting: FuturesUnordered<_> =
        effects.into_iter().map(|effect| asker.carry_out(effect)).collect();
    while let Some(event) = waiting.next().await {
        for effect in taking.step(event) {
            match effect {
                Effect::Done(cut) => return Ok((cut, began.elapsed())),
                Effect::Failed(why) => {
                    drop(waiting);
                    asker.thaw_all().await;
                    return Err(Missed::Failed(why));
                }
                Effect::Freeze(_) | Effect::FindSeal(_) | Effect::ReadLog | Effect::Thaw(_) => {
                    waiting.push(asker.carry_out(effect));
                }
            }
        }
    }
    unreachable!("the machine ends with a final effect")
}

/// A connection to the host of each open session.
async fn connect(
    original: &Original,
    cluster: Cluster,
    record: &EpochRecord,
) -> Result<BTreeMap<SessionId, Arc<Link>>, String> {
    let opening = record.hosts.iter().map(|(name, host)| {
        let hello = Hello { cluster: Some(cluster.cluster), who: "a backup".to_owned() };
        let link = Link::open(&*original.network, &host.address, hello);
        link.map_err(move |error| format!("host {name}: {error}"))
    });
    let mut links = BTreeMap::new();
    for (link, host) in join_all(opening).await.into_iter().zip(record.hosts.values()) {
        let link = Arc::new(link?);
        links.extend(host.sessions.values().map(|&session| (session, Arc::clone(&link))));
    }
    Ok(links)
}

/// Carries out effects of one attempt.
struct Asker<'a> {
    log: &'a EpochLog,
    view: &'a View,
    links: BTreeMap<SessionId, Arc<Link>>,
    cut: CutId,
}

impl Asker<'_> {
    async fn carry_out(&self, effect: Effect) -> Event {
        let answered = timeout(ANSWER_WITHIN, self.ask(effect.clone()));
        match answered.await {
            Ok(Ok(event)) => event,
            Ok(Err(why)) => Event::NoAnswer(why),
            Err(_elapsed) => {
                Event::NoAnswer(format!("no answer within {ANSWER_WITHIN:?} to {effect:?}"))
            }
        }
    }

    async fn ask(&self, effect: Effect) -> Result<Event, String> {
        match effect {
            Effect::Freeze(session) => {
                let reply = self.send(session, PeerMessage::Freeze { session, cut: self.cut });
                let reply = reply.await?;
                let PeerReply::Frozen(progress) = reply else {
                    return Err(unexpected(session, &reply));
                };
                let at = FrozenAt {
                    position: progress.committed.next(),
                    low_water: progress.low_water,
                    checkpoint_at: progress.checkpoint_at,
                };
                Ok(Event::Frozen(session, at))
            }
            Effect::Thaw(session) => {
                let reply = self.send(session, PeerMessage::Thaw { session, cut: self.cut });
                let reply = reply.await?;
                let thawed = if let PeerReply::Noted = reply {
                    Thawed::WasFrozen
                } else if let PeerReply::Refused(_) = reply {
                    Thawed::HadGoneOn
                } else {
                    return Err(unexpected(session, &reply));
                };
                Ok(Event::Thawed(session, thawed))
            }
            Effect::FindSeal(session) => self.find_seal(session).await,
            Effect::ReadLog => {
                let newest = self.log.newest(Some(self.view.clone())).await;
                let newest = newest.map_err(|error| error.to_string())?;
                let newest = newest.ok_or("the epoch log is empty")?;
                Ok(Event::Newest(newest.record.epoch))
            }
            Effect::Done(_) | Effect::Failed(_) => unreachable!("final effects aren't carried out"),
        }
    }

    async fn send(&self, session: SessionId, message: PeerMessage) -> Result<PeerReply, String> {
        let link = self.links.get(&session);
        let link = link.ok_or_else(|| format!("session {session} is of no host"))?;
        link.message(message).await.map_err(|lost| lost.to_string())
    }

    async fn find_seal(&self, session: SessionId) -> Result<Event, String> {
        let EpochLog { store, cluster, patience, stop } = self.log;
        let store: &dyn Store = &**store;
        let segments = cluster.journal_segments();
        match journal_extent(store, session, segments, *patience, stop).await {
            Ok(extent) => match extent.end {
                JournalEnd::Sealed(position) => Ok(Event::Sealed(session, position)),
                JournalEnd::Live => Err(format!("session {session} is to be sealed and isn't yet")),
            },
            Err(no_end) => Err(format!("session {session}: {no_end:?}")),
        }
    }

    /// Nobody shall wait for a cut that isn't taken.
    async fn thaw_all(&self) {
        let thawing = self.links.keys().map(|&session| self.carry_out(Effect::Thaw(session)));
        join_all(thawing).map(drop).await;
    }
}

fn unexpected(session: SessionId, reply: &PeerReply) -> String {
    if let PeerReply::Refused(why) = reply {
        format!("session {session}: {why}")
    } else {
        format!("session {session}: unexpected answer: {reply:?}")
    }
}
