//! A service of the mode `shared` with the SDK: its calls see one state and wait for each other.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_util::future::join_all;
use isomer_sdk::prelude::*;
use serde::Deserialize;
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{ErrorCode, Fields, FutureIncomingResponse, OutgoingRequest, Scheme};

#[derive(Default)]
struct Lobby {
    n_present: Cell<u32>,
    waiting: RefCell<Vec<Waker>>,
}

#[derive(Deserialize)]
struct Party {
    size: u32,
}

#[derive(Deserialize)]
struct Page {
    to: String,
    path: String,
}

/// Sends a request; its answer comes later.
fn begin(page: &Page) -> std::result::Result<FutureIncomingResponse, ErrorCode> {
    let request = OutgoingRequest::new(Fields::new());
    let bad = |()| ErrorCode::HttpRequestUriInvalid;
    request.set_scheme(Some(&Scheme::Http)).map_err(bad)?;
    request.set_authority(Some(&page.to)).map_err(bad)?;
    request.set_path_with_query(Some(&page.path)).map_err(bad)?;
    handle(request, None)
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

    /// Asks a web server, while others come and go, for the status that it answers with.
    #[action]
    async fn look_outside(&self, ctx: &Context, page: Page) -> Result<u16> {
        let asked =
            begin(&page).map_err(|error| Error::new(500, "NOT_SENT", format!("{error:?}")))?;
        let ready = asked.subscribe();
        while !ready.ready() {
            ctx.sleep(Duration::from_millis(2)).await?;
        }
        drop(ready);
        match asked.get() {
            Some(Ok(Ok(answer))) => Ok(answer.status()),
            Some(Ok(Err(error))) => Err(Error::new(502, "NO_ANSWER", format!("{error:?}"))),
            _ => Err(Error::new(500, "NO_ANSWER", "nothing came")),
        }
    }

    /// Refuses.
    #[action]
    async fn leave(&self) -> Result<()> {
        Err(Error::new(409, "NOT_NOW", "Nobody leaves."))
    }
}
