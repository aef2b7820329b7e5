//! Wall times on the command line and in outputs, always in UTC.

use core::time::Duration;

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};

/// How [`shown`] prints a time, without the zone.
const SHOWN: &str = "%Y-%m-%d %H:%M:%S%.3f";

/// A wall time in milliseconds since 1970, for people: `2026-11-29 09:17:40.123 UTC`.
pub(crate) fn shown(wall_ms: u64) -> String {
    utc(wall_ms)
        .map_or_else(|| format!("{wall_ms} ms"), |time| format!("{} UTC", time.format(SHOWN)))
}

/// A wall time for programs, by RFC 3339.
pub(crate) fn rfc3339(wall_ms: u64) -> Option<String> {
    utc(wall_ms).map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

fn utc(wall_ms: u64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(i64::try_from(wall_ms).ok()?)
}

/// A duration in its two largest units: `3m 20s`; below ten seconds with a fraction.
pub(crate) fn lasting(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        return format!("{:.1}s", duration.as_secs_f64());
    }
    let whole = humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string();
    whole.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// A point in time as a user writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// That long ago.
    Ago(Duration),
    /// At this wall time, in milliseconds since 1970.
    At(u64),
}

impl When {
    /// The wall time in milliseconds since 1970.
    pub(crate) fn wall_ms(self, now_ms: u64) -> u64 {
        match self {
            Self::Ago(ago) => {
                now_ms.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))
            }
            Self::At(wall_ms) => wall_ms,
        }
    }

    /// Parses a time by RFC 3339, a time as [`shown`] prints it, or a duration, which counts back from now.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Ok(ago) = humantime::parse_duration(text) {
            return Ok(Self::Ago(ago));
        }
        let of_shown = || {
            let time =
                NaiveDateTime::parse_from_str(text.strip_suffix(" UTC")?, "%Y-%m-%d %H:%M:%S%.f");
            time.ok().map(|time| time.and_utc())
        };
        let time = DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
        let wall_ms = time.or_else(of_shown).map(|time| time.timestamp_millis());
        wall_ms.and_then(|wall_ms| u64::try_from(wall_ms).ok()).map(Self::At).ok_or_else(|| {
            "write a time as 2026-11-29T09:17:40Z or 2026-11-29T10:17:40+01:00, or how long ago, as 10m or 2h 30m"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_795_943_860_123;

    #[test]
    fn what_is_shown_can_be_written_again() {
        assert_eq!(shown(MS), "2026-11-29 09:17:40.123 UTC");
        assert_eq!(When::parse(&shown(MS)), Ok(When::At(MS)));
        assert_eq!(When::parse(&rfc3339(MS).unwrap()), Ok(When::At(MS)));
        assert_eq!(shown(u64::MAX), format!("{} ms", u64::MAX));
    }

    #[test]
    fn a_time_is_rfc_3339_with_any_zone_or_how_long_ago() {
        assert_eq!(When::parse("2026-11-29T10:17:40.123+01:00"), Ok(When::At(MS)));
        assert_eq!(When::parse("10m").unwrap().wall_ms(MS), MS - 600_000);
        assert_eq!(When::parse("2h 30m").unwrap().wall_ms(MS), MS - 9_000_000);
        assert_eq!(When::parse("100000000years").map(|when| when.wall_ms(MS)), Ok(0));
        for nonsense in
            ["", "yesterday", "2026-11-29", "2026-13-01T00:00:00Z", "1960-01-01T00:00:00Z"]
        {
            let why = When::parse(nonsense).unwrap_err();
            assert!(why.contains("2h 30m"), "{nonsense}: {why}");
        }
    }

    #[test]
    fn a_duration_has_its_two_largest_units() {
        assert_eq!(lasting(Duration::from_millis(1_249)), "1.2s");
        assert_eq!(lasting(Duration::from_millis(200_999)), "3m 20s");
        assert_eq!(lasting(Duration::from_secs(90_061)), "1day 1h");
    }
}
