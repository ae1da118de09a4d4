//! Gates of a domain on the towers of a model: PyTorch's numbers, and whom they hear.

use crate::common::oracle::*;
use crate::common::*;
use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use serde::Deserialize;
use serde_json::json;
use stem_core::models::*;
use stem_core::nn::*;
use stem_core::*;

const LENGTH: usize = 4;

/// An item, what was watched of the same vocabulary, a tab; two tasks.
fn log() -> Schema {
    let fields = vec![
        Field::category("item", 0),
        Field::sequence("watched", 0, LENGTH).pooled(Pooling::Sum),
        Field::category("tab", 1),
    ];
    let specs = [("items", 6), ("tabs", 4)].map(|(name, rows)| VocabularySpec::new(name, rows));
    Schema::new(fields, specs.into(), ["like", "love"].map(Task::new).into())
}

#[derive(Deserialize)]
struct Fixture {
    dim: usize,
    bottom: Vec<usize>,
    tower: Vec<usize>,
    rows: Vec<(u32, Vec<u32>, u32)>,
    cases: Vec<Case>,
}

#[test]
fn gates_of_a_domain_on_towers_and_their_gradients_are_pytorchs() {
    let fixture: Fixture = serde_json::from_str(include_str!("fixtures/towers.json")).unwrap();
    let (mut ids, mut weights) = (Vec::new(), Vec::new());
    for (item, watched, tab) in &fixture.rows {
        ids.extend([*item].iter().chain(watched).copied().chain(vec![0; LENGTH - watched.len()]).chain([6 + tab]));
        weights.extend((0..LENGTH + 2).map(|slot| f32::from(u8::from(slot <= watched.len() || slot > LENGTH))));
    }
    let (schema, device) = (log(), device());
    for case in &fixture.cases {
        let name = case.case.to_string();
        let keys = [
            ("dim", json!(fixture.dim)),
            ("bottom", json!(fixture.bottom)),
            ("tower", json!(fixture.tower)),
            ("domain", case.case["domain"].clone()),
        ];
        let config = case.case["model"].as_str().unwrap().parse::<ModelName>().unwrap().config_with(keys).unwrap();
        config.check(&schema).unwrap();
        let network = with_parameters(config.init(&schema, &mut rng(1), &device.clone().autodiff()), &case.parameters);
        let widths = config.widths(&schema);
        let table = EmbeddingTable::from_values(case.table.clone(), &widths, &device);
        let leaf = table.rows().tensor().clone().autodiff().require_grad();
        let (index, weights) = upload(&ids, &weights, fixture.rows.len(), &device);
        let x = SlotLayout::new(&schema, &widths).pool(leaf.clone(), index.autodiff(), weights.autodiff());
        let y = network.forward(x); // [B, T]
        close(&values(y.clone()), &case.y, 1e-6, &name);
        let pull = Tensor::<2>::from_data(TensorData::new(case.pull.clone(), y.dims()), &device).autodiff();
        let grads = (y * pull).sum().backward();
        let tolerance = if is_on_gpu() { 5e-5 } else { 1e-5 };
        close(&values(leaf.grad(&grads).unwrap()), &case.dtable, tolerance, &format!("{name}: rows"));
        case.hold_gradients(&network, &grads, tolerance, &name);
    }
}

#[test]
fn every_models_towers_hear_the_domain_and_the_fields_beside_it() {
    let schema = log();
    let row = |item: u32, tab: u32| ([item, 1, 0, 0, 0, 6 + tab], [1.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    let rows = [row(1, 1), row(1, 2), row(2, 1)];
    let (ids, weights): (Vec<_>, Vec<_>) = (rows.map(|r| r.0).concat(), rows.map(|r| r.1).concat());
    for plain in every_model().into_iter().take(if is_on_gpu() { 2 } else { usize::MAX }) {
        let domain = json!({ "field": "tab", "embeddings": false, "towers": true, "personal": ["item"], "hidden": 2 });
        let config = with_key(&plain, "domain", domain);
        let (widths, device) = (config.widths(&schema), device());
        let table = EmbeddingTable::init(&schema, &widths, 1.0, 7, &device);
        let layout = SlotLayout::new(&schema, &widths);
        let (index, weights) = upload(&ids, &weights, rows.len(), &device);
        let x = layout.pool(table.rows().tensor().clone(), index, weights);
        let network = config.init(&schema, &mut rng(7), &device.clone().autodiff());
        let gated = values(network.valid().forward(x.clone()));
        // Of gates that are 1 everywhere what is left is the plain model.
        let mut all = params::collect(&network);
        for (name, data) in all.iter_mut().filter(|(name, _)| name.starts_with("tower_gates.")) {
            if name.contains(".layers.1.") {
                *data = TensorData::zeros::<f32, _>(data.shape().clone());
            }
        }
        let open = values(params::replace(network, all).unwrap().valid().forward(x.clone()));
        let plainly = values(plain.init(&schema, &mut rng(7), &device.clone().autodiff()).valid().forward(x));
        let name = config.name();
        assert!(open.iter().zip(&plainly).all(|(a, b)| (a - b).abs() < 1e-5), "{name}: {open:?} {plainly:?}");
        assert!(gated.iter().zip(&plainly).any(|(a, b)| (a - b).abs() > 1e-3), "{name}: {gated:?}");
    }
}
