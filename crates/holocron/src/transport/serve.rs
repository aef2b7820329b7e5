//! What a host offers to its callers, over the network or in the process.

use core::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use holocron_protocol::{epoch::record::EpochRecord, ids::ClusterId};
use tokio::sync::watch;

use crate::{
    api::call::{Call, ReplyTo},
    transport::peer::{PeerMessage, PeerReply},
};

/// The newest epoch record a host or client knows, with its stored bytes.
#[derive(Clone, Debug)]
pub struct View {
    /// The record.
    pub record: Arc<EpochRecord>,
    /// Its bytes in the store.
    pub stored: Bytes,
}

/// A host, as its transport and its in-process clients see it.
#[async_trait]
pub trait Serve: Debug + Send + Sync + 'static {
    /// The cluster it belongs to; callers of another one are refused at their first frame.
    fn cluster(&self) -> ClusterId;

    /// Accepts a call. Never blocks; the answer goes to `reply`, in any order.
    fn call(&self, call: Call, reply: ReplyTo);

    /// Answers another host or an operator's tool.
    async fn peer(&self, message: PeerMessage) -> PeerReply;

    /// The newest epoch record it knows, and every newer one; `None` until it knows one.
    fn views(&self) -> watch::Receiver<Option<View>>;
}
