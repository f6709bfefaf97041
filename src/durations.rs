//! Lengths of time as people type them.

/// `90s`, `15m`, `12h`, `30d`, `2w` as milliseconds.
///
/// # Errors
/// What it must be, for everything else.
pub(crate) fn milliseconds(text: &str) -> Result<i64, String> {
    let wrong = || "it must be a whole number above 0 with a unit: 90s, 15m, 12h, 30d or 2w".to_owned();
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(wrong()),
    };
    let number: i64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    number.checked_mul(seconds * 1000).filter(|duration| *duration > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(milliseconds("90s"), Ok(90_000));
        assert_eq!(milliseconds("30d"), Ok(2_592_000_000));
        for wrong in ["", "d", "30", "0d", "-1d", "1.5h", "1y", "30dd", "9223372036854775807w", "é"] {
            assert!(milliseconds(wrong).is_err(), "{wrong}");
        }
    }
}
