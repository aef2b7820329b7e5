//! What a failed request means to the caller. Errors of the client libraries are translated to these.

use std::error::Error as StdError;

/// Any cause, kept as the `source` of an error.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Why a request failed, by what the caller may do about it.
///
/// None of these proves that a `create` did not happen or will not happen: [`create_once`](crate::create_once) finds
/// out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It may have happened, or may happen later. Read back before acting; a retry is safe.
    #[error("{key}: no clear answer")]
    Unclear {
        /// The key, or the prefix of a listing.
        key: String,
        /// What the store or the network said.
        source: BoxError,
    },
    /// The store reports an object at the key. It may be the caller's own write, or the report may be wrong.
    #[error("{key}: the store reports that it exists already")]
    Conflict {
        /// The key.
        key: String,
    },
    /// The store can't be used with the present setup: credentials, policy, no such bucket, a wrong address, a missing
    /// directory. A retry helps only after an operator has fixed it: a running host waits, a starting host reports it
    /// at once.
    #[error("{key}: the store can't be used")]
    Denied {
        /// The key, or the prefix of a listing.
        key: String,
        /// What is wrong, and what to do about it.
        source: BoxError,
    },
    /// The request can never succeed: an illegal key, a range beyond the object, a listing that is too long.
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

/// An error and all its causes in one line, for logs and messages. A cause that only repeats the text is left out.
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
    // Bodies of HTTP answers contain line breaks.
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_is_one_line_and_names_each_cause_once() {
        let cause = std::io::Error::other("no route\nto host");
        let error = Error::unclear("epochs/7", cause);
        assert_eq!(explain(&error), "epochs/7: no clear answer: no route to host");
    }
}
