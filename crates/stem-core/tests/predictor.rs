//! Raw rows in, probabilities out.

use crate::common::*;
use stem_core::models::*;
use stem_core::nn::*;
use stem_core::*;

fn predictor(config: &ModelConfig) -> Predictor {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.safetensors");
    save(config, &path);
    Predictor::open(&path, &device()).unwrap()
}

#[test]
fn scores_are_probabilities_per_row_and_task() {
    for config in [stem(), shared_bottom(), single_task()] {
        let scores = predictor(&config).predict(&rows()).unwrap();
        assert_eq!((scores.len(), scores.tasks()), (4, ["like".to_string(), "love".to_string()].as_slice()));
        assert!(scores.rows().flatten().all(|p| *p > 0.0 && *p < 1.0));
        assert_eq!(scores.get(1, "love"), Some(scores.rows().nth(1).unwrap()[1]));
        assert_eq!((scores.get(4, "like"), scores.get(0, "buy")), (None, None));
    }
}

#[test]
fn scores_do_not_depend_on_batch_size_or_neighbours() {
    let predictor = predictor(&stem());
    let row = |i: usize| {
        let user = [10, 20, 30, 99][i * i % 4];
        Row::new().with("user", user).with("tags", ["a", "b|c", ""][i % 3]).with("age", i as f64 / 100.0)
    };
    let many: Vec<Row> = (0..9001).map(row).collect(); // no two are alike, and two parts are full
    let together = predictor.predict(&many).unwrap();
    let encoded = predictor.score(&predictor.encode(&many).unwrap()).unwrap();
    assert_eq!((together.len(), &together), (9001, &encoded));
    for i in [0, 1, 4095, 4096, 4097, 8191, 8192, 9000] {
        let alone = predictor.predict(&[row(i)]).unwrap();
        for (a, b) in alone.rows().next().unwrap().iter().zip(together.rows().nth(i).unwrap()) {
            assert!((a - b).abs() <= tolerance(), "row {i}: {a} alone, {b} among many");
        }
    }
}

/// What a predictor does without tensors, and what it does with them where it cannot, is the forward of a training.
#[test]
fn a_predictor_gives_the_bits_of_the_forward_that_trains() {
    let ablations = stem_ablations().into_iter().map(ModelConfig::Stem);
    let bent = [Activation::Prelu, Activation::Swish]
        .map(|activation| with_hidden(&stem(), HiddenConfig { activation, batch_norm: false, dropout: 0.0 }));
    let crossed = with_cross(&stem(), CrossConfig { layers: 1, rank: 2 });
    for config in every_model().into_iter().chain(ablations).chain(bent).chain([crossed]) {
        let (predictor, (table, network)) = (predictor(&config), init(&config, &device()));
        let layout = SlotLayout::new(&schema(), table.widths());
        for count in [1, 2, 5, 300] {
            let batch = predictor.encode(&rows().into_iter().cycle().take(count).collect::<Vec<_>>()).unwrap();
            let expected = score(&network, &table, &layout, &schema(), &batch);
            let found: Vec<f32> = predictor.score(&batch).unwrap().rows().flatten().copied().collect();
            let is_same = |(a, b): (&f32, &f32)| match DeviceSpec::from_env().unwrap() {
                DeviceSpec::Flex => a.to_bits() == b.to_bits(),
                _ => (a - b).abs() <= tolerance(),
            };
            assert!(found.iter().zip(&expected).all(is_same), "{config:?}, {count} rows");
            assert_eq!(found.len(), expected.len());
        }
    }
}

#[test]
fn errors_count_rows_from_the_start_of_the_request() {
    let mut many: Vec<Row> = rows().into_iter().cycle().take(5000).collect();
    many[4500].insert("age", "old");
    let message = predictor(&stem()).predict(&many).unwrap_err().to_string();
    assert_eq!(message, "column 'age', row 4500: expected a finite number, found \"old\"");
}

/// Logits that tell which precision the forward ran in, and how many rows and slots it was given at once.
mod probe {
    use super::*;
    use burn::module::Module;
    use burn::tensor::{Device, Tensor};
    use serde::{Deserialize, Serialize};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use stem_core::precision::{Precision, current};

    /// The most rows that a forward was given.
    pub static MOST_ROWS: AtomicUsize = AtomicUsize::new(0);

    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub struct ProbeConfig {}

    #[derive(Module, Debug)]
    pub struct Probe {
        one: burn::module::Param<Tensor<1>>,
    }

    impl Model for Probe {
        fn forward(&self, x: Pooled) -> Tensor<2> {
            let [_, rows, _] = x.group(0).dims();
            MOST_ROWS.fetch_max(rows, Ordering::SeqCst);
            let logit = if current() == Precision::Bf16 { 1.0 } else { -1.0 };
            Tensor::ones([rows, 2], &self.one.device()) * logit
        }
    }

