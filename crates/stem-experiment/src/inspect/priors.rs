//! What a learned prior came to, read from what a bundle says of its training.

use serde_json::Value;
use stem_report::report::PriorReport;
use stem_train::prior::VocabularyPrior;

/// Of the last state of a bundle's `training`, which has learned for the longest; nothing where no prior was learned, or each task was trained apart.
pub(crate) fn priors(training: &Value) -> Vec<PriorReport> {
    let said = training.get("states").and_then(Value::as_array).and_then(|states| states.last());
    let said = said.unwrap_or(training).get("prior");
    let all: Option<Vec<VocabularyPrior>> = said.and_then(|said| serde_json::from_value(said.clone()).ok());
    let report = |prior: VocabularyPrior| PriorReport {
        fields: prior.fields.join(", "),
        deviations: prior.groups.iter().map(|group| group.deviation).collect(),
        groups: prior.groups.into_iter().map(|group| group.name).collect(),
        correlation: prior.correlation,
    };
    all.into_iter().flatten().map(report).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_prior_of_one_state_and_of_the_last_of_several_is_read() {
        let prior = json!([{ "fields": ["user", "friend"], "groups": [{ "name": "a", "deviation": 0.5 }], "correlation": [[1.0]] }]);
        let expected = PriorReport {
            fields: "user, friend".into(),
            groups: vec!["a".into()],
            deviations: vec![0.5],
            correlation: vec![vec![1.0]],
        };
        assert_eq!(priors(&json!({ "seed": 1, "prior": prior })), std::slice::from_ref(&expected));
        assert_eq!(priors(&json!({ "states": [{}, { "prior": prior }] })), [expected]);
        assert_eq!(priors(&json!([{ "seed": 1 }])), []);
    }
}
