//! The failure in the middle of the demo, and the takeover.

use core::time::Duration;

use holocron::HostStatus;
use holocron_protocol::{
    epoch::record::EpochRecord,
    ids::{DomainId, HostName, SessionId},
};
use rustix::process::Signal;
use tokio::{
    task::yield_now,
    time::{Instant, sleep, timeout},
};

use super::{
    KillWith, VictimKind,
    alarm::rejoined,
    progress::Progress,
    stage::{Stage, serve_all},
};
use crate::exit::Fail;

/// Commands the victim has in flight when it fails, at least.
const IN_FLIGHT_MIN: u64 = 100;
/// Packs of the victim when it fails, at least.
const PACKS_MIN: u32 = 2;
/// The victim owns at least one vnode in this many.
const SHARE_MIN: usize = 4;
/// Commands sent to the victim's vnodes at once just before it fails.
const BURST_LEN: usize = 400;
/// Looks for enough commands in flight during one burst.
const LOOKS_MAX: u32 = 2_000;
/// How long to wait until all these conditions hold.
const CONDITIONS_WITHIN: Duration = Duration::from_secs(30);
/// How long others may take to notice the failure, and to serve all of the victim's vnodes.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(30);
/// Time between two looks at the client's view.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The victim at the moment of its failure.
#[derive(Debug)]
pub(super) struct Struck {
    pub(super) victim: HostName,
    pub(super) led: bool,
    /// The session that the failure ended.
    session: SessionId,
    /// The places of its vnodes.
    pub(super) places: Vec<usize>,
    pub(super) in_flight: u64,
    pub(super) packs: u32,
    /// Store requests of the other hosts until then.
    requests: u64,
    at: Instant,
}

/// The takeover, in milliseconds since the failure.
#[derive(Debug)]
pub(super) struct TakenOver {
    pub(super) detect_ms: f64,
    pub(super) first_served_ms: f64,
    pub(super) last_served_ms: f64,
    pub(super) requests: u64,
    pub(super) vnodes: usize,
}

/// The victim, in the present state: the leader, or the host that owns most vnodes among the others.
pub(super) async fn choose(stage: &Stage, kind: VictimKind) -> Result<HostName, Fail> {
    let view = stage.view().await?;
    let leader = &view.record.leader.host;
    if kind == VictimKind::Leader {
        return Ok(leader.clone());
    }
    let owned = |name: &HostName| stage.load.places_of(name, &view.record).len();
    let others = stage.processes.iter().map(|process| &process.name).filter(|name| *name != leader);
    let largest = others.max_by_key(|name| owned(name));
    largest.cloned().ok_or_else(|| Fail::failed("there is no host except the leader"))
}

