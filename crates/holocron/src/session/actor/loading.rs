//! Loading a vnode's state: at its activation, and for a rollback whose envelope is no longer in memory.

use std::sync::Arc;

use bytes::Bytes;
use holocron_protocol::{
    ids::{CommitNumber, Position},
    journal::batch::StateRecord,
    request::window::Window,
};

use super::{Active, Existence, Handed, LoadReason, Message, Phase, Running, Stored};
use crate::{api::kinds::AnyKind, store_io::state_reader::Unloadable};

impl Active {
    /// Starts to load the state from where it is.
    pub(super) fn load(&mut self, stored: Stored) {
        match stored {
            Stored::Nowhere => self.on_loaded(Ok(None)),
            Stored::Here(record) => {
                let loaded = holocron_protocol::journal::batch::decode_state(
                    &self.handle.name.to_string(),
                    &record,
                )
                .map(Some)
                .map_err(|malformed| Unloadable::Unreadable(malformed.to_string()));
                self.on_loaded(loaded);
            }
            Stored::At(located) => {
                let (session, handle, myself) =
                    (Arc::clone(&self.session), Arc::clone(&self.handle), self.myself.clone());
                tokio::spawn(async move {
                    let loaded = session.read_state(&handle, located).await;
                    // The actor may have gone with its session.
                    drop(myself.cast(Message::Loaded(loaded)));
                });
            }
        }
    }

    pub(super) fn on_loaded(&mut self, loaded: Result<Option<StateRecord>, Unloadable>) {
        let Phase::Loading { waiting, why } = &mut self.phase else {
            return;
        };
        let (waiting, why) = (core::mem::take(waiting), *why);
        tracing::trace!(vnode = %self.handle.name, found = ?loaded.as_ref().map(Option::is_some), waiting = waiting.len(), "state is read");
        self.phase = match self.phase_of(loaded, why) {
            Ok(phase) => phase,
            Err(Unloadable::Unreadable(why)) => {
                waiting.iter().for_each(|_| self.leave_queue());
                return self.become_unreadable(waiting, &why);
            }
            // The calls are dropped, which answers them Unclear.
            Err(Unloadable::Over) => return,
        };
        self.run(waiting, why);
        self.carry_out();
    }

    /// Decodes the stored record into the state in memory.
    fn phase_of(
        &mut self,
        loaded: Result<Option<StateRecord>, Unloadable>,
        why: LoadReason,
    ) -> Result<Phase, Unloadable> {
        let fresh = |kind: &dyn AnyKind| kind.fresh();
        let Some(record) = loaded? else {
            return Ok(Phase::Running(Running {
                vnode: fresh(&*self.kind),
                window: Window::default(),
                commit: CommitNumber::ZERO,
                existence: Existence::Absent,
            }));
        };
        if record.name != self.handle.name {
            return Err(Unloadable::Unreadable(format!(
                "another vnode of the same hash is stored there: {}",
                record.name
            )));
        }
        let running = self.decode(record.commit, &record.envelope)?;
        if let LoadReason::Rollback(_) = why {
            // There may be another rollback before the next hand-over.
            let position = self.handed.as_ref().map_or(Position::ZERO, |handed| handed.position);
            let envelope = Some((record.kind, record.envelope));
            self.handed = Some(Handed { position, commit: record.commit, envelope });
        }
        Ok(Phase::Running(running))
    }

    /// The vnode as it is in an envelope; its deferred work is set to that of the envelope.
    pub(super) fn decode(
        &mut self,
        commit: CommitNumber,
        envelope: &Bytes,
    ) -> Result<Running, Unloadable> {
        let name = self.handle.name.to_string();
        let envelope = holocron_protocol::request::envelope::Envelope::decode(&name, envelope)
            .map_err(|malformed| Unloadable::Unreadable(malformed.to_string()))?;
        let vnode = match &envelope.state {
            None => self.kind.fresh(),
            Some(state) => {
                // `migrate` and `Deserialize` are the user's: a panic there is this vnode's alone.
                let load = std::panic::AssertUnwindSafe(|| self.kind.load(envelope.schema, state));
                match std::panic::catch_unwind(load) {
                    Ok(loaded) => loaded.map_err(Unloadable::Unreadable)?,
                    Err(_) => {
                        return Err(Unloadable::Unreadable(
                            "reading the stored state panicked".to_owned(),
                        ));
                    }
                }
            }
        };
        let existence = match &envelope.state {
            Some(_) => Existence::Exists,
            None => Existence::Absent,
        };
        self.set_deferred(envelope.deferred);
        Ok(Running { vnode, window: envelope.window, commit, existence })
    }
}
