//! The cluster of the demo: a store, some host processes, a client, and the load.

use core::time::Duration;
use std::{path::PathBuf, sync::Arc};

use holocron::{Client, HostStatus, Random, View, net::Tcp};
use holocron_protocol::{epoch::record::EpochRecord, ids::HostName};
use holocron_store::explain;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::{
    Arguments, clean_up,
    load::Load,
    network::Cuttable,
    process::{Common, Process},
};
use crate::{exit::Fail, status::status_of};

/// How long the hosts may take until they serve every slot.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Time between two looks at a condition that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Batches between two checkpoints of a demo host: few, so that a takeover reads packs and not only journals.
const CHECKPOINT_BATCHES: u64 = 64;
/// How long the clean-up at the end may take.
const CLEANED_UP_WITHIN: Duration = Duration::from_secs(30);

/// Where the demo's files are.
#[derive(Debug)]
pub(super) struct Place {
    /// Holds the hosts' logs, and the store unless `--store` names another. Removed on drop, unless it is kept.
    directory: TempDir,
    pub(super) url: String,
    options: Vec<(String, String)>,
    is_elsewhere: bool,
    keep: bool,
}

impl Place {
    pub(super) fn new(arguments: &Arguments, run: &str) -> Result<Self, Fail> {
        let failed =
            |error: std::io::Error| Fail::failed(format!("no temporary directory: {error}"));
        let mut directory =
            tempfile::Builder::new().prefix("holocron-demo-").tempdir().map_err(failed)?;
        directory.disable_cleanup(arguments.keep);
        let url = match &arguments.store {
            // A new prefix: existing objects are not touched.
            Some(url) => format!("{}/demo-{run}", url.trim_end_matches('/')),
            None => {
                let path = directory.path().join("store");
                url::Url::from_directory_path(path)
                    .expect("a temporary directory's path is absolute")
                    .into()
            }
        };
        if url.starts_with("memory:") {
            return Err(Fail::failed(
                "memory:// works within one process only; the demo starts several",
            ));
        }
        let options = arguments.options.pairs.clone();
        if let Some(above) = &arguments.store {
            // Also refuses a wrong URL.
            holocron_store::open_or_make(above, &options)?;
        }
        // A host doesn't create the directory of its store.
        holocron_store::open_or_make(&url, &options)?;
        Ok(Self {
            directory,
            url,
            options,
            is_elsewhere: arguments.store.is_some(),
            keep: arguments.keep,
        })
    }

    pub(super) fn common(&self) -> Common {
        Common {
            url: self.url.clone(),
            options: self.options.clone(),
            logs: self.directory.path().to_owned(),
            checkpoint_batches: CHECKPOINT_BATCHES,
        }
    }

    /// From now on everything is kept.
    pub(super) fn keep(&mut self) {
        self.keep = true;
        self.directory.disable_cleanup(true);
    }

    /// What is kept, and where.
    pub(super) fn kept(&self) -> Option<(&str, PathBuf)> {
        self.keep.then(|| (self.url.as_str(), self.directory.path().to_owned()))
    }

    /// Deletes what the hosts wrote into a store outside the directory, and warns of what is left. The hosts must have
    /// ended.
    pub(super) async fn clean_up(&self) {
        if self.keep || !self.is_elsewhere {
            return;
        }
        let left = match holocron_store::open(&self.url, &self.options) {
            Ok(store) => clean_up::clean_up(&store, CLEANED_UP_WITHIN).await,
            Err(error) => Err(clean_up::Left { objects: None, why: explain(&error) }),
        };
        let Err(clean_up::Left { objects, why }) = left else { return };
        let objects = objects.map_or_else(
            || "objects".to_owned(),
            |count| match count {
                1 => "1 object".to_owned(),
                count => format!("{count} objects"),
            },
        );
        eprintln!(
            "warning: {} is not cleaned up; delete the remaining {objects} below it yourself ({why})",
            self.url
        );
    }
}

/// The running cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    /// Declared first, so dropped first.
    pub(super) processes: Vec<Process>,
    pub(super) network: Cuttable,
    pub(super) client: Client,
    pub(super) load: Arc<Load>,
}

