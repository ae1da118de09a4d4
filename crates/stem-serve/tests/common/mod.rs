//! Small bundles, a server on this machine, and a plain client.
#![allow(dead_code, clippy::unwrap_used)] // every test file uses its part

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value as Json, json};
use stem_core::burn::tensor::Device;
use stem_core::models::*;
use stem_core::nn::*;
use stem_core::*;
use stem_serve::{ServeConfig, Server, Tls};

pub fn device() -> Device {
    DeviceSpec::from_env().unwrap().open().unwrap()
}

/// A user (integers 0 to 99), tags (texts a, b, c; at most 3, mean), an age (mean 40, std 10); two tasks.
pub fn schema() -> Schema {
    let fields = vec![
        Field::category("user", 0),
        Field::sequence("tags", 1, 3).separated_by("|"),
        Field::number("age", 2).standardized(40.0, 10.0),
    ];
    let vocabularies = [("user", 102), ("tags", 5), ("age", 1)].map(|(name, rows)| VocabularySpec::new(name, rows));
    Schema::new(fields, vocabularies.into(), ["like", "love"].map(Task::new).into()).grouped_by("user")
}

/// The same, with marks (of the users' vocabulary) of which there is one for each tag.
pub fn with_marks() -> Schema {
    let mut schema = schema();
    schema.fields.push(Field::sequence("marks", 0, 3).beside("tags"));
    schema
}

pub fn stem() -> ModelConfig {
    ModelConfig::Stem(StemConfig {
        dim: 4,
        layers: 2,
        specific_experts: 2,
        shared_experts: 1,
        experts: vec![6, 5],
        gate: vec![4],
        tower: vec![3],
        ..StemConfig::default()
    })
}

/// Writes a bundle whose weights are drawn from a seed; weights are large enough that scores differ between rows.
pub fn save_with(path: &Path, seed: u64, training: &Json) {
    save_of(path, seed, training, schema());
}

/// The same, of fields and tasks as they are given.
pub fn save_of(path: &Path, seed: u64, training: &Json, schema: Schema) {
    let (config, device) = (stem(), device());
    let vocabularies = vec![Vocabulary::integers(0..100), Vocabulary::texts(["a", "b", "c"]), Vocabulary::Number];
    let table = EmbeddingTable::init(&schema, &config.widths(&schema), 1.0, seed, &device.clone().inner());
    let network = config.init(&schema, &mut ChaCha8Rng::seed_from_u64(seed), &device);
    bundle::save(path, &schema, &vocabularies, &config, &table, &network, training).unwrap();
}

pub fn save(path: &Path, seed: u64) {
    save_with(path, seed, &json!({ "seed": seed }));
}

/// A folder with a bundle `NAME.safetensors` for each name, of seeds 0, 1, ...
pub struct Models {
    pub folder: tempfile::TempDir,
}

impl Models {
    pub fn new(names: &[&str]) -> Self {
        let models = Self { folder: tempfile::tempdir().unwrap() };
        (0..).zip(names).for_each(|(seed, name)| save(&models.path(name), seed));
        models
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.safetensors"))
    }

    pub fn predictor(&self, name: &str) -> Predictor {
        Predictor::open(self.path(name), &device()).unwrap()
    }
}

/// Row `i` of many, no two of them alike.
pub fn row(i: usize) -> Json {
    let tags = [json!(["a", "b"]), json!("c|a"), Json::Null, json!("zzz"), json!(["c", "b", "a", "c"])][i % 5].clone();
    json!({ "user": i % 103, "tags": tags, "age": i as f64 / 7.0 })
}

pub fn rows(range: std::ops::Range<usize>) -> Json {
    Json::Array(range.map(row).collect())
}

/// The library's scores of the same rows, as bits. `[B * T]`
pub fn expected(predictor: &Predictor, rows: &Json) -> Vec<u32> {
    let rows: Vec<Row> = serde_json::from_value(rows.clone()).unwrap();
    predictor.predict(&rows).unwrap().into_values().into_iter().map(f32::to_bits).collect()
}

/// The scores of an answer, as bits. `[B * T]`
pub fn bits(answer: &Json) -> Vec<u32> {
    let of = |task: &str| -> Vec<u32> {
        let scores = answer["scores"][task].as_array().unwrap_or_else(|| panic!("{answer}"));
        scores.iter().map(|score| (score.as_f64().unwrap() as f32).to_bits()).collect()
    };
    of("like").into_iter().zip(of("love")).flat_map(|(like, love)| [like, love]).collect()
}

