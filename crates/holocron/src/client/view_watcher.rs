//! View watcher: finds a newer view when calls need one.
//!
//! Hosts push each new view over every open link, so the watcher mainly needs links to hosts that are alive. Each
//! round connects to two hosts, in rotation, and probes them. It reads the store only if neither answers, and in
//! every fourth round. Pauses between rounds grow; the rounds end when no caller needs a newer view.

use core::time::Duration;
use std::sync::Arc;

use futures::future::join_all;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    NoViews,
    connection::Connection,
    shared::{Shared, Want},
};
use crate::transport::serve::View;

/// How long an announced view may take to be pushed before the watcher looks for it.
const PUSH_PATIENCE: Duration = Duration::from_millis(100);
/// Hosts probed at once.
const HOSTS_AT_ONCE: usize = 2;
/// How long a host may take before the round goes on without it.
const HOST_PATIENCE: Duration = Duration::from_millis(250);
/// How long the store may take.
const STORE_PATIENCE: Duration = Duration::from_secs(5);
/// One round in this many reads the store even if hosts answer.
const STORE_EVERY: u32 = 4;
/// The pause after the first round; doubles with each.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest pause between rounds.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Looks for a newer view whenever one is wanted, until the client ends.
pub(super) async fn run(shared: Arc<Shared>) {
    let end = shared.end.clone();
    tokio::select! {
        biased;
        () = end.cancelled() => {}
        () = watch_need(&shared) => {}
    }
}

/// Passes on the views of the host in this process, until the client or the host ends.
pub(super) async fn follow(shared: Arc<Shared>, mut views: watch::Receiver<Option<View>>) {
    loop {
        let view = views.borrow_and_update().clone();
        if let Some(view) = view {
            shared.install(view);
        }
        tokio::select! {
            biased;
            () = shared.end.cancelled() => return,
            changed = views.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

async fn watch_need(shared: &Arc<Shared>) {
    // Clients begin at different hosts.
    let mut turn = shared.below(1 << 16);
    loop {
        let (wanted, changed) = (shared.wanted(), shared.changed());
        match shared.want() {
            Want::Nothing => wanted.await,
            Want::Announced if timeout(PUSH_PATIENCE, changed).await.is_ok() => {}
            Want::Announced | Want::Needed => find_view(shared, &mut turn).await,
        }
    }
}

/// Rounds until no newer view is wanted.
async fn find_view(shared: &Arc<Shared>, turn: &mut usize) {
    let mut rounds = 0;
    while shared.want() != Want::Nothing {
        let changed = shared.changed();
        tokio::select! {
            biased;
            () = changed => rounds = 0,
            () = round(shared, *turn, rounds) => rounds += 1,
        }
        *turn += HOSTS_AT_ONCE;
    }
}

/// One round and the pause after it. The caller drops it when a new view arrives.
async fn round(shared: &Arc<Shared>, turn: usize, rounds: u32) {
    let routes = shared.routes();
    let hosts: Vec<_> = routes.connections().collect();
    let probes = (turn..turn + hosts.len().min(HOSTS_AT_ONCE))
        .map(|place| probe(shared, hosts[place % hosts.len()]));
    let answered = join_all(probes).await.contains(&true);
    if !answered || rounds % STORE_EVERY == STORE_EVERY - 1 {
        read_store(shared).await;
    }
    sleep(shared.jittered((PAUSE_MIN * (1 << rounds.min(4))).min(PAUSE_MAX))).await;
}

/// Opens a link to a host, which then pushes its newest view; returns whether the host answers.
async fn probe(shared: &Shared, host: &Connection) -> bool {
    let probed = timeout(HOST_PATIENCE, async {
        let link = host.link().await?;
        link.probe().await.map_err(|lost| lost.to_string())
    });
    match probed.await {
        Ok(Ok(())) => true,
        Ok(Err(why)) => {
            shared.set_obstacle(why);
            false
        }
        Err(_elapsed) => {
            shared.set_obstacle(format!("{}: no answer within {HOST_PATIENCE:?}", host.address()));
            false
        }
    }
}

async fn read_store(shared: &Arc<Shared>) {
    let Some(views) = &shared.views else { return };
    let routes = shared.routes();
    if routes.view().is_none() {
        // What a caller that gives up meanwhile gets as the reason.
        shared.set_obstacle("the newest epoch record has not been read from the store yet".into());
    }
    match timeout(STORE_PATIENCE, views.newer(routes.epoch())).await {
        Ok(Ok(view)) => {
            shared.set_store_lost(None);
            if view.is_none() && routes.view().is_none() {
                shared.set_obstacle("the store has no epoch record yet: no host has joined".into());
            }
            view.into_iter().for_each(|view| shared.install(view));
        }
        Ok(Err(NoViews::Unreadable(why))) => shared.set_obstacle(why),
        Ok(Err(NoViews::StoreLost(why))) => shared.set_store_lost(Some(why)),
        Err(_elapsed) => {
            shared.set_obstacle(format!("the store gave no answer within {STORE_PATIENCE:?}"));
        }
    }
}
