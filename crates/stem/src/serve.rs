//! `stem serve`: answers requests for scores over HTTP.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use stem_core::bundle::Verify;
use stem_serve::{ServeConfig, Server, Split, Tls, Token};
use tokio::sync::watch;

use crate::args::DeviceArgs;
use crate::console::{Console, Result};
use crate::exit::Exit;

/// Variables that hold tokens where no file is named.
const TOKEN: &str = "STEM_TOKEN";
const ADMIN_TOKEN: &str = "STEM_ADMIN_TOKEN";

/// Serves bundles over HTTP: scores, rankings, a page, metrics
///
/// Prints the address it listens on. Ctrl-C or SIGTERM ends it once what was asked is answered, with exit code 0; a second one ends it at
/// once.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  stem serve --bundle out/train
  stem serve --bundle models --listen 0.0.0.0:8080 --token-file token --admin-token-file admin-token
  stem serve --bundle models --split user:new=10,old=90 --shadow old=new
  curl -d '{\"rows\": [{\"user\": 7, \"item\": 21}]}' http://127.0.0.1:8080/v1/score")]
pub(crate) struct Args {
    /// Bundle, folder of a run, or folder of bundles NAME.safetensors, each of which is a model of that name
    #[arg(long, value_name = "FILE|FOLDER")]
    bundle: PathBuf,
    /// Address to listen on; port 0 is any that is free. By default this machine alone reaches it
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Address to answer gRPC on too, in the form of KServe V2
    #[cfg(feature = "grpc")]
    #[arg(long, value_name = "ADDRESS")]
    grpc_listen: Option<SocketAddr>,
    /// Seconds after which files are looked at again for newer bundles; 0 is never
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    watch: Duration,
    /// A second model scores what NAME is asked; differences are counted in /metrics, never answered
    #[arg(long, value_name = "NAME=OTHER", value_parser = pair)]
    shadow: Vec<(String, String)>,
    /// Requests that name no model are split by a column's value: a user always has the same model
    #[arg(long, value_name = "COLUMN:NAME=SHARE,...")]
    split: Option<Split>,
    #[command(flatten)]
    batch: BatchArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// How requests are put together.
#[derive(clap::Args)]
#[command(next_help_heading = "Batches")]
struct BatchArgs {
    /// How long the first request of a batch waits for others, e.g. 1ms
    #[arg(long, value_name = "TIME", default_value = "1ms", value_parser = time)]
    batch_wait: Duration,
    /// Rows with which a batch waits no longer
    #[arg(long, value_name = "ROWS", default_value_t = ServeConfig::default().batch.rows)]
    batch_rows: usize,
    /// Rows that may wait; requests beyond are answered 503
    #[arg(long, value_name = "ROWS", default_value_t = ServeConfig::default().batch.queue_rows)]
    queue_rows: usize,
    /// Threads that score. By default as many as there are cores
    #[arg(long, value_name = "THREADS")]
    workers: Option<usize>,
}

/// What a request may cost.
#[derive(clap::Args)]
#[command(next_help_heading = "Limits")]
struct LimitArgs {
    /// Bytes of a request's body
    #[arg(long, value_name = "BYTES", default_value_t = ServeConfig::default().limits.body_bytes)]
    max_body: usize,
    /// Rows of a request
    #[arg(long, value_name = "ROWS", default_value_t = ServeConfig::default().limits.rows)]
    max_rows: usize,
    /// Lists and objects inside each other
    #[arg(long, value_name = "DEPTH", default_value_t = ServeConfig::default().limits.depth)]
    max_depth: usize,
    /// Bytes of a bundle that is sent
    #[arg(long, value_name = "BYTES", default_value_t = ServeConfig::default().limits.bundle_bytes)]
    max_bundle: usize,
    /// Connections at a time; more wait
    #[arg(long, value_name = "N", default_value_t = ServeConfig::default().limits.connections)]
    max_connections: usize,
    /// Time in which a request's head, and again its body, has to arrive
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    read_timeout: Duration,
    /// Time in which a request has to be answered
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    answer_timeout: Duration,
    /// Time that a stop takes at most
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    stop_timeout: Duration,
    /// Time in which a stopping server is not ready and still takes requests, for balancers to notice
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = time)]
    drain: Duration,
}

