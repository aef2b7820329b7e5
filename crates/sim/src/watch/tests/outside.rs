//! What a host sends: answers (invariants 3, 9 and 10) and requests (11).

use core::time::Duration;

use bytes::Bytes;
use holocron::{
    Answer, Call, Format, Health, Mode, Outcome, PeerMessage, PeerReply, Progress,
    frame::{Frame, put},
};
use holocron_protocol::{
    checkpoint::retain::Copying,
    ids::{CommitNumber, Epoch, Position},
};

use crate::watch::stage::{A, B, Stage, request, vnode};

const THERE: u64 = 1;
const BACK: u64 = 2;

fn call(number: u64, mode: Mode) -> Call {
    let (epoch, body) = (Epoch::ZERO, Bytes::new());
    Call { name: vnode("x"), mode, request: request(number), epoch, format: Format::Bincode, body }
}

fn reply(text: &'static str, commit: u64) -> Answer {
    let outcome = Outcome::Reply(Bytes::from_static(text.as_bytes()));
    Answer { epoch: Epoch::ZERO, commit: CommitNumber::new(commit), outcome }
}

fn bytes(frames: &[Frame]) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames {
        put(&mut out, frame).unwrap();
    }
    out
}

/// A client calls x, for the first time or repeatedly; this answer comes back, a few bytes at a time.
fn converse(stage: &Stage, call: Call, answer: Answer) {
    stage.watch.connected(THERE, BACK);
    stage.watch.wrote("client", THERE, &bytes(&[Frame::Ping, Frame::Call(9, call)]));
    for part in bytes(&[Frame::Pong, Frame::Answer(9, answer)]).chunks(5) {
        stage.watch.wrote("a", BACK, part);
    }
}

fn after(call: Call, answer: Answer) -> Stage {
    let mut stage = Stage::held();
    stage.write(A, &[("x", 1)]);
    stage.write(A, &[("x", 2)]);
    converse(&stage, call, answer);
    stage
}

#[test]
fn an_answer_is_sent_after_its_batch_has_landed() {
    after(call(2, Mode::Command), reply("ok", 2)).assert_clean();
    after(call(3, Mode::Command), reply("ok", 3)).assert_breaks(9);
    after(call(3, Mode::Query), reply("any", 2)).assert_clean();
    after(call(3, Mode::Query), reply("any", 3)).assert_breaks(9);
}

#[test]
fn an_answer_of_a_batch_above_the_seal_or_a_gap_is_too_early() {
    let mut stage = Stage::held();
    stage.write(A, &[("x", 1)]);
    let mut header = stage.next(A);
    header.position = Position::new(4);
    stage.batch_with(header, |batch| {
        let envelope = crate::watch::stage::answered(2, 2);
        crate::watch::stage::state(batch, "x", 2, &envelope);
    });
    stage.seal_at(A, Position::new(3));
    converse(&stage, call(2, Mode::Command), reply("ok", 2));
    stage.assert_breaks(9);
}

#[test]
fn a_command_that_is_not_recorded_in_the_committed_state_was_answered_too_early() {
    after(call(7, Mode::Command), reply("ok", 2)).assert_breaks(9);
    after(call(7, Mode::Command), reply("ok", 0)).assert_breaks(9);
}

#[test]
fn a_command_is_answered_with_its_committed_reply() {
    after(call(2, Mode::Command), reply("something else", 2)).assert_breaks(10);
}

#[test]
fn a_refusal_needs_no_committed_state() {
    let busy = Answer { outcome: Outcome::Busy, ..reply("", 0) };
    after(call(7, Mode::Command), busy).assert_clean();
    let rebase = |base| {
        let outcome = Outcome::Rebase(CommitNumber::new(base));
        Answer { outcome, ..reply("", 2) }
    };
    after(call(7, Mode::Command), rebase(2)).assert_clean();
    after(call(7, Mode::Command), rebase(3)).assert_breaks(9);
}

#[test]
fn bytes_that_are_no_frame_are_ignored() {
    let stage = Stage::new();
    stage.watch.connected(THERE, BACK);
    stage.watch.wrote("a", THERE, &[0xff; 40]);
    stage.watch.wrote("a", THERE, &bytes(&[Frame::Ping]));
    stage.watch.wrote("a", 77, &bytes(&[Frame::Ping]));
    stage.assert_clean();
}

#[test]
fn the_epochs_in_a_hosts_messages_never_go_down() {
    let health = |epoch| {
        let (progress, facts, awaiting) = (Progress::default(), Vec::new(), Vec::new());
        let health = Health {
            session: A,
            epoch: Epoch::new(epoch),
            progress,
            facts,
            awaiting,
            copying: Copying::Complete,
            loads: None,
            domains: Vec::new(),
        };
        Frame::PeerReply(1, PeerReply::Health(health))
    };
    let stage = Stage::new();
    stage.watch.connected(THERE, BACK);
    let heartbeat = PeerMessage::Heartbeat { epoch: Epoch::new(5), leader: B, loads_heard: 0 };
    stage.watch.wrote("b", THERE, &bytes(&[Frame::Peer(1, heartbeat)]));
    stage.watch.wrote("a", BACK, &bytes(&[health(4), health(5)]));
    stage.assert_clean();
    stage.watch.wrote("a", BACK, &bytes(&[health(4)]));
    stage.assert_breaks(8);
}

#[test]
fn creates_are_sequential_for_any_number_of_dirty_vnodes() {
    let latency = Duration::from_millis(5);
    let stage = Stage::new();
    for number in 0..400_u32 {
        stage.watch.asked("a", latency * number, latency);
    }
    stage.assert_clean();
    for _ in 0..400 {
        stage.watch.asked("a", latency * 400, latency);
    }
    stage.assert_breaks(11);
}

#[test]
fn an_empty_batch_is_a_needless_request() {
    let mut stage = Stage::held();
    stage.batch(A, |_| ());
    stage.assert_breaks(11);
}
