//! The page of a data set lies beside its columns and tells of all that they hold.

use stem_data::{Dataset, PrepareOptions, Recipe, prepare};
use stem_experiment::{data_page, write_data_page};

const RECIPE: &str = r#"
name = "shop & sons"
group = "user"
source = [{ name = "log", file = "log.csv" }]
allow_leak = ["ctr"]
field = [
    { column = "user", kind = "category", min_count = 2 },
    { column = "tags", kind = "sequence", separator = "|", max_len = 3 },
    { column = "price", kind = "number", standardize = true },
    { column = "ctr", kind = "number" },
]
label = [{ column = "view" }, { column = "buy", within = "view" }]
split = { kind = "time", column = "day", valid = 0.2, test = 0.2 }
"#;

fn prepared(folder: &std::path::Path) -> Dataset {
    let row = |i: u32| {
        let (view, price) = (i % 2, if i.is_multiple_of(4) { String::new() } else { (i % 50).to_string() });
        let day = 1_709_251_200 + i / 100 * 86_400;
        format!("{},a|t{},{price},{},{day},{view},{}\n", i * i % 83, i % 9, 500 + i % 7, i / 2 % 2)
    };
    let log: String = (0..1000).map(row).collect();
    std::fs::write(folder.join("log.csv"), format!("user,tags,price,ctr,day,view,buy\n{log}")).unwrap();
    let recipe = Recipe::parse(RECIPE, "recipe.toml").unwrap();
    prepare(&recipe, folder, &folder.join("columns"), &PrepareOptions::default()).unwrap()
}

#[test]
fn the_page_names_fields_tasks_splits_days_and_warnings() {
    let folder = tempfile::tempdir().unwrap();
    let page = data_page(&prepared(folder.path()));
    assert!(page.starts_with("<!doctype html>") && page.contains("The data of shop &amp; sons"), "{page}");
    for name in ["user", "tags", "price", "ctr", "view", "buy", "training", "validation", "test"] {
        assert!(page.contains(&format!(">{name}<")), "{name}");
    }
    for text in [
        "600 rows (60.00 %)",
        ">25.00 %<", // prices that are null
        ">2024-03-10<",
        "number, standardised",
        "number as it is",
        "list, the first 2 values",
        "label &#39;buy&#39; is 1 in 250 rows where &#39;view&#39; is not",
        "field &#39;ctr&#39; holds large numbers as they are (mean 50",
        "past the search for leaks (allow_leak):</p><ul><li>ctr</li></ul>",
        "user (group)",
    ] {
        assert!(page.contains(text), "{text}");
    }
    for chart in ["base-rates", "rows-by-day", "rate-by-day", "nulls", "histogram", "value-counts", "overlap"] {
        assert!(page.contains(&format!("data-chart=\"{chart}\"")), "{chart}");
    }
}

#[test]
fn the_page_lies_beside_the_columns_which_are_opened_and_replaced_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = prepared(folder.path());
    let columns = folder.path().join("columns");
    let path = write_data_page(&dataset, &columns).unwrap();
    assert_eq!(
        (path.clone(), std::fs::read_to_string(&path).unwrap()),
        (columns.join("data.html"), data_page(&dataset))
    );
    let written = || std::fs::metadata(&path).unwrap().modified().unwrap();
    let before = written();
    write_data_page(&Dataset::open(&columns).unwrap(), &columns).unwrap();
    assert_eq!(written(), before, "nothing has changed");
    let recipe = Recipe::parse(&RECIPE.replace("min_count = 2", "min_count = 1"), "recipe.toml").unwrap();
    prepare(&recipe, folder.path(), &columns, &PrepareOptions::default()).unwrap();
    assert!(!path.exists(), "the page of other columns does not stay");
}

#[test]
fn a_page_can_be_made_of_columns_that_an_earlier_version_wrote() {
    let sample = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../stem-data/tests/samples/columns-v2");
    let page = data_page(&Dataset::open(sample).unwrap());
    assert!(
        page.contains("The data of sample") && page.contains(">click<") && !page.contains("id=\"fields\""),
        "{page}"
    );
}
