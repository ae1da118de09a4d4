//! Times whole training steps and scoring, and prints one JSON line:
//! `{"vocab","batch","train_ms","train_mean_ms","train_least_ms","train_sps","eval_ms","eval_least_ms","eval_sps","rss_gb"}`. Medians, the mean of
//! the training steps, in which what is not done in every step has its part, and the least, which a busy machine disturbs least.
//!
//! ```text
//! cargo run --release --bin step_time -- --vocab 1000000 --batch 4096 --hidden 64,32 --shared 1
//! ```

use std::path::PathBuf;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use clap::Parser;
use serde_json::json;
use stem_benches::ceiling::Ceiling;
use stem_benches::profile::Profile;
use stem_benches::{DOMAIN, HISTORY, ITEM, USER, batch, schema, with_history};
use stem_core::models::ModelSpec;
use stem_core::nn::score;
use stem_core::precision::{Precision, with};
use stem_core::{DeviceSpec, ModelConfig, ModelName};
use stem_train::balance::{Balance, BalanceConfig};
use stem_train::prior::LearnedPrior;
use stem_train::{Objective, TableMode, TrainState, memory};

/// Steps before the clock starts.
const WARM_UP: usize = 3;

/// A learned prior.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Prior {
    Tied,
    Diagonal,
}

/// A full training step (gather, forward, loss with L2, backward, clip, Adam on everything, write-back), then scoring.
#[derive(Parser)]
struct Args {
    #[arg(long, default_value = "stem")]
    model: ModelName,
    /// Rows of the table, about.
    #[arg(long, default_value_t = 10_000)]
    vocab: usize,
    #[arg(long, default_value_t = 4096)]
    batch: usize,
    /// Steps that are timed; the median is printed.
    #[arg(long, default_value_t = 20)]
    steps: usize,
    /// Shared experts.
    #[arg(long, default_value_t = 8)]
    shared: usize,
    /// Experts per task.
    #[arg(long, default_value_t = 1)]
    specific: usize,
    /// Widths of experts or bottom.
    #[arg(long, value_delimiter = ',', default_value = "512,512,512")]
    hidden: Vec<usize>,
    #[arg(long, value_delimiter = ',', default_value = "128,64")]
    gate: Vec<usize>,
    #[arg(long, value_delimiter = ',', default_value = "128,64")]
    tower: Vec<usize>,
    #[arg(long, default_value_t = 16)]
    dim: usize,
    #[arg(long, default_value_t = 2)]
    tasks: usize,
    /// Layers of crosses of features before the experts.
    #[arg(long, default_value_t = 0)]
    cross: usize,
    /// Rank of the crosses.
    #[arg(long, default_value_t = 16)]
    rank: usize,
    /// Products of pairs of features.
    #[arg(long)]
    fm: bool,
    /// Gate the embeddings by a domain, which has a few values.
    #[arg(long)]
    domain: bool,
    /// Gate the towers by it too, and by user and item.
    #[arg(long, requires = "domain")]
    towers: bool,
    /// How the tasks' losses are weighed, as an experiment has it: fixed, grad-norm, multi-balance.
    #[arg(long, default_value = "fixed")]
    balance: String,
    /// Slots of a history of items, all of them filled.
    #[arg(long, default_value_t = 0)]
    history: usize,
    /// Attend the history in the place of its bag.
    #[arg(long, requires = "history")]
    attended: bool,
    /// Threads of the CPU devices.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    #[arg(long, default_value_t)]
    device: DeviceSpec,
    /// Of products: f32, or bf16 where the processor has it.
    #[arg(long, default_value_t)]
    precision: Precision,
    /// Print where the step's time goes, and what this machine could do, before the line.
    #[arg(long)]
    profile: bool,
    /// Draw it too, as an SVG file.
    #[arg(long, requires = "profile", value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Learn the prior of the rows, tied or diagonal, in place of one L2 number.
    #[arg(long, value_name = "tied|diagonal")]
    prior: Option<Prior>,
    /// Take the whole table through every step, as a plain autodiff implementation does.
    #[arg(long)]
    dense: bool,
}

fn main() {
    let args = Args::parse();
    rayon::ThreadPoolBuilder::new().num_threads(args.threads).build_global().expect("the pool is built once, here");
    let device = args.device.open().unwrap_or_else(|error| {
        eprintln!("error: {error}");
        std::process::exit(1);
    });
    let profile = args.profile.then(Profile::default);
    if let Some(profile) = &profile {
        tracing::subscriber::set_global_default(profile.clone()).expect("the first subscriber of this program");
    }
    time(&args, &device, profile.as_ref());
}

