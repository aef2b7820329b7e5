//! Domains: a second store for the kind kv, with credentials of its own.

use core::time::Duration;
use std::{path::PathBuf, sync::Arc};

use holocron::{Client, HostStatus, VnodeRef};
use holocron_kinds::{Kv, KvClient as _};
use holocron_protocol::{
    epoch::record::EpochRecord,
    format::keys,
    ids::{DomainId, HostName, SessionId},
    journal::batch::{self, JournalObject},
};
use holocron_store::Store;
use tempfile::TempDir;

use super::{
    proxy::{Fault, Proxy},
    support::{Host, Place, add_to_all, run, text, turn, until, values_of},
};

const ACME: DomainId = DomainId(1);
const VNODES: usize = 12;

/// A directory with the store of acme and the hosts' configuration.
struct Acme {
    directory: TempDir,
}

impl Acme {
    fn new() -> Self {
        let acme = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::create_dir(acme.path()).unwrap();
        let config = format!("[domain.acme]\nurl = \"{}\"\nkinds = [\"kv\"]\n", acme.url());
        std::fs::write(acme.config(), config).unwrap();
        acme
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("acme")
    }

    fn url(&self) -> String {
        format!("file://{}", self.path().display())
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("domains.toml")
    }

    fn store(&self) -> Arc<dyn Store> {
        holocron_store::open(&self.url(), &[]).unwrap()
    }

    /// Starts a host that serves acme.
    async fn host(&self, place: &Place, name: &str) -> Host {
        place.host(name, &["--config", self.config().to_str().unwrap()]).await
    }
}

/// The slots that a host serves in acme; `None` while it is recovering some.
fn serving(status: &HostStatus) -> Option<u32> {
    let domain = status.domains.iter().find(|domain| domain.name == "acme")?;
    let Some(session) = domain.session else { return Some(0) };
    (session.slots_waiting == 0).then_some(session.slots_serving)
}

/// Waits until these hosts serve all of acme, and as evenly as they share the home domain.
async fn acme_served(place: &Place, hosts: &[&Host]) {
    until("every slot of acme is served", async || {
        let slots = u32::from(place.record().await?.slot_count);
        let mut all = 0;
        for host in hosts {
            let status = host.status().await?;
            let served = serving(&status)?;
            if served == 0 || status.slots_serving == 0 || status.slots_waiting > 0 {
                return None;
            }
            all += served;
        }
        (all == slots).then_some(())
    })
    .await;
}

fn kv(client: &Client, number: usize) -> VnodeRef<Kv> {
    client.get(&format!("k{number}"))
}

/// Writes a value to each vnode of acme.
async fn put_all(client: &Client, value: &str) {
    for number in 0..VNODES {
        kv(client, number).put("a", value.to_owned(), None).await.unwrap().unwrap();
    }
}

/// Checks that each vnode of acme has this value.
async fn all_have(client: &Client, value: &str) {
    for number in 0..VNODES {
        let got = kv(client, number).get("a").await.unwrap();
        assert_eq!(got.map(|field| field.value).as_deref(), Some(value), "k{number}");
    }
}

fn counters() -> Vec<String> {
    (0..VNODES).map(|number| format!("c{number}")).collect()
}

async fn session_in(place: &Place, host: &HostName, domain: DomainId) -> SessionId {
    place.record().await.unwrap().hosts[host].sessions[&domain]
}

/// The number of seals in a session's journal.
async fn seals(store: &dyn Store, session: SessionId) -> usize {
    let mut seals = 0;
    for object in store.list(&keys::journal(session)).await.unwrap() {
        // It may be collected meanwhile; a seal stays.
        let Some(body) = store.get(&object.key).await.unwrap() else { continue };
        if let Ok(JournalObject::Seal(_)) = batch::decode(&object.key, &body) {
            seals += 1;
        }
    }
    seals
}

