//! `lease`: a named lock with a time to live, a fencing token and a queue of waiters.
//!
//! One vnode is one lock. Its holder has it until it releases it or its time is over. Times are those of the wall clock of the host
//! that has the vnode, so a holder must not rely on them alone: it may be paused, and clocks differ. What protects a resource
//! is the token, if the resource refuses each token smaller than the largest it has seen.
//!
//! Invariants:
//!
//! * Each grant has a token larger than all before.
//! * A lease is given on only if it was released, or if its time as last told to the holder is over by the owner's clock.
//! * A waiter is given the lease in the order of arrival, and only if it was heard from within its waiting time.

pub mod limits;
#[cfg(test)]
mod tests;
mod types;

use std::collections::VecDeque;

use holocron::Context;
use serde::{Deserialize, Serialize};

use self::limits::{HOLDER_LEN_MAX, SPAN_MAX_MS, SPAN_MIN_MS, WAITERS_MAX};
pub use self::types::{Acquired, Grant, LeaseError, LeaseState, Waiter};
use crate::{sequence::Sequence, wall::set_timer};

const TIMER: &str = "expire";

/// A named lock.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Lease {
    tokens: Sequence,
    grant: Option<Grant>,
    waiters: VecDeque<Waiter>,
}

#[holocron::vnode(kind = "lease")]
impl Lease {
    /// Asks for the lease for `ttl_ms`. If another holder has it and `wait_ms` is given, waits in line for so long; call again
    /// within that time to stay in line and to learn of the grant.
    ///
    /// A holder that has the lease gets the same grant again, with at least `ttl_ms` left: so calling again is safe. A name
    /// therefore belongs to one process: put a random part into it. Without `wait_ms` a place in line is given up.
    #[command]
    fn acquire(
        &mut self,
        context: &mut Context<'_, Self>,
        holder: &str,
        ttl_ms: u64,
        wait_ms: Option<u64>,
    ) -> Result<Acquired, LeaseError> {
        check_holder(holder)?;
        check_span("ttl_ms", ttl_ms)?;
        wait_ms.map_or(Ok(()), |wait_ms| check_span("wait_ms", wait_ms))?;
        let now = self.settle(context);
        if self.grant.is_none() {
            // The line is empty: its first waiter would have the lease by now.
            self.give(now, holder.to_owned(), ttl_ms);
        }
        let acquired = match &mut self.grant {
            Some(grant) if grant.holder == holder => {
                grant.extend(now, ttl_ms);
                Acquired::Granted(grant.clone())
            }
            Some(grant) => match wait_ms {
                Some(wait_ms) => {
                    let waiter =
                        Waiter { holder: holder.to_owned(), ttl_ms, until_ms: now + wait_ms };
                    self.wait(waiter)?
                }
                None => {
                    let grant = grant.clone();
                    self.leave_line(holder);
                    Acquired::Held(grant)
                }
            },
            None => unreachable!("a lease that was free was given"),
        };
        self.set_timer(context);
        Ok(acquired)
    }

    /// Keeps the lease for `ttl_ms` from now. A holder whose time is over has lost it, even if it is free: it must acquire it anew,
    /// with a new token.
    #[command]
    fn renew(
        &mut self,
        context: &mut Context<'_, Self>,
        holder: &str,
        token: u64,
        ttl_ms: u64,
    ) -> Result<Grant, LeaseError> {
        check_span("ttl_ms", ttl_ms)?;
        let now = self.settle(context);
        let grant = self.grant.as_mut().filter(|grant| grant.is(holder, token));
        let renewed = grant.map(|grant| {
            grant.extend(now, ttl_ms);
            grant.clone()
        });
        self.set_timer(context);
        renewed.ok_or(LeaseError::NotHolder)
    }

    /// Gives the lease back; the next in line gets it. A stale token changes nothing, and says that the lease was lost before.
    #[command]
    fn release(
        &mut self,
        context: &mut Context<'_, Self>,
        holder: &str,
        token: u64,
    ) -> Result<(), LeaseError> {
        let now = self.settle(context);
        let released = self.grant.take_if(|grant| grant.is(holder, token));
        self.give_on(now);
        self.set_timer(context);
        released.map(drop).ok_or(LeaseError::NotHolder)
    }