/// Waits until the conditions hold, then makes the victim fail.
pub(super) async fn strike(
    stage: &mut Stage,
    victim: &HostName,
    kill: KillWith,
) -> Result<Struck, Fail> {
    let give_up = Instant::now() + CONDITIONS_WITHIN;
    loop {
        match try_to_strike(stage, victim, kill).await? {
            Ok(struck) => return Ok(struck),
            Err(missing) if Instant::now() > give_up => {
                return Err(Fail::failed(format!(
                    "the conditions for the failure were not met within {CONDITIONS_WITHIN:?}: {missing}"
                )));
            }
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Makes the victim fail if the conditions hold; otherwise says which doesn't.
async fn try_to_strike(
    stage: &mut Stage,
    victim: &HostName,
    kill: KillWith,
) -> Result<Result<Struck, String>, Fail> {
    let view = stage.view().await?;
    let Some(session) =
        view.record.hosts.get(victim).and_then(|host| host.sessions.get(&DomainId::HOME)).copied()
    else {
        return Ok(Err(format!("{victim} is not in the cluster")));
    };
    let places = stage.load.places_of(victim, &view.record);
    if places.len() * SHARE_MIN < stage.load.vnodes() {
        return Ok(Err(format!(
            "{victim} owns {} of {} vnodes",
            places.len(),
            stage.load.vnodes()
        )));
    }
    let statuses = stage.statuses(None).await;
    let Some(status) = statuses.iter().find(|status| status.name == *victim) else {
        return Ok(Err(format!("{victim} does not answer")));
    };
    // A slot that is moving away would be served elsewhere soon, with or without the failure.
    if !is_settled(&statuses, &view.record) {
        return Ok(Err("slots are being moved".to_owned()));
    }
    let (packs, led) = (status.packs, view.record.leader.host == *victim);
    if packs < PACKS_MIN {
        return Ok(Err(format!("{victim} has {packs} packs")));
    }
    let requests =
        statuses.iter().filter(|other| other.name != *victim).map(|other| other.requests).sum();
    let burst = stage.load.sweep(&places[..places.len().min(BURST_LEN)]);
    let mut in_flight = 0;
    for _ in 0..LOOKS_MAX {
        in_flight = stage.load.in_flight(&places);
        if in_flight >= IN_FLIGHT_MIN {
            break;
        }
        yield_now().await;
    }
    if in_flight < IN_FLIGHT_MIN {
        burst.ended().await;
        return Ok(Err(format!("{victim} has {in_flight} commands in flight")));
    }
    if stage.view().await?.record.epoch > view.record.epoch {
        burst.ended().await;
        return Ok(Err("slots are being moved".to_owned()));
    }
    let at = Instant::now();
    stage.process(victim)?.signal(match kill {
        KillWith::Sigkill => Signal::KILL,
        KillWith::Sigstop => Signal::STOP,
    })?;
    stage.load.orphan(&places, Instant::now());
    Ok(Ok(Struck { victim: victim.clone(), led, session, places, in_flight, packs, requests, at }))
}

/// Whether every slot is served by the owner in the record.
fn is_settled(statuses: &[HostStatus], record: &EpochRecord) -> bool {
    statuses.iter().all(|status| status.epoch == record.epoch) && serve_all(statuses, record)
}

/// Measures the takeover, with a command to each of the victim's vnodes.
pub(super) async fn watch(
    stage: &Stage,
    struck: &Struck,
    progress: &Progress,
) -> Result<TakenOver, Fail> {
    let since = |then: Instant| (then - struck.at).as_secs_f64() * 1_000.0;
    let sweep = stage.load.sweep(&struck.places);
    let noticed = async {
        loop {
            let view = stage.client.view();
            if view.is_some_and(|view| !view.record.is_open(struck.session)) {
                return Instant::now();
            }
            sleep(LOOK_EVERY).await;
        }
    };
    let first_served = async {
        loop {
            stage.load.more_served().await;
            if let Some(first) = stage.load.served(&struck.places).first {
                let others = stage.statuses(Some(&struck.victim)).await;
                let requests: u64 = others.iter().map(|other| other.requests).sum();
                return (first, requests.saturating_sub(struck.requests));
            }
        }
    };
    let all_served = async {
        sweep.ended().await;
        loop {
            let served = stage.load.served(&struck.places);
            match served.last {
                Some(last) if served.vnodes == struck.places.len() => return last,
                // The load will reach the others.
                Some(_) | None => sleep(LOOK_EVERY).await,
            }
        }
    };
    let taken = async {
        let (noticed, (first, requests), last) = tokio::join!(noticed, first_served, all_served);
        TakenOver {
            detect_ms: since(noticed),
            first_served_ms: since(first),
            last_served_ms: since(last),
            requests,
            vnodes: struck.places.len(),
        }
    };
    let taken = timeout(TAKEN_OVER_WITHIN, taken).await.map_err(|_elapsed| {
        let served = stage.load.served(&struck.places).vnodes;
        Fail::failed(format!(
            "{served} of the victim's {} vnodes are served again after {TAKEN_OVER_WITHIN:?}{}",
            struck.places.len(),
            stage
                .load
                .tally()
                .newest_failure()
                .map(|failure| format!("; {failure}"))
                .unwrap_or_default(),
        ))
    })?;
    progress.say(&format!(
        "noticed after {:.0} ms, served again after {:.0} ms, all {} vnodes after {:.0} ms",
        taken.detect_ms, taken.first_served_ms, taken.vnodes, taken.last_served_ms
    ));
    Ok(taken)
}

/// Continues a stopped victim and waits until it has rejoined with a new session. Returns the milliseconds it took.
pub(super) async fn wake(stage: &mut Stage, struck: &Struck) -> Result<f64, Fail> {
    let at = Instant::now();
    stage.process(&struck.victim)?.signal(Signal::CONT)?;
    rejoined(stage, &struck.victim, struck.session).await?;
    Ok(at.elapsed().as_secs_f64() * 1_000.0)
}
