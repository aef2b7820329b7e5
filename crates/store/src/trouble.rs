//! Known problems with a store: each in one sentence, with what to do about it.
//!
//! A wrong setting stays wrong, so it must be reported at once at a start; a server that is just starting must be
//! waited for. [`Trouble::may_pass`] is the one place that decides which is which.

use std::error::Error as StdError;

/// A known problem with a store. It is the `source` of an [`Error`](crate::Error).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(
        "connection refused at {at}; check that the server runs, and the host and port in the option endpoint"
    )]
    NotListening { at: String },
    #[error(
        "{at} does not answer connection attempts; check the option endpoint, the network and its firewalls"
    )]
    NoRoute { at: String },
    #[error("no host is named {at}; check the option endpoint, bucket, region and DNS")]
    UnknownHost { at: String },
    #[error("the DNS lookup of {at} got no answer; check DNS")]
    NoDns { at: String },
    #[error(
        "{at} answers without TLS; if it has none, set endpoint to http://{at} and allow_http to true"
    )]
    NoTls { at: String },
    #[error(
        "{at} closes the connection without an answer; if it expects TLS, set endpoint to https://{at}"
    )]
    Closed { at: String },
    #[error("{at} does not answer in HTTP; if it expects TLS, set endpoint to https://{at}")]
    NotHttp { at: String },
    #[error(
        "the certificate of {at} isn't trusted ({why}); add its issuer to this machine's certificates (or name the file in \
         SSL_CERT_FILE), use the name it was issued for, and check the clock"
    )]
    Untrusted { at: String, why: String },
    #[error("{at} is http, which is not allowed; use https, or set allow_http to true")]
    PlainHttp { at: String },
    #[error(
        "this is not an object store: {at} answers with a web page ({status}); check the option endpoint"
    )]
    WebPage { at: String, status: u16 },
    #[error(
        "{what}: there is no such bucket, or this is not an object store; check the bucket and the option endpoint"
    )]
    NoBucketOrStore { what: &'static str },
    #[error("this is not an object store: {what}; check the option endpoint")]
    NoStore { what: String },
    #[error("the whole object, or a different part of it, was sent")]
    RangeIgnored,
    #[error(
        "the server, or a proxy in front of it, refuses a body as too large (413); allow bodies of 64 MiB, for example \
         with client_max_body_size 64m"
    )]
    TooLarge,
    /// The server's own code and message, and what to do about it.
    #[error("{said}; {advice}")]
    Said { said: String, advice: &'static str },
}

impl Trouble {
    /// Whether it may pass by itself soon.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::NotListening { .. }
            | Self::NoRoute { .. }
            | Self::NoDns { .. }
            | Self::Closed { .. } => true,
            Self::UnknownHost { .. }
            | Self::NoTls { .. }
            | Self::NotHttp { .. }
            | Self::Untrusted { .. }
            | Self::PlainHttp { .. }
            | Self::WebPage { .. }
            | Self::NoBucketOrStore { .. }
            | Self::NoStore { .. }
            | Self::RangeIgnored
            | Self::TooLarge
            | Self::Said { .. } => false,
        }
    }

    /// Finds a `Trouble` among an error and its causes.
    pub(crate) fn among<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(trouble) = error.downcast_ref() {
                return Some(trouble);
            }
            cause = error.source();
        }
        None
    }
}
