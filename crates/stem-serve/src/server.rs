//! A server from its bundles to its end.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use stem_core::burn::tensor::Device;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::app::App;
use crate::config::ServeConfig;
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::models::{Looking, Registry, Source, Watch};
use crate::queue::{Queue, Workers};
use crate::routes;
use crate::tls::Tls;

/// Bytes of a request's head.
pub(crate) const HEAD_BYTES: usize = 32 << 10;
/// How long a stopping server takes connections that were on their way.
const LAST_CALL: Duration = Duration::from_millis(50);

/// Models, and threads that score with them. [`run`](Self::run) listens; [`router`](Self::router) is for a service of one's own.
///
/// ```no_run
/// use stem_serve::{ServeConfig, Server};
///
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// let device = stem_core::DeviceSpec::default().open()?;
/// let server = Server::open("models", ServeConfig::default(), &device)?;
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// server.run(listener, std::future::pending()).await?;
/// # Ok(())
/// # }
/// ```
pub struct Server {
    app: Arc<App>,
    tls: Option<Tls>,
    more: Router,
    #[cfg(feature = "grpc")]
    grpc: Option<TcpListener>,
    // In this order: nothing is swapped any more, then what waits is scored.
    watch: Option<Watch>,
    workers: Workers,
}

impl Server {
    /// Opens a bundle, the folder of a run, or every bundle `NAME.safetensors` of a folder; of several that cannot be used, one alone
    /// has to be usable.
    ///
    /// # Errors
    /// Settings that do not fit, names that no model has, and no usable bundle.
    pub fn open(bundle: impl AsRef<Path>, config: ServeConfig, device: &Device) -> Result<Self> {
        config.check()?;
        let (path, metrics) = (bundle.as_ref(), Arc::new(Metrics::new()));
        let (source, registry) = (Source::of(path), Arc::new(Registry::new(config.verify, metrics.clone())));
        let looking = Looking::new(source.clone(), &registry, device.clone());
        let files = source.files()?;
        let mut refused = None;
        for (name, file) in &files {
            if let Err(refusal) = registry.load(name, file, device) {
                refused.get_or_insert((file, name, refusal));
            }
        }
        if !registry.is_ready() {
            return Err(match refused {
                None => Error::NoBundle { folder: path.into() },
                Some((file, name, refusal)) => {
                    let reason = registry.reason(name).unwrap_or_else(|| refusal.to_string());
                    Error::Bundle { path: file.clone(), reason }
                }
            });
        }
        let known = |key, name: &String| match registry.get(name) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::UnknownModel { key, name: name.clone(), known: registry.known() }),
        };
        config
            .shadow
            .iter()
            .try_for_each(|(name, other)| known("shadow", name).and_then(|()| known("shadow", other)))?;
        config.split.iter().flat_map(|split| &split.shares).try_for_each(|(name, _)| known("split", name))?;
        let watch = config.watch.map(|every| Watch::start(looking, every)).transpose()?;
        let queue = Arc::new(Queue::new(config.batch.clone(), metrics.clone()));
        let workers = Workers::start(&queue)?;
        let (device, is_stopping) = (device.clone(), AtomicBool::new(false));
        let explaining = Arc::new(tokio::sync::Semaphore::new(1));
        let app = Arc::new(App { config, registry, queue, metrics, device, source, is_stopping, explaining });
        Ok(Self {
            app,
            tls: None,
            more: Router::new(),
            #[cfg(feature = "grpc")]
            grpc: None,
            watch,
            workers,
        })
    }

    /// Shows callers a certificate; connections are then TLS alone.
    #[must_use]
    pub fn with_tls(self, tls: Tls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Answers other routes too, for a service of one's own. They are not counted, logged or asked for a token.
    ///
    /// # Panics
    /// When a route is one of the server's own.
    #[must_use]
    pub fn with_routes(mut self, routes: Router) -> Self {
        self.more = self.more.merge(routes);
        self
    }

    /// Answers gRPC too, in the form of KServe V2, to who connects there: `proto/kserve.proto`. Limits, token and TLS are those of HTTP.
    #[cfg(feature = "grpc")]
    #[must_use]
    pub fn with_grpc(self, listener: TcpListener) -> Self {
        Self { grpc: Some(listener), ..self }
    }

    /// The routes, to be merged into a service of one's own, which then limits connections itself. The server has to live as long.
    pub fn router(&self) -> Router {
        routes::router(&self.app)
    }

    /// Names and versions of the models that are served.
    pub fn models(&self) -> Vec<(String, String)> {
        let told = self.app.registry.describe();
        let text = |value: &serde_json::Value| value.as_str().map(String::from);
        told.iter().filter_map(|model| Some((text(&model["name"])?, text(&model["version"])?))).collect()
    }

    /// Answers until `stop` is done, and then what was asked before.
    ///
    /// # Errors
    /// A certificate that cannot be used.
    pub async fn run(self, listener: TcpListener, stop: impl Future<Output = ()>) -> Result<()> {
        #[cfg(feature = "grpc")]
        let grpc = self.grpc;
        let Self { app, tls, more, watch, workers, .. } = self;
        let acceptor = |protocol: &[u8]| tls.as_ref().map(|tls| tls.acceptor(&[protocol])).transpose();
        let limits = app.config.limits.clone();
        let open = Arc::new(Semaphore::new(limits.connections));
        #[cfg(feature = "grpc")]
        let messages = Connections {
            app: app.clone(),
            router: crate::grpc::router(&app),
            acceptor: acceptor(b"h2")?,
            open: open.clone(),
            speaks: Protocol::Http2,
        };
        let connections = Connections {
            app: app.clone(),
            router: more.merge(routes::router(&app)),
            acceptor: acceptor(b"http/1.1")?,
            open,
            speaks: Protocol::Http1,
        };
        // the next connection, of whichever listener
        let next = async |graceful: &GracefulShutdown| {
            #[cfg(feature = "grpc")]
            if let Some(grpc) = &grpc {
                return tokio::select! {
                    () = connections.take(&listener, graceful) => {}
                    () = messages.take(grpc, graceful) => {}
                };
            }
            connections.take(&listener, graceful).await;
        };
        let graceful = GracefulShutdown::new();
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                () = next(&graceful) => {}
            }
        }
        app.is_stopping.store(true, Ordering::Relaxed);
        tracing::info!("stopping: what was asked is answered");
        _ = timeout(limits.drain, async {
            loop {
                next(&graceful).await;
            }
        })
        .await;
        while timeout(LAST_CALL, next(&graceful)).await.is_ok() {}
        drop(listener);
        #[cfg(feature = "grpc")]
        drop((grpc, messages));
        if timeout(limits.stop, graceful.shutdown()).await.is_err() {
            tracing::warn!("some connections were still open after {:?} and are closed", limits.stop);
        }
        drop(connections);
        let ended = tokio::task::spawn_blocking(move || drop((watch, workers)));
        _ = ended.await; // a thread that panicked has said so
        Ok(())
    }
}

