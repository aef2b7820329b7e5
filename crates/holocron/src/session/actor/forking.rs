//! Giving the state away, and beginning with a given one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use holocron_protocol::request::fork::{Created, Fork, Own};

use super::{Active, Existence, running::Unrun};
use crate::api::{call::Outcome, schema::NotRun};

/// Longest state that is shown as JSON, in bytes.
const JSON_LEN_MAX: usize = 1 << 20;

impl Active {
    /// The state, with its version; nothing if the vnode doesn't exist.
    pub(super) fn encoded_state(&mut self) -> Outcome {
        let version = self.kind.version();
        let running = self.phase.running();
        if running.existence == Existence::Absent {
            return Outcome::Reply(Fork::encode(None));
        }
        let mut state = Vec::new();
        // `Serialize` is the user's: a panic there is this vnode's alone.
        match catch_unwind(AssertUnwindSafe(|| running.vnode.encode(&mut state))) {
            Ok(Ok(())) => {
                let fork = Fork { version, state: state.into() };
                Outcome::Reply(Fork::encode(Some(&fork)))
            }
            Ok(Err(_)) | Err(_) => {
                self.note_panic();
                Outcome::Panicked
            }
        }
    }

    /// The state as JSON, for people; `null` if the vnode doesn't exist.
    pub(super) fn state_as_json(&mut self) -> Outcome {
        let running = self.phase.running();
        if running.existence == Existence::Absent {
            return Outcome::Reply(Bytes::from_static(b"null"));
        }
        match catch_unwind(AssertUnwindSafe(|| running.vnode.as_json())) {
            Ok(Ok(json)) if json.len() > JSON_LEN_MAX => Outcome::Rejected(format!(
                "its state takes {} bytes as JSON; {JSON_LEN_MAX} can be shown",
                json.len()
            )),
            Ok(Ok(json)) => Outcome::Reply(json.into()),
            // JSON has fewer types than Rust: that is no fault of the vnode.
            Ok(Err(why)) => Outcome::Rejected(format!("its state can't be written as JSON: {why}")),
            Err(_) => {
                self.note_panic();
                Outcome::Panicked
            }
        }
    }

    /// Begins with a given state, unless the vnode exists.
    pub(super) fn create(&mut self, body: &[u8]) -> Result<Outcome, Unrun> {
        let fork = Fork::decode(body).map_err(malformed)?;
        let Some(fork) = fork else {
            return Err(malformed("there is no state to begin with".to_owned()));
        };
        let own = match self.phase.running().existence {
            Existence::Exists => Own::State,
            Existence::Absent => Own::Nothing,
        };
        let created = Created::at(own);
        if created == Created::Now {
            // `migrate` and `Deserialize` are the user's.
            let load = AssertUnwindSafe(|| self.kind.load(fork.version, &fork.state));
            let vnode = match catch_unwind(load) {
                Ok(loaded) => loaded.map_err(malformed)?,
                Err(_) => {
                    let why = "reading the given state panicked";
                    return Err(malformed(why.to_owned()));
                }
            };
            let running = self.phase.running();
            running.vnode = vnode;
            running.existence = Existence::Exists;
        }
        Ok(Outcome::Reply(created.encode()))
    }
}

const fn malformed(why: String) -> Unrun {
    Unrun::NotRun(NotRun::Malformed(why))
}
