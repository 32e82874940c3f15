//! A body that carries as many bytes as it may, without long pauses where the guest wants none.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;
use wasmtime_wasi_http::Error;

use crate::metrics::Metric;

/// The error of a body that is too large, with the most that it may have.
type TooLarge = fn(Option<u64>) -> Error;

/// How many bytes a body may have, and what counts those with more.
#[derive(Clone)]
pub(super) struct Most {
    pub len: u64,
    pub refused: Metric,
}

impl Most {
    /// Refuses a body that says itself that it is too large.
    pub(super) fn check(&self, body: &impl Body, too_large: TooLarge) -> Result<(), Error> {
        if body.size_hint().lower() > self.len {
            return Err(self.refuse(too_large));
        }
        Ok(())
    }

    /// Holds a body to it. `late` is the error when the next piece does not come within `pause`.
    pub(super) fn bound<B>(
        &self,
        inner: B,
        pause: Option<Duration>,
        too_large: TooLarge,
        late: Error,
    ) -> Bounded<B> {
        let pause = pause.map(|time| Pause { time, timer: None, late: Some(late) });
        Bounded { inner, left: self.len, most: self.clone(), too_large, pause }
    }

    fn refuse(&self, too_large: TooLarge) -> Error {
        self.refused.increment();
        too_large(Some(self.len))
    }
}

/// A body with a bound.
pub(super) struct Bounded<B> {
    inner: B,
    left: u64,
    most: Most,
    too_large: TooLarge,
    pause: Option<Pause>,
}

/// The longest time between two pieces.
struct Pause {
    time: Duration,
    /// Made when the next piece has to be waited for.
    timer: Option<Pin<Box<Sleep>>>,
    late: Option<Error>,
}

impl Pause {
    /// Why it is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let time = self.time;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(time)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(self.late.take().unwrap_or(Error::ConnectionTerminated))
    }
}

impl<B> Body for Bounded<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Error>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let frame = match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {
                let Some(pause) = &mut this.pause else { return Poll::Pending };
                return pause.poll(cx).map(|late| Some(Err(late)));
            }
        };
        if let Some(pause) = &mut this.pause {
            pause.timer = None;
        }
        let len = frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
        let Some(left) = this.left.checked_sub(len) else {
            return Poll::Ready(Some(Err(this.most.refuse(this.too_large))));
        };
        this.left = left;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::poll_fn;

    use super::*;

    /// Pieces, then silence.
    struct Pieces(VecDeque<Bytes>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
            match self.0.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                None => Poll::Pending,
            }
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
        }
    }

    fn pieces(lens: &[usize]) -> Pieces {
        Pieces(lens.iter().map(|len| Bytes::from(vec![0; *len])).collect())
    }

    async fn next(body: &mut Bounded<Pieces>) -> Result<usize, String> {
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await.unwrap();
        frame.map(|frame| frame.data_ref().unwrap().len()).map_err(|error| format!("{error:?}"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_has_so_many_bytes_and_pauses_of_so_much_time() {
        let most = Most { len: 10, refused: Metric::default() };
        let large = Error::HttpResponseBodySize;
        assert!(most.check(&pieces(&[10]), large).is_ok());
        assert!(most.check(&pieces(&[11]), large).is_err());
        let time = Duration::from_secs(5);
        let mut body = most.bound(pieces(&[4, 6]), Some(time), large, Error::ConnectionReadTimeout);
        assert_eq!(next(&mut body).await, Ok(4));
        assert_eq!(next(&mut body).await, Ok(6), "as many as it may have");
        let begun = tokio::time::Instant::now();
        assert_eq!(next(&mut body).await, Err("ConnectionReadTimeout".into()));
        assert!(begun.elapsed() >= time);
        let mut body = most.bound(pieces(&[4, 7]), None, large, Error::ConnectionReadTimeout);
        assert_eq!(next(&mut body).await, Ok(4));
        assert_eq!(next(&mut body).await, Err("HttpResponseBodySize(Some(10))".into()));
        assert_eq!(most.refused.get(), 2);
    }
}
