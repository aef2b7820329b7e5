//! The object header: the only code that knows magic, version, checksum and nonce.
//!
//! Data-plane objects are binary: a 32-byte header, then the body. Control-plane objects (`cluster`, epoch records,
//! hints) are JSON, readable with `cat`; their first fields are the same header. An object that fails to decode is
//! [`Malformed`], naming the key: never a panic, never an empty value.
//!
//! Only this module uses bincode, so that it can be replaced without touching another file.

use alloc::{format, string::String, vec::Vec};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::ids::Nonce;

/// The version of every format below. A reader refuses a newer one by name.
pub const FORMAT_VERSION: u16 = 1;
/// Bytes of the binary header.
pub const HEADER_LEN: usize = 32;
/// Largest object that is decoded, in bytes: more than any pack with its index.
pub const OBJECT_LEN_MAX: usize = 256 << 20;
/// Most bytes that bincode counts against its limit for one byte read: a `u128` encoded in one byte counts as sixteen.
const BINCODE_COUNT_MAX: usize = 16;

const MAGIC: [u8; 4] = *b"HLCN";

/// What a binary object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ObjectKind {
    /// Position 0 of a journal.
    Opening = 1,
    /// Changes of many vnodes, committed together.
    Batch = 2,
    /// The object at the first free position of a fenced session's journal.
    Seal = 3,
    /// A trim mark, an end mark or an epoch mark.
    Mark = 4,
    /// Vnode states and their index.
    Pack = 5,
    /// A pack's index: an object within the pack, so that it can be read and checked without the rest.
    PackIndex = 6,
}

impl ObjectKind {
    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Opening,
            2 => Self::Batch,
            3 => Self::Seal,
            4 => Self::Mark,
            5 => Self::Pack,
            6 => Self::PackIndex,
            _ => return None,
        })
    }
}

/// An object or frame that can't be decoded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Malformed {
    /// The key, or the name of the frame.
    pub what: String,
    /// What is wrong with it.
    pub why: String,
}

impl Malformed {
    /// From what is malformed, and the reason.
    #[must_use]
    pub fn new(what: &str, why: &str) -> Self {
        Self { what: what.into(), why: why.into() }
    }
}

/// Starts a binary object with room for the header, which [`finish`] fills in.
#[must_use]
pub fn start(capacity: usize) -> Vec<u8> {
    let mut object = Vec::with_capacity(HEADER_LEN + capacity);
    object.resize(HEADER_LEN, 0);
    object
}

/// Fills in the header of an object started with [`start`]. The body isn't copied.
///
/// # Panics
///
/// When the object wasn't started with [`start`], or is longer than [`OBJECT_LEN_MAX`].
pub fn finish(object: &mut [u8], kind: ObjectKind, nonce: Nonce) {
    assert!(object.len() >= HEADER_LEN, "an object begins with its header");
    assert!(
        object.len() <= OBJECT_LEN_MAX,
        "an object of {} bytes could never be read back",
        object.len()
    );
    let (header, body) = object.split_at_mut(HEADER_LEN);
    header[0..4].copy_from_slice(&MAGIC);
    header[4..6].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    header[6] = kind as u8;
    header[7] = 0;
    header[8..24].copy_from_slice(&nonce.get().to_le_bytes());
    let length = u32::try_from(body.len()).expect("bounded by OBJECT_LEN_MAX");
    header[24..28].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&header[..28]), body);
    header[28..32].copy_from_slice(&checksum.to_le_bytes());
}

/// A binary object from a small body.
#[must_use]
pub fn object(kind: ObjectKind, nonce: Nonce, body: &[u8]) -> Bytes {
    let mut object = start(body.len());
    object.extend_from_slice(body);
    finish(&mut object, kind, nonce);
    object.into()
}

/// A binary object whose checksum was verified. Its body isn't copied.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its kind, as the header says.
    pub kind: ObjectKind,
    /// Its writer's random bits.
    pub nonce: Nonce,
    /// The bytes after the header.
    pub body: Bytes,
}

