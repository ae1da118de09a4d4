//! The page of a data set: it names all that there is, breaks by nothing that data may hold, and leaves out what it does not know.

use crate::report_page::{charts, check, sound_page};
use stem_report::report::{DataDay, DataField, DataReport, DataTask, DataVocabulary, Shared, render_data};

/// A data set in which everything is known; `name` stands before all names.
fn sample(name: &str) -> DataReport {
    let named = |what: &str| format!("{name}{what}");
    let shared = |all, trained, rows| Shared { all, trained, rows };
    let shares = [Some(0.25), Some(0.5), None];
    let field = |what: &str, kind: &str| DataField {
        name: named(what),
        kind: kind.into(),
        nulls: shares,
        unseen: Some([Some(0.0), Some(0.125), Some(0.00002)]),
        ..DataField::default()
    };
    let number = DataField {
        unseen: None,
        numbers: [Some([1.5, 0.5, -1e9, 2e7]), Some([0.0, 0.0, 0.0, 0.0]), None],
        histogram: Some((-1.0, 3.0, vec![0, 5, 10, 1])),
        ..field("price", "number, standardised")
    };
    let vocabulary = |what: &str| DataVocabulary {
        name: named(what),
        fields: vec![named(what), named("other")],
        known: 1234,
        left_out: 567,
        left_out_share: Some(0.031),
        half: 89,
        bins: vec![(567, 567), (0, 0), (1000, 5000), (234, 3000)],
        splits: [shared(1801, 1801, None), shared(900, 810, None), shared(0, 0, None)],
    };
    let task = |what: &str, within: Option<&str>| DataTask {
        name: named(what),
        within: within.map(named),
        labelled: [8000, 1000, 0],
        positives: [2000, 300, 0],
    };
    let day = |day: i64, rows| DataDay {
        date: format!("2024-03-{:02}", day + 1),
        day: 19_783 + day,
        rows,
        labels: vec![(1000, 250 + 10 * day as u64), (0, 0)],
    };
    DataReport {
        name: named("set"),
        facts: vec![("Key".into(), "abc".into())],
        rows: [8000, 1000, 1000],
        tasks: vec![task("view", None), task("click", Some("view"))],
        fields: vec![field("user", "category"), field("tags", "list, the first 20 values"), number],
        vocabularies: vec![vocabulary("user"), vocabulary("tags")],
        groups: Some((
            named("user"),
            [shared(500, 500, Some(8000)), shared(200, 150, Some(800)), shared(9, 0, Some(0))],
        )),
        days: vec![day(0, [1000, 0, 0]), day(1, [1000, 0, 0]), day(4, [0, 1000, 1000])],
        copies: named("no copies"),
        warnings: vec![named("warned")],
        allow_leak: vec![named("ctr")],
    }
}

#[test]
fn every_field_task_split_and_vocabulary_is_named_with_its_numbers() {
    let page = sound_page(&render_data(&sample("")));
    for part in ["warnings", "rows", "days", "fields", "numbers", "vocabularies", "overlap"] {
        assert!(page.contains(&format!("<section id=\"{part}\"")), "{part}");
    }
    for text in [
        "The data of set",
        "training",
        "validation",
        "test",
        ">view<",
        ">click<",
        ">user<",
        ">tags<",
        ">price<",
        "8,000 rows (80.00 %)",
        ">30.00 %<",
        ">12.50 %<",
        ">0.0020 %<",
        ">1,234<",
        ">567<",
        ">3.10 %<",
        ">2024-03-05<",
        "list, the first 20 values",
        "user (group)",
        "no copies",
        "warned",
        "ctr",
        "half of all by 89",
    ] {
        assert!(page.contains(text), "{text}");
    }
    let found: Vec<String> = charts(&page).into_iter().map(|(kind, ..)| kind).collect();
    let counts = ["value-counts"; 2];
    let expected =
        [&["base-rates", "rows-by-day", "rate-by-day", "unseen", "nulls", "histogram"][..], &counts, &["overlap"]];
    assert_eq!(found, expected.concat());
    let marks = |kind: &str| charts(&page).into_iter().find(|(found, ..)| found == kind).map(|(_, marks, _)| marks);
    assert_eq!(marks("base-rates"), Some(4), "test has no label");
    assert_eq!((marks("histogram"), marks("value-counts")), (Some(3), Some(3)), "no column where nothing lies");
}

#[test]
fn names_are_escaped() {
    let harmless = check(&render_data(&sample("a")));
    for hostile in ["</title><script>alert(1)</script>", "\" onload=\"x", "&lt;", "<!--", "]]>", "\u{202e}", "{", "'"] {
        let page = render_data(&sample(hostile));
        assert_eq!(check(&page), harmless, "{hostile:?}");
        assert!(!page.contains(&format!(">{hostile}")) || !hostile.contains(['<', '>', '"', '\'']), "{hostile:?}");
    }
}

#[test]
fn what_is_not_known_is_left_out() {
    let page = sound_page(&render_data(&DataReport::default()));
    assert!(page.contains("Nothing was counted.") && !page.contains("<section"), "{page}");
    let old = DataReport {
        fields: vec![],
        vocabularies: vec![],
        groups: None,
        days: vec![],
        warnings: vec![],
        allow_leak: vec![],
        ..sample("")
    };
    let page = sound_page(&render_data(&old));
    assert_eq!(page.matches("<section").count(), 1);
    let mut flat = sample("");
    flat.fields[2].histogram = Some((3.0, 3.0, vec![7, 0]));
    flat.days.truncate(1);
    let page = sound_page(&render_data(&flat));
    assert!(!page.contains("data-chart=\"histogram\"") && !page.contains("id=\"days\""), "one number, one day");
}

#[test]
fn of_many_fields_the_bars_are_few_and_the_table_has_all() {
    let mut many = sample("");
    let field = many.fields[0].clone();
    let named =
        |i: usize| DataField { name: format!("f{i}"), unseen: Some([Some(i as f64 / 300.0); 3]), ..field.clone() };
    many.fields = (1..=300).map(named).collect();
    let page = sound_page(&render_data(&many));
    let (_, marks, rows) = charts(&page).into_iter().find(|(kind, ..)| kind == "unseen").unwrap_or_default();
    assert_eq!((marks, rows), (40, 300), "twenty fields in two splits");
    assert!(page.contains(">f1<") && page.contains(">f300<"));
}
