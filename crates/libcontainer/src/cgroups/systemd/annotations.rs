//! Annotations `org.systemd.property.NAME`: properties of the unit in GVariant's text form, as runc and crun have them.

use std::collections::BTreeMap;

use super::Property;
use super::gvariant;
use crate::dbus::Value;
use crate::error::{Error, Result};

const PREFIX: &str = "org.systemd.property.";

/// What creel itself decides on: another value would put the container's processes elsewhere, or leave it without them.
const OURS: [&str; 2] = ["PIDs", "Slice"];

/// The properties that annotations ask for.
///
/// # Errors
/// [`Kind::Invalid`](crate::error::Kind::Invalid), naming the annotation.
pub(super) fn properties(annotations: &BTreeMap<String, String>) -> Result<Vec<Property>> {
    let asked = annotations.iter().filter_map(|(key, text)| Some((key, key.strip_prefix(PREFIX)?, text)));
    asked
        .map(|(key, name, text)| {
            property(name, text).map_err(|why| Error::invalid(format!("annotations[\"{key}\"]"), why))
        })
        .collect()
}

fn property(name: &str, text: &str) -> Result<Property, String> {
    if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(format!("\"{name}\" is not the name of a property: those are of three letters or more"));
    }
    if OURS.contains(&name) {
        return Err(format!("{name} is for linux.cgroupsPath and the runtime to say"));
    }
    let value = gvariant::parse(text)?;
    // On D-Bus all times are in microseconds, under names that say so; in unit files they are in seconds.
    match name.strip_suffix("Sec") {
        Some(stem) if stem.ends_with(|character: char| character.is_ascii_lowercase()) => {
            Ok(Property::new(format!("{stem}USec"), microseconds(&value)?))
        }
        _ => Ok(Property::new(name.to_owned(), value)),
    }
}

fn microseconds(value: &Value) -> Result<Value, String> {
    const MILLION: u64 = 1_000_000;
    let seconds = match *value {
        Value::Byte(number) => Some(number.into()),
        Value::Uint16(number) => Some(number.into()),
        Value::Uint32(number) => Some(number.into()),
        Value::Uint64(number) => Some(number),
        Value::Int16(number) => number.try_into().ok(),
        Value::Int32(number) => number.try_into().ok(),
        Value::Int64(number) => number.try_into().ok(),
        Value::Double(number) if number >= 0.0 => return Ok(Value::Uint64((number * MILLION as f64) as u64)),
        _ => None,
    };
    let micros = seconds.and_then(|seconds: u64| seconds.checked_mul(MILLION));
    micros.map(Value::Uint64).ok_or_else(|| format!("{value} is not a number of seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(name: &str, text: &str) -> Result<String> {
        let annotations = BTreeMap::from([(format!("{PREFIX}{name}"), text.to_owned()), ("other".into(), "x".into())]);
        properties(&annotations).map(|all| all.iter().map(Property::to_string).collect::<Vec<_>>().join(";"))
    }

    #[test]
    fn properties_are_taken_as_they_are_but_for_seconds() {
        for (name, text, property) in [
            ("CollectMode", "'inactive-or-failed'", "CollectMode=\"inactive-or-failed\""),
            ("TimeoutStopUSec", "uint64 123456789", "TimeoutStopUSec=uint64 123456789"),
            ("TimeoutStopSec", "2", "TimeoutStopUSec=uint64 2000000"),
            ("TimeoutStopSec", "uint64 2", "TimeoutStopUSec=uint64 2000000"),
            ("TimeoutStopSec", "1.5", "TimeoutStopUSec=uint64 1500000"),
            ("RuntimeMaxUSec", "uint64 7", "RuntimeMaxUSec=uint64 7"),
            ("XSec", "7", "XSec=7"),
            ("After", "['a.service', 'b.service']", "After=[\"a.service\", \"b.service\"]"),
            ("DefaultDependencies", "true", "DefaultDependencies=true"),
        ] {
            assert_eq!(parsed(name, text).expect(name), property);
        }
    }

    #[test]
    fn what_cannot_be_a_property_is_refused_by_annotation() {
        for (name, text, why) in [
            ("", "1", "is not the name of a property"),
            ("Ab", "1", "is not the name of a property"),
            ("Memory-Max", "1", "is not the name of a property"),
            ("PIDs", "[1]", "for linux.cgroupsPath and the runtime to say"),
            ("MemoryMax", "1G", "a number that fits"),
            ("TimeoutStopSec", "'soon'", "is not a number of seconds"),
            ("TimeoutStopSec", "-1", "is not a number of seconds"),
            ("TimeoutStopSec", "uint64 18446744073709551615", "is not a number of seconds"),
        ] {
            let error = parsed(name, text).expect_err(name).to_string();
            assert!(error.starts_with(&format!("annotations[\"org.systemd.property.{name}\"]: ")), "{error}");
            assert!(error.contains(why), "{error}");
        }
    }
}
