//! The actors above the vnodes: one per host, and one per slot while it has active vnodes. They group their children,
//! so that all vnodes of a slot or a host stop at once, and they survive a child's failure.

use ractor::{
    Actor, ActorCell, ActorProcessingErr, ActorRef, ActorRuntime, SupervisionEvent,
    concurrency::JoinHandle,
};

/// Supervises and does nothing else.
#[derive(Debug)]
pub(crate) struct Supervisor;

/// A supervisor receives no messages.
#[derive(Debug)]
pub(crate) enum NoMessage {}

impl Actor for Supervisor {
    type Msg = NoMessage;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<NoMessage>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<NoMessage>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match event {
            // Panics of user code are caught where they happen, so this is a bug of ours. The vnode starts again from
            // its committed state at its next call.
            SupervisionEvent::ActorFailed(child, error) => {
                tracing::error!(actor = %child.get_id(), %error, "actor failed; restarts at the next call");
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
