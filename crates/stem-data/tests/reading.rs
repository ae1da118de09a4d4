//! What is read is what was written, whatever the file looks like; or it is said.

use std::path::Path;

use crate::common::{Case, LOG, RECIPE};
use stem_core::Vocabulary;
use stem_data::{Dataset, Split};

/// The keys of a field.
fn keys(dataset: &Dataset, field: &str) -> Vec<String> {
    let schema = dataset.schema();
    let field = schema.fields.iter().find(|f| f.name == field).unwrap();
    match &dataset.vocabularies()[field.vocabulary] {
        Vocabulary::Integers(keys) => keys.iter().map(|key| key.to_string()).collect(),
        Vocabulary::Texts(texts) => (0..texts.len()).map(|i| texts.get(i).to_string()).collect(),
        other => panic!("{other:?}"),
    }
}

/// A recipe over one source that is written out, with the category `item`, split by its column.
fn recipe(source: &str) -> String {
    let rest = "field = [{ column = \"item\", kind = \"category\" }]\nlabel = [{ column = \"click\" }]\nsplit = { kind = \"column\", column = \"split\" }\n";
    format!("name = \"case\"\n{rest}[[source]]\nname = \"log\"\n{source}\n")
}

/// The same three rows, written as `log`; the third value is what a reader must not change.
fn written(name: &str, bytes: impl AsRef<[u8]>, source: &str) -> Case {
    let case = Case { dir: tempfile::tempdir().unwrap(), recipe: recipe(&format!("file = \"{name}\"\n{source}")) };
    std::fs::write(case.dir.path().join(name), bytes).unwrap();
    case
}

fn items(case: &Case) -> Vec<String> {
    keys(&case.prepare().unwrap_or_else(|error| panic!("{error}")), "item")
}

const PLAIN: &str = "item,click,split\n\"say \"\"hi\"\", you\",1,train\nhé,0,train\nx,1,train\n";
const TEXTS: [&str; 3] = ["hé", "say \"hi\", you", "x"];

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

#[test]
fn text_is_read_in_every_dialect_and_packing() {
    let gzip = |text: &str| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, text.as_bytes()).unwrap();
        packed.finish().unwrap()
    };
    let utf16: Vec<u8> = "\u{feff}".encode_utf16().chain(PLAIN.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let latin1: Vec<u8> = PLAIN.chars().map(|c| c as u8).collect();
    let bars = "item||click||split\nsay \"hi\", you||1||train\nhé||0||train\nx||1||train\n";
    let escaped = "item,click,split\n\"say \\\"hi\\\", you\",1,train\nhé,0,train\nx,1,train\n";
    let single = "item;click;split\n'say \"hi\", you';1;train\nhé;0;train\nx;1;train\n";
    let cases = [
        written("log.csv", PLAIN, ""),
        written("log.csv", PLAIN.replace('\n', "\r\n") + "\r\n", ""),
        written("log.csv", format!("{PLAIN}\n\n"), ""),
        written("log.csv.gz", gzip(PLAIN), ""),
        written("log.csv.zst", zstd::encode_all(PLAIN.as_bytes(), 1).unwrap(), ""),
        written("log.csv", utf16, ""),
        written("log.csv", latin1, "encoding = \"latin1\""),
        written("log.csv", bars, "separator = \"||\""),
        written("log.csv", escaped, "escape = \"\\\\\""),
        written("log.csv", single, "separator = \";\"\nquote = \"'\""),
        written("log.tsv", "item\tclick\tsplit\nsay \"hi\", you\t1\ttrain\nhé\t0\ttrain\nx\t1\ttrain\n", ""),
        written(
            "log.tsv",
            PLAIN.replace(", you", "; you").replace(',', "\t").replace("; you", ", you"),
            "quote = \"\\\"\"",
        ),
    ];
    for case in &cases {
        assert_eq!(sorted(items(case)), TEXTS, "{}", case.recipe);
    }
}

