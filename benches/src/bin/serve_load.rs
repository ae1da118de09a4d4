//! Load on a server of this machine: rows per second over HTTP beside those of the library alone on the same cores. One process holds
//! server, callers and library; the callers take part of the same cores. Prints one JSON line:
//!
//! ```text
//! cargo run --release --bin serve_load
//! cargo run --release --bin serve_load -- --form columns --dim 32
//! ```

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use stem_benches::{batch, schema, small_stem};
use stem_core::models::ModelSpec;
use stem_core::nn::EmbeddingTable;
use stem_core::{DeviceSpec, ModelConfig, Predictor, Row, Vocabulary, bundle};
use stem_serve::{ServeConfig, Server};

/// How a request holds its rows.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Form {
    /// An object for each.
    Rows,
    /// A list for each column; the user's stand once.
    Columns,
}

/// Asks a server as many callers do.
#[derive(Parser)]
struct Args {
    /// Rows of the table, about.
    #[arg(long, default_value_t = 1_000_000)]
    vocab: usize,
    /// Width of an embedding.
    #[arg(long, default_value_t = 16)]
    dim: usize,
    /// Connections.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Rows of a request.
    #[arg(long, default_value_t = 50)]
    rows: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Rounds of library and server, one after the other, so that what else the machine does meets all of them; medians are told.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// How a request holds its rows.
    #[arg(long, value_enum, default_value = "rows")]
    form: Form,
    /// Milliseconds that a batch waits.
    #[arg(long, default_value_t = 1.0)]
    wait: f64,
    /// Threads that score; by default as many as there are cores.
    #[arg(long)]
    workers: Option<usize>,
    #[arg(long, default_value_t)]
    device: DeviceSpec,
}

/// Requests that differ.
const REQUESTS: usize = 256;
/// Columns of the user, which all rows of a request share where it is in columns.
const OF_USER: [&str; 2] = ["f0", "f7"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let folder = std::env::temp_dir().join(format!("serve-load-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("load.safetensors");
    let requests = save(&args, &path)?;
    let predictor = Predictor::open(&path, &args.device.open()?)?;
    let parsed: Vec<Vec<Row>> =
        requests.iter().map(|rows| serde_json::from_value(json!(rows))).collect::<Result<_, _>>()?;
    let cores = thread::available_parallelism()?.get();

    let whole: Vec<Row> = parsed.iter().flatten().take(4096).cloned().collect();
    let bodies: Vec<String> = requests.iter().map(|rows| body(args.form, rows)).collect();
    let (address, end) = serve(&args, &path)?;
    let mut milliseconds = Vec::new();
    let rounds: Vec<[f64; 3]> = (0..args.rounds)
        .map(|_| {
            let as_requests =
                library(&args, cores, |i| predictor.predict(&parsed[i % REQUESTS]).map_or(0, |scores| scores.len()));
            let as_batches = library(&args, 1, |_| predictor.predict(&whole).map_or(0, |scores| scores.len()));
            let (rows, took) = ask(&args, address, &bodies);
            milliseconds.extend(took);
            [as_requests, as_batches, rows]
        })
        .collect();
    end();
    std::fs::remove_dir_all(&folder)?;
    let of = |what: &dyn Fn(&[f64; 3]) -> f64| middle(rounds.iter().map(what).collect(), 0.5);
    let round = |x: f64| (x * 100.0).round() / 100.0;
    println!(
        "{}",
        json!({
            "cores": cores, "dim": args.dim, "rows_a_request": args.rows, "connections": args.connections, "rounds": args.rounds,
            "library_rows_per_s": { "requests": of(&|r| r[0]).round(), "batches_of_4096": of(&|r| r[1]).round() },
            "server_rows_per_s": of(&|r| r[2]).round(),
            "share_of_library": { "requests": round(of(&|r| r[2] / r[0])), "batches_of_4096": round(of(&|r| r[2] / r[1])) },
            "p50_ms": round(middle(milliseconds.clone(), 0.5)), "p99_ms": round(middle(milliseconds.clone(), 0.99)),
            "requests": milliseconds.len(),
        })
    );
    Ok(())
}

/// The value below which a share of all lies.
fn middle(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share) as usize]
}

