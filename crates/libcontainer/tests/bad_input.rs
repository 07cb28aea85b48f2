//! Every row of tests/golden/bad-input/rows.txt makes a good config.json bad, and the error must name the field by its
//! JSON path.

#![allow(clippy::disallowed_methods)] // its own files
#![allow(clippy::expect_used, clippy::panic)] // clippy.toml's exemption does not reach helpers

mod common;

use serde_json::Value;

use common::{facts_v1, facts_v2, golden, plan};

struct Row {
    v1: bool,
    pointer: String,
    value: Value,
    path: String,
}

fn rows() -> Vec<Row> {
    let text = golden("bad-input/rows.txt");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let parts: Vec<&str> = line.splitn(3, " | ").collect();
            let [place, value, path] = parts[..] else { panic!("{line}") };
            let pointer = place.strip_prefix("v1 ");
            Row {
                v1: pointer.is_some(),
                pointer: pointer.unwrap_or(place).to_owned(),
                value: serde_json::from_str(value).unwrap_or_else(|error| panic!("{line}: {error}")),
                path: path.to_owned(),
            }
        })
        .collect()
}

fn changed(base: &Value, pointer: &str, value: Value) -> Value {
    let mut config = base.clone();
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let mut place = &mut config;
    for part in parent.split('/').filter(|part| !part.is_empty()) {
        place = match place {
            Value::Array(list) => &mut list[part.parse::<usize>().expect("an index")],
            object => &mut object[part],
        };
    }
    match place {
        Value::Array(list) => list[name.parse::<usize>().expect("an index")] = value,
        object => object[name] = value,
    }
    config
}

/// As in `linux.devices[0].path: …`, and not as a part of a longer one.
fn names(message: &str, path: &str) -> bool {
    message.match_indices(path).any(|(start, _)| {
        let before = message[..start].chars().next_back();
        let after = message[start + path.len()..].chars().next();
        before.is_none_or(char::is_whitespace) && after.is_none_or(|c| matches!(c, ':' | ' ' | ',' | '[' | '.'))
    })
}

#[test]
fn every_bad_field_is_named_by_its_path() {
    let base: Value = serde_json::from_str(&golden("bad-input/base.json")).expect("base.json");
    for facts in [facts_v1(), facts_v2()] {
        plan(base.to_string().as_bytes(), &facts).expect("what is not changed is good");
    }
    let rows = rows();
    assert!(rows.len() >= 100, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for Row { v1, pointer, value, path } in rows {
        let facts = if v1 { facts_v1() } else { facts_v2() };
        match plan(changed(&base, &pointer, value.clone()).to_string().as_bytes(), &facts) {
            Ok(_) => wrong.push(format!("{pointer} = {value}: not refused")),
            Err(error) if names(&error.to_string(), &path) => {}
            Err(error) => wrong.push(format!("{pointer} = {value}: {path} is not named: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