/// Opens a binary object.
///
/// # Errors
///
/// [`Malformed`] when it is foreign, damaged or of another format version.
pub fn open(key: &str, object: &Bytes) -> Result<Opened, Malformed> {
    let fail = |why: &str| Err(Malformed::new(key, why));
    if object.len() < HEADER_LEN || object[0..4] != MAGIC {
        return fail("not an object of Holocron");
    }
    let version = u16::from_le_bytes([object[4], object[5]]);
    if version != FORMAT_VERSION {
        return fail(&format!(
            "format version {version}; this release reads {FORMAT_VERSION}: use the release that wrote it"
        ));
    }
    let length = u32::from_le_bytes(object[24..28].try_into().expect("four bytes"));
    if object.len() - HEADER_LEN != length as usize {
        return fail("truncated or has extra bytes");
    }
    let checksum = u32::from_le_bytes(object[28..32].try_into().expect("four bytes"));
    if crc32c::crc32c_append(crc32c::crc32c(&object[..28]), &object[HEADER_LEN..]) != checksum {
        return fail("damaged: checksum mismatch");
    }
    let Some(kind) = ObjectKind::from_byte(object[6]) else {
        return fail("an unknown kind of object");
    };
    if object[7] != 0 {
        return fail("has a flag that this release does not know: use the release that wrote it");
    }
    let nonce = Nonce::new(u128::from_le_bytes(object[8..24].try_into().expect("sixteen bytes")));
    Ok(Opened { kind, nonce, body: object.slice(HEADER_LEN..) })
}

/// Opens a binary object that must be of one kind.
///
/// # Errors
///
/// [`Malformed`] as [`open`], or when it is of another kind.
pub fn open_as(key: &str, object: &Bytes, kind: ObjectKind) -> Result<Opened, Malformed> {
    let opened = open(key, object)?;
    if opened.kind == kind {
        return Ok(opened);
    }
    Err(Malformed::new(key, &format!("is a {:?}, expected a {kind:?}", opened.kind)))
}

/// Appends a value in bincode.
///
/// # Panics
///
/// When the value's `Serialize` fails, which is a bug in this workspace's own types. User types go through
/// [`try_to_bincode`].
pub fn to_bincode<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    try_to_bincode(value, out).expect("our own types serialize");
}

/// Appends a user's value in bincode.
///
/// # Errors
///
/// The error text of the value's own `Serialize`. `out` may then end with a part of the value.
pub fn try_to_bincode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), String> {
    struct Appender<'a>(&'a mut Vec<u8>);
    impl bincode::enc::write::Writer for Appender<'_> {
        fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }
    bincode::serde::encode_into_writer(value, Appender(out), bincode::config::standard())
        .map_err(|error| format!("{error}"))
}

/// Reads a value in bincode that takes all of `bytes`. A forged length in it makes the reader allocate at most 1 MiB,
/// or 256 bytes per byte of input.
///
/// # Errors
///
/// [`Malformed`] naming `what`.
pub fn from_bincode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Malformed> {
    // bincode takes its limit as a constant, so there are four: each is 16 times the longest input it is for, which is
    // enough for any value of that length.
    const KIB: usize = 1 << 10;
    match bytes.len() {
        0..=0x1_0000 => decode_within::<T, { BINCODE_COUNT_MAX * 64 * KIB }>(what, bytes),
        0x1_0001..=0x10_0000 => decode_within::<T, { BINCODE_COUNT_MAX * 1024 * KIB }>(what, bytes),
        0x10_0001..=0x100_0000 => {
            decode_within::<T, { BINCODE_COUNT_MAX * 16 * 1024 * KIB }>(what, bytes)
        }
        0x100_0001..=OBJECT_LEN_MAX => {
            decode_within::<T, { BINCODE_COUNT_MAX * OBJECT_LEN_MAX }>(what, bytes)
        }
        length => Err(Malformed::new(
            what,
            &format!("{length} bytes, more than the limit of {OBJECT_LEN_MAX}"),
        )),
    }
}

/// Reads a small value in bincode from the beginning of `bytes`; none if it isn't there.
#[must_use]
pub fn bincode_prefix<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    const PREFIX_LEN_MAX: usize = 1 << 10;
    let bytes = &bytes[..bytes.len().min(PREFIX_LEN_MAX)];
    let config = bincode::config::standard().with_limit::<{ BINCODE_COUNT_MAX * PREFIX_LEN_MAX }>();
    bincode::serde::decode_from_slice(bytes, config).ok().map(|(value, _)| value)
}

