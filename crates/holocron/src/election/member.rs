//! The task of a member: carries out [`Candidate`].
//!
//! It never waits for the store: each request runs in a task of its own, and its result comes back as an input. So a
//! slow request delays nothing else.

use core::{marker::PhantomData, time::Duration};
use std::{panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt as _;
use holocron_protocol::{
    control::{
        candidate::{Candidate, CandidateSettings, Effect, Event, Standing},
        election::{self, CreateOutcome, MarkOutcome, ReadOutcome},
        hints::LeaderHint,
        loss::{Doubt, Look, StoreState},
    },
    epoch::log::Retention,
    format::segment::Trimmed,
    ids::{Epoch, HostName, SessionId},
    time::Time,
};
use holocron_store::Counting;
use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Election,
    look::{ElectionLog, ElectionView},
    role::{Leader, Over, Role, Snapshot},
};
use crate::{
    api::{clock::Clock, random::Random},
    store_io::{
        epoch_log::LogError, log_reader::LogEntry as _, log_trim::LogTrim,
        store_watch::WatchedStore,
    },
};

mod requests;

/// Inputs that may wait: one for each kind of request in flight, and the user's.
const INPUTS_MAX: usize = 16;
/// Ticks per step of the candidate.
const TICKS_PER_STEP: u32 = 4;
/// The store was emptied, or an older copy of it was restored.
const LOST: &str = "the store is lost: the newest record of this election is missing or another one. The bucket or \
                    directory was emptied, replaced, or restored from an older copy";

/// What a member is made of.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) election: HostName,
    pub(super) member: HostName,
    /// This run of the member.
    pub(super) session: SessionId,
    pub(super) address: String,
    pub(super) settings: CandidateSettings,
    pub(super) history: Retention,
    pub(super) log: ElectionLog,
    pub(super) watched: Arc<WatchedStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Random,
}

/// What the task is told.
#[derive(Debug)]
pub(super) enum Input {
    /// The log was read, and the store was looked at beside it.
    Read(Result<(Look, Option<ElectionView>), LogError>),
    /// The create of a record has ended.
    Created(ElectionView, CreateOutcome),
    /// No record was created, because of what a look at the store showed.
    Withdrawn(Result<Look, LogError>),
    /// Whether a mark exists.
    Marked(MarkOutcome),
    /// The leader's hint.
    Hint(Option<LeaderHint>),
    /// The user asks to resign.
    Resign,
}

struct Member {
    parts: Arc<Parts>,
    candidate: Candidate,
    /// The newest record that it knows.
    view: Option<ElectionView>,
    /// The record that it last tried to create.
    created: Option<ElectionView>,
    counter: u64,
    /// How far the log was trimmed, as far as this member knows. At most one task trims.
    trimmed: Arc<Mutex<Option<Trimmed>>>,
    doubt: Doubt,
    state: watch::Sender<Snapshot>,
    answers: mpsc::Sender<Input>,
    /// When it last did anything.
    ran_at: Time,
    store_fails: bool,
    /// The last hint, put before the task ends.
    farewell: Option<Epoch>,
    over: Option<Over>,
}

/// Starts a member's task; returns its handle.
pub(super) fn start(
    parts: Parts,
    newest: Option<ElectionView>,
    requests: Arc<Counting>,
) -> Election {
    let (inputs, received) = mpsc::channel(INPUTS_MAX);
    let (stop, clock) = (parts.log.stop.clone(), Arc::clone(&parts.clock));
    let lease = parts.settings.lease.length;
    let now = clock.now();
    let news = newest.as_ref().map(|view| view.news(parts.session));
    let candidate = Candidate::new(parts.settings, now, news);
    let (state, states) = watch::channel(Snapshot { role: Role::NoLeader, claim: None });
    let member = Member {
        parts: Arc::new(parts),
        candidate,
        view: newest,
        created: None,
        counter: 0,
        trimmed: Arc::default(),
        doubt: Doubt::default(),
        state,
        answers: inputs.clone(),
        ran_at: now,
        store_fails: false,
        farewell: None,
        over: None,
    };
    member.publish(now);
    let mut state = states;
    state.mark_changed();
    tokio::spawn(run(member, received, stop.clone()));
    let running = stop.clone().drop_guard();
    Election { state, inputs, clock, requests, lease, stop, _running: running }
}

