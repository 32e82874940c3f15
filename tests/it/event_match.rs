//! Event patterns match exactly the names that Moleculer's do: every pair of `tests/vectors/match.json`,
//! recorded by `tests/vectors/match.js`.

use isomer_host::schema;
use serde_json::Value;
use tests::tree;

// moleculer: src/utils.js match
#[test]
fn patterns_match_the_names_that_moleculer_says() {
    let text = tree::read(&tree::top().join("tests/vectors/match.json"));
    let vectors: Value = serde_json::from_str(&text).unwrap();
    let names: Vec<&str> =
        vectors["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let mut wrong = Vec::new();
    let mut pairs = 0;
    for vector in vectors["patterns"].as_array().unwrap() {
        let pattern = vector["pattern"].as_str().unwrap();
        // A pattern that JavaScript cannot compile fails there with each event; here it matches nothing.
        let matching = vector["matches"].as_array().cloned().unwrap_or_default();
        for name in &names {
            pairs += 1;
            let expected = matching.iter().any(|item| item == name);
            if schema::matches(pattern, name) != expected {
                wrong.push(format!("{pattern:?} and {name:?}: Moleculer says {expected}"));
            }
        }
    }
    assert!(pairs > 5_000, "only {pairs} pairs: are the vectors complete?");
    assert!(wrong.is_empty(), "{} of {pairs} differ:\n{}", wrong.len(), wrong.join("\n"));
}
