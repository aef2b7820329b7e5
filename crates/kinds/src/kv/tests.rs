//! The rules of a map.

use core::time::Duration;

use holocron_testing::TestVnode;

use super::*;

struct Map(TestVnode<Kv>);

impl Map {
    fn new() -> Self {
        Self(TestVnode::new("m"))
    }

    fn change(&mut self, command: KvCommand) -> Result<Change, KvError> {
        match self.0.command(command).unwrap() {
            KvReply::Put(change)
            | KvReply::CompareAndSet(change)
            | KvReply::CompareRevisionAndSet(change) => change,
            KvReply::Remove(change) => Ok(change),
            KvReply::Expire(()) => panic!("it changes nothing"),
        }
    }

    fn put(&mut self, field: &str, value: &str) -> Change {
        self.change(KvCommand::put(field, value.to_owned(), None)).unwrap()
    }

    fn get(&mut self, field: &str) -> Option<String> {
        let KvAnswer::Get(got) = self.0.query(KvQuery::get(field)) else {
            panic!("an answer to get")
        };
        got.map(|field| field.value)
    }

    fn scan(
        &mut self,
        prefix: &str,
        limit: u32,
        after: Option<&str>,
    ) -> (Vec<String>, Option<String>) {
        let query = KvQuery::scan(prefix, Some(limit), after.map(ToOwned::to_owned));
        let KvAnswer::Scan(page) = self.0.query(query) else { panic!("an answer to scan") };
        (page.fields.into_keys().collect(), page.next)
    }
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

#[test]
fn a_compare_and_set_applies_only_to_what_is_expected() {
    let mut map = Map::new();
    assert_eq!(map.put("a", "1").before, None);
    let refused = map.change(KvCommand::compare_and_set("a", None, text("2"))).unwrap();
    assert_eq!((refused.done, refused.before), (false, text("1")));
    let changed = map.change(KvCommand::compare_and_set("a", text("1"), text("2"))).unwrap();
    assert!(changed.done && changed.revision > refused.revision);
    assert!(map.change(KvCommand::compare_and_set("a", text("2"), None)).unwrap().done);
    assert_eq!(map.get("a"), None);
    assert!(map.change(KvCommand::compare_and_set("a", None, text("3"))).unwrap().done);
    assert_eq!(map.change(KvCommand::remove("a")).unwrap().before, text("3"));
}

#[test]
fn a_revision_notices_what_was_changed_back() {
    let mut map = Map::new();
    let first = map.put("a", "1").revision;
    map.put("a", "2");
    let last = map.put("a", "1").revision;
    let by = |revision| KvCommand::compare_revision_and_set("a", revision, text("new"));
    let refused = map.change(by(first)).unwrap();
    assert_eq!((refused.done, refused.revision), (false, last));
    assert!(map.change(by(last)).unwrap().done);
    map.change(KvCommand::remove("a")).unwrap();
    assert!(map.put("a", "1").revision > last, "also over a deletion");
    assert!(!map.change(by(None)).unwrap().done);
}

#[test]
fn a_field_is_gone_when_its_time_is_over() {
    let mut map = Map::new();
    let put = |ttl_ms| KvCommand::put("a", "1".to_owned(), ttl_ms);
    map.change(put(Some(1_000))).unwrap();
    map.change(KvCommand::put("b", "1".to_owned(), Some(5_000))).unwrap();
    map.change(KvCommand::compare_and_set("a", text("1"), text("2"))).unwrap();
    map.0.advance(Duration::from_millis(999));
    assert_eq!(map.get("a"), text("2"), "a compare-and-set leaves the time to live");
    assert_eq!(map.0.advance(Duration::from_millis(1)), 1);
    assert_eq!((map.get("a"), map.0.state().fields.len()), (None, 1));
    assert!(map.change(KvCommand::compare_and_set("a", None, text("3"))).unwrap().done);
    map.change(put(Some(1_000))).unwrap();
    map.put("a", "stays");
    map.0.advance(Duration::from_secs(60));
    assert_eq!((map.get("a"), map.get("b")), (text("stays"), None));
    assert_eq!(map.0.timers(), []);
    let refused = map.change(put(Some(0))).unwrap_err();
    assert_eq!(refused, KvError::TtlOutOfRange { min: 1, max: TTL_MAX_MS });
}

#[test]
fn a_scan_goes_through_a_prefix_page_by_page() {
    let mut map = Map::new();
    for field in ["a", "b/1", "b/2", "b/3", "c"] {
        map.put(field, "x");
    }
    assert_eq!(map.scan("b/", 2, None), (vec!["b/1".into(), "b/2".into()], text("b/2")));
    assert_eq!(map.scan("b/", 2, Some("b/2")), (vec!["b/3".into()], None));
    assert_eq!(map.scan("b/", 3, Some("a")).0.len(), 3, "`after` may lie before the prefix");
    assert_eq!(map.scan("", 1, Some("c")), (vec![], None));
    assert_eq!(map.scan("", 0, None).0, ["a"], "a page has a field, so that it makes progress");
}

#[test]
fn a_map_that_is_full_says_so_and_can_shrink() {
    let mut map = Map::new();
    map.put("big", &"x".repeat(BYTES_MAX - 10));
    let put = |field: &str, value: &str| KvCommand::put(field, value.to_owned(), None);
    let refused = map.change(put("other", "123456")).unwrap_err();
    let (bytes, bytes_max) = (BYTES_MAX + 4, BYTES_MAX);
    assert_eq!(refused, KvError::Full { fields: 2, fields_max: FIELDS_MAX, bytes, bytes_max });
    assert!(map.change(put("o", "123456")).is_ok());
    map.put("big", "small");
    let name = "n".repeat(NAME_LEN_MAX + 1);
    assert_eq!(map.change(put(&name, "1")), Err(KvError::NameTooLong { max: NAME_LEN_MAX }));
}

#[test]
fn a_state_of_version_1_keeps_its_fields() {
    let fields = [("a".to_owned(), "1".to_owned())].into();
    let mut kv = Kv::from_v1(KvV1 { fields });
    assert_eq!(kv.value_of("a").as_deref(), Some("1"));
    assert_eq!(kv.revision_of("a"), Some(REVISION_OF_V1));
    assert!(kv.write(0, "a", "2".to_owned(), None).unwrap() > REVISION_OF_V1);
}