    impl ModelSpec for ProbeConfig {
        type Model = Probe;
        fn name(&self) -> &'static str {
            "probe"
        }
        fn check(&self, _: &Schema) -> Result<()> {
            Ok(())
        }
        fn widths(&self, _: &Schema) -> Vec<usize> {
            vec![1]
        }
        fn size(&self, _: &Schema) -> NetworkSize {
            NetworkSize { parameters: 1, activations: 1 }
        }
        fn init(&self, _: &Schema, _: &mut Rng, device: &Device) -> Probe {
            Probe { one: burn::module::Param::from_tensor(Tensor::ones([1], device)) }
        }
    }

    /// A predictor of the probe over this schema.
    pub fn predictor(schema: &Schema) -> Predictor<ProbeConfig> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("probe.safetensors");
        let table = EmbeddingTable::init(schema, &[1], 1.0, 7, &device().inner());
        let network = ProbeConfig {}.init(schema, &mut rng(0), &device());
        let training = serde_json::Value::Null;
        bundle::save(&path, schema, &vocabularies(), &ProbeConfig {}, &table, &network, &training).unwrap();
        Predictor::open_model(&path, &device()).unwrap()
    }
}

#[test]
fn a_predictors_precision_holds_on_every_thread() {
    use stem_core::precision::Precision;
    let (full, half) = (probe::predictor(&schema()), probe::predictor(&schema()).with_precision(Precision::Bf16));
    let high = |predictor: &Predictor<probe::ProbeConfig>| {
        std::thread::scope(|scope| scope.spawn(|| predictor.predict(&rows()).unwrap()).join().unwrap()).get(0, "like")
    };
    assert!(high(&full).unwrap() < 0.5 && high(&half).unwrap() > 0.5);
}

#[test]
fn long_sequences_are_scored_few_rows_at_a_time() {
    let mut long = schema();
    long.fields[1] = Field::sequence("tags", 1, 60_000).separated_by("|");
    let predictor = probe::predictor(&long);
    probe::MOST_ROWS.store(0, std::sync::atomic::Ordering::SeqCst);
    let many: Vec<Row> = rows().into_iter().cycle().take(40).collect();
    assert_eq!(predictor.predict(&many).unwrap().len(), 40);
    assert_eq!(probe::MOST_ROWS.load(std::sync::atomic::Ordering::SeqCst), 4);
}

#[test]
fn a_request_in_json_is_answered_in_json() {
    let predictor = predictor(&stem());
    let request = r#"[{ "user": 10, "tags": ["a", "b"], "age": 31.5 }, { "user": 30, "tags": "c|a", "age": 44 }]"#;
    let rows: Vec<Row> = serde_json::from_str(request).unwrap();
    let scores = predictor.predict(&rows).unwrap();
    let answer = serde_json::to_value(&scores).unwrap();
    assert_eq!(answer.as_array().unwrap().len(), 2);
    assert_eq!(answer[1]["love"].as_f64().map(|p| p as f32), scores.get(1, "love"));
    assert_eq!(scores.task("love").unwrap().nth(1), scores.get(1, "love"));
    assert_eq!(predictor.vocabularies(), vocabularies());
}

#[test]
fn no_rows_give_no_scores() {
    assert!(predictor(&stem()).predict(&[]).unwrap().is_empty());
}

#[test]
fn unseen_values_share_one_row_and_null_is_unseen() {
    let predictor = predictor(&stem());
    let row = |user: Value| Row::new().with("user", user).with("tags", "a").with("age", 40);
    let scores = predictor.predict(&[row(77.into()), row(78.into()), row(Value::Null), row(10.into())]).unwrap();
    let rows: Vec<&[f32]> = scores.rows().collect();
    assert_eq!((rows[0], rows[0]), (rows[1], rows[2]));
    assert_ne!(rows[0], rows[3]);
}

#[test]
fn a_text_list_and_its_separated_form_score_alike() {
    let predictor = predictor(&stem());
    let row = |tags: Value| Row::new().with("user", "10").with("tags", tags).with("age", 40.0);
    let scores = predictor.predict(&[row(vec!["a", "b"].into()), row("a|b".into()), row("b|a".into())]).unwrap();
    let rows: Vec<&[f32]> = scores.rows().collect();
    assert_eq!(rows[0], rows[1]);
    assert!((rows[0][0] - rows[2][0]).abs() < 1e-6, "a mean does not depend on the order");
}

