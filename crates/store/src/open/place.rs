//! The location of a store, from the text of its URL.
//!
//! The text is checked as written, not as a URL parser reads it. Parsers drop a fragment, resolve `..` and read
//! `file:x` as `file:///x`, and so map two locations to one. Anything they would change is refused, with an error that
//! names it.
//!
//! Invariant: no error shows the text before an `@` or after a `?` or `#`. It may be a secret.

use std::path::{Path, PathBuf};

use crate::key::key_is_legal;

/// What a URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A fresh store in memory.
    Memory,
    /// A directory, by its absolute path.
    Directory(PathBuf),
    /// A bucket, or the part of one below a prefix.
    Bucket {
        /// The cloud.
        provider: Provider,
        /// Without leading or trailing slash; empty for a whole bucket.
        prefix: String,
    },
}

/// The cloud of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Provider {
    /// S3, and servers with its protocol.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

impl Place {
    /// The place a URL names, or what is wrong with the URL.
    pub(super) fn of(url: &str) -> Result<Self, String> {
        if url.is_empty() {
            return Err(
                "the URL is empty; write file:///path, s3://bucket/prefix, gs://… or az://…".into(),
            );
        }
        if url.chars().any(char::is_control) {
            return Err("the URL has a control character in it".into());
        }
        let Some((scheme, rest)) = url.split_once(':').filter(|(scheme, _)| is_scheme(scheme))
        else {
            return Err(no_scheme(url));
        };
        let lower = scheme.to_ascii_lowercase();
        match lower.as_str() {
            "file" | "memory" | "s3" | "s3a" | "gs" | "az" | "azure" | "adl" | "abfs" | "abfss" => {
            }
            _ => {
                return Err(format!(
                    "{lower} is not a known scheme: use file, memory, s3, gs or az"
                ));
            }
        }
        if lower != scheme {
            return Err(format!("write {lower}:// in lower case"));
        }
        refuse_parts(&lower, rest)?;
        match lower.as_str() {
            "file" => directory(rest).map(Self::Directory),
            "memory" if rest == "//" => Ok(Self::Memory),
            "memory" => {
                Err("write memory:// with nothing after it: each is a separate store".into())
            }
            "s3" | "s3a" => bucket(Provider::S3, &lower, rest),
            "gs" => bucket(Provider::Gcs, &lower, rest),
            _ => bucket(Provider::Azure, &lower, rest),
        }
    }
}

/// The URL without user part, query and fragment, for messages.
pub(super) fn redacted(url: &str) -> String {
    let start = match url.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => {
            scheme.len() + 1 + if rest.starts_with("//") { 2 } else { 0 }
        }
        _ => 0,
    };
    let (scheme, rest) = url.split_at(start);
    // A secret may itself contain any of these characters.
    let user_end = rest.rfind('@').map_or(0, |at| at + 1);
    let tail = rest.find(['?', '#']).unwrap_or(rest.len());
    let hidden = |text: &str, shown: char| {
        if text.is_empty() { String::new() } else { format!("…{shown}") }
    };
    if tail < user_end {
        return format!("{scheme}…");
    }
    let user = hidden(&rest[..user_end], '@');
    let query = rest[tail..].chars().next().map_or(String::new(), |mark| format!("{mark}…"));
    format!("{scheme}{user}{}{query}", &rest[user_end..tail])
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|char: char| char.is_ascii_alphabetic())
        && text.chars().all(|char| char.is_ascii_alphanumeric() || "+-.".contains(char))
}

fn no_scheme(url: &str) -> String {
    if url.starts_with('/') && !url.contains(['@', '?', '#']) {
        format!("write a directory as file://{url}")
    } else {
        "a store's URL begins with file:///, s3://, gs://, az:// or memory://".to_owned()
    }
}

/// Refuses URL parts that no store uses. Dropping them would map two locations to one.
fn refuse_parts(scheme: &str, rest: &str) -> Result<(), String> {
    let escape = if scheme == "file" { "; in a path, write # as %23 and ? as %3F" } else { "" };
    if rest.contains('#') {
        return Err(format!("a fragment (#…) is not supported; remove it{escape}"));
    }
    if rest.contains('?') {
        return Err(format!(
            "a query (?…) is not supported; give options as --option key=value or in the environment{escape}"
        ));
    }
    if rest.contains('\\') {
        return Err("write / and not \\".to_owned());
    }
    Ok(())
}

fn directory(rest: &str) -> Result<PathBuf, String> {
    let Some(path) = rest.strip_prefix("//").filter(|path| path.starts_with('/')) else {
        return Err(not_absolute(rest));
    };
    let inner = path[1..].strip_suffix('/').unwrap_or(&path[1..]);
    if inner.is_empty() {
        return Err("the directory is missing: write file:///path".to_owned());
    }
    let mut directory = PathBuf::from("/");
    for segment in inner.split('/') {
        let name = decoded(segment).ok_or_else(|| {
            format!("{segment:?} in the path has a malformed escape; write % as %25")
        })?;
        check_segment(&name, segment)?;
        directory.push(name);
    }
    Ok(directory)
}

