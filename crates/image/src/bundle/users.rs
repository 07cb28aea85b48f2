//! config.json for a container with a user namespace, after what rootless engines and `runc spec --rootless` write.

use serde_json::{Value, json};

use super::request::{Network, Users};
use crate::error::{Error, Result};

/// Gives the configuration a user namespace, and takes from it what is not to be had in one.
pub fn apply(spec: &mut Value, users: &Users, network: Network) -> Result<()> {
    let maps = &users.maps;
    identity(&mut spec["process"]["user"], users)?;
    let linux = &mut spec["linux"];
    if let Some(namespaces) = linux["namespaces"].as_array_mut() {
        namespaces.push(json!({"type": "user"}));
    }
    linux["uidMappings"] = json!(maps.uids);
    linux["gidMappings"] = json!(maps.gids);
    if users.rootless {
        resources(linux);
    }
    for mount in spec["mounts"].as_array_mut().into_iter().flatten() {
        if mount["destination"] == "/sys" && network == Network::Host {
            // A sysfs shows a network, and only who owns that may mount one.
            let options = ["rbind", "nosuid", "noexec", "nodev", "ro"];
            *mount = json!({"destination": "/sys", "type": "none", "source": "/sys", "options": options});
        }
        if let Some(options) = mount["options"].as_array_mut() {
            let group = |option: &Value| option.as_str()?.strip_prefix("gid=")?.parse().ok();
            options.retain(|option| group(option).is_none_or(|gid| maps.gid(gid).is_ok()));
        }
    }
    Ok(())
}

/// All of the user's ids must be there; where setgroups(2) is denied, supplementary groups cannot be had.
fn identity(user: &mut Value, users: &Users) -> Result<()> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok()).unwrap_or(u32::MAX);
    let asked = |error: Error| error.within("the container's user");
    users.maps.uid(id(&user["uid"])).map_err(asked)?;
    users.maps.gid(id(&user["gid"])).map_err(asked)?;
    // runc sets none without root, and refuses a list that has only the group which the process has anyway.
    let has_only_own = user["additionalGids"] == json!([user["gid"]]) && users.maps != users.maps.nested();
    if users.rootless && (has_only_own || !users.maps.has_others()) {
        user["additionalGids"] = json!([]);
    }
    let mut groups = user["additionalGids"].as_array().into_iter().flatten();
    groups.try_for_each(|group| users.maps.gid(id(group)).map(drop).map_err(asked))
}

/// Devices are for the host's root to decide on; limits stay only where the user has asked for some: where nobody has given
/// him cgroups, the runtime says so.
fn resources(linux: &mut Value) {
    let Some(resources) = linux["resources"].as_object_mut() else { return };
    resources.remove("devices");
    if resources.is_empty()
        && let Some(linux) = linux.as_object_mut()
    {
        linux.remove("resources");
    }
}
