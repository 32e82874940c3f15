//! A search through the keys of all servers, some at a time.

use ::redis::cmd;

use crate::redis::{Error, Link, Server};

/// The search. A key that is there from its beginning to its end is found at least once.
pub struct Scan<'a> {
    link: &'a Link,
    /// Those that are not searched yet; the last one is next.
    servers: Vec<Server>,
    /// Where the search in that server goes on.
    cursor: u64,
    pattern: String,
    /// Keys that a server looks at in one step.
    count: usize,
}

impl<'a> Scan<'a> {
    /// Begins to look for the keys that match; servers look at `count` of theirs in one step.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn new(link: &'a Link, pattern: String, count: usize) -> Result<Self, Error> {
        Ok(Self { link, servers: link.servers().await?, cursor: 0, pattern, count })
    }

    /// Some keys, at least one; `None` when all have been found.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>, Error> {
        while let Some(server) = self.servers.last() {
            let mut scan = cmd("SCAN");
            scan.arg(self.cursor).arg("MATCH").arg(&self.pattern).arg("COUNT").arg(self.count);
            let (next, keys): (u64, Vec<Vec<u8>>) = self.link.ask_at(server, scan).await?;
            self.cursor = next;
            if next == 0 {
                self.servers.pop();
            }
            if !keys.is_empty() {
                return Ok(Some(keys));
            }
        }
        Ok(None)
    }
}
