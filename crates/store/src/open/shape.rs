//! The valid forms of setting values.
//!
//! The client libraries accept any text, and panic at the first request if it makes no valid URL or header. So every
//! value is checked against one of these shapes before.

use std::time::Duration;

use url::Url;

/// Longest value: tokens of the clouds have a few KB, and servers refuse longer headers.
const TEXT_LEN_MAX: usize = 16 << 10;
/// Longest inline content of a file: a certificate, a service account's key.
const CONTENT_LEN_MAX: usize = 64 << 10;
/// Longest URL: the client's URL type allows 64 KB, servers allow less.
const URL_LEN_MAX: usize = 2_048;
/// Longest wait. A longer one is a mistake, and could overflow where it is added to the clock.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3_600);

/// The form of a setting's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A server, `http://host:port` or `https://host`.
    Server,
    /// A proxy: like a server, but it may have a user part.
    Proxy,
    /// True or false.
    Switch,
    /// A length of time, such as `30s`.
    Wait,
    /// A whole number within bounds.
    Count(u64, u64),
    /// One of some words.
    Word(&'static [&'static str]),
    /// Part of a host's name.
    Label,
    /// Printable text.
    Text,
    /// Printable text that is never shown.
    Secret,
    /// Base64 that is never shown.
    Base64,
    /// 32 bytes in base64, never shown.
    Key256,
    /// The path of a file.
    File,
    /// The content of a file, never shown.
    Content,
    /// The path part of a URL.
    UrlPath,
    /// A setting that can't be used, for this reason.
    Never(&'static str),
}

impl Shape {
    /// Checks that a value has this shape. The error says what a valid one looks like.
    pub(super) fn check(self, value: &str) -> Result<(), String> {
        let shown = self.shown(value);
        let need = |form: &str| Err(format!("{form}, not {shown}"));
        match self {
            Self::Server | Self::Proxy => match server(value, self == Self::Proxy) {
                Ok(()) => Ok(()),
                Err(why) => Err(format!(
                    "write a URL such as http://127.0.0.1:9000 or https://storage.example.org, not {shown}: {why}"
                )),
            },
            Self::Switch if is_switch(value) => Ok(()),
            Self::Switch => need("write true or false"),
            Self::Wait => match humantime::parse_duration(value) {
                Ok(wait) if (Duration::from_millis(1)..=WAIT_MAX).contains(&wait) => Ok(()),
                Ok(_) | Err(_) => need("write a time from 1ms to 24h, such as 500ms, 30s or 2m"),
            },
            Self::Count(min, max) => match value.parse() {
                Ok(count) if (min..=max).contains(&count) => Ok(()),
                Ok(_) | Err(_) => need(&format!("write a number from {min} to {max}")),
            },
            Self::Word(words) if words.contains(&value) => Ok(()),
            Self::Word(words) => need(&format!("write {}", words.join(" or "))),
            Self::Label if is_label(value) => Ok(()),
            Self::Label => need("write letters, digits, - and . only, 128 at most"),
            Self::Text | Self::Secret if is_text(value) => Ok(()),
            Self::Text | Self::Secret => need(
                "write printable ASCII characters, 16 KB at most, with no space or line break around them",
            ),
            Self::Base64 if is_base64(value) => Ok(()),
            Self::Base64 => need("write base64, as the provider shows it"),
            Self::Key256 if value.len() == 44 && is_base64(value) && value.ends_with('=') => Ok(()),
            Self::Key256 => need("write 32 bytes in base64: 44 characters"),
            Self::File if !value.is_empty() && value.len() <= 4_096 && !value.contains('\0') => {
                Ok(())
            }
            Self::File => need("write the path of a file"),
            Self::Content if !value.trim().is_empty() && value.len() <= CONTENT_LEN_MAX => Ok(()),
            Self::Content => need("write the content of the file, 64 KB at most"),
            Self::UrlPath
                if value.starts_with('/') && value.len() <= URL_LEN_MAX && is_url_text(value) =>
            {
                Ok(())
            }
            Self::UrlPath => need("write a path that begins with a slash"),
            Self::Never(why) => Err(why.to_owned()),
        }
    }

