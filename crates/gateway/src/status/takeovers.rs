//! Takeovers, put together from the steps that each host has noted: the leader seals, the new owners recover.

use std::collections::{BTreeMap, BTreeSet};

use holocron::measures::{HostMeasures, RecoverStep, SealStep, TakeoverStep};
use holocron_protocol::{
    epoch::record::EpochRecord,
    ids::{HostName, SessionId},
};
use serde_json::{Value, json};

/// Takeovers that are shown; the oldest are left out.
const TAKEOVERS_MAX: usize = 32;
/// A step belongs to a takeover that began so long before at most. Clocks of hosts may differ.
const TOGETHER_MS: u64 = 60_000;

/// What the hosts tell.
pub(super) type Hosts = BTreeMap<HostName, Result<Box<HostMeasures>, String>>;

/// One takeover, or planned move.
#[derive(Debug, Default)]
struct Takeover {
    began_ms: u64,
    /// The sessions that had the slots.
    sessions: BTreeSet<SessionId>,
    /// The names of their hosts.
    from: BTreeSet<HostName>,
    /// Whether one of the sessions is over. Else all of them hand slots over.
    is_over: bool,
    epochs: BTreeSet<u64>,
    seals: Vec<Value>,
    /// The sessions that the leader has sealed, or is sealing.
    sealed: BTreeSet<SessionId>,
    recoveries: Vec<Value>,
}

/// The last takeovers, oldest first, by the newest record.
pub(super) fn of(hosts: &Hosts, record: &EpochRecord) -> Value {
    let told = hosts.iter().filter_map(|(name, answer)| Some((name, answer.as_ref().ok()?)));
    let mut steps: Vec<(&HostName, &TakeoverStep)> = told
        .flat_map(|(name, measures)| measures.takeovers.iter().map(move |step| (name, step)))
        .collect();
    steps.sort_by_key(|(name, step)| (began(step), (*name).clone()));
    let mut takeovers: Vec<Takeover> = Vec::new();
    for (name, step) in steps {
        match step {
            TakeoverStep::Seal(step) => add_seal(&mut takeovers, name, step),
            TakeoverStep::Recover(step) => add_recovery(&mut takeovers, name, step),
        }
    }
    let left_out = takeovers.len().saturating_sub(TAKEOVERS_MAX);
    let is_open = |session| record.lists_open(session);
    takeovers.into_iter().skip(left_out).map(|takeover| takeover.into_json(is_open)).collect()
}

const fn began(step: &TakeoverStep) -> u64 {
    match step {
        TakeoverStep::Seal(step) => step.began_ms,
        TakeoverStep::Recover(step) => step.began_ms,
    }
}

/// The takeover that a step belongs to; a new one if there is none.
fn joined(
    takeovers: &mut Vec<Takeover>,
    began_ms: u64,
    belongs: impl Fn(&Takeover) -> bool,
) -> &mut Takeover {
    let fits = |takeover: &Takeover| {
        began_ms.saturating_sub(takeover.began_ms) <= TOGETHER_MS && belongs(takeover)
    };
    let at = takeovers.iter().rposition(fits).unwrap_or_else(|| {
        takeovers.push(Takeover { began_ms, ..Takeover::default() });
        takeovers.len() - 1
    });
    &mut takeovers[at]
}

fn add_seal(takeovers: &mut Vec<Takeover>, by: &HostName, step: &SealStep) {
    let takeover =
        joined(takeovers, step.began_ms, |takeover| takeover.sessions.contains(&step.session));
    takeover.sessions.insert(step.session);
    takeover.from.extend(step.host.clone());
    takeover.is_over = true;
    takeover.sealed.insert(step.session);
    takeover.seals.push(json!({
        "by": by.as_str(),
        "host": step.host.as_ref().map(HostName::as_str),
        "began_ms": step.began_ms,
        "took_ms": step.took_ms,
    }));
}

