//! A configuration or a vocabulary that contradicts itself, or the checkpoint, is refused with the file, the field and the key.

use crate::common::checkpoint::{BOTTOM, Bench, bottom};

#[test]
fn a_configuration_that_contradicts_itself_is_refused() {
    let bench = Bench::of(&bottom());
    let cases = [
        (BOTTOM.replace("rows = 4", ""), "field 'item' has no `rows`: give it its `vocab_size`"),
        (BOTTOM.replace("rows = 4", "rows = 1"), "vocabulary 'item' of field 'item' has 1 rows"),
        (BOTTOM.replace("max_len = 3", ""), "field 'seen' is a sequence without `max_len`"),
        (BOTTOM.replace("rows = 4", "rows = 4\nmax_len = 3"), "field 'item' has `max_len`, which is for"),
        (
            BOTTOM.replace("kind = \"number\"", "kind = \"number\"\nrows = 3"),
            "field 'price' is a number: it has no `rows`",
        ),
        (
            BOTTOM.replace("shares = \"item\"", "shares = \"price\""),
            "no category or sequence of that name stands before it",
        ),
        (
            BOTTOM.replace("shares = \"item\"", "shares = \"item\"\nrows = 5"),
            "the embedding of 'item' that it shares 4",
        ),
        (BOTTOM.replace("\"seen\"", "\"item\""), "field 'item' appears twice"),
        (BOTTOM.replace("[\"click\"]", "[]"), "it has no tasks"),
        (BOTTOM.replace("dim = 2", "dim = 0"), "`dim` is 0, expected 1 to"),
        (
            BOTTOM.replace("shared-bottom", "single-task").replace("[\"click\"]", "[\"click\", \"buy\"]"),
            "the reference has no single-task model with 2 tasks",
        ),
        (
            BOTTOM.replace("shared-bottom", "stem").replace("bottom = ", "gate_input = \"own\"\nexperts = "),
            "the reference has no stem model with 1 tasks and these settings",
        ),
        (BOTTOM.replace("dim = 2", "width = 2"), "unknown field `width`"),
        (BOTTOM.replace("rows = 4", "row = 4"), "unknown field `row`"),
        (BOTTOM.replace("shared-bottom", "resnet"), "unknown model 'resnet'. Known are: "),
    ];
    for (config, part) in cases {
        bench.refuses(&config, &["import.toml: ", part]);
    }
}

#[test]
fn a_vocabulary_that_does_not_fit_is_refused() {
    let bench = Bench::of(&bottom());
    let config = format!("vocabulary = \"vocab.json\"\n{BOTTOM}");
    bench.refuses(&config, &["cannot read", "vocab.json"]);
    let cases = [
        (r#"{"other": {}}"#, "it has no field 'item'; it has: other"),
        (
            r#"{"item": {"a": 1, "b": 9, "__PAD__": 0, "__OOV__": 3}}"#,
            "token 'b' has id 9, its embedding the rows 0 to 3",
        ),
        (r#"{"item": {"a": 1, "b": -1, "__PAD__": 0, "__OOV__": 3}}"#, "token 'b' has id -1"),
        (r#"{"item": {"a": 1, "b": 1, "__PAD__": 0, "__OOV__": 3}}"#, "tokens 'a' and 'b' both have id 1"),
        (r#"{"item": {"a": 1, "__PAD__": 0, "__OOV__": 3}}"#, "no token has id 2"),
        (r#"{"item": {"a": 1, "b": 2, "c": 3, "__PAD__": 0}}"#, "has no token '__OOV__'"),
        (
            r#"{"item": {"a": 1, "b": 2, "__PAD__": 0, "__OOV__": 3}, "seen": {"a": 2, "b": 1, "__PAD__": 0, "__OOV__": 3}}"#,
            "'seen' shares the embedding of 'item', but not its tokens",
        ),
        (r#"{"item": {"a": "x"}}"#, "expected the reference's feature_vocab.json"),
        ("[", "expected the reference's feature_vocab.json"),
    ];
    for (vocabulary, part) in cases {
        bench.write("vocab.json", vocabulary.as_bytes());
        bench.refuses(&config, &["vocab.json: ", part]);
    }
}
