//! The limits that `update` asks for, by flags or as JSON.

use anyhow::{Result, bail};
use libcontainer::error::{Error, Kind};
use libcontainer::spec::{
    BlockIo, Cpu, DeviceRule, HugepageLimit, InterfacePriority, Memory, Network, Pids, Resources, ThrottleDevice,
    WeightDevice, parse_json,
};
use serde_json::Value;

use crate::cli::Update;

/// What the flags ask for. An empty value is none, as in runc.
///
/// # Errors
/// Names the flag whose value is no number or no size.
pub fn from_flags(flags: &Update) -> Result<Resources> {
    let text = |flag: &Option<String>| flag.clone().unwrap_or_default();
    let weight: Option<u16> = number("blkio-weight", &flags.blkio_weight)?;
    let cpu = Cpu {
        shares: number("cpu-share", &flags.cpu_share)?,
        quota: number("cpu-quota", &flags.cpu_quota)?,
        burst: number("cpu-burst", &flags.cpu_burst)?,
        period: number("cpu-period", &flags.cpu_period)?,
        realtime_runtime: number("cpu-rt-runtime", &flags.cpu_rt_runtime)?,
        realtime_period: number("cpu-rt-period", &flags.cpu_rt_period)?,
        cpus: text(&flags.cpuset_cpus),
        mems: text(&flags.cpuset_mems),
        idle: number("cpu-idle", &flags.cpu_idle)?,
    };
    let memory = Memory {
        limit: bytes("memory", &flags.memory)?,
        reservation: bytes("memory-reservation", &flags.memory_reservation)?,
        swap: bytes("memory-swap", &flags.memory_swap)?,
        kernel: bytes("kernel-memory", &flags.kernel_memory)?,
        kernel_tcp: bytes("kernel-memory-tcp", &flags.kernel_memory_tcp)?,
        ..Memory::default()
    };
    let pids = Pids { limit: number("pids-limit", &flags.pids_limit)? };
    let block_io = BlockIo { weight, ..BlockIo::default() };
    Ok(Resources {
        memory: Some(memory),
        cpu: Some(cpu),
        pids: Some(pids),
        block_io: Some(block_io),
        ..Resources::default()
    })
}

fn number<T: std::str::FromStr>(name: &str, flag: &Option<String>) -> Result<Option<T>> {
    let Some(text) = flag.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
    match text.parse() {
        Ok(value) => Ok(Some(value)),
        Err(_) => bail!("invalid value for {name}: \"{text}\" is not a number, or out of range"),
    }
}

/// A size: a number, perhaps with a fraction, and perhaps a unit (`b`, `k`, `m`, `g`, `t` or `p`, in powers of 1024, also
/// as `kb` or `kib`, in either case, after a space or not); or -1.
fn bytes(name: &str, flag: &Option<String>) -> Result<Option<i64>> {
    let Some(text) = flag.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
    if text == "-1" {
        return Ok(Some(-1));
    }
    match size(text) {
        Some(size) => Ok(Some(size)),
        None => bail!("invalid value for {name}: \"{text}\" is not a size such as 67108864, 64M or 1.5GiB"),
    }
}

