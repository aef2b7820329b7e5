//! Compile errors point at the user's token and say what to do.
//!
//! The cases need only this crate: what they show is refused before any generated code is compiled. After a change of a message,
//! `TRYBUILD=overwrite cargo test --workspace --test ui` writes the new ones; review them.

#[test]
fn mistakes_in_a_kind_are_shown_where_they_are() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
