//! Requests over gRPC in the KServe V2 form: the scores of HTTP.
#![cfg(feature = "grpc")]

#[allow(dead_code)] // the server makes what is only read here
#[path = "../src/grpc/messages.rs"]
mod messages;

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::common::*;
use axum::body::{Body, HttpBody};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use messages::*;
use prost::Message;
use serde_json::{Value as Json, json};
use stem_serve::{ServeConfig, Tls, Token};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

/// What came back: the message, or code and text of the refusal.
type Told<A> = Result<A, (u32, String)>;

/// One call on a connection of its own.
async fn call<A: Message + Default>(address: SocketAddr, method: &str, token: &str, message: &impl Message) -> Told<A> {
    call_over(TcpStream::connect(address).await.unwrap(), method, token, message).await
}

async fn call_over<A: Message + Default>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: &str,
    token: &str,
    message: &impl Message,
) -> Told<A> {
    let message = message.encode_to_vec();
    let framed = [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat();
    send(stream, method, token, Body::from(framed)).await
}

fn request_of(method: &str, token: &str) -> hyper::http::request::Builder {
    hyper::Request::post(format!("http://localhost/inference.GRPCInferenceService/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {token}"))
}

async fn send<A: Message + Default>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: &str,
    token: &str,
    body: Body,
) -> Told<A> {
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(request_of(method, token).body(body).unwrap()).await.unwrap();
    let (head, mut body) = response.into_parts();
    let (mut bytes, mut trailers) = (Vec::new(), head.headers);
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        match frame.unwrap().into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers.extend(frame.into_trailers().unwrap()),
        }
    }
    let text = |name: &str| trailers.get(name).map(|value| value.to_str().unwrap().to_string());
    match text("grpc-status").unwrap().parse().unwrap() {
        0 => Ok(A::decode(&bytes[5..]).unwrap()),
        code => Err((code, text("grpc-message").unwrap_or_default().replace("%20", " ").replace("%27", "'"))),
    }
}

fn ask<A: Message + Default>(server: &Running, method: &str, message: &impl Message) -> Told<A> {
    ask_as(server, "", method, message)
}

fn ask_as<A: Message + Default>(server: &Running, token: &str, method: &str, message: &impl Message) -> Told<A> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(call(server.grpc, method, token, message))
}

fn tensor(name: &str, datatype: &str, shape: &[i64], contents: Contents) -> Tensor {
    let (name, datatype, shape) = (name.into(), datatype.into(), shape.to_vec());
    Tensor { name, datatype, shape, contents: Some(Box::new(contents)), ..Tensor::default() }
}

fn texts(texts: impl IntoIterator<Item = &'static str>) -> Contents {
    Contents { bytes: texts.into_iter().map(|text| text.as_bytes().to_vec()).collect(), ..Contents::default() }
}

const TAGS: [[&str; 2]; 3] = [["a", "b"], ["c", "zzz"], ["b", ""]];

/// Rows of the test's models, and the same as JSON.
fn request(rows: i64) -> (InferRequest, Json) {
    let tags = |row: i64| TAGS[row as usize % 3];
    let users = Contents { longs: (0..rows).map(|row| row % 103).collect(), ..Contents::default() };
    let ages = Contents { doubles: (0..rows).map(|row| row as f64 / 7.0).collect(), ..Contents::default() };
    let inputs = vec![
        tensor("user", "INT64", &[rows], users),
        tensor("tags", "BYTES", &[rows, 2], texts((0..rows).flat_map(tags))),
        tensor("age", "FP64", &[rows, 1], ages),
    ];
    let row = |row: i64| json!({ "user": row % 103, "tags": tags(row), "age": row as f64 / 7.0 });
    (InferRequest { inputs, id: "7".into(), ..InferRequest::default() }, (0..rows).map(row).collect())
}

/// The same values as bytes.
fn raw(mut request: InferRequest) -> InferRequest {
    for tensor in &mut request.inputs {
        let contents = tensor.contents.take().unwrap();
        let texts = contents.bytes.iter().flat_map(|text| [&(text.len() as u32).to_le_bytes()[..], text].concat());
        let longs = contents.longs.iter().flat_map(|value| value.to_le_bytes());
        let doubles = contents.doubles.iter().flat_map(|value| value.to_le_bytes());
        request.raw_input_contents.push(texts.chain(longs).chain(doubles).collect());
    }
    request
}

