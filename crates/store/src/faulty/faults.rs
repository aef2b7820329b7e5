//! What can go wrong with one request to an honest store, and how often it shall.

use std::time::Duration;

/// What happens to one request. The store below stays honest whatever happens: it keeps every promise, but the
/// caller hears something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// An error, and nothing was done.
    FailBefore,
    /// An error, though it was done.
    FailAfter,
    /// "Exists already", though nothing was done: a lone 409.
    ConflictBefore,
    /// "Exists already" about one's own write, as a hidden retry makes it.
    ConflictAfter,
    /// An error, and it is done some requests later. A late create is still one only if absent.
    LandLate,
    /// It is done, truly answered, and done again some requests later.
    LandTwice,
    /// No answer at all, and nothing was done.
    HangBefore,
    /// No answer at all, though it was done.
    HangAfter,
    /// An error that tells to slow down, and the next ones too.
    Burst,
}

/// How often each fault happens, by probability from 0 to 1, and its bounds. The default is no fault at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// Of [`Fault::FailBefore`].
    pub fail_before: f64,
    /// Of [`Fault::FailAfter`].
    pub fail_after: f64,
    /// Of [`Fault::ConflictBefore`]; creates only.
    pub conflict_before: f64,
    /// Of [`Fault::ConflictAfter`]; creates only.
    pub conflict_after: f64,
    /// Of [`Fault::LandLate`]; writes and deletes only.
    pub land_late: f64,
    /// Of [`Fault::LandTwice`]; writes and deletes only.
    pub land_twice: f64,
    /// Of [`Fault::HangBefore`].
    pub hang_before: f64,
    /// Of [`Fault::HangAfter`].
    pub hang_after: f64,
    /// Of [`Fault::Burst`].
    pub burst: f64,
    /// Requests failed by one burst, at most.
    pub burst_len_max: u32,
    /// That an error has a kind that says too much: denied or existing instead of unclear; rejected, for creates.
    pub wrong_kind: f64,
    /// How many requests later, by anybody, a late write lands at most. Small numbers are as likely as large ones of
    /// the same order of magnitude.
    pub late_requests_max: u32,
    /// Every request takes at least this long.
    pub delay_min: Duration,
    /// Most requests take at most this long, evenly spread from the least.
    pub delay_max: Duration,
    /// That a request is a slow one.
    pub slow: f64,
    /// A slow request takes at most this long.
    pub slow_max: Duration,
}

impl Faults {
    /// Everything goes wrong now and then; no delays.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            fail_before: 0.05,
            fail_after: 0.05,
            conflict_before: 0.02,
            conflict_after: 0.04,
            land_late: 0.04,
            land_twice: 0.04,
            hang_before: 0.01,
            hang_after: 0.01,
            burst: 0.01,
            burst_len_max: 20,
            wrong_kind: 0.2,
            late_requests_max: 1_000,
            ..Self::default()
        }
    }

    /// The faults that may happen to a request, with their probabilities.
    pub(super) fn of(&self, request: Request) -> impl Iterator<Item = (Fault, f64)> {
        let (create, write) = match request {
            Request::Create => (1.0, 1.0),
            Request::Write => (0.0, 1.0),
            Request::Read => (0.0, 0.0),
        };
        [
            (Fault::FailBefore, self.fail_before),
            (Fault::FailAfter, self.fail_after * write),
            (Fault::ConflictBefore, self.conflict_before * create),
            (Fault::ConflictAfter, self.conflict_after * create),
            (Fault::LandLate, self.land_late * write),
            (Fault::LandTwice, self.land_twice * write),
            (Fault::HangBefore, self.hang_before),
            (Fault::HangAfter, self.hang_after * write),
            (Fault::Burst, self.burst),
        ]
        .into_iter()
    }
}

/// Requests by what can happen to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// A conditional create.
    Create,
    /// A put or a delete.
    Write,
    /// A get or a listing.
    Read,
}
