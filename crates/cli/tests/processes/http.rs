//! The short form of the tool `http-increments`: under a key an increment counts once, though a host is killed and stopped.

#[path = "../../examples/http-increments/campaign.rs"]
mod campaign;

use campaign::{Plan, run};

use super::support::turn;

#[tokio::test(flavor = "multi_thread")]
async fn increments_under_keys_count_once_while_a_host_is_killed_and_stopped() {
    let _turn = turn().await;
    let program = env!("CARGO_BIN_EXE_holocron").into();
    let report = run(&Plan { program, kills: 3, stops: 2 }).await.unwrap();
    assert_eq!((report.lost, report.doubled), (0, 0), "{report}");
    assert!(report.keys > 100 && report.retries > 0, "{report}");
}
