//! What a state that cannot be read whole still tells: a `delete --force` ends what it names.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::state::Init;
use crate::cgroups::Cgroup;

/// Init and its cgroup, which come before the long config.json in the file: also of one that breaks off in that, or that
/// lacks other members.
pub(super) fn of(state: &[u8]) -> (Option<Init>, Option<Cgroup>) {
    let mut found = Found::default();
    // An error is where it breaks off; what came before stays.
    let _ = serde_json::Deserializer::from_slice(state).deserialize_map(&mut found);
    (found.init, found.cgroup)
}

#[derive(Default)]
struct Found {
    init: Option<Init>,
    cgroup: Option<Cgroup>,
}

impl<'de> Visitor<'de> for &mut Found {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a state")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "init" => self.init = Init::deserialize(map.next_value::<Value>()?).ok(),
                "cgroup" => self.cgroup = Cgroup::deserialize(map.next_value::<Value>()?).ok(),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_whole_is_found() {
        let init = r#""init":{"pid":7,"start_time":8}"#;
        let of_pid = |text: &str| of(text.as_bytes()).0.map(|init| init.pid);
        assert_eq!(of_pid(&format!("{{{init}}}")), Some(7));
        assert_eq!(of_pid(&format!(r#"{{"id":"c1",{init},"creating":false,"config":{{"proc"#)), Some(7));
        assert_eq!(of_pid(r#"{"init":{"pid":7,"#), None);
        assert_eq!(of_pid(r#"{"init":{"pid":"seven"},"creating":true}"#), None);
        for garbage in ["", "null", "[1]", "{", "\u{1}\u{2}", r#"{"init""#] {
            assert_eq!(of_pid(garbage), None, "{garbage}");
        }
        let (_, cgroup) = of(br#"{"cgroup":{"dirs":{}},"config":{"#);
        assert!(cgroup.is_some());
    }
}
