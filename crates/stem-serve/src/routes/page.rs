//! The page that shows what is served, and what the API is. All of it is in the program.

use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

/// Nothing from elsewhere, no script but the page's own.
const POLICY: &str = "default-src 'none'; img-src data:; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn text(form: &'static str, text: &'static str) -> Response {
    let (form, policy) = (HeaderValue::from_static(form), HeaderValue::from_static(POLICY));
    ([(CONTENT_TYPE, form), (CONTENT_SECURITY_POLICY, policy)], text).into_response()
}

pub(super) async fn page() -> Response {
    text("text/html; charset=utf-8", include_str!("page.html"))
}

pub(super) async fn script() -> Response {
    text("text/javascript; charset=utf-8", include_str!("page.js"))
}

pub(super) async fn style() -> Response {
    text("text/css; charset=utf-8", include_str!("page.css"))
}

pub(super) async fn openapi() -> Response {
    text("application/json", include_str!("openapi.json"))
}
