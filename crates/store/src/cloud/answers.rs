//! What the errors of a cloud's client mean to a caller.
//!
//! The client doesn't expose the status or code of an answer, only their text. This file has all texts that we depend
//! on; the contract test checks them on real servers.

use bytes::Bytes;

use crate::error::{Error, explain};
use crate::trouble::Trouble;

/// How servers say that the bucket is missing. For a get, the client reports it like a missing object.
const BUCKET_IS_MISSING: [&str; 4] = [
    "NoSuchBucket",
    "ContainerNotFound",
    "ContainerBeingDeleted",
    "specified bucket does not exist",
];

/// How the client reports a refused listing; for other requests the kind of the error says it.
const REFUSES_US: [&str; 2] = ["401 Unauthorized", "403 Forbidden"];

/// The metadata services from which a cloud's machines get credentials if none are configured.
const ASKS_FOR_CREDENTIALS: [&str; 2] = ["169.254.169.254", "metadata.google.internal"];

/// How the client reports that the server ignored a range.
const RANGE_IS_IGNORED: [&str; 3] =
    ["Received non-partial response", "Content-Range header not present", "error: Requested "];

/// How the client reports an answer that doesn't look like an object store's.
const NO_STORE_ANSWERS_SO: [&str; 4] = [
    "Got invalid list response",
    "Unable to extract metadata from headers",
    "Header missing from response",
    "Unsupported method",
];

/// How a server that expects TLS answers a plain HTTP request.
const WANTS_TLS: [&str; 3] = [
    "HTTP request to an HTTPS server",
    "plain HTTP request was sent to HTTPS port",
    "requires TLS",
];

/// Error codes that a retry would get again, and what to do about them.
const CODES: [(&str, &str); 20] = [
    ("ExpiredToken", "get new credentials"),
    ("TokenRefreshRequired", "get new credentials"),
    ("InvalidToken", "check session_token, or get new credentials"),
    ("InvalidAccessKeyId", "check access_key_id, and that endpoint is the server it belongs to"),
    (
        "SignatureDoesNotMatch",
        "check secret_access_key and region, and that no proxy changes requests",
    ),
    ("RequestTimeTooSkewed", "set this machine's clock"),
    (
        "AccessDenied",
        "check the credentials, and that they may get, put, list and delete below the prefix",
    ),
    ("AllAccessDisabled", "ask the owner of the bucket"),
    ("AccountProblem", "ask the provider"),
    ("NoSuchBucket", "make the bucket, or check its name in the URL, the region and endpoint"),
    ("ContainerNotFound", "make the container, or check its name in the URL and the account"),
    ("InvalidBucketName", "check the bucket's name in the URL"),
    ("PermanentRedirect", "the bucket has another region or endpoint: check region and endpoint"),
    ("AuthorizationHeaderMalformed", "check region and access_key_id"),
    ("IllegalLocationConstraintException", "check region"),
    ("AuthenticationFailed", "check account_name and the key or token, and the clock"),
    ("InvalidAuthenticationInfo", "check account_name and the key or token"),
    ("AuthorizationPermissionMismatch", "grant a role that may read, write, list and delete blobs"),
    ("AuthorizationFailure", "check the account's network rules and the credentials"),
    (
        "NotImplemented",
        "use a store (or a release of it) that supports conditional creates (If-None-Match)",
    ),
];

/// `None` if the error says that the object is missing. A missing bucket stays an error.
pub(super) fn not_found(key: &str, error: object_store::Error) -> Result<Option<Bytes>, Error> {
    if let object_store::Error::NotFound { source, .. } = &error
        && !says(&explain(&**source), &BUCKET_IS_MISSING)
    {
        return Ok(None);
    }
    Err(classify(key, error))
}

