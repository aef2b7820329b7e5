//! The demo finds no fault. `scripts/planted.sh` shows that it detects planted bugs.

use serde_json::Value;

use super::support::{run, text, turn};

/// Runs a short demo, which must succeed. Returns its report.
async fn demo(arguments: &[&str]) -> Value {
    let _turn = turn().await;
    let mut all = vec!["demo", "--vnodes", "600", "--seconds", "4", "--json"];
    all.extend(arguments);
    let output = run(&all).await;
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_host_costs_no_acknowledged_command() {
    check(&demo(&["--kill", "sigkill"]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_leader_costs_no_acknowledged_command() {
    check(&demo(&["--kill", "sigstop", "--victim", "leader"]).await);
}

fn check(report: &Value) {
    for none in ["lost", "doubled", "stale_reads", "unread"] {
        assert_eq!(report[none], 0, "{none}: {report}");
    }
    let number =
        |name: &str| report[name].as_f64().unwrap_or_else(|| panic!("no {name}: {report}"));
    assert!(number("acknowledged") > 500.0, "{report}");
    assert!(number("vnodes_failed_over") * 4.0 >= number("vnodes"), "{report}");
    assert!(number("victim_in_flight") >= 100.0 && number("victim_packs") >= 2.0, "{report}");
    assert!(number("detect_ms") <= number("first_served_ms"), "{report}");
    assert!(number("first_served_ms") <= number("last_served_ms"), "{report}");
    assert!(number("takeover_requests") > 0.0, "{report}");
    assert!(report["failed_calls"].is_number(), "{report}");
}
