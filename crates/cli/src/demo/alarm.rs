//! A false alarm before the failure: a host that only paused for a moment is taken for dead.
//!
//! Suspicion may be wrong, so it must be cheap: what the host acknowledged stays, what it was doing is done by others,
//! and it comes back in a new session. A stubborn caller's commands wait in it when it wakes, so this also shows whether
//! a seal really ends what a host acknowledges.

use core::time::Duration;

use holocron::{AskError, PeerMessage, PeerReply, ask, net::Tcp};
use holocron_protocol::{
    epoch::record::EpochRecord,
    ids::{DomainId, HostName, SessionId},
};
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};

use super::{VictimKind, progress::Progress, stage::Stage, strike, stubborn::Stubborn};
use crate::exit::Fail;

/// How long the host may take to be in the cluster again.
const REJOINED_WITHIN: Duration = Duration::from_secs(60);
/// How long the leader may take to answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks at the client's view.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A false alarm that was raised.
#[derive(Debug)]
pub(super) struct Alarm {
    /// From sealing the host to its being in the cluster again, in milliseconds; none if it wasn't sealed.
    pub(super) back_ms: Option<f64>,
    /// Who called the host all the time.
    pub(super) stubborn: Stubborn,
}

/// Seals a host that neither leads nor will be the victim, if there is one, while it pauses.
pub(super) async fn raise(
    stage: &mut Stage,
    victim: VictimKind,
    run: &str,
    progress: &Progress,
) -> Result<Option<Alarm>, Fail> {
    let view = stage.view().await?;
    let record = &view.record;
    let victim = strike::choose(stage, victim).await?;
    // One without slots, which is waiting for them after an alarm of the machine's own making, has nothing to show.
    let owns = |host: &HostName| !stage.load.places_of(host, record).is_empty();
    let mut names = stage.processes.iter().map(|process| &process.name);
    let spare = names.rfind(|name| **name != record.leader.host && **name != victim && owns(name));
    let Some(host) = spare.cloned() else { return Ok(None) };
    let Some(session) = session_in(record, &host) else { return Ok(None) };
    let stubborn = Stubborn::start(&stage.client, &format!("{run}-alarm"), &host, record).await?;
    stage.process(&host)?.signal(Signal::STOP)?;
    let at = Instant::now();
    let sealed = seal(&record.leader.address, &host).await?;
    if sealed.is_ok() {
        // Others must have taken over before the host wakes: what it acknowledges from then on is lost.
        until(stage, &host, |now| now != Some(session)).await?;
        stubborn.queue().await;
    }
    stage.process(&host)?.signal(Signal::CONT)?;
    let mut back_ms = None;
    match sealed {
        Ok(()) => {
            rejoined(stage, &host, session).await?;
            let ms = at.elapsed().as_secs_f64() * 1_000.0;
            progress.say(&format!("{host} was sealed by mistake, and is back after {ms:.0} ms"));
            back_ms = Some(ms);
        }
        Err(why) => progress.say(&format!("{host} is not sealed by mistake: {why}")),
    }
    Ok(Some(Alarm { back_ms, stubborn }))
}

/// Has a host sealed; or says why it wasn't, which is no failure on a machine so busy that others were quicker.
async fn seal(leader: &str, host: &HostName) -> Result<Result<(), String>, Fail> {
    match ask(&Tcp, leader, PeerMessage::Seal(host.clone()), ANSWERED_WITHIN).await {
        Ok(PeerReply::Noted) => Ok(Ok(())),
        Ok(PeerReply::Refused(why)) => Ok(Err(why)),
        Ok(PeerReply::NotLeader { .. }) => Ok(Err("the leader changes".to_owned())),
        Err(error @ AskError::NotAsked(_)) => Ok(Err(error.to_string())),
        // It may be sealed or not, so what it acknowledges from now on can't be judged.
        Err(error @ AskError::Unanswered { .. }) => Err(Fail::failed(error.to_string())),
        Ok(other @ (PeerReply::View(_) | PeerReply::Health(_) | PeerReply::Status(_))) => {
            Err(Fail::failed(format!("{leader}: an unexpected answer: {other:?}")))
        }
    }
}

/// Waits until a host is in the cluster with another session than this.
pub(super) async fn rejoined(
    stage: &Stage,
    host: &HostName,
    before: SessionId,
) -> Result<(), Fail> {
    until(stage, host, |now| now.is_some_and(|now| now != before)).await
}

/// Waits until the client's view has a host's session as it should be.
async fn until(
    stage: &Stage,
    host: &HostName,
    is_so: impl Fn(Option<SessionId>) -> bool,
) -> Result<(), Fail> {
    let looks = async {
        while !stage.client.view().is_some_and(|view| is_so(session_in(&view.record, host))) {
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(REJOINED_WITHIN, looks).await.map_err(|_elapsed| {
        Fail::failed(format!("{host} is not where it should be after {REJOINED_WITHIN:?}"))
    })
}

fn session_in(record: &EpochRecord, host: &HostName) -> Option<SessionId> {
    record.hosts.get(host)?.sessions.get(&DomainId::HOME).copied()
}
