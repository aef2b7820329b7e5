//! The contract of a store, as a test of each promise of [`Store`]. Every implementation must pass it.
//!
//! For tests: it panics with the broken promise. It works below the prefix `contract/` and leaves it empty.

mod repeated;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::create::{Created, create_once};
use crate::error::Error;
use crate::patience::Patience;
use crate::store::{Listed, Store};
use repeated::{Repeated, UNCLEAR_MAX};

/// Racers for one key.
const RACERS: usize = 32;

/// Races of each kind.
const ROUNDS: usize = 4;

/// Number of objects that doesn't fit one page of a cloud's listing.
const LIST_LEN: usize = 1_050;

/// Concurrent requests while creating and deleting many objects.
const REQUESTS_MAX: usize = 16;

/// Pause after an unclear answer to a create over an object.
const UNCLEAR_PAUSE: Duration = Duration::from_millis(200);

/// A large body, in bytes.
const LARGE_LEN: usize = 8 << 20;

/// Checks every promise of a store. Unclear answers are retried, so a busy server passes.
///
/// # Panics
///
/// If a promise is broken, with its name; or if the store refuses a request or never answers clearly.
pub async fn check(store: &Arc<dyn Store>) {
    let plain = store;
    let store: &Arc<dyn Store> = &(Arc::new(Repeated(Arc::clone(store))) as _);
    clear(store).await;
    creates_only_what_is_absent(plain, store).await;
    puts_over_anything(store).await;
    deletes_what_is_there_or_not(store).await;
    reads_exact_ranges(store).await;
    lists_whole_segments_at_any_depth(store).await;
    lists_more_than_a_page(store).await;
    takes_odd_keys_and_no_illegal_ones(store).await;
    takes_large_and_empty_bodies(store).await;
    lets_one_of_many_creates_win(store).await;
    tells_every_create_once_the_truth(plain, store).await;
    never_shows_half_a_put(store).await;
    clear(store).await;
}

async fn creates_only_what_is_absent(plain: &Arc<dyn Store>, store: &Arc<dyn Store>) {
    let key = "contract/create/00000000000000000001";
    let missing = store.get(key).await;
    assert!(matches!(missing, Ok(None)), "an object that isn't there is None: {missing:?}");
    store.create(key, Bytes::from_static(b"first")).await.expect("creating an absent object");
    assert_eq!(get(store, key).await, "first", "a get after a create finds it");
    let listed = [Listed { key: key.to_owned(), len: 5 }];
    assert_eq!(list(store, "contract/create").await, listed, "a listing after a create shows it");
    let again = create_over(plain, key).await;
    assert!(
        matches!(again, Err(Error::Conflict { .. })),
        "a create over an object is a conflict: {again:?}"
    );
    assert_eq!(get(store, key).await, "first", "a create over an object leaves it alone");
}

/// The store's own clear answer to a create over an object.
async fn create_over(plain: &Arc<dyn Store>, key: &str) -> Result<(), Error> {
    for _ in 1..UNCLEAR_MAX {
        match plain.create(key, Bytes::from_static(b"second")).await {
            Err(Error::Unclear { .. }) => tokio::time::sleep(UNCLEAR_PAUSE).await,
            clear => return clear,
        }
    }
    plain.create(key, Bytes::from_static(b"second")).await
}

async fn puts_over_anything(store: &Arc<dyn Store>) {
    let key = "contract/put/hint";
    for body in ["one", "three", ""] {
        store.put(key, Bytes::from_static(body.as_bytes())).await.expect("put");
        assert_eq!(get(store, key).await, body, "a get after a put finds its bytes");
    }
    let again = store.create(key, Bytes::from_static(b"create")).await;
    assert!(
        matches!(again, Err(Error::Conflict { .. })),
        "a create over a put object is a conflict: {again:?}"
    );
}

async fn deletes_what_is_there_or_not(store: &Arc<dyn Store>) {
    let key = "contract/delete/object";
    store.delete(key).await.expect("deleting what isn't there");
    store.create(key, Bytes::from_static(b"one")).await.expect("create");
    store.delete(key).await.expect("delete");
    assert_eq!(store.get(key).await.expect("get"), None, "a get after a delete finds nothing");
    assert_eq!(store.get_range(key, 0..1).await.expect("get_range"), None, "nor does a ranged one");
    assert_eq!(
        list(store, "contract/delete").await,
        [],
        "a listing after a delete doesn't show it"
    );
    store.delete(key).await.expect("deleting again");
    store.create(key, Bytes::from_static(b"two")).await.expect("creating what was deleted");
    assert_eq!(get(store, key).await, "two");
}

