//! How far the mean over a few seeds may be from the mean over all: the part of an interval that more users would not narrow.
//!
//! ```text
//! s^2  = variance over seeds of v_s                              the luck of training, and users that seeds do not share
//! u^2  = mean over resamples r of the variance over seeds of v_s^r - v_s              what of it is users: they are in the
//!                                                                                     interval over users already
//! half = t_{S-1; 0.975} sqrt(max(0, s^2 - u^2) / S)
//! ```
//!
//! Two runs on the same users differ in two ways: one is better than the other, and they err on different users. Only the first
//! is the luck of training; the second is drawn by the bootstrap, too, and would be counted twice.

/// 97.5 % quantiles of Student's t with 1 to 10 degrees of freedom.
const T: [f64; 10] = [12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281];

/// That of the normal distribution.
const Z: f64 = 1.959_964;

/// Half the width of the 95 % interval that seeds give, of the values of a sample `[S]` and of its resamples `[R, S]`. 0 with one
/// seed, of which nothing can be known.
pub(super) fn of_training<'a>(values: &[f64], resamples: impl Iterator<Item = &'a [f64]>) -> f64 {
    let seeds = values.len();
    if seeds < 2 {
        return 0.0;
    }
    let (mut of_users, mut drawn) = (0.0, 0);
    let mut moved = vec![0.0; seeds];
    for resample in resamples {
        moved.iter_mut().zip(resample).zip(values).for_each(|((moved, resample), value)| *moved = resample - value);
        of_users += variance(&moved);
        drawn += 1;
    }
    let of_users = if drawn > 0 { of_users / f64::from(drawn) } else { 0.0 };
    student(seeds - 1) * ((variance(values) - of_users).max(0.0) / seeds as f64).sqrt()
}

/// Of two values or more, around their mean.
fn variance(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64
}

/// The 97.5 % quantile of Student's t with so many degrees of freedom, 1 or more: half the width of a 95 % interval of a mean, in standard errors.
/// Beyond ten by its expansion around the normal one (Abramowitz and Stegun, 26.7.5).
pub fn student(degrees: usize) -> f64 {
    let n = degrees as f64;
    let series = || {
        let first = (Z.powi(3) + Z) / 4.0;
        let second = (5.0 * Z.powi(5) + 16.0 * Z.powi(3) + 3.0 * Z) / 96.0;
        let third = (3.0 * Z.powi(7) + 19.0 * Z.powi(5) + 17.0 * Z.powi(3) - 15.0 * Z) / 384.0;
        Z + first / n + second / n.powi(2) + third / n.powi(3)
    };
    degrees.checked_sub(1).and_then(|place| T.get(place).copied()).unwrap_or_else(series)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half(values: &[f64], resamples: &[&[f64]]) -> f64 {
        of_training(values, resamples.iter().copied())
    }

    #[test]
    fn quantiles_of_t_go_over_into_the_normal_one() {
        // From the tables: 2.2010 with 11 degrees, 2.0423 with 30.
        assert!((student(11) - 2.2010).abs() < 5e-4 && (student(30) - 2.0423).abs() < 1e-4, "{}", student(11));
        assert!((student(1_000_000) - Z).abs() < 1e-5);
        assert!((1..40).all(|n| student(n) > student(n + 1)));
    }

    #[test]
    fn without_users_it_is_the_interval_of_a_t_test() {
        // s = 0.02 / sqrt(2), s / sqrt(2) = 0.01.
        let values = [0.01, 0.03];
        assert!((half(&values, &[&values]) - 12.7062 * 0.01).abs() < 1e-12);
        assert_eq!((half(&[0.7], &[&[0.6]]), half(&[], &[])), (0.0, 0.0));
    }

    #[test]
    fn seeds_that_differ_by_no_more_than_their_users_show_no_luck() {
        let values = [0.01, 0.03];
        assert_eq!(half(&values, &[&[0.03, 0.01], &[0.01, 0.03], &[0.03, 0.01]]), 0.0);
        // Users that move both seeds alike are no part of what the seeds differ by.
        assert_eq!(half(&values, &[&[0.11, 0.13], &[-0.09, -0.07]]), half(&values, &[&values]));
    }
}
