//! Numbers and names, each with its own type, so that an epoch can't be passed for a position.
//!
//! Invariants:
//!
//! * Numbers grow only through `next`; they have no setter and no arithmetic.
//! * Names are validated on construction ([`HostName::new`], [`VnodeName::new`]); later code doesn't check them again.

mod vnode;

use alloc::{format, string::String, sync::Arc};
use core::fmt;

use serde::{Deserialize, Serialize};

pub use self::vnode::{VnodeHash, VnodeName};

/// Longest name of a host, in bytes.
pub const HOST_NAME_LEN_MAX: usize = 63;
/// Longest kind of a vnode, in bytes.
pub const KIND_LEN_MAX: usize = 64;
/// Longest key of a vnode, in bytes.
pub const KEY_LEN_MAX: usize = 1024;
/// Default number of slots in a cluster.
pub const SLOTS_DEFAULT: u16 = 4096;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $letter:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Zero: before the first.
            pub const ZERO: Self = Self(0);

            /// From a bare number.
            #[must_use]
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The bare number, for formats and arithmetic on counts.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The one after this.
            ///
            /// # Panics
            ///
            /// On overflow of 64 bits.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("2^64 numbers outlast every cluster"))
            }

            /// The one before this, if there is one.
            #[must_use]
            pub const fn previous(self) -> Option<Self> {
                match self.0.checked_sub(1) {
                    Some(number) => Some(Self(number)),
                    None => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($letter, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

number!(
    /// The number of a record in the epoch log. A larger epoch overrules every smaller one: it is the fencing token.
    /// The first record is epoch 1; 0 means "none yet".
    Epoch, "e"
);
number!(
    /// A batch's number in its journal. Position 0 holds the opening; batches start at 1.
    Position, "p"
);
number!(
    /// How many times a vnode's state was appended to a journal. Grows by one with each record of the vnode, across all
    /// its owners. 0 means "never".
    CommitNumber, "c"
);
number!(
    /// A pack's number within its session.
    PackNumber, "k"
);
number!(
    /// A request's number within its client; the first is 1.
    RequestNumber, "r"
);
number!(
    /// The number of a block of positions or epochs that is trimmed as a unit.
    Segment, "s"
);

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// From 128 random bits.
            #[must_use]
            pub const fn new(bits: u128) -> Self {
                Self(bits)
            }

            /// The bare bits.
            #[must_use]
            pub const fn get(self) -> u128 {
                self.0
            }

            /// From its 32 hex digits.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let lower_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                if text.len() != 32 || !lower_hex {
                    return None;
                }
                u128::from_str_radix(text, 16).ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // Eight digits are enough to tell ids apart in logs; `Display` prints all.
                write!(f, concat!(stringify!($name), "({:08x}…)"), self.0 >> 96)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_u128(self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = <alloc::borrow::Cow<'_, str>>::deserialize(deserializer)?;
                    Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not 32 lower-case hex digits"))
                } else {
                    u128::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

random_id!(
    /// One incarnation of a host in one storage domain. Random, new at each opening, never reused. A session owns one
    /// journal.
    SessionId
);
random_id!(
    /// Random bits in every object, by which a writer recognizes its own object.
    Nonce
);
random_id!(
    /// One incarnation of a client, or a vnode that sends messages. Together with a request's number it identifies a request
    /// permanently.
    ClientId
);
random_id!(
    /// A cluster's random id, drawn at its creation, so that a wrong prefix is noticed.
    ClusterId
);
random_id!(
    /// The random id of an election used alone, drawn at its creation, so that a replaced store is noticed.
    ElectionId
);
random_id!(
    /// One attempt to take a cut of a cluster for a backup.
    CutId
);
random_id!(
    /// The random id of a domain's store, drawn when its `domain` object is created, so that a URL that leads elsewhere is
    /// noticed.
    StoreId
);

/// A storage location for some kinds of vnodes. 0 is the home domain, which holds the epoch log.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct DomainId(pub u16);

impl DomainId {
    /// The domain that holds the epoch log.
    pub const HOME: Self = Self(0);
}

/// A fixed share of the vnode name space; the unit of placement.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(pub u16);

impl Slot {
    /// Its index in a table of all slots.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A session's ownership of a slot: the session, and the epoch that assigned the slot. Written `A@3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tenure {
    /// The epoch that assigned the slot.
    pub epoch: Epoch,
    /// The owner.
    pub session: SessionId,
}

/// The stable name of a host: 1 to [`HOST_NAME_LEN_MAX`] lower-case letters, digits, `-`, `_` or `.`, not starting
/// with a dot. It becomes part of a store key as it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(Arc<str>);

impl HostName {
    /// A valid name.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] when it isn't one.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let length_fits = !name.is_empty() && name.len() <= HOST_NAME_LEN_MAX;
        let letters_fit =
            name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'));
        if length_fits && letters_fit && !name.starts_with('.') {
            return Ok(Self(name.into()));
        }
        Err(InvalidName(format!(
            "host name {name:?}: use 1 to {HOST_NAME_LEN_MAX} of a-z, 0-9, '-', '_', '.', not a dot first"
        )))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for HostName {
    type Error = InvalidName;

    fn try_from(name: String) -> Result<Self, InvalidName> {
        Self::new(&name)
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0.as_ref().into()
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An invalid name, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidName(pub String);

impl ClientId {
    /// Set in the ids of vnodes, clear in those of clients.
    const VNODE: u128 = 1 << 127;

    /// The id of a client that starts, from random bits.
    #[must_use]
    pub const fn drawn(bits: u128) -> Self {
        Self::new(bits & !Self::VNODE)
    }

    /// The permanent id of a vnode that sends messages.
    #[must_use]
    pub const fn of_vnode(vnode: VnodeHash) -> Self {
        Self::new(vnode.get() | Self::VNODE)
    }

    /// Whether it is a vnode's.
    #[must_use]
    pub const fn is_vnode(self) -> bool {
        self.get() & Self::VNODE != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_reads_back_from_its_hex_and_only_from_that() {
        let id = SessionId::new(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(SessionId::parse(&format!("{id}")), Some(id));
        assert_eq!(SessionId::parse("0123"), None);
        assert_eq!(SessionId::parse("0123456789ABCDEF0123456789ABCDEF"), None);
        assert_eq!(SessionId::parse("+123456789abcdef0123456789abcdef"), None);
    }

    #[test]
    fn a_host_name_that_could_leave_its_key_is_refused() {
        for bad in ["", "../x", "a/b", ".hidden", "UPPER", "sp ace", &"x".repeat(64)] {
            assert!(HostName::new(bad).is_err(), "{bad:?}");
        }
        assert!(HostName::new("h1.eu-west_2").is_ok());
    }

    #[test]
    fn kind_and_key_do_not_run_into_each_other() {
        assert_ne!(VnodeHash::of("ab", "c"), VnodeHash::of("a", "bc"));
    }

    #[test]
    fn names_spread_over_all_slots() {
        let mut counts = [0u32; 16];
        for number in 0..16_000 {
            counts[VnodeHash::of("counter", &format!("c{number}")).slot(16).index()] += 1;
        }
        assert!(counts.iter().all(|&count| (800..1_200).contains(&count)), "{counts:?}");
    }

    #[test]
    fn a_vnode_name_is_bounded() {
        assert!(VnodeName::new("", "k").is_err());
        assert!(VnodeName::new("k", "").is_err());
        assert!(VnodeName::new("k", &"x".repeat(KEY_LEN_MAX)).is_ok());
        assert!(VnodeName::new("k", &"x".repeat(KEY_LEN_MAX + 1)).is_err());
    }
}
