//! The actors above the vnodes: one per host, and one per slot while it has active vnodes. They hold their children
//! together, so that a slot or a host can be dropped at once, and they outlive any child's failure.

use ractor::{
    Actor, ActorCell, ActorProcessingErr, ActorRef, ActorRuntime, SupervisionEvent,
    concurrency::JoinHandle,
};

/// Supervises and does nothing else.
#[derive(Debug)]
pub(crate) struct Supervisor;

/// Nobody sends a supervisor anything.
#[derive(Debug)]
pub(crate) enum Nothing {}

impl Actor for Supervisor {
    type Msg = Nothing;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Nothing>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Nothing>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match event {
            // A vnode's own panics are caught where they happen: this is a bug of ours. The vnode starts anew, from
            // its committed state, at its next call.
            SupervisionEvent::ActorFailed(child, error) => {
                tracing::error!(actor = %child.get_id(), %error, "an actor failed");
            }
            SupervisionEvent::ActorStarted(_)
            | SupervisionEvent::ActorTerminated(..)
            | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

impl Supervisor {
    /// The actor at the top of a host.
    pub(crate) async fn top() -> (ActorCell, JoinHandle<()>) {
        let (actor, joined) =
            Actor::spawn(None, Self, ()).await.expect("an actor without a name always starts");
        (actor.get_cell(), joined)
    }

    /// An actor below another.
    pub(crate) fn below(parent: &ActorCell) -> ActorCell {
        let (actor, _) = ActorRuntime::spawn_linked_instant(None, Self, (), parent.clone())
            .expect("an actor without a name always starts");
        actor.get_cell()
    }
}
