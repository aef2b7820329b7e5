//! States that earlier releases stored stay readable.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use holocron_kinds::{Counter, CounterClient as _, Kv, KvClient as _, register};
use holocron_testing::TestCluster;
use serde::{Deserialize, Serialize};

/// The kinds as they were before this crate: the same stored forms, with what is needed to fill them.
mod before {
    use super::*;

    #[derive(Default, Serialize, Deserialize)]
    pub(super) struct Counter {
        value: i64,
    }

    #[holocron::vnode(kind = "counter")]
    impl Counter {
        #[command]
        fn add(&mut self, amount: i64) -> i64 {
            self.value += amount;
            self.value
        }
    }

    #[derive(Default, Serialize, Deserialize)]
    pub(super) struct Kv {
        fields: BTreeMap<String, String>,
    }

    #[holocron::vnode(kind = "kv")]
    impl Kv {
        #[command]
        fn put(&mut self, field: &str, value: String) {
            self.fields.insert(field.to_owned(), value);
        }
    }
}

#[test]
fn states_of_the_first_release_are_read_and_changed() {
    let is_new = Arc::new(AtomicBool::new(false));
    let upgraded = Arc::clone(&is_new);
    let mut cluster = TestCluster::new(move |host| match upgraded.load(Ordering::Relaxed) {
        true => register(host),
        false => host.vnode::<before::Counter>().vnode::<before::Kv>(),
    })
    .hosts(1)
    .start();
    cluster.run(|client| async move {
        use before::{CounterClient as _, KvClient as _};
        client.get::<before::Counter>("c").add(7).await.unwrap();
        let map = client.get::<before::Kv>("m");
        map.put("a", "1".to_owned()).await.unwrap();
        map.put("b", "2".to_owned()).await.unwrap();
    });
    is_new.store(true, Ordering::Relaxed);
    cluster.crash("h1");
    cluster.start("h1");
    cluster.run(|client| async move {
        assert_eq!(client.get::<Counter>("c").add(1).await, Ok(8));
        let map = client.get::<Kv>("m");
        let all = map.all().await.unwrap();
        assert_eq!(all, [("a", "1"), ("b", "2")].map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        let before = map.get("a").await.unwrap().unwrap();
        assert_eq!(before.expires_at_ms, None);
        let by = map.compare_revision_and_set("a", Some(before.revision), Some("3".to_owned()));
        assert!(by.await.unwrap().unwrap().done);
    });
}
