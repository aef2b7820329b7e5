//! The faults of one request to an honest store, and their probabilities.

use std::time::Duration;

/// What happens to one request. The store below always keeps its promises; only the caller gets a different answer, or
/// none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// No fault.
    Pass,
    /// An error; the request was not carried out.
    FailBefore,
    /// An error, although the request was carried out.
    FailAfter,
    /// "Exists already", although nothing was written: a spurious 409.
    ConflictBefore,
    /// "Exists already" about the caller's own write, as after a hidden retry.
    ConflictAfter,
    /// An error; the request is carried out some requests later. A late create still creates only if absent.
    LandLate,
    /// Carried out with the true answer, and again some requests later.
    LandTwice,
    /// No answer; the request was not carried out.
    HangBefore,
    /// No answer, although the request was carried out.
    HangAfter,
    /// A "slow down" error, for this and the next requests.
    Burst,
}

/// The probability of each fault, from 0 to 1, and the bounds of faults. The default has no faults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// Probability of [`Fault::FailBefore`].
    pub fail_before: f64,
    /// Probability of [`Fault::FailAfter`].
    pub fail_after: f64,
    /// Probability of [`Fault::ConflictBefore`]; creates only.
    pub conflict_before: f64,
    /// Probability of [`Fault::ConflictAfter`]; creates only.
    pub conflict_after: f64,
    /// Probability of [`Fault::LandLate`]; writes and deletes only.
    pub land_late: f64,
    /// Probability of [`Fault::LandTwice`]; writes and deletes only.
    pub land_twice: f64,
    /// Probability of [`Fault::HangBefore`].
    pub hang_before: f64,
    /// Probability of [`Fault::HangAfter`].
    pub hang_after: f64,
    /// Probability of [`Fault::Burst`].
    pub burst: f64,
    /// Largest number of requests that fail in one burst.
    pub burst_len_max: u32,
    /// Probability that an error has a wrong kind: denied or conflict instead of unclear; for creates also rejected.
    pub wrong_kind: f64,
    /// A late write lands at most this many requests later, counted over all clients. Each order of magnitude is
    /// equally likely.
    pub late_requests_max: u32,
    /// The shortest delay of a request.
    pub delay_min: Duration,
    /// The longest delay of a normal request; delays are uniformly distributed.
    pub delay_max: Duration,
    /// Probability that a request is slow.
    pub slow: f64,
    /// A slow request takes at most this long.
    pub slow_max: Duration,
}

impl Faults {
    /// Every fault, with a small probability; no delays.
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

    /// The faults of a kind of request, with their probabilities.
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

/// Kinds of requests; they have different faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// A conditional create.
    Create,
    /// A put or a delete.
    Write,
    /// A get or a listing.
    Read,
}
