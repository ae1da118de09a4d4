//! Raw rows in, probabilities out.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;
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
    let many: Vec<Row> = rows().into_iter().cycle().take(5000).collect();
    let together = predictor.predict(&many).unwrap();
    for (i, row) in rows().into_iter().enumerate() {
        let alone = predictor.predict(&[row]).unwrap();
        for (a, b) in alone.rows().next().unwrap().iter().zip(together.rows().nth(i + 4996).unwrap()) {
            assert!((a - b).abs() <= tolerance(), "row {i}: {a} alone, {b} among many");
        }
    }
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
