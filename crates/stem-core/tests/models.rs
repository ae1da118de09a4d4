//! What every model promises, and what configurations are refused.

use crate::common::*;
use stem_core::models::*;
use stem_core::nn::*;
use stem_core::*;

#[test]
fn configurations_survive_a_file_and_unknown_keys_are_refused() {
    for config in every_model() {
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<ModelConfig>(&text).unwrap(), config);
    }
    let error = serde_json::from_str::<ModelConfig>(r#"{"name": "stem", "dims": 4}"#).unwrap_err().to_string();
    assert!(error.contains("unknown field `dims`") && error.contains("`dim`"), "{error}");
}

#[test]
fn sizes_that_no_model_can_have_are_refused_by_key() {
    let base = StemConfig::default();
    let refused = |config: StemConfig, message: &str| {
        let error = ModelConfig::Stem(config).check(&schema()).unwrap_err().to_string();
        assert_eq!(error, format!("model configuration: {message}"));
    };
    refused(StemConfig { dim: 0, ..base.clone() }, "`dim` is 0, expected 1 to 65536");
    refused(StemConfig { layers: 0, ..base.clone() }, "`layers` is 0, expected 1 to 65536");
    refused(StemConfig { experts: vec![], ..base.clone() }, "`experts` is 0 layers, expected 1 to 64 layers");
    refused(StemConfig { experts: vec![4, 0], ..base.clone() }, "`experts` is 0, expected 1 to 65536");
    refused(StemConfig { tower: vec![1 << 20], ..base.clone() }, "`tower` is 1048576, expected 1 to 65536");
    let dropout = |dropout| HiddenConfig { dropout, ..HiddenConfig::default() };
    let expected = "expected 0 or more, and less than 1";
    refused(StemConfig { hidden: dropout(1.0), ..base.clone() }, &format!("`hidden.dropout` is 1, {expected}"));
    refused(StemConfig { hidden: dropout(f64::NAN), ..base.clone() }, &format!("`hidden.dropout` is NaN, {expected}"));
    refused(
        StemConfig { specific_experts: 0, shared_experts: 0, ..base.clone() },
        "`specific_experts and shared_experts` is 0 and 0, expected at least one expert",
    );
    refused(
        StemConfig { shared_embedding: false, ..base.clone() },
        "`shared_experts` is 8, expected 0 where shared_embedding is false: they have nothing to read",
    );
    refused(
        StemConfig { shared_embedding: false, task_embeddings: false, ..base.clone() },
        "`task_embeddings` is false, expected true where shared_embedding is false: experts need input",
    );
    refused(
        StemConfig { shared_embedding: false, shared_experts: 0, shared_dim: Some(4), ..base.clone() },
        "`shared_dim` is set, expected no such key where shared_embedding is false",
    );
    let auxiliary =
        |names: &[&str]| StemConfig { auxiliary: names.iter().map(ToString::to_string).collect(), ..base.clone() };
    refused(auxiliary(&["share"]), "`auxiliary` is share, expected labels among like, love");
    refused(
        auxiliary(&["like", "love"]),
        "`auxiliary` is like, love, expected at least one label left that is not auxiliary",
    );
    let apart = "`auxiliary` is like, expected none unless stop_gradient, shared_embedding and task_embeddings are true and \
                 reach is `\"all\"`: other tasks read what it learns, and its loss changes nothing shared";
    refused(StemConfig { reach: Reach::OwnAndShared, ..auxiliary(&["like"]) }, apart);
    refused(StemConfig { stop_gradient: false, ..auxiliary(&["like"]) }, apart);
    refused(
        StemConfig { specific_experts: 0, ..auxiliary(&["like"]) },
        "`auxiliary` is like, expected none where specific_experts is 0: it has no experts",
    );
    let groups = |groups: &[&[&str]]| {
        let names = |group: &&[&str]| group.iter().map(ToString::to_string).collect();
        StemConfig { groups: groups.iter().map(names).collect(), ..base.clone() }
    };
    refused(groups(&[&["like", "share"]]), "`groups` is share, expected labels among like, love");
    refused(
        groups(&[&["like"], &["love", "like"]]),
        "`groups` is like twice, expected every label in one group at most",
    );
    refused(groups(&[&["like"], &[]]), "`groups` is [], expected one label or more in every group");
    let no_tasks =
        "`groups` is set, expected none where task_embeddings is false: there is no embedding to have together";
    refused(StemConfig { task_embeddings: false, ..groups(&[&["like", "love"]]) }, no_tasks);
    let auxiliary = StemConfig { auxiliary: vec!["like".into()], ..groups(&[&["like", "love"]]) };
    refused(
        auxiliary,
        "`groups` is like, expected no auxiliary label in a group with others: its loss changes nothing shared",
    );
    let pair = || groups(&[&["like", "love"]]);
    refused(
        StemConfig { meta_experts: 2, ..groups(&[&["like"], &["love"]]) },
        "`meta_experts` is 2, expected 0 without `groups` of labels, of which one has two or more",
    );
    refused(
        StemConfig { meta_experts: 1, shared_embedding: false, shared_experts: 0, ..pair() },
        "`meta_experts` is 1, expected 0 where shared_embedding is false: tasks' layers read what is shared of them",
    );
    refused(StemConfig { meta_experts: 70_000, ..pair() }, "`meta_experts` is 70000, expected 0 to 65536");
    let reach = StemConfig { reach: Reach::GroupAndShared, ..groups(&[&["like"]]) };
    refused(
        reach,
        "`reach` is group-and-shared, expected `groups` of labels, of which one has two or more: without them a task's own experts are all it could reach",
    );
    refused(StemConfig { shared_dim: Some(0), ..base }, "`shared_dim` is 0, expected 1 to 65536");
}