#[test]
fn a_quote_is_a_letter_in_a_tab_separated_log_and_lines_stay_lines() {
    let case = written("log.tsv", "item\tclick\tsplit\n5\" pipe\t1\ttrain\n6\" pipe\t0\ttrain\n\"x\t1\ttrain\n", "");
    assert_eq!(sorted(items(&case)), ["\"x", "5\" pipe", "6\" pipe"]);
}

#[test]
fn texts_that_stand_for_null_are_null() {
    let case = written(
        "log.csv",
        "item,click,split\n7,1,train\nNA,0,train\n\\N,NA,train\n",
        "null_values = [\"NA\", \"\\\\N\"]",
    );
    let dataset = case.prepare().unwrap();
    assert_eq!(keys(&dataset, "item"), ["7"]);
    assert_eq!(dataset.statistics(Split::Train).missing, [1]);
}

#[test]
fn ids_are_never_changed() {
    let zeros = written("log.csv", "item,click,split\n001,1,train\n1,0,train\n", "");
    assert_eq!(items(&zeros), ["001", "1"]);
    let late: String = (0..10_050).map(|i| format!("{},{},train\n", i % 7 + 1, i % 2)).collect();
    let late = written("log.csv", format!("item,click,split\n{late}007,1,train\n"), "");
    let message = late.message();
    assert!(
        message.starts_with("log.csv:10052: column 'item'") && message.contains("types = { item = \"text\" }"),
        "{message}"
    );
    let mixed = written("log.csv", "item,click,split\n12,1,train\n12.0,0,train\nA7,1,train\n", "");
    assert!(mixed.message().contains("written in two ways, for instance \"12\" and \"12.0\""), "{}", mixed.message());
    let meant =
        written("log.csv", "item,click,split\n12,1,train\n12.0,0,train\nA7,1,train\n", "types = { item = \"text\" }");
    assert_eq!(items(&meant), ["12", "12.0", "A7"]);
    let floats = written("log.csv", "item,click,split\n12.0,1,train\n,0,train\n7.0,1,train\n", "");
    assert_eq!(items(&floats), ["7", "12"]);
    let fractions = written("log.csv", "item,click,split\n12.5,1,train\n", "");
    assert!(
        fractions.message().starts_with("log.csv:2: column 'item': expected whole numbers"),
        "{}",
        fractions.message()
    );
}

#[test]
fn a_column_whose_first_rows_are_empty_is_read_as_what_it_turns_out_to_be() {
    let rows: String = (0..11_000).map(|i| format!("{i},,train\n")).collect();
    let case = written("log.csv", format!("item,click,split\n{rows}1,0,train\n2,1,train\n"), "");
    assert_eq!(case.prepare().unwrap().statistics(Split::Train).positives, [1]);
}

#[test]
fn a_value_behind_the_first_rows_that_is_of_another_type_is_told_with_what_to_write() {
    let rows: String = (0..10_050).map(|i| format!("{i},{},train\n", i % 2)).collect();
    let case = written("log.csv", format!("item,click,split\n{rows}A7,1,train\n"), "");
    let message = case.message();
    assert!(message.starts_with("log.csv:10052: column 'item': expected an integer, found \"A7\""), "{message}");
    assert!(message.contains("types = { item = \"text\" }") && message.contains("null_values = [\"A7\"]"), "{message}");
}

#[test]
fn files_that_are_something_else_say_what_they_are() {
    for (name, bytes, what) in [
        ("log.csv", &b"PAR1\0\0\0\0"[..], "it is a Parquet file, and the recipe reads it as text"),
        ("log.csv", b"BZh91AY", "a bzip2 archive; unpack it first"),
        ("log.parquet", b"item,click\n", "it is not a Parquet file: it is text; say so with `format = \"csv\"`"),
        ("log.csv", b"item;click;split\n1;1;train\n2;0;train\n", "add `separator = \";\"`"),
        ("log.csv.gz", b"\x1f\x8b\x08\0\0\0\0\0", "it cannot be unpacked"),
        ("log.csv", b"item,click,split\nh\xe9,1,train\n", "log.csv:2: not valid UTF-8"),
    ] {
        let message = written(name, bytes, "").message();
        assert!(message.contains(what), "{message}");
    }
}

