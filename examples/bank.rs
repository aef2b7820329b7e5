//! A bank: accounts are vnodes, transfers move money between them, and a host dies in the middle.
//!
//! A transfer is two commands, a withdrawal and a deposit. Each is applied exactly once whichever host dies, so no
//! money is lost or created. (The teller connects the two commands, and here it outlives the host; a teller that must
//! survive its own crash would be a vnode itself.)

#![expect(clippy::print_stdout, reason = "an example prints")]

use holocron::{CallError, Client, Host};
use serde::{Deserialize, Serialize};

const ACCOUNTS: u64 = 100;
const OPENING: u64 = 1_000;
const TELLERS: u64 = 16;
const TRANSFERS: u64 = 50;

#[derive(Default, Serialize, Deserialize)]
struct Account {
    balance: u64,
}

#[holocron::vnode(kind = "account")]
impl Account {
    #[command]
    fn deposit(&mut self, amount: u64) {
        self.balance += amount;
    }

    /// Fails, and takes nothing, if the balance is too small.
    #[command]
    fn withdraw(&mut self, amount: u64) -> Result<(), TooLittle> {
        self.balance = self.balance.checked_sub(amount).ok_or(TooLittle)?;
        Ok(())
    }

    #[query]
    fn balance(&self) -> u64 {
        self.balance
    }
}

/// The balance was too small.
#[derive(Debug, Serialize, Deserialize)]
struct TooLittle;

fn name(number: u64) -> String {
    format!("account-{}", number % ACCOUNTS)
}

/// Moves money between accounts. Returns how many transfers had a sufficient balance.
async fn teller(client: Client, number: u64) -> Result<u64, CallError> {
    let mut moved = 0;
    for round in 0..TRANSFERS {
        let from = client.get::<Account>(&name(number * 31 + round * 7));
        let to = client.get::<Account>(&name(number * 17 + round * 13 + 1));
        let amount = 1 + (number + round) % 200;
        // The outer error says that the call failed, the inner one is the account's own.
        if let Ok(()) = from.withdraw(amount).await? {
            to.deposit(amount).await?;
            moved += 1;
        }
    }
    Ok(moved)
}

async fn start(store: &str, name: &str) -> Result<Host, holocron::StartError> {
    Host::builder(store).name(name).vnode::<Account>().start().await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let store = format!("file://{}", folder.path().display());
    let first = start(&store, "first").await?;
    let second = start(&store, "second").await?;
    let third = start(&store, "third").await?;

    let client = Client::connect(&store).await?.with_deadline(std::time::Duration::from_secs(60));
    for number in 0..ACCOUNTS {
        client.get::<Account>(&name(number)).deposit(OPENING).await?;
    }
    println!("{ACCOUNTS} accounts with {OPENING} each, on three hosts");

    let tellers: Vec<_> =
        (0..TELLERS).map(|number| tokio::spawn(teller(client.clone(), number))).collect();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    // Like a crash: no handoff.
    second.stop().await;
    println!("one host died in the middle");
    let mut moved = 0;
    for teller in tellers {
        moved += teller.await??;
    }

    let mut total = 0;
    for number in 0..ACCOUNTS {
        total += client.get::<Account>(&name(number)).balance().await?;
    }
    println!("{moved} transfers, {total} in all accounts together");
    assert_eq!(total, ACCOUNTS * OPENING, "money was lost or made");
    third.leave().await;
    first.leave().await;
    Ok(())
}
