//! The HTTP client under a cloud's client: the one place that sees an answer before it is turned into text.
//!
//! It changes no request. It names connection problems, and refuses answers that no object store gives.

use std::error::Error as StdError;
use std::io;

use async_trait::async_trait;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use object_store::{ClientOptions, HeaderValue};

use crate::error::explain;
use crate::trouble::Trouble;

/// Makes watched clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire;

impl HttpConnector for Wire {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Watched(ReqwestConnector::default().connect(options)?)))
    }
}

#[derive(Debug)]
struct Watched(HttpClient);

#[async_trait]
impl HttpService for Watched {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let at = request.uri().authority().map_or_else(String::new, |at| {
            // The part before an @ is not the address, and may be a secret.
            at.as_str().rsplit('@').next().unwrap_or_default().to_owned()
        });
        let scheme = request.uri().scheme_str().unwrap_or_default().to_owned();
        match self.0.execute(request).await {
            Ok(response) => judge(response, at),
            Err(error) => Err(name(error, at, &scheme)),
        }
    }
}

/// Refuses answers that no object store gives.
fn judge(response: HttpResponse, at: String) -> Result<HttpResponse, HttpError> {
    let status = response.status();
    let content = response.headers().get("content-type").map(HeaderValue::as_bytes);
    let is_page =
        content.is_some_and(|content| content.to_ascii_lowercase().starts_with(b"text/html"));
    // Pages with other codes come from proxies whose store is down.
    let trouble = match status.as_u16() {
        200..=299 | 404 | 405 | 501 if is_page => Trouble::WebPage { at, status: status.as_u16() },
        413 => Trouble::TooLarge,
        _ => return Ok(response),
    };
    Err(HttpError::new(HttpErrorKind::Unknown, trouble))
}

/// Names what went wrong with a connection, if it is known.
fn name(error: HttpError, at: String, scheme: &str) -> HttpError {
    let said = explain(&error);
    let says = |signs: &[&str]| signs.iter().any(|sign| said.contains(sign));
    let trouble = if is_io(&error, io::ErrorKind::ConnectionRefused) {
        Trouble::NotListening { at }
    } else if says(&["URL scheme is not allowed"]) {
        Trouble::PlainHttp { at }
    } else if says(&["Name or service not known", "No address associated", "nodename nor servname"])
    {
        Trouble::UnknownHost { at }
    } else if says(&["dns error", "failed to lookup address"]) {
        Trouble::NoDns { at }
    } else if says(&["InvalidContentType"]) {
        Trouble::NoTls { at }
    } else if let Some((_, why)) = said.rsplit_once("invalid peer certificate: ") {
        Trouble::Untrusted { at, why: why.to_owned() }
    } else if says(&["invalid HTTP version parsed", "invalid HTTP status-code parsed"]) {
        Trouble::NotHttp { at }
    } else if says(&["connection closed before message completed"]) && scheme == "http" {
        Trouble::Closed { at }
    } else if error.kind() == HttpErrorKind::Connect || says(&["tcp connect error"]) {
        if !says(&["timed out", "unreachable", "No route"]) {
            return error;
        }
        Trouble::NoRoute { at }
    } else {
        return error;
    };
    HttpError::new(error.kind(), trouble)
}

fn is_io(error: &(dyn StdError + 'static), kind: io::ErrorKind) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == kind) {
            return true;
        }
        cause = error.source();
    }
    false
}
