//! A client and a host with different versions of a kind.
#![expect(
    clippy::needless_pass_by_value,
    reason = "some arguments are taken by value, others by reference"
)]

use std::sync::Arc;

use holocron::{CallError, Client, Founding, Host, Ran, VnodeRef};
use holocron_store::{Memory, Store};

/// The version that the host runs.
mod old {
    use holocron::vnode;
    use serde::{Deserialize, Serialize};

    #[derive(Default, Serialize, Deserialize)]
    pub(crate) struct Account {
        pub(crate) log: Vec<String>,
    }

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub(crate) enum Currency {
        Euro,
        Pound,
    }

    #[derive(Serialize, Deserialize)]
    pub(crate) struct Money {
        pub(crate) cents: u32,
        pub(crate) times: u32,
    }

    #[vnode(kind = "account")]
    impl Account {
        #[command]
        fn removed(&mut self) {}

        #[command]
        fn open(&mut self, owner: String) -> usize {
            self.log.push(format!("open {owner}"));
            self.log.len()
        }

        /// Both arguments have one type.
        #[command]
        fn pay(&mut self, cents: u32, times: u32) -> u32 {
            self.log.push(format!("pay {cents} x {times}"));
            cents * times
        }

        #[command]
        fn pay_money(&mut self, money: Money) -> u32 {
            self.log.push(format!("pay {} x {}", money.cents, money.times));
            money.cents * money.times
        }

        #[command]
        fn pay_in(&mut self, currency: Currency) -> u32 {
            self.log.push(format!("pay in {currency:?}"));
            1
        }

        #[command]
        fn close(&mut self, reason: String) {
            self.log.push(format!("close {reason}"));
        }

        #[query]
        fn log(&self) -> Vec<String> {
            self.log.clone()
        }
    }
}

/// The version that the client was built with.
mod new {
    use holocron::vnode;
    use serde::{Deserialize, Serialize};

    #[derive(Default, Serialize, Deserialize)]
    pub(crate) struct Account;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub(crate) enum Currency {
        /// Added in front: by position it would be read as the euro.
        Dollar,
        Euro,
        Pound,
    }

    #[derive(Serialize, Deserialize)]
    pub(crate) struct Money {
        pub(crate) times: u32,
        pub(crate) cents: u32,
    }

    #[vnode(kind = "account")]
    impl Account {
        /// Reordered.
        #[query]
        fn log(&self) -> Vec<String> {
            Vec::new()
        }

        #[command]
        fn added(&mut self) {}

        /// Its arguments are reordered, and its result is wider.
        #[command]
        fn pay(&mut self, times: u32, cents: u32) -> u64 {
            u64::from(times) * u64::from(cents)
        }

        #[command]
        fn pay_money(&mut self, money: Money) -> u32 {
            money.cents
        }

        #[command]
        fn pay_in(&mut self, currency: Currency) -> u32 {
            currency as u32
        }

        #[command]
        fn open(&mut self, owner: &str) -> usize {
            owner.len()
        }

        /// Has one argument more.
        #[command]
        fn close(&mut self, reason: String, final_: bool) {
            drop((reason, final_));
        }
    }
}

use new::{AccountClient as _, Currency, Money};

async fn stage() -> (Host, VnodeRef<new::Account>) {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let builder = Host::builder("memory://").name("h1").store(store).founding(Founding::IfEmpty);
    let host = builder.vnode::<old::Account>().start().await.unwrap();
    let client: Client = host.client();
    let account = client.get::<new::Account>("alice");
    (host, account)
}

#[tokio::test]
async fn commands_that_were_reordered_added_and_removed_do_no_harm() {
    let (_host, account) = stage().await;
    assert_eq!(account.open("alice").await, Ok(1));
    assert_eq!(account.log().await, Ok(vec!["open alice".to_owned()]));
    let error = account.added().await.unwrap_err();
    assert_eq!(error.ran(), Ran::No);
    assert!(
        matches!(&error, CallError::UnknownCommand { why } if why.contains("there is no command \"added\"")),
        "{error:?}"
    );
}

/// Three times a hundred cents, not a hundred times three.
pub(crate) async fn arguments_of_another_order_are_not_misread() {
    let (_host, account) = stage().await;
    account.pay_money(Money { times: 3, cents: 100 }).await.unwrap();
    let log = account.log().await.unwrap();
    assert_eq!(log, ["pay 100 x 3"], "arguments were misread");
}

#[tokio::test]
async fn arguments_of_another_shape_are_sent_by_name_and_never_misread() {
    arguments_of_another_order_are_not_misread().await;
    let (_host, account) = stage().await;
    assert_eq!(account.pay(3, 100).await, Ok(300));
    assert_eq!(account.pay_money(Money { times: 4, cents: 100 }).await, Ok(400));
    assert_eq!(account.pay_in(Currency::Euro).await, Ok(1));
    assert_eq!(account.pay_in(Currency::Pound).await, Ok(1));
    let error = account.pay_in(Currency::Dollar).await.unwrap_err();
    assert!(error.to_string().contains("unknown variant `Dollar`"), "{error}");
    assert_eq!(error.ran(), Ran::No);
    let log = ["pay 100 x 3", "pay 100 x 4", "pay in Euro", "pay in Pound"];
    assert_eq!(account.log().await.unwrap(), log);
}

#[tokio::test]
async fn an_argument_that_the_host_does_not_know_is_refused_by_name() {
    let (_host, account) = stage().await;
    let error = account.close("moved".to_owned(), true).await.unwrap_err();
    assert!(error.to_string().contains("command close: unknown field `final_`"), "{error}");
    assert_eq!(error.ran(), Ran::No);
    assert_eq!(account.log().await, Ok(vec![]));
}
