/* Makes the k-th file operation of a program fail: preloaded, it stands before the C library's functions that change files.
 * Counted are those below the folder FAULT_UNDER. The FAULT_AT-th fails with the error FAULT_ERROR (a number of errno.h), or, where that
 * is "short", a write takes the half of what it is given. The file FAULT_FIRED is made when it does. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *under;
static long at;
static int error_number, is_short;
static atomic_long count;
static char ours[1 << 16]; /* descriptors of files below the folder */

__attribute__((constructor)) static void start(void) {
    under = getenv("FAULT_UNDER");
    const char *place = getenv("FAULT_AT"), *what = getenv("FAULT_ERROR");
    at = place ? atol(place) : 0;
    is_short = what && strcmp(what, "short") == 0;
    error_number = what ? atoi(what) : 0;
}

static int below(const char *path) { return under && path && strncmp(path, under, strlen(under)) == 0; }
static int mine(int fd) { return fd >= 0 && fd < (int)sizeof ours && ours[fd]; }

/* Whether this operation is the one; `writes` where it may be a short write. */
static int fails(int writes) {
    if (is_short && !writes) return 0;
    if (atomic_fetch_add(&count, 1) + 1 != at) return 0;
    const char *fired = getenv("FAULT_FIRED");
    if (fired) syscall(SYS_close, syscall(SYS_openat, AT_FDCWD, fired, O_CREAT | O_WRONLY, 0666));
    errno = error_number;
    return 1;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static int opened(int fd, int ours_too) {
    if (fd >= 0 && fd < (int)sizeof ours) ours[fd] = (char)ours_too;
    return fd;
}
#define OPENS(flags) (((flags) & (O_WRONLY | O_RDWR | O_CREAT)) != 0)
#define MODE(flags) mode_t mode = 0; if ((flags) & (O_CREAT | O_TMPFILE)) { va_list l; va_start(l, flags); mode = va_arg(l, mode_t); va_end(l); }

int open(const char *path, int flags, ...) {
    MODE(flags) REAL(open);
    int own = below(path) && OPENS(flags);
    return own && fails(0) ? -1 : opened(real(path, flags, mode), own);
}
int open64(const char *path, int flags, ...) {
    MODE(flags) REAL(open64);
    int own = below(path) && OPENS(flags);
    return own && fails(0) ? -1 : opened(real(path, flags, mode), own);
}
int close(int fd) { REAL(close); opened(fd, 0); return real(fd); }

ssize_t write(int fd, const void *bytes, size_t n) {
    REAL(write);
    if (mine(fd) && n > 1 && fails(1)) { if (!is_short) return -1; n /= 2; }
    return real(fd, bytes, n);
}
ssize_t writev(int fd, const struct iovec *parts, int n) {
    REAL(writev);
    if (mine(fd) && fails(1)) { if (!is_short) return -1; return write(fd, parts[0].iov_base, parts[0].iov_len); }
    return real(fd, parts, n);
}
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t n, unsigned flags) {
    REAL(copy_file_range);
    return mine(out) && fails(0) ? -1 : real(in, from, out, to, n, flags);
}
int fsync(int fd) { REAL(fsync); return mine(fd) && fails(0) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return mine(fd) && fails(0) ? -1 : real(fd); }
int ftruncate64(int fd, off64_t n) { REAL(ftruncate64); return mine(fd) && fails(0) ? -1 : real(fd, n); }
int rename(const char *from, const char *to) { REAL(rename); return below(to) && fails(0) ? -1 : real(from, to); }
int unlink(const char *path) { REAL(unlink); return below(path) && fails(0) ? -1 : real(path); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); return below(path) && fails(0) ? -1 : real(path, mode); }