async fn reads_exact_ranges(store: &Arc<dyn Store>) {
    let key = "contract/range";
    let body = Bytes::from_iter((0..=255).cycle().take(100_000));
    store.put(key, body.clone()).await.expect("put");
    for range in [0..1, 0..100_000, 99_999..100_000, 255..257, 4_000..70_000] {
        let part =
            store.get_range(key, range.start as u64..range.end as u64).await.expect("get_range");
        assert_eq!(part, Some(body.slice(range.clone())), "bytes {range:?}");
    }
    for range in [0..100_001, 99_999..100_001, 100_000..100_001, 200_000..200_001, 5..5] {
        let none = store.get_range(key, range.clone()).await;
        assert!(
            matches!(none, Err(Error::Rejected { .. })),
            "bytes {range:?} aren't all there: {none:?}"
        );
    }
    assert_eq!(store.get_range("contract/none", 0..1).await.expect("get_range"), None);
}

async fn lists_whole_segments_at_any_depth(store: &Arc<dyn Store>) {
    let keys = [
        "contract/list/a/1",
        "contract/list/a/b/c/d/2",
        "contract/list/ab/3",
        "contract/list/4",
        "contract/list.5",
    ];
    for (len, key) in keys.iter().enumerate() {
        store.put(key, Bytes::from(vec![0; len])).await.expect("put");
    }
    let expect = |places: &[usize]| {
        let mut expected: Vec<_> = places
            .iter()
            .map(|&place| Listed { key: keys[place].to_owned(), len: place as u64 })
            .collect();
        expected.sort();
        expected
    };
    assert_eq!(
        list(store, "contract/list").await,
        expect(&[0, 1, 2, 3]),
        "everything below, at any depth"
    );
    assert_eq!(
        list(store, "contract/list/").await,
        expect(&[0, 1, 2, 3]),
        "a slash at the end changes nothing"
    );
    assert_eq!(list(store, "contract/list/a").await, expect(&[0, 1]), "`ab` is not below `a`");
    assert_eq!(list(store, "contract/list/4").await, [], "an object is not below itself");
    assert_eq!(list(store, "contract/list/none").await, [], "nothing below what isn't there");
    let all = list(store, "").await;
    assert!(
        expect(&[0, 1, 2, 3, 4]).iter().all(|object| all.contains(object)),
        "the empty prefix lists everything"
    );
}

async fn lists_more_than_a_page(store: &Arc<dyn Store>) {
    futures::stream::iter(0..LIST_LEN)
        .for_each_concurrent(REQUESTS_MAX, |number| async move {
            store
                .put(&format!("contract/many/{number:020}"), Bytes::from_static(b"x"))
                .await
                .expect("put");
        })
        .await;
    let listed = list(store, "contract/many").await;
    assert_eq!(listed.len(), LIST_LEN, "a listing is complete, however many pages it takes");
    assert!(
        listed.windows(2).all(|pair| pair[0].key != pair[1].key),
        "a listing shows each object once"
    );
}

async fn takes_odd_keys_and_no_illegal_ones(store: &Arc<dyn Store>) {
    let long = format!("contract/odd/{}", "x".repeat(crate::KEY_SEGMENT_LEN_MAX));
    let odd = [
        "contract/odd/%41",
        "contract/odd/a%2Fb",
        "contract/odd/A.b_c~d=e-",
        "contract/odd/~",
        "contract/odd/-",
        &long,
    ];
    for key in odd {
        store
            .create(key, Bytes::from(key.to_owned()))
            .await
            .unwrap_or_else(|error| panic!("{key}: {error}"));
    }
    for key in odd {
        assert_eq!(get(store, key).await, key, "each odd key names an object of its own");
    }
    assert_eq!(
        store.get("contract/odd/A").await.expect("get"),
        None,
        "a percent sign is not decoded"
    );
    let listed: Vec<_> =
        list(store, "contract/odd").await.into_iter().map(|object| object.key).collect();
    assert!(
        odd.iter().all(|key| listed.contains(&(*key).to_owned())),
        "odd keys are listed as they are: {listed:?}"
    );
    for key in odd {
        store.delete(key).await.expect("delete");
        assert_eq!(store.get(key).await.expect("get"), None, "{key} is deleted");
    }
    for key in [
        "",
        "/contract",
        "contract/",
        "contract//a",
        "contract/../a",
        "contract/.a",
        "contract/a#1",
        "contract/a b",
    ] {
        let answers = [
            store.create(key, Bytes::new()).await.err(),
            store.put(key, Bytes::new()).await.err(),
            store.get(key).await.err(),
            store.get_range(key, 0..1).await.err(),
            store.delete(key).await.err(),
        ];
        for answer in answers {
            assert!(
                matches!(answer, Some(Error::Rejected { .. })),
                "{key:?} is rejected: {answer:?}"
            );
        }
    }
    let illegal = store.list("contract/../").await;
    assert!(
        matches!(illegal, Err(Error::Rejected { .. })),
        "an illegal prefix is rejected: {illegal:?}"
    );
}

