//! The environment of a kind, and what a vnode holds outside its state while it is active: how it is opened and closed.

use core::{fmt, future};

use holocron_protocol::ids::{Epoch, VnodeName};
use tokio_util::sync::CancellationToken;

use crate::api::vnode::Vnode;

/// An error of a hook; its text is for the operator.
pub type BoxError = Box<dyn core::error::Error + Send + Sync>;

/// What an environment opens and closes for the vnodes of a kind.
///
/// The *environment* of a kind ([`Vnode::Env`]) is what its vnodes find in their process: stores, clients, configuration.
/// It is given to a host at its start ([`crate::HostBuilder::env`], [`crate::Kind::new`]) and never stored. Handlers get it with
/// [`crate::Context::env`]. Several kinds may share one.
///
/// The *resource* is what one vnode holds outside its state while it is active (open files, a cache, background work): opened
/// before its first call runs and closed before it leaves.
///
/// The resource is never stored. When a command panics or is rolled back, the resource may be half changed: it is dropped,
/// without [`Lifecycle::close`], and opened again for the state before; then the commands since run again.
///
/// Safety must not rely on `close`: it isn't called when the host fails or is sealed. What protects a resource outside is
/// the fencing token, [`Activation::epoch`]: a resource that remembers the largest token it has seen, and refuses smaller
/// ones, can't be changed by an earlier owner. Within one host and one token, the attempts to open a vnode's resource
/// follow each other: the next begins after the one before was closed or dropped.
///
/// ```
/// use std::{fs::File, path::PathBuf};
///
/// use holocron::{Activation, BoxError, Lifecycle};
///
/// /// Gives each vnode a file of its own.
/// struct Files(PathBuf);
///
/// # struct Notebook;
/// impl Lifecycle<Notebook> for Files {
///     type Resource = File;
///
///     async fn open(&self, activation: &Activation) -> Result<File, BoxError> {
///         Ok(File::create(self.0.join(format!("{}.{}", activation.key(), activation.epoch().get())))?)
///     }
///
///     async fn close(&self, file: File, _: &Activation) {
///         drop(file.sync_all());
///     }
/// }
/// ```
pub trait Lifecycle<V>: Send + Sync + 'static {
    /// What an active vnode holds. Handlers get it with [`crate::Context::resource`].
    type Resource: Send + 'static;

    /// Whether anything is opened. `false` leaves out [`Lifecycle::open`] and [`Lifecycle::close`], and what they cost per
    /// active vnode; the resource must then be `()`.
    const HAS_HOOKS: bool = true;

    /// Opens it. Calls wait meanwhile. An attempt that takes longer than [`crate::Settings::open_timeout`] is dropped at
    /// its next await, as one is whose slot leaves; after an error it is tried again, with growing pauses. `holocron
    /// status` shows the error.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from opening.
    fn open(
        &self,
        activation: &Activation,
    ) -> impl Future<Output = Result<Self::Resource, BoxError>> + Send;

    /// Closes it: when the vnode leaves memory, when its slot moves to another host (which serves the slot only after
    /// this has ended), and when the host leaves. Calls of the vnode wait or are sent to the new owner meanwhile, so
    /// don't wait for one here. After [`crate::Settings::close_timeout`] it is dropped at its next await.
    #[expect(unused_variables, reason = "the name is for implementers")]
    fn close(
        &self,
        resource: Self::Resource,
        activation: &Activation,
    ) -> impl Future<Output = ()> + Send {
        drop(resource);
        future::ready(())
    }
}

/// No environment, and nothing is held.
impl<V> Lifecycle<V> for () {
    type Resource = ();
    const HAS_HOOKS: bool = false;

    async fn open(&self, _: &Activation) -> Result<(), BoxError> {
        Ok(())
    }
}

/// What the vnodes of a kind hold.
pub(crate) type Resource<V> = <<V as Vnode>::Env as Lifecycle<V>>::Resource;

/// One activation of a vnode: from opening what it holds to closing it.
#[derive(Clone)]
pub struct Activation {
    name: VnodeName,
    epoch: Epoch,
    cancelled: CancellationToken,
}

impl Activation {
    pub(crate) const fn new(name: VnodeName, epoch: Epoch, cancelled: CancellationToken) -> Self {
        Self { name, epoch, cancelled }
    }

    /// The vnode's key. That of a shard is its number, from `"0"` on.
    #[must_use]
    pub fn key(&self) -> &str {
        self.name.key()
    }

    /// The fencing token: the epoch that gave this host the vnode's slot. A later owner has a larger one.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Cancelled when the resource is to be used no more: at once when the session is over (another host may have the
    /// vnode already), otherwise when the resource was closed or dropped. Background work that was started in
    /// [`Lifecycle::open`] should end then.
    #[must_use]
    pub const fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }
}

impl fmt::Debug for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Activation").field(&self.name).field(&self.epoch).finish()
    }
}
