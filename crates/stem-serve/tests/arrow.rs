//! Requests and answers as Arrow IPC streams: the scores of JSON.
#![cfg(feature = "arrow")]

use std::collections::HashMap;
use std::sync::Arc;

use crate::common::*;
use arrow_array::builder::{Int64Builder, ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, UInt64Type};
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{Field, Schema};
use serde_json::{Value as Json, json};
use stem_core::Cells;
use stem_serve::ServeConfig;

const ARROW: &str = "application/vnd.apache.arrow.stream";

/// Rows of the test's models, and the same as JSON.
fn table(range: std::ops::Range<usize>) -> (Vec<(&'static str, ArrayRef)>, Json) {
    let of = |i: usize| [vec!["a", "b"], vec!["c"], vec![], vec!["zzz"], vec!["c", "b", "a", "c"]][i % 5].clone();
    let mut tags = ListBuilder::new(StringBuilder::new());
    range.clone().for_each(|i| tags.append_value(of(i).into_iter().map(Some)));
    let users: Int64Array = range.clone().map(|i| (!i.is_multiple_of(7)).then_some(i as i64 % 103)).collect();
    let ages: Float64Array = range.clone().map(|i| Some(i as f64 / 7.0)).collect();
    let row =
        |i: usize| json!({ "user": (!i.is_multiple_of(7)).then_some(i % 103), "tags": of(i), "age": i as f64 / 7.0 });
    let rows = range.map(row).collect();
    (vec![("user", Arc::new(users)), ("tags", Arc::new(tags.finish())), ("age", Arc::new(ages))], Json::Array(rows))
}

fn stream(columns: &[(&str, ArrayRef)], settings: Json, rows_of_batch: usize) -> Vec<u8> {
    let fields = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
    let metadata = HashMap::from([("stem.request".to_string(), settings.to_string())]);
    let schema = Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), metadata));
    let arrays = columns.iter().map(|(_, array)| array.clone()).collect();
    let batch = RecordBatch::try_new(schema.clone(), arrays).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    for from in (0..batch.num_rows()).step_by(rows_of_batch) {
        writer.write(&batch.slice(from, rows_of_batch.min(batch.num_rows() - from))).unwrap();
    }
    writer.into_inner().unwrap()
}

fn ask(client: &mut Client, path: &str, body: &[u8], accept: bool) -> Answer {
    let accept = if accept { format!("accept: {ARROW}\r\n") } else { String::new() };
    client.ask("POST", path, &format!("content-type: {ARROW}\r\n{accept}"), body).unwrap()
}

fn read(answer: &Answer) -> RecordBatch {
    assert_eq!((answer.status, answer.header("content-type").as_deref()), (200, Some(ARROW)), "{answer:?}");
    StreamReader::try_new(&answer.body[..], None).unwrap().next().unwrap().unwrap()
}

