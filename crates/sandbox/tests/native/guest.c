/* What the native driver's tests run inside a sandbox: one small static program, its first
 * argument says what it does. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <dirent.h>

extern char **environ;

/* Answers every connection's first bytes with themselves, for ever. */
static void echo(int listener) {
    char buffer[4096];
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) continue;
        ssize_t n = read(fd, buffer, sizeof buffer);
        if (n > 0 && write(fd, buffer, n) != n) perror("write");
        close(fd);
    }
}

static int unix_listener(const char *path, int backlog) {
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    strncpy(name.sun_path, path, sizeof name.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(fd, (struct sockaddr *)&name, sizeof name) || chmod(path, 0666) || listen(fd, backlog)) {
        printf("%s: %s\n", path, strerror(errno));
        exit(1);
    }
    return fd;
}

static struct sockaddr_in loopback(const char *port) {
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return name;
}

static void on_term(int signal) {
    (void)signal;
    if (write(1, "term\n", 5)) _exit(7);
    _exit(8);
}

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
    if (!strcmp(what, "unix-server")) {
        /* As an FDK does: under another name first, then by a link in the same folder. */
        int fd = unix_listener("/tmp/iofs/phony.sock", 128);
        if (symlink("phony.sock", "/tmp/iofs/lsnr.sock")) { perror("symlink"); return 1; }
        struct stat folder;
        stat("/tmp/iofs", &folder);
        printf("%o %d\n", folder.st_mode & 07777, folder.st_uid);
        echo(fd);
    }
    if (!strcmp(what, "unix-slow")) {
        int fd = unix_listener("/tmp/iofs/lsnr.sock", 1);
        char go;
        puts("ready");
        if (read(0, &go, 1) != 1) return 1;
        echo(fd);
    }
    if (!strcmp(what, "plant")) {
        /* Whatever is not a socket of its own, under the name that we look for. */
        const char *name = "/tmp/iofs/lsnr.sock", *kind = argv[2];
        int bad = 0;
        if (!strcmp(kind, "link")) bad = symlink(argv[3], name);
        else if (!strcmp(kind, "chain")) {
            bad = symlink(argv[3], "/tmp/iofs/last") || symlink("last", "/tmp/iofs/next") ||
                  symlink("next", name);
        } else if (!strcmp(kind, "folder-link")) {
            bad = symlink(argv[3], "/tmp/iofs/out") || symlink(argv[4], name);
        } else if (!strcmp(kind, "fifo")) bad = mkfifo(name, 0666);
        else if (!strcmp(kind, "file")) bad = close(open(name, O_CREAT | O_WRONLY, 0666));
        else if (!strcmp(kind, "folder")) bad = mkdir(name, 0777);
        else bad = 1;
        puts(bad ? "failed" : "ready");
        for (;;) pause();
    }
    if (!strcmp(what, "swap")) {
        int fd = unix_listener("/tmp/iofs/real.sock", 128);
        if (!fork()) echo(fd);
        puts("ready");
        for (;;) {
            /* The socket itself, a link to it, a link to the host's: each put there at once. */
            if (link("/tmp/iofs/real.sock", "/tmp/iofs/new") || rename("/tmp/iofs/new", "/tmp/iofs/lsnr.sock"))
                unlink("/tmp/iofs/new");
            if (symlink(argv[2], "/tmp/iofs/new") || rename("/tmp/iofs/new", "/tmp/iofs/lsnr.sock")) return 1;
            if (symlink("real.sock", "/tmp/iofs/new") || rename("/tmp/iofs/new", "/tmp/iofs/lsnr.sock")) return 1;
            if (symlink(argv[2], "/tmp/iofs/new") || rename("/tmp/iofs/new", "/tmp/iofs/lsnr.sock")) return 1;
        }
    }
    if (!strcmp(what, "read-all")) {
        static char buffer[65536];
        int fd = open(argv[2], O_RDONLY);
        long long total = 0;
        ssize_t n;
        while ((n = read(fd, buffer, sizeof buffer)) > 0) total += n;
        printf("%lld %s\n", total, n < 0 ? strerror(errno) : "whole");
        return 0;
    }
    if (!strcmp(what, "tcp-client")) {
        struct sockaddr_in name = loopback(argv[2]);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&name, sizeof name)) { printf("%s\n", strerror(errno)); return 1; }
        if (write(fd, "from inside", 11) != 11) return 1;
        char buffer[64] = { 0 };
        if (read(fd, buffer, sizeof buffer - 1) < 0) return 1;
        puts(buffer);
        return 0;
    }
    if (!strcmp(what, "tcp-server")) {
        struct sockaddr_in name = loopback(argv[2]);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (bind(fd, (struct sockaddr *)&name, sizeof name) || listen(fd, 64)) {
            printf("%s\n", strerror(errno));
            return 1;
        }
        puts("ready");
        echo(fd);
    }
    if (!strcmp(what, "term")) { signal(SIGTERM, on_term); puts("ready"); for (;;) pause(); }
    if (!strcmp(what, "tick")) { puts("ready"); for (;;) { if (write(1, ".", 1) != 1) return 1; usleep(200); } }
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