#[test]
fn baselines_without_experts_or_with_too_few_tasks_are_refused() {
    let message = |config: ModelConfig, schema: &Schema| config.check(schema).unwrap_err().to_string();
    let none = MixtureSizes { expert_count: 0, ..mixture() };
    let expected = "model configuration: `expert_count` is 0, expected 1 to 65536";
    assert_eq!(message(ModelConfig::Omoe(OmoeConfig(none.clone())), &schema()), expected);
    assert_eq!(message(ModelConfig::Mmoe(MmoeConfig(none.clone())), &schema()), expected);
    assert_eq!(message(ModelConfig::MmoeMe(MmoeMeConfig(none)), &schema()), expected);
    let unshared = LayeredSizes { shared_experts: 0, ..layered() };
    let expected = "model configuration: `shared_experts` is 0, expected 1 or more with 2 layers: the shared stream between \
                    layers reads them";
    assert_eq!(message(ModelConfig::Ple(PleConfig(unshared.clone())), &schema()), expected);
    assert_eq!(message(ModelConfig::PleMe(PleMeConfig(unshared)), &schema()), expected);
    let one = schema().only_task(0);
    let aitm = message(ModelConfig::Aitm(AitmConfig::default()), &one);
    assert!(aitm.starts_with("model 'aitm' does not fit this data: ") && aitm.contains("the recipe has 1"), "{aitm}");
    let negative = AitmConfig { order_penalty: -1.0, ..AitmConfig::default() };
    let expected = "model configuration: `order_penalty` is -1, expected a number of 0 or more";
    assert_eq!(message(ModelConfig::Aitm(negative), &schema()), expected);
    let mut narrowed = schema();
    narrowed.tasks[1].within = Some("like".into());
    let ordered = AitmConfig { order_penalty: 0.6, ..AitmConfig::default() };
    let aitm = message(ModelConfig::Aitm(ordered), &narrowed);
    assert!(aitm.contains("'love' is judged within another"), "{aitm}");
    let esmm = message(ModelConfig::Esmm(EsmmConfig::default()), &one);
    assert!(esmm.contains("exactly two labels") && esmm.contains("the recipe has 1: name two"), "{esmm}");
    let mut within = schema();
    within.tasks[1].within = Some("like".into());
    let esmm = message(ModelConfig::Esmm(EsmmConfig::default()), &within);
    assert!(esmm.contains("task 'love' is judged within 'like'") && esmm.contains("among all rows"), "{esmm}");
}

