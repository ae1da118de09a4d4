//! In which form a request is, and in which its answer is wanted.

use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName};

use crate::request::{ARROW, BodyForm};

/// The form of a body; one that is not said to be Arrow is JSON.
pub(super) fn given(headers: &HeaderMap) -> BodyForm {
    form(headers, CONTENT_TYPE)
}

/// The form that is accepted: Arrow where it is named.
pub(super) fn wanted(headers: &HeaderMap) -> BodyForm {
    form(headers, ACCEPT)
}

fn form(headers: &HeaderMap, name: HeaderName) -> BodyForm {
    let mut named =
        headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let is_arrow = |one: &str| one.split(';').next().is_some_and(|one| one.trim().eq_ignore_ascii_case(ARROW));
    if named.any(is_arrow) { BodyForm::Arrow } else { BodyForm::Json }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_that_which_is_named_first_or_later() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, value.parse().unwrap());
            wanted(&headers)
        };
        assert_eq!(wanted(&HeaderMap::new()), BodyForm::Json);
        for json in ["*/*", "application/json", "application/vnd.apache.arrow.file"] {
            assert_eq!(of(json), BodyForm::Json, "{json}");
        }
        for arrow in [
            ARROW,
            "application/json, application/vnd.apache.arrow.stream;q=0.9",
            "Application/Vnd.Apache.Arrow.Stream",
        ] {
            assert_eq!(of(arrow), BodyForm::Arrow, "{arrow}");
        }
    }
}
