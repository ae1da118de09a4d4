//! Scores and refusals over HTTP.

use crate::common::*;
use serde_json::{Value as Json, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use stem_core::{Predictor, Row, Task, TaskKind};
use stem_serve::{ServeConfig, Token};

#[test]
fn scores_over_http_are_those_of_the_library_bit_for_bit() {
    let models = Models::new(&["shop"]);
    let predictor = models.predictor("shop");
    let server = start(&models.path("shop"), ServeConfig::default());
    let mut client = server.client();
    for range in [0..0, 0..1, 1..4, 0..50, 100..116, 0..999, 0..5000] {
        let rows = rows(range.clone());
        let answer = client.score(&json!({ "rows": rows }));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        assert_eq!((&answer["model"], &answer["version"]), (&json!("shop"), &json!(&predictor.checksum()[..12])));
        assert!(bits(&answer) == expected(&predictor, &rows), "{range:?}");
    }
    let tags: Vec<Json> = (0..40).map(|i| row(i)["tags"].clone()).collect();
    let columns = json!({ "shared": { "user": 7, "age": null }, "columns": { "tags": tags } });
    let same: Vec<Json> = tags.iter().map(|tags| json!({ "user": 7, "age": null, "tags": tags })).collect();
    assert!(bits(&client.score(&columns).json()) == expected(&predictor, &json!(same)));
    let extra = json!({ "rows": [{ "user": 1, "tags": "a", "age": 3, "colour": "red" }], "ignore_unknown": true });
    assert!(bits(&client.score(&extra).json()) == expected(&predictor, &json!([{ "user": 1, "tags": "a", "age": 3 }])));
}

#[test]
fn a_ranking_gives_the_best_rows_first() {
    let models = Models::new(&["shop"]);
    let server = start(&models.path("shop"), ServeConfig::default());
    let mut client = server.client();
    let rows = rows(0..60);
    let scores = client.score(&json!({ "rows": rows })).json();
    let p = |task: &str, row: usize| f64::from(scores["scores"][task][row].as_f64().unwrap() as f32);
    let mut rank = |more: Json, one: &dyn Fn(usize) -> f64| {
        let mut asked = json!({ "rows": rows, "top_k": 10 });
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = client.post("/v1/rank", asked.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut order: Vec<usize> = (0..60).collect();
        order.sort_by(|a, b| one(*b).total_cmp(&one(*a)));
        assert_eq!(answer.json()["indices"], json!(order[..10]), "{more}");
        let best = answer.json()["scores"][0].as_f64().unwrap();
        assert!((best - one(order[0])).abs() < 1e-12, "{best}, {}", one(order[0]));
    };
    rank(json!({}), &|row| p("like", row) + p("love", row));
    rank(json!({ "weights": { "like": 1.0, "love": -0.5 } }), &|row| p("like", row) - 0.5 * p("love", row));
    rank(json!({ "powers": { "like": 2, "love": 0.5 } }), &|row| p("like", row).powi(2) * p("love", row).sqrt());
    let answer = client.post("/v1/rank", json!({ "rows": rows, "weights": { "lov": 1 } }).to_string());
    assert_eq!((answer.status, answer.kind().as_str()), (400, "unknown-task"));
    assert_eq!(answer.json()["error"]["known"], "like, love");
    let ties = json!({ "shared": row(3), "columns": {}, "rows": [] });
    assert_eq!(client.post("/v1/rank", ties.to_string()).status, 400);
    let same = json!({ "rows": [row(3), row(3), row(3)], "top_k": 2 });
    assert_eq!(client.post("/v1/rank", same.to_string()).json()["indices"], json!([0, 1]));
}

#[test]
fn labels_that_are_numbers_are_served_in_their_units_and_ranked_by_weights_that_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.safetensors");
    let mut schema = schema();
    schema.tasks[1] = Task::new("milliseconds").of_kind(TaskKind::WatchTime { scale: 1000.0 });
    save_of(&path, 3, &json!({}), schema);
    let server = start(&path, ServeConfig::default());
    let mut client = server.client();
    assert_eq!(client.get("/v1/models").json()["models"][0]["kinds"], json!(["binary", "watch-time"]));
    let rows = rows(0..60);
    let told = client.score(&json!({ "rows": rows })).json();
    let expected =
        Predictor::open(&path, &device()).unwrap().predict(&serde_json::from_value::<Vec<Row>>(json!(rows)).unwrap());
    let expected: Vec<f32> = expected.unwrap().task("milliseconds").unwrap().collect();
    let of = |row: usize| told["scores"]["milliseconds"][row].as_f64().unwrap() as f32;
    assert!((0..60).all(|row| of(row) == expected[row]) && expected.iter().any(|score| *score > 1.0), "{expected:?}");
    let unnamed = client.post("/v1/rank", json!({ "rows": rows }).to_string());
    assert_eq!((unnamed.status, unnamed.kind().as_str()), (400, "setting"));
    assert!(unnamed.text().contains("'milliseconds' (watch-time)"), "{}", unnamed.text());
    let ranked =
        client.post("/v1/rank", json!({ "rows": rows, "weights": { "milliseconds": 1 }, "top_k": 1 }).to_string());
    let best = (0..60).max_by(|a, b| of(*a).total_cmp(&of(*b)).then(b.cmp(a))).unwrap();
    assert_eq!(ranked.json()["indices"], json!([best]));
}

#[test]
fn every_bad_request_is_refused_by_name_and_the_server_serves_on() {
    let models = Models::new(&["shop"]);
    let mut config = ServeConfig::default();
    (config.limits.rows, config.limits.body_bytes) = (10, 20_000);
    let server = start(&models.path("shop"), config);
    let mut client = server.client();
    let whole = r#"{"user": 1, "tags": "a", "age": 3}"#;
    let eleven = format!(r#"{{"rows": [{}]}}"#, [whole; 11].join(","));
    let deep = format!(r#"{{"rows": [{}{}]}}"#, "[".repeat(5000), "]".repeat(5000));
    let cases: Vec<(&str, u16, &str, Json)> = vec![
        ("", 400, "body", json!({})),
        ("[1]", 400, "body", json!({})),
        ("{\"rows\": [", 400, "body", json!({})),
        ("{\"rows\": []} x", 400, "body", json!({})),
        ("\u{0}\u{1}", 400, "body", json!({})),
        (r#"{"rows": [{"user": NaN, "tags": "a", "age": 3}]}"#, 400, "body", json!({})),
        (r#"{"rows": [{"user": 1, "tags": "a", "age": 1e999}]}"#, 400, "body", json!({})),
        (r#"{"rows": [{"user": 1, "tags": "\ud800", "age": 1}]}"#, 400, "body", json!({})),
        (r#"{"rows": 7}"#, 400, "body", json!({})),
        (r#"{"row": []}"#, 400, "unknown-key", json!({ "key": "row", "nearest": "rows" })),
        (r#"{"rows": [], "top_k": 3}"#, 400, "unknown-key", json!({ "key": "top_k" })),
        ("{}", 400, "no-rows", json!({})),
        (r#"{"rows": [], "rows": []}"#, 400, "duplicate-key", json!({ "key": "rows" })),
        (
            r#"{"rows": [{"user": 1, "user": 2, "tags": "a", "age": 3}]}"#,
            400,
            "duplicate-key",
            json!({ "key": "user", "row": 0 }),
        ),
        (&deep, 400, "too-deep", json!({ "limit": 8 })),
        (
            r#"{"rows": [{"user": {"id": 1}, "tags": "a", "age": 3}]}"#,
            400,
            "wrong-type",
            json!({ "column": "user", "row": 0 }),
        ),
        (
            r#"{"rows": [{"user": 1, "tags": [["a"]], "age": 3}]}"#,
            400,
            "wrong-type",
            json!({ "column": "tags", "row": 0 }),
        ),
        (
            r#"{"rows": [{"user": [1, 2], "tags": "a", "age": 3}]}"#,
            400,
            "wrong-type",
            json!({ "column": "user", "row": 0 }),
        ),
        (
            r#"{"rows": [{"user": 1, "tags": "a", "age": 3}, {"user": 1, "tags": "a", "age": "old"}]}"#,
            400,
            "wrong-type",
            json!({ "column": "age", "row": 1, "found": "\"old\"" }),
        ),
        (
            r#"{"rows": [{"user": 1, "tags": "a", "age": 1e300}]}"#,
            400,
            "wrong-type",
            json!({ "column": "age", "row": 0 }),
        ),
        (
            r#"{"rows": [{"user": "x", "tags": "a", "age": 1}]}"#,
            400,
            "wrong-type",
            json!({ "column": "user", "row": 0, "expected": "an integer" }),
        ),
        (
            r#"{"shared": {"user": 1, "age": "old"}, "columns": {"tags": ["a"]}}"#,
            400,
            "wrong-type",
            json!({ "column": "age" }),
        ),
        (r#"{"rows": [{"user": 1, "tags": "a"}]}"#, 400, "missing-column", json!({ "column": "age", "row": 0 })),
        (r#"{"columns": {"user": [1]}}"#, 400, "missing-column", json!({ "column": "tags" })),
        (
            r#"{"rows": [{"user": 1, "tags": "a", "age": 3, "aeg": 1}]}"#,
            400,
            "unknown-column",
            json!({ "column": "aeg", "row": 0, "nearest": "age" }),
        ),
        (
            r#"{"columns": {"user": [1, 2], "tags": ["a", "b"], "age": [3]}}"#,
            400,
            "length",
            json!({ "column": "age", "found": 1, "expected": 2 }),
        ),
        (&eleven, 413, "too-many-rows", json!({ "limit": 10 })),
        (r#"{"model": "other", "rows": []}"#, 404, "unknown-model", json!({ "name": "other", "known": "shop" })),
    ];
    for (body, status, kind, details) in cases {
        let answer = client.post("/v1/score", body);
        assert_eq!((answer.status, answer.kind().as_str()), (status, kind), "{body}: {}", answer.text());
        let error = &answer.json()["error"];
        assert!(error["message"].as_str().is_some_and(|message| message.len() > 10), "{error}");
        for (key, value) in details.as_object().unwrap() {
            assert_eq!(&error[key], value, "{body}: {error}");
        }
    }
    let answer = client.post("/v1/score", vec![b' '; 20_001]);
    assert_eq!((answer.status, answer.kind().as_str()), (413, "too-large"));
    let not_utf8 = client.post("/v1/score", b"{\"rows\": [{\"user\": \"\xff\"}]}");
    assert_eq!((not_utf8.status, not_utf8.kind().as_str()), (400, "body"));
    for (method, path, status, kind) in [
        ("GET", "/v1/score", 405, "method"),
        ("GET", "/nothing", 404, "not-found"),
        ("POST", "/v1/models/x", 403, "forbidden"),
    ] {
        let answer = client.ask(method, path, "", b"").unwrap();
        assert_eq!((answer.status, answer.kind().as_str()), (status, kind), "{path}");
    }
    let long = json!({ "rows": [{ "user": 1, "tags": vec!["a"; 4000], "age": 3 }] });
    let cut = json!([{ "user": 1, "tags": ["a", "a", "a"], "age": 3 }]);
    assert!(
        bits(&client.score(&long).json()) == expected(&models.predictor("shop"), &cut),
        "of a long list the first count"
    );
    let metrics = client.get("/metrics").text();
    assert!(metrics.contains("stem_rejected_total{kind=\"wrong-type\"} 7"), "{metrics}");
    assert!(metrics.contains("stem_requests_total{route=\"/v1/score\",status=\"413\"} 2"), "{metrics}");
    assert!(metrics.contains("stem_rows_scored_total{model=\"shop\"} 1"), "{metrics}");
}

#[test]
fn lists_of_a_row_that_belong_together_have_one_length() {
    let models = Models::new(&["shop"]);
    save_of(&models.path("shop"), 3, &json!({}), with_marks());
    let server = start(&models.path("shop"), ServeConfig::default());
    let mut client = server.client();
    let row = |tags: Json, marks: Json| json!({ "user": 1, "tags": tags, "age": 3, "marks": marks });
    let (sound, bad) = (row(json!("a|b"), json!([1, 2])), row(json!(["a", "b"]), json!([1])));
    assert_eq!(client.score(&json!({ "rows": [sound] })).status, 200);
    for (route, body, place) in [
        ("/v1/score", json!({ "rows": [sound, bad] }), 1),
        ("/v1/rank", json!({ "rows": [sound, sound, bad], "top_k": 1, "weights": { "like": 1 } }), 2),
        ("/v1/explain", json!({ "rows": [bad] }), 0),
        (
            "/v1/score",
            json!({ "shared": { "user": 1, "tags": "a|b" }, "columns": { "age": [3, 3], "marks": [[1, 2], [1]] } }),
            1,
        ),
        ("/v1/score", json!({ "shared": { "user": 1, "tags": "a|b", "marks": [1] }, "columns": { "age": [3, 3] } }), 0),
    ] {
        let answer = client.post(route, body.to_string());
        assert_eq!((answer.status, answer.kind().as_str()), (400, "beside"), "{route} {body}: {}", answer.text());
        let error = &answer.json()["error"];
        let (found, expected) = (error["found"].as_u64(), error["expected"].as_u64());
        assert_eq!((&error["field"], &error["of"], &error["row"]), (&json!("marks"), &json!("tags"), &json!(place)));
        assert_eq!((found, expected), (Some(1), Some(2)), "{body}: {error}");
    }
}

#[test]
fn what_is_served_is_told_and_counted() {
    let models = Models::new(&["shop"]);
    let server = start(models.folder.path(), ServeConfig::default());
    let mut client = server.client();
    for path in ["/healthz", "/readyz", "/", "/page.js", "/page.css", "/openapi.json"] {
        assert_eq!(client.get(path).status, 200, "{path}");
    }
    let told = client.get("/v1/models").json();
    let model = &told["models"][0];
    assert_eq!(model["name"], "shop");
    assert_eq!(model["tasks"], json!(["like", "love"]));
    assert_eq!(model["columns"], json!(["user", "tags", "age"]));
    assert_eq!((&model["golden"], &model["refused"], &model["swaps"]), (&json!("passed"), &Json::Null, &json!(0)));
    let example = client.score(&json!({ "rows": [model["example"]] }));
    assert_eq!(example.status, 200, "{}", example.text());
    client.score(&json!({ "rows": [{ "user": 999, "tags": "a|nope", "age": 1 }] }));
    let metrics = client.get("/metrics").text();
    for line in [
        "stem_unseen_values_total{field=\"user\",model=\"shop\"} 1",
        "stem_unseen_values_total{field=\"tags\",model=\"shop\"} 1",
        "stem_rows_scored_total{model=\"shop\"} 2",
        "stem_swaps_total{model=\"shop\",result=\"ok\"} 1",
        "stem_requests_total{route=\"/v1/score\",status=\"200\"} 2",
        "stem_batch_rows_count 2",
        "stem_queue_rows 0",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    let api = client.get("/openapi.json").json();
    for path in
        ["/v1/score", "/v1/rank", "/v1/explain", "/v1/models", "/v1/models/{name}", "/healthz", "/readyz", "/metrics"]
    {
        assert!(api["paths"][path].is_object(), "{path}");
    }
    let answer = client.ask("GET", "/healthz", "x-request-id: mine-7\r\n", b"").unwrap();
    assert_eq!(answer.header("x-request-id").as_deref(), Some("mine-7"));
    let answer = client.ask("GET", "/healthz", "x-request-id: not plain\r\n", b"").unwrap();
    assert!(answer.header("x-request-id").is_some_and(|id| id != "not plain"));
}

#[test]
fn rows_are_explained_as_the_library_explains_them() {
    let models = Models::new(&["shop"]);
    let server = start(&models.path("shop"), ServeConfig::default());
    let mut client = server.client();
    let ask = |client: &mut Client, rows: &Json| client.post("/v1/explain", json!({ "rows": rows }).to_string());
    let answer = ask(&mut client, &rows(0..3)).json();
    let rows_of: Vec<stem_core::Row> = serde_json::from_value(rows(0..3)).unwrap();
    let expected = serde_json::to_value(models.predictor("shop").explain(&rows_of).unwrap()).unwrap();
    let numbers = |value: &Json| -> Vec<f64> {
        let rows = value.as_array().unwrap().iter();
        rows.flat_map(|row| row["fields"].as_array().unwrap().iter().map(|f| f["tasks"]["like"].as_f64().unwrap()))
            .collect()
    };
    let (found, expected) = (numbers(&answer["rows"]), numbers(&expected));
    assert_eq!(found.len(), 3 * 3);
    assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} expected {expected:?}");
    assert!(found.iter().any(|added| added.abs() > 1e-4));
    assert_eq!(ask(&mut client, &rows(0..17)).kind(), "too-many-rows");
    assert_eq!(ask(&mut client, &json!([])).status, client.score(&json!({ "rows": [] })).status);
    assert_eq!(ask(&mut client, &json!([{ "user": 1 }])).kind(), "missing-column");
}

#[test]
fn who_shows_no_token_is_not_answered() {
    let models = Models::new(&["shop"]);
    let mut config = ServeConfig::default();
    config.token = Some(Token::new("reader", "a test").unwrap());
    config.admin_token = Some(Token::new("admin", "a test").unwrap());
    let server = start(models.folder.path(), config);
    for token in [None, Some("wrong"), Some("admin")] {
        let mut client = server.client();
        client.token = token.map(String::from);
        for path in ["/v1/models", "/metrics"] {
            let answer = client.get(path);
            assert_eq!((answer.status, answer.kind().as_str()), (401, "unauthorized"), "{path} {token:?}");
            assert_eq!(answer.header("www-authenticate").as_deref(), Some("Bearer"));
        }
        assert_eq!(client.score(&json!({ "rows": rows(0..1) })).status, 401);
        assert_eq!((client.get("/healthz").status, client.get("/readyz").status), (200, 200));
    }
    assert_eq!(server.client().with_token("reader").score(&json!({ "rows": rows(0..1) })).status, 200);
    let swap = json!({ "path": models.path("shop") }).to_string();
    let swapped = |token: &str| {
        let mut client = server.client().with_token(token);
        client.ask("POST", "/v1/models/shop", "content-type: application/json\r\n", swap.as_bytes()).unwrap().status
    };
    assert_eq!((swapped("reader"), swapped("admin")), (401, 200));
}

#[test]
fn a_slow_request_is_cut_and_others_are_answered_meanwhile() {
    let models = Models::new(&["shop"]);
    let mut config = ServeConfig::default();
    config.limits.read = Duration::from_millis(300);
    let server = start(models.folder.path(), config);
    let mut slow_body = TcpStream::connect(server.address).unwrap();
    slow_body.write_all(b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{").unwrap();
    let mut slow_head = TcpStream::connect(server.address).unwrap();
    slow_head.write_all(b"POST /v1/sco").unwrap();
    assert_eq!(server.client().score(&json!({ "rows": rows(0..3) })).status, 200);
    let begun = Instant::now();
    let answer = read_answer(&mut slow_body).unwrap();
    assert_eq!((answer.status, answer.kind().as_str()), (408, "slow-request"));
    for mut stream in [slow_body, slow_head] {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        _ = stream.read_to_end(&mut Vec::new()); // both are closed
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let mut cut = TcpStream::connect(server.address).unwrap();
    cut.write_all(b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{").unwrap();
    drop(cut);
    assert_eq!(server.client().score(&json!({ "rows": rows(0..3) })).status, 200);
}
