//! gRPC in the KServe V2 form ("open inference protocol"): the same way of a request as over HTTP, behind other messages.

mod connection;
mod frame;
mod messages;
mod tensors;

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use stem_core::{Field, FieldKind, Vocabulary};
use tonic::{Code, Status};

use crate::app::{App, SMALL, reading};
use crate::models::Model;
use crate::refusal::{Refusal, shortened};
use crate::request::Body;
use crate::routes::told;
pub(crate) use connection::serve;
use messages::{
    Contents, InferRequest, InferResponse, Is, ModelMetadata, ModelOf, Nothing, ServerMetadata, Tensor, TensorMetadata,
};
pub(crate) use tensors::Tensors;

/// All methods, at `/inference.GRPCInferenceService/METHOD`.
pub(crate) fn router(app: &Arc<App>) -> Router {
    let route = |method: &str| format!("/inference.GRPCInferenceService/{method}");
    Router::new()
        .route(&route("ServerLive"), post(server_live))
        .route(&route("ServerReady"), post(server_ready))
        .route(&route("ModelReady"), post(model_ready))
        .route(&route("ServerMetadata"), post(server_metadata))
        .route(&route("ModelMetadata"), post(model_metadata))
        .route(&route("ModelInfer"), post(model_infer))
        .fallback(|| async {
            let message = "this server has the methods of inference.GRPCInferenceService";
            Status::unimplemented(format!("{}: {message}", Refusal::NotFound.kind())).into_http::<AxumBody>()
        })
        .with_state(app.clone())
}

async fn server_live(State(app): State<Arc<App>>, request: Request) -> Response {
    answer(app, ("ServerLive", false), request, decoded, |_, Nothing {}| async { Ok((Is { so: true }, 0)) }).await
}

async fn server_ready(State(app): State<Arc<App>>, request: Request) -> Response {
    let is_ready = async |app: Arc<App>, Nothing {}| Ok((Is { so: app.is_ready() }, 0));
    answer(app, ("ServerReady", false), request, decoded, is_ready).await
}

async fn model_ready(State(app): State<Arc<App>>, request: Request) -> Response {
    answer(app, ("ModelReady", true), request, decoded, |app, of: ModelOf| async move {
        Ok((Is { so: model_of(&app, &of).is_ok() }, 0))
    })
    .await
}

async fn server_metadata(State(app): State<Arc<App>>, request: Request) -> Response {
    let metadata =
        || ServerMetadata { name: "stem".into(), version: env!("CARGO_PKG_VERSION").into(), extensions: Vec::new() };
    answer(app, ("ServerMetadata", true), request, decoded, move |_, Nothing {}| async move { Ok((metadata(), 0)) })
        .await
}

async fn model_metadata(State(app): State<Arc<App>>, request: Request) -> Response {
    answer(app, ("ModelMetadata", true), request, decoded, |app, of: ModelOf| async move {
        let model = model_of(&app, &of)?;
        let (schema, vocabularies) = (model.predictor.schema(), model.predictor.vocabularies());
        let of_column = |column: &str| {
            let field = schema.fields.iter().find(|field| field.columns().iter().any(|one| one == column));
            let (datatype, shape) =
                field.map_or(("BYTES", vec![-1]), |field| form_of(field, &vocabularies[field.vocabulary]));
            TensorMetadata { name: column.into(), datatype: datatype.into(), shape }
        };
        let output = |task: &stem_core::Task| TensorMetadata {
            name: task.name.clone(),
            datatype: "FP32".into(),
            shape: vec![-1],
        };
        let metadata = ModelMetadata {
            name: model.name.clone(),
            versions: vec![model.version.clone()],
            platform: "stem".into(),
            inputs: schema.columns().into_iter().map(of_column).collect(),
            outputs: schema.tasks.iter().map(output).collect(),
        };
        Ok((metadata, 0))
    })
    .await
}

/// The type and shape that a field's values have as a rule; others that the field takes are taken.
fn form_of(field: &Field, vocabulary: &Vocabulary) -> (&'static str, Vec<i64>) {
    let is_plain = field.transforms.is_empty() && field.columns().len() == 1;
    let keys = if is_plain && matches!(vocabulary, Vocabulary::Integers(_)) { "INT64" } else { "BYTES" };
    match &field.kind {
        FieldKind::Number { .. } if is_plain => ("FP64", vec![-1]),
        FieldKind::Vector { len } => ("FP32", vec![-1, *len as i64]),
        FieldKind::Sequence { .. } if field.separator.is_none() => (keys, vec![-1, -1]),
        FieldKind::Sequence { .. } => ("BYTES", vec![-1]),
        _ => (keys, vec![-1]),
    }
}

