//! The XML API: carries out a request on the bucket and builds the answer.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, LAST_MODIFIED, RANGE,
};
use hyper::http::request::Parts;
use hyper::http::response::Builder;
use hyper::{Method, Response, StatusCode};
use percent_encoding::percent_decode_str;
use url::form_urlencoded;

use super::TOKEN;
use super::bucket::{Bucket, Object, Refusal};

pub(super) type Answer = Response<Full<Bytes>>;

/// The condition of a write: the generation that the object must have; 0 for no object.
const IF_GENERATION: &str = "x-goog-if-generation-match";

/// Objects in a page of a listing, unless the client wants fewer.
const PAGE_LEN_MAX: usize = 1_000;

/// Prefix of the page tokens of a listing; a token without it is refused.
const PAGE_TOKEN: &str = "after:";

// No client of these tests uses the time of a write.
const LONG_AGO: &str = "Sat, 01 Jan 2000 00:00:00 GMT";
const LONG_AGO_IN_LISTINGS: &str = "2000-01-01T00:00:00Z";

/// Carries the request out.
pub(super) fn answer(name: &str, bucket: &mut Bucket, head: &Parts, body: Bytes) -> Answer {
    if !is_let_in(&head.headers) {
        return refused(
            StatusCode::UNAUTHORIZED,
            "AuthenticationRequired",
            "Authentication required.",
        );
    }
    // `/bucket` or `/bucket/key`; the client sends slashes in the key as %2F.
    let path = head.uri.path();
    let path = path.strip_prefix('/').unwrap_or(path);
    let (asked, key) = path.split_once('/').map_or((path, None), |(asked, key)| (asked, Some(key)));
    let (Some(asked), Some(key)) = (decoded(asked), decoded(key.unwrap_or_default())) else {
        return refused(StatusCode::BAD_REQUEST, "InvalidURI", "The name isn't UTF-8.");
    };
    if asked != name {
        return refused(
            StatusCode::NOT_FOUND,
            "NoSuchBucket",
            "The specified bucket does not exist.",
        );
    }
    let query = head.uri.query().unwrap_or_default();
    match (&head.method, key.as_str()) {
        (&Method::GET, "") => list(name, bucket, query),
        // Multipart uploads, copies, versions.
        (_, "") => unknown(),
        _ if !query.is_empty() || head.headers.contains_key("x-goog-copy-source") => unknown(),
        (&Method::GET | &Method::HEAD, key) => match bucket.get(key) {
            Some(object) => get(object, &head.headers),
            None => missing(),
        },
        (&Method::PUT, key) => put(bucket, key, body, &head.headers),
        (&Method::DELETE, _) if head.headers.contains_key(IF_GENERATION) => unknown(),
        (&Method::DELETE, key) => match bucket.delete(key) {
            Ok(()) => made(Response::builder().status(StatusCode::NO_CONTENT), Bytes::new()),
            Err(refusal) => not_written(key, refusal),
        },
        _ => unknown(),
    }
}

/// Anonymous requests are, and those with the one known token.
fn is_let_in(headers: &HeaderMap) -> bool {
    headers.get(AUTHORIZATION).is_none_or(|value| {
        let token = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer"));
        token.is_some_and(|token| ["", TOKEN].contains(&token.trim()))
    })
}

fn decoded(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

fn put(bucket: &mut Bucket, key: &str, body: Bytes, headers: &HeaderMap) -> Answer {
    let generation = match headers.get(IF_GENERATION).map(|value| value.to_str().ok()?.parse().ok())
    {
        None => None,
        Some(Some(generation)) => Some(generation),
        Some(None) => {
            return refused(StatusCode::BAD_REQUEST, "InvalidArgument", "Not a generation.");
        }
    };
    match bucket.put(key, body, generation) {
        Ok(object) => made(described(StatusCode::OK, &object), Bytes::new()),
        Err(refusal) => not_written(key, refusal),
    }
}

fn get(object: &Object, headers: &HeaderMap) -> Answer {
    let Some(range) = headers.get(RANGE) else {
        return made(described(StatusCode::OK, object), object.body.clone());
    };
    // `bytes=first-last`; the last may lie beyond the end.
    let bounds = range.to_str().ok().and_then(|range| {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?))
    });
    let Some((first, last)) = bounds.filter(|(first, last)| first <= last) else {
        return unknown();
    };
    let len = object.body.len();
    if first >= len {
        let message = "The requested range cannot be satisfied.";
        return refused(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange", message);
    }
    let last = last.min(len - 1);
    let head = described(StatusCode::PARTIAL_CONTENT, object)
        .header(CONTENT_RANGE, format!("bytes {first}-{last}/{len}"));
    made(head, object.body.slice(first..=last))
}

