//! The kinds of the cluster, as its hosts describe them: kept for a while, asked for anew when one is missing.

use core::time::Duration;
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use holocron::{Client, KindDescription};
use holocron_protocol::ids::HostName;
use tokio::{sync::Mutex, time::Instant};

use crate::problem::{Problem, ProblemKind};

/// How long descriptions are used before they are asked for anew, in the background.
const FRESH: Duration = Duration::from_secs(30);
/// How often they may be asked for because something is missing.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What is known of the kinds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known(BTreeMap<String, Arc<KindDescription>>);

impl Known {
    /// The newest version of each kind.
    fn of(descriptions: impl IntoIterator<Item = KindDescription>) -> Self {
        let mut known: BTreeMap<String, Arc<KindDescription>> = BTreeMap::new();
        for kind in descriptions {
            let is_newer = known.get(&kind.kind).is_none_or(|other| other.version < kind.version);
            if is_newer && !KindDescription::is_reserved(&kind.kind) {
                known.insert(kind.kind.clone(), Arc::new(kind));
            }
        }
        Self(known)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &KindDescription> {
        self.0.values().map(|kind| &**kind)
    }
}

/// The kinds of the cluster.
#[derive(Debug)]
pub(crate) struct Kinds {
    client: Client,
    /// The host in this process: it answers at once.
    local: Option<HostName>,
    known: RwLock<(Arc<Known>, Option<Instant>)>,
    /// Held while hosts are asked; when that began last.
    asking: Mutex<Option<Instant>>,
}

impl Kinds {
    pub(crate) fn new(client: Client, local: Option<HostName>) -> Self {
        Self { client, local, known: RwLock::default(), asking: Mutex::default() }
    }

    fn read(&self) -> (Arc<Known>, Option<Instant>) {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A kind that some host runs.
    pub(crate) async fn get(self: &Arc<Self>, kind: &str) -> Result<Arc<KindDescription>, Problem> {
        let (known, since) = self.read();
        if let Some(found) = known.0.get(kind) {
            if since.is_none_or(|since| since.elapsed() > FRESH) {
                let kinds = Arc::clone(self);
                tokio::spawn(async move { kinds.ask(FRESH).await });
            }
            return Ok(Arc::clone(found));
        }
        if let Some(found) = self.at_home(kind).await {
            return Ok(found);
        }
        self.ask(ASK_EVERY).await;
        let known = self.read().0;
        known.0.get(kind).cloned().ok_or_else(|| {
            let names: Vec<&str> = known.0.keys().map(String::as_str).collect();
            let names = names.join(", ");
            ProblemKind::UnknownKind
                .with(format!("no host runs a kind named {kind:?}; the kinds are: {names}"))
        })
    }

    /// All kinds.
    pub(crate) async fn all(&self) -> Arc<Known> {
        self.ask(ASK_EVERY).await;
        self.read().0
    }

    /// A kind that the host of this process runs. The first requests then don't wait for hosts that give no answer.
    async fn at_home(&self, kind: &str) -> Option<Arc<KindDescription>> {
        if self.read().1.is_some() {
            return None;
        }
        let kinds = self.client.kinds_of(self.local.as_ref()?).await.ok()?;
        let known = Known::of(kinds);
        let found = known.0.get(kind).cloned();
        let mut state = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if state.1.is_none() {
            state.0 = Arc::new(known);
        }
        found
    }

    /// Asks all hosts, unless that was done within this time.
    async fn ask(&self, within: Duration) {
        let mut last = self.asking.lock().await;
        if last.is_some_and(|last| last.elapsed() < within) {
            return;
        }
        let began = Instant::now();
        *last = Some(began);
        let answers = match self.client.kinds().await {
            Ok(answers) => answers,
            Err(error) => {
                tracing::debug!(%error, "no host says which kinds it runs");
                return;
            }
        };
        let known = Known::of(answers.into_values().flatten().flatten());
        let mut state = self.known.write().unwrap_or_else(PoisonError::into_inner);
        *state = (Arc::new(known), Some(began));
    }
}