/// A server that runs until it is dropped or stopped.
pub struct Running {
    pub address: SocketAddr,
    /// Where it answers gRPC.
    #[cfg(feature = "grpc")]
    pub grpc: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

pub fn start(bundle: &Path, config: ServeConfig) -> Running {
    start_with(bundle, config, None)
}

pub fn start_with(bundle: &Path, mut config: ServeConfig, tls: Option<Tls>) -> Running {
    let is_slow = matches!(DeviceSpec::from_env(), Ok(DeviceSpec::Wgpu(_))); // a GPU in software, the first time above all
    if is_slow && config.limits.answer == ServeConfig::default().limits.answer {
        config.limits.answer = Duration::from_secs(120);
    }
    let (bundle, (told, address), (stop, stopped)) =
        (bundle.to_path_buf(), mpsc::channel(), tokio::sync::oneshot::channel());
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut server = Server::open(bundle, config, &device()).unwrap();
            if let Some(tls) = tls {
                server = server.with_tls(tls);
            }
            let listener = stem_serve::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
            let grpc = stem_serve::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
            told.send((listener.local_addr().unwrap(), grpc.local_addr().unwrap())).unwrap();
            #[cfg(feature = "grpc")]
            let server = server.with_grpc(grpc);
            server.run(listener, async { _ = stopped.await }).await.unwrap();
        });
    });
    let (address, grpc) = address.recv().unwrap();
    _ = grpc; // without the feature nobody answers there
    Running {
        address,
        #[cfg(feature = "grpc")]
        grpc,
        stop: Some(stop),
        thread: Some(thread),
    }
}

impl Running {
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Asks it to stop.
    pub fn ask_to_stop(&mut self) {
        _ = self.stop.take().map(|stop| stop.send(()));
    }

    /// Stops it, and waits until it has ended.
    pub fn end(&mut self) {
        self.ask_to_stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ask_to_stop();
        _ = self.thread.take().map(JoinHandle::join);
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<String> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_string()).next()
    }

    /// The kind of a refusal.
    pub fn kind(&self) -> String {
        self.json()["error"]["kind"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_string()
    }
}

/// A connection that is kept, and opened again where the server has closed it.
pub struct Client {
    address: SocketAddr,
    stream: Option<TcpStream>,
    pub token: Option<String>,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, token: None }
    }

    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.into());
        self
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, "", b"").unwrap()
    }

    pub fn post(&mut self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        self.ask("POST", path, "", body.as_ref()).unwrap()
    }

    pub fn score(&mut self, body: &Json) -> Answer {
        self.post("/v1/score", body.to_string())
    }

    pub fn ask(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> io::Result<Answer> {
        let token = self.token.as_ref().map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: test\r\n{token}{headers}content-length: {length}\r\n\r\n");
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(Duration::from_secs(150)))?;
                stream
            }
        };
        stream.write_all(&[head.as_bytes(), body].concat())?;
        let answer = read_answer(&mut stream)?;
        if answer.header("connection").is_none_or(|what| what != "close") {
            self.stream = Some(stream);
        }
        Ok(answer)
    }
}

/// Reads an answer with a length.
pub fn read_answer(stream: &mut impl Read) -> io::Result<Answer> {
    let (mut all, mut piece) = (Vec::new(), [0; 16384]);
    let mut more = |all: &mut Vec<u8>| -> io::Result<()> {
        match stream.read(&mut piece)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => {
                all.extend_from_slice(&piece[..bytes]);
                Ok(())
            }
        }
    };
    let body = loop {
        if let Some(end) = all.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        more(&mut all)?;
    };
    let head = String::from_utf8(all[..body].to_vec()).unwrap();
    let mut answer = Answer { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head, body: Vec::new() };
    let length: usize = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
    while all.len() < body + length {
        more(&mut all)?;
    }
    answer.body = all[body..body + length].to_vec();
    Ok(answer)
}

/// Whether scores are the same bits; of other devices and processors, whose products depend on how many rows they have, within rounding.
pub fn same(found: &[u32], expected: &[u32]) -> bool {
    let off = |(a, b): (&u32, &u32)| (f32::from_bits(*a) - f32::from_bits(*b)).abs();
    let is_exact = DeviceSpec::from_env().unwrap() == DeviceSpec::Flex && has_own_products();
    found == expected
        || !is_exact && found.len() == expected.len() && found.iter().zip(expected).map(off).all(|off| off < 1e-5)
}

fn has_own_products() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl");
    #[cfg(not(target_arch = "x86_64"))]
    false
}