fn list(name: &str, bucket: &Bucket, query: &str) -> Answer {
    let (mut prefix, mut after, mut page_len, mut is_version_2) =
        (String::new(), None, PAGE_LEN_MAX, false);
    for (parameter, value) in form_urlencoded::parse(query.as_bytes()) {
        match (&*parameter, &*value) {
            ("list-type", "2") => is_version_2 = true,
            ("prefix", value) => value.clone_into(&mut prefix),
            ("continuation-token", value) => match value.strip_prefix(PAGE_TOKEN) {
                Some(key) => after = Some(key.to_owned()),
                None => {
                    return refused(
                        StatusCode::BAD_REQUEST,
                        "InvalidArgument",
                        "Not a token of ours.",
                    );
                }
            },
            ("max-keys", value) => match value.parse::<usize>() {
                Ok(wanted) if wanted > 0 => page_len = wanted.min(PAGE_LEN_MAX),
                _ => {
                    return refused(
                        StatusCode::BAD_REQUEST,
                        "InvalidArgument",
                        "Not a number of keys.",
                    );
                }
            },
            _ => return unknown(),
        }
    }
    if !is_version_2 {
        return unknown();
    }
    let mut found = bucket.list(&prefix, after.as_deref()).peekable();
    let (mut contents, mut count, mut newest) = (String::new(), 0, None);
    for (key, object) in found.by_ref().take(page_len) {
        contents.push_str(&listed(key, object));
        (count, newest) = (count + 1, Some(key));
    }
    let token = newest.filter(|_| found.peek().is_some()).map_or_else(String::new, |key| {
        format!("<NextContinuationToken>{PAGE_TOKEN}{}</NextContinuationToken>", escaped(key))
    });
    let text = format!(
        "<?xml version='1.0' encoding='UTF-8'?>\
         <ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'><Name>{}</Name><Prefix>{}</Prefix>\
         <KeyCount>{count}</KeyCount><IsTruncated>{}</IsTruncated>{token}{contents}</ListBucketResult>",
        escaped(name),
        escaped(&prefix),
        !token.is_empty(),
    );
    made(Response::builder().header(CONTENT_TYPE, "application/xml; charset=UTF-8"), text.into())
}

fn listed(key: &str, object: &Object) -> String {
    format!(
        "<Contents><Key>{}</Key><Generation>{}</Generation><MetaGeneration>1</MetaGeneration>\
         <LastModified>{LONG_AGO_IN_LISTINGS}</LastModified><ETag>\"g{}\"</ETag><Size>{}</Size></Contents>",
        escaped(key),
        object.generation,
        object.generation,
        object.body.len(),
    )
}

/// The headers of an object. Google's tag is a hash of the bytes, but clients may not rely on that.
fn described(status: StatusCode, object: &Object) -> Builder {
    Response::builder()
        .status(status)
        .header(ETAG, format!("\"g{}\"", object.generation))
        .header(LAST_MODIFIED, LONG_AGO)
        .header("x-goog-generation", object.generation)
        .header("x-goog-metageneration", 1)
}

fn not_written(key: &str, refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Condition => {
            let message = "At least one of the pre-conditions you specified did not hold.";
            refused(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", message)
        }
        Refusal::TooFast => {
            let message = format!("Please reduce your request rate: changing {key} too quickly.");
            refused(StatusCode::TOO_MANY_REQUESTS, "SlowDown", &message)
        }
        Refusal::Missing => missing(),
    }
}

fn missing() -> Answer {
    refused(StatusCode::NOT_FOUND, "NoSuchKey", "The specified key does not exist.")
}

fn unknown() -> Answer {
    refused(
        StatusCode::NOT_IMPLEMENTED,
        "NotImplemented",
        "The emulator doesn't know this request.",
    )
}

fn refused(status: StatusCode, code: &str, message: &str) -> Answer {
    let text = format!(
        "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{}</Message></Error>",
        escaped(message)
    );
    let head =
        Response::builder().status(status).header(CONTENT_TYPE, "application/xml; charset=UTF-8");
    made(head, text.into())
}

fn made(head: Builder, body: Bytes) -> Answer {
    head.body(Full::new(body)).expect("all our headers are legal")
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            character => escaped.push(character),
        }
    }
    escaped
}
