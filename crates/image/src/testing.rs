//! What tests of several modules share: directories, archives made by hand, random damage.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of the test's own, removed with all that is in it when the test ends, also by a panic.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new(name: &str) -> TempDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("creel-image-{}-{number}-{name}", std::process::id()));
        std::fs::create_dir(&path).expect("make a temporary directory");
        TempDir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A tar archive, member by member, right or wrong. Everything belongs to 1234:5678 and is of the second 1,000,000.
#[derive(Clone, Default)]
pub struct Builder(Vec<u8>);

impl Builder {
    /// A header with `size` and after it `data`, which need not be of that size.
    pub fn raw(mut self, name: &str, flag: u8, size: usize, data: &[u8]) -> Self {
        self.header(name, flag, size, "", 0o755, (1234, 5678));
        self.data(data)
    }

    pub fn file(self, name: &str, data: &[u8]) -> Self {
        self.raw(name, b'0', data.len(), data)
    }

    pub fn owned(mut self, name: &str, flag: u8, mode: u32, ids: (u32, u32), data: &[u8]) -> Self {
        self.header(name, flag, data.len(), "", mode, ids);
        self.data(data)
    }

    pub fn directory(self, name: &str) -> Self {
        self.raw(name, b'5', 0, b"")
    }

    pub fn symlink(mut self, name: &str, target: &str) -> Self {
        self.header(name, b'2', 0, target, 0o777, (1234, 5678));
        self
    }

    /// A hard link whose header has `size`.
    pub fn link(mut self, name: &str, target: &str, size: usize) -> Self {
        self.header(name, b'1', size, target, 0o755, (1234, 5678));
        self
    }

    pub fn device(mut self, name: &str, flag: u8, major: u8, minor: u8) -> Self {
        self.header(name, flag, 0, "", 0o644, (1234, 5678));
        let begin = self.0.len() - 512;
        self.0[begin + 329..begin + 337].copy_from_slice(format!("{major:07o}\0").as_bytes());
        self.0[begin + 337..begin + 345].copy_from_slice(format!("{minor:07o}\0").as_bytes());
        checksum(&mut self.0[begin..]);
        self
    }

    pub fn pax(self, records: &[(&str, &str)]) -> Self {
        let data = self::records(records);
        self.raw("PaxHeader", b'x', data.len(), &data)
    }

    pub fn global(self, records: &[(&str, &str)]) -> Self {
        let data = self::records(records);
        self.raw("PaxGlobal", b'g', data.len(), &data)
    }

    pub fn long_name(self, name: &str) -> Self {
        let data = [name.as_bytes(), &[0]].concat();
        self.raw("././@LongLink", b'L', data.len(), &data)
    }

    pub fn bytes_without_end(self) -> Vec<u8> {
        self.0
    }

    pub fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }

    fn header(&mut self, name: &str, flag: u8, size: usize, link: &str, mode: u32, (uid, gid): (u32, u32)) {
        let mut block = [0_u8; 512];
        let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, name);
        put(100, &format!("{mode:07o}"));
        put(108, &format!("{uid:07o}"));
        put(116, &format!("{gid:07o}"));
        put(124, &format!("{size:011o}"));
        put(136, &format!("{:011o}", 1_000_000));
        put(157, link);
        put(257, "ustar\x0000");
        block[156] = flag;
        checksum(&mut block);
        self.0.extend_from_slice(&block);
    }

    fn data(mut self, data: &[u8]) -> Self {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }
}

fn records(records: &[(&str, &str)]) -> Vec<u8> {
    let mut data = String::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length += 1;
        }
        data.push_str(&format!("{length} {key}={value}\n"));
    }
    data.into_bytes()
}

fn checksum(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block[..512].iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Gives every block that could be a header a right checksum.
pub fn repair_checksums(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
        checksum(block);
    }
}

/// Numbers that are the same in every run (xorshift), so that what fails once fails again.
pub struct Random(u64);

impl Random {
    pub fn new() -> Self {
        Random(0x9e37_79b9_7f4a_7c15)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }

    /// Changes, removes, repeats or cuts a piece.
    pub fn damage(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        let length = (1 + self.below(24)).min(bytes.len() - at);
        match self.below(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..at + length)),
            2 => {
                let piece = bytes[at..at + length].to_vec();
                bytes.splice(at..at, piece);
            }
            3 => bytes[at..at + length].fill(0),
            4 => bytes[at..at + length].fill(0xff),
            5 => bytes[at] = b'0' + (self.below(10) as u8),
            _ => bytes[at] = self.below(256) as u8,
        }
    }
}