#[test]
fn a_missing_column_is_named_with_what_the_model_reads() {
    let error =
        predictor(&stem()).predict(&[rows()[0].clone(), Row::new().with("user", 1).with("age", 3)]).unwrap_err();
    assert_eq!(error.to_string(), "row 1 has no column 'tags'; the model reads: user, tags, age");
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_column_and_row() {
    let predictor = predictor(&stem());
    let row = |user: Value, age: Value| Row::new().with("user", user).with("tags", "a").with("age", age);
    for (row, message) in [
        (row("abc".into(), 4.into()), "column 'user', row 0: expected an integer, found \"abc\""),
        (row(1.5.into(), 4.into()), "column 'user', row 0: expected an integer, found 1.5"),
        (row(vec![1, 2].into(), 4.into()), "column 'user', row 0: expected one value, found a list of 2"),
        (row(1.into(), vec![1].into()), "column 'age', row 0: expected a finite number, found a list of 1"),
        (row(1.into(), "old".into()), "column 'age', row 0: expected a finite number, found \"old\""),
        (row(1.into(), f64::NAN.into()), "column 'age', row 0: expected a finite number, found NaN"),
    ] {
        assert_eq!(predictor.predict(&[row]).unwrap_err().to_string(), message);
    }
}

#[test]
fn a_default_stands_in_for_null() {
    let mut schema = schema();
    schema.fields[0].default = Some(20.into());
    let row = |user: Value| Row::new().with("user", user).with("tags", "a").with("age", 4);
    let batch = encode_rows(&schema, &vocabularies(), &[row(Value::Null), row(20.into())]).unwrap();
    assert_eq!(batch.ids[..5], batch.ids[5..]);
}

#[test]
fn an_encoded_batch_is_checked_before_it_reaches_a_device() {
    let predictor = predictor(&stem());
    let mut batch = encode_rows(predictor.schema(), &vocabularies(), &rows()).unwrap();
    batch.ids[3] = 11;
    let message = predictor.score(&batch).unwrap_err().to_string();
    assert_eq!(message, "bad batch: row 0, slot 3: id 11 in a table of 11 rows");
}

#[test]
fn a_predictor_is_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    let predictor = predictor(&stem());
    shared(&predictor);
    let expected = predictor.predict(&rows()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(predictor.predict(&rows()).unwrap(), expected));
        }
    });
}

#[test]
fn a_float_names_no_text_key_and_booleans_are_integers() {
    let vocabularies = vocabularies();
    let wrong = vocabularies[1].id_of(&Value::Float(1.0), "tags", 3).unwrap_err().to_string();
    assert_eq!(wrong, "column 'tags', row 3: expected text or an integer, found 1");
    let flags = Vocabulary::integers([0, 1]);
    let id = |value: Value| flags.id_of(&value, "flag", 0).unwrap();
    assert_eq!([id(true.into()), id("True".into()), id(1.into())], [2, 2, 2]);
    assert_eq!([id(false.into()), id("false".into())], [1, 1]);
}

/// Whether products are this library's own, which sum in one order whatever the number of rows; the crate `gemm`'s do not.
fn has_own_products() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// What a server promises: a request's scores do not depend on the requests that it is batched with.
#[test]
fn on_the_cpu_the_scores_of_a_row_are_the_same_bits_alone_and_among_others() {
    if DeviceSpec::from_env().unwrap() != DeviceSpec::Flex || !has_own_products() {
        return println!("skipped: other devices, and processors without AVX-512, give the same within a tolerance");
    }
    let row = |i: usize| {
        let user = [10, 20, 30, 99][i * i % 4];
        Row::new().with("user", user).with("tags", ["a", "b|c", ""][i % 3]).with("age", i as f64 / 100.0)
    };
    let many: Vec<Row> = (0..4300).map(row).collect();
    let mut models = every_model();
    models.extend(every_model().iter().filter(|model| model.model_name() == ModelName::Stem).map(|model| {
        with_hidden(model, HiddenConfig { activation: Activation::Prelu, batch_norm: true, ..HiddenConfig::default() })
    }));
    for config in models {
        let predictor = predictor(&config);
        let bits = |rows: &[Row]| {
            predictor.predict(rows).unwrap().into_values().into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let together = bits(&many);
        let tasks = together.len() / many.len();
        for (from, to) in [
            (0, 1),
            (1, 2),
            (17, 20),
            (5, 55),
            (100, 115),
            (200, 216),
            (300, 317),
            (1000, 1700),
            (4095, 4097),
            (4299, 4300),
        ] {
            let apart = bits(&many[from..to]);
            assert!(apart == together[from * tasks..to * tasks], "{}: rows {from} to {to}", config.model_name());
        }
    }
}

/// Their first fields are pooled once, and the first layer multiplies what they begin with once.
#[test]
fn on_the_cpu_candidates_of_one_user_have_the_bits_that_each_has_alone() {
    if DeviceSpec::from_env().unwrap() != DeviceSpec::Flex || !has_own_products() {
        return println!("skipped: other devices, and processors without AVX-512, give the same within a tolerance");
    }
    for name in ModelConfig::names() {
        let predictor = predictor(&ModelConfig::of_preset(name, Preset::Small).unwrap()); // two fields of 8 numbers begin alike
        let row = |i: usize| Row::new().with("user", 20).with("tags", "b|c").with("age", i as f64 / 50.0);
        let many: Vec<Row> = (0..300).map(row).collect();
        let bits = |rows: &[Row]| -> Vec<u32> {
            predictor.predict(rows).unwrap().into_values().into_iter().map(f32::to_bits).collect()
        };
        let alone: Vec<u32> = many.iter().flat_map(|row| bits(std::slice::from_ref(row))).collect();
        assert!(bits(&many) == alone, "{name}");
    }
}
