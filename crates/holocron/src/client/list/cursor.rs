//! Where a listing has come to, as text that another process can go on from.

use core::{fmt, str::FromStr};
use std::collections::BTreeSet;

use holocron_protocol::ids::{DomainId, Slot, VnodeHash};

use super::{DomainSlot, WINDOW, window};

const WINDOW_BYTES: usize = WINDOW as usize / 8;

/// Where a listing has come to; see [`Listing::cursor`](super::Listing::cursor). As text it has at most 310 characters, which
/// need no escaping in a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListCursor {
    domain: DomainId,
    /// The window that is being listed. Those before it are over.
    window: u16,
    /// The slots of the window that aren't over, a bit each.
    left: [u8; WINDOW_BYTES],
    /// The slot whose listing has begun, and the last vnode that was looked at.
    begun: Option<(Slot, VnodeHash)>,
}

/// Text that isn't a [`ListCursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor of a listing; use one as it was given, or begin anew")]
pub struct InvalidCursor;

impl ListCursor {
    /// Of a listing with these slots left.
    pub(super) fn of(
        slots: &BTreeSet<DomainSlot>,
        begun: Option<(DomainSlot, VnodeHash)>,
    ) -> Option<Self> {
        let &(domain, first) = slots.first()?;
        let mut left = [0; WINDOW_BYTES];
        for (_, Slot(slot)) in slots
            .range((domain, first)..)
            .take_while(|(other, slot)| *other == domain && window(*slot) == window(first))
        {
            left[usize::from(slot % WINDOW / 8)] |= 1 << (slot % 8);
        }
        let begun = begun.map(|((_, slot), after)| (slot, after));
        Some(Self { domain, window: window(first), left, begun })
    }

    /// Removes from all slots of a listing what is over. Returns which slot has begun.
    pub(super) fn apply(
        &self,
        slots: &mut BTreeSet<DomainSlot>,
    ) -> Option<(DomainSlot, VnodeHash)> {
        slots.retain(|&(domain, slot)| {
            match (domain, window(slot)).cmp(&(self.domain, self.window)) {
                core::cmp::Ordering::Less => false,
                core::cmp::Ordering::Equal => self.has(slot),
                core::cmp::Ordering::Greater => true,
            }
        });
        let begun = self.begun.map(|(slot, after)| ((self.domain, slot), after));
        begun.filter(|(slot, _)| slots.contains(slot))
    }

    fn has(&self, Slot(slot): Slot) -> bool {
        self.left[usize::from(slot % WINDOW / 8)] & 1 << (slot % 8) != 0
    }
}

/// Hexadecimal: domain, window, the begun slot with its vnode or nothing, a dot, the bits.
impl fmt::Display for ListCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}{:04x}", self.domain.0, self.window)?;
        if let Some((slot, after)) = self.begun {
            write!(f, "{:04x}{:032x}", slot.0, after.get())?;
        }
        f.write_str(".")?;
        self.left.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for ListCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (head, bits) = text.split_once('.').ok_or(InvalidCursor)?;
        if !text.is_ascii() || bits.len() != 2 * WINDOW_BYTES || ![8, 44].contains(&head.len()) {
            return Err(InvalidCursor);
        }
        let number = |text: &str| u16::from_str_radix(text, 16).map_err(|_not_hex| InvalidCursor);
        let begun = if head.len() == 44 {
            let after = u128::from_str_radix(&head[12..], 16).map_err(|_not_hex| InvalidCursor)?;
            Some((Slot(number(&head[8..12])?), VnodeHash::from_bits(after)))
        } else {
            None
        };
        let mut left = [0; WINDOW_BYTES];
        for (at, byte) in left.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&bits[2 * at..2 * at + 2], 16)
                .map_err(|_not_hex| InvalidCursor)?;
        }
        let (domain, window) = (DomainId(number(&head[..4])?), number(&head[4..8])?);
        Ok(Self { domain, window, left, begun })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_the_same_after_a_cursor() {
        let domains = [DomainId(0), DomainId(3)];
        let all: BTreeSet<DomainSlot> = domains
            .into_iter()
            .flat_map(|domain| (0..2_500).map(move |slot| (domain, Slot(slot))))
            .collect();
        let mut left: BTreeSet<DomainSlot> =
            all.iter().copied().filter(|slot| *slot >= (DomainId(0), Slot(1_024))).collect();
        left.retain(|(domain, Slot(slot))| domain.0 > 0 || slot / 1_024 > 1 || slot % 3 != 0);
        let begun = Some(((DomainId(0), Slot(1_025)), VnodeHash::from_bits(7 << 100)));
        for begun in [begun, None] {
            let text = ListCursor::of(&left, begun).expect("something is left").to_string();
            assert!(text.len() <= 310, "{text}");
            let cursor: ListCursor = text.parse().expect("it was written so");
            let mut resumed = all.clone();
            assert_eq!(cursor.apply(&mut resumed), begun);
            assert_eq!(resumed, left);
        }
        assert_eq!(ListCursor::of(&BTreeSet::new(), None), None, "at the end");
        for text in ["", ".", "00000000.", "x", "0000000é.00"] {
            assert_eq!(text.parse::<ListCursor>(), Err(InvalidCursor), "{text}");
        }
    }
}