#[test]
fn many_files_are_one_table_and_partitions_are_columns() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("log/split=train/a.csv", "item,click\n1,1\n2,0\n");
    write("log/split=train/b.csv", "click,item\n1,3\n"); // another order of columns
    write("log/split=test/a.csv", "item,click\n4,1\n");
    write("log/split=test/_SUCCESS", "");
    write("log/split=test/b.csv", ""); // parts without rows
    write("log/split=test/c.csv", "item,click\n");
    let case = Case { dir, recipe: recipe("files = [\"log\"]\nformat = \"csv\"") };
    let dataset = case.prepare().unwrap();
    assert_eq!(keys(&dataset, "item"), ["1", "2", "3"]);
    assert_eq!((dataset.rows(Split::Train), dataset.rows(Split::Test)), (3, 1));
}

#[test]
fn files_are_listed_by_split() {
    let dir = tempfile::tempdir().unwrap();
    for (name, rows) in [("a.csv", "1,1\n2,0\n"), ("b.csv", "3,1\n"), ("c.csv", "2,1\n")] {
        std::fs::write(dir.path().join(name), format!("item,click\n{rows}")).unwrap();
    }
    let source = recipe("train = [\"a.csv\"]\nvalid = [\"b.csv\"]\ntest = [\"c.csv\"]");
    let case = Case { dir, recipe: source.replace("kind = \"column\", column = \"split\"", "kind = \"files\"") };
    let dataset = case.prepare().unwrap();
    assert_eq!(Split::ALL.map(|split| dataset.rows(split)), [2, 1, 1]);
    assert_eq!(keys(&dataset, "item"), ["1", "2"]);
}

#[test]
fn types_that_drift_from_file_to_file_are_reconciled_or_refused_by_name() {
    use polars::prelude::*;
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, item: Column| {
        let rows = item.len();
        let click = Column::new("click".into(), vec![1i64; rows]);
        let split = Column::new("split".into(), vec!["train"; rows]);
        let mut frame = DataFrame::new(rows, vec![item, click, split]).unwrap();
        ParquetWriter::new(std::fs::File::create(dir.path().join(name)).unwrap()).finish(&mut frame).unwrap();
    };
    write("a.parquet", Column::new("item".into(), [1i32, 2]));
    write("b.parquet", Column::new("item".into(), [3i64, 4]));
    write("c.parquet", Column::new("item".into(), [Some(5.0f64), None]));
    write("d.parquet", Column::new("item".into(), ["A7"]));
    write("e.parquet", Column::new("item".into(), [(1i64 << 53) + 1]));
    let case = |files: &str, more: &str| {
        let case = Case { dir: tempfile::tempdir().unwrap(), recipe: recipe(&format!("files = {files}\n{more}")) };
        for name in ["a", "b", "c", "d", "e"].map(|name| format!("{name}.parquet")) {
            std::fs::copy(dir.path().join(&name), case.dir.path().join(&name)).unwrap();
        }
        case
    };
    assert_eq!(items(&case("[\"a.parquet\", \"b.parquet\", \"c.parquet\"]", "")), ["1", "2", "3", "4", "5"]);
    let message = case("[\"a.parquet\", \"d.parquet\"]", "").message();
    assert!(message.starts_with("d.parquet: column \"item\" is text here, and integers in "), "{message}");
    assert_eq!(items(&case("[\"a.parquet\", \"d.parquet\"]", "types = { item = \"text\" }")), ["1", "2", "A7"]);
    let message = case("[\"c.parquet\", \"e.parquet\"]", "").message();
    assert!(message.contains("9007199254740993 in one file has no exact float"), "{message}");
    assert_eq!(items(&case("[\"c.parquet\", \"e.parquet\"]", "types = { item = \"int\" }")), ["5", "9007199254740993"]);
}

