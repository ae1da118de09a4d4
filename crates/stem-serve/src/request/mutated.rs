//! Requests that were changed by chance, 50,000: a refusal or rows, never a panic. `STEM_MUTATIONS=200000` tries so many.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Head, Rows, check_depth};

/// Bodies that are right, or nearly.
const BODIES: [&str; 6] = [
    r#"{"rows": [{"user": 7, "tags": "a|b", "age": 31.5}, {"user": -1, "tags": null, "age": null}]}"#,
    r#"{"shared": {"user": 7, "age": 3e1}, "columns": {"tags": [["a", "b"], [], null]}, "ignore_unknown": true, "model": "shop"}"#,
    r#"{"rows": [], "top_k": 3, "weights": {"like": 0.5, "love": 2}}"#,
    r#"{"columns": {"user": [1, 2], "tags": ["\u00e9", "\ud83d\ude00"], "age": [true, false]}, "powers": {"like": 1}}"#,
    r#"{"rows": [{"user": {"a": [1, [2, [3]]]}, "tags": 1e400, "age": "x"}]}"#,
    r#"{"rows": {"user": 1}, "shared": [1], "columns": 3, "model": 7}"#,
];

/// Pieces that are put into bodies.
const PIECES: [&str; 22] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "null",
    "NaN",
    "-",
    "1e999",
    "18446744073709551616",
    "\"rows\"",
    "\"columns\"",
    "\"shared\"",
    "\"user\"",
    "\\u0000",
    "\\ud800",
    "[[[[[[[[[[",
    "{\"user\":",
    " ",
];

fn mutate(body: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    let place = |rng: &mut ChaCha8Rng, body: &[u8]| rng.random_range(0..=body.len());
    let (a, b) = (place(rng, body), place(rng, body));
    let (a, b) = (a.min(b), a.max(b).min(a.min(b) + 40));
    match rng.random_range(0..7) {
        0 => drop(body.drain(a..b)),
        1 => {
            let piece = body[a..b].to_vec();
            let at = place(rng, body);
            body.splice(at..at, piece);
        }
        2 => body.truncate(a),
        3 if a < body.len() => body[a] ^= 1 << rng.random_range(0..8),
        4 if a < body.len() => body[a] = rng.random(),
        _ => {
            let piece = PIECES[rng.random_range(0..PIECES.len())];
            body.splice(a..b.min(a + rng.random_range(0..4)), piece.bytes());
        }
    }
}

#[test]
fn a_mutated_request_is_refused_or_read() {
    let number = std::env::var("STEM_MUTATIONS").ok().and_then(|text| text.parse::<usize>().ok());
    let (mut rng, mut told) = (ChaCha8Rng::seed_from_u64(17), [0; 2]);
    for mutation in 0..number.unwrap_or(50_000) {
        let mut body = BODIES[mutation % BODIES.len()].as_bytes().to_vec();
        (0..=rng.random_range(0..4)).for_each(|_| mutate(&mut body, &mut rng));
        let read = |body: &[u8]| {
            check_depth(body, 8)?;
            let head = Head::read(body, mutation % 2 == 0)?;
            let rows = Rows::read(body, &["user", "tags", "age"], head.ignore_unknown, 100)?;
            rows.check(&["user", "tags", "age"])?;
            Ok::<usize, crate::Refusal>(rows.into_columns().rows())
        };
        match read(&body) {
            Ok(rows) => {
                assert!(rows <= 100);
                told[1] += 1;
            }
            Err(refusal) => {
                assert!(!refusal.to_string().is_empty());
                told[0] += 1;
            }
        }
    }
    println!("{} refused, {} read", told[0], told[1]);
    assert!(told[0] > told[1] && told[1] > 0, "{told:?}: mutations reach both");
}
