//! A false alarm before the failure: a host that only pauses is sealed.
//!
//! A suspicion may be wrong, so it must be cheap: what the host acknowledged stays, other hosts take over its slots,
//! and it rejoins with a new session. When the host continues, commands of a pinned caller wait in it; so this also
//! checks that a sealed host acknowledges nothing.

use core::time::Duration;

use holocron::{AskError, PeerMessage, PeerReply, ask, net::Tcp};
use holocron_protocol::{
    epoch::record::EpochRecord,
    ids::{DomainId, HostName, SessionId},
};
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};

use super::{VictimKind, cluster::Cluster, failure, pinned::PinnedCaller, progress::Progress};
use crate::exit::Fail;

/// How long the host may take to rejoin.
const REJOINED_WITHIN: Duration = Duration::from_secs(60);
/// How long the leader may take to answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// Time between two looks at the client's view.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A false alarm that was raised.
#[derive(Debug)]
pub(super) struct Alarm {
    /// Milliseconds from the seal to the rejoin; `None` if the host wasn't sealed.
    pub(super) back_ms: Option<f64>,
    /// The caller that stayed connected to the host.
    pub(super) caller: PinnedCaller,
}

/// Seals a paused host that neither leads nor will be the victim, if there is one.
pub(super) async fn raise(
    cluster: &mut Cluster,
    victim: VictimKind,
    run: &str,
    progress: &Progress,
) -> Result<Option<Alarm>, Fail> {
    let view = cluster.view().await?;
    let record = &view.record;
    let victim = failure::choose(cluster, victim).await?;
    // A host without slots, for example after a real false suspicion on a busy machine, would show nothing.
    let owns = |host: &HostName| !cluster.load.places_of(host, record).is_empty();
    let mut names = cluster.processes.iter().map(|process| &process.name);
    let spare = names.rfind(|name| **name != record.leader.host && **name != victim && owns(name));
    let Some(host) = spare.cloned() else { return Ok(None) };
    let Some(session) = session_in(record, &host) else { return Ok(None) };
    let caller =
        PinnedCaller::start(&cluster.client, &format!("{run}-alarm"), &host, record).await?;
    cluster.process(&host)?.signal(Signal::STOP)?;
    let at = Instant::now();
    let sealed = seal(&record.leader.address, &host).await?;
    if sealed.is_ok() {
        // The takeover must be complete before the host continues: whatever it acknowledges then would be lost.
        until(cluster, &host, |now| now != Some(session)).await?;
        caller.queue().await;
    }
    cluster.process(&host)?.signal(Signal::CONT)?;
    let mut back_ms = None;
    match sealed {
        Ok(()) => {
            rejoined(cluster, &host, session).await?;
            let ms = at.elapsed().as_secs_f64() * 1_000.0;
            progress.say(&format!("{host} was sealed by mistake and rejoined after {ms:.0} ms"));
            back_ms = Some(ms);
        }
        Err(why) => progress.say(&format!("{host} was not sealed by mistake: {why}")),
    }
    Ok(Some(Alarm { back_ms, caller }))
}

/// Asks the leader to seal a host. The inner error says why it wasn't sealed; on a busy machine that is no failure.
async fn seal(leader: &str, host: &HostName) -> Result<Result<(), String>, Fail> {
    match ask(&Tcp, leader, PeerMessage::Seal(host.clone()), ANSWERED_WITHIN).await {
        Ok(PeerReply::Noted) => Ok(Ok(())),
        Ok(PeerReply::Refused(why)) => Ok(Err(why)),
        Ok(PeerReply::NotLeader { .. }) => Ok(Err("the leader changes".to_owned())),
        Err(error @ AskError::NotAsked(_)) => Ok(Err(error.to_string())),
        // The host may be sealed or not, so its later acknowledgements can't be checked.
        Err(error @ AskError::Unanswered { .. }) => Err(Fail::failed(error.to_string())),
        Ok(
            other @ (PeerReply::View(_)
            | PeerReply::Health(_)
            | PeerReply::Status(_)
            | PeerReply::Vnode(_)
            | PeerReply::Listed(_)
            | PeerReply::NotServed
            | PeerReply::Frozen(_)
            | PeerReply::Measures(_)
            | PeerReply::Sealed(_)
            | PeerReply::Kinds(_)),
        ) => Err(Fail::failed(format!("{leader}: unexpected answer: {other:?}"))),
    }
}

/// Waits until a host is in the cluster with a session other than `before`.
pub(super) async fn rejoined(
    cluster: &Cluster,
    host: &HostName,
    before: SessionId,
) -> Result<(), Fail> {
    until(cluster, host, |now| now.is_some_and(|now| now != before)).await
}

/// Waits until `is_so` holds for the host's session in the client's view.
async fn until(
    cluster: &Cluster,
    host: &HostName,
    is_so: impl Fn(Option<SessionId>) -> bool,
) -> Result<(), Fail> {
    let looks = async {
        while !cluster.client.view().is_some_and(|view| is_so(session_in(&view.record, host))) {
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(REJOINED_WITHIN, looks).await.map_err(|_elapsed| {
        Fail::failed(format!(
            "{host} was not replaced, or did not rejoin, within {REJOINED_WITHIN:?}"
        ))
    })
}

fn session_in(record: &EpochRecord, host: &HostName) -> Option<SessionId> {
    record.hosts.get(host)?.sessions.get(&DomainId::HOME).copied()
}
