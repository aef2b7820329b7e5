use core::time::Duration;
use std::sync::{Arc, Mutex};

use super::*;
use crate::{
    call::{Answer, Outcome},
    fake::{CLUSTER, FakeHost, MemoryNetwork, Served, answer, body, reply, view, view_after},
};

/// A cluster of hosts that the test plays, and a client that knows the address of the first.
struct Stage {
    network: MemoryNetwork,
    hosts: Vec<Served>,
    view: View,
    client: Client,
}

fn parts(network: &MemoryNetwork, seeds: &[&str]) -> ClientParts {
    ClientParts {
        network: Arc::new(network.clone()),
        seeds: seeds.iter().map(|seed| (*seed).to_owned()).collect(),
        views: None,
        local: None,
        cluster: None,
        random: Random::from_seed(1),
        in_flight_max: 100,
    }
}

/// Hosts whose addresses are their names.
fn at_their_names<'a>(names: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    names.iter().map(|name| (*name, *name)).collect()
}

impl Stage {
    /// The first host owns everything.
    async fn new(names: &[&str]) -> Self {
        let network = MemoryNetwork::default();
        let view = view(&at_their_names(names), names[0]);
        let mut hosts = Vec::new();
        for name in names {
            let host = Served::start(&network, name).await;
            host.show(&view);
            hosts.push(host);
        }
        let client = Client::new(parts(&network, &names[..1]));
        Self { network, hosts, view, client }
    }

    /// A call in a task of its own.
    fn ask(&self, mode: Mode, text: &'static str) -> Asked {
        let client = self.client.clone();
        Asked(tokio::spawn(async move {
            let name = VnodeName::new("kind", "key").unwrap();
            client.call(&name, mode, body(text), DEADLINE_DEFAULT).await
        }))
    }

    fn command(&self, text: &'static str) -> Asked {
        self.ask(Mode::Command, text)
    }

    /// The next view, with those hosts and that owner; nobody has seen it yet.
    fn next_view(&mut self, names: &[&str], owner: &str) -> View {
        self.view = view_after(&self.view, &at_their_names(names), owner);
        self.view.clone()
    }
}

struct Asked(tokio::task::JoinHandle<Result<Bytes, CallError>>);

impl Asked {
    async fn result(self) -> Result<Bytes, CallError> {
        self.0.await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_finds_the_owner_from_a_seed() {
    let mut stage = Stage::new(&["a", "b"]).await;
    let asked = stage.command("deposit");
    let call = stage.hosts[0].answer(reply("done")).await;
    assert_eq!((call.body, call.epoch), (body("deposit"), Epoch::new(1)));
    assert_eq!(asked.result().await.unwrap(), body("done"));
}