    /// Leaves the line of waiters. Returns whether the holder was in it.
    #[command(name = "stop-waiting")]
    fn stop_waiting(&mut self, context: &mut Context<'_, Self>, holder: &str) -> bool {
        self.settle(context);
        let was_waiting = self.leave_line(holder);
        self.set_timer(context);
        was_waiting
    }

    /// Gives the lease on if its time is over. The lease's own timer calls it; calling it does no harm.
    #[command]
    fn expire(&mut self, context: &mut Context<'_, Self>) {
        self.settle(context);
        self.set_timer(context);
    }

    /// Who has the lease, with which token and until when, and who waits. A waiter may watch it to learn of its grant.
    #[query]
    fn state(&self, context: &Context<'_, Self>) -> LeaseState {
        let now = context.now_ms();
        LeaseState {
            grant: self.grant.clone().filter(|grant| grant.expires_at_ms > now),
            waiters: self.waiters.iter().filter(|waiter| waiter.until_ms > now).cloned().collect(),
        }
    }

    /// Carries out what is due. Every command begins with it, so that no rule depends on when the timer fires.
    fn settle(&mut self, context: &Context<'_, Self>) -> u64 {
        let now = context.now_ms();
        self.waiters.retain(|waiter| waiter.until_ms > now);
        self.grant.take_if(|grant| grant.expires_at_ms <= now);
        self.give_on(now);
        now
    }

    /// Gives a free lease to the first in line.
    fn give_on(&mut self, now: u64) {
        if self.grant.is_none()
            && let Some(Waiter { holder, ttl_ms, .. }) = self.waiters.pop_front()
        {
            self.give(now, holder, ttl_ms);
        }
    }

    fn give(&mut self, now: u64, holder: String, ttl_ms: u64) {
        assert!(self.grant.is_none(), "{holder:?} would be a second holder");
        let token = self.tokens.next(now);
        self.grant = Some(Grant { holder, token, expires_at_ms: now + ttl_ms });
    }

    /// Takes a place in line, or keeps the one that the holder has.
    fn wait(&mut self, waiter: Waiter) -> Result<Acquired, LeaseError> {
        let until_ms = waiter.until_ms;
        let known = self.waiters.iter().position(|known| known.holder == waiter.holder);
        let before = match known {
            Some(before) => {
                self.waiters[before] = waiter;
                before
            }
            None if self.waiters.len() >= WAITERS_MAX => {
                return Err(LeaseError::TooManyWaiters { max: WAITERS_MAX });
            }
            None => {
                self.waiters.push_back(waiter);
                self.waiters.len() - 1
            }
        };
        Ok(Acquired::Waiting { before, until_ms })
    }

    fn leave_line(&mut self, holder: &str) -> bool {
        let before = self.waiters.len();
        self.waiters.retain(|waiter| waiter.holder != holder);
        self.waiters.len() < before
    }

    fn set_timer(&self, context: &mut Context<'_, Self>) {
        let at_ms = self.grant.as_ref().map(|grant| grant.expires_at_ms);
        set_timer(context, TIMER, at_ms, LeaseCommand::expire());
    }
}

fn check_holder(holder: &str) -> Result<(), LeaseError> {
    if (1..=HOLDER_LEN_MAX).contains(&holder.len()) {
        return Ok(());
    }
    Err(LeaseError::HolderLength { max: HOLDER_LEN_MAX })
}

fn check_span(argument: &str, span_ms: u64) -> Result<(), LeaseError> {
    if (SPAN_MIN_MS..=SPAN_MAX_MS).contains(&span_ms) {
        return Ok(());
    }
    Err(LeaseError::OutOfRange {
        argument: argument.to_owned(),
        min: SPAN_MIN_MS,
        max: SPAN_MAX_MS,
    })
}
