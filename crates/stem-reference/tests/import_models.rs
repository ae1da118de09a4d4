//! Every model of the reference is imported, and scores as it does there.

use std::path::Path;

use crate::common::checkpoint::{Bench, Checkpoint, assert_close, fixture, rows};
use crate::common::fixtures;
use stem_core::Row;
use stem_reference::{SIZE_KEYS, model_name};

/// The parameters of a fixture as a checkpoint, and what its metadata say as a configuration.
fn from_fixture(path: &Path) -> (Checkpoint, String) {
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = metadata.metadata().clone().unwrap();
    let name = model_name(&metadata["model"]).unwrap();
    let known = serde_json::to_value(name.default_config()).unwrap();
    let sizes = SIZE_KEYS.iter().filter(|(theirs, ours)| known.get(ours).is_some() && metadata.contains_key(*theirs));
    let sizes: String = sizes.map(|(theirs, ours)| format!("{ours} = {}\n", metadata[*theirs])).collect();
    let (tasks, rows): (usize, Vec<usize>) =
        (metadata["num_tasks"].parse().unwrap(), serde_json::from_str(&metadata["vocab_sizes"]).unwrap());
    let tasks: Vec<String> = (0..tasks).map(|t| format!("task{t}")).collect();
    let fields: String =
        rows.iter().enumerate().map(|(f, rows)| format!("[[field]]\nname = \"f{f}\"\nrows = {rows}\n")).collect();
    let config = format!("tasks = {tasks:?}\n[model]\nname = \"{}\"\n{sizes}{fields}", name.as_str());

    let parameters = file.iter().filter_map(|(name, view)| Some((name.strip_prefix("param.")?, view)));
    let checkpoint = parameters.fold(Checkpoint::new(), |checkpoint, (name, view)| {
        let elements = view.shape().iter().product();
        checkpoint.tensor(name, "Float", view.shape(), elements, view.data().to_vec())
    });
    (checkpoint, config)
}

#[test]
fn every_model_of_the_reference_scores_as_it_does_there() {
    for name in ["STEM", "STEM_3tasks_2layers", "SharedBottom", "OMoE", "MMoE", "PLE", "AITM", "ESMM"] {
        let path = fixtures().join(format!("{name}.safetensors"));
        let (checkpoint, config) = from_fixture(&path);
        let bench = Bench::of(&checkpoint);
        bench.import(&config).unwrap();
        let (ids, predictions) = fixture(&path);
        assert_close(bench.predictor().predict(&rows(ids.len() / 16, &ids, |_, id| id)).unwrap().rows(), &predictions);
    }
}

#[test]
fn a_ple_checkpoint_scores_as_the_reference_does() {
    let checkpoint = fixtures().join("PLE.model");
    let path = fixtures().join("PLE.safetensors");
    let bench = Bench::new(checkpoint);
    let summary = bench.import(&from_fixture(&path).1).unwrap();
    assert!(summary.unread.iter().all(|name| name.starts_with("cgc_layers.0.gate.2.")), "{:?}", summary.unread);
    let (ids, predictions) = fixture(&path);
    assert_close(bench.predictor().predict(&rows(ids.len() / 16, &ids, |_, id| id)).unwrap().rows(), &predictions);
}

/// `x -> norm(3 x)` with mean 1, variance 4, scale 2 and shift 0.5, then the activation.
fn normalised(activation: impl Fn(Checkpoint) -> Checkpoint) -> Checkpoint {
    let checkpoint = Checkpoint::new()
        .floats("embedding_layer.embedding_layer.embedding_layers.f.weight", &[3, 1], &[0.0, 1.0, -1.0])
        .floats("bottom.mlp.0.weight", &[1, 1], &[3.0])
        .floats("bottom.mlp.0.bias", &[1], &[0.0])
        .floats("bottom.mlp.1.weight", &[1], &[2.0])
        .floats("bottom.mlp.1.bias", &[1], &[0.5])
        .floats("bottom.mlp.1.running_mean", &[1], &[1.0])
        .floats("bottom.mlp.1.running_var", &[1], &[4.0])
        .tensor("bottom.mlp.1.num_batches_tracked", "Long", &[], 1, vec![7, 0, 0, 0, 0, 0, 0, 0])
        .floats("tower.0.mlp.0.weight", &[1, 1], &[1.0])
        .floats("tower.0.mlp.0.bias", &[1], &[0.0]);
    activation(checkpoint)
}

#[test]
fn normalisation_and_learned_activations_are_imported() {
    let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
    let y = [1.0f32, -1.0].map(|x| (3.0 * x - 1.0) / 4.0f32.sqrt() * 2.0 + 0.5); // 2.5 and -3.5
    let plain = |c: Checkpoint| c;
    let prelu = |c: Checkpoint| c.floats("bottom.mlp.2.weight", &[1], &[0.25]);
    let dice = |c: Checkpoint| {
        c.floats("bottom.mlp.2.alpha", &[1], &[0.5]).floats("bottom.mlp.2.bn.running_mean", &[1], &[0.5]).floats(
            "bottom.mlp.2.bn.running_var",
            &[1],
            &[4.0],
        )
    };
    let diced = |y: f32| {
        let p = sigmoid((y - 0.5) / 2.0);
        p * y + 0.5 * (1.0 - p) * y
    };
    let relu = |y: f32| y.max(0.0);
    let leaky = |y: f32| if y > 0.0 { y } else { 0.25 * y };
    for (name, checkpoint, bent) in [
        ("relu", normalised(plain), y.map(relu)),
        ("prelu", normalised(prelu), y.map(leaky)),
        ("dice", normalised(dice), y.map(diced)),
    ] {
        let config = |hidden: &str| {
            format!(
                "tasks = [\"t\"]\n[model]\nname = \"shared-bottom\"\ndim = 1\nbottom = [1]\ntower = []\n{hidden}\n\
                 [[field]]\nname = \"f\"\nrows = 3\n"
            )
        };
        let bench = Bench::of(&checkpoint);
        bench.refuses(&config(""), &["'bottom.mlp.1.running_var' [1] belongs to no part", "see `hidden` in [model]"]);
        bench.import(&config(&format!("hidden = {{ activation = \"{name}\", batch_norm = true }}"))).unwrap();
        let rows = [1, 2].map(|id| Row::new().with("f", id));
        assert_close(bench.predictor().predict(&rows).unwrap().rows(), &bent.map(sigmoid));
    }
}
