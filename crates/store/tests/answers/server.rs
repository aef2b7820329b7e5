//! Small HTTP servers on loopback: one that gives the same answer to everything, and an S3 server in memory with
//! faults.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path, with its query.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// An answer: status code and reason, headers, body.
pub(crate) type Answer = (&'static str, Vec<(&'static str, String)>, Vec<u8>);

pub(crate) fn text(status: &'static str, content: &str, body: &str) -> Answer {
    (status, vec![("content-type", content.to_owned())], body.as_bytes().to_vec())
}

/// An S3 error.
pub(crate) fn code(status: &'static str, code: &str, message: &str) -> Answer {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    text(status, "application/xml", &body)
}

/// Serves `answer` until the runtime ends. Returns the address.
pub(crate) async fn serve(answer: impl Fn(Request) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move { connection(stream, &*answer).await });
        }
    });
    address
}

async fn connection(
    mut stream: TcpStream,
    answer: &(dyn Fn(Request) -> Answer + Send + Sync),
) -> Option<()> {
    let mut bytes = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let mut request = parse(&String::from_utf8_lossy(&bytes[..head]))?;
        let len: usize =
            request.headers.get("content-length").map_or(Some(0), |len| len.parse().ok())?;
        bytes.drain(..head + 4);
        while bytes.len() < len {
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
        request.body = bytes.drain(..len).collect();
        let is_head = request.method == "HEAD";
        let (status, headers, body) = answer(request);
        let mut out = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        out.push_str("\r\n");
        stream.write_all(out.as_bytes()).await.ok()?;
        if !is_head {
            stream.write_all(&body).await.ok()?;
        }
    }
}

/// Parses a request head; `None` if it isn't HTTP.
fn parse(head: &str) -> Option<Request> {
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Request {
        method: first.next()?.into(),
        target: first.next()?.into(),
        headers,
        body: Vec::new(),
    })
}

/// The faults of an S3 server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// Ranges are ignored: the whole object is sent.
    pub(crate) ignores_range: bool,
    /// A different part of the object is sent, with its true `content-range`.
    pub(crate) shifts_range: bool,
    /// Bodies longer than this are written without checking the condition.
    pub(crate) ignores_condition_above: Option<usize>,
    /// Bodies longer than this are refused with 413.
    pub(crate) takes_at_most: Option<usize>,
}

/// An S3 server with one bucket, in memory.
pub(crate) async fn s3(faults: Faults) -> String {
    let objects = Mutex::new(BTreeMap::<String, Vec<u8>>::new());
    serve(move |request| {
        let mut objects = objects.lock().expect("no answer panics");
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let key = path.trim_start_matches("/bucket").trim_start_matches('/').to_owned();
        let len = request.body.len();
        let above = |limit: Option<usize>| limit.is_some_and(|limit| len > limit);
        match request.method.as_str() {
            "PUT" if above(faults.takes_at_most) => {
                text("413 Request Entity Too Large", "text/html", "<html>")
            }
            "PUT" => {
                let is_conditional = request.headers.contains_key("if-none-match")
                    && !above(faults.ignores_condition_above);
                if is_conditional && objects.contains_key(&key) {
                    return code("412 Precondition Failed", "PreconditionFailed", "it is there");
                }
                objects.insert(key, request.body);
                ("200 OK", vec![("etag", "\"e\"".to_owned())], Vec::new())
            }
            "DELETE" => {
                objects.remove(&key);
                ("204 No Content", Vec::new(), Vec::new())
            }
            "GET" if query.contains("list-type") => list(&objects, query),
            _ => match objects.get(&key) {
                None => code("404 Not Found", "NoSuchKey", "it is not there"),
                Some(body) => read(body, request.headers.get("range"), faults),
            },
        }
    })
    .await
}

fn list(objects: &BTreeMap<String, Vec<u8>>, query: &str) -> Answer {
    let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix=")).unwrap_or_default();
    let prefix = prefix.replace("%2F", "/");
    let mut xml = "<ListBucketResult><IsTruncated>false</IsTruncated>".to_owned();
    for (key, body) in objects.iter().filter(|(key, _)| key.starts_with(&prefix)) {
        xml.push_str(&format!(
            "<Contents><Key>{key}</Key><Size>{}</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>",
            body.len()
        ));
    }
    text("200 OK", "application/xml", &(xml + "</ListBucketResult>"))
}

fn read(body: &[u8], range: Option<&String>, faults: Faults) -> Answer {
    let mut headers = vec![
        ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT".to_owned()),
        ("etag", "\"e\"".to_owned()),
    ];
    let bounds = range.filter(|_| !faults.ignores_range).and_then(|range| {
        let (start, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some((start.parse::<usize>().ok()?, last.parse::<usize>().ok()?))
    });
    let Some((mut start, mut last)) = bounds else { return ("200 OK", headers, body.to_vec()) };
    if faults.shifts_range {
        (start, last) = (0, last - start);
    }
    headers.push(("content-range", format!("bytes {start}-{last}/{}", body.len())));
    ("206 Partial Content", headers, body[start..=last].to_vec())
}
