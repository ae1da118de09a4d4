//! A connection that speaks HTTP/2, as long as it asks for something.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::http2;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::server::HEAD_BYTES;

/// Requests that one connection may have open.
const STREAMS: u32 = 64;
/// Bytes that a connection begins with.
const PREFACE: usize = 24;

/// Serves a connection. One that says nothing within a time is closed, one that asks for nothing as long, and one that does not answer a ping.
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
    let (open, idle) = watch::channel(0usize); // requests
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: Request<Incoming>| {
        let (asked, answer) = (Open::one_more(&open), router.call(request));
        async move { answer.await.map(|response: Response<Body>| response.map(|body| Answered { body, _asked: asked })) }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_BYTES as u32)
        .keep_alive_interval(within)
        .keep_alive_timeout(within)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        served = watcher.watch(connection) => if let Err(error) = served {
            tracing::debug!("connection: {error}");
        },
        () = idle_for(idle, within) => tracing::debug!("nothing asked within {within:?}"),
    }
}

/// Comes back once no request was open for so long.
async fn idle_for(mut open: watch::Receiver<usize>, within: Duration) {
    loop {
        let is_idle = *open.borrow_and_update() == 0;
        match timeout(if is_idle { within } else { Duration::MAX }, open.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

/// A request that is open until its answer is sent.
struct Open(watch::Sender<usize>);

impl Open {
    fn one_more(open: &watch::Sender<usize>) -> Self {
        open.send_modify(|open| *open += 1);
        Self(open.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

/// The body of an answer, whose request is open as long as it is there.
struct Answered {
    body: Body,
    _asked: Open,
}

impl hyper::body::Body for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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
