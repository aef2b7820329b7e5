//! What a failed request means to the caller. The library behind it, and its own names for things, end here.

use std::error::Error as StdError;

/// Any cause, kept as the `source` of an error.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Why a request didn't answer, by what the caller may do about it.
///
/// None of these proves that a `create` did not or will not happen: [`create_once`](crate::create_once) finds out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It may have happened, or may yet. Read back before acting; asking again is fine.
    #[error("{key}: no clear answer")]
    Unclear {
        /// The key, or the prefix of a listing.
        key: String,
        /// What the store or the network said.
        source: BoxError,
    },
    /// The store says that something stands at the key. That may be the caller's own write, or nothing at all.
    #[error("{key}: the store reports that it exists already")]
    Conflict {
        /// The key.
        key: String,
    },
    /// The store can't be used as things are set up: credentials, policy, no such bucket, a wrong address, a directory
    /// that is gone. Asking again helps once somebody changed that: who is at work waits, who starts says so at once.
    #[error("{key}: the store can't be used")]
    Denied {
        /// The key, or the prefix of a listing.
        key: String,
        /// What is wrong, and what to do about it.
        source: BoxError,
    },
    /// It can never succeed as asked: an illegal key, a range beyond the object, a listing without bound.
    #[error("{key}: invalid request")]
    Rejected {
        /// The key, or the prefix of a listing.
        key: String,
        /// What is wrong with the request.
        source: BoxError,
    },
}

impl Error {
    /// The key the request was about; the prefix, for a listing.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Unclear { key, .. }
            | Self::Conflict { key }
            | Self::Denied { key, .. }
            | Self::Rejected { key, .. } => key,
        }
    }

    pub(crate) fn unclear(key: &str, source: impl Into<BoxError>) -> Self {
        Self::Unclear { key: key.to_owned(), source: source.into() }
    }

    pub(crate) fn conflict(key: &str) -> Self {
        Self::Conflict { key: key.to_owned() }
    }

    pub(crate) fn denied(key: &str, source: impl Into<BoxError>) -> Self {
        Self::Denied { key: key.to_owned(), source: source.into() }
    }

    pub(crate) fn rejected(key: &str, source: impl Into<BoxError>) -> Self {
        Self::Rejected { key: key.to_owned(), source: source.into() }
    }
}

/// An error and all its causes in one line, for logs and people. A cause that only repeats what was said is left out.
#[must_use]
pub fn explain(error: &(dyn StdError + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !line.contains(&said) {
            line.push_str(": ");
            line.push_str(&said);
        }
        cause = error.source();
    }
    // Bodies of HTTP answers come with line breaks.
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_is_one_line_and_says_each_cause_once() {
        let cause = std::io::Error::other("no route\nto host");
        let error = Error::unclear("epochs/7", cause);
        assert_eq!(explain(&error), "epochs/7: no clear answer: no route to host");
    }
}
