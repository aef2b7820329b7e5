//! Today's host reads the objects that hosts of earlier builds have written: `tests/releases` keeps a set of each.

use std::{
    fs,
    path::{Path, PathBuf},
};

use holocron::{
    Answer, Call, Epoch, Format, Mode, Outcome, PeerMessage, PeerReply, VnodeName,
    frame::Hello,
    inspect::{ClusterReader, NewestRecord},
    link::Link,
    net::Tcp,
};
use holocron_protocol::{
    ids::{CommitNumber, HostName},
    journal::batch,
    request::{
        envelope::Envelope,
        window::{Outcome as Recorded, Request, RequestId},
    },
};
use serde_json::{Value, json};

use super::support::{Host, PATIENCE, Place, all_served, run, text, turn, until};

/// A set of objects that is kept.
struct Kept {
    name: String,
    folder: PathBuf,
    contents: Value,
}

impl Kept {
    fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/releases");
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        let mut sets: Vec<Self> = entries
            .filter(|entry| entry.path().is_dir())
            .map(|entry| {
                let contents = fs::read(entry.path().join("contents.json")).unwrap();
                let contents = serde_json::from_slice(&contents).unwrap();
                let name = entry.file_name().into_string().unwrap();
                Self { name, folder: entry.path(), contents }
            })
            .collect();
        sets.sort_by(|one, next| one.name.cmp(&next.name));
        sets
    }

    /// A copy of the store, for a test to change.
    fn copied(&self) -> Place {
        let place = Place::new();
        copy(&self.folder.join("store"), &place.path());
        place
    }

    /// The part of the contents with this name; empty if this set has none.
    fn list(&self, name: &str) -> &[Value] {
        self.contents[name].as_array().map_or(&[], Vec::as_slice)
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Calls a vnode from the command line.
async fn call(place: &Place, kind: &str, key: &str, words: &[&str]) -> Value {
    let url = place.url();
    let before = ["call", "--store", &url, "--deadline", "30", kind, key];
    let output = run(&[&before, words].concat()).await;
    let said = text(&output.stdout) + &text(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{kind} {key}: {said}"))
}

/// A query of the contents: what is asked, in words for messages, and the answer now and then.
async fn ask(place: &Place, query: &Value) -> (String, Value) {
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let (kind, key) = (word(&query["kind"]), word(&query["key"]));
    let words: Vec<String> = query["call"].as_array().unwrap().iter().map(word).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    (format!("{kind} {key} {words:?}"), call(place, &kind, &key, &words).await)
}

/// The newest request of a vnode that the store has an answer to, and the answer.
async fn newest_request(place: &Place, name: &VnodeName) -> (RequestId, Recorded) {
    let reader = ClusterReader::open(place.store(), PATIENCE).await.unwrap();
    let NewestRecord::Stored(at) = reader.find_vnode(name).await.unwrap().newest else {
        panic!("{name} isn't stored");
    };
    let object = place.store().get(&at.file.key()).await.unwrap().unwrap();
    let begin = at.offset as usize;
    let record = batch::decode_state("record", &object.slice(begin..begin + at.length as usize));
    let envelope = Envelope::decode("envelope", &record.unwrap().envelope).unwrap();
    let newest = envelope.window.answered().max_by_key(|(_, recorded)| recorded.commit);
    let (id, recorded) = newest.expect("its window has an answer");
    (id, recorded.outcome.clone())
}

/// Sends a command under this number, as its client would again if it had got no answer.
async fn send(host: &Host, name: &VnodeName, id: RequestId) -> Answer {
    let hello = Hello { cluster: None, who: "test".into() };
    let link = Link::open(&Tcp, &host.address, hello).await.unwrap();
    let request = Request { id, lowest: id.number, base: CommitNumber::ZERO };
    let call = Call {
        name: name.clone(),
        mode: Mode::Command,
        request,
        epoch: Epoch::ZERO,
        format: Format::Json,
        body: json!({"add": {"amount": 1}}).to_string().into(),
    };
    link.room().await.unwrap().call(&call).unwrap().await.unwrap()
}

/// What a restarted host of today does with a set: serve, and answer as before.
async fn serves_what_was_written(kept: &Kept, place: &Place) {
    for query in kept.list("queries").iter().chain(kept.list("delivered")) {
        let expected = &query["answer"];
        // What was owed or due when the hosts were killed happens soon after the start, and once.
        until(&format!("{}: {query}", kept.name), async || {
            (ask(place, query).await.1 == *expected).then_some(())
        })
        .await;
        let (what, again) = ask(place, query).await;
        assert_eq!(again, *expected, "{}: {what}", kept.name);
    }
    if let Some(token) = kept.contents["lease"]["token"].as_u64() {
        let key = kept.contents["lease"]["key"].as_str().unwrap();
        let granted = call(place, "lease", key, &["acquire", "today", "30000"]).await;
        let newer = granted["Ok"]["granted"]["token"].as_u64();
        assert!(newer > Some(token), "{}: the lease's tokens only grow: {granted}", kept.name);
    }
    if let Some(messages) = kept.contents["queue"]["messages"].as_u64() {
        let key = kept.contents["queue"]["key"].as_str().unwrap();
        let stats = call(place, "queue", key, &["stats"]).await;
        let counts = ["ready", "behind", "in_flight", "delayed", "dead"];
        let there: u64 = counts.iter().map(|count| stats[count].as_u64().unwrap()).sum();
        assert_eq!(there, messages, "{}: {stats}", kept.name);
        let pulled = call(place, "queue", key, &["pull", "10", "30000"]).await;
        let bodies: Vec<&Value> =
            pulled["Ok"].as_array().unwrap().iter().map(|message| &message["body"]).collect();
        for body in kept.contents["queue"]["ready"].as_array().unwrap() {
            assert!(bodies.contains(&body), "{}: {body} in {pulled}", kept.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_earlier_builds_have_written_is_served_and_no_request_runs_twice() {
    let _turn = turn().await;
    let sets = Kept::all();
    assert!(sets.len() >= 2, "the sets are missing");
    for kept in &sets {
        let place = kept.copied();
        let url = place.url();
        let retried = &kept.contents["retried"];
        let key = retried["key"].as_str().unwrap();
        let name = VnodeName::new(retried["kind"].as_str().unwrap(), key).unwrap();
        let (id, Recorded::Reply(answered)) = newest_request(&place, &name).await else {
            panic!("{}: {name} was answered", kept.name);
        };
        let first_epoch = place.record().await.unwrap().epoch;

        let host = place.host("today", &["--join"]).await;
        all_served(&place, &[&host]).await;
        serves_what_was_written(kept, &place).await;

        let before = call(&place, name.kind(), key, &["value"]).await;
        let again = send(&host, &name, id).await;
        assert_eq!(again.outcome, Outcome::Reply(answered), "{}: sent again", kept.name);
        assert_eq!(call(&place, name.kind(), key, &["value"]).await, before, "{}", kept.name);
        // The same command under the next number runs: what was answered above was the request, not the command.
        let next = RequestId { number: id.number.next(), ..id };
        assert!(matches!(send(&host, &name, next).await.outcome, Outcome::Reply(_)));
        let after = call(&place, name.kind(), key, &["value"]).await;
        assert_eq!(after.as_i64(), before.as_i64().map(|value| value + 1), "{}", kept.name);

        let scrubbed = run(&["scrub", "--store", &url]).await;
        assert_eq!(scrubbed.status.code(), Some(0), "{}: {}", kept.name, text(&scrubbed.stdout));
        let history = run(&["history", "--store", &url]).await;
        let history = text(&history.stdout);
        for said in ["a founds the cluster", "epoch 1", &format!("epoch {}", first_epoch.get())] {
            assert!(history.contains(said), "{}: {said} in {history}", kept.name);
        }
        let elections = place.path().join("elections/nightly/epochs");
        assert!(elections.is_dir(), "{}: it has an election", kept.name);
        let led = ["elect", "--store", &url, "nightly", "--name", "m2", "--", "true"];
        let led = run(&led).await;
        assert_eq!(led.status.code(), Some(0), "{}: {}", kept.name, text(&led.stderr));
        match holocron::ask(&Tcp, &host.address, PeerMessage::View, PATIENCE).await {
            Ok(PeerReply::View(record)) => assert!(!record.is_empty()),
            other => panic!("{}: {other:?}", kept.name),
        }
    }
}

/// Sets the format version in the header of an object.
fn make_newer(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    if bytes.starts_with(b"HLCN") {
        bytes[4] += 1;
    } else {
        let told = String::from_utf8(bytes).unwrap();
        let newer = told.replacen("\"format\":1", "\"format\":2", 1);
        assert_ne!(newer, told, "{file:?} names its format");
        bytes = newer.into_bytes();
    }
    fs::write(file, bytes).unwrap();
}

/// The last file in a folder.
fn last(folder: &Path) -> PathBuf {
    let listed = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    listed.map(|entry| entry.unwrap().path()).max().expect("it has files")
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_a_newer_format_are_refused_by_name() {
    const NEWER: &str = "format version 2; this release reads 1: use the release that wrote it";
    let _turn = turn().await;
    let sets = Kept::all();
    let kept = sets.last().expect("there is a set");
    for whole in ["cluster", "epochs"] {
        let place = kept.copied();
        let newer = place.path().join(whole);
        let newer = if newer.is_dir() { last(&newer) } else { newer };
        make_newer(&newer);
        let url = place.url();
        let host = ["host", "--store", &url, "--name", "today", "--join"];
        let output = run(&host).await;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{whole}: {said}");
        let key = newer.strip_prefix(place.path()).unwrap().display().to_string();
        assert!(said.contains(&key) && said.contains(NEWER), "{whole}: {said}");
    }
    // A batch and a pack of the host that had most: whoever reads them names them.
    let place = kept.copied();
    let session = place.session_of(&HostName::new("a").unwrap()).await.unwrap();
    for part in ["journal", "packs"] {
        let place = kept.copied();
        let newer = last(&place.path().join(format!("sessions/{session}/{part}")));
        make_newer(&newer);
        let scrubbed = run(&["scrub", "--store", &place.url()]).await;
        let said = text(&scrubbed.stdout);
        assert_eq!(scrubbed.status.code(), Some(8), "{part}: {said}");
        let key = newer.strip_prefix(place.path()).unwrap().display().to_string();
        assert!(said.contains(&key) && said.contains(NEWER), "{part}: {said}");
    }
}