/// What serves connections.
struct Connections {
    app: Arc<App>,
    router: Router,
    acceptor: Option<TlsAcceptor>,
    open: Arc<Semaphore>,
    speaks: Protocol,
}

/// What is spoken on a listener.
#[derive(Clone, Copy)]
enum Protocol {
    Http1,
    #[cfg(feature = "grpc")]
    Http2,
}

impl Connections {
    /// Takes the next connection once there is room for it, and serves it beside the others.
    async fn take(&self, listener: &TcpListener, graceful: &GracefulShutdown) {
        let Ok(room) = self.open.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("a connection cannot be taken: {error}");
                return sleep(Duration::from_millis(50)).await; // no more files, as a rule: they come back
            }
        };
        _ = stream.set_nodelay(true);
        let (app, router, acceptor) = (self.app.clone(), self.router.clone(), self.acceptor.clone());
        let speaks = self.speaks;
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            app.metrics.connections.inc();
            serve(&app, (router, speaks), acceptor, stream, watcher).await;
            app.metrics.connections.dec();
            drop(room);
        });
    }
}

async fn serve(
    app: &App,
    router: (Router, Protocol),
    acceptor: Option<TlsAcceptor>,
    stream: TcpStream,
    watcher: Watcher,
) {
    let within = app.config.limits.read;
    match acceptor {
        None => serve_plain(within, router, stream, watcher).await,
        Some(acceptor) => match timeout(within, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => serve_plain(within, router, stream, watcher).await,
            Ok(Err(error)) => tracing::debug!("no TLS: {error}"),
            Err(_) => tracing::debug!("no TLS within {within:?}"),
        },
    }
}

async fn serve_plain(
    within: Duration,
    (router, speaks): (Router, Protocol),
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    watcher: Watcher,
) {
    match speaks {
        #[cfg(feature = "grpc")]
        Protocol::Http2 => return crate::grpc::serve(within, router, stream, watcher).await,
        Protocol::Http1 => {}
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(within)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!("connection: {error}");
    }
}

/// Binds an address.
///
/// # Errors
/// An address that is taken, or none of this machine's.
pub async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|source| Error::System { action: "listen there", source })
}
