//! What is served, and what is to be served from now on.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use tokio::task::spawn_blocking;

use crate::app::App;
use crate::body::{read, read_all};
use crate::json::json;
use crate::models::check_name;
use crate::refusal::Refusal;

pub(super) async fn models(State(app): State<Arc<App>>) -> Response {
    let split = app.config.split.as_ref().map(|split| json!({ "column": split.column, "shares": split.shares }));
    json(
        StatusCode::OK,
        &json!({ "models": app.registry.describe(), "split": split, "shadow": app.config.shadow, "limits": {
        "body_bytes": app.config.limits.body_bytes, "rows": app.config.limits.rows, "depth": app.config.limits.depth
    } }),
    )
}

/// A bundle that lies where the server can read it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    path: PathBuf,
}

/// `{"path": FILE}`, or the bytes of a bundle.
pub(super) async fn swap(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    check_name(&name)?;
    let (head, body) = request.into_parts();
    let limits = &app.config.limits;
    let is_json = head.headers.get(CONTENT_TYPE).is_some_and(|form| form.as_bytes().starts_with(b"application/json"));
    let shared = app.clone();
    let loaded = if is_json {
        let body = read_all(&head.headers, body, limits.body_bytes, limits.read).await?;
        let Named { path } =
            serde_json::from_slice(&body).map_err(|error| Refusal::Body { what: error.to_string() })?;
        spawn_blocking(move || shared.registry.load(&name, &path, &shared.device)).await
    } else {
        let place = app.source.place(&name);
        let failed = |error: std::io::Error| {
            tracing::error!("a bundle that was sent cannot be kept: {error}");
            Refusal::Internal
        };
        let folder =
            place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
        let mut sent = tempfile::Builder::new().prefix(".sent-").tempfile_in(folder).map_err(failed)?;
        read(&head.headers, body, limits.bundle_bytes, limits.upload, |piece| sent.write_all(&piece).map_err(failed))
            .await?;
        spawn_blocking(move || shared.registry.load_sent(&name, sent, &place, &shared.device)).await
    };
    let model = loaded.unwrap_or(Err(Refusal::Internal))?;
    Ok(json(StatusCode::OK, &json!({ "model": model.name, "version": model.version })))
}
