//! Conditional creates of missing objects and over existing ones.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::report::{ProbeError, Promise};
use super::{Probing, broken, cause, wrong};
use crate::error::Error;
use crate::patience::{Patience, Tries};
use crate::trouble::Trouble;

/// Body sizes above which servers, proxies and gateways handle a body differently: memory buffers; 1 MiB, a common
/// limit of proxies; 5 MiB, the smallest part of a multipart upload. Batches may be larger, but each create is a single
/// upload.
const LARGER: [usize; 3] = [64 << 10, (1 << 20) + (64 << 10), (5 << 20) + (64 << 10)];

/// After a create that took longer, larger ones are skipped, so that a start isn't slow over a slow connection.
const SLOW: Duration = Duration::from_millis(500);

impl Probing<'_> {
    /// Creates an object without a rival. Doesn't use `create_once`, which retries without limit: a starting host must
    /// report why it is refused.
    pub(super) async fn create(&self, key: &str, body: &Bytes) -> Result<(), ProbeError> {
        let mut tries = Tries::new(key, Patience::forever());
        let mut refusals = 0;
        loop {
            match tries.run(self.store.create(key, body.clone())).await {
                Ok(()) => return Ok(()),
                Err(error) => self.note(error, &mut refusals)?,
            }
            match self.read(key).await? {
                Some(found) if found == *body => return Ok(()),
                Some(_) => {
                    return Err(broken(Promise::ReadAfterCreate, "different bytes were found"));
                }
                None => tries.pause().await,
            }
        }
    }

    /// Checks that a create over an object fails as a conflict and doesn't change the object.
    pub(super) async fn create_over(&self) -> Result<(), ProbeError> {
        self.create_rival(self.body("rival")).await
    }

    /// Checks the same with larger bodies, which servers and proxies may handle differently. On a slow store the
    /// largest are skipped.
    pub(super) async fn create_larger_over(&self) -> Result<(), ProbeError> {
        for len in LARGER {
            let start = Instant::now();
            let mut rival = self.body("rival").to_vec();
            rival.resize(len, b'.');
            self.create_rival(rival.into()).await?;
            if start.elapsed() > SLOW {
                tracing::debug!(len, "creates of larger bodies are not probed: the store is slow");
                break;
            }
        }
        Ok(())
    }

    async fn create_rival(&self, rival: Bytes) -> Result<(), ProbeError> {
        let (key, body) = (self.key("sample0"), self.body("sample0"));
        let large = match rival.len() {
            len if LARGER.contains(&len) => {
                format!(" (for a body of {} KB, not for a small one)", len >> 10)
            }
            _ => String::new(),
        };
        let mut tries = Tries::new(&key, Patience::forever());
        let mut refusals = 0;
        loop {
            let answer = tries.run(self.store.create(&key, rival.clone())).await;
            if answer.is_ok() {
                return Err(broken(
                    Promise::CreateIfAbsent,
                    format!("the store reported success{large}"),
                ));
            }
            let found = self.read(&key).await?;
            if found.as_ref() != Some(&body) {
                return Err(wrong(Promise::CreateIfAbsent, found.as_ref()));
            }
            match answer {
                Ok(()) | Err(Error::Conflict { .. }) => return Ok(()),
                // An unclear answer proves nothing, however often; but the error at the deadline must say what was
                // expected.
                Err(Error::Unclear { source, .. }) => {
                    let what = format!("{}, but the answer was: {source}", Promise::ConflictIsSaid);
                    self.note(Error::unclear(&key, what), &mut refusals)?;
                }
                Err(error @ (Error::Denied { .. } | Error::Rejected { .. })) => {
                    let evidence = format!("it was refused ({})", cause(&error));
                    let too_large = matches!(Trouble::among(&error), Some(Trouble::TooLarge));
                    if let Err(refused) = self.note(error, &mut refusals) {
                        if too_large {
                            return Err(refused);
                        }
                        return Err(broken(Promise::ConflictIsSaid, evidence));
                    }
                }
            }
            tries.pause().await;
        }
    }
}
