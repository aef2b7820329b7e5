//! What tokens may do, and mistakes in their file.

use core::time::Duration;

use super::*;

const YEAR_2027: &str = "2027-01-01T00:00:00Z";

fn sha256(token: &str) -> String {
    digest(&SHA256, token.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn list(text: &str) -> List {
    List(file::parse(text.as_bytes()).unwrap())
}

fn wrong(text: &str) -> String {
    file::parse(text.as_bytes()).unwrap_err()
}

fn entry(name: &str, token: &str, rest: &str) -> String {
    format!("[[token]]\nname = \"{name}\"\nsha256 = \"{}\"\n{rest}\n", sha256(token))
}

fn vnode<'a>(scope: Scope, kind: &'a str, key: &'a str) -> Access<'a> {
    Access { scope, target: Target::Vnode { kind, key } }
}

fn now() -> SystemTime {
    humantime::parse_rfc3339(YEAR_2027).unwrap() - Duration::from_secs(1)
}

#[test]
fn a_token_may_do_what_its_entry_says_and_nothing_else() {
    let text = entry(
        "shop",
        "a",
        "scopes = [\"read\", \"write\"]\nkinds = [\"cart\"]\nkey_prefix = \"acme/\"",
    ) + &entry("ops", "b", "scopes = [\"admin\"]");
    let list = list(&text);
    let may = |token, access| list.allow(Some(token), access, now());
    assert_eq!(may("a", vnode(Scope::Write, "cart", "acme/7")), Ok("shop".to_owned()));
    assert_eq!(may("a", vnode(Scope::Read, "cart", "acme/")), Ok("shop".to_owned()));
    assert_eq!(
        may("a", Access { scope: Scope::Read, target: Target::Kind("cart") }),
        Ok("shop".to_owned())
    );
    assert_eq!(
        may("b", Access { scope: Scope::Admin, target: Target::Cluster }),
        Ok("ops".to_owned())
    );
    for (token, access, why) in [
        ("a", vnode(Scope::Admin, "cart", "acme/7"), "token shop has no scope admin"),
        ("a", vnode(Scope::Read, "order", "acme/7"), "token shop is limited to other kinds"),
        (
            "a",
            Access { scope: Scope::Read, target: Target::Kind("order") },
            "limited to other kinds",
        ),
        ("a", vnode(Scope::Read, "cart", "other/7"), "keys that begin with \"acme/\""),
        // A listing of a shorter prefix would show keys of others.
        ("a", vnode(Scope::Read, "cart", "acme"), "keys that begin with"),
        ("a", vnode(Scope::Read, "cart", ""), "keys that begin with"),
        ("a", Access { scope: Scope::Read, target: Target::Cluster }, "limited to some vnodes"),
        // A scope includes no other one.
        ("b", vnode(Scope::Read, "cart", "acme/7"), "token ops has no scope read"),
    ] {
        let denied = may(token, access).unwrap_err();
        assert!(denied.to_string().contains(why), "{access:?}: {denied}");
        assert!(!denied.is_unauthenticated(), "{denied:?}");
    }
}

#[test]
fn what_is_no_token_of_the_file_is_unknown() {
    let list = list(&entry("shop", "right", "scopes = [\"read\"]"));
    let access = vnode(Scope::Read, "cart", "k");
    let digest = sha256("right");
    let long = "x".repeat(PRESENTED_LEN_MAX + 1);
    for shown in ["", "Right", "right ", "righ", "right\0", "shop", &digest, &long, "ri\u{f6}ght"] {
        assert_eq!(list.allow(Some(shown), access, now()), Err(Denied::Unknown), "{shown:?}");
    }
    assert_eq!(list.allow(None, access, now()), Err(Denied::NoToken));
    assert_eq!(List::default().allow(Some("right"), access, now()), Err(Denied::Unknown));
    assert!(Denied::Unknown.is_unauthenticated() && Denied::NoToken.is_unauthenticated());
}

#[test]
fn each_of_many_tokens_is_found() {
    let text: String = (0..TOKENS_MAX)
        .map(|number| {
            entry(&format!("t{number}"), &format!("secret {number}"), "scopes = [\"read\"]")
        })
        .collect();
    let list = list(&text);
    for number in 0..TOKENS_MAX {
        let found =
            list.allow(Some(&format!("secret {number}")), vnode(Scope::Read, "k", ""), now());
        assert_eq!(found, Ok(format!("t{number}")));
    }
    let one_more = text + &entry("more", "more", "scopes = [\"read\"]");
    assert!(wrong(&one_more).contains("more than 1000 tokens"));
}

#[test]
fn a_token_ends_when_its_entry_says() {
    let list = list(&entry("shop", "a", &format!("scopes = [\"read\"]\nexpires = {YEAR_2027}")));
    let access = vnode(Scope::Read, "cart", "k");
    assert!(list.allow(Some("a"), access, now()).is_ok());
    assert_eq!(list.warning(now()), None);
    let after = now() + Duration::from_secs(1);
    assert_eq!(list.allow(Some("a"), access, after), Err(Denied::Expired { name: "shop".into() }));
    assert_eq!(list.warning(after), Some("expired: shop".to_owned()));
}

#[test]
fn a_mistake_is_named_with_its_line_and_shows_no_value() {
    let secret = "hlcn_0123456789abcdef";
    let good = entry("shop", "a", "scopes = [\"read\"]");
    for (text, why) in [
        (
            format!("{good}\n[[token]]\nname = \"x\"\nsha256 = \"{secret}\"\nscopes = [\"read\"]"),
            "line 8: sha256 must be 64 hex digits",
        ),
        (format!("{good}[[token]]\nname = \"x\"\ntoken = \"{secret}\""), "line 7: unknown field"),
        (format!("[[token]]\nname = \"x\"\nsha256 = {secret}"), "line 3"),
        (format!("[[token]]\nname = \"{secret}\nsha256 = 1"), "line 2"),
        (format!("[[token]]\n{secret}"), "line 2"),
        (entry("x", "a", &format!("scopes = [\"{secret}\"]")), "line 4: unknown variant"),
        (entry("x", "a", &format!("scopes = \"{secret}\"")), "line 4: invalid type"),
        (entry("x", "a", "scopes = []"), "line 4: scopes is empty"),
        (entry("x", "a", "scopes = [\"read\"]\nkinds = []"), "line 5: kinds is empty"),
        (
            entry("x", "a", "scopes = [\"read\"]\nexpires = 2027-01-01"),
            "line 5: expires must be a time in UTC",
        ),
        (
            entry("x", "a", &format!("scopes = [\"read\"]\nexpires = \"{secret}\"")),
            "line 5: invalid type",
        ),
        (entry("x y", "a", "scopes = [\"read\"]"), "line 2: a name has 1 to 64"),
        (entry("", "a", "scopes = [\"read\"]"), "line 2: a name has 1 to 64"),
        (
            format!("{good}{}", entry("shop", "b", "scopes = [\"read\"]")),
            "line 6: another token has the same name",
        ),
        (
            format!("{good}{}", entry("other", "a", "scopes = [\"read\"]")),
            "line 7: another token has the same sha256",
        ),
        ("[[token]]\nname = \"x\"".to_owned(), "missing field"),
        ("[[tokens]]".to_owned(), "line 1: unknown field"),
    ] {
        let said = wrong(&text);
        assert!(said.contains(why), "{text}\n{said}");
        assert!(!said.contains("hlcn_") && !said.contains("0123456789"), "{said}");
    }
    assert!(file::parse(b"\xff\xfe").unwrap_err().contains("isn't text"));
    assert!(file::parse(b"").unwrap().is_empty(), "a file without tokens denies everything");
}

#[test]
fn a_new_token_is_accepted_with_its_own_entry() {
    let token = NewToken::draw();
    let limits = Limits {
        scopes: vec![Scope::Read, Scope::Write],
        kinds: vec!["cart".into(), "a \"quoted\" \\ kind".into()],
        key_prefix: "acme/\n".into(),
        expires: Some(humantime::parse_rfc3339(YEAR_2027).unwrap()),
    };
    let entry = token.entry("shop", &limits).unwrap();
    assert!(!entry.contains(token.secret()), "{entry}");
    let list = list(&entry);
    for kind in &limits.kinds {
        let access = vnode(Scope::Write, kind, "acme/\n1");
        assert_eq!(
            list.allow(Some(token.secret()), access, now()),
            Ok("shop".to_owned()),
            "{entry}"
        );
    }
    assert_ne!(token.secret(), NewToken::draw().secret());
    assert_eq!(token.secret().len(), 5 + 64);
    assert_eq!(token.entry("a\"b", &limits), None);
    assert_eq!(format!("{token:?} {list:?}").matches(token.sha256()).count(), 0);
}

#[tokio::test]
async fn a_revoked_token_is_denied_soon_and_a_broken_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.toml");
    std::fs::write(&path, entry("shop", "a", "scopes = [\"read\"]")).unwrap();
    let tokens = Tokens::open(&path).unwrap();
    let access = vnode(Scope::Read, "cart", "k");
    assert_eq!(tokens.allow(Some("a"), access), Ok("shop".to_owned()));
    std::fs::write(&path, "[[token").unwrap();
    tokio::time::sleep(crate::LOOK_EVERY + Duration::from_secs(1)).await;
    assert_eq!(tokens.allow(Some("a"), access), Ok("shop".to_owned()));
    std::fs::write(&path, entry("new", "b", "scopes = [\"read\"]")).unwrap();
    let denied = async {
        while tokens.allow(Some("a"), access) != Err(Denied::Unknown) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::LOOK_EVERY * 10, denied).await.expect("it is read again");
    assert_eq!(tokens.allow(Some("b"), access), Ok("new".to_owned()));
    let error = Tokens::open(folder.path().join("absent")).unwrap_err();
    assert!(error.to_string().contains("absent: No such file"), "{error}");
}