fn size(text: &str) -> Option<i64> {
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.')? + 1;
    let (amount, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let power = match unit.as_str() {
        "" | "b" => 0,
        _ => {
            let (letter, _) = unit.split_at_checked(1).filter(|(_, rest)| matches!(*rest, "" | "b" | "ib"))?;
            1 + "kmgtp".find(letter)? as u32
        }
    };
    let factor = 1024u64.pow(power);
    if let Ok(whole) = amount.parse::<u64>() {
        return i64::try_from(whole.checked_mul(factor)?).ok();
    }
    // Whatever else Go and Rust take for a number ("inf"), each in its own way, is none.
    let plain = amount.bytes().all(|byte| byte.is_ascii_digit() || b".eE+".contains(&byte));
    let fraction = plain.then(|| amount.parse::<f64>());
    let size = fraction?.ok()? * factor as f64;
    (size < i64::MAX as f64).then_some(size as i64)
}

/// JSON in the form of config.json's `linux.resources`. The names' case does not matter, as in runc, whose users write
/// `"CPU"`: a limit must not get lost by it.
///
/// # Errors
/// Names the field that has a value of the wrong type.
pub fn from_json(text: &[u8]) -> Result<Resources, Error> {
    let mut value: Value = parse_json(text)?;
    if !value.is_object() {
        return Err(Error::new(Kind::Invalid, "it is no JSON object, such as {\"memory\": {\"limit\": 67108864}}"));
    }
    let renamed = serde_json::to_value(everything()).is_ok_and(|names| adopt_names(&mut value, &names));
    // From text, for errors that tell the field.
    if renamed { parse_json(value.to_string().as_bytes()) } else { parse_json(text) }
}

/// Every field that has a name, so that the names can be read off. What users name themselves (`unified`, `rdma`) is left
/// empty.
fn everything() -> Resources {
    let throttle = || vec![ThrottleDevice::default()];
    Resources {
        devices: vec![DeviceRule::default()],
        memory: Some(Memory::default()),
        cpu: Some(Cpu::default()),
        pids: Some(Pids::default()),
        block_io: Some(BlockIo {
            weight_device: vec![WeightDevice::default()],
            throttle_read_bps_device: throttle(),
            throttle_write_bps_device: throttle(),
            throttle_read_iops_device: throttle(),
            throttle_write_iops_device: throttle(),
            ..BlockIo::default()
        }),
        hugepage_limits: vec![HugepageLimit::default()],
        network: Some(Network { priorities: vec![InterfacePriority::default()], ..Network::default() }),
        ..Resources::default()
    }
}

/// Gives members the names that are theirs but for the case; tells whether there were any.
fn adopt_names(value: &mut Value, names: &Value) -> bool {
    let mut renamed = false;
    match (value, names) {
        (Value::Object(fields), Value::Object(names)) => {
            let strange: Vec<String> = fields.keys().filter(|key| !names.contains_key(*key)).cloned().collect();
            for key in strange {
                let name = names.keys().find(|name| name.eq_ignore_ascii_case(&key));
                if let Some((name, value)) = name.and_then(|name| Some((name, fields.remove(&key)?))) {
                    fields.insert(name.clone(), value);
                    renamed = true;
                }
            }
            for (key, value) in fields {
                renamed |= names.get(key).is_some_and(|names| adopt_names(value, names));
            }
        }
        (Value::Array(list), Value::Array(names)) => {
            for value in list {
                renamed |= names.first().is_some_and(|names| adopt_names(value, names));
            }
        }
        _ => {}
    }
    renamed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flag(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn sizes_are_those_of_go_units() {
        for (text, wanted) in [
            ("0", 0),
            ("32", 32),
            ("32b", 32),
            ("32B", 32),
            ("32k", 32 << 10),
            ("32 KB", 32 << 10),
            ("32kib", 32 << 10),
            ("50M", 50 << 20),
            ("64MiB", 64 << 20),
            ("1.5G", 3 << 29),
            (".5k", 512),
            ("1e3k", 1_024_000),
            ("2t", 2 << 40),
            ("3Pb", 3 << 50),
            ("9223372036854775807", i64::MAX),
        ] {
            assert_eq!(size(text), Some(wanted), "{text}");
        }
        for text in [
            "",
            "-1",
            "-32",
            "k",
            "32x",
            "32bb",
            "32kk",
            "32ki",
            "32kibs",
            "32  k",
            "1.2.3",
            "inf",
            "9000P",
            "99999999999999999999",
        ] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn flags_become_fields() {
        let flags = Update {
            blkio_weight: flag("500"),
            cpu_quota: flag("-1"),
            cpu_period: flag(""),
            cpu_idle: flag("1"),
            cpuset_cpus: flag("0-1"),
            memory: flag("50M"),
            memory_swap: flag("-1"),
            pids_limit: flag("0"),
            ..Update::default()
        };
        let resources = from_flags(&flags).expect("valid");
        let cpu = Cpu { quota: Some(-1), idle: Some(1), cpus: "0-1".into(), ..Cpu::default() };
        assert_eq!(resources.cpu, Some(cpu));
        let memory = Memory { limit: Some(50 << 20), swap: Some(-1), ..Memory::default() };
        assert_eq!(resources.memory, Some(memory));
        assert_eq!(resources.pids, Some(Pids { limit: Some(0) }));
        assert_eq!(resources.block_io.expect("block I/O").weight, Some(500));
    }

    #[test]
    fn a_wrong_value_is_told_with_its_flag() {
        let error = |flags: Update| from_flags(&flags).expect_err("refused").to_string();
        assert_eq!(
            error(Update { cpu_share: flag("-5"), ..Update::default() }),
            "invalid value for cpu-share: \"-5\" is not a number, or out of range"
        );
        assert!(
            error(Update { memory: flag("1X"), ..Update::default() })
                .starts_with("invalid value for memory: \"1X\" is not a size")
        );
        assert!(error(Update { blkio_weight: flag("70000"), ..Update::default() }).contains("blkio-weight"));
    }

    #[test]
    fn json_is_taken_whatever_the_case_of_its_names() {
        let text = br#"{"CPU":{"Cpus":"1","QUOTA":5},"memory":{"limit":7,"checkbeforeupdate":true},
            "BlockIO":{"throttlereadbpsdevice":[{"Major":8,"minor":0,"rate":9}]},"unified":{"memory.High":"1"},"new":1}"#;
        let resources = from_json(text).expect("valid");
        assert_eq!(resources.cpu, Some(Cpu { cpus: "1".into(), quota: Some(5), ..Cpu::default() }));
        assert_eq!(resources.memory.expect("memory").check_before_update, Some(true));
        let throttle = ThrottleDevice { major: 8, minor: 0, rate: 9 };
        assert_eq!(resources.block_io.expect("block I/O").throttle_read_bps_device, [throttle]);
        assert_eq!(resources.unified.keys().collect::<Vec<_>>(), ["memory.High"]);
    }

    #[test]
    fn wrong_json_is_told_with_its_place() {
        let error = |text: &str| from_json(text.as_bytes()).expect_err("refused").to_string();
        assert!(error("{").contains("EOF"), "{}", error("{"));
        assert!(error(r#"{"memory":{"limit":"64M"}}"#).starts_with("memory.limit: invalid type: string"));
        assert!(error("[]").starts_with("it is no JSON object"));
    }
}
