//! `stem serve` as a user runs it: from the line that it prints to its end.
#![cfg(all(unix, feature = "serve"))]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::program::{Small, device, fails, run, stem, text};
use serde_json::{Value, json};
use stem_core::{DeviceSpec, Predictor, Row};

/// A program that runs; it is killed with a test that fails.
struct Serving {
    child: Child,
    address: String,
    told: Value,
}

impl Drop for Serving {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn serve(args: &[&str]) -> Serving {
    let device = device();
    let args = [&["serve", "--listen", "127.0.0.1:0", "--json", "--device", &device], args].concat();
    let mut child = stem(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let told: Value = serde_json::from_str(&line).unwrap_or_else(|e| {
        let mut why = String::new();
        child.stderr.as_mut().unwrap().read_to_string(&mut why).unwrap();
        panic!("{e}: {line}{why}")
    });
    let address = told["listening"].as_str().unwrap().strip_prefix("http://").unwrap().to_string();
    Serving { child, address, told }
}

impl Serving {
    /// Status and body of an answer; the connection is closed after it.
    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let length = body.len();
        let asked = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(asked.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_string())
    }

    /// Ends it by a signal; gives its exit code and what it logged.
    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), log)
    }
}

#[test]
fn a_trained_model_is_served_from_its_run_and_a_signal_ends_it_well() {
    let small = Small::new();
    let bundle = small.trained();
    let rows = json!([{ "user": 3, "item": 4 }, { "user": 999, "item": 4 }]);
    let predictor = Predictor::open(&bundle, &device().parse::<DeviceSpec>().unwrap().open().unwrap()).unwrap();
    let of_library: Vec<Row> = serde_json::from_value(rows.clone()).unwrap();
    let of_library = predictor.predict(&of_library).unwrap();
    for (signal, served) in [("-TERM", small.path("out")), ("-INT", bundle)] {
        let serving = serve(&["--bundle", &served]);
        assert_eq!(serving.told["models"]["bundle"], predictor.checksum()[..12]);
        let (status, body) = serving.ask("POST", "/v1/score", "", &json!({ "rows": rows }).to_string());
        assert_eq!(status, 200, "{body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        for task in ["a", "b"] {
            let scores = answer["scores"][task].as_array().unwrap().iter().map(|p| p.as_f64().unwrap() as f32);
            assert!(scores.eq(of_library.task(task).unwrap()), "{answer}");
        }
        let (code, log) = serving.end(signal);
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("route=\"/v1/score\"") && log.contains("status=200") && log.contains("rows=2"), "{log}");
        assert!(!log.contains("panicked") && !log.contains("999"), "nothing of a request is logged: {log}");
    }
}

#[test]
fn tokens_come_from_files_and_are_not_logged() {
    let small = Small::new();
    let bundle = small.trained();
    let token = small.write("token", "s3cret-of-readers\n");
    let serving = serve(&["--bundle", &bundle, "--token-file", &token, "-vv"]);
    assert_eq!(serving.ask("GET", "/v1/models", "", "").0, 401);
    let shown = "authorization: Bearer s3cret-of-readers\r\n";
    let (status, body) = serving.ask("GET", "/v1/models", shown, "");
    assert_eq!(status, 200, "{body}");
    let (code, log) = serving.end("-TERM");
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("s3cret"), "{log}");
}

#[test]
fn what_cannot_be_served_is_named() {
    let small = Small::new();
    let nothing = fails(&["serve", "--bundle", &small.path(""), "--listen", "127.0.0.1:0"]);
    assert!(nothing.contains("holds no NAME.safetensors"), "{nothing}");
    let text_file = small.write("model.safetensors", "no bundle");
    let no_bundle = fails(&["serve", "--bundle", &text_file, "--listen", "127.0.0.1:0"]);
    assert!(no_bundle.contains("model.safetensors cannot be served: it does not read as safetensors"), "{no_bundle}");
    let empty = small.write("empty", "\n");
    let no_token = fails(&["serve", "--bundle", &text_file, "--token-file", &empty]);
    assert!(no_token.contains("is empty"), "{no_token}");
    let usage = run(&["serve", "--bundle", "x", "--batch-wait", "5"]);
    assert_eq!(usage.status.code(), Some(2));
    assert!(text(&usage.stderr).contains("expected a time with its unit"), "{}", text(&usage.stderr));
}

#[cfg(feature = "grpc")]
#[test]
fn grpc_is_answered_on_an_address_of_its_own() {
    let small = Small::new();
    let serving = serve(&["--bundle", &small.trained(), "--grpc-listen", "127.0.0.1:0"]);
    let mut stream = TcpStream::connect(serving.told["grpc"].as_str().unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap(); // and settings, as they are
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).unwrap();
    assert_eq!(frame[3], 4, "settings of HTTP/2: {frame:?}");
}