#[test]
fn an_unknown_model_is_told_the_nearest() {
    let message = "mmo".parse::<ModelName>().unwrap_err().to_string();
    let known = "stem, shared-bottom, single-task, omoe, mmoe, ple, aitm, esmm, mmoe-me, ple-me";
    assert_eq!(message, format!("unknown model 'mmo', did you mean 'mmoe'? Known are: {known}"));
    for (typed, meant) in [("PLE", "ple"), ("sharedbottom", "shared-bottom"), ("steam", "stem"), ("mmoe_me", "mmoe-me")]
    {
        let message = typed.parse::<ModelName>().unwrap_err().to_string();
        assert!(message.contains(&format!("did you mean '{meant}'?")), "{message}");
    }
}

#[test]
fn the_same_seed_gives_the_same_weights_and_padding_rows_are_zero() {
    let (a, net_a) = init(&stem(), &device());
    let (b, net_b) = init(&stem(), &device());
    let rows = a.rows().tensor().to_data();
    assert_eq!(rows, b.rows().tensor().to_data());
    assert_eq!(params::collect(&net_a), params::collect(&net_b));
    let rows: Vec<f32> = rows.try_into_vec().unwrap();
    let zero = |row: usize| rows[row * 12..(row + 1) * 12].iter().all(|w| *w == 0.0);
    assert_eq!((0..11).filter(|&row| zero(row)).collect::<Vec<_>>(), [0, 5], "user's and tags' padding; age has none");
}

#[test]
fn the_size_told_beforehand_is_the_networks() {
    let same = |config: &ModelConfig| {
        let (_, network) = init(config, &device());
        let built: usize = params::list(&network).iter().map(|(_, _, count)| count).sum();
        assert_eq!(config.size(&schema()).parameters, built as u64, "{config:?}");
    };
    for config in every_model() {
        same(&config);
        for activation in [Activation::Gelu, Activation::Swish, Activation::Prelu, Activation::Dice] {
            same(&with_hidden(&config, HiddenConfig { activation, batch_norm: true, dropout: 0.1 }));
        }
    }
    stem_ablations().iter().for_each(|config| same(&ModelConfig::Stem(config.clone())));
}

/// STEM with T = 2: own experts, shared ones, gates, what gates read, the mix, towers, for one row of a batch.
#[test]
fn the_activations_told_beforehand_are_those_of_the_equations() {
    let config = StemConfig { layers: 1, ..stem_config() };
    let (experts, gates, towers) = ((4 + 1) * (6 + 5), 2 * (4 + 5), 2 * (3 + 1));
    let input = 3 * 4; // F fields of width D
    let (repeated, sums, mixed) = (2 * 2 * input, 2 * input, 2 * (5 + 5)); // streams for own experts; x_t + x_s; softmax and mix
    let expected = experts + gates + towers + repeated + sums + mixed;
    assert_eq!(ModelConfig::Stem(config.clone()).size(&schema()).activations, expected);
    let one = ModelConfig::Stem(StemConfig { specific_experts: 1, ..config }); // a stream has one expert and is not repeated
    let expected = (2 + 1) * (6 + 5) + 2 * (4 + 3) + towers + sums + 2 * (3 + 5);
    assert_eq!(one.size(&schema()).activations, expected);
}

#[test]
fn every_model_says_whose_its_embeddings_and_experts_are() {
    assert_eq!(
        (stem().embedding_groups(&schema()), stem().gate_groups(&schema())),
        (vec![0, 1, 2], vec![0, 0, 1, 1, 2])
    );
    for config in every_model() {
        let (groups, widths) = (config.embedding_groups(&schema()), config.widths(&schema()).len());
        assert!(groups.len() == widths || groups.is_empty(), "{config:?}: {groups:?}");
        assert_eq!(config.tasks_stand_apart(), config.name() != "esmm", "{config:?}");
        match config.name() {
            "shared-bottom" | "mmoe" | "ple" => assert_eq!(groups, [2], "{config:?}"),
            "stem" if config.widths(&schema()).len() == 2 => assert_eq!(groups, [0, 2], "{config:?}"),
            "ple-me" | "stem" => assert_eq!(groups, [0, 1, 2], "{config:?}"),
            _ => {}
        }
        if ["ple", "ple-me", "stem"].contains(&config.name()) {
            let mut experts = config.gate_groups(&schema());
            experts.dedup();
            assert_eq!(experts, [0, 1, 2], "{config:?}");
        }
    }
}