async fn takes_large_and_empty_bodies(store: &Arc<dyn Store>) {
    let body = Bytes::from_iter((0..=250).cycle().take(LARGE_LEN));
    store.create("contract/large", body.clone()).await.expect("creating a large object");
    assert_eq!(
        store.get("contract/large").await.expect("get"),
        Some(body.clone()),
        "a large object is whole"
    );
    let end = LARGE_LEN as u64;
    let tail = store.get_range("contract/large", end - 10..end).await.expect("get_range");
    assert_eq!(tail, Some(body.slice(LARGE_LEN - 10..)));
    // Servers may handle large bodies differently; the condition must still hold.
    store.create("contract/small", Bytes::from_static(b"first")).await.expect("creating");
    let again = store.create("contract/small", body).await;
    assert!(again.is_err(), "a large create over an object is an error: {again:?}");
    assert_eq!(get(store, "contract/small").await, "first", "and leaves it alone");
    store.create("contract/empty", Bytes::new()).await.expect("creating an empty object");
    assert_eq!(
        store.get("contract/empty").await.expect("get"),
        Some(Bytes::new()),
        "empty is not missing"
    );
}

async fn lets_one_of_many_creates_win(store: &Arc<dyn Store>) {
    for round in 0..ROUNDS {
        let key = format!("contract/race/{round}");
        let mut racers = JoinSet::new();
        for racer in 0..RACERS {
            let (store, key, body) =
                (Arc::clone(store), key.clone(), Bytes::from(format!("racer {racer}")));
            racers.spawn(async move {
                let won = store.create(&key, body.clone()).await.is_ok();
                (won, body, store.get(&key).await.expect("get"))
            });
        }
        let seen = racers.join_all().await;
        let winners: Vec<_> =
            seen.iter().filter(|(won, ..)| *won).map(|(_, body, _)| body).collect();
        assert_eq!(winners.len(), 1, "one of {RACERS} concurrent creates wins");
        assert_eq!(get(store, &key).await, winners[0], "the winner's bytes stand there");
        for (won, _, read) in &seen {
            assert!(read.is_some() || !won, "the winner finds its object");
            assert!(
                read.as_ref().is_none_or(|read| read == winners[0]),
                "no reader gets a loser's bytes"
            );
        }
    }
}

async fn tells_every_create_once_the_truth(plain: &Arc<dyn Store>, store: &Arc<dyn Store>) {
    for round in 0..ROUNDS {
        let key = format!("contract/once/{round}");
        let mut racers = JoinSet::new();
        for racer in 0..RACERS {
            let (store, key, body) =
                (Arc::clone(plain), key.clone(), Bytes::from(format!("racer {racer}")));
            racers.spawn(async move {
                let never = CancellationToken::new();
                (create_once(&store, &key, body.clone(), Patience::forever(), &never).await, body)
            });
        }
        let seen = racers.join_all().await;
        let stands = get(store, &key).await;
        let winners = seen.iter().filter(|(created, _)| *created == Created::Won).count();
        assert_eq!(winners, 1, "one of {RACERS} wins");
        for (created, body) in &seen {
            match created {
                Created::Won => {
                    assert_eq!(*body, stands, "the winner's bytes stand there");
                }
                Created::Lost(existing) => {
                    assert_eq!(*existing, stands, "the others are shown the winner's");
                }
                Created::Unknown => panic!("nothing ended it undecided"),
            }
        }
    }
}

async fn never_shows_half_a_put(store: &Arc<dyn Store>) {
    const LEN: usize = 200_000;
    let key = "contract/whole";
    store.put(key, Bytes::from(vec![0; LEN])).await.expect("put");
    let writer = {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            for fill in 1..20 {
                store.put(key, Bytes::from(vec![fill; LEN])).await.expect("put");
            }
        })
    };
    while !writer.is_finished() {
        let body = get(store, key).await;
        assert!(
            body.len() == LEN && body.iter().all(|byte| *byte == body[0]),
            "a get finds one put, whole"
        );
        // With a store that answers at once the writer would never run.
        tokio::task::yield_now().await;
    }
    writer.await.expect("the writer is done");
}

async fn get(store: &Arc<dyn Store>, key: &str) -> Bytes {
    store.get(key).await.expect("get").unwrap_or_else(|| panic!("{key} is there"))
}

/// A listing, in order.
async fn list(store: &Arc<dyn Store>, prefix: &str) -> Vec<Listed> {
    let mut listed = store.list(prefix).await.expect("list");
    listed.sort();
    listed
}

async fn clear(store: &Arc<dyn Store>) {
    futures::stream::iter(list(store, "contract").await)
        .for_each_concurrent(REQUESTS_MAX, |object| async move {
            store.delete(&object.key).await.expect("delete");
        })
        .await;
    assert_eq!(list(store, "contract").await, [], "everything deleted is gone from the listing");
}
