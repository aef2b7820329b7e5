//! Slots as runs, `0-1365 1400`, and what is listed by them.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};
use core::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::{
    epoch::versions::{KindVersions, Unread},
    ids::Slot,
};

/// The slots of whose content the owners can't read the same.
#[derive(Serialize, Deserialize)]
pub(super) struct UnreadForm {
    pub(super) slots: String,
    pub(super) kinds: KindVersions,
}

/// Only plain digits: `+7` would be a second way to write 7.
pub(super) fn number<T: core::str::FromStr>(text: &str) -> Result<T, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| format!("{text:?} is not a valid number"))
}

/// Appends `7-9`, or `7` for one slot.
pub(super) fn add_run(slots: &mut String, begin: usize, len: usize) {
    if !slots.is_empty() {
        slots.push(' ');
    }
    match len {
        1 => slots.push_str(&format!("{begin}")),
        len => slots.push_str(&format!("{begin}-{}", begin + len - 1)),
    }
}

/// Grouped, in order of the kinds.
pub(super) fn unread_form(unread: &Unread) -> Vec<UnreadForm> {
    let all: Vec<(usize, &KindVersions)> =
        unread.iter().map(|(slot, kinds)| (slot.index(), kinds)).collect();
    let mut groups: BTreeMap<&KindVersions, String> = BTreeMap::new();
    for run in all.chunk_by(|one, next| one.0 + 1 == next.0 && one.1 == next.1) {
        let (begin, kinds) = run[0];
        add_run(groups.entry(kinds).or_default(), begin, run.len());
    }
    let groups = groups.into_iter();
    groups.map(|(kinds, slots)| UnreadForm { slots, kinds: kinds.clone() }).collect()
}

/// `7-9`, or `7`.
pub(super) fn slot_range(run: &str, slots: u16) -> Result<RangeInclusive<usize>, String> {
    let (first, last) = run.split_once('-').unwrap_or((run, run));
    let (first, last): (u16, u16) = (number(first)?, number(last)?);
    if first > last || last >= slots {
        return Err(format!("slots {run} out of {slots}"));
    }
    Ok(usize::from(first)..=usize::from(last))
}

/// The other way.
pub(super) fn unread(forms: &[UnreadForm], slots: u16) -> Result<Unread, String> {
    let mut unread = Unread::new();
    for form in forms {
        for run in form.slots.split_ascii_whitespace() {
            for slot in slot_range(run, slots)? {
                let slot = Slot(u16::try_from(slot).expect("below the number of slots"));
                if unread.insert(slot, form.kinds.clone()).is_some() {
                    return Err(format!("slots {run} are listed twice"));
                }
            }
        }
    }
    Ok(unread)
}
