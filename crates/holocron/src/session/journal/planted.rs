//! The wrong variants of the journal's rules (see `crate::planted`). Here, because they need the journal's private parts.

use core::time::Duration;

use bytes::Bytes;
use holocron_planted::{Bug, is_planted};
use holocron_protocol::format::codec::{self, Opened};
use holocron_store::{Created, Patience, create_once};

use super::{Journal, Released};

/// How long the bugs planted here wait for the store.
const BUDGET: Duration = Duration::from_millis(500);

/// [`Bug::ReplyBeforeCommit`]: answers leave when their record is appended.
pub(super) fn reply_at_once(answers: &mut Vec<Released>) {
    if is_planted(Bug::ReplyBeforeCommit) {
        answers.drain(..).for_each(Released::send);
    }
}

/// [`Bug::ServeBeforeAdopt`]: no Adopt is appended.
pub(super) fn appends_adopt() -> bool {
    !is_planted(Bug::ServeBeforeAdopt)
}

/// [`Bug::RetryOtherBytes`] and [`Bug::EndOnOutage`]: a create without an answer is repeated with another nonce, or ends the
/// session.
pub(super) async fn create(
    journal: &Journal,
    key: &str,
    mut object: Bytes,
    rule: impl Future<Output = Created>,
) -> Created {
    if !is_planted(Bug::RetryOtherBytes) && !is_planted(Bug::EndOnOutage) {
        return rule.await;
    }
    let try_timeout = journal.options.try_timeout;
    let patience = Patience { try_timeout, budget: Some(BUDGET), ..Patience::forever() };
    loop {
        let tried = create_once(&journal.store, key, object.clone(), patience, &journal.ended);
        let created = tried.await;
        if created != Created::Unknown || journal.ended.is_cancelled() {
            return created;
        }
        if is_planted(Bug::EndOnOutage) {
            journal.end("the store doesn't answer");
            return created;
        }
        let Opened { kind, body, .. } = codec::open(key, &object).expect("we encoded it");
        object = codec::object(kind, journal.random.nonce(), &body);
    }
}
