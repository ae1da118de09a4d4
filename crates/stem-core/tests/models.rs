//! What every model promises, and what configurations are refused.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;
use stem_core::*;

#[test]
fn configurations_survive_a_file_and_unknown_keys_are_refused() {
    for config in [stem(), shared_bottom(), single_task()] {
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
    refused(StemConfig { dropout: 1.0, ..base.clone() }, "`dropout` is 1, expected 0 or more, and less than 1");
    refused(StemConfig { dropout: f64::NAN, ..base.clone() }, "`dropout` is NaN, expected 0 or more, and less than 1");
    refused(
        StemConfig { specific_experts: 0, shared_experts: 0, ..base },
        "`specific_experts and shared_experts` is 0 and 0, expected at least one expert",
    );
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
    for config in [stem(), shared_bottom(), single_task()] {
        let (_, network) = init(&config, &device());
        let built: usize = params::list(&network).iter().map(|(_, _, count)| count).sum();
        assert_eq!(config.size(&schema()).parameters, built as u64, "{}", config.name());
    }
}

#[test]
fn gates_are_distributions_over_the_experts() {
    let (table, network) = init(&stem(), &device());
    let batch = encode_rows(&schema(), &vocabularies(), &rows()).unwrap();
    let (index, weights) = upload(&batch.ids, &batch.weights, batch.rows, &device());
    let x = SlotLayout::new(&schema(), table.widths()).pool(table.rows().tensor().clone(), index, weights);
    let means = network.gate_means(x);
    assert_eq!(
        means.iter().map(|m| m.dims()).collect::<Vec<_>>(),
        [[3, 5], [2, 5]],
        "the last layer mixes no shared stream"
    );
    for mean in means {
        let sums: Vec<f32> = mean.sum_dim(1).into_data().try_into_vec().unwrap();
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5));
    }
}

#[test]
fn dropout_is_for_training_alone() {
    let config =
        ModelConfig::SharedBottom(SharedBottomConfig { dim: 4, bottom: vec![64], tower: vec![], dropout: 0.5 });
    let batch = encode_rows(&schema(), &vocabularies(), &rows()).unwrap();
    let (table, network) = init(&config, &device().autodiff());
    let layout = SlotLayout::new(&schema(), table.widths());
    let once = || score(&burn::module::Module::valid(&network), &table, &layout, &batch);
    assert_eq!(once(), once());
    let train = || {
        let (index, weights) = upload(&batch.ids, &batch.weights, batch.rows, &device());
        let rows = table.rows().tensor().clone().autodiff();
        let x = layout.pool(rows, index.autodiff(), weights.autodiff());
        network.forward(x).inner().into_data().try_into_vec::<f32>().unwrap()
    };
    assert_ne!(train(), train());
}

#[test]
fn parameters_that_are_missing_left_over_or_misshapen_are_named() {
    let (_, network) = init(&shared_bottom(), &device());
    let values = params::collect(&network);
    let fault = |values| params::replace(network.clone(), values).map(|_| ()).unwrap_err();
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
