//! The vnode that a subcommand is about.

use clap::Args;
use holocron_protocol::ids::VnodeName;

use crate::exit::{Fail, Failure};

/// A vnode, by its name.
#[derive(Debug, Args)]
pub(crate) struct VnodeArguments {
    /// The vnode's kind.
    kind: String,
    /// The vnode's key.
    key: String,
}

impl VnodeArguments {
    pub(crate) fn name(&self) -> Result<VnodeName, Fail> {
        name(&self.kind, &self.key)
    }
}

/// The name of a vnode; a usage error if none can have it.
pub(crate) fn name(kind: &str, key: &str) -> Result<VnodeName, Fail> {
    VnodeName::new(kind, key).map_err(|error| Fail::new(Failure::Usage, error.to_string()))
}
