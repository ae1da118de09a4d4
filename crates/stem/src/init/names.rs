//! What the name of a column says about it.

/// The words of a name in lower case: cut at what is no letter or digit, and before a capital after a small letter.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for letter in name.chars() {
        let cut = !letter.is_alphanumeric() || (letter.is_uppercase() && before.is_lowercase());
        if cut {
            words.push(String::new());
        }
        if letter.is_alphanumeric() {
            words.last_mut().expect("there is one from the start").extend(letter.to_lowercase());
        }
        before = letter;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether a list of words with spaces between them has a word.
fn has(list: &str, word: &str) -> bool {
    list.split(' ').any(|listed| listed == word)
}

/// Whether a name has a word of such a list.
fn any(name: &str, list: &str) -> bool {
    words(name).iter().any(|word| has(list, word))
}

/// Place in a list of names that user columns have, best first.
pub(super) fn rank_as_user(name: &str) -> Option<usize> {
    const WHO: [&str; 12] = [
        "user", "uid", "member", "customer", "client", "visitor", "account", "person", "viewer", "buyer", "device",
        "session",
    ];
    const WHOLE: [&str; 9] =
        ["userid", "memberid", "customerid", "clientid", "visitorid", "accountid", "personid", "deviceid", "sessionid"];
    let words = words(name);
    let id = |rest: &[String]| {
        rest.is_empty() || matches!(rest, [word] if ["id", "no", "key", "hash", "code"].contains(&word.as_str()))
    };
    let (first, rest) = words.split_first()?;
    let alone = WHO.iter().position(|who| first == who && id(rest));
    alone.or_else(|| rest.is_empty().then(|| WHOLE.iter().position(|whole| first == whole))?)
}

const IDS: &str = "\
    id ids uid uuid guid code zip zipcode postcode user item video movie song track author artist brand seller shop \
    store product sku category tag city region country campaign advertiser ad device hash";
const QUANTITIES: &str = "\
    num count cnt price amount cost age duration length len size width height weight days hours minutes seconds sec ms \
    score rate ratio avg mean total sum percent pct discount distance salary income revenue qty quantity level value \
    views";

/// Whether it names a thing rather than a quantity: `item_category`, `userid`, though not `user_age`.
pub(super) fn is_id(name: &str) -> bool {
    let thing_id = |word: &String| word.strip_suffix("id").is_some_and(|thing| has(IDS, thing));
    !is_quantity(name) && (any(name, IDS) || words(name).iter().any(thing_id))
}

/// Whether it names a quantity.
pub(super) fn is_quantity(name: &str) -> bool {
    any(name, QUANTITIES)
}

/// Whether it names a time.
pub(super) fn is_time(name: &str) -> bool {
    const TIMES: &str = "time timestamp ts date datetime day dt at when epoch created updated month week";
    any(name, TIMES) || words(name).iter().any(|word| word.ends_with("time") || word.ends_with("date"))
}

/// Whether the time it names is that of something other than the impression.
pub(super) fn is_time_of_something_else(name: &str) -> bool {
    const ELSE: &str =
        "upload uploaded birth birthday release released publish published register registered signup updated";
    any(name, ELSE)
}

/// Whether a column of 0 and 1 of this name is likely what somebody did with what was shown.
pub(super) fn is_feedback(name: &str) -> bool {
    const FEEDBACK: &str = "\
        click clicked like liked love loved follow followed comment commented forward share shared hate dislike \
        disliked view viewed buy bought purchase purchased cart convert converted conversion finish finished complete \
        completed favorite favourite favorited skip skipped save saved collect collected download downloaded install \
        installed subscribe subscribed enter pay paid order ordered reward play played watch watched wish wishlist \
        feedback label";
    any(name, FEEDBACK)
}

/// Whether a number of this name is likely measured after something was shown: how long, how good.
pub(super) fn is_measured_feedback(name: &str) -> bool {
    const MEASURED: &str = "play played watch watched stay dwell rating stars feedback reaction listened completion";
    const SUMMED: &str = "num cnt count user users avg mean total history past prior";
    any(name, MEASURED) && !any(name, SUMMED)
}

/// Whether it names a prediction of `label`: `p_click`, `click_score`, `pred_click`.
pub(super) fn is_prediction_of(name: &str, label: &str) -> bool {
    const PREDICTIONS: &str = "p pred prob predicted prediction probability score logit propensity";
    let (words, label) = (words(name), self::words(label));
    let (predictions, rest): (Vec<_>, Vec<_>) = words.into_iter().partition(|word| has(PREDICTIONS, word));
    !predictions.is_empty() && !rest.is_empty() && rest == label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_into_words() {
        assert_eq!(words("userId"), ["user", "id"]);
        assert_eq!(words("play_time-MS 2"), ["play", "time", "ms", "2"]);
        assert_eq!(words("__"), Vec::<String>::new());
    }

    #[test]
    fn users_are_ranked_before_devices_and_attributes_of_users_are_none() {
        let names = ["device_id", "user_id", "uid", "UserId", "userid", "user_active_degree", "user_city", "item_id"];
        let ranks = names.map(rank_as_user);
        assert_eq!(ranks[1..5], [Some(0), Some(1), Some(0), Some(0)]);
        assert!(ranks[0] > Some(1));
        assert_eq!(ranks[5..], [None, None, None]);
    }

    #[test]
    fn things_are_told_from_what_is_counted_of_them() {
        let things = ["user_id", "itemid", "movieId", "item_category", "zip_code", "uid"];
        assert!(things.into_iter().all(is_id));
        for quantity in ["user_age", "follow_user_num", "video_duration", "paid", "item_price"] {
            assert!(!is_id(quantity), "{quantity}");
        }
    }

    #[test]
    fn predictions_are_told_by_the_label_they_name() {
        assert!(is_prediction_of("p_a", "a") && is_prediction_of("click_score", "click"));
        assert!(!is_prediction_of("p_b", "a") && !is_prediction_of("a", "a") && !is_prediction_of("score", "click"));
    }

    #[test]
    fn what_is_summed_over_the_past_is_no_feedback() {
        assert!(is_measured_feedback("play_time_ms") && is_measured_feedback("rating"));
        assert!(!is_measured_feedback("play_cnt") && !is_measured_feedback("duration_ms"));
        assert!(is_feedback("is_like") && is_feedback("long_view") && !is_feedback("is_video_author"));
    }
}
