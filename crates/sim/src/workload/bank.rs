//! A bank: transfers between accounts neither create nor lose money.
//!
//! A transfer is a withdrawal, then a deposit, each at most once. Unclear calls are checked exactly: an account's
//! balance must be the known amount plus some of the unclear amounts.

use std::collections::{BTreeMap, BTreeSet};

use holocron::{Client, Context, Vnode};
use serde::{Deserialize, Serialize};

use super::{Caller, Ended, READ_BACK_WITHIN, Work, lock};

/// The balance of a new account.
pub const OPENING_BALANCE: u64 = 1_000;
/// The largest amount of a transfer.
const AMOUNT_MAX: u64 = 40;
/// The delay before a deposit is retried.
const AGAIN_AFTER: core::time::Duration = core::time::Duration::from_millis(20);

/// A bank account.
#[derive(Debug, Serialize, Deserialize)]
pub struct Account {
    balance: u64,
}

impl Default for Account {
    fn default() -> Self {
        Self { balance: OPENING_BALANCE }
    }
}

/// A change of a balance.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Adds to it.
    Deposit(u64),
    /// Takes from it, if it is large enough.
    Withdraw(u64),
}

impl Vnode for Account {
    const KIND: &'static str = "account";
    type Command = Command;
    /// Whether the change was made.
    type Reply = bool;
    type Query = ();
    type Answer = u64;
    type Env = ();

    fn command(&mut self, _: &mut Context<'_, Self>, command: Command) -> bool {
        match command {
            Command::Deposit(amount) => self.balance += amount,
            Command::Withdraw(amount) if amount > self.balance => return false,
            Command::Withdraw(amount) => self.balance -= amount,
        }
        true
    }

    fn query(&self, _: &Context<'_, Self>, (): ()) -> u64 {
        self.balance
    }
}

/// The record of one account.
#[derive(Debug)]
struct Entry {
    /// The opening balance and all certain changes.
    known: i128,
    /// Unclear amounts, deposits positive and withdrawals negative, by call.
    open: BTreeMap<u64, i128>,
}

impl Default for Entry {
    fn default() -> Self {
        Self { known: OPENING_BALANCE.into(), open: BTreeMap::new() }
    }
}

impl Entry {
    /// Whether the balance is the known amount plus some of the unclear amounts.
    fn explains(&self, balance: u64) -> bool {
        let mut sums = BTreeSet::from([self.known]);
        for amount in self.open.values() {
            let more: Vec<i128> = sums.iter().map(|sum| sum + amount).collect();
            sums.extend(more);
        }
        sums.contains(&i128::from(balance))
    }
}

/// The records of all accounts.
#[derive(Debug, Default)]
pub(crate) struct Books(BTreeMap<u32, Entry>);

fn key(number: u32) -> String {
    format!("a{number}")
}

/// Changes one account; returns how the call ended.
async fn change(caller: &Caller, number: u32, command: Command) -> Ended<bool> {
    let work = &caller.work;
    let amount = match command {
        Command::Deposit(amount) => i128::from(amount),
        Command::Withdraw(amount) => -i128::from(amount),
    };
    let call = work.tick();
    lock(&work.books).0.entry(number).or_default().open.insert(call, amount);
    let result = caller.vnode::<Account>(&key(number)).command(command).await;
    let ended = work.ended(&key(number), result);
    tracing::trace!(account = number, call, amount, ?ended, "changed");
    let mut books = lock(&work.books);
    let entry = books.0.entry(number).or_default();
    match ended {
        Ended::Replied(done) => {
            entry.open.remove(&call);
            entry.known += if done { amount } else { 0 };
        }
        Ended::NotRun => drop(entry.open.remove(&call)),
        Ended::Undone => work.trace.violate(format_args!(
            "{}: a call panicked, but no command of this kind panics",
            key(number)
        )),
        Ended::Unclear => {}
    }
    ended
}

/// Makes one transfer.
pub(crate) async fn transfer(caller: &Caller) {
    let accounts = caller.work.plan.accounts;
    let (from, to) = (caller.one_of(accounts), caller.one_of(accounts));
    let amount = 1 + caller.chance.below(AMOUNT_MAX);
    if let Ended::Replied(true) = change(caller, from, Command::Withdraw(amount)).await {
        // The withdrawn money must be deposited: retry while the call had no effect.
        while let Ended::NotRun = change(caller, to, Command::Deposit(amount)).await {
            if caller.work.is_over() {
                return;
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }
}

/// Reads every account and compares.
pub(crate) async fn read_back(client: &Client, work: &Work) {
    for number in 0..work.plan.accounts {
        let account = client.get::<Account>(&key(number)).with_deadline(READ_BACK_WITHIN);
        match account.query(()).await {
            Ok(balance) => {
                let books = lock(&work.books);
                let untouched = Entry::default();
                let entry = books.0.get(&number).unwrap_or(&untouched);
                if !entry.explains(balance) {
                    work.trace.violate(format_args!(
                        "invariants 1 and 10 (acknowledged is recovered, nothing counts twice): {} holds {balance}, \
                         which nothing explains: {entry:?}",
                        key(number)
                    ));
                }
            }
            Err(error) => work.trace.violate(format_args!(
                "invariant 12 (every slot is served in the end): {}: {error}",
                key(number)
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balance_is_the_known_amount_plus_some_unclear_ones() {
        let entry = Entry { known: 100, open: BTreeMap::from([(1, -7), (2, 20)]) };
        let explained: Vec<u64> = (0..200).filter(|balance| entry.explains(*balance)).collect();
        assert_eq!(explained, [93, 100, 113, 120]);
    }
}
