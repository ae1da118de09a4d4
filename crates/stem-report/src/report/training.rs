//! How the training of a task went: which of its measurements was kept, whether it overfitted, whether its epochs were too few.

use super::data::{EpochPoint, LearningCurve, Metric};

/// A validation logloss that ends this far above its best, the training loss having fallen, is overfitting.
const RISEN: f64 = 0.01;

/// Where a measurement stands, in epochs.
pub(super) fn place(point: &EpochPoint) -> f64 {
    if point.at > 0.0 && point.at.is_finite() { point.at } else { point.epoch as f64 }
}

/// The place in the curve whose weights are kept for task `t`; where nothing says so, the best of the metric.
pub(super) fn kept(curve: &LearningCurve, t: usize, metric: Metric) -> Option<usize> {
    let said = curve.kept.get(t).copied().flatten().filter(|place| *place < curve.epochs.len());
    said.or_else(|| best(curve, |point| value(point, t, metric)))
}

/// Whether the last epoch that training was allowed was still the best for task `t`.
pub(super) fn ran_out(curve: &LearningCurve, t: usize, metric: Metric) -> bool {
    let found = || {
        let last = curve.epochs.iter().rposition(|point| value(point, t, metric).is_some())?;
        let allowed = curve.max_epochs.is_some_and(|most| most > 0 && curve.epochs[last].epoch >= most);
        Some(allowed && kept(curve, t, metric)? >= last)
    };
    curve.ran_out.get(t).copied().or_else(found).unwrap_or(false)
}

/// By which part the validation logloss of task `t` ends above its best, if that is much and the training loss fell meanwhile.
pub(super) fn overfitted(curve: &LearningCurve, t: usize) -> Option<f64> {
    let best = best(curve, |point| logloss(point, t).map(|loss| -loss))?;
    let last = curve.epochs.iter().rposition(|point| logloss(point, t).is_some())?;
    let (at_best, at_last) = (&curve.epochs[best], &curve.epochs[last]);
    let risen = logloss(at_last, t)? / logloss(at_best, t)? - 1.0;
    (risen > RISEN && at_last.loss.get(t)? < at_best.loss.get(t)?).then_some(risen)
}

/// The first place of the highest value.
fn best(curve: &LearningCurve, of: impl Fn(&EpochPoint) -> Option<f64>) -> Option<usize> {
    let known = curve.epochs.iter().enumerate().filter_map(|(place, point)| Some((place, of(point)?)));
    known.fold(None, |best: Option<(usize, f64)>, own| best.filter(|best| best.1 >= own.1).or(Some(own))).map(|b| b.0)
}

/// What a measurement is as good as: more is better. AUC for all that the curve has not, and of labels that are numbers what it has.
fn value(point: &EpochPoint, t: usize, metric: Metric) -> Option<f64> {
    let others = point.others.get(t).into_iter().flatten();
    let mut finite =
        others.filter(|(_, value)| value.is_finite()).map(|(other, value)| (other, other.goodness(*value)));
    let auc = || point.auc.get(t).copied().flatten().filter(|auc| auc.is_finite());
    match metric {
        Metric::Logloss => logloss(point, t).map(|loss| -loss),
        _ => match finite.clone().find(|(other, _)| **other == metric) {
            Some((_, found)) => Some(found),
            None => auc().or_else(|| finite.next().map(|(_, found)| found)),
        },
    }
}

fn logloss(point: &EpochPoint, t: usize) -> Option<f64> {
    point.logloss.get(t).copied().flatten().filter(|loss| loss.is_finite() && *loss > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Training loss, validation AUC and logloss, one measurement an epoch.
    fn curve(points: &[(f64, f64, f64)]) -> LearningCurve {
        let point = |(i, &(loss, auc, logloss)): (usize, &(f64, f64, f64))| EpochPoint {
            epoch: i + 1,
            loss: vec![loss],
            auc: vec![Some(auc)],
            logloss: vec![Some(logloss)],
            ..EpochPoint::default()
        };
        LearningCurve { epochs: points.iter().enumerate().map(point).collect(), ..LearningCurve::default() }
    }

    #[test]
    fn epochs_ran_out_where_the_last_allowed_one_was_the_best() {
        let mut rising = curve(&[(0.5, 0.6, 0.5), (0.4, 0.7, 0.4), (0.3, 0.8, 0.41)]);
        assert!(!ran_out(&rising, 0, Metric::Auc), "nothing says how many were allowed");
        rising.max_epochs = Some(4);
        assert!(!ran_out(&rising, 0, Metric::Auc), "it stopped by itself");
        rising.max_epochs = Some(3);
        assert!(ran_out(&rising, 0, Metric::Auc) && !ran_out(&rising, 0, Metric::Logloss));
        rising.kept = vec![Some(1)];
        assert!(!ran_out(&rising, 0, Metric::Auc), "what was kept is earlier");
        rising.ran_out = vec![true];
        assert!(ran_out(&rising, 0, Metric::Auc) && !ran_out(&rising, 1, Metric::Auc));
    }

    #[test]
    fn a_task_that_stopped_before_the_others_did_not_run_out() {
        let mut curve = curve(&[(0.5, 0.6, 0.5), (0.4, 0.7, 0.4), (0.3, 0.8, 0.3)]);
        (curve.epochs[2].auc[0], curve.max_epochs) = (None, Some(3));
        assert!(!ran_out(&curve, 0, Metric::Auc));
    }

    #[test]
    fn overfitting_is_a_validation_loss_that_rises_while_the_training_loss_falls() {
        let risen = overfitted(&curve(&[(0.5, 0.6, 0.5), (0.4, 0.7, 0.4), (0.3, 0.7, 0.44)]), 0).unwrap();
        assert!((risen - 0.1).abs() < 1e-12);
        assert_eq!(
            overfitted(&curve(&[(0.5, 0.6, 0.5), (0.4, 0.7, 0.4), (0.3, 0.7, 0.403)]), 0),
            None,
            "by less than 1 %"
        );
        assert_eq!(overfitted(&curve(&[(0.5, 0.6, 0.4), (0.6, 0.7, 0.5)]), 0), None, "both losses rise");
        assert_eq!(overfitted(&LearningCurve::default(), 0), None);
    }

    #[test]
    fn what_is_kept_is_what_is_said_or_the_first_best() {
        let mut curve = curve(&[(0.5, 0.7, 0.5), (0.4, 0.8, 0.4), (0.3, 0.8, 0.3)]);
        assert_eq!(
            (kept(&curve, 0, Metric::Auc), kept(&curve, 0, Metric::Logloss), kept(&curve, 1, Metric::Auc)),
            (Some(1), Some(2), None)
        );
        curve.kept = vec![Some(0)];
        assert_eq!(kept(&curve, 0, Metric::Auc), Some(0));
        curve.kept = vec![Some(9)];
        assert_eq!(kept(&curve, 0, Metric::Auc), Some(1), "there is no such place");
    }

    #[test]
    fn a_measurement_within_an_epoch_stands_where_it_was_made() {
        let at = |epoch, at| place(&EpochPoint { epoch, at, ..EpochPoint::default() });
        assert_eq!((at(2, 1.5), at(2, 0.0), at(2, f64::NAN)), (1.5, 2.0, 2.0));
    }
}