fn bits_of(told: &InferResponse) -> Vec<u32> {
    let of = |task: &str| &told.outputs.iter().find(|one| one.name == task).unwrap().contents.as_ref().unwrap().floats;
    of("like").iter().zip(of("love")).flat_map(|(like, love)| [like.to_bits(), love.to_bits()]).collect()
}

#[test]
fn scores_over_grpc_are_those_over_http() {
    let models = Models::new(&["shop"]);
    let predictor = models.predictor("shop");
    let server = start(&models.path("shop"), ServeConfig::default());
    for rows in [0, 1, 50, 10_000] {
        let (asked, json) = request(rows);
        let expected = expected(&predictor, &json);
        let http = bits(&server.client().score(&json!({ "rows": json })).json());
        for asked in [asked.clone(), raw(asked)] {
            let told: InferResponse = ask(&server, "ModelInfer", &asked).unwrap();
            assert_eq!((told.model_name.as_str(), told.id.as_str()), ("shop", "7"));
            assert_eq!(told.model_version, predictor.checksum()[..12]);
            assert_eq!(told.outputs[0].shape, [rows]);
            assert!(same(&bits_of(&told), &expected) && same(&bits_of(&told), &http), "{rows} rows");
        }
    }
    let (mut asked, _) = request(40);
    asked.inputs[0] = tensor("user", "INT32", &[1], Contents { ints: vec![7], ..Contents::default() });
    let shared = HashMap::from([("shared".to_string(), Parameter { choice: Some(Choice::Bool(true)) })]);
    asked.inputs[0].parameters = shared;
    (asked.model_name, asked.outputs) = ("shop".into(), vec![Wanted { name: "love".into(), ..Wanted::default() }]);
    let told: InferResponse = ask(&server, "ModelInfer", &asked).unwrap();
    let rows: Vec<Json> = request(40)
        .1
        .as_array()
        .unwrap()
        .iter()
        .cloned()
        .map(|mut row| {
            row["user"] = 7.into();
            row
        })
        .collect();
    let expected: Vec<u32> = expected(&predictor, &json!(rows)).into_iter().skip(1).step_by(2).collect();
    let found: Vec<u32> =
        told.outputs[0].contents.as_ref().unwrap().floats.iter().map(|score| score.to_bits()).collect();
    assert!(told.outputs.len() == 1 && same(&found, &expected));
}

#[test]
fn servers_and_models_are_described() {
    let models = Models::new(&["new", "old"]);
    let server = start(models.folder.path(), ServeConfig::default());
    assert_eq!(ask(&server, "ServerLive", &Nothing {}), Ok(Is { so: true }));
    assert_eq!(ask(&server, "ServerReady", &Nothing {}), Ok(Is { so: true }));
    let told: ServerMetadata = ask(&server, "ServerMetadata", &Nothing {}).unwrap();
    assert_eq!(told.name, "stem");
    let version = models.predictor("new").checksum()[..12].to_string();
    let ready = |name: &str, version: &str| {
        ask::<Is>(&server, "ModelReady", &ModelOf { name: name.into(), version: version.into() }).unwrap().so
    };
    assert!(ready("new", "") && ready("new", &version) && !ready("new", "1") && !ready("none", ""));
    let told: ModelMetadata =
        ask(&server, "ModelMetadata", &ModelOf { name: "old".into(), version: String::new() }).unwrap();
    let of = |tensors: &[TensorMetadata]| -> Vec<String> {
        tensors.iter().map(|one| format!("{} {} {:?}", one.name, one.datatype, one.shape)).collect()
    };
    assert_eq!(of(&told.inputs), ["user INT64 [-1]", "tags BYTES [-1]", "age FP64 [-1]"]);
    assert_eq!(of(&told.outputs), ["like FP32 [-1]", "love FP32 [-1]"]);
    assert_eq!((told.platform.as_str(), told.versions.len()), ("stem", 1));
}

