//! Requests of many callers: what they share, what they wait for, and how they end.

use crate::common::*;
use serde_json::json;
use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;
use stem_serve::ServeConfig;

/// The number behind a name in the metrics.
fn metric(server: &Running, name: &str) -> f64 {
    let text = server.client().get("/metrics").text();
    let line =
        text.lines().find(|line| line.split(' ').next() == Some(name)).unwrap_or_else(|| panic!("{name} in\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn requests_that_are_scored_together_have_the_scores_that_they_have_alone() {
    let models = Models::new(&["shop"]);
    let predictor = models.predictor("shop");
    let mut config = ServeConfig::default();
    (config.batch.wait, config.batch.rows) = (Duration::from_millis(10), 300);
    let server = start(models.folder.path(), config);
    thread::scope(|scope| {
        for caller in 0..12 {
            let (server, predictor) = (&server, &predictor);
            scope.spawn(move || {
                let mut client = server.client();
                for i in 0..20 {
                    let rows = rows(caller * 100 + i..caller * 100 + i + 1 + (caller * 7 + i * 13) % 60);
                    let answer = client.score(&json!({ "rows": rows }));
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    assert!(same(&bits(&answer.json()), &expected(predictor, &rows)), "caller {caller}, request {i}");
                }
            });
        }
    });
    let (requests, batches) =
        (metric(&server, "stem_batch_requests_sum"), metric(&server, "stem_batch_requests_count"));
    assert_eq!(requests, 240.0);
    assert!(batches < 120.0, "{batches} batches of {requests} requests: they were not put together");
}

#[test]
fn a_full_queue_is_said_at_once_and_what_waits_is_answered() {
    let models = Models::new(&["shop"]);
    let mut config = ServeConfig::default();
    (config.batch.wait, config.batch.queue_rows, config.limits.rows) = (Duration::from_millis(800), 10, 10);
    let server = start(models.folder.path(), config);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| server.client().score(&json!({ "rows": rows(0..8) })));
        while metric(&server, "stem_queue_rows") < 8.0 {
            thread::sleep(Duration::from_millis(5));
        }
        let refused = server.client().score(&json!({ "rows": rows(0..3) }));
        assert_eq!((refused.status, refused.kind().as_str()), (503, "busy"));
        assert_eq!(refused.header("retry-after").as_deref(), Some("1"));
        assert_eq!(server.client().score(&json!({ "rows": rows(0..2) })).status, 200, "there is room for two");
        assert_eq!(waiting.join().unwrap().status, 200);
    });
    assert_eq!(metric(&server, "stem_rejected_total{kind=\"busy\"}"), 1.0);
    assert_eq!(metric(&server, "stem_queue_rows"), 0.0);
}

#[test]
fn an_answer_that_takes_too_long_is_given_up() {
    let models = Models::new(&["shop"]);
    let mut config = ServeConfig::default();
    (config.batch.wait, config.limits.answer) = (Duration::from_micros(10), Duration::from_micros(500));
    let server = start(models.folder.path(), config);
    let answer = server.client().score(&json!({ "rows": rows(0..10_000) }));
    assert_eq!((answer.status, answer.kind().as_str()), (504, "slow-answer"));
    assert_eq!(server.client().get("/healthz").status, 200);
}

#[test]
fn a_stop_answers_what_was_asked_and_takes_nothing_more() {
    let models = Models::new(&["shop"]);
    let predictor = models.predictor("shop");
    let mut config = ServeConfig::default();
    config.batch.wait = Duration::from_millis(600);
    let mut server = start(models.folder.path(), config);
    let address = server.address;
    let callers: Vec<_> = (0..20)
        .map(|i| thread::spawn(move || Client::new(address).score(&json!({ "rows": rows(i..i + 5) }))))
        .collect();
    while metric(&server, "stem_queue_requests") < 20.0 {
        thread::sleep(Duration::from_millis(2));
    }
    server.ask_to_stop();
    for (i, caller) in callers.into_iter().enumerate() {
        let answer = caller.join().unwrap();
        assert_eq!(answer.status, 200, "request {i}: {}", answer.text());
        assert!(same(&bits(&answer.json()), &expected(&predictor, &rows(i..i + 5))), "request {i}");
    }
    server.end();
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn a_request_that_is_still_arriving_at_a_stop_is_answered() {
    let models = Models::new(&["shop"]);
    let mut server = start(models.folder.path(), ServeConfig::default());
    let body = json!({ "rows": rows(0..5) }).to_string();
    let mut stream = TcpStream::connect(server.address).unwrap();
    let head = format!("POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), &body.as_bytes()[..9]].concat()).unwrap();
    thread::sleep(Duration::from_millis(200));
    server.ask_to_stop();
    thread::sleep(Duration::from_millis(400));
    stream.write_all(&body.as_bytes()[9..]).unwrap();
    assert_eq!(read_answer(&mut stream).unwrap().status, 200);
    server.end();
}

#[test]
fn while_it_drains_it_is_not_ready_and_still_answers() {
    let models = Models::new(&["shop"]);
    let mut config = ServeConfig::default();
    config.limits.drain = Duration::from_millis(700);
    let mut server = start(models.folder.path(), config);
    assert_eq!(server.client().get("/readyz").status, 200);
    server.ask_to_stop();
    while server.client().get("/readyz").status == 200 {
        thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(server.client().get("/healthz").status, 200);
    assert_eq!(server.client().score(&json!({ "rows": rows(0..3) })).status, 200);
    server.end();
}