/// What to write instead of a path that isn't absolute.
fn not_absolute(rest: &str) -> String {
    let need = "a directory needs an absolute path: file://";
    let path = rest.trim_start_matches('/');
    if path.is_empty() || path.contains('@') {
        return format!("{need}/path");
    }
    // One slash: the path is absolute, but the URL has too few slashes.
    let path = if rest.starts_with('/') && !rest.starts_with("//") {
        format!("/{path}")
    } else {
        std::path::absolute(Path::new(path))
            .map_or_else(|_| "/path".to_owned(), |path| path.display().to_string())
    };
    format!("{need}{path}")
}

fn bucket(provider: Provider, scheme: &str, rest: &str) -> Result<Place, String> {
    let form = format!("{scheme}://bucket/prefix");
    let Some(rest) = rest.strip_prefix("//") else { return Err(format!("write {form}")) };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let name = match authority.rsplit_once('@') {
        None => authority,
        // The one form in which the text before an @ is no secret: container@account.
        Some((container, account))
            if scheme.starts_with("abfs") && is_name(container) && is_name(account) =>
        {
            account
        }
        Some(_) => {
            return Err(format!(
                "a user part (…@) is not supported; give credentials in --option or the environment, and write {form}"
            ));
        }
    };
    // A password may contain a slash, so an @ in the path may belong to a user part.
    if path.contains('@') {
        return Err(
            "a prefix can't contain @; give credentials in --option or the environment".to_owned()
        );
    }
    if name.is_empty() {
        return Err(format!("the bucket is missing: write {form}"));
    }
    if name.contains(':') {
        return Err(format!(
            "a port is not supported; write {form}, and give the server in --option endpoint=http://host:port"
        ));
    }
    if !is_name(name) {
        return Err(format!("{name:?} can't be a bucket: it may have letters, digits and -_."));
    }
    prefix(path).map(|prefix| Place::Bucket { provider, prefix })
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|char| char.is_ascii_alphanumeric() || "-_.".contains(char))
}

/// The URL's path as the prefix of all keys.
fn prefix(path: &str) -> Result<String, String> {
    if path.is_empty() {
        return Ok(String::new());
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.contains('%') {
        return Err("a prefix can't contain percent escapes".to_owned());
    }
    for segment in path.split('/') {
        check_segment(segment, segment)?;
    }
    if key_is_legal(path) {
        return Ok(path.to_owned());
    }
    Err("the prefix may have letters, digits and -_.~= between single slashes, and no segment may begin with a dot"
        .to_owned())
}

/// Refuses segments that change the location. `written` is the segment as written in the URL.
fn check_segment(name: &str, written: &str) -> Result<(), String> {
    match name {
        "" => Err("the path has an empty segment (//)".to_owned()),
        "." | ".." => Err(format!("the path has the segment {written}; write the resolved path")),
        _ if name.contains(['/', '\0']) => {
            Err(format!("{written:?} in the path contains an escaped slash or zero byte"))
        }
        _ => Ok(()),
    }
}

/// A segment without its percent escapes; `None` if one is malformed.
fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        // `from_str_radix` also accepts a sign.
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_shows_no_secret_wherever_it_stands() {
        for (url, shown) in [
            ("s3://bucket/prefix", "s3://bucket/prefix"),
            ("s3://key:SECRET@bucket/p", "s3://…@bucket/p"),
            ("s3://key:SEC/RET@bucket/p", "s3://…@bucket/p"),
            ("s3://key:SEC?RET@bucket/p", "s3://…"),
            ("s3://key:SEC#R@ET@bucket/p", "s3://…"),
            ("s3:key:SECRET@bucket", "s3:…@bucket"),
            ("SECRET@bucket", "…@bucket"),
            ("s3://b/p?secret_access_key=SECRET", "s3://b/p?…"),
            ("s3://b/p?mail=SECRET@SECRET", "s3://…"),
            ("file:///a#SECRET", "file:///a#…"),
        ] {
            assert_eq!(redacted(url), shown, "{url}");
        }
    }

    #[test]
    fn a_url_that_a_parser_would_change_is_refused() {
        for (url, directory) in [
            ("file:///a/b", "/a/b"),
            ("file:///a/b/", "/a/b"),
            ("file:///a b/%C3%A4%23%3f%25", "/a b/ä#?%"),
            ("file:///a:b@c", "/a:b@c"),
        ] {
            assert_eq!(Place::of(url), Ok(Place::Directory(directory.into())), "{url}");
        }
        for url in [
            "file:///",
            "file:////a",
            "file:///a//b",
            "file:///a/./b",
            "file:///a/../b",
            "file:///a/%2e%2E/b",
            "file:///a/.%2e",
            "file:///a%2Fb",
            "file:///a%00b",
            "file:///a%zz",
            "file:///a%+1",
            "file:///a%f",
            "file:///%ff",
            "file:///a\\b",
            "file:///a\tb",
            "file:///a/b//",
            " file:///a",
        ] {
            let refused = Place::of(url).expect_err(url);
            assert!(!refused.is_empty());
        }
    }
}
