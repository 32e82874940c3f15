//! A service of the mode `shared` with the SDK: its calls see one state and wait for each other.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_util::future::join_all;
use isomer_sdk::prelude::*;
use serde::Deserialize;

#[derive(Default)]
struct Lobby {
    n_present: Cell<u32>,
    waiting: RefCell<Vec<Waker>>,
}

#[derive(Deserialize)]
struct Party {
    size: u32,
}

#[service(name = "lobby", mode = "shared")]
impl Lobby {
    /// Waits until so many are present.
    #[action]
    async fn join(&self, party: Party) -> u32 {
        self.n_present.set(self.n_present.get() + 1);
        self.waiting.borrow_mut().drain(..).for_each(Waker::wake);
        poll_fn(|task| {
            if self.n_present.get() >= party.size {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(task.waker().clone());
            Poll::Pending
        })
        .await;
        self.n_present.get()
    }

    /// How many have come.
    #[action]
    fn present(&self) -> u32 {
        self.n_present.get()
    }

    /// Brings so many at once, by calls of this very instance.
    #[action]
    async fn bring(&self, ctx: &Context, party: Party) -> Result<Vec<u32>> {
        let span = ctx.start_span("bringing");
        span.tag("size", party.size);
        let calls = (0..party.size)
            .map(|_| ctx.call_own::<u32>("join", json!({ "size": party.size })).into_future());
        let all = join_all(calls).await.into_iter().collect();
        span.finish();
        ctx.emit("lobby.full", json!({ "size": party.size })).await?;
        all
    }

    /// Is told of it by itself, and of others.
    #[event("lobby.*")]
    async fn on_full(&self, ctx: &Context, party: Party) -> Result<()> {
        ctx.sleep(Duration::from_millis(1)).await?;
        self.n_present.set(self.n_present.get() - party.size);
        Ok(())
    }

    /// Several calls in one go.
    #[action]
    async fn ask_twice(&self, ctx: &Context) -> Result<Vec<u32>> {
        ctx.mcall([Call::new("lobby.present", ()), Call::new("lobby.present", ())]).await
    }

    /// Refuses.
    #[action]
    async fn leave(&self) -> Result<()> {
        Err(Error::new(409, "NOT_NOW", "Nobody leaves."))
    }
}
