/* What the native driver's tests run inside a sandbox: one small static program, its first
 * argument says what it does. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <dirent.h>

extern char **environ;

static int cat(const char *path) {
    char buffer[65536];
    int fd = open(path, O_RDONLY);
    if (fd < 0) { printf("%s: %s\n", path, strerror(errno)); return 1; }
    ssize_t n;
    while ((n = read(fd, buffer, sizeof buffer)) > 0) {
        if (write(1, buffer, n) != n) return 1;
    }
    close(fd);
    return n < 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "hello";
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(what, "hello")) { puts("hello"); return 0; }
    if (!strcmp(what, "exit")) return atoi(argv[2]);
    if (!strcmp(what, "cat")) {
        if (argc > 2) { int bad = 0; for (int i = 2; i < argc; i++) bad |= cat(argv[i]); return bad; }
        return cat("/dev/stdin");
    }
    if (!strcmp(what, "ls")) {
        DIR *dir = opendir(argv[2]);
        if (!dir) { printf("%s\n", strerror(errno)); return 1; }
        struct dirent *entry;
        while ((entry = readdir(dir))) puts(entry->d_name);
        return 0;
    }
    if (!strcmp(what, "who")) {
        gid_t groups[64];
        int n = getgroups(64, groups);
        printf("uid=%d gid=%d pid=%d groups=", getuid(), getgid(), getpid());
        for (int i = 0; i < n; i++) printf("%s%d", i ? "," : "", groups[i]);
        char cwd[4096];
        printf(" cwd=%s\n", getcwd(cwd, sizeof cwd));
        for (int i = 2; i < argc; i++) printf("arg=%s\n", argv[i]);
        for (char **e = environ; *e; e++) printf("env=%s\n", *e);
        return 0;
    }
    if (!strcmp(what, "sleep")) { puts("ready"); for (;;) pause(); }
    if (!strcmp(what, "stubborn")) {
        for (int s = 1; s < 32; s++) signal(s, SIG_IGN);
        for (int i = 0; i < 3; i++) if (!fork()) { for (;;) pause(); }
        puts("ready");
        for (;;) pause();
    }
    if (!strcmp(what, "memory")) {
        size_t mib = strtoul(argv[2], NULL, 10);
        for (size_t i = 0; i < mib; i++) {
            char *p = malloc(1 << 20);
            if (!p) { puts("malloc failed"); return 3; }
            memset(p, 1, 1 << 20);
        }
        puts("had it all");
        return 0;
    }
    if (!strcmp(what, "child-memory")) {
        /* The kernel kills the child; the function itself lives on. */
        if (!fork()) {
            for (;;) { char *p = malloc(1 << 20); if (p) memset(p, 1, 1 << 20); }
        }
        int status;
        wait(&status);
        printf("child signal %d\n", WTERMSIG(status));
        return 0;
    }
    if (!strcmp(what, "fork")) {
        int n = 0;
        while (n < 100000) {
            pid_t pid = fork();
            if (pid < 0) { printf("forked %d: %s\n", n, strerror(errno)); return 0; }
            if (!pid) for (;;) pause();
            n++;
        }
        puts("no limit");
        return 1;
    }
    if (!strcmp(what, "fill")) {
        static char block[65536];
        long total = 0;
        int fd = open(argv[2], O_CREAT | O_WRONLY, 0600);
        if (fd < 0) { printf("open: %s\n", strerror(errno)); return 0; }
        for (;;) {
            ssize_t n = write(fd, block, sizeof block);
            if (n < 0) { printf("%ld: %s\n", total, strerror(errno)); return 0; }
            total += n;
        }
    }
    if (!strcmp(what, "inodes")) {
        char name[256];
        for (int i = 0;; i++) {
            snprintf(name, sizeof name, "/tmp/f%d", i);
            int fd = open(name, O_CREAT | O_WRONLY, 0600);
            if (fd < 0) { printf("%d: %s\n", i, strerror(errno)); return 0; }
            close(fd);
        }
    }
    if (!strcmp(what, "write")) {
        int fd = open(argv[2], O_CREAT | O_WRONLY, 0600);
        printf("%s: %s\n", argv[2], fd < 0 ? strerror(errno) : "written");
        return 0;
    }
    if (!strcmp(what, "limits")) {
        struct rlimit l;
        int which[] = {RLIMIT_CORE, RLIMIT_NOFILE, RLIMIT_MSGQUEUE, RLIMIT_SIGPENDING, RLIMIT_MEMLOCK};
        const char *names[] = {"core", "nofile", "msgqueue", "sigpending", "memlock"};
        for (int i = 0; i < 5; i++) {
            getrlimit(which[i], &l);
            printf("%s=%ld/%ld\n", names[i], (long)l.rlim_cur, (long)l.rlim_max);
        }
        return 0;
    }
    if (!strcmp(what, "spin")) {
        volatile unsigned long n = 0;
        for (;;) n++;
    }
    if (!strcmp(what, "stdout-again")) {
        int fd = open("/dev/stdout", O_WRONLY);
        if (fd < 0) { printf("open: %s\n", strerror(errno)); return 1; }
        dprintf(fd, "through /dev/stdout\n");
        return 0;
    }
    fprintf(stderr, "unknown: %s\n", what);
    return 2;
}
