//! The encoding of deferred work within the envelope: the timers, and the outbox.
//!
//! The timers: their number, then by name: name, time, period, tries, command. The outbox: the next number; the messages,
//! the failed messages and the effects by number, each after its number and its tries; the targets by name. Empty lists take a
//! byte.
//!
//! A message says before its tag whether it has one: 0 no, 1 yes, 2 yes and the command is JSON. Releases before 2 was used
//! refuse an outbox with it, and leave the vnode as it is.

use alloc::{boxed::Box, collections::BTreeMap, string::String, vec::Vec};
use core::time::Duration;

use bytes::Bytes;

use super::{Deferred, Effect, Encoding, Message, Target, Timer, Tries};
use crate::{
    format::{
        codec::Malformed,
        varint::{Reader, put_bytes, put_number},
    },
    ids::{CommitNumber, RequestNumber, VnodeName},
    time::WallTime,
};

const NO_TAG: u8 = 0;
const TAG: u8 = 1;
const TAG_OF_JSON: u8 = 2;

impl Deferred {
    /// Whether there is a section of timers.
    pub(crate) fn has_timers(&self) -> bool {
        !self.timers.is_empty()
    }

    /// Whether there is an outbox, or was one: then its next number is kept permanently.
    pub(crate) fn has_outbox(&self) -> bool {
        self.next > RequestNumber::ZERO.next()
    }

    /// Appends the timers.
    pub(crate) fn encode_timers(&self, out: &mut Vec<u8>) {
        put_number(out, self.timers.len() as u64);
        for (name, timer) in &self.timers {
            put_bytes(out, name.as_bytes());
            put_number(out, timer.at.as_millis());
            put_number(out, u64::try_from(timer.every.as_millis()).unwrap_or(u64::MAX));
            timer.tries.encode(out);
            put_bytes(out, &timer.command);
        }
    }

    /// Appends the outbox.
    pub(crate) fn encode_outbox(&self, out: &mut Vec<u8>) {
        put_number(out, self.next.get());
        for messages in [&self.messages, &self.failed] {
            put_number(out, messages.len() as u64);
            for (number, message) in messages {
                put_number(out, number.get());
                message.tries.encode(out);
                put_name(out, &message.to);
                put_message_tag(out, message);
                put_bytes(out, &message.command);
            }
        }
        put_number(out, self.effects.len() as u64);
        for (number, effect) in &self.effects {
            put_number(out, number.get());
            effect.tries.encode(out);
            put_tag(out, effect.tag.as_deref());
            put_bytes(out, &effect.work);
        }
        put_number(out, self.targets.len() as u64);
        for (to, target) in &self.targets {
            put_name(out, to);
            put_number(out, target.base.get());
            put_number(out, target.ended.get());
        }
    }

    /// Reads the timers. Commands are copied, because they live longer than the batch they were read from.
    pub(crate) fn decode_timers(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        for _ in 0..reader.number()? {
            let name = text(reader)?;
            let at = WallTime::from_millis(reader.number()?);
            let every = Duration::from_millis(reader.number()?);
            let tries = Tries::decode(reader)?;
            let timer = Timer { at, every, tries, command: bytes(reader)? };
            if self.timers.last_key_value().is_some_and(|(last, _)| *last >= name) {
                return Err(reader.malformed("timers that aren't in order"));
            }
            self.timers.insert(name, timer);
        }
        if self.timers.is_empty() {
            return Err(reader.malformed("an empty list of timers that is not omitted"));
        }
        Ok(())
    }

    /// Reads the outbox.
    pub(crate) fn decode_outbox(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        self.next = RequestNumber::new(reader.number()?);
        if !self.has_outbox() {
            return Err(reader.malformed("an outbox that was never used and is not omitted"));
        }
        self.messages = numbered(reader, self.next, decode_message)?;
        self.failed = numbered(reader, self.next, decode_message)?;
        self.effects = numbered(reader, self.next, |reader, tries| {
            Ok(Effect { tries, tag: tag(reader)?, work: bytes(reader)? })
        })?;
        for _ in 0..reader.number()? {
            let to = name(reader)?;
            let base = CommitNumber::new(reader.number()?);
            let ended = RequestNumber::new(reader.number()?);
            if self.targets.last_key_value().is_some_and(|(last, _)| *last >= to) {
                return Err(reader.malformed("targets that aren't in order"));
            }
            self.targets.insert(to, Target { base, ended });
        }
        if self.messages.values().any(|message| !self.targets.contains_key(&message.to)) {
            return Err(reader.malformed("a message whose target is missing"));
        }
        Ok(())
    }
}

