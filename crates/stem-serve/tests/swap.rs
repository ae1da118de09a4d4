//! Models that are swapped while they are asked, bundles that are not taken, and requests that two models share.

use crate::common::*;
use safetensors::tensor::SafeTensors;
use serde_json::{Value as Json, json};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use stem_core::bundle::Verify;
use stem_core::files;
use stem_serve::{ServeConfig, Token};

fn with_admin() -> ServeConfig {
    let mut config = ServeConfig::default();
    config.admin_token = Some(Token::new("admin", "a test").unwrap());
    config
}

fn swap(server: &Running, name: &str, path: &std::path::Path) -> Answer {
    let body = json!({ "path": path }).to_string();
    let mut client = server.client().with_token("admin");
    client.ask("POST", &format!("/v1/models/{name}"), "content-type: application/json\r\n", body.as_bytes()).unwrap()
}

fn model(server: &Running, name: &str) -> Json {
    let told = server.client().get("/v1/models").json();
    told["models"].as_array().unwrap().iter().find(|model| model["name"] == name).cloned().unwrap_or(Json::Null)
}

/// Until `found` says so, for twenty seconds at most.
fn wait_for(what: &str, found: impl Fn() -> bool) {
    let begun = Instant::now();
    while !found() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A bundle of which one byte is another.
fn damaged(path: &std::path::Path, at: usize) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap();
    let place = at % bytes.len();
    bytes[place] ^= 0x40;
    bytes
}

