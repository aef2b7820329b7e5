//! Timers, messages and effects of kinds that are written with the macro.

use core::time::Duration;
use std::sync::{Arc, Mutex};

use holocron::{Context, EffectId, Failed, Host, Retry, VnodeRef, vnode};
use serde::{Deserialize, Serialize};

/// A payment service that fails at first.
#[derive(Default)]
struct Bank(Mutex<Vec<String>>);

#[derive(Default, Serialize, Deserialize)]
struct Order {
    log: Vec<String>,
}

#[vnode(kind = "order", env = Arc<Bank>)]
impl Order {
    #[command]
    fn place(&mut self, context: &mut Context<'_, Self>, sku: &str, n: u32) {
        context.ask::<Stock>(sku, StockCommand::reserve(context.key(), n), "reserved");
        context.after("expire", Duration::from_millis(50), OrderCommand::expire());
    }

    #[finished("reserved")]
    fn reserved(
        &mut self,
        context: &mut Context<'_, Self>,
        outcome: &Result<Result<u32, String>, Failed>,
    ) {
        self.log.push(format!("reserved: {outcome:?}"));
        if let Ok(Ok(left)) = outcome {
            context.charge("alice", *left);
            context.notify(String::from("reserved"));
        }
    }

    /// Charges the account, once whatever happens.
    #[effect]
    async fn charge(
        env: &Arc<Bank>,
        account: &str,
        id: EffectId,
        cents: u32,
    ) -> Result<String, Retry> {
        let mut calls = env.0.lock().expect("no test panics with it");
        calls.push(format!("{id}"));
        if calls.len() == 1 {
            Err(Retry::because("busy"))
        } else {
            Ok(format!("{account} paid {cents}"))
        }
    }

    #[finished(charge)]
    fn charged(&mut self, outcome: &Result<String, Failed>) {
        self.log.push(format!("charged: {outcome:?}"));
    }

    #[effect]
    async fn notify(text: String) -> Result<(), std::io::Error> {
        assert_eq!(text, "reserved");
        Ok(())
    }

    #[command]
    fn expire(&mut self) {
        self.log.push("expired".to_owned());
    }

    #[query]
    fn log(&self) -> Vec<String> {
        self.log.clone()
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Stock {
    reserved: u32,
}

#[vnode(kind = "stock")]
impl Stock {
    #[command]
    fn reserve(&mut self, order: &str, n: u32) -> Result<u32, String> {
        if self.reserved + n > 10 {
            return Err(format!("nothing left for {order}"));
        }
        self.reserved += n;
        Ok(10 - self.reserved)
    }
}

async fn log_of(order: &VnodeRef<Order>, length: usize) -> Vec<String> {
    let wait = async {
        loop {
            let log = order.log().await.unwrap();
            if log.len() >= length {
                return log;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it happens")
}

#[tokio::test]
async fn a_timer_a_message_and_an_effect_come_back_to_their_methods() {
    let bank = Arc::new(Bank::default());
    let builder = Host::builder("memory://").name("h1").env(Arc::clone(&bank));
    let host = builder.vnode::<Order>().vnode::<Stock>().start().await.unwrap();
    let one: VnodeRef<Order> = host.client().get("one");
    one.place("tea", 3).await.unwrap();
    let mut log = log_of(&one, 3).await;
    log.sort();
    assert_eq!(log, ["charged: Ok(\"alice paid 7\")", "expired", "reserved: Ok(Ok(7))"]);
    let calls = bank.0.lock().unwrap().clone();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert_eq!(calls[0], calls[1], "one id for all attempts");
    let two: VnodeRef<Order> = host.client().get("two");
    two.place("tea", 8).await.unwrap();
    let log = log_of(&two, 2).await;
    assert!(log.contains(&"reserved: Ok(Err(\"nothing left for two\"))".to_owned()), "{log:?}");
}

/// A kind that takes the reply of another for something else.
#[derive(Default, Serialize, Deserialize)]
struct Careless {
    told: Vec<String>,
}

#[vnode(kind = "careless")]
impl Careless {
    #[command]
    fn go(&mut self, context: &mut Context<'_, Self>) {
        context.ask::<Stock>("tea", StockCommand::reserve(context.key(), 1), "reserved");
    }

    /// The stock replies a `Result<u32, String>`, in which these bytes would fit as well.
    #[finished("reserved")]
    fn reserved(&mut self, outcome: Result<(u8, u8), Failed>) {
        self.told.push(match outcome {
            Ok(misread) => format!("misread as {misread:?}"),
            Err(Failed { ran, why }) => format!("{ran:?}: {why}"),
        });
    }

    #[query]
    fn told(&self) -> Vec<String> {
        self.told.clone()
    }
}

#[tokio::test]
async fn a_reply_of_another_type_is_refused_and_said_to_have_run() {
    let host =
        Host::builder("memory://").vnode::<Careless>().vnode::<Stock>().start().await.unwrap();
    let careless = host.client().get::<Careless>("c");
    careless.go().await.unwrap();
    let told = loop {
        let told = careless.told().await.unwrap();
        if !told.is_empty() {
            break told;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(told, ["Yes: the reply can't be read: it is of another type"]);
}
