//! The gateway: what its requests share.

use core::fmt;
use std::sync::Arc;

use axum::http::{HeaderValue, header, request::Parts};
use governor::{DefaultKeyedRateLimiter, Quota, clock::Clock as _};
use holocron::{Client, Host, Observer, inspect::ClusterReader};
use holocron_protocol::ids::VnodeName;
use tokio::sync::{OnceCell, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    access::{Access, Anyone, Authorize, Denied, Peer, Principal, Scope, Target},
    kinds::Kinds,
    problem::{Problem, ProblemKind},
    routes,
    settings::GatewaySettings,
    status::{Cost, Latest},
};

/// Rates of more principals than this are looked through for those that have rested.
const RATES_KEPT: usize = 100_000;

/// Writes the metrics of the process, in the text format of `OpenMetrics`, as the crate `holocron-metrics` does.
pub type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// An HTTP/JSON gateway. Cheap to clone; clones share their limits.
#[derive(Clone)]
pub struct Gateway(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) observer: Option<Observer>,
    pub(crate) settings: GatewaySettings,
    pub(crate) kinds: Arc<Kinds>,
    pub(crate) metrics: Option<Metrics>,
    pub(crate) cost: Option<Cost>,
    pub(crate) status: Latest,
    /// Permits of watches.
    pub(crate) watchers: Arc<Semaphore>,
    /// Permits of bytes of bodies.
    pub(crate) bodies: Arc<Semaphore>,
    pub(crate) reader: OnceCell<ClusterReader>,
    /// Cancelled when the gateway is about to end: watches end, and it isn't ready.
    pub(crate) leaving: CancellationToken,
    authorize: Arc<dyn Authorize>,
    rates: Option<DefaultKeyedRateLimiter<String>>,
}

/// Sets up a gateway.
#[must_use = "a builder does nothing until it is built"]
pub struct GatewayBuilder {
    client: Client,
    observer: Option<Observer>,
    settings: GatewaySettings,
    authorize: Arc<dyn Authorize>,
    metrics: Option<Metrics>,
    cost: Option<Cost>,
}

impl GatewayBuilder {
    /// Other settings than the default.
    pub fn settings(mut self, settings: GatewaySettings) -> Self {
        self.settings = settings;
        self
    }

    /// Who may do what; everyone may do everything if not set.
    pub fn authorize(mut self, authorize: impl Authorize) -> Self {
        self.authorize = Arc::new(authorize);
        self
    }

    /// What `/metrics` answers; without it there is no such path.
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// What requests to the home domain's store cost, for `/v1/status`; unknown if not set.
    pub fn cost(mut self, cost: Cost) -> Self {
        self.cost = Some(cost);
        self
    }

    /// The gateway.
    pub fn build(self) -> Gateway {
        let Self { client, observer, settings, authorize, metrics, cost } = self;
        let local = observer.as_ref().map(|observer| observer.name().clone());
        let bodies = usize::try_from(settings.bodies_len_max).unwrap_or(Semaphore::MAX_PERMITS);
        Gateway(Arc::new(Shared {
            kinds: Arc::new(Kinds::new(client.clone(), local)),
            client,
            observer,
            metrics,
            cost,
            status: Latest::default(),
            watchers: Arc::new(Semaphore::new(settings.watchers_max)),
            bodies: Arc::new(Semaphore::new(bodies)),
            reader: OnceCell::new(),
            leaving: CancellationToken::new(),
            authorize,
            rates: settings.rate.map(|rate| {
                let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
                DefaultKeyedRateLimiter::keyed(quota)
            }),
            settings,
        }))
    }
}

impl Gateway {
    /// A gateway in the process of a host.
    pub fn of_host(host: &Host) -> GatewayBuilder {
        GatewayBuilder { observer: Some(host.observer()), ..Self::of_client(host.client()) }
    }

    /// A gateway in a process without a host. It has no history of epochs to show.
    pub fn of_client(client: Client) -> GatewayBuilder {
        let settings = GatewaySettings::default();
        GatewayBuilder {
            client,
            observer: None,
            settings,
            authorize: Arc::new(Anyone),
            metrics: None,
            cost: None,
        }
    }

    /// Its routes, for a service of one's own: below `/v1`, and `/healthz`, `/readyz` and `/metrics`. The limits on connections
    /// and heads are then the service's own.
    pub fn router(&self) -> axum::Router {
        routes::router(self)
    }

    /// The dashboard, at `/` and below `/dashboard/`, for a service of one's own. It asks for its data at [`Self::router`]'s
    /// paths, which must be at the same origin.
    pub fn dashboard(&self) -> axum::Router {
        routes::dashboard::router(self)
    }

    /// The gateway is about to end: `/readyz` says so, and watches end.
    pub fn leave(&self) {
        self.0.leaving.cancel();
    }

    /// Whether a request may go on; whom it comes from.
    pub(crate) async fn admit(
        &self,
        head: &Parts,
        access: Access<'_>,
    ) -> Result<Principal, Problem> {
        let principal = match self.0.authorize.authorize(head, access).await {
            Ok(principal) => principal,
            Err(Denied::Forbidden(why)) => return Err(ProblemKind::Forbidden.with(why)),
            Err(Denied::Unknown { challenge }) => {
                let problem = ProblemKind::Unauthenticated.with("say who you are");
                return Err(problem.header(header::WWW_AUTHENTICATE, challenge));
            }
        };
        self.spend(head, &principal)?;
        Ok(principal)
    }

    /// Counts a request against its principal's rate.
    fn spend(&self, head: &Parts, principal: &Principal) -> Result<(), Problem> {
        let Some(rates) = &self.0.rates else { return Ok(()) };
        if rates.len() > RATES_KEPT {
            rates.retain_recent();
        }
        let peer = || {
            head.extensions.get::<Peer>().map_or_else(String::new, |peer| peer.0.ip().to_string())
        };
        let who = if principal.0.is_empty() { peer() } else { principal.0.clone() };
        rates.check_key(&who).map_err(|early| {
            let wait = early.wait_time_from(governor::clock::DefaultClock::default().now());
            ProblemKind::TooManyRequests.with("slow down").retry_after(wait)
        })
    }
}

/// Access to a vnode.
pub(crate) fn to_vnode(scope: Scope, name: &VnodeName) -> Access<'_> {
    Access { scope, target: Target::Vnode { kind: name.kind(), key: name.key() } }
}

/// Access to the cluster.
pub(crate) const fn to_cluster(scope: Scope) -> Access<'static> {
    Access { scope, target: Target::Cluster }
}

/// A header's value as text.
pub(crate) fn text_of<'a>(head: &'a Parts, name: &str) -> Option<Result<&'a str, Problem>> {
    let text = |value: &'a HeaderValue| {
        let malformed =
            |_not_text| ProblemKind::Malformed.with(format!("the header {name} is not text"));
        value.to_str().map_err(malformed)
    };
    head.headers.get(name).map(text)
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("observer", &self.0.observer).finish_non_exhaustive()
    }
}

impl fmt::Debug for GatewayBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}