#[test]
fn sources_of_different_types_do_not_meet_in_a_union() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.csv"), "item,click,split\n12,1,train\n").unwrap();
    std::fs::write(dir.path().join("b.csv"), "item,click,split\n12.0,1,train\n").unwrap();
    let source = "file = \"a.csv\"\n[[source]]\nname = \"b\"\nfile = \"b.csv\"";
    let sql = "sql = \"SELECT * FROM log UNION ALL SELECT * FROM b\"\n";
    let case = Case { dir, recipe: sql.to_string() + &recipe(source) };
    assert!(case.message().contains("\"item\" is floats and integers in the parts of a UNION"), "{}", case.message());
}

/// A recipe over a sample of one odd type, used as a kind of field.
fn odd(file: &str, field: &str) -> Case {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/types");
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(samples.join(file), dir.path().join(file)).unwrap();
    let recipe = recipe(&format!("file = \"{file}\"")).replace("{ column = \"item\", kind = \"category\" }", field);
    Case { dir, recipe }
}

#[test]
fn every_type_of_a_column_is_read_or_refused_by_name() {
    let category = |column: &str| format!("{{ column = \"{column}\", kind = \"category\" }}");
    let number = |column: &str| format!("{{ column = \"{column}\", kind = \"number\" }}");
    let sequence = |column: &str| format!("{{ column = \"{column}\", kind = \"sequence\", max_len = 2 }}");
    for (file, column, expected) in [
        ("decimal.parquet", "decimal", vec!["0", "1", "2"]),
        ("decimal.arrow", "decimal", vec!["0", "1", "2"]),
        ("unsigned.parquet", "unsigned", vec!["9223372036854775808", "9223372036854775809", "9223372036854775810"]),
        ("dictionary.parquet", "dictionary", vec!["a", "b", "c"]),
        ("dictionary.arrow", "dictionary", vec!["a", "b", "c"]),
        ("binary.parquet", "binary", vec!["a", "b", "c"]),
        ("float_ids.parquet", "float_ids", vec!["0", "1", "2"]),
        ("tiny.parquet", "tiny", vec!["0", "10", "20", "30", "40", "50", "60", "70"]),
    ] {
        assert_eq!(keys(&odd(file, &category(column)).prepare().unwrap(), column), expected, "{file}");
    }
    for (file, field) in [("price.parquet", number("price")), ("decimal.parquet", number("decimal"))] {
        odd(file, &field).prepare().unwrap();
    }
    assert_eq!(keys(&odd("pair.parquet", &sequence("pair")).prepare().unwrap(), "pair"), ["0", "1", "2", "7"]);
    assert_eq!(keys(&odd("flags.parquet", &sequence("flags")).prepare().unwrap(), "flags"), ["0", "1"]);
    assert_eq!(keys(&odd("tags.parquet", &sequence("tags")).prepare().unwrap(), "tags"), ["a", "b"]);
    for (file, sql, expected) in [
        ("tiny.parquet", "tiny * 100 AS x", vec!["0", "1000", "2000", "3000", "4000", "5000", "6000", "7000"]),
        ("seconds.parquet", "EXTRACT(HOUR FROM seconds) AS x", vec!["0", "1", "2", "3", "4", "5", "6", "7"]),
    ] {
        let case = odd(file, &category("x"));
        let recipe = format!("sql = \"SELECT click, split, {sql} FROM log\"\n{}", case.recipe);
        assert_eq!(keys(&Case { dir: case.dir, recipe }.prepare().unwrap(), "x"), expected, "{file}");
    }
    for (file, field, what) in [
        ("half_hour.arrow", category("half_hour"), "a time in the zone \"+05:30\""),
        ("half.parquet", number("half"), "half floats (16 bits)"),
        ("wide.parquet", category("wide"), "decimal of 50 digits"),
        ("zoned.parquet", category("zoned"), "`part = \"hour\"`"),
        ("time.parquet", category("time"), "EXTRACT(HOUR FROM \"time\")"),
        ("span.parquet", number("span"), "EXTRACT(EPOCH FROM \"span\")"),
        ("struct.parquet", category("struct"), "expected integers or text"),
        ("vector.parquet", sequence("vector"), "list of floats"),
        ("bytes.parquet", category("bytes"), "utf8"),
        (
            "fractions.parquet",
            category("fractions"),
            "fractions.parquet, row 1 (counted from 0): column 'fractions': expected whole numbers",
        ),
    ] {
        let message = odd(file, &field).message();
        assert!(message.contains(what), "{file}: {message}");
    }
}