fn decode_within<T: DeserializeOwned, const COUNT_MAX: usize>(
    what: &str,
    bytes: &[u8],
) -> Result<T, Malformed> {
    let config = bincode::config::standard().with_limit::<COUNT_MAX>();
    match bincode::serde::decode_from_slice(bytes, config) {
        Ok((value, read)) if read == bytes.len() => Ok(value),
        Ok((_, read)) => {
            Err(Malformed::new(what, &format!("{} extra bytes at the end", bytes.len() - read)))
        }
        Err(error) => Err(Malformed::new(what, &format!("can't be decoded: {error}"))),
    }
}

/// Like [`from_bincode`], and refuses any encoding other than the one [`to_bincode`] writes, such as a number in more
/// bytes than needed. Not for types without a fixed order, such as hash maps.
///
/// # Errors
///
/// [`Malformed`] naming `what`, also when the encoding isn't canonical.
pub fn from_bincode_exact<T: Serialize + DeserializeOwned>(
    what: &str,
    bytes: &[u8],
) -> Result<T, Malformed> {
    let value = from_bincode(what, bytes)?;
    let mut again = Vec::with_capacity(bytes.len());
    to_bincode(&value, &mut again);
    if again == bytes {
        return Ok(value);
    }
    Err(Malformed::new(what, "not its canonical encoding"))
}

/// The offset of the checksum's eight hex digits in a JSON object, after `{"holocron":"…","crc32c":"`.
fn checksum_at(noun: &str) -> usize {
    r#"{"holocron":"","crc32c":""#.len() + noun.len()
}

/// A JSON object with its header: `{"holocron":noun,"crc32c":…,"format":1,"nonce":…,` and then the value's own fields,
/// pretty-printed.
///
/// # Panics
///
/// When the value isn't a struct with at least one field, or fails to serialize, which is a bug.
#[must_use]
pub fn to_json<T: Serialize>(noun: &str, nonce: Nonce, value: &T) -> Bytes {
    let fields = serde_json::to_string_pretty(value).expect("our own types serialize");
    let fields = fields.strip_prefix('{').expect("a struct is a JSON object");
    let mut text = format!(
        "{{\"holocron\":\"{noun}\",\"crc32c\":\"00000000\",\"format\":{FORMAT_VERSION},\"nonce\":\"{nonce}\",{fields}\n"
    )
    .into_bytes();
    let checksum = format!("{:08x}", crc32c::crc32c(&text));
    let at = checksum_at(noun);
    text[at..at + 8].copy_from_slice(checksum.as_bytes());
    text.into()
}

