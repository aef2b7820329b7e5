//! One look at a cluster, and the look before.

use core::time::Duration;
use std::{collections::VecDeque, sync::Arc};

use holocron::{PeerMessage, PeerReply, ask, net::Network};
use holocron_protocol::{
    epoch::record::EpochRecord,
    format::keys,
    ids::{Epoch, HostName},
};
use tokio::time::Instant;

use crate::{
    deadline::DeadlineArguments,
    exit::Fail,
    status::{Answers, ask_all},
    store::ClusterArguments,
};

/// Epochs that are shown.
const EPOCHS_MAX: usize = 32;
/// How long a host may take to send the newest record.
const RECORD_WITHIN: Duration = Duration::from_secs(2);

/// Looks at a cluster again and again.
pub(super) struct Sampler {
    cluster: ClusterArguments,
    network: Arc<dyn Network>,
    deadline: DeadlineArguments,
    record: Arc<EpochRecord>,
    /// The newest epochs seen, newest first, with their reasons.
    epochs: VecDeque<(Epoch, String)>,
}

/// What a look found.
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) record: Arc<EpochRecord>,
    pub(super) answers: Answers,
    pub(super) epochs: Vec<(Epoch, String)>,
}

impl Sampler {
    pub(super) async fn open(
        cluster: ClusterArguments,
        deadline: DeadlineArguments,
    ) -> Result<Self, Fail> {
        let client = deadline.start().connect(&cluster).await?;
        let (view, network) = (client.ready().await?, Arc::clone(client.network()));
        let record = Arc::clone(&view.record);
        let epochs = VecDeque::from([(record.epoch, record.reason.clone())]);
        Ok(Self { cluster, network, deadline, record, epochs })
    }

    pub(super) async fn sample(&mut self) -> Sample {
        let mut answers = ask_all(&self.network, &self.record, self.deadline.start()).await;
        if self.read_newer(&answers).await {
            answers = ask_all(&self.network, &self.record, self.deadline.start()).await;
        }
        Sample {
            at: Instant::now(),
            record: Arc::clone(&self.record),
            answers,
            epochs: self.epochs.iter().cloned().collect(),
        }
    }

    /// Reads a newer record, from the host that knows the newest one; from the store when no host answers. Returns whether
    /// there was one.
    async fn read_newer(&mut self, answers: &Answers) -> bool {
        let known =
            answers.iter().filter_map(|(name, status)| Some((status.as_ref().ok()?.epoch, name)));
        let newest = match known.max() {
            Some((epoch, _)) if epoch <= self.record.epoch => return false,
            Some((epoch, name)) => self.of_host(name, epoch).await,
            None => self.of_store().await,
        };
        let Some(record) = newest.filter(|newest| newest.epoch > self.record.epoch) else {
            return false;
        };
        self.epochs.push_front((record.epoch, record.reason.clone()));
        self.epochs.truncate(EPOCHS_MAX);
        self.record = record;
        true
    }

    /// If the host has heard of a still newer one meanwhile, the next look will find it.
    async fn of_host(&self, name: &HostName, epoch: Epoch) -> Option<Arc<EpochRecord>> {
        let address = &self.record.hosts.get(name)?.address;
        let asked = ask(&*self.network, address, PeerMessage::View, RECORD_WITHIN).await;
        let Ok(PeerReply::View(stored)) = asked else { return None };
        EpochRecord::decode(&keys::epoch(epoch), &stored).ok().map(Arc::new)
    }

    async fn of_store(&self) -> Option<Arc<EpochRecord>> {
        let client = self.deadline.start().connect(&self.cluster).await.ok()?;
        client.view().map(|view| view.record)
    }
}
