//! Good config.json files, changed at random, must be planned or refused: never a panic, never an error without words.
//!
//! Two seconds by default; `CREEL_MUTATION_SECONDS=600 cargo test -p libcontainer --test mutations -- --nocapture` for
//! more. `CREEL_MUTATION_SEED` repeats a run: the seed and the input of a failure are printed.

#![allow(clippy::disallowed_methods)] // its own files

mod common;

use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use common::{directory, facts_v1, facts_v2, plan};

/// xorshift64*: enough to choose by, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// Every JSON file below tests/golden that is a config.json.
fn corpus() -> Vec<Value> {
    let mut found = Vec::new();
    let mut directories = vec![directory()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else if let Some(config) = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
                found.extend(Some(config).filter(|config: &Value| config.get("ociVersion").is_some()));
            }
        }
    }
    assert!(found.len() >= 4, "the corpus is there");
    found
}

/// Values that have broken programs before.
fn awkward(random: &mut Random) -> Value {
    let long = "x".repeat(5000);
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let values = [
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(u32::MAX),
        json!(65536),
        json!(1e308),
        json!(""),
        json!("/"),
        json!("."),
        json!(".."),
        json!("/../.."),
        json!("a\u{0}b"),
        json!("ä\u{10ffff}"),
        json!("-1"),
        json!("0-"),
        json!("0-4294967295"),
        json!("=:,|%/"),
        json!(long),
        json!([]),
        json!({}),
        json!([""]),
        json!({"": ""}),
        deep,
    ];
    random.of(&values).clone()
}

/// Steps down to a random place and changes what is there; `donor` is a place in another file.
fn change(value: &mut Value, random: &mut Random, donor: &Value) {
    let stop = random.below(4) == 0;
    match value {
        Value::Object(members) if !members.is_empty() && !stop => {
            let name = random.of(&members.keys().cloned().collect::<Vec<_>>()).clone();
            if random.below(12) == 0 {
                members.remove(&name);
            } else if let Some(member) = members.get_mut(&name) {
                change(member, random, donor.get(&name).unwrap_or(donor));
            }
        }
        Value::Array(items) if !items.is_empty() && !stop => {
            let index = random.below(items.len());
            match random.below(12) {
                0 => drop(items.remove(index)),
                1 => items.push(items[index].clone()),
                _ => change(&mut items[index], random, donor.get(0).unwrap_or(donor)),
            }
        }
        place => {
            *place = match (random.below(3), &*place) {
                (0, _) => donor.clone(),
                (1, Value::String(text)) => json!(cut(text, random)),
                (1, Value::Number(number)) => json!(number.as_i64().unwrap_or(1).wrapping_neg()),
                _ => awkward(random),
            };
        }
    }
}

/// A text with a part left out, or doubled.
fn cut(text: &str, random: &mut Random) -> String {
    let letters: Vec<char> = text.chars().collect();
    let at = random.below(letters.len() + 1);
    let (head, tail) = letters.split_at(at);
    match random.below(3) {
        0 => head.iter().collect(),
        1 => tail.iter().collect(),
        _ => letters.iter().chain(tail).collect(),
    }
}

fn mutated(corpus: &[Value], random: &mut Random) -> Vec<u8> {
    let mut config = random.of(corpus).clone();
    let donor = random.of(corpus).clone();
    for _ in 0..=random.below(4) {
        change(&mut config, random, &donor);
    }
    let mut text = config.to_string().into_bytes();
    // Now and then the text itself, which is then hardly ever JSON.
    if random.below(10) == 0 {
        let at = random.below(text.len());
        match random.below(3) {
            0 => text.truncate(at),
            1 => text[at] = random.next() as u8,
            _ => text.insert(at, *random.of(b"{}[]\",:\\0\xff")),
        }
    }
    text
}

#[test]
fn whatever_is_given_is_planned_or_refused() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("CREEL_MUTATION_SEED").unwrap_or_else(|| std::process::id().into());
    let seconds = Duration::from_secs(number("CREEL_MUTATION_SECONDS").unwrap_or(2));
    let corpus = corpus();
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let hosts = [facts_v1(), facts_v2()];
    let (begin, mut planned, mut refused) = (Instant::now(), 0u64, 0u64);
    while begin.elapsed() < seconds {
        let config = mutated(&corpus, &mut random);
        let host = random.of(&hosts);
        match catch_unwind(|| plan(&config, host)) {
            Ok(Ok(plan)) => {
                assert!(!plan.process.args.is_empty());
                planned += 1;
            }
            Ok(Err(error)) => {
                assert!(!error.to_string().trim().is_empty());
                refused += 1;
            }
            Err(_) => panic!("seed {seed}, a panic on {}", String::from_utf8_lossy(&config)),
        }
    }
    println!("seed {seed}: {planned} planned, {refused} refused");
    assert!(planned > 0 && refused > 0, "seed {seed}: both happen");
}
