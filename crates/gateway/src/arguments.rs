//! From a body or a query string to a call in JSON.
//!
//! A body is passed on as it is, so numbers keep their digits; it is only checked to be one JSON value.

use axum::extract::Query;
use axum::http::Uri;
use bytes::Bytes;
use holocron::{CallArguments, CallDescription, KindDescription, Mode, Part, Shape, json_of_text};
use serde_json::{Map, Value, json, value::RawValue};

use crate::problem::{Problem, ProblemKind};

/// The word in a path for a kind whose commands or queries have no names.
pub(crate) const UNNAMED: &str = "_";
/// The argument of a call that takes one value without a name.
pub(crate) const VALUE: &str = "value";
/// The argument that says how a query is answered.
pub(crate) const CONSISTENCY: &str = "consistency";

/// The command or query of a path.
pub(crate) fn find<'a>(
    kind: &KindDescription,
    calls: &'a [CallDescription],
    word: &str,
) -> Result<&'a CallDescription, Problem> {
    let found = calls.iter().find(|call| call.name.as_deref().unwrap_or(UNNAMED) == word);
    found.ok_or_else(|| {
        let names: Vec<&str> =
            calls.iter().map(|call| call.name.as_deref().unwrap_or(UNNAMED)).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        ProblemKind::UnknownCall
            .with(format!("{} has no {word:?} here; it has: {names}", kind.kind))
    })
}

/// The call that a body makes: its arguments by name in an object, in order in an array, or none.
pub(crate) fn of_body(call: &CallDescription, body: &[u8]) -> Result<Bytes, Problem> {
    let body = body.trim_ascii();
    let given = if body.is_empty() {
        None
    } else {
        let raw: &RawValue = serde_json::from_slice(body).map_err(|error| {
            ProblemKind::Malformed.with(format!("the body is not JSON: {error}"))
        })?;
        Some(raw.get())
    };
    let wrong = |why: &str| {
        ProblemKind::Malformed.with(format!("{why}; the call is written {}", call.usage()))
    };
    let arguments = match (&call.arguments, given) {
        (CallArguments::None, None | Some("{}" | "[]" | "null")) => None,
        (CallArguments::None, Some(_)) => return Err(wrong("there are no arguments")),
        (CallArguments::Named(_), None) => Some("{}".to_owned()),
        (CallArguments::Named(parts), Some(given)) => match given.as_bytes()[0] {
            b'{' => Some(given.to_owned()),
            b'[' => Some(in_order(parts, given).map_err(|why| wrong(&why))?),
            _ => return Err(wrong("the body is neither an object nor an array")),
        },
        (CallArguments::Value(Shape::UNIT), None) => Some("null".to_owned()),
        (CallArguments::Value(_), None) => return Err(wrong("the body is empty")),
        (CallArguments::Value(_), Some(given)) => Some(given.to_owned()),
    };
    Ok(named(call, arguments))
}

/// Arguments in order, by their names.
fn in_order(parts: &[Part], given: &str) -> Result<String, String> {
    let given: Vec<&RawValue> = serde_json::from_str(given).map_err(|error| error.to_string())?;
    let parts: Vec<&Part> =
        parts.iter().filter(|part| !matches!(part.shape, Shape::Alias(_))).collect();
    if parts.len() != given.len() {
        return Err(format!("{} arguments, not {}", parts.len(), given.len()));
    }
    let each = parts.iter().zip(given);
    let each = each.map(|(part, value)| format!("{}:{}", json!(part.name), value.get()));
    Ok(format!("{{{}}}", each.collect::<Vec<_>>().join(",")))
}

/// The call with these arguments, as JSON.
fn named(call: &CallDescription, arguments: Option<String>) -> Bytes {
    let text = match (&call.name, arguments) {
        (Some(name), Some(arguments)) => format!("{{{}:{arguments}}}", json!(name)),
        (Some(name), None) => json!(name).to_string(),
        (None, Some(arguments)) => arguments,
        (None, None) => "null".to_owned(),
    };
    text.into()
}

/// A query string: its arguments, and what is reserved.
pub(crate) struct QueryString {
    arguments: Vec<(String, String)>,
    /// How the query is to be answered.
    pub(crate) mode: Mode,
}

impl QueryString {
    /// Of a request.
    pub(crate) fn of(uri: &Uri) -> Result<Self, Problem> {
        let (reserved, arguments): (Vec<_>, Vec<_>) =
            pairs(uri)?.into_iter().partition(|(name, _)| name == CONSISTENCY);
        let mode = match reserved.as_slice() {
            [] => Mode::Query,
            [(_, value)] if value == "linearizable" => Mode::Query,
            [(_, value)] if value == "local" => Mode::Local,
            _ => {
                let why = format!("{CONSISTENCY} is linearizable or local");
                return Err(ProblemKind::Malformed.with(why));
            }
        };
        Ok(Self { arguments, mode })
    }

