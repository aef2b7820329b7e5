//! Whether the headers of a journal agree with each other, with the checkpoint and with the seal.

use alloc::{format, vec::Vec};

use super::{Bounds, Read, SessionView};
use crate::{
    audit::finding::{Damage, Finding},
    ids::Position,
};

impl SessionView {
    /// Headers, opening, checkpoint and seal contradict nothing.
    pub(super) fn header_findings(&self, bounds: Bounds) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.opening_findings().into_iter().collect();
        let end = bounds.sealed_at.unwrap_or(Position::new(u64::MAX));
        // What the batch before said: its position, checkpoint and low water.
        let mut before: Option<(Position, (Position, Position))> = None;
        for (&position, read) in self.reads.range(bounds.low_water.next()..end) {
            let Read::Batch(header, checkpoint) = read else {
                before = None;
                continue;
            };
            let said = (header.checkpoint_at, header.low_water);
            let expected = match (checkpoint, before) {
                (Some(checkpoint), _) => Some((position, checkpoint.low_water)),
                // A checkpoint is alone in flight, so every later batch names it.
                (None, Some((at, said))) if at.next() == position => Some(said),
                (None, _) => None,
            };
            if let Some((checkpoint_at, low_water)) = expected.filter(|&expected| expected != said)
            {
                let why = format!(
                    "its header names the checkpoint at {} with low water {}, expected {checkpoint_at} and {low_water}",
                    header.checkpoint_at, header.low_water
                );
                findings.push(Finding::new(self.key(position), Damage::JournalContradicts, why));
            }
            before = Some((position, said));
        }
        findings.extend(self.checkpoint_finding(bounds));
        findings.extend(self.seal_finding(bounds));
        findings
    }

    /// The opening names this session and this cluster.
    fn opening_findings(&self) -> Option<Finding> {
        let key = self.key(Position::ZERO);
        match self.reads.get(&Position::ZERO)? {
            Read::Opening(opening)
                if opening.session == self.session && opening.cluster == self.cluster =>
            {
                None
            }
            Read::Opening(opening) => {
                let why =
                    format!("it opens session {} of cluster {}", opening.session, opening.cluster);
                Some(Finding::new(key, Damage::JournalContradicts, why))
            }
            Read::Undecodable(malformed) => {
                Some(Finding::new(key, Damage::Undecodable, malformed.why.clone()))
            }
            Read::Batch(..) | Read::Seal(_) => {
                Some(Finding::new(key, Damage::JournalContradicts, "not an opening"))
            }
            // It went with its segment.
            Read::Absent => None,
        }
    }

    /// The checkpoint stands above its low water, and can be read.
    fn checkpoint_finding(&self, bounds: Bounds) -> Option<Finding> {
        let Bounds { low_water, checkpoint_at, through, .. } = bounds;
        let finding = |damage, why| Some(Finding::new(self.key(checkpoint_at), damage, why));
        if checkpoint_at == Position::ZERO {
            let why = format!("positions up to {low_water} may go, but no checkpoint is named");
            return (low_water > Position::ZERO)
                .then(|| Finding::new(self.key(through), Damage::JournalContradicts, why));
        }
        if checkpoint_at <= low_water {
            let why = format!(
                "the checkpoint would allow to delete its own record: low water {low_water}"
            );
            return finding(Damage::JournalContradicts, why);
        }
        match self.reads.get(&checkpoint_at) {
            Some(Read::Batch(_, Some(_))) => None,
            Some(Read::Batch(_, None)) => finding(
                Damage::CheckpointMissing,
                "the headers say that a checkpoint stands here".into(),
            ),
            // Found as what it is: missing, or undecodable.
            Some(Read::Absent | Read::Undecodable(_)) if checkpoint_at <= through => None,
            Some(Read::Absent | Read::Undecodable(_) | Read::Opening(_) | Read::Seal(_)) | None => {
                finding(
                    Damage::CheckpointMissing,
                    "no checkpoint stands here, but the headers say so".into(),
                )
            }
        }
    }

    /// The seal repeats the header before it.
    fn seal_finding(&self, bounds: Bounds) -> Option<Finding> {
        let at = bounds.sealed_at?;
        let said = match self.reads.get(&bounds.through) {
            Some(Read::Batch(header, _)) => (header.low_water, header.checkpoint_at),
            Some(Read::Opening(_)) => (Position::ZERO, Position::ZERO),
            Some(Read::Absent | Read::Undecodable(_) | Read::Seal(_)) | None => return None,
        };
        let sealed = (bounds.low_water, bounds.checkpoint_at);
        (sealed != said).then(|| {
            let why = format!(
                "it says low water {} and checkpoint {}, the batch before it {} and {}",
                sealed.0, sealed.1, said.0, said.1
            );
            Finding::new(self.key(at), Damage::SealWrong, why)
        })
    }
}