#[test]
fn a_gate_that_reads_its_own_stream_needs_one() {
    let own = |layers| StemConfig { task_embeddings: false, gate_input: GateInput::Own, layers, ..stem_config() };
    let message = ModelConfig::Stem(own(1)).check(&schema()).unwrap_err().to_string();
    assert!(message.contains("there is one input"), "{message}");
    ModelConfig::Stem(own(2)).check(&schema()).unwrap();
}

#[test]
fn gates_are_distributions_over_the_experts() {
    let (table, network) = init(&stem(), &device());
    let batch = encode_rows(&schema(), &vocabularies(), &rows()).unwrap();
    let (index, weights) = upload(&batch.ids, &batch.weights, batch.rows, &device());
    let x = SlotLayout::new(&schema(), table.widths()).pool(table.rows().tensor().clone(), index, weights);
    let gates = network.gates(x);
    assert_eq!(
        gates.iter().map(|g| g.dims()).collect::<Vec<_>>(),
        [[3, 4, 5], [2, 4, 5]],
        "the last layer mixes no shared stream"
    );
    for g in gates {
        let sums: Vec<f32> = g.sum_dim(2).into_data().try_into_vec().unwrap();
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5));
    }
}

#[test]
fn dropout_is_for_training_alone() {
    let config = with_hidden(&shared_bottom(), HiddenConfig { dropout: 0.5, ..HiddenConfig::default() });
    let batch = encode_rows(&schema(), &vocabularies(), &rows()).unwrap();
    let (table, network) = init(&config, &device().autodiff());
    let layout = SlotLayout::new(&schema(), table.widths());
    let once = || score(&burn::module::Module::valid(&network), &table, &layout, &schema(), &batch);
    assert_eq!(once(), once());
    let train = || {
        let (index, weights) = upload(&batch.ids, &batch.weights, batch.rows, &device());
        let rows = table.rows().tensor().clone().autodiff();
        let x = layout.pool(rows, index.autodiff(), weights.autodiff());
        network.forward(x).inner().into_data().try_into_vec::<f32>().unwrap()
    };
    assert!((0..20).any(|_| train() != train())); // of few units the same may be dropped twice
}

#[test]
fn parameters_that_are_missing_left_over_or_misshapen_are_named() {
    let (_, network) = init(&shared_bottom(), &device());
    let values = params::collect(&network);
    let fault = |values| params::replace(network.clone(), values).unwrap_err().to_string();
    let mut left_over = values.clone();
    left_over.insert("more".into(), values["bottom.layers.0.bias"].clone());
    assert_eq!(fault(left_over), "parameter 'more' belongs to no part of this model");
    let mut missing = values.clone();
    missing.remove("bottom.layers.0.bias");
    assert_eq!(fault(missing), "parameter 'bottom.layers.0.bias' is missing");
    let mut misshapen = values.clone();
    misshapen.insert("bottom.layers.0.bias".into(), values["bottom.layers.1.bias"].clone());
    assert_eq!(fault(misshapen), "parameter 'bottom.layers.0.bias' has shape [1, 1, 5], the model needs [1, 1, 6]");
}

/// Logits of the common rows, before the sigmoid; `change` may turn the batch's tables around.
fn logits(config: &ModelConfig, schema: &Schema, table: &EmbeddingTable, network: &AnyModel) -> Vec<f32> {
    let batch = encode_rows(schema, &vocabularies(), &rows()).unwrap();
    let (index, weights) = upload(&batch.ids, &batch.weights, batch.rows, &device());
    let x = SlotLayout::new(schema, &config.widths(schema)).pool(table.rows().tensor().clone(), index, weights);
    network.forward(x).into_data().try_into_vec().unwrap()
}

#[test]
fn every_ablation_scores_and_its_gates_are_distributions() {
    for config in stem_ablations() {
        config.check(&schema()).unwrap();
        let config = ModelConfig::Stem(config);
        let (table, network) = init(&config, &device());
        let z = logits(&config, &schema(), &table, &network);
        assert!(z.len() == 8 && z.iter().all(|z| z.is_finite()), "{config:?}: {z:?}");
        let batch = encode_rows(&schema(), &vocabularies(), &rows()).unwrap();
        let (index, weights) = upload(&batch.ids, &batch.weights, batch.rows, &device());
        let x = SlotLayout::new(&schema(), table.widths()).pool(table.rows().tensor().clone(), index, weights);
        for g in network.gates(x) {
            let sums: Vec<f32> = g.sum_dim(2).into_data().try_into_vec().unwrap();
            assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5), "{config:?}: {sums:?}");
        }
    }
}