#[test]
fn what_is_asked_wrongly_is_refused_by_code_and_kind() {
    let models = Models::new(&["shop"]);
    let mut config = ServeConfig::default();
    (config.limits.rows, config.limits.body_bytes) = (100, 40_000);
    let server = start(&models.path("shop"), config);
    let refused = |code: u32, kind: &str, change: &dyn Fn(&mut InferRequest)| {
        let (mut asked, _) = request(10);
        change(&mut asked);
        let (found, message) = ask::<InferResponse>(&server, "ModelInfer", &asked).unwrap_err();
        assert_eq!((found, message.split(':').next()), (code, Some(kind)), "{message}");
    };
    let shape = |shape: &'static [i64]| move |asked: &mut InferRequest| asked.inputs[0].shape = shape.to_vec();
    refused(5, "unknown-model", &|asked| asked.model_name = "none".into());
    refused(5, "unknown-model", &|asked| asked.model_version = "3".into());
    refused(3, "unknown-task", &|asked| asked.outputs = vec![Wanted { name: "lov".into(), ..Wanted::default() }]);
    refused(3, "unknown-column", &|asked| asked.inputs[0].name = "usr".into());
    refused(3, "missing-column", &|asked| drop(asked.inputs.remove(0)));
    refused(3, "duplicate-key", &|asked| asked.inputs[1].name = "user".into());
    refused(3, "wrong-type", &|asked| asked.inputs[0].datatype = "FP16".into());
    refused(3, "wrong-type", &|asked| asked.inputs[0].datatype = "BYTES".into());
    refused(3, "no-rows", &|asked| asked.inputs.clear());
    refused(3, "length", &|asked| asked.inputs[0] = request(9).0.inputs.remove(0));
    refused(3, "setting", &|asked| asked.raw_input_contents = vec![vec![1]]);
    refused(3, "wrong-type", &shape(&[9]));
    refused(3, "wrong-type", &shape(&[-1]));
    refused(3, "wrong-type", &shape(&[10, 1, 1]));
    refused(8, "too-many-rows", &shape(&[i64::MAX, 0]));
    refused(8, "too-many-rows", &|asked| *asked = request(101).0);
    let (code, message) = ask::<InferResponse>(&server, "ModelInfer", &request(3000).0).unwrap_err();
    assert!(code == 8 && message.starts_with("too-large: "), "{code} {message}");
    let (code, message) = ask::<Is>(&server, "Nothing", &Nothing {}).unwrap_err();
    assert!(code == 12 && message.starts_with("not-found: "), "{code} {message}");
    refused(3, "setting", &|asked| asked.inputs = vec![Tensor::default(); 5000]);
    refused(3, "setting", &|asked| asked.outputs = vec![Wanted::default(); 5000]);
    refused(3, "setting", &|asked| {
        let parameter = |key: usize| (key.to_string(), Parameter { choice: None });
        asked.inputs[0].parameters = (0..1400).map(parameter).collect();
        asked.inputs[1].parameters = (0..1400).map(parameter).collect();
        asked.parameters = (0..1400).map(parameter).collect();
    });
    assert!(ask::<InferResponse>(&server, "ModelInfer", &request(100).0).is_ok(), "it serves on");
    let told = server.client().get("/metrics").text();
    assert!(told.contains("ModelInfer") && told.contains("too-many-rows"), "{told}");
}

#[test]
fn a_token_is_wanted_but_for_life_and_readiness() {
    let models = Models::new(&["shop"]);
    let config = || {
        let mut config = ServeConfig::default();
        config.token = Some(Token::new("s3cret", "a test").unwrap());
        config
    };
    let server = start(&models.path("shop"), config());
    assert_eq!(ask::<Is>(&server, "ServerLive", &Nothing {}), Ok(Is { so: true }));
    for token in ["", "s3cre"] {
        assert_eq!(ask_as::<InferResponse>(&server, token, "ModelInfer", &request(3).0).unwrap_err().0, 16);
        assert_eq!(ask_as::<ServerMetadata>(&server, token, "ServerMetadata", &Nothing {}).unwrap_err().0, 16);
    }
    assert!(ask_as::<InferResponse>(&server, "s3cret", "ModelInfer", &request(3).0).is_ok());
}

