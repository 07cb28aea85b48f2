//! Who this process is: users and user namespaces.

use super::read_file;

/// Whether this process is in a user namespace other than the host's.
pub fn in_user_namespace() -> bool {
    // Without the file this kernel has no user namespaces.
    read_file("/proc/self/uid_map").is_ok_and(|map| !all_users_in(&map))
}

/// Whether this is the map of a user namespace that knows every user by his own number: the host's (user_namespaces(7)).
pub fn all_users_in(uid_map: &[u8]) -> bool {
    let text = String::from_utf8_lossy(uid_map);
    text.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

/// The name of a user of the host, or its number where /etc/passwd has none.
pub fn user_name(uid: u32) -> String {
    let passwd = read_file("/etc/passwd").unwrap_or_default();
    let passwd = String::from_utf8_lossy(&passwd);
    let mut entries = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = entries.find(|fields| fields.get(2).is_some_and(|field| field.parse() == Ok(uid)));
    found.and_then(|fields| fields.first().map(|name| (*name).to_owned())).unwrap_or_else(|| uid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_map_is_known_from_others() {
        assert!(all_users_in(b"         0          0 4294967295\n"));
        assert!(!all_users_in(b"         0       1000          1\n         1     100000      65536\n"));
        assert!(!all_users_in(b"")); // not mapped yet
    }

    #[test]
    fn users_have_names_or_numbers() {
        assert_eq!(user_name(0), "root");
        assert_eq!(user_name(4_123_456_789), "4123456789");
    }
}
