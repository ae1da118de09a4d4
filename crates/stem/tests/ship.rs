//! `stem quantize`, `stem delta` and `stem apply` as a user runs them.

use crate::program::{Small, device, fails, json, run, succeeds, text, texts};

#[test]
fn a_bundle_is_packed_measured_and_refused_where_it_lost_too_much() {
    let small = Small::new();
    let bundle = small.trained();
    let recipe = small.read("recipe.toml").split("[simulator]").next().unwrap().to_string();
    let recipe = small.write("rows.toml", &recipe);
    let (out, on) = (small.path("small.safetensors"), device());
    let args = |rows: &str| ["quantize", &bundle, "--rows", rows, "--out", &out, "--device", &on].map(str::to_string);
    let with = |rows: &str, more: &[&str]| -> Vec<String> {
        args(rows).into_iter().chain(more.iter().map(|arg| arg.to_string())).collect()
    };
    let answer = json(&texts(&with("int8", &[])));
    assert!(answer["bytes"].as_u64().unwrap() < answer["bytes_before"].as_u64().unwrap(), "{answer}");
    assert!(answer["measured"].is_null() && answer["rms_error"].as_f64().unwrap() > 0.0);
    std::fs::remove_file(&out).unwrap();

    let measured = ["--recipe", &recipe, "--data", &small.path("")];
    let answer = json(&texts(&with("int8", &measured)));
    let aucs = |when: &str| answer["measured"][when]["a"]["auc"].as_f64().unwrap();
    assert!((aucs("before") - aucs("after")).abs() < 0.001 && answer["measured"]["rows"].as_u64().unwrap() > 300);
    let inspected = json(&["inspect", &out]);
    assert_eq!((&inspected["rows"], &inspected["format_version"]), (&"int8".into(), &7.into()));
    assert_eq!(inspected["packed"]["measured"], answer["measured"]);
    assert_eq!(inspected["golden"], 16);
    assert!(succeeds(&["inspect", &out]).contains("rows: int8, off by"));
    let (table, parameters) = (json(&["inspect", &bundle])["parameters"].clone(), &inspected["parameters"]);
    assert_eq!(parameters["table"], table["table"], "as many numbers");
    assert!(parameters["bytes"].as_u64() < table["bytes"].as_u64(), "in fewer bytes");

    let from = fails(&texts(&small.args("train", "on", &["--from", &out])));
    assert!(from.contains("packed as int8: go on from the bundle that it was made of"), "{from}");
    assert!(
        fails(&["quantize", &out, "--rows", "int4", "--out", &small.path("x"), "--device", &on])
            .contains("packed as int8")
    );

    std::fs::remove_file(&out).unwrap();
    let strict = with("int4", &[&measured[..], &["--max-loss", "0"]].concat());
    let refused = run(&texts(&strict));
    if refused.status.code() == Some(3) {
        let said = text(&refused.stderr);
        assert!(
            said.contains("more than --max-loss 0; nothing was written") && !std::path::Path::new(&out).exists(),
            "{said}"
        );
    } else {
        assert_eq!(refused.status.code(), Some(0), "chance made it no worse: {}", text(&refused.stderr));
    }
    assert!(fails(&texts(&with("int8", &["--max-loss=-1"]))).contains("--max-loss -1: expected a number of 0 or more"));
    let replaced = fails(&["quantize", &bundle, "--rows", "f16", "--out", &bundle, "--device", &on]);
    assert!(replaced.contains("is read and would be replaced"), "{replaced}");
}

#[test]
fn what_changed_from_one_bundle_to_the_next_is_shipped() {
    let small = Small::new();
    let old = small.trained();
    let (small_rows, file, made) =
        (small.path("packed.safetensors"), small.path("new.delta"), small.path("made.safetensors"));
    json(&["quantize", &old, "--rows", "f16", "--out", &small_rows, "--device", &device()]);
    let answer = json(&["delta", &old, &small_rows, "--out", &file]);
    assert!(answer["changed_rows"].as_u64().unwrap() > 0 && answer["rows"].as_u64() >= answer["changed_rows"].as_u64());
    assert!(succeeds(&["apply", &old, &file, "--out", &made]).starts_with(&made));
    assert_eq!(std::fs::read(&made).unwrap(), std::fs::read(&small_rows).unwrap());
    let other = fails(&["apply", &small_rows, &file, "--out", &made]);
    assert!(other.contains("apply it to the bundle that it was made of"), "{other}");
    assert!(fails(&["apply", &old, &old, "--out", &made]).contains("it is no delta of stem"));
    assert!(fails(&["delta", &file, &old, "--out", &made]).contains("is not a usable bundle"));
}