#[test]
fn a_time_in_any_zone_is_an_instant() {
    for (file, column) in [("half_hour.parquet", "half_hour"), ("zoned.parquet", "zoned")] {
        let case = odd(file, "{ column = \"user\", kind = \"category\" }");
        let split = format!("kind = \"time\", column = \"{column}\", valid = 0.25, test = 0.25");
        let recipe = case.recipe.replace("kind = \"column\", column = \"split\"", &split);
        let dataset = Case { dir: case.dir, recipe }.prepare().unwrap();
        assert_eq!(Split::ALL.map(|split| dataset.rows(split)), [6, 3, 3], "{file}");
        assert_eq!(dataset.labels(Split::Test), [1.0, 0.0, 1.0], "{file}"); // the last rows of the file are the latest
    }
}

#[test]
fn a_column_that_nobody_uses_does_not_matter() {
    for name in ["half_hour", "half", "wide", "bytes", "struct", "span", "time"] {
        odd(&format!("{name}.parquet"), "{ column = \"user\", kind = \"category\" }").prepare().unwrap();
    }
}

#[test]
fn a_comment_in_the_recipe_changes_nothing_and_a_changed_part_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("log")).unwrap();
    std::fs::write(dir.path().join("log/a.csv"), "item,click,split\n1,1,train\n").unwrap();
    let mut case = Case { dir, recipe: recipe("files = [\"log/*.csv\"]") };
    let key = case.prepare().unwrap().key().to_string();
    case.recipe = format!("# a comment\n{}\n", case.recipe);
    assert_eq!(case.prepare().unwrap().key(), key);
    std::fs::write(case.dir.path().join("log/a.csv"), "item,click,split\n1,1,train\n2,0,train\n").unwrap();
    assert_eq!(keys(&case.prepare().unwrap(), "item"), ["1", "2"]);
    std::fs::write(case.dir.path().join("log/b.csv"), "item,click,split\n3,1,train\n").unwrap();
    assert_eq!(keys(&case.prepare().unwrap(), "item"), ["1", "2", "3"]);
}

#[test]
fn a_recipe_reads_nothing_but_its_sources() {
    for (sql, what) in [
        ("SELECT * FROM read_csv('/etc/passwd')", "read_csv(...) reads something that the recipe does not list"),
        ("DROP TABLE log", "is no SELECT"),
        ("SELECT * FROM logs", "there is no source \"logs\"; did you mean \"log\"? The sources are: log"),
    ] {
        let case = Case::new(LOG, format!("sql = \"{sql}\"\n{RECIPE}"));
        assert!(case.message().contains(what), "{}", case.message());
    }
    let deep = |n: usize| format!("sql = \"SELECT *, 0{} AS s FROM log\"\n{RECIPE}", "+1".repeat(n));
    assert!(Case::new(LOG, deep(20_000)).message().contains("nested more than"));
    Case::new(LOG, deep(100)).prepare().unwrap();
    let unions = |n: usize| format!("sql = \"{}\"\n{RECIPE}", vec!["SELECT * FROM log"; n].join(" UNION ALL "));
    assert!(Case::new(LOG, unions(3_000)).message().contains("3000 SELECTs in a UNION"));
    Case::new(LOG, unions(30)).prepare().unwrap();
}