#[test]
fn a_gate_that_reaches_own_and_shared_experts_gives_the_others_no_weight() {
    let config = ModelConfig::Ple(PleConfig(layered())); // like 0, like 1, love 0, love 1, shared
    let (table, network) = init(&config, &device());
    let batch = encode_rows(&schema(), &vocabularies(), &rows()).unwrap();
    let (index, weights) = upload(&batch.ids, &batch.weights, batch.rows, &device());
    let x = SlotLayout::new(&schema(), table.widths()).pool(table.rows().tensor().clone(), index, weights);
    let means: Vec<f32> = network.gates(x)[0].clone().mean_dim(1).into_data().try_into_vec().unwrap();
    let read: Vec<bool> = means.iter().map(|g| *g != 0.0).collect();
    let expected =
        [[true, true, false, false, true], [false, false, true, true, true], [false, false, false, false, true]];
    assert_eq!(read, expected.concat());
}

#[test]
fn one_expert_makes_an_omoe_a_shared_bottom() {
    let omoe = ModelConfig::Omoe(OmoeConfig(MixtureSizes { expert_count: 1, ..mixture() }));
    let (table, network) = init(&omoe, &device());
    let (_, plain) = init(&shared_bottom(), &device());
    let rename = |name: &str| name.replace("net.experts.", "bottom.").replace("net.towers.", "towers.");
    let values = params::collect(&network).into_iter().filter(|(name, _)| !name.contains("gates"));
    let plain = params::replace(plain, values.map(|(name, data)| (rename(&name), data)).collect()).unwrap();
    let (a, b) = (logits(&omoe, &schema(), &table, &network), logits(&shared_bottom(), &schema(), &table, &plain));
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < tolerance()), "{a:?} {b:?}");
}

/// Task `t` of the permuted model has all that task `1 - t` of the model has: embeddings, experts, gates, tower.
#[test]
fn permuting_the_tasks_permutes_the_outputs() {
    for config in every_model() {
        if matches!(config, ModelConfig::Aitm(_) | ModelConfig::Esmm(_)) {
            continue; // their tasks have an order
        }
        let (mut table, network) = init(&config, &device());
        let before = logits(&config, &schema(), &table, &network);
        let widths = config.widths(&schema());
        let groups_are_tasks = !matches!(config, ModelConfig::MmoeMe(_)) && widths.len() >= 2;
        if groups_are_tasks {
            let width: usize = widths.iter().sum();
            let values = table.rows_mut().host_mut(|rows| rows.to_vec());
            let swap = |row: &[f32]| [&row[4..8], &row[..4], &row[8..]].concat();
            let values = values.chunks(width).flat_map(swap).collect();
            table = EmbeddingTable::from_values(values, &widths, &device());
        }
        let swapped = params::collect(&network).into_iter().map(|(name, data)| (name.clone(), swap_tasks(&name, data)));
        let permuted = params::replace(network.clone(), swapped.collect()).unwrap();
        let after = logits(&config, &schema(), &table, &permuted);
        let same = before
            .chunks(2)
            .zip(after.chunks(2))
            .all(|(a, b)| (a[0] - b[1]).abs() < 10.0 * tolerance() && (a[1] - b[0]).abs() < 10.0 * tolerance());
        assert!(same, "{}: {before:?} {after:?}", config.name());
    }
}

/// A bank with its halves exchanged where its members are tasks'; a gate over all experts, and its experts too.
fn swap_tasks(name: &str, data: burn::tensor::TensorData) -> burn::tensor::TensorData {
    let shape = data.shape().as_slice().to_vec();
    let mut values: Vec<f32> = data.try_into_vec().unwrap();
    let of_tasks =
        ["own.", "gates.", "towers.", "bottoms."].iter().any(|part| name.contains(part)) && shape[0].is_multiple_of(2);
    if of_tasks {
        let half = values.len() / 2;
        values.rotate_left(half);
    }
    // A gate's outputs are experts: like 0, like 1, love 0, love 1, shared.
    if name.contains("gate") && shape[2] == 5 {
        values.chunks_mut(5).for_each(|experts| experts[..4].rotate_left(2));
    }
    burn::tensor::TensorData::new(values, shape)
}
