//! What a request is refused for: a status, a kind that programs read, a message that people read.

use axum::http::StatusCode;
use axum::http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use stem_core::RankFault;

/// Why a request has no answer. In JSON: `{"error": {"kind", "message", ...}}` with the variant's fields.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The body is no JSON, or not a request.
    #[error("the body does not read: {what}")]
    Body {
        /// What is wrong, and where.
        what: String,
    },
    /// A body in a form that this server does not read.
    #[error("this server reads no {found}: it was built without the feature `arrow`; send JSON")]
    ContentType {
        /// The content type.
        found: &'static str,
    },
    /// Lists and objects inside each other without end.
    #[error("the body has lists and objects more than {limit} deep")]
    TooDeep {
        /// As deep as they may be.
        limit: usize,
    },
    /// The same key twice in one object.
    #[error("the key '{key}' is there twice{}", at(*row))]
    DuplicateKey {
        /// The key.
        key: String,
        /// Row, counted from 0.
        row: Option<usize>,
    },
    /// A key of the request that means nothing.
    #[error("a request has no key '{key}'{}; it may have {known}", near(nearest))]
    UnknownKey {
        /// The key.
        key: String,
        /// The key most like it, if any is.
        nearest: Option<String>,
        /// All keys.
        known: String,
    },
    /// Neither rows nor columns.
    #[error(
        "the request has no rows: expected \"rows\": [{{COLUMN: VALUE, ...}}, ...], or \"shared\": {{...}} and \"columns\": {{COLUMN: [VALUE, ...]}}"
    )]
    NoRows,
    /// A column that the model does not read.
    #[error("the model reads no column '{column}'{}; leave it out, or say \"ignore_unknown\": true", near(nearest))]
    UnknownColumn {
        /// The column.
        column: String,
        /// Row, counted from 0; none of a column that all rows share.
        row: Option<usize>,
        /// The column most like it, if any is.
        nearest: Option<String>,
    },
    /// A column that the model reads and a row lacks.
    #[error("row {row} has no column '{column}'; the model reads: {columns}")]
    MissingColumn {
        /// The column.
        column: String,
        /// Row, counted from 0.
        row: usize,
        /// All columns that are read.
        columns: String,
    },
    /// A value of a type that the column cannot take.
    #[error("column '{column}'{}: expected {expected}, found {found}", at(*row))]
    WrongType {
        /// The column.
        column: String,
        /// Row, counted from 0; none of a value that all rows share.
        row: Option<usize>,
        /// What the column takes.
        expected: String,
        /// What was there.
        found: String,
    },
    /// Columns that do not belong to the same rows.
    #[error("column '{column}' has {found} values, the others have {expected}")]
    Length {
        /// The column.
        column: String,
        /// Its values.
        found: usize,
        /// Those of the columns before it.
        expected: usize,
    },
    /// Two lists of a row that belong together, of different lengths.
    #[error(
        "field '{field}', row {row}: {found} values, and '{of}', which it stands beside, has {expected}: expected one for each"
    )]
    Beside {
        /// The field.
        field: String,
        /// Row, counted from 0.
        row: usize,
        /// Its values, as far as they are read.
        found: usize,
        /// The field that it stands beside.
        of: String,
        /// The values of that one.
        expected: usize,
    },
    /// More rows than a request may have.
    #[error("a request may have {limit} rows: send several")]
    TooManyRows {
        /// So many it may have.
        limit: usize,
    },
    /// A body larger than it may be.
    #[error("a body may have {limit} bytes")]
    TooLarge {
        /// So many it may have.
        limit: usize,
    },
    /// A model that is not served.
    #[error("there is no model '{name}'; known are: {known}")]
    UnknownModel {
        /// As asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// Several models, and none named.
    #[error("several models are served: name one with \"model\"; known are: {known}")]
    NoModelNamed {
        /// All names.
        known: String,
    },
    /// The request's rows belong to several values of the column that decides the model.
    #[error(
        "'{column}' decides the model, and the rows hold several values of it: send them apart, or name a \"model\""
    )]
    SeveralModels {
        /// The column.
        column: String,
    },
    /// A task that the model does not have.
    #[error("the model has no task '{task}'; known are: {known}")]
    UnknownTask {
        /// As asked for.
        task: String,
        /// All tasks.
        known: String,
    },
    /// A setting of the request that cannot be followed.
    #[error("\"{key}\" is {found}, expected {expected}")]
    Setting {
        /// The key.
        key: String,
        /// What stands there.
        found: String,
        /// What may stand there.
        expected: String,
    },
    /// No token, or a wrong one.
    #[error("the request needs a token: Authorization: Bearer TOKEN")]
    Unauthorized,
    /// What this server does for nobody.
    #[error("{what}")]
    Forbidden {
        /// What, and how it could be had.
        what: &'static str,
    },
    /// A bundle that is not taken.
    #[error("the bundle is refused, the model before it serves on: {reason}")]
    Bundle {
        /// Which check it did not pass.
        reason: String,
    },
    /// A name that no model may have.
    #[error("'{name}' cannot be a model's name: expected 1 to 64 of A-Z a-z 0-9 . _ -, not beginning with a dot")]
    Name {
        /// The name.
        name: String,
    },
    /// A request that did not arrive in time.
    #[error("the request did not arrive within {seconds} s")]
    SlowRequest {
        /// The time it had.
        seconds: f64,
    },
    /// A request that was cut off.
    #[error("the request ended before it was whole")]
    Cut,
    /// An answer that was not there in time.
    #[error("the answer was not there within {seconds} s")]
    SlowAnswer {
        /// The time it had.
        seconds: f64,
    },
    /// More waits than may wait.
    #[error("{rows} rows wait already: try again in a second")]
    Busy {
        /// Rows that wait.
        rows: usize,
    },
    /// The server is going away.
    #[error("the server is stopping")]
    Stopping,
    /// No such route.
    #[error("there is nothing here; /openapi.json tells what there is")]
    NotFound,
    /// Another method is meant.
    #[error("this method is not for this route; /openapi.json tells what there is")]
    Method,
    /// A fault of the server.
    #[error("the server failed; its log tells more")]
    Internal,
}

