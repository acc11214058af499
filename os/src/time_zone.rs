// SPDX-License-Identifier: GPL-3.0-or-later
//! The time zone of this process, by every form of tzset(3), and when its hours and days begin.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// Where names of zones are files, unless `TZDIR` says where.
const ZONEINFO: [&str; 3] = ["/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo"];
/// What names UTC where there are no such files: as files, all of them are the same.
const UTC: [&str; 6] = ["UTC", "UTC0", "GMT", "GMT0", "Etc/UTC", "Etc/GMT"];
/// When daylight saving time is where a zone has one and does not say when, as in the C library.
const USUAL_RULE: &str = ",M3.2.0,M11.1.0";
/// Bytes of a file of a zone; the largest has some thousand.
const MAX_FILE: u64 = 1 << 20;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Why a zone cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "TZ={0} is not a known time zone: times are in UTC. Use a name such as Europe/Paris, or see tzset(3)."
)]
pub struct UnknownZone(String);

/// The zone that the environment asks for, else the machine's. Files are read now, and never again.
pub fn local() -> Result<TimeZone, UnknownZone> {
    match std::env::var_os("TZ") {
        // Without one, the C library has UTC, too.
        None => Ok(TimeZone::try_system().unwrap_or(TimeZone::UTC)),
        Some(zone) => of(&zone, &folders(std::env::var_os("TZDIR").as_deref())),
    }
}

fn folders(asked: Option<&OsStr>) -> Vec<PathBuf> {
    match asked.filter(|folder| !folder.is_empty()) {
        Some(folder) => vec![folder.into()],
        None => ZONEINFO.map(PathBuf::from).to_vec(),
    }
}

/// The zone of a value of `TZ`: a file, else a rule.
fn of(value: &OsStr, folders: &[PathBuf]) -> Result<TimeZone, UnknownZone> {
    let bytes = value.as_bytes();
    let name = OsStr::from_bytes(bytes.strip_prefix(b":").unwrap_or(bytes));
    if name.is_empty() {
        return Ok(TimeZone::UTC);
    }
    // A path that begins with a slash takes the place of the folder.
    let mut paths = folders.iter().map(|folder| folder.join(name)).chain(Some(name.into()));
    if let Some(zone) = paths.find_map(|path| path.is_absolute().then(|| read(&path, name)).flatten()) {
        return Ok(zone);
    }
    let text = name.to_str();
    let rule = text.and_then(|text| {
        TimeZone::posix(text).or_else(|_| TimeZone::posix(&format!("{text}{USUAL_RULE}"))).ok()
    });
    match rule {
        Some(zone) => Ok(zone),
        None if text.is_some_and(|text| UTC.contains(&text)) => Ok(TimeZone::UTC),
        None => Err(UnknownZone(crate::clean::clean(&value.to_string_lossy()).into_owned())),
    }
}

fn read(path: &Path, name: &OsStr) -> Option<TimeZone> {
    // What is no ordinary file may never end.
    let file = path.is_file().then(|| File::open(path).ok()).flatten()?;
    let mut data = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut data).ok()?;
    TimeZone::tzif(&name.to_string_lossy(), &data).ok()
}

/// The begin of the hour in a zone, in seconds since 1970.
#[must_use]
pub fn start_of_hour(second: i64, zone: &TimeZone) -> i64 {
    let offset = Timestamp::from_second(second).map_or(0, |time| i64::from(zone.to_offset(time).seconds()));
    (second + offset).div_euclid(HOUR) * HOUR - offset
}

/// The begin of the day in a zone, `days` days from the one of this moment.
#[must_use]
pub fn start_of_day(second: i64, days: i64, zone: &TimeZone) -> i64 {
    let start = || {
        let date = zone.to_datetime(Timestamp::from_second(second).ok()?).date();
        let date = date.checked_add(Span::new().try_days(days).ok()?).ok()?;
        midnight(date, zone)
    };
    start().unwrap_or(second.div_euclid(DAY) * DAY + days * DAY)
}

/// The begin of a day in a zone; where that day has no midnight, the first moment after it.
#[must_use]
pub fn midnight(date: Date, zone: &TimeZone) -> Option<i64> {
    let midnight = zone.to_ambiguous_timestamp(date.to_datetime(Time::midnight()));
    midnight.compatible().ok().map(Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of a zone (RFC 8536) that has nothing but a rule: version 2, two headers without counts, the second one
    /// with one type, and the footer.
    fn tzif(rule: &str) -> Vec<u8> {
        let header = |types: u8| {
            let mut bytes = b"TZif2".to_vec();
            bytes.extend([0; 15]);
            for count in [0, 0, 0, 0, types, types * 4] {
                bytes.extend([0, 0, 0, count]);
            }
            bytes.extend([0; 6].repeat(usize::from(types)));
            bytes.extend(b"UTC\0".repeat(usize::from(types)));
            bytes
        };
        [header(1), header(1), format!("\n{rule}\n").into_bytes()].concat()
    }

    fn time_at(zone: &TimeZone, moment: &str) -> String {
        zone.to_datetime(moment.parse().unwrap()).strftime("%H:%M").to_string()
    }

    #[test]
    fn every_form_of_tzset_gives_its_time() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("posix/Test")).unwrap();
        let file = folder.path().join("posix/Test/Paris");
        std::fs::write(&file, tzif("CET-1CEST,M3.5.0,M10.5.0/3")).unwrap();
        let folders = [folder.path().to_owned()];
        let absolute = file.display().to_string();
        for (value, winter, summer) in [
            ("", "12:00", "12:00"),
            (":", "12:00", "12:00"),
            ("UTC", "12:00", "12:00"),
            ("posix/Test/Paris", "13:00", "14:00"),
            (":posix/Test/Paris", "13:00", "14:00"),
            (absolute.as_str(), "13:00", "14:00"),
            (&format!(":{absolute}"), "13:00", "14:00"),
            ("CET-1CEST,M3.5.0,M10.5.0/3", "13:00", "14:00"),
            ("CET-1CEST,J87,J300/2:30:00", "13:00", "14:00"),
            (":ABC-5:45", "17:45", "17:45"),
            ("<+0545>-5:45", "17:45", "17:45"),
            ("EST5", "07:00", "07:00"),
            ("EST5EDT", "07:00", "08:00"),
            ("EST+5EDT4,M3.2.0/2,M11.1.0", "07:00", "08:00"),
            ("NZST-12NZDT,M9.5.0,M4.1.0/3", "01:00", "00:00"),
        ] {
            let zone = of(OsStr::new(value), &folders).unwrap();
            let times = ["2026-01-15T12:00:00Z", "2026-07-15T12:00:00Z"].map(|moment| time_at(&zone, moment));
            assert_eq!(times, [winter, summer], "TZ={value}");
        }
    }

    #[test]
    fn what_is_no_zone_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("text"), "no zone").unwrap();
        let folders = [folder.path().to_owned(), "/dev".into()];
        for value in ["Europe/Pariss", ":/nonexistent", "text", "zero", "X", "CET-1CEST,", "\u{1b}[2J"] {
            let error = of(OsStr::new(value), &folders).unwrap_err().to_string();
            assert!(error.contains("is not a known time zone") && !error.contains('\u{1b}'), "{error}");
        }
        assert!(of(OsStr::from_bytes(b"\xff"), &folders).is_err());
    }
}
