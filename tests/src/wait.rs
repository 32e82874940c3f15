//! Waiting with a deadline, so that a test which would hang says what it waited for instead.

use std::future::Future;
use std::time::Duration;

/// Long enough for a loaded machine with two cores, short enough for a person.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The result of `work`, or a panic that names what did not come within [`PATIENCE`].
pub async fn for_result<T>(what: &str, work: impl Future<Output = T>) -> T {
    within(PATIENCE, what, work).await
}

/// As [`for_result`], for what may take longer.
pub async fn within<T>(patience: Duration, what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(patience, work).await {
        Ok(result) => result,
        Err(_) => panic!("waited {patience:?} in vain for {what}"),
    }
}

/// Asks again and again until the answer is `Some`. For states of other programs that announce nothing;
/// where there is an event, wait for that.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    for_result(what, async {
        loop {
            pause.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    })
    .await
}
