//! Calls as people write them: how a call is written, and text as a JSON value.

use holocron_protocol::schema::shape::{Part, Scalar, Shape};
use serde_json::Value;

use crate::api::schema::{CallArguments, CallDescription};

impl CallDescription {
    /// How a call is written: `add(sku: String, n: u32)`.
    #[must_use]
    pub fn usage(&self) -> String {
        let name = self.name.as_deref().unwrap_or_default();
        match &self.arguments {
            CallArguments::None => name.to_owned(),
            CallArguments::Named(parts) => {
                let parts: Vec<String> =
                    parts.iter().map(|Part { name, shape }| format!("{name}: {shape}")).collect();
                format!("{name}({})", parts.join(", "))
            }
            CallArguments::Value(shape) if self.name.is_none() => shape.to_string(),
            CallArguments::Value(shape) => format!("{name}({shape})"),
        }
    }
}

/// Text as a JSON value. Where text is expected it needs no quotes.
///
/// # Errors
///
/// A sentence, when it isn't JSON and text isn't expected.
pub fn json_of_text(text: &str, shape: &Shape) -> Result<Value, String> {
    let is_given = text != "null";
    let shape = if let Shape::Option(inner) = shape
        && is_given
    {
        inner
    } else {
        shape
    };
    let is_text = matches!(shape, Shape::Scalar(Scalar::String | Scalar::Char));
    match serde_json::from_str(text) {
        Ok(Value::String(text)) => Ok(Value::String(text)),
        Ok(_) | Err(_) if is_text => Ok(Value::String(text.to_owned())),
        Ok(value) => Ok(value),
        Err(error) => {
            Err(format!("{text:?} is not JSON ({error}); write text in quotes: '\"text\"'"))
        }
    }
}