    /// A value without secrets, for messages.
    fn shown(self, value: &str) -> String {
        match self {
            _ if value.is_empty() => "an empty value".to_owned(),
            Self::Secret | Self::Base64 | Self::Key256 | Self::Content => {
                format!("the given value ({} bytes, not shown)", value.len())
            }
            Self::Server
            | Self::Proxy
            | Self::Switch
            | Self::Wait
            | Self::Count(..)
            | Self::Word(_)
            | Self::Label
            | Self::Text
            | Self::File
            | Self::UrlPath
            | Self::Never(_) => {
                let value = super::place::redacted(value);
                let short: String = value.chars().take(60).collect();
                let more = if short.len() < value.len() { "…" } else { "" };
                format!("{short:?}{more}")
            }
        }
    }
}

pub(super) fn is_on(value: &str) -> bool {
    ["1", "true", "on", "yes", "y"].contains(&value.to_ascii_lowercase().as_str())
}

fn is_switch(value: &str) -> bool {
    is_on(value) || ["0", "false", "off", "no", "n"].contains(&value.to_ascii_lowercase().as_str())
}

fn is_label(value: &str) -> bool {
    (1..=128).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        && !value.starts_with(['.', '-'])
}

/// Whether a header can carry the value unchanged.
fn is_text(value: &str) -> bool {
    (1..=TEXT_LEN_MAX).contains(&value.len())
        && value.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        && value.trim() == value
}

fn is_base64(value: &str) -> bool {
    let digits = value.trim_end_matches('=');
    !digits.is_empty()
        && value.len() <= TEXT_LEN_MAX
        && value.len().is_multiple_of(4)
        && value.len() - digits.len() <= 2
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte))
}

/// Whether the value has only characters that every URL parser treats the same.
fn is_url_text(value: &str) -> bool {
    value
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/[]@!$&'()*+,;=%?".contains(&byte))
}

fn server(value: &str, may_have_user: bool) -> Result<(), &'static str> {
    if value.len() > URL_LEN_MAX {
        return Err("it is too long");
    }
    if !value.starts_with("http://") && !value.starts_with("https://") {
        return Err("it doesn't begin with http:// or https://");
    }
    if !is_url_text(value) {
        return Err("it has characters that a URL can't have");
    }
    let Ok(url) = Url::parse(value) else { return Err("it can't be read as a URL") };
    if !may_have_user && value.contains('@') {
        return Err("a user part is not supported; give credentials in their own options");
    }
    if value.contains('?') {
        return Err("a query is not supported");
    }
    // Checked as written, because parsers differ: some decode escapes and unusual numbers. The port may not be empty
    // either: some parsers accept "http://host:", others don't.
    let authority = value.split('/').nth(2).unwrap_or_default();
    let address = authority.rsplit('@').next().unwrap_or_default();
    let host = match address.rsplit_once(':') {
        Some((_, "")) => return Err("its port is missing"),
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) | None => address,
    };
    if host.is_empty() || !url.host_str().is_some_and(|parsed| parsed.eq_ignore_ascii_case(host)) {
        return Err("it has no plain host name");
    }
    // The path becomes part of every request's URL.
    let written = value.splitn(4, '/').nth(3).unwrap_or_default();
    if written.contains('%') || url.path().strip_prefix('/') != Some(written) {
        return Err("its path has escapes or is not normalized");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_url_that_every_parser_reads_alike() {
        for good in [
            "http://127.0.0.1:9000",
            "http://localhost:9000/",
            "https://minio.example.org",
            "http://[::1]:9000",
            "https://h/some/path",
            "http://under_score:1",
            "http://MinIO",
        ] {
            assert_eq!(Shape::Server.check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "minio",
            "localhost:9000",
            "127.0.0.1:9000",
            "//h",
            "http:/h",
            "http://",
            "http://:9000",
            "http://h:",
            "http://h:99999",
            "http://a b",
            "http://h/\u{e4}",
            "http://k:s@h",
            "http://h?x",
            "http://h#x",
            "ftp://h",
            "http://h/../x",
            "http://%68",
            "http://1",
            "http://h\n",
            "http://[::1",
            "http://h:port",
            "HTTP://h",
        ] {
            let why = Shape::Server.check(bad).expect_err(bad);
            assert!(why.contains("http://127.0.0.1:9000"), "{bad}: {why}");
            assert!(!why.contains("k:s@"), "{why}");
        }
        assert_eq!(Shape::Proxy.check("http://user:word@proxy:3128"), Ok(()));
    }

    #[test]
    fn a_secret_is_never_shown() {
        for shape in [Shape::Secret, Shape::Base64, Shape::Key256, Shape::Content] {
            for value in ["s3cr\u{e4}t\n", &"s3cr\u{e4}t".repeat(20_000)] {
                if let Err(why) = shape.check(value) {
                    assert!(!why.contains("s3cr"), "{why}");
                }
            }
        }
    }
}