#[test]
fn what_a_join_does_to_the_rows_is_told() {
    let sql = |join: &str| {
        format!(
            "sql = \"SELECT l.*, u.age FROM log l {join} JOIN users u ON l.\\\"user\\\" = u.\\\"user\\\"\"\n{RECIPE}\n[[source]]\nname = \"users\"\nfile = \"users.csv\"\n"
        )
    };
    let warned = |join: &str, users: &str| {
        let case = Case::new(LOG, sql(join));
        std::fs::write(case.dir.path().join("users.csv"), users).unwrap();
        case.prepare().unwrap().warnings().join("\n")
    };
    let twice = warned("LEFT", "user,age\n1,20\n1,30\n2,40\n3,50\n");
    assert!(
        twice.contains("the SELECT gives 6 rows of 4 in \"log\": user is not unique in \"users\" (1 (2 times))"),
        "{twice}"
    );
    let dropped = warned("", "user,age\n1,20\n3,50\n");
    assert!(dropped.contains("the SELECT gives 3 of the 4 rows in \"log\""), "{dropped}");
    let whole = warned("LEFT", "user,age\n1,20\n2,30\n");
    assert!(!whole.contains("the SELECT gives"), "{whole}");
}

#[test]
fn what_a_join_within_does_to_the_rows_is_told_too() {
    let warned = |sql: &str, users: &str| {
        let other = "[[source]]\nname = \"users\"\nfile = \"users.csv\"\n";
        let case = Case::new(LOG, format!("sql = '''{}'''\n{RECIPE}\n{other}", sql.replace("@", "\"user\"")));
        std::fs::write(case.dir.path().join("users.csv"), users).unwrap();
        let dataset = case.prepare().unwrap_or_else(|error| panic!("{sql}: {error}"));
        let is_of_joins = |told: &&String| told.contains("the SELECT gives") || told.contains("left out by a join");
        dataset.warnings().iter().filter(is_of_joins).cloned().collect::<Vec<_>>().join("\n")
    };
    let once = "user,age\n1,20\n2,40\n3,50\n";
    let twice = "user,age\n1,20\n1,30\n2,40\n3,50\n,1\n,2\n"; // that nobody is there twice joins nothing
    let less = "user,age\n1,20\n3,50\n";
    for sql in [
        "WITH j AS (SELECT l.*, u.age FROM log l # JOIN users u ON l.@ = u.@) SELECT * FROM j",
        "SELECT x.* FROM (SELECT l.*, u.age FROM log l # JOIN users u ON l.@ = u.@) AS x",
        "WITH a AS (SELECT * FROM log), b AS (SELECT a.*, u.age FROM a # JOIN users u ON a.@ = u.@) SELECT * FROM b",
        "WITH u AS (SELECT @, age FROM users WHERE age > 0) SELECT l.*, u.age FROM log l # JOIN u ON l.@ = u.@",
        "SELECT l.*, u.age FROM log l # JOIN (SELECT @, age FROM users) AS u ON l.@ = u.@",
    ] {
        let found = warned(&sql.replace('#', "LEFT"), twice);
        let expected = "the SELECT gives 6 rows of 4 in \"log\": user is not unique in \"u";
        let is_told = found.starts_with(expected) && found.contains("(1 (2 times))") && found.lines().count() == 1;
        assert!(is_told, "{sql}: {found}");
        let found = warned(&sql.replace('#', ""), less);
        let expected = "the SELECT gives 3 of the 4 rows in \"log\": the join leaves out";
        assert!(found.starts_with(expected), "{sql}: {found}");
        for join in ["", "LEFT"] {
            assert_eq!(warned(&sql.replace('#', join), once), "", "{sql}");
        }
    }
    let filtered = "WITH a AS (SELECT * FROM log WHERE price > 0) SELECT a.*, u.age FROM a JOIN users u ON a.@ = u.@";
    let expected = "of 3 rows 1 are left out by a join, for their key is not in the other table; LEFT JOIN keeps them";
    assert_eq!(warned(filtered, less), expected);
    assert_eq!(warned(filtered, once), "");
    assert!(warned(filtered, twice).contains("user is not unique in \"users\" (1 (2 times))"));
    let means =
        "SELECT l.*, m.age FROM log l LEFT JOIN (SELECT @, MAX(age) AS age FROM users GROUP BY @) AS m ON l.@ = m.@";
    assert_eq!(warned(means, twice), "", "one row a user by itself");
    let parts = "SELECT l.*, u.age FROM log l LEFT JOIN users u ON l.@ = u.@ WHERE item = 'x' UNION ALL SELECT *, 1 AS age FROM log WHERE item <> 'x'";
    assert!(warned(parts, twice).contains("user is not unique in \"users\""), "{}", warned(parts, twice));
}

