//! Answers as Arrow IPC streams.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, Float64Array, RecordBatch, UInt64Array};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use stem_core::Ranked;

use super::RowsOf;
use crate::app::Answer;
use crate::models::Model;
use crate::refusal::Refusal;
use crate::request::ARROW;

/// A column of floats for each task, row by row.
pub(super) fn scores(answer: &Answer) -> Result<Response, Refusal> {
    let tasks = answer.model.predictor.schema().task_names();
    let column = |(place, task): (usize, &String)| {
        let scores = answer.scores.iter().skip(place).step_by(tasks.len()).copied();
        (Field::new(task, DataType::Float32, false), Arc::new(scores.collect::<Float32Array>()) as ArrayRef)
    };
    told(&answer.model, tasks.iter().enumerate().map(column).unzip(), answer.rows)
}

/// The columns `index` and `score`, the best rows first.
pub(super) fn ranked(answer: &Answer, ranked: Ranked) -> Result<Response, Refusal> {
    let indices: UInt64Array = ranked.indices.into_iter().map(|index| index as u64).collect();
    let fields = vec![Field::new("index", DataType::UInt64, false), Field::new("score", DataType::Float64, false)];
    told(&answer.model, (fields, vec![Arc::new(indices), Arc::new(Float64Array::from(ranked.scores))]), answer.rows)
}

fn told(model: &Model, (fields, arrays): (Vec<Field>, Vec<ArrayRef>), rows: usize) -> Result<Response, Refusal> {
    let write = || -> Result<Vec<u8>, ArrowError> {
        let metadata = [("stem.model", &model.name), ("stem.version", &model.version)];
        let metadata: HashMap<String, String> = metadata.map(|(key, value)| (key.into(), value.clone())).into();
        let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
        let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
        writer.write(&RecordBatch::try_new(schema, arrays)?)?;
        writer.into_inner()
    };
    let stream = write().map_err(|error| {
        tracing::error!("an answer cannot be written: {error}");
        Refusal::Internal
    })?;
    let mut response = ([(CONTENT_TYPE, HeaderValue::from_static(ARROW))], stream).into_response();
    response.extensions_mut().insert(RowsOf(rows));
    Ok(response)
}
