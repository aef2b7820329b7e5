//! The epoch log under every order of steps: two hosts that read, pause and create, and a collector that deletes.
//!
//! Every request to the store is one step, and a host may pause between any two. The rules are the real ones:
//! [`EpochReader`], [`judge_create`] and [`due`]; only the numbers are small. Each planted bug must be caught.

use alloc::{collections::BTreeSet, vec::Vec};
use std::num::NonZeroUsize;

use stateright::{Checker, Model, Property};

use super::*;
use crate::format::segment::{TrimStep, Trimmed};

const HOSTS: usize = 2;
const SEGMENTS: EpochSegments = EpochSegments::new(2);

/// A bug that is planted in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// A won create counts without a check.
    NoCheck,
    /// A won create counts if a list shows nothing newer. Some stores list in no order: here the odd segments first,
    /// and the even ones later.
    CheckByList,
    /// A won create counts if the next key is free.
    CheckByNextKey,
    /// A reader takes "nothing found" for the end of the log without looking for the mark.
    ReadWithoutMark,
    /// A segment is deleted before it is marked.
    DeleteBeforeMark,
}

impl Planted {
    /// The last epoch created. A torn list is wrong only when whole segments pass between its halves.
    const fn epoch_max(self) -> u64 {
        match self {
            Self::CheckByList => 6,
            Self::Nothing
            | Self::NoCheck
            | Self::CheckByNextKey
            | Self::ReadWithoutMark
            | Self::DeleteBeforeMark => 4,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Host {
    Idle {
        known: Epoch,
    },
    /// `newest_at_start` is only for checking: the newest epoch when the read began.
    Reading {
        known: Epoch,
        reader: EpochReader,
        effect: ReadEffect,
        newest_at_start: Epoch,
    },
    Creating {
        known: Epoch,
    },
    /// `over` is only for checking: the newest epoch when the create landed.
    Checking {
        known: Epoch,
        over: Epoch,
    },
    /// Half of a list was read, with nothing newer in it.
    Listing {
        known: Epoch,
        over: Epoch,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Log {
    epochs: BTreeSet<Epoch>,
    marks: BTreeSet<Segment>,
    trimmed: Trimmed,
    hosts: Vec<Host>,
    /// Only for checking.
    newest_ever: Epoch,
    led: BTreeSet<Epoch>,
    was_refused: bool,
    wrong: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    StartReading(usize),
    StartCreating(usize),
    Step(usize),
    Mark(Segment),
    Delete(Epoch),
    DeletedAll,
}

struct EpochLogModel(Planted);

impl Model for EpochLogModel {
    type State = Log;
    type Action = Action;

    fn init_states(&self) -> Vec<Log> {
        let first = Epoch::new(1);
        let hosts = (0..HOSTS).map(|_| Host::Idle { known: first }).collect();
        let log = Log {
            epochs: BTreeSet::from([first]),
            marks: BTreeSet::new(),
            trimmed: Trimmed::default(),
            hosts,
            newest_ever: first,
            led: BTreeSet::from([first]),
            was_refused: false,
            wrong: None,
        };
        Vec::from([log])
    }

    fn actions(&self, log: &Log, actions: &mut Vec<Action>) {
        if log.wrong.is_some() {
            return;
        }
        for (number, host) in log.hosts.iter().enumerate() {
            match host {
                Host::Idle { known } => {
                    // This bug is in the check after a create: reads only add states.
                    if self.0 != Planted::CheckByList {
                        actions.push(Action::StartReading(number));
                    }
                    if known.get() < self.0.epoch_max() {
                        actions.push(Action::StartCreating(number));
                    }
                }
                Host::Reading { .. }
                | Host::Creating { .. }
                | Host::Checking { .. }
                | Host::Listing { .. } => {
                    actions.push(Action::Step(number));
                }
            }
        }
        match log.trimmed.next_step(due(log.newest_ever, 1, SEGMENTS)) {
            Some(TrimStep::Mark(segment)) => {
                actions.push(Action::Mark(segment));
                if self.0 == Planted::DeleteBeforeMark {
                    let stored =
                        SEGMENTS.members(segment).filter(|epoch| log.epochs.contains(epoch));
                    actions.extend(stored.map(Action::Delete));
                }
            }
            Some(TrimStep::Delete(segment)) => {
                let before = actions.len();
                let stored = SEGMENTS.members(segment).filter(|epoch| log.epochs.contains(epoch));
                actions.extend(stored.map(Action::Delete));
                if actions.len() == before {
                    actions.push(Action::DeletedAll);
                }
            }
            None => {}
        }
    }

    fn next_state(&self, log: &Log, action: Action) -> Option<Log> {
        let mut log = log.clone();
        match action {
            Action::StartReading(number) => {
                let Host::Idle { known } = log.hosts[number] else { return None };
                let (reader, effect) = EpochReader::new(known, SEGMENTS);
                let newest_at_start = log.newest_ever;
                log.hosts[number] = Host::Reading { known, reader, effect, newest_at_start };
            }
            Action::StartCreating(number) => {
                let Host::Idle { known } = log.hosts[number] else { return None };
                log.hosts[number] = Host::Creating { known };
            }
            Action::Step(number) => match log.hosts[number].clone() {
                Host::Idle { .. } => return None,
                Host::Reading { .. } => self.read(&mut log, number),
                Host::Creating { known } => create(&mut log, number, known),
                Host::Checking { known, over } => {
                    if let Some(judge_create) = self.first_look(&log, known.next()) {
                        judge(&mut log, number, judge_create);
                    } else {
                        log.hosts[number] = Host::Listing { known, over };
                    }
                }
                Host::Listing { known, .. } => {
                    let judge_create = listed(&log, known.next(), 0);
                    judge(&mut log, number, judge_create);
                }
            },
            Action::Mark(segment) => {
                log.marks.insert(segment);
                log.trimmed.marked = segment.next();
            }
            Action::Delete(epoch) => drop(log.epochs.remove(&epoch)),
            Action::DeletedAll => log.trimmed.deleted = log.trimmed.deleted.next(),
        }
        Some(log)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        Vec::from([
            Property::always("no old epoch is read as the newest or led", |_, log: &Log| {
                log.wrong.is_none()
            }),
            Property::sometimes("a create in a trimmed segment is refused", |_, log: &Log| {
                log.was_refused
            }),
            Property::sometimes("an old segment is deleted", |_, log: &Log| {
                log.trimmed.deleted > Segment::new(1)
            }),
            Property::sometimes("the last epoch is led", |model: &Self, log: &Log| {
                log.led.contains(&Epoch::new(model.0.epoch_max()))
            }),
        ])
    }
}

impl EpochLogModel {
    /// One request of a reader.
    fn read(&self, log: &mut Log, number: usize) {
        let Host::Reading { known, reader, effect, newest_at_start } = &mut log.hosts[number]
        else {
            panic!("only a reader reads");
        };
        let mark = |there: bool| if there { MarkState::Present } else { MarkState::Absent };
        let event = match effect {
            ReadEffect::Get(epoch) if log.epochs.contains(epoch) => ReadEvent::Got(Found::Record),
            ReadEffect::Get(_) => ReadEvent::Got(Found::Absent),
            ReadEffect::GetMark(_) if self.0 == Planted::ReadWithoutMark => {
                ReadEvent::Marked(MarkState::Absent)
            }
            ReadEffect::GetMark(segment) => ReadEvent::Marked(mark(log.marks.contains(segment))),
            ReadEffect::ListMarks => ReadEvent::MarksListed(log.marks.clone()),
            ReadEffect::ListEpochs(from) => {
                ReadEvent::EpochsListed(log.epochs.range(*from..).next_back().copied())
            }
            ReadEffect::Done(newest) => {
                if *newest < *newest_at_start {
                    log.wrong = Some("a reader took an old epoch for the newest");
                }
                assert!(*newest >= *known, "epochs seen by one host never go down");
                log.hosts[number] = Host::Idle { known: *newest };
                return;
            }
            ReadEffect::Broken(malformed) => panic!("{malformed}"),
        };
        *effect = reader.step(event);
    }

    /// The verdict of the check after a won create; `None` if half of the list is still to be read.
    fn first_look(&self, log: &Log, epoch: Epoch) -> Option<CreateVerdict> {
        match self.0 {
            Planted::Nothing | Planted::ReadWithoutMark | Planted::DeleteBeforeMark => {
                let marked = log.marks.contains(&SEGMENTS.segment(epoch));
                Some(judge_create(if marked { MarkState::Present } else { MarkState::Absent }))
            }
            Planted::NoCheck => Some(CreateVerdict::Committed),
            Planted::CheckByNextKey if log.epochs.contains(&epoch.next()) => {
                Some(CreateVerdict::InTrimmedLog)
            }
            Planted::CheckByNextKey => Some(CreateVerdict::Committed),
            Planted::CheckByList => match listed(log, epoch, 1) {
                CreateVerdict::Committed => None,
                CreateVerdict::InTrimmedLog => Some(CreateVerdict::InTrimmedLog),
            },
        }
    }
}

/// The verdict of half a list: the epochs of segments with that remainder modulo 2.
fn listed(log: &Log, epoch: Epoch, remainder: u64) -> CreateVerdict {
    let mut half =
        log.epochs.iter().filter(|other| SEGMENTS.segment(**other).get() % 2 == remainder);
    if half.any(|other| *other > epoch) {
        CreateVerdict::InTrimmedLog
    } else {
        CreateVerdict::Committed
    }
}

/// A host acts on the verdict about its create.
fn judge(log: &mut Log, number: usize, judge_create: CreateVerdict) {
    let (Host::Checking { known, over } | Host::Listing { known, over }) = log.hosts[number] else {
        panic!("only a host that created checks");
    };
    let epoch = known.next();
    log.hosts[number] = match judge_create {
        CreateVerdict::Committed => {
            if over >= epoch {
                log.wrong = Some("a host leads an epoch that was old when it was created");
            }
            if !log.led.insert(epoch) {
                log.wrong = Some("two hosts lead one epoch");
            }
            Host::Idle { known: epoch }
        }
        CreateVerdict::InTrimmedLog => {
            log.was_refused = true;
            Host::Idle { known }
        }
    };
}

fn create(log: &mut Log, number: usize, known: Epoch) {
    let (epoch, over) = (known.next(), log.newest_ever);
    if log.epochs.contains(&epoch) {
        log.hosts[number] = Host::Idle { known };
        return;
    }
    log.epochs.insert(epoch);
    log.newest_ever = log.newest_ever.max(epoch);
    log.hosts[number] = Host::Checking { known, over };
}

fn explore(planted: Planted) -> impl Checker<EpochLogModel> {
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    EpochLogModel(planted).checker().threads(threads).spawn_bfs().join()
}

#[test]
fn no_order_of_steps_reads_or_leads_an_old_epoch() {
    let checker = explore(Planted::Nothing);
    checker.assert_properties();
    assert!(checker.unique_state_count() > 10_000, "{} states", checker.unique_state_count());
}

#[test]
fn every_planted_bug_is_caught() {
    for planted in [
        Planted::NoCheck,
        Planted::CheckByList,
        Planted::CheckByNextKey,
        Planted::ReadWithoutMark,
        Planted::DeleteBeforeMark,
    ] {
        let checker = explore(planted);
        let caught = checker.discovery("no old epoch is read as the newest or led");
        assert!(caught.is_some(), "{planted:?} isn't caught");
    }
}
