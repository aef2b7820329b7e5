//! When a host may found a cluster: what a prefix without one still contains.
//!
//! A prefix without `cluster` is usually new. It may also be the rest of a cluster whose store was lost or partly
//! restored, or is still written to by hosts that have not noticed. A cluster founded there would answer with empty
//! states for acknowledged data, so a host that finds remains refuses, and an operator must look.
//!
//! The same holds for a cluster without epochs. A host that stops between `cluster` and epoch 1 leaves an opening and
//! hints; anything else is written only after an epoch, so its presence means that the epoch log was lost.
//!
//! Invariants:
//!
//! * A cluster is never founded over epochs or epoch marks of an earlier one, even if an operator asks for it: the old
//!   log would be read as the new cluster's.

use core::{fmt, ops::AddAssign};

use crate::{
    format::keys::{self, Key},
    ids::Position,
};

/// Prefixes to list before a cluster, or its first epoch, is created.
pub const PREFIXES: [&str; 4] = [keys::EPOCHS, keys::EPOCH_MARKS, keys::SESSIONS, "hints/"];

/// What is missing in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Absent {
    /// The `cluster` object.
    Cluster,
    /// Every epoch; `cluster` exists.
    Epochs,
}

/// What an operator allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Founding {
    /// Found a cluster in an empty prefix; refuse if something remains.
    #[default]
    IfEmpty,
    /// Found one also over remaining hints and sessions: an operator has confirmed that they are not needed.
    Anew,
    /// Join a cluster or fail; never found one.
    Never,
}

/// What remains of an earlier cluster: the number of objects of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Remains {
    /// Epoch records.
    pub epochs: u64,
    /// Marks of the epoch log.
    pub epoch_marks: u64,
    /// Objects of sessions.
    pub sessions: u64,
    /// Hints of hosts and leaders.
    pub hints: u64,
}

impl Remains {
    /// Counts the keys that remain of an earlier cluster. Foreign names don't count.
    #[must_use]
    pub fn among<'a>(absent: Absent, listed: impl IntoIterator<Item = &'a str>) -> Self {
        let mut remains = Self::default();
        for key in listed.into_iter().filter_map(keys::parse) {
            match key {
                Key::Epoch(_) => remains.epochs += 1,
                Key::EpochMark(_) => remains.epoch_marks += 1,
                Key::LeaderHint | Key::HostHint(_) if absent == Absent::Cluster => {
                    remains.hints += 1;
                }
                // A host that founded this cluster and stopped before epoch 1 leaves only these.
                Key::LeaderHint | Key::HostHint(_) => {}
                Key::Journal(_, Position::ZERO) if absent == Absent::Epochs => {}
                Key::Journal(..) | Key::TrimMark(..) | Key::EndMark(_) | Key::Pack(..) => {
                    remains.sessions += 1;
                }
                // A record of a kind keeps its meaning for the next cluster: a host that differs doesn't start.
                Key::Cluster | Key::Domain | Key::Kind(..) => {}
            }
        }
        remains
    }

    /// Whether nothing remains.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a cluster, or its epoch 1, may be created over these remains.
    #[must_use]
    pub fn allow(&self, founding: Founding) -> bool {
        let log_is_empty = self.epochs == 0 && self.epoch_marks == 0;
        match founding {
            Founding::IfEmpty => self.is_empty(),
            Founding::Anew => log_is_empty,
            Founding::Never => false,
        }
    }
}

impl AddAssign for Remains {
    fn add_assign(&mut self, more: Self) {
        self.epochs += more.epochs;
        self.epoch_marks += more.epoch_marks;
        self.sessions += more.sessions;
        self.hints += more.hints;
    }
}

/// For example "3 epoch records (epochs/), 120 objects of sessions (sessions/)".
impl fmt::Display for Remains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sorts = [
            (self.epochs, "epoch records (epochs/)"),
            (self.epoch_marks, "epoch marks (epoch-marks/)"),
            (self.sessions, "objects of sessions (sessions/)"),
            (self.hints, "hints (hints/)"),
        ];
        let mut comma = "";
        for (count, sort) in sorts.into_iter().filter(|&(count, _)| count > 0) {
            write!(f, "{comma}{count} {sort}")?;
            comma = ", ";
        }
        if comma.is_empty() { f.write_str("nothing") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec::Vec};

    use super::*;
    use crate::ids::{Epoch, HostName, PackNumber, Segment, SessionId};

    const SESSION: SessionId = SessionId::new(7);

    fn among(absent: Absent, listed: &[Key]) -> Remains {
        let paths: Vec<_> = listed.iter().map(Key::path).collect();
        Remains::among(absent, paths.iter().map(alloc::string::String::as_str))
    }

    fn hint() -> Key {
        Key::HostHint(HostName::new("h1").unwrap())
    }

    #[test]
    fn a_cluster_is_founded_in_an_empty_prefix_and_foreign_names_do_not_count() {
        let remains = Remains::among(Absent::Cluster, ["readme", "epochs/7", "probe/x"]);
        assert!(remains.is_empty() && remains.allow(Founding::IfEmpty));
        assert!(!remains.allow(Founding::Never));
    }

    #[test]
    fn any_object_of_an_earlier_cluster_prevents_a_new_one() {
        let listed = [
            Key::Epoch(Epoch::new(3)),
            Key::EpochMark(Segment::new(0)),
            Key::LeaderHint,
            hint(),
            Key::Journal(SESSION, Position::ZERO),
            Key::TrimMark(SESSION, Segment::new(0)),
            Key::EndMark(SESSION),
            Key::Pack(SESSION, PackNumber::new(1)),
        ];
        for key in listed {
            let remains = among(Absent::Cluster, core::slice::from_ref(&key));
            assert!(!remains.allow(Founding::IfEmpty), "{key:?}");
        }
    }

    #[test]
    fn an_operator_may_give_up_hints_and_sessions_but_not_the_epoch_log() {
        let given_up = among(Absent::Cluster, &[hint(), Key::Journal(SESSION, Position::new(9))]);
        assert!(given_up.allow(Founding::Anew));
        for log in [Key::Epoch(Epoch::new(15)), Key::EpochMark(Segment::new(0))] {
            assert!(
                !among(Absent::Cluster, core::slice::from_ref(&log)).allow(Founding::Anew),
                "{log:?}"
            );
        }
    }

    #[test]
    fn a_host_that_stopped_between_cluster_and_epoch_1_is_no_obstacle() {
        let left = [hint(), Key::LeaderHint, Key::Journal(SESSION, Position::ZERO)];
        assert!(among(Absent::Epochs, &left).allow(Founding::IfEmpty));
    }

    #[test]
    fn a_cluster_with_batches_and_no_epochs_has_lost_its_log() {
        let remains = among(Absent::Epochs, &[Key::Journal(SESSION, Position::new(1))]);
        assert!(!remains.allow(Founding::IfEmpty));
    }

    #[test]
    fn remains_are_printed_with_their_prefixes() {
        let remains =
            among(Absent::Cluster, &[hint(), Key::Epoch(Epoch::new(1)), Key::Epoch(Epoch::new(2))]);
        assert_eq!(remains.to_string(), "2 epoch records (epochs/), 1 hints (hints/)");
        assert_eq!(Remains::default().to_string(), "nothing");
    }
}
