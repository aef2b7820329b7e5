//! The line that the audit has of an admin action, whichever way it came.

use core::fmt::Display;

/// Writes a line of the audit: who did what, from where, and how it ended. It shows no secret, because no argument of it may be
/// one.
pub fn note_admin_action(who: impl Display, from: &str, action: &str, outcome: &str) {
    tracing::info!(target: "holocron::audit", %who, from, action, outcome, "admin action");
}