impl Cluster {
    /// Starts the hosts and waits until they serve every slot.
    pub(super) async fn start(
        arguments: &Arguments,
        place: &Place,
        run: &str,
    ) -> Result<Self, Fail> {
        let common = place.common();
        let mut processes = Vec::new();
        for number in 1..=arguments.hosts {
            let weight = weight_of(number, arguments.hosts);
            processes.push(Process::start(&common, &format!("demo-{number}"), weight).await?);
        }
        let network = Cuttable::default();
        let mut builder = Client::of_hosts().network(Arc::new(network.clone()));
        for process in &processes {
            builder = builder.seed(&process.address);
        }
        let client = builder.connect().await?;
        let load = Arc::new(Load::new(&client, run, arguments.vnodes));
        let mut cluster = Self { processes, network, client, load };
        cluster.all_served().await?;
        Ok(cluster)
    }

    /// Waits until every host is in the cluster and every slot is served.
    pub(super) async fn all_served(&mut self) -> Result<(), Fail> {
        let give_up = Instant::now() + READY_WITHIN;
        loop {
            self.all_live(None)?;
            let view = self.view().await?;
            let statuses = self.statuses(None).await;
            let complete = statuses.len() == self.processes.len()
                && statuses
                    .iter()
                    .all(|status| status.slots_serving > 0 && status.slots_waiting == 0);
            if complete && serve_all(&statuses, &view.record) {
                return Ok(());
            }
            if Instant::now() > give_up {
                let epoch = view.record.epoch;
                let mut why =
                    format!("after {READY_WITHIN:?}, at {epoch}, not every slot is served:");
                for status in statuses {
                    why.push_str(&format!(
                        " {} serves {} and waits for {};",
                        status.name, status.slots_serving, status.slots_waiting
                    ));
                }
                return Err(Fail::failed(why));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// The newest epoch record the client knows.
    pub(super) async fn view(&self) -> Result<View, Fail> {
        Ok(self.client.ready().await?)
    }

    /// The status of each host that answers, except `but`.
    pub(super) async fn statuses(&self, but: Option<&HostName>) -> Vec<HostStatus> {
        let asked: Vec<_> = self
            .processes
            .iter()
            .filter(|process| Some(&process.name) != but)
            .map(|process| {
                let address = process.address.clone();
                tokio::spawn(async move { status_of(&Tcp, &address).await })
            })
            .collect();
        let mut statuses = Vec::new();
        for asked in asked {
            if let Ok(Ok(status)) = asked.await {
                statuses.push(status);
            }
        }
        statuses
    }

    /// Fails if a process other than `but` has ended.
    pub(super) fn all_live(&mut self, but: Option<&HostName>) -> Result<(), Fail> {
        for process in self.processes.iter_mut().filter(|process| Some(&process.name) != but) {
            if let Some(status) = process.ended() {
                let (name, log) = (&process.name, process.end_of_log());
                return Err(Fail::failed(format!("{name} ended unexpectedly: {status}\n{log}")));
            }
        }
        Ok(())
    }

    /// Starts the process of a host that has ended again, under its name.
    pub(super) async fn start_again(
        &mut self,
        name: &HostName,
        common: &Common,
    ) -> Result<(), Fail> {
        let hosts = self.processes.len();
        let found = (1..).zip(&mut self.processes).find(|(_, process)| process.name == *name);
        let (number, process) =
            found.ok_or_else(|| Fail::failed(format!("{name} is not one of the demo's hosts")))?;
        *process = Process::start(common, name.as_str(), weight_of(number, hosts)).await?;
        Ok(())
    }

    pub(super) fn process(&mut self, name: &HostName) -> Result<&mut Process, Fail> {
        let found = self.processes.iter_mut().find(|process| process.name == *name);
        found.ok_or_else(|| Fail::failed(format!("{name} is not one of the demo's hosts")))
    }
}

/// Whether these hosts together serve every slot.
pub(super) fn serve_all(statuses: &[HostStatus], record: &EpochRecord) -> bool {
    let serving: u32 = statuses.iter().map(|status| status.slots_serving).sum();
    serving == u32::from(record.slot_count)
}

/// A new random word, for keys and prefixes.
pub(super) fn fresh_word() -> String {
    format!("{:08x}", Random::from_system().bits() >> 96)
}

/// The victim, one of the first two hosts, must own a quarter of the vnodes with any number of hosts. So the first two
/// get 0.3 of the slots each.
fn weight_of(number: usize, hosts: usize) -> u32 {
    let others = u32::try_from(hosts.saturating_sub(2)).unwrap_or(0);
    if number <= 2 { (75 * others).max(100) } else { 100 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_two_hosts_own_more_than_a_quarter_each() {
        for hosts in 2..=16 {
            let all: u32 = (1..=hosts).map(|number| weight_of(number, hosts)).sum();
            for number in [1, 2] {
                assert!(weight_of(number, hosts) * 100 >= all * 29, "{number} of {hosts}");
            }
        }
    }
}