#[test]
fn who_connects_and_says_nothing_is_cut() {
    use std::io::{Read, Write};
    let models = Models::new(&["shop"]);
    let mut config = ServeConfig::default();
    config.limits.read = Duration::from_millis(300);
    let server = start(&models.path("shop"), config);
    for said in [&b""[..], b"PRI * HTTP"] {
        let mut silent = std::net::TcpStream::connect(server.grpc).unwrap();
        silent.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        silent.write_all(said).unwrap();
        let begun = Instant::now();
        assert_eq!(silent.read(&mut [0; 16]).unwrap_or(0), 0, "closed");
        assert!(begun.elapsed() < Duration::from_secs(15));
    }
    assert_eq!(ask::<Is>(&server, "ServerLive", &Nothing {}), Ok(Is { so: true }));
}

/// A body that sends its first bytes and then nothing.
struct Stalled(Option<&'static [u8]>);

impl HttpBody for Stalled {
    type Data = axum::body::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        match self.0.take() {
            Some(bytes) => Poll::Ready(Some(Ok(hyper::body::Frame::data(bytes.into())))),
            None => Poll::Pending,
        }
    }
}

#[test]
fn a_message_that_does_not_come_is_refused_by_its_own_time_and_bytes_that_are_none_by_kind() {
    let models = Models::new(&["shop"]);
    let mut config = ServeConfig::default();
    (config.limits.read, config.limits.answer) = (Duration::from_millis(300), Duration::from_secs(300));
    let server = start(&models.path("shop"), config);
    let told = |body: Body| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let told = runtime.block_on(async {
            let stream = TcpStream::connect(server.grpc).await.unwrap();
            send::<Is>(stream, "ModelReady", "", body).await
        });
        let (code, message) = told.unwrap_err();
        (code, message.split(':').next().unwrap().to_string())
    };
    let begun = Instant::now();
    assert_eq!(told(Body::new(Stalled(Some(b"\0\0\0")))), (4, "slow-request".to_string()));
    assert!(begun.elapsed() < Duration::from_secs(100), "not by the time of an answer");
    for bytes in [&b""[..], b"\0\0\0", b"\0\0\0\0\x07\x01", b"\x01\0\0\0\0", b"\0\0\0\0\x01\xff"] {
        assert_eq!(told(Body::from(bytes)), (3, "body".to_string()), "{bytes:?}");
    }
}

#[test]
fn a_connection_that_asks_for_nothing_is_closed_though_it_answers_pings() {
    let models = Models::new(&["shop"]);
    let mut config = ServeConfig::default();
    config.limits.read = Duration::from_millis(300);
    let server = start(&models.path("shop"), config);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = TcpStream::connect(server.grpc).await.unwrap();
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let closed = tokio::spawn(connection);
        let ready = || request_of("ModelReady", "").body(Body::from(&b"\0\0\0\0\0"[..])).unwrap();
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(150)).await; // asked for something in time, it stays open
            assert_eq!(sender.send_request(ready()).await.unwrap().status(), 200);
        }
        let closed = tokio::time::timeout(Duration::from_secs(30), closed).await;
        assert!(closed.is_ok(), "an idle connection is still open");
    });
}

#[test]
fn a_caller_who_trusts_the_certificate_is_answered_over_tls() {
    let models = Models::new(&["shop"]);
    let sample = |name: &str| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(name);
    let tls = Tls { cert: sample("cert.pem"), key: sample("key.pem") };
    let server = start_with(&models.path("shop"), ServeConfig::default(), Some(tls));
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(sample("cert.pem")).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(std::sync::Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(std::sync::Arc::new(config));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let told: Told<InferResponse> = runtime.block_on(async {
        let stream = TcpStream::connect(server.grpc).await.unwrap();
        let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        call_over(stream, "ModelInfer", "", &request(5).0).await
    });
    assert!(same(&bits_of(&told.unwrap()), &expected(&models.predictor("shop"), &request(5).1)));
}
