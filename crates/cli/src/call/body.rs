//! From the words of a command line to a call in JSON.

use holocron::{CallArguments, CallDescription, KindDescription, Mode, Part, Shape, json_of_text};
use serde_json::{Map, Value, json};

/// Which call is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A command, or else a query.
    Any,
    /// A query.
    Query,
    /// A query of the owner's memory.
    Local,
}

/// The call that is meant, and what it may do.
pub(super) fn find<'a>(
    kind: &'a KindDescription,
    word: &str,
    wanted: Wanted,
) -> Result<(Mode, &'a CallDescription), String> {
    let among = |calls: &'a [CallDescription]| {
        calls.iter().find(|call| call.name.as_deref().is_none_or(|name| name == word))
    };
    let command = || among(&kind.commands).map(|call| (Mode::Command, call));
    let query = |mode| among(&kind.queries).map(|call| (mode, call));
    let found = match wanted {
        Wanted::Any => command().or_else(|| query(Mode::Query)),
        Wanted::Query => query(Mode::Query),
        Wanted::Local => query(Mode::Local),
    };
    let name = &kind.kind;
    found.ok_or_else(|| match wanted {
        Wanted::Any => format!(
            "{name} has no command or query {word:?}; it has: {}",
            usages(kind.commands.iter().chain(&kind.queries))
        ),
        Wanted::Query | Wanted::Local if command().is_some() => {
            format!("{word} is a command of {name}; --query and --local work with queries only")
        }
        Wanted::Query | Wanted::Local => {
            format!("{name} has no query {word:?}; it has: {}", usages(&kind.queries))
        }
    })
}

fn usages<'a>(calls: impl IntoIterator<Item = &'a CallDescription>) -> String {
    let names = calls.into_iter().map(|call| call.name.clone().unwrap_or_else(|| call.usage()));
    names.collect::<Vec<_>>().join(", ")
}

/// The call in JSON.
pub(super) fn body(call: &CallDescription, word: &str, given: &[String]) -> Result<String, String> {
    let wrong = |why: String| format!("{why}; it is written {}", call.usage());
    let Some(name) = &call.name else {
        let CallArguments::Value(shape) = &call.arguments else {
            return Err(wrong("the call has no name".to_owned()));
        };
        return match given {
            [] => Ok(json_of_text(word, shape).map_err(wrong)?.to_string()),
            [..] => Err(wrong(
                "its commands and queries have no names, so one JSON value is the call".to_owned(),
            )),
        };
    };
    let arguments = match &call.arguments {
        CallArguments::None if given.is_empty() => return Ok(json!(name).to_string()),
        CallArguments::None => return Err(wrong(format!("{name} takes no argument"))),
        CallArguments::Named(parts) => named(parts, given).map_err(wrong)?,
        CallArguments::Value(shape) => match given {
            [one] => json_of_text(one, shape).map_err(wrong)?,
            _ => return Err(wrong(format!("{name} takes one argument, not {}", given.len()))),
        },
    };
    Ok(json!({ name: arguments }).to_string())
}

/// All by name in one object, or each in order. The last ones may be left out if they are optional.
fn named(parts: &[Part], given: &[String]) -> Result<Value, String> {
    if let [one] = given
        && let Ok(Value::Object(object)) = serde_json::from_str(one)
        && (parts.len() != 1 || object.contains_key(&parts[0].name))
    {
        return Ok(Value::Object(object));
    }
    let is_optional = |part: &Part| matches!(part.shape, Shape::Option(_));
    let needed = parts.iter().rposition(|part| !is_optional(part)).map_or(0, |last| last + 1);
    if !(needed..=parts.len()).contains(&given.len()) {
        let all = parts.len();
        let wanted = if needed == all { all.to_string() } else { format!("{needed} to {all}") };
        return Err(format!("{wanted} arguments, not {}", given.len()));
    }
    let each = parts.iter().zip(given).map(|(Part { name, shape }, text)| {
        Ok((name.clone(), json_of_text(text, shape).map_err(|why| format!("{name}: {why}"))?))
    });
    each.collect::<Result<Map<_, _>, String>>().map(Value::Object)
}

#[cfg(test)]
mod tests {
    use holocron::Scalar;

    use super::*;

    fn call(name: Option<&str>, arguments: CallArguments) -> CallDescription {
        let name = name.map(str::to_owned);
        CallDescription { name, docs: String::new(), arguments, result: Shape::Unknown }
    }

