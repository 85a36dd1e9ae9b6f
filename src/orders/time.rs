//! Wall-clock times as people write and read them.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;
use jiff::{Timestamp, civil};
use toml::value::{Datetime, Offset as TomlOffset};

use crate::time::UnixSeconds;

/// Reads a TOML date (midnight UTC), local datetime (as UTC) or offset datetime; parts of a second are dropped.
///
/// # Errors
/// For a time of day without a date, and for what no calendar holds.
pub fn from_toml(datetime: &Datetime) -> Result<UnixSeconds, &'static str> {
    let date = datetime.date.ok_or("a time of day without a date")?;
    let bad = "no such day or time";
    let date = Date::new(date.year.try_into().map_err(|_| bad)?, date.month as i8, date.day as i8)
        .map_err(|_| bad)?;
    let time = match datetime.time {
        // A leap second has no Unix time of its own: it is read as the second before.
        Some(time) => {
            Time::new(time.hour as i8, time.minute as i8, time.second.unwrap_or(0).min(59) as i8, 0)
        }
        None => Ok(Time::midnight()),
    };
    let time = time.map_err(|_| bad)?;
    let minutes = match datetime.offset {
        Some(TomlOffset::Custom { minutes }) => minutes,
        Some(TomlOffset::Z) | None => 0,
    };
    let offset = Offset::from_seconds(i32::from(minutes) * 60).map_err(|_| "no such offset from UTC")?;
    Ok(offset.to_timestamp(DateTime::from_parts(date, time)).map_err(|_| bad)?.as_second())
}

/// Reads what is typed for a time: RFC 3339, a date (midnight UTC), a local datetime (as UTC) or Unix seconds.
///
/// # Errors
/// With a sentence that says what is expected.
pub fn parse(text: &str) -> Result<UnixSeconds, String> {
    if let Ok(seconds) = text.parse::<UnixSeconds>() {
        // Later than jiff's last year is no time anybody means.
        return Timestamp::from_second(seconds).map(|_| seconds).map_err(|error| error.to_string());
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp.as_second());
    }
    let local = text.parse::<civil::DateTime>().ok().and_then(|local| Offset::UTC.to_timestamp(local).ok());
    local.map(Timestamp::as_second).ok_or_else(|| {
        format!("\"{text}\" is no time: write 2014-06-30, 2014-06-30T12:00:00Z or Unix seconds")
    })
}

/// Shows a time: a date for midnight UTC, RFC 3339 in UTC for any other second.
pub fn show(at: UnixSeconds) -> String {
    match Timestamp::from_second(at) {
        Ok(timestamp) => {
            let shown = timestamp.to_string();
            shown.strip_suffix("T00:00:00Z").map(str::to_string).unwrap_or(shown)
        }
        Err(_) => format!("Unix second {at}"),
    }
}

/// The time in RFC 3339, in UTC.
pub fn rfc3339(at: UnixSeconds) -> String {
    Timestamp::from_second(at).map_or_else(|_| show(at), |timestamp| timestamp.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_shown() {
        for (given, seconds, shown) in [
            ("2014-06-30", 1_404_086_400, "2014-06-30"),
            ("2014-06-30T00:00:00Z", 1_404_086_400, "2014-06-30"),
            ("2014-06-30T12:00:00+02:00", 1_404_122_400, "2014-06-30T10:00:00Z"),
            ("2014-06-30T10:00:00", 1_404_122_400, "2014-06-30T10:00:00Z"),
            ("2014-06-30T10:00:00.9Z", 1_404_122_400, "2014-06-30T10:00:00Z"),
            ("1969-12-31T23:59:59Z", -1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(parse(given), Ok(seconds), "{given}");
            assert_eq!(show(seconds), shown, "{given}");
            let toml: Datetime = given.parse().unwrap();
            assert_eq!(from_toml(&toml), Ok(seconds), "{given}");
        }
        assert_eq!(parse("1404086400"), Ok(1_404_086_400));
        assert_eq!(show(UnixSeconds::MAX), "Unix second 9223372036854775807");
        for bad in ["", "soon", "2014-13-01", "30.6.2014", "99999999999999"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(from_toml(&"10:00:00".parse().unwrap()).is_err());
    }
}
