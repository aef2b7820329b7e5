//! A false alarm before the failure: a host that is well is sealed all the same.
//!
//! Suspicion may be wrong, so it must be cheap: what the host acknowledged stays, what it was doing is done by others,
//! and it comes back in a new session. Its callers are still connected to it, so this also shows whether a seal really
//! ends what it acknowledges.

use core::time::Duration;

use holocron::{PeerMessage, PeerReply, ask, net::Tcp};
use holocron_protocol::ids::{DomainId, HostName, SessionId};
use tokio::time::{Instant, sleep, timeout};

use super::{VictimKind, progress::Progress, stage::Stage, strike};
use crate::exit::Fail;

/// How long the host may take to be in the cluster again.
const REJOINED_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at the client's view.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Seals a host that neither leads nor will be the victim, if there is one. How long it took to come back, in
/// milliseconds.
pub(super) async fn raise(
    stage: &Stage,
    victim: VictimKind,
    progress: &Progress,
) -> Result<Option<f64>, Fail> {
    let view = stage.view().await?;
    let (leader, victim) = (&view.record.leader, strike::choose(stage, victim).await?);
    let mut names = stage.processes.iter().map(|process| &process.name);
    let Some(host) = names.rfind(|name| **name != leader.host && **name != victim) else {
        return Ok(None);
    };
    let Some(session) = session_of(stage, host) else { return Ok(None) };
    let sweep = stage.load.sweep(&stage.load.places_of(host, &view.record));
    let at = Instant::now();
    match ask(&Tcp, &leader.address, PeerMessage::Seal(host.clone())).await.map_err(Fail::failed)? {
        PeerReply::Noted => {}
        // On a machine that is too busy the alarm has been raised without us.
        PeerReply::Refused(why) => {
            progress.say(&format!("{host} is not sealed by mistake: {why}"));
            return Ok(None);
        }
        PeerReply::NotLeader { .. } => {
            progress.say(&format!("{host} is not sealed by mistake: the leader changes"));
            return Ok(None);
        }
        other @ (PeerReply::View(_) | PeerReply::Health(_) | PeerReply::Status(_)) => {
            return Err(Fail::failed(format!("{}: an unexpected answer: {other:?}", leader.host)));
        }
    }
    rejoined(stage, host, session).await?;
    let ms = at.elapsed().as_secs_f64() * 1_000.0;
    sweep.ended().await;
    progress.say(&format!("{host} was sealed by mistake, and is back after {ms:.0} ms"));
    Ok(Some(ms))
}

/// Waits until a host is in the cluster with another session than this.
pub(super) async fn rejoined(
    stage: &Stage,
    host: &HostName,
    before: SessionId,
) -> Result<(), Fail> {
    let rejoined = async {
        while session_of(stage, host).is_none_or(|session| session == before) {
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(REJOINED_WITHIN, rejoined)
        .await
        .map_err(|_elapsed| Fail::failed(format!("{host} is not back after {REJOINED_WITHIN:?}")))
}

fn session_of(stage: &Stage, host: &HostName) -> Option<SessionId> {
    let view = stage.client.view()?;
    view.record.hosts.get(host)?.sessions.get(&DomainId::HOME).copied()
}
