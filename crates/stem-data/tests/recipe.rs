//! What a recipe may say, and how it is told what it may not.

use crate::common::{Case, LOG, RECIPE};
use stem_data::Recipe;

fn faults(recipe: &str) -> Vec<String> {
    Recipe::parse(recipe, "recipe.toml").unwrap_err().to_string().lines().map(str::to_string).collect()
}

fn with(from: &str, to: &str) -> String {
    assert!(RECIPE.contains(from));
    RECIPE.replacen(from, to, 1)
}

#[test]
fn every_fault_is_told_with_its_line_and_they_come_together() {
    let recipe = r#"name = "case"
sqll = "SELECT 1"

[[source]]
name = "log"
file = "log.csv"
separator = "a\nb"

[[field]]
column = "user"
kind = "categry"

[[field]]
column = "item"
kind = "category"
mincount = 3
min_count = 0
max_len = 4

[[label]]
column = "click"
within = "view"

[split]
kind = "random"
valid = 0.6
test = 0.6
"#;
    assert_eq!(
        faults(recipe),
        [
            r#"recipe.toml:2: unknown key "sqll" in the recipe; did you mean "sql"?"#,
            r#"recipe.toml:7: `separator` cannot hold a quote or the end of a line"#,
            r#"recipe.toml:11: `kind` is "categry", expected one of "category", "sequence", "number", "vector""#,
            r#"recipe.toml:16: unknown key "mincount" in [[field]]; did you mean "min_count"?"#,
            r#"recipe.toml:17: `min_count` is 0, expected an integer of at least 1"#,
            r#"recipe.toml:18: `max_len` is for sequences"#,
            r#"recipe.toml:21: label "click" is within "view", which is not a label"#,
            r#"recipe.toml:24: valid 0.6 and test 0.6 leave no rows to train on"#,
        ]
    );
}

#[test]
fn what_is_no_toml_is_told_with_its_line() {
    let found = faults("name = \"x\"\nsplit = = 3\n");
    assert!(found[0].starts_with("recipe.toml:2: not TOML: "), "{found:?}");
}

#[test]
fn an_empty_recipe_is_told_what_it_lacks() {
    let found = faults("").join("\n");
    for lack in ["no `name`", "no [[source]]", "no [[field]]", "no [[label]]", "no [split]"] {
        assert!(found.contains(lack), "{found}");
    }
}

