//! The simulated log: as its settings say, and the same for the same seed.

use stem_data::SimulatorConfig;

fn columns(text: &str) -> Vec<Vec<f64>> {
    let mut columns = vec![Vec::new(); text.lines().next().unwrap().split(',').count()];
    for line in text.lines().skip(1) {
        line.split(',').zip(&mut columns).for_each(|(value, column)| column.push(value.parse().unwrap()));
    }
    columns
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn the_conflict_setting_has_the_rates_it_should() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.csv");
    SimulatorConfig::default().write(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("user,item,user_group,item_category,a,b,p_a,p_b\n"));
    let c = columns(&text);
    assert_eq!(c[0].len(), 400_000);
    for task in 0..2 {
        let (labels, chances) = (&c[4 + task], &c[6 + task]);
        assert!((mean(labels) - mean(chances)).abs() < 0.003, "labels are drawn from their probabilities");
    }
    assert!((0.38..0.52).contains(&mean(&c[4])) && (0.12..0.28).contains(&mean(&c[5])));
    for categories in &c[2..4] {
        let mut seen: Vec<i64> = categories.iter().map(|&v| v as i64).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [0, 1, 2, 3]);
    }
    let first = c[1].iter().filter(|&&item| item == 0.0).count() as f64;
    let hundredth = c[1].iter().filter(|&&item| item == 99.0).count() as f64;
    assert!((first / hundredth / 100f64.powf(0.8) - 1.0).abs() < 0.2, "exposure follows Zipf's law");
}

#[test]
fn the_same_seed_writes_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    let write = |seed| {
        let config = SimulatorConfig { seed, rows: 500, ..SimulatorConfig::default() };
        config.write(dir.path().join("log.csv")).unwrap();
        std::fs::read(dir.path().join("log.csv")).unwrap()
    };
    assert_eq!(write(3), write(3));
    assert_ne!(write(3), write(4));
}

#[test]
fn any_number_of_tasks_is_simulated() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.csv");
    for n in [1, 3] {
        let tasks: Vec<String> = (0..n).map(|t| format!("t{t}")).collect();
        SimulatorConfig { tasks, base: vec![-1.0; n], rows: 50, ..SimulatorConfig::default() }.write(&path).unwrap();
        assert_eq!(columns(&std::fs::read_to_string(&path).unwrap()).len(), 4 + 2 * n);
    }
}

#[test]
fn settings_that_make_no_log_are_told() {
    let message = |config: SimulatorConfig| config.check().unwrap_err().to_string();
    let base = SimulatorConfig::default;
    assert_eq!(message(SimulatorConfig { users: 0, ..base() }), "simulator: `users` is 0, expected at least 1");
    assert_eq!(message(SimulatorConfig { width: 1, ..base() }), "simulator: `width` is 1, expected at least 2");
    assert_eq!(
        message(SimulatorConfig { correlation: 1.5, ..base() }),
        "simulator: `correlation` is 1.5, expected a number between -1 and 1"
    );
    assert_eq!(
        message(SimulatorConfig { base: vec![0.0], ..base() }),
        "simulator: `base` is [0.0], expected one finite number for each of `tasks`"
    );
    assert_eq!(
        message(SimulatorConfig { tasks: vec!["a,b".into()], ..base() }),
        "simulator: `tasks` is [\"a,b\"], expected at least one name of letters, digits and _"
    );
    assert_eq!(
        message(SimulatorConfig { taste: f64::NAN, ..base() }),
        "simulator: `taste` is NaN, expected a number between 0 and 100"
    );
}