async fn run(mut member: Member, inputs: mpsc::Receiver<Input>, stop: CancellationToken) {
    let (state, parts) = (member.state.clone(), Arc::clone(&member.parts));
    let running = AssertUnwindSafe(run_to_end(&mut member, inputs, &stop)).catch_unwind().await;
    let over = running.unwrap_or_else(|_panic| {
        Over::Failed("a rule of the election was violated; the log has the panic".to_owned())
    });
    let (election, member) = (&parts.election, &parts.member);
    match &over {
        Over::StoreLost(why) => {
            tracing::error!(%election, %member, why, "store is lost; member stops and writes nothing more");
        }
        Over::Resigned | Over::Stopped | Over::Failed(_) => {
            tracing::info!(%election, %member, why = %over, "member stopped");
        }
    }
    stop.cancel();
    state.send_replace(Snapshot { role: Role::Over(over), claim: None });
}

async fn run_to_end(
    member: &mut Member,
    mut inputs: mpsc::Receiver<Input>,
    stop: &CancellationToken,
) -> Over {
    let mut ticks = tokio::time::interval(member.tick_every());
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Over::Stopped,
            input = inputs.recv() => member.on_input(input.expect("the member has a sender")),
            _ = ticks.tick() => member.on_tick(),
        }
        if let Some(over) = member.over.take() {
            return over;
        }
        if member.candidate.standing(member.parts.clock.now()) == Standing::Left {
            if let Some(epoch) = member.farewell {
                member.hint(epoch).await;
            }
            return Over::Resigned;
        }
    }
}

impl Member {
    fn tick_every(&self) -> Duration {
        (self.parts.settings.step() / TICKS_PER_STEP).max(Duration::from_millis(1))
    }

    /// Tells the candidate if this process was paused: what it did not hear meanwhile says nothing. Before anything else,
    /// because an answer from before the pause may come first.
    fn notice_pause(&mut self) {
        let now = self.parts.clock.now();
        let late = now.since(self.ran_at) > self.tick_every() + self.parts.settings.poll_every();
        self.ran_at = now;
        if late {
            tracing::warn!(member = %self.parts.member, "member was paused; it reads the epoch log before it acts");
            self.step(Event::Election(election::Event::Paused));
        }
    }

    fn on_tick(&mut self) {
        self.notice_pause();
        let fails = self.parts.watched.fails();
        if fails != self.store_fails {
            self.store_fails = fails;
            self.step(Event::Election(if fails {
                election::Event::StoreFailing
            } else {
                election::Event::StoreWorking
            }));
        }
        self.step(Event::Election(election::Event::Tick));
    }

    fn on_input(&mut self, input: Input) {
        self.notice_pause();
        match input {
            Input::Read(read) => self.on_read(read),
            Input::Created(view, outcome) => {
                if outcome == CreateOutcome::Won {
                    self.created = Some(view);
                }
                self.step(Event::Election(election::Event::Created(outcome)));
            }
            Input::Withdrawn(looked) => {
                // The candidate tries again; a look that got no answer proves nothing.
                if let Ok(look) = looked {
                    self.is_same_store(look);
                }
                let withdrawn = election::Event::Created(CreateOutcome::Withdrawn);
                self.step(Event::Election(withdrawn));
            }
            Input::Marked(outcome) => self.step(Event::Election(election::Event::Marked(outcome))),
            Input::Hint(hint) => self.step(Event::Hint(hint)),
            Input::Resign => self.step(Event::ResignAsked),
        }
    }

    fn on_read(&mut self, read: Result<(Look, Option<ElectionView>), LogError>) {
        let outcome = match read {
            Ok((look, newest)) => {
                if self.is_same_store(look) {
                    let newest = newest.filter(|view| view.epoch() > self.candidate.newest());
                    match newest {
                        Some(view) => {
                            let news = view.news(self.parts.session);
                            self.set_view(view);
                            ReadOutcome::Newest(news)
                        }
                        None => ReadOutcome::Nothing,
                    }
                } else {
                    ReadOutcome::Unknown
                }
            }
            Err(LogError::GaveUp(_)) => ReadOutcome::Unknown,
            Err(LogError::Malformed(malformed)) => {
                tracing::error!(election = %self.parts.election, %malformed, "newest epoch can't be read; this member writes no epoch until it is repaired");
                ReadOutcome::Unknown
            }
        };
        self.step(Event::Election(election::Event::Read(outcome)));
    }