async fn model_infer(State(app): State<Arc<App>>, request: Request) -> Response {
    answer(app, ("ModelInfer", true), request, asked, |app, Asked { id, wanted, tensors }| async move {
        let answer = app.answer(Body::Tensors(tensors), false, |_, _| Ok(())).await?;
        let tasks = &answer.model.predictor.schema().tasks;
        let output = |name: &String| {
            let place = tasks.iter().position(|task| task.name == *name).ok_or_else(|| {
                let known = answer.model.predictor.schema().task_names().join(", ");
                Refusal::UnknownTask { task: shortened(name.clone()), known }
            })?;
            let floats = answer.scores.iter().skip(place).step_by(tasks.len()).copied().collect();
            Ok(Tensor {
                name: name.clone(),
                datatype: "FP32".into(),
                shape: vec![answer.rows as i64],
                contents: Some(Box::new(Contents { floats, ..Contents::default() })),
                ..Tensor::default()
            })
        };
        let all = answer.model.predictor.schema().task_names();
        let wanted = if wanted.is_empty() { &all } else { &wanted };
        let outputs = wanted.iter().map(output).collect::<Result<_, Refusal>>()?;
        let (model_name, model_version) = (answer.model.name.clone(), answer.model.version.clone());
        Ok((InferResponse { model_name, model_version, id, outputs, ..InferResponse::default() }, answer.rows))
    })
    .await
}

/// What a request for scores is taken apart into.
struct Asked {
    id: String,
    /// The tasks whose scores are asked for.
    wanted: Vec<String>,
    tensors: Tensors,
}

fn asked(app: &App, message: &[u8]) -> Result<Asked, Refusal> {
    frame::check_parts(message)?;
    let request: InferRequest = decoded(app, message)?;
    let (id, wanted) = (request.id.clone(), request.outputs.iter().map(|one| one.name.clone()).collect::<Vec<_>>());
    let mut seen = HashSet::new();
    if let Some(twice) = wanted.iter().find(|name| !seen.insert(name.as_str())) {
        return Err(Refusal::DuplicateKey { key: shortened(twice.clone()), row: None });
    }
    Ok(Asked { id, wanted, tensors: Tensors::read(request, app.config.limits.rows)? })
}

/// The model that is meant, in that version where one is named.
fn model_of(app: &App, of: &ModelOf) -> Result<Arc<Model>, Refusal> {
    let model = if of.name.is_empty() { app.registry.only()? } else { app.registry.get(&of.name)? };
    model.check_version(Some(of.version.as_str()).filter(|version| !version.is_empty()))?;
    Ok(model)
}

/// Answers a request with what `work` makes of its message, and the rows that it had. `read` makes something of the message's bytes first; what
/// panics there is this request alone.
async fn answer<R, A, F>(
    app: Arc<App>,
    (method, wants_token): (&'static str, bool),
    request: Request,
    read: fn(&App, &[u8]) -> Result<R, Refusal>,
    work: impl FnOnce(Arc<App>, R) -> F,
) -> Response
where
    R: Send + 'static,
    A: prost::Message,
    F: Future<Output = Result<(A, usize), Refusal>>,
{
    let begun = Instant::now();
    let has_token = app.config.token.as_ref().is_none_or(|token| !wants_token || token.is_shown(request.headers()));
    let id = crate::routes::id_of(&request);
    let route = format!("/inference.GRPCInferenceService/{method}");
    let answered = async {
        if !has_token {
            return Err(Refusal::Unauthorized); // before anything of the message is read
        }
        let (head, body) = request.into_parts();
        let limits = &app.config.limits;
        let message = frame::read(&head.headers, body, limits.body_bytes, limits.read).await?;
        let (is_small, own) = (message.len() <= SMALL, app.clone());
        let given = reading(is_small, move || read(&own, &message)).await?;
        work(app.clone(), given).await
    };
    let (status, kind, rows, response) = match answered.await {
        Ok((message, rows)) => (200, None, rows, frame::response(&message)),
        Err(refusal) => (refusal.status().as_u16(), Some(refusal.kind()), 0, of_refusal(&refusal).into_http()),
    };
    told(&app, (&id, &route), (status, kind, rows), begun.elapsed());
    response
}

/// A message, which is all that is read.
fn decoded<Q: prost::Message + Default>(_: &App, message: &[u8]) -> Result<Q, Refusal> {
    Q::decode(message).map_err(|error| Refusal::Body { what: error.to_string() })
}

/// `KIND: MESSAGE`, with the code that is next to the status of HTTP.
fn of_refusal(refusal: &Refusal) -> Status {
    let code = match refusal.status() {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Code::DeadlineExceeded,
        StatusCode::PAYLOAD_TOO_LARGE => Code::ResourceExhausted,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        StatusCode::INTERNAL_SERVER_ERROR => Code::Internal,
        _ => Code::InvalidArgument,
    };
    Status::new(code, format!("{}: {refusal}", refusal.kind()))
}