/// Who is trusted.
#[derive(clap::Args)]
#[command(next_help_heading = "Trust")]
struct TrustArgs {
    /// File with the token that requests have to show. By default the variable STEM_TOKEN; without both, none is asked for
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// File with the token that swaps of models have to show. By default the variable STEM_ADMIN_TOKEN; without both, nobody may
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// How much of a bundle is checked before it serves: full, header or none. Full serves a private copy; the others map the file where it
    /// lies: replace it by renaming, never in place
    #[arg(long, default_value_t)]
    verify: Verify,
    /// Certificate as PEM, with those above it: connections are TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key as PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, console: &Console) -> Result {
    let config = args.config()?;
    let reaches_far = !args.addresses().all(|address| address.ip().is_loopback());
    let is_open = config.token.is_none() && reaches_far;
    let mut server = Server::open(&args.bundle, config, &args.device.device.open()?)?;
    if let (Some(cert), Some(key)) = (&args.trust.tls_cert, &args.trust.tls_key) {
        server = server.with_tls(Tls { cert: cert.clone(), key: key.clone() });
    }
    let stopped = stop_once()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = listen(args.listen).await?;
        let scheme = if args.trust.tls_cert.is_some() { "https" } else { "http" };
        let address = format!("{scheme}://{}", listener.local_addr()?);
        if is_open {
            tracing::warn!("everybody who reaches {address} may score: name a token with --token-file or {TOKEN}");
        }
        let models: BTreeMap<String, String> = server.models().into_iter().collect();
        let names = models.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        #[cfg_attr(not(feature = "grpc"), allow(unused_mut))]
        let (mut told, mut also) = (json!({ "listening": address, "models": models }), String::new());
        #[cfg(feature = "grpc")]
        if let Some(address) = args.grpc_listen {
            let listener = listen(address).await?;
            let address = listener.local_addr()?.to_string();
            also = format!(", gRPC on {address}");
            told["grpc"] = address.into();
            server = server.with_grpc(listener);
        }
        console.answer(&told, || format!("listening on {address}{also}, serving {names}"))?;
        server.run(listener, stop(stopped)).await?;
        Ok(())
    })
}

async fn listen(address: SocketAddr) -> Result<tokio::net::TcpListener> {
    let told = |error| format!("{address}: {}", stem_core::with_causes(&error)).into();
    stem_serve::listen(address).await.map_err(told)
}

impl Args {
    /// All addresses to listen on.
    fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let all = [self.listen];
        #[cfg(feature = "grpc")]
        let all = all.into_iter().chain(self.grpc_listen);
        all.into_iter()
    }

    /// The settings that the command line and the environment ask for.
    ///
    /// # Errors
    /// Settings that do not fit, and tokens that cannot be read.
    fn config(&self) -> Result<ServeConfig> {
        let mut config = ServeConfig::default();
        config.batch.wait = self.batch.batch_wait;
        config.batch.rows = self.batch.batch_rows;
        config.batch.queue_rows = self.batch.queue_rows.max(self.limits.max_rows);
        config.batch.workers = self.batch.workers.unwrap_or(config.batch.workers);
        config.limits.body_bytes = self.limits.max_body;
        config.limits.rows = self.limits.max_rows;
        config.limits.depth = self.limits.max_depth;
        config.limits.bundle_bytes = self.limits.max_bundle;
        config.limits.connections = self.limits.max_connections;
        config.limits.read = self.limits.read_timeout;
        config.limits.answer = self.limits.answer_timeout;
        config.limits.stop = self.limits.stop_timeout;
        config.limits.drain = self.limits.drain;
        config.verify = self.trust.verify;
        config.shadow = self.shadow.iter().cloned().collect();
        config.split = self.split.clone();
        config.watch = Some(self.watch).filter(|every| !every.is_zero());
        config.token = token(self.trust.token_file.as_deref(), TOKEN)?;
        config.admin_token = token(self.trust.admin_token_file.as_deref(), ADMIN_TOKEN)?;
        config.check()?;
        Ok(config)
    }
}

/// A token from a file, else from the environment.
fn token(file: Option<&Path>, variable: &str) -> Result<Option<Token>> {
    match (file, std::env::var(variable)) {
        (Some(file), _) => Ok(Some(Token::read(file)?)),
        (None, Ok(text)) => Ok(Some(Token::new(&text, variable)?)),
        (None, Err(_)) => Ok(None),
    }
}

/// Told by the first signal; the second ends the program.
fn stop_once() -> Result<watch::Receiver<bool>> {
    let (tell, told) = watch::channel(false);
    ctrlc::set_handler(move || {
        if tell.send_replace(true) {
            std::process::exit(Exit::Interrupted as i32);
        }
    })?;
    Ok(told)
}

async fn stop(mut told: watch::Receiver<bool>) {
    if told.wait_for(|is_told| *is_told).await.is_err() {
        std::future::pending::<()>().await; // there is no handler that could tell
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, other) = text.split_once('=').ok_or("expected NAME=OTHER")?;
    Ok((name.into(), other.into()))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "expected seconds, e.g. 1 or 0.5".into())
}

/// A time with its unit: us, ms, s or min.
fn time(text: &str) -> Result<Duration, String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[number.len()..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "min" => 60.0,
        _ => f64::NAN,
    };
    let seconds = number.parse::<f64>().map(|number| number * unit).ok();
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| "expected a time with its unit: 500us, 1ms, 10s, 2min".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(time("1ms"), Ok(Duration::from_millis(1)));
        assert_eq!(time("0.5s"), Ok(Duration::from_millis(500)));
        assert_eq!(time("2min"), Ok(Duration::from_secs(120)));
        for text in ["1", "ms", "-1s", "1h", "", "1e400s"] {
            assert!(time(text).is_err(), "{text}");
        }
        assert_eq!(seconds("0"), Ok(Duration::ZERO));
        assert!(seconds("-1").is_err() && seconds("x").is_err());
    }
}