fn decode_message(reader: &mut Reader<'_>, tries: Tries) -> Result<Message, Malformed> {
    let to = name(reader)?;
    let (encoding, tag) = match reader.byte()? {
        NO_TAG => (Encoding::Bincode, None),
        TAG => (Encoding::Bincode, Some(text(reader)?)),
        TAG_OF_JSON => (Encoding::Json, Some(text(reader)?)),
        _ => {
            return Err(reader.malformed("a message of an encoding that this release doesn't know"));
        }
    };
    Ok(Message { tries, to, encoding, tag, command: bytes(reader)? })
}

fn put_message_tag(out: &mut Vec<u8>, message: &Message) {
    match message.encoding {
        Encoding::Bincode => put_tag(out, message.tag.as_deref()),
        Encoding::Json => {
            out.push(TAG_OF_JSON);
            let tag = message.tag.as_deref().expect("the answer to a message in JSON is wanted");
            put_bytes(out, tag.as_bytes());
        }
    }
}

/// Reads a list of what has numbers below `next`, in their order.
fn numbered<T>(
    reader: &mut Reader<'_>,
    next: RequestNumber,
    one: impl Fn(&mut Reader<'_>, Tries) -> Result<T, Malformed>,
) -> Result<BTreeMap<RequestNumber, T>, Malformed> {
    let mut all = BTreeMap::new();
    for _ in 0..reader.number()? {
        let number = RequestNumber::new(reader.number()?);
        let after = all.last_key_value().is_none_or(|(last, _)| *last < number);
        if !after || number >= next || number == RequestNumber::ZERO {
            return Err(reader.malformed("numbers that aren't in order"));
        }
        let tries = Tries::decode(reader)?;
        all.insert(number, one(reader, tries)?);
    }
    Ok(all)
}

impl Tries {
    /// Appends them; one byte if there are none.
    fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, u64::from(self.failed));
        if self.failed > 0 {
            put_number(out, self.not_before.as_millis());
            put_bytes(out, self.why().unwrap_or_default().as_bytes());
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let failed = u32::try_from(reader.number()?)
            .map_err(|error| reader.malformed(&alloc::format!("tries: {error}")))?;
        if failed == 0 {
            return Ok(Self::default());
        }
        let not_before = WallTime::from_millis(reader.number()?);
        Ok(Self { failed, not_before, why: Some(text(reader)?) })
    }
}

fn put_name(out: &mut Vec<u8>, name: &VnodeName) {
    put_bytes(out, name.kind().as_bytes());
    put_bytes(out, name.key().as_bytes());
}

fn name(reader: &mut Reader<'_>) -> Result<VnodeName, Malformed> {
    let (kind, key) = (text(reader)?, text(reader)?);
    VnodeName::new(&kind, &key).map_err(|invalid| reader.malformed(&invalid.0))
}

fn put_tag(out: &mut Vec<u8>, tag: Option<&str>) {
    match tag {
        None => out.push(NO_TAG),
        Some(tag) => {
            out.push(TAG);
            put_bytes(out, tag.as_bytes());
        }
    }
}

fn tag(reader: &mut Reader<'_>) -> Result<Option<Box<str>>, Malformed> {
    match reader.byte()? {
        NO_TAG => Ok(None),
        TAG => text(reader).map(Some),
        _ => Err(reader.malformed("a tag that is neither absent nor present")),
    }
}

fn text(reader: &mut Reader<'_>) -> Result<Box<str>, Malformed> {
    match core::str::from_utf8(reader.bytes()?) {
        Ok(text) => Ok(String::from(text).into_boxed_str()),
        Err(error) => Err(reader.malformed(&alloc::format!("{error}"))),
    }
}

fn bytes(reader: &mut Reader<'_>) -> Result<Bytes, Malformed> {
    Ok(Bytes::copy_from_slice(reader.bytes()?))
}
