//! The calls on the page about built-in kinds answer what the page says.

use std::collections::BTreeMap;

use serde_json::Value;

use super::support::{Place, run, text, turn};

const PAGE: &str = include_str!("../../../../docs/kinds.md");
/// What begins a call on the page.
const CALL: &str = "holocron call --store $STORE ";
/// Numbers with so many digits are times, or numbers that begin with the time: they differ in each run.
const TIME_DIGITS: usize = 13;

/// A call and its answer.
fn calls() -> Vec<(&'static str, &'static str)> {
    let lines: Vec<&str> = PAGE.lines().collect();
    let pairs = lines.windows(2).filter_map(|pair| {
        let call = pair[0].strip_prefix(CALL)?;
        Some((call, pair[1].strip_prefix("# ").expect("a call is followed by its answer")))
    });
    pairs.collect()
}

/// Puts one word in place of every time.
fn without_times(value: &mut Value) {
    match value {
        Value::Number(number) if number.to_string().len() >= TIME_DIGITS => {
            *value = Value::from("time");
        }
        Value::Array(each) => each.iter_mut().for_each(without_times),
        Value::Object(fields) => fields.values_mut().for_each(without_times),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Notes the numbers of an answer that later calls need, such as `$TOKEN`.
fn note(value: &Value, numbers: &mut BTreeMap<String, String>) {
    match value {
        Value::Array(each) => each.iter().for_each(|value| note(value, numbers)),
        Value::Object(fields) => {
            for (name, value) in fields {
                note(value, numbers);
                if value.is_number() {
                    numbers.insert(format!("${}", name.to_uppercase()), value.to_string());
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_calls_on_the_page_about_kinds_answer_what_it_says() {
    let _turn = turn().await;
    let place = Place::new();
    let _host = place.host("h1", &[]).await;
    let (url, calls, mut numbers) = (place.url(), calls(), BTreeMap::new());
    assert!(calls.len() > 15, "only {} calls were found", calls.len());
    for (call, expected) in calls {
        let words = call.split(' ').map(|word| numbers.get(word).map_or(word, String::as_str));
        let arguments: Vec<&str> = ["call", "--store", &url].into_iter().chain(words).collect();
        let output = run(&arguments).await;
        let said = text(&output.stdout) + &text(&output.stderr);
        let mut answer: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{call}: {said}"));
        note(&answer, &mut numbers);
        let mut expected: Value = serde_json::from_str(expected).expect("the page has JSON");
        without_times(&mut answer);
        without_times(&mut expected);
        assert_eq!(answer, expected, "{call}");
    }
}
