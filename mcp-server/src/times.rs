//! Times as people read them, beside the numbers that they are on the wire: a model that has to count milliseconds counts
//! wrong.

use keyrack_core::calendar::{DAY_MS, HOUR_MS, MINUTE_MS, UnixMs};
use keyrack_core::schema::Places;
use serde_json::Value;

/// Times that are written out at most.
const MOST: usize = 12;

/// The times of a value: `expires: 2027-02-26T00:00:00Z`, for those outside of lists.
pub(crate) fn written(places: &Places, value: &Value) -> Vec<String> {
    let times = places.pointers().filter_map(|pointer| Some((pointer, value.pointer(pointer)?.as_i64()?)));
    let name = |pointer: &str| pointer.trim_start_matches('/').replace('/', ".");
    times.take(MOST).map(|(pointer, ms)| format!("{}: {}", name(pointer), UnixMs::new(ms).rfc3339())).collect()
}

/// What the times of a request come to, said to whoever sent them: `expires is 2027-02-26T00:00:00Z, in 90 days.`
pub(crate) fn meant(places: &Places, request: &Value, now: UnixMs) -> Vec<String> {
    let times = places.pointers().filter_map(|pointer| Some((pointer, request.pointer(pointer)?.as_i64()?)));
    let told = times.take(MOST).map(|(pointer, ms)| {
        let (name, time) = (pointer.trim_start_matches('/').replace('/', "."), UnixMs::new(ms));
        let ahead = time.since(now);
        let when = if ahead < 0 {
            format!(
                "{} ago: it is over already. Times are Unix milliseconds; was something else meant?",
                span(-ahead)
            )
        } else {
            format!("in {}.", span(ahead))
        };
        format!("`{name}` is {}, {when}", time.rfc3339())
    });
    told.collect()
}

/// A duration in its largest unit.
fn span(ms: i64) -> String {
    let (number, unit) = match ms {
        DAY_MS.. => (ms / DAY_MS, "day"),
        HOUR_MS.. => (ms / HOUR_MS, "hour"),
        MINUTE_MS.. => (ms / MINUTE_MS, "minute"),
        _ => (ms / 1000, "second"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_written_out_and_said_to_be_over() {
        let places = Places::named(&["/expires", "/deep/at", "/none", "/*/time"]);
        let value = json!({ "expires": 1_798_243_200_000_i64, "deep": { "at": 0 }, "other": 5 });
        assert_eq!(written(&places, &value), ["expires: 2026-12-26T00:00:00Z", "deep.at: 1970-01-01T00:00:00Z"]);
        let now = UnixMs::new(1_798_243_200_000 - 90 * DAY_MS);
        let told = meant(&places, &value, now);
        assert_eq!(told[0], "`expires` is 2026-12-26T00:00:00Z, in 90 days.");
        assert!(told[1].contains("over already"), "{told:?}");
        assert_eq!([1000, 60_000, 3_600_000 * 5].map(span), ["1 second", "1 minute", "5 hours"]);
    }
}
