//! Hosts in one process with two domains.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use holocron_protocol::{
    epoch::domain::DomainStore as Identity,
    format::keys,
    ids::{ClusterId, Nonce, StoreId},
};
use holocron_store::{Faults, Faulty, Memory, Outage, Store};
use serde::{Deserialize, Serialize};

use super::Domain;
use crate::{CallError, Client, Context, Host, Settings, Vnode, VnodeRef};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

macro_rules! counting {
    ($name:ident, $kind:literal) => {
        #[derive(Default, Serialize, Deserialize)]
        struct $name(u64);

        impl Vnode for $name {
            const KIND: &'static str = $kind;
            type Command = ();
            type Reply = u64;
            type Query = ();
            type Answer = u64;
            type Env = ();

            fn command(&mut self, _: &mut Context<'_, Self>, (): ()) -> u64 {
                self.0 += 1;
                self.0
            }

            fn query(&self, _: &Context<'_, Self>, (): ()) -> u64 {
                self.0
            }
        }
    };
}

counting!(Visit, "visit");
counting!(Order, "order");

fn memory() -> Arc<dyn Store> {
    Arc::new(Memory::default())
}

fn faulty(store: &Arc<dyn Store>) -> Arc<Faulty> {
    Arc::new(Faulty::new(Arc::clone(store), 1, Faults::default()))
}

/// Starts a host whose orders live in acme.
async fn host(name: &str, home: Arc<dyn Store>, acme: Arc<dyn Store>) -> Host {
    let settings = Settings { slots: 8, ..Settings::default() };
    let domain = Domain::new("acme", "memory://").store(acme).kind(Order::KIND);
    let builder = Host::builder("memory://").store(home).name(name).settings(settings);
    builder.domain(domain).vnode::<Visit>().vnode::<Order>().start().await.unwrap()
}

async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let waiting = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("until {what}"));
}

async fn serves_acme(host: &Host, slots: u32) {
    until("it serves acme", || {
        let session = host.status().domains[0].session;
        session.is_some_and(|session| session.slots_serving == slots)
    })
    .await;
}

fn patient(host: &Host) -> Client {
    host.client().with_deadline(PATIENCE)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_either_store_leaves_the_other_domain_served() {
    let (home, acme) = (faulty(&memory()), faulty(&memory()));
    let host = host("h1", Arc::clone(&home) as _, Arc::clone(&acme) as _).await;
    serves_acme(&host, 8).await;
    let client = patient(&host);
    let (visit, order) = (client.get::<Visit>("v"), client.get::<Order>("o"));
    assert_eq!((visit.command(()).await, order.command(()).await), (Ok(1), Ok(1)));
    let in_vain = client.clone().with_deadline(Duration::from_millis(300));
    acme.set_outage(Outage::Refuses);
    assert_eq!(visit.command(()).await, Ok(2));
    let order_in_vain: VnodeRef<Order> = in_vain.get("o");
    assert_eq!(order_in_vain.command(()).await, Err(CallError::Unclear));
    acme.set_outage(Outage::None);
    home.set_outage(Outage::Hangs);
    assert_eq!(order.command(()).await, Ok(3), "what was unclear has run");
    let visit_in_vain: VnodeRef<Visit> = in_vain.get("v");
    assert_eq!(visit_in_vain.command(()).await, Err(CallError::Unclear));
    home.set_outage(Outage::None);
    assert_eq!(visit.command(()).await, Ok(4));
    assert!(host.status().domains[0].trouble.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_loses_access_to_a_domain_keeps_the_rest_and_comes_back() {
    let (home, acme) = (memory(), memory());
    let access = faulty(&acme);
    let one = host("h1", Arc::clone(&home), Arc::clone(&access) as _).await;
    serves_acme(&one, 8).await;
    let two = host("h2", Arc::clone(&home), Arc::clone(&acme)).await;
    serves_acme(&two, 4).await;
    let before = (one.status().session, two.status().session);
    let orders: Vec<VnodeRef<Order>> =
        (0..20).map(|number| patient(&two).get(&format!("o{number}"))).collect();
    for order in &orders {
        assert_eq!(order.command(()).await, Ok(1));
    }
    // The leader's access, so that the other host has to seal for it.
    access.set_outage(Outage::Refuses);
    for order in &orders {
        assert_eq!(order.command(()).await, Ok(2));
    }
    serves_acme(&two, 8).await;
    assert_eq!((one.status().session, two.status().session), before, "home is as before");
    access.set_outage(Outage::None);
    serves_acme(&one, 4).await;
    for order in &orders {
        assert_eq!(order.query(()).await, Ok(2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_the_domains_is_refused_with_the_reason() {
    let object = |cluster: ClusterId, name: &str| {
        let name = name.to_owned();
        Identity { cluster, name, store: StoreId::new(7) }.encode(Nonce::new(1))
    };
    let home = memory();
    let first = host("h1", Arc::clone(&home), memory()).await;
    serves_acme(&first, 8).await;
    let cluster = first.views().borrow().clone().expect("it has a view");
    let own = first.shared.parts.cluster.cluster;
    let cases: [(&str, Bytes, &str); 4] = [
        (keys::DOMAIN, object(ClusterId::new(1), "acme"), "another cluster"),
        (keys::DOMAIN, object(own, "archive"), "that of domain archive"),
        (keys::DOMAIN, object(own, "acme"), "another store"),
        ("readme", Bytes::from_static(b"an empty place"), "no `domain` object"),
    ];
    for (at, (key, body, why)) in cases.into_iter().enumerate() {
        let wrong = memory();
        wrong.put(key, body).await.unwrap();
        let host = host(&format!("w{at}"), Arc::clone(&home), Arc::clone(&wrong)).await;
        until(why, || {
            let trouble = host.status().domains[0].trouble.clone();
            trouble.is_some_and(|trouble| trouble.contains(why))
        })
        .await;
        assert!(wrong.list(keys::SESSIONS).await.unwrap().is_empty(), "{why}: it opened a session");
        host.leave().await;
    }
    assert!(cluster.record.domain_named("acme").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_of_a_cluster_is_no_domains_store() {
    let home = memory();
    let host = host("h1", Arc::clone(&home), Arc::clone(&home)).await;
    until("it says why", || {
        let trouble = host.status().domains[0].trouble.clone();
        trouble.is_some_and(|trouble| trouble.contains("root of a cluster"))
    })
    .await;
    let why = patient(&host)
        .with_deadline(Duration::from_millis(300))
        .get::<Order>("o")
        .command(())
        .await;
    let Err(CallError::Unavailable { why, .. }) = why else { panic!("{why:?}") };
    assert!(why.contains("no host has access"), "{why}");
}
