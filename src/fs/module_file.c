/* A module's file before it is loaded. The loader takes what is not one, or is
 * cut off, for granted in ways that end the process (a fifo makes it wait, a
 * file that ends early is a bus error), and runs what it loads: so the file
 * is looked at first. */
#define _GNU_SOURCE /* dladdr1 */
#include "fs/module.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int refuse(const char *file, int errnum, const char *remedy,
                  struct kvt_error *err, const char *why)
{
    return kvt_error_set(err, KVT_ERR_NOT_SUPPORTED, errnum, file, remedy,
                         "%s %s", file, why);
}

static int unreadable(const char *file, int errnum, struct kvt_error *err)
{
    char why[256];
    snprintf(why, sizeof why, "cannot be read: %s", strerror(errnum));
    return refuse(file, errnum,
                  errnum == ENOENT ? "install it, or mend the name"
                                   : "let the user you run as read it",
                  err, why);
}

/* Who can write to it can run code as us. A sticky folder is no help: there
 * anybody can make the file. */
static int check_writers(const char *file, const struct stat *info,
                         struct kvt_error *err)
{
    char folder[PATH_MAX];
    struct stat above;
    size_t size = (size_t)(strrchr(file, '/') - file);
    snprintf(folder, sizeof folder, "%.*s", size > 0 ? (int)size : 1, file);
    if (stat(folder, &above) != 0) {
        return unreadable(file, errno, err);
    }
    if ((info->st_mode & S_IWOTH) != 0) {
        return refuse(file, 0, "take that right away: chmod o-w", err,
                      "can be written by everybody");
    }
    if ((above.st_mode & S_IWOTH) != 0) {
        return refuse(file, 0,
                      "move it into a folder that is not, or take that right "
                      "away: chmod o-w",
                      err, "lies in a folder that everybody can write to");
    }
    return KVT_OK;
}

/* ELF --------------------------------------------------------------------- */

/* The header of the file that this code came from, as it lies in memory. */
static bool own_header(ElfW(Ehdr) * header)
{
    Dl_info info;
    static const char here[] = "";
    if (dladdr(here, &info) == 0) {
        return false;
    }
    memcpy(header, info.dli_fbase, sizeof *header);
    return memcmp(header->e_ident, ELFMAG, SELFMAG) == 0;
}

/* Is all that the loader will map inside of the file? */
static bool segments_are_whole(int fd, const ElfW(Ehdr) * header, uint64_t size)
{
    uint64_t end =
        header->e_phoff + (uint64_t)header->e_phnum * sizeof(ElfW(Phdr));
    if (header->e_phentsize != sizeof(ElfW(Phdr)) || header->e_phoff > size ||
        end > size) {
        return false;
    }
    for (unsigned i = 0; i < header->e_phnum; i++) {
        ElfW(Phdr) part;
        off_t at = (off_t)(header->e_phoff + i * sizeof part);
        if (pread(fd, &part, sizeof part, at) != (ssize_t)sizeof part ||
            (part.p_type == PT_LOAD &&
             (part.p_offset > size || part.p_filesz > size - part.p_offset))) {
            return false;
        }
    }
    return true;
}

static int check_elf(int fd, const char *file, uint64_t size,
                     struct kvt_error *err)
{
    static const char again[] = "build it, or copy it, again";
    ElfW(Ehdr) header;
    ElfW(Ehdr) own;
    ssize_t got = pread(fd, &header, sizeof header, 0);
    if (got < 0) {
        return unreadable(file, errno, err);
    }
    if ((size_t)got < SELFMAG || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
        return refuse(file, 0, again, err, "is no shared object");
    }
    if ((size_t)got < sizeof header) {
        return refuse(file, 0, again, err, "is cut off");
    }
    if (own_header(&own) &&
        (header.e_ident[EI_CLASS] != own.e_ident[EI_CLASS] ||
         header.e_ident[EI_DATA] != own.e_ident[EI_DATA] ||
         header.e_machine != own.e_machine)) {
        return refuse(file, 0, "build it for this machine", err,
                      "is made for another kind of machine");
    }
    if (header.e_type != ET_DYN) {
        return refuse(file, 0, "link it as one: cc -shared", err,
                      "is no shared object");
    }
    return segments_are_whole(fd, &header, size)
               ? KVT_OK
               : refuse(file, 0, again, err, "is cut off");
}

int kvt_module_file_check(const char *file, struct kvt_error *err)
{
    struct stat info;
    /* not to wait for the writer of a fifo */
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &info) != 0) {
        int rc = unreadable(file, errno, err);
        if (fd >= 0) {
            close(fd);
        }
        return rc;
    }
    int rc;
    if (!S_ISREG(info.st_mode)) {
        rc = refuse(file, 0, "name the file of a module", err,
                    S_ISDIR(info.st_mode) ? "is a directory" : "is no file");
    } else {
        rc = check_writers(file, &info, err);
    }
    if (rc == KVT_OK) {
        rc = check_elf(fd, file, (uint64_t)info.st_size, err);
    }
    close(fd);
    return rc;
}
