//! Scores and rankings.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::ser::{Serialize, SerializeMap, Serializer};

use stem_core::{Explanation, Ranked};

#[cfg(feature = "arrow")]
use super::arrow;
use super::{RowsOf, form};
use crate::app::{Answer, App};
use crate::body::read_all;
use crate::json::json;
use crate::models::Model;
use crate::refusal::Refusal;
#[cfg(feature = "arrow")]
use crate::request::BodyForm;
use crate::request::{Body, Head};

pub(super) async fn score(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    let wanted = form::wanted(request.headers());
    let answer = answer(&app, request, false, |_, _| Ok(())).await?;
    match wanted {
        #[cfg(feature = "arrow")]
        BodyForm::Arrow => arrow::scores(&answer),
        _ => Ok(told(&Told { model: &answer.model, what: Scores(&answer) }, answer.rows)),
    }
}

pub(super) async fn rank(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    let wanted = form::wanted(request.headers());
    let answer = answer(&app, request, true, |head, model| Ok(head.ranking.check(model.predictor.schema())?)).await?;
    let ranked = answer.head.ranking.rank(answer.model.predictor.schema(), &answer.scores);
    match wanted {
        #[cfg(feature = "arrow")]
        BodyForm::Arrow => arrow::ranked(&answer, ranked),
        _ => Ok(told(&Told { model: &answer.model, what: ranked }, answer.rows)),
    }
}

/// Rows that one request may have explained: each takes a forward for every field.
const EXPLAINED: usize = 16;

pub(super) async fn explain(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    let limits = &app.config.limits;
    let body = read_all(&head.headers, body, limits.body_bytes, limits.read).await?;
    let body = Body::Bytes(form::given(&head.headers), body);
    let (model, rows) = app.explain(body, EXPLAINED.min(limits.rows)).await?;
    Ok(told(&Told { model: &model, what: Explained(&rows) }, rows.len()))
}

/// `[{"scores": {TASK: p}, "fields": [{"field", "tasks": {TASK: difference}}], "gates": [{TASK: [weight, ...]}]}, ...]`
struct Explained<'a>(&'a [Explanation]);

impl What for Explained<'_> {
    fn tell<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("rows", self.0)
    }
}

async fn answer(
    app: &Arc<App>,
    request: Request,
    for_ranking: bool,
    is_sound: fn(&Head, &Model) -> Result<(), Refusal>,
) -> Result<Answer, Refusal> {
    let (head, body) = request.into_parts();
    let limits = &app.config.limits;
    let body = read_all(&head.headers, body, limits.body_bytes, limits.read).await?;
    app.answer(Body::Bytes(form::given(&head.headers), body), for_ranking, is_sound).await
}

/// An answer with the model that gave it.
struct Told<'a, W> {
    model: &'a Model,
    what: W,
}

trait What {
    fn tell<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error>;
}

impl<W: What> Serialize for Told<'_, W> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("model", &self.model.name)?;
        map.serialize_entry("version", &self.model.version)?;
        self.what.tell(&mut map)?;
        map.end()
    }
}

/// `{TASK: [p, ...], ...}`
struct Scores<'a>(&'a Answer);

impl What for Scores<'_> {
    fn tell<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("scores", self)
    }
}

impl Serialize for Scores<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Answer { model, scores, .. } = self.0;
        let tasks = &model.predictor.schema().tasks;
        let column = |(place, task): (usize, &'_ stem_core::Task)| {
            (task.name.clone(), OfTask { scores, place, tasks: tasks.len() })
        };
        serializer.collect_map(tasks.iter().enumerate().map(column))
    }
}

/// The scores of one task, row by row.
struct OfTask<'a> {
    scores: &'a [f32],
    place: usize,
    tasks: usize,
}

impl Serialize for OfTask<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.scores.iter().skip(self.place).step_by(self.tasks))
    }
}

impl What for Ranked {
    fn tell<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("indices", &self.indices)?;
        map.serialize_entry("scores", &self.scores)
    }
}

fn told(value: &impl Serialize, rows: usize) -> Response {
    let mut response = json(StatusCode::OK, value);
    response.extensions_mut().insert(RowsOf(rows));
    response
}
