//! Sessions that the newest record doesn't list. They are judged by their keys alone: there may be millions.
//!
//! A session leaves the record when nothing is left of it except its seal and its marks, the end mark among them
//! ([`crate::checkpoint::collect`]). A session that isn't listed and has no end mark never joined: it has an opening only.

use alloc::{collections::BTreeSet, format, vec::Vec};

use super::{
    finding::{Damage, Finding},
    history::missing_marks,
    session::Read,
};
use crate::{
    format::keys::{self, Key},
    ids::{ClusterId, PackNumber, Position, Segment, SessionId},
};

/// The keys of a session that the newest record doesn't list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unlisted {
    /// The positions of its journal.
    pub journal: BTreeSet<Position>,
    /// Its packs.
    pub packs: BTreeSet<PackNumber>,
    /// Its trim marks.
    pub marks: BTreeSet<Segment>,
    /// Whether it has an end mark.
    pub ended: bool,
}

/// What such a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It was collected.
    Forgotten,
    /// It was opened, and its host has not joined with it, or never will.
    NeverJoined,
    /// It has more than an opening and no end mark.
    Unknown,
}

impl Unlisted {
    /// Adds one of its keys.
    pub fn add(&mut self, key: &Key) {
        match *key {
            Key::Journal(_, position) => drop(self.journal.insert(position)),
            Key::Pack(_, number) => drop(self.packs.insert(number)),
            Key::TrimMark(_, segment) => drop(self.marks.insert(segment)),
            Key::EndMark(_) => self.ended = true,
            Key::Cluster
            | Key::Domain
            | Key::Kind(..)
            | Key::Epoch(_)
            | Key::EpochMark(_)
            | Key::LeaderHint
            | Key::HostHint(_) => {}
        }
    }

    /// What it is, by its keys.
    #[must_use]
    pub fn kind(&self) -> Kind {
        let only_opening = self.journal.iter().all(|&position| position == Position::ZERO)
            && self.packs.is_empty()
            && self.marks.is_empty();
        match (self.ended, only_opening) {
            (true, _) => Kind::Forgotten,
            (false, true) => Kind::NeverJoined,
            (false, false) => Kind::Unknown,
        }
    }

    /// What is wrong with it. `opening` is what stands at position 0, and is needed only for [`Kind::Unknown`].
    #[must_use]
    pub fn findings(
        &self,
        session: SessionId,
        cluster: ClusterId,
        opening: Option<&Read>,
    ) -> Vec<Finding> {
        let mark = |segment| keys::trim_mark(session, segment);
        match self.kind() {
            Kind::NeverJoined => Vec::new(),
            Kind::Forgotten => {
                let mut findings = missing_marks(&self.marks, mark);
                if self.journal.is_empty() {
                    let why = "it has an end mark, but no seal";
                    findings.push(Finding::new(keys::journal(session), Damage::SealMissing, why));
                }
                findings
            }
            Kind::Unknown => match opening {
                // Remains of another cluster, above which this one was founded.
                Some(Read::Opening(opening)) if opening.cluster != cluster => Vec::new(),
                Some(_) | None => {
                    let why = format!(
                        "{} objects of its journal and {} packs, but no record lists it and it has no end mark",
                        self.journal.len(),
                        self.packs.len()
                    );
                    Vec::from([Finding::new(keys::session(session), Damage::UnknownSession, why)])
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionId = SessionId::new(7);
    const CLUSTER: ClusterId = ClusterId::new(1);

    fn unlisted(journal: &[u64], marks: &[u64], ended: bool) -> Unlisted {
        Unlisted {
            journal: journal.iter().map(|&position| Position::new(position)).collect(),
            packs: BTreeSet::new(),
            marks: marks.iter().map(|&segment| Segment::new(segment)).collect(),
            ended,
        }
    }

    fn damages(unlisted: &Unlisted) -> Vec<Damage> {
        let findings = unlisted.findings(SESSION, CLUSTER, None);
        findings.into_iter().map(|finding| finding.damage).collect()
    }

    #[test]
    fn a_collected_session_has_its_seal_and_its_marks() {
        assert_eq!(damages(&unlisted(&[12], &[0, 1], true)), []);
        assert_eq!(damages(&unlisted(&[], &[0, 1], true)), [Damage::SealMissing]);
        assert_eq!(damages(&unlisted(&[12], &[1], true)), [Damage::MarkMissing]);
    }

    #[test]
    fn a_session_that_never_joined_has_an_opening_only() {
        assert_eq!(unlisted(&[0], &[], false).kind(), Kind::NeverJoined);
        assert_eq!(damages(&unlisted(&[0], &[], false)), []);
        assert_eq!(damages(&unlisted(&[0, 1], &[], false)), [Damage::UnknownSession]);
    }
}