/// The model's defaults, with those of the sizes asked for that it knows.
fn config(args: &Args) -> ModelConfig {
    let sizes = [
        ("dim", json!(args.dim)),
        ("specific_experts", json!(args.specific)),
        ("shared_experts", json!(args.shared)),
        ("expert_count", json!(args.shared + args.tasks * args.specific)),
        ("experts", json!(args.hidden)),
        ("bottom", json!(args.hidden)),
        ("gate", json!(args.gate)),
        ("tower", json!(args.tower)),
        ("cross", json!({ "layers": args.cross, "rank": args.rank })),
        ("fm", json!(args.fm)),
    ];
    let interest = args.attended.then(|| ("interest", json!({ "candidates": { HISTORY: ITEM } })));
    let personal = if args.towers { json!([USER, ITEM]) } else { json!([]) };
    let domain = json!({ "field": DOMAIN, "towers": args.towers, "personal": personal });
    let domain = args.domain.then_some(("domain", domain));
    args.model.config_with(sizes.into_iter().chain(interest).chain(domain)).expect("sizes keep their types")
}

fn time(args: &Args, device: &Device, profile: Option<&Profile>) {
    let (schema, spec) = (with_history(schema(args.vocab, args.tasks), args.history), config(args));
    spec.check(&schema).unwrap_or_else(|error| {
        eprintln!("error: {error}");
        std::process::exit(1);
    });
    let batches: Vec<_> = (0..args.steps + WARM_UP).map(|i| batch(&schema, args.batch, i as u64)).collect();
    let mode = if args.dense { TableMode::Dense } else { TableMode::RowSparse };
    let embedding_l2 = if args.prior.is_some() { 0.0 } else { 1e-6 };
    let objective = Objective { embedding_l2, ..Objective::plain(args.tasks) };
    let learned = |kind| {
        let tied = kind == Prior::Tied;
        LearnedPrior::new(&schema, batches.clone(), &spec.widths(&schema), tied, None, 0.5).expect("the batches fit")
    };
    let mut prior = args.prior.map(learned);
    let mut state = TrainState::init(&spec, &schema, 1e-4, 1, mode, device).with_precision(args.precision);
    let shared: Vec<usize> =
        (0..).zip(spec.embedding_groups(&schema)).filter(|(_, owner)| *owner == args.tasks).map(|(k, _)| k).collect();
    let balance: BalanceConfig = serde_json::from_value(json!({ "name": args.balance })).unwrap_or_else(|error| {
        eprintln!("error: --balance: {error}");
        std::process::exit(1);
    });
    let mut balance = Balance::at(&shared, balance, args.tasks, 1, device);
    let sync = || device.sync().expect("the device answers");

    let mut train = Vec::new();
    for (step, batch) in batches.iter().enumerate() {
        if let (WARM_UP, Some(profile)) = (step, profile) {
            profile.clear();
        }
        let begun = Instant::now();
        let (_, mut gradients) = balance.differentiate(&state, state.gather(batch), &objective);
        if let Some(prior) = &mut prior {
            prior.step(&state, batch, &objective.task_weights, &mut gradients);
        }
        state = state.apply(gradients, 1e-3, 10.0);
        sync();
        train.push(begun.elapsed().as_secs_f64());
    }
    if let Some(profile) = profile {
        let width = args.hidden.iter().copied().max().unwrap_or(1);
        let row = state.table.widths().iter().sum();
        if let Some(file) = &args.picture {
            let title = format!("A training step, {} rows of {}, {} threads", args.batch, args.model, args.threads);
            std::fs::write(file, profile.picture(args.steps, &title)).unwrap_or_else(|error| {
                eprintln!("error: {}: {error}", file.display());
                std::process::exit(1);
            });
        }
        println!("{}", profile.table(args.steps, &Ceiling::measure(width, row, args.precision)));
    }
    let network = state.network.valid();
    let mut eval = Vec::new();
    for batch in &batches {
        let begun = Instant::now();
        let scores = with(args.precision, || score(&network, &state.table, state.layout(), &schema, batch));
        eval.push(begun.elapsed().as_secs_f64());
        assert_eq!(scores.len(), args.batch * args.tasks);
    }
    let mean = train[WARM_UP..].iter().sum::<f64>() / args.steps as f64;
    let least = |seconds: &[f64]| seconds[WARM_UP..].iter().copied().fold(f64::INFINITY, f64::min);
    let (train_least, eval_least) = (least(&train), least(&eval));
    let (train, eval) = (median(&train[WARM_UP..]), median(&eval[WARM_UP..]));
    println!(
        "{{\"vocab\":{},\"batch\":{},\"train_ms\":{:.3},\"train_mean_ms\":{:.3},\"train_least_ms\":{:.3},\"train_sps\":{:.0},\"eval_ms\":{:.3},\"eval_least_ms\":{:.3},\"eval_sps\":{:.0},\"rss_gb\":{}}}",
        schema.rows(),
        args.batch,
        train * 1e3,
        mean * 1e3,
        train_least * 1e3,
        args.batch as f64 / train,
        eval * 1e3,
        eval_least * 1e3,
        args.batch as f64 / eval,
        memory::peak_gb().map_or("null".into(), |gb| format!("{gb:.3}")),
    );
}

fn median(seconds: &[f64]) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
