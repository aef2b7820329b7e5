//! What a session forgets and deletes once a checkpoint is committed. The session is A; its journal's writer is the real
//! one, with segments of four positions. An event is a line:
//!
//! ```text
//! epoch e5 | #0 B@5 from A@3      it reads an epoch record
//! batches 3                       so many batches are committed
//! pack k1                         a pack is about to be written
//! checkpoint p8 k1 k2             a checkpoint that covers all up to p8 and names these packs is appended
//! committed                       that is committed; it may say `copying` (more is left to copy), `recovering` (a slot is
//!                                 recovering, or isn't in its log yet) and `files 1024` (how many have a number)
//! gives up                        the checkpoint that is being built is given up
//! over                            the session ends: the packs that its host deletes by itself, and those in doubt: they go
//!                                 if the session has its end mark
//! late p1 k1                      these own objects exist: which of them landed late
//! files 600                       unused files were forgotten; so many are left
//! delete                          the next deletion is asked for and carried out
//! ask                             the next deletion is asked for; the store doesn't answer
//! ```

use std::{collections::BTreeSet, fmt::Write as _};

use holocron_protocol::{
    checkpoint::retain::{Copying, Deletion, Forget, Recovering, Retention},
    epoch::record::EpochRecord,
    format::{
        keys::Key,
        segment::{SegmentLen, TrimStep},
    },
    ids::{PackNumber, Position},
    journal::writer::{Carries, Writer},
    state::{checkpoint::Checkpoint, pack::PackRef},
};

use crate::{
    traces,
    words::{number, position, record, session},
};

const SEGMENTS: SegmentLen = SegmentLen::new(4);

/// Steps a retention through the lines of a trace.
pub(crate) fn play(input: &str) -> String {
    let mut keeper = Keeper {
        writer: Writer::new(session("A"), 1),
        retention: Retention::new(session("A")),
        newest: record(&["e1"]),
        checkpoint: None,
    };
    let mut output = String::new();
    for line in traces::events(input) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let said = keeper.happens(&words).map_or(String::new(), |said| format!(" → {said}"));
        writeln!(output, "{line}{said}").unwrap();
    }
    output
}

/// The session, driven like a real one.
struct Keeper {
    writer: Writer,
    retention: Retention,
    newest: EpochRecord,
    /// The checkpoint in flight, with its position.
    checkpoint: Option<(Position, Checkpoint)>,
}

impl Keeper {
    fn happens(&mut self, event: &[&str]) -> Option<String> {
        match event {
            ["epoch", words @ ..] => self.newest = record(words),
            ["batches", count] => {
                for _ in 0..count.parse().unwrap() {
                    let header = self.writer.submit(Carries::Records);
                    assert_eq!(self.writer.won(header.position), Some(header.position));
                }
            }
            ["pack", number] => self.retention.pack_written(pack(number)),
            ["checkpoint", low_water, packs @ ..] => self.append(position(low_water), packs),
            ["committed", words @ ..] => return Some(self.committed(words)),
            ["gives", "up"] => self.retention.given_up(),
            ["over"] => {
                let left = self.retention.clone().left_behind();
                let numbers = |packs: &BTreeSet<PackNumber>| {
                    packs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                };
                return Some(match (numbers(&left.unnamed), numbers(&left.in_doubt)) {
                    (unnamed, doubt) if unnamed.is_empty() && doubt.is_empty() => {
                        "leaves nothing".into()
                    }
                    (unnamed, doubt) if doubt.is_empty() => unnamed,
                    (unnamed, doubt) if unnamed.is_empty() => format!("in doubt {doubt}"),
                    (unnamed, doubt) => format!("{unnamed}; in doubt {doubt}"),
                });
            }
            ["late", names @ ..] => return Some(self.late(names)),
            ["files", count] => self.retention.files_left(count.parse().unwrap()),
            ["delete"] => {
                let deletion = self.next();
                if let Some(deletion) = deletion {
                    self.retention.deleted(deletion);
                }
                return Some(deletion_words(deletion));
            }
            ["ask"] => return Some(deletion_words(self.next())),
            _ => panic!("{event:?} never happens"),
        }
        None
    }

    fn append(&mut self, low_water: Position, packs: &[&str]) {
        let header = self.writer.submit(Carries::Checkpoint { low_water });
        let packs =
            packs.iter().map(|word| PackRef { number: pack(word), length: 0, index_offset: 0 });
        let content = Checkpoint { low_water, packs: packs.collect(), ..Checkpoint::default() };
        self.checkpoint = Some((header.position, content));
        self.retention.checkpoint_appended(low_water);
    }

    fn committed(&mut self, words: &[&str]) -> String {
        let (mut copying, mut recovering, mut files_known) =
            (Copying::Complete, Recovering::Nothing, 0);
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "copying" => copying = Copying::Remaining,
                "recovering" => recovering = Recovering::Slots,
                "files" => files_known = words.next().unwrap().parse().unwrap(),
                _ => panic!("{word} is not said of a checkpoint"),
            }
        }
        let (at, content) = self.checkpoint.take().expect("a checkpoint is appended first");
        assert_eq!(self.writer.won(at), Some(at), "a checkpoint is alone in flight");
        let forget = self.retention.committed(&content, copying, recovering, files_known);
        let forget: Vec<String> = forget.into_iter().map(forget_words).collect();
        format!("forget {}", forget.join(", "))
    }

    /// Which of these own objects are there only because a request landed late.
    fn late(&self, names: &[&str]) -> String {
        let own = session("A");
        let listed = names.iter().map(|name| match name.strip_prefix('k') {
            Some(_) => Key::Pack(own, pack(name)),
            None => Key::Journal(own, position(name)),
        });
        let late = self.retention.landed_late(SEGMENTS, listed);
        let late: Vec<String> = late
            .map(|key| {
                let pack = matches!(key, Key::Pack(..));
                let number: u64 = key.path()[key.path().len() - 20..].parse().unwrap();
                format!("{}{number}", if pack { 'k' } else { 'p' })
            })
            .collect();
        if late.is_empty() { "none".into() } else { late.join(", ") }
    }

    fn next(&mut self) -> Option<Deletion> {
        self.retention.next_deletion(&self.writer, SEGMENTS, &self.newest)
    }
}

fn pack(word: &str) -> PackNumber {
    PackNumber::new(number('k', word))
}

fn forget_words(forget: Forget) -> String {
    match forget {
        Forget::Tail(through) => format!("the tail up to {through}"),
        Forget::ForeignObjects => "objects of former owners".into(),
        Forget::UnusedFiles => "unused files".into(),
    }
}

fn deletion_words(deletion: Option<Deletion>) -> String {
    match deletion {
        Some(Deletion::Trim(TrimStep::Mark(segment))) => format!("create the mark of {segment}"),
        Some(Deletion::Trim(TrimStep::Delete(segment))) => {
            format!("delete the batches of {segment}")
        }
        Some(Deletion::Pack(number)) => format!("delete {number}"),
        None => "nothing".into(),
    }
}
