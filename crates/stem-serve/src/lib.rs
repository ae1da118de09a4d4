//! A server for trained bundles: scores and ranks over HTTP, batches across callers, and swaps models while it runs.
//!
//! ```no_run
//! use stem_serve::{ServeConfig, Server};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let device = stem_core::DeviceSpec::default().open()?;
//! let server = Server::open("out/train", ServeConfig::default(), &device)?;
//! let listener = stem_serve::listen("127.0.0.1:8080".parse()?).await?;
//! server.run(listener, std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//! curl -d '{"rows": [{"user": 7, "item": 21}]}' http://127.0.0.1:8080/v1/score
//! ```
//!
//! # The way of a request
//!
//! | step | module |
//! |---|---|
//! | connection, TLS, head | `server`, `tls` |
//! | token, id, log, metrics | `routes`, `token`, `metrics` |
//! | body, as far as it may go | `body` |
//! | settings, then rows of the model that is meant | `request` |
//! | which model: by name, the only one, by a split | `models`, `app` |
//! | ids and weights, then into the queue | `app`, `queue` |
//! | one batch of several requests, scored | `queue` |
//! | the same over gRPC (feature `grpc`) | `grpc` |
//! | the answer, or what it was refused for | `routes`, [`Refusal`] |
//!
//! A request takes its model once, by one pointer, and keeps it to its end: every answer comes from one whole bundle, whatever is swapped
//! meanwhile. `docs/serving.md` tells how a server is run, `docs/security.md` what it trusts.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod config;
mod token;
mod error;
mod json;
mod refusal;
mod request;
mod metrics;
mod models;
mod queue;
mod app;
mod body;
mod routes;
#[cfg(feature = "grpc")]
mod grpc;
mod tls;
mod server;

pub use config::{Batching, Limits, ServeConfig, Split};
pub use error::{Error, Result};
pub use refusal::Refusal;
pub use server::{Server, listen};
pub use tls::Tls;
pub use token::Token;
