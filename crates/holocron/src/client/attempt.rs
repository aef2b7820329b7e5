//! One attempt of a request whose sender counts its attempts itself: a vnode.

use core::time::Duration;

use tokio::time::timeout;

use super::{Client, request_driver::moved, routes::Target, shared::Shared};
use crate::api::{
    call::{Answer, Body, Call, ReplyTo},
    courier::Parcel,
};

/// How long an attempt may be unanswered before it counts as lost.
const ATTEMPT_MAX: Duration = Duration::from_secs(30);

impl Client {
    /// Sends it to the owner of its target, if that can be reached. `None`: it was not sent, or the answer was lost.
    pub(crate) async fn attempt(&self, parcel: Parcel) -> Option<Answer> {
        let answer = timeout(ATTEMPT_MAX, attempt(&self.shared, parcel)).await.ok().flatten();
        if let Some(answer) = &answer {
            self.shared.note_epoch(answer.epoch);
        }
        answer
    }
}

async fn attempt(shared: &Shared, parcel: Parcel) -> Option<Answer> {
    let Parcel { to, mode, request, body } = parcel;
    let routes = shared.routes();
    let route = routes.route(&to)?;
    let epoch = shared.newest_epoch(&routes);
    let Body { format, bytes: body } = body;
    let call = Call { name: to.clone(), mode, request, epoch, format, body };
    let receiver = match &route.target {
        Target::Local => {
            let (reply, receiver) = ReplyTo::here();
            shared.local.as_ref()?.serve.call(call, reply);
            receiver
        }
        Target::Remote(connection) => {
            let link = connection.link().await.ok()?;
            let room = link.room().await.ok()?;
            room.call(&call).ok()?
        }
    };
    tokio::select! {
        biased;
        answer = receiver => answer.ok(),
        () = moved(shared, &to, route.session) => None,
    }
}
