//! Findings: what is wrong with an object, what that means, and what an operator can do.

use alloc::{collections::BTreeSet, string::String, vec::Vec};
use core::fmt;

use serde::Serialize;

macro_rules! damages {
    ($($(#[doc = $doc:literal])+ $damage:ident = $name:literal, $meaning:literal, $advice:expr;)+) => {
        /// A kind of damage.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum Damage {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $damage,)+
        }

        impl Damage {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$damage),+];

            /// Its name in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$damage => $name,)+ }
            }

            /// What follows from it.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$damage => $meaning,)+ }
            }

            /// What an operator can do.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$damage => $advice,)+ }
            }
        }
    };
}

const PUT_BACK: &str = "put the object back with exactly the bytes it had (an older version or a snapshot of the store); \
    find out what deleted or changed it: lifecycle rules, other tools, hardware";
const ASK: &str = "keep the store as it is and report a bug with the output of this command";

damages! {
    /// There is no `cluster` object.
    ClusterMissing = "cluster-missing",
        "no host can start, and running hosts stop", PUT_BACK;
    /// An object can't be decoded.
    Undecodable = "undecodable",
        "hosts that need the object stop at it: the slots that need it wait", PUT_BACK;
    /// A record of the epoch log is missing.
    EpochMissing = "epoch-missing",
        "this part of the history is lost; no slot needs it unless it is the newest record", PUT_BACK;
    /// A record breaks a rule of its own or of its succession.
    EpochBreaksRule = "epoch-breaks-rule",
        "the record was forged or written by a faulty host", ASK;
    /// A record isn't the one that its successor was made from.
    ChainBroken = "chain-broken",
        "this record or its successor was replaced by another one: the history can't be trusted there",
        "compare both records with an older version or a snapshot of the store, and put back the one that was replaced";
    /// A mark is missing whose segment was deleted, or below another mark.
    MarkMissing = "mark-missing",
        "a host that is far behind may take deleted objects for objects that never existed", PUT_BACK;
    /// A mark stands where nothing may be deleted yet.
    MarkAhead = "mark-ahead",
        "hosts may take objects for deleted that they still need",
        "delete the mark only if it was created by hand; otherwise keep the store as it is and report a bug";
    /// The seal of a session that is over is missing.
    SealMissing = "seal-missing",
        "nothing shows any more that the session is over: its process could commit again if it still runs",
        "stop the process that had the session, then put the seal back from an older version or a snapshot of the store";
    /// The seal isn't what the record or the journal says.
    SealWrong = "seal-wrong",
        "recoveries would read another part of the journal than was committed", ASK;
    /// A journal has a second seal.
    SecondSeal = "second-seal",
        "two hosts may have read different ends of the journal", ASK;
    /// A batch above the seal says that it or the seal's position was committed.
    CommittedAboveSeal = "committed-above-seal",
        "commands may have been acknowledged that no owner reads", ASK;
    /// An object of a journal is missing that a recovery needs.
    BatchMissing = "batch-missing",
        "acknowledged commands are lost if a host has to recover this session's slots", PUT_BACK;
    /// Headers or records of a journal contradict each other.
    JournalContradicts = "journal-contradicts",
        "recoveries of this session's slots would read too much or too little", ASK;
    /// The batch that the headers name holds no readable checkpoint.
    CheckpointMissing = "checkpoint-missing",
        "this session's slots can't be recovered", PUT_BACK;
    /// A pack is missing that the newest checkpoint names.
    PackMissing = "pack-missing",
        "the states of the vnodes in it are lost", PUT_BACK;
    /// A pack isn't the one that the checkpoint names: another length, or damaged outside of records and index.
    PackDiffers = "pack-differs",
        "this session's slots can't be recovered", PUT_BACK;
    /// The index of a pack is damaged.
    PackIndexDamaged = "pack-index-damaged",
        "this session's slots can't be recovered", PUT_BACK;
    /// Records in a pack are damaged.
    PackRecordDamaged = "pack-record-damaged",
        "the states of these vnodes are lost; their calls fail", PUT_BACK;
    /// A session has an end mark, though the newest record doesn't call it detached.
    EndMarkAhead = "end-mark-ahead",
        "the session can't be sealed, so its slots can't be taken over",
        "delete the mark only if it was created by hand; otherwise keep the store as it is and report a bug";
    /// A session has more than an opening, but no record lists it and it has no end mark.
    UnknownSession = "unknown-session",
        "its end mark or the record that listed it is lost; its commands may have been acknowledged",
        "look for missing epochs first; keep the session's objects";
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The object's key.
    pub key: String,
    /// What kind of damage.
    pub damage: Damage,
    /// What was found.
    pub why: String,
}

impl Finding {
    /// A finding.
    #[must_use]
    pub fn new(key: impl Into<String>, damage: Damage, why: impl Into<String>) -> Self {
        Self { key: key.into(), damage, why: why.into() }
    }
}

/// The findings of a reading that a second, later reading has as well. The second reading must have begun when the first
/// had ended: what was missing in the first and must be there by the second was deleted too early.
#[must_use]
pub fn confirmed(first: &[Finding], second: &[Finding]) -> Vec<Finding> {
    let before: BTreeSet<(&str, Damage)> =
        first.iter().map(|finding| (finding.key.as_str(), finding.damage)).collect();
    let both = second.iter().filter(|finding| before.contains(&(&*finding.key, finding.damage)));
    both.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_counts_only_if_a_later_reading_has_it_too() {
        let finding = |key: &str, damage| Finding::new(key, damage, "");
        let first = [finding("a", Damage::BatchMissing), finding("b", Damage::BatchMissing)];
        let second = [finding("b", Damage::Undecodable), finding("a", Damage::BatchMissing)];
        assert_eq!(confirmed(&first, &second), [finding("a", Damage::BatchMissing)]);
    }
}
