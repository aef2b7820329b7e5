//! A cluster in which hosts and clients speak different versions of the wire, as during a rolling upgrade.
//!
//! The older side is today's binary with `HOLOCRON_WIRE`: it speaks one version and knows no ranges.

use holocron::frame::OLDEST;
use rustix::process::Signal;

use super::support::{
    Callers, Host, PATIENCE, Place, add_to_all, holocron, text, turn, until, values_of,
};

const SMALL: [&str; 2] = ["--slots", "64"];

/// The environment of a process that speaks this version only.
fn only(version: u16) -> [(&'static str, String); 1] {
    [("HOLOCRON_WIRE", version.to_string())]
}

/// Waits until these hosts are the members and together serve every slot. One alone may have all of them: of a host that joined
/// by a message of version 3 it isn't known what it can read, so slots stay with the others.
async fn served(place: &Place, hosts: &[Host]) {
    until("every slot is served", async || {
        let record = place.record().await?;
        let (mut serving, mut waiting) = (0, 0);
        for host in hosts {
            let status = host.status().await?;
            serving += status.slots_serving;
            waiting += status.slots_waiting + status.slots_going;
        }
        let whole = serving == u32::from(record.slot_count) && waiting == 0;
        (whole && record.hosts.len() == hosts.len()).then_some(())
    })
    .await;
}

/// Stops a host and starts another one under its name.
async fn replace(place: &Place, host: &mut Host, environment: &[(&str, String)]) {
    host.signal(Signal::TERM);
    assert!(host.ended().await.success(), "{}", host.log());
    let name = host.name.to_string();
    *host = place.host_in(&name, &[], environment).await;
}

/// Adds 1 to a counter, as a client with this environment. Returns the new value.
async fn add_as(environment: &[(&str, String)], place: &Place, key: &str) -> String {
    let url = place.url();
    let mut call = holocron(&["call", "--store", &url, "counter", key, "add", "1"]);
    let output = call.envs(environment.iter().cloned()).output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("it ends in time").unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_of_two_versions_replace_each_other_under_load() {
    let _turn = turn().await;
    let place = Place::new();
    let older = only(OLDEST);
    let mut hosts = Vec::new();
    for name in ["h1", "h2", "h3"] {
        hosts.push(place.host_in(name, &SMALL, &older).await);
    }
    served(&place, &hosts).await;
    let keys: Vec<String> = (0..12).map(|number| format!("c{number}")).collect();
    let client = place.client().await;
    add_to_all(&client, &keys).await;
    let callers = Callers::start(&client, &keys);
    let mut added = 0;
    // Up, host by host; then one back, and up again.
    let steps: [(usize, &[(&str, String)]); 5] =
        [(0, &[]), (1, &[]), (2, &[]), (1, &older), (1, &[])];
    for (at, environment) in steps {
        replace(&place, &mut hosts[at], environment).await;
        served(&place, &hosts).await;
        // Not one that speaks only the newest: it can't reach an older host, and any host may have the vnode.
        for environment in [&older[..], &[]] {
            added += 1;
            assert_eq!(add_as(environment, &place, "by-commands").await, added.to_string());
        }
    }
    let values = callers.stop().await;
    assert!(values.iter().all(|value| *value > 1), "every caller was answered: {values:?}");
    assert_eq!(values_of(&client, &keys).await, values);
}
