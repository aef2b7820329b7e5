//! The result of a probe.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::error::{Error, explain};

/// The measurements of a probe of a fit store. Latencies are those of single requests, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeReport {
    /// Median time of a conditional create of a small object.
    pub create_p50: Duration,
    /// Median time of a get of it.
    pub get_p50: Duration,
    /// Median time of a listing of the scratch prefix.
    pub list_p50: Duration,
    /// Racers per key.
    pub racers: usize,
    /// Number of races.
    pub rounds: usize,
    /// The time of the whole probe, clean-up included.
    pub elapsed: Duration,
}

impl fmt::Display for ProbeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1_000.0;
        write!(
            f,
            "fit: {} races of {} had one winner each; create {:.1} ms, get {:.1} ms, list {:.1} ms (medians)",
            self.rounds,
            self.racers,
            milliseconds(self.create_p50),
            milliseconds(self.get_p50),
            milliseconds(self.list_p50),
        )
    }
}

/// The promises a probe can find broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// A create over an existing object fails and changes nothing.
    CreateIfAbsent,
    /// Of several concurrent creates of one key exactly one wins, and all readers get its bytes.
    OneWinner,
    /// A get that starts after a create returned finds the object.
    ReadAfterCreate,
    /// A listing that starts after a create returned shows the object.
    ListAfterCreate,
    /// A ranged get returns exactly the bytes asked for.
    ExactRange,
    /// A get that starts after a delete returned finds nothing.
    GoneAfterDelete,
    /// A create over an existing object is reported as a conflict.
    ConflictIsSaid,
    /// A get of a missing object is reported as "not found".
    MissingIsSaid,
    /// A get of a key that was never written finds nothing.
    NothingUnwritten,
}

impl Promise {
    /// What to do about a store that breaks it.
    const fn advice(self) -> &'static str {
        match self {
            Self::CreateIfAbsent | Self::OneWinner => {
                "use a store (or a release of it) with atomic conditional creates (If-None-Match), and no gateway in \
                 front of it that drops the condition"
            }
            Self::ConflictIsSaid | Self::ExactRange => {
                "connect without the gateway or proxy that changes the store's answers"
            }
            Self::ReadAfterCreate | Self::ListAfterCreate | Self::GoneAfterDelete => {
                "use a strongly consistent store, with no cache or lagging replica in front of it"
            }
            Self::NothingUnwritten => {
                "this is not an object store, or something else answers in its place: check the option endpoint"
            }
            Self::MissingIsSaid => {
                "grant the right to list (S3: s3:ListBucket); without it the store doesn't report missing objects"
            }
        }
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CreateIfAbsent => "a create over an existing object must fail and change nothing",
            Self::OneWinner => "exactly one of several concurrent creates of one key must win",
            Self::ReadAfterCreate => "a read after a create must find the object",
            Self::ListAfterCreate => "a listing after a create must show the object",
            Self::ExactRange => "a ranged read must return exactly the bytes asked for",
            Self::GoneAfterDelete => "a read after a delete must find nothing",
            Self::ConflictIsSaid => {
                "a create over an existing object must be answered with \"exists already\""
            }
            Self::NothingUnwritten => "a read of what was never written must find nothing",
            Self::MissingIsSaid => "a read of what isn't there must be answered with \"not found\"",
        })
    }
}

/// Why a store can't be used, in one sentence.
#[derive(Debug)]
pub enum ProbeError {
    /// The store breaks a promise that Holocron needs. It must not be used.
    Broken {
        /// The promise.
        promise: Promise,
        /// What was seen instead.
        evidence: String,
    },
    /// The store didn't answer in time.
    Unreachable {
        /// The deadline.
        within: Duration,
        /// The newest error, if a request was answered with one.
        last: Option<Error>,
    },
    /// The store can't be used with the present setup: credentials, policy, no such bucket, a wrong address or
    /// certificate. Waiting can't help.
    Refused {
        /// What is wrong, and what to do.
        source: Error,
    },
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken { promise, evidence } => {
                let advice = promise.advice();
                write!(f, "this store is unfit: {promise}, but {evidence}; {advice}")
            }
            Self::Unreachable { within, last: None } => {
                write!(
                    f,
                    "the store did not answer within {within:?}; check the option endpoint, the network and its firewalls"
                )
            }
            Self::Unreachable { within, last: Some(error) } => {
                let why = error.source().map_or_else(|| error.to_string(), explain);
                write!(f, "the store gave no clear answer within {within:?}: {why}")
            }
            Self::Refused { source } => {
                // Without the key: the probe's object is of no interest.
                let why = source.source().map_or_else(|| source.to_string(), explain);
                write!(f, "this store can't be used: {why}")
            }
        }
    }
}

impl StdError for ProbeError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Broken { .. } | Self::Unreachable { last: None, .. } => None,
            // Without the key: the probe's object is of no interest.
            Self::Unreachable { last: Some(error), .. } | Self::Refused { source: error } => {
                error.source()
            }
        }
    }
}
