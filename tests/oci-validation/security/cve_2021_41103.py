"""CVE-2021-41103, CVE-2024-25621 (containerd): state directories that other users may enter."""

import os
import shutil
import stat

from suite import case


@case(runc="1.1.5: 0711, for rootless containers")
def no_other_user_can_enter_the_state(t):
    """Removed to see it fail: RWXU in `Store::make_directory` (container/store.rs)."""
    t.root = f"{t.directory}/fresh/root"
    os.chmod(t.directory, 0o755)
    t.sleeper()
    try:
        modes = {path: stat.S_IMODE(os.stat(path).st_mode) for path in (t.root, f"{t.root}/{t.id}")}
        t.equal(set(modes.values()), {0o700}, f"modes {modes}")
        child = os.fork()
        if child == 0:
            os.setresuid(1000, 1000, 1000)
            os._exit(os.access(f"{t.root}/{t.id}/state.json", os.F_OK) or os.access(f"{t.root}/{t.id}", os.X_OK))
        t.equal(os.waitpid(child, 0)[1], 0, "what uid 1000 can reach")
    finally:
        t.rt("delete", "--force", t.id)
        shutil.rmtree(f"{t.directory}/fresh")
        t.root = f"{os.path.dirname(t.directory)}/root"