#[test]
fn the_answer_is_found_behind_groups_and_joins_and_earlier_rows_are_no_answer() {
    let field = |sql: &str| {
        let field = "[[field]]\ncolumn = \"hint\"\nkind = \"number\"\n[[label]]";
        Case::new(LOG, format!("sql = \"\"\"{sql}\"\"\"\n{}", RECIPE.replacen("[[label]]", field, 1)))
    };
    let mean = "SELECT l.*, r.hint FROM log l JOIN (SELECT item, AVG(click) AS hint FROM log GROUP BY item) r ON l.item = r.item";
    let message = field(mean).message();
    assert!(message.contains("field \"hint\" is made of click, as label \"click\" is"), "{message}");
    let over = "SELECT *, AVG(click) OVER (PARTITION BY item) AS hint FROM log";
    assert!(field(over).message().contains("allow_leak = [\"hint\"]"));
    let mut allowed = field(over);
    allowed.recipe = format!("allow_leak = [\"hint\"]\n{}", allowed.recipe);
    allowed.prepare().unwrap();
    field("SELECT *, LAG(click) OVER (PARTITION BY \"user\" ORDER BY price) AS hint FROM log").prepare().unwrap();
    assert!(
        field("SELECT *, LEAD(click) OVER (PARTITION BY \"user\" ORDER BY price) AS hint FROM log")
            .message()
            .contains("made of click")
    );
}

#[test]
fn a_vocabulary_of_which_nothing_is_left_is_told() {
    let case = Case::new(LOG, RECIPE.replacen("kind = \"category\"", "kind = \"category\"\nmin_count = 10", 1));
    let warnings = case.prepare().unwrap().warnings().join("\n");
    assert!(warnings.contains("field 'user' knows no value: min_count 10 leaves none of 3"), "{warnings}");
}

#[test]
fn a_copy_of_a_label_is_refused_and_what_nearly_decides_it_is_told() {
    let row = |i: usize| {
        let click = i * 7 % 5 < 2;
        let watched = if click { 100 + i % 50 } else { i % 50 + usize::from(i == 3) * 200 };
        format!("{},{},{},{watched},train\n", i % 31, u8::from(click), if click { "yes" } else { "no" })
    };
    let log = format!("user,click,answer,watched,split\n{}", (0..1000).map(row).collect::<String>());
    let case = |field: &str, top: &str| {
        let case = written("log.csv", &log, "");
        let field = format!("{field}, {{ column = \"user\", kind = \"category\" }}");
        let recipe = case.recipe.replace("{ column = \"item\", kind = \"category\" }", &field);
        Case { dir: case.dir, recipe: format!("{top}{recipe}") }
    };
    let answer = "{ column = \"answer\", kind = \"category\" }";
    let message = case(answer, "").message();
    assert!(message.contains("field \"answer\" is label \"click\" under another name"), "{message}");
    case(answer, "allow_leak = [\"answer\"]\n").prepare().unwrap();
    let watched = case("{ column = \"watched\", kind = \"number\" }", "").prepare().unwrap();
    assert!(
        watched.warnings().join("\n").contains("field 'watched' alone tells label 'click' (AUC "),
        "{:?}",
        watched.warnings()
    );
    let user = watched.warnings().iter().any(|warning| warning.contains("field 'user'"));
    assert!(!user);
}