/// `STEM_SWAPS=1000 STEM_SWAP_REQUESTS=1000` for a million requests over a thousand swaps.
#[test]
fn under_swaps_every_answer_is_of_exactly_one_whole_bundle_and_none_is_lost() {
    let number = |name: &str, default: usize| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (swaps, per_swap) = (number("STEM_SWAPS", 40), number("STEM_SWAP_REQUESTS", 25));
    let models = Models::new(&["one", "two"]);
    let served = tempfile::tempdir().unwrap();
    fs::copy(models.path("one"), served.path().join("shop.safetensors")).unwrap();
    let server = start(served.path(), with_admin());
    let predictors = ["one", "two"].map(|name| models.predictor(name));
    let rows: Vec<Json> = (0..16).map(|i| rows(i * 20..i * 20 + 1 + i)).collect();
    let of = |predictor| rows.iter().map(|rows| expected(predictor, rows)).collect::<Vec<_>>();
    let (one, two) = (of(&predictors[0]), of(&predictors[1]));
    let versions = predictors.each_ref().map(|predictor| predictor.checksum()[..12].to_string());
    let (is_over, answered, seen) =
        (AtomicBool::new(false), AtomicUsize::new(0), [AtomicUsize::new(0), AtomicUsize::new(0)]);
    thread::scope(|scope| {
        for caller in 0..4 {
            let (server, rows, one, two) = (&server, &rows, &one, &two);
            let (versions, is_over, answered, seen) = (&versions, &is_over, &answered, &seen);
            scope.spawn(move || {
                let mut client = server.client();
                for i in caller.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let i = i % rows.len();
                    let answer = client.score(&json!({ "rows": rows[i] }));
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    let answer = answer.json();
                    let which = versions.iter().position(|version| answer["version"] == **version).unwrap();
                    let (own, other) = if which == 0 { (&one[i], &two[i]) } else { (&two[i], &one[i]) };
                    assert!(same(&bits(&answer), own) && !same(&bits(&answer), other), "request {i} of {which}");
                    answered.fetch_add(1, Ordering::Relaxed);
                    seen[which].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let bad = models.folder.path().join("bad.safetensors");
        for number in 0..swaps {
            let good = models.path(if number % 4 < 2 { "two" } else { "one" });
            if number % 2 == 0 {
                assert_eq!(swap(&server, "shop", &good).status, 200, "swap {number}");
            } else {
                fs::write(&bad, damaged(&good, 7919 * number)).unwrap();
                let refused = swap(&server, "shop", &bad);
                assert_eq!(
                    (refused.status, refused.kind().as_str()),
                    (422, "bundle"),
                    "swap {number}: {}",
                    refused.text()
                );
                let told = model(&server, "shop");
                assert_eq!(told["refused"]["file"], bad.to_str().unwrap());
                assert_eq!(told["version"], versions[if number % 4 < 2 { 1 } else { 0 }], "the one before serves on");
            }
            let until = answered.load(Ordering::Relaxed) + per_swap;
            wait_for("answers between swaps", || answered.load(Ordering::Relaxed) >= until);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let seen = seen.map(AtomicUsize::into_inner);
    println!(
        "{} answers over {swaps} swaps, {} of one bundle and {} of the other",
        answered.into_inner(),
        seen[0],
        seen[1]
    );
    assert!(seen.iter().all(|seen| *seen > 0), "{seen:?}");
    let metrics = server.client().get("/metrics").text();
    assert!(
        metrics.contains(&format!("stem_swaps_total{{model=\"shop\",result=\"refused\"}} {}", swaps / 2)),
        "{metrics}"
    );
}

#[test]
fn a_folder_is_watched_and_a_bad_file_in_it_harms_nobody() {
    let models = Models::new(&["one", "two"]);
    let served = tempfile::tempdir().unwrap();
    let place = |name: &str| served.path().join(format!("{name}.safetensors"));
    let put = |name: &str, bytes: &[u8]| files::replace(&place(name), |scratch| fs::write(scratch, bytes)).unwrap();
    let (one, two) = (fs::read(models.path("one")).unwrap(), fs::read(models.path("two")).unwrap());
    put("shop", &one);
    put("broken", b"no bundle");
    let mut config = ServeConfig::default();
    config.watch = Some(Duration::from_millis(30));
    let server = start(served.path(), config);
    let version = |bytes: &str| models.predictor(bytes).checksum()[..12].to_string();
    assert_eq!(model(&server, "shop")["version"], version("one"));
    let broken = model(&server, "broken");
    assert!(broken["refused"]["reason"].as_str().unwrap().contains("does not read as safetensors"), "{broken}");
    assert_eq!(server.client().score(&json!({ "model": "broken", "rows": rows(0..1) })).status, 404);
    assert_eq!(
        server.client().score(&json!({ "rows": rows(0..1) })).status,
        200,
        "of one usable model none has to be named"
    );

    put("shop", &two);
    wait_for("the new bundle", || model(&server, "shop")["version"] == version("two"));
    put("shop", &damaged(&models.path("one"), one.len() - 3));
    wait_for("the refusal", || !model(&server, "shop")["refused"].is_null());
    let told = model(&server, "shop");
    assert!(told["refused"]["reason"].as_str().unwrap().contains("its checksum is another"), "{told}");
    assert_eq!(told["version"], version("two"));
    fs::write(place("shop"), &one[..one.len() / 2]).unwrap(); // written over in place, and cut
    wait_for("another refusal", || {
        model(&server, "shop")["refused"]["reason"].as_str().is_some_and(|why| !why.contains("checksum"))
    });
    put("shop", &one);
    wait_for("the first bundle again", || model(&server, "shop")["version"] == version("one"));
    assert_eq!((&model(&server, "shop")["refused"], &model(&server, "shop")["swaps"]), (&Json::Null, &json!(2)));

    put("broken", &two);
    wait_for("a model more", || model(&server, "broken")["version"] == version("two"));
    let unnamed = server.client().score(&json!({ "rows": rows(0..1) }));
    assert_eq!((unnamed.status, unnamed.kind().as_str()), (400, "no-model-named"));
    fs::remove_file(place("shop")).unwrap();
    thread::sleep(Duration::from_millis(100));
    let answer = server.client().score(&json!({ "model": "shop", "rows": rows(0..3) }));
    assert!(
        same(&bits(&answer.json()), &expected(&models.predictor("one"), &rows(0..3))),
        "it is served until the end"
    );
}

#[test]
fn a_bundle_that_is_sent_is_kept_where_it_is_served_from() {
    let models = Models::new(&["one", "two"]);
    let served = tempfile::tempdir().unwrap();
    let place = served.path().join("shop.safetensors");
    fs::copy(models.path("one"), &place).unwrap();
    let server = start(served.path(), with_admin());
    let mut client = server.client().with_token("admin");
    let two = fs::read(models.path("two")).unwrap();
    let refused = client.post("/v1/models/shop", damaged(&models.path("two"), 9999));
    assert_eq!((refused.status, refused.kind().as_str()), (422, "bundle"));
    assert_eq!(fs::read(&place).unwrap(), fs::read(models.path("one")).unwrap());
    let taken = client.post("/v1/models/shop", &two);
    assert_eq!(
        (taken.status, &taken.json()["version"]),
        (200, &json!(&models.predictor("two").checksum()[..12])),
        "{}",
        taken.text()
    );
    assert_eq!(fs::read(&place).unwrap(), two);
    assert_eq!(client.post("/v1/models/new", &two).status, 200);
    assert_eq!(server.client().score(&json!({ "model": "new", "rows": rows(0..1) })).status, 200);
    for name in ["..%2Fevil", "a%20b", ".hidden"] {
        let answer = client.post(&format!("/v1/models/{name}"), &two);
        assert_eq!((answer.status, answer.kind().as_str()), (400, "name"), "{name}");
    }
    assert_eq!(fs::read_dir(served.path()).unwrap().count(), 2, "nothing else is left");
    for path in ["/no/such/file", "/dev/zero", "/tmp"] {
        let nowhere = swap(&server, "shop", std::path::Path::new(path));
        assert_eq!((nowhere.status, nowhere.kind().as_str()), (422, "bundle"), "{path}");
    }
}

#[test]
fn one_named_after_one_was_sent_is_not_undone_when_the_sent_file_is_found() {
    let models = Models::new(&["one", "two"]);
    let served = tempfile::tempdir().unwrap();
    fs::copy(models.path("one"), served.path().join("shop.safetensors")).unwrap();
    let mut config = with_admin();
    config.watch = Some(Duration::from_millis(30));
    let server = start(served.path(), config);
    let mut client = server.client().with_token("admin");
    assert_eq!(client.post("/v1/models/shop", fs::read(models.path("one")).unwrap()).status, 200);
    assert_eq!(swap(&server, "shop", &models.path("two")).status, 200);
    thread::sleep(Duration::from_millis(300)); // ten looks
    assert_eq!(model(&server, "shop")["version"], models.predictor("two").checksum()[..12]);
}

#[test]
fn a_server_maps_files_that_it_is_told_to_trust_and_copies_the_others() {
    let models = Models::new(&["shop"]);
    let path = models.path("shop");
    let offered = models.folder.path().join("offered.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let head: Json = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let table = head["embedding.table"]["data_offsets"][0].as_u64().unwrap() as usize;
    bytes[8 + length + table] ^= 1; // the last bit of an embedding: no golden row shows it
    fs::write(&offered, bytes).unwrap();
    for (verify, status) in [(Verify::Full, 422), (Verify::Header, 200), (Verify::None, 200)] {
        let mut config = with_admin();
        config.verify = verify;
        let server = start(&path, config);
        let told = model(&server, "shop");
        assert_eq!((&told["verified"], &told["rows"]["format"]), (&json!(verify), &json!("f32")));
        assert_eq!(told["rows"]["count"], 102 + 5 + 1);
        assert_eq!(swap(&server, "shop", &offered).status, status, "{verify}");
    }
}

#[test]
fn golden_rows_decide_whether_a_bundle_is_taken() {
    let models = Models::new(&["plain", "other"]);
    let path = models.folder.path().join("golden.safetensors");
    let server = start(&models.path("plain"), with_admin());
    assert_eq!(model(&server, "plain")["golden"], "passed", "every bundle that is written brings some");
    let with_golden = |edit: &dyn Fn(&mut Json)| {
        fs::write(&path, with_manifest(&fs::read(models.path("other")).unwrap(), edit)).unwrap();
        swap(&server, "plain", &path)
    };
    let before = model(&server, "plain")["version"].clone();
    let wrong = with_golden(&|manifest| {
        let score = &mut manifest["golden"]["scores"]["like"][1];
        *score = (score.as_f64().unwrap() + 0.01).into();
    });
    assert_eq!(wrong.status, 422);
    let reason = |answer: &Answer| answer.json()["error"]["reason"].as_str().unwrap().to_string();
    assert!(reason(&wrong).starts_with("golden row 1, task 'like': expected"), "{}", wrong.text());
    let told = model(&server, "plain");
    assert_eq!((&told["version"], &told["refused"]["reason"]), (&before, &json!(reason(&wrong))));
    let few = with_golden(&|manifest| drop(manifest["golden"]["scores"]["like"].as_array_mut().unwrap().pop()));
    assert_eq!(reason(&few), "it has 16 golden rows and 15 scores of 'like'");
    let unknown = with_golden(&|manifest| manifest["golden"]["scores"]["hate"] = json!([]));
    assert_eq!(reason(&unknown), "its golden rows have a task 'hate', which it does not score");
    assert_eq!(with_golden(&|manifest| drop(manifest.as_object_mut().unwrap().remove("golden"))).status, 200);
    assert_eq!(model(&server, "plain")["golden"], "absent");
}

/// Rewrites a bundle as a program would that gives it a checksum of its own.
fn with_manifest(bytes: &[u8], edit: &dyn Fn(&mut Json)) -> Vec<u8> {
    let (file, (_, metadata)) = (SafeTensors::deserialize(bytes).unwrap(), SafeTensors::read_metadata(bytes).unwrap());
    let mut metadata = metadata.metadata().clone().unwrap();
    let mut manifest: Json = serde_json::from_str(&metadata["stem.manifest"]).unwrap();
    edit(&mut manifest);
    let mut hasher = blake3::Hasher::new();
    hasher.update(manifest.to_string().as_bytes());
    let mut tensors = file.tensors();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, view) in &tensors {
        hasher.update(format!("{name} {:?} {:?}\n", view.dtype(), view.shape()).as_bytes());
        hasher.update(view.data());
    }
    metadata.insert("stem.manifest".into(), manifest.to_string());
    metadata.insert("stem.checksum".into(), hasher.finalize().to_hex().to_string());
    metadata.remove("stem.head");
    safetensors::serialize(tensors, Some(metadata)).unwrap()
}

#[test]
fn a_second_model_scores_too_and_its_differences_are_counted() {
    let models = Models::new(&["new", "old"]);
    let mut config = ServeConfig::default();
    config.shadow.insert("old".into(), "new".into());
    let server = start(models.folder.path(), config);
    let rows = rows(0..40);
    let answer = server.client().score(&json!({ "model": "old", "rows": rows })).json();
    assert!(same(&bits(&answer), &expected(&models.predictor("old"), &rows)), "the first one answers");
    let count = "stem_shadow_difference_count{model=\"old\",shadow=\"new\",task=\"love\"} 40";
    wait_for(count, || server.client().get("/metrics").text().contains(count));
    let floats = |name: &str| {
        expected(&models.predictor(name), &rows).into_iter().skip(1).step_by(2).map(f32::from_bits).collect::<Vec<_>>()
    };
    let sum: f64 = floats("old").iter().zip(floats("new")).map(|(p, q)| f64::from((p - q).abs())).sum();
    let metrics = server.client().get("/metrics").text();
    let told =
        metrics.lines().find(|line| line.starts_with("stem_shadow_difference_sum") && line.contains("love")).unwrap();
    let told: f64 = told.rsplit(' ').next().unwrap().parse().unwrap();
    assert!((told - sum).abs() < 1e-4 * sum.max(1.0), "{told}, {sum}");
}

#[test]
fn a_split_gives_each_user_one_model() {
    let models = Models::new(&["new", "old"]);
    let mut config = ServeConfig::default();
    config.split = Some("user:new=30,old=70".parse().unwrap());
    let server = start(models.folder.path(), config);
    let mut client = server.client();
    let mut of_new = 0;
    for user in 0..100 {
        let one = json!([{ "user": user, "tags": "a", "age": 3 }]);
        let answer = client.score(&json!({ "rows": one })).json();
        let name = answer["model"].as_str().unwrap().to_string();
        assert!(same(&bits(&answer), &expected(&models.predictor(&name), &one)), "{user}");
        let shared = json!({ "shared": { "user": user.to_string(), "age": 3 }, "columns": { "tags": ["b", "c"] } });
        assert_eq!(client.score(&shared).json()["model"], name, "the same user has the same model");
        of_new += usize::from(name == "new");
    }
    assert!((15..45).contains(&of_new), "{of_new} of 100 with new");
    let several = client.score(&json!({ "rows": rows(0..3) }));
    assert_eq!((several.status, several.kind().as_str()), (400, "several-models"));
    assert_eq!(client.score(&json!({ "model": "old", "rows": rows(0..3) })).json()["model"], "old");
}
