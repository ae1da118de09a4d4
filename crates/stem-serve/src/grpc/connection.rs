//! A connection that speaks HTTP/2, as long as it speaks.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use crate::server::HEAD_BYTES;

/// Requests that one connection may have open.
const STREAMS: u32 = 64;
/// Bytes that a connection begins with.
const PREFACE: usize = 24;

/// Serves a connection. One that says nothing within a time is closed, and one that does not answer a ping.
pub(crate) async fn serve(
    within: Duration,
    router: Router,
    mut stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    watcher: Watcher,
) {
    let mut begun = [0; PREFACE];
    match timeout(within, stream.read_exact(&mut begun)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return tracing::debug!("connection: {error}"),
        Err(_) => return tracing::debug!("no HTTP/2 within {within:?}"),
    }
    let stream = Begun { begun, read: 0, stream };
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_BYTES as u32)
        .keep_alive_interval(within)
        .keep_alive_timeout(within)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!("connection: {error}");
    }
}

/// A stream whose first bytes were read.
struct Begun<S> {
    begun: [u8; PREFACE],
    read: usize,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { begun, read, stream } = &mut *self;
        if *read < PREFACE {
            let bytes = into.remaining().min(PREFACE - *read);
            into.put_slice(&begun[*read..*read + bytes]);
            *read += bytes;
            return Poll::Ready(Ok(()));
        }
        Pin::new(stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