/// Reads a JSON object written by [`to_json`]. Unknown fields are ignored, so that a later release may add some.
///
/// # Errors
///
/// [`Malformed`] when it is foreign, damaged or of another format version.
pub fn from_json<T: DeserializeOwned>(
    key: &str,
    noun: &str,
    object: &[u8],
) -> Result<(Nonce, T), Malformed> {
    #[derive(serde::Deserialize)]
    struct Header {
        format: u16,
        nonce: Nonce,
    }
    let fail = |why: &str| Malformed::new(key, why);
    if object.len() > OBJECT_LEN_MAX
        || !object.starts_with(format!("{{\"holocron\":\"{noun}\",\"crc32c\":\"").as_bytes())
    {
        return Err(fail(&format!("not a {noun} object of Holocron")));
    }
    let header: Header = serde_json::from_slice(object)
        .map_err(|error| fail(&format!("can't be decoded: {error}")))?;
    if header.format != FORMAT_VERSION {
        let found = header.format;
        return Err(fail(&format!(
            "format version {found}; this release reads {FORMAT_VERSION}: use the release that wrote it"
        )));
    }
    let at = checksum_at(noun);
    let claimed = object.get(at..at + 8).ok_or_else(|| fail("truncated"))?;
    let zeroed = crc32c::crc32c_append(crc32c::crc32c(&object[..at]), b"00000000");
    let checksum = format!("{:08x}", crc32c::crc32c_append(zeroed, &object[at + 8..]));
    if claimed != checksum.as_bytes() {
        return Err(fail("damaged: checksum mismatch"));
    }
    let value = serde_json::from_slice(object)
        .map_err(|error| fail(&format!("can't be decoded: {error}")))?;
    Ok((header.nonce, value))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
    struct Example {
        text: String,
        numbers: Vec<u32>,
    }

    fn example() -> Example {
        Example { text: "a \"quoted\" word".into(), numbers: vec![1, 2, 3] }
    }

    #[test]
    fn a_json_object_reads_back_and_notices_any_changed_byte() {
        let object = to_json("example", Nonce::new(7), &example());
        let (nonce, read): (_, Example) = from_json("k", "example", &object).unwrap();
        assert_eq!((nonce, read), (Nonce::new(7), example()));
        for at in 0..object.len() {
            let mut damaged = object.to_vec();
            damaged[at] ^= 1;
            assert!(from_json::<Example>("k", "example", &damaged).is_err(), "byte {at}");
        }
        assert!(from_json::<Example>("k", "other", &object).is_err());
    }

    #[test]
    fn another_format_version_is_refused_with_advice() {
        let object = to_json("example", Nonce::new(7), &example());
        let text = core::str::from_utf8(&object).unwrap().replace("\"format\":1", "\"format\":9");
        let error = from_json::<Example>("cluster", "example", text.as_bytes()).unwrap_err();
        assert!(format!("{error}").contains("format version 9"), "{error}");
    }

    #[test]
    fn a_forged_length_allocates_little() {
        // A string that claims 2^60 bytes, and one that claims 60 MiB.
        for lie in [&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0x10][..], &[0xfc, 0, 0, 0xc0, 0x03]] {
            let taken = allocation_counter::measure(|| {
                assert!(from_bincode::<String>("frame", lie).is_err());
            });
            assert!(taken.bytes_max < 4096, "{taken:?}");
        }
    }

    #[test]
    fn a_long_value_of_small_numbers_reads_back() {
        // bincode counts eight bytes for each of these, which once exceeded its limit.
        let numbers = vec![1_u64; 9 << 20];
        let mut bytes = Vec::new();
        to_bincode(&numbers, &mut bytes);
        assert_eq!(from_bincode::<Vec<u64>>("state", &bytes), Ok(numbers));
    }

    #[test]
    fn a_number_in_more_bytes_than_needed_is_not_canonical() {
        let long = [0xfb, 5, 0];
        assert_eq!(from_bincode::<u64>("n", &long), Ok(5));
        assert!(from_bincode_exact::<u64>("n", &long).is_err());
        assert_eq!(from_bincode_exact::<u64>("n", &[5]), Ok(5));
    }

    #[test]
    fn a_flag_of_a_later_release_is_refused_with_advice() {
        let mut object = start(0);
        finish(&mut object, ObjectKind::Seal, Nonce::new(1));
        object[7] = 1;
        let checksum = crc32c::crc32c(&object[..28]);
        object[28..32].copy_from_slice(&checksum.to_le_bytes());
        let error = open("k", &object.into()).unwrap_err();
        assert!(error.why.contains("use the release that wrote it"), "{error}");
    }

    proptest! {
        #[test]
        fn a_binary_object_reads_back(body in proptest::collection::vec(any::<u8>(), 0..300), bits: u128) {
            let object = object(ObjectKind::Pack, Nonce::new(bits), &body);
            let opened = open_as("k", &object, ObjectKind::Pack).unwrap();
            prop_assert_eq!(opened.nonce, Nonce::new(bits));
            prop_assert_eq!(&opened.body[..], &body[..]);
        }

        #[test]
        fn a_damaged_object_is_never_read(body in proptest::collection::vec(any::<u8>(), 0..64), at: prop::sample::Index, bit in 0..8u8) {
            let mut object = object(ObjectKind::Batch, Nonce::new(1), &body).to_vec();
            let at = at.index(object.len());
            object[at] ^= 1 << bit;
            prop_assert!(open_as("k", &object.into(), ObjectKind::Batch).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(open("k", &bytes.clone().into()));
            drop(from_json::<Example>("k", "example", &bytes));
            drop(from_bincode::<Example>("k", &bytes));
        }
    }
}