/// What the caller may do about an error of the client.
pub(super) fn classify(key: &str, error: object_store::Error) -> Error {
    use object_store::Error as Cause;
    let said = explain(&error);
    if says(&said, &ASKS_FOR_CREDENTIALS) {
        let nowhere =
            "no credentials in the options, the environment or this machine's metadata service";
        return Error::denied(key, format!("{nowhere}: {error}"));
    }
    if let Some(trouble) = trouble(&error, &said) {
        return if trouble.may_pass() {
            Error::unclear(key, trouble)
        } else {
            Error::denied(key, trouble)
        };
    }
    #[expect(clippy::wildcard_enum_match_arm, reason = "the client's errors are open-ended")]
    match error {
        Cause::AlreadyExists { .. } | Cause::Precondition { .. } | Cause::NotModified { .. } => {
            Error::conflict(key)
        }
        Cause::PermissionDenied { .. } | Cause::Unauthenticated { .. } => {
            Error::denied(key, plainly(&said))
        }
        Cause::NotSupported { .. } | Cause::NotImplemented { .. } | Cause::InvalidPath { .. } => {
            Error::rejected(key, error)
        }
        _ if says(&said, &BUCKET_IS_MISSING) || says(&said, &REFUSES_US) => {
            Error::denied(key, plainly(&said))
        }
        // This includes 400, which S3 answers to a slow upload.
        _ => Error::unclear(key, error),
    }
}

/// The known problem in an error, if there is one.
fn trouble(error: &object_store::Error, said: &str) -> Option<Trouble> {
    if let Some(trouble) = Trouble::among(error) {
        return Some(trouble.clone());
    }
    if says(said, &RANGE_IS_IGNORED) {
        return Some(Trouble::RangeIgnored);
    }
    if says(said, &WANTS_TLS) {
        return Some(Trouble::Said {
            said: "the server expects TLS".to_owned(),
            advice: "set endpoint to https://…",
        });
    }
    if says(said, &NO_STORE_ANSWERS_SO) {
        return Some(Trouble::NoStore {
            what: format!("its answer can't be read ({})", short(said)),
        });
    }
    let code = between(said, "<Code>", "</Code>");
    if let Some((_, advice)) = CODES.iter().find(|(known, _)| code == Some(known)) {
        return Some(Trouble::Said { said: plainly(said), advice });
    }
    if says(said, &["redirect without LOCATION", "301 Moved Permanently", "307 Temporary Redirect"])
    {
        let said = "the server redirects without naming a location".to_owned();
        return Some(Trouble::Said {
            said,
            advice: "check region, endpoint and the bucket's name",
        });
    }
    if says(said, &["405 Method Not Allowed", "501 Not Implemented"]) {
        return Some(Trouble::NoStore {
            what: format!("it doesn't support such requests ({})", short(said)),
        });
    }
    // Only writes and listings get here with a 404, or a get from a missing bucket.
    if says(said, &["404 Not Found"]) && !says(said, &BUCKET_IS_MISSING) {
        let what = "a write or a listing was answered with 404 Not Found";
        return Some(Trouble::NoBucketOrStore { what });
    }
    None
}

fn says(said: &str, signs: &[&str]) -> bool {
    signs.iter().any(|sign| said.contains(sign))
}

fn between<'a>(said: &'a str, start: &str, end: &str) -> Option<&'a str> {
    Some(said.split_once(start)?.1.split_once(end)?.0)
}

/// The server's code and message if they can be found, otherwise the whole text.
fn plainly(said: &str) -> String {
    match (between(said, "<Code>", "</Code>"), between(said, "<Message>", "</Message>")) {
        (Some(code), Some(message)) => {
            // Azure appends the request's id and time.
            let message = message.split("RequestId:").next().unwrap_or_default().trim();
            format!("{code}: {}", short(message.trim_end_matches('.')))
        }
        (Some(code), None) => code.to_owned(),
        (None, _) => said.to_owned(),
    }
}

/// The beginning of a text, enough to recognize the server.
fn short(said: &str) -> String {
    const LEN_MAX: usize = 200;
    let cut: String = said.chars().take(LEN_MAX).collect();
    if cut.len() < said.len() { format!("{cut}…") } else { cut }
}