    /// Takes a look into account; whether the store is certainly still the election's.
    fn is_same_store(&mut self, look: Look) -> bool {
        let before = self.doubt;
        match self.doubt.looked(self.parts.clock.now(), look) {
            StoreState::Same => {
                self.doubt = Doubt::default();
                true
            }
            StoreState::Doubtful if before != Doubt::default() => false,
            StoreState::Doubtful => {
                tracing::warn!(election = %self.parts.election, epoch = %self.candidate.newest(), "newest record is missing in the store; this member confirms and writes nothing until it is found");
                false
            }
            StoreState::Lost => {
                self.over = Some(Over::StoreLost(LOST.to_owned()));
                false
            }
            StoreState::SessionOver => unreachable!("an election has no end marks"),
        }
    }

    /// Hands the candidate an event and carries out its effects.
    fn step(&mut self, event: Event) {
        let now = self.parts.clock.now();
        let chance = self.parts.random.below(u64::MAX);
        for effect in self.candidate.step(now, chance, event) {
            self.effect(effect);
        }
        self.publish(self.parts.clock.now());
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Read(_) => self.read(),
            Effect::Create(epoch, purpose) => self.create(epoch, purpose),
            Effect::CheckMark(epoch) => self.check_mark(epoch),
            Effect::GetHint => self.get_hint(),
            Effect::PutHint(epoch) => {
                let left = self.candidate.standing(self.parts.clock.now()) == Standing::Left;
                if left {
                    self.farewell = Some(epoch);
                } else {
                    let put = self.hint(epoch);
                    tokio::spawn(put);
                }
            }
            Effect::Lead(epoch) => {
                let created = self.created.take().filter(|view| view.epoch() == epoch);
                // If it was read from the log, that is the record that counts.
                if self.view.as_ref().is_none_or(|view| view.epoch() < epoch) {
                    let view = created.expect("a record that was not read was created");
                    self.set_view(view);
                }
                self.trim(epoch);
            }
            Effect::Follow(_) => {}
        }
    }

    fn set_view(&mut self, view: ElectionView) {
        let record = &view.record;
        tracing::info!(election = %self.parts.election, member = %self.parts.member, epoch = %record.epoch,
            leader = %record.leader.name, reason = %record.reason, "new epoch");
        self.view = Some(view);
    }

    /// Tells the handle how this member stands; wakes it only if the role changed.
    fn publish(&self, now: Time) {
        let role = match self.candidate.standing(now) {
            Standing::NoLeader => Role::NoLeader,
            Standing::Following(token) => match &self.view {
                Some(view) => Role::Following { leader: leader_of(view), token },
                None => Role::NoLeader,
            },
            Standing::Leading(token) => {
                let since = self.candidate.leads_since().expect("it leads");
                Role::Leading { token, since }
            }
            Standing::Unconfirmed(token) => Role::Unconfirmed { token },
            // The end is told when the last hint is put.
            Standing::Resigning | Standing::Left => Role::Resigning,
        };
        let claim = self.candidate.claim();
        self.state.send_if_modified(|state| {
            state.claim = claim;
            let changes = state.role != role;
            state.role = role;
            changes
        });
    }

    /// Deletes old epochs, in a task of its own.
    fn trim(&self, newest: Epoch) {
        let (parts, segments) = (Arc::clone(&self.parts), self.parts.log.segments);
        if LogTrim::<ElectionView>::is_idle(newest, parts.history, segments) {
            return;
        }
        let Ok(mut trimmed) = Arc::clone(&self.trimmed).try_lock_owned() else { return };
        tokio::spawn(async move {
            let trim: LogTrim<'_, ElectionView> = LogTrim {
                store: &parts.log.store,
                segments,
                retention: parts.history,
                patience: parts.log.patience,
                stop: &parts.log.stop,
                by: &parts.member,
                clock: &*parts.clock,
                random: &parts.random,
                records: PhantomData,
            };
            if trim.trim(newest, &mut trimmed).await.is_none() {
                tracing::debug!(%newest, "trim of the epoch log did not finish; the next one continues");
            }
        });
    }
}

fn leader_of(view: &ElectionView) -> Leader {
    let leader = &view.record.leader;
    let address = (!leader.address.is_empty()).then(|| leader.address.clone());
    Leader { name: leader.name.clone(), address }
}