#[test]
fn scores_in_arrow_are_those_in_json_bit_for_bit() {
    let models = Models::new(&["shop"]);
    let predictor = models.predictor("shop");
    let server = start(&models.path("shop"), ServeConfig::default());
    for (range, rows_of_batch) in [(0..1, 1), (0..500, 500), (0..999, 100), (0..10_000, 4096)] {
        let (columns, rows) = table(range);
        let body = stream(&columns, json!({}), rows_of_batch);
        let expected = expected(&predictor, &rows);
        let mut client = server.client(); // after what may take a device long: who says nothing meanwhile is cut
        assert!(same(&bits(&ask(&mut client, "/v1/score", &body, false).json()), &expected), "answered in JSON");
        let told = read(&ask(&mut client, "/v1/score", &body, true));
        assert_eq!(told.schema().metadata()["stem.version"], predictor.checksum()[..12]);
        let of = |task: &str| told.column_by_name(task).unwrap().as_primitive::<Float32Type>().values().to_vec();
        let found = of("like").into_iter().zip(of("love")).flat_map(|(like, love)| [like.to_bits(), love.to_bits()]);
        assert!(same(&found.collect::<Vec<_>>(), &expected));
    }
    let (columns, _) = table(0..40);
    let settings = json!({ "shared": { "user": 7, "age": null }, "model": "shop" });
    let body = stream(&columns[1..2], settings, 40);
    let tags: Vec<Json> = table(0..40).1.as_array().unwrap().iter().map(|row| row["tags"].clone()).collect();
    let mut client = server.client();
    let json = client.score(&json!({ "shared": { "user": 7, "age": null }, "columns": { "tags": tags } }));
    assert_eq!(bits(&ask(&mut client, "/v1/score", &body, false).json()), bits(&json.json()));
    let json = client.ask("POST", "/v1/score", &format!("accept: {ARROW}\r\n"), br#"{"rows": []}"#).unwrap();
    assert_eq!(read(&json).num_rows(), 0, "JSON may be answered in Arrow too");
}

#[test]
fn a_ranking_in_arrow_is_that_in_json_and_rows_are_explained_alike() {
    let models = Models::new(&["shop"]);
    let server = start(&models.path("shop"), ServeConfig::default());
    let mut client = server.client();
    let (columns, rows) = table(0..60);
    let body = stream(&columns, json!({ "top_k": 7, "weights": { "like": 1, "love": -0.5 } }), 60);
    let told = read(&ask(&mut client, "/v1/rank", &body, true));
    let asked = json!({ "rows": rows, "top_k": 7, "weights": { "like": 1, "love": -0.5 } });
    let json = client.post("/v1/rank", asked.to_string()).json();
    let indices = told.column(0).as_primitive::<UInt64Type>().values().to_vec();
    assert_eq!(json["indices"], json!(indices));
    assert_eq!(json["scores"], json!(told.column(1).as_primitive::<Float64Type>().values().to_vec()));
    let (columns, rows) = table(3..5);
    let arrow = ask(&mut client, "/v1/explain", &stream(&columns, json!({}), 2), false);
    assert_eq!(arrow.json(), client.post("/v1/explain", json!({ "rows": rows }).to_string()).json());
}

#[test]
fn what_is_no_table_of_the_model_is_refused_by_name() {
    let models = Models::new(&["shop"]);
    let mut config = ServeConfig::default();
    config.limits.rows = 100;
    let server = start(&models.path("shop"), config);
    let mut client = server.client();
    let (columns, _) = table(0..20);
    let whole = stream(&columns, json!({}), 20);
    let cases = [
        (b"{\"rows\": []}".to_vec(), 400, "body"),
        (whole[..whole.len() / 2].to_vec(), 400, "body"),
        (stream(&table(0..101).0, json!({}), 50), 413, "too-many-rows"),
        (stream(&columns[..2], json!({}), 20), 400, "missing-column"),
        (stream(&columns, json!({ "model": "none" }), 20), 404, "unknown-model"),
        (stream(&columns, json!({ "top_k": 3 }), 20), 400, "unknown-key"),
    ];
    for (body, status, kind) in cases {
        let answer = ask(&mut client, "/v1/score", &body, true);
        assert_eq!((answer.status, answer.kind().as_str()), (status, kind), "{}", answer.text());
    }
    assert_eq!(read(&ask(&mut client, "/v1/score", &whole, true)).num_rows(), 20);
}

#[test]
fn lists_that_belong_together_have_one_length_in_arrow_too() {
    let models = Models::new(&["shop"]);
    save_of(&models.path("shop"), 3, &json!({}), with_marks());
    let server = start(&models.path("shop"), ServeConfig::default());
    let mut client = server.client();
    let asked = |lengths: [usize; 2]| {
        let (mut columns, _) = table(0..2); // two tags, and one
        let mut marks = ListBuilder::new(Int64Builder::new());
        lengths.into_iter().for_each(|length| marks.append_value(std::iter::repeat_n(Some(5), length)));
        columns.push(("marks", Arc::new(marks.finish())));
        stream(&columns, json!({}), 2)
    };
    assert_eq!(read(&ask(&mut client, "/v1/score", &asked([2, 1]), true)).num_rows(), 2);
    let answer = ask(&mut client, "/v1/score", &asked([2, 3]), true);
    assert_eq!((answer.status, answer.kind().as_str()), (400, "beside"), "{}", answer.text());
    let told = "field 'marks', row 1: 3 values, and 'tags', which it stands beside, has 1: expected one for each";
    assert_eq!(answer.json()["error"]["message"], told);
}

#[test]
fn arrays_in_process_score_as_values_do() {
    let models = Models::new(&["shop"]);
    let predictor = models.predictor("shop");
    let (columns, rows) = table(0..999);
    let mut request = predictor.request(999);
    for (name, array) in columns {
        request = request.column(name, Cells::arrow(name, array).unwrap());
    }
    let mut scores = vec![9.0];
    request.score_into(&mut scores).unwrap();
    let found: Vec<u32> = scores.into_iter().map(f32::to_bits).collect();
    assert!(same(&found, &expected(&predictor, &rows)));
}
