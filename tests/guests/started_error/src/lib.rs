//! A service whose `started` returns an error: it must not come up, and its error must be shown.

use isomer_sdk::prelude::*;

#[derive(Default)]
struct StartedError;

#[service(name = "started-error")]
impl StartedError {
    #[started]
    async fn start(&self) -> Result<()> {
        Err(Error::server(503, "DATABASE_DOWN", "the database does not answer")
            .data(json!({ "host": "db" })))
    }

    #[action]
    fn never(&self) -> &'static str {
        "this action must not be callable"
    }
}
