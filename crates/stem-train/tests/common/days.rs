//! A log of some days, each prepared for the model of the one before.

use std::path::Path;

use stem_data::{Dataset, Known, PrepareOptions, Recipe, prepare, prepare_grown};

/// So many rows of the users `first..first + 20` and of 15 items, of which a share is validation.
pub fn day(folder: &Path, name: &str, first: u64, (rows, valid): (u64, f64), model: Option<Known<'_>>) -> Dataset {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let line = |row: u64| {
        let (user, item) = (first + row % 20, 1 + row * 13 % 15);
        let label = (user * 7 + item * 3) % 11;
        format!("{user},{item},{},{}\n", u8::from(label > 4), u8::from(label > 7))
    };
    let log: String = ["user,item,a,b\n".to_string()].into_iter().chain((0..rows).map(line)).collect();
    std::fs::write(folder.join("log.csv"), log).unwrap();
    let recipe = format!(
        r#"
        name = "days"
        source = [{{ name = "log", file = "log.csv" }}]
        field = [{{ column = "user", kind = "category" }}, {{ column = "item", kind = "category" }}]
        label = [{{ column = "a" }}, {{ column = "b" }}]
        split = {{ kind = "random", valid = {valid:?}, test = 0.1, seed = 3 }}
    "#
    );
    let recipe = Recipe::parse(&recipe, "recipe.toml").unwrap();
    let (columns, options) = (folder.join("columns"), PrepareOptions::default());
    match model {
        None => prepare(&recipe, &folder, &columns, &options).unwrap(),
        Some(model) => prepare_grown(&recipe, model, &folder, &columns, &options).unwrap(),
    }
}
