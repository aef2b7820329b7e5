//! Migrations and the codec of a kind that is written with the macro.

use std::{collections::BTreeMap, sync::Arc};

use holocron::{CallError, Host, Unavailable, Vnode, vnode};
use holocron_store::{Memory, Store};
use serde::{Deserialize, Serialize};

mod first {
    use super::*;

    #[derive(Default, Serialize, Deserialize)]
    pub(crate) struct Cart {
        pub(crate) items: Vec<String>,
    }

    #[vnode(kind = "cart")]
    impl Cart {
        #[command]
        fn add(&mut self, sku: &str) {
            self.items.push(sku.to_owned());
        }
    }
}

mod third {
    use super::*;

    #[derive(Default, Serialize, Deserialize)]
    pub(crate) struct Cart {
        pub(crate) items: BTreeMap<String, u32>,
    }

    #[derive(Deserialize)]
    struct CartV2 {
        items: Vec<(String, u32)>,
    }

    #[vnode(kind = "cart", version = 3, codec = MessagePack)]
    impl Cart {
        #[migrate(from = 1)]
        fn from_v1(old: first::Cart) -> Result<Self, &'static str> {
            if old.items.iter().any(String::is_empty) {
                return Err("an article without a name");
            }
            Ok(Self { items: old.items.into_iter().map(|sku| (sku, 1)).collect() })
        }

        #[migrate(from = 2)]
        fn from_v2(old: CartV2) -> Self {
            Self { items: old.items.into_iter().collect() }
        }

        #[query]
        fn items(&self) -> BTreeMap<String, u32> {
            self.items.clone()
        }
    }
}

use first::CartClient as _;
use third::CartClient as _;

async fn start<V: Vnode>(store: &Arc<dyn Store>) -> Host {
    let builder = Host::builder("memory://").name("h1").store(Arc::clone(store));
    builder.vnode::<V>().start().await.unwrap()
}

#[tokio::test]
async fn a_migration_reads_an_older_state_or_says_why_it_cannot() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let host = start::<first::Cart>(&store).await;
    host.client().get::<first::Cart>("alice").add("tea").await.unwrap();
    host.client().get::<first::Cart>("bob").add("").await.unwrap();
    host.leave().await;
    let host = start::<third::Cart>(&store).await;
    let alice = host.client().get::<third::Cart>("alice").items().await.unwrap();
    assert_eq!(alice, BTreeMap::from([("tea".to_owned(), 1)]));
    let bob = host.client().get::<third::Cart>("bob").items().await;
    let Err(CallError::Unavailable { reason: Unavailable::Unreadable, why }) = bob else {
        panic!("{bob:?}")
    };
    assert_eq!(why, "an article without a name");
    assert_eq!((third::Cart::VERSION, third::Cart::CODEC), (3, holocron::Codec::MessagePack));
}
