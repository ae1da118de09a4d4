//! A log of what is watched: items of a length, clicks, seconds, stars, and a shelf that an item stands on.

use std::path::Path;

use stem_data::{Dataset, PrepareOptions, Recipe, prepare};

/// The splits that rows fall into, 120 after the other.
pub const SPLITS: [&str; 5] = ["train", "train", "train", "valid", "test"];
/// Without validation every epoch counts as the best.
pub const WITHOUT_VALIDATION: [&str; 2] = ["train", "test"];

/// 40 items; each has a rate of clicks, and a time that it is watched, with noise that two rows in three share.
pub fn watched(folder: &Path, rows: usize, labels: &str, splits: &[&str]) -> Dataset {
    let mut log = "item,length,click,seconds,stars,shelf,split\n".to_string();
    for row in 0..rows {
        let item = (row * 7919) % 40;
        let chance = (row * 104_729 % 1009) as f64 / 1009.0;
        let click = u8::from(chance < (item as f64 + 1.0) / 42.0);
        let seconds = if chance < 0.3 { 0.0 } else { (1.0 + item as f64) * (0.5 + chance) };
        let stars = (item / 10).min(3);
        let split = splits[row / 120 % splits.len()];
        let length = 10 + 20 * (item % 4);
        log.push_str(&format!("{item},{length},{click},{seconds:.0},{stars},{},{split}\n", item * 7 % 3));
    }
    std::fs::write(folder.join("log.csv"), log).unwrap();
    let recipe = format!(
        r#"
        name = "watched"
        group = "item"
        source = [{{ name = "log", file = "log.csv" }}]
        field = [{{ column = "item", kind = "category" }}, {{ column = "length", kind = "number", standardize = true }}]
        label = [{labels}]
        split = {{ kind = "column", column = "split" }}
        "#
    );
    let recipe = Recipe::parse(&recipe, "recipe.toml").unwrap();
    prepare(&recipe, folder, &folder.join("columns"), &PrepareOptions::default()).unwrap()
}
