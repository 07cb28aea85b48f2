/* What runs inside and beside the containers of these tests, where busybox cannot. Linked statically.

   payload report            P: prints /proc/self/{status,fd,attr,cgroup,mountinfo}, each below a line `== name`
   payload watch STOP MARK   says which objects of no mount in here other processes hold, and from which of their roots the
                             file MARK can be reached, until the file STOP exists; `watch-all`: their executables as well
   payload here              exits with 3 if its working directory lies on no mount in here
   payload overwrite STOP    holds on to other processes' executables and writes to them as soon as nobody executes them
   payload flip A B          R: exchanges A and B for ever (renameat2, RENAME_EXCHANGE)
   payload nothing           exits with 0 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void show(const char *name) {
    char path[64], buffer[4096];
    ssize_t length;
    snprintf(path, sizeof path, "/proc/self/%s", name);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    printf("== %s\n", name);
    while ((length = read(file, buffer, sizeof buffer)) > 0) fwrite(buffer, 1, length, stdout);
    printf("\n");
    close(file);
}

static int report(void) {
    DIR *fds = opendir("/proc/self/fd"); /* before anything else is opened */
    struct dirent *entry;
    if (!fds) return 1;
    printf("== fd\n");
    while ((entry = readdir(fds))) {
        char target[4096];
        if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(fds)) continue;
        ssize_t length = readlinkat(dirfd(fds), entry->d_name, target, sizeof target - 1);
        target[length < 0 ? 0 : length] = 0;
        printf("%s %s\n", entry->d_name, target);
    }
    closedir(fds);
    const char *names[] = {"status", "attr/current", "attr/exec", "cgroup", "mountinfo"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) show(names[i]);
    return 0;
}

/* The mounts of this namespace: no other is the container's. */
static unsigned long long mounts[4096];
static int mount_count;

static void read_mounts(void) {
    FILE *file = fopen("/proc/self/mountinfo", "re");
    char *line = NULL;
    size_t size = 0;
    mount_count = 0;
    while (file && getline(&line, &size, file) > 0 && mount_count < 4096) mounts[mount_count++] = strtoull(line, NULL, 10);
    free(line);
    if (file) fclose(file);
}

static int is_foreign(const char *link) {
    struct statx stat;
    if (statx(AT_FDCWD, link, AT_NO_AUTOMOUNT, STATX_MNT_ID, &stat)) return 0;
    for (int i = 0; i < mount_count; i++)
        if (mounts[i] == stat.stx_mnt_id) return 0;
    return 1;
}

static void look_at(const char *link) {
    char target[4096];
    ssize_t length = readlink(link, target, sizeof target - 1);
    if (length < 0) return;
    target[length] = 0;
    const char *nowhere[] = {"pipe:[", "socket:[", "anon_inode:"};
    for (int i = 0; i < 3; i++)
        if (!strncmp(target, nowhere[i], strlen(nowhere[i]))) return;
    if (is_foreign(link)) printf("%s -> %s\n", link, target), fflush(stdout);
}

static const char *mark;
static int executables;

static void watch_one(const char *pid) {
    char path[512];
    snprintf(path, sizeof path, "/proc/%s/root%s", pid, mark);
    if (!access(path, F_OK)) printf("%s can be reached\n", path), fflush(stdout);
    snprintf(path, sizeof path, "/proc/%s/exe", pid);
    if (executables) look_at(path);
    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    DIR *fds = opendir(path);
    struct dirent *entry;
    while (fds && (entry = readdir(fds))) {
        if (entry->d_name[0] == '.' || atoi(entry->d_name) <= 2) continue; /* stdio is the caller's to give */
        snprintf(path, sizeof path, "/proc/%s/fd/%s", pid, entry->d_name);
        look_at(path);
    }
    if (fds) closedir(fds);
}

static void each_process(void (*visit)(const char *)) {
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    while (proc && (entry = readdir(proc)))
        if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9' && atoi(entry->d_name) != getpid()) visit(entry->d_name);
    if (proc) closedir(proc);
}

static struct stat self;
static int held[512], held_count;

static void hold(const char *pid) {
    char path[64];
    struct stat stat;
    snprintf(path, sizeof path, "/proc/%s/exe", pid);
    int file = open(path, O_PATH | O_CLOEXEC);
    if (file < 0) return;
    if (fstat(file, &stat) || (stat.st_ino == self.st_ino && stat.st_dev == self.st_dev)) { close(file); return; }
    if (held_count == 512) close(held[--held_count]);
    held[held_count++] = file;
}

static void strike(void) {
    for (int i = 0; i < held_count; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", held[i]);
        int file = open(path, O_WRONLY | O_CLOEXEC);
        if (file < 0 && errno == ETXTBSY) continue;
        if (file >= 0 && write(file, "overwritten", 11) == 11) printf("wrote\n"), fflush(stdout);
        if (file >= 0) close(file);
        close(held[i]);
        held[i--] = held[--held_count];
    }
}

int main(int count, char **args) {
    const char *act = count > 1 ? args[1] : "";
    if (!strcmp(act, "nothing")) return 0;
    if (!strcmp(act, "report")) return report();
    if (!strcmp(act, "flip") && count == 4) {
        for (;;)
            if (renameat2(AT_FDCWD, args[2], AT_FDCWD, args[3], RENAME_EXCHANGE)) return 1;
    }
    if (!strcmp(act, "here")) return read_mounts(), is_foreign(".") ? 3 : 0;
    if (count < 3) return 2;
    executables = !strcmp(act, "watch-all");
    mark = count > 3 ? args[3] : "";
    if (stat("/proc/self/exe", &self)) return 1;
    read_mounts();
    for (unsigned turn = 0; turn % 64 || access(args[2], F_OK); turn++) {
        if (!strncmp(act, "watch", 5)) each_process(watch_one);
        else if (!strcmp(act, "overwrite")) each_process(hold), strike();
        else return 2;
    }
    return 0;
}
