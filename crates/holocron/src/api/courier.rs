//! How a vnode's messages reach other vnodes.

use core::fmt::Debug;

use async_trait::async_trait;
use holocron_protocol::{ids::VnodeName, request::window::Request};

use crate::api::call::{Answer, Body, Mode};

/// One attempt to deliver a message or an acknowledgement.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    pub(crate) to: VnodeName,
    pub(crate) mode: Mode,
    pub(crate) request: Request,
    pub(crate) body: Body,
}

/// Carries messages to the hosts of their targets.
#[async_trait]
pub(crate) trait Courier: Debug + Send + Sync + 'static {
    /// Makes one attempt. `None`: it could not be sent, or its answer was lost.
    async fn deliver(&self, parcel: Parcel) -> Option<Answer>;
}