/// Writes a bundle of the benches' model, and gives requests for it.
fn save(args: &Args, path: &std::path::Path) -> Result<Vec<Vec<Value>>, Box<dyn std::error::Error>> {
    let ModelConfig::Stem(mut stem) = small_stem() else { unreachable!("the small STEM is a STEM") };
    stem.dim = args.dim;
    let (schema, spec, device) = (schema(args.vocab, 2), ModelConfig::Stem(stem), args.device.open()?);
    let keys: Vec<Vocabulary> =
        schema.vocabularies.iter().map(|spec| Vocabulary::integers(0..spec.rows as i64 - 2)).collect();
    let table = EmbeddingTable::init(&schema, &spec.widths(&schema), 1.0, 1, &device);
    let network = spec.init(&schema, &mut ChaCha8Rng::seed_from_u64(1), &device);
    bundle::save(path, &schema, &keys, &spec, &table, &network, &Value::Null)?;
    let all = batch(&schema, REQUESTS * args.rows, 1);
    let offsets = schema.offsets();
    let row = |ids: &[u32]| {
        let fields = schema.fields.iter().zip(ids).zip(&offsets);
        Value::Object(fields.map(|((field, id), offset)| (field.name.clone(), json!(id - offset))).collect())
    };
    let rows: Vec<Value> = all.ids.chunks_exact(schema.slots()).map(row).collect();
    let requests = rows.chunks_exact(args.rows).map(|rows| {
        let mut rows = rows.to_vec();
        for column in OF_USER {
            let of_first = rows[0][column].clone();
            rows.iter_mut().for_each(|row| row[column] = of_first.clone());
        }
        rows
    });
    Ok(requests.collect())
}

fn body(form: Form, rows: &[Value]) -> String {
    if form == Form::Rows {
        return json!({ "rows": rows }).to_string();
    }
    let (mut shared, mut columns) = (serde_json::Map::new(), serde_json::Map::new());
    for name in rows[0].as_object().into_iter().flat_map(|row| row.keys()) {
        match OF_USER.contains(&name.as_str()) {
            true => shared.insert(name.clone(), rows[0][name].clone()),
            false => columns.insert(name.clone(), rows.iter().map(|row| row[name].clone()).collect()),
        };
    }
    json!({ "shared": shared, "columns": columns }).to_string()
}

/// Rows per second that `threads` threads score without a server.
fn library(args: &Args, threads: usize, score: impl Fn(usize) -> usize + Sync) -> f64 {
    let (next, rows) = (AtomicUsize::new(0), AtomicUsize::new(0));
    (0..20).for_each(|i| _ = score(i)); // warm
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while begun.elapsed().as_secs_f64() < args.seconds {
                    rows.fetch_add(score(next.fetch_add(1, Ordering::Relaxed)), Ordering::Relaxed);
                }
            });
        }
    });
    rows.into_inner() as f64 / begun.elapsed().as_secs_f64()
}

/// A server on a free port; what is given back ends it.
fn serve(args: &Args, path: &std::path::Path) -> Result<(SocketAddr, impl FnOnce()), Box<dyn std::error::Error>> {
    let mut config = ServeConfig::default();
    config.batch.wait = Duration::from_secs_f64(args.wait / 1e3);
    config.batch.workers = args.workers.unwrap_or(config.batch.workers);
    let server = Server::open(path, config, &args.device.open()?)?;
    let (told, address) = mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let listener = stem_serve::listen(([127, 0, 0, 1], 0).into()).await.expect("a free port");
            told.send(listener.local_addr().expect("an address")).expect("somebody waits for it");
            server.run(listener, async { _ = stopped.await }).await.expect("no certificate is needed");
        });
    });
    let end = move || {
        _ = stop.send(());
        serving.join().expect("the server ends");
    };
    Ok((address.recv()?, end))
}

/// Rows per second that are answered, and the milliseconds of each request.
fn ask(args: &Args, address: SocketAddr, bodies: &[String]) -> (f64, Vec<f64>) {
    let head =
        |body: &String| format!("POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let asked: Vec<Vec<u8>> = bodies.iter().map(|body| head(body).into_bytes()).collect();
    let next = AtomicUsize::new(0);
    let begun = Instant::now();
    let callers = thread::scope(|scope| {
        let callers: Vec<_> = (0..args.connections)
            .map(|_| {
                scope.spawn(|| {
                    let mut stream = TcpStream::connect(address).expect("the server listens");
                    stream.set_nodelay(true).expect("an option of every socket");
                    let mut took = Vec::new();
                    let mut answer = vec![0; 1 << 16];
                    while begun.elapsed().as_secs_f64() < args.seconds {
                        let since = Instant::now();
                        stream
                            .write_all(&asked[next.fetch_add(1, Ordering::Relaxed) % asked.len()])
                            .expect("a request is taken");
                        read_answer(&mut stream, &mut answer);
                        took.push(since.elapsed().as_secs_f64() * 1e3);
                    }
                    took
                })
            })
            .collect();
        callers.into_iter().flat_map(|caller| caller.join().expect("a caller ends")).collect::<Vec<f64>>()
    });
    ((callers.len() * args.rows) as f64 / begun.elapsed().as_secs_f64(), callers)
}

/// Reads an answer of status 200 with a length.
fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) {
    let (mut filled, mut end) = (0, None);
    while end.is_none_or(|end| filled < end) {
        let read = stream.read(&mut buffer[filled..]).expect("an answer");
        assert!(read > 0, "the answer is cut: {}", String::from_utf8_lossy(&buffer[..filled]));
        filled += read;
        if end.is_none()
            && let Some(head) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n")
        {
            let text = String::from_utf8_lossy(&buffer[..head]);
            assert!(text.starts_with("HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..filled]));
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            end = Some(head + 4 + length.expect("every answer has a length"));
        }
    }
}
