//! Unit tests of suspicion.

use alloc::string::ToString;

use super::*;
fn name(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

const H: SessionId = SessionId::new(1);
const G: SessionId = SessionId::new(2);

fn watch_over(sessions: &[(&str, SessionId)]) -> Event {
    Event::Watch(sessions.iter().map(|&(host, session)| (session, name(host))).collect())
}

/// A watch over `h` and `g` whose ticks are never late, and the current time.
struct Watched {
    watch: Watch,
    now: Time,
}

impl Watched {
    fn new() -> Self {
        let mut watch = Watch::new(SuspicionSettings::default(), Time::ZERO);
        watch.step(Time::ZERO, watch_over(&[("h", H), ("g", G)]));
        Self { watch, now: Time::ZERO }
    }

    fn hear(&mut self, event: Event) {
        assert_eq!(self.watch.step(self.now, event), Own::Running);
    }

    fn beat(&mut self, session: SessionId, committed: u64, work: Work) {
        let progress = Progress { committed: Position::new(committed), work };
        self.hear(Event::Heartbeat(session, progress));
    }

    /// Lets time pass, with ticks and heartbeats of `g`.
    fn pass(&mut self, millis: u64) {
        for _ in 0..millis / 50 {
            self.now += Duration::from_millis(50);
            self.hear(Event::Tick);
            self.beat(G, 1, Work::None);
        }
    }

    /// The same, with heartbeats of `h` too.
    fn pass_beating(&mut self, millis: u64, committed: u64, work: Work) {
        for _ in 0..millis / 50 {
            self.pass(50);
            self.beat(H, committed, work);
        }
    }

    fn suspicions(&self) -> Vec<Suspicion> {
        let suspects = self.watch.suspects(self.now);
        assert!(suspects.iter().all(|suspect| suspect.host == name("h")), "{suspects:?}");
        suspects.into_iter().map(|suspect| suspect.why).collect()
    }
}

#[test]
fn a_host_is_silent_after_four_missed_heartbeats() {
    let mut watched = Watched::new();
    watched.beat(H, 1, Work::None);
    watched.pass(1000);
    assert_eq!(watched.suspicions(), []);
    watched.pass(50);
    assert_eq!(watched.suspicions(), [Suspicion::Silent(Duration::from_millis(1050))]);
    watched.beat(H, 1, Work::None);
    assert_eq!(watched.suspicions(), [], "heard again");
}

#[test]
fn a_broken_connection_and_refused_reconnects_are_enough() {
    let mut watched = Watched::new();
    watched.beat(H, 1, Work::None);
    watched.hear(Event::Broken(H));
    watched.hear(Event::Refused(H));
    assert_eq!(watched.suspicions(), []);
    watched.hear(Event::Refused(H));
    assert_eq!(watched.suspicions(), [Suspicion::Refused]);
    watched.hear(Event::Connected(H));
    assert_eq!(watched.suspicions(), [], "it is connected again");
}

#[test]
fn a_host_that_commits_nothing_while_work_is_pending_is_suspected() {
    let mut watched = Watched::new();
    watched.pass_beating(20_000, 5, Work::None);
    assert_eq!(watched.suspicions(), [], "idle");
    watched.pass_beating(10_000, 5, Work::Waiting);
    assert_eq!(watched.suspicions(), [], "new work counts as pending from now on");
    watched.pass_beating(100, 5, Work::Waiting);
    assert!(matches!(watched.suspicions()[..], [Suspicion::Standstill(_)]));
    watched.pass_beating(50, 6, Work::Waiting);
    assert_eq!(watched.suspicions(), [], "it committed");
}

#[test]
fn no_host_is_suspected_during_a_store_outage() {
    let mut watched = Watched::new();
    watched.pass_beating(5_000, 5, Work::Waiting);
    watched.hear(Event::StoreFailing);
    watched.pass_beating(60_000, 5, Work::Waiting);
    assert_eq!(watched.suspicions(), []);
    watched.hear(Event::StoreWorking);
    assert_eq!(watched.suspicions(), [], "a standstill counts from now on");
    watched.pass_beating(10_000, 5, Work::Waiting);
    watched.hear(Event::StoreWorking);
    watched.pass_beating(100, 5, Work::Waiting);
    assert!(matches!(watched.suspicions()[..], [Suspicion::Standstill(_)]));
}

#[test]
fn a_watch_that_was_paused_suspects_no_host() {
    let mut watched = Watched::new();
    watched.beat(H, 1, Work::Waiting);
    watched.hear(Event::HandoffBegan(H, Epoch::new(3)));
    watched.hear(Event::Broken(H));
    watched.hear(Event::Refused(H));
    watched.now += Duration::from_secs(3600);
    let own = watched.watch.step(watched.now, Event::Tick);
    assert_eq!(own, Own::Paused);
    watched.hear(Event::Refused(H));
    assert_eq!(watched.watch.suspects(watched.now), []);
    watched.pass(1100);
    assert!(matches!(watched.suspicions()[..], [Suspicion::Silent(_)]), "it is still silent");
}

#[test]
fn a_hint_counts_only_if_there_is_no_connection() {
    let mut watched = Watched::new();
    watched.hear(Event::Hinted(H));
    watched.pass(29_000);
    assert_eq!(watched.suspicions(), []);
    watched.pass(2_000);
    assert!(matches!(watched.suspicions()[..], [Suspicion::Silent(_)]));
    watched.beat(H, 1, Work::None);
    watched.hear(Event::Hinted(H));
    watched.pass(1_100);
    assert!(
        matches!(watched.suspicions()[..], [Suspicion::Silent(_)]),
        "hints don't count with a connection"
    );
}

#[test]
fn a_host_that_does_not_release_its_slots_is_suspected() {
    let mut watched = Watched::new();
    watched.hear(Event::HandoffBegan(H, Epoch::new(3)));
    watched.pass_beating(20_000, 1, Work::None);
    watched.hear(Event::HandoffBegan(H, Epoch::new(4)));
    watched.hear(Event::HandoffDone(H, Epoch::new(3)));
    watched.pass_beating(20_000, 1, Work::None);
    assert_eq!(watched.suspicions(), [], "the handoff of e4 began later");
    watched.pass_beating(11_000, 1, Work::None);
    assert!(
        matches!(watched.suspicions()[..], [Suspicion::Handoff(epoch, _)] if epoch == Epoch::new(4))
    );
}

#[test]
fn a_session_no_longer_watched_is_forgotten_and_unknown_ones_are_ignored() {
    let mut watched = Watched::new();
    watched.pass(2000);
    assert_eq!(watched.suspicions().len(), 1);
    watched.hear(watch_over(&[("g", G)]));
    assert_eq!(watched.suspicions(), []);
    watched.beat(SessionId::new(99), 1, Work::None);
    watched.hear(watch_over(&[("g", G), ("h", H)]));
    assert_eq!(watched.suspicions(), [], "it is watched anew");
}

#[test]
fn a_replacement_is_not_suspected_for_the_session_before_it() {
    const NEXT: SessionId = SessionId::new(3);
    let mut watched = Watched::new();
    watched.beat(H, 1, Work::Waiting);
    watched.hear(Event::HandoffBegan(H, Epoch::new(3)));
    watched.hear(Event::Broken(H));
    watched.hear(Event::Refused(H));
    watched.hear(Event::Refused(H));
    watched.pass(30_500);
    assert_eq!(watched.suspicions(), [Suspicion::Refused]);
    watched.hear(watch_over(&[("h", NEXT), ("g", G)]));
    assert_eq!(watched.suspicions(), []);
    // Late events of the session before.
    watched.hear(Event::Refused(H));
    watched.hear(Event::Refused(H));
    watched.pass_beating(900, 1, Work::Waiting);
    assert_eq!(watched.suspicions(), [], "it has no handoff of the other session");
    watched.hear(Event::Hinted(H));
    watched.pass_beating(200, 1, Work::Waiting);
    assert_eq!(
        watched.suspicions(),
        [Suspicion::Silent(Duration::from_millis(1100))],
        "its silence is detected in the usual time, despite a hint of the other session"
    );
    assert!(watched.watch.suspects(watched.now).iter().all(|it| it.session == NEXT));
}

#[test]
fn a_suspicion_displays_as_a_reason() {
    let say = |why| Suspect { host: name("h"), session: H, why }.to_string();
    assert_eq!(say(Suspicion::Silent(Duration::from_millis(1250))), "h has been silent for 1.2 s");
    assert_eq!(say(Suspicion::Refused), "h is gone: reconnects are refused");
    let handoff = Suspicion::Handoff(Epoch::new(7), Duration::from_secs(30));
    assert_eq!(say(handoff), "h has not released slots that e7 gave away for 30.0 s");
}
