//! Wrong uses of the macros, each with the message that its author gets.
//!
//! `TRYBUILD=overwrite cargo test -p isomer-sdk --test compile_fail` writes the messages anew.

#[test]
fn wrong_uses_are_refused_with_a_sentence_that_helps() {
    trybuild::TestCases::new().compile_fail("tests/fail/*.rs");
}
