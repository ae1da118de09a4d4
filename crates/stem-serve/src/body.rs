//! Bodies as they arrive: not more than they may be, not longer than they may take.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use tokio::time::timeout;

use crate::refusal::Refusal;

/// Gives each piece of a body to `take`.
///
/// # Errors
/// A body that is too large, too slow or cut, and what `take` refuses.
pub(crate) async fn read(
    headers: &HeaderMap,
    mut body: Body,
    limit: usize,
    within: Duration,
    mut take: impl FnMut(Bytes) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let told = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|told| told > limit as u64) {
        return Err(Refusal::TooLarge { limit });
    }
    let reading = async {
        let mut bytes = 0;
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let Ok(piece) = frame.map_err(|_| Refusal::Cut)?.into_data() else { continue };
            bytes += piece.len();
            if bytes > limit {
                return Err(Refusal::TooLarge { limit });
            }
            take(piece)?;
        }
        Ok(())
    };
    timeout(within, reading).await.unwrap_or(Err(Refusal::SlowRequest { seconds: within.as_secs_f64() }))
}

/// A whole body.
///
/// # Errors
/// As [`read`].
pub(crate) async fn read_all(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    within: Duration,
) -> Result<Vec<u8>, Refusal> {
    let mut whole = Vec::new();
    read(headers, body, limit, within, |piece| {
        whole.extend_from_slice(&piece);
        Ok(())
    })
    .await?;
    Ok(whole)
}
