//! What travels.

use allocation_counter::measure;
use holocron::{Vnode as _, vnode};
use holocron_protocol::format::codec;
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Counter(u64);

#[vnode(kind = "counter")]
impl Counter {
    #[command]
    fn add(&mut self, n: u64) -> u64 {
        self.0 += n;
        self.0
    }
}

#[derive(Serialize, Deserialize)]
enum ByHand {
    Add { n: u64 },
}

fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    codec::to_bincode(value, &mut out);
    out
}

#[test]
fn a_reply_travels_as_its_bare_value() {
    assert_eq!(encoded(&CounterReply::Add(7)), encoded(&7_u64));
    assert_eq!(serde_json::to_string(&CounterReply::Add(7)).unwrap(), "7");
}

#[test]
fn a_command_reads_back_in_both_formats() {
    let bytes = encoded(&CounterCommand::Add { n: 7 });
    let read: CounterCommand = codec::from_bincode("c", &bytes).unwrap();
    assert!(matches!(read, CounterCommand::Add { n: 7 }), "{read:?}");
    let text = serde_json::to_string(&read).unwrap();
    assert_eq!(text, r#"{"add":{"n":7}}"#);
    let CounterCommand::Add { n } = serde_json::from_str(&text).unwrap();
    assert_eq!(n, 7);
}

#[test]
fn bytes_of_another_command_are_refused() {
    let bytes = encoded(&CounterCommand::Add { n: 7 });
    for at in 0..bytes.len() - 1 {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let read = codec::from_bincode::<CounterCommand>("c", &damaged);
        assert!(read.is_err(), "byte {at} of the name and the fingerprint");
        assert!(codec::from_bincode::<CounterCommand>("c", &bytes[..at]).is_err(), "cut at {at}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(codec::from_bincode::<CounterCommand>("c", &longer).is_err());
}

#[test]
fn a_name_costs_its_length_and_six_bytes_and_at_most_one_small_allocation() {
    let by_name = encoded(&CounterCommand::Add { n: 7 });
    let by_hand = encoded(&ByHand::Add { n: 7 });
    // The length of the name, the name, and the fingerprint instead of the variant's number.
    assert!(
        by_name.len() <= by_hand.len() + "add".len() + 6,
        "{} {}",
        by_name.len(),
        by_hand.len()
    );
    let named = measure(|| {
        let CounterCommand::Add { n } = codec::from_bincode("c", &by_name).unwrap();
        assert_eq!(n, 7);
    });
    let hand = measure(|| {
        let ByHand::Add { n } = codec::from_bincode("c", &by_hand).unwrap();
        assert_eq!(n, 7);
    });
    assert!(named.count_total <= hand.count_total + 1, "{named:?} {hand:?}");
    assert!(named.bytes_total <= hand.bytes_total + 8, "{named:?} {hand:?}");
    let command = CounterCommand::Add { n: 7 };
    let mut out = Vec::with_capacity(64);
    let taken = measure(|| codec::to_bincode(&command, &mut out));
    assert_eq!(taken.count_total, 0, "{taken:?}");
    assert_eq!(Counter::KIND, "counter");
}
