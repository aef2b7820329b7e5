//! The file of tokens.

use std::{collections::BTreeSet, ops::Range, time::SystemTime};

use serde::Deserialize;
use toml::{Spanned, value::Datetime};

use super::{DIGEST_LEN, Scope, TOKENS_MAX, Token};
use crate::role::{NAME_LEN_MAX, is_name};

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Spanned<String>,
    sha256: Spanned<String>,
    scopes: Spanned<Vec<Scope>>,
    kinds: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    key_prefix: String,
    expires: Option<Spanned<Datetime>>,
}

/// Reads the file, or says what is wrong and where. Shows no value: a token may stand where its digest belongs.
pub(super) fn parse(contents: &[u8]) -> Result<Vec<Token>, String> {
    let text = core::str::from_utf8(contents).map_err(|_invalid| "it isn't text".to_owned())?;
    let at = |span: Range<usize>, why: &str| format!("line {}: {why}", line_of(text, span.start));
    let file: File = toml::from_str(text)
        // Its display quotes the line.
        .map_err(|error| at(error.span().unwrap_or(0..0), &reason(error.message())))?;
    if file.token.len() > TOKENS_MAX {
        return Err(format!("it has more than {TOKENS_MAX} tokens"));
    }
    let (mut names, mut digests) = (BTreeSet::new(), BTreeSet::new());
    let mut tokens = Vec::new();
    for entry in file.token {
        let (name_at, digest_at) = (entry.name.span(), entry.sha256.span());
        let token = token(entry).map_err(|(span, why)| at(span, &why))?;
        if !names.insert(token.name.clone()) {
            return Err(at(name_at, "another token has the same name"));
        }
        if !digests.insert(token.sha256) {
            return Err(at(digest_at, "another token has the same sha256"));
        }
        tokens.push(token);
    }
    Ok(tokens)
}

type Wrong = (Range<usize>, String);

fn token(entry: Entry) -> Result<Token, Wrong> {
    let Entry { name, sha256, scopes, kinds, key_prefix, expires } = entry;
    if !is_name(name.get_ref()) {
        let why = format!("a name has 1 to {NAME_LEN_MAX} of A-Z, a-z, 0-9, '-', '_', '.', '@'");
        return Err((name.span(), why));
    }
    let Some(digest) = from_hex(sha256.get_ref()) else {
        return Err((sha256.span(), "sha256 must be 64 hex digits".to_owned()));
    };
    if scopes.get_ref().is_empty() {
        return Err((scopes.span(), "scopes is empty: use read, write, admin".to_owned()));
    }
    if let Some(kinds) = kinds.as_ref().filter(|kinds| kinds.get_ref().is_empty()) {
        return Err((kinds.span(), "kinds is empty: leave it out to allow all".to_owned()));
    }
    let expires = match expires {
        None => None,
        Some(at) => Some(moment(at.get_ref()).map_err(|why| (at.span(), why))?),
    };
    Ok(Token {
        name: name.into_inner(),
        sha256: digest,
        scopes: scopes.into_inner(),
        kinds: kinds.map(Spanned::into_inner),
        key_prefix,
        expires,
    })
}

fn moment(at: &Datetime) -> Result<SystemTime, String> {
    humantime::parse_rfc3339(&at.to_string())
        .map_err(|_format| "expires must be a time in UTC, such as 2027-01-01T00:00:00Z".to_owned())
}

fn from_hex(text: &str) -> Option<[u8; DIGEST_LEN]> {
    let mut digits = text.chars().map(|digit| digit.to_digit(16));
    let mut bytes = [0; DIGEST_LEN];
    for byte in &mut bytes {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    digits.next().is_none().then_some(bytes)
}

/// What the parser says, without what it quotes in quotation marks.
fn reason(message: &str) -> String {
    let mut parts = message.split(['`', '"']);
    let mut told = parts.next().unwrap_or_default().to_owned();
    // Every second part was quoted. Names of fields and scopes are this crate's own; a value is not.
    for (quoted, rest) in
        std::iter::from_fn(|| Some((parts.next()?, parts.next().unwrap_or_default())))
    {
        let own = [
            "token",
            "name",
            "sha256",
            "scopes",
            "kinds",
            "key_prefix",
            "expires",
            "read",
            "write",
            "admin",
        ];
        told.push_str(if own.contains(&quoted) { quoted } else { "…" });
        told.push_str(rest);
    }
    told
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count()
}
