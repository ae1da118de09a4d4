//! gRPC in the KServe V2 form ("open inference protocol"): the same way of a request as over HTTP, behind other messages.

mod connection;
mod messages;
mod tensors;

use std::collections::HashSet;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use stem_core::{Field, FieldKind, Vocabulary};
use tokio::time::timeout;
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use crate::app::App;
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
            Status::unimplemented("this server has the methods of inference.GRPCInferenceService")
                .into_http::<AxumBody>()
        })
        .with_state(app.clone())
}

async fn server_live(State(app): State<Arc<App>>, request: Request) -> Response {
    answer(app, "ServerLive", false, request, |_, Nothing {}| async { Ok((Is { so: true }, 0)) }).await
}

async fn server_ready(State(app): State<Arc<App>>, request: Request) -> Response {
    answer(app, "ServerReady", false, request, |app, Nothing {}| async move { Ok((Is { so: app.is_ready() }, 0)) })
        .await
}

async fn model_ready(State(app): State<Arc<App>>, request: Request) -> Response {
    answer(app, "ModelReady", true, request, |app, of: ModelOf| async move {
        Ok((Is { so: model_of(&app, &of).is_ok() }, 0))
    })
    .await
}

async fn server_metadata(State(app): State<Arc<App>>, request: Request) -> Response {
    let metadata =
        || ServerMetadata { name: "stem".into(), version: env!("CARGO_PKG_VERSION").into(), extensions: Vec::new() };
    answer(app, "ServerMetadata", true, request, move |_, Nothing {}| async move { Ok((metadata(), 0)) }).await
}

async fn model_metadata(State(app): State<Arc<App>>, request: Request) -> Response {
    answer(app, "ModelMetadata", true, request, |app, of: ModelOf| async move {
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
    answer(app, "ModelInfer", true, request, |app, request: InferRequest| async move {
        let (id, wanted) = (request.id.clone(), request.outputs.iter().map(|one| one.name.clone()).collect::<Vec<_>>());
        let mut seen = HashSet::new();
        if let Some(twice) = wanted.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(Refusal::DuplicateKey { key: shortened(twice.clone()), row: None });
        }
        let tensors = Tensors::read(request, app.config.limits.rows)?;
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

/// The model that is meant, in that version where one is named.
fn model_of(app: &App, of: &ModelOf) -> Result<Arc<Model>, Refusal> {
    let model = if of.name.is_empty() { app.registry.only()? } else { app.registry.get(&of.name)? };
    model.check_version(Some(of.version.as_str()).filter(|version| !version.is_empty()))?;
    Ok(model)
}

/// Answers a request with what `work` makes of its message, and the rows that it had.
async fn answer<Q, A, W, F>(
    app: Arc<App>,
    method: &'static str,
    wants_token: bool,
    request: Request,
    work: W,
) -> Response
where
    Q: prost::Message + Default + Send + 'static,
    A: prost::Message + Default + Send + 'static,
    W: FnOnce(Arc<App>, Q) -> F + Send + 'static,
    F: Future<Output = Result<(A, usize), Refusal>> + Send + 'static,
{
    let begun = Instant::now();
    let has_token = app.config.token.as_ref().is_none_or(|token| !wants_token || token.is_shown(request.headers()));
    let id = crate::routes::id_of(&request);
    let route = format!("/inference.GRPCInferenceService/{method}");
    if !has_token {
        // before anything of the message is read
        let outcome = Outcome::of(&Refusal::Unauthorized);
        told(&app, (&id, &route), (outcome.status, outcome.kind, outcome.rows), begun.elapsed());
        return of_refusal(&Refusal::Unauthorized).into_http::<AxumBody>();
    }
    let limits = &app.config.limits;
    // what tonic refuses itself never comes to the work: no message, or one that is too large
    let outcome = Arc::new(Mutex::new(Outcome { status: 400, kind: Some("body"), rows: 0 }));
    let service = Unary { app: app.clone(), work: Some(work), outcome: outcome.clone(), message: PhantomData };
    let mut grpc = Grpc::new(ProstCodec::default()).max_decoding_message_size(limits.body_bytes);
    let all = limits.read + limits.answer;
    let late = Refusal::SlowRequest { seconds: limits.read.as_secs_f64() };
    let response = timeout(all, grpc.unary(service, request)).await;
    let outcome = match &response {
        Ok(_) => *outcome.lock().unwrap_or_else(PoisonError::into_inner),
        Err(_) => Outcome::of(&late),
    };
    told(&app, (&id, &route), (outcome.status, outcome.kind, outcome.rows), begun.elapsed());
    response.unwrap_or_else(|_| of_refusal(&late).into_http()).map(AxumBody::new)
}

/// What became of a request, for metrics and log.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    status: u16,
    kind: Option<&'static str>,
    rows: usize,
}

impl Outcome {
    fn of(refusal: &Refusal) -> Self {
        Self { status: refusal.status().as_u16(), kind: Some(refusal.kind()), rows: 0 }
    }
}

/// One call.
struct Unary<Q, W> {
    app: Arc<App>,
    work: Option<W>,
    outcome: Arc<Mutex<Outcome>>,
    message: PhantomData<fn(Q)>,
}

impl<Q, A, W, F> UnaryService<Q> for Unary<Q, W>
where
    Q: Send + 'static,
    A: Send + 'static,
    W: FnOnce(Arc<App>, Q) -> F + Send + 'static,
    F: Future<Output = Result<(A, usize), Refusal>> + Send + 'static,
{
    type Response = A;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<A>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Q>) -> Self::Future {
        let (app, work, outcome) = (self.app.clone(), self.work.take(), self.outcome.clone());
        Box::pin(async move {
            let made = match work {
                Some(work) => work(app, request.into_inner()).await,
                None => Err(Refusal::Internal), // it is called once
            };
            let (became, answer) = match made {
                Ok((message, rows)) => (Outcome { status: 200, kind: None, rows }, Ok(tonic::Response::new(message))),
                Err(refusal) => (Outcome::of(&refusal), Err(of_refusal(&refusal))),
            };
            *outcome.lock().unwrap_or_else(PoisonError::into_inner) = became;
            answer
        })
    }
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
