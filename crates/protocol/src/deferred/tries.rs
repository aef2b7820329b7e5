//! How often something was tried, when it is tried again, and when that ends.

use alloc::{boxed::Box, string::String};
use core::time::Duration;

use crate::time::WallTime;

/// Tries after which something is set aside: with the pauses between them, after about two hours.
pub const TRIES_MAX: u32 = 24;
/// The pause after the first try; it doubles with each.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause.
pub const PAUSE_MAX: Duration = Duration::from_secs(10 * 60);
/// Longest reason that is kept, in bytes.
const WHY_LEN_MAX: usize = 256;

/// The failed attempts of a timer, a message or an effect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tries {
    pub(super) failed: u32,
    pub(super) not_before: WallTime,
    pub(super) why: Option<Box<str>>,
}

impl Tries {
    /// It can't succeed.
    pub(super) fn given_up(why: &str) -> Self {
        Self { failed: TRIES_MAX, not_before: WallTime::default(), why: Some(cut(why)) }
    }

    /// One more attempt has failed.
    pub(super) fn failed(&mut self, now: WallTime, why: &str) {
        let pause = PAUSE_FIRST.saturating_mul(1 << self.failed.min(20)).min(PAUSE_MAX);
        self.failed = self.failed.saturating_add(1);
        self.not_before = now + pause;
        self.why = Some(cut(why));
    }

    /// How many attempts have failed.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.failed
    }

    /// Why the last one failed.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// Whether it isn't tried again until an operator acts.
    #[must_use]
    pub const fn is_set_aside(&self) -> bool {
        self.failed >= TRIES_MAX
    }

    /// The time of the next attempt of something that is due at that time.
    #[must_use]
    pub fn not_before(&self, due: WallTime) -> WallTime {
        self.not_before.max(due)
    }
}

fn cut(why: &str) -> Box<str> {
    let mut end = why.len().min(WHY_LEN_MAX);
    while !why.is_char_boundary(end) {
        end -= 1;
    }
    String::from(&why[..end]).into_boxed_str()
}