    fn part(name: &str, scalar: Scalar) -> Part {
        Part { name: name.to_owned(), shape: Shape::Scalar(scalar) }
    }

    fn said(call: &CallDescription, given: &[&str]) -> Result<String, String> {
        let given: Vec<String> = given.iter().map(|&text| text.to_owned()).collect();
        body(call, "5", &given)
    }

    #[test]
    fn arguments_are_given_by_name_or_in_order() {
        let parts = vec![part("sku", Scalar::String), part("n", Scalar::U32)];
        let add = call(Some("add"), CallArguments::Named(parts));
        let expected = r#"{"add":{"n":2,"sku":"tea"}}"#;
        for given in [&["tea", "2"][..], &["\"tea\"", "2"], &[r#"{"sku":"tea","n":2}"#]] {
            assert_eq!(said(&add, given).as_deref(), Ok(expected), "{given:?}");
        }
        let why = said(&add, &["tea"]).unwrap_err();
        assert_eq!(why, "2 arguments, not 1; it is written add(sku: String, n: u32)");
        let why = said(&add, &["tea", "two"]).unwrap_err();
        assert!(why.starts_with("n: \"two\" is not JSON"), "{why}");
    }

    #[test]
    fn optional_arguments_at_the_end_may_be_left_out() {
        let optional = |name: &str, scalar| Part {
            name: name.to_owned(),
            shape: Shape::Option(Box::new(Shape::Scalar(scalar))),
        };
        let parts = vec![
            part("a", Scalar::String),
            optional("b", Scalar::String),
            optional("c", Scalar::U64),
        ];
        let put = call(Some("put"), CallArguments::Named(parts));
        assert_eq!(said(&put, &["x"]).as_deref(), Ok(r#"{"put":{"a":"x"}}"#));
        assert_eq!(said(&put, &["x", "y"]).as_deref(), Ok(r#"{"put":{"a":"x","b":"y"}}"#));
        let all = said(&put, &["x", "null", "5"]);
        assert_eq!(all.as_deref(), Ok(r#"{"put":{"a":"x","b":null,"c":5}}"#));
        assert!(said(&put, &[]).unwrap_err().starts_with("1 to 3 arguments, not 0"));
    }

    #[test]
    fn a_number_where_text_is_expected_is_text() {
        let one = call(Some("name"), CallArguments::Named(vec![part("to", Scalar::String)]));
        assert_eq!(said(&one, &["5"]).as_deref(), Ok(r#"{"name":{"to":"5"}}"#));
        assert_eq!(said(&one, &[r#"{"to":"x"}"#]).as_deref(), Ok(r#"{"name":{"to":"x"}}"#));
        assert_eq!(said(&one, &[r#"{"x":1}"#]).as_deref(), Ok(r#"{"name":{"to":"{\"x\":1}"}}"#));
    }

    #[test]
    fn a_call_without_arguments_or_names_is_its_value() {
        let value = call(Some("value"), CallArguments::None);
        assert_eq!(said(&value, &[]).as_deref(), Ok("\"value\""));
        assert!(said(&value, &["1"]).unwrap_err().contains("takes no argument"));
        let bare = call(None, CallArguments::Value(Shape::Scalar(Scalar::U64)));
        assert_eq!(said(&bare, &[]).as_deref(), Ok("5"));
        let around = call(Some("add"), CallArguments::Value(Shape::Scalar(Scalar::I64)));
        assert_eq!(said(&around, &["-2"]).as_deref(), Ok(r#"{"add":-2}"#));
    }

    #[test]
    fn a_command_is_meant_before_a_query_unless_a_query_is_asked_for() {
        let kind = KindDescription {
            kind: "cart".into(),
            version: 1,
            codec: holocron::Codec::Bincode,
            shards: None,
            state: Shape::Unknown,
            commands: vec![
                call(Some("get"), CallArguments::None),
                call(Some("add"), CallArguments::None),
            ],
            queries: vec![call(Some("get"), CallArguments::None)],
        };
        let mode = |word, wanted| find(&kind, word, wanted).map(|(mode, _)| mode);
        assert_eq!(mode("get", Wanted::Any), Ok(Mode::Command));
        assert_eq!(mode("get", Wanted::Query), Ok(Mode::Query));
        assert_eq!(mode("get", Wanted::Local), Ok(Mode::Local));
        assert!(mode("add", Wanted::Local).unwrap_err().contains("work with queries only"));
        let why = mode("sub", Wanted::Any).unwrap_err();
        assert_eq!(why, "cart has no command or query \"sub\"; it has: get, add, get");
    }
}
