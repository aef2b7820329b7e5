//! Hooks of a kind, and one environment for two kinds.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use holocron::{Activation, BoxError, Context, Host, VnodeRef, vnode};
use serde::{Deserialize, Serialize};

#[derive(Default)]
struct House {
    opened: AtomicU32,
    log: Mutex<Vec<String>>,
}

#[derive(Default, Serialize, Deserialize)]
struct Room(u32);

struct Lamp(u32);

#[vnode(kind = "room", version = 3, env = Arc<House>)]
impl Room {
    #[activate]
    async fn enter(house: &House, activation: &Activation) -> Result<Lamp, BoxError> {
        house.log.lock().unwrap().push(format!("{} opens", activation.key()));
        match house.opened.fetch_add(1, Ordering::Relaxed) {
            0 => Err("the lamp is broken".into()),
            number => Ok(Lamp(number)),
        }
    }

    #[deactivate]
    async fn leave(lamp: Lamp, house: &House) {
        house.log.lock().unwrap().push(format!("lamp {} closes", lamp.0));
    }

    #[command]
    fn visit(&mut self, context: &mut Context<'_, Self>) -> (u32, u32) {
        self.0 += 1;
        (self.0, context.resource().0)
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Door;

#[vnode(kind = "door", env = Arc<House>)]
impl Door {
    #[query]
    fn opened(&self, context: &Context<'_, Self>) -> u32 {
        context.env().opened.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn an_environment_opens_what_a_vnode_holds_and_may_serve_another_kind_too() {
    let house = Arc::new(House::default());
    let builder = Host::builder("memory://").name("h1").env(Arc::clone(&house));
    let host = builder.vnode::<Room>().vnode::<Door>().start().await.unwrap();
    let kitchen: VnodeRef<Room> = host.client().get("kitchen");
    // The first attempt to open it failed.
    assert_eq!(kitchen.visit().await, Ok((1, 1)));
    assert_eq!(kitchen.visit().await, Ok((2, 1)));
    assert_eq!(host.client().get::<Door>("front").opened().await, Ok(2));
    host.leave().await;
    let log = house.log.lock().unwrap().clone();
    assert_eq!(log, ["kitchen opens", "kitchen opens", "lamp 1 closes"]);
}
