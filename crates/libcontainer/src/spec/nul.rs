//! Strings with a NUL character: the kernel's strings end at one, so that what follows would silently be lost.

use serde_json::Value;

/// JSON can say it in this way only.
const ESCAPE: &[u8] = b"\\u0000";

/// The JSON path of the first string, or name, in a valid JSON text that contains one.
pub fn find(json: &[u8]) -> Option<String> {
    if !json.windows(ESCAPE.len()).any(|window| window == ESCAPE) {
        return None;
    }
    let value: Value = serde_json::from_slice(json).ok()?;
    within(&value, "")
}

fn within(value: &Value, path: &str) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(|| path.to_owned()),
        Value::Array(items) => items.iter().enumerate().find_map(|(i, item)| within(item, &format!("{path}[{i}]"))),
        Value::Object(members) => members.iter().find_map(|(name, member)| {
            if name.contains('\0') {
                return Some(path.to_owned());
            }
            let member_path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            within(member, &member_path)
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_leads_to_the_string() {
        let found = |json: &str| find(json.as_bytes());
        assert_eq!(found(r#"{"a": {"b": ["x", "y\u0000"]}}"#).as_deref(), Some("a.b[1]"));
        assert_eq!(found(r#"{"a": {"b\u0000": 1}}"#).as_deref(), Some("a"));
        assert_eq!(found(r#"{"a": "\\u0000"}"#), None, "an escaped backslash");
        assert_eq!(found(r#"{"a": "b"}"#), None);
    }
}