fn at(row: Option<usize>) -> String {
    row.map_or_else(String::new, |row| format!(", row {row}"))
}

fn near(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |nearest| format!(", did you mean '{nearest}'?"))
}

impl Refusal {
    /// What programs tell refusals by.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Body { .. } => "body",
            Self::ContentType { .. } => "content-type",
            Self::TooDeep { .. } => "too-deep",
            Self::DuplicateKey { .. } => "duplicate-key",
            Self::UnknownKey { .. } => "unknown-key",
            Self::NoRows => "no-rows",
            Self::UnknownColumn { .. } => "unknown-column",
            Self::MissingColumn { .. } => "missing-column",
            Self::WrongType { .. } => "wrong-type",
            Self::Length { .. } => "length",
            Self::Beside { .. } => "beside",
            Self::TooManyRows { .. } => "too-many-rows",
            Self::TooLarge { .. } => "too-large",
            Self::UnknownModel { .. } => "unknown-model",
            Self::NoModelNamed { .. } => "no-model-named",
            Self::SeveralModels { .. } => "several-models",
            Self::UnknownTask { .. } => "unknown-task",
            Self::Setting { .. } => "setting",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden { .. } => "forbidden",
            Self::Bundle { .. } => "bundle",
            Self::Name { .. } => "name",
            Self::SlowRequest { .. } => "slow-request",
            Self::Cut => "cut",
            Self::SlowAnswer { .. } => "slow-answer",
            Self::Busy { .. } => "busy",
            Self::Stopping => "stopping",
            Self::NotFound => "not-found",
            Self::Method => "method",
            Self::Internal => "internal",
        }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooManyRows { .. } | Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ContentType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UnknownModel { .. } | Self::NotFound => StatusCode::NOT_FOUND,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::Bundle { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::SlowRequest { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::SlowAnswer { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Busy { .. } | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The fields of the variant, for programs.
    fn details(&self) -> Value {
        match self {
            Self::TooDeep { limit } | Self::TooManyRows { limit } | Self::TooLarge { limit } => {
                json!({ "limit": limit })
            }
            Self::DuplicateKey { key, row } => json!({ "key": key, "row": row }),
            Self::UnknownKey { key, nearest, .. } => json!({ "key": key, "nearest": nearest }),
            Self::UnknownColumn { column, row, nearest } => json!({ "column": column, "row": row, "nearest": nearest }),
            Self::MissingColumn { column, row, .. } => json!({ "column": column, "row": row }),
            Self::WrongType { column, row, expected, found } => {
                json!({ "column": column, "row": row, "expected": expected, "found": found })
            }
            Self::Length { column, found, expected } => {
                json!({ "column": column, "found": found, "expected": expected })
            }
            Self::Beside { field, row, found, of, expected } => {
                json!({ "field": field, "row": row, "found": found, "of": of, "expected": expected })
            }
            Self::UnknownModel { name, known } => json!({ "name": name, "known": known }),
            Self::NoModelNamed { known } => json!({ "known": known }),
            Self::SeveralModels { column } => json!({ "column": column }),
            Self::UnknownTask { task, known } => json!({ "task": task, "known": known }),
            Self::Setting { key, found, expected } => json!({ "key": key, "found": found, "expected": expected }),
            Self::Bundle { reason } => json!({ "reason": reason }),
            _ => Value::Null,
        }
    }
}

/// The model's refusals, of rows of a request.
impl From<stem_core::Error> for Refusal {
    fn from(error: stem_core::Error) -> Self {
        match error {
            stem_core::Error::MissingColumn { column, row, columns } => Self::MissingColumn { column, row, columns },
            stem_core::Error::ColumnType { column, expected, found } => {
                Self::WrongType { column, row: None, expected: expected.into(), found: shortened(found) }
            }
            stem_core::Error::Length { column, found, expected } => Self::Length { column, found, expected },
            stem_core::Error::Beside { field, row, found, of, expected } => {
                Self::Beside { field, row, found, of, expected }
            }
            stem_core::Error::Rank(fault) => fault.into(),
            stem_core::Error::WrongType { column, row, expected, found } => {
                Self::WrongType { column, row: Some(row), expected: expected.into(), found: shortened(found) }
            }
            other => {
                tracing::error!("{}", stem_core::with_causes(&other));
                Self::Internal
            }
        }
    }
}

/// A ranking that cannot be made of the model's scores.
impl From<RankFault> for Refusal {
    fn from(fault: RankFault) -> Self {
        match fault {
            RankFault::UnknownTask { task, known } => Self::UnknownTask { task: shortened(task), known },
            RankFault::Setting { key, found, expected } => Self::Setting { key, found, expected },
            other => {
                tracing::error!("{other}");
                Self::Internal
            }
        }
    }
}

/// What was found, which a request may make as long as it likes.
pub(crate) fn shortened(text: String) -> String {
    const MOST: usize = 100;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut error = Map::new();
        error.insert("kind".into(), self.kind().into());
        error.insert("message".into(), self.to_string().into());
        if let Value::Object(details) = self.details() {
            error.extend(details.into_iter().filter(|(_, value)| !value.is_null()));
        }
        let mut response = crate::json::json(self.status(), &json!({ "error": error }));
        match self {
            Self::Busy { .. } | Self::Stopping => {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Unauthorized => {
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response.extensions_mut().insert(Kind(self.kind()));
        response
    }
}

/// The kind of a refusal, beside its answer, for the metrics.
#[derive(Clone, Copy)]
pub(crate) struct Kind(pub(crate) &'static str);
