//! What can be asked, and what happens around every question: its id, its token, its line in the log.

mod admin;
#[cfg(feature = "arrow")]
mod arrow;
mod form;
mod page;
mod score;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;

use crate::app::App;
use crate::refusal::{Kind, Refusal};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Rows of a request, beside its answer, for the log.
#[derive(Clone, Copy)]
struct RowsOf(usize);

/// All routes.
pub(crate) fn router(app: &Arc<App>) -> Router {
    let method = || async { Refusal::Method };
    let with_token = Router::new()
        .route("/v1/score", post(score::score).fallback(method))
        .route("/v1/rank", post(score::rank).fallback(method))
        .route("/v1/explain", post(score::explain).fallback(method))
        .route("/v1/models", get(admin::models).fallback(method))
        .route("/metrics", get(metrics).fallback(method))
        .route_layer(from_fn_with_state(app.clone(), with_token));
    let with_admin_token = Router::new()
        .route("/v1/models/{name}", post(admin::swap).fallback(method))
        .route_layer(from_fn_with_state(app.clone(), with_admin_token));
    Router::new()
        .merge(with_token)
        .merge(with_admin_token)
        .route("/healthz", get(|| async { "ok\n" }).fallback(method))
        .route("/readyz", get(ready).fallback(method))
        .route("/openapi.json", get(page::openapi).fallback(method))
        .route("/", get(page::page).fallback(method))
        .route("/page.js", get(page::script).fallback(method))
        .route("/page.css", get(page::style).fallback(method))
        .fallback(|| async { Refusal::NotFound })
        .layer(from_fn(guarded))
        .layer(from_fn_with_state(app.clone(), observed))
        .with_state(app.clone())
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    match app.is_ready() {
        true => "ready\n".into_response(),
        false => crate::json::json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "ready": false })),
    }
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(CONTENT_TYPE, format)], app.metrics.text()).into_response()
}

async fn with_token(State(app): State<Arc<App>>, request: Request, next: Next) -> Result<Response, Refusal> {
    match &app.config.token {
        Some(token) if !token.is_shown(request.headers()) => Err(Refusal::Unauthorized),
        _ => Ok(next.run(request).await),
    }
}

async fn with_admin_token(State(app): State<Arc<App>>, request: Request, next: Next) -> Result<Response, Refusal> {
    match &app.config.admin_token {
        None => Err(Refusal::Forbidden {
            what: "models are not swapped over HTTP here: start the server with an admin token",
        }),
        Some(token) if !token.is_shown(request.headers()) => Err(Refusal::Unauthorized),
        Some(_) => Ok(next.run(request).await),
    }
}

/// Says to browsers what an answer is not.
async fn guarded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Counts a request and tells it to the log: what it was and how long it took, never what was in it.
async fn observed(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or("other".into(), |path| path.as_str().to_string());
    let id = id_of(&request);
    let mut response = next.run(request).await;
    let (status, after) = (response.status().as_u16(), begun.elapsed());
    let kind = response.extensions().get::<Kind>().map(|kind| kind.0);
    let rows = response.extensions().get::<RowsOf>().map_or(0, |rows| rows.0);
    told(&app, (&id, &route), (status, kind, rows), after);
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Counts a request, and tells it to the log.
pub(crate) fn told(
    app: &App,
    (id, route): (&HeaderValue, &str),
    (status, kind, rows): (u16, Option<&str>, usize),
    after: Duration,
) {
    app.metrics.answered(route, status, kind, after);
    let milliseconds = (after.as_secs_f64() * 1e5).round() / 100.0;
    let (request, kind) = (id.to_str().unwrap_or_default(), kind.unwrap_or_default());
    if status >= 500 {
        tracing::warn!(request, route, status, kind, rows, milliseconds, "answered");
    } else {
        tracing::info!(request, route, status, kind, rows, milliseconds, "answered");
    }
}

/// The id that a caller gave, if it is a plain one, or the next of this server's.
pub(crate) fn id_of(request: &Request) -> HeaderValue {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let is_plain = |id: &&HeaderValue| {
        (1..=64).contains(&id.len())
            && id.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
    };
    if let Some(id) = request.headers().get(REQUEST_ID).filter(is_plain) {
        return id.clone();
    }
    static BEGUN: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    let begun =
        BEGUN.get_or_init(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64));
    let id = format!("{begun:x}-{:x}", NEXT.fetch_add(1, Ordering::Relaxed));
    HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("none"))
}