fn is_sealed(record: &EpochRecord, session: SessionId) -> bool {
    record.seals_wanted().all(|wanted| wanted != session) && !record.is_open(session)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_host_is_recovered_in_both_domains_with_one_seal_each() {
    let _turn = turn().await;
    let (place, acme) = (Place::new(), Acme::new());
    let (one, two) = (acme.host(&place, "h1").await, acme.host(&place, "h2").await);
    acme_served(&place, &[&one, &two]).await;
    let client = place.client().await;
    put_all(&client, "before").await;
    add_to_all(&client, &counters()).await;
    let sessions = [
        session_in(&place, &two.name, DomainId::HOME).await,
        session_in(&place, &two.name, ACME).await,
    ];
    two.kill().await;
    all_have(&client, "before").await;
    assert_eq!(values_of(&client, &counters()).await, [1; VNODES]);
    put_all(&client, "after").await;
    acme_served(&place, &[&one]).await;
    for (store, session) in [place.store(), acme.store()].into_iter().zip(sessions) {
        until("the seal is known", async || {
            is_sealed(&place.record().await?, session).then_some(())
        })
        .await;
        assert_eq!(seals(&*store, session).await, 1);
    }
    assert!(
        place
            .store()
            .list("sessions")
            .await
            .unwrap()
            .iter()
            .all(|object| { !object.key.contains(&sessions[1].to_string()) })
    );
    let config = acme.config();
    let scrub = ["scrub", "--store", &place.url(), "--config", config.to_str().unwrap()];
    let scrubbed = run(&scrub).await;
    let said = text(&scrubbed.stdout);
    assert!(scrubbed.status.success() && said.contains("domain acme"), "{said}");
    assert!(!said.contains("not looked into"), "{said}");
    all_have(&client, "after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_access_to_a_domain_serves_the_rest_until_it_has_access() {
    let _turn = turn().await;
    let (place, acme) = (Place::new(), Acme::new());
    let one = acme.host(&place, "h1").await;
    acme_served(&place, &[&one]).await;
    let client = place.client().await;
    put_all(&client, "before").await;
    // Its mount is missing at first.
    let mount = acme.directory.path().join("mount");
    let late = format!("acme=file://{}", mount.display());
    let two = place.host("h2", &["--domain", &late]).await;
    // An empty directory where acme's store should be.
    let wrong = tempfile::tempdir().unwrap();
    let wrong = format!("acme=file://{}", wrong.path().display());
    let three = place.host("h3", &["--domain", &wrong]).await;
    let trouble = async |host: &Host, word: &str| {
        let named = format!("{} says {word}", host.name);
        until(&named, async || {
            let status = host.status().await?;
            let why = status.domains[0].trouble.clone().unwrap_or_default();
            (why.contains(word) && status.slots_serving > 0).then_some(())
        })
        .await;
    };
    trouble(&two, "doesn't exist").await;
    trouble(&three, "no `domain` object").await;
    let shown = text(&run(&["status", "--store", &place.url()]).await.stdout);
    assert!(shown.contains("h3 doesn't serve domain acme"), "{shown}");
    all_have(&client, "before").await;
    std::os::unix::fs::symlink(acme.path(), &mount).unwrap();
    acme_served(&place, &[&one, &two]).await;
    assert_eq!(serving(&three.status().await.unwrap()), Some(0));
    all_have(&client, "before").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_is_added_and_removed_while_hosts_run() {
    let _turn = turn().await;
    let (place, acme) = (Place::new(), Acme::new());
    let url = place.url();
    let one = place.host("h1", &[]).await;
    let client = place.client().await;
    add_to_all(&client, &counters()).await;
    // Vnodes of the kind may exist in the home domain: only an operator can say that they don't.
    let two = acme.host(&place, "h2").await;
    until("h2 is told how", async || {
        let why = two.status().await?.domains[0].trouble.clone()?;
        why.contains("holocron domain add acme").then_some(())
    })
    .await;
    let added = run(&["domain", "add", "acme", "--kind", "kv", "--store", &url]).await;
    assert!(added.status.success(), "{}", text(&added.stderr));
    acme_served(&place, &[&two]).await;
    put_all(&client, "one").await;
    all_have(&client, "one").await;
    let session = session_in(&place, &two.name, ACME).await;
    assert!(!acme.store().list(&keys::journal(session)).await.unwrap().is_empty());
    let removed = run(&["domain", "remove", "acme", "--store", &url]).await;
    assert!(removed.status.success(), "{}", text(&removed.stderr));
    let call = ["call", "kv", "k1", "get", "a", "--deadline", "2", "--store", &url];
    let refused = run(&call).await;
    assert_eq!(refused.status.code(), Some(5));
    assert!(text(&refused.stderr).contains("acme, was removed"), "{}", text(&refused.stderr));
    let again = run(&["domain", "add", "acme", "--kind", "kv", "--store", &url]).await;
    assert_eq!(again.status.code(), Some(1), "its name is not given away");
    assert_eq!(values_of(&client, &counters()).await, [1; VNODES]);
    drop(one);
}

/// The S3 server through a proxy that knows which key may use which bucket.
struct Cloud {
    place: Place,
    proxy: Proxy,
    /// The buckets of the home domain and of acme.
    buckets: [String; 2],
    prefix: String,
}

impl Cloud {
    /// `None` if there is no S3 server.
    async fn start(test: &str) -> Option<Self> {
        let place = Place::on_s3(test)?;
        let upstream = std::env::var("AWS_ENDPOINT").expect("scripts/s3-server.sh sets both");
        let proxy = Proxy::start(&upstream, Fault::ChecksKeys).await;
        let url = place.url();
        let (home, prefix) = url.strip_prefix("s3://").unwrap().split_once('/').unwrap();
        let acme = format!("{home}-acme");
        super::proxy::make_bucket(&upstream, &acme).await;
        let (buckets, prefix) = ([home.to_owned(), acme], prefix.to_owned());
        Some(Self { place, proxy, buckets, prefix })
    }

    fn acme_url(&self) -> String {
        format!("s3://{}/{}", self.buckets[1], self.prefix)
    }

    fn acme_store(&self) -> Arc<dyn Store> {
        holocron_store::open(&self.acme_url(), &[]).unwrap()
    }

    /// Starts a host with a key of its own for each domain.
    async fn host(&self, name: &str) -> Host {
        let [home_key, acme_key] = [format!("home-{name}"), format!("acme-{name}")];
        self.proxy.let_in(&home_key, &self.buckets[0]);
        self.proxy.let_in(&acme_key, &self.buckets[1]);
        let endpoint = format!("endpoint={}", self.proxy.endpoint);
        let file = tempfile::NamedTempFile::new().unwrap();
        let config = format!("[domain.acme]\nurl = \"{}\"\nkinds = [\"kv\"]\n", self.acme_url());
        std::fs::write(file.path(), config).unwrap();
        let arguments = [
            "--option",
            &endpoint,
            "--option",
            &format!("aws_access_key_id={home_key}"),
            "--config",
            file.path().to_str().unwrap(),
            "--domain-option",
            &format!("acme.{endpoint}"),
            "--domain-option",
            &format!("acme.aws_access_key_id={acme_key}"),
        ];
        self.place.host(name, &arguments).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_buckets_with_keys_of_their_own_recover_from_a_kill() {
    let _turn = turn().await;
    let Some(cloud) = Cloud::start("domains-kill").await else { return };
    let (one, two) = (cloud.host("h1").await, cloud.host("h2").await);
    acme_served(&cloud.place, &[&one, &two]).await;
    let client = cloud.place.client().await;
    put_all(&client, "before").await;
    add_to_all(&client, &counters()).await;
    let sessions = [
        session_in(&cloud.place, &two.name, DomainId::HOME).await,
        session_in(&cloud.place, &two.name, ACME).await,
    ];
    two.kill().await;
    all_have(&client, "before").await;
    assert_eq!(values_of(&client, &counters()).await, [1; VNODES]);
    for (store, session) in [cloud.place.store(), cloud.acme_store()].into_iter().zip(sessions) {
        until("the seal is known", async || {
            is_sealed(&cloud.place.record().await?, session).then_some(())
        })
        .await;
        assert_eq!(seals(&*store, session).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_costs_a_host_its_slots_in_that_domain_and_nothing_else() {
    let _turn = turn().await;
    let Some(cloud) = Cloud::start("domains-revoke").await else { return };
    let (one, two) = (cloud.host("h1").await, cloud.host("h2").await);
    acme_served(&cloud.place, &[&one, &two]).await;
    let client = cloud.place.client().await;
    put_all(&client, "before").await;
    let homes = [
        session_in(&cloud.place, &one.name, DomainId::HOME).await,
        session_in(&cloud.place, &two.name, DomainId::HOME).await,
    ];
    // The leader's key, so that others have to seal for it.
    cloud.proxy.revoke("acme-h1");
    put_all(&client, "one").await;
    until("h1 serves nothing of acme", async || {
        let record = cloud.place.record().await?;
        (!record.hosts[&one.name].sessions.contains_key(&ACME)).then_some(())
    })
    .await;
    acme_served(&cloud.place, &[&two]).await;
    all_have(&client, "one").await;
    // And with no key left, acme waits while the home domain is served.
    cloud.proxy.revoke("acme-h2");
    for _ in 0..3 {
        add_to_all(&client, &counters()).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    assert_eq!(values_of(&client, &counters()).await, [3; VNODES]);
    let record = cloud.place.record().await.unwrap();
    let owner = record.domains[&ACME].slots.holding(holocron_protocol::ids::Slot(0)).owner;
    assert!(owner.is_some(), "an outage is nobody's fault");
    let in_vain = kv(&client.clone().with_deadline(Duration::from_secs(1)), 0);
    assert!(in_vain.remove("b").await.is_err());
    cloud.proxy.let_in("acme-h2", &cloud.buckets[1]);
    cloud.proxy.let_in("acme-h1", &cloud.buckets[1]);
    all_have(&client, "one").await;
    acme_served(&cloud.place, &[&one, &two]).await;
    put_all(&client, "two").await;
    all_have(&client, "two").await;
    for (host, session) in [&one, &two].into_iter().zip(homes) {
        let now = session_in(&cloud.place, &host.name, DomainId::HOME).await;
        assert_eq!(now, session, "{} kept its session in the home domain", host.name);
    }
}
