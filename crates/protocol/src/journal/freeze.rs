//! Whether a session may submit batches while a cut of its cluster is taken ([`crate::backup`]).
//!
//! A *frozen* session submits nothing. Once nothing is in flight either, its journal ends where it ends: every answer that has
//! left or can leave belongs to a batch below that position. The session stays frozen until the cut is done, or until it has
//! lasted too long, which its driver decides.
//!
//! Invariant: [`Freeze::thaw`] says [`Thawed::WasFrozen`] only if no batch was submitted since [`Freeze::fixed`] gave the position for
//! the same cut.

use crate::{
    ids::{CutId, Position},
    journal::writer::Writer,
    planted,
};

/// The cut that a session is frozen for, if any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Freeze(Option<CutId>);

/// Another cut is being taken. Try again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// Whether a session had been frozen all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Thawed {
    /// It had: nothing was submitted since the freeze.
    WasFrozen,
    /// It had not: the freeze had lasted too long, or there was none.
    HadGoneOn,
}

impl Freeze {
    /// Submits nothing from now on, for this cut.
    ///
    /// # Errors
    ///
    /// [`Busy`] if it is frozen for another cut.
    pub fn begin(&mut self, cut: CutId) -> Result<(), Busy> {
        match self.0 {
            Some(other) if other != cut => Err(Busy),
            Some(_) | None => {
                self.0 = Some(cut);
                Ok(())
            }
        }
    }

    /// Whether batches may be submitted.
    #[must_use]
    pub const fn may_submit(&self) -> bool {
        self.0.is_none()
    }

    /// The position at which this cut ends the journal: nothing at or above it was ever submitted. `None` while a batch is in
    /// flight, or if the session isn't frozen for this cut any more.
    #[must_use]
    pub fn fixed(&self, cut: CutId, writer: &Writer) -> Option<Position> {
        let is_fixed = planted::is_fixed(writer.in_flight() == 0);
        (self.0 == Some(cut) && is_fixed).then(|| writer.committed().next())
    }

    /// The freeze has lasted too long: the session goes on, and the cut fails.
    pub fn give_up(&mut self) {
        self.0 = None;
    }

    /// The cut is done with this session, which goes on.
    pub fn thaw(&mut self, cut: CutId) -> Thawed {
        let was_frozen = planted::was_frozen(self.0 == Some(cut));
        if self.0 == Some(cut) {
            self.0 = None;
        }
        if was_frozen { Thawed::WasFrozen } else { Thawed::HadGoneOn }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::SessionId, journal::writer::Carries};

    const CUT: CutId = CutId::new(1);
    const OTHER: CutId = CutId::new(2);

    #[test]
    fn a_position_is_fixed_once_nothing_is_in_flight() {
        let mut writer = Writer::new(SessionId::new(7), 2);
        let mut freeze = Freeze::default();
        assert!(freeze.may_submit());
        let position = writer.submit(Carries::Records).position;
        assert_eq!(freeze.fixed(CUT, &writer), None, "not begun");
        freeze.begin(CUT).unwrap();
        assert!(!freeze.may_submit());
        assert_eq!(freeze.fixed(CUT, &writer), None, "one is in flight");
        assert_eq!(writer.won(position), Some(position));
        assert_eq!(freeze.fixed(CUT, &writer), Some(Position::new(2)));
        assert_eq!(freeze.fixed(OTHER, &writer), None);
        assert_eq!(freeze.thaw(CUT), Thawed::WasFrozen);
        assert!(freeze.may_submit());
    }

    #[test]
    fn one_cut_at_a_time() {
        let mut freeze = Freeze::default();
        freeze.begin(CUT).unwrap();
        assert_eq!(freeze.begin(CUT), Ok(()), "a repeated message");
        assert_eq!(freeze.begin(OTHER), Err(Busy));
        assert_eq!(freeze.thaw(OTHER), Thawed::HadGoneOn);
        assert!(!freeze.may_submit(), "the other cut doesn't end this one");
    }

    #[test]
    fn who_gave_up_says_so() {
        let mut freeze = Freeze::default();
        freeze.begin(CUT).unwrap();
        freeze.give_up();
        assert!(freeze.may_submit());
        assert_eq!(freeze.thaw(CUT), Thawed::HadGoneOn);
    }
}