#[test]
fn a_blank_line_among_the_rows_is_told_and_blank_lines_at_the_end_are_none() {
    let blank = written("log.csv", "item,click,split\n1,1,train\n\n2,0,train\n", "");
    assert!(blank.message().starts_with("log.csv:3: a blank line"), "{}", blank.message());
    let end = written("log.csv", "item,click,split\n1,1,train\n2,0,train\n\n\r\n\n", "");
    assert_eq!(end.prepare().unwrap().rows(Split::Train), 2);
}

#[test]
fn keys_that_a_float_would_make_one_are_refused() {
    for value in ["1e2", "007", "-0", "+7"] {
        let case = written("log.csv", format!("item,click,split\n7.0,1,train\n8,1,train\n{value},0,train\n"), "");
        match case.prepare() {
            Ok(dataset) => assert!(keys(&dataset, "item").contains(&value.to_string()), "{value}"),
            Err(error) => assert!(error.to_string().contains("a key that is written in one way"), "{error}"),
        }
    }
}

#[test]
fn a_cast_that_drops_an_offset_is_refused() {
    let rows = "2024-03-01T00:00:00Z,1\n2024-03-01T05:01:00+05:00,0\n2024-02-29T16:02:00-08:00,1\n";
    let recipe = |sql: &str| {
        format!(
            "sql = \"{sql}\"\n{}",
            recipe("file = \"log.csv\"")
                .replace("kind = \"column\", column = \"split\"", "kind = \"time\", column = \"at\"")
        )
    };
    let message = |sql: &str| {
        let case = Case { dir: tempfile::tempdir().unwrap(), recipe: recipe(sql) };
        std::fs::write(case.dir.path().join("log.csv"), format!("ts,click\n{rows}")).unwrap();
        case.message()
    };
    for cast in [
        "CAST(ts AS TIMESTAMP)",
        "ts::timestamp",
        "TRY_CAST(ts AS TIMESTAMP)",
        "EXTRACT(EPOCH FROM CAST(ts AS TIMESTAMP))",
    ] {
        let found = message(&format!("SELECT 1 AS item, click, {cast} AS at FROM log"));
        assert!(found.contains("a CAST drops the offset of \"ts\""), "{cast}: {found}");
    }
}

#[test]
fn files_that_are_listed_by_split_are_split_by_nothing_else() {
    let source = recipe("train = [\"a.csv\"]\nvalid = [\"b.csv\"]\ntest = [\"c.csv\"]");
    let case = Case {
        dir: tempfile::tempdir().unwrap(),
        recipe: source.replace("kind = \"column\", column = \"split\"", "kind = \"random\""),
    };
    assert!(
        case.message().contains("source \"log\" lists its files by split: write `kind = \"files\"`"),
        "{}",
        case.message()
    );
}

#[test]
fn what_decides_which_rows_are_counted_is_a_leak_too() {
    let field = |sql: &str| {
        let field = "[[field]]\ncolumn = \"hint\"\nkind = \"number\"\n[[label]]";
        Case::new(LOG, format!("sql = \"\"\"{sql}\"\"\"\n{}", RECIPE.replacen("[[label]]", field, 1)))
    };
    for sql in [
        "SELECT l.*, r.hint FROM log l LEFT JOIN (SELECT item, COUNT(*) AS hint FROM log WHERE click = 1 GROUP BY item) r ON l.item = r.item",
        "SELECT l.*, r.hint FROM log l LEFT JOIN (SELECT item, AVG(price) AS hint FROM log GROUP BY item HAVING AVG(click) > 0.5) r ON l.item = r.item",
        "SELECT l.*, r.hint FROM log l LEFT JOIN (SELECT item, price AS hint FROM log ORDER BY click DESC LIMIT 2) r ON l.item = r.item",
        "SELECT *, LAG(click) OVER (PARTITION BY \"user\" ORDER BY price DESC) AS hint FROM log",
    ] {
        let message = field(sql).message();
        assert!(message.contains("field \"hint\" is made of") && message.contains("click"), "{sql}: {message}");
    }
    field("SELECT *, price * 2 AS hint FROM log WHERE click IS NOT NULL").prepare().unwrap();
}