#[test]
fn a_field_or_label_that_appears_twice_is_refused() {
    let again = "[[field]]\ncolumn = \"user\"\nkind = \"number\"\n\n[[label]]";
    assert_eq!(faults(&with("[[label]]", again)), [r#"recipe.toml:21: field "user" appears twice, first on line 9"#]);
    let again = "[[label]]\ncolumn = \"click\"\n\n[split]";
    assert_eq!(faults(&with("[split]", again)), [r#"recipe.toml:24: label "click" appears twice, first on line 21"#]);
}

#[test]
fn a_label_among_the_features_is_refused() {
    assert_eq!(
        faults(&with("column = \"price\"", "column = \"click\"")),
        [r#"recipe.toml:17: field "click" is a label too: the model would read the answer"#]
    );
}

#[test]
fn a_feature_made_of_what_the_label_is_made_of_is_refused() {
    let sql = "sql = \"\"\"SELECT \"user\", item, price, price * 2 AS twice, CAST(price >= 1 AS INT) AS click, split FROM log\"\"\"\n\n[[source]]";
    let case = Case::new(LOG, with("[[source]]", sql));
    let message = case.message();
    let expected =
        r#"recipe.toml:19: field "price" is made of price, as label "click" is: the model would read the answer"#;
    assert!(message.starts_with(expected), "{message}");
    let twice = case.recipe.replace("column = \"price\"", "column = \"twice\"");
    assert!(Case::new(LOG, twice).message().contains("field \"twice\" is made of price, as label \"click\" is"));
}

#[test]
fn a_feature_that_is_one_part_of_a_label_is_no_leak() {
    let sql = "sql = \"SELECT *, CAST(click > price AS INT) AS far FROM log\"\n\n[[source]]";
    let recipe = with("[[source]]", sql).replace("\"click\"", "\"far\"");
    Case::new(LOG, recipe).prepare().unwrap();
}

#[test]
fn an_unknown_column_is_told_with_the_one_that_was_meant() {
    let case = Case::new(LOG, with("column = \"item\"", "column = \"itme\""));
    assert_eq!(
        case.message(),
        r#"recipe.toml:13: there is no column "itme"; did you mean "item"? The SELECT gives: click, item, price, split, user"#
    );
    let case = Case::new(LOG, with("group = \"user\"", "group = \"household\""));
    assert!(
        case.message().starts_with(r#"recipe.toml:2: there is no column "household". The SELECT gives: "#),
        "{}",
        case.message()
    );
}

#[test]
fn an_sql_error_is_told_with_the_line_of_the_select() {
    let sql = |sql: &str| Case::new(LOG, with("[[source]]", &format!("sql = \"{sql}\"\n\n[[source]]"))).message();
    let syntax = sql("SELEC user FROM log");
    assert!(syntax.starts_with("recipe.toml:4: the SELECT does not work: "), "{syntax}");
    assert!(sql("SELECT usr FROM log").contains("usr"));
    assert!(sql("SELECT item FROM logs").contains("logs"));
    assert!(sql("SELECT user FROM log").ends_with("double quotes: \"user\""));
}

#[test]
fn kinds_that_do_not_fit_their_columns_are_told_together() {
    let sql = "sql = \"SELECT \\\"user\\\", item, click, split, STRING_TO_ARRAY(item, ' ') AS price FROM log\"\n";
    let recipe = format!("{sql}{RECIPE}")
        .replacen("\"category\"", "\"number\"", 2)
        .replace("column = \"price\"\nkind = \"number\"", "column = \"price\"\nkind = \"category\"");
    let message = Case::new(LOG, recipe).message();
    let [item, price] = message.lines().collect::<Vec<_>>()[..] else { panic!("{message}") };
    assert!(
        item.starts_with(
            "recipe.toml:14: field \"item\" is text, for instance \"x\" (log.csv, line 2), expected numbers"
        ),
        "{item}"
    );
    assert!(price.starts_with("recipe.toml:18: field \"price\" is a list of text: make it a sequence"), "{price}");
    let shared =
        with("column = \"item\"\nkind = \"category\"", "column = \"item\"\nkind = \"category\"\nvocabulary = \"user\"");
    assert!(
        Case::new(LOG, shared)
            .message()
            .contains("vocabulary \"user\" holds integers in one of \"user\" and \"item\", text in the other")
    );
    let sequence =
        with("column = \"item\"\nkind = \"category\"", "column = \"item\"\nkind = \"sequence\"\nmax_len = 2");
    assert!(Case::new(LOG, sequence).message().contains("field \"item\" is text: add `separator = \"|\"`"));
    let default =
        with("column = \"user\"\nkind = \"category\"", "column = \"user\"\nkind = \"category\"\ndefault = \"none\"");
    assert!(Case::new(LOG, default).message().contains("field \"user\" is integers, and has the default \"none\""));
    let label = with("column = \"click\"", "column = \"split\"");
    assert!(Case::new(LOG, label).message().contains("label \"split\" is text"));
}

#[test]
fn a_recipe_file_that_is_missing_or_no_utf8_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recipe.toml");
    assert!(Recipe::load(&path).unwrap_err().to_string().starts_with("cannot read "));
    std::fs::write(&path, b"name = \"x\"\ngroup = \"\xff\"\n").unwrap();
    assert!(
        Recipe::load(&path)
            .unwrap_err()
            .to_string()
            .ends_with("recipe.toml:2: not valid UTF-8: save the recipe as UTF-8")
    );
}

#[test]
fn a_number_and_a_vocabulary_of_one_name_are_refused() {
    let recipe = with(
        "column = \"item\"\nkind = \"category\"",
        "column = \"item\"\nkind = \"category\"\nvocabulary = \"price\"",
    );
    let found = faults(&recipe);
    assert!(
        found.iter().any(|f| f.ends_with("number \"price\" and a vocabulary are both called \"price\": rename one")),
        "{found:?}"
    );
}

#[test]
fn labels_within_each_other_in_a_circle_are_refused() {
    let recipe = with(
        "column = \"click\"",
        "column = \"click\"\nwithin = \"buy\"\n[[label]]\ncolumn = \"buy\"\nwithin = \"click\"",
    );
    let found = faults(&recipe);
    assert!(found.iter().any(|f| f.ends_with("label \"buy\" is within itself by way of other labels")), "{found:?}");
}

#[test]
fn split_values_must_differ() {
    let found = faults(&with("column = \"split\"", "column = \"split\"\nvalid = \"test\""));
    assert!(
        found[0].ends_with("must be three different values") || found[1].ends_with("must be three different values"),
        "{found:?}"
    );
}

/// Faults of a recipe whose one field is this.
#[track_caller]
fn faults_of_field(field: &str) -> Vec<String> {
    let recipe = format!(
        "name = \"x\"\nsource = [{{ name = \"log\", file = \"log.csv\" }}]\nlabel = [{{ column = \"click\" }}]\nsplit = {{ kind = \"random\" }}\nfield = [{{ {field} }}]\n"
    );
    faults(&recipe).into_iter().map(|fault| fault.replace("recipe.toml:5: ", "")).collect()
}

#[test]
fn steps_that_do_not_go_together_are_refused() {
    let cases = [
        (r#"column = "a", kind = "number", trim = true"#, "`trim` is for categories and sequences"),
        (
            r#"column = "a", kind = "category", clip = [0, 1]"#,
            "`clip` is for numbers, and for categories that are cut by `bucketize`",
        ),
        (
            r#"column = "a", kind = "number", clip = [1, 0]"#,
            "`clip` wants the least and the largest number: `[0, 100]`, `[0, inf]`",
        ),
        (r#"column = "a", bucketize = [1, 1]"#, "the edges of `bucketize` must ascend: `[18, 25, 65]`"),
        (
            r#"column = "a", bucketize = { quantile = 3 }"#,
            "`bucketize` is { quantile = 3 }, expected a list of numbers, or { quantiles = 10 }",
        ),
        (
            r#"column = "a", bucketize = [1], min_count = 2"#,
            "`min_count` does not go with `bucketize`: a bucket is never too rare",
        ),
        (
            r#"column = "a", kind = "category", hash = 9, min_count = 2"#,
            "`min_count` does not go with `hash`: no key is known, and none is too rare",
        ),
        (r#"cross = ["a"], hash = 9"#, "`cross` needs two columns or more: `cross = [\"user_id\", \"city\"]`"),
        (
            r#"column = "a", cross = ["a", "b"], hash = 9"#,
            "`column` and `cross` both name what is read: keep one of them",
        ),
        (r#"column = "a", kind = "category", unit = "s""#, "`unit` is for times: add `part = \"hour\"`"),
        (
            r#"column = "a", part = "hour", utc_offset = "5:30""#,
            "`utc_offset` is \"5:30\", expected hours and minutes: \"+05:30\"",
        ),
        (
            r#"column = "a", kind = "vector""#,
            "vector \"a\" has no `length`: add `length = 64`, how many numbers each row has",
        ),
        (
            r#"column = "a", kind = "sequence", max_len = 3, keep = "newest""#,
            "`keep` is \"newest\", expected one of \"first\", \"last\"",
        ),
    ];
    for (field, expected) in cases {
        assert_eq!(faults_of_field(field), [expected], "{field}");
    }
    let two = r#"column = "a", kind = "category", hash = 9 }, { column = "b", kind = "category", vocabulary = "a""#;
    let expected = "vocabulary \"a\" has `hash = 9` in field \"a\" and no `hash` in \"b\": write the same in both";
    assert_eq!(faults_of_field(two), [expected]);
}

#[test]
fn steps_that_do_not_fit_their_columns_are_refused_with_what_to_write() {
    let message = |field: &str| {
        let field = format!("{field}\n\n[[label]]");
        Case::new(
            "user,item,price,ts,click,split\n1,x,0.5,7,1,train\n2,y,-3,8,0,test\n",
            with("[[label]]", &format!("[[field]]\n{field}")),
        )
        .message()
    };
    for (field, expected) in [
        (
            "column = \"price\"\nname = \"a\"\nkind = \"category\"\ntrim = true",
            "field \"a\" is floats: `trim` and `lower` are for text",
        ),
        ("column = \"item\"\nname = \"a\"\nkind = \"number\"\nlog1p = true", "field \"a\" is text, expected numbers"),
        (
            "column = \"ts\"\nname = \"a\"\npart = \"hour\"",
            "field \"a\" is integers, which tells no time without what it counts: add `unit = \"s\"`, \"ms\" or \"us\"",
        ),
        (
            "column = \"price\"\nname = \"a\"\nbucketize = [0]\ndefault = \"x\"",
            "field \"a\" has the default \"x\", expected a finite number",
        ),
        (
            "column = \"price\"\nname = \"a\"\nkind = \"vector\"\nlength = 2",
            "field \"a\" is floats, expected a list of numbers",
        ),
    ] {
        let message = message(field);
        assert!(message.contains(expected), "{message}");
    }
    let logarithm = message("column = \"price\"\nname = \"a\"\nkind = \"number\"\nlog1p = true");
    assert!(logarithm.contains("log.csv:3: column 'price'") && logarithm.contains("above -1"), "{logarithm}");
}
