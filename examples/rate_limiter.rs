//! A rate limiter: each caller of a service has a bucket of tokens that fills with time, on whichever host it is.

#![expect(clippy::print_stdout, reason = "an example prints")]

use core::time::Duration;

use holocron::{Context, Host};
use serde::{Deserialize, Serialize};

/// Tokens that a full bucket has.
const FULL: f64 = 5.0;
/// Tokens that a second adds.
const PER_SECOND: f64 = 20.0;
/// After this time without a request a bucket is full anyway, and need not be stored.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// The bucket of one caller. A new one is full.
#[derive(Default, Serialize, Deserialize)]
struct Limiter {
    used: f64,
    as_of_ms: u64,
}

/// Too many requests.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct RetryAfter(Duration);

#[holocron::vnode(kind = "limiter")]
impl Limiter {
    /// Takes a token; returns how many whole ones are left.
    #[command]
    fn take(&mut self, context: &mut Context<'_, Self>) -> Result<u32, RetryAfter> {
        let now_ms = context.now_ms();
        // The clock of another host may be behind: then no time has passed.
        let passed = Duration::from_millis(now_ms.saturating_sub(self.as_of_ms)).as_secs_f64();
        self.used = (self.used - passed * PER_SECOND).max(0.0);
        self.as_of_ms = self.as_of_ms.max(now_ms);
        context.expire_after(FORGET_AFTER);
        if self.used + 1.0 > FULL {
            let missing = self.used + 1.0 - FULL;
            return Err(RetryAfter(Duration::from_secs_f64(missing / PER_SECOND)));
        }
        self.used += 1.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and FULL"
        )]
        let left = (FULL - self.used) as u32;
        Ok(left)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let store = format!("file://{}", folder.path().display());
    let host = Host::builder(&store).vnode::<Limiter>().start().await?;
    let client = host.client();
    for caller in ["alice", "bob"] {
        let limiter = client.get::<Limiter>(caller);
        let (mut passed, mut refused) = (0, 0);
        while passed < 12 {
            match limiter.take().await? {
                Ok(_) => passed += 1,
                Err(RetryAfter(pause)) => {
                    refused += 1;
                    tokio::time::sleep(pause).await;
                }
            }
        }
        println!("{caller}: {passed} requests passed, {refused} had to wait");
        assert!(refused >= 5, "twelve requests at once don't pass a bucket of five");
    }
    host.leave().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use holocron::testing::TestVnode;

    use super::*;

    #[test]
    fn a_bucket_fills_with_time_and_is_forgotten() {
        let mut limiter = TestVnode::<Limiter>::new("alice");
        for left in (0..5).rev() {
            let LimiterReply::Take(took) = limiter.command(LimiterCommand::take()).unwrap();
            assert_eq!(took, Ok(left));
        }
        let LimiterReply::Take(took) = limiter.command(LimiterCommand::take()).unwrap();
        assert_eq!(took, Err(RetryAfter(Duration::from_millis(50))));
        limiter.advance(Duration::from_millis(100));
        let LimiterReply::Take(took) = limiter.command(LimiterCommand::take()).unwrap();
        assert_eq!(took, Ok(1));
        limiter.advance(FORGET_AFTER);
        assert!(!limiter.exists());
    }
}
