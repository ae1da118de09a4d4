//! What the model of a run scores on validation and test: by one process, or by all ranks, each with its part of the table.

use std::path::Path;

use burn::tensor::Device;
use stem_core::Predictor;
use stem_core::models::ModelSpec;
use stem_data::{Dataset, Split};
use stem_train::ranks::score_over;

use crate::error::Result;
use crate::folder::{BUNDLE, JOINT};
use crate::measured::score_split;
use crate::options::RunOptions;

/// Scores of whole splits. `[N, T]` each
#[derive(Default)]
pub(super) struct Scored {
    pub(super) test: Vec<f32>,
    pub(super) valid: Vec<f32>,
    /// Of the weights that were best for all tasks together, where those are others.
    pub(super) joint_test: Option<Vec<f32>>,
    /// Before they were calibrated, where they are.
    pub(super) uncalibrated_test: Option<Vec<f32>>,
}

/// By one process. The run lies in `folder`, and its bundle is open.
///
/// # Errors
/// Batches and bundles that do not read.
pub(super) fn alone<C: ModelSpec>(
    predictor: &Predictor<C>,
    dataset: &Dataset,
    folder: &Path,
    device: &Device,
) -> Result<Scored> {
    let of = |predictor: &Predictor<C>| score_split(predictor, dataset, Split::Test);
    let open = |name: &str| Predictor::<C>::open_model(folder.join(name), device);
    let joint_test = if folder.join(JOINT).exists() { Some(of(&open(JOINT)?)?) } else { None };
    let (test, uncalibrated_test) = match is_calibrated(predictor) {
        true => {
            let uncalibrated = of(&open(BUNDLE)?.uncalibrated())?;
            let mut test = uncalibrated.clone();
            predictor.calibrate(&mut test);
            (test, Some(uncalibrated))
        }
        false => (of(predictor)?, None),
    };
    Ok(Scored { joint_test, test, uncalibrated_test, valid: score_split(predictor, dataset, Split::Valid)? })
}

/// By all ranks, which call it together: rank 0 alone has the bundle, and the scores in the end.
///
/// # Errors
/// As [`alone`].
pub(super) fn over<C: ModelSpec>(
    predictor: Option<&Predictor<C>>,
    spec: &C,
    dataset: &Dataset,
    folder: &Path,
    options: &RunOptions,
) -> Result<Scored> {
    let (ranks, device) = (&options.ranks, &options.device.open()?);
    let of = |name: &str, splits: &[Split]| score_over(ranks, spec, &folder.join(name), dataset, splits, device);
    let mut both = of(BUNDLE, &[Split::Test, Split::Valid])?.into_iter();
    let [mut test, mut valid] = [(); 2].map(|()| both.next().unwrap_or_default());
    let has_joint = ranks.from_first(|| folder.join(JOINT).exists());
    let mut joint_test = if has_joint { of(JOINT, &[Split::Test])?.pop() } else { None };
    let Some(predictor) = predictor else { return Ok(Scored::default()) };
    let uncalibrated_test = is_calibrated(predictor).then(|| test.clone());
    predictor.calibrate(&mut test);
    predictor.calibrate(&mut valid);
    if let Some(joint_test) = &mut joint_test {
        Predictor::<C>::open_model(folder.join(JOINT), device)?.calibrate(joint_test);
    }
    Ok(Scored { test, valid, joint_test, uncalibrated_test })
}

fn is_calibrated<C: ModelSpec>(predictor: &Predictor<C>) -> bool {
    predictor.calibration().iter().any(Option::is_some)
}
