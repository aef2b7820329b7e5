//! View watcher: finds a newer view while calls wait for one.
//!
//! Hosts push each new view over every open link, so looking out mostly means having links to hosts that are alive. In
//! each round two hosts, others each time, are connected to and probed; only when neither answers, or when hosts have not
//! helped for a while, is the store asked. Rounds come with growing pauses, and end when nobody is stuck any more.

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

/// How long a view that was heard of may take to be pushed before it is looked for.
const PUSH_PATIENCE: Duration = Duration::from_millis(100);
/// Hosts asked at once.
const HOSTS_AT_ONCE: usize = 2;
/// How long a host may take before the round goes on without it.
const HOST_PATIENCE: Duration = Duration::from_millis(250);
/// How long the store may take.
const STORE_PATIENCE: Duration = Duration::from_secs(5);
/// The store is asked in each round of so many, even if hosts answer.
const STORE_EVERY: u32 = 4;
/// The pause after the first round; doubles with each.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest pause between rounds.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Looks out whenever somebody is stuck, until the client ends.
pub(super) async fn run(shared: Arc<Shared>) {
    let end = shared.end.clone();
    tokio::select! {
        biased;
        () = end.cancelled() => {}
        () = look_out(&shared) => {}
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

async fn look_out(shared: &Arc<Shared>) {
    // Clients begin at different hosts.
    let mut turn = shared.below(1 << 16);
    loop {
        let (wanted, changed) = (shared.wanted(), shared.changed());
        match shared.want() {
            Want::Nothing => wanted.await,
            Want::Announced if timeout(PUSH_PATIENCE, changed).await.is_ok() => {}
            Want::Announced | Want::Help => help(shared, &mut turn).await,
        }
    }
}

/// Rounds, until nobody wants a newer view any more.
async fn help(shared: &Arc<Shared>, turn: &mut usize) {
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

/// Asks once, then pauses. Whatever brings a new view also cuts this short.
async fn round(shared: &Arc<Shared>, turn: usize, rounds: u32) {
    let routes = shared.routes();
    let hosts: Vec<_> = routes.links().collect();
    let asked = (turn..turn + hosts.len().min(HOSTS_AT_ONCE))
        .map(|place| ask(shared, hosts[place % hosts.len()]));
    let answered = join_all(asked).await.contains(&true);
    if !answered || rounds % STORE_EVERY == STORE_EVERY - 1 {
        ask_store(shared).await;
    }
    sleep(shared.jittered((PAUSE_MIN * (1 << rounds.min(4))).min(PAUSE_MAX))).await;
}

/// Makes sure of a link to a host, which then pushes its newest view; says whether it answers.
async fn ask(shared: &Shared, host: &Connection) -> bool {
    let asked = timeout(HOST_PATIENCE, async {
        let link = host.link().await?;
        link.probe().await.map_err(|lost| lost.to_string())
    });
    match asked.await {
        Ok(Ok(())) => true,
        Ok(Err(why)) => {
            shared.set_obstacle(why);
            false
        }
        Err(_elapsed) => {
            shared.set_obstacle(format!("{host:?} doesn't answer"));
            false
        }
    }
}

async fn ask_store(shared: &Arc<Shared>) {
    let Some(views) = &shared.views else { return };
    let routes = shared.routes();
    if routes.view().is_none() {
        // Whoever gives up meanwhile is told what it waited for.
        shared.set_obstacle("the store has not said yet where the hosts are".into());
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
        Err(_elapsed) => shared.set_obstacle("the store doesn't answer".into()),
    }
}