    /// The call that it makes.
    pub(crate) fn call(&self, call: &CallDescription) -> Result<Bytes, Problem> {
        let wrong = |why: String| {
            ProblemKind::Malformed.with(format!("{why}; the query is written {}", call.usage()))
        };
        let shape_of = |name: &str| match &call.arguments {
            CallArguments::None => None,
            CallArguments::Named(parts) => {
                parts.iter().find(|part| part.name == name).map(|part| &part.shape)
            }
            CallArguments::Value(shape) => (name == VALUE).then_some(shape),
        };
        let mut given = Map::new();
        for (name, text) in &self.arguments {
            let shape =
                shape_of(name).ok_or_else(|| wrong(format!("there is no argument {name:?}")))?;
            let value = json_of_text(text, shape).map_err(|why| wrong(format!("{name}: {why}")))?;
            if given.insert(name.clone(), value).is_some() {
                return Err(wrong(format!("{name} is given twice")));
            }
        }
        let arguments = match &call.arguments {
            CallArguments::None => None,
            CallArguments::Named(_) => Some(Value::Object(given)),
            CallArguments::Value(Shape::UNIT) => Some(Value::Null),
            CallArguments::Value(_) => {
                Some(given.remove(VALUE).ok_or_else(|| wrong(format!("{VALUE} is missing")))?)
            }
        };
        Ok(named(call, arguments.map(|arguments| arguments.to_string())))
    }
}

/// The parameters of a query string, decoded.
pub(crate) fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, Problem> {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri);
    let malformed = |error| ProblemKind::Malformed.with(format!("the query string: {error}"));
    pairs.map(|Query(pairs)| pairs).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use holocron::Scalar;

    use super::*;

    fn part(name: &str, scalar: Scalar) -> Part {
        Part { name: name.to_owned(), shape: Shape::Scalar(scalar) }
    }

    fn call(name: Option<&str>, arguments: CallArguments) -> CallDescription {
        let name = name.map(str::to_owned);
        CallDescription { name, docs: String::new(), arguments, result: Shape::Unknown }
    }

    fn add() -> CallDescription {
        let parts = vec![part("sku", Scalar::String), part("n", Scalar::U32)];
        call(Some("add"), CallArguments::Named(parts))
    }

    fn said(call: &CallDescription, body: &str) -> Result<String, String> {
        let said = of_body(call, body.as_bytes());
        said.map(|bytes| String::from_utf8(bytes.into()).unwrap())
            .map_err(|problem| problem.detail().to_owned())
    }

    fn asked(call: &CallDescription, query: &str) -> Result<String, String> {
        let uri: Uri = format!("/v1/vnodes/k/v/q?{query}").parse().unwrap();
        let asked = QueryString::of(&uri).and_then(|string| string.call(call));
        asked
            .map(|bytes| String::from_utf8(bytes.into()).unwrap())
            .map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn a_body_has_arguments_by_name_in_order_or_none() {
        let by_name = r#"{"sku":"tea", "n":12345678901234567890}"#;
        assert_eq!(said(&add(), by_name), Ok(format!(r#"{{"add":{by_name}}}"#)));
        assert_eq!(said(&add(), r#" ["tea",2] "#), Ok(r#"{"add":{"sku":"tea","n":2}}"#.to_owned()));
        assert_eq!(said(&add(), ""), Ok(r#"{"add":{}}"#.to_owned()));
        let clear = call(Some("clear"), CallArguments::None);
        for none in ["", "{}", "[]", "null"] {
            assert_eq!(said(&clear, none), Ok("\"clear\"".to_owned()));
        }
        let value = call(Some("add"), CallArguments::Value(Shape::Scalar(Scalar::I64)));
        assert_eq!(said(&value, "-2"), Ok(r#"{"add":-2}"#.to_owned()));
        let bare = call(None, CallArguments::Value(Shape::UNIT));
        assert_eq!(said(&bare, ""), Ok("null".to_owned()));
    }

    #[test]
    fn a_body_that_is_more_than_one_value_is_refused() {
        for body in [r#"{"sku":"tea"},"clear":{"#, r#"{} {}"#, "{", "5", r#"["tea"]"#, "\u{0}"] {
            assert!(said(&add(), body).is_err(), "{body}");
        }
        let why = said(&add(), r#"["tea"]"#).unwrap_err();
        assert_eq!(why, "2 arguments, not 1; the call is written add(sku: String, n: u32)");
    }

    #[test]
    fn a_query_string_has_arguments_by_name() {
        let expected = r#"{"add":{"n":2,"sku":"5"}}"#;
        for query in ["sku=5&n=2", "n=2&consistency=local&sku=%225%22"] {
            assert_eq!(asked(&add(), query).as_deref(), Ok(expected), "{query}");
        }
        for (query, why) in [
            ("x=1", "there is no argument \"x\""),
            ("n=1&n=2", "n is given twice"),
            ("n=two", "n: \"two\" is not JSON"),
            ("consistency=maybe", "consistency is linearizable or local"),
        ] {
            let said = asked(&add(), query).unwrap_err();
            assert!(said.starts_with(why), "{said}");
        }
        let value = call(Some("get"), CallArguments::Value(Shape::Scalar(Scalar::U8)));
        assert_eq!(asked(&value, "value=7").as_deref(), Ok(r#"{"get":7}"#));
    }
}
