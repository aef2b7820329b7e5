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
    cluster::{Cluster, serve_all},
    progress::Progress,
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
pub(super) struct FailedHost {
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
pub(super) async fn choose(cluster: &Cluster, kind: VictimKind) -> Result<HostName, Fail> {
    let view = cluster.view().await?;
    let leader = &view.record.leader.host;
    if kind == VictimKind::Leader {
        return Ok(leader.clone());
    }
    let owned = |name: &HostName| cluster.load.places_of(name, &view.record).len();
    let others =
        cluster.processes.iter().map(|process| &process.name).filter(|name| *name != leader);
    let largest = others.max_by_key(|name| owned(name));
    largest.cloned().ok_or_else(|| Fail::failed("there is no host except the leader"))
}

/// Waits until the conditions hold, then makes the victim fail.
pub(super) async fn make_fail(
    cluster: &mut Cluster,
    victim: &HostName,
    kill: KillWith,
) -> Result<FailedHost, Fail> {
    let give_up = Instant::now() + CONDITIONS_WITHIN;
    loop {
        match try_to_make_fail(cluster, victim, kill).await? {
            Ok(failed_host) => return Ok(failed_host),
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
async fn try_to_make_fail(
    cluster: &mut Cluster,
    victim: &HostName,
    kill: KillWith,
) -> Result<Result<FailedHost, String>, Fail> {
    let view = cluster.view().await?;
    let Some(session) =
        view.record.hosts.get(victim).and_then(|host| host.sessions.get(&DomainId::HOME)).copied()
    else {
        return Ok(Err(format!("{victim} is not in the cluster")));
    };
    let places = cluster.load.places_of(victim, &view.record);
    if places.len() * SHARE_MIN < cluster.load.vnodes() {
        return Ok(Err(format!(
            "{victim} owns {} of {} vnodes",
            places.len(),
            cluster.load.vnodes()
        )));
    }
    let statuses = cluster.statuses(None).await;
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
    let burst = cluster.load.sweep(&places[..places.len().min(BURST_LEN)]);
    let mut in_flight = 0;
    for _ in 0..LOOKS_MAX {
        in_flight = cluster.load.in_flight(&places);
        if in_flight >= IN_FLIGHT_MIN {
            break;
        }
        yield_now().await;
    }
    if in_flight < IN_FLIGHT_MIN {
        burst.ended().await;
        return Ok(Err(format!("{victim} has {in_flight} commands in flight")));
    }
    if cluster.view().await?.record.epoch > view.record.epoch {
        burst.ended().await;
        return Ok(Err("slots are being moved".to_owned()));
    }
    let at = Instant::now();
    cluster.process(victim)?.signal(match kill {
        KillWith::Sigkill => Signal::KILL,
        KillWith::Sigstop => Signal::STOP,
        KillWith::Drain | KillWith::Rolling => Signal::TERM,
    })?;
    cluster.load.orphan(&places, Instant::now());
    Ok(Ok(FailedHost {
        victim: victim.clone(),
        led,
        session,
        places,
        in_flight,
        packs,
        requests,
        at,
    }))
}

/// Whether every slot is served by the owner in the record.
fn is_settled(statuses: &[HostStatus], record: &EpochRecord) -> bool {
    statuses.iter().all(|status| status.epoch == record.epoch) && serve_all(statuses, record)
}

/// Measures the takeover, with a command to each of the victim's vnodes.
pub(super) async fn watch(
    cluster: &Cluster,
    failed_host: &FailedHost,
    progress: &Progress,
) -> Result<TakenOver, Fail> {
    let since = |then: Instant| (then - failed_host.at).as_secs_f64() * 1_000.0;
    let sweep = cluster.load.sweep(&failed_host.places);
    let noticed = async {
        loop {
            let view = cluster.client.view();
            if view.is_some_and(|view| !view.record.is_open(failed_host.session)) {
                return Instant::now();
            }
            sleep(LOOK_EVERY).await;
        }
    };
    let first_served = async {
        loop {
            cluster.load.more_served().await;
            if let Some(first) = cluster.load.served(&failed_host.places).first {
                let others = cluster.statuses(Some(&failed_host.victim)).await;
                let requests: u64 = others.iter().map(|other| other.requests).sum();
                return (first, requests.saturating_sub(failed_host.requests));
            }
        }
    };
    let all_served = async {
        sweep.ended().await;
        loop {
            let served = cluster.load.served(&failed_host.places);
            match served.last {
                Some(last) if served.vnodes == failed_host.places.len() => return last,
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
            vnodes: failed_host.places.len(),
        }
    };
    let taken = timeout(TAKEN_OVER_WITHIN, taken).await.map_err(|_elapsed| {
        let served = cluster.load.served(&failed_host.places).vnodes;
        Fail::failed(format!(
            "{served} of the victim's {} vnodes are served again after {TAKEN_OVER_WITHIN:?}{}",
            failed_host.places.len(),
            cluster
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
pub(super) async fn continue_victim(
    cluster: &mut Cluster,
    failed_host: &FailedHost,
) -> Result<f64, Fail> {
    let at = Instant::now();
    cluster.process(&failed_host.victim)?.signal(Signal::CONT)?;
    rejoined(cluster, &failed_host.victim, failed_host.session).await?;
    Ok(at.elapsed().as_secs_f64() * 1_000.0)
}