fn add_recovery(takeovers: &mut Vec<Takeover>, by: &HostName, step: &RecoverStep) {
    let epoch = step.epoch.get();
    let over = |takeover: &Takeover| {
        let over = step.sources.iter().filter(|source| source.is_over);
        over.into_iter().any(|source| takeover.sessions.contains(&source.session))
    };
    let takeover = joined(takeovers, step.began_ms, |takeover| {
        takeover.epochs.contains(&epoch) || over(takeover)
    });
    for source in &step.sources {
        takeover.sessions.insert(source.session);
        takeover.from.extend(source.host.clone());
        takeover.is_over |= source.is_over;
    }
    takeover.epochs.insert(epoch);
    takeover.recoveries.push(json!({
        "by": by.as_str(),
        "epoch": epoch,
        "slots": step.slots,
        "left": step.left,
        "began_ms": step.began_ms,
        "took_ms": step.took_ms,
    }));
}

impl Takeover {
    /// `is_open`: whether the newest record lists a session as open.
    fn into_json(self, is_open: impl Fn(SessionId) -> bool) -> Value {
        let is_running = |step: &Value| step["took_ms"].is_null();
        let running = self.seals.iter().chain(&self.recoveries).any(is_running);
        // Sealed, and the epoch that gives its slots away isn't written yet.
        let waits = self.sealed.iter().any(|session| is_open(*session));
        json!({
            "began_ms": self.began_ms,
            "how": match (self.is_over, self.sessions.is_empty()) {
                (true, _) => "takeover",
                (false, false) => "handoff",
                (false, true) => "first",
            },
            "from": self.from.iter().map(HostName::as_str).collect::<Vec<_>>(),
            "epochs": self.epochs,
            "is_running": running || waits,
            "seals": self.seals,
            "recoveries": self.recoveries,
        })
    }
}

#[cfg(test)]
mod tests {
    use holocron::measures::Source;
    use holocron_protocol::ids::Epoch;

    use super::*;

    fn host(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    fn seal(session: u128, began_ms: u64) -> SealStep {
        let session = SessionId::new(session);
        SealStep { session, host: Some(host("dead")), began_ms, took_ms: Some(5) }
    }

    fn recovery(from: u128, is_over: bool, epoch: u64, began_ms: u64) -> RecoverStep {
        let source = Source { session: SessionId::new(from), host: Some(host("dead")), is_over };
        RecoverStep {
            session: SessionId::new(99),
            epoch: Epoch::new(epoch),
            slots: 4,
            left: 0,
            sources: vec![source],
            began_ms,
            took_ms: Some(7),
        }
    }

    #[test]
    fn a_seal_and_the_recoveries_after_it_are_one_takeover() {
        let mut takeovers = Vec::new();
        add_seal(&mut takeovers, &host("a"), &seal(1, 1_000));
        add_recovery(&mut takeovers, &host("a"), &recovery(1, true, 5, 1_010));
        add_recovery(&mut takeovers, &host("b"), &recovery(1, true, 5, 1_012));
        add_recovery(&mut takeovers, &host("b"), &recovery(2, false, 6, 1_500));
        add_seal(&mut takeovers, &host("a"), &seal(1, 1_000 + 2 * TOGETHER_MS));
        assert_eq!(takeovers.len(), 3, "{takeovers:?}");
        let told: Vec<Value> =
            takeovers.into_iter().map(|takeover| takeover.into_json(|_| false)).collect();
        assert_eq!(told[0]["how"], "takeover");
        assert_eq!(told[0]["from"], json!(["dead"]));
        assert_eq!(told[0]["recoveries"].as_array().unwrap().len(), 2);
        assert_eq!(told[0]["is_running"], false);
        assert_eq!(told[1]["how"], "handoff");
    }

    #[test]
    fn a_takeover_runs_until_an_epoch_says_that_the_session_is_over() {
        let mut takeovers = Vec::new();
        add_seal(&mut takeovers, &host("a"), &seal(1, 1_000));
        let told = takeovers.remove(0).into_json(|session| session == SessionId::new(1));
        assert_eq!(told["is_running"], true);
    }
}
