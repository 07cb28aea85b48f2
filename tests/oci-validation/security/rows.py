"""The rows of docs/security-tests.md: which test stands for which vulnerabilities."""

from dataclasses import dataclass

CHECKPOINT = "waits for `checkpoint`, which this version does not have"
UNPACK, IMAGES = "`make unpack` (tests/images/unpack.py)", "`make images` (tests/images/run.py)"


@dataclass
class Row:
    names: str
    mechanism: str
    module: str = ""  # cases/…: tests/oci-validation/security/MODULE.py
    shim: str = ""  # the prefix of tests of crates/shim/tests
    elsewhere: str = ""  # who else tests it, or why nobody does yet


ROWS = [
    Row("CVE-2016-9962", "a joining process's descriptors are taken out of it", "cve_2016_9962"),
    Row("CVE-2019-5736", "the runtime is overwritten through /proc/self/exe", "cve_2019_5736", "cve_2019_5736"),
    Row(
        "CVE-2019-16884, -19921, CVE-2023-27561, -28642, CVE-2025-54867 (youki)",
        "a false /proc or /sys takes what is written to the kernel",
        "cve_2019_16884",
    ),
    Row("CVE-2025-52881, CVE-2025-62596 (youki)", "a mount race redirects writes to attr and sysctl", "cve_2025_52881"),
    Row(
        "CVE-2021-30465, CVE-2024-45310, CVE-2019-18837 (crun)",
        "a mount's target is swapped between check and use",
        "cve_2021_30465",
    ),
    Row("CVE-2025-31133, CVE-2025-62161 (youki)", "a link as /dev/null becomes the source of masks", "cve_2025_31133"),
    Row("CVE-2025-52565, CVE-2026-88264 (crun)", "/dev/console or /dev/pts/N is a link", "cve_2025_52565"),
    Row("CVE-2026-88265 (crun)", "stdio is reopened through a link as /dev/null", "cve_2026_88265"),
    Row("CVE-2026-41579, CVE-2026-47766 (crun)", "nodes and links are made where an image's /dev leads", "cve_2026_41579"),
    Row("CVE-2026-115521 (crun)", "a read-only root goes through the container's procfs", "cve_2026_115521"),
    Row("CVE-2024-21626", "a leaked descriptor of the host, by path", "cve_2024_21626"),
    Row("CVE-2024-21626", "every descriptor, of every command and mode: an audit", "no_host_descriptor"),
    Row(
        "CVE-2022-29162, CVE-2022-27650 (crun), CVE-2025-27612 (youki)",
        "inheritable capabilities are set",
        "cve_2022_29162",
    ),
    Row("CVE-2023-25809", "the host's cgroups are writable without a cgroup namespace", "cve_2023_25809"),
    Row("CVE-2021-43784", "over-long namespace paths or maps overflow a length", "cve_2021_43784"),
    Row("CVE-2026-119101, CVE-2026-115520 (crun)", "image links confuse CRIU's mount keys", elsewhere=CHECKPOINT),
    Row(
        "CVE-2026-30892 (crun), CVE-2024-40635, CVE-2026-46680 (containerd)",
        "a user id becomes root",
        "cve_2026_30892",
    ),
    Row("CVE-2023-25173 (containerd)", "wrong supplementary groups", "cve_2023_25173"),
    Row("CVE-2020-15257 (containerd)", "an abstract socket, reachable from containers", shim="cve_2020_15257"),
    Row(
        "CVE-2021-41103, CVE-2024-25621 (containerd)",
        "state directories are open to others",
        "cve_2021_41103",
        shim="cve_2021_41103",
    ),
    Row(
        "CVE-2022-23471, CVE-2022-31030, CVE-2025-64329 (containerd)",
        "failing execs leak memory or threads",
        shim="cve_2022_23471",
    ),
    Row("CVE-2025-47291 (containerd)", "a container is outside of its cgroup", "cve_2025_47291"),
    Row(
        "CVE-2026-50195, -53489, -53492, -95837 (containerd)",
        "restore trusts what the checkpoint says",
        elsewhere=CHECKPOINT,
    ),
    Row("CVE-2026-53488 (containerd)", "an image's label becomes a host's command", elsewhere=UNPACK),
    Row("CVE-2021-32760 (containerd), CVE-2026-17106", "link entries change what is outside", elsewhere=UNPACK),
    Row("CVE-2021-29136 (umoci)", "a `.` or `/` entry replaces the root", elsewhere=UNPACK),
    Row("CVE-2025-47290 (containerd), CVE-2018-15664 (Docker)", "a path race while unpacking", elsewhere=UNPACK),
    Row("CVE-2019-14271 (Docker)", "a library is loaded from the container's root", "cve_2019_14271"),
    Row("CVE-2025-62518 (tokio-tar)", "PAX headers smuggle entries", elsewhere=UNPACK),
    Row(
        "CVE-2023-25153, CVE-2026-47262, -95838 (containerd)",
        "unbounded documents, repeated whiteouts",
        elsewhere=f"{UNPACK}; {IMAGES}",
    ),
    Row(
        "CVE-2021-41190 (OCI), CVE-2026-95839 (containerd)",
        "a manifest of two kinds, a malformed digest",
        elsewhere=IMAGES,
    ),
    Row("CVE-2020-15157 (containerd)", "credentials go to a foreign address", elsewhere=IMAGES),
]
