//! Making a token.

use core::fmt;

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::fill,
};

use super::{DIGEST_LEN, Scope};
use crate::role::is_name;

/// What every token begins with, so that tools which look for leaked secrets recognise it.
const PREFIX: &str = "hlcn_";

/// A new token. It is shown once; only its digest is kept.
pub struct NewToken {
    secret: String,
    sha256: String,
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewToken")
    }
}

impl NewToken {
    /// Draws one from the operating system.
    ///
    /// # Panics
    ///
    /// When the operating system has no random numbers.
    #[must_use]
    pub fn draw() -> Self {
        let mut bits = [0; DIGEST_LEN];
        fill(&mut bits).expect("the operating system has random numbers");
        let secret = format!("{PREFIX}{}", hex(&bits));
        let sha256 = hex(digest(&SHA256, secret.as_bytes()).as_ref());
        Self { secret, sha256 }
    }

    /// The token itself. Show it once, and keep it nowhere.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Its digest, in hex.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The entry for the file of tokens; `None` if the name isn't one.
    #[must_use]
    pub fn entry(&self, name: &str, limits: &Limits) -> Option<String> {
        if !is_name(name) {
            return None;
        }
        let list = |items: Vec<String>| format!("[{}]", items.join(", "));
        let scopes = limits.scopes.iter().map(|scope| format!("\"{scope}\"")).collect();
        let mut entry = format!(
            "[[token]]\nname = \"{name}\"\nsha256 = \"{}\"\nscopes = {}\n",
            self.sha256,
            list(scopes)
        );
        if !limits.kinds.is_empty() {
            let kinds = limits.kinds.iter().map(|kind| quoted(kind)).collect();
            entry.push_str(&format!("kinds = {}\n", list(kinds)));
        }
        if !limits.key_prefix.is_empty() {
            entry.push_str(&format!("key_prefix = {}\n", quoted(&limits.key_prefix)));
        }
        if let Some(at) = limits.expires {
            entry.push_str(&format!("expires = {}\n", humantime::format_rfc3339_seconds(at)));
        }
        Some(entry)
    }
}

/// What a new token is good for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Its scopes.
    pub scopes: Vec<Scope>,
    /// The kinds that it is limited to; empty for all.
    pub kinds: Vec<String>,
    /// What keys must begin with; empty for all.
    pub key_prefix: String,
    /// Until when.
    pub expires: Option<std::time::SystemTime>,
}

/// A string in TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control.is_control() => {
                out.push_str(&format!("\\u{:04X}", u32::from(control)));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
