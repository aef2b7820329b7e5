//! Forks, through kills, across slots and hosts.

use core::time::Duration;

use holocron::{CallError, ForkError};
use holocron_sim::Cluster;

use crate::tally::{Tally, kinds, tiny};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn forks_through_kills_begin_with_what_was_acknowledged_and_go_their_own_way() {
    let mut cluster = Cluster::new(61, tiny(), kinds);
    cluster.start_all(&["a", "b", "c"]);
    let forking = cluster.client("forker", |client| async move {
        let source = client.get::<Tally>("source").with_deadline(MINUTE);
        for round in 1..=60_u64 {
            assert_eq!(source.command(round).await, Ok(round));
            let key = format!("fork{round}");
            let fork = source.fork(&key).await.unwrap().with_deadline(MINUTE);
            // What runs at the fork stays, and the source doesn't notice.
            assert_eq!(fork.command(1_000).await, Ok(round + 1), "{key}");
            let sum = round * (round + 1) / 2;
            assert_eq!(fork.query(()).await, Ok((round + 1, sum + 1_000)));
            assert_eq!(source.query(()).await, Ok((round, sum)));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    for round in 0..6 {
        let victim = ["a", "b", "c"][round % 3];
        cluster.world.run(Duration::from_millis(1_700));
        cluster.world.crash(victim);
        cluster.world.run(Duration::from_millis(1_500));
        cluster.start(victim);
    }
    cluster.finish(forking, 5 * MINUTE);
    cluster.world.run(MINUTE);
    let reading = cluster.client("reader", |client| async move {
        for round in 1..=60_u64 {
            let fork = client.get::<Tally>(&format!("fork{round}")).with_deadline(MINUTE);
            let sum = round * (round + 1) / 2;
            assert_eq!(fork.query(()).await, Ok((round + 1, sum + 1_000)), "fork{round}");
        }
    });
    cluster.finish(reading, MINUTE);
}

#[test]
fn a_fork_needs_a_source_and_leaves_a_vnode_that_exists_alone() {
    let mut cluster = Cluster::new(62, tiny(), kinds);
    cluster.start_all(&["a", "b"]);
    let forking = cluster.client("forker", |client| async move {
        let get = |key: &str| client.get::<Tally>(key).with_deadline(MINUTE);
        let error = get("nothing").fork("new").await.unwrap_err();
        assert!(matches!(error, ForkError::NoSource(_)), "{error}");
        assert_eq!(get("new").exists().await, Ok(false));
        get("source").command(5).await.unwrap();
        get("other").command(9).await.unwrap();
        let error = get("source").fork("other").await.unwrap_err();
        assert_eq!(error.to_string(), "tally/other exists already; it was left as it is");
        assert_eq!(get("other").query(()).await, Ok((1, 9)));
        let error = get("source").fork("source").await.unwrap_err();
        assert!(matches!(error, ForkError::Exists(_)), "{error}");
        let error = get("source").fork("").await.unwrap_err();
        assert!(matches!(error, ForkError::Call(CallError::Rejected { .. })), "{error}");
        // A vnode that was deleted doesn't exist.
        get("other").delete().await.unwrap();
        let fork = get("source").fork("other").await.unwrap();
        assert_eq!(fork.query(()).await, Ok((1, 5)));
        get("source").delete().await.unwrap();
        assert_eq!(fork.command(1).await, Ok(2));
    });
    cluster.finish(forking, 3 * MINUTE);
}
