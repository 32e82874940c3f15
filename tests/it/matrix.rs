//! Every transporter with every serializer against both Moleculers, and the document that says so.

use tests::{matrix, tree};

/// Where the result of the last run is kept.
const DOCUMENT: &str = "docs/interop.md";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_every_transporter_and_serializer_works_with_both_moleculers() {
    let rows = matrix::run().await;
    let failures = matrix::failures(&rows);
    assert!(failures.is_empty(), "{} cells fail:\n{}", failures.len(), failures.join("\n"));
    let text = matrix::render(&rows);
    let path = tree::top().join(DOCUMENT);
    if std::env::var_os("ISOMER_WRITE_INTEROP").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = tree::read(&path);
    assert_eq!(
        committed, text,
        "{DOCUMENT} is not what was seen; write it with ISOMER_WRITE_INTEROP=1"
    );
}
