//! Archives with random damage: every one is read or refused, in bounded time and memory, and never panics.

use super::tests::list;
use crate::testing::{Builder, Random};

#[test]
fn damaged_archives_are_read_or_refused() {
    let keys = [("path", "some/long/name"), ("mtime", "1.5"), ("SCHILY.xattr.user.a", "b"), ("uid", "7")];
    let sparse = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "4096")];
    let seeds = [
        Builder::default()
            .pax(&keys)
            .file("a", b"data")
            .link("b", "a", 0)
            .long_name(&"n".repeat(300))
            .file("c", &[1; 600])
            .end(),
        Builder::default()
            .pax(&sparse)
            .file("s", &[&b"2\n0\n512\n1024\n512\n"[..], &[0; 495], &[5; 1024]].concat())
            .end(),
        Builder::default().global(&[("comment", "x")]).raw("d/", b'5', 0, b"").raw("dev", b'3', 0, b"").end(),
    ];
    let mut random = Random::new();
    let (mut read, mut refused) = (0, 0);
    for round in 0..20_000_usize {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..1 + random.below(4) {
            random.damage(&mut bytes);
        }
        // Half of them get right checksums again, so that the damage goes deeper.
        if round % 2 == 0 {
            crate::testing::repair_checksums(&mut bytes);
        }
        match list(&bytes) {
            Ok(members) => {
                read += 1;
                assert!(members.iter().map(|(_, data)| data.len()).sum::<usize>() <= bytes.len());
            }
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        }
    }
    assert!(read > 100 && refused > 1000, "{read} read, {refused} refused: the damage is not what it should be");
}
