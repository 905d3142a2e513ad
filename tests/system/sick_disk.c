/* A disk that fails on demand: preloaded into a process, it makes calls on some files fail.

   AIRCHARGE_SICK_DISK names a file of six 32-bit numbers that this library and whoever orders the sickness share:
   errno to fail with (0: all is well), calls still to be let pass, calls still to fail (-1: all), calls seen on the
   files, calls failed, reserved. AIRCHARGE_SICK_FILES is a word that the path of a file that may fail has in it.
   A write that meets a full disk is cut in half first, as on a real one; fsync minds only what is broken. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

enum { CODE, PASSING, FAILING, SEEN, FAILED, COUNT };

static _Atomic int *orders;
static const char *word;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("AIRCHARGE_SICK_DISK");
    word = getenv("AIRCHARGE_SICK_FILES");
    if (!path || !word)
        return;
    int file = open(path, O_RDWR);
    if (file < 0)
        return;
    void *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (shared != MAP_FAILED)
        orders = shared;
}

/* The errno this call must fail with, or 0. */
static int sick(int file)
{
    if (!orders || !orders[CODE])
        return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    if (!strstr(path, word))
        return 0;
    orders[SEEN]++;
    if (orders[PASSING] > 0 && orders[PASSING]-- > 0)
        return 0;
    int left = orders[FAILING];
    if (left == 0)
        return 0;
    if (left > 0)
        orders[FAILING]--;
    orders[FAILED]++;
    return orders[CODE];
}

#define NEXT(name) \
    static __typeof__(&name) next; \
    if (!next) \
        next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define WRITES(name, declare_offset, pass_offset) \
    ssize_t name(int file, const void *octets, size_t size declare_offset) \
    { \
        NEXT(name); \
        int code = sick(file); \
        if (code == ENOSPC && size > 1) \
            return next(file, octets, size / 2 pass_offset); \
        if (code) { \
            errno = code; \
            return -1; \
        } \
        return next(file, octets, size pass_offset); \
    }

#define COMMA ,
WRITES(write, , )
WRITES(pwrite, COMMA off_t offset, COMMA offset)
WRITES(pwrite64, COMMA off64_t offset, COMMA offset)

#define ONE(name, arguments, pass) \
    int name arguments \
    { \
        NEXT(name); \
        int code = sick(file); \
        if (code && code != ENOSPC) { \
            errno = code; \
            return -1; \
        } \
        return next pass; \
    }

ONE(fsync, (int file), (file))
ONE(fdatasync, (int file), (file))
ONE(ftruncate, (int file, off_t size), (file, size))
ONE(ftruncate64, (int file, off64_t size), (file, size))
